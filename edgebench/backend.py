"""The seam between edgebench and a runtime.

A backend is a class that names a runtime, states as data what it can do, says whether it is
available here, and opens sessions. A session is one model loaded with one set of options. The
measuring loop knows nothing else: it calls `session.run(prepared)` and reads its clock.

Importing a backend's module must not import its runtime: that happens in `open`, in a worker.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import msgspec

from edgebench.errors import UnsupportedError
from edgebench.files.number_bounds import Count, DurationNs, Integer, Value
from edgebench.installed_packages import installed_version
from edgebench.operator_times import Profile, Profiler, profile
from edgebench.text.did_you_mean import did_you_mean

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgebench.generation import Drafting, GenerationSession, OwnSpeculation, Room

    Feeds = Mapping[str, NDArray[Any]]
    Outputs = dict[str, NDArray[Any]]

Scalar = str | int | float | bool


@dataclass(frozen=True)
class Option:
    """One setting of a backend that a variant may choose.

    `default=None` means: the runtime decides, and the session reports what it decided.
    """

    name: str
    type: Literal["int", "float", "bool", "str"]
    default: Scalar | None
    help: str
    choices: tuple[Scalar, ...] = ()
    minimum: float | None = None

    def accepts(self, value: Scalar) -> bool:
        """Whether `value` has the type and lies within the choices and the minimum."""
        kinds: dict[str, tuple[type, ...]]
        kinds = {"int": (int,), "float": (int, float), "bool": (bool,), "str": (str,)}
        if not isinstance(value, kinds[self.type]):
            return False
        if isinstance(value, bool) != (self.type == "bool"):  # to Python, True is an int
            return False
        if self.choices and value not in self.choices:
            return False
        return self.minimum is None or (not isinstance(value, str) and value >= self.minimum)


@dataclass(frozen=True)
class Capabilities:
    """Holds what a backend can do, as data: read without importing its runtime."""

    formats: tuple[str, ...]  # model formats it opens, for example ("onnx",)
    precisions: tuple[
        str, ...
    ]  # precisions a variant may ask for, for example ("fp32", "int8-static"); "mixed": by a map, `mixed:HASH`
    options: tuple[Option, ...]
    device_kinds: tuple[str, ...] = ("cpu",)
    #: Whether its decoders read several tokens at once and forget some again (`GenerationSession.rewinds`).
    rewinds: bool = False
    #: What its runtime speculates with by its own means, of "lookup" and "draft" (`Backend.open_speculation`).
    speculates: tuple[str, ...] = ()

    def check(self, model: ModelFile, options: Mapping[str, Scalar]) -> None:
        """For the first line of `open`: raises UnsupportedError for what is not declared here."""
        if model.format not in self.formats:
            near = did_you_mean(model.format, self.formats)
            raise UnsupportedError(
                f"model format {model.format!r} is not supported{near}",
                f"give a model of the format {' or '.join(self.formats) or 'that it opens'}",
            )
        if (
            model.precision.partition(":")[0] not in self.precisions
        ):  # `mixed:HASH` is of the kind mixed
            near = did_you_mean(model.precision, self.precisions)
            raise UnsupportedError(f"precision {model.precision!r} is not supported{near}")
        declared = {option.name: option for option in self.options}
        for name, value in options.items():
            if name not in declared:
                raise UnsupportedError(f"no option {name!r}{did_you_mean(name, declared)}")
            if not declared[name].accepts(value):
                option = declared[name]
                limits = f", one of {list(option.choices)}" if option.choices else ""
                limits += f", at least {option.minimum:g}" if option.minimum is not None else ""
                raise UnsupportedError(f"{name}={value!r} is not of type {option.type}{limits}")


@dataclass(frozen=True)
class Ready:
    """The runtime is installed; `version` is that of its distribution.

    `note` and `fix` are for `doctor`: what a user of this installation should know, and do about it. `builds_only`: it
    converts models here and cannot run them; it is taken only where it is asked for by name. `runs_only`: it runs models in
    its own format, and what converts others to it is not installed.
    """

    version: str
    note: str = ""
    fix: str = ""
    builds_only: bool = False
    runs_only: bool = False


@dataclass(frozen=True)
class Unavailable:
    """The runtime cannot be used here. The three kinds have three different fixes."""

    kind: Literal["unknown", "not_installed", "broken"]
    reason: str
    fix: str


def availability_of(distribution: str, title: str, fix: str) -> Ready | Unavailable:
    """The availability of a runtime, known as `title`, that needs one distribution and nothing else."""
    version = installed_version(distribution)
    if version is None:
        return Unavailable("not_installed", f"{title} is not installed", fix)
    return Ready(version)


@dataclass(frozen=True)
class ModelFile:
    """A model on disk as a backend gets it.

    `precision` is what the variant asked for ("as-is" for a file used as it came); a session reports
    what it executes. `batch` is the size of the leading axis the file was prepared for.
    """

    path: Path
    format: str
    sha256: str
    precision: str = "as-is"
    batch: int = 1
    #: Names that the workload gives inputs and outputs -> names in this file, where they differ.
    names: Mapping[str, str] = field(default_factory=dict)
    #: Input -> its shape, for a file in a runtime's own format whose axes are open.
    shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    #: Names of the inputs and outputs of the ONNX model that this file is or was made from, by place: a
    #: runtime may know them by others, or by none. Empty: there is no such model.
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()


def computes_itself(device: str) -> bool:
    """Whether threads of the process compute, by the name of the device: then, and only then, their CPU
    time is what the work costs."""
    return all(part.startswith(("cpu", "none")) for part in device.split("+"))


class TensorInfo(msgspec.Struct, frozen=True):
    """An input or output of a session.

    `shape` holds None where the runtime leaves an axis open, is empty of a scalar, and is itself None where
    not even the number of axes is known.
    """

    name: str
    dtype: str  # numpy's name: "float32", "int64", ...
    shape: tuple[Integer | None, ...] | None

    @property
    def sizes(self) -> tuple[int, ...] | None:
        """The shape where every size of it is known, else None."""
        known = tuple(size for size in self.shape or () if size is not None)
        return known if self.shape is not None and len(known) == len(self.shape) else None


def named_by_place(
    tensors: Sequence[TensorInfo], names: Sequence[str] = (), kind: str = "output"
) -> tuple[TensorInfo, ...]:
    """The tensors, each under a name that no other has.

    Inputs and outputs are places, and what feeds and answers are kept by are names. A runtime that knows
    all tensors by the model's `names`, in whatever order, keeps them; else the names are `names`, where
    there is one for every place, or the tensors' own. A second tensor of one name is `NAME#2`, and one
    without a name is called by its `kind` and place.
    """
    own = [tensor.name for tensor in tensors]
    by_place = len(names) == len(own) and sorted(names) != sorted(own)
    chosen = names if by_place else own
    unique: dict[str, TensorInfo] = {}
    for place, (tensor, name) in enumerate(zip(tensors, chosen, strict=True)):
        bare = name or f"{kind} {place}"
        tries = (bare if count == 1 else f"{bare}#{count}" for count in itertools.count(1))
        free = next(each for each in tries if each not in unique)
        unique[free] = msgspec.structs.replace(tensor, name=free)
    return tuple(unique.values())


class Effective(msgspec.Struct, frozen=True, kw_only=True):
    """Holds what a session really does, read back from the runtime; None where the runtime does not tell."""

    device: str  # "cpu", "gpu:0", ...
    precision: str | None  # of the compute-heavy nodes: "fp32", "int8", "mixed", ...
    providers: dict[str, Count] | None = None  # executing provider or delegate -> number of nodes
    compute_nodes: dict[str, Count] | None = None  # precision -> number of compute-heavy nodes
    weight_bytes: dict[str, Count] | None = None  # element type -> bytes of weights
    threads: Count | None = None  # threads that compute, the caller's included
    graph_optimization: str | None = None
    inputs: tuple[TensorInfo, ...] = ()
    outputs: tuple[TensorInfo, ...] = ()
    runtime: str = ""  # name and version of the runtime that ran
    #: Whether the runtime reports home while it is measured; "none": this build cannot.
    telemetry: Literal["off", "on", "none"] | None = None
    notes: tuple[str, ...] = ()  # anything a reader must know, for example a reference build
    #: Why this build is measured but never offered as a deployment; empty: it may be deployed.
    not_deployable: str = ""
    #: Every declared option by its own name, except those a field above tells (`threads`,
    #: `telemetry`), and any further setting worth knowing, as the runtime reports them.
    options: dict[str, Value | None] = {}


class DeviceTimes(msgspec.Struct, frozen=True, kw_only=True):
    """Splits the time of a run on a device with its own memory, by the device's own clock.

    Lists have one entry per run; the three parts follow each other. Measured apart from the window,
    so that nothing of it is in a latency.
    """

    host_to_device_ns: list[DurationNs]
    compute_ns: list[DurationNs]
    device_to_host_ns: list[DurationNs]
    layers_ns: dict[
        str, DurationNs
    ] = {}  # mean time of each layer, from runs of its own: profiling slows
    source: str = ""  # whose clock, for example "CUDA events"


class Session(ABC):
    """A model loaded in a runtime. Not thread-safe; closed by `close`."""

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]

    #: Whether `run` may be called from several threads at once: the quality pass then uses idle cores.
    concurrent: bool = False

    #: The measured call: takes what `prepare` returned, returns when the outputs are complete in
    #: memory the caller can read. Keep it thin: it is an attribute so that it can be the runtime's
    #: own bound method.
    run: Callable[[Any], Any]

    @abstractmethod
    def prepare(self, feeds: Feeds) -> Any:
        """Turns one query's inputs into the argument of `run`, outside the measured window."""

    @abstractmethod
    def outputs_of(self, prepared: Any, raw: Any) -> Outputs:
        """Output arrays by name, from what `run(prepared)` returned; safe to keep."""

    @abstractmethod
    def effective(self) -> Effective:
        """Facts read back from the runtime. Called after memory was read: it may be expensive."""

    def device(self) -> str:
        """Returns the device that computes, as in `effective`; must be cheap, since it is asked before anything is timed."""
        return "cpu"

    def reset(self) -> None:  # noqa: B027 - most models keep nothing between calls
        """Forgets what a stateful model kept from earlier calls."""

    def arena_bytes(self) -> int | None:
        """Bytes the runtime's own allocator holds, or None where it does not tell."""
        return None

    def device_memory(self) -> tuple[int | None, str]:
        """Bytes held in a device's memory beside the process's own, and where the number is from.

        (None, why) where such memory is used and nothing tells how much: then the peak is unknown.
        (None, "") where the process holds everything.
        """
        return None, ""

    def device_times(self, prepared: Sequence[Any]) -> DeviceTimes | None:
        """Runs these inputs once more and takes their time apart; None where there is no device."""
        return None

    def profiler(self) -> Profiler:
        """A profiled session beside this one, on the same model with the same options. Its runs may take
        turns with those of another.

        Raises UnsupportedError where the runtime tells no times of operators.
        """
        raise UnsupportedError("its runtime tells no times of operators")

    def profile(self, feeds: Sequence[Feeds], runs: int) -> Profile:
        """Times of every operator in so many runs on these inputs in turn, by a profiler of its own.

        Raises UnsupportedError where the runtime tells none.
        """
        return profile(self.profiler(), feeds, runs)

    def close(self) -> None:  # noqa: B027 - most runtimes need nothing
        """Frees the session."""


