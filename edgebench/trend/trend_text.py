"""Prints trends on a terminal: series with steps first and drawn, the others as a line each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TextIO

from edgebench.render.console import GOOD, QUIET, TITLE, WARN, WORSE, paint
from edgebench.render.number_format import change, percent, quantity
from edgebench.render.text_grid import Column, GridRow, grid
from edgebench.render.wrapping import Line, wrapped
from edgebench.text.plain_text import plain
from edgebench.trend.series_plot import plot, sparkline
from edgebench.trend.step_causes import command_text
from edgebench.trend.trend_report import Series, Step, Trend

_SERIES = 40
_COMMIT = 10


def render(trend: Trend, every: bool, out: TextIO) -> None:
    """`every`: also draw series without a step."""
    paint(lambda width: _lines(trend, every, width), out)


def _lines(trend: Trend, every: bool, width: int) -> Iterator[Line]:
    stepped = [each for each in trend.series if each.steps]
    words = f"{len(stepped)} of {len(trend.series)} series stepped"
    yield from wrapped(f"{words} (by {trend.by})", width, TITLE)
    drawn = trend.series if every else stepped
    for each in drawn[:_SERIES]:
        yield "", None
        yield from _drawn(each, width)
    if len(drawn) > _SERIES:
        yield f"{len(drawn) - _SERIES} more: --format json, or name a --workload", QUIET
    calm = [] if every else [each for each in trend.series if not each.steps]
    if calm:
        yield "", None
        yield from _calm(calm[:_SERIES], width)
        if len(calm) > _SERIES:
            yield f"{len(calm) - _SERIES} more without a step", QUIET
    for note in trend.notes:
        yield from wrapped(plain(note), width, QUIET)


def _drawn(series: Series, width: int) -> Iterator[Line]:
    yield from wrapped(plain(f"{_shared(series)} · {_deployment(series)}"), width, TITLE)
    size = max(len(quantity(point.value, series.unit)) for point in series.points) + 2
    for picture, value in plot(series, width, size):
        name = "" if value is None else quantity(value, series.unit)
        yield f"{name:>{size}}  {picture}".rstrip(), None
    yield from wrapped(_where(series), width, QUIET, "  ")
    for step in series.steps:
        yield from _step(series, step, width)


def _where(series: Series) -> str:
    first, last = series.points[0], series.points[-1]
    noise = "" if series.noise is None else f", noise ±{percent(series.noise)}"
    return (
        f"{len(series.points)} points, {_day(first.started_utc)} to {_day(last.started_utc)}{noise}"
    )


def _day(started_utc: str) -> str:
    return plain(started_utc[:10]) or "unknown date"


def _step(series: Series, step: Step, width: int) -> Iterator[Line]:
    point = series.points[step.at]
    style = WARN if step.better is None else GOOD if step.better else WORSE
    size = "" if step.change is None else f"{_change(step.change)}: "
    levels = " -> ".join(_levels(step, series.unit))
    words = f"{size}{levels} from {_day(point.started_utc)} on, run {point.runs[0]}"
    yield from wrapped(plain(f"{words} (p {step.p_value:.1g})"), width, style, "    ", "  ")
    if step.explained:
        yield from wrapped(
            plain("changed: " + "; ".join(step.explained)), width, None, "      ", "    "
        )
    if step.commits:
        between = "..".join(commit[:_COMMIT] for commit in step.commits)
        yield from wrapped(plain(f"commits: {between}"), width, None, "      ", "    ")
    told = (
        f"confirm: {command_text(step.confirm)}" if step.confirm else f"to confirm: {step.why_not}"
    )
    yield from wrapped(plain(told), width, QUIET, "      ", "    ")


def _change(share: float) -> str:
    """With more digits where it is small: an exact series shows also a thousandth."""
    return f"{share * 100:+.1g}%" if abs(share) < 0.0005 else change(share)


def _levels(step: Step, unit: str) -> list[str]:
    """Both levels, with all digits where they look the same without."""
    levels = [quantity(value, unit) for value in (step.before, step.after)]
    if levels[0] != levels[1]:
        return levels
    return [
        f"{value:.12g} {unit.removeprefix('1')}".rstrip() for value in (step.before, step.after)
    ]


def _calm(calm: list[Series], width: int) -> Iterator[Line]:
    """A line for each series, below what those of one workload share; the best newest value first."""
    yield "without a step", TITLE
    for title, some in itertools.groupby(sorted(calm, key=_merit), key=_shared):
        yield from wrapped(plain(title), width, None)
        rows = [
            GridRow(
                f"  {plain(_deployment(each))}",
                [sparkline(each.points), quantity(each.points[-1].value, each.unit)],
            )
            for each in some
        ]
        yield from grid([Column("", right=False), Column("", right=False), Column("")], rows, width)


def _shared(series: Series) -> str:
    scenario = series.id.rpartition("/")[2]
    return f"{series.device} · {series.workload}@{series.workload_version} {scenario} · {series.metric}"


def _merit(series: Series) -> tuple[str, float]:
    value = series.points[-1].value
    return _shared(series), -value if series.better == "higher" else value


def _deployment(series: Series) -> str:
    """ "ort int8-static batch=1 threads=2": what the identity of a cell says beside its workload and scenario."""
    prefix = f"{series.workload}@{series.workload_version}/"
    backend, _, settings = series.id.removeprefix(prefix).rpartition("/")[0].partition("/")
    axes = sorted(settings.split(","), key=lambda axis: not axis.startswith("precision="))
    return " ".join([backend, *(axis.removeprefix("precision=") for axis in axes)])
