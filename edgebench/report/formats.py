"""The forms of the trade-off table by the name that `--format` takes."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TextIO

from edgebench.analysis.types import Table

#: Name -> module in this package, imported only when it is asked for.
FORMATS = {"table": "terminal", "json": "json_", "csv": "csv_", "md": "markdown"}


def render(table: Table, form: str, out: TextIO) -> None:
    """Writes the table in the form of that name, one of FORMATS."""
    module = importlib.import_module(f"edgebench.report.{FORMATS[form]}")
    write: Callable[[Table, TextIO], None] = module.render
    write(table, out)
