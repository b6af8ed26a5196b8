"""Labels that are probably wrong, by confident learning.

Northcutt, Jiang and Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels" (JAIR 2021). A class has a
threshold, the mean probability that clips with its label get for it: a model that is never sure of a class is not asked
to be. A label is suspected where the clip is below the threshold of its own class, and above that of another which is
likelier.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Suspicion:
    """A label that may be wrong.

    Attributes:
        place: Of the clip among those judged.
        instead: Index of the class that it probably is.
        margin: Probability of that class less that of the label, in (0, 1].
    """

    place: int
    instead: int
    margin: float


def suspected_labels(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> list[Suspicion]:
    """Clips whose label is probably wrong, the most suspicious first.

    Args:
        probabilities: [N, K], of each clip by a model that has not learnt from it or from its group.
        labels: [N], indices of classes.
    """
    clips, classes = probabilities.shape
    counts = np.bincount(labels, minlength=classes)
    of_label = probabilities[np.arange(clips), labels]
    thresholds = np.full(classes, np.inf)  # of a class that no clip has: nothing reaches it
    there = counts > 0
    thresholds[there] = np.bincount(labels, of_label, classes)[there] / counts[there]
    above = np.where(probabilities >= thresholds, probabilities, -1.0)
    above[np.arange(clips), labels] = -1.0
    instead = above.argmax(axis=1)
    margins = above[np.arange(clips), instead] - of_label
    suspicious = np.flatnonzero((of_label < thresholds[labels]) & (margins > 0))
    ranked = suspicious[np.argsort(-margins[suspicious], kind="stable")]
    return [Suspicion(int(place), int(instead[place]), float(margins[place])) for place in ranked]
