"""Results in a notebook: the trade-off table as HTML, and a few lines where there is none.

HTML holds no script and no style sheet; everything that comes from a file is escaped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape as escaped

from edgebench.analysis.per_row.row_labels import common, labels
from edgebench.analysis.table_types import Front, Row, Table
from edgebench.render import deploy_line, table_wording
from edgebench.render.table_cells import number_columns
from edgebench.text.plain_text import plain
from edgebench.words.note_words import counted

MAX_ROWS = 60  # of a block; the table has them all
MAX_PICKS = 4  # lines of the summary
_DIM = ' style="opacity:0.65"'
_LEFT = ' style="text-align:left"'
_RIGHT = ' style="text-align:right"'


def summary(table: Table, notes: Sequence[str]) -> str:
    """Says in a few lines how many rows there are, and what to deploy."""
    workloads = {row.workload for row in table.rows}
    ranked = sum(row.ranked for row in table.rows)
    rows, where = counted(len(table.rows), "row"), counted(len(table.devices), "device")
    what = f"{rows}, {ranked} ranked; {counted(len(workloads), 'workload')} on {where}"
    lines = [f"<edgebench.Results: {what}>"]
    blocks = table_wording.blocks(table)
    for front, pick, members in blocks[:MAX_PICKS]:
        words = deploy_line.words(table.rows, pick, members)
        lines.append(f"  {_title(front)}: {plain(words.text)}")
    if len(blocks) > MAX_PICKS:
        lines.append(f"  and {len(blocks) - MAX_PICKS} more: print(results)")
    return "\n".join([*lines, *(f"  {plain(note)}" for note in notes)])


def html(table: Table, notes: Sequence[str]) -> str:
    """The table as a notebook shows it: one HTML table per device, workload and scenario."""
    return "\n".join(["<div>", *_parts(table), *map(_note, [*table.notes, *notes]), "</div>"])


def _parts(table: Table) -> Iterator[str]:
    if not table.rows:
        yield "<p>no rows</p>"
        return
    device = None
    for front, pick, members in table_wording.blocks(table):
        if front.device != device:
            device = front.device
            yield f"<p><b>{_text(table_wording.device_line(table, device))}</b></p>"
            yield from (
                f"<p>{_text(line)}</p>" for line in table_wording.state_lines(table, device)
            )
        words = deploy_line.words(table.rows, pick, members)
        yield from _block(front, words, [table.rows[index] for index in members])
    yield f"<p{_DIM}><small>{_text(table_wording.MARKS_LEGEND)}; ± half the 95% interval</small></p>"


def _block(front: Front, words: deploy_line.DeployLine, rows: Sequence[Row]) -> Iterator[str]:
    numbers = number_columns(rows)
    names = labels(rows)
    shared = common(rows)
    yield f"<p><b>{_text(_title(front))}</b>{_text(f' · {shared}' if shared else '')}</p>"
    yield f"<p><b>{_text(words.text)}</b></p>"
    heads = "".join(f"<th{_RIGHT}>{_text(each.name)}</th>" for each in numbers)
    yield f"<table><thead><tr><th></th><th{_LEFT}>variant</th>{heads}<th{_LEFT}>remarks</th></tr></thead>"
    yield "<tbody>"
    for row, name in list(zip(rows, names, strict=True))[:MAX_ROWS]:
        yield _row(row, name, [each.cell(row) for each in numbers])
    yield "</tbody></table>"
    if len(rows) > MAX_ROWS:
        yield f"<p>and {len(rows) - MAX_ROWS} more rows: results.table().rows</p>"
    yield from (f"<p>{_text(news)}</p>" for news in words.bad_news)


def _row(row: Row, name: str, values: Sequence[str]) -> str:
    remarks = "; ".join(
        [*([] if row.ranked else [table_wording.reasons(row)]), *table_wording.remarks(row)]
    )
    cells = "".join(f"<td{_RIGHT}>{_text(value)}</td>" for value in values)
    return (
        f"<tr{'' if row.ranked else _DIM}><td>{_text(table_wording.mark(row))}</td><td{_LEFT}>{_text(name)}</td>"
        f"{cells}<td{_LEFT}>{_text(remarks)}</td></tr>"
    )


def _title(front: Front) -> str:
    return plain(f"{front.workload}@{front.workload_version} {table_wording.scenario(front)}")


def _note(note: str) -> str:
    return f"<p{_DIM}><small>{_text(note)}</small></p>"


def _text(words: str) -> str:
    """Text as text: Jupyter takes $ for a formula, also where it stands in HTML."""
    return escaped(plain(words)).replace("$", "&#36;")
