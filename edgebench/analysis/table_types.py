"""The trade-off table, `edgebench.table/1`: what is derived from records, one row a record.

Documented in docs/table.md. Whatever is unknown is None, and `Row.unknown` holds the reason under
the field's dotted path, or under that of the part it stands in.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from edgebench.backend import Effective, Scalar
from edgebench.record import (
    Declared,
    Energy,
    Limit,
    ModelFacts,
    Part,
    RateSearch,
    Reason,
    StateCheck,
    Status,
)

TABLE_SCHEMA: Final = "edgebench.table/1"


class Latency(Part, frozen=True, kw_only=True):
    """Latency of a query in nanoseconds, over the measured windows of all replicates that are ok."""

    p50: int | None = None
    p90: int | None = None
    p99: int | None = None
    p50_low: int | None = None  # 95 % interval over replicates; always encloses p50
    p50_high: int | None = None
    p90_low: int | None = None
    p90_high: int | None = None
    p99_low: int | None = None
    p99_high: int | None = None
    p90_early_stopping: int | None = None  # MLPerf's estimate: a 99 % upper bound
    p99_early_stopping: int | None = None
    p999_early_stopping: int | None = None  # of p99.9
    minimum: int | None = None
    maximum: int | None = None
    samples: int
    replicates: int
    p50_of_replicates: list[int] = []  # what the intervals are made from
    p90_of_replicates: list[int] = []
    p99_of_replicates: list[int] = []


class Paired(Part, frozen=True, kw_only=True):
    """Holds what ratios to other rows of the same run and group are made from: replicates of one round of
    the run are compared with each other (`blocks.py`)."""

    value: float  # of the metric, in its unit, as if measured in every round of the run
    error: float  # of its logarithm: that of a ratio has hypot of both rows' errors
    degrees: int  # of freedom of the errors of all rows of the block


class Interval(Part, frozen=True, kw_only=True):
    """How precise the run's chosen percentile (offline: the throughput) is, against the target."""

    confidence: float
    percentile: float | None  # None: of the throughput
    target: float | None  # half-width asked for, as a share
    reached: float | None  # half-width reached, as a share
    met: bool | None
    stops: dict[str, int]  # why the windows ended -> number of replicates


class Memory(Part, frozen=True, kw_only=True):
    """Memory of the worker, the largest over replicates; `Row.memory_peak_bytes` is the peak."""

    peak_min_bytes: int | None = None  # the smallest peak over replicates
    peak_source: str = ""
    uss_loaded_bytes: int | None = None
    uss_warm_bytes: int | None = None
    uss_end_bytes: int | None = None
    arena_bytes: int | None = None
    anonymous_bytes: int | None = None  # written by the process itself, when the window was over
    file_bytes: int | None = None  # pages of files, such as mapped weights
    pss_bytes: int | None = None  # both, each shared page by its share
    budget_bytes: int | None = None  # that the process was held to
    budget_by: str = ""
    #: The budget, where all that the process touched counted and it ran.
    fits_bytes: int | None = None
    #: Pages of files that were dropped and read again.
    storage_read_bytes_per_query: float | None = None
    major_faults_per_query: float | None = None
    device_peak_bytes: int | None = None
    device_source: str = ""


class Quality(Part, frozen=True, kw_only=True):
    """Quality of the answers, and its distance to the fp32 row of the same workload."""

    metric: str
    value: float | None
    floor: float | None  # a ceiling where lower is better
    better: Literal["higher", "lower"]
    passed: bool
    items: int
    kind: Literal["labels", "parity"]
    also: list[Limit] = []
    delta: float | None = None  # value minus that of the row `delta_to`
    delta_to: str | None = None


class Demand(Part, frozen=True, kw_only=True):
    """A floor (where higher is better) or ceiling of a quality metric."""

    metric: str
    bound: float
    better: Literal["higher", "lower"]


class Baseline(Part, frozen=True, kw_only=True):
    """The fp32 row this one is measured against: the same settings where there is such a row,
    else the fastest. A speed-up above 1 is a gain, in latency or, offline, in throughput."""

    id: str
    run: str
    same_settings: bool
    speedup: float
    #: 95 % interval of the ratio, round by round where that is known.
    speedup_low: float | None = None
    speedup_high: float | None = None


