"""The loops of the fused solver, compiled by numba on first use.

Fields are float32 and flat: rows of ``stride`` values, a multiple of sixteen of which the last ones are padding, with
a row of zeros above the image and one below. In this layout a neighbour is a fixed distance away, whole blocks of rows
are one loop without a remainder, and no pixel is a special case:

- the padding is 0 and stays 0, for all data terms are 0 there;
- the dual along x is 0 in the last column, as that along y in the last row, and so are those before the first ones:
  the value left of a row is the last of the row above.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from kineflow.flow.solvers.instructions import CHANNELS, multiply_add, sixteen_taps, sum_lanes

# No "fastmath": what a compiler may reorder or contract it does by the width of the machine's vectors, and flow would
# differ from CPU to CPU. Loops without a sum run on vectors as they are; a sum has an order that suits every width.
_INNER: Any = {"nogil": True, "forceinline": True, "error_model": "numpy"}
# Parts are inlined into the entry points, and these alone are kept on disk.
_ENTRY: Any = {**_INNER, "forceinline": False, "cache": True}

MARGIN_BEFORE, MARGIN_AFTER = 3, 4  # px around the warped image: from there on every tap sees only border

ROWS = 24  # of u, renewed before the dual of the rows above: enough to amortise a loop, few enough to stay in L2
_LEAST_SQUARED_GRADIENT = np.finfo(np.float32).eps
_ONE, _HALF = np.float32(1), np.float32(0.5)


@njit(**_ENTRY)
def iterate(state, term, inside, squares, limit, tau, slope, settled, iterations, check_every, unchecked):
    """Iterations of one outer block, in place.

    Args:
        state: [6, (H + 2) · stride]: u, v, and θ·p of u along x and y and of v along x and y.
        term: [4, (H + 2) · stride]: ρ = term[0] + term[1]·u + term[2]·v, and 1/|∇ρ|².
        inside: [(rows + 1) · stride]: 1 where a pixel has a right neighbour, else 0.
        squares: [rows · stride]: room for the squared updates of the rows at work.
        limit, tau, slope: λθ, τ and τ/θ.
        settled: A sum of squared updates that ends the iterations; negative for never.
        iterations: At most.
        check_every: Iterations from one look at the stop rule to the next.
        unchecked: Iterations since the last look, of the blocks before.

    Returns:
        (iterations done, since the last look; -1 for settled).
    """
    for done in range(iterations):
        change = _sweep(state, term, inside, limit, tau, slope, squares)
        unchecked += 1
        if unchecked >= check_every:
            unchecked = 0
            if change <= settled:
                return done + 1, -1
    return iterations, unchecked


@njit(**_INNER)
def _sweep(state, term, inside, limit, tau, slope, squares):
    """One iteration; returns the sum of the squared updates."""
    stride = inside.size // (ROWS + 1)
    height = state.shape[1] // stride - 2
    u, v, ux, uy, vx, vy = state[0], state[1], state[2], state[3], state[4], state[5]
    constant, by_u, by_v, inverse = term[0], term[1], term[2], term[3]
    change = 0.0
    for top in range(0, height, ROWS):
        i, j = (top + 1) * stride, (min(top + ROWS, height) + 1) * stride
        _renew_flow(
            u[i:j], v[i:j],
            ux[i:j], ux[i - 1 : j - 1], uy[i:j], uy[i - stride : j - stride],
            vx[i:j], vx[i - 1 : j - 1], vy[i:j], vy[i - stride : j - stride],
            constant[i:j], by_u[i:j], by_v[i:j], inverse[i:j], limit, squares[: j - i],
        )  # fmt: skip
        change += sum_lanes(squares[: j - i])
        # The dual of a row needs the new u of the row below, so it lags one row behind.
        i, j = i - stride if top else i, j - stride
        _renew_dual(
            u[i:j], u[i + 1 : j + 1], u[i + stride : j + stride],
            v[i:j], v[i + 1 : j + 1], v[i + stride : j + stride],
            inside[: j - i], ux[i:j], uy[i:j], vx[i:j], vy[i:j], tau, slope,
        )  # fmt: skip
    i, j = height * stride, (height + 1) * stride
    _renew_dual(
        u[i:j], u[i + 1 : j + 1], u[i:j], v[i:j], v[i + 1 : j + 1], v[i:j],
        inside[: j - i], ux[i:j], uy[i:j], vx[i:j], vy[i:j], tau, slope,
    )  # fmt: skip
    return change


@njit(**_INNER)
def _renew_flow(
    u, v, ux, ux_left, uy, uy_above, vx, vx_left, vy, vy_above, constant, by_u, by_v, inverse, limit, squares
):
    """u = v + θ div p, with v = u - ∇ρ·clamp(ρ/|∇ρ|², ±λθ)."""
    for n in range(u.size):
        residual = multiply_add(by_v[n], v[n], multiply_add(by_u[n], u[n], constant[n])) * inverse[n]
        residual = min(max(residual, -limit), limit)
        step_u = multiply_add(-by_u[n], residual, ux[n] - ux_left[n] + uy[n] - uy_above[n])
        step_v = multiply_add(-by_v[n], residual, vx[n] - vx_left[n] + vy[n] - vy_above[n])
        u[n] += step_u
        v[n] += step_v
        squares[n] = multiply_add(step_u, step_u, step_v * step_v)


@njit(**_INNER)
def _renew_dual(u, u_right, u_below, v, v_right, v_below, inside, ux, uy, vx, vy, tau, slope):
    """p = (p + τ/θ ∇u) / (1 + τ/θ |∇u|), for θ·p; one division serves both components."""
    for n in range(u.size):
        u_along_x, u_along_y = (u_right[n] - u[n]) * inside[n], u_below[n] - u[n]
        v_along_x, v_along_y = (v_right[n] - v[n]) * inside[n], v_below[n] - v[n]
        norm_u = multiply_add(slope, math.sqrt(multiply_add(u_along_x, u_along_x, u_along_y * u_along_y)), _ONE)
        norm_v = multiply_add(slope, math.sqrt(multiply_add(v_along_x, v_along_x, v_along_y * v_along_y)), _ONE)
        inverse = _ONE / (norm_u * norm_v)
        by_u, by_v = inverse * norm_v, inverse * norm_u
        ux[n] = multiply_add(tau, u_along_x, ux[n]) * by_u
        uy[n] = multiply_add(tau, u_along_y, uy[n]) * by_u
        vx[n] = multiply_add(tau, v_along_x, vx[n]) * by_v
        vy[n] = multiply_add(tau, v_along_y, vy[n]) * by_v


@njit(**_ENTRY)
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


@njit(**_INNER)
def _neighbours(size, target, step):
    """The first of the two pixels, of ``size``, that each of ``target`` lies between, and the share of the second."""
    first, share = np.empty(target, np.int32), np.empty(target, np.float32)
    for n in range(target):
        centre = min(max((n + 0.5) * step - 0.5, 0.0), size - 1.0)
        first[n] = np.int32(centre)
        share[n] = np.float32(centre - first[n])
    return first, share


@njit(**_ENTRY)
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


@njit(**_ENTRY)
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


@njit(**_INNER)
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


@njit(**_INNER)
def _cubic_weights(t, sharpness):
    """Keys' kernel at the four pixels -1, 0, 1, 2 for an offset in [0, 1)."""
    near = _ONE - t
    before = sharpness * t * near * near
    cubic, square = sharpness + np.float32(2), -(sharpness + np.float32(3))
    at = multiply_add(multiply_add(cubic, t, square) * t, t, _ONE)
    after = multiply_add(multiply_add(cubic, near, square) * near, near, _ONE)
    return before, at, after, _ONE - before - at - after


@njit(**_INNER)
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


@njit(**_INNER)
def _close_term(frame, u, v, constant, by_u, by_v, inverse):
    """From the warped image (in ``constant``) and its derivatives to ρ and 1/|∇ρ|², for a row."""
    for x in range(u.size):
        constant[x] = multiply_add(-by_v[x], v[x], multiply_add(-by_u[x], u[x], constant[x] - frame[x]))
        squared = multiply_add(by_u[x], by_u[x], by_v[x] * by_v[x])
        inverse[x] = _ONE / max(squared, np.float32(_LEAST_SQUARED_GRADIENT))
