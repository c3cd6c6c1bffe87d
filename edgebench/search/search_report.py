"""Holds what a search found, as types: the front, the choice, and why. Readers need no runtime for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import msgspec

from edgebench.analysis.table_types import Row
from edgebench.backend import Scalar
from edgebench.models.precision_map import is_mixed
from edgebench.search.search_messages import Candidate, Exploration, UnitFacts, Verdict

SEARCH_SCHEMA: Final = "edgebench.search/1"

#: What the search says of a row: `safe` may be deployed; `held` holds its limits on the workload's items, but
#: the interval does not show it; `missed` does not; `tuning` missed on tuning items already; `untested`: another
#: was chosen first; `base`: the fp32 row.
Standing = Literal["safe", "held", "missed", "tuning", "untested", "base"]


class SearchRow(msgspec.Struct, frozen=True, kw_only=True):
    """One measured deployment."""

    id: str
    backend: str
    precision: Scalar
    map_file: str | None  # of a map
    int8_parts: int | None
    groups: int | None  # of the network, in all
    int8_groups: int | None
    p50_ns: float | None
    speedup: float | None  # against fp32 with the same settings
    speedup_low: float | None
    speedup_high: float | None
    size_bytes: int | None
    memory_bytes: int | None
    quality: dict[str, float]  # on the workload's own items
    passed: bool | None
    predicted_ms: float | None
    origin: str
    front: bool
    standing: Standing
    status: str
    reason: str = ""


class FloatGroup(msgspec.Struct, frozen=True, kw_only=True):
    """A group that the chosen map leaves in fp32, and what int8 would have done."""

    name: str
    op: str
    gain_us: float  # of its kernels, below 0: int8 is slower
    damage: float | None


class SearchReport(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of `edgebench search`."""

    schema: Literal["edgebench.search/1"] = SEARCH_SCHEMA
    workload: str
    title: str
    rows: list[SearchRow]  # the fastest first
    chosen: str | None  # id of the row to deploy; None: nothing beats fp32 and holds the limits
    verdicts: list[Verdict]
    confidence: float
    kept_in_fp32: list[FloatGroup]  # of the chosen map, or of the fastest that holds
    exploration: Exploration
    results: str | None  # the file of ordinary records
    seconds: float
    budget_s: float
    notes: list[str] = []

    @property
    def deployment(self) -> SearchRow | None:
        return next((row for row in self.rows if row.id == self.chosen), None)


def quality_of(row: Row) -> dict[str, float]:
    """The metrics of a row that have values."""
    if row.quality is None:
        return {}
    found = {row.quality.metric: row.quality.value, **{a.metric: a.value for a in row.quality.also}}
    return {name: value for name, value in found.items() if value is not None}


def search_rows(
    rows: Sequence[Row],
    candidates: Mapping[Scalar, Candidate],
    standings: Mapping[str, Standing],
    files: Mapping[Scalar, str],
    groups: int,
) -> list[SearchRow]:
    """The rows of a table as the search tells of them, the fastest first."""
    found = [
        _row(row, candidates.get(row.variant["precision"]), standings, files, groups)
        for row in rows
    ]
    return sorted(found, key=lambda row: row.p50_ns if row.p50_ns is not None else float("inf"))


def _row(
    row: Row,
    candidate: Candidate | None,
    standings: Mapping[str, Standing],
    files: Mapping[Scalar, str],
    groups: int,
) -> SearchRow:
    precision, baseline = row.variant["precision"], row.baseline
    told = row.reasons[0].message if row.reasons else ""
    return SearchRow(
        id=row.id,
        backend=row.backend,
        precision=precision,
        map_file=files.get(precision),
        int8_parts=None if candidate is None else candidate.int8_parts,
        groups=groups if candidate is not None else None,
        int8_groups=None if candidate is None else candidate.int8_groups,
        p50_ns=row.latency_ns.p50,
        speedup=None if baseline is None else baseline.speedup,
        speedup_low=None if baseline is None else baseline.speedup_low,
        speedup_high=None if baseline is None else baseline.speedup_high,
        size_bytes=None if row.model is None else row.model.size_bytes,
        memory_bytes=row.memory_peak_bytes,
        quality=quality_of(row),
        passed=None if row.quality is None else row.quality.passed,
        predicted_ms=None if candidate is None else candidate.predicted_ms,
        origin="" if candidate is None else candidate.origin,
        front=bool(row.pareto),
        standing=standings.get(row.id, "untested"),
        status=row.status,
        reason=told,
    )


def float_groups(units: Sequence[UnitFacts], candidate: Candidate | None) -> list[FloatGroup]:
    """The groups that a map leaves in fp32, the most damaging first."""
    if candidate is None:
        return []
    kept = [u for u in units if not u.joiner and u.name not in candidate.map.lowered]
    kept.sort(key=lambda unit: unit.damage or 0.0, reverse=True)
    return [
        FloatGroup(
            name=unit.name, op=unit.op, gain_us=unit.fp32_us - unit.int8_us, damage=unit.damage
        )
        for unit in kept
    ]


def map_of(candidates: Sequence[Candidate], precision: Scalar) -> Candidate | None:
    if not is_mixed(precision):
        return None
    return next((each for each in candidates if each.map.precision == precision), None)
