"""The order in which cells are measured, how long each may take, and when one is known well enough.

Replicates of different cells take turns, so that a drift of the machine meets all of them alike; the order
within such a round is drawn by the run's seed (`rounds`).
A cell is complete when the interval of its percentile, over replicates, is within the target, when
it has as many replicates as allowed, or when the budget is spent; its record is then on disk.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from edgebench import stats
from edgebench.analysis.per_row.answer_cache import CACHING, caches
from edgebench.analysis.per_row.plausibility import unlike_asked, within_ceilings
from edgebench.analysis.per_row.rate_search import (
    FIRST_SHARE,
    at_the_rate,
    next_step,
    search_of,
    search_reasons,
)
from edgebench.calibration import Calibration
from edgebench.definitions.companion_load import is_load, parse_companion
from edgebench.energy.run_meter import Meter, NoMeter
from edgebench.errors import DeviceStateError, UnsupportedError
from edgebench.measure import preparation_process, reruns, round_order
from edgebench.measure.cool_down import CoolDown
from edgebench.measure.launch_worker import run_worker
from edgebench.measure.model_files import Ask, NotReady
from edgebench.measure.power_modes import PowerModes
from edgebench.measure.replicate.sustained_loop import metered_window
from edgebench.measure.state_monitor import (
    StateMonitor,
    allowing_company,
    allowing_heat,
    postflight,
)
from edgebench.measure.stopping_rule import half_width, open_cells, precise
from edgebench.measure.wait_for_quiet import Quiet
from edgebench.measure.worker_messages import Companion, Done, Job
from edgebench.processes import signals
from edgebench.processes.child import OUT_OF_TIME
from edgebench.record import (
    MULTI_STREAM,
    CellFacts,
    DeviceFacts,
    Energy,
    Marker,
    ModelFacts,
    OperatorProfile,
    Quality,
    RateSearch,
    Reason,
    Record,
    Replicate,
    RunFacts,
    StateCheck,
    Status,
)
from edgebench.store import JournalEntry
from edgebench.words.reason_words import reason

MIN_SLICE_S = 0.2
#: What a slice brings with it beside itself: warm-up and never-seen inputs.
SLICE_FACTOR = 1.2
#: Scenarios whose rows tell of p99, which needs many queries.
RANKED_BY_P99 = (MULTI_STREAM, "server", "stream")
#: What a search for a rate is thought to measure.
EXPECTED_RATES = 8
#: First guesses of what a replicate takes beside its slice, until one was measured.
OVERHEAD_FIRST_S = 4.0
OVERHEAD_S = 0.8
#: What begins within the budget may end so much after it.
OVERTIME_S = 8.0
#: What a worker needs to score its answers and to say its last word.
CLOSING_S = 2.0
#: A cell's first turn may take so long, however little of the budget is its share.
MIN_TURN_S = 10.0
#: And so many times what it is thought to take.
TURN_FACTOR = 3.0
#: What was cut is thought to need so many times as long as it had.
MORE_THAN_BEFORE = 2.0
NO_METER = NoMeter(Energy(status="unavailable", reason="no_sensor", detail="no meter was given"))


class Settings(msgspec.Struct, frozen=True, kw_only=True):
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
    parity: float | None = None  # the user's own limit of the relative error; None: by the file
    first_window_s: float | None = None  # of a quick look: the first replicate of each cell
    companions: list[str] = []  # synthetic loads beside every cell, such as cpu:2
    together: bool = False  # cells of other workloads of the run are companions
    shape_sequence: list[str] = []  # as typed: "natural", or shapes of inputs; none: one shape
    worst_case_s: float = 0.0  # of each process, for a search for its slowest input
    loadgen: bool = False  # MLPerf's LoadGen drives each session too
    wait_quiet_s: float = 0.0  # at most, for a quiet machine before rounds; beside the budget
    cool_to_c: float | None = None  # of the chip, before each process; beside the budget
    profile: bool = False  # operators of each cell, after its last replicate
    instructions: str | None = None  # "callgrind": also counted by it, once a cell


@dataclass(frozen=True)
class Prepared:
    job: Job
    model: ModelFacts


@dataclass
class Target:
    """The state of a cell during a run, until its record is written.

    A target with neither `job` nor `prepare` cannot run, and `reasons` say why.
    """

    cell: CellFacts
    model: ModelFacts | None = None
    job: Job | None = None
    prepare: Callable[[Ask], Prepared | NotReady] | None = None  # makes the job
    first_s: float = 0.0  # a guess at what its first replicate takes beside the window
    cut: bool = False  # its first turn took more of the budget than there was for it
    had_s: float = 0.0  # how long that turn was, which was not enough
    status: Status = "ok"
    reasons: list[Reason] = field(default_factory=list)
    entries: list[JournalEntry] = field(default_factory=list)
    power_mode: str | None = None  # as read back after it was set
    companions: Sequence[str] = ()  # that its workload names: loads, and other workloads of the run

    @property
    def possible(self) -> bool:
        """Whether it can be measured, as far as is known."""
        return self.job is not None or self.prepare is not None

    def make_ready(self, ask: Ask) -> Reason | None:
        """Makes the job, where it is not there. What cannot be made stands in `reasons`; returned is the
        reason where only time ran out."""
        if self.job is not None or self.prepare is None:
            return None
        answer = self.prepare(ask)
        if isinstance(answer, Prepared):
            self.job, self.model = answer.job, answer.model
        elif answer.reason.code == OUT_OF_TIME:
            return answer.reason
        else:
            self.prepare, self.status = None, answer.status
            self.reasons.append(answer.reason)
        return None

    @property
    def taken(self) -> list[Replicate]:
        """All replicates as they came. What is due is decided by these: marks on some would change by which
        of the others each is held against."""
        return [entry.replicate for entry in self.entries]

    @property
    def replicates(self) -> list[Replicate]:
        """The same, in order; what a re-run replaced is marked."""
        return reruns.marked(self.taken)

    @property
    def valid_replicates(self) -> list[Replicate]:
        """Returns those that no re-run replaced."""
        return reruns.valid_replicates(self.taken)

    @property
    def sound(self) -> list[Replicate]:
        """Returns those that the machine did not spoil."""
        return [replicate for replicate in self.replicates if not reruns.disturbed(replicate)]

    @property
    def taken_bytes(self) -> int | None:
        """Memory that its processes had to themselves, at most; None: none was measured, or the system does not tell."""
        parts = [r.memory for r in self.taken if r.status == "ok" and r.memory is not None]
        found = [part.uss_end_bytes for part in parts if part.uss_end_bytes is not None]
        return max(found, default=None)

    @property
    def judging(self) -> Replicate | None:
        """The replicate whose answers judge the cell: the one that judged most items, as the budget may have
        cut the pass of others. One that lost its core, which a re-run replaced, answered as well as any."""
        sound = [entry.replicate for entry in self.entries if entry.replicate.status == "ok"]
        judged = [(r, r.quality) for r in (*self.valid_replicates, *sound) if r.quality is not None]
        best = max(judged, key=lambda each: (each[1].of is None, each[1].items), default=None)
        return best[0] if best is not None else next(iter(self.valid_replicates), None)

    @property
    def quality(self) -> Quality | None:
        return self.judging.quality if self.judging is not None else None

    @property
    def judged(self) -> bool:
        """Whether a replicate that counts has the quality pass behind it, and the budget did not cut it."""
        return any(r.quality is None or r.quality.of is None for r in self.sound)

    @property
    def judged_better(self) -> bool:
        """Whether another quality pass could tell more: the budget cut the last one, and it was not for want
        of the reference."""
        assert self.job is not None
        return not self.judged and (bool(self.job.reference.path) or self.job.generate is None)

    @property
    def timed(self) -> bool:
        return any(replicate.samples_ns for replicate in self.replicates)

    @property
    def sustained(self) -> bool:
        return self.cell.scenario == "sustained"

    def rate_search(self, least: int) -> RateSearch | None:
        """The search for its rate, of `least` replicates a rate; None: it seeks none."""
        bound_ns = self.cell.bound_p99_ns
        return None if bound_ns is None else search_of(self.valid_replicates, bound_ns, least)

    @property
    def settings(self) -> Mapping[str, str]:
        """Returns the machine's settings at the end of the first undisturbed replicate."""
        sound = (e for e in self.entries if not reruns.disturbed(e.replicate))
        return next((entry.settings for entry in sound), {})

    @property
    def broken(self) -> bool:
        """Whether a replicate ended in a way that the next would repeat."""
        return any(replicate.status in ("failed", "unsupported") for replicate in self.replicates)


