"""The order in which cells are measured, how long each may take, and when one is known well enough.

Replicates of different cells take turns, so that a drift of the machine meets all of them alike.
A cell is complete when the interval of its percentile, over replicates, is within the target, when
it has as many replicates as allowed, or when the budget is spent; its record is then on disk.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from edgebench.analysis import stats
from edgebench.analysis.plausible import unlike_asked, within_ceilings
from edgebench.calibration import Calibration
from edgebench.errors import DeviceStateError, UnsupportedError
from edgebench.measure import reruns
from edgebench.measure.jobs import Done, Job
from edgebench.measure.launch import run_worker
from edgebench.measure.meter import Meter, NoMeter
from edgebench.measure.power_modes import PowerModes
from edgebench.measure.sustained import metered_window
from edgebench.measure.vigil import Vigil, allowing_heat, postflight
from edgebench.record import (
    CellFacts,
    DeviceFacts,
    Energy,
    Marker,
    ModelFacts,
    Reason,
    Record,
    Replicate,
    RunFacts,
    StateCheck,
    Status,
)
from edgebench.store import JournalEntry

MIN_SLICE_S = 0.2
#: What a slice brings with it beside itself: warm-up, never-seen inputs, pipeline.
SLICE_FACTOR = 1.6
#: First guesses of what a replicate takes beside its slice, until one was measured.
OVERHEAD_FIRST_S = 4.0
OVERHEAD_S = 1.2
#: A budget waits no longer for a silent worker than it lasts, but for so long at least.
LEAST_SILENCE_S = 10.0
NO_METER = NoMeter(Energy(status="unavailable", reason="no_sensor", detail="no meter was given"))


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How thoroughly to measure."""

    target: float = 0.02  # half-width of the interval, as a share
    percentile: float = 0.5
    replicates: int = 3  # at least
    max_replicates: int = 9
    slice_s: float = 2.0  # measured window of a replicate, at most
    sustain_s: float = 300.0  # the same of the scenario sustained
    budget_s: float | None = None  # of the whole run
    hard_budget: bool = True  # False: every cell gets one replicate all the same
    time_out_s: float = 120.0
    reruns: int = 2  # of replicates that the machine spoilt, per cell
    max_samples: int = 8192  # per replicate
    strict: bool = False
    seed: int = 0
    memory_limit_bytes: int | None = None


@dataclass
class Target:
    """A cell on its way to a record. Without a `job` it cannot run, and `reasons` say why."""

    cell: CellFacts
    model: ModelFacts | None = None
    job: Job | None = None
    status: Status = "ok"
    reasons: list[Reason] = field(default_factory=list)
    entries: list[JournalEntry] = field(default_factory=list)
    power_mode: str | None = None  # as read back after it was set

    @property
    def replicates(self) -> list[Replicate]:
        """All of them, in order; what a re-run replaced is marked."""
        return reruns.marked([entry.replicate for entry in self.entries])

    @property
    def standing(self) -> list[Replicate]:
        """Those that no re-run replaced."""
        return reruns.standing([entry.replicate for entry in self.entries])

    @property
    def sustained(self) -> bool:
        return self.cell.scenario == "sustained"

    @property
    def settings(self) -> Mapping[str, str]:
        """Of the machine, when the first replicate ended that it did not spoil."""
        sound = (e for e in self.entries if not reruns.disturbed(e.replicate))
        return next((entry.settings for entry in sound), {})

    @property
    def broken(self) -> bool:
        """Whether a replicate ended in a way that the next would repeat."""
        return any(replicate.status in ("failed", "unsupported") for replicate in self.replicates)


class Keeper(Protocol):
    """Where results go as soon as they exist."""

    @property
    def lock_fd(self) -> int: ...
    def add_replicate(self, entry: JournalEntry) -> None: ...
    def add_record(self, record: Record) -> None: ...


class Watcher(Protocol):
    """Who shows how far the run is."""

    def starts(self, target: Target, number: int, total: int, left_s: float) -> None: ...
    def tick(self) -> None: ...
    def spoilt(self, target: Target, replicate: Replicate, again: bool) -> None: ...
    def cut(self, target: Target, replicate: Replicate) -> None: ...
    def completed(self, record: Record) -> None: ...


