"""Makes series of the rows of many runs: one metric of one cell on one device, in the order of time or of commits."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgebench.analysis.frame import Frame, Identity, Indices, Numbers
from edgebench.errors import UsageError
from edgebench.metrics import Metric
from edgebench.trend.trend_report import By, Point

#: What the joules of comparable rows share.
ORIGIN = ("energy.kind", "energy.scope")
_KEY = ("device", "id", "rate_per_s")


@dataclass(frozen=True)
class CellSeries:
    """The points of one cell on one device by one metric, and the row of the last one."""

    identity: Identity
    metric: Metric
    points: list[Point]
    last_row: int


def series_of(frame: Frame, metrics: Sequence[Metric], by: By) -> Iterator[CellSeries]:
    """Every series that has a value. Raises UsageError where no run names its commit, and `by` asks for it.

    Joules are points where they were measured by the same kind of meter, of the same scope, as the newest ones.
    """
    if not len(frame):
        return
    if by == "commit" and not any(frame.codes("commit").names):
        raise UsageError(
            "no run of these results names its commit",
            "--by date; `edgebench run` notes the commit where it is started in a git checkout",
        )
    groups = frame.grouped(_KEY)
    order = np.lexsort((started_ranks(frame), groups.codes))
    order = order[is_ok(frame)[order]]
    edges = np.flatnonzero(np.diff(groups.codes[order])) + 1
    for rows in np.split(order, edges) if len(order) else []:
        for metric in metrics:
            found = _series(frame, rows, metric, by)
            if found is not None:
                yield found


def is_ok(frame: Frame) -> NDArray[np.bool_]:
    """Rows that can be points."""
    status = frame.codes("status")
    return np.array([name == "ok" for name in status.names], dtype=bool)[status.codes]


def of_several_meters(frame: Frame, rows: Indices) -> bool:
    """Whether the joules of some cell are of more than one kind or scope; estimates do not count."""
    measured = rows[~frame.energy_is_modelled()[rows]]
    measured = measured[~np.isnan(frame.numbers("energy.j_per_inference")[measured])]
    cells, origins = (frame.grouped(columns).codes[measured] for columns in (_KEY, ORIGIN))
    pairs = np.unique(np.column_stack([cells, origins]), axis=0)
    return len(pairs) > len(np.unique(cells))


def started_ranks(frame: Frame) -> Indices:
    """The place of each row in time: when its run started, else where it stands in the files."""
    started = frame.codes("started_utc")
    names = [str(name or "") for name in started.names]
    rank = np.empty(len(names), dtype=np.intp)
    rank[sorted(range(len(names)), key=names.__getitem__)] = np.arange(len(names))
    return np.asarray(rank[started.codes] if names else started.codes)


def _series(frame: Frame, rows: Indices, metric: Metric, by: By) -> CellSeries | None:
    values = frame.numbers(metric.column())[rows]
    rows = rows[~np.isnan(values)]
    if metric.of_energy:
        rows = _of_one_meter(frame, rows)
    if not len(rows):
        return None
    last_of = {frame.text("run", int(row)): int(row) for row in rows}  # a cell once a run
    kept = list(last_of.values())
    points = [_point(frame, row, metric) for row in kept]
    if by == "commit":
        points = list(_by_commit(points))
    return CellSeries(frame.identity(kept[-1]), metric, points, kept[-1]) if points else None


def _of_one_meter(frame: Frame, rows: Indices) -> Indices:
    """Rows whose joules are of the same kind and scope as those of the last one; estimates are none of them."""
    measured = rows[~frame.energy_is_modelled()[rows]]
    origins = frame.grouped(ORIGIN).codes[measured]
    return measured[origins == origins[-1]] if len(measured) else measured


def _point(frame: Frame, row: int, metric: Metric) -> Point:
    return Point(
        runs=[str(frame.text("run", row))],
        started_utc=str(frame.text("started_utc", row) or ""),
        commit=frame.text("commit", row),
        value=float(frame.numbers(metric.column())[row]),
        low=_bound(frame.numbers(metric.column("low")), row) if metric.low_path else None,
        high=_bound(frame.numbers(metric.column("high")), row) if metric.high_path else None,
    )


def _bound(values: Numbers, row: int) -> float | None:
    return None if np.isnan(values[row]) else float(values[row])


def _by_commit(points: Sequence[Point]) -> Iterator[Point]:
    """The runs of each commit as one point, in the order in which commits were first measured."""
    of_commit: dict[str, list[Point]] = {}
    for point in points:
        if point.commit is not None:
            of_commit.setdefault(point.commit, []).append(point)
    for first, *others in of_commit.values():
        together = [first, *others]
        yield msgspec.structs.replace(
            first,
            runs=[run for each in together for run in each.runs],
            value=_middle([each.value for each in together]),
            low=None if others else first.low,
            high=None if others else first.high,
        )


def _middle(values: Sequence[float]) -> float:
    if min(values) > 0:
        return math.exp(math.fsum(map(math.log, values)) / len(values))
    return math.fsum(values) / len(values)
