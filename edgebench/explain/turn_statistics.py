"""Computes medians over the turns of a profile, with intervals that assume no distribution."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from edgebench.explain.explanation import Figure
from edgebench.stats import binomial_cdf

CONFIDENCE = 0.95


def figure(values: Sequence[float]) -> Figure:
    """The median of values, and the order statistics that enclose it at CONFIDENCE; None of too few."""
    ordered = sorted(values)
    rank = _rank(len(ordered))
    if rank is None:
        return Figure(value=median(ordered))
    return Figure(value=median(ordered), low=ordered[rank], high=ordered[-1 - rank])


def _rank(count: int) -> int | None:
    """The largest r for which values r and count-1-r enclose the median often enough."""
    found = None
    for rank in range(count // 2):
        if 2 * binomial_cdf(rank, count, 0.5) > 1 - CONFIDENCE:
            break
        found = rank
    return found


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """The lower quartile, the median and the upper quartile."""
    ordered = sorted(values)
    last = len(ordered) - 1
    return ordered[last // 4], median(ordered), ordered[last - last // 4]