class Pipeline(Part, frozen=True, kw_only=True):
    """Medians of the whole pipeline of an application, one item after the other."""

    preprocess_ns: int
    inference_ns: int
    postprocess_ns: int
    end_to_end_ns: int
    samples: int


class ColdStart(Part, frozen=True, kw_only=True):
    """Times of the cold start, medians over replicates; the total is None if a part is."""

    import_ns: int | None
    load_ns: int | None
    first_inference_ns: int | None
    total_ns: int | None


class Instructions(Part, frozen=True, kw_only=True):
    """Instructions of an inference in user space: by the processor's counter, median over replicates; by callgrind."""

    retired: float | None
    callgrind: float | None


class Warmup(Part, frozen=True, kw_only=True):
    """The warm-up, medians over replicates; `steady` only if every replicate became steady."""

    iterations: int
    duration_ns: int
    steady: bool


class Paced(Part, frozen=True, kw_only=True):
    """Queries sent at a given rate, over all replicates."""

    rate_per_s: float
    queries: int
    misses: int  # completions later than the next scheduled start
    service_p50_ns: int | None  # from the actual start, without the wait
    wake_late_p50_ns: int | None
    arrivals: Literal["constant", "poisson"] = "constant"
    utilisation: float | None = None  # share of the load's time in which a query was served
    #: Most queries that had arrived and were not done, when one started.
    depth_max: int | None = None
    workers: int = 1
    sessions: int = 1  # that the workers run on: one that all share, or one each


class Stream(Part, frozen=True, kw_only=True):
    """A stream in real time, over all replicates; the row's latency is that of a hop, from its arrival."""

    hop_ns: int
    hops: int
    #: Time of computing over time of the stream: above 1 it falls behind.
    real_time_factor: float | None
    service_p50_ns: int | None  # computing alone
    service_p99_ns: int | None
    misses: int  # hops that were done after the next one had arrived
    backlog_max: int | None  # hops that waited when one began, at most
    late_run_ns: int  # the longest stretch of misses
    recovery_ns: int | None  # to catch up after a stop; None: it did not
    algorithmic_delay_ns: int  # window and lookahead: the wait for input, whatever the speed
    delay_p99_ns: int | None  # with p99 of the latency: from the first sample to the answer
    warm_up_hops: int
    state_bytes: int | None  # None: the model keeps its own
    cpu_share: float | None  # of one core, at the real rate
    j_per_s: float | None  # energy per second of stream, idle between hops included


class CompanyCounter(Part, frozen=True, kw_only=True):
    """Something that is contended for, as it is counted; means over all blocks."""

    name: str
    source: str
    alone: float  # a query
    company: float


class Company(Part, frozen=True, kw_only=True):
    """What company costs the model; the row's own latency is alone."""

    companions: list[str]
    alone_mean_ns: int
    mean_ns: int  # in company
    alone_p50_ns: int
    p50_ns: int  # in company
    p99_ns: int | None
    ratio: float  # in company over alone, of mean latencies of neighbouring blocks
    ratio_low: float | None  # 95 % interval over processes
    ratio_high: float | None
    blocks: int  # pairs of them
    total_bytes: int | None  # resident memory of all processes together
    waited_share: float | None = None  # of the time that company adds, the wait for a core
    cpu_ratio: float | None = None  # CPU time of a query in company over alone
    contested: list[Reason] = []  # what they fight for; empty: company adds next to nothing
    counters: list[CompanyCounter] = []
    untold: dict[str, str] = {}  # name of a counter -> why it tells nothing
    notes: list[str] = []


