"""The trade-off table for a terminal: at most 80 columns unless labels are longer than that.

Without a terminal, or with NO_COLOR, there are no escape sequences. Lines are laid out here and
only coloured by rich: its own tables take seconds for ten thousand rows.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator, Sequence
from typing import TextIO

from rich.console import Console
from rich.segment import Segment, Segments
from rich.style import Style

from edgebench.analysis.labels import common, labels
from edgebench.analysis.pick import format_rate
from edgebench.analysis.types import Front, Pick, Row, Table
from edgebench.report import text

_TITLE = Style(bold=True)
_HEAD = Style(dim=True)
_FRONT = Style(color="green")
_STRUCK = Style(dim=True, strike=True)
_REASON = Style(color="red")
_WARN = Style(color="yellow")
_DEPLOY = Style(bold=True, color="green")
_MIN_WIDTH = 40
_LEGEND = (
    "* on the Pareto front, x struck from every ranking; ± half the 95% interval over processes; "
    "MiB: peak memory; quality: value and distance to fp32"
)

Line = tuple[str, Style | None]


def render(table: Table, out: TextIO) -> None:
    """Writes the table. Width is that of the terminal; in a pipe COLUMNS, else 80."""
    console = Console(
        file=out, highlight=False, color_system=None if os.environ.get("NO_COLOR") else "auto"
    )
    unicode = (getattr(out, "encoding", None) or "utf-8").lower().startswith("utf")
    segments = []
    for line, style in _lines(table, max(console.width, _MIN_WIDTH)):
        words = line if unicode else line.replace("±", "~").encode("ascii", "replace").decode()
        segments += [Segment(words, style), Segment.line()]
    console.print(Segments(segments), end="", crop=False, soft_wrap=True)


def _lines(table: Table, width: int) -> Iterator[Line]:
    if not table.rows:
        yield "no records", None
        return
    device = None
    for front, pick, members in text.blocks(table):
        if front.device != device:
            device = front.device
            yield from _wrapped(text.device_line(table, device), width, _TITLE)
            for line in text.state_lines(table, device):
                yield from _wrapped(line, width, _WARN)
            yield "", None
        yield from _block(table, front, pick, members, width)
        yield "", None
    yield from _wrapped(_LEGEND, width, _HEAD)
    for note in table.notes:
        yield from _wrapped(text.plain(note), width, _HEAD)


def _block(
    table: Table, front: Front, pick: Pick, members: Sequence[int], width: int
) -> Iterator[Line]:
    rows = [table.rows[index] for index in members]
    names = [text.plain(name) for name in labels(rows)]
    yield from _wrapped(_title(front, rows), width, _TITLE)
    yield from _grid(rows, names, width)
    missed = text.not_reached(rows, names)
    if missed:
        yield from _wrapped(missed, width, _WARN)
    for news in pick.bad_news:
        yield from _wrapped(text.plain(news), width, _WARN)
    if pick.row is None:
        yield from _wrapped(text.plain(pick.text), width, _REASON)
        return
    yield from _wrapped(text.plain(pick.text), width, _DEPLOY)
    yield from _wrapped(text.around(table.rows[pick.row]), width, _HEAD, indent="  ")


def _title(front: Front, rows: Sequence[Row]) -> str:
    shared = common(rows)
    metrics = {row.quality.metric for row in rows if row.quality is not None}
    quality = f" · quality: {', '.join(sorted(metrics))}" if metrics else ""
    return text.plain(
        f"{front.workload}@{front.workload_version} · {text.scenario(front)}"
        + (f" · {shared}" if shared else "")
        + quality
    )


def _grid(rows: Sequence[Row], names: Sequence[str], width: int) -> Iterator[Line]:
    head, *cells = _columns(rows)
    widths = [max(len(line[column]) for line in (head, *cells)) for column in range(len(head))]
    room = width - 2 - sum(widths) - len(widths)
    label = min(max(len(name) for name in ("variant", *names)), max(room, 0))
    yield f"  {'variant':<{label}}" + _joined(head, widths), _HEAD
    for row, name, values in zip(rows, names, cells, strict=True):
        yield from _entry(row, name, _joined(values, widths), label, width)


def _entry(row: Row, name: str, numbers: str, label: int, width: int) -> Iterator[Line]:
    """A row's lines: its numbers, and below them what to know of it."""
    start = f"{text.mark(row) or ' '} "
    if row.status != "ok" and row.latency_ns.p50 is None and row.throughput_per_s is None:
        yield from _wrapped(text.reasons(row), width, _REASON, "    ", f"{start}{name:<{label}}  ")
        return
    style = _FRONT if row.pareto else None if row.ranked else _STRUCK
    if len(name) <= label:
        yield f"{start}{name:<{label}}{numbers}", style
    else:  # the name has a line of its own, the numbers stand below
        yield start + name, style
        yield " " * (2 + label) + numbers, style
    if not row.ranked:
        yield from _wrapped(text.reasons(row), width, _REASON, "    ")
    elif row.paced is not None and row.paced.misses:
        line = f"{row.paced.misses} deadlines missed in {row.paced.queries} queries"
        yield from _wrapped(line, width, _WARN, "    ")


def _joined(values: Sequence[str], widths: Sequence[int]) -> str:
    return "".join(f" {value:>{size}}" for value, size in zip(values, widths, strict=True))


def _columns(rows: Sequence[Row]) -> list[list[str]]:
    """Head and cells; the energy has a column only where some row has a value."""
    scenario = rows[0].scenario
    energy = any(row.energy.j_per_inference is not None for row in rows)
    head = _HEADS.get(scenario, _HEADS["single_stream"])
    head = [*head, "MiB", "quality"] + (["energy"] if energy else [])
    table = [head]
    for row in rows:
        cells = _CELLS.get(scenario, _latency_cells)(row)
        cells += [_mebibytes(row.memory_peak_bytes), text.quality_cell(row)]
        table.append([*cells, text.energy_cell(row)] if energy else cells)
    return table


def _latency_cells(row: Row) -> list[str]:
    ns = row.latency_ns
    return [
        text.time_cell(ns.p50, ns.p50_low, ns.p50_high),
        text.time_cell(ns.p90, ns.p90_low, ns.p90_high),
        _rate(row),
    ]


def _offline_cells(row: Row) -> list[str]:
    spread = text.half_width(
        row.throughput_per_s, row.throughput_low_per_s, row.throughput_high_per_s
    )
    return [" ".join(filter(None, (_rate(row), spread)))]


_HEADS = {
    "offline": ["items/s"],
    "generate": ["TTFT", "TPOT", "tok/s"],
    "single_stream": ["p50", "p90", "items/s"],
}
_CELLS = {"offline": _offline_cells, "generate": text.generate_cells}


def _mebibytes(size: int | None) -> str:
    """Without the unit, which the head holds: four columns decide whether a label fits."""
    if size is None:
        return "-"
    value = size / 2**20
    return f"{value:.{0 if value >= 99.95 else 1}f}"


def _rate(row: Row) -> str:
    return "-" if row.throughput_per_s is None else format_rate(row.throughput_per_s)


def _wrapped(
    line: str, width: int, style: Style, indent: str = "", first: str | None = None
) -> Iterator[Line]:
    for part in textwrap.wrap(
        line,
        width,
        initial_indent=indent if first is None else first,
        subsequent_indent=indent or "  ",
        break_on_hyphens=False,
    ):
        yield part, style
