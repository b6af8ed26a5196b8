import numpy as np

from kineflow.selection.judging import choose, judge_by_folds
from kineflow.selection.label_shares import judged_by_share, shares_by_folds
from tests.kineflow.selection.planted import FAMILIES, HOW, accuracy, described


def test_all_labels_give_what_the_nested_folds_say_and_fewer_give_less():
    clips = described(0.8, clips=128)
    judged = judge_by_folds(clips, FAMILIES[:1], (1.0,), **HOW)
    shares = shares_by_folds(clips, judged.folds, seed=0)
    top1 = {each.share: each.right.mean() for each in shares}
    assert list(top1) == [0.125, 0.25, 0.5, 1.0]
    assert top1[1.0] == accuracy(judged.blend, clips)
    assert top1[0.125] < top1[1.0] - 0.03
    assert [each.clips for each in shares] == [12, 24, 48, 96]  # of the 24 groups of four in a fold


def test_shares_of_less_than_two_groups_are_left_out():
    clips, others = described(1.0, clips=24), described(1.0, clips=8, seed=1)
    choice = choose(clips, FAMILIES, (1.0,), **HOW)
    tried = judged_by_share(clips, choice, others, seed=0)
    assert [each.share for each in tried] == [0.25, 0.5, 1.0]
    assert all(each.right.shape == (8,) for each in tried)
    np.testing.assert_array_equal(tried[-1].right, choice.model.scores(others).argmax(axis=1) == others.labels)
