"""Workloads x backends x variants x scenarios -> cells, each with the reason where it cannot run.

The plan reads what backends say about themselves and opens none. What a person asked for and nobody
can do is an error; what one backend cannot do is a cell `unsupported`, and stays visible.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

from edgebench import registry
from edgebench.backend import Backend, Capabilities, ModelFile, Option, Scalar, Unavailable
from edgebench.definitions.variant_matrix import expand, select, unique, value_text
from edgebench.definitions.workload import (
    PARITY_METRIC,
    Asset,
    Limit,
    Matrix,
    Model,
    NativeModel,
    Quality,
    ScenarioName,
    SuitePart,
    Variant,
    Workload,
)
from edgebench.errors import UsageError
from edgebench.installed_packages import installed_version
from edgebench.models.file_kind import format_of
from edgebench.record import Reason
from edgebench.tasks import task_file
from edgebench.text.did_you_mean import did_you_mean

PRECISIONS = ("fp32", "int8-dynamic", "int8-static", "as-is")
MODEL_AXES = ("precision", "batch")  # fixed in the model file
POWER_MODE = "power_mode"  # a setting of the machine; every other axis is a backend option
#: Axes of a request in the scenario `generate`, and what it is where nothing is said. Its `batch` is
#: the number of sequences side by side.
REQUEST_AXES: dict[str, int] = {"prompt_tokens": 128, "new_tokens": 32}
SCENARIOS: tuple[str, ...] = get_args(ScenarioName)
SHAPED_FORMATS = ("onnx", "tflite")  # whose inputs may have open axes
GENERATE = "generate"  # the task of decoders, and the scenario
#: A user's own decoder is held against its fp32 reference; 0.1 nat is far beyond rounding.
_OWN_DECODER = Quality(
    metric="kl_divergence",
    ceiling=0.1,
    also={"greedy_agreement": Limit(), "exact_match": Limit()},
)
_ELSEWHERE = {"scenario": "--scenario", "backend": "--backend", "rate": "--rate"}


class Native(msgspec.Struct, frozen=True):
    """A workload's own file in a format that the cell's backend opens."""

    format: str
    model: NativeModel


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to measure. `variant` holds precision, batch and every option that is asked for."""

    id: str
    workload: Workload
    backend: str  # the name it has in results
    backend_spec: str  # what `registry.load` takes: the name, or FILE.py:CLASS
    variant: Variant
    scenario: ScenarioName
    rate_per_s: float | None = None
    native: Native | None = None  # runs in the place of the ONNX model
    unsupported: Reason | None = None

    @property
    def precision(self) -> str:
        return str(self.variant["precision"])

    @property
    def batch(self) -> int:
        return int(self.variant["batch"])

    @property
    def options(self) -> Variant:
        """What of the variant goes to the backend."""
        return _options_of(self.variant)


@dataclass(frozen=True)
class _Runtime:
    """A backend as the plan sees it."""

    spec: str
    backend: Backend
    unavailable: Unavailable | None

    @property
    def options(self) -> dict[str, Option]:
        """All of its options, those for decoders included; the plain ones where both have a name."""
        return {**self.options_for("generate"), **self.options_for("single_stream")}

    def capabilities(self, scenario: str) -> Capabilities | None:
        """What it can do in a scenario; None: nothing."""
        if scenario == "generate":
            return self.backend.generation
        return self.backend.capabilities

    def options_for(self, scenario: str) -> dict[str, Option]:
        can = self.capabilities(scenario)
        return {} if can is None else {option.name: option for option in can.options}


