"""The order in which cells are measured, how long each may take, and when one is known well enough.

Replicates of different cells take turns, so that a drift of the machine meets all of them alike.
A cell is complete when the interval of its percentile, over replicates, is within the target, when
it has as many replicates as allowed, or when the budget is spent; its record is then on disk.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from edgebench.analysis import stats
from edgebench.errors import DeviceStateError
from edgebench.measure.jobs import Done, Job
from edgebench.measure.launch import run_worker
from edgebench.measure.meter import Meter, NoMeter
from edgebench.probes import state
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
NO_METER = NoMeter(Energy(status="unavailable", reason="no_sensor", detail="no meter was given"))


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How thoroughly to measure."""

    target: float = 0.02  # half-width of the interval, as a share
    percentile: float = 0.5
    replicates: int = 3  # at least
    max_replicates: int = 9
    slice_s: float = 2.0  # measured window of a replicate, at most
    budget_s: float | None = None  # of the whole run
    hard_budget: bool = True  # False: every cell gets one replicate all the same
    time_out_s: float = 120.0
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

    @property
    def replicates(self) -> list[Replicate]:
        return [entry.replicate for entry in self.entries]

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
    def completed(self, record: Record) -> None: ...


class Campaign:
    """Measures targets in rounds. `started_s` is when the budget began, on the monotonic clock."""

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
        mark: Callable[[], list[Marker]] = list,
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
        self._meter = meter
        self._mark = mark
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
            while open_targets:
                for target in list(open_targets):
                    if not self._may_start(target):
                        continue
                    self._replicate(target, Path(scratch))
                    if self._complete(target):
                        self._finish(target)
                        open_targets.remove(target)
                if not any(map(self._may_start, open_targets)):
                    break
        for target in list(open_targets):
            if target.entries:
                self._finish(target)
                open_targets.remove(target)
        return [target.cell for target in open_targets]

    def _may_start(self, target: Target) -> bool:
        """Whether the budget allows another replicate of a target."""
        first_at_any_cost = not self._settings.hard_budget and not target.entries
        return self._left_s() > 0 or first_at_any_cost

    def _left_s(self) -> float:
        if self._settings.budget_s is None:
            return float("inf")
        return self._settings.budget_s - (time.monotonic() - self._started_s)

    def _complete(self, target: Target) -> bool:
        count = len(target.entries)
        if target.broken or count >= self._settings.max_replicates:
            return True
        if count < self._settings.replicates:
            return False
        return precise(target.replicates, self._settings)

    def _replicate(self, target: Target, scratch: Path) -> None:
        """One more fresh process of a target, journalled before anything else happens."""
        assert target.job is not None
        index = len(target.entries)
        first = index == 0
        slice_s, metered_s = self._slice_s(), self._metered_window_s()
        job = msgspec.structs.replace(
            target.job,
            index=index,
            slice_s=slice_s,
            min_window_s=metered_s,
            warmup_s=max(0.3, slice_s / 2),
            full_quality=first,
            expected=str(scratch / f"{self._targets.index(target)}.npz"),
        )
        total = sum(max(self._settings.replicates, len(t.entries)) for t in self._targets if t.job)
        self._watcher.starts(target, self._measured + 1, total, self._expected_s())
        idle = self._meter.idle() if metered_s else None
        markers = self._mark()
        before = state.snapshot()
        done = self._launch(
            job,
            time_out_s=min(self._settings.time_out_s, max(10.0, self._left_s())),
            inherited_fds=(self._keeper.lock_fd,) if self._keeper.lock_fd >= 0 else (),
            on_tick=self._watcher.tick,
        )
        changes = state.compare(before, state.snapshot())
        replicate = self._meter.measured(
            _with_state(_marked(done.replicate, [*markers, *self._mark()]), changes),
            target.job.batch,
            idle,
        )
        overhead_s = max(0.0, (replicate.wall_s or 0.0) - SLICE_FACTOR * slice_s)
        overhead_s += 2 * self._meter.idle_s if metered_s else 0.0
        self._overheads_s["first" if first else "rest"].append(overhead_s)
        self._measured += 1
        entry = JournalEntry(
            cell=target.cell.id,
            replicate=replicate,
            model=target.model,
            inputs_sha256=done.inputs_sha256,
        )
        target.entries.append(entry)
        self._keeper.add_replicate(entry)
        if self._settings.strict and any(check.level == "invalid" for check in changes):
            worst = next(check for check in changes if check.level == "invalid")
            raise DeviceStateError(
                f"the machine changed while it measured {target.cell.id}: {worst.evidence}",
                worst.fix,
            )

    def _slice_s(self) -> float:
        """The measured window of the next replicate: what the budget leaves for each, at most the
        setting."""
        if self._settings.budget_s is None:
            return self._settings.slice_s
        count, overhead_s = self._outstanding()
        share_s = (self._left_s() - overhead_s) / max(count, 1) / SLICE_FACTOR
        return max(MIN_SLICE_S, min(self._settings.slice_s, share_s))

    def _metered_window_s(self) -> float:
        """The window that the meter needs, if the budget leaves so much for each replicate that is
        due; else 0: energy is refused then, with the length needed, and latency is measured."""
        needed_s = self._meter.needed_s
        count, overhead_s = self._outstanding()
        left_s = (self._left_s() - overhead_s) / max(count, 1)
        return needed_s if left_s >= SLICE_FACTOR * needed_s else 0.0

    def _outstanding(self) -> tuple[int, float]:
        """Replicates still due at least, and what they take beside their slices."""
        firsts = rest = 0
        for target in self._targets:
            if target.job is None or target.broken:
                continue
            due = max(0, self._settings.replicates - len(target.entries))
            firsts += bool(due and not target.entries)
            rest += due - bool(due and not target.entries)
        overhead_s = firsts * _mean(self._overheads_s["first"], OVERHEAD_FIRST_S)
        overhead_s += rest * _mean(self._overheads_s["rest"], OVERHEAD_S)
        return firsts + rest, overhead_s

    def _expected_s(self) -> float:
        """Time until the last replicate that is due for sure."""
        count, overhead_s = self._outstanding()
        return overhead_s + count * SLICE_FACTOR * self._slice_s()

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
        return assemble(target, self._settings, self._run, self._device, self._state_before, energy)