class Keeper(Protocol):
    """Receives results as soon as they exist, to keep them."""

    @property
    def lock_fd(self) -> int: ...
    def add_replicate(self, entry: JournalEntry) -> None: ...
    def add_record(self, record: Record) -> None: ...


@dataclass(frozen=True)
class Outlook:
    cells: int
    processes: int  # at least
    expected_s: float
    budget_s: float | None  # that is left
    reachable: int  # cells that the budget is likely to reach


@dataclass(frozen=True)
class Shortened:
    """Holds what a run could not measure within its budget."""

    unreached: int  # cells without any replicate
    few: int  # cells with fewer replicates than were asked for
    quality: int  # cells whose quality is of a part of their items, or unknown
    needed_s: float  # a budget that is likely to do
    unsure: bool = (
        False  # one was cut before it had a row: how long it would have gone on nobody knows
    )


class Watcher(Protocol):
    """Receives the progress of a run, to show it to the user."""

    def begins(self, outlook: Outlook) -> None: ...
    def prepares(self, target: Target) -> None: ...
    def starts(self, target: Target, number: int, total: int, left_s: float) -> None: ...
    def tick(self) -> None: ...
    def disturbed(self, target: Target, replicate: Replicate, again: bool) -> None: ...
    def cut(self, target: Target, reason: Reason) -> None: ...
    def looked(self, record: Record) -> None: ...
    def completed(self, record: Record) -> None: ...


