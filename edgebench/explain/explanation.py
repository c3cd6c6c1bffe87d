"""An explanation as data, `edgebench.explain/1`: what was measured, what was found, what is predicted."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import msgspec

from edgebench.files.json_lines import read_answer
from edgebench.files.number_bounds import Amount, Count, Rate, Value
from edgebench.operator_times import OperatorLine

EXPLAIN_SCHEMA: Final = "edgebench.explain/1"
MAX_FILE_BYTES: Final = 1 << 24

Code = Literal[
    "slower_operators",
    "faster_operators",
    "left_in_float",
    "unfused_conversions",
    "layout_changes",
    "other_provider",
    "single_threaded",
    "dispatch_overhead",
    "far_from_ceiling",
]


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """A median over turns, with the interval that covers it at 95 % or more."""

    value: Rate
    low: Rate | None = None
    high: Rate | None = None


class KindLine(msgspec.Struct, frozen=True, kw_only=True):
    """All operators of one kind and type."""

    kind: str
    type: str | None
    count: Count
    time_ns: Amount
    share: Amount
    ceiling_ns: Amount | None = None


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """One variant on one backend, profiled."""

    label: str
    cell: str
    backend: str
    variant: dict[str, Value]
    device: str
    precision: str | None
    threads: Count | None
    runtime: str
    run_ns: Figure  # of a run that is not profiled: what ratios are made of
    cpu_time: bool = False  # that is CPU time, as one thread computes
    wall_ns: Amount = 0.0  # the median by the clock
    operators_ns: Amount  # the sum of all operators
    beside_ns: Amount = 0.0  # of a run that is not profiled, what no operator takes
    profiled_ns: Amount  # a run with its profiler on
    runs: Count  # profiled ones
    source: str
    kinds: list[KindLine]
    operators: list[OperatorLine]
    notes: list[str] = []


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was found about the deployment that is explained."""

    code: Code
    what: str = ""  # kind of operators that it is about, "Conv", "one-dimensional Conv", ...
    count: Count = 0
    time_ns: Amount = 0.0  # what they take
    share: Amount = 0.0  # of the run
    other_ns: Amount | None = None  # what they take in the deployment that it is held against
    kernel: str = ""  # what the runtime calls them
    nodes: list[str] = []
    ceiling_ns: Amount | None = None


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """What would be measured if some nodes were left in the other precision. Nobody has measured it."""

    kept: list[str]  # nodes of the file that are left in the other precision
    run_ns: Figure
    speedup: Figure  # against the other deployment
    gain: Amount  # against the deployment itself


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Why a deployment takes its time. Whatever is None has its reason in `unknown`."""

    schema: Literal["edgebench.explain/1"] = EXPLAIN_SCHEMA
    workload: str
    title: str
    machine: str
    subject: Deployment
    against: Deployment | None = None
    slowdown: Figure | None = None  # time of the subject over that of the other one, turn by turn
    findings: list[Finding] = []
    prediction: Prediction | None = None
    notes: list[str] = []
    unknown: dict[str, str] = {}


def read_explanation(path: Path) -> Explanation:
    """What `edgebench explain --format json` printed. Raises StoreError."""
    fix = "`edgebench explain WORKLOAD --format json` writes one"
    return read_answer(path, Explanation, EXPLAIN_SCHEMA, MAX_FILE_BYTES, fix)
