"""Iso-latency: the best quality within a latency; iso-quality: the lowest latency at a quality.

Both are chosen for each value of an axis, "at equal budget" as in KV Prediction (arXiv 2410.08391).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgebench.analysis.competition import groups
from edgebench.analysis.table_types import Row
from edgebench.errors import UsageError
from edgebench.export.column_types import Cell, ChosenColumns, Column, Line, line_of
from edgebench.text.did_you_mean import did_you_mean

_ISO = [
    Column(name="budget", unit="", meaning="the latency or quality that all had to keep"),
    Column(name="quality", unit="1", meaning="of the row"),
    Column(name="latency.p50", unit="ns", meaning="of the row"),
    Column(name="latency.p50_low", unit="ns", meaning="its interval"),
    Column(name="latency.p50_high", unit="ns", meaning=""),
]


def iso_latency(
    rows: Sequence[Row], axis: str = "precision", at_ns: float | None = None
) -> ChosenColumns:
    """Returns for each value of the axis the row of best quality that is not slower than the budget; by
    default the median latency of the fastest row of the group's best quality."""

    def budget(group: Sequence[Row]) -> float:
        best = max(_goodness(row) for row in group)
        return float(min(_latency(row) for row in group if _goodness(row) == best))

    def choose(group: Sequence[Row], limit: float) -> Row | None:
        within = [row for row in group if _latency(row) <= limit]
        return min(within, key=lambda row: (-_goodness(row), _latency(row)), default=None)

    return _iso("iso-latency", rows, axis, at_ns, budget, choose)


def iso_quality(
    rows: Sequence[Row], axis: str = "precision", at: float | None = None
) -> ChosenColumns:
    """Returns for each value of the axis the fastest row that is at least as good as the level; by default
    the floor (or ceiling) of the workload where it is one for all, else the quality of the group's
    worst row."""

    def level(group: Sequence[Row]) -> float:
        floors = {row.quality.floor for row in group if row.quality}
        if len(floors) == 1 and (floor := floors.pop()):
            return floor
        worst = min(group, key=_goodness)
        assert worst.quality is not None  # or it would not be ranked
        return worst.quality.value or 0.0

    def choose(group: Sequence[Row], limit: float) -> Row | None:
        good = [row for row in group if row.quality and _reaches(row, limit)]
        return min(good, key=_latency, default=None)

    return _iso("iso-quality", rows, axis, at, level, choose)


def _iso(
    name: str,
    rows: Sequence[Row],
    axis: str,
    at: float | None,
    default: Callable[[Sequence[Row]], float],
    choose: Callable[[Sequence[Row], float], Row | None],
) -> ChosenColumns:
    axes = {"backend", *(known for row in rows for known in row.variant)}
    if rows and axis not in axes:
        raise UsageError(f"no axis {axis!r} in the results{did_you_mean(axis, axes)}")
    lines: list[Line] = []
    notes: list[str] = []
    for key, members in groups(rows).items():
        group = [rows[i] for i in members if rows[i].ranked and rows[i].latency_ns.p50 is not None]
        if not group:
            continue
        limit = default(group) if at is None else at
        parts: dict[str, list[Row]] = {}
        for row in group:
            value = row.backend if axis == "backend" else row.variant.get(axis, "-")
            parts.setdefault(str(value), []).append(row)
        for value, some in parts.items():
            best = choose(some, limit)
            if best is None:
                notes.append(
                    f"{key.workload} on {key.device}, {key.scenario}: no row with {axis}={value} keeps it"
                )
                continue
            ns = best.latency_ns
            cells: list[Cell] = [
                (limit, ""), (best.quality.value if best.quality else None, "unknown"), (ns.p50, "unknown"),
                (ns.p50_low, best.unknown.get("latency_ns.p50_low", "unknown")),
                (ns.p50_high, best.unknown.get("latency_ns.p50_high", "unknown")),
            ]  # fmt: skip
            lines.append(line_of(best, _ISO, cells, f"{key.workload} {axis}={value}"))
    return ChosenColumns(name=name, columns=_ISO, lines=lines, notes=notes)


def _latency(row: Row) -> float:
    return float("inf") if row.latency_ns.p50 is None else row.latency_ns.p50


def _goodness(row: Row) -> float:
    if row.quality is None or row.quality.value is None:
        return -float("inf")
    return row.quality.value if row.quality.better == "higher" else -row.quality.value


def _reaches(row: Row, level: float) -> bool:
    assert row.quality is not None
    sign = 1 if row.quality.better == "higher" else -1
    return _goodness(row) >= sign * level
