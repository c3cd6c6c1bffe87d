"""A comparison for a terminal: what differs around the cells first, then the cells."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

import numpy as np

from edgebench.analysis.comparison import Comparison
from edgebench.analysis.comparison_report import (
    Cell,
    CellMetric,
    ComparisonReport,
    Ratio,
    count_not_comparable,
    report,
)
from edgebench.analysis.per_row.environment_differences import TOPICS, Difference
from edgebench.analysis.per_row.row_labels import common, labels
from edgebench.render import tables as flat
from edgebench.render.console import BAD, GOOD, QUIET, TITLE, WARN, paint
from edgebench.render.number_format import quantity
from edgebench.render.table_markdown import escape
from edgebench.render.text_grid import Column, GridRow, columns, fits, grid
from edgebench.render.wrapping import Line, wrapped
from edgebench.text.plain_text import plain
from edgebench.units import format_times

_CELLS = 40
_REASONS = 15
_VALUES = 3  # of a fact, of one side
_PACKAGES = 8


def render(comparison: Comparison, findings: Sequence[str], form: str, out: TextIO) -> None:
    """Writes the comparison as "table", "csv" or "md"."""
    if form == "table":
        paint(lambda width: _lines(comparison, findings, width), out)
        return
    whole = report(comparison)
    if form == "md":
        head = [_environment_line(d, whole) for d in whole.environment]
        out.write("".join(f"- {escape(line)}\n" for line in head) + ("\n" if head else ""))
    flat.render(_head(whole), _flat(whole), form, out)


# --- lines


def _lines(comparison: Comparison, findings: Sequence[str], width: int) -> Iterator[Line]:
    whole = report(comparison, _CELLS)
    for letter, side in zip(_letters(whole), whole.sides, strict=True):
        where = ", ".join(side.devices[:_VALUES]) + (" ..." if len(side.devices) > _VALUES else "")
        words = f"{letter} = {side.name}: {side.rows} rows" + (f" on {where}" if where else "")
        yield from wrapped(plain(words), width, TITLE)
    yield from _environment(whole, comparison, width)
    yield "", None
    for number in range(1, len(comparison.sides)):
        yield from wrapped(_summary(comparison, number), width, TITLE)
    yield "", None
    yield from _tables(whole, width)
    total = max((len(pairing.compared) for pairing in comparison.pairings), default=0)
    if total > len(whole.cells):
        words = f"the {len(whole.cells)} cells that moved most; {total} in --format json"
        yield from wrapped(words, width, QUIET)
    yield from _reasons(whole, count_not_comparable(comparison), width)
    for finding in findings:
        yield from wrapped(plain(finding), width, WARN)
    for note in whole.notes:
        yield from wrapped(plain(note), width, QUIET)


def _letters(whole: ComparisonReport) -> list[str]:
    return [_letter(number) for number in range(len(whole.sides))]


def _letter(number: int) -> str:
    return chr(ord("A") + number) if number < 26 else f"S{number}"


def _environment(whole: ComparisonReport, comparison: Comparison, width: int) -> Iterator[Line]:
    if any(side.environment is None or not len(side.frame) for side in comparison.sides):
        return
    if not whole.environment:
        yield "environment: the same device, versions, packages and settings", QUIET
        return
    counts: dict[str, int] = defaultdict(int)
    for difference in whole.environment:
        counts[difference.topic] += 1
    said = ", ".join(f"{counts[topic]} of {topic}" for topic in TOPICS if counts[topic])
    yield from wrapped(f"environment differs: {said}", width, WARN)
    for topic in TOPICS:
        shown = [d for d in whole.environment if d.topic == topic]
        most = _PACKAGES if topic == "packages" else len(shown)
        for difference in shown[:most]:
            yield from wrapped(_environment_line(difference, whole), width, WARN, "    ", "  ")
        if len(shown) > most:
            yield f"  and {len(shown) - most} more {topic}: --format json", WARN


def _environment_line(difference: Difference, whole: ComparisonReport) -> str:
    sides = [
        f"{letter} {_values(values)}"
        for letter, values in zip(_letters(whole), difference.values, strict=True)
    ]
    name = difference.name.removeprefix(f"{difference.topic}.")  # of the settings of the sampling
    return plain(f"{difference.topic}: {name}: " + ", ".join(sides))


def _values(values: Sequence[str]) -> str:
    if not values:
        return "(not told)"
    shown = " | ".join(
        value if len(value) <= 60 else value[:57] + "..." for value in values[:_VALUES]
    )
    return shown + (f" | {len(values) - _VALUES} more" if len(values) > _VALUES else "")


def _summary(comparison: Comparison, number: int) -> str:
    """One side against the first: how many cells, and which way each metric went."""
    pairing = comparison.pairings[number - 1]
    places = pairing.compared
    lone = len(pairing.only_first) + len(pairing.only_other)
    barred = lone + int((pairing.reason != 0).sum())
    parts = []
    for ratios in pairing.ratios:
        told = places[~np.isnan(ratios.ratio[places])]
        clear = ratios.clear[told]
        if len(told):
            parts.append(
                f"{ratios.metric.name} {int((clear < 0).sum())} lower, "
                f"{int((clear > 0).sum())} higher, {int((clear == 0).sum())} not told apart"
            )
    cells = f"{len(places)} cell{'s' if len(places) != 1 else ''} compared, {barred} not"
    words = f"{_letter(number)} against A: {cells}"
    return "; ".join([words, *parts])


def _tables(whole: ComparisonReport, width: int) -> Iterator[Line]:
    groups: dict[tuple[Any, ...], list[Cell]] = defaultdict(list)
    for cell in whole.cells:
        groups[cell.device, cell.workload, cell.scenario, cell.rate_per_s].append(cell)
    for (device, workload, scenario, rate), cells in groups.items():
        named = [_Named(cell) for cell in cells]
        title = [workload, scenario + ("" if rate is None else f" at {rate:g}/s"), device or ""]
        shared = common(named)
        words = " · ".join(word for word in (*title, shared) if word)
        yield from wrapped(plain(words), width, TITLE)
        rows = [
            (f"  {plain(name)}" if place == 0 else "", metric)
            for cell, name in zip(cells, labels(named), strict=True)
            for place, metric in enumerate(cell.metrics)
        ]
        head = columns("  variant", "metric", *_columns(whole))
        lines = [
            GridRow(label, _cells(metric), _style(metric.ratios, metric)) for label, metric in rows
        ]
        if not fits(head, lines, width):
            head, lines = _stacked(rows, _letters(whole))
        yield from grid(head, lines, width)
        yield "", None


def _stacked(
    rows: Sequence[tuple[str, CellMetric]], letters: Sequence[str]
) -> tuple[list[Column], list[GridRow]]:
    """The sides of a metric one below the other: more of them than fit beside each other."""
    lines = []
    for label, metric in rows:
        sides = zip(letters, metric.values, metric.ratios, strict=True)
        for place, (letter, value, ratio) in enumerate(sides):
            told = "-" if value is None else quantity(value.value, metric.unit)
            against = _ratio(ratio) if place else ""
            first = (label, metric.metric) if place == 0 else ("", "")
            cells = [first[1], letter, told, against]
            lines.append(GridRow(first[0], cells, _style([ratio], metric)))
    return columns("  variant", "metric", "side", "value", f"to {letters[0]}"), lines


class _Named:
    """A cell as `labels` wants it: without device and run, which are on every side others."""

    device = run = ""

    def __init__(self, cell: Cell) -> None:
        self.backend = cell.backend
        self.variant = cell.variant


def _columns(whole: ComparisonReport) -> list[str]:
    first, *others = _letters(whole)
    return [first, *(word for letter in others for word in (letter, f"{letter}/{first}"))]


def _cells(metric: CellMetric) -> list[str]:
    cells = [metric.metric]
    for place, (value, ratio) in enumerate(zip(metric.values, metric.ratios, strict=True)):
        cells.append("-" if value is None else quantity(value.value, metric.unit))
        if place:
            cells.append(_ratio(ratio))
    return cells


def _ratio(ratio: Ratio | None) -> str:
    if ratio is None:
        return "-"
    if ratio.low is None or ratio.high is None:
        return f"{format_times(ratio.ratio)} (?)"
    if ratio.low == ratio.high:
        return format_times(ratio.ratio)
    return f"{format_times(ratio.ratio)} ({ratio.low:.2f}-{ratio.high:.2f})"


def _style(ratios: Sequence[Ratio | None], metric: CellMetric) -> Any:
    """Coloured where some side is surely better or worse than the first."""
    for ratio in ratios:
        if ratio is not None and ratio.clear != "open":
            return GOOD if ratio.clear == metric.better else WARN
    return None


def _reasons(whole: ComparisonReport, count: int, width: int) -> Iterator[Line]:
    if not count:
        return
    yield f"{count} not compared:", TITLE
    for each in whole.not_comparable[:_REASONS]:
        what = each.cell + (f" {each.metric}" if each.metric else "")
        yield from wrapped(plain(f"{what}: {each.reason} [{each.code}]"), width, BAD, "    ", "  ")
    if count > _REASONS:
        yield f"  and {count - _REASONS} more: --format json", QUIET


# --- flat forms


def _head(whole: ComparisonReport) -> list[str]:
    head = ["cell", "device", "metric", "unit"]
    for number, letter in enumerate(_letters(whole)):
        head += [f"{letter}", f"{letter}_low", f"{letter}_high"]
        if number:
            head += [f"{letter}/A", f"{letter}/A_low", f"{letter}/A_high"]
    return [*head, "reason"]


def _flat(whole: ComparisonReport) -> Iterator[list[Any]]:
    for cell in whole.cells:
        for metric in cell.metrics:
            line: list[Any] = [cell.cell, cell.device, metric.metric, metric.unit]
            pairs = zip(metric.values, metric.ratios, strict=True)
            for number, (value, ratio) in enumerate(pairs):
                line += [value.value, value.low, value.high] if value else [None] * 3
                if number:
                    line += [ratio.ratio, ratio.low, ratio.high] if ratio else [None] * 3
            yield [*line, None]
    blank: list[Any] = [None] * (len(_head(whole)) - 5)
    for each in whole.not_comparable:
        yield [each.cell, each.device, each.metric, *blank, None, f"{each.code}: {each.reason}"]
