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
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

# Sums may be reordered and products fused, which lets loops run on vectors; NaN and infinity keep their rules.
_MATHS = ("contract", "reassoc", "nsz")
_INNER: Any = {"nogil": True, "forceinline": True, "error_model": "numpy", "fastmath": {*_MATHS, "arcp"}}
# Parts are inlined into the entry points, and these alone are kept on disk. A part that is called may be optimised by
# itself in the process that compiles it, and as a part of the whole in the next: their last digits differ.
_ENTRY: Any = {**_INNER, "forceinline": False, "cache": True}

VECTOR = 16  # float32 of the widest vector
MARGIN_BEFORE, MARGIN_AFTER = 3, 4  # px around the warped image: from there on every tap sees only border
CHANNELS = 4  # I1, its two derivatives, and one unused: a pixel is one load of 16 bytes

ROWS = 24  # of u, renewed before the dual of the rows above: enough to amortise a loop, few enough to stay in L2
_LEAST_SQUARED_GRADIENT = np.finfo(np.float32).eps
_ONE, _HALF = np.float32(1), np.float32(0.5)


@njit(**_ENTRY)
def iterate(state, term, inside, limit, tau, slope, settled, iterations, check_every, unchecked):
    """Iterations of one outer block, in place.

    Args:
        state: [6, (H + 2) · stride]: u, v, and θ·p of u along x and y and of v along x and y.
        term: [4, (H + 2) · stride]: ρ = term[0] + term[1]·u + term[2]·v, and 1/|∇ρ|².
        inside: [(rows + 1) · stride]: 1 where a pixel has a right neighbour, else 0.
        limit, tau, slope: λθ, τ and τ/θ.
        settled: A sum of squared updates that ends the iterations; negative for never.
        iterations: At most.
        check_every: Iterations from one look at the stop rule to the next.
        unchecked: Iterations since the last look, of the blocks before.

    Returns:
        (iterations done, since the last look; -1 for settled).
    """
    for done in range(iterations):
        change = _sweep(state, term, inside, limit, tau, slope)
        unchecked += 1
        if unchecked >= check_every:
            unchecked = 0
            if change <= settled:
                return done + 1, -1
    return iterations, unchecked


@njit(**_INNER)
def _sweep(state, term, inside, limit, tau, slope):
    """One iteration; returns the sum of the squared updates."""
    stride = inside.size // (ROWS + 1)
    height = state.shape[1] // stride - 2
    u, v, ux, uy, vx, vy = state[0], state[1], state[2], state[3], state[4], state[5]
    constant, by_u, by_v, inverse = term[0], term[1], term[2], term[3]
    change = 0.0
    for top in range(0, height, ROWS):
        i, j = (top + 1) * stride, (min(top + ROWS, height) + 1) * stride
        change += _renew_flow(
            u[i:j], v[i:j],
            ux[i:j], ux[i - 1 : j - 1], uy[i:j], uy[i - stride : j - stride],
            vx[i:j], vx[i - 1 : j - 1], vy[i:j], vy[i - stride : j - stride],
            constant[i:j], by_u[i:j], by_v[i:j], inverse[i:j], limit,
        )  # fmt: skip
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
def _renew_flow(u, v, ux, ux_left, uy, uy_above, vx, vx_left, vy, vy_above, constant, by_u, by_v, inverse, limit):
    """u = v + θ div p, with v = u - ∇ρ·clamp(ρ/|∇ρ|², ±λθ)."""
    change = np.float32(0)
    for n in range(u.size):
        residual = (constant[n] + by_u[n] * u[n] + by_v[n] * v[n]) * inverse[n]
        residual = min(max(residual, -limit), limit)
        step_u = ux[n] - ux_left[n] + uy[n] - uy_above[n] - by_u[n] * residual
        step_v = vx[n] - vx_left[n] + vy[n] - vy_above[n] - by_v[n] * residual
        u[n] += step_u
        v[n] += step_v
        change += step_u * step_u + step_v * step_v
    return change


