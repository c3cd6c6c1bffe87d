"""`edgebench run`: from options to a plan, to measurements, to records and the table."""

from __future__ import annotations

import platform
import secrets
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import click
import msgspec
from click.core import ParameterSource

from edgebench import __version__
from edgebench.analysis.types import Table
from edgebench.errors import (
    DeviceStateError,
    EdgebenchError,
    ExitCode,
    StoreError,
    UsageError,
)
from edgebench.measure.campaign import Campaign, Settings
from edgebench.measure.estimate import Estimate
from edgebench.measure.meter import Meter
from edgebench.measure.power_modes import PowerModes
from edgebench.plan import Cell, parse_sets, parse_shapes, plan, workload_for_model
from edgebench.record import DeviceFacts, Record, RunFacts, StateCheck
from edgebench.spec.types import Workload
from edgebench.store import (
    JournalEntry,
    JournalHead,
    RunStore,
    read_records,
    result_files,
    unfinished,
)
from edgebench.suggest import did_you_mean
from edgebench.units import parse_bytes, parse_duration_s, parse_share

DEFAULT_SUITE = "quick"
#: What `quick` may take: a first table within two minutes, downloads included.
QUICK_BUDGET_S = 105.0
PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The options of a run, resolved. Kept in the journal, so that a run can be resumed."""

    workloads: list[str]
    suite: str | None
    folders: list[str]
    model: str | None
    shapes: list[str]
    task: str | None
    reference: str | None = None
    backends: list[str]
    sets: list[str]
    scenarios: list[str]
    rate_per_s: float | None
    devices: str | None = None
    set_power_mode: bool = False
    estimate: str | None = None
    energy_markers: bool = False
    energy_root: str | None = None
    settings: Settings


@click.command(name="run")
@click.argument("names", nargs=-1, metavar="[WORKLOAD]...")
@click.option("--suite", help="Suite of workloads.  [default: quick, where nothing is named]")
@click.option(
    "--workloads",
    "folders",
    multiple=True,
    type=click.Path(exists=True, file_okay=False),
    help="Folder with workload definitions of your own; may be given more than once.",
)
@click.option(
    "--model",
    type=click.Path(exists=True, dir_okay=False),
    help="Benchmark this model file with seeded inputs, a GGUF file with prompts, against an fp32 "
    "reference.",
)
@click.option(
    "--shape",
    "shapes",
    multiple=True,
    help="Input shape of --model: image=1,3,224,224 (repeatable).",
)
@click.option(
    "--reference",
    type=click.Path(exists=True, dir_okay=False),
    help="ONNX model that a --model in a runtime's own format was made from.",
)
@click.option(
    "--task",
    help="Own task and metric for --model: my_task.py:Class; generate for an ONNX decoder.",
)
@click.option("--backend", "backends", default="ort", show_default=True, help="Backends: a,b.")
@click.option(
    "--set", "sets", multiple=True, help="Variant axis: threads=1,2 (lists multiply; repeatable)."
)
@click.option(
    "--set-power-mode",
    is_flag=True,
    help="Allow the axis power_mode: sets nvpmodel's mode and puts the former back; needs root.",
)
@click.option(
    "--scenario", "scenarios", help="Scenarios: single_stream,offline,sustained,generate."
)
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Paced load: queries/s.")
@click.option("--budget", help="Time for the whole run: 60s.  [default: none; quick: 105s]")
@click.option("--target", default="2%", show_default=True, help="Half-width of the interval.")
@click.option(
    "--percentile",
    type=click.Choice(list(PERCENTILES)),
    default="p50",
    show_default=True,
    help="The percentile whose interval is to reach the target.",
)
@click.option(
    "--replicates",
    type=click.IntRange(min=1),
    help="Fresh processes per cell.  [default: 3, up to 9 while the target is not reached]",
)
@click.option(
    "--reruns",
    type=click.IntRange(min=0),
    default=2,
    show_default=True,
    help="Re-runs per cell of processes during which the machine throttled or was changed.",
)
@click.option(
    "--slice", "slice_", default="2s", show_default=True, help="Longest window of a process."
)
@click.option(
    "--sustain",
    default="5min",
    show_default=True,
    help="Longest load of a process under the scenario sustained.",
)
@click.option("--timeout", default="120s", show_default=True, help="Silence that counts as a hang.")
@click.option("--memory-limit", help="Memory a worker may allocate: 512MiB.")
@click.option(
    "--estimate",
    metavar="cpu-time:W",
    help="Also model energy: CPU time times W watts per core. Labelled modelled, never ranked.",
)
@click.option(
    "--energy-markers",
    is_flag=True,
    help="Bursts of load around each window, for `edgebench energy attach` to align a meter's log.",
)
@click.option(
    "--energy-root",
    hidden=True,
    type=click.Path(exists=True, file_okay=False),
    help="Look for the energy meter below this folder: a simulated machine.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of generated inputs.")
@click.option(
    "--out",
    type=click.Path(file_okay=False),
    default="results",
    show_default=True,
    help="Folder for results.",
)
@click.option("--no-save", is_flag=True, help="Keep no result file.")
@click.option("--resume", is_flag=True, help="Go on with the last unfinished run in --out.")
@click.option(
    "--devices",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Inventory of your devices.  [default: devices.yaml here, if there is one]",
)
@click.option("--strict", is_flag=True, help="Refuse to measure in an invalid device state.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "csv", "md"]),
    default="table",
    show_default=True,
)
@click.pass_context
def command(context: click.Context, /, **given: Any) -> int:
    """Measure workloads on this machine and print the trade-off table.

    Without arguments: the suite `quick`. Results are appended to a new file in --out.
    """
    started_s = time.monotonic()
    options = _options(given)
    if given["resume"] and given["no_save"]:
        raise UsageError("--resume needs what --no-save does not keep", "leave one of them out")
    store = None
    if given["resume"]:
        store, options = _reopen(Path(given["out"]), options, _typed(context))
        if store is None:
            complete = _last_complete(Path(given["out"]))
            if complete is not None:
                print(f"nothing to resume: {complete} is complete", file=sys.stderr)
                records = read_records(complete)
                return _exit_code(_render(records, given["form"]))
            print(f"nothing to resume in {given['out']}: starting anew", file=sys.stderr)
    out = None if given["no_save"] else Path(given["out"])
    return _run(options, store, out, given["form"], started_s)


def _options(given: dict[str, Any]) -> Options:
    """The command line as typed, checked and resolved. Raises UsageError."""
    own = given["model"] is not None
    if own and (given["names"] or given["suite"]):
        raise UsageError("--model runs a file of your own, not a workload or a suite")
    if not own and (given["shapes"] or given["task"] or given["reference"]):
        raise UsageError(
            "--shape, --task and --reference go with --model", "give the model file with --model"
        )
    suite = given["suite"]
    if not own and not given["names"] and suite is None:
        suite = DEFAULT_SUITE
    quick = suite == DEFAULT_SUITE
    budget_s = parse_duration_s(given["budget"]) if given["budget"] else None
    # A machine too slow for the default budget still gets a row for every cell.
    soft_budget = quick and budget_s is None
    replicates = given["replicates"]
    target = parse_share(given["target"])
    if not 0 < target < 1:
        raise UsageError(f"--target {given['target']} is no share between 0 and 100 %", "say 2%")
    if given["estimate"]:
        Estimate.parse(given["estimate"])
    limit = given["memory_limit"]
    return Options(
        workloads=list(given["names"]),
        suite=suite,
        folders=[str(Path(folder).resolve()) for folder in given["folders"]],
        model=str(Path(given["model"]).resolve()) if own else None,
        shapes=list(given["shapes"]),
        task=given["task"],
        reference=str(Path(given["reference"]).resolve()) if given["reference"] else None,
        backends=_listed(given["backends"]),
        sets=list(given["sets"]),
        scenarios=_listed(given["scenarios"] or ""),
        rate_per_s=given["rate"],
        devices=str(Path(given["devices"]).resolve()) if given["devices"] else None,
        set_power_mode=given["set_power_mode"],
        estimate=given["estimate"],
        energy_markers=given["energy_markers"],
        energy_root=given["energy_root"],
        settings=Settings(
            target=target,
            percentile=PERCENTILES[given["percentile"]],
            replicates=replicates or 3,
            max_replicates=replicates or (3 if quick else 9),
            slice_s=_positive(given["slice_"], "--slice"),
            budget_s=QUICK_BUDGET_S if soft_budget else budget_s,
            hard_budget=not soft_budget,
            time_out_s=_positive(given["timeout"], "--timeout"),
            strict=given["strict"],
            reruns=given["reruns"],
            sustain_s=_positive(given["sustain"], "--sustain"),
            seed=given["seed"],
            memory_limit_bytes=parse_bytes(limit) if limit else None,
        ),
    )


def _positive(text: str, option: str) -> float:
    value = parse_duration_s(text)
    if value <= 0:
        raise UsageError(f"{option} {text} is no time", f"say {option} 2s")
    return value


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _run(
    options: Options, store: RunStore | None, out: Path | None, form: str, started_s: float
) -> int:
    """Plans, measures, keeps and shows. Returns the exit code."""
    from edgebench import assets
    from edgebench.cli.progress import preparing, watching
    from edgebench.measure.markers import emit_markers
    from edgebench.measure.targets import fetch_assets, make_targets
    from edgebench.probes import device, state
    from edgebench.spec.devices import declared_mode, load_devices, with_declared

    cells = plan(
        _workloads(options),
        options.backends,
        suite=options.suite,
        sets=parse_sets(options.sets),
        scenarios=options.scenarios or None,
        rate_per_s=options.rate_per_s,
        set_power_mode=options.set_power_mode,
    )
    facts = with_declared(device.detect(), load_devices(_path(options.devices)))
    before = state.preflight(declared_mode=declared_mode(facts))
    if options.settings.strict:
        _refuse_invalid(before)
    run = _run_facts(options, store)
    keeper: RunStore | _NoStore = _NoStore()
    if store is not None:
        _check_same_plan(store, cells)
        keeper = store
    elif out is not None:
        name = f"{run.started_utc[:19].replace('-', '').replace(':', '')}Z-{run.id}.jsonl"
        keeper = RunStore.create(out / facts.name / name, _head(run, options, cells, facts))
    done = dict(keeper.done)
    open_cells = [cell for cell in cells if cell.id not in done]
    try:
        with assets.terminal_progress() as progress:
            fetched = fetch_assets(open_cells, progress)
        with preparing() as on_prepare:
            targets = make_targets(
                open_cells, options.settings, assets.cache_dir(), fetched, on_prepare
            )
        for target in targets:
            target.entries += keeper.pending.get(target.cell.id, [])
        power_modes = PowerModes() if options.set_power_mode else None
        with watching() as watcher, _meter(options) as meter:
            campaign = Campaign(
                targets,
                options.settings,
                run,
                facts,
                before,
                keeper,
                watcher,
                started_s,
                power_modes=power_modes,
                meter=meter,
                mark=emit_markers if options.energy_markers else list,
            )
            stopped, unreached = _measure(campaign, power_modes)
    finally:
        keeper.close()
    records = _in_order(
        cells, [*done.values(), *campaign.records.values(), *campaign.provisional()]
    )
    if stopped is None and not unreached:
        keeper.finish()
    code = _exit_code(_render(records, form)) if records else ExitCode.OK
    return _closing(code, stopped, unreached, keeper)


def _meter(options: Options) -> AbstractContextManager[Meter]:
    """The machine's energy meter for the time of the run, or the reason that there is none."""
    from edgebench.cli.energy_source import find_here
    from edgebench.measure.meter import open_meter
    from edgebench.spec.devices import load_devices

    devices = load_devices(_path(options.devices))
    found = find_here(_path(options.energy_root), devices)
    estimate = Estimate.parse(options.estimate) if options.estimate else None
    return open_meter(found, estimate, options.settings.slice_s)


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


