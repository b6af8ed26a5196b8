import numpy as np
import pytest

from kineflow.selection.blending import fit_blend, fit_family, folds_of, rank_families
from kineflow.selection.described import Described
from kineflow.selection.judging import choose, judge_by_folds
from tests.kineflow.selection.planted import FAMILIES, HOW, accuracy, described


def test_no_group_is_on_both_sides_and_every_clip_is_judged_once():
    clips = described(1.0)
    judged = []
    for train, held_out in folds_of(clips, 5, seed=0):
        assert not {clips.groups[clip] for clip in train} & {clips.groups[clip] for clip in held_out}
        judged += list(held_out)
    assert sorted(judged) == list(range(len(clips)))


def test_what_tells_the_class_is_ranked_first_and_is_right_on_clips_it_has_not_seen():
    clips = described(2.0)
    assert rank_families(clips, FAMILIES, (0.1, 1.0), folds=4, seed=0)[0].family == ("motion",)
    assert accuracy(judge_by_folds(clips, FAMILIES, (0.1, 1.0), **HOW).blend, clips) > 0.85


def test_noise_is_judged_as_noise():
    """Though the best of several families and strengths is taken, and groups look alike."""
    judged = [
        accuracy(judge_by_folds(clips, FAMILIES, (0.1, 1.0, 10.0), **HOW).blend, clips)
        for clips in (described(0.0, seed=seed) for seed in range(4))
    ]
    assert 0.38 < np.mean(judged) < 0.60


def test_scores_are_probabilities_and_calibrated():
    clips = described(0.7, clips=400)
    probabilities = np.exp(judge_by_folds(clips, FAMILIES, (1.0, 100.0), **HOW).blend)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    sure = probabilities.max(axis=1)
    assert abs(sure.mean() - (probabilities.argmax(axis=1) == clips.labels).mean()) < 0.06


def test_a_blend_is_one_classifier_with_the_mean_of_its_members():
    clips = described(1.0)
    candidates = rank_families(clips, [("motion",), ("motion", "flow")], (1.0,), folds=4, seed=0)
    blend = fit_blend(clips, candidates, temperature=2.0)
    mean = np.mean(
        [
            candidate.temperature * single.linear.logits(clips.columns(single.family))
            for candidate in candidates
            for single in [fit_family(clips, candidate)]
        ],
        axis=0,
    )
    own = blend.linear.logits(clips.columns(blend.family))
    ratio = (mean[:, 1] - mean[:, 0]) / (own[:, 1] - own[:, 0])
    np.testing.assert_allclose(ratio, 2.0, rtol=1e-6)


def test_the_same_seed_chooses_the_same():
    clips = described(1.0)
    first, second = (choose(clips, FAMILIES, (0.1, 1.0), **HOW) for _ in range(2))
    assert [each.name for each in first.members] == [each.name for each in second.members]
    np.testing.assert_array_equal(first.model.linear.weight, second.model.linear.weight)


@pytest.mark.parametrize("groups", [["a", "a", "b", "b", *"cdefghijklmn"], ["a", "b", "b", "a"] * 4])
def test_a_class_of_two_groups_is_judged_though_folds_within_a_fold_lack_it(groups: list[str]):
    labels = np.array([0] * 4 + [1] * 12)
    rows = np.random.default_rng(0).normal(size=(16, 3)) + labels[:, None]
    clips = Described(rows, np.arange(16), labels, tuple(groups), {"motion": slice(0, 3)}, 2)
    probabilities = np.exp(judge_by_folds(clips, [("motion",)], (0.1, 1.0), **HOW).blend)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    assert np.ptp(probabilities[:, 1]) > 0.01
