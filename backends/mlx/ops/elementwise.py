"""Operators on each element by itself, with ONNX's meaning for integers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mlx.core as mx
import numpy as np

from ..arrays import MLX_DTYPES, dtype_name, is_float, is_int, is_signed
from ..node import Node
from ..operator_registry import op

# One operand, floating point


def _unary(
    name: str,
    function: Callable[[Any], Any],
    *since: int,
    float64: bool = False,
    integers: bool = False,
) -> None:
    @op(name, *since, layout="any", float64=float64)
    def run(node: Node, x: Any) -> Any:
        if not integers:
            node.floats(x)
        return function(node.mx(x))


_unary("Acos", mx.arccos, 7, 22, float64=True)
_unary("Acosh", mx.arccosh, 9, 22, float64=True)
_unary("Asin", mx.arcsin, 7, 22, float64=True)
_unary("Asinh", mx.arcsinh, 9, 22, float64=True)
_unary("Atan", mx.arctan, 7, 22, float64=True)
_unary("Atanh", mx.arctanh, 9, 22, float64=True)
_unary("Ceil", mx.ceil, 1, 6, 13, float64=True)
_unary("Cos", mx.cos, 7, 22)
_unary("Cosh", mx.cosh, 9, 22, float64=True)
_unary("Erf", mx.erf, 9, 13)
_unary("Exp", mx.exp, 1, 6, 13)
_unary("Floor", mx.floor, 1, 6, 13, float64=True)
_unary("Log", mx.log, 1, 6, 13, float64=True)
_unary("Reciprocal", mx.reciprocal, 1, 6, 13, float64=True)
_unary("Round", mx.round, 11, 22, float64=True)
_unary("Sigmoid", mx.sigmoid, 1, 6, 13)
_unary("Sin", mx.sin, 7, 22)
_unary("Sinh", mx.sinh, 9, 22, float64=True)
_unary("Sqrt", mx.sqrt, 1, 6, 13, float64=True)
_unary("Tan", mx.tan, 7, 22, float64=True)
_unary("Tanh", mx.tanh, 1, 6, 13, float64=True)
_unary("IsNaN", mx.isnan, 9, 13, 20, float64=True)


_unary("Abs", mx.abs, 1, 6, 13, float64=True, integers=True)
_unary("Neg", mx.negative, 1, 6, 13, float64=True, integers=True)
_unary("Relu", lambda x: mx.maximum(x, 0), 1, 6, 13, 14, float64=True, integers=True)
_unary("Not", mx.logical_not, 1, integers=True)
_unary("BitwiseNot", mx.bitwise_invert, 18, integers=True)
_unary(
    "Sign",
    lambda x: mx.where(mx.isnan(x), x, mx.sign(x)) if is_float(x) else mx.sign(x),
    *(9, 13),
    float64=True,
    integers=True,
)
_unary("Softplus", lambda x: mx.logaddexp(x, mx.zeros((), x.dtype)), 1, 22, integers=True)
_unary("Identity", lambda x: x, 1, 13, 14, 16, 19, 21, 23, 24, 25, float64=True, integers=True)


@op("IsInf", 10, 20, layout="any", float64=True)
def isinf(node: Node, x: Any) -> Any:
    x = node.mx(x)
    positive, negative = node.attr("detect_positive", 1), node.attr("detect_negative", 1)
    if positive and negative:
        return mx.isinf(x)
    if positive or negative:
        return mx.isposinf(x) if positive else mx.isneginf(x)
    return mx.zeros(x.shape, mx.bool_)


@op("HardSigmoid", 1, 6, 22, layout="any", float64=True)
def hard_sigmoid(node: Node, x: Any) -> Any:
    x = node.mx(x)
    alpha, beta = node.attr("alpha", 0.2), node.attr("beta", 0.5)
    return mx.clip(x * alpha + beta, 0, 1)


@op("LeakyRelu", 1, 6, 16, layout="any")
def leaky_relu(node: Node, x: Any) -> Any:
    x = node.mx(x)
    alpha = node.attr("alpha", 0.01)
    return mx.where(x < 0, x * alpha, x)


@op("Elu", 1, 6, 22, layout="any")
def elu(node: Node, x: Any) -> Any:
    x = node.mx(x)
    return mx.where(x < 0, mx.expm1(x) * node.attr("alpha", 1.0), x)


@op("Selu", 1, 6, 22, layout="any")
def selu(node: Node, x: Any) -> Any:
    if node.version < 6:
        default_alpha, default_gamma = 1.6732, 1.0507
    else:
        default_alpha, default_gamma = 1.67326319217681884765625, 1.05070102214813232421875
    alpha, gamma = node.attr("alpha", default_alpha), node.attr("gamma", default_gamma)
    x = node.mx(x)
    return gamma * mx.where(x > 0, x, alpha * mx.exp(x) - alpha)


# Two operands


def _broadcast(node: Node, a: Any, b: Any) -> tuple[Any, Any]:
    """Both operands, as the first forms of these operators broadcast them: by attribute."""
    a, b = node.mx(a), node.mx(b)
    if node.version >= 7:
        return a, b
    axis, wanted = node.attr("axis"), node.attr("broadcast", 0)
    node.plain()
    if not wanted:
        if a.shape != b.shape:
            node.refuse("shapes differ without broadcast=1", "shape")
        return a, b
    if axis is not None:
        start = axis % a.ndim
        b = b.reshape(b.shape + (1,) * (a.ndim - start - b.ndim))
    return a, b


def _same_type(node: Node, a: Any, b: Any) -> None:
    if dtype_name(a) != dtype_name(b):
        node.refuse(f"operands of {dtype_name(a)} and {dtype_name(b)}", "type")


def _binary(
    name: str,
    function: Callable[[Any, Any], Any],
    *since: int,
    float64: bool = True,
    booleans: bool = False,
) -> None:
    @op(name, *since, layout="any", float64=float64)
    def run(node: Node, a: Any, b: Any) -> Any:
        a, b = _broadcast(node, a, b)
        _same_type(node, a, b)
        if dtype_name(a) == "bool" and not booleans:
            node.refuse("bool operands", "type")
        return function(a, b)


_binary("Add", mx.add, 1, 6, 7, 13, 14)
_binary("Sub", mx.subtract, 1, 6, 7, 13, 14)
_binary("Mul", mx.multiply, 1, 6, 7, 13, 14)
_binary("And", mx.logical_and, 1, 7, booleans=True)
_binary("Or", mx.logical_or, 1, 7, booleans=True)
_binary("Xor", mx.not_equal, 1, 7, booleans=True)
_binary("Equal", mx.equal, 1, 7, 11, 13, 19, booleans=True)
_binary("Greater", mx.greater, 1, 7, 9, 13)
_binary("GreaterOrEqual", mx.greater_equal, 12, 16)
_binary("Less", mx.less, 1, 7, 9, 13)
_binary("LessOrEqual", mx.less_equal, 12, 16)
_binary("BitwiseAnd", mx.bitwise_and, 18)
_binary("BitwiseOr", mx.bitwise_or, 18)
_binary("BitwiseXor", mx.bitwise_xor, 18)


def truncated_division(a: Any, b: Any) -> Any:
    """Integer division toward zero, as ONNX asks; MLX's own rounds down."""
    quotient = mx.floor_divide(a, b)
    if not is_signed(a):
        return quotient
    inexact = mx.not_equal(quotient * b, a)
    return quotient + mx.logical_and(inexact, (a < 0) != (b < 0)).astype(a.dtype)