def _measure(
    campaign: Campaign, power_modes: PowerModes | None
) -> tuple[BaseException | None, int]:
    """What stopped the campaign early, if anything, and how many cells it did not reach."""
    try:
        with power_modes or nullcontext():
            return None, len(campaign.measure())
    except (KeyboardInterrupt, EdgebenchError) as error:
        return error, 0


def _closing(
    code: ExitCode,
    stopped: BaseException | None,
    unreached: int,
    keeper: RunStore | _NoStore,
) -> int:
    """The last words on stderr, and the exit code; `code` is that of a run that was not stopped."""
    again = kept = ""
    if isinstance(keeper, RunStore):
        print(f"results: {keeper.results}", file=sys.stderr)
        kept, again = ": what was measured is kept", "; `edgebench run --resume` goes on from here"
    if isinstance(stopped, KeyboardInterrupt):
        print(f"edgebench: interrupted{kept}{again}", file=sys.stderr)
        return ExitCode.INTERRUPTED
    if isinstance(stopped, EdgebenchError):
        print(f"edgebench: {stopped}", file=sys.stderr)
        return stopped.exit_code
    if unreached:
        print(f"edgebench: the budget ended before {unreached} cells{again}", file=sys.stderr)
        return ExitCode.CELL_FAILED
    return code


