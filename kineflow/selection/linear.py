"""A linear classifier on blocks of descriptors, each with the same say whatever its length.

Columns are standardised, a block of many columns is rotated to its first principal components, and each block is
divided by the root of its length; then multinomial logistic regression with an L2 penalty. All of that is linear, and
comes back as one matrix over the descriptors as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST_COMPONENTS = 128
"""Of a block; with fewer clips than this nothing is lost, and with more a fit takes no longer."""

_MOST_ITERATIONS, _TOLERANCE = 3000, 1e-3
_LEAST_SPREAD = 0.1  # of a column, as a share of its block's median
_NEVER = -30.0  # bias of a class without rows

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Linear:
    """Logits = rows · weight + bias.

    Attributes:
        weight: [F, K].
        bias: [K].
    """

    weight: Matrix
    bias: Matrix

    def logits(self, rows: Matrix) -> Matrix:
        """[M, K] of rows [M, F]."""
        return rows @ self.weight + self.bias


@dataclass(frozen=True)
class Whitening:
    """What makes a block of columns fit for the regression: (rows - mean) · rotation.

    A column that hardly varies among the training clips is not blown up: on other clips it may.

    Attributes:
        mean: [F].
        rotation: [F, P], standardising, rotation and the block's share together.
    """

    mean: Matrix
    rotation: Matrix

    @classmethod
    def of(cls, rows: Matrix, weights: Matrix) -> Whitening:
        """Of training rows [M, F], that count by their weights [M]."""
        mean = np.average(rows, axis=0, weights=weights)
        std = np.sqrt(np.average((rows - mean) ** 2, axis=0, weights=weights))
        least = _LEAST_SPREAD * float(np.median(std)) or 1.0
        scale = 1 / np.maximum(std, least) / np.sqrt(rows.shape[1])
        if rows.shape[1] <= MOST_COMPONENTS:
            return cls(mean, np.diag(scale))
        scaled = (rows - mean) * scale * np.sqrt(weights)[:, None]
        axes = np.linalg.svd(scaled, full_matrices=False)[2][:MOST_COMPONENTS]
        return cls(mean, scale[:, None] * axes.T)

    def apply(self, rows: Matrix) -> Matrix:
        """[M, P] of rows [M, F]."""
        whitened: Matrix = (rows - self.mean) @ self.rotation
        return whitened


def fit_linear(
    rows: Matrix, labels: NDArray[np.int64], weights: Matrix, whitening: Whitening, *, strength: float, classes: int
) -> Linear:
    """Fit logistic regression, and give it back over columns as they were.

    Args:
        rows: [M, P], whitened.
        labels: [M] in ``[0, classes)``; a class without rows is never answered.
        weights: [M], how much each row counts.
        whitening: By which the rows were made.
        strength: C, the inverse of the penalty's weight.
        classes: K.
    """
    from sklearn.linear_model import LogisticRegression

    if len(known := np.unique(labels)) < 2:  # in a fold that holds out all groups of the other class
        bias = np.full(classes, _NEVER)
        bias[known] = 0.0
        return Linear(np.zeros((len(whitening.mean), classes)), bias)
    model = LogisticRegression(C=strength, max_iter=_MOST_ITERATIONS, tol=_TOLERANCE)
    model.fit(rows, labels, sample_weight=weights)
    coefficients, intercept = np.asarray(model.coef_, np.float64).T, np.asarray(model.intercept_, np.float64)
    if len(model.classes_) == 2:  # scikit-learn keeps the one column that decides
        coefficients = np.concatenate([-coefficients, coefficients], axis=1) / 2
        intercept = np.concatenate([-intercept, intercept]) / 2
    weight, bias = np.zeros((rows.shape[1], classes)), np.full(classes, _NEVER)
    weight[:, model.classes_], bias[model.classes_] = coefficients, intercept
    over_columns = whitening.rotation @ weight
    return Linear(over_columns, bias - whitening.mean @ over_columns)


def joined(whitenings: list[Whitening]) -> Whitening:
    """Of several blocks side by side."""
    rotation = np.zeros(
        (sum(len(part.mean) for part in whitenings), sum(part.rotation.shape[1] for part in whitenings))
    )
    row = column = 0
    for part in whitenings:
        rotation[row : row + len(part.mean), column : column + part.rotation.shape[1]] = part.rotation
        row, column = row + len(part.mean), column + part.rotation.shape[1]
    return Whitening(np.concatenate([part.mean for part in whitenings]), rotation)
