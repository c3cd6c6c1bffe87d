"""What chosen columns are made of: a column, a line of cells, and the whole of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from edgebench.analysis.table_types import Row

SCHEMA: Final = "edgebench.columns/1"


class Column(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    unit: str
    meaning: str  # its formula


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the table (or, of the iso views, the row that stands for an axis value)."""

    device: str
    run: str
    id: str
    ranked: bool  # False: its answers are not good enough, or something else strikes it
    label: str  # value of the axis, of the iso views; else backend and variant
    cells: list[Any]  # one per column: a number, or what a field holds
    unknown: dict[str, str]  # column -> why its cell is None


class ChosenColumns(msgspec.Struct, frozen=True, kw_only=True):
    schema: Literal["edgebench.columns/1"] = SCHEMA
    name: str  # what was asked for
    columns: list[Column]
    lines: list[Line]
    notes: list[str]


#: A cell: its value, or None and why.
Cell = tuple[Any, str]


@dataclass(frozen=True)
class Part:
    """Columns that stand together, and their cells of a row."""

    columns: Sequence[Column]
    cells: Callable[[Row], list[Cell]]


def line_of(row: Row, columns: Sequence[Column], cells: Sequence[Cell], label: str = "") -> Line:
    axes = " ".join(f"{axis}={value}" for axis, value in sorted(row.variant.items()))
    return Line(
        device=row.device,
        run=row.run,
        id=row.id,
        ranked=row.ranked,
        label=label or f"{row.workload} {row.backend} {axes}",
        cells=[value for value, _ in cells],
        unknown={
            column.name: why
            for column, (value, why) in zip(columns, cells, strict=True)
            if value is None
        },
    )
