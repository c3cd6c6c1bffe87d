"""Operators that move elements, and that tell shapes."""

from __future__ import annotations

import math
from typing import Any

import mlx.core as mx
import numpy as np

from ..arrays import along, dtype_name
from ..node import Node
from ..onnx_attrs import type_name
from ..operator_registry import op

_SINCE_13 = (21, 23, 24, 25)


@op("Shape", 1, 13, 15, 19, *_SINCE_13, float64=True)
def shape(node: Node, x: Any) -> Any:
    start, end = node.attr("start", 0), node.attr("end")
    return np.array(x.shape[slice(start, end)], np.int64)


@op("Size", 1, 13, 19, *_SINCE_13, float64=True)
def size(node: Node, x: Any) -> Any:
    return np.array(math.prod(x.shape), np.int64)


@op("Reshape", 1, 5, 13, 14, 19, *_SINCE_13, layout="axes", float64=True)
def reshape(node: Node, x: Any, wanted: Any = None) -> Any:
    target = node.attr("shape") if node.version < 5 else node.integers(wanted)
    if not node.attr("allowzero", 0):
        was = node_shape(node, x)
        if any(not n and i >= len(was) for i, n in enumerate(target)):
            node.refuse(f"shape {target} for {was}", "shape")
        target = [n or was[i] for i, n in enumerate(target)]
    x = node.mx(x)
    _unmoved(node, x)
    return x.reshape(_without_minus_one(node, target, x.size))


