"""A gate's report as GitHub Markdown: the body of a comment, and the summary of a step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TextIO

from edgebench.ab_test.ab_report_types import GateReport, GateRow
from edgebench.gate import verdict_wording as words
from edgebench.render.table_markdown import escape

_SIGN = {"pass": "✅", "improve": "🎉", "regress": "❌", "inconclusive": "❔", "invalid": "⚠️"}
#: Lets a bot find its own comment again and rewrite it.
MARKER = "<!-- edgebench gate -->"


def render(report: GateReport, out: TextIO) -> None:
    out.writelines(line + "\n" for line in _lines(report))


def _lines(report: GateReport) -> Iterator[str]:
    yield MARKER
    yield f"### {_SIGN[report.verdict]} edgebench: {report.verdict.upper()}"
    yield ""
    yield escape(words.summary(report))
    yield ""
    if report.cells:
        yield "| cell | metric | base | head | change | 95 % interval | MDE | pairs | verdict |"
        yield "|---|---|--:|--:|--:|---|--:|--:|---|"
        yield from map(_row, report.cells)
        yield ""
    for line in words.sides(report):
        yield f"- {escape(line)}"
    for (cell, why), metrics in _reasons(report).items():
        yield "- " + escape(f"{cell}, {' and '.join(metrics)}: {why}")
    for reason in report.reasons:
        yield f"- **{escape(reason.message)}**" + (f" ({escape(reason.fix)})" if reason.fix else "")
    for note in report.notes:
        yield f"- {escape(note)}"
    yield ""
    if report.cells:
        yield f"<sub>{escape(words.facts(report))}</sub>"


def _reasons(report: GateReport) -> dict[tuple[str, str], list[str]]:
    """Cell and reason -> the metrics that have it."""
    cells_of: dict[tuple[str, str], list[str]] = {}
    for row in report.cells:
        if row.reason:
            cells_of.setdefault((row.cell, row.reason), []).append(row.metric)
    return cells_of


def _row(row: GateRow) -> str:
    verdict = f"{_SIGN[row.verdict]} {words.verdict(row)}"
    cells = [escape(row.cell), row.metric, *words.cells(row), str(row.pairs), verdict]
    return f"| {' | '.join(cells)} |"
