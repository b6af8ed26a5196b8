"""Instructions that the fused solver's loops need and numba does not have: LLVM's own, on vectors of one fixed width.

What they compute is the same to the bit on every CPU that fuses a multiplication with an addition (x86-64 since 2013,
all of ARM's 64-bit ones), however wide its vectors are.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

CHANNELS = 4
"""Of an interleaved image: I1, its two derivatives, and one unused, so that a pixel is one load of 16 bytes."""

# No "fastmath": what a compiler may reorder or contract it does by the width of the machine's vectors, and flow would
# differ from CPU to CPU. Loops without a sum run on vectors as they are; a sum has an order that suits every width.
INNER: Any = {"nogil": True, "forceinline": True, "error_model": "numpy"}
"""How numba compiles a part, which is inlined into the entry points."""
ENTRY: Any = {**INNER, "forceinline": False, "cache": True}
"""How it compiles an entry point; these alone are kept on disk."""


def _multiply_add(builder: Any, left: Any, right: Any, addend: Any) -> Any:
    kind = left.type
    # "muladd": where a CPU cannot fuse, it multiplies and adds, which costs it the last digit and not its speed.
    name = f"llvm.fmuladd.v{kind.count}f32" if isinstance(kind, ir.VectorType) else "llvm.fmuladd.f32"
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind] * 3), name)
    return builder.call(function, [left, right, addend])


def _generate_multiply_add(typing: Any, left: Any, right: Any, addend: Any) -> Any:  # noqa: ARG001
    """``left * right + addend`` of float32, rounded once."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        values = (context.cast(builder, arg, was, types.float32) for arg, was in zip(args, signature.args, strict=True))
        return _multiply_add(builder, *values)

    return types.float32(left, right, addend), generate


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
            total = builder.fmul(values[0], weights[0])
            for value, weight in zip(values[1:], weights[1:], strict=True):
                total = _multiply_add(builder, value, weight, total)
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


multiply_add: Any = intrinsic(_generate_multiply_add)
sixteen_taps: Any = intrinsic(_generate_sixteen_taps)
