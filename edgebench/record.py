"""The record holds everything that is known of one cell, `edgebench.record/1`.

A result file is JSON Lines, one record a line. Raw samples are kept; percentiles, intervals and
fronts are derived on reading (`edgebench.analysis`). Times are integers in nanoseconds, sizes in
bytes. None means unknown, and the reason stands beside it. History of the format: docs/record.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec

from edgebench.backend import DeviceTimes, Effective
from edgebench.files.json_lines import encoded
from edgebench.files.number_bounds import (
    Amount,
    AtLeastOne,
    Count,
    DurationNs,
    Integer,
    Number,
    Rate,
    Share,
    Value,
)
from edgebench.operator_times import OperatorLine

SCHEMA: Final = "edgebench.record/1"

MULTI_STREAM: Final = "multi_stream"
SAMPLES_PER_QUERY: Final = "samples_per_query"  # the axis of multi_stream
WORKERS: Final = "workers"  # the axis of server
SAMPLES_OF_QUERY: Final = 8  # where nothing is said: MLPerf's


def samples_of_query(scenario: str, variant: Mapping[str, Value]) -> int:
    """How many samples a query has: as many as a batch; of multi_stream, as its axis says."""
    if scenario == MULTI_STREAM:
        samples = variant.get(SAMPLES_PER_QUERY, SAMPLES_OF_QUERY)
    else:
        samples = variant.get("batch", 1)
    return samples if isinstance(samples, int) else 1


def runs_of_query(scenario: str, variant: Mapping[str, Value]) -> int:
    """How often the model runs for a query: once, but in multi_stream, whose samples may come in smaller batches."""
    batch = variant.get("batch", 1)
    samples = samples_of_query(scenario, variant)
    return max(1, samples // batch) if isinstance(batch, int) and batch else 1


Status = Literal["ok", "failed", "unsupported", "invalid"]
Level = Literal["ok", "warn", "invalid", "unknown"]


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """Base of every part of a record, a table or a report. Unknown fields of later minor versions are ignored."""


class Reason(Part, frozen=True, kw_only=True):
    """Why a row is not `ok`, or what to know of it. `code` and `data` are stable facts; `message` and `fix` are
    the words that `words/reason_words` makes of them, for people."""

    code: str
    message: str
    fix: str = ""
    data: dict[str, Value] = {}


class StateCheck(Part, frozen=True, kw_only=True):
    """One check of the machine's state, with the evidence it read."""

    name: str
    level: Level
    evidence: str
    fix: str = ""


class Warmup(Part, frozen=True, kw_only=True):
    """Holds what was run before the measured window."""

    iterations: Count
    duration_ns: DurationNs
    steady: bool  # False: the time for warming up ended before the latency was steady


class Paced(Part, frozen=True, kw_only=True):
    """Queries at a given rate, as an application sends them: latency counts from the scheduled time."""

    rate_per_s: Rate
    misses: Count  # completions later than the next scheduled start, and queries that never ran
    service_ns: list[DurationNs]  # from the actual start, parallel to samples_ns
    wake_late_ns: list[Integer]  # actual start minus scheduled start where the device was idle
    #: How queries arrive: one a period (single_stream), or as a Poisson process (server), whose times follow
    #: from the seed and stand in `due_ns`, parallel to `samples_ns`, from the start of the load.
    arrivals: Literal["constant", "poisson"] = "constant"
    seed: Count | None = None
    due_ns: list[DurationNs] = []
    depth: list[Count] = []  # queries that had arrived when each of them started, itself included
    never_run: Count = 0  # of the schedule: the load was given up before their turn
    workers: AtLeastOne = 1  # threads that serve queries
    sessions: AtLeastOne = 1  # that they run on: one that all share, or one each


