"""Exported Parquet files: damaged ones, and sound ones whose columns are of other types."""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from pathlib import Path
from typing import Any

from edgebench.analysis.table import build_table
from edgebench.cli import cli
from edgebench.errors import UsageError
from edgebench.export import duckdb_tables
from tests.records import record, replicate

_MAGIC = b"PAR1"
COMMANDS = (
    "frontier FILE --draws 100",
    "pick FILE --require latency.p50<=10s",
    "compare FILE FILE",
)


def _rows() -> list[dict[str, Any]]:
    few = [replicate(index, list(range(1000, 1120)), round=index) for index in range(2)]
    made = [record(replicates=few), record({"precision": "int8-static"}, replicates=few)]
    connected = duckdb_tables.connect()
    duckdb_tables.add_rows(connected, build_table(made).rows, [])
    names, lines = duckdb_tables.query(connected, "SELECT * FROM rows")
    rows = [dict(zip(names, line, strict=True)) for line in lines]
    # DuckDB would take the text for a time, which no exported file has.
    return [{**row, "started_utc": f"on {row['started_utc']}"} for row in rows]


def _packed(text: bytes) -> bytes:
    """Lines of JSON as a Parquet file with whatever types DuckDB sees in them."""
    with tempfile.TemporaryDirectory() as folder:
        source, file = Path(folder, "rows.jsonl"), Path(folder, "rows.parquet")
        source.write_bytes(text)
        connected = duckdb_tables.connect()
        try:
            connected.execute(
                f"COPY (SELECT * FROM read_json('{source}', format='newline_delimited')) "
                f"TO '{file}' (FORMAT parquet)"
            )
        except Exception:  # noqa: BLE001 - no table of any kind: nothing to read
            return text
        return file.read_bytes()


_TEXT = b"".join(json.dumps(row, default=str).encode() + b"\n" for row in _rows())
#: The text as well, so that mutations meet single values and not only the packing.
SEEDS = [_TEXT, _packed(_TEXT)]


def read(data: bytes, folder: Path) -> None:
    file = folder / "rows.parquet"
    file.write_bytes(data if data.startswith(_MAGIC) else _packed(data))
    for command in COMMANDS:
        with (
            contextlib.suppress(UsageError),  # of a metric that no row has
            contextlib.redirect_stdout(io.StringIO()),
        ):
            words = (word.replace("FILE", str(file)) for word in command.split())
            cli.main(list(words), standalone_mode=False)