def plan(
    workloads: Sequence[Workload],
    backends: Sequence[str],
    *,
    suite: str | None = None,
    sets: Mapping[str, Sequence[Scalar]] | None = None,
    scenarios: Sequence[str] | None = None,
    rate_per_s: float | None = None,
    set_power_mode: bool = False,
    load_backend: Callable[[str], Backend] = registry.load,
) -> list[Cell]:
    """All cells, in an order that depends on the arguments alone.

    `suite` picks workloads, variants and scenarios; `sets` replaces axes or adds them; `scenarios`
    replaces those of the workloads; `rate_per_s` paces `single_stream`; `set_power_mode` allows the
    axis `power_mode`. Raises UsageError for anything asked for that no workload or no backend knows.
    """
    sets = sets or {}
    runtimes = _runtimes(backends, load_backend)
    chosen = _in_suite(workloads, suite)
    _check_sets(sets, runtimes, any(generates(workload) for workload, _ in chosen))
    _check_scenarios(scenarios)
    cells = [
        _cell(workload, runtime, variant, scenario, rate_per_s)
        for workload, part in chosen
        for runtime in runtimes
        for variant in _variants(workload, part, _as_options(sets, runtime))
        for scenario in unique(scenarios or part.scenarios or workload.scenarios)
    ]
    if rate_per_s is not None and all(cell.rate_per_s is None for cell in cells):
        raise UsageError("a rate paces single_stream only", "add --scenario single_stream")
    _check_power_modes(cells, set_power_mode)
    return cells


def _check_power_modes(cells: Sequence[Cell], allowed: bool) -> None:
    """A setting of the machine is changed only for who says so twice: by the axis and the switch."""
    asked = any(POWER_MODE in cell.variant for cell in cells)
    if asked and not allowed:
        raise UsageError(
            "power_mode is an axis, and the machine's power mode is set only on request",
            "add --set-power-mode (it needs root; the former mode is put back), or set the mode "
            "yourself and leave power_mode out",
        )
    if allowed and not asked:
        raise UsageError(
            "--set-power-mode without a power mode", "add --set power_mode=0,1 (numbers or names)"
        )


def known_axes(backends: Sequence[str] = ()) -> set[str]:
    """Every axis that a workload may have: ours, and the options of all backends, `backends` among them."""
    found = [*registry.every(), *(registry.load(spec) for spec in backends)]
    options = {name for backend in found for name in _Runtime("", backend, None).options}
    return {*MODEL_AXES, POWER_MODE, *REQUEST_AXES, *options}


def cell_id(
    workload: Workload, backend: str, variant: Variant, scenario: str, rate_per_s: float | None
) -> str:
    """`workload@version/backend/axis=value,axis=value/scenario`, with `@rate` where it is paced."""
    axes = ",".join(f"{axis}={value_text(variant[axis])}" for axis in sorted(variant))
    pace = "" if rate_per_s is None else f"@{rate_per_s:g}"
    return f"{workload.name}@{workload.version}/{backend}/{axes}/{scenario}{pace}"


# What runs where


def _runtimes(specs: Sequence[str], load_backend: Callable[[str], Backend]) -> list[_Runtime]:
    if not specs:
        raise UsageError("no backend is chosen", "`edgebench list backends` shows all")
    runtimes: dict[str, _Runtime] = {}
    for spec in unique(specs):
        backend = load_backend(spec)
        found = backend.availability()
        unavailable = found if isinstance(found, Unavailable) else None
        if backend.name in runtimes:
            other = runtimes[backend.name].spec
            raise UsageError(f"{other} and {spec} are both called {backend.name!r}")
        runtimes[backend.name] = _Runtime(registry.absolute(spec), backend, unavailable)
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
        sets = {axis: values for axis, values in sets.items() if axis not in REQUEST_AXES}
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


def _without(point: Variant, axes: Mapping[str, Sequence[Scalar]]) -> Variant:
    return {axis: value for axis, value in point.items() if axis not in axes}


def _cell(
    workload: Workload,
    runtime: _Runtime,
    variant: Variant,
    scenario: str,
    rate_per_s: float | None,
) -> Cell:
    name = runtime.backend.name
    rate = rate_per_s if scenario == "single_stream" else None
    return Cell(
        id=cell_id(workload, name, variant, scenario, rate),
        workload=workload,
        backend=name,
        backend_spec=runtime.spec,
        variant=variant,
        scenario=msgspec.convert(scenario, ScenarioName),
        rate_per_s=rate,
        native=_native(workload.model, runtime, variant),
        unsupported=next(_reasons(workload, runtime, variant, scenario), None),
    )


