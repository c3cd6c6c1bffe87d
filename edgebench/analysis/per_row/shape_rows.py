"""Derives what changes of shape cost from the queries of a mix."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median, median_low

from edgebench import record as rec
from edgebench import stats
from edgebench.analysis.table_types import Shapes


def shapes_of(good: Sequence[rec.Replicate]) -> Shapes | None:
    """None where no replicate was given several shapes."""
    parts = [replicate.shapes for replicate in good if replicate.shapes is not None]
    parts = [part for part in parts if part.shapes and part.mix_ns]
    if not parts:
        return None
    mix = sorted(ns for part in parts for ns in part.mix_ns)
    by_time = _by_time(parts)
    change = _ratio(parts, lambda part: (part.changed_ns, part.same_ns))
    return Shapes(
        shapes=len(by_time),
        smallest=by_time[0],
        largest=by_time[-1],
        queries=len(mix),
        p50_ns=stats.known_percentile(mix, 500),
        p90_ns=stats.known_percentile(mix, 900),
        p99_ns=stats.known_percentile(mix, 990),
        changes=max(len(part.changed_ns) for part in parts),
        change_ratio=change.value,
        change_ratio_low=change.low,
        change_ratio_high=change.high,
        first_ratio=_ratio(parts, lambda part: (part.first_ns, part.again_ns)).value,
        growth_bytes=_growth(parts, lambda held: held.uss_bytes),
        arena_growth_bytes=_growth(parts, lambda held: held.arena_bytes),
    )


def _by_time(parts: Sequence[rec.ShapeChanges]) -> list[str]:
    """All shapes, the quickest first, by their second query."""
    each: dict[str, list[int]] = {}
    for part in parts:
        for shape, ns in zip(part.shapes, part.again_ns, strict=True):
            each.setdefault(shape, []).append(ns)
    return sorted(each, key=lambda shape: median_low(each[shape]))


def _ratio(
    parts: Sequence[rec.ShapeChanges],
    pairs: Callable[[rec.ShapeChanges], tuple[Sequence[int], Sequence[int]]],
) -> stats.Mean:
    """The median ratio of the pairs of each process, and its geometric mean over processes."""
    each = []
    for part in parts:
        ratios = [new / old for new, old in zip(*pairs(part), strict=True) if new and old]
        each += [median(ratios)] if ratios else []
    return stats.geometric_mean(each)


def _growth(
    parts: Sequence[rec.ShapeChanges], size: Callable[[rec.HeldMemory], int | None]
) -> int | None:
    """The most that any process grew after it had seen every shape; one that shrank did not grow."""
    grown = []
    for part in parts:
        sizes = [size(held) for held in part.memory]
        known = [each for each in sizes if each is not None]
        if len(known) >= 2 and len(known) == len(sizes):
            grown.append(max(0, known[-1] - known[0]))
    return max(grown, default=None)
