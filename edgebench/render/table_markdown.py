"""The trade-off table as GitHub Markdown, for a README or a pull request."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TextIO

from edgebench.analysis.per_row.row_labels import common, labels
from edgebench.analysis.table_types import Front, Pick, Row, Table
from edgebench.render import table_wording
from edgebench.text.plain_text import plain
from edgebench.units import format_rate

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
    yield f"{escape(table_wording.MARKS_LEGEND)}; ± 95 % over processes."
    for note in table.notes:
        yield ""
        yield escape(note)


def _block(table: Table, front: Front, pick: Pick, members: Sequence[int]) -> Iterator[str]:
    rows = [table.rows[index] for index in members]
    names = labels(rows)
    yield f"### {escape(f'{front.workload}@{front.workload_version}, {table_wording.scenario(front)}')}"
    yield ""
    if common(rows):
        yield escape(common(rows))
        yield ""
    speed = "TTFT | TPOT | tokens/s" if front.scenario == "generate" else "p50 | p90 | items/s"
    yield f"| | variant | {speed} | peak memory | quality (to fp32) | energy | remarks |"
    yield "|---|---|--:|--:|--:|--:|--:|--:|---|"
    for row, name in zip(rows, names, strict=True):
        yield _row(row, name)
    yield ""
    remarks = [f"**{escape(pick.text)}**", *map(escape, pick.bad_news)]
    if pick.row is not None:
        remarks.append(escape(table_wording.around(table.rows[pick.row])))
    remarks.append(escape(table_wording.not_reached(rows, names)))
    for remark in filter(None, remarks):
        yield remark
        yield ""


def _row(row: Row, name: str) -> str:
    ns = row.latency_ns
    rate = "-" if row.throughput_per_s is None else format_rate(row.throughput_per_s)
    if row.scenario == "offline":
        low, high = row.throughput_low_per_s, row.throughput_high_per_s
        rate = f"{rate} {table_wording.half_width(row.throughput_per_s, low, high)}".rstrip()
    sign = table_wording.mark(row)
    speed = [
        table_wording.time_cell(ns.p50, ns.p50_low, ns.p50_high),
        table_wording.p90_cell(row),
        rate,
    ]
    cells = [
        f"`{sign}`" if sign else "",
        escape(name),
        *(speed if row.scenario != "generate" else table_wording.generate_cells(row)),
        table_wording.bytes_cell(row.memory_peak_bytes),
        table_wording.quality_cell(row),
        escape(table_wording.energy_cell(row)),
        escape(
            "; ".join(
                [*([] if row.ranked else [table_wording.reasons(row)]), *table_wording.remarks(row)]
            )
        ),
    ]
    return f"| {' | '.join(cells)} |"


def escape(words: str) -> str:
    """Text of a result file as text: no markup, no HTML, no mention, no table cell of its own."""
    words = plain(words).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", words)
