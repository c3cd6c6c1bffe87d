"""The frozen types of a workload definition.

`edgebench schema workload` prints these types as JSON Schema; `workload_loader` fills them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from edgebench.backend import Scalar

Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=64)]
TaskName = Annotated[
    str, Meta(pattern=r"^([a-z0-9][a-z0-9._-]{0,63}|file:[^:]+\.py:[A-Za-z_][A-Za-z0-9_]*)$")
]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
Variant = dict[str, Scalar]
ScenarioName = Literal[
    "single_stream", "multi_stream", "server", "stream", "offline", "sustained", "generate"
]


class Spec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of all types of a definition file."""


class Asset(Spec, frozen=True, kw_only=True):
    """A file or folder by URI and content hash.

    `uri` is `pypi:NAME==VERSION!path/inside` (a trailing `/` takes the folder), `https:`, `hf:` or
    `file:`. `sha256` is of the file's content; of a folder, of its listing (see `assets`).
    """

    uri: Annotated[str, Meta(pattern=r"^(pypi|https|hf|file):")]
    sha256: Sha256
    license: str  # SPDX expression, or in words what is known
    note: str = ""  # anything a user must know of the licence or the origin


class NativeModel(Asset, frozen=True, kw_only=True):
    """The same network as its makers' own file in a runtime's format: for backends that open it.

    Held against the same fp32 reference as every other file, and used at batch 1.
    """

    precision: str = "fp32"  # the variant it stands for
    #: Name in the ONNX model -> name in this file, where the two differ.
    inputs: dict[str, str] = {}
    outputs: dict[str, str] = {}


class Model(Asset, frozen=True, kw_only=True):
    """The model of a workload: an ONNX file, or a weights file and the builder that makes one of it."""

    builder: Name | None = None  # module in edgebench.models with a function `build`
    #: Input name -> shape; the word "batch" marks the axis that the variant's batch fixes.
    shapes: dict[str, list[int | Literal["batch"]]] = {}
    native: dict[Name, NativeModel] = {}  # by format, as backends name it ("tflite")


class Limit(Spec, frozen=True, kw_only=True):
    """The limit of a quality metric: a floor or a ceiling (the loader checks that one is given)."""

    floor: float | None = None  # of a metric where higher is better
    ceiling: float | None = None  # of a metric where lower is better


#: What a model without labels is judged by: how far it is from its fp32 reference.
PARITY_METRIC = "parity_error"


class Quality(Limit, frozen=True, kw_only=True):
    """The metric a workload is judged by, and further ones that must hold as well."""

    metric: str
    also: dict[str, Limit] = {}  # an empty limit ({}) reports the metric without a demand


class Matrix(Spec, frozen=True, kw_only=True):
    """Variant axes that multiply, points to add and points to leave out.

    A point of `exclude` removes every variant that has all of its values.
    """

    axes: dict[str, list[Scalar]] = {}
    include: list[Variant] = []
    exclude: list[Variant] = []


class Stream(Spec, frozen=True, kw_only=True):
    """A model that hears or sees without end, a hop at a time (scenario `stream`)."""

    hop_s: Annotated[float, Meta(ge=1e-6, le=60)]  # new input that each answer is for
    #: Input that an answer waits for, from its oldest new sample on; where nothing is said, the hop.
    window_s: Annotated[float, Meta(gt=0, le=60)] | None = None
    lookahead_s: Annotated[float, Meta(ge=0, le=60)] = 0.0  # and beyond that
    warm_up_hops: Annotated[int, Meta(ge=0, le=10**6)] = (
        0  # until an answer rests on real history alone
    )
    state: dict[str, str] = {}  # input -> the output that is its next value


class SuitePart(Spec, frozen=True, kw_only=True):
    """The part of a workload that a suite runs; without `variants`, the whole matrix."""

    variants: list[Variant] = []
    scenarios: list[ScenarioName] = []  # none: the workload's own


class Workload(Spec, frozen=True, kw_only=True):
    """A model, its task and data, and the quality that its answers must have."""

    name: Name
    version: Annotated[int, Meta(ge=1)]
    title: str
    task: TaskName  # module in edgebench.tasks, or file:FILE.py:CLASS beside a definition of one's own
    model: Model
    data: dict[Name, Asset] = {}
    options: dict[str, Any] = {}  # of the task
    quality: Quality
    scenarios: list[ScenarioName] = msgspec.field(default_factory=lambda: ["single_stream"])
    matrix: Matrix = msgspec.field(default_factory=Matrix)
    stream: Stream | None = None  # None: its inputs are items of their own
    #: What runs beside it in the application: loads such as cpu:2, memory:8GB/s or memory:2GB, and workloads of the same run.
    companions: list[str] = []
    suites: dict[Name, SuitePart] = {}
    requires: list[str] = []  # distributions beyond the core, as in the extra `full`
    findings: str = ""  # what is known of it, the bad news included
