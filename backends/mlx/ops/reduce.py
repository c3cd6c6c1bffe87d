"""Operators that reduce axes, and that accumulate along one."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import mlx.core as mx
import numpy as np

from ..arrays import along, is_float, is_int
from ..node import Node
from ..operator_registry import op


def _axes(node: Node, x: Any, given: Any) -> list[int] | None:
    """Axes to reduce, in the order of the arrays; None where the operator is to do nothing."""
    axes = node.attr("axes")
    noop = node.attr("noop_with_empty_axes", 0)
    if given is not None:
        axes = node.static(given).tolist()
    if not axes:
        if noop:
            return None
        axes = range(x.ndim)
    return sorted({node.axis(axis, x.ndim) for axis in axes})


def _reduction(
    name: str,
    function: Callable[..., Any],
    *since: int,
    empty: float | None = None,
    before: Callable[[Any], Any] = lambda x: x,
    after: Callable[[Any], Any] = lambda x: x,
    floats_only: bool = False,
    float64: bool = True,
) -> None:
    @op(name, *since, layout="axes", float64=float64)
    def run(node: Node, x: Any, axes: Any = None) -> Any:
        x = node.mx(x)
        kind = x.dtype
        if floats_only and not is_float(x):
            node.refuse(f"{kind} operands", "type")
        keep = bool(node.attr("keepdims", 1))
        chosen = _axes(node, x, axes)
        if chosen is None:
            return after(before(x)).astype(kind)
        if node.last and not keep:
            if chosen != list(range(1, x.ndim - 1)):
                node.plain()
            node.flat = True  # what is left, batch and channels, is in order
        if any(x.shape[axis] == 0 for axis in chosen):
            if empty is None:
                node.refuse("nothing to reduce", "shape")
            shape = [1 if i in chosen else n for i, n in enumerate(x.shape)]
            value = np.full(shape, _limit(x, empty) if math.isinf(empty) else empty)
            made = mx.array(value).astype(kind)
            return made if keep else made.squeeze(chosen)
        return after(function(before(x), axis=chosen, keepdims=keep)).astype(kind)


def _limit(x: Any, sign: float) -> Any:
    if is_int(x):
        info = mx.iinfo(x.dtype)
        return info.max if sign > 0 else info.min
    if not is_float(x):
        return sign > 0
    return sign


_VERSIONS = (1, 11, 13, 18)
_reduction("ReduceSum", mx.sum, 1, 11, 13, empty=0)
_reduction("ReduceSumSquare", mx.sum, *_VERSIONS, empty=0, before=mx.square)
_reduction("ReduceL1", mx.sum, *_VERSIONS, empty=0, before=mx.abs)
_reduction(
    "ReduceL2", mx.sum, *_VERSIONS, empty=0, before=mx.square, after=mx.sqrt, floats_only=True
)
_reduction("ReduceLogSum", mx.sum, *_VERSIONS, empty=-math.inf, after=mx.log, floats_only=True)
_reduction(
    "ReduceLogSumExp", mx.logsumexp, *_VERSIONS, empty=-math.inf, floats_only=True, float64=False
)
_reduction("ReduceMean", mx.mean, *_VERSIONS, floats_only=True)
_reduction("ReduceProd", mx.prod, *_VERSIONS, empty=1)
_reduction("ReduceMax", mx.max, 1, 11, 12, 13, 18, 20, empty=-math.inf)
_reduction("ReduceMin", mx.min, 1, 11, 12, 13, 18, 20, empty=math.inf)


def _arg(name: str, function: Callable[..., Any]) -> None:
    @op(name, 1, 11, 12, 13, float64=True)
    def run(node: Node, x: Any) -> Any:
        x = node.mx(x)
        axis = node.axis(node.attr("axis", 0), x.ndim)
        keep = bool(node.attr("keepdims", 1))
        if node.attr("select_last_index", 0):
            backward = mx.take(x, node.array(np.arange(x.shape[axis])[::-1], "int32"), axis=axis)
            last = function(backward, axis=axis, keepdims=keep).astype(mx.int64)
            return x.shape[axis] - 1 - last
        return function(x, axis=axis, keepdims=keep).astype(mx.int64)


_arg("ArgMax", mx.argmax)
_arg("ArgMin", mx.argmin)


def _cumulative(name: str, function: Callable[..., Any], *since: int) -> None:
    @op(name, *since, float64=True)
    def run(node: Node, x: Any, axis: Any) -> Any:
        x = node.mx(x)
        place = node.axis(node.number(axis), x.ndim)
        exclusive, reverse = node.attr("exclusive", 0), node.attr("reverse", 0)
        made = function(x, axis=place, reverse=bool(reverse), inclusive=not exclusive)
        return made.astype(x.dtype)


_cumulative("CumSum", mx.cumsum, 11, 14)
_cumulative("CumProd", mx.cumprod, 26)


@op("TopK", 1, 10, 11, 24, float64=True)
def top_k(node: Node, x: Any, k: Any = None) -> Any:
    x = node.mx(x)
    axis = node.axis(node.attr("axis", -1), x.ndim)
    count = int(node.attr("k", 0) if k is None else node.number(k))
    largest = bool(node.attr("largest", 1))
    node.attr("sorted")
    if count > x.shape[axis]:
        node.refuse(f"k={count} of {x.shape[axis]}", "shape")
    if largest:  # stable from the largest: ties keep the lower index first
        size = x.shape[axis]
        backward = mx.take(x, node.array(np.arange(size)[::-1], "int32"), axis=axis)
        order = size - 1 - mx.argsort(backward, axis=axis).astype(mx.int32)
        order = mx.take(order, node.array(np.arange(size)[::-1], "int32"), axis=axis)
    else:
        order = mx.argsort(x, axis=axis).astype(mx.int32)
    first = mx.take(order, node.array(np.arange(count), "int32"), axis=axis)
    return mx.take_along_axis(x, first, axis=axis), first.astype(mx.int64)


def _lp(x: Any, p: int, axes: list[int], keep: bool) -> Any:
    if p == 1:
        return mx.sum(mx.abs(x), axis=axes, keepdims=keep)
    if p == 2:
        return mx.sqrt(mx.sum(mx.square(x), axis=axes, keepdims=keep))
    return mx.power(mx.sum(mx.power(mx.abs(x), p), axis=axes, keepdims=keep), 1.0 / p)


@op("LpNormalization", 1, 22)
def lp_normalization(node: Node, x: Any) -> Any:
    x = node.mx(x)
    axis = node.axis(node.attr("axis", -1), x.ndim)
    norm = _lp(x, int(node.attr("p", 2)), [axis], True)
    return mx.where(norm == 0, mx.zeros((), x.dtype), x / norm)


@op("Hardmax", 1, 11, 13)
def hardmax(node: Node, x: Any) -> Any:
    x = node.mx(x)
    if node.version < 13:
        axis = node.axis(node.attr("axis", 1), x.ndim)
        shape = x.shape
        flat = x.reshape(math.prod(shape[:axis]), -1)
        return _one_hot_max(flat, 1).reshape(shape)
    return _one_hot_max(x, node.axis(node.attr("axis", -1), x.ndim))


def _one_hot_max(x: Any, axis: int) -> Any:
    top = mx.argmax(x, axis=axis, keepdims=True)
    places = along(mx.arange(x.shape[axis]), axis, x.ndim)
    return (places == top.astype(mx.int32)).astype(x.dtype)


def _softmax(name: str, function: Callable[[Node, Any, int], Any]) -> None:
    @op(name, 1, 11, 13, layout="axes")
    def run(node: Node, x: Any) -> Any:
        x = node.mx(x)
        if node.version >= 13:
            return function(node, x, node.axis(node.attr("axis", -1), x.ndim))
        node.plain()
        axis = node.axis(node.attr("axis", 1), x.ndim)
        if axis == x.ndim - 1:
            return function(node, x, axis)
        shape = x.shape
        return function(node, x.reshape(math.prod(shape[:axis]), -1), 1).reshape(shape)


def _soft(node: Node, x: Any, axis: int) -> Any:
    if x.dtype.size >= 4 or node.tracer.policy != "float32":
        return mx.softmax(x, axis=axis, precise=True)
    # A model in half precision: ONNX's body of Softmax rounds each step, and so do the answers.
    e = mx.exp(x - mx.max(x, axis=axis, keepdims=True))
    return e / mx.sum(e, axis=axis, keepdims=True)


_softmax("Softmax", _soft)
_softmax("LogSoftmax", lambda _, x, axis: x - mx.logsumexp(x, axis=axis, keepdims=True))
