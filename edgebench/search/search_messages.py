"""Defines the messages of a search and its two children: a JSON document each way, and steps."""

from __future__ import annotations

from typing import Literal

import msgspec

from edgebench.backend import Scalar
from edgebench.files.number_bounds import Amount, Number
from edgebench.models.precision_map import CalibrationSpec, PrecisionMap
from edgebench.preparation.preparation_messages import PrepareJob


class Demand(msgspec.Struct, frozen=True, kw_only=True):
    """A limit that the deployment must hold."""

    metric: str
    limit: float
    better: Literal["higher", "lower"]
    relative: bool = False  # `limit` is a share of fp32's own value, which is not known yet

    def spare(self, value: float) -> float:
        """How far a value is on the right side of the limit."""
        return value - self.limit if self.better == "higher" else self.limit - value


class ExploreJob(msgspec.Struct, frozen=True, kw_only=True):
    """A model whose groups are to be judged, and what for."""

    prepare: PrepareJob
    workload: str
    demands: list[Demand]
    recipes: list[str]  # the first that ONNX Runtime's quantiser can do is taken
    calibrations: list[CalibrationSpec]
    backend: str  # whose operators are timed
    options: dict[str, Scalar]
    threads: int
    points: int  # candidates at most
    confidence: float = 0.95
    via: list[str] = []  # further sources of maps: "nncf"
    time_s: float
    state: str  # file that keeps what was found, so that nothing is lost
    resume: bool = False  # what the journal kept is not measured again

    @property
    def journal(self) -> str:
        """The file that keeps what exploring measured, as it goes: no `.jsonl`, which result files are."""
        return f"{self.state.removesuffix('.json')}.steps"


#: What stands for the damage of what the runtime refuses in int8: relative errors of outputs are below it.
REFUSED_DAMAGE = 10.0


class UnitFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a group, or of an operator between groups."""

    name: str
    op: str
    joiner: bool
    fp32_us: Amount  # of its kernels in the fp32 graph
    int8_us: Amount  # and in the graph that has everything in int8
    timed: bool  # False: not both profiles name it, and its times tell nothing
    damage: Amount | None = (
        None  # relative error of the outputs with it alone in int8; None: not measured; REFUSED_DAMAGE
    )


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A map, with what the model of costs predicts and what was measured of it while exploring."""

    map: PrecisionMap
    origin: str  # how it was found
    int8_groups: int  # groups in int8, operators between them not counted
    predicted_ms: float
    predicted_damage: float
    damage: float  # relative error of the outputs, measured
    size_bytes: int | None = None  # of the model's file
    quick_ms: float | None = None  # in turns with the others in one process
    tuning: dict[str, float] = {}  # metrics on tuning items; empty: there are none with labels
    spare: float | None = None  # of the tightest limit on tuning items, relative; below 0: missed

    @property
    def int8_parts(self) -> int:
        return len(self.map.lowered)

    @property
    def holds(self) -> bool:
        """Whether it holds its limits on tuning items; without labels nobody can tell."""
        return self.spare is None or self.spare >= 0


class Exploration(msgspec.Struct, frozen=True, kw_only=True):
    """What was found of a model before anything was measured in processes of its own."""

    calibration: CalibrationSpec
    calibration_errors: dict[str, float]  # of the whole network in int8, by method
    units: list[UnitFacts]
    fp32_ms: float  # sum of its kernels
    fp32_quick_ms: float | None = None  # in turns with the candidates in one process, as theirs
    fp32_evaluation: dict[str, float]  # metrics of fp32 on the workload's own items
    fp32_tuning: dict[str, float]
    tuned_on: str  # what the tuning items are
    tuning_items: int  # labelled ones; 0: none
    evaluation_items: int
    candidates: list[Candidate]
    seconds: float
    recurrent: list[str] = []  # layers that become int8-dynamic or stay in fp32
    notes: list[str] = []


class VerifyJob(msgspec.Struct, frozen=True, kw_only=True):
    """Maps whose quality is to be shown on test items, the first choice first."""

    prepare: PrepareJob
    demands: list[Demand]
    precisions: list[str]  # "mixed:..." or a precision that the preparation or the backend makes
    backend: str = "ort"  # whose answers are judged
    options: dict[str, Scalar] = {}
    confidence: float
    threads: int
    time_s: float


class LimitVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """One limit of one map on test items."""

    metric: str
    limit: Number
    better: Literal["higher", "lower"]
    value: Number  # on the workload's own items
    fp32: Number  # of the same items in fp32
    change: Number  # from fp32 to the map, over all test items
    low: Number | None  # lower and upper end of that change, one-sided at the confidence
    high: Number | None  # None: answers cannot be compared, so there is no interval
    items: int  # that the change was seen on; 0: there is no interval
    still: bool = False  # no answer changed at all
    shown: bool  # fp32 with the worst plausible change holds the limit, and so does the value


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a map may be offered."""

    precision: str
    backend: str = ""  # whose answers were judged
    limits: list[LimitVerdict]
    items: int
    tested_on: str
    note: str = ""  # why nothing could be shown

    @property
    def held(self) -> bool:
        """Every limit holds on the workload's own items."""
        found = [
            (v.value - v.limit) * (1 if v.better == "higher" else -1) >= 0 for v in self.limits
        ]
        return bool(found) and all(found)

    @property
    def safe(self) -> bool:
        return bool(self.limits) and all(limit.shown for limit in self.limits)


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """Verdicts in the order that was asked for; those that time was left for."""

    verdicts: list[Verdict]
    confidence: float  # of each verdict: shared among all that were asked for


class ChildFailure(msgspec.Struct, frozen=True, kw_only=True):
    """Why a child has no answer."""

    error: str
    fix: str = ""
    kind: Literal["", "usage", "store"] = ""
