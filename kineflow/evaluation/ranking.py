"""Average precision, of classes that do not exclude each other (Hollywood2) and of localised actors."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from kineflow.spec.arrays import Floats


def average_precision(scores: Floats, truth: npt.NDArray[np.bool_]) -> float:
    """Σ precision at each right one's rank / number of right ones: the area under the raw precision-recall curve.

    Args:
        scores: [N], the highest first in rank; of equal ones the first in order.
        truth: bool [N].

    Returns:
        In [0, 1]; NaN when nothing is right.
    """
    ranked = truth[np.argsort(-scores, kind="stable")]
    if not ranked.any():
        return float("nan")
    precision = np.cumsum(ranked) / np.arange(1, len(ranked) + 1)
    return float(precision[ranked].mean())