class Campaign:
    """Measures targets in rounds. `started_s` is when the budget began, on `clock`."""

    def __init__(
        self,
        targets: Sequence[Target],
        settings: Settings,
        run: RunFacts,
        device: DeviceFacts,
        state_before: list[StateCheck],
        keeper: Keeper,
        watcher: Watcher,
        started_s: float,
        launch: Callable[..., Done] = run_worker,
        meter: Meter = NO_METER,
        power_modes: PowerModes | None = None,
        mark: Callable[[], list[Marker]] = list,
        clock: Callable[[], float] = time.monotonic,
        calibration: Calibration | None = None,
    ) -> None:
        self._targets = targets
        self._settings = settings
        self._run = run
        self._device = device
        self._state_before = state_before
        self._keeper = keeper
        self._watcher = watcher
        self._started_s = started_s
        self._launch = launch
        self._power_modes = power_modes
        self._meter = meter
        self._mark = mark
        self._clock = clock
        self._calibration = calibration
        self._overheads_s: dict[Literal["first", "rest"], list[float]] = {"first": [], "rest": []}
        self._measured = sum(len(target.entries) for target in targets)
        self.records: dict[str, Record] = {}  # of complete cells, by id

    def measure(self) -> list[CellFacts]:
        """Measures until every target is complete or the budget is spent.

        Returns the cells that were not reached. Raises StoreError where results cannot be written,
        and DeviceStateError under `strict`; what was measured before is kept.
        """
        open_targets = []
        for target in self._targets:
            if target.job is None or self._complete(target):
                self._finish(target)
            else:
                open_targets.append(target)
        with tempfile.TemporaryDirectory(prefix="edgebench-") as scratch:
            for mode, members, due_only in self._stretches(open_targets):
                members = [t for t in members if t.cell.id not in self.records]
                if any(map(self._may_start, members)) and self._enter(mode, members):
                    self._rounds(members, Path(scratch), due_only)
        open_targets = [t for t in open_targets if t.cell.id not in self.records]
        for target in list(open_targets):
            if target.entries:
                self._finish(target)
                open_targets.remove(target)
        return [target.cell for target in open_targets]

    def _enter(self, mode: str | None, targets: Sequence[Target]) -> bool:
        """Sets the power mode that targets ask for. Where it cannot be had, they are unsupported; what
        was measured in it before stands."""
        if self._power_modes is None:
            return True
        try:
            if mode is None:
                self._power_modes.restore()
                return True
            found = self._power_modes.enter(mode)
        except UnsupportedError as error:
            for target in targets:
                if not target.entries:
                    target.status = "unsupported"
                target.reasons.append(
                    Reason(code="power_mode_unavailable", message=error.message, fix=error.fix)
                )
                self._finish(target)
            return False
        for target in targets:
            target.power_mode = found
        return True

    def _stretches(self, targets: Sequence[Target]) -> list[tuple[str | None, list[Target], bool]]:
        """Power modes in their order, their targets, and whether only what is due is measured.

        Modes are slow to change, and yet the first one must not spend on precision what the others
        need: under a budget what is due of all modes comes first.
        """
        groups = _by_power_mode(targets)
        passes = [False] if self._settings.budget_s is None or len(groups) == 1 else [True, False]
        return [(mode, members, due_only) for due_only in passes for mode, members in groups]

    def _rounds(self, targets: Sequence[Target], scratch: Path, due_only: bool) -> None:
        """Replicates of the targets in turns, until each is complete or the budget is spent."""
        open_targets = list(targets)
        while any(map(self._may_start, open_targets)):
            for target in list(open_targets):
                if not self._may_start(target):
                    continue
                if due_only and not self._due(target):
                    open_targets.remove(target)
                    continue
                self._replicate(target, scratch)
                if self._complete(target):
                    self._finish(target)
                    open_targets.remove(target)

    def _may_start(self, target: Target) -> bool:
        """Whether the budget allows another replicate of a target."""
        return self._left_s() > 0 or self._at_any_cost(target)

    def _at_any_cost(self, target: Target) -> bool:
        """Whether the next replicate is the one that a soft budget gives every cell."""
        return not self._settings.hard_budget and not target.entries

    def _silence_s(self, target: Target) -> float:
        """How long a worker may say nothing: a budget does not wait for the end of a hang."""
        limit_s = self._settings.time_out_s
        if self._at_any_cost(target):
            return limit_s
        return min(limit_s, max(LEAST_SILENCE_S, self._left_s()))

    def _left_s(self) -> float:
        if self._settings.budget_s is None:
            return float("inf")
        return self._settings.budget_s - (self._clock() - self._started_s)

    def _complete(self, target: Target) -> bool:
        if target.broken or reruns.exhausted(target.replicates, self._settings.reruns):
            return True
        if reruns.due(target.replicates, self._settings.reruns) is not None:
            return False
        count = len(target.standing)
        if count >= self._settings.max_replicates:
            return True
        if count < self._settings.replicates:
            return False
        # A sustained load takes minutes: no more of them than were asked for.
        return target.sustained or precise(target.standing, self._settings)

    def _replicate(self, target: Target, scratch: Path) -> None:
        """One more fresh process of a target, journalled before anything else happens.

        One that the budget cut is no finding: whether it hung, or was slow, nobody knows.
        """
        assert target.job is not None
        index = len(target.entries)
        rerun_of = reruns.due(target.replicates, self._settings.reruns)
        # The quality pass runs once, in a replicate that counts.
        first = all(map(reruns.disturbed, target.replicates))
        window_s = self._window_s(target, self._share_s())
        slice_s = min(window_s, self._settings.slice_s)
        metered_s = self._metered_window_s(target, window_s)
        job = msgspec.structs.replace(
            target.job,
            index=index,
            slice_s=slice_s,
            sustain_s=window_s if target.sustained else 0.0,
            min_window_s=metered_s,
            warmup_s=max(0.3, slice_s / 2),
            full_quality=first,
            expected=str(scratch / f"{self._targets.index(target)}.npz"),
        )
        total = sum(max(self._settings.replicates, len(t.entries)) for t in self._targets if t.job)
        self._watcher.starts(target, self._measured + 1, total, self._expected_s())
        begin_s = self._clock()
        idle = self._meter.idle() if metered_s else None
        markers = self._mark()
        silence_s = self._silence_s(target)
        done, changes, settings = self._watched(target, job, silence_s)
        if silence_s < self._settings.time_out_s and self._left_s() <= 0 and _hung(done.replicate):
            self._watcher.cut(target, done.replicate)
            return
        replicate = self._meter.measured(
            _with_state(_marked(done.replicate, [*markers, *self._mark()]), changes),
            target.job.batch,
            idle,
        )
        replicate = msgspec.structs.replace(
            replicate, rerun_of=rerun_of, power_mode=target.power_mode
        )
        took_s = self._clock() - begin_s  # idle and markers around the worker included
        overhead_s = max(0.0, took_s - _planned_s(target, window_s, slice_s))
        self._overheads_s["first" if first else "rest"].append(overhead_s)
        self._measured += 1
        entry = JournalEntry(
            cell=target.cell.id,
            replicate=replicate,
            model=target.model,
            inputs_sha256=done.inputs_sha256,
            settings=dict(settings),
        )
        target.entries.append(entry)
        self._keeper.add_replicate(entry)
        if reruns.disturbed(replicate):
            again = reruns.due(target.replicates, self._settings.reruns) is not None
            self._watcher.spoilt(target, replicate, again)
        worst = next((c for c in replicate.state_after if c.level == "invalid"), None)
        if self._settings.strict and worst is not None:
            raise DeviceStateError(
                f"the machine changed while it measured {target.cell.id}: {worst.evidence}",
                worst.fix,
            )

    def _watched(
        self, target: Target, job: Job, silence_s: float
    ) -> tuple[Done, list[StateCheck], Mapping[str, str]]:
        """What a worker found, what happened to the machine meanwhile, and its settings after."""
        vigil = Vigil()

        def tick() -> None:
            vigil.tick()
            self._watcher.tick()

        done = self._launch(
            job,
            time_out_s=silence_s,
            inherited_fds=(self._keeper.lock_fd,) if self._keeper.lock_fd >= 0 else (),
            on_tick=tick,
        )
        changes = vigil.end(target.settings)
        return done, allowing_heat(changes) if target.sustained else changes, vigil.settings

    def _share_s(self) -> float:
        """What the budget leaves for the window of each replicate that is due."""
        if self._settings.budget_s is None:
            return float("inf")
        count = sum(map(self._due, self._targets))
        return (self._left_s() - self._overhead_s()) / max(count, 1) / SLICE_FACTOR

    def _window_s(self, target: Target, share_s: float) -> float:
        """The measured window of the next replicate: its share, at most the setting."""
        most_s = self._settings.sustain_s if target.sustained else self._settings.slice_s
        return min(most_s, max(MIN_SLICE_S, share_s))

    def _metered_window_s(self, target: Target, window_s: float) -> float:
        """The window that the meter needs, if the budget leaves so much for each replicate that is
        due, and a sustained load lasts long enough; else 0: energy is refused then, with the length
        needed, and latency is measured."""
        needed_s = self._meter.needed_s
        if target.sustained and not metered_window(needed_s, window_s):
            return 0.0
        count = sum(map(self._due, self._targets))
        left_s = (self._left_s() - self._overhead_s()) / max(count, 1)
        return needed_s if left_s >= SLICE_FACTOR * needed_s else 0.0

    def _due(self, target: Target) -> int:
        """Replicates of a target that are due at least."""
        if target.cell.id in self.records:
            return 0
        again = reruns.due(target.replicates, self._settings.reruns) is not None
        return max(0, self._settings.replicates - len(target.standing)) + again

    def _overhead_s(self) -> float:
        """What the replicates that are due take beside their windows."""
        due = sum(map(self._due, self._targets))
        firsts = sum(bool(self._due(target) and not target.entries) for target in self._targets)
        overhead_s = firsts * _mean(self._overheads_s["first"], OVERHEAD_FIRST_S)
        return overhead_s + (due - firsts) * _mean(self._overheads_s["rest"], OVERHEAD_S)

    def _expected_s(self) -> float:
        """Time until the last replicate that is due for sure."""
        planned_s, share_s = 0.0, self._share_s()
        for target in self._targets:
            if due := self._due(target):
                window_s = self._window_s(target, share_s)
                slice_s = min(window_s, self._settings.slice_s)
                planned_s += due * _planned_s(target, window_s, slice_s)
        return self._overhead_s() + planned_s

    def provisional(self) -> list[Record]:
        """Records of cells that have replicates but are not complete: to be shown, not kept."""
        return [
            self._assemble(target)
            for target in self._targets
            if target.entries and target.cell.id not in self.records
        ]

    def _finish(self, target: Target) -> None:
        record = self._assemble(target)
        self.records[record.cell.id] = record
        self._keeper.add_record(record)
        self._watcher.completed(record)

    def _assemble(self, target: Target) -> Record:
        energy = self._meter.of_record(target.replicates)
        record = assemble(
            target, self._settings, self._run, self._device, self._state_before, energy
        )
        return within_ceilings(record, self._calibration)