def _without_minus_one(node: Node, target: list[int], size: int) -> list[int]:
    if -1 not in target:
        return target
    rest = -math.prod(target)
    if not rest:
        if size:
            node.refuse(f"shape {target}", "shape")
        return [0 if n == -1 else n for n in target]
    return [size // rest if n == -1 else n for n in target]


def node_shape(node: Node, x: Any) -> tuple[int, ...]:
    """An operand's shape in ONNX's order."""
    shape = tuple(x.shape)
    return (shape[0], shape[-1], *shape[1:-1]) if node.last else shape


def _unmoved(node: Node, x: Any) -> None:
    """Lets channels last pass where one place is left per channel; the order is the same then."""
    if node.last:
        if math.prod(x.shape[1:-1]) != 1:
            node.plain()
        node.flat = True


@op("Flatten", 1, 9, 11, 13, *_SINCE_13, layout="axes", float64=True)
def flatten(node: Node, x: Any) -> Any:
    x = node.mx(x)
    axis = node.attr("axis", 1)
    axis = axis + x.ndim if axis < 0 else axis
    shape = node_shape(node, x)
    _unmoved(node, x)
    return x.reshape(math.prod(shape[:axis]), math.prod(shape[axis:]))


def _squeezed(node: Node, x: Any, axes: Any) -> list[int]:
    given = node.attr("axes") if node.version < 13 else None
    if axes is not None:
        given = node.integers(axes)
    shape = node_shape(node, x)
    if not given:
        return [i for i, n in enumerate(shape) if n == 1]
    return [axis % len(shape) for axis in given]


@op("Squeeze", 1, 11, 13, *_SINCE_13, layout="axes", float64=True)
def squeeze(node: Node, x: Any, axes: Any = None) -> Any:
    chosen = _squeezed(node, x, axes)
    x = node.mx(x)
    if any(node_shape(node, x)[axis] != 1 for axis in chosen):
        node.refuse("an axis that is not of size 1", "shape")
    if node.last:
        if sorted(chosen) != list(range(2, x.ndim)):
            node.plain()
        node.flat = True
        chosen = [node.axis(axis, x.ndim) for axis in chosen]
    return mx.squeeze(x, chosen) if chosen else x


@op("Unsqueeze", 1, 11, 13, *_SINCE_13, float64=True)
def unsqueeze(node: Node, x: Any, axes: Any = None) -> Any:
    given = node.attr("axes") if node.version < 13 else node.integers(axes)
    return mx.expand_dims(node.mx(x), list(given))


@op("Transpose", 1, 13, *_SINCE_13, layout="axes", float64=True)
def transpose(node: Node, x: Any) -> Any:
    x = node.mx(x)
    order = list(node.attr("perm") or range(x.ndim)[::-1])
    if not node.last:
        return mx.transpose(x, order)
    node.flat = True
    order = [node.axis(axis, x.ndim) for axis in order]
    return x if order == list(range(x.ndim)) else mx.transpose(x, order)


@op("Concat", 1, 4, 11, 13, layout="axes", float64=True)
def concat(node: Node, *values: Any) -> Any:
    arrays = [node.mx(value) for value in values]
    if any(isinstance(value, np.ndarray) for value in values):
        node.plain()
    if len({array.dtype for array in arrays}) != 1:
        node.refuse("operands of different types", "type")
    axis = node.attr("axis", 1 if node.version < 4 else None)
    return mx.concatenate(arrays, axis=node.axis(axis, arrays[0].ndim))


@op("Split", 1, 2, 11, 13, 18, layout="axes", float64=True)
def split(node: Node, x: Any, lengths: Any = None) -> Any:
    x = node.mx(x)
    axis = node.axis(node.attr("axis", 0), x.ndim)
    given = node.attr("split") if node.version < 13 else None
    if lengths is not None:
        given = node.integers(lengths)
    parts = int(node.attr("num_outputs", node.outputs))
    if given is None:
        step = -(-x.shape[axis] // parts)
        given = [max(0, min(step, x.shape[axis] - step * i)) for i in range(parts)]
    if sum(given) != x.shape[axis]:
        node.refuse(f"parts {given} of {x.shape[axis]}", "shape")
    return tuple(mx.split(x, np.cumsum(given)[:-1].tolist(), axis=axis))


@op("Slice", 1, 10, 11, 13, layout="axes", float64=True)
def slice_(node: Node, x: Any, *bounds: Any) -> Any:
    x = node.mx(x)
    if node.version < 10:
        starts, ends = node.attr("starts"), node.attr("ends")
        axes, steps = node.attr("axes"), None
    else:
        known = [None if bound is None else node.integers(bound) for bound in bounds]
        starts, ends, axes, steps = [*known, None, None][:4]
    axes = axes or list(range(len(starts)))
    index = [slice(None)] * x.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps or [1] * len(axes), strict=True):
        place = node.axis(axis, x.ndim)
        first, last, step = slice(start, end, step).indices(x.shape[place])
        index[place] = slice(first, None if step < 0 and last < 0 else last, step)
    for place, part in enumerate(index):  # MLX takes backward steps from an index only
        if part.step is not None and part.step < 0:
            places = np.arange(x.shape[place])[part]
            x = mx.take(x, node.array(places, "int32"), axis=place)
            index[place] = slice(None)
    return x[tuple(index)]


def _positive(node: Node, indices: Any, size: int) -> Any:
    """Indices with negative ones counted from the end. Constants are checked."""
    if isinstance(indices, np.ndarray):
        if indices.size and (indices.min() < -size or indices.max() >= size):
            node.refuse(f"an index beyond {size}", "shape")
        at = np.where(indices < 0, indices + size, indices)
        return node.memo("indices", lambda: node.array(at, "int32"))
    return mx.where(indices < 0, indices + size, indices)


@op("Gather", 1, 11, 13, float64=True)
def gather(node: Node, x: Any, indices: Any) -> Any:
    x = node.mx(x)
    axis = node.axis(node.attr("axis", 0), x.ndim)
    if isinstance(indices, np.ndarray) and indices.ndim == 0:
        place = int(indices)
        if not -x.shape[axis] <= place < x.shape[axis]:
            node.refuse(f"index {place} of {x.shape[axis]}", "shape")
        index = [slice(None)] * axis + [place % x.shape[axis]]
        return x[tuple(index)]
    if not isinstance(indices, np.ndarray) and indices.dtype == mx.int64:
        return mx.take(x, indices, axis=axis)  # MLX counts negative indices from the end itself
    return mx.take(x, _positive(node, indices, x.shape[axis]), axis=axis)


@op("GatherElements", 11, 13, float64=True)
def gather_elements(node: Node, x: Any, indices: Any) -> Any:
    x = node.mx(x)
    axis = node.axis(node.attr("axis", 0), x.ndim)
    at = _positive(node, indices, x.shape[axis])
    for place, (have, want) in enumerate(zip(x.shape, at.shape, strict=True)):
        if place != axis and have != want:
            x = x[tuple(slice(0, want) if i == place else slice(None) for i in range(x.ndim))]
    return mx.take_along_axis(x, at, axis=axis)


@op("GatherND", 11, 12, 13, float64=True)
def gather_nd(node: Node, x: Any, indices: Any) -> Any:
    x, at = node.mx(x), node.mx(indices)
    batch, depth = node.attr("batch_dims", 0), at.shape[-1]
    index: list[Any] = []
    rank = at.ndim - 1
    for place in range(batch):
        index.append(node.array(along(np.arange(x.shape[place]), place, rank), "int32"))
    for place in range(depth):
        part = at[..., place]
        index.append(mx.where(part < 0, part + x.shape[batch + place], part))
    return x[tuple(index)]


@op("Tile", 6, 13, float64=True)
def tile(node: Node, x: Any, repeats: Any) -> Any:
    return mx.tile(node.mx(x), node.integers(repeats))


@op("Expand", 8, 13, float64=True)
def expand(node: Node, x: Any, shape: Any) -> Any:
    x = node.mx(x)
    return mx.broadcast_to(x, np.broadcast_shapes(tuple(x.shape), tuple(node.integers(shape))))


@op("ConstantOfShape", 9, 20, *_SINCE_13, float64=True)
def constant_of_shape(node: Node, shape: Any) -> Any:
    value = node.attr("value")
    value = np.zeros(1, np.float32) if value is None else value
    return mx.broadcast_to(node.mx(value.reshape(())), node.integers(shape))


@op("Range", 11, 27, float64=True)
def range_(node: Node, start: Any, limit: Any, delta: Any) -> Any:
    first, end, step = (node.static(v).reshape(()) for v in (start, limit, delta))
    node.attr("stash_type")
    count = max(math.ceil((float(end) - float(first)) / float(step)), 0)
    made = first + np.arange(count, dtype=first.dtype) * step
    return node.array(made.astype(first.dtype))


@op("EyeLike", 9, 22)
def eye_like(node: Node, x: Any) -> Any:
    kind = node.attr("dtype")
    dtype = node.dtype(dtype_name(x) if kind is None else type_name(kind))
    return mx.eye(x.shape[0], x.shape[1], k=node.attr("k", 0)).astype(dtype)


@op("Trilu", 14, float64=True)
def trilu(node: Node, x: Any, k: Any = None) -> Any:
    x = node.mx(x)
    diagonal = 0 if k is None else node.number(k)
    rows, columns = x.shape[-2:]
    upper = node.attr("upper", 1)
    i, j = np.ogrid[:rows, :columns]
    keep = (j - i >= diagonal) if upper else (j - i <= diagonal)
    return mx.where(node.array(keep, "bool"), x, mx.zeros((), x.dtype))


@op("OneHot", 9, 11, 28)
def one_hot(node: Node, indices: Any, depth: Any, values: Any) -> Any:
    count = int(node.number(depth))
    indices, values = node.mx(indices), node.mx(values)
    axis = node.attr("axis", -1)
    axis = axis + indices.ndim + 1 if axis < 0 else axis
    at = indices.astype(mx.int64)
    at = mx.expand_dims(mx.where(at < 0, at + count, at), axis)
    places = node.array(along(np.arange(count), axis, at.ndim))
    return mx.where(at == places, values[1], values[0])


@op("DepthToSpace", 1, 11, 13, float64=True)
def depth_to_space(node: Node, x: Any) -> Any:
    x = node.mx(x)
    block, mode = node.attr("blocksize"), node.attr("mode", "DCR")
    n, c, h, w = x.shape
    depth = c // block**2
    if mode == "DCR":
        x = x.reshape(n, block, block, depth, h, w).transpose(0, 3, 4, 1, 5, 2)
    else:
        x = x.reshape(n, depth, block, block, h, w).transpose(0, 1, 4, 2, 5, 3)
    return x.reshape(n, depth, h * block, w * block)


@op("SpaceToDepth", 1, 13, float64=True)
def space_to_depth(node: Node, x: Any) -> Any:
    x = node.mx(x)
    block = node.attr("blocksize")
    n, c, h, w = x.shape
    if node.attr("mode", "DCR") != "DCR":
        node.refuse("mode other than DCR")
    x = x.reshape(n, c, h // block, block, w // block, block).transpose(0, 3, 5, 1, 2, 4)
    return x.reshape(n, c * block**2, h // block, w // block)


@op("ReverseSequence", 10, 28, float64=True)
def reverse_sequence(node: Node, x: Any, lengths: Any) -> Any:
    x, lengths = node.mx(x), node.mx(lengths).astype(mx.int32)
    time, batch = node.attr("time_axis", 0), node.attr("batch_axis", 1)
    steps = node.array(np.arange(x.shape[time]).reshape(-1, 1), "int32")
    at = mx.where(steps < lengths, lengths - 1 - steps, steps)  # time x batch
    if time > batch:
        at = at.T
    at = at.reshape(list(at.shape) + [1] * (x.ndim - 2))
    return mx.take_along_axis(x, mx.broadcast_to(at, x.shape), axis=time)


# Padding


@op("Pad", 1, 2, 11, 13, 18, 19, *_SINCE_13, layout="axes", float64=True)
def pad(node: Node, x: Any, pads: Any = None, value: Any = None, axes: Any = None) -> Any:
    x = node.mx(x)
    mode = node.attr("mode", "constant")
    if node.version < 11:
        widths = list(node.attr("pads" if node.version >= 2 else "paddings"))
        fill = mx.array(node.attr("value", 0.0), x.dtype)
    else:
        widths = node.integers(pads)
        fill = mx.zeros((), x.dtype) if value is None else node.mx(value).reshape(())
    chosen = list(range(x.ndim)) if axes is None else node.integers(axes)
    half = len(widths) // 2
    both = [(0, 0)] * x.ndim
    for axis, before, after in zip(chosen, widths[:half], widths[half:], strict=True):
        both[node.axis(axis, x.ndim)] = (before, after)
    return padded(node, x, both, mode, fill)


def padded(node: Node, x: Any, both: list[tuple[int, int]], mode: Any, fill: Any) -> Any:
    """Padding in any of ONNX's modes; negative widths cut off."""
    if any(min(pair) < 0 for pair in both):
        cut = tuple(
            slice(max(-a, 0), n - max(-b, 0)) for (a, b), n in zip(both, x.shape, strict=True)
        )
        x = x[cut]
        both = [(max(a, 0), max(b, 0)) for a, b in both]
    if not any(sum(pair) for pair in both):
        return x
    if mode == "constant":
        return mx.pad(x, both, constant_values=fill)
    if mode not in ("reflect", "edge", "wrap"):
        node.refuse(f"mode={mode}")
    for axis, (before, after) in enumerate(both):
        if before or after:
            places = np.pad(np.arange(x.shape[axis]), (before, after), mode)
            x = mx.take(x, node.array(places, "int32"), axis=axis)
    return x


# Writing into a copy


def _scatter_into(node: Node, x: Any, index: tuple[Any, ...], values: Any, how: str) -> Any:
    if how == "none":
        made = mx.array(x)
        made[index] = values
        return made
    methods = {"add": "add", "mul": "multiply", "max": "maximum", "min": "minimum"}
    if how not in methods:
        node.refuse(f"reduction={how}")
    return getattr(x.at[index], methods[how])(values)


@op("ScatterElements", 11, 13, 16, 18)
@op("Scatter", 9, 11)
def scatter_elements(node: Node, x: Any, indices: Any, updates: Any) -> Any:
    x, updates = node.mx(x), node.mx(updates)
    axis = node.axis(node.attr("axis", 0), x.ndim)
    how = node.attr("reduction", "none")
    at = node.mx(indices)
    at = mx.where(at < 0, at + x.shape[axis], at)
    index: list[Any] = []
    for place in range(x.ndim):
        if place == axis:
            index.append(at)
        else:
            places = along(np.arange(at.shape[place]), place, x.ndim)
            index.append(mx.broadcast_to(node.array(places, "int64"), at.shape))
    return _scatter_into(node, x, tuple(index), updates, how)


@op("ScatterND", 11, 13, 16, 18)
def scatter_nd(node: Node, x: Any, indices: Any, updates: Any) -> Any:
    x, at, updates = node.mx(x), node.mx(indices), node.mx(updates)
    how = node.attr("reduction", "none")
    index = []
    for place in range(at.shape[-1]):
        part = at[..., place]
        index.append(mx.where(part < 0, part + x.shape[place], part))
    return _scatter_into(node, x, tuple(index), updates, how)


@op("TensorScatter", 24)
def tensor_scatter(node: Node, cache: Any, update: Any, starts: Any = None) -> Any:
    cache, update = node.mx(cache), node.mx(update)
    axis = node.axis(node.attr("axis", -2), cache.ndim)
    mode = node.attr("mode", "linear")
    batch, length, room = cache.shape[0], update.shape[axis], cache.shape[axis]
    at = node.array(np.arange(length), "int64").reshape(1, -1)
    if starts is not None:
        at = at + node.mx(starts).reshape(-1, 1)
    at = mx.broadcast_to(at, (batch, length))
    if mode == "circular":
        at = mx.remainder(at, room)
    rows = node.array(np.arange(batch).reshape(-1, 1), "int64")
    moved = mx.moveaxis(cache, axis, 1)
    made = mx.array(moved)
    made[mx.broadcast_to(rows, at.shape), at] = mx.moveaxis(update, axis, 1)
    return mx.moveaxis(made, 1, axis)


# Shapes that depend on data: these run in walks with real arrays only


@op("NonZero", 9, 13)
def non_zero(node: Node, x: Any) -> Any:
    return node.array(np.array(np.nonzero(node.static(x)), np.int64))


@op("Compress", 9, 11, 28)
def compress(node: Node, x: Any, condition: Any) -> Any:
    x = node.mx(x)
    places = np.flatnonzero(node.static(condition))
    axis = node.attr("axis")
    if axis is None:
        return mx.take(x.reshape(-1), node.array(places, "int32"))
    return mx.take(x, node.array(places, "int32"), axis=node.axis(axis, x.ndim))


@op("Unique", 11, 28)
def unique(node: Node, x: Any) -> Any:
    values = node.static(x)
    axis, ordered = node.attr("axis"), node.attr("sorted", 1)
    found, first, inverse, counts = np.unique(
        values, return_index=True, return_inverse=True, return_counts=True, axis=axis
    )
    inverse = inverse.reshape(-1)
    if not ordered:
        order = np.argsort(first, kind="stable")
        found = np.take(found, order, axis=0 if axis is None else axis)
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        first, counts, inverse = first[order], counts[order], rank[inverse]
    return (node.array(found), *(node.array(v, "int64") for v in (first, inverse, counts)))
