"""`edgebench.run` and `edgebench.ab`: measurements from a notebook or a script.

Options are those of the commands, with Python's values: their names and meanings stand in `RunOptions` and `ABOptions`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict

from edgebench.ab_test.ab_report_types import GateReport as ABReport
from edgebench.analysis import ties
from edgebench.api import ab_request
from edgebench.api.loading import loaded
from edgebench.api.progress_output import Telling, voice_of
from edgebench.api.results import Names, Results, listed, preferences, without_gc
from edgebench.api.run_options import resolved
from edgebench.api.run_request import Outcome, Start, measure
from edgebench.backend import Scalar
from edgebench.definitions.variant_matrix import value_text
from edgebench.errors import UsageError
from edgebench.planning.run_parameters import DEFAULTS, PERCENTILES
from edgebench.processes.signals import ended_by
from edgebench.text.did_you_mean import did_you_mean

if TYPE_CHECKING:
    from typing_extensions import Unpack

File: TypeAlias = "str | PathLike[str]"
Files: TypeAlias = "File | Sequence[File]"
Sets: TypeAlias = Mapping[str, "Scalar | Sequence[Scalar]"]
Shapes: TypeAlias = Mapping[str, "Sequence[int | Literal['batch']]"]
Ranges: TypeAlias = Mapping[str, "tuple[float, float] | str"]
Duration: TypeAlias = "float | str"  # seconds, or "5min"
Size: TypeAlias = "int | str"  # bytes, or "512MiB"
Share: TypeAlias = "float | str"  # 0.02, or "2%"


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, with what was measured before it: `results` of `edgebench.run`, `report` of `edgebench.ab`."""

    def __init__(
        self, message: str, *, results: Results | None = None, report: ABReport | None = None
    ) -> None:
        super().__init__(message)
        self.results = results
        self.report = report


class RunOptions(TypedDict, total=False):
    """Holds what `edgebench.run` takes beside its parameters; `edgebench run --help` says more of each."""

    suite: str  # of workloads; "quick" where nothing is named
    folders: Files  # with workload definitions of your own
    shapes: Shapes  # of inputs of `model`: {"image": [1, 3, 224, 224]}
    ranges: Ranges  # from which inputs of `model` are drawn: {"ids": (0, 30521), "k": "1|2|4"}, both ends included
    inputs: File  # .npz with inputs for `model`, by input name
    reference: File  # ONNX model that a `model` in a runtime's own format was made from
    parity: Share  # how far outputs of `model` may be off its reference
    task: str  # own task and metric for `model`: "my_task.py:Class"
    memory_budget: Size | Sequence[Size]  # that a process is held to; the axis memory_budget
    set_power_mode: bool  # allows the axis power_mode; needs root
    scenarios: Names  # single_stream, multi_stream, server, stream, offline, sustained, generate
    rate: float  # queries per second of a paced load
    together: bool  # measures each workload also beside the others
    companions: Names  # loads beside every cell: "cpu:2", "memory:8GB/s", "memory:2GB"
    shape_sequence: Names  # also gives one session several shapes: "natural", or "ids=1,16;1,64"
    worst_case: Duration  # also searches for the slowest input, for this time in each process
    loadgen: bool  # has MLPerf's LoadGen drive each session too
    bound: str  # "p99=15ms": has the highest rate of a server sought that keeps it
    wait_quiet: Duration  # for a quiet machine, at most; beside the budget
    cool_to: float  # degrees Celsius of the chip, before each process; beside the budget
    profile: bool  # keeps the times of each cell's operators, from a process of its own
    target: Share  # half-width of the interval that is asked for
    percentile: Literal["p50", "p90", "p99"]  # whose interval is to reach the target
    replicates: int  # fresh processes per cell
    reruns: int  # of replicates that the machine disturbed, per cell
    slice: Duration  # longest window of a process
    sustain: Duration  # longest load of a process under the scenario sustained
    timeout: Duration  # silence that counts as a hang
    memory_limit: Size  # that a process may allocate
    instructions: Literal[
        "callgrind"
    ]  # also counts instructions once per cell, by valgrind's callgrind
    estimate: str  # "cpu-time:2.5" also models energy, at 2.5 W per core
    energy_markers: bool  # bursts of load, for `edgebench energy attach`
    seed: int  # of generated inputs and of the order of cells
    devices: File  # inventory of devices
    device: str  # what this machine is called in the results
    strict: bool  # refuses to measure in an invalid device state
    prefer: Names  # what decides between deployments that are not told apart