class Stream(Part, frozen=True, kw_only=True):
    """A stream in real time; `paced` and `samples_ns` are of its hops."""

    hop_ns: AtLeastOne
    window_ns: AtLeastOne  # of input that an answer waits for
    lookahead_ns: DurationNs
    warm_up_hops: Count
    state: dict[str, str]  # input -> output that is its next value; empty: the model keeps its own
    state_bytes: Count | None  # None: the model keeps its own
    #: To catch up after it was stopped for some hops; None: it did not.
    recovery_ns: DurationNs | None


#: What is waited for -> its counter of company, in nanoseconds in which some task waited; and the other counters.
STALLS = {"cpu": "cpu_stall_ns", "memory": "memory_stall_ns", "io": "io_stall_ns"}
MAJOR_FAULTS, CACHE_MISSES, MEMORY_BYTES = "major_faults", "llc_misses", "memory_bytes"


class CompanyCounter(Part, frozen=True, kw_only=True):
    """Amounts a query of something that is contended for, parallel to the blocks."""

    name: str  # of those above
    source: str  # "psi of the machine", "perf_event", "resctrl", ...
    alone: list[Amount]
    company: list[Amount]


class Company(Part, frozen=True, kw_only=True):
    """The model alone and beside other processes, in pairs of blocks that took turns."""

    companions: list[str]
    alone_mean_ns: list[AtLeastOne]  # mean latency of all queries of each block
    company_mean_ns: list[AtLeastOne]  # parallel to it: the other block of each pair
    alone_ns: list[list[DurationNs]]  # latencies of each block, a random part of them
    company_ns: list[list[DurationNs]]
    #: Resident memory of the process and its companions, when the blocks were over.
    total_bytes: Count | None
    #: What the kernel counted a query, parallel to the blocks: CPU time, and time ready to run without a core.
    alone_cpu_ns: list[DurationNs] = []
    company_cpu_ns: list[DurationNs] = []
    alone_waited_ns: list[DurationNs] = []
    company_waited_ns: list[DurationNs] = []
    counters: list[CompanyCounter] = []  # of cores, memory, caches and storage, where they tell
    untold: dict[str, str] = {}  # name of a counter -> why it tells nothing
    notes: list[str] = []


class LoadGen(Part, frozen=True, kw_only=True):
    """The same session driven by MLPerf's LoadGen, right after the replicate's own window."""

    version: str
    scenario: Literal["SingleStream", "MultiStream", "Offline", "Server"]
    queries: Count
    valid: bool  # by LoadGen's own rules
    why: str = ""  # it is not, in LoadGen's words
    p50_ns: DurationNs | None  # as LoadGen states them; None: Offline states none
    p90_ns: DurationNs | None
    p99_ns: DurationNs | None
    samples_per_s: Rate | None  # of Offline and Server
    service_ns: list[DurationNs]  # by our clock, of each query that LoadGen sent
    wait_ns: list[DurationNs] = []  # of Server, parallel to it: from the scheduled time until then
    logs: str = ""  # folder of its logs, beside the result file; "": they were not kept


class HeldMemory(Part, frozen=True, kw_only=True):
    """Memory of the process while shapes change."""

    changes: Count  # until now
    uss_bytes: Count | None
    arena_bytes: Count | None


class ShapeChanges(Part, frozen=True, kw_only=True):
    """One session, its axes open, that is given inputs of several shapes."""

    shapes: list[str]  # distinct ones, "1x128"
    #: Of each of them: the first query of the shape, parallel to `shapes`.
    first_ns: list[DurationNs]
    again_ns: list[DurationNs]  # and the second, right after it
    mix_ns: list[DurationNs]  # every query of the mix
    changed_ns: list[DurationNs]  # of the mix, those of another shape than the one before
    same_ns: list[DurationNs]  # parallel to it: the same query once more
    memory: list[HeldMemory]  # first when every shape was seen once


class EnergyWindow(Part, frozen=True, kw_only=True):
    """One input of a search, run over and over for a meter."""

    seed: Count
    kind: str
    inferences: AtLeastOne
    start_ns: Count  # of the monotonic clock
    end_ns: Count
    j_per_inference: Amount | None = None
    uncertainty_j: Amount | None = None
    why: str = ""  # there is no energy


