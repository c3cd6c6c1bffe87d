"""Resize and Upsample: one small matrix, or one list of places, per axis; made while planning."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import mlx.core as mx
import numpy as np

from ..arrays import along, is_float
from ..node import Node
from ..operator_registry import op


def _source(mode: str, at: Any, scale: float, size: int, out: int, roi: tuple[float, float]) -> Any:
    """Where the elements `at` of an axis of length `out` lie in its input of length `size`."""
    length = scale * size
    if mode == "half_pixel":
        return (at + 0.5) / scale - 0.5
    if mode == "half_pixel_symmetric":
        adjust = out / length
        centre = size / 2
        return centre * (1 - adjust) + (at + 0.5) / scale - 0.5
    if mode == "pytorch_half_pixel":
        return (at + 0.5) / scale - 0.5 if length > 1 else np.zeros_like(at)
    if mode == "align_corners":
        return at * (size - 1) / (length - 1) if length != 1 else np.zeros_like(at)
    if mode == "asymmetric":
        return at / scale
    start, end = roi  # tf_crop_and_resize
    if length > 1:
        return start * (size - 1) + at * (end - start) * (size - 1) / (length - 1)
    return np.full_like(at, (start + end) / 2 * (size - 1))


def _nearest(x: Any, mode: str) -> Any:
    if mode == "round_prefer_floor":
        return np.ceil(x - 0.5)
    if mode == "round_prefer_ceil":
        return np.floor(x + 0.5)
    return np.floor(x) if mode == "floor" else np.ceil(x)


def _linear(distance: Any) -> Any:
    return np.maximum(1 - np.abs(distance), 0)


def cubic_near(x: Any, a: float) -> Any:
    """Cubic convolution's weight of a place that is at most 1 away."""
    return ((a + 2) * x - (a + 3)) * x * x + 1


def cubic_far(x: Any, a: float) -> Any:
    """The same of one that is between 1 and 2 away."""
    return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a


def _cubic(a: float) -> Callable[[Any], Any]:
    def kernel(distance: Any) -> Any:
        x = np.abs(distance)
        return np.where(x <= 1, cubic_near(x, a), np.where(x < 2, cubic_far(x, a), 0.0))

    return kernel


def _weights(
    source: Any, size: int, kernel: Callable[[Any], Any], reach: int, shrink: float, outside: bool
) -> Any:
    """The matrix [out, size]; places beyond the edge count for the edge, or not at all."""
    matrix = np.zeros((len(source), size))
    half = math.ceil(reach / shrink)
    for row, x in enumerate(source):
        base = math.floor(x)
        places = np.arange(base - half, base + half + 2)
        values = kernel((places - x) * shrink)
        if outside:
            values = np.where((places < 0) | (places >= size), 0.0, values)
        total = values.sum()
        if (outside or shrink < 1) and total:
            values = values / total
        np.add.at(matrix[row], np.clip(places, 0, size - 1), values)
    return matrix


def _apply_matrix(node: Node, x: Any, matrix: Any, axis: int) -> Any:
    weights = node.memo(f"matrix{axis}", lambda: node.array(matrix, "float32").astype(x.dtype))
    moved = mx.tensordot(x, weights, axes=[[axis], [1]])
    return mx.moveaxis(moved, -1, axis)


def _apply_places(node: Node, x: Any, places: Any, axis: int) -> Any:
    size = x.shape[axis]
    times, rest = divmod(len(places), size)
    if not rest and np.array_equal(places, np.repeat(np.arange(size), times)):
        return mx.repeat(x, times, axis=axis)
    return mx.take(x, node.array(places, "int32"), axis=axis)


@op("Resize", 11, 13, 18, 19, layout="axes")
def resize(node: Node, x: Any, roi: Any = None, scales: Any = None, sizes: Any = None) -> Any:
    x = node.mx(x)
    rank = x.ndim
    axes = [axis % rank for axis in node.attr("axes") or range(rank)]
    shape = [x.shape[node.axis(axis, rank)] for axis in axes]
    mode = node.attr("mode", "nearest")
    where = node.attr("coordinate_transformation_mode", "half_pixel")
    known = node.static(sizes) if sizes is not None else None
    policy = node.attr("keep_aspect_ratio_policy", "stretch")
    if known is not None and known.size:
        wanted = [int(n) for n in known]
        factors = [n / size for n, size in zip(wanted, shape, strict=True)]
        if policy != "stretch":
            one = min(factors) if policy == "not_larger" else max(factors)
            factors = [one] * len(factors)
            wanted = [int(one * size + 0.5) for size in shape]
    else:
        factors = [float(s) for s in node.static(scales)]
        wanted = [math.floor(size * s) for size, s in zip(shape, factors, strict=True)]
    rois = np.array([0.0] * len(axes) + [1.0] * len(axes))
    if where == "tf_crop_and_resize":
        rois = node.static(roi).astype(np.float64)
    antialias = bool(node.attr("antialias", 0))
    rounding = node.attr("nearest_mode", "round_prefer_floor")
    coefficient = node.attr("cubic_coeff_a", -0.75)
    outside = bool(node.attr("exclude_outside", 0))
    fill = node.attr("extrapolation_value", 0.0)
    if mode != "nearest" and not is_float(x):
        node.refuse(f"mode={mode} of integers", "type")
    for i, axis in enumerate(axes):
        size, out, scale = shape[i], wanted[i], factors[i]
        at = np.arange(out, dtype=np.float64)
        span = (float(rois[i]), float(rois[i + len(axes)]))
        source = _source(where, at, scale, size, out, span)
        if out == size and np.allclose(source, at, atol=1e-12):
            continue
        place = node.axis(axis, rank)
        if mode == "nearest":
            x = _apply_places(
                node, x, np.clip(_nearest(source, rounding), 0, size - 1).astype(int), place
            )
        else:
            shrink = min(scale, 1.0) if antialias else 1.0
            kernel, reach = (_linear, 1) if mode == "linear" else (_cubic(coefficient), 2)
            if mode == "linear" and not antialias:
                source = np.clip(source, 0, size - 1) if where != "tf_crop_and_resize" else source
            x = _apply_matrix(
                node, x, _weights(source, size, kernel, reach, shrink, outside), place
            )
        if where == "tf_crop_and_resize":
            beyond = (source < 0) | (source > size - 1)
            if beyond.any():
                inside = along(node.array(~beyond, "bool"), place, rank)
                x = mx.where(inside, x, mx.array(fill, x.dtype))
    return x


@op("Upsample", 7, 9, layout="axes")
@op("Resize", 10, layout="axes")
def upsample(node: Node, x: Any, scales: Any = None) -> Any:
    """The first forms: coordinates are divided by the scale."""
    x = node.mx(x)
    factors = node.attr("scales") if scales is None else [float(s) for s in node.static(scales)]
    mode = node.attr("mode", "nearest")
    for axis, scale in enumerate(factors):
        place = node.axis(axis, x.ndim)
        size = x.shape[place]
        out = math.floor(size * scale)
        if scale == 1:
            continue
        source = np.arange(out) / scale
        if mode == "nearest":
            x = _apply_places(node, x, np.minimum(np.floor(source), size - 1).astype(int), place)
        else:
            source = np.clip(source, 0, size - 1)
            x = _apply_matrix(node, x, _weights(source, size, _linear, 1, 1.0, False), place)
    return x
