"""The trade-off table for a terminal: at most 80 columns unless labels are longer than that.

Without a terminal, or with NO_COLOR, there are no escape sequences.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TextIO

from edgebench.analysis.per_row.row_labels import common, labels
from edgebench.analysis.table_types import Front, Pick, Row, Table
from edgebench.render import deploy_line, table_wording
from edgebench.render.console import BAD, DEPLOY, DOUBTFUL, GOOD, QUIET, TITLE, WARN, WORSE, paint
from edgebench.render.folded_rows import folded_lines, is_folded
from edgebench.render.table_cells import NumberColumn, number_columns
from edgebench.render.text_grid import Column, GridRow, grid
from edgebench.render.wrapping import Line, wrapped
from edgebench.text.plain_text import plain

_LEGEND = (
    f"{table_wording.MARKS_LEGEND}; ± half the 95% interval over processes; MiB: peak memory; "
    "quality: value and distance to fp32"
)
_MORE = "edgebench show --verbose says more: all doubts, reasons, precision, cold start"


def render(table: Table, out: TextIO, verbose: bool = False) -> None:
    """Writes the table. Width is that of the terminal; in a pipe COLUMNS, else 80."""
    paint(lambda width: _lines(table, width, verbose), out)


def _lines(table: Table, width: int, verbose: bool) -> Iterator[Line]:
    if not table.rows:
        yield "no records", None
        return
    device = None
    for front, pick, members in table_wording.blocks(table):
        if front.device != device:
            device = front.device
            yield from wrapped(table_wording.device_line(table, device), width, TITLE)
            for line in table_wording.state_lines(table, device):
                yield from wrapped(line, width, WARN)
            yield "", None
        yield from _block(table, front, pick, members, width, verbose)
        yield "", None
    yield from wrapped(_LEGEND, width, QUIET)
    for note in (*table.notes, *([] if verbose else [_MORE])):
        yield from wrapped(plain(note), width, QUIET)


def _block(
    table: Table, front: Front, pick: Pick, members: Sequence[int], width: int, verbose: bool
) -> Iterator[Line]:
    """Yields what to deploy and how sure that is; then the rows."""
    rows = [table.rows[index] for index in members]
    names = [plain(name) for name in labels(rows)]
    yield from wrapped(_title(front, rows, verbose), width, TITLE)
    style = WORSE if pick.row is None else DOUBTFUL if pick.busy else DEPLOY
    words = deploy_line.words(table.rows, pick, members)
    yield from wrapped(plain(words.headline), width, style)
    doubt = plain(words.doubt)
    if not verbose:
        doubt = plain(deploy_line.doubt_in_a_line(table.rows, pick, members, doubt, width))
    yield from wrapped(doubt, width, None if pick.clear else WARN)
    yield from _grid(rows, names, width, verbose)
    if verbose:
        chosen = None if pick.row is None else table.rows[pick.row]
        yield from _details(chosen, words.bad_news, rows, names, width)


def _title(front: Front, rows: Sequence[Row], verbose: bool) -> str:
    parts = [
        f"{front.workload}@{front.workload_version}",
        table_wording.scenario(front),
        common(rows),
        table_wording.judged_by(rows) if verbose else table_wording.judged_by_first(rows),
    ]
    return plain(" · ".join(filter(None, parts)))


def _grid(rows: Sequence[Row], names: Sequence[str], width: int, verbose: bool) -> Iterator[Line]:
    numbers = number_columns(rows)
    columns = [Column(each.name, dispensable=each.dispensable) for each in numbers]
    lines = [
        _line(row, name, numbers, verbose)
        for row, name in zip(rows, names, strict=True)
        if not is_folded(row, verbose)
    ]
    if lines:
        yield from grid([Column("  variant", right=False), *columns], lines, width)
    if not verbose:
        yield from folded_lines(rows, names, width)


def _line(row: Row, name: str, numbers: Sequence[NumberColumn], verbose: bool) -> GridRow:
    """A row's numbers, and below them what to know of it."""
    label = f"{table_wording.mark(row) or ' '} {name}"
    why = table_wording.reasons(row) if verbose else table_wording.reason_in_short(row)
    if row.status != "ok" and row.latency_ns.p50 is None and row.throughput_per_s is None:
        return GridRow(label, style=BAD, text=why)
    remarks: list[Line] = [] if row.ranked else [(why, BAD)]
    remarks += [(line, WARN) for line in table_wording.remarks(row)]
    style = GOOD if row.pareto else None if row.ranked else QUIET
    return GridRow(label, [each.cell(row) for each in numbers], style, below=remarks)


def _details(
    chosen: Row | None,
    bad_news: Sequence[str],
    rows: Sequence[Row],
    names: Sequence[str],
    width: int,
) -> Iterator[Line]:
    """Yields what the block leaves to those who ask."""
    for news in (*bad_news, table_wording.not_reached(rows, names)):
        yield from wrapped(plain(news), width, WARN, first="")
    if chosen is not None:
        yield from wrapped(table_wording.around(chosen), width, QUIET, first="")