class WorstCase(Part, frozen=True, kw_only=True):
    """The slowest input that a search found. Times are of the query and the application's answer after it."""

    tried: Count  # candidates
    seconds: Amount
    seed: Count  # that the input follows from
    kind: str  # what it is made by: "item", "noise", ...
    worst_ns: list[DurationNs]  # measured anew, when the search was over
    median_ns: list[DurationNs]  # in turn with it: the task's item of median time
    worst_run_ns: list[DurationNs]  # the query alone
    median_run_ns: list[DurationNs]
    worst_tokens: Count | None = None  # of the answer, where it is a text
    median_tokens: Count | None = None
    #: The median item, and the slowest input of each kind, each for as long as the meter needs; empty: none reads.
    energy_windows: list[EnergyWindow] = []
    #: Time that a search for energy takes at least; None: it was made, or no meter.
    energy_needed_s: Amount | None = None
    failed: Count = 0  # candidates that the model or the task refused
    failure: str = ""  # of the first of them


class RateTrial(Part, frozen=True, kw_only=True):
    """One rate of a search, over the processes that it was measured in."""

    rate_per_s: Rate
    replicates: list[Count]  # their indices
    queries: Count
    p50_ns: DurationNs
    p99_ns: DurationNs
    upper_ns: DurationNs | None  # upper confidence bound of p99; None: too few queries
    verdict: Literal["kept", "over", "open", "untold"]
    why: str = ""


class RateSearch(Part, frozen=True, kw_only=True):
    """The search for the highest rate whose p99 keeps a bound."""

    bound_p99_ns: AtLeastOne
    rate_per_s: Rate | None  # the highest that keeps it; None: none does
    over_per_s: Rate | None  # the lowest that does not
    #: found: the two are close; none: no rate keeps it; untold: too few queries tell; cut: it was not over.
    ended: Literal["found", "none", "untold", "cut"]
    trials: list[RateTrial]  # in their order


class Offline(Part, frozen=True, kw_only=True):
    """One batch query."""

    samples: AtLeastOne
    duration_ns: AtLeastOne
    batch: AtLeastOne


class CurvePoint(Part, frozen=True, kw_only=True):
    """One period of a sustained load."""

    at_ns: DurationNs  # its end, from the start of the load
    p50_ns: DurationNs
    temperature_c: Number | None  # of the hottest sensor of the chip, when the period was over


class Sustained(Part, frozen=True, kw_only=True):
    """A closed loop until temperature and latency were steady; `samples_ns` are its last periods."""

    burst_ns: list[DurationNs]  # latencies of the first seconds, a random part
    curve: list[CurvePoint]
    steady: bool  # False: the time ended first
    limit_s: Amount
    temperature_source: str  # the sensors, or why there is no temperature


class Unseen(Part, frozen=True, kw_only=True):
    """Inputs from the pool against inputs never given before, timed in turn."""

    pool_ns: list[DurationNs]
    unseen_ns: list[DurationNs]
    caching: bool  # never-seen inputs are answered slower beyond doubt
    prepare_ns: list[DurationNs] = []  # the session's, of each never-seen input
    #: Beside it: its inputs and an output copied once, as plain arrays.
    copy_ns: list[DurationNs] = []


class Pipeline(Part, frozen=True, kw_only=True):
    """The pipeline of an application: pre-processing, inference, post-processing, one query after the other."""

    preprocess_ns: list[DurationNs]
    inference_ns: list[DurationNs]
    postprocess_ns: list[DurationNs]
    end_to_end_ns: list[DurationNs]
    prepare_ns: list[DurationNs] = []  # the session's part of `preprocess_ns`
    read_ns: list[DurationNs] = []  # the part of `inference_ns` in which outputs become arrays
    #: Beside the query: its inputs and outputs copied once, as plain arrays.
    copy_ns: list[DurationNs] = []


