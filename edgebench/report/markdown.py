"""The trade-off table as GitHub Markdown, for a README or a pull request."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TextIO

from edgebench.analysis.labels import common, labels
from edgebench.analysis.types import Front, Pick, Row, Table
from edgebench.report import text
from edgebench.units import format_rate

_SPECIAL = re.compile(r"([\\`*_\[\]|~#@])")


def render(table: Table, out: TextIO) -> None:
    """Writes one section per device and one table per workload and scenario."""
    out.writelines(line + "\n" for line in _lines(table))


def _lines(table: Table) -> Iterator[str]:
    device = None
    for front, pick, members in text.blocks(table):
        if front.device != device:
            device = front.device
            yield f"## {escape(text.device_line(table, device))}"
            yield ""
            for line in text.state_lines(table, device):
                yield f"- {escape(line)}"
                yield ""
        yield from _block(table, front, pick, members)
    yield f"{escape(text.MARKS_LEGEND)}; ± 95 % over processes."
    for note in table.notes:
        yield ""
        yield escape(note)


def _block(table: Table, front: Front, pick: Pick, members: Sequence[int]) -> Iterator[str]:
    rows = [table.rows[index] for index in members]
    names = labels(rows)
    yield f"### {escape(f'{front.workload}@{front.workload_version}, {text.scenario(front)}')}"
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
        remarks.append(escape(text.around(table.rows[pick.row])))
    remarks.append(escape(text.not_reached(rows, names)))
    for remark in filter(None, remarks):
        yield remark
        yield ""


def _row(row: Row, name: str) -> str:
    ns = row.latency_ns
    rate = "-" if row.throughput_per_s is None else format_rate(row.throughput_per_s)
    if row.scenario == "offline":
        low, high = row.throughput_low_per_s, row.throughput_high_per_s
        rate = f"{rate} {text.half_width(row.throughput_per_s, low, high)}".rstrip()
    sign = text.mark(row)
    speed = [
        text.time_cell(ns.p50, ns.p50_low, ns.p50_high),
        text.p90_cell(row),
        rate,
    ]
    cells = [
        f"`{sign}`" if sign else "",
        escape(name),
        *(speed if row.scenario != "generate" else text.generate_cells(row)),
        text.bytes_cell(row.memory_peak_bytes),
        text.quality_cell(row),
        escape(text.energy_cell(row)),
        escape("; ".join([*([] if row.ranked else [text.reasons(row)]), *text.remarks(row)])),
    ]
    return f"| {' | '.join(cells)} |"


def escape(words: str) -> str:
    """Text of a result file as text: no markup, no HTML, no mention, no table cell of its own."""
    words = text.plain(words).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", words)
