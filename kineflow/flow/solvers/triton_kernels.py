# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call"
"""The Triton kernels of TV-L1: linearise, median and one whole iteration, each over a batch of pairs.

**Memory.** Every array holds ``slots`` pairs of one level, in float32, row by row and in a row field by field:

    state      [2, slots, lines, 6, PITCH]   u, v, and θp: of u along x and y, of v along x and y
    filtered   [slots, lines, 2, PITCH]      u and v after the median
    problem    [slots, lines, 3, PITCH]      ρ at u = 0, and the gradient of the warped I1 along x and y
    frames     [slots, lines, 4, PITCH]      I1, its derivatives along x and y, I0
    partials   [2, slots, PARTIALS]          the squared update of each strip of a frame, by parity of the iteration

Row y of the frame is line y + 1; the lines above and below it and the columns beyond its width (PITCH, a multiple of
128 bytes, leaves two at least) are 0 and stay 0. So neighbours outside of the frame may be read like others: no load
has a mask, and since PITCH is a constant, a pixel's fields lie at constant distances from one address.

**One iteration** reads one copy of the state and writes the other. A program takes a strip of columns and goes down a
few rows with it. The new u at (x + 1, y) and (x, y + 1), which the dual step wants, is computed again rather than
waited for, and what belongs to the row below is kept for the next step down: a pixel costs two updates of u and no
barrier. It reads 9 floats (u, v, four of the dual, three of the problem: 1/|∇I1|² costs less to compute than to load)
and writes 6: 60 bytes. What strips share makes that about 67 (counted, not measured) with strips of 128 × 8 pixels, if
L1 saves nothing. Compiled for an H200, the step down a row is about 125 instructions in 48 registers, 26 of them loads
and stores.

**Stopping** needs neither the host nor atomics. ``started[n]`` is the number of iterations that pair n had made on this
level when the warp began, ``made[n]`` the number it has made; the state after m iterations lies in copy m % 2. In
iteration k of a warp every program of a pair that goes on finds made[n] = started[n] + k - 1, or + k when the pair's
first program was quicker; then it adds up the partial sums of iteration k - 1, all of them in the same order, so that
every program of a pair comes to the same decision, on every run. A pair that has settled no longer moves its
``made``, which from the next launch on says that it has; its old partial sums are not looked at again. A slot without
a pair has started[n] = made[n] = -1.
"""

from __future__ import annotations

import triton
import triton.language as tl

STATE_FIELDS, FLOW_FIELDS, PROBLEM_FIELDS, FRAME_FIELDS = 6, 2, 3, 4
_STATE: tl.constexpr = tl.constexpr(STATE_FIELDS)
_FLOW: tl.constexpr = tl.constexpr(FLOW_FIELDS)
_PROBLEM: tl.constexpr = tl.constexpr(PROBLEM_FIELDS)
_FRAME: tl.constexpr = tl.constexpr(FRAME_FIELDS)
_LEAST_SQUARED_GRADIENT: tl.constexpr = tl.constexpr(2.0**-23)  # float32's epsilon, as OpenCV
_BEYOND: tl.constexpr = tl.constexpr(4)  # px outside of the image from where no tap of the cubic kernel sees it


def interpreted() -> bool:
    """Whether the kernels run in Triton's interpreter, on the CPU (TRITON_INTERPRET=1 when triton was imported)."""
    return not isinstance(iterate, triton.JITFunction)


@triton.jit
def _frame(array, slot, lines, FIELDS: tl.constexpr, PITCH: tl.constexpr):
    """The first pixel of a slot."""
    return array + slot.to(tl.int64) * (lines * FIELDS * PITCH) + FIELDS * PITCH


