"""Linear quantisation, and products of quantised integers."""

from __future__ import annotations

from typing import Any

import mlx.core as mx

from ..arrays import along, dtype_name
from ..node import Node
from ..onnx_attrs import type_name
from ..operator_registry import op
from .matmul import rows

_SINCE = (10, 13, 19, 21, 23, 24, 25, 28)


def saturate(value: Any, zero: Any) -> Any:
    """Floats rounded half to even, moved by the zero point and kept within its type."""
    info = mx.iinfo(zero.dtype)
    moved = mx.round(value) + zero.astype(value.dtype)
    return mx.clip(moved, info.min, info.max).astype(zero.dtype)


def exact_integers(node: Node, x: Any, zero: Any) -> Any:
    """Quantised integers less their zero point, as exact float64."""
    if node.tracer.device != "cpu":
        node.refuse("exact products of integers need MLX's CPU device", "type")
    made = node.mx(x).astype(mx.float64)
    return made if zero is None else made - node.mx(zero).astype(mx.float64)


def _spread(node: Node, x: Any, scale: Any, axis: int, block: int) -> Any:
    """A scale or zero point in the shape of the data: per tensor, per axis or per block."""
    if scale.ndim == 0 or (scale.ndim == 1 and scale.size == 1 and not block):
        return scale.reshape(())
    if block:
        wide = mx.repeat(scale, block, axis=axis)
        index = [slice(None)] * x.ndim
        index[axis] = slice(0, x.shape[axis])
        return wide[tuple(index)]
    return along(scale, axis, x.ndim)


@op("QuantizeLinear", *_SINCE)
def quantize_linear(node: Node, x: Any, scale: Any, zero: Any = None) -> Any:
    x, scale = node.mx(x), node.mx(scale)
    node.attr("saturate")
    output = node.attr("output_dtype", 0)
    precision = node.attr("precision", 0)
    if precision and type_name(precision) != "float32":
        node.refuse(f"precision={type_name(precision)}", "type")
    if zero is None:
        kind = node.dtype(type_name(output) if output else "uint8")
        zero = mx.zeros((), kind)
    zero = node.mx(zero)
    if "int" not in dtype_name(zero):
        node.refuse(f"to type {dtype_name(zero)}", "type")
    given = node.attr("axis", 1)
    axis = node.axis(given, x.ndim) if scale.size > 1 else 0
    block = node.attr("block_size", 0)
    factor = _spread(node, x, scale, axis, block).astype(mx.float32)
    return saturate(x.astype(mx.float32) / factor, _spread(node, x, zero, axis, block))


@op("DequantizeLinear", *_SINCE)
def dequantize_linear(node: Node, x: Any, scale: Any, zero: Any = None) -> Any:
    x, scale = node.mx(x), node.mx(scale)
    output = node.attr("output_dtype", 0)
    kind = node.dtype(type_name(output)) if output else scale.dtype
    given = node.attr("axis", 1)
    axis = node.axis(given, x.ndim) if scale.size > 1 else 0
    block = node.attr("block_size", 0)
    value = x.astype(mx.int32)
    if zero is not None:
        value = value - _spread(node, x, node.mx(zero).astype(mx.int32), axis, block)
    wide = _spread(node, x, scale, axis, block).astype(mx.float32)
    return (value.astype(mx.float32) * wide).astype(kind)


@op("QLinearMatMul", 10, 21)
def qlinear_matmul(
    node: Node, a: Any, a_scale: Any, a_zero: Any, b: Any, b_scale: Any, b_zero: Any,
    y_scale: Any, y_zero: Any,
) -> Any:  # fmt: skip
    left = exact_integers(node, a, rows(node.mx(a_zero)))
    right = exact_integers(node, b, b_zero)
    scale = rows(node.mx(a_scale)).astype(mx.float32) * node.mx(b_scale).astype(mx.float32)
    scale = scale / node.mx(y_scale).astype(mx.float32)
    return saturate((left @ right) * scale.astype(mx.float64), node.mx(y_zero))


@op("DynamicQuantizeLinear", 11)
def dynamic_quantize_linear(node: Node, x: Any) -> Any:
    x = node.mx(x)
    low, high = mx.minimum(mx.min(x), 0), mx.maximum(mx.max(x), 0)
    scale = (high - low) / 255
    scale = mx.where(scale == 0, mx.ones((), x.dtype), scale)
    zero = mx.clip(mx.round(-low / scale), 0, 255).astype(mx.uint8)
    return saturate(x / scale, zero), scale, zero
