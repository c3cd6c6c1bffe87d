"""A pick under limits as typed objects, `edgebench.pick/1`."""

from __future__ import annotations

from typing import Final, Literal

from edgebench.analysis.frontier_report import Axis, NotRanked, Value
from edgebench.analysis.table_types import Competitors
from edgebench.backend import Scalar
from edgebench.record import Part

SCHEMA: Final = "edgebench.pick/1"


class Held(Part, frozen=True, kw_only=True):
    """A limit, the value of a row, and whether the value meets it."""

    limit: str  # as typed
    metric: str
    unit: str
    op: str
    bound: float | None  # in the metric's unit; None: there is no fp32 row to be relative to
    value: Value | None  # None: unknown
    meets: bool  # by value
    probability: float | None  # that it holds; None: nothing tells how far the value may be off
    sure: bool  # the probability reaches the confidence


class Candidate(Part, frozen=True, kw_only=True):
    id: str
    device: str
    run: str
    row: int  # place among all rows that were read
    backend: str
    variant: dict[str, Scalar]
    value: Value  # of the objective
    limits: list[Held]
    meets: bool
    sure: bool
    quality: float | None


class Margin(Part, frozen=True, kw_only=True):
    ratio: float | None  # above 1 the choice is better, by so much; None: a value is not positive
    low: float | None  # 95 % interval
    high: float | None
    difference: float  # runner-up minus choice, in the objective's unit
    confidence: float | None  # that the choice is better; None: nothing tells
    reason: str = ""  # why None


class Relaxation(Part, frozen=True, kw_only=True):
    """How far a limit would have to move for a row to meet it."""

    limit: str
    metric: str
    unit: str
    bound: float  # as asked
    needed: float
    by: float | None  # relative to the bound; None where that is 0
    id: str  # of the row that would be the choice
    device: str
    run: str


class Choice(Competitors, frozen=True, kw_only=True):
    """Holds what to deploy of one group of rows."""

    objective: Axis
    rows: int  # that compete
    meet: int  # of them, that meet every limit by value
    surely_meet: int
    choice: Candidate | None  # None: no row meets the limits
    runner_up: Candidate | None
    margin: Margin | None
    probability: float | None  # that the choice is the best of those that meet the limits by value
    clear: bool  # for sure: every other row that meets the limits is told apart from it, in one run
    rivals: list[int]  # rows that are not surely worse than the best one by value, itself left out
    tied: list[int]  # other rows that are not told apart from the best one
    #: Criteria of the rule of ties that chose among them; empty: the objective.
    decided_by: list[str]
    runs: int  # whose rows compete: the drift between several is in no interval
    safe_choice: Candidate | None  # the best that meets every limit surely, where that is another
    not_surely: list[Candidate]  # meet the limits by value, but not surely
    closest: Candidate | None  # where none meets them: the one that misses by least
    binding: list[Relaxation]
    relax: Literal["", "one", "all"]  # whether one of `binding` has to give way, or all of them
    left_out: list[NotRanked]
    notes: list[str]


class PickReport(Part, frozen=True, kw_only=True):
    schema: Literal["edgebench.pick/1"] = SCHEMA
    require: list[str]
    objective: str
    confidence: float  # of what is said to be sure; intervals are at 95 %
    seed: int
    prefer: list[str]  # the rule of ties
    picks: list[Choice]
    notes: list[str]