@triton.jit
def _is_done(started, made, partials, pair, slots, iteration, settled, PARTIALS: tl.constexpr, LOOK: tl.constexpr):
    """Whether a pair takes no part in this iteration of the warp (the first is 1)."""
    before = tl.load(started + pair)
    done = (before < 0) | (tl.load(made + pair) < before + iteration - 1)
    if LOOK:
        last = partials + (((iteration - 1) % 2) * slots + pair) * PARTIALS
        total = tl.sum(tl.load(last + tl.arange(0, PARTIALS)), axis=0)
        done = done | (total <= settled) | (total != total)
    return done


@triton.jit
def _read(flow, dual, problem, PITCH: tl.constexpr):
    """The 9 values of some pixels: u, v, the dual (of u along x and y, of v likewise), ρ at u = 0 and ∇I1."""
    return (
        tl.load(flow),
        tl.load(flow + PITCH),
        tl.load(dual),
        tl.load(dual + PITCH),
        tl.load(dual + 2 * PITCH),
        tl.load(dual + 3 * PITCH),
        tl.load(problem),
        tl.load(problem + PITCH),
        tl.load(problem + 2 * PITCH),
    )


@triton.jit
def _changes(pixels, left_u, left_v, above_u, above_v, limit):
    """By how much u and v change: threshold on ρ, then θ div p. The last arguments are the dual of the neighbours."""
    u, v, u_x, u_y, v_x, v_y, constant, gradient_x, gradient_y = pixels
    squared = gradient_x * gradient_x + gradient_y * gradient_y
    # 1/x as a square costs half of a division, whose operands a compiler must scale.
    root = tl.rsqrt(tl.maximum(squared, _LEAST_SQUARED_GRADIENT))
    residual = (constant + gradient_x * u + gradient_y * v) * root * root
    residual = tl.minimum(tl.maximum(residual, -limit), limit)
    return (
        (u_x - left_u) + (u_y - above_u) - gradient_x * residual,
        (v_x - left_v) + (v_y - above_v) - gradient_y * residual,
    )


@triton.jit
def _dual_step(along_x, along_y, difference_x, difference_y, tau, steepness):
    """p = (p + τ/θ ∇u) / (1 + τ/θ |∇u|) for θp; ``steepness`` is τ/θ."""
    norm = tl.sqrt(difference_x * difference_x + difference_y * difference_y)
    root = tl.rsqrt(1.0 + steepness * norm)
    scale = root * root
    return (along_x + tau * difference_x) * scale, (along_y + tau * difference_y) * scale


