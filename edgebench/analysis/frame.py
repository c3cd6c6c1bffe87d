"""Holds rows as columns, so that fronts, picks and comparisons handle a million rows at a time.

Columns are named as in the flat form of a row (`latency.p50_ns`). A frame reads a column when it is
asked for it: from rows in memory, or from exported Parquet files (`parquet.py`).
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from edgebench.analysis.competition import Group, query_samples, request_of, tokens_of
from edgebench.analysis.round_blocks import SERIES
from edgebench.analysis.table_types import Row
from edgebench.backend import Scalar
from edgebench.energy.cell_energy import spread_j
from edgebench.metrics import METRICS, Metric, values_at

_PAIRED = re.compile(r"(.+)_paired_(value|error|degrees)")
_PRECISION = re.compile(r"([/,]precision=)[^,/]*")  # within an id
Numbers = NDArray[np.float64]  # NaN: unknown
Indices = NDArray[np.intp]
#: What rows that compete share, and what rows of one block share.
GROUP_COLUMNS = Group._fields
BLOCK_COLUMNS = ("run", *GROUP_COLUMNS)


@dataclass(frozen=True)
class Codes:
    """A column of texts (or other keys) as small integers: names[codes[i]] is that of row i."""

    codes: Indices
    names: list[Any]


@dataclass(frozen=True)
class Identity:
    """Identifies a row: its cell, its device and its run."""

    device: str
    run: str
    id: str
    workload: str
    workload_version: int
    backend: str
    variant: dict[str, Scalar]
    scenario: str
    rate_per_s: float | None


class Frame(ABC):
    """Columns of equal length."""

    def __init__(self) -> None:
        self._numbers: dict[str, Numbers] = {}
        self._codes: dict[str, Codes] = {}

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def has(self, column: str) -> bool:
        """Whether the source has that column at all."""

    @abstractmethod
    def identity(self, index: int) -> Identity: ...

    @abstractmethod
    def reason(self, index: int, metric: Metric) -> str:
        """Why that metric of that row is unknown."""

    @abstractmethod
    def replicates(self, metric: Metric) -> Numbers:
        """How many replicates its interval is made from; 0 where there are none."""

    @abstractmethod
    def messages(self, index: int) -> list[str]:
        """Why the row is not `ok` or not ranked: "message [code]", or codes alone."""

    @abstractmethod
    def reason_codes(self, index: int) -> list[str]:
        """The codes of what `messages` says."""

    @abstractmethod
    def _read_numbers(self, column: str) -> Numbers: ...

    @abstractmethod
    def _read_codes(self, column: str) -> Codes: ...

    def numbers(self, column: str) -> Numbers:
        """A column of numbers (booleans as 0 and 1); all NaN where the source lacks it."""
        if column not in self._numbers:
            self._numbers[column] = (
                self._read_numbers(column) if self.has(column) else np.full(len(self), np.nan)
            )
        return self._numbers[column]

    def codes(self, column: str) -> Codes:
        """A column of texts; all None where the source lacks it."""
        if column not in self._codes:
            none = Codes(np.zeros(len(self), dtype=np.intp), [None])
            self._codes[column] = self._read_codes(column) if self.has(column) else none
        return self._codes[column]

    def text(self, column: str, index: int) -> Any:
        """One value of a column of texts."""
        codes = self.codes(column)
        return codes.names[codes.codes.item(index)]

    def energy_is_modelled(self) -> NDArray[np.bool_]:
        """Rows whose joules are an estimate: shown, and never ranked or compared."""
        kind = self.codes("energy.kind")
        return np.array([name == "modelled" for name in kind.names], dtype=bool)[kind.codes]

    def baselines(self) -> Indices:
        """Returns for each row the fp32 row of its device and run with the same settings (of an fp32 row
        itself), or -1: so of a row whose id names no precision."""
        device, run, cell = (self.codes(name) for name in ("device", "run", "id"))
        known = {name: code for code, name in enumerate(cell.names)}
        wanted = [known.get(_as_fp32(str(name)), -1) for name in cell.names]
        places = zip(device.codes.tolist(), run.codes.tolist(), cell.codes.tolist(), strict=True)
        keys = list(places)
        ranked = self.numbers("ranked") == 1
        rows = {key: row for row, key in enumerate(keys) if ranked[row]}
        found = [rows.get((one, two, wanted[three]), -1) for one, two, three in keys]
        return np.array(found, dtype=np.intp)

    def keys(self, columns: Sequence[str] = ("device", "run", "id")) -> NDArray[np.uint64]:
        """A number per row that depends on its device, run and cell (or these columns) alone,
        whatever the order; never 0."""
        mixed = np.zeros(len(self), dtype=np.uint64)
        for column in columns:
            codes = self.codes(column)
            hashes = np.array([crc32(str(n).encode()) for n in codes.names], dtype=np.uint64)
            mixed = splitmix(mixed ^ hashes[codes.codes]) if len(self) else mixed
        return np.maximum(mixed, np.uint64(1))

    def grouped(self, columns: Sequence[str]) -> Codes:
        """Rows that share the values of all these columns share a code."""
        parts = [self.codes(column) for column in columns]
        if not len(self):
            return Codes(np.empty(0, dtype=np.intp), [])
        mixed = reduce(
            lambda whole, part: whole * len(part.names) + part.codes,
            parts,
            np.zeros(len(self), dtype=np.int64),
        )
        _, first, codes = np.unique(mixed, return_index=True, return_inverse=True)
        order = np.argsort(first, kind="stable")  # groups in the order in which they appear
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        names = [tuple(part.names[part.codes[i]] for part in parts) for i in first[order]]
        return Codes(rank[codes.reshape(-1)], names)


def _as_fp32(identity: str) -> str | None:
    """The id with fp32 for its precision; None where it names none."""
    name, count = _PRECISION.subn(r"\1fp32", identity)
    return name if count else None


def _number(value: Any) -> float | None:
    """A number; an axis may hold words instead."""
    return value if isinstance(value, int | float) else None


def splitmix(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64 (Steele, Lea and Flood 2014) of each number, in place."""
    bits += np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        bits ^= bits >> np.uint64(shift)
        bits *= np.uint64(factor)
    bits ^= bits >> np.uint64(31)
    return bits


