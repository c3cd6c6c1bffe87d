"""The verdict table of an A/B for a terminal: 80 columns."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import TextIO

from edgebench.ab_test.ab_report_types import GateReport, GateRow
from edgebench.gate import verdict_wording as words
from edgebench.render.console import BAD, DEPLOY, GOOD, QUIET, TITLE, WARN, WORSE, paint
from edgebench.render.text_grid import Column, GridRow, grid
from edgebench.render.wrapping import Line, wrapped
from edgebench.text.plain_text import plain

_STYLES = {"pass": GOOD, "improve": DEPLOY, "regress": WORSE, "inconclusive": WARN, "invalid": BAD}
#: As wide in every cell, so that the columns of all stand below each other.
_COLUMNS = (
    Column("", right=False, min_width=14),
    Column("base", min_width=8),
    Column("head", min_width=8),
    Column("change", min_width=6),
    Column("95% interval", right=False, min_width=16),
    Column("MDE", min_width=5),
    Column("verdict", right=False),
)


def render(report: GateReport, out: TextIO) -> None:
    """Writes the table; without a terminal, or with NO_COLOR, without escape sequences."""
    paint(lambda width: _lines(report, width), out, min_width=60)


def _lines(report: GateReport, width: int) -> Iterator[Line]:
    for line in words.sides(report):
        yield from wrapped(line, width, TITLE)
    for cell, rows in groupby(report.cells, key=lambda row: row.cell):
        yield "", None
        yield from wrapped(plain(cell), width, TITLE)
        yield from grid(_COLUMNS, list(_rows(rows)), width)
    yield "", None
    summary = words.summary(report)
    yield from wrapped(summary, width, _STYLES[report.verdict] + TITLE)
    for reason in report.reasons:
        parts = [] if plain(reason.message) in summary else [reason.message]
        parts += [f"fix: {reason.fix}"] if reason.fix else []
        yield from wrapped(plain("; ".join(parts)), width, WARN)
    for note in (words.facts(report), *report.notes):
        yield from wrapped(plain(note), width, QUIET)


def _rows(rows: Iterator[GateRow]) -> Iterator[GridRow]:
    said = None
    for row in rows:
        news = row.reason if row.reason != said else ""  # one line for both clocks
        said = row.reason or said
        yield GridRow(
            f"  {row.metric.replace('energy.j_per_inference', 'energy')}",
            [*words.cells(row), words.verdict(row)],
            _STYLES[row.verdict] if row.judged else QUIET,
            below=[(plain(news), QUIET)] if news else [],
        )
