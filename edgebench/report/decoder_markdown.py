"""Language models in the report's Markdown: the table of decoders, and test-time scaling."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgebench.render.table_markdown import escape
from edgebench.report.decoder_rows import COLUMNS, cells_of_head, facts_of, head_of, state_of
from edgebench.report.page_rows import markdown_table
from edgebench.report.report_model import Decoder, DecoderTable, Report
from edgebench.scaling.scaling_rows import ScalingCell, ScalingGroup

_MAX_ROWS = 40  # rows of a table


def sections(report: Report) -> Iterator[str]:
    """Nothing where no row generates text."""
    if report.decoders:
        yield "### Language models"
        yield ""
    for table in report.decoders:
        yield from _decoders(report, table)
    if report.scalings:
        yield "### What more tokens and votes bring"
        yield ""
    for group in report.scalings:
        yield from _scaling(report, group)


def _decoders(report: Report, table: DecoderTable) -> Iterator[str]:
    yield f"{escape(table.name)}:"
    yield ""
    names = head_of(table)
    rows = [
        (*cells_of_head(table, decoder), *_measured(report, decoder))
        for decoder in table.decoders[:_MAX_ROWS]
    ]
    first = len(names)
    yield from markdown_table((*names, *COLUMNS, "state"), rows, range(first, first + len(COLUMNS)))
    if len(table.decoders) > _MAX_ROWS:
        yield f"{len(table.decoders) - _MAX_ROWS} further rows are left out here."
        yield ""


def _measured(report: Report, decoder: Decoder) -> Sequence[str]:
    row = report.rows[decoder.row]
    return *facts_of(report, row), row.why or state_of(row)


def _scaling(report: Report, group: ScalingGroup) -> Iterator[str]:
    where = f" on {group.device}" if len(report.devices) > 1 else ""
    yield f"{escape(group.name + where)}:"
    yield ""
    for pick in group.picks:
        yield f"- within {escape(pick.within)}: {escape(pick.text)}"
    yield ""
    for cell in group.cells:
        yield from _cell(report, cell)


def _cell(report: Report, cell: ScalingCell) -> Iterator[str]:
    yield f"**{escape(cell.label)}**: {escape('; '.join([cell.asked, *cell.doubts]))}"
    yield ""
    head = ("", *report.scaling_names)
    rows = [("*" if point.front else "", *point.cells) for point in cell.points]
    yield from markdown_table(head, rows, range(1, len(head)))
    for words in (*(fit.words for fit in cell.fits), cell.agreement):
        if words:
            yield f"- {escape(words)}"
    yield ""