@dataclass(frozen=True)
class Surroundings:
    """Holds what all records of a run have in common. `first_round`: the number of its first round, since a run that
    goes on counts on."""

    run: RunFacts
    device: DeviceFacts
    state_before: list[StateCheck]
    calibration: Calibration | None = None
    first_round: int = 0


@dataclass(frozen=True)
class Means:
    launch: Callable[..., Done] = run_worker
    meter: Meter = NO_METER
    power_modes: PowerModes | None = None
    mark: Callable[[], list[Marker]] = list
    clock: Callable[[], float] = time.monotonic
    ask: Callable[..., bytes | Reason] = preparation_process.ask
    quiet: Quiet | None = None
    cool_down: CoolDown | None = None
    #: Times of a cell's operators, or why there are none; None: nobody asked.
    profile: Callable[[Job], OperatorProfile | Reason] | None = None
    loadgen_logs: Path | None = None  # folder for the logs of LoadGen; None: they are not kept


MEANS = Means()


class Runner:
    """Measures targets in rounds. `started_s` is when the budget began, on the clock of `means`."""

    def __init__(
        self,
        targets: Sequence[Target],
        settings: Settings,
        about: Surroundings,
        keeper: Keeper,
        watcher: Watcher,
        started_s: float,
        means: Means = MEANS,
    ) -> None:
        self._targets = targets
        self._settings = settings
        self._about = about
        self._keeper = keeper
        self._watcher = watcher
        self._started_s = started_s
        self._means = means
        self._quiet = means.quiet or Quiet()
        self._cool_down = means.cool_down or CoolDown()
        self._round = about.first_round
        #: Cells that leave the front or the choice open; None: nobody looked yet.
        self._undecided: set[str] | None = None
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
            if not target.possible or self._complete(target):
                self._finish(target)
            else:
                open_targets.append(target)
        if open_targets:
            self._watcher.begins(self._outlook(open_targets))
        if not self._presses:
            for target in open_targets:
                self._ready(target, float("inf"))
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

    @property
    def _presses(self) -> bool:
        """Whether a first row must not wait until all models are ready. Else they are made ahead, so that
        nothing but measurements heats the machine between two of them."""
        budget = self._settings.budget_s is not None and self._settings.hard_budget
        return budget or self._settings.first_window_s is not None

    def _enter(self, mode: str | None, targets: Sequence[Target]) -> bool:
        """Sets the power mode that targets ask for. Where it cannot be had, they are unsupported; what
        was measured in it before stands."""
        if self._means.power_modes is None:
            return True
        try:
            if mode is None:
                self._means.power_modes.restore()
                return True
            problem = self._means.power_modes.enter(mode)
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
            target.power_mode = problem
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
        while turns := self._turns(targets, due_only):
            self._quiet.wait()
            for target in turns:
                if self._may_start(target):
                    self._cool_down.wait()
                    begin_s = self._means.clock()
                    self._turn(target, scratch)
                    if target.cut:
                        target.had_s = max(target.had_s, self._means.clock() - begin_s)
            self._round += 1

    def _turns(self, targets: Sequence[Target], due_only: bool) -> list[Target]:
        """Targets that this round measures, in its order. Who was cut waits for those who were not."""
        due = [
            target
            for target in targets
            if target.cell.id not in self.records
            and self._may_start(target)
            and (self._due(target) or not due_only)
        ]
        if self._settings.budget_s is not None and not any(map(self._due, due)):
            due = self._deciding(due)
        others = [target for target in due if not target.cut]
        turns = others if any(map(self._due, others)) else due
        seed, number = self._settings.seed, self._round
        drawn = sorted(turns, key=lambda target: round_order.drawn_place(target.cell, seed, number))
        return cheap_first(drawn) if self._short_for(drawn) else drawn

    def _deciding(self, targets: Sequence[Target]) -> list[Target]:
        """Of targets that have what is due, those whose further replicates may decide something; all of
        them, for their precision, where nothing is left to decide."""
        measured = [target for target in self._targets if target.entries]
        records = [self.records.get(t.cell.id) or self._assemble(t) for t in measured]
        self._undecided = open_cells(records)
        for target in targets:
            if self._complete(target):
                self._finish(target)
        left = [target for target in targets if target.cell.id not in self.records]
        return [target for target in left if target.cell.id in self._undecided] or left

    def _short_for(self, targets: Sequence[Target]) -> bool:
        """Whether the budget may end before each of these had its first replicate."""
        first_s = [target.first_s + MIN_SLICE_S for target in targets if not target.entries]
        return bool(first_s) and sum(first_s) > self._left_s()

    def _turn(self, target: Target, scratch: Path) -> None:
        """A replicate of a target, whose model is made ready before its first one."""
        signals.check()
        begin_s, time_s = self._means.clock(), self._time_s(target)
        if not self._ready(target, time_s):
            return
        if time_s < float("inf"):
            rest_s = max(time_s - (self._means.clock() - begin_s), MIN_TURN_S)
            time_s = min(rest_s, self._left_s() + OVERTIME_S)
        if time_s <= CLOSING_S:
            self._cut(target, reason("out_of_time.model"))
            return
        for other in self._beside(target):
            if not self._ready(other, self._time_s(other)):
                self._lacks(target, other)
                return
        self._replicate(target, scratch, time_s)
        if self._complete(target):
            self._finish(target)

    def _ready(self, target: Target, time_s: float) -> bool:
        """Whether the target has a job now; it may take `time_s` to make it."""
        if target.job is not None:
            return True
        self._watcher.prepares(target)

        def ask(
            module: str, job: bytes, *, patience: float = 1.0, share: float = 1.0
        ) -> bytes | Reason:
            allowance = preparation_process.Allowance(
                patience * self._settings.time_out_s,
                self._settings.memory_limit_bytes,
                share * (end_s - self._means.clock()),
            )
            return self._means.ask(module, job, allowance, self._watcher.tick)

        end_s = self._means.clock() + time_s
        if reason := target.make_ready(ask):
            self._cut(target, reason)
        elif not target.possible:
            self._finish(target)
        return target.job is not None

    def _cut(self, target: Target, reason: Reason) -> None:
        """One that the budget cut is no finding: whether it hung, or was slow, nobody knows."""
        target.cut = True
        self._watcher.cut(target, reason)

    def _may_start(self, target: Target) -> bool:
        """Whether the budget allows another replicate of a target."""
        return self._left_s() > 0 or self._at_any_cost(target)

    def _at_any_cost(self, target: Target) -> bool:
        """Whether the next replicate is the one that a soft budget gives every cell."""
        return not self._settings.hard_budget and not target.entries

    def _time_s(self, target: Target) -> float:
        """How long a target's turn may take. A first one leaves half of the budget to others, unless it is
        thought to need more: a budget does not wait for the end of a hang."""
        if self._at_any_cost(target):
            return float("inf")
        most_s = self._left_s() + OVERTIME_S
        others = any(self._due(other) for other in self._targets if other is not target)
        if target.entries or not others:
            return most_s
        enough_s = max(MIN_TURN_S, TURN_FACTOR * self._first_s(target), self._left_s() / 2)
        share_s = max(MIN_TURN_S, most_s / self._backends_waiting(target))
        return min(most_s, enough_s, share_s)

    def _backends_waiting(self, target: Target) -> int:
        """Backends without a measured cell that may still get one, and the target's: one turn must not take
        what another backend's only row would need."""
        measured = {each.cell.backend for each in self._targets if each.timed}
        waiting = {each.cell.backend for each in self._targets if self._due(each)}
        return len({*(waiting - measured), target.cell.backend})

    def _unmeasured(self, target: Target) -> bool:
        return target.possible and not target.entries and target.cell.id not in self.records

    def _share_of_s(self, time_s: float) -> float | None:
        """A replicate's share of what the budget leaves, quality pass included, among those that have none, or
        a part; at most half of the rest is kept for later rounds. `time_s` is the most it may take. None:
        there is no budget."""
        if time_s == float("inf"):
            return None
        waiting = [t for t in self._targets if self._unmeasured(t) or (t.entries and not t.judged)]
        left_s = max(self._left_s() / 2, self._left_s() - self._later_s())
        return min(time_s - CLOSING_S, left_s / max(1, len(waiting)))

    def _later_s(self) -> float:
        """Returns what the replicates take at least that are due after the first ones: a cell that was judged whole and
        measured once has no interval."""
        later = sum(max(0, self._due(target) - (not target.entries)) for target in self._targets)
        return later * self._rest_s()

    def _rest_s(self) -> float:
        """Returns what a later replicate takes at least."""
        return _mean(self._overheads_s["rest"], OVERHEAD_S) + SLICE_FACTOR * MIN_SLICE_S

    def _left_s(self) -> float:
        if self._settings.budget_s is None:
            return float("inf")
        waited_s = self._quiet.spent_s + self._cool_down.spent_s
        spent_s = self._means.clock() - self._started_s - waited_s
        return self._settings.budget_s - spent_s

    def _complete(self, target: Target) -> bool:
        if target.broken or reruns.exhausted(target.taken, self._settings.reruns):
            return True
        if reruns.due(target.taken, self._settings.reruns) is not None:
            return False
        if (search := target.rate_search(self._settings.replicates)) is not None:
            return next_step(search) is None
        count = len(target.valid_replicates)
        if count >= self._settings.max_replicates:
            return True
        if count < self._settings.replicates:
            return False
        if target.sustained:  # it takes minutes: no more of them than were asked for
            return True
        return self._decided(target) and precise(
            target.valid_replicates, self._settings.percentile, self._settings.target
        )

    def _decided(self, target: Target) -> bool:
        """Whether no more replicates are needed to tell the target from others; a budget is there to be used
        for that, and without one precision alone counts."""
        if self._settings.budget_s is None:
            return True
        return self._undecided is not None and target.cell.id not in self._undecided

    def _replicate(self, target: Target, scratch: Path, time_s: float) -> None:
        """One more fresh process of a target, journalled before anything else happens."""
        assert target.job is not None
        index = len(target.entries)
        rerun_of = reruns.due(target.taken, self._settings.reruns)
        first = not target.sound
        window_s = self._window_s(target, self._share_s())
        slice_s = min(window_s, self._settings.slice_s)
        metered_s = self._metered_window_s(target, window_s)
        job = msgspec.structs.replace(
            self._at_its_rate(target, rerun_of),
            index=index,
            slice_s=slice_s,
            sustain_s=window_s if target.sustained else 0.0,
            min_window_s=metered_s,
            min_queries=self._min_queries(target),
            companions=self._companions(target),
            needs_bytes=target.taken_bytes,
            loadgen=self._loadgen_logs(target, index),
            warmup_s=max(0.3, slice_s / 2),
            full_quality=first or target.judged_better,
            thorough=first or rerun_of == target.sound[0].index,
            expected=str(scratch / f"{self._targets.index(target)}.npz"),
            time_s=self._share_of_s(time_s),
            most_s=None if time_s == float("inf") else time_s - CLOSING_S,
        )
        total = sum(self._processes(target) for target in self._targets if target.possible)
        self._watcher.starts(target, self._measured + 1, total, self._expected_s())
        begin_s = self._means.clock()
        idle = self._means.meter.idle() if metered_s else None
        markers = self._means.mark()
        done, changes, settings = self._watched(target, job, time_s)
        if cut := _out_of_time(done.replicate):
            self._cut(target, cut)
            return
        replicate = self._means.meter.measured(
            _with_state(_marked(done.replicate, [*markers, *self._means.mark()]), changes),
            target.cell.samples_per_query,
            idle,
        )
        replicate = msgspec.structs.replace(
            replicate, round=self._round, rerun_of=rerun_of, power_mode=target.power_mode
        )
        took_s = self._means.clock() - begin_s  # idle and markers around the worker included
        overhead_s = max(0.0, took_s - _planned_s(target, window_s, slice_s))
        if replicate.samples_ns:  # what was refused or died tells nothing of the others
            self._learn_overhead(target, overhead_s, first)
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
        self._tell(target, replicate)

    def _learn_overhead(self, target: Target, overhead_s: float, first: bool) -> None:
        """What a process took beyond its window; of a first one as a share of what was guessed for it."""
        if first:
            self._overheads_s["first"].append(overhead_s / (target.first_s or OVERHEAD_FIRST_S))
        else:
            self._overheads_s["rest"].append(overhead_s)

    def _tell(self, target: Target, replicate: Replicate) -> None:
        """Tells the watcher of a replicate. Raises DeviceStateError where `strict` allows no such state."""
        if self._settings.first_window_s is not None and len(target.entries) == 1:
            self._watcher.looked(self._assemble(target))
        if reruns.disturbed(replicate):
            again = reruns.due(target.taken, self._settings.reruns) is not None
            self._watcher.disturbed(target, replicate, again)
        worst = next((c for c in replicate.state_after if c.level == "invalid"), None)
        if self._settings.strict and worst is not None:
            raise DeviceStateError(
                f"the machine changed while it measured {target.cell.id}: {worst.evidence}",
                worst.fix,
            )

    def _loadgen_logs(self, target: Target, index: int) -> str | None:
        """The folder of a replicate's logs of LoadGen; "": they are not kept; None: it is not asked for."""
        if not self._settings.loadgen:
            return None
        folder = self._means.loadgen_logs
        if folder is None:
            return ""
        return str(folder / f"{self._targets.index(target)}-{index}")

    def _beside(self, target: Target) -> list[Target]:
        """A cell of every other workload of a run together: of the same backend and scenario, where there is one."""
        found: dict[str, Target] = {}
        for other in self._targets:
            if not self._settings.together and other.cell.workload not in target.companions:
                continue
            kept = found.get(name := other.cell.workload)
            better = kept is None or _alike(other, target) > _alike(kept, target)
            if name != target.cell.workload and better:
                found[name] = other
        return list(found.values())

    def _lacks(self, target: Target, other: Target) -> None:
        """Ends a target whose companion cannot run; where only time ran out, it is cut."""
        if other.possible:
            self._cut(target, reason("out_of_time.companion", workload=other.cell.workload))
            return
        why = other.reasons[0].message if other.reasons else other.status
        name = other.cell.workload
        target.status = "failed"
        target.reasons.append(reason("companion_failed.to_start", companion=name, why=why))
        self._finish(target)

    def _companions(self, target: Target) -> list[Companion]:
        loads = [text for text in target.companions if is_load(text)]
        made = [
            Companion(
                name=text,
                bytes_per_s=load.bytes_per_s,
                held_bytes=load.held_bytes,
                needs_bytes=load.needs_bytes,
                needs="asked for",
            )
            for text in [*self._settings.companions, *loads]
            for load in [parse_companion(text)]
            for _ in range(load.cores)
        ]
        return made + [
            Companion(
                name=other.cell.id,
                model=other.job,
                needs_bytes=other.taken_bytes,
                needs="measured",
            )
            for other in self._beside(target)
        ]

    def _at_its_rate(self, target: Target, rerun_of: int | None) -> Job:
        """Its job at the rate that a search wants next; a re-run is at the rate of what it replaces."""
        assert target.job is not None
        search = target.rate_search(self._settings.replicates)
        if search is None:
            return target.job
        again = [r.paced for r in target.taken if r.index == rerun_of and r.paced is not None]
        step = next_step(search)
        rate_per_s = again[0].rate_per_s if again else step.rate_per_s if step else None
        share = FIRST_SHARE if rate_per_s is None else None
        return msgspec.structs.replace(target.job, rate_per_s=rate_per_s, rate_share=share)

    def _watched(
        self, target: Target, job: Job, time_s: float
    ) -> tuple[Done, list[StateCheck], Mapping[str, str]]:
        """Returns what a worker found, what happened to the machine meanwhile, and its settings after."""
        state_monitor = StateMonitor()

        def tick() -> None:
            state_monitor.tick()
            self._watcher.tick()

        done = self._means.launch(
            job,
            time_out_s=self._settings.time_out_s,
            time_s=time_s,
            inherited_fds=(self._keeper.lock_fd,) if self._keeper.lock_fd >= 0 else (),
            on_tick=tick,
        )
        changes = state_monitor.end(target.settings)
        if job.companions:
            changes = allowing_company(changes)
        return done, allowing_heat(changes) if target.sustained else changes, state_monitor.settings

    def _share_s(self) -> float:
        """Returns what the budget leaves for the window of each replicate that is due."""
        if self._settings.budget_s is None:
            return float("inf")
        count = sum(map(self._due, self._targets))
        return (self._left_s() - self._overhead_s()) / max(count, 1) / SLICE_FACTOR

    def _window_s(self, target: Target, share_s: float) -> float:
        """The measured window of the next replicate: its share, at most the setting."""
        most_s = self._settings.sustain_s if target.sustained else self._settings.slice_s
        first_s = self._settings.first_window_s
        if first_s is not None and not target.entries and not target.sustained:
            most_s = min(most_s, first_s)
        return min(most_s, max(MIN_SLICE_S, share_s))

    def _metered_window_s(self, target: Target, window_s: float) -> float:
        """The window that the meter needs, if the budget leaves so much for each replicate that is
        due, and a sustained load lasts long enough; else 0: energy is refused then, with the length
        needed, and latency is measured."""
        needed_s = self._means.meter.needed_s
        if target.sustained and not metered_window(needed_s, window_s):
            return 0.0
        count = sum(map(self._due, self._targets))
        left_s = (self._left_s() - self._overhead_s()) / max(count, 1)
        return needed_s if left_s >= SLICE_FACTOR * needed_s else 0.0

    def _processes(self, target: Target) -> int:
        """Processes of a target, as far as can be said: those of a search are those it is thought to need."""
        if target.cell.bound_p99_ns is not None:
            return len(target.entries) + self._due(target)
        return max(self._settings.replicates, len(target.entries))

    def _min_queries(self, target: Target) -> int:
        """Queries of a replicate so that all of them tell p99, where a row tells of it and no budget ends
        the run. A search needs them whatever the budget: without them it finds nothing."""
        pressed = self._settings.budget_s is not None and target.cell.bound_p99_ns is None
        if target.cell.scenario not in RANKED_BY_P99 or pressed:
            return 0
        return math.ceil(stats.min_samples(990) / self._settings.replicates)

    def _due(self, target: Target) -> int:
        """Replicates of a target that are due at least."""
        if target.cell.id in self.records or not target.possible or target.cut:
            return 0
        again = reruns.due(target.taken, self._settings.reruns) is not None
        search = target.rate_search(self._settings.replicates)
        if search is not None and next_step(search) is not None:
            left = max(1, EXPECTED_RATES - len(search.trials))
            return left * self._settings.replicates + again
        return max(0, self._settings.replicates - len(target.valid_replicates)) + again

    def _overhead_s(self) -> float:
        """Returns what the replicates that are due take beside their windows."""
        due = sum(map(self._due, self._targets))
        firsts = [t for t in self._targets if self._due(t) and not t.entries]
        overhead_s = sum(self._first_s(target) for target in firsts)
        return overhead_s + (due - len(firsts)) * _mean(self._overheads_s["rest"], OVERHEAD_S)

    def _first_s(self, target: Target) -> float:
        """Returns what a first replicate takes beside its window: as guessed, scaled by what others took."""
        return (target.first_s or OVERHEAD_FIRST_S) * _mean(self._overheads_s["first"], 1.0)

    def _expected_s(self) -> float:
        """Time until the last replicate, at most what the budget leaves."""
        return min(self._work_s(), max(0.0, self._left_s()))

    def _work_s(self) -> float:
        """Returns what the replicates take that are due or, by what the cells' intervals tell, will be."""
        planned_s, share_s = self._overhead_s(), self._share_s()
        rest_s = _mean(self._overheads_s["rest"], OVERHEAD_S)
        for target in self._targets:
            due, more = self._due(target), self._more(target)
            window_s = self._window_s(target, share_s)
            slice_s = min(window_s, self._settings.slice_s)
            planned_s += (due + more) * _planned_s(target, window_s, slice_s) + more * rest_s
        return planned_s

    def _more(self, target: Target) -> int:
        """Replicates beyond those that are due which a cell is likely to need for its precision."""
        if target.cell.id in self.records or not target.possible or self._complete(target):
            return 0
        count, most = len(target.valid_replicates), self._settings.max_replicates
        width = half_width(target.valid_replicates, self._settings.percentile)
        if target.sustained or target.cell.bound_p99_ns is not None or width is None:
            return 0
        needed = math.ceil(count * min(width / self._settings.target, 9.0) ** 2)
        return max(0, min(needed, most) - max(count, self._settings.replicates))

    def _outlook(self, targets: Sequence[Target]) -> Outlook:
        left_s = self._left_s()
        reachable, first_s = 0, 0.0
        for target in sorted(targets, key=self._first_s):
            first_s += self._first_s(target) + MIN_SLICE_S
            reachable += first_s <= left_s
        return Outlook(
            cells=len(targets),
            processes=sum(map(self._due, targets)),
            expected_s=self._work_s(),
            budget_s=None if left_s == float("inf") else left_s,
            reachable=reachable,
        )

    def shortened(self) -> Shortened | None:
        """Returns what the budget cut, after `measure`; None: nothing."""
        if self._settings.budget_s is None:
            return None
        measured = [target for target in self._targets if target.entries]
        unreached = [t for t in self._targets if t.possible and not t.entries]
        few = [
            target
            for target in measured
            if not target.broken
            and len(target.valid_replicates) < self._settings.replicates
            and not reruns.exhausted(target.taken, self._settings.reruns)
        ]
        part = [t for t in measured if t.quality is not None and t.quality.of is not None]
        if not unreached and not few and not part:
            return None
        missing = sum(self._settings.replicates - len(target.valid_replicates) for target in few)
        later = len(unreached) * (self._settings.replicates - 1)
        needed_s = sum(max(self._first_s(t), MORE_THAN_BEFORE * t.had_s) for t in unreached)
        needed_s += (missing + later) * self._rest_s() + sum(map(_quality_needed_s, part))
        return Shortened(
            len(unreached),
            len(few),
            len(part),
            self._settings.budget_s + 1.2 * needed_s,
            unsure=any(target.cut for target in unreached),
        )

    @property
    def unreached(self) -> list[CellFacts]:
        """Cells that could be measured and have no record, after `measure`."""
        return [t.cell for t in self._targets if t.cell.id not in self.records]

    def found(self) -> list[Record]:
        """Records of all cells that are complete or have replicates."""
        return [*self.records.values(), *self.provisional()]

    def provisional(self) -> list[Record]:
        """Records of cells that have replicates but are not complete: to be shown, not kept."""
        return [
            self._assemble(target)
            for target in self._targets
            if target.entries and target.cell.id not in self.records
        ]

    def _finish(self, target: Target) -> None:
        record = self._with_profile(self._assemble(target), target)
        self.records[record.cell.id] = record
        self._keeper.add_record(record)
        self._watcher.completed(record)

    def _with_profile(self, record: Record, target: Target) -> Record:
        """The record with the times of its operators, where they were asked for and it was measured."""
        if self._means.profile is None or target.job is None or not target.timed:
            return record
        found = self._means.profile(target.job)
        if isinstance(found, Reason):
            return msgspec.structs.replace(record, reasons=[*record.reasons, found])
        return msgspec.structs.replace(record, profile=found)

    def _assemble(self, target: Target) -> Record:
        search = target.rate_search(self._settings.replicates)
        energy = self._means.meter.of_record(at_the_rate(target.replicates, search))
        record = _assemble(target, self._settings, self._about, energy)
        return within_ceilings(record, self._about.calibration)


