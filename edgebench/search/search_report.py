"""Holds what a search found, as types: the front, the choice, and why. Readers need no runtime for it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import msgspec

from edgebench.analysis.table_types import Row
from edgebench.backend import Scalar
from edgebench.definitions.variant_matrix import value_text
from edgebench.files.json_lines import read_answer
from edgebench.files.number_bounds import Amount, Count, Number
from edgebench.models.precision_map import PrecisionMap
from edgebench.search.search_messages import Candidate, Exploration, UnitFacts, Verdict

SEARCH_SCHEMA: Final = "edgebench.search/1"
MAX_FILE_BYTES: Final = 1 << 26

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
    split: dict[str, Count] = {}  # precision -> groups of the map that have it
    p50_ns: Amount | None
    speedup: Amount | None  # against fp32 with the same settings
    speedup_low: Amount | None
    speedup_high: Amount | None
    size_bytes: Count | None
    memory_bytes: Count | None
    quality: dict[str, Number]  # on the workload's own items
    passed: bool | None
    predicted_ms: float | None
    origin: str
    front: bool
    standing: Standing
    missed_costs: list[str] = []  # limits of what it costs, as they were asked for
    reward: Number | None = None  # where one was to be maximized
    status: str
    reason: str = ""
    #: Of the axes that the search was asked for several values of: "threads=2".
    settings: list[str] = []

    @property
    def label(self) -> str:
        return " ".join([str(self.precision), *self.settings])

    def has_fp32(self, other: SearchRow) -> bool:
        """Whether the other row is fp32 with the same backend and settings: what its speed stands beside."""
        same = (other.backend, other.settings) == (self.backend, self.settings)
        return same and other.standing == "base"


class FloatGroup(msgspec.Struct, frozen=True, kw_only=True):
    """A group that the chosen map leaves in fp32, and what int8 would have done."""

    name: str
    op: str
    fp32_us: Amount  # of its kernels, in whole graphs
    int8_us: Amount
    gain_us: Number  # their difference, below 0: int8 is slower
    timed: bool = True  # False: its times are unknown, and those that stand here tell nothing
    damage: Amount | None


class SearchReport(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of `edgebench search`."""

    schema: Literal["edgebench.search/1"] = SEARCH_SCHEMA
    workload: str
    title: str
    subject: list[str]  # what names it on a command line: a workload, or --model FILE
    task: str | None = None  # of a user's own model
    settings: list[str] = []  # what the search was of, beside precisions: "threads=1"
    rows: list[SearchRow]  # the fastest first
    chosen: str | None  # id of the row to deploy; None: nothing beats fp32 and holds the limits
    verdicts: list[Verdict]
    better: Literal["higher", "lower"] = "higher"  # of the metric that rows are judged by
    confidence: float
    explained: Scalar | None = (
        None  # the map that `kept_in_fp32` is about: the chosen one, or the fastest that holds
    )
    kept_in_fp32: list[FloatGroup]
    exploration: Exploration
    maps_found: Count | None = None  # by exploring; None: as many as it holds
    maximize: str | None = None  # the reward that decides, in the place of the speed
    results: str | None  # the file of ordinary records
    seconds: float
    budget_s: float
    notes: list[str] = []

    @property
    def deployment(self) -> SearchRow | None:
        return next((row for row in self.rows if row.id == self.chosen), None)

    @property
    def measured_fp32(self) -> list[SearchRow]:
        """One for each backend and settings, the fastest first."""
        return [row for row in self.rows if row.standing == "base" and row.p50_ns is not None]

    @property
    def explained_map(self) -> PrecisionMap | None:
        found = map_of(self.exploration.candidates, self.explained)
        return None if found is None else found.map

    @property
    def metric(self) -> str:
        """The metric that tables and pictures show: the first with a limit, or the first that any row has."""
        if self.verdicts and self.verdicts[0].limits:
            return self.verdicts[0].limits[0].metric
        return next((name for row in self.rows for name in row.quality), "quality")


def read_search(path: Path) -> SearchReport:
    """What `edgebench search` kept. Raises StoreError."""
    fix = "`edgebench search` writes one beside its results: RESULTS.search.json"
    return read_answer(path, SearchReport, SEARCH_SCHEMA, MAX_FILE_BYTES, fix)


def quality_of(row: Row) -> dict[str, float]:
    """The metrics of a row that have values."""
    if row.quality is None:
        return {}
    found = {row.quality.metric: row.quality.value, **{a.metric: a.value for a in row.quality.also}}
    return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True)
class Known:
    """What a search knows of measured rows, by their precision or by their id."""

    candidates: Mapping[Scalar, Candidate]
    standings: Mapping[str, Standing]
    files: Mapping[Scalar, str]
    groups: Collection[str]  # of the network
    rewards: Mapping[str, float]
    missed: Mapping[str, list[str]]


def search_rows(rows: Sequence[Row], known: Known) -> list[SearchRow]:
    """The rows of a table as the search tells of them, the fastest first."""
    axes = _several(rows)
    found = [_row(row, known, axes) for row in rows]
    return sorted(found, key=lambda row: row.p50_ns if row.p50_ns is not None else float("inf"))


def _several(rows: Sequence[Row]) -> list[str]:
    """The axes beside the precision that rows have several values of."""
    axes = {axis: {row.variant.get(axis) for row in rows} for row in rows for axis in row.variant}
    return [axis for axis, values in axes.items() if axis != "precision" and len(values) > 1]


def _row(row: Row, known: Known, axes: Sequence[str]) -> SearchRow:
    precision, baseline = row.variant["precision"], row.baseline
    candidate = known.candidates.get(precision)
    reward = known.rewards.get(row.id)
    return SearchRow(
        id=row.id,
        backend=row.backend,
        precision=precision,
        map_file=known.files.get(precision),
        int8_parts=None if candidate is None else candidate.int8_parts,
        groups=len(known.groups) if candidate is not None else None,
        int8_groups=None if candidate is None else candidate.int8_groups,
        split={} if candidate is None else _split(candidate.map, known.groups),
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
        standing=known.standings.get(row.id, "untested"),
        missed_costs=known.missed.get(row.id, []),
        reward=reward if reward is not None and math.isfinite(reward) else None,
        status=row.status,
        reason=row.reasons[0].message if row.reasons else "",
        settings=[f"{axis}={value_text(row.variant[axis])}" for axis in axes],
    )


def _split(found: PrecisionMap, groups: Collection[str]) -> dict[str, int]:
    return dict(Counter(found.groups.get(name, "fp32") for name in groups))


def float_groups(units: Sequence[UnitFacts], candidate: Candidate | None) -> list[FloatGroup]:
    """The groups that a map leaves in fp32, the most damaging first."""
    if candidate is None:
        return []
    kept = [u for u in units if not u.joiner and u.name not in candidate.map.lowered]
    kept.sort(key=lambda unit: unit.damage or 0.0, reverse=True)
    return [
        FloatGroup(
            name=unit.name,
            op=unit.op,
            fp32_us=unit.fp32_us,
            int8_us=unit.int8_us,
            gain_us=unit.fp32_us - unit.int8_us,
            timed=unit.timed,
            damage=unit.damage,
        )
        for unit in kept
    ]


def map_of(candidates: Sequence[Candidate], precision: Scalar | None) -> Candidate | None:
    return next((each for each in candidates if each.map.precision == precision), None)
