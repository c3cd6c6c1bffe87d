"""Columns that a reader chooses: metrics, fields of a row, and the literature's sets by their names.

What a row does not tell stays unknown, with the reason. `literature_columns` makes the sets efficientllm
and mnasnet, `iso_latency` the sets iso-latency and iso-quality.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from edgebench.analysis.table_types import Row
from edgebench.errors import UsageError
from edgebench.export.column_types import ChosenColumns, Column, Part, line_of
from edgebench.export.columns import columns_of
from edgebench.export.iso_latency import iso_latency, iso_quality
from edgebench.export.literature_columns import (
    MNASNET_W,
    efficient_part,
    efficientllm,
    mnasnet,
    reward_part,
)
from edgebench.metrics import METRICS
from edgebench.text.did_you_mean import did_you_mean


@dataclass(frozen=True)
class Options:
    """Holds what the sets of the literature take besides the rows."""

    target_ns: float | None = None  # T of mnasnet
    exponent: float = MNASNET_W
    axis: str = "precision"  # whose values the iso sets compare
    budget_ns: float | None = None  # of iso-latency
    level: float | None = None  # of iso-quality


def choose(rows: Sequence[Row], names: Sequence[str], options: Options) -> ChosenColumns:
    """The columns of these names: metrics, fields of the flat table (docs/export.md), and sets.

    A set alone has the rows of the literature; beside others it has those of the table. Raises UsageError.
    """
    if len(names) == 1 and names[0] in SETS:
        return SETS[names[0]](rows, options)
    parts = [_part(name, rows, options) for name in names]
    columns = [column for part in parts for column in part.columns]
    lines = [
        line_of(row, columns, [cell for part in parts for cell in part.cells(row)]) for row in rows
    ]
    return ChosenColumns(name=",".join(names), columns=columns, lines=lines, notes=[])


def _part(name: str, rows: Sequence[Row], options: Options) -> Part:
    if name in METRICS:
        metric = METRICS[name]
        column = Column(name=name, unit=metric.unit, meaning=metric.label)
        return Part([column], lambda row: [(metric.value(row), metric.why_unknown(row))])
    if name == "efficientllm":
        return efficient_part(rows)
    if name == "mnasnet":
        return reward_part(_target(options), options.exponent)
    if name in SETS:
        raise UsageError(f"{name} chooses rows, not columns alone", "ask for it by itself")
    fields = {column.name: column for column in columns_of(rows)}
    if name not in fields:
        near = did_you_mean(name, [*METRICS, *SETS, *fields])
        raise UsageError(
            f"no column {name!r}{near}", "docs/table.md lists metrics, docs/export.md other columns"
        )
    value = fields[name].value
    column = Column(name=name, unit="", meaning="")
    return Part([column], lambda row: [(value(row), row.unknown.get(name, "unknown"))])


def _target(options: Options) -> float:
    if options.target_ns is None:
        raise UsageError("mnasnet needs the target latency T", "--target 10ms")
    return options.target_ns


#: The sets by name, with the rows and the order that their sources give them.
SETS: Mapping[str, Callable[[Sequence[Row], Options], ChosenColumns]] = {
    "efficientllm": lambda rows, options: efficientllm(rows),
    "mnasnet": lambda rows, options: mnasnet(rows, _target(options), options.exponent),
    "iso-latency": lambda rows, options: iso_latency(rows, options.axis, options.budget_ns),
    "iso-quality": lambda rows, options: iso_quality(rows, options.axis, options.level),
}