def generates(workload: Workload) -> bool:
    """Whether a workload's task makes text, rather than single inferences."""
    return "generate" in workload.scenarios


def _native(model: Model, runtime: _Runtime, variant: Variant) -> Native | None:
    """The makers' own file for this variant, where there is one that the backend opens."""
    for form, native in model.native.items():
        fits = native.precision == variant["precision"] and variant["batch"] == 1
        if fits and form in runtime.backend.capabilities.formats:
            return Native(form, native)
    return None


# Why a cell cannot run


def _reasons(
    workload: Workload, runtime: _Runtime, variant: Variant, scenario: str
) -> Iterator[Reason]:
    backend, can = runtime.backend.name, runtime.capabilities(scenario)
    if runtime.unavailable is not None:
        why = runtime.unavailable
        yield Reason(code=f"backend_{why.kind}", message=why.reason, fix=why.fix)
        return
    missing = [name for name in workload.requires if installed_version(name) is None]
    if missing:
        names = " ".join(missing)
        yield Reason(
            code="requirement_missing",
            message=f"workload {workload.name} needs {', '.join(missing)}",
            fix=f"pip install {names}",
        )
    if generates(workload) != (scenario == "generate"):
        what = "only the scenario generate" if generates(workload) else "not the scenario generate"
        message = f"the task of {workload.name} knows {what}"
        fix = f"--scenario {','.join(workload.scenarios)}"
        yield Reason(code="unsupported_scenario", message=message, fix=fix)
        return
    if can is None:
        able = _able(lambda found: found.generation is not None)
        message = f"{backend} generates no text"
        yield Reason(code="unsupported_scenario", message=message, fix=able)
        return
    form = model_format(workload.model)
    if form not in can.formats and not _converts(workload, runtime, variant, form):
        able = _able(lambda found: form in _formats(found, scenario))
        message = f"{backend} opens no {form} models"
        yield Reason(code="unsupported_format", message=message, fix=able)
    yield from _precision_reasons(workload, backend, can, variant)
    for axis, value in _options_of(variant).items():
        yield from _option_reasons(runtime, scenario, axis, value)


def _able(can: Callable[[Backend], bool]) -> str:
    """Which backends to name instead."""
    names = [found.name for found in _all_backends() if found.name != "null" and can(found)]
    return f"--backend {' or '.join(names)}" if names else "`edgebench list backends` shows all"


@cache
def _all_backends() -> list[Backend]:
    return registry.every()


def _formats(backend: Backend, scenario: str) -> tuple[str, ...]:
    can = backend.generation if scenario == "generate" else backend.capabilities
    return () if can is None else can.formats


def _converts(workload: Workload, runtime: _Runtime, variant: Variant, form: str) -> bool:
    model = ModelFile(
        path=Path(f"model.{form}"),
        format=form,
        sha256=workload.model.sha256,
        precision=str(variant["precision"]),
        batch=int(variant["batch"]),
    )
    return runtime.backend.converts(model, _options_of(variant))


def _options_of(variant: Variant) -> Variant:
    ours = (*MODEL_AXES, POWER_MODE, *REQUEST_AXES)
    return {axis: value for axis, value in variant.items() if axis not in ours}


def _precision_reasons(
    workload: Workload, backend: str, can: Capabilities, variant: Variant
) -> Iterator[Reason]:
    precision, batch = variant["precision"], variant["batch"]
    if precision not in can.precisions:
        hint = did_you_mean(str(precision), can.precisions)
        message = f"{backend} has no precision {precision!r}{hint}"
        yield Reason(code="unsupported_precision", message=message)
    shapes = workload.model.shapes.values()
    if batch != 1 and shapes and not any("batch" in shape for shape in shapes):
        yield Reason(
            code="unsupported_batch",
            message=f"the inputs of {workload.name} have fixed shapes: no axis is the batch",
            fix='write the word "batch" for that axis in the shapes',
        )


def _option_reasons(runtime: _Runtime, scenario: str, axis: str, value: Scalar) -> Iterator[Reason]:
    option = runtime.options_for(scenario).get(axis)
    if option is None:
        message = f"{runtime.backend.name} has no option {axis!r}"
        yield Reason(code="unsupported_option", message=message)
        return
    message = _option_problem(option, value)
    if message:
        yield Reason(code="unsupported_option", message=f"{runtime.backend.name}: {message}")


