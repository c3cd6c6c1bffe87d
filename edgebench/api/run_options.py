"""Checks and resolves the options of `edgebench run`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from edgebench.definitions.companion_load import parse_companion
from edgebench.definitions.workload import Workload
from edgebench.energy.modelled_energy import Estimate
from edgebench.errors import UsageError
from edgebench.measure.runner import Settings
from edgebench.planning.cells import DEFAULT_BACKEND, known_axes
from edgebench.planning.own_models import OwnInputs, workload_for_model
from edgebench.planning.run_parameters import (
    DEFAULT_SUITE,
    FIRST_WINDOW_S,
    PERCENTILES,
    QUICK_BUDGET_S,
    QUICK_REPLICATES,
)
from edgebench.planning.settings import (
    MEMORY_BUDGET,
    budget_bytes,
    parse_bound,
    parse_ranges,
    parse_sets,
    parse_shapes,
)
from edgebench.planning.shape_sequence import parse_shape_sequence
from edgebench.text.plain_text import utf8
from edgebench.units import parse_bytes, parse_duration_s, parse_share

#: What is told of a model file alone: names of options, and their parameters.
_OF_MODELS = {
    "--shape, --task and --reference": ("shapes", "task", "reference"),
    "--range, --inputs and --parity": ("ranges", "inputs", "parity"),
}


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The options of a run, resolved. Kept in the journal, so that a run can be resumed."""

    workloads: list[str]
    suite: str | None
    folders: list[str]
    model: str | None
    shapes: list[str]
    task: str | None
    reference: str | None = None
    ranges: list[str] = []
    inputs: str | None = None
    backends: list[str]
    sets: list[str]
    scenarios: list[str]
    rate_per_s: float | None
    bound_p99_ns: int | None = None
    devices: str | None = None
    device: str | None = None
    set_power_mode: bool = False
    estimate: str | None = None
    energy_markers: bool = False
    energy_root: str | None = None
    settings: Settings


def resolved(params: Mapping[str, Any]) -> Options:
    """Options as they are given (DEFAULTS of run_parameters has their names), checked and resolved. Raises UsageError."""
    own = params["model"] is not None
    _check_model_options(params, own)
    suite = params["suite"]
    if not own and not params["names"] and suite is None:
        suite = DEFAULT_SUITE
    quick = suite == DEFAULT_SUITE
    budget_s = None if params["budget"] is None else positive_s(params["budget"], "--budget")
    # A machine too slow for the default budget still gets a row for every cell.
    soft_budget = quick and budget_s is None
    replicates = params["replicates"]
    target = parse_share(params["target"])
    if not 0 < target < 1:
        raise UsageError(f"--target {params['target']} is not between 0 and 100 %", "say 2%")
    if params["estimate"] is not None:
        Estimate.parse(params["estimate"])
    for text in params["companions"]:
        parse_companion(text)
    parse_shape_sequence(params["shape_sequence"])
    limit = params["memory_limit"]
    return Options(
        workloads=list(params["names"]),
        suite=suite,
        folders=[_path(folder) for folder in params["folders"]],
        model=_path(params["model"], links=True) if own else None,
        shapes=list(params["shapes"]),
        task=params["task"],
        reference=_path(params["reference"], links=True) if params["reference"] else None,
        ranges=list(params["ranges"]),
        inputs=_path(params["inputs"]) if params["inputs"] else None,
        backends=_backends(params["backends"], own),
        sets=_sets(params["sets"], params["memory_budget"]),
        scenarios=_listed(params["scenarios"] or ""),
        rate_per_s=params["rate"],
        bound_p99_ns=None if params["bound"] is None else parse_bound(params["bound"]),
        devices=_path(params["devices"]) if params["devices"] else None,
        device=params["device"],
        set_power_mode=params["set_power_mode"],
        estimate=params["estimate"],
        energy_markers=params["energy_markers"],
        energy_root=params["energy_root"],
        settings=Settings(
            target=target,
            percentile=PERCENTILES[params["percentile"]],
            replicates=replicates or (QUICK_REPLICATES if quick else 3),
            max_replicates=replicates or (QUICK_REPLICATES if quick else 9),
            slice_s=positive_s(params["slice_"], "--slice"),
            budget_s=QUICK_BUDGET_S if soft_budget else budget_s,
            hard_budget=not soft_budget,
            time_out_s=positive_s(params["timeout"], "--timeout"),
            strict=params["strict"],
            reruns=params["reruns"],
            companions=list(params["companions"]),
            together=params["together"],
            shape_sequence=list(params["shape_sequence"]),
            worst_case_s=_seconds(params["worst_case"], "--worst-case"),
            loadgen=params["loadgen"],
            sustain_s=positive_s(params["sustain"], "--sustain"),
            seed=params["seed"],
            memory_limit_bytes=None if limit is None else parse_bytes(limit),
            parity=None if params["parity"] is None else parity_limit(params["parity"]),
            first_window_s=FIRST_WINDOW_S if own else None,
            wait_quiet_s=_seconds(params["wait_quiet"], "--wait-quiet"),
            cool_to_c=params["cool_to"],
            profile=params["profile"],
            instructions=params["instructions"],
        ),
    )