class Memory(Part, frozen=True, kw_only=True):
    """Memory of the worker process. `peak` is the kernel's high-water mark, read before the quality pass."""

    peak_bytes: Count | None
    peak_source: str  # "VmHWM", "ru_maxrss", or why there is none
    uss_loaded_bytes: Count | None = None
    uss_warm_bytes: Count | None = None
    uss_end_bytes: Count | None = None
    arena_bytes: Count | None = None
    #: When the window was over: what the process wrote itself, pages of files such as mapped weights, and all of
    #: it with each shared page by its share.
    anonymous_bytes: Count | None = None
    file_bytes: Count | None = None
    pss_bytes: Count | None = None
    device_peak_bytes: Count | None = None
    device_source: str = ""
    budget_bytes: Count | None = None  # that the process was held to
    budget_by: str = ""  # "cgroup v2", "cgroup v1"; "RLIMIT_DATA": pages of files were not counted


class Limit(Part, frozen=True, kw_only=True):
    """One limit on a metric, and whether the metric met it."""

    metric: str
    value: Number | None
    limit: Number | None  # the floor or ceiling; None: reported without a demand
    better: Literal["higher", "lower"]
    passed: bool


class Quality(Part, frozen=True, kw_only=True):
    """Quality measured in the same session as the latency."""

    metric: str
    value: Number | None
    floor: Number | None  # the limit: a floor where higher is better, a ceiling where lower is
    better: Literal["higher", "lower"]
    passed: bool
    items: Count = 0
    of: Count | None = None  # items there are, where the budget cut the pass; None: all were judged
    interval: tuple[Number, Number] | None = None  # of a share over some of them, 95 %
    kind: Literal["labels", "parity"] = "labels"
    basis: str = ""  # of parity: why the limit is what it is
    also: list[Limit] = []
    #: Why value is None, or why it did not pass; else by whom it was held against what, where that is
    #: not ONNX Runtime.
    reason: str = ""


class OutputCheck(Part, frozen=True, kw_only=True):
    """The cheap check of a replicate: outputs against the stored ones on a few inputs."""

    #: "replicate 0", "itself", or the name of the reference: "the fp32 reference", or "the int8 file
    #: itself, unoptimised, on ONNX Runtime's CPU provider".
    against: str
    #: Of the output that comes closest to its limit: max of ||a - b|| / ||b||.
    relative_error: Amount
    limit: Amount | None  # of that output; None: reported without a demand
    passed: bool
    basis: str = ""  # why the limit is what it is
    #: Of the reference's own, in fp32 in another order; None: unknown.
    rounding: Amount | None = None


class Completion(Part, frozen=True, kw_only=True):
    """Whether outputs are complete when the measured call returns: reading them the first time
    against reading them once more, query by query."""

    first_read_ns: list[DurationNs]
    second_read_ns: list[DurationNs]
    #: An array of our own after another run: what cold caches cost.
    cold_read_ns: list[DurationNs] = []
    deferred: bool  # the first reading did work that the measured call had left, at every attempt
    changed: bool = False  # the two readings gave different values: the first came too early

    @property
    def incomplete(self) -> bool:
        return self.deferred or self.changed


class Accounts(Part, frozen=True, kw_only=True):
    """Holds what the kernel counted of the process while the window ran; null: it does not tell."""

    #: Between the two looks, a little more than the window; by the monotonic clock.
    wall_ns: DurationNs
    raw_ns: DurationNs | None = None  # the window itself, by the clock that nothing slews
    suspended_ns: DurationNs | None = None  # the machine slept meanwhile
    waited_ns: DurationNs | None = None  # the measuring thread was ready to run and had no core
    asleep_ns: DurationNs | None = None  # it neither ran nor was ready to
    runnable_ns: DurationNs | None = None  # all threads, on a core or ready for one, added up
    major_faults: Count = 0  # pages that had to come from storage
    storage_read_bytes: Count | None = None  # that storage was read for
    children: Count | None = None  # processes that this one started, theirs included
    child_cpu_ns: DurationNs | None = None
    child_bytes: Count | None = None  # of them, each shared page by its share (PSS)


