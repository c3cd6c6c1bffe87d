"""Exported Parquet files as a frame: each column is read when it is asked for, by DuckDB; those of
few rows all at once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, get_args

import msgspec
import numpy as np

from edgebench.analysis.frame import Codes, Frame, Identity, Numbers
from edgebench.errors import StoreError
from edgebench.export.columns import COLUMNS
from edgebench.export.duckdb_tables import connect, reading_parquet
from edgebench.files.number_bounds import MAX_NUMBER, Value
from edgebench.metrics import Metric, reason_at
from edgebench.record import Status
from edgebench.words import note_words, unknown_words

_REPLICATES = {
    "latency.p50": "latency.p50_of_replicates_ns",
    "latency.p90": "latency.p90_of_replicates_ns",
    "latency.p99": "latency.p99_of_replicates_ns",
    "throughput": "throughput_of_replicates_per_s",
}
_NEEDED = ("device", "run", "id", "workload", "workload_version", "scenario", "ranked", "status")
_EXPORT = "`edgebench export RESULTS... -o FILE.parquet` writes one"
_NUMBER = re.compile(r"U?(TINY|SMALL|BIG|HUGE)INT|U?INTEGER|FLOAT|DOUBLE|DECIMAL\(.*\)")
_COUNTS = ("replicates", "samples")  # of every row
MAX_COUNT = 1e12
_DEGREES = "_degrees"  # of freedom
_NEVER_NEGATIVE = ("_ns", "_bytes", "_per_s", "_error", "workload_version", *_COUNTS)
_SERIES = ("BIGINT[]", "DOUBLE[]")
_FEW = 50_000  # rows: reading all columns takes less time than asking for each


class ParquetFrame(Frame):
    """Columns of Parquet files that `edgebench export` wrote, one file after the other."""

    def __init__(self, paths: Sequence[Path]) -> None:
        super().__init__()
        import duckdb

        self._error = duckdb.Error
        self._paths = paths
        self._database = connect()
        self._source = reading_parquet(paths)
        described = self._query(f"DESCRIBE SELECT * FROM {self._source}").fetchall()
        self._types = {str(line[0]): str(line[1]) for line in described}
        missing = [name for name in _NEEDED if name not in self._types]
        if missing:
            raise StoreError(
                f"{paths[0]}: this is not a table of results: it has no column {missing[0]!r}",
                _EXPORT,
            )
        counted = ", ".join(f"count({_named(name)})" for name in _NEEDED)
        (counts,) = self._query(f"SELECT count(*), {counted} FROM {self._source}").fetchall()
        self._count = int(counts[0])
        for name, known in zip(_NEEDED, counts[1:], strict=True):
            if known < self._count:
                rows = self._count - known
                raise StoreError(f"{paths[0]}: {rows} rows have no {name}", _EXPORT)
        self._check_types()
        self._check_status()

    def _check_status(self) -> None:
        """Raises StoreError for rows of a status that no record has, such as predictions that were joined to results."""
        known = get_args(Status)
        listed = ", ".join(f"'{name}'" for name in known)
        odd = self._query(
            f"SELECT CAST(status AS VARCHAR) AS name, count(*) FROM {self._source} "
            f"WHERE CAST(status AS VARCHAR) NOT IN ({listed}) GROUP BY name ORDER BY name LIMIT 1"
        ).fetchall()
        if not odd:
            return
        name, count = odd[0]
        rows = f"{count} row{'s' * (count != 1)}"
        if name == "modelled":
            raise StoreError(
                f"{self._paths[0]}: {rows} with status 'modelled': {note_words.PREDICTIONS}",
                "leave them out: WHERE status <> 'modelled'",
            )
        raise StoreError(
            f"{self._paths[0]}: status {str(name)[:40]!r} in {rows}: it is one of {', '.join(known)}",
            _EXPORT,
        )

    def _check_types(self) -> None:
        """Raises StoreError for a column of ours that holds values of another kind."""
        for column in COLUMNS:
            type_there = self._types.get(column.name)
            if type_there is None or _fits(type_there, column.type):
                continue
            known = self._query(
                f"SELECT count({_named(column.name)}) FROM {self._source}"
            ).fetchall()
            if known[0][0]:  # a column without any value may be of any type
                raise self._odd(column.name, f"{column.type}, but {type_there}")

    def __len__(self) -> int:
        return self._count

    def has(self, column: str) -> bool:
        return column in self._types

    def identity(self, index: int) -> Identity:
        rate = self.numbers("rate_per_s")[index]
        variant = self.text("variant", index) or "{}"
        return Identity(
            str(self.text("device", index)),
            str(self.text("run", index)),
            str(self.text("id", index)),
            str(self.text("workload", index)),
            int(self.numbers("workload_version")[index]),
            str(self.text("backend", index)),
            self._decoded("variant", variant, dict[str, Value]),
            str(self.text("scenario", index)),
            None if np.isnan(rate) else float(rate),
        )

    def reason(self, index: int, metric: Metric) -> str:
        if not self.has(metric.column()):
            return unknown_words.no_column(column=metric.column())
        unknown = self._decoded("unknown", self.text("unknown", index) or "{}", dict[str, str])
        return reason_at(unknown, metric.path)

    def replicates(self, metric: Metric) -> Numbers:
        column = _REPLICATES.get(metric.name, "")
        if not self.has(column):
            return self.numbers("replicates")
        return np.nan_to_num(self._column(f"len({_named(column)})::DOUBLE"))  # no list: none

    def messages(self, index: int) -> list[str]:
        return self.reason_codes(index)

    def reason_codes(self, index: int) -> list[str]:
        codes = self.text("reasons", index)
        return codes.split(";") if codes else []

    def _read_numbers(self, column: str) -> Numbers:
        if len(self) > _FEW:
            return self._sound(column, self._column(f"{_named(column)}::DOUBLE"))
        try:
            values = _filled(self._columns[column])
        except (KeyError, TypeError, ValueError):
            raise self._odd(column, "numbers") from None
        return self._sound(column, values)

    def _sound(self, column: str, values: Numbers) -> Numbers:
        """The numbers, none of them infinite, or less than nothing where that cannot be."""
        wrong = np.abs(values) > MAX_NUMBER
        if column.endswith(_NEVER_NEGATIVE):
            wrong |= values < 0
        if column in _COUNTS:
            wrong |= ~(values <= MAX_COUNT)
        if column.endswith(_DEGREES):
            wrong |= (values < 1) | (values > MAX_COUNT)
        if wrong.any():
            row = int(np.argmax(wrong))
            raise StoreError(
                f"cannot read {', '.join(map(str, self._paths))}: row {row + 1}: {column}: "
                f"{values[row]:g} cannot be",
                "`edgebench export RESULTS... -o FILE.parquet` writes no such row",
            )
        return values

    def _read_codes(self, column: str) -> Codes:
        """Returns those of many rows are encoded by DuckDB: a million Python strings would take seconds and
        megabytes."""
        if len(self) <= _FEW:
            try:
                return _encoded(self._columns[column].tolist())
            except (KeyError, TypeError):
                raise self._odd(column, "texts") from None
        value = self._text(column)
        distinct = self._query(
            f"SELECT DISTINCT {value} AS value, CAST({value} AS VARCHAR) AS text "
            f"FROM {self._source} WHERE {value} IS NOT NULL ORDER BY text"
        ).fetchall()
        names = [line[0] for line in distinct]
        if not names:
            return Codes(np.zeros(len(self), dtype=np.intp), [None])
        self._query("DROP TYPE IF EXISTS known")
        listed = f"SELECT DISTINCT CAST({value} AS VARCHAR) AS text FROM {self._source}"
        self._query(f"CREATE TYPE known AS ENUM ({listed} WHERE text IS NOT NULL ORDER BY text)")
        coded = f"enum_code(CAST(CAST({value} AS VARCHAR) AS known))::BIGINT"
        codes = self._query(
            f"SELECT coalesce({coded}, {len(names)}) AS code FROM {self._source}"
        ).fetchnumpy()["code"]
        return Codes(np.asarray(codes, dtype=np.intp), [*names, None])

    def _column(self, expression: str) -> Numbers:
        values = self._query(f"SELECT {expression} AS value FROM {self._source}").fetchnumpy()
        return _filled(values["value"])

    @cached_property
    def _columns(self) -> dict[str, Any]:
        """Every column but lists of numbers; masked where it is unknown."""
        names = [name for name, kind in self._types.items() if kind not in _SERIES]
        listed = ", ".join(f"{self._text(name)} AS {_named(name)}" for name in names)
        columns: dict[str, Any] = self._query(f"SELECT {listed} FROM {self._source}").fetchnumpy()
        return columns

    def _decoded(self, column: str, text: str, kind: Any) -> dict[str, Any]:
        """Returns what a column holds as JSON; many rows hold the same."""
        try:
            return _json(text, kind)
        except (msgspec.MsgspecError, RecursionError):
            raise self._odd(column, str(kind)) from None

    def _odd(self, column: str, type_asked: str) -> StoreError:
        paths = ", ".join(map(str, self._paths))
        return StoreError(f"cannot read {paths}: its column {column!r} does not hold {type_asked}")

    def _text(self, column: str) -> str:
        """The column; of a list, its elements as one text."""
        is_list = self._types[column].endswith("[]")
        return f"array_to_string({_named(column)}, ';')" if is_list else _named(column)

    def _query(self, sql: str) -> Any:
        try:
            return self._database.execute(sql)
        except self._error as error:
            first = str(error).strip().splitlines()[0]
            raise StoreError(f"cannot read {', '.join(map(str, self._paths))}: {first}") from None


def _named(column: str) -> str:
    """The name of a column in SQL, whatever letters a file gave it."""
    return '"' + column.replace('"', '""') + '"'


@lru_cache(maxsize=1024)
def _json(text: str, kind: Any) -> dict[str, Any]:
    decoded: dict[str, Any] = msgspec.json.decode(text, type=kind)
    return decoded


def _fits(type_there: str, type_asked: str) -> bool:
    """Whether values of one type of DuckDB can stand for those of another."""
    if type_asked.endswith("[]"):
        return type_there.endswith("[]") and _fits(type_there[:-2], type_asked[:-2])
    if type_asked in ("BIGINT", "DOUBLE"):
        return _NUMBER.fullmatch(type_there) is not None
    return type_there.startswith("ENUM") or type_there in ("VARCHAR", "JSON", type_asked)


def _filled(column: Any) -> Numbers:
    """Numbers, NaN where the column is masked."""
    return np.asarray(np.ma.filled(column.astype(np.float64), np.nan), dtype=np.float64)


def _encoded(values: list[Any]) -> Codes:
    """Codes in the order of the texts."""
    names = [*sorted(set(values) - {None}, key=str), None]
    known = {name: code for code, name in enumerate(names)}
    return Codes(np.fromiter(map(known.__getitem__, values), np.intp, len(values)), names)
