"""Laws of late fusion, and weights that are chosen on validation clips alone."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kineflow.evaluation.fusion import fuse, sweep_weights
from kineflow.evaluation.metrics import ranks_of_truth
from kineflow.evaluation.scores import Scores
from kineflow.storage.errors import KineflowError

seeds = st.integers(0, 2**32 - 1)
weightings = st.lists(st.floats(0.1, 10), min_size=3, max_size=3)


def scores(model, logits, labels=None, split="val"):
    logits = np.array(logits, dtype=np.float32)
    clips, classes = logits.shape
    labels = np.zeros(clips, dtype=np.int64) if labels is None else np.array(labels)
    return Scores(model, tuple(f"v{i}" for i in range(clips)), labels, tuple("abcdefgh"[:classes]), logits, split)


def three(seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, 12)
    return [scores(name, rng.normal(0, 3, (12, 4)), labels) for name in ("flow", "plain", "student")]


@given(seeds, weightings)
def test_softmax_fusion_averages_probabilities(seed, weights):
    members = three(seed)
    expected = np.average([member.probabilities() for member in members], axis=0, weights=weights)
    assert np.allclose(fuse(members, weights).probabilities(), expected, atol=1e-6)


@given(seeds, weightings)
def test_logit_fusion_averages_logits(seed, weights):
    members = three(seed)
    expected = np.average([member.logits for member in members], axis=0, weights=weights)
    assert np.allclose(fuse(members, weights, on="logits").logits, expected, atol=1e-5)


@given(seeds, weightings, st.floats(0.1, 50), st.sampled_from(["softmax", "logits"]))
def test_neither_scale_of_weights_nor_order_matters(seed, weights, factor, on):
    members = three(seed)
    fused = fuse(members, weights, on=on).logits
    assert np.allclose(fuse(members, [factor * w for w in weights], on=on).logits, fused, atol=1e-5)
    assert np.allclose(fuse(members[::-1], weights[::-1], on=on).logits, fused, atol=1e-5)


@given(seeds, st.sampled_from(["softmax", "logits"]))
def test_a_member_alone_or_with_all_weight_stays_itself(seed, on):
    flow, plain, _ = three(seed)
    assert np.allclose(fuse([flow], on=on).probabilities(), flow.probabilities(), atol=1e-6)
    assert np.allclose(fuse([flow, plain], [1, 0], on=on).probabilities(), flow.probabilities(), atol=1e-6)


def test_the_fusion_is_named_after_its_members_and_keeps_the_clips():
    members = three(0)
    fused = fuse(members)
    assert fused.model == "flow + plain + student"
    assert (fused.clip_ids, fused.classes, fused.split) == (members[0].clip_ids, members[0].classes, "val")
    assert fused.labels.tolist() == members[0].labels.tolist()


def test_impossible_classes_stay_finite():
    certain = scores("m", [[1000, -1000]])
    assert np.isfinite(fuse([certain, certain]).logits).all()


@pytest.mark.parametrize("weights", [[1], [1, -1], [0, 0], [np.nan, 1], [np.inf, 1]])
def test_weights_that_cannot_be_used_are_refused(weights):
    with pytest.raises(KineflowError, match="weights"):
        fuse(three(0)[:2], weights)


def test_fusion_refuses_other_clips_and_other_kinds():
    flow, plain, _ = three(0)
    with pytest.raises(KineflowError, match="cannot be compared"):
        fuse([flow, dataclasses.replace(plain, clip_ids=plain.clip_ids[::-1])])
    with pytest.raises(KineflowError, match="'rank'"):
        fuse([flow], on="rank")


@given(seeds, st.sampled_from(["softmax", "logits"]))
def test_swept_weights_are_no_worse_than_any_member_or_the_even_mix(seed, on):
    members = three(seed)
    weights = sweep_weights(members, steps=6, on=on)
    assert sum(weights) == pytest.approx(1)

    def top1(shares):
        return (ranks_of_truth(fuse(members, shares, on=on).logits, members[0].labels) == 0).mean()

    alternatives = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]]
    assert top1(weights) >= max(map(top1, alternatives)) - 1e-9


def test_equally_good_weights_stay_even():
    agreed = [scores(name, [[2, 0], [2, 0]]) for name in ("a", "b")]
    assert sweep_weights(agreed, steps=10) == (0.5, 0.5)


def test_a_useless_member_loses_its_weight():
    good, bad = scores("good", [[1.0, 0]] * 3), scores("bad", [[0, 9.5]] * 3)
    assert sweep_weights([good, bad], on="logits") == (1.0, 0.0)


def test_weights_are_never_chosen_on_test_or_unlabelled_clips():
    with pytest.raises(KineflowError, match="test split"):
        sweep_weights([dataclasses.replace(member, split="test") for member in three(0)])
    with pytest.raises(KineflowError, match="labelled"):
        sweep_weights([dataclasses.replace(member, labels=np.full(12, -1)) for member in three(0)])
