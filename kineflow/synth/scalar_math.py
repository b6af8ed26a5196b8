"""Functions of the C library for arrays: NumPy's own sines and exponentials have other last digits on other CPUs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kineflow.spec.arrays import Floats


def of_each(function: Callable[[float], float], values: Floats) -> Floats:
    """``function``, of :mod:`math`, of every value; float64 of the same shape. For short arrays: it is a loop."""
    return np.array([function(value) for value in values.ravel().tolist()], np.float64).reshape(values.shape)
