"""Convolution and pooling: computed with channels last, as MLX wants it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import mlx.core as mx
import numpy as np

from ..arrays import along, dtype_name, is_float
from ..node import Node
from ..operator_registry import op
from .quantise import exact_integers, saturate
from .shape import padded


def _same_pads(node: Node, sizes: Any, kernel: Any, strides: Any, dilations: Any) -> Any:
    """Begin and end padding per axis, from auto_pad or pads."""
    auto = node.attr("auto_pad", "NOTSET")
    given = node.attr("pads")
    rank = len(kernel)
    if auto in ("NOTSET", ""):
        given = given or [0] * (2 * rank)
        return list(zip(given[:rank], given[rank:], strict=True))
    if auto == "VALID":
        return [(0, 0)] * rank
    pads = []
    for size, k, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True):
        reach = (k - 1) * dilation + 1
        total = max((-(-size // stride) - 1) * stride + reach - size, 0)
        small, large = total // 2, total - total // 2
        pads.append((small, large) if auto == "SAME_UPPER" else (large, small))
    return pads


def _weight(node: Node, w: Any, key: str = "weight") -> Any:
    """Weights [out, in, ...] as MLX wants them: [out, ..., in], once where they are constant."""
    order = (0, *range(2, w.ndim), 1)
    if isinstance(w, np.ndarray):
        return node.memo(key, lambda: node.moved(w, order))
    return mx.transpose(w, order)


def convolve(
    node: Node, x: Any, w: Any, pads: Any, strides: Any, dilations: Any, groups: int
) -> Any:
    """A convolution of [n, ..., c] with [out, ..., in]."""
    if any(min(pair) < 0 for pair in pads):
        x = padded(node, x, [(0, 0), *pads, (0, 0)], "constant", mx.zeros((), x.dtype))
        pads = [(0, 0)] * len(pads)
    begin, end = [a for a, _ in pads], [b for _, b in pads]
    if len(pads) > 3:
        node.refuse(f"{len(pads)} spatial axes", "shape")
    return mx.conv_general(
        x,
        w,
        stride=list(strides),
        padding=begin if begin == end else (begin, end),
        kernel_dilation=list(dilations),
        groups=groups,
    )


def _settings(node: Node, w: Any) -> tuple[Any, Any, Any, int]:
    rank = w.ndim - 2
    kernel = list(node.attr("kernel_shape") or w.shape[2:])
    if kernel != list(w.shape[2:]):
        node.refuse(f"kernel_shape {kernel} for weights {list(w.shape)}")
    strides = list(node.attr("strides") or [1] * rank)
    dilations = list(node.attr("dilations") or [1] * rank)
    return kernel, strides, dilations, int(node.attr("group", 1))


@op("Conv", 1, 11, 22, layout="last")
def conv(node: Node, x: Any, w: Any, b: Any = None) -> Any:
    x = node.mx(x)
    kernel, strides, dilations, groups = _settings(node, w)
    pads = _same_pads(node, x.shape[1:-1], kernel, strides, dilations)
    if dtype_name(x) != dtype_name(node.mx(w)):
        node.refuse("operands of different types", "type")
    made = convolve(node, x, _weight(node, w), pads, strides, dilations, groups)
    return made if b is None else made + node.mx(b)


@op("ConvTranspose", 1, 11, 22, layout="last")
def conv_transpose(node: Node, x: Any, w: Any, b: Any = None) -> Any:
    """As a convolution of the input spread by the strides, with the weights turned about."""
    x = node.mx(x)
    kernel, strides, dilations, groups = _settings(node, w)
    rank = len(kernel)
    extra = list(node.attr("output_padding") or [0] * rank)
    wanted = node.attr("output_shape")
    auto = node.attr("auto_pad", "NOTSET")
    given = node.attr("pads")
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    sizes = x.shape[1:-1]
    if wanted is None and auto in ("SAME_UPPER", "SAME_LOWER"):
        wanted = [size * stride for size, stride in zip(sizes, strides, strict=True)]
    if wanted is not None:
        pads = []
        for i in range(rank):
            full = strides[i] * (sizes[i] - 1) + extra[i] + reach[i]
            total = full - wanted[-rank:][i]
            small, large = total // 2, total - total // 2
            pads.append((small, large) if auto == "SAME_UPPER" else (large, small))
    elif auto == "VALID" or not given:
        pads = [(0, 0)] * rank
    else:
        pads = list(zip(given[:rank], given[rank:], strict=True))
    begin = [r - 1 - a for r, (a, _) in zip(reach, pads, strict=True)]
    end = [r - 1 - z + e for r, (_, z), e in zip(reach, pads, extra, strict=True)]
    channels_in, channels_out = w.shape[0] // groups, w.shape[1]

    def turned(array: Any) -> Any:  # [in, out/g, ...] -> [out, ..., in/g]
        array = array.reshape(groups, channels_in, channels_out, *kernel)
        array = mx.transpose(array, (0, 2, *range(3, 3 + rank), 1))
        return array.reshape(groups * channels_out, *kernel, channels_in)

    weight = (
        node.memo("weight", lambda: mx.contiguous(turned(node.mx(w))))
        if isinstance(w, np.ndarray)
        else turned(w)
    )
    cut = [(min(a, 0), min(z, 0)) for a, z in zip(begin, end, strict=True)]
    # MLX has no input dilation with groups on every device: each group by itself.
    parts = zip(mx.split(x, groups, axis=-1), mx.split(weight, groups, axis=0), strict=True)
    outputs = [
        mx.conv_general(
            part,
            rows,
            stride=1,
            padding=([max(a, 0) for a in begin], [max(z, 0) for z in end]),
            kernel_dilation=dilations,
            input_dilation=strides,
            flip=True,
        )
        for part, rows in ([(x, weight)] if groups == 1 else parts)
    ]
    made = outputs[0] if groups == 1 else mx.concatenate(outputs, axis=-1)
    if any(a or z for a, z in cut):
        made = padded(node, made, [(0, 0), *cut, (0, 0)], "constant", mx.zeros((), x.dtype))
    return made if b is None else made + node.mx(b)


# Pooling


def windows(x: Any, kernel: Any, strides: Any, dilations: Any) -> Any:
    """Views of [n, ..., c] as [n, places ..., kernel ..., c]."""
    shape = x.shape
    steps = [1]
    for size in shape[:0:-1]:
        steps.insert(0, steps[0] * size)
    places = [
        (size - (k - 1) * d - 1) // s + 1
        for size, k, s, d in zip(shape[1:-1], kernel, strides, dilations, strict=True)
    ]
    inner = steps[1:-1]
    return mx.as_strided(
        mx.contiguous(x) if x.ndim else x,
        [shape[0], *places, *kernel, shape[-1]],
        [
            steps[0],
            *(a * s for a, s in zip(inner, strides, strict=True)),
            *(a * d for a, d in zip(inner, dilations, strict=True)),
            steps[-1],
        ],
    )


class _Pool:
    """The settings of a pooling node for the size of its input."""

    def __init__(self, node: Node, x: Any) -> None:
        self.kernel = list(node.attr("kernel_shape"))
        rank = len(self.kernel)
        self.strides = list(node.attr("strides") or [1] * rank)
        self.dilations = list(node.attr("dilations") or [1] * rank)
        sizes = x.shape[1:-1]
        self.pads = _same_pads(node, sizes, self.kernel, self.strides, self.dilations)
        ceil = node.attr("ceil_mode", 0) and node.attr("auto_pad", "NOTSET") in ("NOTSET", "")
        self.beyond = [0] * rank  # further padding that the last place of ceil_mode reaches into
        if ceil:
            for i, (a, z) in enumerate(self.pads):
                reach = (self.kernel[i] - 1) * self.dilations[i] + 1
                room = sizes[i] + a + z - reach
                places = -(-room // self.strides[i]) + 1
                if (places - 1) * self.strides[i] >= sizes[i] + a:
                    places -= 1
                self.beyond[i] = max((places - 1) * self.strides[i] - room, 0)
        self.axes = list(range(1 + rank, 1 + 2 * rank))
        self.both = [
            (0, 0),
            *((a, z + more) for (a, z), more in zip(self.pads, self.beyond, strict=True)),
            (0, 0),
        ]

    def windows(self, node: Node, x: Any, fill: Any) -> Any:
        padded_x = padded(node, x, self.both, "constant", fill)
        return windows(padded_x, self.kernel, self.strides, self.dilations)

    def counts(self, node: Node, x: Any, include: bool) -> Any:
        """How many elements each place averages over."""
        inside = np.ones(x.shape[1:-1], np.float32)
        value = 1 if include else 0
        inside = np.pad(inside, self.pads, constant_values=value)
        inside = np.pad(inside, [(0, more) for more in self.beyond])
        shape = (1, *inside.shape, 1)
        with_counts = windows(
            mx.array(inside.reshape(shape)), self.kernel, self.strides, self.dilations
        )
        return mx.sum(with_counts, axis=self.axes)


def _lowest(x: Any) -> Any:
    value = -math.inf if is_float(x) else mx.iinfo(x.dtype).min
    return mx.array(value, dtype=x.dtype)


@op("MaxPool", 1, 8, 10, 11, 12, 22, layout="last")
def max_pool(node: Node, x: Any) -> Any:
    x = node.mx(x)
    pool = _Pool(node, x)
    order = node.attr("storage_order", 0)
    seen = pool.windows(node, x, _lowest(x))
    made = mx.max(seen, axis=pool.axes)
    if node.outputs < 2:
        return made
    return made, _places(node, x, pool, seen, order)


def _places(node: Node, x: Any, pool: _Pool, seen: Any, order: int) -> Any:
    """Where the largest elements lie in the flattened input [n, c, ...]."""
    rank = len(pool.kernel)
    flat = seen.reshape(*seen.shape[: 1 + rank], -1, seen.shape[-1])
    top = mx.argmax(flat, axis=1 + rank).astype(mx.int64)  # [n, places ..., c]
    sizes = x.shape[1:-1]
    place = mx.zeros(top.shape, mx.int64)
    rest = top
    step = 1
    weights = [math.prod(sizes[i + 1 :]) for i in range(rank)]
    if order:
        weights = [math.prod(sizes[:i]) for i in range(rank)]
    for axis in reversed(range(rank)):
        inner = mx.remainder(rest, pool.kernel[axis])
        rest = mx.floor_divide(rest, pool.kernel[axis])
        start = np.arange(top.shape[1 + axis]) * pool.strides[axis] - pool.pads[axis][0]
        at = node.array(along(start, 1 + axis, top.ndim), "int64") + inner * pool.dilations[axis]
        place = place + at * weights[axis]
        step *= sizes[axis]
    n, c = x.shape[0], x.shape[-1]
    shape = [n] + [1] * rank + [c]
    base = np.arange(n * c).reshape(shape) * step
    return place + node.array(base, "int64")


@op("AveragePool", 1, 7, 10, 11, 19, 22, layout="last")
def average_pool(node: Node, x: Any) -> Any:
    x = node.mx(x)
    pool = _Pool(node, x)
    include = bool(node.attr("count_include_pad", 0))
    seen = pool.windows(node, x, mx.zeros((), x.dtype))
    if not any(sum(pair) for pair in pool.both) or (include and not any(pool.beyond)):
        return mx.mean(seen, axis=pool.axes)
    counts = node.memo("counts", lambda: pool.counts(node, x, include).astype(x.dtype))
    return mx.sum(seen, axis=pool.axes) / counts


@op("LpPool", 2, 11, 18, 22, layout="last")
def lp_pool(node: Node, x: Any) -> Any:
    x = node.mx(x)
    pool = _Pool(node, x)
    p = int(node.attr("p", 2))
    seen = pool.windows(node, x, mx.zeros((), x.dtype))
    return mx.power(mx.sum(mx.power(mx.abs(seen), p), axis=pool.axes), 1.0 / p)


def _global_pool(name: str, function: Callable[..., Any]) -> None:
    @op(name, 1, 22, layout="last")
    def run(node: Node, x: Any) -> Any:
        x = node.mx(x)
        return function(x, axis=list(range(1, x.ndim - 1)), keepdims=True)


_global_pool("GlobalAveragePool", mx.mean)
_global_pool("GlobalMaxPool", mx.max)


@op("GlobalLpPool", 2, 22, layout="last")
def global_lp_pool(node: Node, x: Any) -> Any:
    x = node.mx(x)
    p = int(node.attr("p", 2))
    axes = list(range(1, x.ndim - 1))
    return mx.power(mx.sum(mx.power(mx.abs(x), p), axis=axes, keepdims=True), 1.0 / p)


@op("MaxUnpool", 9, 11, 22)
def max_unpool(node: Node, x: Any, places: Any, shape: Any = None) -> Any:
    x, places = node.mx(x), node.mx(places)
    kernel = list(node.attr("kernel_shape"))
    rank = len(kernel)
    strides = list(node.attr("strides") or [1] * rank)
    pads = list(node.attr("pads") or [0] * (2 * rank))
    natural = [
        (size - 1) * s - pads[i] - pads[i + rank] + k
        for i, (size, s, k) in enumerate(zip(x.shape[2:], strides, kernel, strict=True))
    ]
    target = [*x.shape[:2], *natural]
    if shape is not None:
        target = node.integers(shape)
    # An index counts in the output that has no shape given; a larger one holds it in its corner.
    small = [*x.shape[:2], *natural]
    flat = mx.zeros((math.prod(small),), x.dtype)
    flat[places.reshape(-1)] = x.reshape(-1)
    made = flat.reshape(small)
    if small != target:
        both = [(0, b - a) for a, b in zip(small, target, strict=True)]
        made = padded(node, made, both, "constant", mx.zeros((), x.dtype))
    return made


@op("Col2Im", 18)
def col2im(node: Node, x: Any, image: Any, block: Any) -> Any:
    x = node.mx(x)
    sizes, kernel = node.integers(image), node.integers(block)
    rank = len(sizes)
    dilations = list(node.attr("dilations") or [1] * rank)
    strides = list(node.attr("strides") or [1] * rank)
    pads = list(node.attr("pads") or [0] * (2 * rank))
    n, channels = x.shape[0], x.shape[1] // math.prod(kernel)
    places = [
        (size + pads[i] + pads[i + rank] - dilations[i] * (kernel[i] - 1) - 1) // strides[i] + 1
        for i, size in enumerate(sizes)
    ]
    full = [size + pads[i] + pads[i + rank] for i, size in enumerate(sizes)]
    flat = np.zeros((*kernel, *places), np.int64)
    for axis in range(rank):
        at = np.add.outer(
            np.arange(kernel[axis]) * dilations[axis], np.arange(places[axis]) * strides[axis]
        )
        shape = [1] * (2 * rank)
        shape[axis], shape[rank + axis] = at.shape
        flat = flat + at.reshape(shape) * math.prod(full[axis + 1 :])
    made = mx.zeros((n, channels, math.prod(full)), x.dtype)
    values = x.reshape(n, channels, -1)
    made = made.at[:, :, node.array(flat.reshape(-1), "int32")].add(values)
    made = made.reshape(n, channels, *full)
    inside = [slice(None), slice(None)]
    inside += [slice(pads[i], pads[i] + size) for i, size in enumerate(sizes)]
    return made[tuple(inside)]


def _integer_conv(node: Node, x: Any, w: Any, x_zero: Any, w_zero: Any) -> Any:
    """x: channels last, w: as ONNX has it. The sums as float64."""
    kernel, strides, dilations, groups = _settings(node, w)
    pads = _same_pads(node, node.mx(x).shape[1:-1], kernel, strides, dilations)
    per_row = w_zero is not None and w_zero.ndim == 1 and w_zero.size > 1
    weight = exact_integers(node, w, along(node.mx(w_zero), 0, w.ndim) if per_row else w_zero)
    weight = _weight(node, weight)
    return convolve(node, exact_integers(node, x, x_zero), weight, pads, strides, dilations, groups)


@op("ConvInteger", 10, layout="last")
def conv_integer(node: Node, x: Any, w: Any, x_zero: Any = None, w_zero: Any = None) -> Any:
    return _integer_conv(node, x, w, x_zero, w_zero).astype(mx.int32)


@op("QLinearConv", 10, layout="last")
def qlinear_conv(
    node: Node, x: Any, x_scale: Any, x_zero: Any, w: Any, w_scale: Any, w_zero: Any,
    y_scale: Any, y_zero: Any, b: Any = None,
) -> Any:  # fmt: skip
    total = _integer_conv(node, x, w, x_zero, w_zero)
    if b is not None:
        total = total + node.mx(b).astype(mx.float64)
    scale = node.mx(x_scale) * node.mx(w_scale) / node.mx(y_scale)
    return saturate(total * scale.astype(mx.float64), node.mx(y_zero))