@op("Div", 1, 6, 7, 13, 14, layout="any", float64=True)
def div(node: Node, a: Any, b: Any) -> Any:
    if is_int(b) and isinstance(b, np.ndarray) and not b.all():
        node.refuse("an integer division by zero", "type")
    a, b = _broadcast(node, a, b)
    _same_type(node, a, b)
    return truncated_division(a, b) if is_int(a) else mx.divide(a, b)


@op("Mod", 10, 13, 28, layout="any", float64=True)
def mod(node: Node, a: Any, b: Any) -> Any:
    a, b = node.mx(a), node.mx(b)
    _same_type(node, a, b)
    if not node.attr("fmod", 0):
        if is_float(a) and node.version < 28:
            node.refuse("floating point operands with fmod=0", "type")
        return mx.remainder(a, b)
    if is_int(a) and not is_signed(a):
        return mx.remainder(a, b)
    if is_int(a):
        return a - truncated_division(a, b) * b
    rest = mx.remainder(mx.abs(a), mx.abs(b))
    return mx.where(a < 0, -rest, rest)


@op("Pow", 1, 7, 12, 13, 15, layout="any", float64=True)
def pow_(node: Node, a: Any, b: Any) -> Any:
    if isinstance(b, np.ndarray) and b.size == 1 and is_float(a):
        exponent = float(b.reshape(-1)[0])
        if exponent == 2 and b.ndim <= a.ndim:
            return mx.square(node.mx(a))
        if exponent == 0.5 and b.ndim <= a.ndim:
            return mx.sqrt(node.mx(a))
    a, b = _broadcast(node, a, b)
    kind = a.dtype
    if is_float(a) or (is_int(b) and not is_signed(b)):
        return mx.power(a, b.astype(kind))
    if node.tracer.device != "cpu":
        node.refuse("an integer to a signed or fractional power", "type")
    return mx.power(a.astype(mx.float64), b.astype(mx.float64)).astype(kind)


@op("BitShift", 11, 28, layout="any")
def bit_shift(node: Node, a: Any, b: Any) -> Any:
    """A shift by the width or more leaves zero, or the sign where it goes right."""
    a, b = node.mx(a), node.mx(b)
    bits = a.dtype.size * 8
    left = node.attr("direction") == "LEFT"
    if is_signed(a):
        inside = mx.logical_and(b >= 0, b < bits)
        beyond = mx.zeros((), a.dtype) if left else a >> (bits - 1)
    else:
        inside, beyond = b < bits, mx.zeros((), a.dtype)
    kept = mx.where(inside, b, mx.zeros((), b.dtype))
    return mx.where(inside, (a << kept) if left else (a >> kept), beyond)