def codes_of(values: Sequence[Hashable]) -> Codes:
    """Codes in the order in which the values appear."""
    known: dict[Hashable, int] = {}
    codes = [known.setdefault(value, len(known)) for value in values]
    return Codes(np.array(codes, dtype=np.intp), list(known))


def _at(*paths: str) -> dict[str, str]:
    return {path: path for path in paths}


#: Columns of numbers and of texts -> dotted paths of fields, from a row; then those that are derived.
_NUMBERS_AT = {
    **{metric.column(): metric.path for metric in METRICS.values()},
    **{m.column("low"): m.low_path for m in METRICS.values() if m.low_path},
    **{m.column("high"): m.high_path for m in METRICS.values() if m.low_path},
    **_at("ranked", "memory.peak_min_bytes", "quality.floor", "replicate_wall_s"),
    **_at("effective.threads"),
    "samples": "latency_ns.samples",
    "replicates": "latency_ns.replicates",
}
_NUMBERS: dict[str, Callable[[Row], Any]] = {
    "energy.spread_j": lambda row: spread_j(row.energy),
    "variant_batch": lambda row: row.variant.get("batch", 1),
    "variant_threads": lambda row: row.variant.get("threads"),
}
_TEXTS_AT = {
    **_at("device", "run", "started_utc", "commit", "id", "workload", "workload_version"),
    **_at("backend", "scenario", "rate_per_s", "bound_p99_ns", "status", "inputs_sha256"),
    **_at("quality.metric", "quality.better", "imported.tool", "model.sha256"),
    **_at("energy.status", "energy.reason", "energy.kind", "energy.scope"),
    **_at("effective.precision", "effective.device", "effective.threads", "effective.runtime"),
    "model.recipe": "model.quantised_by",
}
_TEXTS: dict[str, Callable[[Row], Hashable]] = {
    "prompt_tokens": lambda row: tokens_of(row, "prompt_tokens"),
    "new_tokens": lambda row: tokens_of(row, "new_tokens"),
    "request": request_of,
    "samples_per_query": query_samples,
}
#: Metrics whose intervals are made of values of their own, which some replicates may lack.
_OF_OWN_VALUES = ("latency.p50", "latency.p90", "latency.p99", "throughput")


