"""The model of a report: what HTML, Markdown and pictures say, in the words and numbers they say.

Made by `edgebench.report.build_report`; the forms only lay it out. Numbers are in the units that charts
show (`_ms`, `_mib`, `_mj`), because a chart's axis is what people read; the record keeps the exact
ones. None means unknown, and `ReportRow.unknown` or the text beside it says why.
"""

from __future__ import annotations

from typing import Final, Literal

from edgebench.analysis.table_types import Demand
from edgebench.explain.explanation import Explanation
from edgebench.record import Part
from edgebench.roofline.roofline_rows import Roof, RoofPoint
from edgebench.scaling.scaling_rows import ScalingGroup

REPORT_SCHEMA: Final = "edgebench.report/1"

Front = Literal["yes", "no", "undecided", "struck"]


class Decision(Part, frozen=True, kw_only=True):
    """Holds what to deploy of one group on one device."""

    device: str
    verdict: Literal["clear", "open", "nothing"]
    certainty: Literal["only", "sure", "likely", "tied", "no interval", "nothing"]
    headline: str  # "int8-static threads=1", or "nothing"
    text: str  # the whole sentence
    row: int | None = None  # index of the row
    runner_up: int | None = None
    ratio: float | None = None  # to the runner-up: above 1 it is faster
    ratio_low: float | None = None  # 95 % interval
    ratio_high: float | None = None
    faster_probability: float | None = None  # that it is faster than the runner-up
    decided_by: list[str] = []  # criteria of the rule of ties
    runs: int = 1  # whose rows compete
    busy: str = ""  # why the machine was too busy to believe it
    gain: str = ""  # against fp32
    warnings: list[str] = []
    around: str = ""  # end to end and cold start


class FrontLine(Part, frozen=True, kw_only=True):
    """The staircase of the best known point values of two objectives, among ranked rows of a device."""

    device: str
    y: str  # name of the vertical axis
    points: list[tuple[float, float]]


class Group(Part, frozen=True, kw_only=True):
    """Rows that answer the same question: a workload under a scenario, on all devices."""

    name: str  # "image-classification@1"
    scenario: str  # "single_stream", "single_stream at 30/s"
    title: str
    shared: str  # what the rows have in common and their labels leave out
    x: Literal["latency", "rate"]  # the horizontal axis
    x_title: str
    ys: list[str]  # vertical axes that have data
    quality_metric: str = ""
    quality_better: str = ""
    demands: list[Demand] = []  # on the quality; those on `quality_metric` first
    objectives: list[str] = []
    left_out: list[str] = []  # objectives the front does not use, and why
    decisions: list[Decision]
    lines: list[FrontLine] = []
    rows: list[int]  # indices: by device; those that compete first, of them the fastest


class Figure(Part, frozen=True, array_like=True):
    """A value in words, and what stands smaller beside it: its spread, its change, or nothing."""

    value: str = ""  # "": unknown
    beside: str = ""


class Because(Part, frozen=True, kw_only=True, omit_defaults=True):
    """The reason why a row does not compete."""

    code: str
    words: str
    fix: str = ""


class Numbers(Part, frozen=True, kw_only=True, omit_defaults=True):
    """Holds what charts draw and tables sort by. Intervals are of 95 % over processes."""

    latency_ms: float | None = (
        None  # p50; of rows of another tool the statistic they are compared by
    )
    latency_low_ms: float | None = None
    latency_high_ms: float | None = None
    p90_ms: float | None = None
    rate_per_s: float | None = None
    rate_low_per_s: float | None = None
    rate_high_per_s: float | None = None
    memory_mib: float | None = None
    memory_low_mib: float | None = None
    memory_high_mib: float | None = None
    loaded_mib: float | None = None  # own memory with the model loaded
    warm_mib: float | None = None
    quality: float | None = None
    energy_mj: float | None = None
    energy_low_mj: float | None = None
    energy_high_mj: float | None = None


class Histogram(Part, frozen=True, kw_only=True):
    """Counts in bins of equal width; `beyond` samples are larger than the last edge."""

    low_ms: float
    high_ms: float
    counts: list[int]
    beyond: int = 0


class Band(Part, frozen=True, kw_only=True):
    """A stretch of a time series to know of."""

    kind: Literal["warm-up", "disturbed"]
    start_s: float
    end_s: float
    process: int
    words: str


class Process(Part, frozen=True, kw_only=True):
    """One replicate of a time series."""

    index: int
    samples: int
    median_ms: float
    start_s: float
    seconds_s: list[float]  # one point per query, or per bin of `per_point` (sustained: of periods)
    median_of_bin_ms: list[float]
    largest_of_bin_ms: list[float]  # none of a sustained load: its periods have medians alone
    per_point: int = 1


class Detail(Part, frozen=True, kw_only=True):
    """Samples of a row, condensed."""

    ecdf_ms: list[float]  # at `Report.probabilities`
    histogram: Histogram
    processes: list[Process]
    bands: list[Band] = []


