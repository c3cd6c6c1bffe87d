"""The report of an A/B, `edgebench.ab/1`: one row per cell and metric, and one verdict."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from edgebench.ab_test.pair_record import Side
from edgebench.ab_test.verdict import Tolerance, Verdict
from edgebench.backend import Scalar
from edgebench.calibration import Calibration
from edgebench.errors import UsageError
from edgebench.record import Reason, Work

SCHEMA: Final = "edgebench.ab/1"

CPU, WALL = "latency.cpu", "latency.wall"
MEMORY, SIZE, QUALITY = "memory.peak", "model.size", "quality"
ENERGY = "energy.j_per_inference"
#: Of a cell whose answers are wrong: nothing else of it is compared.
OUTPUTS = "outputs"
LATENCIES = (CPU, WALL)


class Tolerances(msgspec.Struct, frozen=True, kw_only=True):
    """The change of each metric that counts as no change: a share, or points for the quality."""

    cpu: Tolerance = Tolerance()
    wall: Tolerance = Tolerance()
    memory: float = 0.05
    memory_delta: float | None = None  # None: twice as much
    size: float = 0.01
    quality: float = 0.02
    energy: Tolerance = Tolerance(tau=0.02, delta=0.1)


def latency_tolerances(tau: float | None = None, delta: float | None = None) -> Tolerances:
    """Tolerances of both latencies, as shares; None takes the default. Raises UsageError for impossible ones."""
    default = Tolerance()
    chosen = Tolerance(
        tau=default.tau if tau is None else tau, delta=default.delta if delta is None else delta
    )
    if not 0 <= chosen.tau < chosen.delta < 1:
        raise UsageError(
            f"delta ({chosen.delta:.1%}) must be above tau ({chosen.tau:.1%}) and below 100 %",
            "tau is what counts as the same, delta what must be excluded: 1% and 5%, or 0.01 and 0.05",
        )
    return Tolerances(cpu=chosen, wall=chosen)


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Holds what one side of a cell was asked to run."""

    variant: dict[str, Scalar]
    work: Work | None = None  # of one run of its model; None: not counted


class CellCase(msgspec.Struct, frozen=True, kw_only=True):
    """One cell of an A/B and how it is to be judged."""

    cell: str
    base: str  # id of the cell on either side
    head: str
    tolerances: Tolerances = Tolerances()
    report_only: str = ""  # why the cell is shown and not judged
    parity_limit: float | None = 1e-3  # between the outputs of the two; None: judged by quality
    quality: float | None = None  # demanded of the head, beside the workload's own limit
    size_bytes: dict[Side, int] = {}
    canary: bool = False  # base against base
    asked: dict[Side, Asked] = {}
    machine: dict[str, Any] = {}  # facts of the device
    calibration: Calibration | None = None  # its own ceilings, where somebody had them measured


class GateRow(msgspec.Struct, frozen=True, kw_only=True):
    """A metric of a cell. `change`, `low`, `high` and `mde` are shares of the base: .03 is +3 %; of a
    quality they are points, and more is worse in every row."""

    cell: str
    metric: str
    verdict: Verdict
    change: float | None = None
    low: float | None = None  # of the 95 % interval
    high: float | None = None
    mde: float | None = None  # smallest change that these pairs would have shown
    pairs: int = 0
    seconds: float = 0.0  # the cell took, all metrics together
    judged: bool = True  # False: shown only, `reason` says why
    base: float | None = None  # median of the base: ns, bytes, J, or the quality itself
    head: float | None = None
    unit: str = ""
    alpha: float | None = None  # error rate of the look that calls `regress`
    trimmed: bool = False  # an outlier made it Yuen's interval
    reason: str = ""


class Percentiles(msgspec.Struct, frozen=True, kw_only=True):
    """Wall time of the pooled samples of a cell, beside the verdicts: never judged."""

    cell: str
    side: Side
    p50_ns: int | None = None
    p90_ns: int | None = None
    p99_ns: int | None = None


class GateReport(msgspec.Struct, frozen=True, kw_only=True):
    """The result of `edgebench ab` and `edgebench gate`."""

    schema: Literal["edgebench.ab/1"] = SCHEMA
    verdict: Verdict
    cells: list[GateRow]
    canary: list[GateRow] = []
    percentiles: list[Percentiles] = []
    reasons: list[Reason] = []  # what holds for the whole run
    notes: list[str] = []
    base: str = ""  # the specifications as given
    head: str = ""
    alpha: float = 0.01
    tests: int = 0  # of latency, that share alpha
    cells_tested: int = 0  # so many tests of memory share an alpha of their own; as many of energy
    seconds: float = 0.0
    budget_s: float | None = None
    load_1m: list[float] = []  # of the machine, before each pair: least and most
    started_utc: str = ""
    edgebench: str = ""
    runtimes: dict[Side, list[str]] = {}
