"""Suspected labels: planted errors are found, and a class that is never answered surely is not all suspicion."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kineflow.evaluation.scores import softmax
from kineflow.labelling.label_errors import suspected_labels

CLASSES, FOLDS = 4, 4


def out_of_fold(rows: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Probabilities [N, K] by the distance to the mean of each class over the other folds' clips."""
    fold = np.arange(len(rows)) % FOLDS
    found = np.zeros((len(rows), CLASSES))
    for held_out in range(FOLDS):
        learnt = fold != held_out
        means = np.stack([rows[learnt & (labels == name)].mean(axis=0) for name in range(CLASSES)])
        distances = ((rows[~learnt, None] - means) ** 2).sum(axis=2)
        found[~learnt] = softmax(-distances / 2)
    return found


def test_planted_errors_are_found() -> None:
    rng = np.random.default_rng(3)
    truth = rng.integers(0, CLASSES, 160)
    rows = 4 * np.eye(CLASSES, 8)[truth] + rng.normal(size=(160, 8))
    wrong = rng.choice(160, 16, replace=False)
    labels = truth.copy()
    labels[wrong] = (truth[wrong] + rng.integers(1, CLASSES, 16)) % CLASSES
    found = suspected_labels(out_of_fold(rows, labels), labels)
    planted = [suspicion for suspicion in found if suspicion.place in set(wrong)]
    assert len(planted) >= 0.9 * len(wrong)  # recall
    assert len(planted) >= 0.9 * len(found)  # precision
    assert np.mean([suspicion.instead == truth[suspicion.place] for suspicion in planted]) > 0.9


def test_a_class_that_is_hard_is_not_suspected_for_that() -> None:
    """Its clips get .4 at best, and another class .6: by the likeliest class each would be called wrong."""
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.6, 0.4], [0.6, 0.4], [0.95, 0.05]])
    labels = np.array([0, 0, 1, 1, 1])
    assert [(each.place, each.instead) for each in suspected_labels(probabilities, labels)] == [(4, 0)]


def test_the_most_suspicious_comes_first_and_nothing_is_of_a_class_without_clips() -> None:
    probabilities = np.array([[0.9, 0.1, 0.0], [0.1, 0.9, 0.0], [0.2, 0.8, 0.0], [0.9, 0.1, 0.0], [0.0, 0.1, 0.9]])
    labels = np.array([0, 1, 0, 1, 1])
    found = suspected_labels(probabilities, labels)
    assert [(each.place, each.instead) for each in found] == [(3, 0), (2, 1)]  # and not 4, of which no class is known
    assert found[0].margin == 0.8
