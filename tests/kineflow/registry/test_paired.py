from pathlib import Path

import numpy as np
import pytest

from kineflow.evaluation.intervals import difference_interval, weighted_difference_interval
from kineflow.evaluation.scores import Scores
from kineflow.registry.outcomes import Outcomes, outcomes_of
from kineflow.registry.paired import Paired, paired_gain
from kineflow.registry.policy import Gate
from kineflow.storage.errors import KineflowError


def answers(right: list[bool], *, groups: list[str] | None = None, labels: list[str] | None = None) -> Outcomes:
    count = len(right)
    names = tuple(f"clip{number}" for number in range(count))
    ranks = np.where(right, 0, 1).astype(np.int64)
    return Outcomes(names, tuple(labels or ["a"] * count), tuple(groups or [""] * count), ranks)


def gain(candidate: Outcomes, champion: Outcomes, figure: str = "top1", level: float = 0.95) -> Paired:
    found = paired_gain(candidate, champion, figure, level)
    assert isinstance(found, Paired)
    return found


def test_one_clip_in_320_is_noise_and_thirty_are_not() -> None:
    champion = answers([True] * 200 + [False] * 120)
    assert gain(answers([True] * 201 + [False] * 119), champion).low < 0
    assert gain(answers([True] * 230 + [False] * 90), champion).low > 0
    tie = gain(champion, champion)
    assert tie.value == 0
    assert tie.low < 0 < tie.high


def test_a_higher_level_asks_for_more() -> None:
    champion, candidate = answers([False] * 40), answers([True] * 6 + [False] * 34)
    assert gain(candidate, champion, level=0.999).low < gain(candidate, champion, level=0.8).low
    assert difference_interval(np.zeros(8), None, 0.5)[1] < difference_interval(np.zeros(8))[1]


def test_clips_of_one_source_count_as_one() -> None:
    right = [True] * 40 + [False] * 160
    alone = gain(answers(right), answers([False] * 200))
    in_groups = gain(answers(right, groups=[str(row // 40) for row in range(200)]), answers([False] * 200))
    assert in_groups.low < alone.low


def test_order_does_not_matter_and_labels_have_to_agree() -> None:
    candidate = answers([True] * 30 + [False] * 30)
    turned = Outcomes(candidate.clip_ids[::-1], candidate.labels, candidate.groups, candidate.ranks[::-1].copy())
    assert gain(candidate, turned).value == 0
    other = answers([True] * 60, labels=["b"] * 60)
    assert paired_gain(candidate, other, "top1", 0.95) == "the two have 0 clips in common, of 60 and 60"


def test_clips_in_common_are_paired_where_they_suffice() -> None:
    few = answers([False] * 60)
    assert gain(answers([True] * 100), few).clips == 60
    assert "10 clips in common, of 100 and 10" in str(
        paired_gain(answers([True] * 100), answers([True] * 10), "top1", 0.9)
    )


def test_a_mean_over_classes_weighs_rare_classes_up() -> None:
    labels = ["common"] * 90 + ["rare"] * 10
    candidate, champion = answers([True] * 100, labels=labels), answers([True] * 90 + [False] * 10, labels=labels)
    found = gain(candidate, champion, "mean_class_accuracy")
    assert found.value == pytest.approx(0.5)
    assert 0 < found.low < 0.5 < found.high
    assert weighted_difference_interval(np.zeros(30)) == difference_interval(np.zeros(30))


def test_figures_that_no_clip_has_a_share_in_have_no_test() -> None:
    with pytest.raises(ValueError, match="for 'auc' set test: none"):
        Gate(primary_metric="auc")
    assert Gate(primary_metric="auc", test="none").primary_metric == "auc"


def test_answers_are_read_from_an_evaluation_and_survive_the_file(tmp_path: Path) -> None:
    logits = np.float32([[3, 1, 2], [0, 1, 2]])
    scores = Scores("student", ("one", "two"), np.int64([2, 2]), ("a", "b", "c"), logits)
    scores.save(tmp_path / "scores" / "student.parquet")
    assert outcomes_of(tmp_path, "teacher") is None
    found = outcomes_of(tmp_path, "student")
    assert found is not None
    found.save(tmp_path / "kept.parquet")
    kept = Outcomes.load(tmp_path / "kept.parquet")
    assert (kept.clip_ids, kept.labels, kept.ranks.tolist()) == (("one", "two"), ("c", "c"), [1, 0])
    (tmp_path / "kept.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(KineflowError, match="no readable answers"):
        Outcomes.load(tmp_path / "kept.parquet")


def test_clips_of_several_classes_are_of_none_alone(tmp_path: Path) -> None:
    scores = Scores(
        "m",
        ("x", "y"),
        np.zeros(2, np.int64),
        ("a", "b"),
        np.array([[0, 1], [1, 0]], np.float32),
        "test",
        truth=np.array([[True, True], [True, False]]),
    )
    (tmp_path / "scores").mkdir()
    scores.save(tmp_path / "scores" / "m.parquet")
    found = outcomes_of(tmp_path, "m")
    assert found is not None
    assert (found.labels, found.ranks.tolist()) == (("a\nb", "a"), [0, 0])
    assert isinstance(paired_gain(found, found, "top1", 0.95), Paired)
    assert "no mean over classes" in str(paired_gain(found, found, "mean_class_accuracy", 0.95))