@op("PRelu", 1, 6, 7, 9, 16, layout="any", float64=True)
def prelu(node: Node, x: Any, slope: Any) -> Any:
    x, slope = node.mx(x), node.mx(slope)
    if node.version < 7:
        node.plain()
        if slope.size > 1:
            slope = slope.reshape((-1,) + (1,) * (x.ndim - 2))
    return mx.where(x < 0, x * slope, x)


# Several operands


def _several(name: str, function: Callable[[Any, Any], Any], *since: int) -> None:
    @op(name, *since, layout="any", float64=True)
    def run(node: Node, *values: Any) -> Any:
        total = node.mx(values[0])
        for value in values[1:]:
            value = node.mx(value)
            _same_type(node, total, value)
            total = function(total, value)
        return total


_several("Max", mx.maximum, 1, 6, 8, 12, 13)
_several("Min", mx.minimum, 1, 6, 8, 12, 13)
_several("Sum", mx.add, 1, 6, 8, 13)


@op("Mean", 1, 6, 8, 13, layout="any", float64=True)
def mean(node: Node, *values: Any) -> Any:
    total = node.mx(values[0])
    for value in values[1:]:
        total = total + node.mx(value)
    return total / len(values)


@op("Where", 9, 16, layout="any", float64=True)
def where(node: Node, condition: Any, a: Any, b: Any) -> Any:
    a, b = node.mx(a), node.mx(b)
    _same_type(node, a, b)
    return mx.where(node.mx(condition), a, b)


@op("Clip", 1, 6, 11, 12, 13, layout="any", float64=True)
def clip(node: Node, x: Any, low: Any = None, high: Any = None) -> Any:
    x = node.mx(x)
    if node.version < 11:
        bounds = node.attr("min"), node.attr("max")
        low, high = (None if bound is None else mx.array(bound, x.dtype) for bound in bounds)
    if low is not None:
        x = mx.maximum(x, node.mx(low).reshape(()))
    if high is not None:
        x = mx.minimum(x, node.mx(high).reshape(()))
    return x


# Types


@op("Cast", 1, 6, 9, 13, 19, 21, 23, 24, 25, 28, layout="any", float64=True)
def cast(node: Node, x: Any) -> Any:
    from ..onnx_attrs import type_name

    target = node.attr("to")
    node.attr("saturate")
    node.attr("round_mode")
    name = target.lower() if isinstance(target, str) else type_name(target)
    return convert(node, node.mx(x), name)


@op("CastLike", 15, 19, 21, 23, 24, 25, 28, layout="plain", float64=True)
def cast_like(node: Node, x: Any, like: Any) -> Any:
    node.attr("saturate")
    node.attr("round_mode")
    return convert(node, node.mx(x), dtype_name(like))


def convert(node: Node, x: Any, name: str) -> Any:
    """An array in another type; refuses what would not be numpy's answer."""
    if name not in MLX_DTYPES:
        node.refuse(f"to type {name}", "type")
    if dtype_name(x) == "float64" and name in ("float16", "bfloat16"):
        return x.astype(mx.float32).astype(node.dtype(name))  # as numpy's types round it
    return x.astype(node.dtype(name))


@op("BitCast", 26, 28, layout="any", float64=True)
def bit_cast(node: Node, x: Any) -> Any:
    from ..onnx_attrs import type_name

    name = type_name(node.attr("to"))
    x = node.mx(x)
    target = node.dtype(name)
    if x.dtype.size != target.size or "bool" in (name, dtype_name(x)):
        node.refuse(f"from {dtype_name(x)} to {name}", "type")
    return mx.view(mx.contiguous(x), target)


@op("Dropout", 1, 6, 7, 10, 12, 13, 22, layout="any")
def dropout(node: Node, x: Any, ratio: Any = None, training: Any = None) -> Any:
    for name in ("ratio", "seed", "consumed_inputs"):
        node.attr(name)
    x = node.mx(x)
    if node.version < 7 and not node.attr("is_test", 0):
        node.refuse("training mode", "random")
    if training is not None and node.number(training) and (ratio is None or node.number(ratio)):
        node.refuse("training mode", "random")
    return x, mx.ones(x.shape, mx.bool_ if node.version >= 10 else x.dtype)


@op("Shrink", 9, layout="any")
def shrink(node: Node, x: Any) -> Any:
    node.floats(x)
    x = node.mx(x)
    limit, bias = node.attr("lambd", 0.5), node.attr("bias", 0.0)
    return mx.where(x < -limit, x + bias, mx.where(x > limit, x - bias, mx.zeros((), x.dtype)))