def _exit_code(table: Table) -> ExitCode:
    # The table's status, not the record's: what rows say of each other makes some invalid.
    bad = any(row.status in ("failed", "invalid") for row in table.rows)
    return ExitCode.CELL_FAILED if bad else ExitCode.OK


class _NoStore:
    """Keeps nothing: `--no-save`."""

    lock_fd = -1

    def __init__(self) -> None:
        self.done: dict[str, Record] = {}
        self.pending: dict[str, list[JournalEntry]] = {}

    def add_replicate(self, entry: JournalEntry) -> None: ...
    def add_record(self, record: Record) -> None: ...
    def close(self) -> None: ...
    def finish(self) -> None: ...


# What is to be measured


def _workloads(options: Options) -> list[Workload]:
    if options.model is not None:
        origin = Path(options.reference) if options.reference else None
        shapes = parse_shapes(options.shapes)
        return [workload_for_model(Path(options.model), shapes, options.task, origin)]
    from edgebench.spec.loader import load_workloads

    known = load_workloads([Path(folder) for folder in options.folders])
    for name in options.workloads:
        if name not in known:
            raise UsageError(f"no workload {name!r}{did_you_mean(name, known)}")
    return [known[name] for name in options.workloads or known]


def _run_facts(options: Options, store: RunStore | None) -> RunFacts:
    from edgebench.probes.distributions import installed_packages, packages_sha256

    packages = installed_packages()
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return RunFacts(
        id=store.head.run_id if store else secrets.token_hex(4),
        started_utc=store.head.started_utc if store else now,
        edgebench=__version__,
        python=platform.python_version(),
        settings=msgspec.to_builtins(options),
        command=["edgebench", *sys.argv[1:]],
        seed=options.settings.seed,
        packages=packages,
        packages_sha256=packages_sha256(packages),
    )


