"""The trade-off table for a terminal: at most 80 columns unless labels are longer than that.

Without a terminal, or with NO_COLOR, there are no escape sequences. Lines are laid out here and
only coloured by rich: its own tables take seconds for ten thousand rows.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TextIO

from edgebench.analysis.per_row.row_labels import common, labels
from edgebench.analysis.table_types import Front, Pick, Row, Table
from edgebench.render import table_wording
from edgebench.render.console import (
    DEPLOY,
    FRONT,
    HEAD,
    REASON,
    STRUCK,
    TITLE,
    WARN,
    Line,
    paint,
    wrapped,
)
from edgebench.text.plain_text import plain
from edgebench.units import format_rate

_REASONS = 2  # why variants of a backend are unsupported
_LEGEND = (
    f"{table_wording.MARKS_LEGEND}; ± half the 95% interval over processes; MiB: peak memory; "
    "quality: value and distance to fp32"
)


def render(table: Table, out: TextIO) -> None:
    """Writes the table. Width is that of the terminal; in a pipe COLUMNS, else 80."""
    paint(lambda width: _lines(table, width), out)


def _lines(table: Table, width: int) -> Iterator[Line]:
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
        yield from _block(table, front, pick, members, width)
        yield "", None
    yield from wrapped(_LEGEND, width, HEAD)
    for note in table.notes:
        yield from wrapped(plain(note), width, HEAD)


def _block(
    table: Table, front: Front, pick: Pick, members: Sequence[int], width: int
) -> Iterator[Line]:
    rows = [table.rows[index] for index in members]
    names = [plain(name) for name in labels(rows)]
    yield from wrapped(_title(front, rows), width, TITLE)
    yield from _grid(rows, names, width)
    missed = table_wording.not_reached(rows, names)
    if missed:
        yield from wrapped(missed, width, WARN)
    for news in pick.bad_news:
        yield from wrapped(plain(news), width, WARN)
    if pick.row is None:
        yield from wrapped(plain(pick.text), width, REASON)
        return
    yield from wrapped(plain(pick.text), width, DEPLOY)
    yield from wrapped(table_wording.around(table.rows[pick.row]), width, HEAD, indent="  ")


def _title(front: Front, rows: Sequence[Row]) -> str:
    shared = common(rows)
    metrics = {row.quality.metric for row in rows if row.quality is not None}
    quality = f" · quality: {', '.join(sorted(metrics))}" if metrics else ""
    return plain(
        f"{front.workload}@{front.workload_version} · {table_wording.scenario(front)}"
        + (f" · {shared}" if shared else "")
        + quality
    )


def _grid(rows: Sequence[Row], names: Sequence[str], width: int) -> Iterator[Line]:
    head, *cells = columns(rows)
    widths = [max(len(line[column]) for line in (head, *cells)) for column in range(len(head))]
    room = width - 2 - sum(widths) - len(widths)
    label = min(max(len(name) for name in ("variant", *names)), max(room, 0))
    yield f"  {'variant':<{label}}" + _joined(head, widths), HEAD
    unable: dict[str, dict[str, str]] = defaultdict(dict)  # backend -> names and why, in one place
    for row, name in zip(rows, names, strict=True):
        if row.status == "unsupported":
            unable[row.backend][name] = table_wording.reasons(row)
    for row, name, values in zip(rows, names, cells, strict=True):
        if row.status != "unsupported":
            yield from _entry(row, name, _joined(values, widths), label, width)
    for backend, why in unable.items():
        yield from wrapped(_unable(backend, why, label), width, REASON, "    ", "x ")


def _unable(backend: str, why: Mapping[str, str], label: int) -> str:
    """What a backend cannot do, in one place: a variant by its name, several by their number and reasons."""
    if len(why) == 1:
        [(name, reason)] = why.items()
        return f"{name:<{label}}  {reason}"
    counts = Counter(each.removeprefix("unsupported: ") for each in why.values())
    reasons = [
        reason if len(counts) == 1 else f"{count}x {reason}"
        for reason, count in counts.most_common()
    ]
    hidden = len(reasons) - _REASONS
    more = f"; {hidden} more reason{'s' * (hidden > 1)}: --format json" if hidden > 0 else ""
    return f"{backend}: {len(why)} variants unsupported: {'; '.join(reasons[:_REASONS])}{more}"


def _entry(row: Row, name: str, numbers: str, label: int, width: int) -> Iterator[Line]:
    """A row's lines: its numbers, and below them what to know of it."""
    start = f"{table_wording.mark(row) or ' '} "
    if row.status != "ok" and row.latency_ns.p50 is None and row.throughput_per_s is None:
        yield from wrapped(
            table_wording.reasons(row), width, REASON, "    ", f"{start}{name:<{label}}  "
        )
        return
    style = FRONT if row.pareto else None if row.ranked else STRUCK
    if len(name) <= label:
        yield f"{start}{name:<{label}}{numbers}", style
    else:  # the name has a line of its own, the numbers stand below
        yield start + name, style
        yield " " * (2 + label) + numbers, style
    if not row.ranked:
        yield from wrapped(table_wording.reasons(row), width, REASON, "    ")
    for line in table_wording.remarks(row):
        yield from wrapped(line, width, WARN, "    ")


def _joined(values: Sequence[str], widths: Sequence[int]) -> str:
    return "".join(f" {value:>{size}}" for value, size in zip(values, widths, strict=True))


def columns(rows: Sequence[Row]) -> list[list[str]]:
    """Head and cells; the energy has a column only where some row has a value."""
    scenario = rows[0].scenario
    energy = any(row.energy.j_per_inference is not None for row in rows)
    head = _HEADS.get(scenario, _HEADS["single_stream"])
    head = [*head, "MiB", "quality"] + (["energy"] if energy else [])
    table = [head]
    for row in rows:
        cells = _CELLS.get(scenario, _latency_cells)(row)
        cells += [_mebibytes(row.memory_peak_bytes), table_wording.quality_cell(row)]
        table.append([*cells, table_wording.energy_cell(row)] if energy else cells)
    return table


def _latency_cells(row: Row) -> list[str]:
    ns = row.latency_ns
    return [
        table_wording.time_cell(ns.p50, ns.p50_low, ns.p50_high),
        table_wording.p90_cell(row),
        _rate(row),
    ]


def _offline_cells(row: Row) -> list[str]:
    spread = table_wording.half_width(
        row.throughput_per_s, row.throughput_low_per_s, row.throughput_high_per_s
    )
    return [" ".join(filter(None, (_rate(row), spread)))]


_HEADS = {
    "offline": ["items/s"],
    "server": ["items/s"],
    "generate": ["TTFT", "TPOT", "tok/s"],
    "single_stream": ["p50", "p90", "items/s"],
}
_CELLS = {
    "offline": _offline_cells,
    "server": _offline_cells,
    "generate": table_wording.generate_cells,
}


def _mebibytes(size: int | None) -> str:
    """Without the unit, which the head holds: four columns decide whether a label fits."""
    if size is None:
        return "-"
    value = size / 2**20
    return f"{value:.{0 if value >= 99.95 else 1}f}"


def _rate(row: Row) -> str:
    return "-" if row.throughput_per_s is None else format_rate(row.throughput_per_s)
