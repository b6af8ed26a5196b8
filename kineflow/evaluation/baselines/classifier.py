"""Logistic regression on a few features, its one knob chosen on groups that were held back."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0)
_FOLDS = 5
_MOST_STEPS = 300
_LEAST = 1e-4  # probability of a class that a fold has never seen


def one_thread() -> Any:
    """A block in which linear algebra has one thread: of small matrices, more of them only wait for each other.

    Measured on two busy cores: folds of 149 clips took 290 s with two threads and 10 with one.
    """
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1)


def class_prior(labels: NDArray[np.int64], num_classes: int) -> NDArray[np.float64]:
    """How often each class occurs among training clips, float64 ``[K]``, sums to 1.

    Half a clip is added to each class, so that none is impossible.

    Args:
        labels: ``[N]`` in ``[0, K)``; N may be 0.
        num_classes: K.
    """
    counts = np.bincount(labels, minlength=num_classes) + 0.5
    shares: NDArray[np.float64] = counts / counts.sum()
    return shares


def fit_baseline(features: NDArray[np.float64], labels: NDArray[Any], groups: Sequence[str], seed: int) -> Pipeline:
    """Fit a baseline: the median for what is missing, standardised features, logistic regression.

    C is the one of :data:`STRENGTHS` with the lowest cross entropy over up to five folds, no group of which is in two;
    1 where there are fewer than two groups. Where all clips are of one class, that one is the answer.

    Args:
        features: ``[N, D]``, N at least 1; NaN where unknown.
        labels: ``[N]``.
        groups: ``N``, see :class:`kineflow.sets.clip_set.Clip`.
        seed: Of the folds.

    Returns:
        A fitted pipeline of scikit-learn's, with ``predict_proba`` and ``classes_``.
    """
    if len(np.unique(labels)) < 2:
        return _prepared(DummyClassifier(strategy="prior")).fit(features, labels)
    with one_thread():
        losses = [_held_back_loss(strength, features, labels, groups, seed) for strength in STRENGTHS]
        chosen = 1.0 if np.isnan(losses).all() else STRENGTHS[int(np.nanargmin(losses))]
        return _fitted(chosen, features, labels)


def probabilities_of(baseline: Pipeline, features: NDArray[np.float64], num_classes: int) -> NDArray[np.float64]:
    """What a baseline says of clips, float64 ``[N, K]``; its labels are places in K, and those it never saw have 0."""
    answers = np.zeros((len(features), num_classes))
    answers[:, baseline.classes_] = baseline.predict_proba(features)
    return answers


def _fitted(strength: float, features: NDArray[np.float64], labels: NDArray[Any]) -> Pipeline:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # as far as it comes in the steps it has
        return _prepared(LogisticRegression(C=strength, max_iter=_MOST_STEPS)).fit(features, labels)


def _prepared(last: Any) -> Pipeline:
    return make_pipeline(SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler(), last)


def _held_back_loss(
    strength: float, features: NDArray[np.float64], labels: NDArray[Any], groups: Sequence[str], seed: int
) -> float:
    """Mean cross entropy of clips by baselines that saw none of their group; NaN where there are no two groups."""
    folds = min(_FOLDS, len(set(groups)))
    if folds < 2:
        return float("nan")
    losses = np.full(len(labels), np.nan)
    for rows, held_back in _folds(folds, features, labels, groups, seed):
        if len(np.unique(labels[rows])) < 2:
            continue
        fitted = _fitted(strength, features[rows], labels[rows])
        answers = fitted.predict_proba(features[held_back])
        truth = fitted.classes_ == labels[held_back, None]  # [held back, known classes]
        losses[held_back] = -np.log(np.maximum((answers * truth).sum(axis=1), _LEAST))
    return float("nan") if np.isnan(losses).all() else float(np.nanmean(losses))


def _folds(count: int, features: NDArray[Any], labels: NDArray[Any], groups: Sequence[str], seed: int) -> Any:
    fewest = np.unique(labels, return_counts=True)[1].min()
    if fewest < count:  # a class with fewer clips cannot be in every fold
        return GroupKFold(count, shuffle=True, random_state=seed).split(features, labels, groups)
    return StratifiedGroupKFold(count, shuffle=True, random_state=seed).split(features, labels, groups)