def _refuse_invalid(checks: Sequence[StateCheck]) -> None:
    for check in checks:
        if check.level == "invalid":
            raise DeviceStateError(
                f"the machine is in no state to measure: {check.name}: {check.evidence}", check.fix
            )


def _in_order(cells: Sequence[Cell], records: Sequence[Record]) -> list[Record]:
    """Records in the order of the plan, whatever order they were completed in."""
    place = {cell.id: number for number, cell in enumerate(cells)}
    return sorted(records, key=lambda record: place[record.cell.id])


def _render(records: Sequence[Record], form: str) -> Table:
    from edgebench.analysis.table import build_table
    from edgebench.report.formats import render

    table = build_table(records)
    render(table, form, sys.stdout)
    return table


# Resuming


def _head(
    run: RunFacts, options: Options, cells: Sequence[Cell], device: DeviceFacts
) -> JournalHead:
    return JournalHead(
        run_id=run.id,
        started_utc=run.started_utc,
        options=msgspec.to_builtins(options),
        cells=[cell.id for cell in cells],
        device=device.name,
    )


def _typed(context: click.Context) -> set[str]:
    """Names of the parameters that were given on the command line."""
    return {
        name
        for name in context.params
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }


#: Parameter of the command -> field of Options that must not change between a run and its resuming.
_FIXED = {
    "names": "workloads",
    "suite": "suite",
    "folders": "folders",
    "model": "model",
    "shapes": "shapes",
    "task": "task",
    "backends": "backends",
    "sets": "sets",
    "scenarios": "scenarios",
    "rate": "rate_per_s",
    "devices": "devices",
    "set_power_mode": "set_power_mode",
    "estimate": "estimate",
    "energy_markers": "energy_markers",
}


def _reopen(out: Path, options: Options, typed: set[str]) -> tuple[RunStore | None, Options]:
    """The last unfinished run below `out`, and its options; a new budget is allowed."""
    journals = unfinished(out) if out.is_dir() else []
    if not journals:
        return None, options
    store = RunStore.resume(journals[-1])
    kept = msgspec.convert(store.head.options, Options)
    for parameter, field in _FIXED.items():
        if parameter in typed and getattr(options, field) != getattr(kept, field):
            store.close()
            raise UsageError(
                f"the run to resume has {field} {getattr(kept, field)}, not {getattr(options, field)}",
                "resume it with --resume alone, or start a new run without --resume",
            )
    # Time that was spent before the kill is gone: the budget starts again.
    settings = kept.settings
    if "budget" in typed:
        settings = msgspec.structs.replace(
            settings, budget_s=options.settings.budget_s, hard_budget=True
        )
    return store, msgspec.structs.replace(kept, settings=settings)


def _last_complete(out: Path) -> Path | None:
    files = result_files(out) if out.is_dir() else []
    return files[-1] if files else None


def _check_same_plan(store: RunStore, cells: Sequence[Cell]) -> None:
    ids = [cell.id for cell in cells]
    if ids != store.head.cells:
        store.close()
        raise StoreError(
            f"{store.journal}: the definitions changed since: other cells are planned now",
            "start a new run",
        )