class ABOptions(TypedDict, total=False):
    """Holds what `edgebench.ab` takes beside its parameters; `edgebench ab --help` says more of each."""

    suite: str
    folders: Files
    shapes: Shapes  # of inputs of model files
    ranges: Ranges
    inputs: File
    task: str
    build: str  # command that builds the model of a git: revision
    artifact: str  # the file that `build` makes
    repository: File  # for git:
    wait_quiet: Duration
    tau: Share  # change of latency that counts as the same
    delta: Share  # slowdown of latency that "pass" excludes
    parity: Share  # limit between the outputs, or "off"
    timeout: Duration
    memory_limit: Size
    seed: int
    energy: bool  # False reads no meter: pairs take less time


def run(
    workloads: Names = (),
    *,
    model: File | None = None,
    backends: Names | None = None,
    sets: Sets | None = None,
    budget: Duration | None = None,
    out: File | None = DEFAULTS["out"],
    progress: Telling = False,
    **options: Unpack[RunOptions],
) -> Results:
    """Measures workloads, or a model file, on this machine: what `edgebench run` does.

    `workloads` are names of built-in ones or of those in `folders`; where neither they nor `model` are given, the
    suite "quick" runs. `backends` are ort where none is named, or what opens `model`. `sets` are axes of variants, whose
    values multiply: {"threads": [1, 2], "precision": "fp32"}.
    `budget` is the time for the whole run without downloads: seconds, or "60s". Records go to a new file below
    the folder `out` as soon as a cell is complete; with None nothing is kept. `progress` True tells on stderr how
    far it is, a function is called with each line, and False is silent. Further options: `RunOptions`.

    A cell that fails or cannot run is a row that says why, and raises nothing. Raises UsageError for options that
    make no sense, SpecError for a definition, AssetError for a file that cannot be had, StoreError where results
    cannot be written, DeviceStateError under `strict`. Ctrl-C raises Interrupted, whose `results` are what was
    measured; an error that ended the run has `results` as well.
    """
    started_s = time.monotonic()
    rule = preferences(options.get("prefer", ties.DEFAULT))
    asked = {"model": model, "backends": backends, "sets": sets, "budget": budget}
    named = {**asked, "names": listed(workloads)}
    params = _given(options, RunOptions.__annotations__, named, DEFAULTS)
    if params["percentile"] not in PERCENTILES:
        raise UsageError(f"no percentile {params['percentile']!r}", "p50, p90 or p99")
    _check_files(params, "model", "reference", "inputs", "folders")
    command = _call({"workloads": workloads, **asked, "out": out, **options})
    start = Start(command, None if out is None else Path(out), started_s)
    outcome = measure(resolved(params), start, voice_of(progress))
    results = _results(outcome, rule)
    if isinstance(outcome.stopped, KeyboardInterrupt):
        raise Interrupted(_last_words(outcome), results=results) from outcome.stopped
    if outcome.stopped is not None:
        outcome.stopped.results = results
        raise outcome.stopped
    return results


def ab(
    base: Names,
    head: Names,
    workloads: Names = (),
    *,
    sets: Sets | None = None,
    budget: Duration = ab_request.DEFAULTS["budget"],
    out: File | None = ab_request.DEFAULTS["out"],
    progress: Telling = False,
    **options: Unpack[ABOptions],
) -> ABReport:
    """Compares two deployments in the same job, in pairs of fresh processes: what `edgebench ab` does.

    `base` and `head` are one or several of: a model file, a variant ("precision=int8-static"), a backend, runtime
    versions ("onnxruntime==1.30.0"), a git revision ("git:main") or a Python; head is base with what it changes.
    `verdict` of the report is "pass", "improve", "regress", "inconclusive" or "invalid"; changes are shares of the
    base (0.03 is +3 %). Raw pairs go to the folder `out`; None keeps none. Further options: `ABOptions`.

    Raises UsageError and AssetError for what cannot be compared at all. Ctrl-C raises Interrupted, whose `report` is
    of what was measured.
    """
    energy = options.get("energy", True)
    named = {"names": listed(workloads), "sets": sets, "budget": budget, "out": out}
    params = _given(options, ABOptions.__annotations__, named, ab_request.DEFAULTS)
    _check_files(params, "inputs", "folders", "repository")
    sides = {"base": listed(base), "head": listed(head)}
    switches = {"no_energy": not energy, "no_save": out is None}
    report = ab_request.judge({**params, **sides, **switches}, progress)
    for reason in report.reasons:
        if reason.code == "interrupted":
            raise Interrupted(reason.message, report=report)
    return report