class LoadGen(Part, frozen=True, kw_only=True):
    """MLPerf's LoadGen over the row's own loop, in the same processes."""

    version: str
    scenario: str
    replicates: int
    valid: int  # of them, those that LoadGen calls valid
    p50_ns: int | None  # as LoadGen states it, median over processes
    p90_ns: int | None
    p99_ns: int | None
    throughput_per_s: float | None  # of Offline and Server
    p90_ratio: float | None  # LoadGen's over ours
    p90_ratio_low: float | None  # 95 % interval over processes
    p90_ratio_high: float | None
    p99_ratio: float | None
    p99_ratio_low: float | None
    p99_ratio_high: float | None
    throughput_ratio: float | None
    #: LoadGen's over ours of the very queries that it sent, by our clock and our formula.
    p90_same_ratio: float | None
    p99_same_ratio: float | None
    #: What LoadGen and its Python binding add to a query: its own latency less the call's, by our clock.
    overhead_ns: int | None
    why: str = ""  # a process is not valid, in LoadGen's words
    logs: list[str] = []


class Shapes(Part, frozen=True, kw_only=True):
    """One session, its axes open, given inputs of several shapes, over all replicates."""

    shapes: int  # distinct ones
    smallest: str  # the quickest of them, "1x16"
    largest: str  # the slowest
    queries: int  # of the mix
    p50_ns: int | None  # over the mix
    p90_ns: int | None
    p99_ns: int | None
    changes: int  # of shape, in one process
    #: A query of another shape than the one before, over the same once more.
    change_ratio: float | None
    change_ratio_low: float | None  # 95 % interval over processes
    change_ratio_high: float | None
    first_ratio: float | None  # the first query of a shape over the second
    #: Own memory after the changes less before them, the most of any process.
    growth_bytes: int | None
    arena_growth_bytes: int | None


class WorstCase(Part, frozen=True, kw_only=True):
    """The slowest input that a search found, of all processes; of the query and the answer after it."""

    worst_ns: int  # measured anew after the search, median
    median_ns: int  # of the task's item of median time, in turn with it
    amplification: float | None  # the former over the latter
    run_share: float | None  # of the worst, the query's part; the rest is the application's answer
    seed: int  # that the input follows from
    kind: str  # what it is made by
    tried: int  # candidates, in all processes
    by: list[str]  # what was sought: "latency", and "energy" where a meter read
    tokens: int | None = None  # of a text: those of the worst answer, and of the median item's
    median_tokens: int | None = None
    energy_j: float | None = None  # per inference, of the input that took most
    energy_uncertainty_j: float | None = None
    energy_median_j: float | None = None  # of the item of median time
    energy_amplification: float | None = None
    energy_seed: int | None = None
    energy_kind: str | None = None
    failed: int = 0  # of them, those that the model or the task refused
    failure: str = ""


class Source(Part, frozen=True, kw_only=True):
    """Another tool's result. `reported` numbers come without samples, so they have no interval."""

    tool: str
    file: str
    sha256: str
    line: int | None
    reported: dict[str, str]  # metric name -> what the number is, in words
    notes: list[str] = []


class Sustained(Part, frozen=True, kw_only=True):
    """A load until the machine was steady, from the first replicate that is ok. The row's `latency_ns` is
    the sustained latency, over all of them. Only the first process starts cool: where it does not count,
    burst, slowdown, time to throttle and temperature at the start are None."""

    burst_p50_ns: int | None  # of the first seconds
    sustained_p50_ns: int | None  # of the last periods
    slowdown: float | None  # the latter over the former: above 1 it became slower
    time_to_throttle_s: float | None  # None: it did not slow down for good
    duration_s: float
    steady: bool  # of every replicate; False: the time ended first
    steady_by: Literal["latency and temperature", "latency"]
    temperature_start_c: float | None
    temperature_end_c: float | None
    temperature_max_c: float | None
    temperature_source: str  # the sensors, or why there is no temperature


class Speculation(Part, frozen=True, kw_only=True):
    """Drafted tokens over all requests, and what they gain: plain decoding of the same prompts in the same session."""

    steps: int  # of the decoder, the reading of prompts left out
    drafted: int | None  # null: the runtime does not tell
    accepted: int
    acceptance: float | None  # accepted / drafted
    tokens_per_step: float | None  # 1: nothing is gained
    gain: float | None  # time per token of plain decoding / that with speculation
    gain_low: float | None = None  # its 95 % interval over replicates
    gain_high: float | None = None
    gain_of_replicates: list[float] = []
    compared: int  # prompts that were answered both ways
    draft_bytes: int | None  # what the draft's decoder adds to the process
    j_per_accepted_token: float | None  # joules of an answer over its accepted tokens


