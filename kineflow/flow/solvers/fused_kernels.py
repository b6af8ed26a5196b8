"""The loops of the fused solver before its iterations: pyramid and data term, compiled by numba on first use.

Fields are in the layout of :mod:`kineflow.flow.solvers.fused_iterations`.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from kineflow.flow.solvers.instructions import CHANNELS, ENTRY, INNER, multiply_add, sixteen_taps

MARGIN_BEFORE, MARGIN_AFTER = 3, 4  # px around the warped image: from there on every tap sees only border

_LEAST_SQUARED_GRADIENT = np.finfo(np.float32).eps
_ONE, _HALF = np.float32(1), np.float32(0.5)


@njit(**ENTRY)
def resize(image, height, width, step_y, step_x):
    """Bilinear, of float32 [H, W], without antialiasing and with replicated borders, as OpenCV's ``INTER_LINEAR``.

    OpenCV's own gives other last digits on other CPUs.

    Args:
        image: [H, W].
        height, width: Of the result.
        step_y, step_x: Pixels of ``image`` from one pixel of the result to the next.
    """
    above, down = _neighbours(image.shape[0], height, step_y)
    left, across = _neighbours(image.shape[1], width, step_x)
    last = image.shape[1] - 1
    row, resized = np.empty(last + 2, np.float32), np.empty((height, width), np.float32)
    for y in range(height):
        upper, lower, share = image[above[y]], image[min(above[y] + 1, image.shape[0] - 1)], down[y]
        for x in range(last + 1):
            row[x] = multiply_add(share, lower[x] - upper[x], upper[x])
        row[last + 1] = row[last]
        for x in range(width):
            resized[y, x] = multiply_add(across[x], row[left[x] + 1] - row[left[x]], row[left[x]])
    return resized


@njit(**INNER)
def _neighbours(size, target, step):
    """The first of the two pixels, of ``size``, that each of ``target`` lies between, and the share of the second."""
    first, share = np.empty(target, np.int32), np.empty(target, np.float32)
    for n in range(target):
        centre = min(max((n + 0.5) * step - 0.5, 0.0), size - 1.0)
        first[n] = np.int32(centre)
        share[n] = np.float32(centre - first[n])
    return first, share


@njit(**ENTRY)
def interleave(frame, image, clamped):
    """A frame [H, W] and its central differences, into ``image`` [H + margins, W + margins, channels].

    The margin holds the nearest pixel's values if ``clamped``, else 0.
    """
    height, width = frame.shape
    for row in range(image.shape[0]):
        y = min(max(row - MARGIN_BEFORE, 0), height - 1)
        for column in range(image.shape[1]):
            x = min(max(column - MARGIN_BEFORE, 0), width - 1)
            weight = _ONE
            if not clamped and (y != row - MARGIN_BEFORE or x != column - MARGIN_BEFORE):
                weight = np.float32(0)
            image[row, column, 0] = weight * frame[y, x]
            image[row, column, 1] = weight * _HALF * (frame[y, min(x + 1, width - 1)] - frame[y, max(x - 1, 0)])
            image[row, column, 2] = weight * _HALF * (frame[min(y + 1, height - 1), x] - frame[max(y - 1, 0), x])
            image[row, column, 3] = np.float32(0)


@njit(**ENTRY)
def linearise(frame, image, state, term, sharpness):
    """The data term around the flow in ``state``, into ``term``: warps ``image``, made by :func:`interleave`.

    Row by row in three loops, of which only the second, the gather, does not run on vectors of pixels.
    """
    height, width = frame.shape
    stride = term.shape[1] // (height + 2)
    pixels, row_length = image.reshape(image.size), image.shape[1] * CHANNELS
    corner, weights = np.empty(width, np.int32), np.empty((2, 4, width), np.float32)
    for y in range(height):
        i, j = (y + 1) * stride, (y + 1) * stride + width
        u, v = state[0, i:j], state[1, i:j]
        _place_taps(u, v, y, height, row_length, sharpness, corner, weights[0], weights[1])
        _gather_taps(pixels, corner, row_length, weights[0], weights[1], term[:3, i:j])
        _close_term(frame[y], u, v, term[0, i:j], term[1, i:j], term[2, i:j], term[3, i:j])


@njit(**INNER)
def _place_taps(u, v, y, height, row_length, sharpness, corner, across, down):
    """Where the sixteen taps of each pixel of row ``y`` begin, and their weights."""
    least, most_x, most_y = np.float32(1 - MARGIN_BEFORE), np.float32(u.size + 1), np.float32(height + 1)
    margin, row = np.float32(MARGIN_BEFORE), np.float32(y)
    for x in range(u.size):
        at_x = min(max(np.float32(x) + u[x], least), most_x) + margin
        at_y = min(max(row + v[x], least), most_y) + margin
        left, above = np.int32(at_x), np.int32(at_y)
        corner[x] = (above - np.int32(1)) * np.int32(row_length) + (left - np.int32(1)) * np.int32(CHANNELS)
        across[0, x], across[1, x], across[2, x], across[3, x] = _cubic_weights(at_x - np.float32(left), sharpness)
        down[0, x], down[1, x], down[2, x], down[3, x] = _cubic_weights(at_y - np.float32(above), sharpness)


@njit(**INNER)
def _cubic_weights(t, sharpness):
    """Keys' kernel at the four pixels -1, 0, 1, 2 for an offset in [0, 1)."""
    near = _ONE - t
    before = sharpness * t * near * near
    cubic, square = sharpness + np.float32(2), -(sharpness + np.float32(3))
    at = multiply_add(multiply_add(cubic, t, square) * t, t, _ONE)
    after = multiply_add(multiply_add(cubic, near, square) * near, near, _ONE)
    return before, at, after, _ONE - before - at - after


@njit(**INNER)
def _gather_taps(pixels, corner, row_length, across, down, warped):
    """I1 and its derivatives at the displaced pixels of a row, into ``warped`` [3, W]."""
    for x in range(corner.size):
        warped[0, x], warped[1, x], warped[2, x] = sixteen_taps(
            pixels,
            np.int64(corner[x]),
            row_length,
            (across[0, x], across[1, x], across[2, x], across[3, x]),
            (down[0, x], down[1, x], down[2, x], down[3, x]),
        )


@njit(**INNER)
def _close_term(frame, u, v, constant, by_u, by_v, inverse):
    """From the warped image (in ``constant``) and its derivatives to ρ and 1/|∇ρ|², for a row."""
    for x in range(u.size):
        constant[x] = multiply_add(-by_v[x], v[x], multiply_add(-by_u[x], u[x], constant[x] - frame[x]))
        squared = multiply_add(by_u[x], by_u[x], by_v[x] * by_v[x])
        inverse[x] = _ONE / max(squared, np.float32(_LEAST_SQUARED_GRADIENT))
