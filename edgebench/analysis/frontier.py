"""Pareto fronts that respect the intervals.

A row is off the front only if another one dominates it for sure: surely not worse in any objective
and surely better in one. Rows whose intervals overlap do not dominate each other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from edgebench.analysis.types import Front, LeftOut, Row
from edgebench.metrics import METRICS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Points = NDArray[np.float64]

#: Peaks of memory differ from process to process by pages: less than this is no difference.
MEMORY_RESOLUTION = 0.01
_BLOCK = 256  # rows compared with all others at once: bounds the memory it takes


@dataclass(frozen=True)
class Bounds:
    """One objective of several rows, so turned that lower is better."""

    low: Sequence[float]
    high: Sequence[float]
    resolution: float = 0.0  # relative difference that counts as none


@dataclass(frozen=True)
class _Objective:
    metric: str
    bounds: Bounds


class Group(NamedTuple):
    """What rows that compete have in common: the same work under the same load."""

    device: str
    workload: str
    workload_version: int
    scenario: str
    rate_per_s: float | None
    prompt_tokens: int | None  # a request with a shorter prompt is another request
    new_tokens: int | None


def group_of(row: Row) -> Group:
    return Group(
        row.device,
        row.workload,
        row.workload_version,
        row.scenario,
        row.rate_per_s,
        _tokens(row, "prompt_tokens"),
        _tokens(row, "new_tokens"),
    )


def _tokens(row: Row, axis: str) -> int | None:
    value = row.variant.get(axis) if row.scenario == "generate" else None
    return value if isinstance(value, int) else None


def groups(rows: Sequence[Row]) -> dict[Group, list[int]]:
    """Indices of rows that compete."""
    found: dict[Group, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        found[group_of(row)].append(index)
    return dict(found)


def with_fronts(rows: Sequence[Row]) -> tuple[list[Row], list[Front]]:
    """Sets `pareto` on every ranked row, and says by which objectives."""
    done = list(rows)
    fronts = []
    for group, members in groups(rows).items():
        ranked = [index for index in members if rows[index].ranked]
        objectives, left_out = _objectives([rows[index] for index in ranked], group.scenario)
        flags = pareto([objective.bounds for objective in objectives]) if ranked else []
        for index, flag in zip(ranked, flags, strict=True):
            unknown = {k: v for k, v in done[index].unknown.items() if k != "pareto"}
            done[index] = msgspec.structs.replace(done[index], pareto=flag, unknown=unknown)
        fronts.append(
            Front(
                **group._asdict(),
                objectives=[objective.metric for objective in objectives],
                left_out=left_out,
                rows=[index for index, flag in zip(ranked, flags, strict=True) if flag],
            )
        )
    return done, fronts


def pareto(objectives: Sequence[Bounds]) -> list[bool]:
    """Whether no row surely dominates row i, for rows given by one `Bounds` per objective.

    Whatever a row dominates is dominated, too, by a row with nowhere higher upper bounds; so only
    the (usually few) rows with minimal upper bounds are tried, in blocks, against those left.
    """
    import numpy as np

    low = np.array([bounds.low for bounds in objectives], dtype=np.float64).T
    high = np.array([bounds.high for bounds in objectives], dtype=np.float64).T
    slack = 1 + np.array([bounds.resolution for bounds in objectives])
    reach, beyond = _scaled(low, slack), _scaled(high, slack)
    left = np.arange(len(low))
    minimal = _minimal(high)
    for start in range(0, len(minimal), _BLOCK):
        block = minimal[start : start + _BLOCK]
        not_worse = _all_columns(high[block], reach[left], np.less_equal)
        not_better = _all_columns(beyond[block], low[left], np.greater_equal)
        left = left[~(not_worse & ~not_better).any(axis=0)]
    on_front = np.zeros(len(low), dtype=bool)
    on_front[left] = True
    return [bool(flag) for flag in on_front]


def _scaled(values: Points, slack: Points) -> Points:
    """Values moved up by their resolution, whatever their sign."""
    import numpy as np

    return values * np.where(values < 0, 2 - slack, slack)


def _minimal(points: Points) -> NDArray[np.intp]:
    """Rows that no other row equals or undercuts in every column; one of each set of equals."""
    import numpy as np

    order = np.lexsort(points.T)  # whatever undercuts a row in all columns comes before it
    chosen = order[:0]
    for start in range(0, len(order), _BLOCK):
        block = order[start : start + _BLOCK]
        for before in range(0, len(chosen), _BLOCK):
            some = chosen[before : before + _BLOCK]
            block = block[~_all_columns(points[some], points[block], np.less_equal).any(axis=0)]
        undercut = np.triu(_all_columns(points[block], points[block], np.less_equal), k=1)
        chosen = np.concatenate([chosen, block[~undercut.any(axis=0)]])
    return chosen


def _all_columns(one: Points, two: Points, compare: np.ufunc) -> NDArray[np.bool_]:
    """For each pair of rows of `one` and `two` whether `compare` holds in all columns."""
    holds: NDArray[np.bool_] = compare(one[:, None, 0], two[None, :, 0])
    for column in range(1, one.shape[1]):
        holds &= compare(one[:, None, column], two[None, :, column])
    return holds


def _objectives(rows: Sequence[Row], scenario: str) -> tuple[list[_Objective], list[LeftOut]]:
    """The objectives that every row has, and why the others are left out."""
    if not rows:
        return [], []
    objectives = []
    if scenario == "offline":
        objectives.append(_interval_objective(rows, "throughput"))
    elif scenario == "generate":
        objectives += [_interval_objective(rows, f"generate.{name}") for name in ("ttft", "tpot")]
    else:
        objectives.append(_interval_objective(rows, "latency.p50"))
    if scenario != "offline" and len({row.variant.get("batch", 1) for row in rows}) > 1:
        objectives.append(_interval_objective(rows, "throughput"))
    left_out = []
    for found in (_memory(rows), _quality(rows), _energy(rows)):
        if isinstance(found, LeftOut):
            left_out.append(found)
        else:
            objectives.append(found)
    return objectives, left_out


def _interval_objective(rows: Sequence[Row], name: str) -> _Objective:
    """A metric with its interval; without one nothing is sure, so it spans everything."""
    metric = METRICS[name]
    lows = [_or_else(metric.low(row), -float("inf")) for row in rows]
    highs = [_or_else(metric.high(row), float("inf")) for row in rows]
    if metric.better == "higher":
        lows, highs = [-value for value in highs], [-value for value in lows]
    return _Objective(name, Bounds(lows, highs))


def _or_else(value: float | None, other: float) -> float:
    return other if value is None else value


def _memory(rows: Sequence[Row]) -> _Objective | LeftOut:
    highs = [row.memory_peak_bytes for row in rows if row.memory_peak_bytes is not None]
    if len(highs) < len(rows):
        return LeftOut(objective="memory.peak", reason="unknown for some rows")
    lows = [
        _or_else(row.memory.peak_min_bytes, high) for row, high in zip(rows, highs, strict=True)
    ]
    return _Objective("memory.peak", Bounds(lows, highs, MEMORY_RESOLUTION))


def _quality(rows: Sequence[Row]) -> _Objective | LeftOut:
    values = []
    for row in rows:
        if row.quality is not None and row.quality.value is not None:
            sign = -1 if row.quality.better == "higher" else 1
            values.append(sign * row.quality.value)
    if len(values) < len(rows):
        return LeftOut(objective="quality", reason="unknown for some rows")
    if len({(row.quality.metric, row.quality.better) for row in rows if row.quality}) > 1:
        return LeftOut(objective="quality", reason="the rows are judged by different metrics")
    return _Objective("quality", Bounds(values, values))


def _energy(rows: Sequence[Row]) -> _Objective | LeftOut:
    name = "energy.j_per_inference"
    lows, highs, origins = [], [], set()
    for row in rows:
        energy = row.energy
        if energy.status != "ok" or energy.j_per_inference is None:
            return LeftOut(objective=name, reason=energy.reason or "unknown for some rows")
        if energy.kind == "modelled":
            return LeftOut(objective=name, reason="modelled, not measured")
        if energy.uncertainty_j is None:
            return LeftOut(objective=name, reason="its uncertainty is unknown for some rows")
        lows.append(energy.j_per_inference - energy.uncertainty_j)
        highs.append(energy.j_per_inference + energy.uncertainty_j)
        origins.add((energy.kind, energy.scope))
    if len(origins) > 1:
        return LeftOut(objective=name, reason="kind or scope differ between rows")
    return _Objective(name, Bounds(lows, highs))
