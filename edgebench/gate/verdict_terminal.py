"""The verdict table of an A/B for a terminal: 80 columns."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TextIO

from rich.style import Style

from edgebench.ab_test.ab_report_types import GateReport, GateRow
from edgebench.gate import verdict_wording as words
from edgebench.render.console import Line, paint
from edgebench.text.plain_text import plain

_STYLES = {
    "pass": Style(color="green"),
    "improve": Style(color="green", bold=True),
    "regress": Style(color="red", bold=True),
    "inconclusive": Style(color="yellow"),
    "invalid": Style(color="red"),
}
_BOLD, _DIM = Style(bold=True), Style(dim=True)
_METRIC = 13
_PARTS = re.compile(r"[^/,>]*[/,>]|[^/,>]+")


def render(report: GateReport, out: TextIO) -> None:
    """Writes the table; without a terminal, or with NO_COLOR, without escape sequences."""
    paint(lambda width: _lines(report, width), out, min_width=60)


def _lines(report: GateReport, width: int) -> Iterator[Line]:
    for line in words.sides(report):
        yield from _wrapped(line, width, _BOLD)
    cell = said = None
    for row in report.cells:
        if row.cell != cell:
            cell, said = row.cell, None
            yield "", None
            yield from _wrapped(plain(cell), width, _BOLD)
            yield _head(), _DIM
        yield _row(row)
        if row.reason and row.reason != said:  # one line for both clocks
            said = row.reason
            yield from _wrapped(plain(row.reason), width, _DIM, "    ")
    yield "", None
    yield from _wrapped(words.summary(report), width, _STYLES[report.verdict] + _BOLD)
    summary = words.summary(report)
    for reason in report.reasons:
        parts = [] if plain(reason.message) in summary else [reason.message]
        parts += [f"fix: {reason.fix}"] if reason.fix else []
        yield from _wrapped(plain("; ".join(parts)), width, _STYLES["inconclusive"])
    yield from _wrapped(words.facts(report), width, _DIM)
    for note in report.notes:
        yield from _wrapped(plain(note), width, _DIM)


def _head() -> str:
    return f"  {'':<{_METRIC}}{'base':>9}{'head':>10}{'change':>8}  {'95% interval':<19}{'MDE':>6}  verdict"


def _row(row: GateRow) -> Line:
    metric = row.metric.replace("energy.j_per_inference", "energy")
    mde = "-" if row.mde is None or row.metric == "quality" else f"{row.mde:.1%}"
    line = (
        f"  {metric:<{_METRIC}}{words.value(row.base, row):>9}{words.value(row.head, row):>10}"
        f"{words.change(row.change, row.metric):>8}  {words.interval(row):<19}{mde:>6}  "
        f"{words.verdict(row)}"
    )
    return line, _STYLES[row.verdict] if row.judged else _DIM


def _wrapped(text: str, width: int, style: Style | None, indent: str = "") -> Iterator[Line]:
    """Lines of whole words; a name that is longer than a line is cut after `/`, `,` or `>`."""
    beside, line = indent or "  ", indent
    for word in text.split():
        parts = [word] if len(beside + word) <= width else _PARTS.findall(word)
        for number, part in enumerate(parts):
            glue = " " if number == 0 and line.strip() else ""
            if len(line + glue + part) > width and line.strip():
                yield line, style
                line, glue = beside, ""
            line += glue + part
            while len(line) > width:  # no place in it
                yield line[:width], style
                line = beside + line[width:]
    if line.strip():
        yield line, style