def _given(
    options: Mapping[str, Any],
    known: Mapping[str, Any],
    parameters: Mapping[str, Any],
    defaults: Mapping[str, Any],
) -> dict[str, Any]:
    """Options as the command line gives them. Raises UsageError for one that there is not."""
    for name in options:
        if name not in known:
            raise UsageError(
                f"there is no option {name!r}{did_you_mean(name, known)}",
                f"known: {', '.join(known)}",
            )
    params = dict(defaults)
    for name, value in {**options, **parameters}.items():
        if value is not None:
            params["slice_" if name == "slice" else name] = _typed(name, value)
    return params


#: Numbers of the base unit (s, bytes, share), or text with a unit.
_QUANTITIES = (
    "budget", "wait_quiet", "target", "slice", "sustain", "timeout", "memory_limit", "parity", "tau",
    "delta", "worst_case",
)  # fmt: skip
_WHOLE = {"replicates": (1, 10**6), "reruns": (0, 10**6), "seed": (0, 2**31 - 1)}


def _typed(name: str, value: Any) -> Any:
    """A value as a person would type it. Raises UsageError for one that means nothing."""
    match name:
        case "sets":
            return [f"{axis}={_values(values)}" for axis, values in value.items()]
        case "shapes":
            return [f"{name}={_sizes(sizes)}" for name, sizes in value.items()]
        case "ranges":
            return [f"{name}={_range(limits)}" for name, limits in value.items()]
        case "backends" | "scenarios":
            return ",".join(listed(value))
        case "companions" | "shape_sequence" | "memory_budget":
            return [str(each) for each in _several(value)]
        case "folders":
            paths = [value] if isinstance(value, str | PathLike) else value
            return [fspath(path) for path in paths]
        case "rate" if not 0 < value < math.inf:
            raise UsageError(f"rate={value!r} is not above 0", "queries per second: rate=30")
        case _ if name in _WHOLE:
            return _whole(name, value)
        case _ if name in _QUANTITIES and not isinstance(value, str):
            return repr(float(value))
        case _ if isinstance(value, PathLike):
            return fspath(value)
    return value


def _whole(name: str, value: int) -> int:
    least, most = _WHOLE[name]
    if int(value) != value or not least <= value <= most:
        raise UsageError(f"{name}={value!r} is not a whole number from {least} to {most}")
    return int(value)


def _values(values: Scalar | Sequence[Scalar]) -> str:
    """NumPy's scalars, which notebooks are full of, are Python's."""
    listed = _several(values)
    return ",".join(value_text(each.item() if hasattr(each, "item") else each) for each in listed)


def _several(values: Any) -> Iterable[Any]:
    return values if isinstance(values, Iterable) and not isinstance(values, str) else [values]


def _sizes(sizes: Sequence[int | str]) -> str:
    return ",".join(map(str, sizes)) or "scalar"


def _range(limits: tuple[float, float] | str) -> str:
    return limits if isinstance(limits, str) else ",".join(f"{limit}" for limit in limits)


def _call(params: Mapping[str, Any]) -> list[str]:
    """The shell command that makes the same call."""
    told = {
        name: fspath(value) if isinstance(value, PathLike) else value
        for name, value in params.items()
        if value not in (None, ())
    }
    arguments = ", ".join(f"{name}={value!r}" for name, value in told.items())
    return ["python", "-c", f"import edgebench; print(edgebench.run({arguments}))"]


def _check_files(params: Mapping[str, Any], *names: str) -> None:
    """Raises UsageError for a path that leads nowhere."""
    for name in names:
        paths = params[name] if isinstance(params[name], list | tuple) else [params[name]]
        for path in paths:
            if path is not None and not Path(path).exists():
                raise UsageError(
                    f"{name}: {path}: no such file or folder", "give a path that exists"
                )


def _results(outcome: Outcome, prefer: Sequence[str]) -> Results:
    paths = [] if outcome.file is None else [outcome.file]
    with without_gc():
        notes = [outcome.cut_text] if outcome.cut is not None else []
        return Results(loaded(outcome.records, prefer), paths, notes, prefer)


def _last_words(outcome: Outcome) -> str:
    assert isinstance(outcome.stopped, KeyboardInterrupt)
    words = ended_by(outcome.stopped)
    if outcome.file is None:
        return words
    return f"{words}: the results so far are in {outcome.file}; continue with `{outcome.going_on}`"
