"""Result files as tables of DuckDB: SQL over them, and Parquet of them.

DuckDB is the extra `analysis` and is imported when a database is opened.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from edgebench.analysis.table_types import Row
from edgebench.errors import StoreError, UsageError, mend_disk
from edgebench.export.columns import columns_of, flat
from edgebench.files.atomic_write import whole_file
from edgebench.files.regular_file import open_regular
from edgebench.store import MAX_LINE_BYTES
from edgebench.text.plain_text import utf8

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: Columns of `records`, read from the lines themselves. Parts stay JSON: `cell->>'id'`.
_RECORD = {
    "schema": "VARCHAR",
    "status": "VARCHAR",
    **dict.fromkeys(("cell", "run", "device", "model", "quality", "energy"), "JSON"),
    **dict.fromkeys(("effective", "reasons", "imported"), "JSON"),
    "inputs_sha256": "VARCHAR",
    "target": "DOUBLE",
    "percentile": "DOUBLE",
}
_SAMPLED = {
    "cell": "STRUCT(id VARCHAR)",
    "run": "STRUCT(id VARCHAR)",
    "device": "STRUCT(name VARCHAR)",
    "replicates": 'STRUCT("index" BIGINT, status VARCHAR, samples_ns BIGINT[])[]',
}


def connect() -> DuckDBPyConnection:
    """An empty database in memory. Raises UsageError where DuckDB is not installed."""
    try:
        import duckdb
    except ModuleNotFoundError:
        raise UsageError(
            "DuckDB is not installed: SQL and Parquet need it", "pip install 'edgebench[analysis]'"
        ) from None
    return duckdb.connect(":memory:")


def add_rows(database: DuckDBPyConnection, rows: Sequence[Row], parquet: Sequence[Path]) -> None:
    """The table `rows`: `rows` and those of exported Parquet files, by the name of the column."""
    columns = columns_of(rows)
    with tempfile.TemporaryDirectory(prefix="edgebench-") as folder:
        file = Path(folder) / "rows.jsonl"
        _write(file, (msgspec.json.encode(flat(row, columns)) for row in rows))
        source = _reading([file], {column.name: column.type for column in columns})
        if parquet:
            source += f" UNION ALL BY NAME SELECT * FROM {reading_parquet(parquet)}"
        with _readable(parquet):
            database.execute(f"CREATE TABLE rows AS {source}")


def _write(file: Path, lines: Iterable[bytes]) -> None:
    """Writes lines to a temporary file. Raises StoreError, which names its folder, where they do not fit."""
    try:
        with file.open("wb") as out:
            out.writelines(line + b"\n" for line in lines)
    except OSError as error:
        raise StoreError(
            f"{file.parent}: a temporary file cannot be written: {error.strerror}",
            mend_disk(error, "set TMPDIR to a folder on another disk"),
        ) from None


def add_records(database: DuckDBPyConnection, files: Sequence[Path], count: int) -> None:
    """The table `records`: one line a record, its parts as JSON; the files hold `count` of them.

    Raises StoreError where DuckDB, which skips a line that it cannot take, has fewer.
    """
    if not files:
        return
    with _readable(files):
        database.execute(
            f"CREATE TABLE records AS {_reading(files, _RECORD)} WHERE cell IS NOT NULL"
        )
    ((found,),) = database.execute("SELECT count(*) FROM records").fetchall()
    if found != count:
        raise StoreError(
            f"DuckDB read only {found} of {count} records", "select from `rows`, which has them all"
        )


def add_samples(database: DuckDBPyConnection, files: Sequence[Path]) -> None:
    """The view `samples`: one line a timed query: device, run, id, replicate, status, index, ns.

    It unfolds `sample_lists`, one line a replicate, only as far as a query needs it: millions of
    lines with the id of their cell each would take gigabytes. A replicate counts once, also where
    `energy attach` wrote its record again.
    """
    if not files:
        return
    with _readable(files):
        database.execute(
            "CREATE TABLE sample_lists AS "
            'SELECT DISTINCT ON (device.name, run.id, cell.id, r."index") '
            "device.name AS device, run.id AS run, cell.id AS id, "
            'r."index" AS replicate, r.status AS status, r.samples_ns AS ns FROM '
            f"(SELECT *, unnest(replicates) AS r FROM ({_reading(files, _SAMPLED)}) "
            "WHERE cell IS NOT NULL)"
        )
    database.execute(
        "CREATE VIEW samples AS SELECT device, run, id, replicate, status, "
        'unnest(range(len(ns))) AS "index", unnest(ns) AS ns FROM sample_lists'
    )


def query(database: DuckDBPyConnection, sql: str) -> tuple[list[str], Iterator[tuple[Any, ...]]]:
    """Column names and lines of one SELECT, without access to anything but the tables.

    Raises UsageError with the reason where the SQL is wrong, or is no single query.
    """
    import duckdb

    if sql != utf8(sql):
        raise UsageError("the query is not UTF-8", "write it in UTF-8")
    database.execute("SET enable_external_access=false")
    database.execute("SET lock_configuration=true")
    try:
        statements = database.extract_statements(sql)
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            raise UsageError("only one query is run, and it only reads", "start it with SELECT")
        result = database.execute(statements[0])
        names = [column[0] for column in result.description or []]
        return names, _lines(database)
    except duckdb.Error as error:
        raise _sql_error(error) from None


def _lines(database: DuckDBPyConnection) -> Iterator[tuple[Any, ...]]:
    import duckdb

    try:
        while lines := database.fetchmany(1000):
            yield from lines
    except duckdb.Error as error:
        raise _sql_error(error) from None


def write_parquet(database: DuckDBPyConnection, path: Path) -> None:
    """The table `rows` as a Parquet file, complete or not at all. Raises StoreError."""
    import duckdb

    try:
        with whole_file(path) as partial:
            copy = f"COPY rows TO {_quote(str(partial))} (FORMAT parquet, COMPRESSION zstd)"
            database.execute(copy)
    except duckdb.Error as error:
        raise StoreError(f"{path}: cannot be written: {_first_line(error)}") from None


def reading_parquet(files: Sequence[Path]) -> str:
    """The source of a SELECT: these files and no others, their columns and no others."""
    for file in files:
        try:
            open_regular(file).close()  # DuckDB waits for a pipe without end
        except OSError as error:
            raise StoreError(
                f"{file}: {error.strerror}",
                "`edgebench export RESULTS... -o FILE.parquet` writes one",
            ) from None
    return f"read_parquet({_listed(files)}, union_by_name=true, hive_partitioning=false)"


def _listed(files: Sequence[Path]) -> str:
    """A list of exactly these files. Raises UsageError for a name that DuckDB cannot be told."""
    return f"[{', '.join(_quote(_no_pattern(str(file))) for file in files)}]"


def _no_pattern(name: str) -> str:
    """The name so that DuckDB, which takes `*`, `?` and `[` for a pattern, finds this file alone."""
    if not _PATTERN.search(name):
        return name
    if "\\" in name:
        raise UsageError(
            f"{name}: DuckDB reads this name as a pattern", "rename the file or folder"
        )
    return _PATTERN.sub(r"[\g<0>]", name)


_PATTERN = re.compile(r"[*?\[]")


def _reading(files: Sequence[Path], columns: dict[str, str]) -> str:
    types = ", ".join(f"{_quote(name)}: {_quote(kind)}" for name, kind in columns.items())
    return (
        f"SELECT * FROM read_json({_listed(files)}, format='newline_delimited', columns={{{types}}}, "
        f"hive_partitioning=false, ignore_errors=true, maximum_object_size={MAX_LINE_BYTES})"
    )


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


@contextlib.contextmanager
def _readable(files: Sequence[Path]) -> Iterator[None]:
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        names = ", ".join(map(str, files))
        raise StoreError(f"cannot read {names}: {_first_line(error)}") from None


def _sql_error(error: Exception) -> UsageError:
    text = str(error).strip()
    fix = "`DESCRIBE rows` lists the columns; names with dots need double quotes: "
    return UsageError(f"SQL: {text}", fix + 'SELECT id, "latency.p50_ns" FROM rows')


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