class Backend(ABC):
    """A runtime. Subclass it as `BACKEND` in one file of `backends/`, or register an entry point
    in the group `edgebench.backends`."""

    name: ClassVar[str]
    summary: ClassVar[str]
    capabilities: ClassVar[Capabilities]
    #: What it can do with decoders that generate text (`open_generation`); None: it opens none.
    generation: ClassVar[Capabilities | None] = None

    @abstractmethod
    def availability(self) -> Ready | Unavailable:
        """Whether the runtime can be used here, found without importing it."""

    @abstractmethod
    def import_runtime(self) -> str:
        """Imports the runtime and returns its version. Timed as part of the cold start.

        Raises ImportError or OSError where the installation is broken.
        """

    def environment(self, options: Mapping[str, Scalar]) -> Mapping[str, str]:
        """Variables that the runtime reads when it is imported: a worker sets them before that."""
        return {}

    def converts(self, model: ModelFile, options: Mapping[str, Scalar]) -> bool:
        """Whether `open` needs another file than `model`, which `convert` then makes."""
        return False

    def convert(self, model: ModelFile, options: Mapping[str, Scalar], cache: Path) -> ModelFile:
        """The file that `open` is to load, made of the workload's.

        Runs ahead of the measurement, in a process of its own; keeps its result in `cache` and finds
        it there again. Raises UnsupportedError where the model cannot be converted.
        """
        raise UnsupportedError(f"{self.name} converts no models")

    @abstractmethod
    def open(self, model: ModelFile, options: Mapping[str, Scalar]) -> Session:
        """Loads a model. `options` hold only names of `capabilities.options`.

        Raises UnsupportedError where the runtime cannot do what was asked: never falls back.
        """

    def open_generation(
        self, model: ModelFile, options: Mapping[str, Scalar], room: Room
    ) -> GenerationSession:
        """Loads a decoder. `options` hold only names of `generation.options`; `converts` and
        `convert` were asked before, as for `open`.

        Raises UnsupportedError where the runtime cannot do what was asked: never falls back.
        """
        raise UnsupportedError(f"{self.name} generates no text")

    def open_speculation(
        self, model: ModelFile, options: Mapping[str, Scalar], room: Room, drafting: Drafting
    ) -> OwnSpeculation:
        """Loads a decoder that its runtime speculates with by its own means; asked of one whose
        `generation.speculates` says so. The model and its options are those of `open_generation`.

        Raises UnsupportedError where the runtime cannot do what was asked: never falls back.
        """
        raise UnsupportedError(f"{self.name} does not speculate by its own means")

    def close(self) -> None:  # noqa: B027 - most runtimes need nothing
        """Frees what `import_runtime` set up."""