class RowFrame(Frame):
    def __init__(self, rows: Sequence[Row]) -> None:
        super().__init__()
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def has(self, column: str) -> bool:
        known = (_NUMBERS_AT, _NUMBERS, _TEXTS_AT, _TEXTS)
        return any(column in names for names in known) or _PAIRED.fullmatch(column) is not None

    def identity(self, index: int) -> Identity:
        row = self.rows[index]
        return Identity(
            row.device, row.run, row.id, row.workload, row.workload_version, row.backend,
            row.variant, row.scenario, row.rate_per_s,
        )  # fmt: skip

    def reason(self, index: int, metric: Metric) -> str:
        return metric.why_unknown(self.rows[index])

    def replicates(self, metric: Metric) -> Numbers:
        if metric.name not in _OF_OWN_VALUES:
            return self.numbers("replicates")
        series = values_at(self.rows, SERIES[metric.name])
        return np.array(list(map(len, series)), dtype=np.float64)

    def messages(self, index: int) -> list[str]:
        return [f"{reason.message} [{reason.code}]" for reason in self.rows[index].reasons]

    def reason_codes(self, index: int) -> list[str]:
        return [reason.code for reason in self.rows[index].reasons]

    def baselines(self) -> Indices:
        """The rows' own, which know the fastest fp32 row where none has the same settings."""
        places = {(row.device, row.run, row.id): at for at, row in enumerate(self.rows)}
        found = super().baselines()
        for at, row in enumerate(self.rows):
            if found[at] < 0 and row.baseline is not None:
                found[at] = places.get((row.device, row.baseline.run, row.baseline.id), -1)
        return found

    def _read_numbers(self, column: str) -> Numbers:
        if (paired := _PAIRED.fullmatch(column)) is not None:
            of_rows = [row.paired.get(paired[1]) for row in self.rows]
            values = [None if each is None else getattr(each, paired[2]) for each in of_rows]
            return np.array(values, dtype=np.float64)
        if column in _NUMBERS_AT:
            return np.array(values_at(self.rows, _NUMBERS_AT[column]), dtype=np.float64)
        read = _NUMBERS[column]
        return np.array([_number(read(row)) for row in self.rows], dtype=np.float64)

    def _read_codes(self, column: str) -> Codes:
        if column in _TEXTS_AT:
            return codes_of(values_at(self.rows, _TEXTS_AT[column]))
        return codes_of(list(map(_TEXTS[column], self.rows)))


class SomeRows(Frame):
    """A frame over some of the rows of another frame."""

    def __init__(self, whole: Frame, rows: Indices) -> None:
        super().__init__()
        self._whole = whole
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def has(self, column: str) -> bool:
        return self._whole.has(column)

    def identity(self, index: int) -> Identity:
        return self._whole.identity(int(self._rows[index]))

    def reason(self, index: int, metric: Metric) -> str:
        return self._whole.reason(int(self._rows[index]), metric)

    def replicates(self, metric: Metric) -> Numbers:
        return self._whole.replicates(metric)[self._rows]

    def messages(self, index: int) -> list[str]:
        return self._whole.messages(int(self._rows[index]))

    def reason_codes(self, index: int) -> list[str]:
        return self._whole.reason_codes(int(self._rows[index]))

    def baselines(self) -> Indices:
        places = np.full(len(self._whole) + 1, -1, dtype=np.intp)  # the last one is of no baseline
        places[self._rows] = np.arange(len(self._rows))
        return places[self._whole.baselines()[self._rows]]

    def _read_numbers(self, column: str) -> Numbers:
        return self._whole.numbers(column)[self._rows]

    def _read_codes(self, column: str) -> Codes:
        whole = self._whole.codes(column)
        used, codes = np.unique(whole.codes[self._rows], return_inverse=True)
        return Codes(codes.reshape(-1), [whole.names[code] for code in used])