def _check_model_options(params: Mapping[str, Any], own: bool) -> None:
    """Refuses options that say nothing together. `own`: a model file of the user's is measured."""
    if own and (params["names"] or params["suite"] or params["folders"]):
        raise UsageError("--model cannot be combined with workloads, --suite or --workloads")
    for told, parameters in _OF_MODELS.items():
        if not own and any(params[parameter] for parameter in parameters):
            raise UsageError(f"{told} apply to --model only", "give the model file with --model")


def _sets(sets: Sequence[str], budgets: Sequence[str]) -> list[str]:
    """What `--set` says, with `--memory-budget` as the axis that it stands for. Raises UsageError."""
    if not budgets:
        return list(sets)
    if MEMORY_BUDGET in parse_sets(sets):
        raise UsageError(
            f"--memory-budget and --set {MEMORY_BUDGET} are the same axis",
            "give all sizes to one of them",
        )
    sizes = [size.strip() for text in budgets for size in text.split(",")]
    for size in sizes:
        budget_bytes(size, "--memory-budget ")
    return [*sets, f"{MEMORY_BUDGET}={','.join(sizes)}"]


def _path(text: str, links: bool = False) -> str:
    """The whole path; with `links` that of a link itself, whose name tells its format. Raises UsageError
    where it cannot be told to a runtime, or written down."""
    path = str(Path(text).absolute() if links else Path(text).resolve())
    try:
        path.encode()
    except UnicodeEncodeError:
        message = f"{utf8(path)}: the path is not UTF-8, and no runtime can open it"
        raise UsageError(message, "rename the file or folder") from None
    return path


def workloads_of(options: Options) -> list[Workload]:
    if options.model is not None:
        origin = Path(options.reference) if options.reference else None
        shapes = parse_shapes(options.shapes)
        file = Path(options.inputs) if options.inputs else None
        inputs = OwnInputs(ranges=parse_ranges(options.ranges), file=file)
        return [workload_for_model(Path(options.model), shapes, options.task, origin, inputs)]
    from edgebench.definitions.workload_loader import choose, load_workloads

    folders = [Path(folder) for folder in options.folders]
    known = load_workloads(folders, lambda: known_axes(options.backends))
    return choose(known, options.workloads, options.suite)


def own_task_lines(workloads: Iterable[Workload]) -> list[str]:
    """A line for each workload whose task is the user's own code, to be told before any of it runs."""
    own = {(workload.name, workload.task) for workload in workloads if ":" in workload.task}
    lines = []
    for name, task in sorted(own):
        file, _, class_name = task.rpartition(":")
        lines.append(f"task: {name} runs code of your own: {class_name} in {file}")
    return lines


def parity_limit(text: str, option: str = "--parity") -> float:
    """A limit on the relative error: 0.05 or 5%. Raises UsageError."""
    value = parse_share(text)
    if not 0 < value < 1:
        raise UsageError(
            f"{option} {text} is not between 0 and 1 (outputs that are all zero have an error of 1)",
            f"give the largest error as a share of the outputs' size, such as {option} 0.05",
        )
    return value


def positive_s(text: str, option: str, example: str = "2s") -> float:
    """Seconds of an option that must be above 0. Raises UsageError."""
    value = parse_duration_s(text)
    if value <= 0:
        raise UsageError(f"{option} {text} is not a time", f"say {option} {example}")
    return value


def _seconds(text: str | None, option: str) -> float:
    """Seconds of an option that may be left out; 0 then."""
    return positive_s(text, option) if text else 0.0


def _backends(text: str | None, own: bool) -> list[str]:
    """Returns those that are named; of a model of one's own without a name none, as its file decides."""
    if text is not None:
        return _listed(text)
    return [] if own else [DEFAULT_BACKEND]


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
