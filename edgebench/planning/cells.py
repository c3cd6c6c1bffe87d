"""Plans cells from workloads, backends, variants and scenarios; a cell that cannot run says why.

The plan reads what backends say about themselves and opens none. What a person asked for and nobody
can do is an error; what one backend cannot do is a cell `unsupported`, and stays visible.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple, get_args

import msgspec

from edgebench import registry
from edgebench.backend import Backend, Capabilities, ModelFile, Ready, Scalar, Unavailable
from edgebench.definitions.variant_matrix import expand, select, unique, value_text
from edgebench.definitions.workload import (
    Matrix,
    Model,
    NativeModel,
    ScenarioName,
    SuitePart,
    Variant,
    Workload,
)
from edgebench.errors import UsageError
from edgebench.installed_packages import installed_version
from edgebench.models.file_kind import format_of
from edgebench.models.precision_map import precision_kind
from edgebench.planning.precision_files import with_maps
from edgebench.planning.request_axes import (
    OF_REQUESTS,
    REQUEST_AXES,
    check_together,
    request_reasons,
)
from edgebench.planning.settings import (
    MEMORY_BUDGET,
    OWN_AXES,
    POWER_MODE,
    STREAM,
    Runtime,
    as_options,
    budget_bytes,
    check_sets,
    option_problem,
)
from edgebench.record import MULTI_STREAM, SAMPLES_OF_QUERY, SAMPLES_PER_QUERY, WORKERS, Reason
from edgebench.text.did_you_mean import did_you_mean
from edgebench.words.reason_words import reason

SCENARIOS: tuple[str, ...] = get_args(ScenarioName)
#: Scenarios that send queries at a given rate: in equal periods where it is given, or as a Poisson process.
AT_A_RATE = ("single_stream", "server")
#: Axes that one scenario has of its own.
OF_SCENARIO = {SAMPLES_PER_QUERY: MULTI_STREAM, WORKERS: "server"}
#: Times are whole nanoseconds.
MAX_RATE_PER_S = 1e9
MIN_RATE_PER_S = 1 / 3600  # a run is no longer than that
DEFAULT_BACKEND = "ort"
#: In the place of a backend's name: each one that is installed and opens the model.
ALL_BACKENDS = "all"


class Native(msgspec.Struct, frozen=True):
    """A workload's own file in a format that the cell's backend opens."""

    format: str
    model: NativeModel


class Load(NamedTuple):
    """How queries come: at a rate, or at the highest one that keeps a bound of p99; neither: a closed loop."""

    rate_per_s: float | None = None
    bound_p99_ns: int | None = None


CLOSED_LOOP = Load()


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to measure. `variant` holds precision, batch and every option that is asked for."""

    id: str
    workload: Workload
    backend: str  # the name it has in results
    backend_spec: str  # what `registry.load` takes: the name, or FILE.py:CLASS
    variant: Variant
    scenario: ScenarioName
    rate_per_s: float | None = None
    bound_p99_ns: int | None = None  # of a server whose highest rate within it is sought
    native: Native | None = None  # runs in the place of the ONNX model
    unsupported: Reason | None = None

    @property
    def precision(self) -> str:
        return str(self.variant["precision"])

    @property
    def batch(self) -> int:
        return int(self.variant["batch"])

    @property
    def memory_budget_bytes(self) -> int | None:
        """Returns what the measuring process may hold; None: as much as there is."""
        value = self.variant.get(MEMORY_BUDGET)
        return None if value is None else budget_bytes(value)

    @property
    def options(self) -> Variant:
        """Returns what of the variant goes to the backend."""
        return _options_of(self.variant)


