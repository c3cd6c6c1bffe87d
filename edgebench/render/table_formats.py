"""The forms of the trade-off table by the name that `--format` takes."""

from __future__ import annotations

import importlib
from typing import TextIO

from edgebench.analysis.table_types import Table

#: Name -> module in this package, imported only when it is asked for.
FORMATS = {
    "table": "table_terminal",
    "json": "table_json",
    "csv": "table_csv",
    "md": "table_markdown",
}


def render(table: Table, form: str, out: TextIO, verbose: bool = False) -> None:
    """Writes the table in the form of that name, one of FORMATS; a `verbose` one leaves nothing to ask for."""
    module = importlib.import_module(f"edgebench.render.{FORMATS[form]}")
    module.render(table, out, **({"verbose": verbose} if form == "table" else {}))
