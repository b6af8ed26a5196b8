"""Clips to label: typical, new, unlike each other; more so where models are unsure, disagree, or a class is rare."""

from __future__ import annotations

import numpy as np
import pytest

from kineflow.labelling.ranking import Clips, disagreement, rank_clips, rarity, unsureness, weights_of

SURE = np.array([[1.0, 0.0]])


def places(clips: Clips, count: int) -> list[int]:
    return [choice.place for choice in rank_clips(clips, count)]


def test_each_of_three_heaps_gets_a_label_before_one_gets_two_and_the_largest_is_first() -> None:
    rng = np.random.default_rng(0)
    heap = np.repeat([0, 1, 2], [20, 10, 5])
    features = 10 * np.eye(3)[heap] + 0.1 * rng.normal(size=(35, 3))
    clips = Clips(features, np.full(35, -1), "ab", {"m": SURE.repeat(35, 0)})
    chosen = places(clips, 3)
    assert set(heap[chosen]) == {0, 1, 2}
    assert places(clips, 100)[:3] == chosen
    assert sorted(places(clips, 100)) == list(range(35))


def test_what_labelled_clips_show_already_comes_last() -> None:
    rng = np.random.default_rng(0)
    heap = np.repeat([0, 1, 2], 10)
    features = 10 * np.eye(3)[heap] + 0.1 * rng.normal(size=(30, 3))
    labels = np.full(30, -1)
    labels[:5] = 0
    clips = Clips(features, labels, "ab", {"m": SURE.repeat(30, 0)})
    chosen = places(clips, 30)
    assert set(heap[chosen[:2]]) == {1, 2}
    assert not set(chosen) & set(range(5))


def test_of_equal_clips_the_one_that_is_unsure_is_asked_first_and_so_is_the_one_that_models_disagree_on() -> None:
    features = np.eye(4)
    none, unsure, sure, other = np.full(4, -1), [0.5, 0.5], [1.0, 0.0], [0.0, 1.0]
    by_margin = Clips(features, none, "ab", {"m": np.array([sure, sure, unsure, sure])})
    assert rank_clips(by_margin, 1)[0].place == 2
    assert rank_clips(by_margin, 1)[0].why.startswith("may be of the rare class")  # there is no label at all
    teacher, student = np.array([sure] * 4), np.array([sure, other, sure, sure])
    (choice,) = rank_clips(Clips(features, none, "ab", {"student": student, "teacher": teacher}), 1)
    assert (choice.place, choice.why) == (1, "student says b, teacher says a")


def test_a_class_with_few_labels_counts_for_more() -> None:
    labels = np.array([0, 0, 0, 0, 0, 0, 0, 1, -1, -1])
    own = np.array([[1.0, 0.0]] * 7 + [[0.0, 1.0]] + [[0.9, 0.1], [0.1, 0.9]])
    clips = Clips(np.eye(10), labels, ("many", "few"), {"m": own})
    assert rarity(clips)[-1] == pytest.approx(0.9 * (1 - 2 / 8))
    assert rank_clips(clips, 1)[0].place == 9
    assert rank_clips(clips, 1)[0].why == "may be of the rare class few"


def test_measures_of_doubt_have_the_ends_that_they_say() -> None:
    assert unsureness(np.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]])).tolist() == [1.0, 0.0]
    one, other = np.array([[1.0, 0.0], [0.3, 0.7]]), np.array([[0.0, 1.0], [0.3, 0.7]])
    assert disagreement([one, other]) == pytest.approx([1.0, 0.0])
    clips = Clips(np.eye(2), np.array([0, 1]), "ab", {"m": one})
    assert weights_of(clips).min() >= 1


def test_one_class_or_no_features_to_tell_clips_apart_are_no_fault() -> None:
    assert places(Clips(np.zeros((3, 2)), np.array([-1, 0, -1]), "a", {"m": np.ones((3, 1))}), 5) == [0, 2]
    assert places(Clips(np.zeros((0, 2)), np.zeros(0, np.int64), "ab", {"m": np.zeros((0, 2))}), 5) == []
