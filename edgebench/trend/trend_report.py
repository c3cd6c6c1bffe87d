"""Series of cells over runs as typed objects, `edgebench.trend/1`."""

from __future__ import annotations

from typing import Final, Literal

from edgebench.record import Part

SCHEMA: Final = "edgebench.trend/1"
By = Literal["date", "commit"]


class Point(Part, frozen=True, kw_only=True):
    """A run, or all runs of a commit: their geometric mean."""

    runs: list[str]
    started_utc: str  # of the first of them
    commit: str | None
    value: float
    low: float | None  # 95 % interval of a single run; None: it has none, or there are several
    high: float | None
    outlier: bool = False  # it stands alone: no step


class Step(Part, frozen=True, kw_only=True):
    """A change of level that held for at least three points."""

    at: int  # place of the first point of the new level
    before: float  # level of the segment before, in the metric's unit
    after: float
    change: float | None  # as a share of before; None: a level is not positive
    better: bool | None  # None: the metric has no good direction
    p_value: float
    explained: list[str]  # what changed in the environment between the two runs
    commits: list[str]  # the last one before and the first one after; empty: unknown or the same
    confirm: list[str]  # the command that would measure both sides in one job; empty: see why_not
    why_not: str


class Series(Part, frozen=True, kw_only=True):
    """One metric of one cell on one device."""

    device: str
    id: str
    workload: str
    workload_version: int
    backend: str
    scenario: str
    rate_per_s: float | None
    metric: str
    unit: str
    better: Literal["lower", "higher"] | None
    points: list[Point]
    steps: list[Step]
    p_value: float | None  # None: too few points to tell a step from noise
    noise: float | None  # standard deviation of a point, as a share; None: fewer than two points


class Trend(Part, frozen=True, kw_only=True):
    schema: Literal["edgebench.trend/1"] = SCHEMA
    by: By
    level: float  # share of series of noise in which steps may be seen
    series: list[Series]
    notes: list[str]