class Instructions(Part, frozen=True, kw_only=True):
    """Instructions that the process retired in user space, threads of the runtime included."""

    source: Literal["perf_event", "callgrind"]  # the processor's own counter, or an emulator's
    count: Count | None  # null: `unknown` says why
    inferences: Count  # that it was counted over
    unknown: str = ""


class EnergyUncertainty(Part, frozen=True, kw_only=True):
    """Parts of the half-width, joules per inference; docs/energy-method.md says how they combine."""

    edge_j: Amount = 0.0  # where a window's edges fall between updates of the meter
    sampling_j: Amount = 0.0  # a varying load, looked at now and then
    gap_j: Amount = 0.0  # bridged gaps
    quantum_j: Amount = 0.0  # the meter's smallest step
    gain_j: Amount = 0.0  # the meter's error in proportion to the value
    offset_j: Amount = 0.0  # the meter's constant error
    spread_j: Amount | None = None  # between processes, t interval; None: one window or one process


class EnergyTrace(Part, frozen=True, kw_only=True):
    """Holds what the meter said in and around a window, so that its energy can be derived again."""

    quantity: Literal["power", "energy"]
    period_s: Amount  # between the meter's own updates
    read_ns: list[Integer]  # middle of each read, from the start of the window
    #: Watts, or joules since the meter was opened; None: the read failed.
    values: list[Number | None]


class Modelled(Part, frozen=True, kw_only=True):
    """An estimate that the user asked for. It is not measured, so it is never ranked or compared."""

    model: str  # "cpu-time": CPU time of the worker times `w_per_core`
    w_per_core: Amount  # as the user gave it
    j_per_inference: Amount
    average_w: Amount


class Energy(Part, frozen=True, kw_only=True):
    """Energy of the measured window, or why there is none. An inference is one item of a batch."""

    status: Literal["ok", "unavailable"]
    reason: str = ""  # no_sensor, permission_denied, counter_dead, virtualised, ...
    detail: str = ""
    j_per_inference: Number | None = None  # gross
    uncertainty_j: Amount | None = None
    average_w: Number | None = None
    kind: str = ""
    scope: str = ""
    source: str = ""
    total_rail: str = ""  # the rails that were summed
    rate_hz: Amount | None = None  # readings per second
    resolution: Amount | None = None  # smallest step of the meter, in W or J
    uncertainty: EnergyUncertainty | None = None
    net_j_per_inference: Number | None = None  # beyond idle; None: see net_reason
    net_uncertainty_j: Amount | None = None
    net_reason: str = ""
    idle_before_w: Number | None = None
    idle_after_w: Number | None = None
    edp_j_s: Number | None = None  # joules per inference times seconds per inference
    inferences_per_j: Number | None = None
    energy_j: Number | None = None  # of the stretch that was integrated
    inferences: Amount | None = None  # within it
    window_s: Amount | None = None  # its length
    updates: Count | None = None  # of the meter within it
    gaps: Count | None = None  # failed or missing reads that were bridged
    needed_s: Amount | None = None  # window_too_short: the length it would have had to have
    caveats: tuple[str, ...] = ()  # what no number here says
    modelled: Modelled | None = None
    trace: EnergyTrace | None = None


class Marker(Part, frozen=True, kw_only=True):
    """A burst of load on all CPUs, by the wall clock."""

    start_unix_ns: Integer
    end_unix_ns: Integer


class Speculated(Part, frozen=True, kw_only=True):
    """What a request with speculation took; its answer is that of plain decoding."""

    steps: Count  # of the decoder, the reading of the prompt included
    drafted: Count | None = None  # tokens that were guessed and verified; None: not told
    accepted: Count  # of them, those that the decoder would have chosen itself