def plan(
    workloads: Sequence[Workload],
    backends: Sequence[str],
    *,
    suite: str | None = None,
    sets: Mapping[str, Sequence[Scalar]] | None = None,
    scenarios: Sequence[str] | None = None,
    load: Load = CLOSED_LOOP,
    set_power_mode: bool = False,
    load_backend: Callable[[str], Backend] = registry.load,
) -> list[Cell]:
    """Plans all cells, in an order that depends on the arguments alone.

    `suite` picks workloads, variants and scenarios; `sets` replaces axes or adds them; `scenarios`
    replaces those of the workloads; `load` is that of `single_stream` (its rate) and `server`; `set_power_mode`
    allows the axis `power_mode`. Raises UsageError for anything asked for that no workload or no backend knows.
    """
    sets = with_maps(sets or {})
    runtimes = _runtimes(backends, load_backend)
    chosen = _in_suite(workloads, suite)
    check_sets(sets, runtimes, any(generates(workload) for workload, _ in chosen))
    _check_scenarios(scenarios)
    every = [
        _cell(workload, runtime, _loaded(variant, scenario), scenario, load)
        for workload, part in chosen
        for runtime in runtimes
        for variant in _variants(workload, part, as_options(sets, runtime))
        for scenario in unique(scenarios or part.scenarios or workload.scenarios)
    ]
    cells = list({cell.id: cell for cell in every}.values())
    _check_queries(cells, sets)
    _check_load(cells, load)
    _check_power_modes(cells, set_power_mode)
    for cell in cells:
        check_together(cell.variant)
    return cells


def _check_queries(cells: Sequence[Cell], sets: Mapping[str, Sequence[Scalar]]) -> None:
    """Raises UsageError for an axis of one scenario where no cell has it."""
    for axis, scenario in OF_SCENARIO.items():
        if axis in sets and not any(cell.scenario == scenario for cell in cells):
            raise UsageError(
                f"--set {axis} applies to the scenario {scenario} only",
                f"add --scenario {scenario}",
            )


def _check_load(cells: Sequence[Cell], load: Load) -> None:
    """Raises UsageError for a rate or a bound that no cell has, and for a server without either."""
    rate_per_s, bound_p99_ns = load
    if rate_per_s is not None and bound_p99_ns is not None:
        message = (
            "--rate and --bound cannot be combined: one gives the rate, the other has it sought"
        )
        raise UsageError(message, "leave one of them out")
    if rate_per_s is not None and rate_per_s > MAX_RATE_PER_S:
        raise UsageError(
            f"--rate {rate_per_s:g} cannot be scheduled: it is more than one query a nanosecond",
            f"give at most {MAX_RATE_PER_S:g} queries a second",
        )
    if rate_per_s is not None and rate_per_s < MIN_RATE_PER_S:
        raise UsageError(
            f"--rate {rate_per_s:g} cannot be scheduled: it is less than one query an hour",
            f"give at least {MIN_RATE_PER_S:.3g} queries a second",
        )
    if rate_per_s is not None and all(cell.rate_per_s != rate_per_s for cell in cells):
        raise UsageError(
            "--rate applies to the scenarios single_stream and server only",
            "add --scenario server (queries arrive at random) or single_stream (in equal periods)",
        )
    if bound_p99_ns is not None and all(cell.bound_p99_ns is None for cell in cells):
        raise UsageError("--bound applies to the scenario server only", "add --scenario server")
    if load == (None, None) and any(cell.scenario == "server" for cell in cells):
        raise UsageError(
            "the scenario server needs the rate at which queries arrive",
            "add --rate 100 (a second), or --bound p99=15ms to find the highest that keeps it",
        )


def _check_power_modes(cells: Sequence[Cell], allowed: bool) -> None:
    """A setting of the machine is changed only for who says so twice: by the axis and the switch."""
    asked = any(POWER_MODE in cell.variant for cell in cells)
    if asked and not allowed:
        raise UsageError(
            "the axis power_mode changes the machine's power mode, which needs your consent",
            "add --set-power-mode (it needs root; the former mode is restored), or set the mode "
            "yourself and leave power_mode out",
        )
    if allowed and not asked:
        raise UsageError(
            "--set-power-mode needs the axis power_mode",
            "add --set power_mode=0,1 (numbers or names)",
        )


def known_axes(backends: Sequence[str] = ()) -> set[str]:
    """Every axis that a workload may have: ours, and the options of all backends, `backends` among them."""
    known = [*registry.every(), *(registry.load(spec) for spec in backends if spec != ALL_BACKENDS)]
    options = {name for backend in known for name in Runtime("", backend, None).options}
    return {*OWN_AXES, *options}