def model_format(model: Model) -> str:
    """The format a backend gets: builders write ONNX, other models say it in their file's name."""
    if model.builder is not None:
        return "onnx"
    return format_of(model.uri) or "onnx"


# What --set may say


def parse_sets(items: Sequence[str]) -> dict[str, list[Scalar]]:
    """`["threads=1,2", "arena=false"]` -> `{"threads": [1, 2], "arena": [False]}`.

    A comma inside quotes, braces or brackets belongs to the value; a value in double quotes is text.
    Repeating an axis adds values. Raises UsageError.
    """
    sets: dict[str, list[Scalar]] = {}
    for item in items:
        axis, equals, text = item.partition("=")
        axis = axis.strip()
        if not axis or not equals:
            raise UsageError(f"--set {item!r} is no axis and values", "write it like threads=1,2")
        values = [value.strip() for value in _split(text)]
        if "" in values:
            raise UsageError(f"--set {item!r} has an empty value", "write it like threads=1,2")
        sets[axis] = unique([*sets.get(axis, []), *map(_scalar, values)])
    return sets


def _split(text: str) -> list[str]:
    parts, depth, quoted = [""], 0, False
    for letter in text:
        quoted ^= letter == '"'
        depth += (letter in "{[") - (letter in "}]") if not quoted else 0
        if letter == "," and depth <= 0 and not quoted:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def _scalar(text: str) -> Scalar:
    if len(text) > 1 and text[0] == text[-1] == '"':
        return text[1:-1]
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if re.fullmatch(r"[-+]?[0-9]+", text):
        return int(text)
    if re.fullmatch(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[-+]?[0-9]+)?", text, re.IGNORECASE):
        return float(text)
    return text


def _check_sets(
    sets: Mapping[str, Sequence[Scalar]], runtimes: Sequence[_Runtime], generating: bool
) -> None:
    """Raises UsageError for what no chosen backend can do, whatever the workload."""
    able = [runtime for runtime in runtimes if runtime.backend.capabilities.formats]
    for axis, values in sets.items():
        if axis == "precision":
            _check_precisions(values, able)
        elif axis == "batch" or (axis in REQUEST_AXES and generating):
            _check_counts(axis, values)
        elif axis == POWER_MODE:
            continue  # whether the board has it is known when it is set
        elif able:
            _check_option(axis, values, able)


def _check_precisions(values: Sequence[Scalar], runtimes: Sequence[_Runtime]) -> None:
    able = [can for r in runtimes for can in (r.backend.capabilities, r.backend.generation) if can]
    known = {*PRECISIONS, *(precision for can in able for precision in can.precisions)}
    for value in values:
        if value not in known:
            raise UsageError(f"no precision {value!r}{did_you_mean(str(value), known)}")


def _check_counts(axis: str, values: Sequence[Scalar]) -> None:
    for value in values:
        if type(value) is not int or value < 1:
            raise UsageError(f"{axis} must be a whole number of 1 or more, got {value!r}")


def _check_option(axis: str, values: Sequence[Scalar], runtimes: Sequence[_Runtime]) -> None:
    options = [runtime.options[axis] for runtime in runtimes if axis in runtime.options]
    names = ", ".join(runtime.backend.name for runtime in runtimes)
    if not options:
        known = {
            *MODEL_AXES,
            POWER_MODE,
            *(name for runtime in runtimes for name in runtime.options),
        }
        fix = f"it has an option of its own: {_ELSEWHERE[axis]}" if axis in _ELSEWHERE else ""
        hint = "" if fix else did_you_mean(axis, known)
        raise UsageError(f"no option {axis!r} of {names}{hint}", fix)
    for value in values:
        problems = [_option_problem(option, _fitted(option, value)) for option in options]
        if all(problems):
            raise UsageError(f"--set {axis}: {problems[0]}")