def _marked(replicate: Replicate, markers: list[Marker]) -> Replicate:
    """The replicate with the bursts of load around it, if there were any."""
    return msgspec.structs.replace(replicate, markers=markers) if markers else replicate


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def precise(replicates: Sequence[Replicate], settings: Settings) -> bool:
    """Whether the chosen percentile is known within the target, over replicates."""
    permille = round(settings.percentile * 1000)
    values = [
        stats.percentile(sorted(replicate.samples_ns), permille)
        for replicate in replicates
        if replicate.samples_ns
    ]
    interval = stats.log_interval(values)
    return interval is not None and interval.half_width <= settings.target


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
        Reason(code=f"device_{check.name}", message=check.evidence, fix=check.fix)
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
    state_after = state.postflight()
    status, reasons = _verdict(target, _invalid([*state_before, *state_after]))
    first = replicates[0] if replicates else None
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
        quality=first.quality if first else None,
        energy=energy,
        effective=first.effective if first else None,
        target=settings.target,
        percentile=settings.percentile,
        replicates=replicates,
    )


def _verdict(target: Target, device: list[Reason]) -> tuple[Status, list[Reason]]:
    """The worst that its replicates found, and `device`: why the machine was in no state to measure.

    Caching needs as many replicates that show it as not.
    """
    replicates = target.replicates
    reasons = list(target.reasons)
    for found in [*(replicate.reasons for replicate in replicates), device]:
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
    invalid = device or any(reason.code == "caching" for reason in reasons)
    return ("invalid" if invalid else "ok"), reasons