class Turn(Part, frozen=True, kw_only=True):
    """A turn of conversations, over all of them: medians."""

    turn: int  # from 1
    requests: int
    prompt_tokens: int  # of the whole prompt, what was said before included
    kept_tokens: int  # of them, those that the cache held from the turn before
    ttft_ns: int
    ttft_low_ns: int | None  # its 95 % interval over replicates
    ttft_high_ns: int | None
    tpot_ns: int | None
    kv_used_bytes: int | None  # of the cache, at the end of the turn


class Generate(Part, frozen=True, kw_only=True):
    """Text generation over all requests of all replicates: medians, with 95 % intervals over replicates.

    All sequences of a request advance together; rates count the tokens of all of them. Of another tool's row, what
    the tool does not tell is null.
    """

    ttft_ns: int | None  # from the start of a request until its first token
    ttft_low_ns: int | None = None
    ttft_high_ns: int | None = None
    ttft_of_replicates_ns: list[int] = []
    tpot_ns: int | None  # (last - first) / (tokens - 1) of a request
    tpot_low_ns: int | None = None
    tpot_high_ns: int | None = None
    tpot_of_replicates_ns: list[int] = []
    interval_p50_ns: int | None = None  # between neighbouring tokens, all pooled
    interval_p90_ns: int | None = None
    interval_p99_ns: int | None = None
    prefill_tokens_per_s: float | None
    decode_tokens_per_s: float | None
    prompt_tokens: int | None  # of one sequence
    new_tokens: int | None  # of one sequence
    j_per_token: float | None = None  # joules of an answer, prompt included, over its new tokens
    requests: int | None
    intervals: int | None
    ended: int | None  # sequences that ended by an end of text
    width: int | None  # sequences side by side
    positions: int | None  # room of the cache
    kv_cache_bytes: int | None
    temperature: float | None  # 0: greedy
    fixed_length: bool | None  # answers go on past an end of text
    speculation: Speculation | None = None  # None: plain decoding
    turns: list[Turn] = []  # of conversations; empty: each request stands on its own


class Row(Part, frozen=True, kw_only=True):
    """One cell as measured in one run on one device."""

    id: str  # stable: workload@version/backend/axis=value,.../scenario
    device: str
    run: str
    started_utc: str = ""  # of the run
    commit: str | None = None  # of the checkout the run was started in; None: unknown
    workload: str
    workload_version: int
    title: str
    backend: str
    variant: dict[str, Scalar]
    scenario: str
    rate_per_s: float | None = None
    bound_p99_ns: int | None = None  # the highest rate was sought that keeps it
    status: Status
    ranked: bool = False  # ok, good enough and measured: takes part in fronts and picks
    reasons: list[Reason] = []
    latency_ns: Latency
    interval: Interval
    throughput_per_s: float | None = None  # items per second, median over replicates
    throughput_low_per_s: float | None = None
    throughput_high_per_s: float | None = None
    throughput_of_replicates_per_s: list[float] = []
    #: Of each replicate that is ok, its round; empty: the record does not tell.
    rounds: list[int] = []
    #: Metric -> what its ratios to rows of the same run are made from.
    paired: dict[str, Paired] = {}
    memory_peak_bytes: int | None = None
    memory: Memory
    model: ModelFacts | None = None
    quality: Quality | None = None
    energy: Energy
    effective: Effective | None = None
    power_mode: str | None = None  # read back after it was set for this cell
    baseline: Baseline | None = None
    pipeline: Pipeline | None = None
    cold_start: ColdStart | None = None
    warmup: Warmup | None = None
    instructions: Instructions | None = None
    paced: Paced | None = None
    rate_search: RateSearch | None = None
    stream: Stream | None = None
    company: Company | None = None
    loadgen: LoadGen | None = None
    shapes: Shapes | None = None
    worst_case: WorstCase | None = None
    sustained: Sustained | None = None
    generate: Generate | None = None
    caching: bool | None = None
    inputs_sha256: str | None = None
    replicate_wall_s: float | None = None  # of a whole worker process, median over replicates
    state: list[StateCheck] = []  # checks during its replicates that were not ok
    busy: str = ""  # what says that the machine was not this row's alone, in most of its replicates
    imported: Source | None = None  # None: measured by edgebench
    superseded: list[Reason] = []  # why replicates were run again: one each, evidence only
    front: Literal["yes", "no", "undecided"] | None = None  # on the Pareto front; None: not ranked
    front_probability: float | None = None  # None: rows without an interval leave it open
    front_by_value: bool | None = None  # on the front of the values as they stand
    pareto: bool | None = None  # on the front as it is shown; None: not ranked
    unknown: dict[str, str] = {}  # dotted path of what is None -> why