def _as_options(sets: Mapping[str, Sequence[Scalar]], runtime: _Runtime) -> dict[str, list[Scalar]]:
    """The values as this backend's options want them, where they can be had so."""
    return {
        axis: unique(
            _fitted(runtime.options[axis], value) if axis in runtime.options else value
            for value in values
        )
        for axis, values in sets.items()
    }


def _fitted(option: Option, value: Scalar) -> Scalar:
    """A typed word as the option's type: a command line cannot tell the text 1 from the number."""
    if option.type == "str" and not isinstance(value, str):
        return json.dumps(value)
    if option.type == "bool" and type(value) is int and value in (0, 1):
        return bool(value)
    if option.type == "float" and type(value) is int:
        return float(value)
    return value


def _option_problem(option: Option, value: Scalar) -> str:
    """Why the option cannot have this value, or ""."""
    if option.accepts(value):
        return ""
    if option.choices and isinstance(value, str):
        return f"{option.name} has no {value!r}{did_you_mean(value, map(str, option.choices))}"
    kinds = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "text"}
    least = "" if option.minimum is None else f" of {option.minimum:g} or more"
    return f"{option.name} must be {kinds[option.type]}{least}, got {value!r}"


def _check_scenarios(scenarios: Sequence[str] | None) -> None:
    for scenario in scenarios or ():
        if scenario not in SCENARIOS:
            raise UsageError(f"no scenario {scenario!r}{did_you_mean(scenario, SCENARIOS)}")


# A user's own model, without YAML

Shapes = dict[str, list[int | Literal["batch"]]]


def parse_shapes(items: Sequence[str]) -> Shapes:
    """`["image=1,3,224,224"]` -> `{"image": [1, 3, 224, 224]}`; "batch" marks the batch axis.

    Sizes may be joined by `x` as well; "scalar" stands for no axis at all. Raises UsageError.
    """
    shapes: Shapes = {}
    for item in items:
        name, equals, text = item.rpartition("=")
        fix = "write it like input=1,3,224,224, or input=batch,3,224,224 to vary the batch"
        if not equals or not name:
            raise UsageError(f"--shape {item!r} names no input", fix)
        if name in shapes:
            raise UsageError(f"--shape gives {name!r} twice", "keep one of them")
        sizes = [] if text.strip() == "scalar" else re.split(r"[,x](?=[0-9b])", text)
        shapes[name] = [_size(part, item, fix) for part in sizes]
        if shapes[name].count("batch") > 1:
            raise UsageError(f"--shape {item!r}: more than one axis is the batch", fix)
    return shapes


def _size(text: str, item: str, fix: str) -> int | Literal["batch"]:
    text = text.strip()
    if text == "batch":
        return "batch"
    if not re.fullmatch(r"[0-9]+", text) or int(text) < 1:
        raise UsageError(f"--shape {item!r}: {text!r} is not a size of 1 or more", fix)
    return int(text)


def parse_ranges(items: Sequence[str]) -> dict[str, Any]:
    """`["ids=0,99", "k=1|2|4"]` -> `{"ids": [0, 99], "k": {"choices": [1, 2, 4]}}`: from low to high, both
    included, or one of some values. Raises UsageError."""
    ranges: dict[str, Any] = {}
    for item in items:
        name, equals, text = item.rpartition("=")
        fix = "write it like ids=0,30521 (from low to high) or k=1|2|4 (one of these)"
        if not equals or not name:
            raise UsageError(f"--range {item!r} names no input", fix)
        if name in ranges:
            raise UsageError(f"--range gives {name!r} twice", "keep one of them")
        if "," not in text:
            ranges[name] = {"choices": [_number(part, item, fix) for part in text.split("|")]}
            continue
        limits = [_number(part, item, fix) for part in text.split(",")]
        if len(limits) != 2 or limits[0] > limits[1]:
            raise UsageError(f"--range {item!r} is not a low and a high end", fix)
        ranges[name] = limits
    return ranges


