"""Runs a measurement from its options to its records, for `edgebench run` and `edgebench.run` alike.

Nothing here prints, and nothing ends the process: `Voice` says where words go.
"""

from __future__ import annotations

import math
import platform
import secrets
import shlex
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from edgebench import __version__
from edgebench.api import run_resume
from edgebench.api.run_options import Options, own_task_lines, workloads_of
from edgebench.assets.download_progress import Progress
from edgebench.definitions.companion_load import is_load, parse_companion
from edgebench.energy.modelled_energy import Estimate
from edgebench.energy.run_meter import Meter
from edgebench.errors import DeviceStateError, EdgebenchError, UsageError
from edgebench.installed_packages import installed_version
from edgebench.measure.power_modes import PowerModes
from edgebench.measure.runner import Means, Runner, Shortened, Surroundings, Target, Watcher
from edgebench.measure.time_budget import Budget
from edgebench.planning.cells import DEFAULT_BACKEND, Cell, Load, expanded, generates, opening, plan
from edgebench.planning.settings import parse_sets
from edgebench.probes.process_memory import available_bytes
from edgebench.record import (
    WORKERS,
    DeviceFacts,
    OperatorProfile,
    Reason,
    Record,
    RunFacts,
    StateCheck,
)
from edgebench.store import JournalEntry, JournalHead, RunStore
from edgebench.units import format_bytes

if TYPE_CHECKING:
    from edgebench.definitions.device_inventory import Device
    from edgebench.definitions.workload import Workload
    from edgebench.measure.worker_messages import Job


class Voice(NamedTuple):
    """Receives the messages and the progress of a run. `watching` is a function, as it may draw from when it is entered."""

    say: Callable[[str], None]  # lines for people
    watching: Callable[[], AbstractContextManager[Watcher]]
    downloading: Callable[[], AbstractContextManager[Progress]]


@dataclass(frozen=True)
class Start:
    """Holds what a run starts with, in addition to its options."""

    command: Sequence[str]  # how it was asked for, as records tell
    out: Path | None  # folder of result files; None: nothing is kept
    started_s: float  # monotonic: the budget counts from here
    store: RunStore | None = None  # of the run that is resumed


@dataclass(frozen=True)
class Outcome:
    """The result of a run."""

    records: list[Record]  # in the order of the plan
    file: Path | None  # of results; None: nothing is kept
    stopped: KeyboardInterrupt | EdgebenchError | None = None  # what ended it early
    cut: Shortened | None = None  # what the budget cut

    @property
    def cut_text(self) -> str:
        """Returns what the budget cut, and how much would not; "" where it cut nothing."""
        if self.cut is None:
            return ""
        parts = [
            f"{_cells(self.cut.unreached)} without a row" if self.cut.unreached else "",
            f"{_cells(self.cut.few)} with fewer processes than asked for" if self.cut.few else "",
            f"{_cells(self.cut.quality)} without the whole quality pass"
            if self.cut.quality
            else "",
        ]
        seconds = math.ceil(self.cut.needed_s)
        may = "may do" if self.cut.unsure else "is likely to do"
        return f"the budget left {', '.join(filter(None, parts))}; --budget {seconds}s {may}"

    @property
    def going_on(self) -> str:
        """The command that goes on with the run; "" where nothing is kept."""
        if self.file is None:
            return ""
        out = self.file.parent.parent
        elsewhere = [] if out == Path("results") else ["--out", str(out)]
        return shlex.join(["edgebench", "run", "--resume", *elsewhere])


