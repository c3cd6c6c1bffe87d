"""The trade-off table as CSV: one line a row, numbers unrounded, unknown ones empty."""

from __future__ import annotations

import csv
from typing import TextIO

from edgebench.analysis.table_types import Row, Table
from edgebench.metrics import METRICS
from edgebench.text.plain_text import plain, spreadsheet_text

_ENERGY = ("status", "reason", "kind", "scope", "source", "total_rail")
_IDENTITY = ("device", "run", "id", "workload", "workload_version", "backend", "scenario")


def render(table: Table, out: TextIO) -> None:
    """Writes a head and the rows; columns of metrics are named as on the command line, with units."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_head())
    writer.writerows(_cells(row) for row in table.rows)


def _head() -> list[str]:
    head = [*_IDENTITY, "rate_per_s", "variant", "status", "ranked", "pareto", "reasons"]
    head += ["samples", "replicates", "quality.metric", "quality.floor", "quality.passed"]
    head += [f"energy.{name}" for name in _ENERGY]
    for metric in METRICS.values():
        head.append(metric.column())
        if metric.low_path:
            head += [metric.column("low"), metric.column("high")]
    return head


def _cells(row: Row) -> list[object]:
    quality = row.quality
    cells: list[object] = [getattr(row, name) for name in _IDENTITY]
    cells += [
        row.rate_per_s,
        ";".join(f"{axis}={value}" for axis, value in sorted(row.variant.items())),
        row.status,
        row.ranked,
        row.pareto,
        ";".join(reason.code for reason in row.reasons),
        row.latency_ns.samples,
        row.latency_ns.replicates,
        quality and quality.metric,
        quality and quality.floor,
        quality and quality.passed,
        *(getattr(row.energy, name) for name in _ENERGY),
    ]
    for metric in METRICS.values():
        cells.append(metric.value(row))
        if metric.low_path:
            cells += [metric.low(row), metric.high(row)]
    return [_cell(cell) for cell in cells]


def _cell(value: object) -> object:
    """Booleans as in JSON; text that a spreadsheet would run as a formula is quoted."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return spreadsheet_text(plain(value))
    return value
