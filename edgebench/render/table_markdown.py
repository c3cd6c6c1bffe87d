"""The trade-off table as GitHub Markdown, for a README or a pull request."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TextIO

from edgebench.analysis.per_row.row_labels import common, labels
from edgebench.analysis.table_types import Front, Pick, Row, Table
from edgebench.render import deploy_line, table_wording
from edgebench.render.table_cells import NumberColumn, number_columns
from edgebench.text.plain_text import plain

_SPECIAL = re.compile(r"([\\`*_\[\]|~#@])")


def render(table: Table, out: TextIO) -> None:
    """Writes one section per device and one table per workload and scenario."""
    out.writelines(line + "\n" for line in _lines(table))


def _lines(table: Table) -> Iterator[str]:
    device = None
    for front, pick, members in table_wording.blocks(table):
        if front.device != device:
            device = front.device
            yield f"## {escape(table_wording.device_line(table, device))}"
            yield ""
            for line in table_wording.state_lines(table, device):
                yield f"- {escape(line)}"
                yield ""
        yield from _block(table, front, pick, members)
    yield f"{escape(table_wording.MARKS_LEGEND)}; ± half the 95 % interval over processes."
    for note in table.notes:
        yield ""
        yield escape(note)


def _block(table: Table, front: Front, pick: Pick, members: Sequence[int]) -> Iterator[str]:
    """Yields what to deploy, then the rows, then what else there is to say."""
    rows = [table.rows[index] for index in members]
    names = labels(rows)
    numbers = number_columns(rows)
    yield f"### {escape(f'{front.workload}@{front.workload_version}, {table_wording.scenario(front)}')}"
    yield ""
    words = deploy_line.words(table.rows, pick, members)
    yield f"**{escape(words.text)}**"
    yield ""
    if shared := " · ".join(filter(None, (common(rows), table_wording.judged_by(rows)))):
        yield escape(shared)
        yield ""
    yield f"| | variant | {' | '.join(each.name for each in numbers)} | remarks |"
    yield f"|---|---|{'--:|' * len(numbers)}---|"
    for row, name in zip(rows, names, strict=True):
        yield _row(row, name, numbers)
    yield ""
    remarks = [*words.bad_news, table_wording.not_reached(rows, names)]
    if pick.row is not None:
        remarks.append(table_wording.around(table.rows[pick.row]))
    for remark in filter(None, remarks):
        yield escape(remark)
        yield ""


def _row(row: Row, name: str, numbers: Sequence[NumberColumn]) -> str:
    sign = table_wording.mark(row)
    why = [] if row.ranked else [table_wording.reasons(row)]
    cells = [
        f"`{sign}`" if sign else "",
        escape(name),
        *(escape(each.cell(row)) for each in numbers),
        escape("; ".join([*why, *table_wording.remarks(row)])),
    ]
    return f"| {' | '.join(cells)} |"


def escape(words: str) -> str:
    """Text of a result file as text: no markup, no HTML, no mention, no table cell of its own."""
    words = plain(words).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", words)