class Request(Part, frozen=True, kw_only=True):
    """One request of a generation: prompts read, then one token of each sequence at a time."""

    prompt_tokens: Count  # of each sequence
    #: When each token was known, from the start of the request: n tokens have n entries, and n - 1
    #: intervals between them. The first is the time to first token, the last the whole request.
    token_ns: list[DurationNs]
    new_tokens: list[AtLeastOne]  # of each sequence, its end of text included
    stop: list[Literal["length", "end_of_text"]]  # why each sequence ended
    speculated: Speculated | None = None  # None: plain decoding
    turn: AtLeastOne | None = None  # of its conversation; None: a request of its own
    #: Of the prompt, those that the cache held from the turn before.
    kept_tokens: Count | None = None
    kv_used_bytes: Count | None = None  # of the cache, at the end of a turn


class PlainDecoding(Part, frozen=True, kw_only=True):
    """Some prompts of the window answered plainly, after it, in turns with speculation or with turns that are kept."""

    #: Of each prompt, from the first token to the last; of turns that are kept, to the first token.
    plain_ns: list[DurationNs]
    speculated_ns: list[DurationNs]  # the same prompt's as it was asked for
    differs_at: Count | None = None  # place of the first other token, from 0; None: all are equal
    #: How far the logit of the plain answer's token lies above that of the other one there: near 0 is a tie that
    #: rounding tips.
    differs_by: Number | None = None


class Generate(Part, frozen=True, kw_only=True):
    """Requests of the measured window, one after the other; `samples_ns` holds their lengths."""

    requests: list[Request]
    width: AtLeastOne  # sequences side by side
    positions: Count  # room of the cache: prompt and answer of one sequence
    kv_cache_bytes: Count | None
    temperature: Amount  # 0: greedy
    fixed_length: bool  # answers went on past an end of text, to the number of tokens asked for
    plain: PlainDecoding | None = None  # None: no speculation
    draft_bytes: Count | None = None  # of the process, by the load of a draft's decoder
    draft_sha256: str = ""  # of the file that the backend opened for it; "": no decoder drafts


class Sampled(Part, frozen=True, kw_only=True):
    """One sampled answer to a problem, and what it says after each number of tokens."""

    tokens: Count  # up to and with its end of text
    ended: bool  # by an end of text; False: cut at the largest budget
    #: From `since[i]` tokens on, up to the next, the answer reads `answers[i]`; before the first there
    #: is none ("" as well). This gives the answer at every smaller budget.
    since: list[Count] = []
    answers: list[str] = []


class Attempt(Part, frozen=True, kw_only=True):
    """One request: `width` samples of one problem, side by side."""

    token_ns: list[DurationNs]  # as of a Request
    samples: list[Sampled]


class Problem(Part, frozen=True, kw_only=True):
    kind: str
    right: str
    prompt_tokens: Count
    attempts: list[Attempt]


class Scaling(Part, frozen=True, kw_only=True):
    """Problems answered many times at the largest token budget; smaller ones follow by a hard cut."""

    budget: AtLeastOne  # tokens of an answer, at most
    temperature: Amount
    problems: list[Problem]


