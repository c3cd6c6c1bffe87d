"""The flat form of a row: one column per fact, for SQL, Parquet and spreadsheets (docs/export.md).

Metrics are named as on the command line, with the unit (`latency.p50_ns`). What is unknown is None,
and the column `unknown` holds the reasons.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from edgebench.analysis.competition import group_of
from edgebench.analysis.round_blocks import SERIES
from edgebench.analysis.table_types import Row
from edgebench.backend import Scalar
from edgebench.energy.cell_energy import spread_j
from edgebench.metrics import METRICS, Metric, number_at

#: One column per axis of any row's variant stands behind the fixed ones: `variant_threads`.
VARIANT = "variant_"


@dataclass(frozen=True)
class Column:
    """A column: its type in SQL, and its value of a row (a dict where the type is JSON)."""

    name: str
    type: str
    value: Callable[[Row], Any]


def flat(row: Row, columns: Sequence[Column]) -> dict[str, Any]:
    """The row as one flat object."""
    return {column.name: column.value(row) for column in columns}


def columns_of(rows: Sequence[Row]) -> list[Column]:
    """The columns of a table of these rows: the fixed ones, then one per axis."""
    axes = sorted({axis for row in rows for axis in row.variant})
    return [*COLUMNS, *(_axis(axis, [row.variant.get(axis) for row in rows]) for axis in axes)]


def _axis(axis: str, values: Sequence[Scalar | None]) -> Column:
    """Typed by its values; text where they are of several types."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {bool}:
        return Column(VARIANT + axis, "BOOLEAN", lambda row: row.variant.get(axis))
    if kinds <= {int}:
        return Column(VARIANT + axis, "BIGINT", lambda row: row.variant.get(axis))
    if kinds <= {int, float}:
        return Column(VARIANT + axis, "DOUBLE", lambda row: row.variant.get(axis))

    def text(row: Row) -> str | None:
        value = row.variant.get(axis)
        return str(value).lower() if isinstance(value, bool) else _text(value)

    return Column(VARIANT + axis, "VARCHAR", text)


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _plain(name: str, kind: str) -> Column:
    return Column(name, kind, lambda row: getattr(row, name))


def _of(part: str, name: str, kind: str) -> Column:
    """A field of a part that a row may lack."""

    def value(row: Row) -> Any:
        whole = getattr(row, part)
        return None if whole is None else getattr(whole, name)

    return Column(f"{part}.{name}", kind, value)


def _work(row: Row, name: str) -> int | None:
    work = row.model.work if row.model is not None else None
    return None if work is None else getattr(work, name)


def _paired(name: str) -> list[Column]:
    """Returns what ratios to other rows of the same run are made from."""

    def column(field: str, kind: str) -> Column:
        def value(row: Row) -> Any:
            paired = row.paired.get(name)
            return None if paired is None else getattr(paired, field)

        return Column(f"{name}_paired_{field}", kind, value)

    return [column("value", "DOUBLE"), column("error", "DOUBLE"), column("degrees", "BIGINT")]


def _metric(metric: Metric) -> list[Column]:
    whole = metric.unit in ("ns", "bytes")

    def column(bound: str, path: str) -> Column:
        def rounded(row: Row) -> float | None:
            number = number_at(row, path)
            return round(number) if whole and number is not None else number

        return Column(metric.column(bound), "BIGINT" if whole else "DOUBLE", rounded)

    columns = [column("", metric.path)]
    if metric.low_path:
        columns += [column("low", metric.low_path), column("high", metric.high_path)]
    return columns


COLUMNS: tuple[Column, ...] = (
    _plain("device", "VARCHAR"),
    _plain("run", "VARCHAR"),
    _plain("started_utc", "VARCHAR"),
    _plain("commit", "VARCHAR"),
    _plain("id", "VARCHAR"),
    _plain("workload", "VARCHAR"),
    _plain("workload_version", "BIGINT"),
    _plain("backend", "VARCHAR"),
    _plain("scenario", "VARCHAR"),
    _plain("rate_per_s", "DOUBLE"),
    Column("prompt_tokens", "BIGINT", lambda row: group_of(row).prompt_tokens),
    Column("new_tokens", "BIGINT", lambda row: group_of(row).new_tokens),
    Column("request", "VARCHAR", lambda row: group_of(row).request),
    Column("samples_per_query", "BIGINT", lambda row: group_of(row).samples_per_query),
    _plain("bound_p99_ns", "BIGINT"),
    _plain("status", "VARCHAR"),
    _plain("ranked", "BOOLEAN"),
    _plain("pareto", "BOOLEAN"),
    _plain("front", "VARCHAR"),
    _plain("front_probability", "DOUBLE"),
    Column("reasons", "VARCHAR[]", lambda row: [reason.code for reason in row.reasons]),
    Column("samples", "BIGINT", lambda row: row.latency_ns.samples),
    Column("replicates", "BIGINT", lambda row: row.latency_ns.replicates),
    *(column for metric in METRICS.values() for column in _metric(metric)),
    Column("rounds", "BIGINT[]", lambda row: row.rounds),
    *(column for name in SERIES for column in _paired(name)),
    Column("latency.p50_of_replicates_ns", "BIGINT[]", lambda row: row.latency_ns.p50_of_replicates),
    Column("latency.p90_of_replicates_ns", "BIGINT[]", lambda row: row.latency_ns.p90_of_replicates),
    Column("latency.p99_of_replicates_ns", "BIGINT[]", lambda row: row.latency_ns.p99_of_replicates),
    Column("throughput_of_replicates_per_s", "DOUBLE[]",
           lambda row: row.throughput_of_replicates_per_s),
    _plain("replicate_wall_s", "DOUBLE"),
    Column("memory.peak_min_bytes", "BIGINT", lambda row: row.memory.peak_min_bytes),
    _of("quality", "metric", "VARCHAR"),
    _of("quality", "better", "VARCHAR"),
    _of("quality", "kind", "VARCHAR"),
    _of("quality", "floor", "DOUBLE"),
    _of("quality", "passed", "BOOLEAN"),
    _of("quality", "items", "BIGINT"),
    _of("energy", "status", "VARCHAR"),
    _of("energy", "reason", "VARCHAR"),
    _of("energy", "kind", "VARCHAR"),
    _of("energy", "scope", "VARCHAR"),
    _of("energy", "source", "VARCHAR"),
    _of("energy", "total_rail", "VARCHAR"),
    Column("energy.spread_j", "DOUBLE", lambda row: spread_j(row.energy)),
    _of("effective", "precision", "VARCHAR"),
    _of("effective", "device", "VARCHAR"),
    _of("effective", "threads", "BIGINT"),
    _of("effective", "runtime", "VARCHAR"),
    _of("model", "sha256", "VARCHAR"),
    Column("model.flops", "BIGINT", lambda row: _work(row, "flops")),
    Column("model.moved_bytes", "BIGINT", lambda row: _work(row, "moved_bytes")),
    _of("imported", "tool", "VARCHAR"),
    _of("imported", "reported", "JSON"),
    _plain("inputs_sha256", "VARCHAR"),
    _plain("variant", "JSON"),
    _plain("unknown", "JSON"),
)  # fmt: skip
