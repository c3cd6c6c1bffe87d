"""The columns of numbers of the trade-off table, the same on a terminal, in Markdown and in notebooks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgebench.analysis.table_types import Row
from edgebench.render.number_format import UNKNOWN, estimate_mark, half_width, measured, told
from edgebench.text.plain_text import plain
from edgebench.units import format_ns, format_rate


@dataclass(frozen=True)
class NumberColumn:
    """A head and the cell of a row under it."""

    name: str
    cell: Callable[[Row], str]
    dispensable: bool = False  # other columns tell the same


def number_columns(rows: Sequence[Row]) -> list[NumberColumn]:
    """Returns those of rows of one scenario; the energy has one only where some row has a value."""
    scenario = rows[0].scenario
    columns = [*_SPEED.get(scenario, _SPEED["single_stream"]), _MEMORY, _QUALITY]
    if any(row.energy.j_per_inference is not None for row in rows):
        columns.append(_ENERGY)
    return columns


def p50_cell(row: Row) -> str:
    ns = row.latency_ns
    return measured(ns.p50, ns.p50_low, ns.p50_high, "ns")


def p90_cell(row: Row) -> str:
    """The 90th percentile, or the upper bound that stands for it ("<=7.63 ms"; of p99 in words)."""
    ns = row.latency_ns
    if ns.p90 is not None or row.imported is None:
        return measured(ns.p90, ns.p90_low, ns.p90_high, "ns")
    if ns.p90_early_stopping is not None:
        return f"<={format_ns(ns.p90_early_stopping)}"
    others = (
        (ns.p99, "p99 "),
        (ns.p99_early_stopping, "p99<="),
        (ns.p999_early_stopping, "p99.9<="),
    )
    for value, name in others:
        if value is not None:
            return f"{name}{format_ns(value)}"
    return UNKNOWN


def p99_cell(row: Row) -> str:
    """The 99th percentile, or the upper bound that another tool gives in its place."""
    ns = row.latency_ns
    if ns.p99 is None and row.imported is not None and ns.p99_early_stopping is not None:
        return f"<={format_ns(ns.p99_early_stopping)}"
    return measured(ns.p99, ns.p99_low, ns.p99_high, "ns")


def first_token_cell(row: Row) -> str:
    if (answer := row.generate) is None:
        return UNKNOWN
    return measured(answer.ttft_ns, answer.ttft_low_ns, answer.ttft_high_ns, "ns")


def next_token_cell(row: Row) -> str:
    if (answer := row.generate) is None:
        return UNKNOWN
    return measured(answer.tpot_ns, answer.tpot_low_ns, answer.tpot_high_ns, "ns")


def token_rate_cell(row: Row) -> str:
    """New tokens per second after the first one."""
    return told(row.generate.decode_tokens_per_s if row.generate else None, format_rate)


def quality_cell(row: Row) -> str:
    """ "0.880 -0.005": the value and its distance to fp32."""
    quality = row.quality
    if quality is None or quality.value is None:
        return UNKNOWN
    delta = "" if quality.delta is None else f" {quality.delta:+.3f}"
    return f"{quality.value:.3f}{delta}"


def energy_cell(row: Row) -> str:
    """ "31.2 mJ ±3.2%": joules per inference and their uncertainty, or why there are none; "~" marks an estimate."""
    joules, half = row.energy.j_per_inference, row.energy.uncertainty_j
    if joules is None:
        return plain(row.energy.reason or UNKNOWN)
    low, high = (None, None) if half is None else (joules - half, joules + half)
    return estimate_mark(row.energy.kind) + measured(joules, low, high, "J")


def _served_cell(row: Row) -> str:
    spread = half_width(row.throughput_per_s, row.throughput_low_per_s, row.throughput_high_per_s)
    return " ".join(filter(None, (told(row.throughput_per_s, format_rate), spread)))


def _mebibytes(row: Row) -> str:
    """Formats without the unit, which the head holds: four columns decide whether a label fits."""
    if row.memory_peak_bytes is None:
        return UNKNOWN
    value = row.memory_peak_bytes / 2**20
    return f"{value:.{0 if value >= 99.95 else 1}f}"


def _factor(row: Row) -> str:
    """Time of computing over time of the stream ("0.012x")."""
    return told(row.stream.real_time_factor if row.stream else None, "{:.2g}x".format)


_MEMORY = NumberColumn("MiB", _mebibytes)
_QUALITY = NumberColumn("quality", quality_cell)
_ENERGY = NumberColumn("energy", energy_cell)
_SERVED = [NumberColumn("items/s", _served_cell)]
_AT_RATE = [NumberColumn("p50", p50_cell), NumberColumn("p99", p99_cell), *_SERVED]
_STREAM = [
    NumberColumn("p50", p50_cell),
    NumberColumn("p99", p99_cell),
    NumberColumn("real time", _factor),
]
_SPEED = {
    "offline": _SERVED,
    "server": _AT_RATE,
    "multi_stream": _AT_RATE,
    "stream": _STREAM,
    "generate": [
        NumberColumn("p50", lambda row: told(row.latency_ns.p50, format_ns)),
        NumberColumn("TTFT", first_token_cell),
        NumberColumn("TPOT", next_token_cell),
        NumberColumn("tok/s", token_rate_cell, dispensable=True),
    ],
    "single_stream": [
        NumberColumn("p50", p50_cell),
        NumberColumn("p90", p90_cell),
        NumberColumn("items/s", lambda row: told(row.throughput_per_s, format_rate)),
    ],
}