def _by_power_mode(targets: Sequence[Target]) -> list[tuple[str | None, list[Target]]]:
    """Targets by the mode they ask for: modes are slow to change, so cells of one take turns among
    themselves."""
    groups: dict[str | None, list[Target]] = {}
    for target in targets:
        wanted = target.cell.variant.get("power_mode")
        groups.setdefault(None if wanted is None else str(wanted), []).append(target)
    return list(groups.items())


def _planned_s(target: Target, window_s: float, slice_s: float) -> float:
    """What a replicate takes for its window and what comes with it."""
    return SLICE_FACTOR * slice_s + (window_s if target.sustained else 0.0)


def _marked(replicate: Replicate, markers: list[Marker]) -> Replicate:
    """The replicate with the bursts of load around it, if there were any."""
    return msgspec.structs.replace(replicate, markers=markers) if markers else replicate


def _hung(replicate: Replicate) -> bool:
    return any(reason.code == "timed_out" for reason in replicate.reasons)


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def precise(replicates: Sequence[Replicate], settings: Settings) -> bool:
    """Whether the chosen percentile is known within the target, over replicates, or no replicate has one."""
    permille = round(settings.percentile * 1000)
    values = [
        stats.percentile(sorted(replicate.samples_ns), permille)
        for replicate in replicates
        if replicate.samples_ns
    ]
    interval = stats.log_interval(values)
    return not values or (interval is not None and interval.half_width <= settings.target)