def _number(text: str, item: str, fix: str) -> int | float:
    text = text.strip()
    try:
        value = int(text) if re.fullmatch(r"[-+]?[0-9]{1,19}", text) else float(text)
    except ValueError:
        raise UsageError(f"--range {item!r}: {text!r} is not a number", fix) from None
    if not math.isfinite(value):
        raise UsageError(f"--range {item!r}: {text!r} is not a finite number", fix)
    return value


class OwnInputs(msgspec.Struct, frozen=True, kw_only=True):
    """What seeded inputs of a model file are drawn from, or the user's own in their place."""

    ranges: dict[str, Any] = {}  # as `parse_ranges` reads them
    file: Path | None = None


def workload_for_model(
    path: Path,
    shapes: Shapes,
    task: str | None = None,
    reference: Path | None = None,
    inputs: OwnInputs | None = None,
) -> Workload:
    """A workload around a model file: seeded inputs (or a task of the user's own, FILE.py:CLASS),
    judged by its parity with the reference; a GGUF file, and any model with `--task generate`, generates
    text and is judged by its divergence from an fp32 reference. `reference` is the ONNX model that a file in a runtime's
    own format was made from. The name tells apart what is other work, as rows of one name compete: other
    files, shapes, inputs or tasks. Raises UsageError where a file cannot be read or makes no sense."""
    given = _file_asset(path)
    form = format_of(given.uri)
    if reference is not None and form == "onnx":
        raise UsageError("--reference is for a model in a runtime's own format", "leave it out")
    origin = given if reference is None else _file_asset(reference)
    native = NativeModel(
        uri=given.uri, sha256=given.sha256, license=given.license, precision="as-is"
    )
    generating = form == "gguf" or task == GENERATE
    model = Model(
        uri=origin.uri,
        sha256=origin.sha256,
        license=origin.license,
        shapes=shapes,
        native={} if reference is None else {form: native},
    )
    if shapes and (generating or model_format(model) not in SHAPED_FORMATS):
        raise UsageError(
            f"--shape fixes the inputs of .onnx and .tflite models: {path.name} has its own",
            "leave it out",
        )
    if task is not None:
        task_file(task)  # refuses what is none
    inputs = inputs or OwnInputs()
    if (inputs.ranges or inputs.file) and (generating or task is not None):
        whose = "a decoder has prompts" if generating else "the task makes its inputs itself"
        raise UsageError(
            f"--range and --inputs are for seeded inputs, and {whose}", "leave them out"
        )
    if inputs.ranges and inputs.file:
        raise UsageError(
            "--inputs gives every value, and --range what they are drawn from", "keep one of them"
        )
    own = {} if inputs.file is None else {"inputs": _file_asset(inputs.file)}
    stem = re.sub(r"[^a-z0-9._-]+", "-", Path(given.uri).stem.lower()).strip("._-") or "model"
    # Of the task its name: the folder it lies in is another one on each machine.
    work: list[Any] = [
        given.sha256,
        origin.sha256,
        sorted(shapes.items()),
        task and Path(task).name,
    ]
    if inputs.ranges or own:
        work.append([sorted(inputs.ranges.items()), *(asset.sha256 for asset in own.values())])
    sizes = ("x".join(map(str, shape)) or "scalar" for _, shape in sorted(shapes.items()))
    words = [stem, *sizes]
    return Workload(
        name=f"{'-'.join(words)[:55]}-{hashlib.sha256(msgspec.json.encode(work)).hexdigest()[:8]}",
        version=1,
        title=Path(given.uri).name,
        task=registry.absolute(task) if task else GENERATE if generating else "seeded_inputs",
        model=model,
        data=own,
        options={"ranges": inputs.ranges} if inputs.ranges else {},
        quality=_OWN_DECODER if generating else Quality(metric=PARITY_METRIC, ceiling=1e-3),
        scenarios=["generate"] if generating else ["single_stream"],
        matrix=Matrix(axes={"precision": ["as-is"]}),
    )


def _file_asset(path: Path) -> Asset:
    from edgebench.assets import file_sha256

    path = (
        path.expanduser().absolute()
    )  # a link's own name tells the format and has the weights beside it
    try:
        digest = file_sha256(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", "name a model file") from None
    return Asset(uri=f"file:{path}", sha256=digest, license="not stated")
