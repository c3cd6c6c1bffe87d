"""Pareto dominance between points, lower being better in every column.

A point dominates another if it is nowhere worse and somewhere better; equal points do not dominate
each other. Everything here takes exact points: uncertainty is the business of `frontier.py`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Flags = NDArray[np.bool_]

_BLOCK = 256  # points compared with all others at once: bounds the memory it takes
_SAMPLE = 4096  # points of which the strongest are tried against all others first
_PIVOTS = 32
_MAX_SLICED = 200  # points of a front whose volume is sliced without moocore


def dominates(one: Points, two: Points) -> Flags:
    """Whether `one` dominates `two`, along the last axis; broadcasts."""
    return np.asarray((one <= two).all(axis=-1) & (one < two).any(axis=-1))


def non_dominated(points: Points) -> Flags:
    """Which of the points (n, d) no other one dominates.

    Sorted first; then a scan (d <= 2), a sweep with a staircase (d = 3; Kung, Luccio and Preparata
    1975), or blocks against the front found so far. O(n log n) up to d = 3.
    """
    return non_dominated_columns(list(points.T))


def non_dominated_columns(columns: Sequence[Points]) -> Flags:
    """The same of points given by their columns, which is faster where these lie apart."""
    count = len(columns[0])
    left = np.arange(count)
    if count > 4 * _BLOCK:
        left = _without_plainly_dominated([np.ascontiguousarray(column) for column in columns])
    flags = np.zeros(count, dtype=bool)
    if len(left):
        flags[left] = _filter(np.stack([column[left] for column in columns], axis=1))
    return flags


def _without_plainly_dominated(columns: Sequence[Points]) -> NDArray[np.intp]:
    """Indices of points that the strong ones of a sample do not dominate: most fall at once."""
    step = -(-len(columns[0]) // _SAMPLE)
    sample = np.stack([column[::step] for column in columns], axis=1)
    strong = sample[_filter(sample)]
    all_round = np.argsort(np.argsort(strong, axis=0), axis=0).max(axis=1)
    left = np.arange(len(columns[0]))
    for pivot in strong[np.argsort(all_round, kind="stable")[:_PIVOTS]]:
        worse = np.ones(len(left), dtype=bool)
        equal = np.ones(len(left), dtype=bool)
        for column, value in zip(columns, pivot, strict=True):
            worse &= column >= value
            equal &= column == value
        if worse.any():
            kept = np.flatnonzero(~worse | equal)
            left = left[kept]
            columns = [column[kept] for column in columns]
    return left


def _filter(points: Points) -> Flags:
    """Equal points share their fate, so that only distinct ones are compared."""
    if points.shape[1] > 3 and (library := moocore()) is not None:
        flags: Flags = library.is_nondominated(np.ascontiguousarray(points), keep_weakly=True)
        return flags
    distinct, place = np.unique(points, axis=0, return_inverse=True)  # sorted by first columns
    if distinct.shape[1] <= 2:
        kept = _scan(distinct[:, -1])
    elif distinct.shape[1] == 3:
        kept = _sweep(distinct[:, 1].tolist(), distinct[:, 2].tolist())
    else:
        kept = _blocks(distinct)
    return kept[place.reshape(-1)]


def _scan(last: Points) -> Flags:
    """Two columns (or one), sorted by the first: whoever undercuts all before it stays."""
    best = np.minimum.accumulate(last)
    return np.concatenate([[True], last[1:] < best[:-1]])


def _sweep(second: list[float], third: list[float]) -> Flags:
    """Three columns, sorted by the first: a staircase of the other two, kept ascending/descending."""
    flags = np.zeros(len(second), dtype=bool)
    steps: list[float] = []  # second column, ascending
    heights: list[float] = []  # third column, descending
    for index, (across, height) in enumerate(zip(second, third, strict=True)):
        place = bisect_left(steps, across)
        if place and heights[place - 1] <= height:
            continue
        if place < len(steps) and steps[place] == across and heights[place] <= height:
            continue
        end = place
        while end < len(steps) and heights[end] >= height:
            end += 1
        steps[place:end] = [across]
        heights[place:end] = [height]
        flags[index] = True
    return flags


def _blocks(points: Points) -> Flags:
    """Any number of columns, sorted by the first: only earlier points can dominate later ones."""
    flags = np.zeros(len(points), dtype=bool)
    front = points[:0]
    for start in range(0, len(points), _BLOCK):
        block = points[start : start + _BLOCK]
        left = np.arange(len(block))
        for before in range(0, len(front), _BLOCK):
            some = front[before : before + _BLOCK]
            left = left[~dominates(some[:, None], block[left][None]).any(axis=0)]
        rest = block[left]
        left = left[~dominates(rest[:, None], rest[None]).any(axis=0)]
        flags[start + left] = True
        front = np.concatenate([front, block[left]])
    return flags


@lru_cache(maxsize=1)
def moocore() -> Any:
    """The library of the extra `analysis`, or None where it is not installed."""
    try:
        import moocore as library
    except ImportError:
        return None
    return library


def hypervolume(points: Points, reference: Points) -> float | None:
    """Volume that the points dominate below `reference` (Zitzler and Thiele 1998).

    By moocore (Fonseca, Paquete and Lopez-Ibanez 2006) where it is installed; else by slicing, or
    None where that would take too long.
    """
    inside = points[(points < reference).all(axis=1)]
    if not len(inside):
        return 0.0
    front = inside[non_dominated(inside)]
    if (library := moocore()) is not None:
        return float(library.hypervolume(np.ascontiguousarray(front), ref=reference))
    if len(front) > _MAX_SLICED:
        return None
    return _sliced(np.unique(front, axis=0), reference)


def _sliced(points: Points, reference: Points) -> float:
    """Slabs along the last column, each as thick as the distance to the next higher point."""
    if points.shape[1] == 1:
        return float(reference[0] - points.min())
    ordered = points[np.argsort(points[:, -1], kind="stable")]
    ends = np.append(ordered[1:, -1], reference[-1])
    volume = 0.0
    for count, (point, end) in enumerate(zip(ordered, ends, strict=True), start=1):
        if end > point[-1]:
            below = ordered[:count, :-1]
            below = below[non_dominated(below)]
            volume += float(end - point[-1]) * _sliced(np.unique(below, axis=0), reference[:-1])
    return volume


def knee(front: Points) -> int:
    """Index of the point closest to the ideal one, each column scaled to the range of the front.

    The compromise solution of Yu (1973) and Zeleny (1973) with the Euclidean norm. Ties go to the
    first. `front` is not empty.
    """
    ideal = front.min(axis=0)
    span = front.max(axis=0) - ideal
    scaled = (front - ideal) / np.where(span > 0, span, 1.0)
    return int(np.argmin(np.square(scaled).sum(axis=1)))
