"""Vectors of float32 for numba, which has none: for loops that LLVM would not turn into loops over vectors by itself.

It does so only where it can tell that what a loop writes overlaps with nothing that it reads later, and looks again at
each start of the loop. With these the order of reading and writing is the one that is written down.

They have the operators ``+ - * /`` and unary ``-``, and the functions of this module; all of it within compiled code.
Results are the same to the bit on every CPU that fuses a multiplication with an addition
(:mod:`kineflow.flow.solvers.instructions`).
"""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

LANES = 16
"""float32 of a vector: as many as the widest of a CPU has; others take two or four for one."""


class _Vector(types.Type):
    def __init__(self) -> None:
        super().__init__(name=f"vector of {LANES} float32")


_VECTOR = _Vector()
_IN_LLVM = ir.VectorType(ir.FloatType(), LANES)


@register_model(_Vector)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _IN_LLVM)


def _define(operation: Any, instruction: str, operands: int) -> None:
    @infer_global(operation)
    class _Signature(ConcreteTemplate):
        cases = (signature(_VECTOR, *[_VECTOR] * operands),)

    @lower_builtin(operation, *[_VECTOR] * operands)
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
        return getattr(builder, instruction)(*args)


_define(operator.add, "fadd", 2)
_define(operator.sub, "fsub", 2)
_define(operator.mul, "fmul", 2)
_define(operator.truediv, "fdiv", 2)
_define(operator.neg, "fneg", 1)


def _address(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    data = builder.extract_value(array, context.data_model_manager[kind].get_field_position("data"))
    return builder.bitcast(builder.gep(data, [index]), _IN_LLVM.as_pointer())


def _load(typing: Any, array: Any, index: Any) -> Any:  # noqa: ARG001
    """The vector that begins at ``index`` of a flat array."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(_address(context, builder, signature.args[0], *args), align=4)

    return _VECTOR(array, types.intp), generate


def _store(typing: Any, array: Any, index: Any, vector: Any) -> Any:  # noqa: ARG001
    """Write a vector to where it begins in a flat array."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(args[2], _address(context, builder, signature.args[0], *args[:2]), align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), generate


def _broadcast(typing: Any, value: Any) -> Any:  # noqa: ARG001
    """A vector of one float32."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
        undefined, lane = ir.Constant(_IN_LLVM, ir.Undefined), ir.IntType(32)
        first = builder.insert_element(undefined, args[0], lane(0))
        return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(lane, LANES), [0] * LANES))

    return _VECTOR(types.float32), generate


def _multiply_add(typing: Any, left: Any, right: Any, addend: Any) -> Any:  # noqa: ARG001
    """``left * right + addend``, rounded once."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
        return _call(builder, "fmuladd", args)

    return _VECTOR(left, right, addend), generate


def _square_root(typing: Any, vector: Any) -> Any:  # noqa: ARG001
    """Square root of each value, rounded once."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
        return _call(builder, "sqrt", args)

    return _VECTOR(vector), generate


def _sum_of_lanes(typing: Any, vector: Any) -> Any:  # noqa: ARG001
    """Sum of the values, added up by halves."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
        folded, width = args[0], LANES
        while width > 1:
            width //= 2
            kind = ir.VectorType(ir.IntType(32), width)
            low, high = ir.Constant(kind, list(range(width))), ir.Constant(kind, list(range(width, 2 * width)))
            undefined = ir.Constant(folded.type, ir.Undefined)
            halves = (builder.shuffle_vector(folded, undefined, half) for half in (low, high))
            folded = builder.fadd(*halves)
        return builder.extract_element(folded, ir.IntType(32)(0))

    return types.float32(vector), generate


def _call(builder: Any, name: str, args: Any) -> Any:
    kind = ir.FunctionType(_IN_LLVM, [_IN_LLVM] * len(args))
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.v{LANES}f32"), args)


def _choose(comparison: str) -> Any:
    def choose(typing: Any, left: Any, right: Any) -> Any:  # noqa: ARG001
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
            return builder.select(builder.fcmp_ordered(comparison, *args), *args)

        return _VECTOR(left, right), generate

    return choose


load: Any = intrinsic(_load)
store: Any = intrinsic(_store)
broadcast: Any = intrinsic(_broadcast)
multiply_add: Any = intrinsic(_multiply_add)
sum_of_lanes: Any = intrinsic(_sum_of_lanes)
square_root: Any = intrinsic(_square_root)
smaller: Any = intrinsic(_choose("<"))
larger: Any = intrinsic(_choose(">"))