class Replicate(Part, frozen=True, kw_only=True):
    """One fresh worker process of a cell."""

    index: Count
    #: The pass of the run in which it was measured, from 0: cells that share one were measured in turns,
    #: one after the other. None: a file from before rounds were kept, or no run of `edgebench run`.
    round: Count | None = None
    status: Status
    started_utc: str
    reasons: list[Reason] = []
    import_ns: DurationNs | None = None
    load_ns: DurationNs | None = None
    first_inference_ns: DurationNs | None = None
    warmup: Warmup | None = None
    samples_ns: list[DurationNs] = []  # latency of each query in the measured window
    window_ns: DurationNs | None = None  # wall time from the first to the last of them
    window_start_ns: Integer | None = None  # of the monotonic clock
    window_end_ns: Integer | None = None
    window_start_unix_ns: Integer | None = None  # of the wall clock, to align a meter's own log
    queries: Count | None = None  # in the window, those included whose latency was not kept
    cpu_ns: DurationNs | None = None  # CPU time of the process in the window
    accounts: Accounts | None = None
    instructions: list[Instructions] = []  # one for each source that was asked
    #: The parent's clock less the worker's when it ended, at least.
    clock_lag_ns: Integer | None = None
    involuntary_switches: Count | None = None
    stop: Literal["", "precise", "time", "samples", "steady"] = ""  # why the window ended
    paced: Paced | None = None
    stream: Stream | None = None
    offline: Offline | None = None
    sustained: Sustained | None = None
    generate: Generate | None = None
    scaling: Scaling | None = None
    company: Company | None = None
    loadgen: LoadGen | None = None
    shapes: ShapeChanges | None = None
    worst_case: WorstCase | None = None
    unseen: Unseen | None = None
    pipeline: Pipeline | None = None
    device: DeviceTimes | None = None  # transfers and computation apart; null: no such device
    memory: Memory | None = None
    quality: Quality | None = None
    output_check: OutputCheck | None = None
    completion: Completion | None = None
    effective: Effective | None = None
    energy: Energy | None = None
    markers: list[Marker] = []  # bursts of load around the window, for a meter's own log
    state_before: list[StateCheck] = []  # only checks that are not ok
    state_after: list[StateCheck] = []
    power_mode: str | None = None  # of the machine, read back after it was set for this cell
    rerun_of: Count | None = None  # index of the replicate whose place it takes
    superseded_by: Count | None = None  # index of the sound one that took its place; evidence only
    wall_s: Amount | None = None  # of the whole process
    parent_cpu_s: Amount | None = None  # CPU time of the parent meanwhile


class Imported(Part, frozen=True, kw_only=True):
    """Holds the origin of a row that another tool measured, and what that tool reports.

    A reported number has no samples here, and hence no interval; samples that the source gives
    stand in `replicates` as measured ones do.
    """

    tool: str  # "mlperf", "llama-bench", ...
    file: str  # name of the file, without its folder
    sha256: str  # of the file as it was read
    #: Where the row starts in the (unpacked) text, from 1; None: not told by line.
    line: Count | None
    row: dict[str, Any]  # the row, with the source's own names and units
    reported: dict[str, Number] = {}  # our metric name -> value in that metric's unit
    statistic: dict[str, str] = {}  # our metric name -> what it is in the source's words
    unknown: dict[str, str] = {}  # dotted path of a table row -> why the source does not tell it
    notes: list[str] = []  # what a reader must know before using the numbers


class Layer(Part, frozen=True, kw_only=True):
    """One operator with the elementwise ones fused to it."""

    op: str
    flops: Count  # a multiply-accumulate is 2
    moved_bytes: Count  # inputs, weights and outputs, each once, at the widths of the file


class Work(Part, frozen=True, kw_only=True):
    """The work of one run of a model file, counted from its graph."""

    flops: Count  # of the layers below
    moved_bytes: Count  # likewise
    layers: list[Layer]  # in the order of the graph
    uncounted: dict[str, Count] = {}  # operator whose work is not known -> how many layers
    uncounted_share: Share | None = 0.0  # of all bytes; None: some shapes are open


#: How `int8-static` was made before records told the recipe.
FIRST_STATIC_RECIPE = "u8s8-operators/1"


class ModelFacts(Part, frozen=True, kw_only=True):
    name: str  # title of the workload
    sha256: str  # of the file that ran
    size_bytes: Count  # of the file or folder that ran, weights beside it included
    source: str  # URI or path it came from
    source_sha256: str
    precision: str  # as asked for by the variant
    recipe: str = ""  # of static quantisation, with its version; "": none, or a record of an earlier edgebench
    build_s: Amount | None = None  # time to build or quantise it; None: used as it came
    work: Work | None = None  # None: not counted (a file in a runtime's own format)

    @property
    def quantised_by(self) -> str:
        """The recipe of static quantisation; records that do not tell it are of the first one."""
        return self.recipe or (FIRST_STATIC_RECIPE if self.precision == "int8-static" else "")


