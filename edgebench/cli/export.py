"""`edgebench export`: the trade-off table of result files as one file."""

from __future__ import annotations

import gc
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgebench.api.result_files import files_of, records_of, refuse_to_replace
from edgebench.cli.shared.options import paths_argument
from edgebench.errors import UsageError
from edgebench.files.atomic_write import whole_file
from edgebench.text.plain_text import say

if TYPE_CHECKING:
    from edgebench.analysis.table_types import Table

FORMATS = ("parquet", "csv", "json", "md")


@click.command("export")
@paths_argument("FILE|DIR...")
@click.option("--out", "-o", required=True, type=Path, help="File to write.")
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    help="Format of the file.  [default: by the name of --out]",
)
def command(paths: Sequence[Path], out: Path, form: str | None) -> None:
    """Write the trade-off table of result files as Parquet, CSV, JSON or Markdown.

    Rows and their order are those of `show`.

    \b
    Example:
      edgebench export results/ -o rows.parquet
    """
    from edgebench.analysis.table import build_table

    gc.disable()
    form = form or _by_name(out)
    files = files_of(paths)
    refuse_to_replace(out, files)
    table = build_table(records_of(files))
    if form == "parquet":
        from edgebench.export import duckdb_tables as db

        database = db.connect()
        db.add_rows(database, table.rows, [])
        db.write_parquet(database, out)
    else:
        _write(table, form, out)
    rows = len(table.rows)
    say(f"{rows} row{'s' if rows != 1 else ''} written to {out}")


def _by_name(out: Path) -> str:
    form = out.suffix.lstrip(".").lower()
    if form not in FORMATS:
        raise UsageError(
            f"{out}: the file name does not say which format to write",
            f"give --format {'|'.join(FORMATS)}, or one of these endings",
        )
    return form


def _write(table: Table, form: str, out: Path) -> None:
    from edgebench.render.table_formats import render

    text = io.StringIO()
    render(table, form, text)
    with whole_file(out) as partial:
        partial.write_text(text.getvalue(), encoding="utf-8", newline="")