def measure(options: Options, start: Start, voice: Voice) -> Outcome:
    """Plans, measures and keeps. Ctrl-C and errors of a run in progress stand in the outcome, with what was
    measured. Raises EdgebenchError for a run that cannot begin.

    The budget counts neither downloads nor the wait for a quiet machine.
    """
    options, cells = _planned(options, voice)
    machine = _machine(options, voice.say)
    run = _run_facts(options, start)
    keeper = _keeper(start, run_resume.head(run, options, cells, machine.facts), voice.say)
    done = dict(keeper.done)
    runner: Runner | None = None
    stopped: KeyboardInterrupt | EdgebenchError | None = None
    budget = Budget(options.settings.budget_s or math.inf, start.started_s)
    try:
        targets = _targets([cell for cell in cells if cell.id not in done], options, budget, voice)
        for target in targets:
            target.entries += keeper.pending.get(target.cell.id, [])
        power_modes = PowerModes() if options.set_power_mode else None
        with voice.watching() as watcher, _meter(options, machine.devices) as meter:
            runner = Runner(
                targets,
                options.settings,
                machine.surroundings(run, keeper.rounds),
                keeper,
                watcher,
                budget.counts_from_s,
                _means(options, voice, meter, power_modes, keeper.results),
            )
            stopped = measure_all(runner, power_modes)
        if stopped is None and not runner.unreached:
            keeper.finish()
    except (KeyboardInterrupt, EdgebenchError) as error:
        stopped = error
    finally:
        keeper.close()
    measured = [] if runner is None else runner.found()
    return Outcome(
        records=_in_order(cells, [*done.values(), *measured]),
        file=keeper.results,
        stopped=stopped,
        cut=runner.shortened() if runner is not None and stopped is None else None,
    )


def _planned(options: Options, voice: Voice) -> tuple[Options, list[Cell]]:
    """The options, with backends where none was named, and the cells that they ask for."""
    workloads = workloads_of(options)
    if options.model is None:  # else the user named the task with the model
        for line in own_task_lines(workloads):
            voice.say(line)
    options = _with_backends(options, workloads, voice)
    _check_company(options, workloads)
    cells = _cells_of(options, workloads)
    if options.settings.loadgen:
        _require_loadgen()
        _check_loadgen(cells)
    return options, cells


def check_for_other_machines(options: Options) -> None:
    """Raises the EdgebenchError of options with which no machine can begin a run.

    What is installed on this machine, and how much memory it has, do not matter.
    """
    from edgebench.definitions.device_inventory import load_devices

    workloads = workloads_of(options)
    if options.backends:
        named = expanded(options.backends, workloads, installed=False)
    else:
        named = opening(workloads[0], installed=False)
    options = msgspec.structs.replace(options, backends=named)
    _check_company(options, workloads, lambda: None)
    cells = _cells_of(options, workloads)
    if options.settings.loadgen:
        _check_loadgen(cells)
    if options.devices:
        load_devices(Path(options.devices))


def _cells_of(options: Options, workloads: Sequence[Workload]) -> list[Cell]:
    """The plan of options whose backends are named. Raises UsageError."""
    return plan(
        workloads,
        options.backends,
        suite=options.suite,
        sets=parse_sets(options.sets),
        scenarios=options.scenarios or None,
        load=Load(options.rate_per_s, options.bound_p99_ns),
        set_power_mode=options.set_power_mode,
    )


class _Machine(NamedTuple):
    """This machine: its entry in the user's inventory, its facts, and its state before the run."""

    devices: Sequence[Device]
    facts: DeviceFacts
    before: list[StateCheck]

    def surroundings(self, run: RunFacts, first_round: int) -> Surroundings:
        from edgebench import assets
        from edgebench.calibration import own_calibration

        calibration = own_calibration(assets.cache_dir(), self.facts.name)
        return Surroundings(
            run, self.facts, self.before, calibration=calibration, first_round=first_round
        )


def _machine(options: Options, say: Callable[[str], None]) -> _Machine:
    """Looks at this machine. Raises DeviceStateError under --strict where its state is invalid."""
    from edgebench.definitions.device_inventory import (
        declared_mode,
        load_devices,
        named,
        named_first,
        other_machine,
        with_declared,
    )
    from edgebench.probes import device_facts, machine_state

    inventory = load_devices(Path(options.devices) if options.devices else None)
    devices = named_first(inventory, options.device)
    detected = device_facts.detect()
    if doubt := other_machine(devices, detected.facts, options.device):
        say(doubt)
    facts = named(with_declared(detected, devices), options.device)
    before = machine_state.preflight(declared_mode=declared_mode(facts))
    if options.settings.strict:
        _refuse_invalid(before)
    return _Machine(devices, facts, before)