class CellFacts(Part, frozen=True, kw_only=True):
    """Identifies a cell. `id` is stable: workload@version/backend/axis=value,.../scenario."""

    id: str
    workload: str
    workload_version: Integer
    title: str
    task: str
    backend: str
    variant: dict[str, Value]
    scenario: str
    rate_per_s: Rate | None = None
    bound_p99_ns: AtLeastOne | None = None  # of a server whose highest rate within it is sought

    @property
    def samples_per_query(self) -> int:
        return samples_of_query(self.scenario, self.variant)


class Declared(Part, frozen=True, kw_only=True):
    """Holds what the user's devices.yaml says of a machine, beside what the machine tells of itself."""

    entry: str
    title: str
    power_mode: str | None = None  # the mode it is meant to run in
    energy_source: str | None = None
    energy_total: list[str] = []  # rails that make the whole
    limits: dict[str, Number] = {}  # metric -> the most (or least) it may be, in the metric's unit


class DeviceFacts(Part, frozen=True, kw_only=True):
    name: str
    facts: dict[str, Any]  # what probes.device found: cpu, memory, os, board, ...
    unknown: dict[str, str] = {}  # fact -> why it is unknown
    declared: Declared | None = None  # None: no entry of devices.yaml is about it


class RunFacts(Part, frozen=True, kw_only=True):
    id: str
    started_utc: str
    edgebench: str
    python: str
    settings: dict[str, Any]  # as resolved: suite, budget, target, replicates, ...
    command: list[str]  # to repeat it
    seed: int | None  # null: unknown, of an imported row
    packages: dict[str, str]  # distribution -> version, of everything that is installed
    packages_sha256: str
    #: Of the checkout that the run was started in, "+" behind it where tracked files were changed.
    commit: str | None = None


class OperatorProfile(Part, frozen=True, kw_only=True):
    """Times of a cell's operators, from a process of its own after its last replicate (`--profile`): nothing of it
    is in a latency."""

    source: str  # whose times they are
    runs: Count  # profiled ones
    run_ns: Amount  # median of the runs beside them that were not profiled
    profiled_ns: Amount  # of the profiled ones
    operators_ns: Amount  # the sum of all operators, also of those that are left out
    operators: list[OperatorLine]  # those that take most first
    left_out: Count = 0  # operators for which a record has no room
    notes: list[str] = []


class Record(Part, frozen=True, kw_only=True):
    """One measured, failed, unsupported or invalid cell."""

    schema: Literal["edgebench.record/1"] = SCHEMA
    cell: CellFacts
    status: Status
    reasons: list[Reason] = []
    run: RunFacts
    device: DeviceFacts
    state_before: list[StateCheck] = []  # before the first cell of the run
    state_after: list[StateCheck] = []  # when this cell was complete; deltas stand in replicates
    model: ModelFacts | None = None
    inputs_sha256: str | None = None  # of the pool's prepared inputs
    quality: Quality | None = None
    energy: Energy
    effective: Effective | None = None
    power_mode: str | None = None  # read back after it was set for this cell; None: it was not set
    target: Amount | None = None  # half-width of the interval that was asked for, as a share
    percentile: Annotated[float, msgspec.Meta(ge=0.001, le=0.999)] = 0.5  # whose interval that is
    replicates: list[Replicate] = []
    #: Of a server with a bound; its replicates are of all rates.
    rate_search: RateSearch | None = None
    profile: OperatorProfile | None = None  # null: not asked for, or `reasons` say why
    imported: Imported | None = None  # null: measured by edgebench


def encode(record: Record) -> bytes:
    """Encodes a record as one JSON line, newline included."""
    return encoded(record)