def _with_state(replicate: Replicate, changes: list[StateCheck]) -> Replicate:
    """The replicate with what became of the machine meanwhile; an invalid state makes it invalid."""
    noted = [check for check in changes if check.level != "ok"]
    invalid = _invalid(noted)
    status = "invalid" if invalid and replicate.status == "ok" else replicate.status
    return msgspec.structs.replace(
        replicate, state_after=noted, status=status, reasons=[*replicate.reasons, *invalid]
    )


def _invalid(checks: Sequence[StateCheck]) -> list[Reason]:
    return [
        Reason(code=f"{reruns.STATE_PREFIX}{check.name}", message=check.evidence, fix=check.fix)
        for check in checks
        if check.level == "invalid"
    ]


def assemble(
    target: Target,
    settings: Settings,
    run: RunFacts,
    device: DeviceFacts,
    state_before: list[StateCheck],
    energy: Energy,
) -> Record:
    """The record of a target from what its replicates found."""
    replicates = target.replicates
    state_after = postflight(device, state_before, "power_mode" in target.cell.variant)
    if target.sustained:
        state_after = allowing_heat(state_after)
    judged = _judged_by(target)
    unlike = unlike_asked(target.cell.variant, judged.effective if judged else None)
    status, reasons = _verdict(target, [*unlike, *_invalid([*state_before, *state_after])])
    first = next(iter(target.standing), None)
    return Record(
        cell=target.cell,
        status=status,
        reasons=reasons,
        run=run,
        device=device,
        state_before=state_before,
        state_after=state_after,
        model=target.model or next((e.model for e in target.entries if e.model), None),
        inputs_sha256=target.entries[0].inputs_sha256 if target.entries else None,
        quality=judged.quality if judged else None,
        energy=energy,
        effective=judged.effective if judged else None,
        power_mode=first.power_mode if first else None,
        target=settings.target,
        percentile=settings.percentile,
        replicates=replicates,
    )


