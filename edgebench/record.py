"""The record: all that is known of one cell, `edgebench.record/1`.

A result file is JSON Lines, one record a line. Raw samples are kept; percentiles, intervals and
fronts are derived on reading (`edgebench.analysis`). Times are integers in nanoseconds, sizes in
bytes. None means unknown, and the reason stands beside it. History of the format: docs/record.md.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from edgebench.backend import DeviceTimes, Effective, Scalar

SCHEMA: Final = "edgebench.record/1"

Status = Literal["ok", "failed", "unsupported", "invalid"]
Level = Literal["ok", "warn", "invalid", "unknown"]


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """Base of every part of a record. Unknown fields of later minor versions are ignored."""


class Reason(Part, frozen=True, kw_only=True):
    """Why a row is not `ok`, or what to know of it. `code` is stable, `message` is for people."""

    code: str
    message: str
    fix: str = ""


class StateCheck(Part, frozen=True, kw_only=True):
    """One check of the machine's state, with the evidence it read."""

    name: str
    level: Level
    evidence: str
    fix: str = ""


class Warmup(Part, frozen=True, kw_only=True):
    """What was run before the measured window."""

    iterations: int
    duration_ns: int
    steady: bool  # False: the time for warming up ended before the latency was steady


class Paced(Part, frozen=True, kw_only=True):
    """A single_stream at a given rate: latency counts from the scheduled time."""

    rate_per_s: float
    misses: int  # completions later than the next scheduled start
    service_ns: list[int]  # from the actual start, parallel to samples_ns
    wake_late_ns: list[int]  # actual start minus scheduled start where the device was idle


class Offline(Part, frozen=True, kw_only=True):
    """One batch query."""

    samples: int
    duration_ns: int
    batch: int


class Unseen(Part, frozen=True, kw_only=True):
    """Inputs from the pool against inputs never given before, timed in turn."""

    pool_ns: list[int]
    unseen_ns: list[int]
    caching: bool  # never-seen inputs are answered slower beyond doubt


class Pipeline(Part, frozen=True, kw_only=True):
    """The application's way: pre-processing, inference, post-processing, one item after the other."""

    preprocess_ns: list[int]
    inference_ns: list[int]
    postprocess_ns: list[int]
    end_to_end_ns: list[int]


class Memory(Part, frozen=True, kw_only=True):
    """Of the worker process. `peak` is the kernel's high-water mark, read before the quality pass."""

    peak_bytes: int | None
    peak_source: str  # "VmHWM", "ru_maxrss", or why there is none
    uss_loaded_bytes: int | None = None
    uss_warm_bytes: int | None = None
    uss_end_bytes: int | None = None
    arena_bytes: int | None = None
    device_peak_bytes: int | None = None
    device_source: str = ""


class Limit(Part, frozen=True, kw_only=True):
    """One demand on a metric and whether it held."""

    metric: str
    value: float | None
    limit: float | None  # the floor or ceiling; None: reported without a demand
    better: Literal["higher", "lower"]
    passed: bool


class Quality(Part, frozen=True, kw_only=True):
    """Quality measured in the same session as the latency."""

    metric: str
    value: float | None
    floor: float | None  # the limit: a floor where higher is better, a ceiling where lower is
    better: Literal["higher", "lower"]
    passed: bool
    items: int = 0
    kind: Literal["labels", "parity"] = "labels"
    also: list[Limit] = []
    reason: str = ""  # why value is None, or why it did not pass


class OutputCheck(Part, frozen=True, kw_only=True):
    """The cheap check of a replicate: outputs against the stored ones on a few inputs."""

    against: str  # "reference" (fp32 ONNX Runtime, CPU), "replicate 0" or "itself"
    relative_error: float  # max over outputs of ||a - b|| / ||b||
    limit: float | None  # None: reported without a demand
    passed: bool


class Completion(Part, frozen=True, kw_only=True):
    """Whether outputs are complete when the measured call returns: reading them the first time
    against reading them once more, query by query."""

    first_read_ns: list[int]
    second_read_ns: list[int]
    deferred: bool  # the first reading did work that the measured call had left


class Energy(Part, frozen=True, kw_only=True):
    """Energy of the measured window, or why there is none."""

    status: Literal["ok", "unavailable"]
    reason: str = ""  # no_sensor, permission_denied, counter_dead, virtualised, ...
    detail: str = ""
    j_per_inference: float | None = None
    uncertainty_j: float | None = None
    average_w: float | None = None
    kind: str = ""
    scope: str = ""
    source: str = ""