def _by_power_mode(targets: Sequence[Target]) -> list[tuple[str | None, list[Target]]]:
    """Targets by the mode they ask for: modes are slow to change, so cells of one take turns among
    themselves."""
    groups: dict[str | None, list[Target]] = {}
    for target in targets:
        mode = target.cell.variant.get("power_mode")
        groups.setdefault(None if mode is None else str(mode), []).append(target)
    return list(groups.items())


def _alike(other: Target, target: Target) -> int:
    """How many of backend and scenario two cells share."""
    mine, its = target.cell, other.cell
    return (its.backend == mine.backend) + (its.scenario == mine.scenario)


def _planned_s(target: Target, window_s: float, slice_s: float) -> float:
    """Returns what a replicate takes for its window and what comes with it."""
    return SLICE_FACTOR * slice_s + (window_s if target.sustained else 0.0)


def _marked(replicate: Replicate, markers: list[Marker]) -> Replicate:
    """The replicate with the bursts of load around it, if there were any."""
    return msgspec.structs.replace(replicate, markers=markers) if markers else replicate


def _out_of_time(replicate: Replicate) -> Reason | None:
    """Why nothing was measured, where it is that the budget ended first."""
    return next((r for r in replicate.reasons if r.code == OUT_OF_TIME), None)


def cheap_first(targets: Sequence[Target]) -> list[Target]:
    """The cheapest of each backend, then the next of each: where a budget is too short for all, every
    backend has some. Of equals, who stands first goes first."""
    queues: dict[str, list[Target]] = {}
    for target in sorted(targets, key=lambda target: target.first_s):
        queues.setdefault(target.cell.backend, []).append(target)
    turns = zip_longest(*queues.values())
    return [target for turn in turns for target in turn if target is not None]


