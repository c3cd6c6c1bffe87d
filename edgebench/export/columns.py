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
from edgebench.metrics import METRICS, Metric, number_at, value_at

#: One column per axis of any row's variant stands behind the fixed ones: `variant_threads`.
VARIANT = "variant_"


@dataclass(frozen=True)
class Column:
    """A column: its type in SQL, and its value of a row (a dict where the type is JSON)."""

    name: str
    type: str
    value: Callable[[Row], Any]


def flat(row: Row, columns: Sequence[Column]) -> dict[str, Any]:
    return {column.name: column.value(row) for column in columns}


def columns_of(rows: Sequence[Row]) -> list[Column]:
    """The columns of a table of these rows: the fixed ones, then one per axis."""
    axes = sorted({axis for row in rows for axis in row.variant})
    return [*COLUMNS, *(_axis(axis, [row.variant.get(axis) for row in rows]) for axis in axes)]


def _axis(axis: str, values: Sequence[Scalar | None]) -> Column:
    """Typed by its values; text where they are of several types."""
    kinds = {type(value) for value in values if value is not None}
    for alike, kind in (({bool}, "BOOLEAN"), ({int}, "BIGINT"), ({int, float}, "DOUBLE")):
        if kinds <= alike:
            return Column(VARIANT + axis, kind, lambda row: row.variant.get(axis))

    def text(row: Row) -> str | None:
        value = row.variant.get(axis)
        if value is None:
            return None
        return str(value).lower() if isinstance(value, bool) else str(value)

    return Column(VARIANT + axis, "VARCHAR", text)


def _at(path: str, kind: str, name: str = "") -> Column:
    """A field of a row, or of a part that it may lack; `name`: where it is not the path."""
    return Column(name or path, kind, lambda row: value_at(row, path))


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
    _at("device", "VARCHAR"),
    _at("run", "VARCHAR"),
    _at("started_utc", "VARCHAR"),
    _at("commit", "VARCHAR"),
    _at("id", "VARCHAR"),
    _at("workload", "VARCHAR"),
    _at("workload_version", "BIGINT"),
    _at("backend", "VARCHAR"),
    _at("scenario", "VARCHAR"),
    _at("rate_per_s", "DOUBLE"),
    Column("prompt_tokens", "BIGINT", lambda row: group_of(row).prompt_tokens),
    Column("new_tokens", "BIGINT", lambda row: group_of(row).new_tokens),
    Column("request", "VARCHAR", lambda row: group_of(row).request),
    Column("samples_per_query", "BIGINT", lambda row: group_of(row).samples_per_query),
    _at("bound_p99_ns", "BIGINT"),
    _at("status", "VARCHAR"),
    _at("ranked", "BOOLEAN"),
    _at("pareto", "BOOLEAN"),
    _at("front", "VARCHAR"),
    _at("front_probability", "DOUBLE"),
    Column("reasons", "VARCHAR[]", lambda row: [reason.code for reason in row.reasons]),
    _at("latency_ns.samples", "BIGINT", "samples"),
    _at("latency_ns.replicates", "BIGINT", "replicates"),
    *(column for metric in METRICS.values() for column in _metric(metric)),
    _at("rounds", "BIGINT[]"),
    *(column for name in SERIES for column in _paired(name)),
    _at("latency_ns.p50_of_replicates", "BIGINT[]", "latency.p50_of_replicates_ns"),
    _at("latency_ns.p90_of_replicates", "BIGINT[]", "latency.p90_of_replicates_ns"),
    _at("latency_ns.p99_of_replicates", "BIGINT[]", "latency.p99_of_replicates_ns"),
    _at("throughput_of_replicates_per_s", "DOUBLE[]"),
    _at("replicate_wall_s", "DOUBLE"),
    _at("memory.peak_min_bytes", "BIGINT"),
    _at("quality.metric", "VARCHAR"),
    _at("quality.better", "VARCHAR"),
    _at("quality.kind", "VARCHAR"),
    _at("quality.floor", "DOUBLE"),
    _at("quality.passed", "BOOLEAN"),
    _at("quality.items", "BIGINT"),
    _at("energy.status", "VARCHAR"),
    _at("energy.reason", "VARCHAR"),
    _at("energy.kind", "VARCHAR"),
    _at("energy.scope", "VARCHAR"),
    _at("energy.source", "VARCHAR"),
    _at("energy.total_rail", "VARCHAR"),
    Column("energy.spread_j", "DOUBLE", lambda row: spread_j(row.energy)),
    _at("effective.precision", "VARCHAR"),
    _at("effective.device", "VARCHAR"),
    _at("effective.threads", "BIGINT"),
    _at("effective.runtime", "VARCHAR"),
    _at("model.sha256", "VARCHAR"),
    _at("model.work.flops", "BIGINT", "model.flops"),
    _at("model.work.moved_bytes", "BIGINT", "model.moved_bytes"),
    _at("imported.tool", "VARCHAR"),
    _at("imported.reported", "JSON"),
    _at("inputs_sha256", "VARCHAR"),
    _at("variant", "JSON"),
    _at("unknown", "JSON"),
)
