"""Which clips are shown."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kineflow.evaluation.examples import pick_examples
from kineflow.evaluation.scores import Scores
from kineflow.storage.errors import KineflowError


def scores(model, labels, predicted, sure=None):
    logits = np.eye(4, dtype=np.float32)[np.array(predicted)] * np.array(sure or [1] * len(labels), np.float32)[:, None]
    ids = tuple(f"v{i}" for i in range(len(labels)))
    return Scores(model, ids, np.array(labels, dtype=np.int64), tuple("abcd"), logits)


@given(st.integers(0, 2**32 - 1), st.integers(0, 40), st.booleans())
def test_picks_are_distinct_and_told_truly(seed, count, alone):
    rng = np.random.default_rng(seed)
    labels, one, two = rng.integers(0, 4, (3, int(rng.integers(1, 30)))).tolist()
    student, plain = scores("student", labels, one), scores("plain", labels, two)
    picks = pick_examples(student, None if alone else plain, count)
    assert len({pick.index for pick in picks}) == len(picks) == min(count, len(labels))
    for pick in picks:
        right, other = one[pick.index] == labels[pick.index], two[pick.index] == labels[pick.index]
        if alone:
            assert pick.verdict == ("student right" if right else "student wrong")
        else:
            expected = {(True, True): "both right", (False, False): "both wrong"}
            mixed = "student right, plain wrong" if right else "student wrong, plain right"
            assert pick.verdict == expected.get((right, other), mixed)
    kinds = [pick.verdict for pick in picks]
    assert all(kinds.count(kind) == kinds[kinds.index(kind) :][: kinds.count(kind)].count(kind) for kind in kinds)


def test_every_kind_has_its_turn_and_empty_kinds_give_theirs_away():
    student = scores("s", [0] * 9, [0] * 8 + [1])
    plain = scores("p", [0] * 9, [1] * 9)
    kinds = [pick.verdict for pick in pick_examples(student, plain, 4)]
    assert kinds == ["both wrong"] + ["s right, p wrong"] * 3


def test_wrong_and_sure_then_right_and_unsure_classes_in_turn():
    right = scores("s", [0, 0, 1, 1, 2], [0, 0, 1, 1, 2], sure=[3, 9, 8, 2, 1])
    assert [pick.index for pick in pick_examples(right, None, 5)] == [4, 3, 0, 2, 1]
    wrong = scores("s", [0, 0, 1, 1, 2], [1, 1, 0, 0, 0], sure=[3, 9, 8, 2, 1])
    assert [pick.index for pick in pick_examples(wrong, None, 5)] == [1, 2, 4, 0, 3]


def test_other_clips_cannot_be_compared():
    with pytest.raises(KineflowError, match="cannot be compared"):
        pick_examples(scores("s", [0], [0]), scores("p", [0, 1], [0, 0]), 2)