def _quality_needed_s(target: Target) -> float:
    """Returns what the rest of a quality pass that was cut takes, as the time that each of its items took."""
    judging = target.judging
    quality = judging.quality if judging is not None else None
    if judging is None or quality is None or quality.of is None:
        return 0.0
    return (judging.wall_s or 0.0) * (quality.of - quality.items) / max(1, quality.items)


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


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


def _assemble(target: Target, settings: Settings, about: Surroundings, energy: Energy) -> Record:
    replicates = target.replicates
    state_before = about.state_before
    state_after = postflight(about.device, state_before, "power_mode" in target.cell.variant)
    if target.sustained:
        state_after = allowing_heat(state_after)
    judged = target.judging
    unlike = unlike_asked(target.cell.variant, judged.effective if judged else None)
    search = target.rate_search(settings.replicates)
    status, reasons = _verdict(
        target, [*unlike, *search_reasons(search), *_invalid([*state_before, *state_after])]
    )
    first = next(iter(target.valid_replicates), None)
    return Record(
        cell=target.cell,
        status=status,
        reasons=reasons,
        run=about.run,
        device=about.device,
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
        rate_search=search,
    )


def _verdict(target: Target, more: list[Reason]) -> tuple[Status, list[Reason]]:
    """The worst that its replicates found, and `more`: why it is not what was asked for, or the machine was
    in no state to measure."""
    replicates = target.valid_replicates
    reasons = list(target.reasons)
    for found in [*(replicate.reasons for replicate in replicates), more]:
        reasons += [reason for reason in found if reason not in reasons]
    if target.quality is not None and target.quality.of is None:
        reasons = [reason for reason in reasons if reason.code != reruns.QUALITY_CUT]
    if caches(replicates):
        reasons.append(CACHING)
    statuses = {target.status, *(replicate.status for replicate in replicates)}
    for status in ("failed", "unsupported", "invalid"):
        if status in statuses:
            return status, reasons
    invalid = more or any(reason.code == "caching" for reason in reasons)
    return ("invalid" if invalid else "ok"), reasons
