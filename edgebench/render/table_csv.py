"""The trade-off table as CSV: one line a row in the columns of docs/export.md, unknown ones empty."""

from __future__ import annotations

from typing import TextIO

from edgebench.analysis.table_types import Table
from edgebench.export.columns import columns_of
from edgebench.render import tables as flat


def render(table: Table, out: TextIO) -> None:
    """Writes a head and the rows, numbers unrounded."""
    columns = columns_of(table.rows)
    lines = ([column.value(row) for column in columns] for row in table.rows)
    flat.render([column.name for column in columns], lines, "csv", out)