def cell_id(workload: Workload, backend: str, variant: Variant, scenario: str, load: Load) -> str:
    """`workload@version/backend/axis=value,axis=value/scenario`, with `@rate` where it is paced, and
    `@p99=15ms` where the rate is sought."""
    axes = ",".join(f"{axis}={value_text(variant[axis])}" for axis in sorted(variant))
    pace = "" if load.rate_per_s is None else f"@{load.rate_per_s:g}"
    pace += "" if load.bound_p99_ns is None else f"@p99={load.bound_p99_ns / 1e6:g}ms"
    return f"{workload.name}@{workload.version}/{backend}/{axes}/{scenario}{pace}"


# What runs where


def _runtimes(specs: Sequence[str], load_backend: Callable[[str], Backend]) -> list[Runtime]:
    if not specs:
        raise UsageError("no backend is chosen", "`edgebench list backends` shows all")
    runtimes: dict[str, Runtime] = {}
    for spec in unique(specs):
        backend = load_backend(spec)
        state = backend.availability()
        unavailable = state if isinstance(state, Unavailable) else None
        if backend.name in runtimes:
            other = runtimes[backend.name].spec
            raise UsageError(f"{other} and {spec} are both called {backend.name!r}")
        runtimes[backend.name] = Runtime(registry.absolute(spec), backend, unavailable)
    return list(runtimes.values())


def _in_suite(workloads: Sequence[Workload], suite: str | None) -> list[tuple[Workload, SuitePart]]:
    if suite is None:
        return [(workload, SuitePart()) for workload in workloads]
    chosen = [(w, w.suites[suite]) for w in workloads if suite in w.suites]
    if not chosen:
        known = {name for workload in workloads for name in workload.suites}
        raise UsageError(f"no workload is in a suite {suite!r}{did_you_mean(suite, known)}")
    return chosen


def _variants(
    workload: Workload, part: SuitePart, sets: Mapping[str, Sequence[Scalar]]
) -> list[Variant]:
    """The workload's variants with the axes of `sets` replaced; excluded ones stay excluded."""
    as_it_comes = "as-is" if workload.model.builder is None else "fp32"
    defaults: dict[str, list[Scalar]] = {"precision": [as_it_comes], "batch": [1]}
    if generates(workload):
        defaults |= {axis: [value] for axis, value in REQUEST_AXES.items()}
    else:  # what is said of requests is for the other workloads
        sets = {axis: values for axis, values in sets.items() if axis not in OF_REQUESTS}
    axes = {axis: list(values) for axis, values in sets.items()}
    matrix = Matrix(
        axes={**defaults, **workload.matrix.axes, **axes},
        include=[_without(point, sets) for point in workload.matrix.include],
        exclude=workload.matrix.exclude,
    )
    variants = expand(matrix)
    if part.variants:
        variants = select(variants, [_without(point, sets) for point in part.variants])
    if not variants:
        raise UsageError(
            f"workload {workload.name!r} excludes every variant that is asked for",
            "see `exclude` in its matrix, or leave a --set out",
        )
    return variants


def _loaded(variant: Variant, scenario: str) -> Variant:
    """The variant with the axes that its scenario has of its own, and without those of others."""
    others = {
        axis: value
        for axis, value in variant.items()
        if OF_SCENARIO.get(axis, scenario) == scenario
    }
    return {SAMPLES_PER_QUERY: SAMPLES_OF_QUERY, **others} if scenario == MULTI_STREAM else others


def _without(point: Variant, axes: Mapping[str, Sequence[Scalar]]) -> Variant:
    return {axis: value for axis, value in point.items() if axis not in axes}


