"""Says what a search found: sentences that terminals and reports share, and how they stand on a terminal."""

from __future__ import annotations

import shlex
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
from edgebench.words.search_words import STANDING_LEGEND, STANDING_WORDS, groups_split

_TOLD_GROUPS = 5
_STYLES = {
    "safe": GOOD,
    "missed": BAD,
    "held": WARN,
    "tuning": QUIET,
    "untested": None,
    "base": None,
}
_LEGEND = f"* on the front of latency, memory and quality; limits: {STANDING_LEGEND}"


# Sentences


def decision(report: SearchReport) -> str:
    """What to deploy, and how fast it is."""
    chosen = report.deployment
    if chosen is None:
        return f"deploy fp32: {_why_not(report)}"
    gain = f"{chosen.speedup:.2f}x as fast as fp32" if chosen.speedup else "faster than fp32"
    if chosen.speedup_low is not None and chosen.speedup_high is not None:
        gain += f" ({chosen.speedup_low:.2f}-{chosen.speedup_high:.2f}x)"
    else:
        gain += " (?)"
    parts = f", {chosen.int8_groups} of {chosen.groups} groups in int8" if chosen.groups else ""
    return f"deploy {chosen.backend} {chosen.precision}: {gain}{parts}"


def doubts(report: SearchReport) -> Iterator[str]:
    """What weakens the decision."""
    chosen = report.deployment
    if chosen is not None and chosen.speedup_low is None:
        yield "(?) one process each was measured, so the speed has no interval: give more --budget"
    held = next((row for row in report.rows if row.standing == "held"), None)
    if held is None or (chosen is not None and (held.speedup or 0) <= (chosen.speedup or 0)):
        return
    gain = f"{held.speedup:.2f}x" if held.speedup else "faster"
    yield (
        f"faster, and not shown to be safe: {held.backend} {held.precision}, {gain}; more test items could show it"
    )


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


def verdict_words(verdict: Verdict) -> str:
    standing = "safe" if verdict.safe else "not shown" if verdict.held else "missed"
    head = f"{verdict.precision}: {standing}; {verdict.items} test items ({verdict.tested_on})"
    return f"{head}{'; ' if verdict.note else ''}{verdict.note}"


def limit_words(limit: LimitVerdict) -> str:
    """A limit on test items: the value, its change from fp32, and what fp32 leaves."""
    sign = ">=" if limit.better == "higher" else "<="
    text = f"{limit.metric} {limit.value:.3f} ({sign} {limit.limit:g}; fp32 {limit.fp32:.3f})"
    worst = limit.low if limit.better == "higher" else limit.high
    if worst is None or not limit.items:
        return f"{text}: no interval"
    told = f"{text}: change {limit.change:+.4f}, at worst {worst:+.4f} of {limit.items} items"
    if limit.shown:
        return told
    return f"{told}: fp32 leaves {limit.limit - limit.fp32:+.4f}"


def why(report: SearchReport) -> str:
    """How many groups the map leaves in fp32; "" where it leaves none, or no map is told of."""
    kept = report.kept_in_fp32
    if not kept:
        return ""
    text = "1 group stays in fp32" if len(kept) == 1 else f"{len(kept)} groups stay in fp32"
    if report.deployment is None or report.deployment.precision != report.explained:
        text = f"in {report.explained}, which is not offered, {text}"
    slower = sum(group.gain_us <= 0 for group in kept)
    return f"{text}; {slower} of them are no faster in int8" if slower else text


def group_words(group: FloatGroup) -> str:
    """What int8 would have done to a group that stays in fp32."""
    damage = "unknown" if group.damage is None else f"{group.damage:.3f}"
    name = f"{group.op} {_short(group.name)}"
    if group.gain_us > 0:
        return f"{name}: int8 would gain {group.gain_us:.0f} us, output error {damage}"
    times = f"int8 takes {group.int8_us:.0f} us where fp32 takes {group.fp32_us:.0f} us"
    return f"{name}: {times}, output error {damage}"


