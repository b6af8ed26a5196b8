"""Flow in 8 bit: clipped to ±bound and mapped linearly to 0..255, as TSN and its successors store it."""

from __future__ import annotations

import numpy as np

from kineflow.storage.errors import KineflowError


def quantise(flow_px: np.ndarray, bound_px: float) -> np.ndarray:
    """Map [-bound, bound] px to 0..255, clipping what lies outside; zero motion becomes 128.

    Args:
        flow_px: float, any shape.
        bound_px: Above 0. The largest error is half a step, ``bound_px / 255``.

    Returns:
        uint8, same shape.
    """
    _check(bound_px)
    levels = np.rint((flow_px + bound_px) * (255 / (2 * bound_px)))
    return np.clip(levels, 0, 255, out=levels).astype(np.uint8)


def dequantise(levels: np.ndarray, bound_px: float) -> np.ndarray:
    """Map 0..255 back to pixels: float32, same shape. Zero motion comes back as half a step, not as 0."""
    _check(bound_px)
    return levels.astype(np.float32) * np.float32(2 * bound_px / 255) - np.float32(bound_px)


def _check(bound_px: float) -> None:
    if not bound_px > 0:
        raise KineflowError(f"flow cannot be bounded by {bound_px} px", remedy="give a bound_px above 0")