@njit(**_INNER)
def _renew_dual(u, u_right, u_below, v, v_right, v_below, inside, ux, uy, vx, vy, tau, slope):
    """p = (p + τ/θ ∇u) / (1 + τ/θ |∇u|), for θ·p; one division serves both components."""
    for n in range(u.size):
        u_along_x, u_along_y = (u_right[n] - u[n]) * inside[n], u_below[n] - u[n]
        v_along_x, v_along_y = (v_right[n] - v[n]) * inside[n], v_below[n] - v[n]
        norm_u = _ONE + slope * math.sqrt(u_along_x * u_along_x + u_along_y * u_along_y)
        norm_v = _ONE + slope * math.sqrt(v_along_x * v_along_x + v_along_y * v_along_y)
        inverse = _ONE / (norm_u * norm_v)
        ux[n] = (ux[n] + tau * u_along_x) * (inverse * norm_v)
        uy[n] = (uy[n] + tau * u_along_y) * (inverse * norm_v)
        vx[n] = (vx[n] + tau * v_along_x) * (inverse * norm_u)
        vy[n] = (vy[n] + tau * v_along_y) * (inverse * norm_u)


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
            seen = _ONE
            if not clamped and (y != row - MARGIN_BEFORE or x != column - MARGIN_BEFORE):
                seen = np.float32(0)
            image[row, column, 0] = seen * frame[y, x]
            image[row, column, 1] = seen * _HALF * (frame[y, min(x + 1, width - 1)] - frame[y, max(x - 1, 0)])
            image[row, column, 2] = seen * _HALF * (frame[min(y + 1, height - 1), x] - frame[max(y - 1, 0), x])
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
    at = ((sharpness + np.float32(2)) * t - (sharpness + np.float32(3))) * t * t + _ONE
    after = ((sharpness + np.float32(2)) * near - (sharpness + np.float32(3))) * near * near + _ONE
    return before, at, after, _ONE - before - at - after


@njit(**_INNER)
def _gather_taps(pixels, corner, row_length, across, down, warped):
    """I1 and its derivatives at the displaced pixels of a row, into ``warped`` [3, W]."""
    for x in range(corner.size):
        warped[0, x], warped[1, x], warped[2, x] = _sixteen_taps(
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
        constant[x] = constant[x] - frame[x] - by_u[x] * u[x] - by_v[x] * v[x]
        inverse[x] = _ONE / max(by_u[x] * by_u[x] + by_v[x] * by_v[x], np.float32(_LEAST_SQUARED_GRADIENT))


def _generate_sixteen_taps(typing: Any, pixels: Any, corner: Any, row_length: Any, across: Any, down: Any) -> Any:  # noqa: ARG001
    """Weighted sum of 4 × 4 interleaved pixels, from the flat index ``corner``: the first three channels.

    Written as vector instructions of LLVM, because it finds none itself: all channels of a tap in one load.
    """
    signature = types.UniTuple(types.float32, 3)(pixels, corner, row_length, across, down)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pixel = ir.VectorType(ir.FloatType(), CHANNELS)
        undefined, lane = ir.Constant(pixel, ir.Undefined), ir.IntType(32)
        data = context.make_array(signature.args[0])(context, builder, args[0]).data

        def in_all_lanes(value: Any) -> Any:
            first = builder.insert_element(undefined, value, lane(0))
            return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(lane, CHANNELS), [0] * CHANNELS))

        def weighted(values: list[Any], weights: list[Any]) -> Any:
            total = builder.fmul(values[0], weights[0], flags=_MATHS)
            for value, weight in zip(values[1:], weights[1:], strict=True):
                total = builder.fadd(total, builder.fmul(value, weight, flags=_MATHS), flags=_MATHS)
            return total

        def tap(row: int, column: int) -> Any:
            index = builder.add(args[1], builder.mul(args[2], args[2].type(row)))
            address = builder.gep(data, [builder.add(index, index.type(CHANNELS * column))])
            return builder.load(builder.bitcast(address, pixel.as_pointer()), align=4)

        across, down = ([in_all_lanes(weight) for weight in cgutils.unpack_tuple(builder, arg)] for arg in args[3:])
        rows = [weighted([tap(row, column) for column in range(4)], across) for row in range(4)]
        total = weighted(rows, down)
        return context.make_tuple(
            builder, signature.return_type, [builder.extract_element(total, lane(c)) for c in range(3)]
        )

    return signature, generate


_sixteen_taps: Any = intrinsic(_generate_sixteen_taps)