@triton.jit(do_not_specialize=["iteration", "height", "width", "lines", "slots"])
def iterate(
    state,
    filtered,
    problem,
    started,
    made,
    partials,
    iteration,
    height,
    width,
    lines,
    slots,
    limit,
    tau,
    steepness,
    settled,
    PITCH: tl.constexpr,
    PARTIALS: tl.constexpr,
    COLUMNS: tl.constexpr,
    LANES: tl.constexpr,
    ROWS: tl.constexpr,
    AFTER_MEDIAN: tl.constexpr,
    LOOK: tl.constexpr,
    MEASURE: tl.constexpr,
):
    """One iteration of every pair that has not settled; grid (strips over x, strips over y, slots).

    Args:
        iteration: In this warp, from 1.
        limit, tau, steepness: λθ, τ and τ/θ.
        settled: A pair stops when its squared update, summed over the frame, is at most this.
        COLUMNS, LANES, ROWS: A program covers COLUMNS × (LANES · ROWS) pixels: each of LANES goes down its ROWS.
        AFTER_MEDIAN: Take u and v from ``filtered``.
        LOOK, MEASURE: Whether the stop rule is applied to the last iteration, and whether to this one.
    """
    pair = tl.program_id(2)
    if _is_done(started, made, partials, pair, slots, iteration, settled, PARTIALS, LOOK):
        return
    strip = tl.program_id(1) * tl.num_programs(0) + tl.program_id(0)
    before = tl.load(started + pair) + iteration - 1
    if strip == 0:
        tl.store(made + pair, before + 1)

    lane = tl.arange(0, COLUMNS * LANES)
    x = tl.minimum(tl.program_id(0) * COLUMNS + lane % COLUMNS, width)
    y = (tl.program_id(1) * LANES + lane // COLUMNS) * ROWS
    new = _frame(state, (1 - before % 2) * slots + pair, lines, _STATE, PITCH) + (y * (_STATE * PITCH) + x)
    old = _frame(state, (before % 2) * slots + pair, lines, _STATE, PITCH) + (y * (_STATE * PITCH) + x)
    problem = _frame(problem, pair, lines, _PROBLEM, PITCH) + (y * (_PROBLEM * PITCH) + x)
    if AFTER_MEDIAN:
        flow = _frame(filtered, pair, lines, _FLOW, PITCH) + (y * (_FLOW * PITCH) + x)
    else:
        flow = old
    STATE_LINE: tl.constexpr = _STATE * PITCH
    PROBLEM_LINE: tl.constexpr = _PROBLEM * PITCH
    FLOW_LINE: tl.constexpr = _FLOW * PITCH if AFTER_MEDIAN else STATE_LINE
    dual = old + _FLOW * PITCH
    inside, has_right = x < width, x + 1 < width

    # A pixel, its right neighbour, and what the row below will need of both: the new flow and the dual.
    pixels, rights = _read(flow, dual, problem, PITCH), _read(flow + 1, dual + 1, problem + 1, PITCH)
    above = dual - STATE_LINE
    change_u, change_v = _changes(
        pixels, tl.load(dual - 1), tl.load(dual + 2 * PITCH - 1),
        tl.load(above + PITCH), tl.load(above + 3 * PITCH), limit,
    )  # fmt: skip
    right_change_u, right_change_v = _changes(
        rights, pixels[2], pixels[4], tl.load(above + PITCH + 1), tl.load(above + 3 * PITCH + 1), limit
    )
    u, v, u_x, u_y, v_x, v_y = pixels[0] + change_u, pixels[1] + change_v, pixels[2], pixels[3], pixels[4], pixels[5]
    right_u, right_v = rights[0] + right_change_u, rights[1] + right_change_v
    right_u_y, right_v_y = rights[3], rights[5]

    squared_update = tl.zeros([COLUMNS * LANES], tl.float32)
    for _row in range(ROWS):
        flow, dual, problem = flow + FLOW_LINE, dual + STATE_LINE, problem + PROBLEM_LINE
        pixels, rights = _read(flow, dual, problem, PITCH), _read(flow + 1, dual + 1, problem + 1, PITCH)
        left_u, left_v = tl.load(dual - 1), tl.load(dual + 2 * PITCH - 1)

        here, has_below = inside & (y < height), y + 1 < height
        squared_update += tl.where(here, change_u * change_u + change_v * change_v, 0.0)
        change_u, change_v = _changes(pixels, left_u, left_v, u_y, v_y, limit)
        right_change_u, right_change_v = _changes(rights, pixels[2], pixels[4], right_u_y, right_v_y, limit)
        below_u, below_v = pixels[0] + change_u, pixels[1] + change_v
        difference_u_x, difference_u_y = tl.where(has_right, right_u - u, 0.0), tl.where(has_below, below_u - u, 0.0)
        difference_v_x, difference_v_y = tl.where(has_right, right_v - v, 0.0), tl.where(has_below, below_v - v, 0.0)
        u_x, u_y = _dual_step(u_x, u_y, difference_u_x, difference_u_y, tau, steepness)
        v_x, v_y = _dual_step(v_x, v_y, difference_v_x, difference_v_y, tau, steepness)
        tl.store(new, u, mask=here)
        tl.store(new + PITCH, v, mask=here)
        tl.store(new + 2 * PITCH, u_x, mask=here)
        tl.store(new + 3 * PITCH, u_y, mask=here)
        tl.store(new + 4 * PITCH, v_x, mask=here)
        tl.store(new + 5 * PITCH, v_y, mask=here)

        u, v, u_x, u_y, v_x, v_y = below_u, below_v, pixels[2], pixels[3], pixels[4], pixels[5]
        right_u, right_v = rights[0] + right_change_u, rights[1] + right_change_v
        right_u_y, right_v_y = rights[3], rights[5]
        new, y = new + STATE_LINE, y + 1
    if MEASURE:
        total = tl.sum(squared_update, axis=0)
        tl.store(partials + ((iteration % 2) * slots + pair) * PARTIALS + strip, total)


@triton.jit
def _cubic_weights(offset, sharpness):
    """Keys' kernel at the pixels -1, 0, 1, 2 for an offset in [0, 1); exactly 0, 1, 0, 0 at offset 0."""
    other = 1.0 - offset
    before, after = offset + 1.0, 2.0 - offset
    return (
        ((before - 5.0) * before + 8.0) * before * sharpness - 4.0 * sharpness,
        ((sharpness + 2.0) * offset - (sharpness + 3.0)) * offset * offset + 1.0,
        ((sharpness + 2.0) * other - (sharpness + 3.0)) * other * other + 1.0,
        ((after - 5.0) * after + 8.0) * after * sharpness - 4.0 * sharpness,
    )


@triton.jit
def _cubic_row(line, c0, c1, c2, c3, weights):
    w0, w1, w2, w3 = weights
    return w0 * tl.load(line + c0) + w1 * tl.load(line + c1) + w2 * tl.load(line + c2) + w3 * tl.load(line + c3)


@triton.jit
def _cubic(image, r0, r1, r2, r3, c0, c1, c2, c3, weights_x, weights_y):
    """The weighted sum of 4 × 4 pixels, given the offsets of their rows and columns."""
    w0, w1, w2, w3 = weights_y
    return (
        w0 * _cubic_row(image + r0, c0, c1, c2, c3, weights_x)
        + w1 * _cubic_row(image + r1, c0, c1, c2, c3, weights_x)
        + w2 * _cubic_row(image + r2, c0, c1, c2, c3, weights_x)
        + w3 * _cubic_row(image + r3, c0, c1, c2, c3, weights_x)
    )


@triton.jit
def _within(index, least, greatest):
    return tl.minimum(tl.maximum(index, least), greatest)


@triton.jit(do_not_specialize=["height", "width", "lines", "slots", "margin"])
def linearise(
    state,
    frames,
    problem,
    started,
    made,
    height,
    width,
    lines,
    slots,
    margin,
    sharpness,
    PITCH: tl.constexpr,
    COLUMNS: tl.constexpr,
    ROWS: tl.constexpr,
):
    """Begin a warp: I1 and its derivatives at x + u, and ρ as a function of u; grid (strips over x, over y, slots).

    The three images are fields of their own: neighbouring pixels mostly see neighbouring taps, so 4-byte loads meet in
    the same lines, and three fields move no more bytes than packed channels would.

    Args:
        margin: Pixels around a frame that a tap may fall on, where farther ones are moved to: 0 for the nearest pixel
            (``clamp``), 1 for the ring of zeros.
    """
    pair = tl.program_id(2)
    iterations = tl.load(made + pair)
    if iterations < 0:
        return
    if (tl.program_id(0) == 0) & (tl.program_id(1) == 0):
        tl.store(started + pair, iterations)

    lane = tl.arange(0, COLUMNS * ROWS)
    x = tl.minimum(tl.program_id(0) * COLUMNS + lane % COLUMNS, width)
    y = tl.minimum(tl.program_id(1) * ROWS + lane // COLUMNS, height)
    inside = (x < width) & (y < height)
    flow = _frame(state, (iterations % 2) * slots + pair, lines, _STATE, PITCH) + (y * (_STATE * PITCH) + x)
    frames = _frame(frames, pair, lines, _FRAME, PITCH)
    problem = _frame(problem, pair, lines, _PROBLEM, PITCH) + (y * (_PROBLEM * PITCH) + x)
    u, v = tl.load(flow), tl.load(flow + PITCH)

    # Farther out nothing changes; without bounds a huge flow would overflow an integer.
    from_x, from_y = _within(x + u, -_BEYOND, width + _BEYOND), _within(y + v, -_BEYOND, height + _BEYOND)
    left, top = tl.floor(from_x), tl.floor(from_y)
    weights_x, weights_y = _cubic_weights(from_x - left, sharpness), _cubic_weights(from_y - top, sharpness)
    column, row = left.to(tl.int32), top.to(tl.int32)
    c0 = _within(column - 1, -margin, width - 1 + margin)
    c1 = _within(column, -margin, width - 1 + margin)
    c2 = _within(column + 1, -margin, width - 1 + margin)
    c3 = _within(column + 2, -margin, width - 1 + margin)
    r0 = _within(row - 1, -margin, height - 1 + margin) * (_FRAME * PITCH)
    r1 = _within(row, -margin, height - 1 + margin) * (_FRAME * PITCH)
    r2 = _within(row + 1, -margin, height - 1 + margin) * (_FRAME * PITCH)
    r3 = _within(row + 2, -margin, height - 1 + margin) * (_FRAME * PITCH)
    image = _cubic(frames, r0, r1, r2, r3, c0, c1, c2, c3, weights_x, weights_y)
    gradient_x = _cubic(frames + PITCH, r0, r1, r2, r3, c0, c1, c2, c3, weights_x, weights_y)
    gradient_y = _cubic(frames + 2 * PITCH, r0, r1, r2, r3, c0, c1, c2, c3, weights_x, weights_y)
    first = tl.load(frames + 3 * PITCH + y * (_FRAME * PITCH) + x)
    tl.store(problem, image - first - (gradient_x * u + gradient_y * v), mask=inside)
    tl.store(problem + PITCH, gradient_x, mask=inside)
    tl.store(problem + 2 * PITCH, gradient_y, mask=inside)


@triton.jit
def _order(a, b):
    return tl.minimum(a, b), tl.maximum(a, b)


@triton.jit
def _sort3(a, b, c):
    b, c = _order(b, c)
    a, b = _order(a, b)
    b, c = _order(b, c)
    return a, b, c


@triton.jit
def _sort5(a, b, c, d, e):
    a, b = _order(a, b)
    d, e = _order(d, e)
    c, e = _order(c, e)
    c, d = _order(c, d)
    b, e = _order(b, e)
    a, d = _order(a, d)
    a, c = _order(a, c)
    b, d = _order(b, d)
    b, c = _order(b, c)
    return a, b, c, d, e


@triton.jit
def _sorted_row3(image, row, x, height, width, LINE: tl.constexpr):
    """The three values around x of one row, sorted; beyond the border the nearest pixel."""
    line = image + _within(row, 0, height - 1) * LINE
    last = width - 1
    return _sort3(tl.load(line + tl.maximum(x - 1, 0)), tl.load(line + x), tl.load(line + tl.minimum(x + 1, last)))


@triton.jit
def _sorted_row5(image, row, x, height, width, LINE: tl.constexpr):
    line = image + _within(row, 0, height - 1) * LINE
    last = width - 1
    return _sort5(
        tl.load(line + tl.maximum(x - 2, 0)),
        tl.load(line + tl.maximum(x - 1, 0)),
        tl.load(line + x),
        tl.load(line + tl.minimum(x + 1, last)),
        tl.load(line + tl.minimum(x + 2, last)),
    )


@triton.jit
def _median9(image, y, x, height, width, LINE: tl.constexpr):
    """Sort rows, then columns: what is left in doubt is the diagonal that rises to the right."""
    a0, a1, a2 = _sorted_row3(image, y - 1, x, height, width, LINE)
    b0, b1, b2 = _sorted_row3(image, y, x, height, width, LINE)
    c0, c1, c2 = _sorted_row3(image, y + 1, x, height, width, LINE)
    low = tl.maximum(tl.maximum(a0, b0), c0)
    middle = _sort3(a1, b1, c1)[1]
    high = tl.minimum(tl.minimum(a2, b2), c2)
    return _sort3(low, middle, high)[1]


@triton.jit
def _median25(image, y, x, height, width, LINE: tl.constexpr):
    """Sort rows, then columns, then the three diagonals that rise to the right through the middle.

    In sorted rows and columns the value at (i, j), counted from 1, has at least ij - 1 values that are not above it,
    and (6 - i)(6 - j) - 1 not below. The median has 12 of each, which leaves the diagonals with i + j of 5, 6 and 7. Of
    these, 4, 5 and 4 values, the same argument leaves the greatest, the median and the least.
    """
    a0, a1, a2, a3, a4 = _sorted_row5(image, y - 2, x, height, width, LINE)
    b0, b1, b2, b3, b4 = _sorted_row5(image, y - 1, x, height, width, LINE)
    c0, c1, c2, c3, c4 = _sorted_row5(image, y, x, height, width, LINE)
    d0, d1, d2, d3, d4 = _sorted_row5(image, y + 1, x, height, width, LINE)
    e0, e1, e2, e3, e4 = _sorted_row5(image, y + 2, x, height, width, LINE)
    a0, b0, c0, d0, e0 = _sort5(a0, b0, c0, d0, e0)
    a1, b1, c1, d1, e1 = _sort5(a1, b1, c1, d1, e1)
    a2, b2, c2, d2, e2 = _sort5(a2, b2, c2, d2, e2)
    a3, b3, c3, d3, e3 = _sort5(a3, b3, c3, d3, e3)
    a4, b4, c4, d4, e4 = _sort5(a4, b4, c4, d4, e4)
    low = tl.maximum(tl.maximum(d0, c1), tl.maximum(b2, a3))
    middle = _sort5(e0, d1, c2, b3, a4)[2]
    high = tl.minimum(tl.minimum(e1, d2), tl.minimum(c3, b4))
    return _sort3(low, middle, high)[1]


@triton.jit(do_not_specialize=["iteration", "height", "width", "lines", "slots"])
def filter_flow(
    state,
    filtered,
    started,
    made,
    partials,
    iteration,
    height,
    width,
    lines,
    slots,
    settled,
    PITCH: tl.constexpr,
    PARTIALS: tl.constexpr,
    COLUMNS: tl.constexpr,
    ROWS: tl.constexpr,
    SIZE: tl.constexpr,
    LOOK: tl.constexpr,
):
    """Median of u and v over SIZE × SIZE before an iteration, of the pairs that will make it; grid as of linearise."""
    pair = tl.program_id(2)
    if _is_done(started, made, partials, pair, slots, iteration, settled, PARTIALS, LOOK):
        return
    before = tl.load(started + pair) + iteration - 1
    flow = _frame(state, (before % 2) * slots + pair, lines, _STATE, PITCH)
    filtered = _frame(filtered, pair, lines, _FLOW, PITCH)
    lane = tl.arange(0, COLUMNS * ROWS)
    x = tl.program_id(0) * COLUMNS + lane % COLUMNS
    y = tl.program_id(1) * ROWS + lane // COLUMNS
    inside = (x < width) & (y < height)
    x = tl.minimum(x, width - 1)
    for component in tl.static_range(_FLOW):
        image = flow + component * PITCH
        if SIZE == 3:
            middle = _median9(image, y, x, height, width, _STATE * PITCH)
        else:
            middle = _median25(image, y, x, height, width, _STATE * PITCH)
        tl.store(filtered + component * PITCH + y * (_FLOW * PITCH) + x, middle, mask=inside)
