"""Exported Parquet files as a frame: each column is read when it is asked for, by DuckDB; those of
few rows all at once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from edgebench.analysis.database import connect
from edgebench.analysis.frame import Codes, Frame, Identity, Numbers
from edgebench.errors import StoreError
from edgebench.metrics import Metric

_REPLICATES = {
    "latency.p50": "latency.p50_of_replicates_ns",
    "latency.p90": "latency.p90_of_replicates_ns",
    "latency.p99": "latency.p99_of_replicates_ns",
    "throughput": "throughput_of_replicates_per_s",
}
_NEEDED = ("device", "run", "id", "workload", "workload_version", "scenario", "ranked", "status")
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
        names = ", ".join("'" + str(path).replace("'", "''") + "'" for path in paths)
        self._source = f"read_parquet([{names}], union_by_name=true)"
        described = self._query(f"DESCRIBE SELECT * FROM {self._source}").fetchall()
        self._types = {str(line[0]): str(line[1]) for line in described}
        missing = [name for name in _NEEDED if name not in self._types]
        if missing:
            raise StoreError(
                f"{paths[0]}: no table of results: it has no column {missing[0]!r}",
                "`edgebench export RESULTS... -o FILE.parquet` writes one",
            )
        count = self._query(f"SELECT count(*) FROM {self._source}").fetchall()
        self._count = int(count[0][0])

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
            msgspec.json.decode(variant),
            str(self.text("scenario", index)),
            None if np.isnan(rate) else float(rate),
        )

    def reason(self, index: int, metric: Metric) -> str:
        if not self.has(metric.column()):
            return f"the file has no column {metric.column()}"
        unknown = _reasons(self.text("unknown", index) or "{}")
        path = metric.path
        while path:
            if path in unknown:
                return str(unknown[path])
            path = path.rpartition(".")[0]
        return "unknown"

    def replicates(self, metric: Metric) -> Numbers:
        column = _REPLICATES.get(metric.name, "")
        if not self.has(column):
            return self.numbers("replicates")
        return self._column(f"len({_named(column)})::DOUBLE")

    def messages(self, index: int) -> list[str]:
        return self.reason_codes(index)

    def reason_codes(self, index: int) -> list[str]:
        codes = self.text("reasons", index)
        return codes.split(";") if codes else []

    def _read_numbers(self, column: str) -> Numbers:
        if len(self) <= _FEW:
            try:
                return _filled(self._columns[column])
            except (KeyError, TypeError, ValueError):
                raise self._odd(column, "numbers") from None
        return self._column(f"{_named(column)}::DOUBLE")

    def _read_codes(self, column: str) -> Codes:
        """Those of many rows are encoded by DuckDB: a million Python strings would take seconds and
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

    def _odd(self, column: str, wanted: str) -> StoreError:
        paths = ", ".join(map(str, self._paths))
        return StoreError(f"cannot read {paths}: its column {column!r} does not hold {wanted}")

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
def _reasons(text: str) -> dict[str, str]:
    """Why fields are unknown; many rows tell the same."""
    return msgspec.json.decode(text, type=dict[str, str])


def _filled(column: Any) -> Numbers:
    """Numbers, NaN where the column is masked."""
    return np.asarray(np.ma.filled(column.astype(np.float64), np.nan), dtype=np.float64)


def _encoded(values: list[Any]) -> Codes:
    """Codes in the order of the texts."""
    names = [*sorted(set(values) - {None}, key=str), None]
    known = {name: code for code, name in enumerate(names)}
    return Codes(np.fromiter(map(known.__getitem__, values), np.intp, len(values)), names)
