"""`edgebench run`: from options to a plan, to measurements, to records and the table."""

from __future__ import annotations

import math
import platform
import secrets
import shlex
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
import msgspec

from edgebench import __version__
from edgebench.analysis.table_types import Table
from edgebench.cli.shared import resume
from edgebench.cli.shared.number_options import FiniteRange
from edgebench.cli.shared.own_code_notice import say_own_tasks
from edgebench.cli.shared.prefer_option import prefer_option
from edgebench.cli.shared.run_options import PERCENTILES, Options, resolved, workloads_of
from edgebench.energy.modelled_energy import Estimate
from edgebench.energy.run_meter import Meter
from edgebench.errors import DeviceStateError, EdgebenchError, ExitCode, UsageError
from edgebench.measure.power_modes import PowerModes
from edgebench.measure.runner import Runner, Shortened
from edgebench.measure.time_budget import Budget
from edgebench.planning.cells import Cell, plan
from edgebench.planning.settings import parse_sets
from edgebench.processes.signals import ended_by
from edgebench.record import DeviceFacts, Record, RunFacts, StateCheck
from edgebench.store import JournalEntry, RunStore
from edgebench.text.plain_text import say

if TYPE_CHECKING:
    from edgebench.calibration import Calibration
    from edgebench.definitions.device_inventory import Device


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
    help="Input shape of --model: image=1,3,224,224, or x=scalar (repeatable).",
)
@click.option(
    "--reference",
    type=click.Path(exists=True, dir_okay=False),
    help="ONNX model that a --model in a runtime's own format was made from.",
)
@click.option(
    "--range",
    "ranges",
    multiple=True,
    metavar="NAME=LOW,HIGH",
    help="What an input of --model is drawn from: ids=0,30521, or k=1|2|4 (repeatable).",
)
@click.option(
    "--inputs",
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE.npz",
    help="Inputs of yours for --model, by input name, in the place of seeded ones.",
)
@click.option(
    "--parity",
    metavar="LIMIT",
    help="How far outputs of --model may be off its reference: 0.05.  [default: by what the file "
    "computes in]",
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
@click.option("--rate", type=FiniteRange(min=0, min_open=True), help="Paced load: queries/s.")
@click.option(
    "--budget",
    help="Time for the whole run, downloads apart: 60s.  [default: none; quick: 105s]",
)
@click.option(
    "--wait-quiet",
    metavar="TIME",
    help="Wait so long at most until others leave the machine alone, before rounds: 60s. The budget does "
    "not count it.",
)
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
    help="Fresh processes per cell.  [default: 3, up to 9 while the target is not reached; quick: 7]",
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
@click.option("--memory-limit", help="Memory a process of a cell may allocate: 512MiB.")
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
@click.option(
    "--seed",
    type=click.IntRange(0, 2**31 - 1),
    default=0,
    show_default=True,
    help="Seed of generated inputs and of the order in which cells take turns.",
)
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
@click.option("--device", metavar="NAME", help="What this machine is called in the results.")
@click.option("--strict", is_flag=True, help="Refuse to measure in an invalid device state.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "csv", "md"]),
    default="table",
    show_default=True,
)
@prefer_option
@click.pass_context
def command(context: click.Context, /, **given: Any) -> int:
    """Measure workloads on this machine and print the trade-off table.

    Without arguments: the suite `quick`. Results are appended to a new file in --out.
    """
    started_s = time.monotonic()
    options = resolved(given)
    if given["resume"] and given["no_save"]:
        raise UsageError("--resume needs what --no-save does not keep", "leave one of them out")
    shown = Shown(given["form"], given["prefer"])
    store = None
    if given["resume"]:
        folder, typed = Path(given["out"]), resume.typed_in(context)
        store, options = resume.reopen(folder, options, typed)
        if store is None:
            complete = resume.last_complete(folder, options, typed)
            if complete is not None:
                file, records = complete
                say(f"nothing to resume: {file} is complete")
                return _exit_code(_render(records, shown))
            say(f"nothing to resume in {folder}: starting anew")
    out = None if given["no_save"] else Path(given["out"])
    return _run(options, store, out, shown, started_s)


class Shown(NamedTuple):
    """How the table is printed; no part of what is measured."""

    form: str
    prefer: Sequence[str]  # the rule of ties


def _run(
    options: Options, store: RunStore | None, out: Path | None, shown: Shown, started_s: float
) -> int:
    """Plans, measures, keeps and shows. Returns the exit code. The budget counts from `started_s`, without
    downloads and without the wait for a quiet machine."""
    from edgebench import assets
    from edgebench.cli.shared.run_progress import watching
    from edgebench.definitions.device_inventory import (
        declared_mode,
        load_devices,
        named,
        with_declared,
    )
    from edgebench.energy.marker_pulses import emit_markers
    from edgebench.measure.targets import fetch_assets, make_targets
    from edgebench.measure.wait_for_quiet import Quiet
    from edgebench.probes import device_facts as device
    from edgebench.probes import machine_state

    workloads = workloads_of(options)
    if options.model is None:  # else the command line names the task
        say_own_tasks(workloads)
    cells = plan(
        workloads,
        options.backends,
        suite=options.suite,
        sets=parse_sets(options.sets),
        scenarios=options.scenarios or None,
        rate_per_s=options.rate_per_s,
        set_power_mode=options.set_power_mode,
    )
    devices = load_devices(Path(options.devices) if options.devices else None)
    facts = named(with_declared(device.detect(), devices), options.device)
    before = machine_state.preflight(declared_mode=declared_mode(facts))
    if options.settings.strict:
        _refuse_invalid(before)
    run = _run_facts(options, store)
    head = resume.head(run, options, cells, facts)
    keeper: RunStore | _NoStore = _NoStore()
    if store is not None:
        resume.check_same(store, head)
        keeper = store
    elif out is not None:
        name = f"{run.started_utc[:19].replace('-', '').replace(':', '')}Z-{run.id}.jsonl"
        keeper = RunStore.create(out / facts.name / name, head)
    done = dict(keeper.done)
    open_cells = [cell for cell in cells if cell.id not in done]
    campaign: Runner | None = None
    budget = Budget(options.settings.budget_s or math.inf, started_s)
    try:
        with budget.without("downloads"), assets.terminal_progress() as progress:
            fetched = fetch_assets(open_cells, progress)
        if budget.note:
            say(budget.note)
        targets = make_targets(open_cells, options.settings, assets.cache_dir(), fetched)
        for target in targets:
            target.entries += keeper.pending.get(target.cell.id, [])
        power_modes = PowerModes() if options.set_power_mode else None
        with watching() as watcher, _meter(options, devices) as meter:
            campaign = Runner(
                targets,
                options.settings,
                run,
                facts,
                before,
                keeper,
                watcher,
                budget.counts_from_s,
                power_modes=power_modes,
                meter=meter,
                mark=emit_markers if options.energy_markers else list,
                first_round=keeper.rounds,
                quiet=Quiet(options.settings.wait_quiet_s, watcher.say),
                calibration=_calibration(facts),
            )
            stopped = _measure(campaign, power_modes)
        if stopped is None and not campaign.unreached:
            keeper.finish()
    except (KeyboardInterrupt, EdgebenchError) as error:
        stopped = error
    finally:
        keeper.close()
    measured = [] if campaign is None else campaign.found()
    records = _in_order(cells, [*done.values(), *measured])
    table = _render(records, shown) if records else None
    return _closing(table, stopped, campaign, keeper)


def _calibration(device: DeviceFacts) -> Calibration | None:
    """The machine's own ceilings, where somebody had them measured and the file can be read."""
    from edgebench.assets import cache_dir
    from edgebench.calibration import default_path, read_calibration

    path = default_path(cache_dir(), device.name)
    try:
        return read_calibration(path) if path.is_file() else None
    except EdgebenchError:
        return None  # `edgebench roofline`, which is about it, says what is wrong


def _meter(options: Options, devices: Sequence[Device]) -> AbstractContextManager[Meter]:
    """The machine's energy meter for the time of the run, or the reason that there is none."""
    from edgebench.cli.shared.energy_source import find_here
    from edgebench.energy.run_meter import open_meter

    root = Path(options.energy_root) if options.energy_root else None
    found = find_here(root, devices)
    estimate = Estimate.parse(options.estimate) if options.estimate else None
    return open_meter(found, estimate, options.settings.slice_s)


def _measure(campaign: Runner, power_modes: PowerModes | None) -> BaseException | None:
    """What stopped the campaign early, if anything."""
    try:
        with power_modes or nullcontext():
            campaign.measure()
    except (KeyboardInterrupt, EdgebenchError) as error:
        return error
    return None


def _closing(
    table: Table | None,
    stopped: BaseException | None,
    campaign: Runner | None,
    keeper: RunStore | _NoStore,
) -> int:
    """The last words on stderr, and the exit code."""
    again = kept = ""
    if isinstance(keeper, RunStore):
        say(f"results: {keeper.results}")
        kept, again = ": what was measured is kept", f"; `{_going_on(keeper)}` goes on"
    if isinstance(stopped, KeyboardInterrupt):
        say(f"edgebench: {ended_by(stopped)}{kept}{again}")
        return ExitCode.INTERRUPTED
    if isinstance(stopped, EdgebenchError):
        say(f"edgebench: {stopped}")
        return stopped.exit_code
    cut = campaign.shortened() if campaign is not None else None
    if cut is not None:
        say(f"edgebench: {_cut_text(cut)}{again if cut.unreached else ''}")
    code = ExitCode.CELL_FAILED if table is None else _exit_code(table)
    if table is None or not _measured(table):
        say("edgebench: no row was measured")
    return ExitCode.CELL_FAILED if cut is not None and cut.unreached else code


def _going_on(keeper: RunStore) -> str:
    """The command that goes on with a run."""
    out = keeper.results.parent.parent
    elsewhere = [] if out == Path("results") else ["--out", str(out)]
    return shlex.join(["edgebench", "run", "--resume", *elsewhere])


def _cut_text(cut: Shortened) -> str:
    """What the budget cut, and how much would not."""
    parts = [
        f"{_cells(cut.unreached)} without a row" if cut.unreached else "",
        f"{_cells(cut.few)} with fewer processes than asked for" if cut.few else "",
        f"{_cells(cut.quality)} without the whole quality pass" if cut.quality else "",
    ]
    seconds = math.ceil(cut.needed_s)
    return f"the budget left {', '.join(filter(None, parts))}; --budget {seconds}s is likely to do"


def _cells(count: int) -> str:
    return "1 cell" if count == 1 else f"{count} cells"


def _exit_code(table: Table) -> ExitCode:
    # The table's status, not the record's: what rows say of each other makes some invalid.
    bad = any(row.status in ("failed", "invalid") for row in table.rows)
    return ExitCode.OK if _measured(table) and not bad else ExitCode.CELL_FAILED


def _measured(table: Table) -> bool:
    return any(row.status in ("ok", "invalid") for row in table.rows)


class _NoStore:
    """Keeps nothing: `--no-save`."""

    lock_fd = -1
    rounds = 0

    def __init__(self) -> None:
        self.done: dict[str, Record] = {}
        self.pending: dict[str, list[JournalEntry]] = {}

    def add_replicate(self, entry: JournalEntry) -> None: ...
    def add_record(self, record: Record) -> None: ...
    def close(self) -> None: ...
    def finish(self) -> None: ...


def _run_facts(options: Options, store: RunStore | None) -> RunFacts:
    from edgebench.probes.python_distributions import installed_packages, packages_sha256

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


def _render(records: Sequence[Record], shown: Shown) -> Table:
    from edgebench.analysis.table import build_table
    from edgebench.render.table_formats import render

    table = build_table(records, shown.prefer)
    render(table, shown.form, sys.stdout)
    return table