def told_groups(report: SearchReport, most: int) -> list[FloatGroup]:
    """Of the groups that stay in fp32 those that tell most: the dearest in quality, and then the slowest in int8."""
    damaging = [group for group in report.kept_in_fp32 if group.gain_us > 0]
    slower = sorted(
        (group for group in report.kept_in_fp32 if group.gain_us <= 0), key=lambda g: g.gain_us
    )
    few = min(len(slower), max(most // 2, most - len(damaging)))
    return [*damaging[: most - few], *slower[:few]]


def explain_command(report: SearchReport) -> str:
    """The command that says where the time of the map goes; "" without a map's file."""
    row = next((row for row in report.rows if row.precision == report.explained), None)
    if row is None or row.map_file is None:
        return ""
    return _command("explain", report.subject, row.map_file)


def run_command(report: SearchReport) -> str:
    """The command that measures the choice again; "" where that is no map."""
    chosen = report.deployment
    if chosen is None or chosen.map_file is None:
        return ""
    task = [] if report.task is None else ["--task", report.task]
    return _command("run", [*report.subject, *task], chosen.map_file)


def _command(name: str, subject: Sequence[str], map_file: str) -> str:
    return plain(shlex.join(["edgebench", name, *subject, "--set", f"precision=@{map_file}"]))


def searched(report: SearchReport) -> str:
    found = report.exploration
    items = (
        f"{found.tuning_items} tuning items" if found.tuning_items else "no labelled tuning items"
    )
    return (
        f"searched {report.seconds:.0f} s of {report.budget_s:.0f} s: {len(found.candidates)} maps over "
        f"{sum(not unit.joiner for unit in found.units)} groups; {items} ({found.tuned_on}), "
        f"{found.evaluation_items} evaluation items; calibration {found.calibration.method}"
    )


# On a terminal


def render(report: SearchReport, out: TextIO) -> None:
    paint(lambda width: _lines(report, width), out)


def _lines(report: SearchReport, width: int) -> Iterator[Line]:
    yield from wrapped(plain(report.title), width, TITLE)
    style = WORSE if report.deployment is None else DEPLOY
    yield from wrapped(plain(decision(report)), width, style)
    for text in doubts(report):
        yield from wrapped(plain(text), width, WARN)
    if run_command(report):
        yield from wrapped(run_command(report), width, QUIET)
    yield "", None
    yield from grid(
        columns("precision", "groups", "p50", "x fp32", "size", report.metric, "limits"),
        [_row(row, report.metric) for row in report.rows],
        width,
    )
    yield "", None
    for verdict in report.verdicts:
        yield from wrapped(plain(verdict_words(verdict)), width, None)
        for limit in verdict.limits:
            yield from wrapped(plain(limit_words(limit)), width, None, "    ", "  ")
    yield from _kept(report, width)
    for text in (searched(report), *report.notes, _LEGEND):
        yield from wrapped(plain(text), width, QUIET)


def _row(row: SearchRow, metric: str) -> GridRow:
    label = f"{'*' if row.front else ' '} {row.backend} {row.precision}"
    if row.p50_ns is None:
        return GridRow(label, text=plain(row.reason or row.status), style=QUIET)
    return GridRow(label, row_cells(row, metric), style=_STYLES[row.standing])


def row_cells(row: SearchRow, metric: str) -> tuple[str, ...]:
    """Groups, p50, speed beside fp32, size, quality, and the word for its limits."""
    value = row.quality.get(metric)
    speed = "1" if row.standing == "base" else UNKNOWN
    return (
        UNKNOWN if row.groups is None else groups_split(row.split),
        UNKNOWN if row.p50_ns is None else format_ns(row.p50_ns),
        speed if row.speedup is None or row.standing == "base" else f"{row.speedup:.2f}",
        UNKNOWN if row.size_bytes is None else quantity(row.size_bytes, "bytes"),
        UNKNOWN if value is None else quantity(value, "1"),
        STANDING_WORDS[row.standing],
    )


def _kept(report: SearchReport, width: int) -> Iterator[Line]:
    if not why(report):
        return
    yield from wrapped(plain(why(report)), width, None)
    told = told_groups(report, _TOLD_GROUPS)
    for group in told:
        yield from wrapped(plain(group_words(group)), width, QUIET, "    ", "  ")
    if len(report.kept_in_fp32) > len(told):
        yield f"  and {len(report.kept_in_fp32) - len(told)} more: see the map's file", QUIET
    if explain_command(report):
        yield from wrapped(f"where its time goes: {explain_command(report)}", width, QUIET)


def _short(name: str, most: int = 36) -> str:
    return name if len(name) <= most else f"...{name[-most + 3 :]}"


def lines_of(report: SearchReport, width: int = 80) -> Sequence[str]:
    """The text without colours, as documents show it."""
    return [line for line, _ in _lines(report, width)]