def _cell(
    workload: Workload,
    runtime: Runtime,
    variant: Variant,
    scenario: str,
    asked: Load,
) -> Cell:
    name = runtime.backend.name
    load = Load(
        _rate(workload, scenario, asked),
        asked.bound_p99_ns if scenario == "server" else None,
    )
    return Cell(
        id=cell_id(workload, name, variant, scenario, load),
        workload=workload,
        backend=name,
        backend_spec=runtime.spec,
        variant=variant,
        scenario=msgspec.convert(scenario, ScenarioName),
        rate_per_s=load.rate_per_s,
        bound_p99_ns=load.bound_p99_ns,
        native=_native(workload.model, runtime, variant),
        unsupported=next(_reasons(workload, runtime, variant, scenario), None),
    )


def _rate(workload: Workload, scenario: str, asked: Load) -> float | None:
    """At which queries arrive: that of the stream itself, or the one that is asked for."""
    if scenario == STREAM:
        return None if workload.stream is None else 1 / workload.stream.hop_s
    return asked.rate_per_s if scenario in AT_A_RATE else None


def generates(workload: Workload) -> bool:
    """Whether a workload's task makes text, rather than single inferences."""
    return "generate" in workload.scenarios


def _native(model: Model, runtime: Runtime, variant: Variant) -> Native | None:
    """The makers' own file for this variant, where there is one that the backend opens."""
    for form, native in model.native.items():
        fits = native.precision == variant["precision"] and variant["batch"] == 1
        if fits and form in runtime.backend.capabilities.formats:
            return Native(form, native)
    return None


# Why a cell cannot run


def _reasons(
    workload: Workload, runtime: Runtime, variant: Variant, scenario: str
) -> Iterator[Reason]:
    backend, can = runtime.backend.name, runtime.capabilities(scenario)
    if runtime.unavailable is not None:
        why = runtime.unavailable
        yield Reason(code=f"backend_{why.kind}", message=why.reason, fix=why.fix)
        return
    missing = [name for name in workload.requires if installed_version(name) is None]
    if missing:
        names = {"packages": ", ".join(missing), "names": " ".join(missing)}
        yield reason("requirement_missing", workload=workload.name, **names)
    if generates(workload) != (scenario == "generate"):
        key = "unsupported_scenario." + ("only_text" if generates(workload) else "no_text_task")
        yield reason(key, workload=workload.name, scenarios=",".join(workload.scenarios))
        return
    if scenario == STREAM and workload.stream is None:
        yield reason("unsupported_scenario.no_stream", workload=workload.name)
        return
    if can is None:
        able = _able(lambda found: found.generation is not None)
        yield reason("unsupported_scenario.no_text", backend=backend, able=able)
        return
    form = model_format(workload.model)
    if form not in can.formats and not _converts(workload, runtime, variant, form):
        able = _able(lambda found: form in _formats(found, scenario))
        yield reason("unsupported_format", backend=backend, form=form, able=able)
    yield from _precision_reasons(workload, backend, can, variant)
    if generates(workload):
        temperature = workload.options.get("temperature", 0.0)
        able = _able(lambda found: found.generation is not None and found.generation.rewinds)
        yield from request_reasons(backend, can, variant, temperature, able)
    yield from _query_reasons(scenario, variant)
    for axis, value in _options_of(variant).items():
        yield from _option_reasons(runtime, scenario, axis, value)


def _able(can: Callable[[Backend], bool]) -> str:
    """Which backends to name instead."""
    names = [backend.name for backend in _all_backends() if backend.name != "null" and can(backend)]
    return f"--backend {' or '.join(names)}" if names else "`edgebench list backends` shows all"


@cache
def _all_backends() -> list[Backend]:
    return registry.every()


def opening(workload: Workload, installed: bool = True) -> list[str]:
    """Names of the backends that open a workload's model: the usual one, where it does or nobody else
    does, else those that are installed here, else all. Without `installed` all at once."""
    able = _that_open([workload])
    names = [backend.name for backend in able]
    if not able or DEFAULT_BACKEND in names:
        return [DEFAULT_BACKEND]
    return (_names_of_ready(able) if installed else []) or names