def _judged_by(target: Target) -> Replicate | None:
    """The replicate whose answers judge the cell: one that lost its core answered as well as any."""
    sound = (entry.replicate for entry in target.entries if entry.replicate.status == "ok")
    known = (replicate for replicate in (*target.standing, *sound) if replicate.quality is not None)
    return next(known, next(iter(target.standing), None))


def _verdict(target: Target, more: list[Reason]) -> tuple[Status, list[Reason]]:
    """The worst that its replicates found, and `more`: why it is not what was asked for, or the machine was
    in no state to measure.

    Caching needs as many replicates that show it as not.
    """
    replicates = target.standing
    reasons = list(target.reasons)
    for found in [*(replicate.reasons for replicate in replicates), more]:
        reasons += [reason for reason in found if reason not in reasons]
    caching = sum(r.unseen is not None and r.unseen.caching for r in replicates)
    if caching and 2 * caching >= len(replicates):
        reasons.append(
            Reason(
                code="caching",
                message="inputs it had never seen took far longer than those of the pool: "
                "the backend caches results",
                fix="turn the cache off: a deployment sees new inputs",
            )
        )
    statuses = {target.status, *(replicate.status for replicate in replicates)}
    for status in ("failed", "unsupported", "invalid"):
        if status in statuses:
            return status, reasons
    invalid = more or any(reason.code == "caching" for reason in reasons)
    return ("invalid" if invalid else "ok"), reasons