class Request(Part, frozen=True, kw_only=True):
    """One request of a generation: prompts read, then one token of each sequence at a time."""

    prompt_tokens: int  # of each sequence
    #: When each token was known, from the start of the request: n tokens have n entries, and n - 1
    #: intervals between them. The first is the time to first token, the last the whole request.
    token_ns: list[int]
    new_tokens: list[int]  # of each sequence, its end of text included
    stop: list[Literal["length", "end_of_text"]]  # why each sequence ended


class Trial(Part, frozen=True, kw_only=True):
    """Sampled answers to a small task with one right answer: sequences of one request."""

    task: int  # number of the small task
    wanted: str
    prompt_tokens: int
    token_ns: list[int]  # as `Request.token_ns`: a smaller budget is a hard cut of it
    new_tokens: list[int]  # of each sequence, its end of text included
    said: list[list[str]]  # of each sequence, its answer after each of its tokens


class Generate(Part, frozen=True, kw_only=True):
    """Requests of the measured window, one after the other; `samples_ns` holds their lengths."""

    requests: list[Request]
    width: int  # sequences side by side
    positions: int  # room of the cache: prompt and answer of one sequence
    kv_cache_bytes: int | None
    temperature: float  # 0: greedy
    fixed_length: bool  # answers went on past an end of text, to the number of tokens asked for
    trials: list[Trial] = []  # after the window, where the workload asks for `samples`


class Replicate(Part, frozen=True, kw_only=True):
    """One fresh worker process of a cell."""

    index: int
    status: Status
    started_utc: str
    reasons: list[Reason] = []
    import_ns: int | None = None
    load_ns: int | None = None
    first_inference_ns: int | None = None
    warmup: Warmup | None = None
    samples_ns: list[int] = []  # latency of each query in the measured window
    window_ns: int | None = None  # wall time from the first to the last of them
    cpu_ns: int | None = None  # CPU time of the process in the window
    involuntary_switches: int | None = None
    stop: Literal["", "precise", "time", "samples"] = ""  # why the window ended
    paced: Paced | None = None
    offline: Offline | None = None
    generate: Generate | None = None
    unseen: Unseen | None = None
    pipeline: Pipeline | None = None
    device: DeviceTimes | None = None  # transfers and computation apart; null: no such device
    memory: Memory | None = None
    quality: Quality | None = None
    output_check: OutputCheck | None = None
    completion: Completion | None = None
    effective: Effective | None = None
    energy: Energy | None = None
    state_before: list[StateCheck] = []  # only checks that are not ok
    state_after: list[StateCheck] = []
    wall_s: float | None = None  # of the whole process
    parent_cpu_s: float | None = None  # CPU time of the parent meanwhile


class ModelFacts(Part, frozen=True, kw_only=True):
    name: str
    sha256: str  # of the file that ran
    size_bytes: int  # of the file that ran
    source: str  # URI or path it came from
    source_sha256: str
    precision: str  # as asked for by the variant
    build_s: float | None = None  # time to build or quantise it; None: used as it came


class CellFacts(Part, frozen=True, kw_only=True):
    """Which cell. `id` is stable: workload@version/backend/axis=value,.../scenario."""

    id: str
    workload: str
    workload_version: int
    title: str
    task: str
    backend: str
    variant: dict[str, Scalar]
    scenario: str
    rate_per_s: float | None = None


class DeviceFacts(Part, frozen=True, kw_only=True):
    name: str
    facts: dict[str, Any]  # what probes.device found: cpu, memory, os, board, ...
    unknown: dict[str, str] = {}  # fact -> why it is unknown


class RunFacts(Part, frozen=True, kw_only=True):
    id: str
    started_utc: str
    edgebench: str
    python: str
    settings: dict[str, Any]  # as resolved: suite, budget, target, replicates, ...
    command: list[str]  # to repeat it
    seed: int
    packages: dict[str, str]  # distribution -> version, of everything that is installed
    packages_sha256: str


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
    target: float | None = None  # half-width of the interval that was asked for, as a share
    percentile: float = 0.5  # whose interval that is
    replicates: list[Replicate] = []


def encode(record: Record) -> bytes:
    """One line, newline included."""
    return msgspec.json.encode(record) + b"\n"
