"""The iterations of the fused solver: several run down the image together, while its rows are in cache.

Fields are float32 and flat: rows of ``stride`` values, a multiple of sixteen of which the last ones are padding, with
a row of zeros above the image and one below. In this layout a neighbour is a fixed distance away, and no pixel is a
special case:

- the padding is 0 and stays 0, for all data terms are 0 there;
- the dual along x is 0 in the last column, as that along y in the last row, and so are those before the first ones:
  the value left of a row is the last of the row above.

An iteration renews u and v of a row and then the dual of the row above, in one loop. It needs nothing else from the
iteration before it, which may therefore be only one row ahead (time skewing, a wavefront). Of a wavefront of three
iterations, these are the steps that renew u:

    row          0 1 2 3 4 5
    iteration 1  0 1 2 3 4 5
    iteration 2  1 2 3 4 5 6
    iteration 3  2 3 4 5 6 7

Memory is read and written once for all of them, and each value is computed from the same ones as by one iteration after
the other: it is the same to the bit.

The stop rule looks at a sum over the whole image, which is known when the wavefront has passed. A wavefront is
therefore as deep as the rule is expected not to fire within. Where it fires nevertheless, the iterations are done again
from a copy, up to the one where it fired.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from kineflow.flow.solvers.instructions import ENTRY, INNER
from kineflow.flow.solvers.vectors import (
    LANES,
    broadcast,
    larger,
    load,
    multiply_add,
    smaller,
    square_root,
    store,
    sum_of_lanes,
)

DEPTH = 8
"""Iterations of a wavefront at most: of more, the rows leave a CPU's L2."""
_FALL = 1.5
"""Exponent of the power of the iterations by which the sum of squared updates is expected to fall. On real clips it is
1.7 at first and 1.1 later, and this one deceives in 1 of 100 blocks."""
_SUMMED_ROWS = 24  # whose squared updates are summed in float32; beyond, in float64
_ONE, _ZERO = np.float32(1), np.float32(0)


