"""Draws series with characters: a sparkline, and a plot with intervals and steps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from edgebench.trend.trend_report import Point, Series

_BLOCKS = "▁▂▃▄▅▆▇█"
_HEIGHT = 7
_MAX_SPARK = 40


def sparkline(points: Sequence[Point]) -> str:
    """One character a point, of the newest ones; heights between the smallest and the largest without outliers."""
    shown = points[-_MAX_SPARK:]
    usual = _usual(shown)
    low, high = min(usual), max(usual)
    values = [min(max(point.value, low), high) for point in shown]
    if low == high:
        return _BLOCKS[3] * len(values)
    scale = (len(_BLOCKS) - 1) / (high - low)
    return "".join(_BLOCKS[round((value - low) * scale)] for value in values)


def plot(series: Series, width: int, label: int) -> Iterator[tuple[str, float | None]]:
    """Rows from the top: the picture, and the value of the row where it has a label. `o` is a point, `|` its interval,
    `x` an outlier; a new level begins behind a column of `:`."""
    points = series.points[-max(width - label - 2, 10) :]
    first = len(series.points) - len(points)
    low, high = _range(points)
    starts = {step.at for step in series.steps}
    columns: list[list[str]] = []
    for place, point in enumerate(points, start=first):
        if place in starts:
            columns.append([":"] * _HEIGHT)
        columns.append(_column(point, low, high))
    for row in range(_HEIGHT - 1, -1, -1):
        value = low + (high - low) * row / (_HEIGHT - 1)
        labelled = value if row in (0, _HEIGHT - 1) else None
        yield "".join(column[row] for column in columns).rstrip(), labelled


def _range(points: Sequence[Point]) -> tuple[float, float]:
    """Of all values but outliers; of intervals as much as leaves values apart."""
    values = _usual(points)
    low, high = min(values), max(values)
    spread = (high - low) or abs(low) * 0.01 or 1.0
    ends = [end for point in points for end in (point.low, point.high) if end is not None]
    low = max(min([low, *ends]), low - spread)
    high = min(max([high, *ends]), high + spread)
    return (low, high) if high > low else (low - spread, high + spread)


def _usual(points: Sequence[Point]) -> list[float]:
    """Values without outliers, which are drawn at the edge."""
    return [point.value for point in points if not point.outlier] or [p.value for p in points]


def _column(point: Point, low: float, high: float) -> list[str]:
    column = [" "] * _HEIGHT
    if point.low is not None and point.high is not None:
        for row in range(_row(point.low, low, high), _row(point.high, low, high) + 1):
            column[row] = "|"
    column[_row(point.value, low, high)] = "x" if point.outlier else "o"
    return column


def _row(value: float, low: float, high: float) -> int:
    share = (min(max(value, low), high) - low) / (high - low)
    return min(math.floor(share * (_HEIGHT - 1) + 0.5), _HEIGHT - 1)