class ReportRow(Part, frozen=True, kw_only=True, omit_defaults=True):
    """One row of the trade-off table."""

    id: str
    group: int
    label: str
    device: str
    backend: str
    precision: str
    status: str
    front: Front
    probability: float | None = None  # of being on the front
    front_note: str = ""  # why it takes no part in the front though it is ranked
    pick: bool = False
    on_front: bool = False  # as tables show it
    numbers: Numbers
    figures: list[Figure]  # parallel to Report.figure_names
    facts: list[str]  # parallel to Report.fact_names; "" where it does not apply
    why: str = ""  # why it is not ranked, in one sentence
    because: list[Because] = []  # the same as data
    fix: str = ""
    command: str = ""  # that measures this row again
    command_note: str = ""  # what that command is not
    energy_kind: str = ""  # "measured_rail", "modelled", ...; "": unknown
    detail: Detail | None = None


class Device(Part, frozen=True, kw_only=True):
    name: str
    line: str
    warnings: list[str] = []


class Difference(Part, frozen=True, kw_only=True):
    """A fact of the environment in which the rows' runs differ; `values` parallel to `Report.places`."""

    topic: str
    name: str
    values: list[str]


class Decoder(Part, frozen=True, kw_only=True):
    """A row that generates text, by what it ran on and how."""

    row: int
    runtime: str
    precision: str  # with what else varies among the rows: "as-is, accuracy_level=4"
    threads: str
    tokens: str  # of a request: "32 after 128"


class DecoderTable(Part, frozen=True, kw_only=True):
    """The rows of a workload that generate text, by runtime, precision and threads."""

    name: str
    decoders: list[Decoder]


class RatePoint(Part, frozen=True, kw_only=True):
    """One rate of a search."""

    rate_per_s: float
    p50_ms: float
    p99_ms: float
    upper_ms: float | None  # upper confidence bound of p99
    verdict: Literal["kept", "over", "open", "untold"]


class RateCurve(Part, frozen=True, kw_only=True):
    """Latency against the rate of queries, of a row whose highest rate within a bound was sought."""

    name: str
    bound_ms: float
    knee_per_s: float | None  # the highest rate that keeps the bound
    words: str
    points: list[RatePoint]  # rates ascending


class SearchSummary(Part, frozen=True, kw_only=True):
    """A precision search as words, tables and pictures."""

    workload: str
    title: str
    decision: str
    doubts: list[str] = []
    safe: bool  # whether a deployment is offered
    head: list[str]  # of the table of deployments
    rows: list[list[str]]
    choice: int | None  # index of the row to deploy
    pictures: list[tuple[str, str]]  # SVG elements in the theme's colours: wide, and for a phone
    tested: list[str] = []  # how the limits held on test items
    why: str = ""  # how many groups stay in fp32
    kept_head: list[str] = []  # of the table of groups that stay in fp32
    kept: list[list[str]] = []
    kept_words: list[str] = []  # of those that tell most, what int8 would have gained and cost
    explain: str = ""  # command that says where the time of the map goes
    notes: list[str] = []
    groups: dict[str, str] = {}  # precision of a map -> how it divides the network's groups


class BudgetPoint(Part, frozen=True, kw_only=True):
    """One budget of memory, and how fast a deployment is within it."""

    budget: str  # as it was asked for
    budget_mib: float
    ms: float | None  # a token, or an inference; None: not measured
    read_mib: float | None  # from storage, for a token or an inference
    faults: float | None  # pages that had to come from storage, likewise
    fits: bool | None  # None: unknown, since it failed of something else
    why: str  # it does not fit, or that is unknown; "": it does


class BudgetCurve(Part, frozen=True, kw_only=True):
    """Speed against the memory that a process was held to, of rows that differ in nothing else."""

    name: str
    unit: str  # what `ms`, `read_mib` and `faults` are of: "token", "inference"
    y_title: str
    words: str
    points: list[BudgetPoint]  # budgets ascending


class Report(Part, frozen=True, kw_only=True):
    schema: Literal["edgebench.report/1"] = REPORT_SCHEMA
    title: str
    edgebench: str  # version that wrote the report
    sources: list[str]  # names of the result files
    measured: str  # when, and by which versions
    devices: list[Device]
    groups: list[Group]
    fact_names: list[str]
    figure_names: list[str]
    rows: list[ReportRow]
    probabilities: list[float]
    places: list[str] = []  # devices or runs that `differences` tells apart
    differences: list[Difference] = []
    roofs: list[Roof] = []
    roof_points: list[RoofPoint] = []
    roof_unknown: str = ""
    decoders: list[DecoderTable] = []
    scalings: list[ScalingGroup] = []
    scaling_names: list[str] = []
    rate_curves: list[RateCurve] = []
    budget_curves: list[BudgetCurve] = []
    explanations: list[Explanation] = []
    searches: list[SearchSummary] = []
    notes: list[str] = []
    details_left_out: str = ""
