"""Operators that read places computed from data: grids, boxes, spectra."""

from __future__ import annotations

import itertools
from typing import Any

import mlx.core as mx
import numpy as np

from ..node import Node
from ..operator_registry import op
from .resize import cubic_far, cubic_near

_CUBIC = -0.75
#: Transforms up to this length are matrix products.
MAX_MATRIX = 4096


def _reflected(x: Any, low: float, high: float) -> Any:
    """Coordinates beyond the borders, thrown back as often as needed."""
    span = high - low
    if span <= 0:
        return mx.zeros(x.shape, x.dtype)
    turn = mx.remainder(x - low, 2 * span)
    return low + mx.where(turn <= span, turn, 2 * span - turn)


def _cubic_weights(t: Any) -> list[Any]:
    distances = ((cubic_far, t + 1), (cubic_near, t), (cubic_near, 1 - t), (cubic_far, 2 - t))
    return [weight(distance, _CUBIC) for weight, distance in distances]


def _taps(x: Any, mode: str) -> list[tuple[Any, Any]]:
    """Places along one axis, and their weights."""
    if mode == "nearest":
        return [(mx.round(x), mx.ones((), x.dtype))]
    base = mx.floor(x)
    t = x - base
    if mode == "linear":
        return [(base, 1 - t), (base + 1, t)]
    return [(base + i - 1, weight) for i, weight in enumerate(_cubic_weights(t))]


@op("GridSample", 16, 20, 22)
def grid_sample(node: Node, x: Any, grid: Any) -> Any:
    x, grid = node.mx(x), node.mx(grid)
    mode = node.attr("mode", "linear" if node.version >= 20 else "bilinear")
    mode = {"bilinear": "linear", "bicubic": "cubic"}.get(mode, mode)
    padding = node.attr("padding_mode", "zeros")
    align = node.attr("align_corners", 0)
    sizes = x.shape[2:]
    axes = []
    for axis, size in enumerate(sizes):
        g = grid[..., len(sizes) - 1 - axis]
        low, high = (0.0, size - 1.0) if align else (-0.5, size - 0.5)
        at = (g + 1) / 2 * (size - 1) if align else ((g + 1) * size - 1) / 2
        if mode == "nearest":
            at = mx.round(at)
        if padding == "border":
            at = mx.clip(at, 0, size - 1)
        elif padding == "reflection":
            at = mx.where((at < low) | (at > high), _reflected(at, low, high), at)
        axes.append([_inside(p, w, size, padding, low, high) for p, w in _taps(at, mode)])
    batch = node.array(np.arange(x.shape[0]).reshape(-1, *[1] * len(sizes)), "int32")
    last = mx.moveaxis(x, 1, -1)
    total = None
    for taps in itertools.product(*axes):
        weight = taps[0][1]
        for _, other in taps[1:]:
            weight = weight * other
        places = [mx.broadcast_to(batch, grid.shape[:-1]), *(place for place, _ in taps)]
        term = last[tuple(places)] * mx.expand_dims(weight, -1)
        total = term if total is None else total + term
    return mx.moveaxis(total, -1, 1).astype(x.dtype)


def _inside(
    place: Any, weight: Any, size: int, padding: str, low: float, high: float
) -> tuple[Any, Any]:
    """A place that exists, and the weight it keeps."""
    if padding == "zeros":
        weight = mx.where((place >= 0) & (place <= size - 1), weight, mx.zeros((), weight.dtype))
    elif padding == "reflection":
        place = _reflected(place, low, high)
    else:
        weight = mx.broadcast_to(weight, place.shape)
    return mx.clip(place, 0, size - 1).astype(mx.int32), weight


@op("DFT", 17, 20)
def dft(node: Node, x: Any, length: Any = None, axis: Any = None) -> Any:
    x = node.mx(x)
    if x.dtype != mx.float32:
        node.refuse("types other than float32", "type")
    along = node.attr("axis", 1) if node.version < 20 else -2
    if axis is not None:
        along = node.number(axis)
    along = node.axis(along, x.ndim)
    size = x.shape[along] if length is None else node.number(length)
    inverse, onesided = node.attr("inverse", 0), node.attr("onesided", 0)
    if inverse and onesided:
        node.refuse("inverse=1 with onesided=1")
    if inverse or node.tracer.device != "cpu" or size > MAX_MATRIX:
        value = x[..., 0] if x.shape[-1] == 1 else x[..., 0] + 1j * x[..., 1]
        made = (mx.fft.ifft if inverse else mx.fft.fft)(value.astype(mx.complex64), size, along)
        made = mx.stack([mx.real(made), mx.imag(made)], axis=-1)
        if onesided:
            made = mx.take(made, node.array(np.arange(size // 2 + 1), "int32"), axis=along)
        return made
    return _exact_dft(node, x, along, size, size // 2 + 1 if onesided else size)


def _exact_dft(node: Node, x: Any, along: int, size: int, rows: int) -> Any:
    """As a matrix product in float64: MLX's transform of float32 leaves 1e-6 where zero belongs."""
    used = min(x.shape[along], size)
    turns = np.outer(np.arange(rows), np.arange(used)) / size * -2 * np.pi
    cosines, sines = node.memo(
        "matrices", lambda: (node.array(np.cos(turns)), node.array(np.sin(turns)))
    )
    wide = mx.moveaxis(x.astype(mx.float64), along, -2)[..., :used, :]
    real = cosines @ wide[..., :1]
    imaginary = sines @ wide[..., :1]
    if x.shape[-1] == 2:
        real = real - sines @ wide[..., 1:]
        imaginary = imaginary + cosines @ wide[..., 1:]
    made = mx.concatenate([real, imaginary], axis=-1).astype(x.dtype)
    return mx.moveaxis(made, -2, along)


# How many boxes stay depends on data: runs in walks with real arrays only


@op("NonMaxSuppression", 10, 11)
def non_max_suppression(
    node: Node, boxes: Any, scores: Any, most: Any = None, overlap: Any = None, least: Any = None
) -> Any:
    centred = node.attr("center_point_box", 0)
    boxes, scores = node.static(boxes), node.static(scores)
    limit = 0 if most is None else node.number(most)
    threshold = 0.0 if overlap is None else node.number(overlap)
    floor = None if least is None else node.number(least)
    found = []
    for batch, kind in np.ndindex(*scores.shape[:2]):
        corners = _corners(boxes[batch], centred)
        order = np.argsort(-scores[batch, kind], kind="stable")
        kept: list[int] = []
        for place in order:
            if len(kept) == limit or (floor is not None and scores[batch, kind, place] <= floor):
                break
            if all(_overlap(corners[place], corners[other]) <= threshold for other in kept):
                kept.append(int(place))
        found += [(batch, kind, place) for place in kept]
    return node.array(np.array(found, np.int64).reshape(-1, 3))


def _corners(boxes: Any, centred: int) -> Any:
    """Lower and upper corners, whichever way round they were given."""
    if centred:
        middle, half = boxes[:, :2], boxes[:, 2:] / 2
        return np.concatenate([middle - half, middle + half], axis=1)
    low, high = np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])
    return np.concatenate([low, high], axis=1)


def _overlap(a: Any, b: Any) -> float:
    """Intersection over union."""
    sides = np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0)
    shared = float(sides.prod())
    union = float((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod()) - shared
    return shared / union if union > 0 else 0.0