def _targets(cells: Sequence[Cell], options: Options, budget: Budget, voice: Voice) -> list[Target]:
    """Returns what to measure, after the files that it needs were fetched, which no budget counts."""
    from edgebench import assets
    from edgebench.measure.prepare_targets import fetch_assets, make_targets

    with budget.without("downloads"), voice.downloading() as progress:
        fetched = fetch_assets(cells, progress)
    if budget.note:
        voice.say(budget.note)
    return make_targets(cells, options.settings, assets.cache_dir(), fetched)


def _means(
    options: Options,
    voice: Voice,
    meter: Meter,
    power_modes: PowerModes | None,
    results: Path | None,
) -> Means:
    from edgebench.energy.marker_pulses import emit_markers
    from edgebench.measure.cool_down import CoolDown
    from edgebench.measure.wait_for_quiet import Quiet

    means = Means(
        meter=meter,
        power_modes=power_modes,
        mark=emit_markers if options.energy_markers else list,
        quiet=Quiet(options.settings.wait_quiet_s, voice.say),
        cool_down=CoolDown(options.settings.cool_to_c, voice.say),
        profile=_profiling(options) if options.settings.profile else None,
        loadgen_logs=None if results is None else results.with_suffix(".loadgen"),
    )
    if options.settings.instructions is None:
        return means
    from edgebench.measure.callgrind import check_callgrind, counting

    check_callgrind()
    return replace(means, launch=counting(means.launch))


def _profiling(options: Options) -> Callable[[Job], OperatorProfile | Reason]:
    from edgebench.assets import cache_dir
    from edgebench.calibration import own_calibration
    from edgebench.explain.record_profile import profile_of
    from edgebench.probes import device_facts

    calibration = own_calibration(cache_dir(), device_facts.detect().name)
    return lambda job: profile_of(job, options.settings, calibration)


def _check_company(
    options: Options,
    workloads: Sequence[Workload],
    available: Callable[[], int | None] = available_bytes,
) -> None:
    """Raises UsageError for company that there is nobody to give, or that is not timed."""
    settings = options.settings
    if settings.together and len({workload.name for workload in workloads}) < 2:
        raise UsageError(
            "--together needs two workloads or more", "name them: edgebench run A B --together"
        )
    names = {workload.name for workload in workloads}
    for workload in workloads:
        for other in workload.companions:
            if not is_load(other) and other not in names:
                raise UsageError(
                    f"{workload.name} runs beside {other}, which is not in this run",
                    f"name it too: edgebench run {workload.name} {other}",
                )
        _check_room([*settings.companions, *filter(is_load, workload.companions)], available())
    crowded = settings.together or settings.companions
    for workload in workloads:
        if (crowded or workload.companions) and generates(workload):
            raise UsageError(
                f"{workload.name} generates text, which is not measured in company",
                "leave it out, or leave --together and --companion out",
            )


def _check_room(loads: Sequence[str], left_bytes: int | None) -> None:
    """Raises UsageError for loads that take more memory than there is, before anything is measured."""
    needs_bytes = sum(parse_companion(text).needs_bytes for text in loads)
    if left_bytes is not None and needs_bytes > left_bytes:
        raise UsageError(
            f"companions ({', '.join(loads)}) take {format_bytes(needs_bytes)}, and {format_bytes(left_bytes)} of memory "
            "are available",
            "ask for less of it",
        )


def _require_loadgen() -> None:
    """Raises UsageError where LoadGen is not installed."""
    from edgebench.measure.loads.loadgen_driver import DISTRIBUTION

    if installed_version(DISTRIBUTION) is None:
        raise UsageError(
            f"--loadgen needs {DISTRIBUTION}, which is not installed",
            "pip install 'edgebench[loadgen]' (there is no wheel for Linux aarch64)",
        )


def _check_loadgen(cells: Sequence[Cell]) -> None:
    """Raises UsageError for a load that LoadGen does not know."""
    from edgebench.measure.loads.loadgen_driver import SCENARIOS

    for cell in cells:
        at_periods = cell.scenario == "single_stream" and cell.rate_per_s is not None
        several = int(cell.variant.get(WORKERS, 1)) > 1
        unknown = at_periods or several or cell.bound_p99_ns is not None
        if cell.scenario not in SCENARIOS or unknown:
            raise UsageError(
                f"--loadgen: LoadGen has no load like {cell.id.rpartition('/')[2]}",
                f"--scenario {','.join(SCENARIOS)}; server with --rate and one worker, single_stream without",
            )