class Device(Part, frozen=True, kw_only=True):
    name: str
    facts: dict[str, Any]
    unknown: dict[str, str]
    declared: Declared | None = None  # by the user's devices.yaml


class Run(Part, frozen=True, kw_only=True):
    id: str
    device: str
    started_utc: str
    edgebench: str
    python: str
    settings: dict[str, Any]
    command: list[str]
    seed: int | None  # None: unknown, of an imported row
    packages_sha256: str
    state: list[StateCheck]  # of the machine before the first cell


class LeftOut(Part, frozen=True, kw_only=True):
    """An objective that a front does not use, and why."""

    objective: str
    reason: str


class Competitors(Part, frozen=True, kw_only=True):
    """Holds what rows share that compete with each other, perhaps on several devices."""

    device: str | None  # None: several devices compete
    workload: str
    workload_version: int
    scenario: str
    rate_per_s: float | None  # None: a closed loop
    prompt_tokens: int | None = None  # of the request, in the scenario generate
    new_tokens: int | None = None
    request: str | None = None  # its kind: content, turns
    samples_per_query: int | None = None  # of a query, in the scenario multi_stream
    bound_p99_ns: int | None = None  # that the rate of a server was sought for


class OfGroup(Competitors, frozen=True, kw_only=True):
    """Holds what rows share that compete with each other on one device."""

    device: str


class Front(OfGroup, frozen=True, kw_only=True):
    """Rows that compete with each other, and their objectives."""

    objectives: list[str]  # metric names
    left_out: list[LeftOut]
    by_value: bool = False  # no row has an interval: the front of the values as they stand
    rows: list[int]  # indices of the rows on the front: those that no other row beats for sure
    sure: list[int] = []  # of them, those that are on it for sure


class Pick(OfGroup, frozen=True, kw_only=True):
    """Holds what to deploy of one group of rows, and why."""

    row: int | None  # index of the row; None: nothing can be deployed
    id: str | None
    runner_up: int | None  # index of the row that comes closest; None: there is no other
    clear: bool  # the best for sure: every other row is told apart from it
    rivals: list[int] = []  # rows that are not told apart from the fastest one at 99 %
    probability: float | None = None  # that it is the best by its speed; None: nothing tells
    speedup: float | None = None  # against the runner-up: above 1 it is faster
    speedup_low: float | None = None  # 95 % interval of that ratio
    speedup_high: float | None = None
    faster_probability: float | None = None  # that it is faster than the runner-up
    #: The speed, or between rows not told apart the criteria of the rule of ties.
    decided_by: list[str] = []
    runs: int = 1  # whose rows compete: more than one, and the drift between them is in no interval
    busy: str = ""  # why the machine was too busy to believe these rows
    metric: str = ""  # the speed that they are chosen by
    compared: int = 0  # rows that tell it
    tied: list[int] = []  # other rows that are not told apart from the best one
    # The words of these facts, which `render.deploy_line` fills in: empty before.
    headline: str = ""  # the first part of `text`: what to deploy, its speed and its gain
    text: str = ""  # the line for people
    doubt: str = ""  # its part that says how sure the choice is
    bad_news: list[str] = []


class Table(Part, frozen=True, kw_only=True):
    """The trade-off table of one or more result files."""

    schema: Literal["edgebench.table/1"] = TABLE_SCHEMA
    device: Device | None  # None: there are several, or none
    devices: list[Device]
    runs: list[Run]
    rows: list[Row]
    fronts: list[Front]
    picks: list[Pick]
    notes: list[str]  # what a reader must know of the whole table
