"""The 5 × 5 median of the fused solver: what neighbouring windows have in common is sorted once.

The five pixels of a window's row are sorted for all windows that hold them: of row after row, five lines of ranks. Two
windows, one above the other, share four rows. Of these the values of each rank are sorted once, and the row that only
one of them has is put in its place. Of a window that is sorted both ways,

    -  -  -  l  m
    -  -  l  m  h
    -  l  m  h  -
    l  m  h  -  -
    m  h  -  -  -

too many values are as large as a "-" at the upper left, or as small as one at the lower right, for it to be the median.
That is the median of the largest l, the median m and the smallest h.

The value is OpenCV's, whatever the order of comparisons; borders are replicated.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from kineflow.flow.solvers.instructions import ENTRY, INNER
from kineflow.flow.solvers.vectors import LANES, larger, load, smaller, store

SIDE = 5
_REACH = SIDE // 2
_RANKED_ROWS = SIDE + 1  # of two windows, one above the other


@njit(**ENTRY)
def median_5x5(field, height, width):
    """Filter a field [(H + 2) · stride], in the layout of :mod:`kineflow.flow.solvers.fused_iterations`, in place."""
    stride = field.size // (height + 2)
    line = np.empty(stride + 2 * _REACH, np.float32)
    ranks = np.empty((_RANKED_ROWS, SIDE * stride), np.float32)
    ranked = 0
    for y in range(0, height, 2):
        while ranked < min(y + _REACH + 2, height):
            _rank_row(field[(ranked + 1) * stride : (ranked + 2) * stride], width, line, ranks[ranked % _RANKED_ROWS])
            ranked += 1
        above, below = ranks[max(y - 2, 0) % _RANKED_ROWS], ranks[min(y + 3, height - 1) % _RANKED_ROWS]
        shared = (
            ranks[max(y - 1, 0) % _RANKED_ROWS],
            ranks[y % _RANKED_ROWS],
            ranks[min(y + 1, height - 1) % _RANKED_ROWS],
            ranks[min(y + 2, height - 1) % _RANKED_ROWS],
        )
        # Where the height is odd, the last of the lower rows is the one below the image.
        i, j = (y + 1) * stride, (y + 2) * stride
        _medians_of_two(above, shared, below, field[i:j], field[j : j + stride])
        for n in range(i + width, j):
            field[n] = 0
        for n in range(j + (width if y + 1 < height else 0), j + stride):
            field[n] = 0


@njit(**INNER)
def _rank_row(row, width, line, ranks):
    """The sorted values of each window of a row, rank by rank; ``line`` is room for it with its borders."""
    stride = row.size
    for x in range(_REACH):
        line[x] = row[0]
    for x in range(width):
        line[_REACH + x] = row[x]
    for x in range(_REACH + width, line.size):
        line[x] = row[width - 1]
    for x in range(0, stride, LANES):
        a, b, c, d, e = load(line, x), load(line, x + 1), load(line, x + 2), load(line, x + 3), load(line, x + 4)
        a, b = _sorted(a, b)
        d, e = _sorted(d, e)
        c, e = _sorted(c, e)
        c, d = _sorted(c, d)
        b, e = _sorted(b, e)
        a, d = _sorted(a, d)
        a, c = _sorted(a, c)
        b, d = _sorted(b, d)
        b, c = _sorted(b, c)
        store(ranks, x, a)
        store(ranks, stride + x, b)
        store(ranks, 2 * stride + x, c)
        store(ranks, 3 * stride + x, d)
        store(ranks, 4 * stride + x, e)


@njit(**INNER)
def _medians_of_two(above, shared, below, upper, lower):
    """Into two rows: the medians of windows of the rows ``above`` and ``shared``, and of ``shared`` and ``below``."""
    stride = upper.size
    for x in range(0, stride, LANES):
        ranks = (
            _sort_rank(shared, x),
            _sort_rank(shared, x + stride),
            _sort_rank(shared, x + 2 * stride),
            _sort_rank(shared, x + 3 * stride),
            _sort_rank(shared, x + 4 * stride),
        )
        store(upper, x, _median(ranks, above, x, stride))
        store(lower, x, _median(ranks, below, x, stride))


@njit(**INNER)
def _sort_rank(rows, x):
    """The values at ``x`` of four rows, sorted."""
    a, b = _sorted(load(rows[0], x), load(rows[1], x))
    c, d = _sorted(load(rows[2], x), load(rows[3], x))
    a, c = _sorted(a, c)
    b, d = _sorted(b, d)
    b, c = _sorted(b, c)
    return a, b, c, d


@njit(**INNER)
def _median(ranks, row, x, stride):
    """The median of the rows whose four values of each rank are ``ranks``, sorted, and of one more row."""
    (_, _, a2, a3), (_, b1, b2, b3), (c0, c1, c2, c3), (d0, d1, d2, _), (e0, e1, _, _) = ranks
    a, b, c = load(row, x), load(row, x + stride), load(row, x + 2 * stride)
    d, e = load(row, x + 3 * stride), load(row, x + 4 * stride)
    # The new value of each rank put among the others: the places that are left of l, m and h in the picture.
    a, a4 = _sorted(a, a3)
    a3 = larger(a, a2)
    b, b4 = _sorted(b, b3)
    b, b3 = _sorted(b, b2)
    b2 = larger(b, b1)
    c1, c2, c3 = smaller(c1, larger(c0, c)), larger(c1, smaller(c2, c)), larger(c2, smaller(c3, c))
    d0, d = _sorted(d0, d)
    d1, d = _sorted(d1, d)
    d2 = smaller(d2, d)
    e0, e = _sorted(e0, e)
    e1 = smaller(e1, e)
    low = larger(larger(a3, b2), larger(c1, d0))
    high = smaller(smaller(b4, c3), smaller(d2, e1))
    return _median_of_three(low, _median_of_five(a4, b3, c2, d1, e0), high)


@njit(**INNER)
def _sorted(a, b):
    return smaller(a, b), larger(a, b)


@njit(**INNER)
def _median_of_three(a, b, c):
    a, b = _sorted(a, b)
    return larger(a, smaller(b, c))


@njit(**INNER)
def _median_of_five(a, b, c, d, e):
    a, b = _sorted(a, b)
    c, d = _sorted(c, d)
    return _median_of_three(larger(a, c), smaller(b, d), e)
