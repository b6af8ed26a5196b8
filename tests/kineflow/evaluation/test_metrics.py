"""Laws and known values of the figures."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kineflow.evaluation.intervals import wilson_interval
from kineflow.evaluation.metrics import (
    confusion_matrix,
    mean_class_accuracy,
    paired_gain,
    per_class_accuracy,
    per_class_change,
    ranks_of_truth,
    summarise,
)
from kineflow.evaluation.scores import Scores
from kineflow.storage.errors import KineflowError

seeds = st.integers(0, 2**32 - 1)


def scored(labels, predicted, classes=3, model="m"):
    labels = np.array(labels, dtype=np.int64)
    logits = np.eye(classes, dtype=np.float32)[np.array(predicted, dtype=int).reshape(-1)]
    names = tuple(f"clip{i}" for i in range(len(labels)))
    return Scores(model, names, labels, tuple(f"class{i}" for i in range(classes)), logits)


def random_case(seed):
    """Coarse logits, so that ties occur."""
    rng = np.random.default_rng(seed)
    clips, classes = int(rng.integers(1, 30)), int(rng.integers(1, 8))
    return rng.integers(-2, 3, (clips, classes)).astype(np.float32), rng.integers(0, classes, clips)


@given(seeds)
def test_ranks_are_places_in_a_stable_descending_sort(seed):
    logits, labels = random_case(seed)
    expected = [
        sorted(range(len(row)), key=lambda k: (-row[k], k)).index(label)
        for row, label in zip(logits, labels, strict=True)
    ]
    assert ranks_of_truth(logits, labels).tolist() == expected


@given(seeds)
def test_confusion_counts_every_clip_once(seed):
    logits, labels = random_case(seed)
    classes = logits.shape[1]
    counts = confusion_matrix(logits.argmax(1), labels, classes)
    assert counts.sum(1).tolist() == np.bincount(labels, minlength=classes).tolist()
    assert counts.sum(0).tolist() == np.bincount(logits.argmax(1), minlength=classes).tolist()
    assert counts.trace() == (ranks_of_truth(logits, labels) == 0).sum()


def test_confusion_has_the_true_class_in_rows():
    assert confusion_matrix(np.array([1, 1, 2]), np.array([0, 1, 1]), 3).tolist() == [[0, 1, 0], [0, 1, 1], [0, 0, 0]]


def test_a_class_without_clips_has_no_accuracy_and_does_not_count():
    counts = np.array([[1, 1, 0], [0, 4, 0], [0, 0, 0]])
    accuracy = per_class_accuracy(counts)
    assert accuracy[:2].tolist() == [0.5, 1.0]
    assert math.isnan(accuracy[2])
    assert mean_class_accuracy(counts) == 0.75


@given(seeds, st.integers(1, 5))
def test_mean_class_accuracy_is_top1_on_balanced_clips(seed, each):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(4), each)
    counts = confusion_matrix(rng.integers(0, 4, len(labels)), labels, 4)
    assert mean_class_accuracy(counts) == pytest.approx(counts.trace() / len(labels))


def test_wilson_interval_has_the_published_values():
    # Newcombe 1998, Statistics in Medicine 17: table I, method 3 (score interval).
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson_interval(1, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)


@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.5, 0.999))
def test_wilson_interval_holds_the_share_and_mirrors(case, confidence):
    correct, total = case
    low, high = wilson_interval(correct, total, confidence)
    assert 0 <= low <= correct / total <= high <= 1
    assert low < high
    mirrored = wilson_interval(total - correct, total, confidence)
    assert (1 - mirrored[1], 1 - mirrored[0]) == pytest.approx((low, high), abs=1e-9)
    wider = wilson_interval(correct, total, 0.9999)
    assert wider[0] <= low
    assert high <= wider[1]
    more_low, more_high = wilson_interval(4 * correct, 4 * total, confidence)
    assert more_high - more_low < high - low


@pytest.mark.parametrize(("correct", "total", "confidence"), [(3, 2, 0.95), (-1, 2, 0.95), (0, 0, 0.95), (1, 2, 1.0)])
def test_wilson_interval_refuses_impossible_counts(correct, total, confidence):
    with pytest.raises(ValueError, match="no interval"):
        wilson_interval(correct, total, confidence)


def test_summary_of_known_scores():
    summary = summarise(scored([0, 0, 0, 1], [0, 0, 1, 1]))
    assert (summary.clips, summary.top1, summary.top5) == (4, 0.75, 1.0)
    assert summary.mean_class_accuracy == pytest.approx((2 / 3 + 1) / 2)
    assert (summary.top1_low, summary.top1_high) == wilson_interval(3, 4)


def test_top5_counts_the_five_best():
    logits = np.tile(np.arange(8, 0, -1, dtype=np.float32), (8, 1))  # class 0 best, class 7 worst
    names = tuple(map(str, range(8)))
    assert summarise(Scores("m", names, np.arange(8), names, logits)).top5 == 5 / 8


@pytest.mark.parametrize(("labels", "message"), [([], "no clip"), ([0, -1], "1 clips have no label")])
def test_no_figures_without_labels(labels, message):
    with pytest.raises(KineflowError, match=message):
        summarise(scored(labels, [0] * len(labels)))


def test_per_class_change_is_student_less_baseline():
    student, plain = scored([0, 0, 1, 1], [0, 0, 1, 0]), scored([0, 0, 1, 1], [0, 1, 1, 1])
    change = per_class_change(student, plain)
    assert change[:2].tolist() == [0.5, -0.5]
    assert math.isnan(change[2])
    with pytest.raises(KineflowError, match="another label"):
        per_class_change(student, scored([0, 1, 1, 1], [0, 0, 0, 0]))


@given(seeds)
def test_paired_gain_is_the_difference_and_turns_round(seed):
    rng = np.random.default_rng(seed)
    labels, one, two = rng.integers(0, 3, (3, int(rng.integers(1, 40))))
    a, b = scored(labels, one), scored(labels, two)
    gain, back = paired_gain(a, b), paired_gain(b, a)
    assert gain.value == pytest.approx((one == labels).mean() - (two == labels).mean())
    assert -1 <= gain.low <= gain.value <= gain.high <= 1
    assert (back.low, back.high) == pytest.approx((-gain.high, -gain.low))
    assert paired_gain(a, a).low < paired_gain(a, a).value == 0 < paired_gain(a, a).high


def test_paired_gain_has_the_width_of_the_normal_approximation():
    labels = [0] * 100
    better = scored(labels, [0] * 30 + [1] * 70)  # 30 clips gained, 10 lost: mean .2, variance .4 - .04
    worse = scored(labels, [1] * 30 + [0] * 10 + [1] * 60)
    gain = paired_gain(better, worse)
    assert gain.value == pytest.approx(0.2)
    assert gain.high - gain.low == pytest.approx(2 * 1.95996 * 0.6 / 10, abs=0.005)