def expanded(
    backends: Sequence[str], workloads: Sequence[Workload], installed: bool = True
) -> list[str]:
    """Backends by name, `all` among them as each one that is installed here and opens the model of a workload; without
    `installed` as each one that opens it. Raises UsageError where none does."""
    if ALL_BACKENDS not in backends:
        return [*backends]
    able = _that_open(workloads)
    ready = _names_of_ready(able) if installed else [backend.name for backend in able]
    if not ready:
        raise UsageError(
            "--backend all: nothing that is installed opens the model",
            "`edgebench list backends` shows what each backend needs",
        )
    listed = (ready if name == ALL_BACKENDS else [name] for name in backends)
    return list(dict.fromkeys(itertools.chain.from_iterable(listed)))


def _that_open(workloads: Sequence[Workload]) -> list[Backend]:
    """Backends that open the model of one of the workloads, or convert it; `null` measures nothing."""
    return [
        backend
        for backend in _all_backends()
        if backend.name != "null" and any(_opens(backend, workload) for workload in workloads)
    ]


def _opens(backend: Backend, workload: Workload) -> bool:
    form = model_format(workload.model)
    as_it_is: Variant = {"precision": "as-is", "batch": 1}
    for scenario in workload.scenarios:
        if form in _formats(backend, scenario):
            return True
        if scenario != "generate" and _converts(
            workload, Runtime("", backend, None), as_it_is, form
        ):
            return True
    return False


def _names_of_ready(backends: Sequence[Backend]) -> list[str]:
    return [backend.name for backend in backends if _runs(backend)]


def _runs(backend: Backend) -> bool:
    state = backend.availability()
    return isinstance(state, Ready) and not state.builds_only


def _formats(backend: Backend, scenario: str) -> tuple[str, ...]:
    can = backend.generation if scenario == "generate" else backend.capabilities
    return () if can is None else can.formats


def _converts(workload: Workload, runtime: Runtime, variant: Variant, form: str) -> bool:
    model = ModelFile(
        path=Path(f"model.{form}"),
        format=form,
        sha256=workload.model.sha256,
        precision=str(variant["precision"]),
        batch=int(variant["batch"]),
    )
    return runtime.backend.converts(model, _options_of(variant))


def _options_of(variant: Variant) -> Variant:
    return {axis: value for axis, value in variant.items() if axis not in OWN_AXES}


def _precision_reasons(
    workload: Workload, backend: str, can: Capabilities, variant: Variant
) -> Iterator[Reason]:
    precision, batch = variant["precision"], variant["batch"]
    if precision_kind(precision) not in can.precisions:
        hint = did_you_mean(str(precision), can.precisions)
        yield reason("unsupported_precision", backend=backend, precision=precision, hint=hint)
    shapes = workload.model.shapes.values()
    if batch != 1 and shapes and not any("batch" in shape for shape in shapes):
        yield reason("unsupported_batch.fixed", workload=workload.name)


def _query_reasons(scenario: str, variant: Variant) -> Iterator[Reason]:
    samples, batch = int(variant.get(SAMPLES_PER_QUERY, 0)), int(variant["batch"])
    if scenario == STREAM and batch != 1:
        yield reason("unsupported_batch.stream")
    if scenario == MULTI_STREAM and samples % batch:
        whole = batch * (samples // batch + 1)
        yield reason("unsupported_batch.multi_stream", samples=samples, batch=batch, whole=whole)


def _option_reasons(runtime: Runtime, scenario: str, axis: str, value: Scalar) -> Iterator[Reason]:
    option = runtime.options_for(scenario).get(axis)
    if option is None:
        yield reason("unsupported_option.unknown", backend=runtime.backend.name, axis=axis)
        return
    if problem := option_problem(option, value):
        yield reason("unsupported_option.value", backend=runtime.backend.name, problem=problem)


def model_format(model: Model) -> str:
    """The format a backend gets: builders write ONNX, other models say it in their file's name."""
    if model.builder is not None:
        return "onnx"
    return format_of(model.uri) or "onnx"


def _check_scenarios(scenarios: Sequence[str] | None) -> None:
    for scenario in scenarios or ():
        if scenario not in SCENARIOS:
            raise UsageError(f"no scenario {scenario!r}{did_you_mean(scenario, SCENARIOS)}")
