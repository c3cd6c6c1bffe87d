"""Normalisation."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import numpy as np

from ..node import Node
from ..operator_registry import op


@op("BatchNormalization", 1, 6, 7, 9, 14, 15, layout="last")
def batch_normalization(node: Node, x: Any, scale: Any, bias: Any, mean: Any, variance: Any) -> Any:
    x = node.mx(x)
    epsilon, momentum = node.attr("epsilon", 1e-5), node.attr("momentum", 0.9)
    node.attr("consumed_inputs")
    if node.version < 7 and not node.attr("is_test", 0):
        node.refuse("training mode without is_test=1")
    if node.version < 9 and node.attr("spatial", 1) != 1:
        node.refuse("spatial=0")
    if node.attr("training_mode", 0):
        axes = [i for i in range(x.ndim) if i != (x.ndim - 1 if node.last else 1)]
        now_mean, now_variance = mx.mean(x, axis=axes), mx.var(x, axis=axes)
        mean, variance = node.mx(mean), node.mx(variance)
        made = _applied(node, x, scale, bias, now_mean, now_variance, epsilon)
        node.plain()
        return (
            made,
            mean * momentum + now_mean * (1 - momentum),
            variance * momentum + now_variance * (1 - momentum),
        )
    parts = (scale, bias, mean, variance)
    if all(isinstance(part, np.ndarray) for part in parts):
        factor = node.memo("factor", lambda: _constant(node, x, _factor(scale, variance, epsilon)))
        offset = node.memo(
            "offset",
            lambda: _constant(node, x, bias - mean * _factor(scale, variance, epsilon)),
        )
        return x * factor + offset
    return _applied(node, x, scale, bias, node.mx(mean), node.mx(variance), epsilon)


def _factor(scale: Any, variance: Any, epsilon: float) -> Any:
    return scale / np.sqrt(variance.astype(np.float64) + epsilon)


def _constant(node: Node, x: Any, value: Any) -> Any:
    return _channels(node, x, node.array(value, "float32")).astype(x.dtype)


def _channels(node: Node, x: Any, value: Any) -> Any:
    """A value per channel, to broadcast over the data."""
    return value if node.last or x.ndim < 3 else value.reshape((-1,) + (1,) * (x.ndim - 2))


def _applied(
    node: Node, x: Any, scale: Any, bias: Any, mean: Any, variance: Any, epsilon: float
) -> Any:
    factor = node.mx(scale) * mx.rsqrt(variance + epsilon)
    offset = node.mx(bias) - mean * factor
    made = x * _channels(node, x, factor) + _channels(node, x, offset)
    return made.astype(x.dtype)


@op("InstanceNormalization", 1, 6, 22, layout="last")
def instance_normalization(node: Node, x: Any, scale: Any, bias: Any) -> Any:
    node.attr("consumed_inputs")
    x = node.mx(x)
    axes = list(range(1, x.ndim - 1))
    mean, variance = mx.mean(x, axis=axes, keepdims=True), mx.var(x, axis=axes, keepdims=True)
    normal = (x - mean) * mx.rsqrt(variance + node.attr("epsilon", 1e-5))
    return normal * node.mx(scale) + node.mx(bias)


@op("LayerNormalization", 17)
def layer_normalization(node: Node, x: Any, scale: Any, bias: Any = None) -> Any:
    x = node.mx(x)
    axis = node.axis(node.attr("axis", -1), x.ndim)
    epsilon = node.attr("epsilon", 1e-5)
    node.attr("stash_type")
    if node.outputs == 1 and axis == x.ndim - 1 and scale.ndim == 1:
        bias_array = None if bias is None else node.mx(bias)
        return mx.fast.layer_norm(x, node.mx(scale), bias_array, epsilon)
    axes = list(range(axis, x.ndim))
    wide = x.astype(mx.float32)
    mean = mx.mean(wide, axis=axes, keepdims=True)
    inverse = mx.rsqrt(mx.var(wide, axis=axes, keepdims=True) + epsilon)
    made = ((wide - mean) * inverse).astype(x.dtype) * node.mx(scale)
    return (made if bias is None else made + node.mx(bias)), mean, inverse


@op("RMSNormalization", 23)
def rms_normalization(node: Node, x: Any, scale: Any) -> Any:
    x = node.mx(x)
    axis = node.axis(node.attr("axis", -1), x.ndim)
    epsilon = node.attr("epsilon", 1e-5)
    node.attr("stash_type")
    if axis == x.ndim - 1 and scale.ndim == 1:
        return mx.fast.rms_norm(x, node.mx(scale), epsilon)
    wide = x.astype(mx.float32)
    square = mx.mean(mx.square(wide), axis=list(range(axis, x.ndim)), keepdims=True)
    return (wide * mx.rsqrt(square + epsilon)).astype(x.dtype) * node.mx(scale)


@op("LRN", 1, 13, layout="last")
def lrn(node: Node, x: Any) -> Any:
    from .conv_pool import windows

    x = node.mx(x)
    alpha, beta = node.attr("alpha", 1e-4), node.attr("beta", 0.75)
    bias, size = node.attr("bias", 1.0), node.attr("size")
    before = (size - 1) // 2
    channels = x.shape[-1]
    rows = mx.square(x).reshape(-1, channels, 1)
    rows = mx.pad(rows, [(0, 0), (before, size - 1 - before), (0, 0)])
    total = mx.sum(windows(rows, [size], [1], [1]), axis=2).reshape(x.shape)
    return x / mx.power(bias + (alpha / size) * total, beta)
