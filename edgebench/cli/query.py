"""`edgebench query`: SQL over result files, through DuckDB."""

from __future__ import annotations

import gc
import itertools
import re
import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import click

from edgebench.api.result_files import files_of, records_of
from edgebench.cli.shared.options import format_option, paths_argument

FORMATS = ("table", "csv", "json", "md")


@click.command("query")
@click.argument("sql", metavar="SQL")
@paths_argument("FILE|DIR...")
@format_option(FORMATS)
def command(sql: str, paths: Sequence[Path], form: str) -> None:
    """Run one SELECT over result files and exported Parquet files.

    The tables are `rows` (one line per row of the trade-off table), `records` (one line per record,
    its parts as JSON) and `samples` (one line per timed query). The query `DESCRIBE rows` lists the
    columns of `rows`.

    \b
    Example:
      edgebench query 'SELECT id, "latency.p50_ns" FROM rows' results/
    """
    from edgebench.analysis.table import build_table
    from edgebench.export import duckdb_tables as db
    from edgebench.render.tables import render

    gc.disable()
    files = files_of(paths)
    parquet = [file for file in files if file.suffix == ".parquet"]
    jsonl = [file for file in files if file.suffix != ".parquet"]
    database = db.connect()
    # Deriving rows takes longest, samples most memory: each table is made where it is asked for.
    others = [name for name in ("records", "samples", "sample_lists") if _names(sql, name)]
    count = itertools.count()
    records = (record for record, _ in zip(records_of(jsonl), count, strict=False))
    if _names(sql, "rows") or not others:
        db.add_rows(database, build_table(records).rows, parquet)
    else:
        deque(records, maxlen=0)  # every line is a record, or the error names it
    if "records" in others:
        db.add_records(database, jsonl, next(count))
    if others and others != ["records"]:
        db.add_samples(database, jsonl)
    names, lines = db.query(database, sql)
    render(names, lines, form, sys.stdout)


def _names(sql: str, table: str) -> bool:
    return re.search(rf"\b{table}\b", sql, re.IGNORECASE) is not None
