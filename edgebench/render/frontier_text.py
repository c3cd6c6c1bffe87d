"""Fronts for a terminal: first who is on them, then by what, then what would decide the rest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TextIO

import numpy as np

from edgebench.analysis.frame import Identity, Indices
from edgebench.analysis.frontier import Competition, Frontier, all_by_value
from edgebench.analysis.frontier_report import FrontRow, Group, front_rows, group_of, members_of
from edgebench.analysis.frontier_report import left_out as rows_left_out
from edgebench.analysis.more_time import MoreTime
from edgebench.analysis.per_row.row_labels import common, labels
from edgebench.render.console import DEPLOY, GOOD, QUIET, TITLE, WARN, paint
from edgebench.render.left_out import left_out
from edgebench.render.number_format import with_width
from edgebench.render.table_wording import MARKS_LEGEND, front_mark
from edgebench.render.text_grid import GridRow, columns, grid
from edgebench.render.wrapping import Line, listed, wrapped
from edgebench.text.plain_text import plain
from edgebench.units import format_probability

_GROUPS = 20
_ROWS = 30  # of a group
_NAMES = 4  # in a sentence
_LEGEND = (
    f"{MARKS_LEGEND}; prob: the share of draws (Student's t over replicates) in which no other row "
    "dominates it; (?) no interval; ± half the 95 % interval"
)


def render(result: Frontier, findings: Sequence[str], out: TextIO) -> None:
    """Writes at most some groups and rows of each; JSON has all of them."""
    paint(lambda width: _lines(result, findings, width), out)


def _lines(result: Frontier, findings: Sequence[str], width: int) -> Iterator[Line]:
    parts = [
        (competition, group, places)
        for competition in result.competitions
        for group, places in enumerate(members_of(competition))
    ]
    if len(parts) != 1:
        yield from wrapped(_summary(result, len(parts)), width, TITLE)
        yield "", None
    notes: dict[str, None] = {}  # an ordered set
    for competition, group, places in parts[:_GROUPS]:
        yield from _block(result, competition, group, places, width, notes)
        yield "", None
    if len(parts) > _GROUPS:
        yield f"{len(parts) - _GROUPS} more fronts: --format json, or name a --workload", QUIET
    for finding in findings:
        yield from wrapped(plain(finding), width, WARN)
    for note in notes:
        yield from wrapped(plain(note), width, QUIET)
    yield from left_out(rows_left_out(result), width)
    yield from wrapped(_LEGEND, width, QUIET)


def _summary(result: Frontier, groups: int) -> str:
    counts = sum(
        (np.bincount(competition.verdict, minlength=3) for competition in result.competitions),
        start=np.zeros(3, dtype=int),
    )
    if not groups:
        return "no front: no row competes"
    alone = sum(
        all_by_value(competition, places)
        for competition in result.competitions
        for places in members_of(competition)
    )
    if alone == groups:
        return f"{groups} fronts by value: no row has an interval, so nothing is sure"
    fronts = f"{groups} fronts at {result.confidence * 100:g}% confidence"
    words = f"{fronts}: {counts[2]} rows on them for sure, {counts[1]} undecided, {counts[0]} not"
    return words + (f"; {alone} fronts are by value, without intervals" if alone else "")


def _block(
    result: Frontier,
    competition: Competition,
    group: int,
    places: Indices,
    width: int,
    notes: dict[str, None],
) -> Iterator[Line]:
    facts = group_of(result, competition, group, places)
    notes.update(dict.fromkeys(facts.notes))
    keys = competition.columns[0].values, ~competition.by_value, -competition.verdict
    order = np.lexsort([key[places] for key in keys])
    shown = places[order[:_ROWS]]
    rows = list(front_rows(result, competition, group, places, shown))
    names = [plain(name) for name in labels(_named(rows, result))]
    silent = np.isnan(competition.probability[places]) & competition.by_value[places]
    decision = _decision(facts, rows, names, int(silent.sum()))
    yield from wrapped(decision, width, DEPLOY)
    yield from wrapped(_title(facts, rows, result), width, QUIET)
    yield from _table(facts, rows, names, width)
    if len(places) > len(shown):
        yield f"  and {len(places) - len(shown)} more rows: --format json", QUIET
    yield from wrapped(_measures(facts, rows, names), width, None)
    if facts.more_time is not None:
        ids = {row.id: name for row, name in zip(rows, names, strict=True)}
        yield from wrapped(_next_minute(facts.more_time, ids), width, WARN)


def _named(rows: Sequence[FrontRow], result: Frontier) -> list[Identity]:
    return [result.frame.identity(row.row) for row in rows]


def _decision(facts: Group, rows: Sequence[FrontRow], names: Sequence[str], by_value: int) -> str:
    where = f"{facts.workload}@{facts.workload_version} {facts.scenario}"
    if facts.by_value:
        on_it = [name for row, name in zip(rows, names, strict=True) if row.by_value]
        front = listed(on_it, _NAMES, facts.on_it_by_value)
        return plain(f"{where}: front by value, since no row has an interval: {front}")
    sure = [name for row, name in zip(rows, names, strict=True) if row.front == "yes"]
    parts = []
    if sure:
        parts.append("on the front: " + listed(sure, _NAMES, facts.counts["yes"]))
    open_ = [(row, name) for row, name in zip(rows, names, strict=True) if row.front == "undecided"]
    told = [
        f"{name} ({format_probability(row.probability)})"
        for row, name in open_
        if row.probability is not None
    ]
    if told:
        parts.append("undecided: " + listed(told, _NAMES))
    silent = [name for row, name in open_ if row.probability is None and row.by_value]
    if silent:
        parts.append("by value, without intervals: " + listed(silent, _NAMES, by_value))
    rest = facts.counts["undecided"] - len(told) - by_value
    if rest > 0:
        parts.append(f"{rest} more undecided")
    if facts.counts["no"]:
        parts.append(f"{facts.counts['no']} not")
    return plain(f"{where}: " + "; ".join(parts))


def _title(facts: Group, rows: Sequence[FrontRow], result: Frontier) -> str:
    by = ", ".join(
        f"{axis.metric} {'min' if axis.better == 'lower' else 'max'}" for axis in facts.objectives
    )
    shared = common(_named(rows, result))
    words = [facts.device or "several devices", shared, f"by {by}", facts.energy]
    return plain(" · ".join(word for word in words if word))


def _table(
    facts: Group, rows: Sequence[FrontRow], names: Sequence[str], width: int
) -> Iterator[Line]:
    styles = {"yes": GOOD, "undecided": None, "no": QUIET}
    axes = [axis.metric.rpartition(".")[2] for axis in facts.objectives]
    lines = []
    for row, name in zip(rows, names, strict=True):
        cells = ["-" if row.probability is None else format_probability(row.probability)]
        cells += [with_width(row.values[axis.metric], axis.unit) for axis in facts.objectives]
        sign = front_mark(row.front, row.by_value, row.by_value or not facts.by_value)
        lines.append(GridRow(f"{sign or ' '} {name}", cells, styles[row.front]))
    yield from grid(columns("  variant", "prob", *axes), lines, width)


def _measures(facts: Group, rows: Sequence[FrontRow], names: Sequence[str]) -> str:
    if facts.rows < 2:
        return ""
    knee = next((n for row, n in zip(rows, names, strict=True) if row.row == facts.knee_row), None)
    words = [f"knee: {knee or facts.knee}"]
    if facts.hypervolume.share is not None:
        words.append(f"hypervolume: {facts.hypervolume.share * 100:.0f}% of the box")
    return plain("; ".join(words))


def _next_minute(more: MoreTime, names: dict[str, str]) -> str:
    rows = f"{more.undecided} undecided row{'s' if more.undecided != 1 else ''}"
    if more.seconds is None or more.half_width is None:
        return f"one more minute: unknown what it would decide of {rows}: {more.reason}"
    decided = [names.get(name, name) for name in more.would_decide]
    each = f"{more.replicates} more replicate{'s' if more.replicates != 1 else ''}"
    what = f"would decide {len(decided)} of {rows}"
    which = f": {listed(decided, _NAMES)}" if decided else ""
    time = "one more minute" if more.seconds <= 60 else f"{more.seconds:.0f} s more (not a minute)"
    return plain(
        f"{time} ({each} of {more.measured} rows, intervals {more.half_width:.2f}x as wide) {what}, "
        f"if the values stay{which}"
    )
