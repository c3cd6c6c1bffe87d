"""Prints a search on a terminal: what to deploy, the measured deployments, and why these groups stay in fp32."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TextIO

from edgebench.render.console import BAD, DEPLOY, GOOD, QUIET, TITLE, WARN, WORSE, paint
from edgebench.render.number_format import UNKNOWN, quantity
from edgebench.render.text_grid import GridRow, columns, grid
from edgebench.render.wrapping import Line, wrapped
from edgebench.search.search_messages import LimitVerdict, Verdict
from edgebench.search.search_report import FloatGroup, SearchReport, SearchRow
from edgebench.text.plain_text import plain
from edgebench.units import format_ns

_TOLD_GROUPS = 5
_STYLES = {
    "safe": GOOD,
    "missed": BAD,
    "held": WARN,
    "tuning": QUIET,
    "untested": None,
    "base": None,
}
_WORDS = {
    "safe": "safe",
    "held": "not shown",
    "missed": "missed",
    "tuning": "missed (tuning)",
    "untested": "not tested",
    "base": "-",
}
_LEGEND = (
    "* on the front of latency, memory and quality; limits: safe: hold on test items with the stated confidence; "
    "not shown: hold, but too few items show it; missed: miss on the workload's items; missed (tuning): miss on "
    "tuning items; not tested: not among the first to choose"
)


def render(report: SearchReport, out: TextIO) -> None:
    paint(lambda width: _lines(report, width), out)


def _lines(report: SearchReport, width: int) -> Iterator[Line]:
    yield from wrapped(plain(report.title), width, TITLE)
    yield from _decision(report, width)
    yield from _faster_held(report, width)
    yield "", None
    yield from grid(
        columns("precision", "int8", "p50", "x fp32", "size", _metric(report), "limits"),
        [_row(row, _metric(report)) for row in report.rows],
        width,
    )
    yield "", None
    for verdict in report.verdicts:
        yield from _verdict(verdict, report.confidence, width)
    yield from _why(report, width)
    yield from _searched(report, width)
    yield from wrapped(_LEGEND, width, QUIET)


def _decision(report: SearchReport, width: int) -> Iterator[Line]:
    chosen = report.deployment
    if chosen is None:
        yield from wrapped(f"deploy fp32: {_why_not(report)}", width, WORSE)
        return
    gain = f"{chosen.speedup:.2f}x as fast as fp32" if chosen.speedup else "faster than fp32"
    if chosen.speedup_low is not None and chosen.speedup_high is not None:
        gain += f" ({chosen.speedup_low:.2f}-{chosen.speedup_high:.2f}x)"
    else:
        gain += " (?)"
    parts = f", {chosen.int8_groups} of {chosen.groups} groups in int8" if chosen.groups else ""
    yield from wrapped(f"deploy {chosen.backend} {chosen.precision}: {gain}{parts}", width, DEPLOY)
    if chosen.speedup_low is None:
        text = "(?) one process each was measured, so the speed has no interval: give more --budget"
        yield from wrapped(text, width, WARN)
    if chosen.map_file:
        yield from wrapped(
            f"edgebench run {plain(report.workload)} --set precision=@{plain(chosen.map_file)}",
            width,
            QUIET,
        )


def _faster_held(report: SearchReport, width: int) -> Iterator[Line]:
    """A faster one that holds, though too few items show it."""
    chosen = report.deployment
    held = next((row for row in report.rows if row.standing == "held"), None)
    if held is None or (chosen is not None and (held.speedup or 0) <= (chosen.speedup or 0)):
        return
    gain = f"{held.speedup:.2f}x" if held.speedup else "faster"
    text = f"faster, and not shown to be safe: {held.backend} {held.precision}, {gain}; more test items could show it"
    yield from wrapped(text, width, WARN)


def _why_not(report: SearchReport) -> str:
    """Why nothing is offered."""
    measured = [row for row in report.rows if row.standing != "base" and row.p50_ns is not None]
    faster = [row for row in measured if (row.speedup or 0) > 1]
    if not any(row.standing == "base" and row.p50_ns is not None for row in report.rows):
        return "the budget left no time to measure fp32, so nothing is compared; give more --budget"
    if not measured:
        return "no other precision could be measured"
    if not faster:
        return "no map is faster"
    if any(row.standing == "held" for row in faster):
        return "faster maps hold the limits on test items, but too few items show that they do"
    return "every faster map misses a limit"


def _metric(report: SearchReport) -> str:
    """The metric that stands in the table: the first with a limit, or the first that any row has."""
    if report.verdicts and report.verdicts[0].limits:
        return report.verdicts[0].limits[0].metric
    return next((name for row in report.rows for name in row.quality), "quality")


def _row(row: SearchRow, metric: str) -> GridRow:
    label = f"{'*' if row.front else ' '} {row.backend} {row.precision}"
    if row.p50_ns is None:
        return GridRow(label, text=plain(row.reason or row.status), style=QUIET)
    value = row.quality.get(metric)
    cells = (
        UNKNOWN if row.groups is None else f"{row.int8_groups}/{row.groups}",
        format_ns(row.p50_ns),
        "1" if row.standing == "base" else UNKNOWN if row.speedup is None else f"{row.speedup:.2f}",
        UNKNOWN if row.size_bytes is None else quantity(row.size_bytes, "bytes"),
        UNKNOWN if value is None else quantity(value, "1"),
        _WORDS[row.standing],
    )
    return GridRow(label, cells, style=_STYLES[row.standing])


def _verdict(verdict: Verdict, confidence: float, width: int) -> Iterator[Line]:
    standing = "safe" if verdict.safe else "not shown" if verdict.held else "missed"
    head = f"{verdict.precision}: {standing}; {verdict.items} test items ({verdict.tested_on})"
    yield from wrapped(plain(f"{head}{'; ' if verdict.note else ''}{verdict.note}"), width, None)
    for limit in verdict.limits:
        yield from wrapped(plain(_limit(limit, confidence)), width, None, "    ", "  ")


def _limit(limit: LimitVerdict, confidence: float) -> str:
    sign = ">=" if limit.better == "higher" else "<="
    text = f"{limit.metric} {limit.value:.3f} ({sign} {limit.limit:g}; fp32 {limit.fp32:.3f})"
    if not limit.items:
        return f"{text}: no interval"
    worst = limit.low if limit.better == "higher" else limit.high
    told = f"{text}: change {limit.change:+.4f}, at worst {worst:+.4f} of {limit.items} items"
    if limit.shown:
        return told
    return f"{told}: fp32 leaves {limit.limit - limit.fp32:+.4f}"


def _why(report: SearchReport, width: int) -> Iterator[Line]:
    kept = report.kept_in_fp32
    if not kept:
        return
    slower = [group for group in kept if group.gain_us <= 0]
    damaging = [group for group in kept if group not in slower]
    text = "1 group stays in fp32" if len(kept) == 1 else f"{len(kept)} groups stay in fp32"
    if slower:
        text += f"; {len(slower)} of them are no faster in int8"
    yield from wrapped(text, width, None)
    for group in damaging[:_TOLD_GROUPS]:
        yield from wrapped(plain(_group(group)), width, QUIET, "    ", "  ")
    if len(damaging) > _TOLD_GROUPS:
        yield f"  and {len(damaging) - _TOLD_GROUPS} more: see the map's file", QUIET


def _group(group: FloatGroup) -> str:
    damage = "unknown" if group.damage is None else f"{group.damage:.3f}"
    return f"{group.op} {_short(group.name)}: int8 would gain {group.gain_us:.0f} us, output error {damage}"


def _short(name: str, most: int = 36) -> str:
    return name if len(name) <= most else f"...{name[-most + 3 :]}"


def _searched(report: SearchReport, width: int) -> Iterator[Line]:
    found = report.exploration
    items = (
        f"{found.tuning_items} tuning items" if found.tuning_items else "no labelled tuning items"
    )
    yield from wrapped(
        plain(
            f"searched {report.seconds:.0f} s of {report.budget_s:.0f} s: {len(found.candidates)} maps over "
            f"{sum(not unit.joiner for unit in found.units)} groups; {items} ({found.tuned_on}), "
            f"{found.evaluation_items} evaluation items; calibration {found.calibration.method}"
        ),
        width,
        QUIET,
    )
    for note in report.notes:
        yield from wrapped(plain(note), width, QUIET)


def lines_of(report: SearchReport, width: int = 80) -> Sequence[str]:
    """The text without colours, as documents show it."""
    return [line for line, _ in _lines(report, width)]