def measure_all(
    runner: Runner, power_modes: PowerModes | None
) -> KeyboardInterrupt | EdgebenchError | None:
    """Runs the measurement. Returns the exception that stopped it early, or None."""
    try:
        with power_modes or nullcontext():
            runner.measure()
    except (KeyboardInterrupt, EdgebenchError) as error:
        return error
    return None


class _NoStore:
    """A store that keeps nothing (`--no-save`)."""

    lock_fd = -1
    rounds = 0
    results = None

    def __init__(self) -> None:
        self.done: dict[str, Record] = {}
        self.pending: dict[str, list[JournalEntry]] = {}

    def add_replicate(self, entry: JournalEntry) -> None: ...
    def add_record(self, record: Record) -> None: ...
    def close(self) -> None: ...
    def finish(self) -> None: ...


def _keeper(start: Start, head: JournalHead, say: Callable[[str], None]) -> RunStore | _NoStore:
    """Returns the store of results. Raises StoreError if it cannot be written, or if its results must not be pooled."""
    if start.store is not None:
        run_resume.check_same(start.store, head)
        start.store.say = say
        return start.store
    if start.out is None:
        return _NoStore()
    stamp = head.started_utc[:19].replace("-", "").replace(":", "")
    store = RunStore.create(start.out / head.device / f"{stamp}Z-{head.run_id}.jsonl", head)
    store.say = say
    return store


def _with_backends(options: Options, workloads: Sequence[Workload], voice: Voice) -> Options:
    """With the backends by name: what opens the model file where nobody named one, all that do for `all`."""
    if options.backends:
        named = expanded(options.backends, workloads)
        return msgspec.structs.replace(options, backends=named)
    [own] = workloads
    chosen = opening(own)
    if chosen != [DEFAULT_BACKEND]:
        voice.say(
            f"{' and '.join(chosen)} open{'s' if len(chosen) == 1 else ''} {own.title}: measured with it, "
            "as no --backend is named"
        )
    return msgspec.structs.replace(options, backends=chosen)


def _meter(options: Options, devices: Sequence[Device]) -> AbstractContextManager[Meter]:
    """The machine's energy meter for the time of the run, or the reason that there is none."""
    from edgebench.api.energy_source import find_here
    from edgebench.energy.run_meter import open_meter

    root = Path(options.energy_root) if options.energy_root else None
    source = find_here(root, devices)
    estimate = Estimate.parse(options.estimate) if options.estimate else None
    return open_meter(source, estimate, options.settings.slice_s)


def _run_facts(options: Options, start: Start) -> RunFacts:
    from edgebench.probes.python_distributions import installed_packages, packages_sha256
    from edgebench.probes.source_commit import source_commit

    packages = installed_packages()
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return RunFacts(
        id=start.store.head.run_id if start.store else secrets.token_hex(4),
        started_utc=start.store.head.started_utc if start.store else now,
        edgebench=__version__,
        python=platform.python_version(),
        settings=msgspec.to_builtins(options),
        command=list(start.command),
        seed=options.settings.seed,
        packages=packages,
        packages_sha256=packages_sha256(packages),
        commit=source_commit(Path()),
    )


def _refuse_invalid(checks: Sequence[StateCheck]) -> None:
    for check in checks:
        if check.level == "invalid":
            raise DeviceStateError(
                f"the device state is invalid: {check.name}: {check.evidence}", check.fix
            )


def _in_order(cells: Sequence[Cell], records: Sequence[Record]) -> list[Record]:
    """Records in the order of the plan, whatever order they were completed in."""
    place = {cell.id: number for number, cell in enumerate(cells)}
    return sorted(records, key=lambda record: place[record.cell.id])


def _cells(count: int) -> str:
    return "1 cell" if count == 1 else f"{count} cells"
