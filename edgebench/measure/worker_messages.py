"""The messages between the parent and a worker: JSON lines over two pipes."""

from __future__ import annotations

import msgspec

from edgebench.backend import Scalar, TensorInfo
from edgebench.definitions.workload import Quality
from edgebench.preparation.preparation_messages import Reference
from edgebench.record import Replicate
from edgebench.task import InputRange


class DraftFile(msgspec.Struct, frozen=True, kw_only=True):
    """The decoder that drafts, as the backend opens it."""

    path: str
    format: str
    sha256: str
    precision: str
    tokens: str = ""  # file whose tokens must be those of the decoder; "": it is the decoder's own


class GenerateJob(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters of each request to a decoder."""

    prompt_tokens: int
    new_tokens: int
    content: str = ""  # of the answers; "": the task's own
    lookup: int = 0  # tokens at most that a draft is looked up by; 0: no speculation
    draft_tokens: int = 0
    draft: DraftFile | None = None
    draft_confidence: float = 0.0  # 0: as many tokens as there may be are drafted
    turns: int = 0  # of a conversation; 0: each request stands on its own
    reuse: bool = False  # what was read of a conversation is kept from turn to turn


class StreamJob(msgspec.Struct, frozen=True, kw_only=True):
    """How hops of a stream come, and what goes from one to the next."""

    hop_ns: int
    window_ns: int
    lookahead_ns: int
    warm_up_hops: int
    state: dict[str, str]


class Company(msgspec.Struct, frozen=True, kw_only=True):
    """The companions of a worker, which it stops and lets."""

    names: list[str]
    pids: list[int]
    notes: list[str] = []


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a worker needs to measure one replicate of a cell."""

    index: int
    backend: str
    options: dict[str, Scalar]
    model_path: str
    model_format: str
    model_sha256: str
    model_names: dict[str, str] = {}
    model_shapes: dict[str, list[int]] = {}  # of the inputs of a file in a runtime's own format
    model_inputs: list[str] = []
    model_outputs: list[str] = []
    precision: str
    batch: int
    precision_unknown: bool = False  # a file in a runtime's own format, used as it came

    items: str = ""  # npz of the pool's items; "": the worker makes them
    task: str
    task_options: dict[str, object]
    task_data: dict[str, str]
    model_asset: str
    fp32_path: str
    fp32_inputs: list[TensorInfo]
    input_ranges: dict[str, InputRange] = {}
    seed: int

    scenario: str
    rate_per_s: float | None
    #: Of a search for a rate, whose first one is not known: share of what is served one query after the other.
    rate_share: float | None = None
    seeks_rate: bool = False  # a load that the deployment does not serve is a finding, and no fault
    workers: int = 1  # of a server
    runs_per_query: int = 1  # of multi_stream: its samples in batches
    warmup_s: float  # at most
    slice_s: float  # length of the measured window, at most
    sustain_s: float = 0.0  # of the scenario sustained, in the place of slice_s
    min_window_s: float = 0.0  # and at least, whatever the precision: what a meter needs
    target: float  # stop earlier where the interval of the percentile is within half of it
    percentile: float  # 0.5, 0.9, 0.99
    max_samples: int
    min_queries: int = 0  # of the window, where it is ranked by a percentile that needs many

    quality: Quality
    full_quality: bool  # every labelled item, or the cheap output check alone
    thorough: bool = True  # False: what the cell's first replicate established is not repeated
    reference: Reference = Reference()
    parity_limit: float | None = None  # the user's own; None: by what the file computes in
    expected: str  # npz of this cell's outputs: written by its first replicate, read by the others
    memory_limit_bytes: int | None = None
    memory_budget_bytes: int | None = None  # of the axis memory_budget; None: there is none
    memory_budget_by: str = ""  # what holds the process to it
    memory_budget_group: str = ""  # folder of the control group; "": there is none
    #: Its share of the budget, from its start, quality pass included, and the most it may take; None: what
    #: it takes.
    time_s: float | None = None
    most_s: float | None = None
    began_ns: int = 0  # that start, on the monotonic clock; 0: when it begins to measure
    companions: list[Companion] = []  # that the parent starts
    needs_bytes: int | None = (
        None  # memory that it took in a process before; None: it was not measured yet
    )
    company: Company | None = None  # and that run, standing still at first
    stream: StreamJob | None = None
    #: Shapes that a session is given in turn, by input; empty: the natural ones of the task's items. None: the row is
    #: of one shape.
    shape_sequence: list[dict[str, list[int]]] | None = None
    worst_case_s: float = 0.0  # for a search for the slowest input; 0: none
    open_path: str = ""  # the model with its axes open, for those
    loadgen: str | None = (
        None  # folder of LoadGen's logs, "": none is kept; None: LoadGen is not asked for
    )
    generate: GenerateJob | None = None  # None: single inferences


class Companion(msgspec.Struct, frozen=True, kw_only=True):
    """A process that loads the machine beside the worker: by another model, by copying, by holding memory, or else a
    busy core."""

    name: str
    model: Job | None = None
    bytes_per_s: float | None = None
    held_bytes: int | None = None
    needs_bytes: int | None = None  # memory that it is known to take; None: it is not known
    needs: str = ""  # how it is known: "asked for", "measured", "its model's file"


class CompanionReady(msgspec.Struct, frozen=True, kw_only=True):
    """A companion's only word: its load is set up, or cannot be."""

    note: str = ""
    error: str = ""


class Done(msgspec.Struct, frozen=True, tag="done"):
    """The worker's last message."""

    replicate: Replicate
    inputs_sha256: str | None = None
    at_ns: int | None = None  # of the worker's monotonic clock


class Phase(msgspec.Struct, frozen=True, tag="phase"):
    """The worker starts a phase; the parent gives it `limit_s` on top of its time-out."""

    name: str
    limit_s: float = 0.0
    so_far: Done | None = None  # what stands where the budget ends within this phase
    at_ns: int | None = None  # of the worker's monotonic clock


Message = Phase | Done

encode_job = msgspec.json.Encoder().encode
decode_job = msgspec.json.Decoder(Job).decode
encode_message = msgspec.json.Encoder().encode
decode_message = msgspec.json.Decoder(Message).decode