@njit(**ENTRY)
def iterate(state, kept, term, inside, limit, tau, slope, settled, iterations, check_every, unchecked):
    """Iterations of one outer block, in place.

    Args:
        state: [6, (H + 2) · stride]: u, v, and θ·p of u along x and y and of v along x and y.
        kept: As ``state``: room for a copy.
        term: [4, (H + 2) · stride]: ρ = term[0] + term[1]·u + term[2]·v, and 1/|∇ρ|².
        inside: [stride]: 1 where a pixel of a row has a right neighbour, else 0.
        limit, tau, slope: λθ, τ and τ/θ.
        settled: A sum of squared updates that ends the iterations; negative for never.
        iterations: At most.
        check_every: Iterations from one look at the stop rule to the next.
        unchecked: Iterations since the last look, of the blocks before.

    Returns:
        (iterations done, since the last look; -1 for settled).
    """
    lanes, changes = np.empty((DEPTH, LANES), np.float32), np.empty(DEPTH, np.float64)
    done, kept_at, fired = 0, -1, False
    settles_at = 0.0 if settled >= 0 else math.inf  # when the stop rule is expected to fire
    while done < iterations:
        until_check = check_every - unchecked
        depth = min(DEPTH, iterations - done, max(until_check, int(min(settles_at - done, np.float64(DEPTH)))))
        keeping = settled >= 0 and kept_at < 0 and depth > until_check
        if keeping:
            kept_at = done
        _advance(state, kept, keeping, term, inside, limit, tau, slope, depth, lanes, changes)
        for n in range(depth):
            unchecked += 1
            if unchecked >= check_every and settled >= 0:
                unchecked = 0
                if changes[n] <= settled:
                    fired, iterations = True, done + n + 1
                    break
                settles_at = (done + n + 1) * (changes[n] / settled) ** (1 / _FALL)
        done += depth
        if done > iterations:
            for row in range(state.shape[1] // inside.size - 2):
                _copy_row(kept, state, row, inside.size)
            done, settled, settles_at = kept_at, -1.0, math.inf
    return iterations, -1 if fired else unchecked


@njit(**{**INNER, "forceinline": False})
def _advance(state, kept, keeping, term, inside, limit, tau, slope, depth, lanes, changes):
    """One wavefront of ``depth`` iterations; the sum of the squared updates of each into ``changes`` [depth].

    The state before it goes into ``kept`` if ``keeping``; ``lanes`` [depth, LANES] is room for partial sums.
    """
    stride = inside.size
    height = state.shape[1] // stride - 2
    lanes[:], changes[:] = 0, 0
    for front in range(height + depth):
        for n in range(depth):
            row = front - n
            if 0 <= row <= height:
                if keeping and n == 0:
                    _copy_row(state, kept, row, stride)
                _renew_row(state, term, inside, limit, tau, slope, row, lanes[n])
                if (row + 1) % _SUMMED_ROWS == 0 or row + 1 == height:
                    changes[n] += sum_of_lanes(load(lanes[n], 0))
                    lanes[n] = 0


@njit(**INNER)
def _copy_row(source, target, row, stride):
    for field in range(source.shape[0]):
        for n in range((row + 1) * stride, (row + 2) * stride, LANES):
            store(target[field], n, load(source[field], n))


@njit(**INNER)
def _renew_row(state, term, inside, limit, tau, slope, row, lanes):
    """u and v of a row and the dual of the row above; adds the squared updates to ``lanes`` [LANES].

    Rows from 0 to H: u of row H and the dual of row -1 are padding, and stay 0.
    """
    stride = inside.size
    height = state.shape[1] // stride - 2
    limit, tau, slope, one = broadcast(limit), broadcast(tau), broadcast(slope), broadcast(_ONE)
    down = broadcast(_ONE if 0 < row < height else _ZERO)
    total = load(lanes, 0)
    for x in range(0, stride, LANES):
        n = (row + 1) * stride + x
        total = total + _renew_vector(state, term, inside, limit, tau, slope, one, down, stride, n, x)
    store(lanes, 0, total)


@njit(**INNER)
def _renew_vector(state, term, inside, limit, tau, slope, one, down, stride, n, x):
    """The pixels from ``n`` and the dual of those above; returns the squared updates.

    v = u - ∇ρ·clamp(ρ/|∇ρ|², ±λθ), u = v + θ div p, p = (p + τ/θ ∇u) / (1 + τ/θ |∇u|), for θ·p.
    """
    u, v, ux, uy, vx, vy = state[0], state[1], state[2], state[3], state[4], state[5]
    above = n - stride
    uy_above, vy_above = load(uy, above), load(vy, above)

    u_was, v_was, by_u, by_v = load(u, n), load(v, n), load(term[1], n), load(term[2], n)
    residual = multiply_add(by_v, v_was, multiply_add(by_u, u_was, load(term[0], n))) * load(term[3], n)
    residual = smaller(larger(residual, -limit), limit)
    step_u = multiply_add(-by_u, residual, load(ux, n) - load(ux, n - 1) + load(uy, n) - uy_above)
    step_v = multiply_add(-by_v, residual, load(vx, n) - load(vx, n - 1) + load(vy, n) - vy_above)
    u_below, v_below = u_was + step_u, v_was + step_v
    store(u, n, u_below)
    store(v, n, v_below)

    right = load(inside, x)
    u_here, v_here = load(u, above), load(v, above)
    u_along_x, u_along_y = (load(u, above + 1) - u_here) * right, (u_below - u_here) * down
    v_along_x, v_along_y = (load(v, above + 1) - v_here) * right, (v_below - v_here) * down
    norm_u = multiply_add(slope, square_root(multiply_add(u_along_x, u_along_x, u_along_y * u_along_y)), one)
    norm_v = multiply_add(slope, square_root(multiply_add(v_along_x, v_along_x, v_along_y * v_along_y)), one)
    inverse = one / (norm_u * norm_v)
    scale_u, scale_v = inverse * norm_v, inverse * norm_u
    store(ux, above, multiply_add(tau, u_along_x, load(ux, above)) * scale_u)
    store(uy, above, multiply_add(tau, u_along_y, uy_above) * scale_u)
    store(vx, above, multiply_add(tau, v_along_x, load(vx, above)) * scale_v)
    store(vy, above, multiply_add(tau, v_along_y, vy_above) * scale_v)
    return multiply_add(step_u, step_u, step_v * step_v)
