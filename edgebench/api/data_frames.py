"""Rows as the columns that Parquet and SQL have (docs/export.md), for pandas, Polars and Arrow.

None of the three is needed: each is imported when it is asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from edgebench.analysis.table_types import Row
from edgebench.errors import UsageError
from edgebench.export.columns import columns_of, flat

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

#: Type in SQL -> types of Arrow, of pandas and of Polars. Lists have the type of their elements.
_TYPES = {
    "VARCHAR": ("string", "string", "String"),
    "JSON": ("string", "string", "String"),  # its text, as in Parquet
    "BIGINT": ("int64", "Int64", "Int64"),
    "DOUBLE": ("float64", "Float64", "Float64"),
    "BOOLEAN": ("bool_", "boolean", "Boolean"),
}


@dataclass(frozen=True)
class FlatTable:
    """Columns of equal length with their types in SQL; None is unknown."""

    types: dict[str, str]
    values: dict[str, list[Any]]


def flat_table(rows: Sequence[Row]) -> FlatTable:
    """The columns of these rows."""
    columns = columns_of(rows)
    lines = [flat(row, columns) for row in rows]
    return FlatTable(
        types={column.name: column.type for column in columns},
        values={
            column.name: [_plain(line[column.name], column.type) for line in lines]
            for column in columns
        },
    )


def _plain(value: Any, kind: str) -> Any:
    return msgspec.json.encode(value).decode() if kind == "JSON" and value is not None else value


def to_arrow(table: FlatTable) -> pa.Table:
    """Raises UsageError where pyarrow is not installed."""
    pyarrow = _library("pyarrow")

    def typed(kind: str) -> Any:
        element: Any = getattr(pyarrow, _TYPES[kind.removesuffix("[]")][0])()
        return pyarrow.list_(element) if kind.endswith("[]") else element

    arrays = {
        name: pyarrow.array(values, typed(table.types[name]))
        for name, values in table.values.items()
    }
    made: pa.Table = pyarrow.table(arrays)
    return made


def to_pandas(table: FlatTable) -> pd.DataFrame:
    """A pandas data frame. Unknown values are `pandas.NA`, lists are objects. Raises UsageError without pandas."""
    pandas = _library("pandas")
    columns = {}
    for name, values in table.values.items():
        kind = table.types[name]
        dtype = object if kind.endswith("[]") else _TYPES[kind][1]
        columns[name] = pandas.Series(values, dtype=dtype)
    frame: pd.DataFrame = pandas.DataFrame(columns)
    return frame


def to_polars(table: FlatTable) -> pl.DataFrame:
    """Raises UsageError where Polars is not installed."""
    polars = _library("polars")

    def typed(kind: str) -> Any:
        element = getattr(polars, _TYPES[kind.removesuffix("[]")][2])
        return polars.List(element) if kind.endswith("[]") else element

    schema = {name: typed(kind) for name, kind in table.types.items()}
    frame: pl.DataFrame = polars.DataFrame(table.values, schema=schema)
    return frame


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise UsageError(f"{name} is not installed", f"pip install {name}") from None
