"""Which cell is measured when, for how long, and when it is complete; no process is started."""

from __future__ import annotations

import math
import random
import signal
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgebench import record as rec
from edgebench.analysis.per_row.rate_search import rounded
from edgebench.api.run_options import resolved
from edgebench.cli import run
from edgebench.definitions.workload import Quality
from edgebench.energy.replicate_energy import Idle
from edgebench.energy.run_meter import Meter
from edgebench.errors import DeviceStateError, StoreError
from edgebench.measure import reruns
from edgebench.measure.model_files import NotReady
from edgebench.measure.replicate import loops
from edgebench.measure.runner import (
    MIN_SLICE_S,
    NO_METER,
    OVERHEAD_S,
    OVERTIME_S,
    SLICE_FACTOR,
    Means,
    Outlook,
    Prepared,
    Runner,
    Settings,
    Surroundings,
    Target,
)
from edgebench.measure.wait_for_quiet import Quiet
from edgebench.measure.worker_messages import Done, Job
from edgebench.probes import machine_state
from edgebench.processes import signals
from edgebench.processes.child import OUT_OF_TIME
from edgebench.record import (
    CellFacts,
    Energy,
    Marker,
    Reason,
    Record,
    Replicate,
    StateCheck,
    Unseen,
)
from edgebench.store import JournalEntry
from tests.records import quality, record, replicate, samples

A_RECORD = record()
NOW_S = 1000.0


def now() -> float:
    """A clock that stands still: only a launch that says so takes time."""
    return NOW_S


class Keeper:
    """Keeps results in memory."""

    lock_fd = -1

    def __init__(self) -> None:
        self.entries: list[JournalEntry] = []
        self.records: list[Record] = []

    def add_replicate(self, entry: JournalEntry) -> None:
        self.entries.append(entry)

    def add_record(self, record: Record) -> None:
        self.records.append(record)


class Watcher:
    def starts(self, target: Target, number: int, total: int, left_s: float) -> None: ...
    def tick(self) -> None: ...
    def disturbed(self, target: Target, replicate: Replicate, again: bool) -> None: ...
    def cut(self, target: Target, reason: Reason) -> None: ...
    def prepares(self, target: Target) -> None: ...
    def begins(self, outlook: Outlook) -> None: ...
    def looked(self, record: Record) -> None: ...
    def completed(self, record: Record) -> None: ...


def job() -> Job:
    return Job(
        index=0,
        backend="null",
        options={},
        model_path="m.onnx",
        model_format="onnx",
        model_sha256="0",
        precision="fp32",
        batch=1,
        task="t",
        task_options={},
        task_data={},
        model_asset="",
        fp32_path="",
        fp32_inputs=[],
        seed=0,
        scenario="single_stream",
        rate_per_s=None,
        warmup_s=1.0,
        slice_s=1.0,
        target=0.02,
        percentile=0.5,
        max_samples=100,
        quality=Quality(metric="accuracy", floor=0.5),
        full_quality=True,
        expected="",
    )


def target(name: str) -> Target:
    cell = msgspec.structs.replace(A_RECORD.cell, id=name)
    return Target(cell, job=job())


Launch = Callable[..., Done]


def steady_launch(job: Job, **_: Any) -> Done:
    """A replicate whose median is the same every time."""
    return Done(replicate(job.index, samples(7e6, 50, 0)))


def spread_launch(job: Job, **_: Any) -> Done:
    """Replicates that differ by far more than any target."""
    return Done(replicate(job.index, samples(7e6 * (1 + 0.5 * (job.index % 2)), 50, 0)))


def measure(
    targets: list[Target],
    launch: Launch = steady_launch,
    settings: Settings | None = None,
    keeper: Keeper | None = None,
    started_s: float | None = None,
    before: list[StateCheck] | None = None,
    meter: Meter = NO_METER,
    clock: Callable[[], float] = now,
    first_round: int = 0,
    **others: Any,
) -> tuple[Runner, Keeper, list[CellFacts]]:
    keeper = keeper or Keeper()
    campaign = Runner(
        targets,
        settings or Settings(),
        Surroundings(A_RECORD.run, A_RECORD.device, before or [], first_round=first_round),
        keeper,
        Watcher(),
        NOW_S if started_s is None else started_s,
        Means(launch, meter=meter, clock=clock, **others),
    )
    return campaign, keeper, campaign.measure()


def queued_launch(job: Job, **_: Any) -> Done:
    """A device that serves a query in 5 ms, under the arrivals that the job asks for."""
    now_ns = 0

    def sleep(seconds: float) -> None:
        nonlocal now_ns
        now_ns += round(seconds * 1e9)

    rate = job.rate_per_s or rounded((job.rate_share or 0) * 1e9 / 5e6)
    window = loops.at_a_rate(
        lambda _: sleep(0.005),
        [0],
        loops.poisson(rate, max(300, job.min_queries), job.index),
        clock=lambda: now_ns,
        sleep=sleep,
    )
    return Done(replicate(job.index, window.samples_ns, paced=window.paced))


def test_a_bound_has_the_rate_sought_in_fresh_processes_of_each_rate() -> None:
    cell = msgspec.structs.replace(
        A_RECORD.cell, id="a", scenario="server", bound_p99_ns=25_000_000
    )
    _, keeper, unreached = measure([Target(cell, job=job())], queued_launch)
    (found,) = keeper.records
    assert not unreached
    assert found.status == "ok"
    assert found.rate_search is not None
    assert found.rate_search.ended == "found"
    assert 90 < (found.rate_search.rate_per_s or 0) < 150
    assert sum(len(trial.replicates) for trial in found.rate_search.trials) == len(found.replicates)
    assert len(keeper.entries) == len(found.replicates)


def test_a_bound_that_no_rate_keeps_is_a_clear_row() -> None:
    cell = msgspec.structs.replace(A_RECORD.cell, id="a", scenario="server", bound_p99_ns=4_000_000)
    _, keeper, _ = measure([Target(cell, job=job())], queued_launch)
    (found,) = keeper.records
    assert found.status == "invalid"
    assert [reason.code for reason in found.reasons] == ["bound_not_kept"]


def test_cells_take_turns() -> None:
    _, keeper, unreached = measure([target("a"), target("b")])
    cells = [e.cell for e in keeper.entries]
    assert [set(cells[start : start + 2]) for start in (0, 2, 4)] == [{"a", "b"}] * 3
    assert [e.replicate.round for e in keeper.entries] == [0, 0, 1, 1, 2, 2]
    assert {r.cell.id for r in keeper.records} == {"a", "b"}
    assert unreached == []


def orders(names: str, seed: int = 0, **options: Any) -> list[str]:
    """The cells of each round, in the order in which they were measured."""
    settings = Settings(replicates=4, max_replicates=4, seed=seed)
    _, keeper, _ = measure([target(name) for name in names], settings=settings, **options)
    first = min(entry.replicate.round or 0 for entry in keeper.entries)
    found = [""] * 4
    for entry in keeper.entries:
        assert entry.replicate.round is not None
        found[entry.replicate.round - first] += entry.cell
    return found


def test_the_order_within_a_round_is_drawn_by_the_seed() -> None:
    drawn = orders("abcdef")
    assert all(sorted(order) == list("abcdef") for order in drawn)
    assert len(set(drawn)) == 4, "a fixed order lays a neighbour's heat on one cell"
    assert orders("fedcba") == drawn, "the order of the plan decides nothing"
    assert orders("abcdef", seed=1) != drawn
    without = [order.replace("c", "") for order in drawn]
    assert orders("abdef") == without, "a cell that is gone changes the order of no other"


def test_no_cell_has_the_same_neighbour_or_place_in_every_round() -> None:
    cells = "abcdefgh"
    places = dict.fromkeys(cells, 0.0)
    before: dict[str, int] = {}
    for seed in range(25):
        for order in orders(cells, seed):
            for place, name in enumerate(order):
                places[name] += place / 100
            for pair in pairwise(order):
                before["".join(pair)] = before.get("".join(pair), 0) + 1
    # Of 100 rounds: the mean place is 3.5 and each of 56 pairs follows 12.5 times, to five sigma.
    assert all(abs(place - 3.5) < 5 * 2.3 / 10 for place in places.values())
    assert len(before) == 56
    assert all(abs(count - 12.5) < 5 * 3.5 for count in before.values())


def test_a_run_that_goes_on_begins_a_new_round() -> None:
    """What was measured before the stop is no neighbour in time of what follows."""
    settings = Settings(replicates=2, max_replicates=2)
    began = [target("a"), target("b")]
    old = replicate(0, samples(7e6, 50, 0), round=0)
    began[0].entries.append(JournalEntry(cell="a", replicate=old))
    _, keeper, _ = measure(began, settings=settings, first_round=1)
    assert sorted((e.cell, e.replicate.round) for e in keeper.entries) == [
        ("a", 1),
        ("b", 1),
        ("b", 2),
    ]


def test_a_rerun_belongs_to_the_round_in_which_it_was_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spoil(monkeypatch, 1)
    settings = Settings(replicates=2, max_replicates=2)
    _, keeper, _ = measure([target("a")], settings=settings)
    assert [(r.round, r.rerun_of) for r in keeper.records[0].replicates] == [
        (0, None),
        (1, None),
        (2, 1),
    ]


def test_a_cell_that_varies_gets_more_replicates_up_to_the_limit() -> None:
    _, keeper, _ = measure([target("a")], spread_launch, Settings(max_replicates=7))
    assert len(keeper.entries) == 7
    assert len(keeper.records[0].replicates) == 7


def test_an_invalid_cell_gets_no_replicates_for_precision() -> None:
    deferred = Reason(code="outputs_deferred", message="read later")

    def launch(job: Job, **_: Any) -> Done:
        return Done(replicate(job.index, [], status="invalid", reasons=[deferred]))

    _, keeper, _ = measure([target("a")], launch)
    assert len(keeper.entries) == Settings().replicates
    assert keeper.records[0].status == "invalid"


def test_quality_is_measured_in_full_once() -> None:
    full: list[bool] = []

    def launch(job: Job, **_: Any) -> Done:
        full.append(job.full_quality)
        return steady_launch(job)

    measure([target("a")], launch)
    assert full == [True, False, False]


@pytest.mark.parametrize("status", ["failed", "unsupported"])
def test_a_crash_is_not_repeated(status: Any) -> None:
    def launch(job: Job, **_: Any) -> Done:
        reason = Reason(code="crashed", message="died")
        return Done(replicate(job.index, status=status, reasons=[reason]))

    _, keeper, _ = measure([target("a"), target("b")], launch)
    assert len(keeper.entries) == 2
    assert [r.status for r in keeper.records] == [status] * 2
    assert keeper.records[0].reasons == [Reason(code="crashed", message="died")]


def test_a_cell_without_a_job_is_a_record_at_once() -> None:
    why = Reason(code="asset_unavailable", message="no network")
    hopeless = Target(target("a").cell, status="failed", reasons=[why])
    _, keeper, _ = measure([hopeless])
    assert keeper.entries == []
    assert keeper.records[0].status == "failed"
    assert keeper.records[0].reasons == [why]


def test_a_spent_budget_keeps_what_was_measured_and_names_the_rest() -> None:
    launched = []

    def launch(job: Job, **_: Any) -> Done:
        launched.append(job)
        if len(launched) == 2:  # time flies
            campaign._started_s -= 200.0
        return steady_launch(job)

    keeper = Keeper()
    campaign = Runner(
        [target("a"), target("b"), target("c")],
        Settings(budget_s=100.0),
        Surroundings(A_RECORD.run, A_RECORD.device, []),
        keeper,
        Watcher(),
        NOW_S,
        Means(launch, clock=now),
    )
    unreached = campaign.measure()
    assert len(unreached) == 1
    assert {r.cell.id for r in keeper.records} == {"a", "b", "c"} - {unreached[0].id}
    assert all(len(r.replicates) == 1 for r in keeper.records)


def test_a_soft_budget_gives_every_cell_one_replicate() -> None:
    settings = Settings(budget_s=1.0, hard_budget=False)
    long_ago_s = NOW_S - 100.0
    _, keeper, unreached = measure(
        [target("a"), target("b")], settings=settings, started_s=long_ago_s
    )
    assert unreached == []
    assert [len(r.replicates) for r in keeper.records] == [1, 1]


def test_a_hard_budget_that_is_spent_measures_nothing() -> None:
    long_ago_s = NOW_S - 100.0
    _, keeper, unreached = measure(
        [target("a")], settings=Settings(budget_s=1.0), started_s=long_ago_s
    )
    assert [cell.id for cell in unreached] == ["a"]
    assert keeper.records == []


@pytest.mark.parametrize(
    ("settings", "times_s"),
    [
        (Settings(), [math.inf] * 3),
        (Settings(budget_s=60.0), [60.0 + OVERTIME_S] * 3),
        (Settings(budget_s=3.0), [3.0 + OVERTIME_S] * 3),
        # A row for every cell, whatever it takes: a slow load is no hang.
        (
            Settings(budget_s=3.0, hard_budget=False),
            [math.inf, 3.0 + OVERTIME_S, 3.0 + OVERTIME_S],
        ),
    ],
)
def test_a_budget_waits_for_no_hang(settings: Settings, times_s: list[float]) -> None:
    given: list[float] = []

    def launch(job: Job, time_out_s: float, time_s: float, **_: Any) -> Done:
        assert time_out_s == settings.time_out_s
        given.append(time_s)
        return steady_launch(job)

    measure([target("a")], launch, settings)
    assert given == times_s


class Machine:
    """A clock that moves by what is done, and cells that take `takes_s` of it, or as long as they may."""

    def __init__(self, **takes_s: float) -> None:
        self.now_s = NOW_S
        self.takes_s = takes_s
        self.turns: list[str] = []

    def clock(self) -> float:
        return self.now_s

    def target(self, name: str, **changes: Any) -> Target:
        made = target(name)
        made.job = msgspec.structs.replace(job(), model_path=name)
        for field, value in changes.items():
            setattr(made, field, value)
        return made

    def launch(self, job: Job, time_s: float, **_: Any) -> Done:
        self.turns.append(job.model_path)
        needed_s = self.takes_s[job.model_path]
        self.now_s += min(needed_s, time_s)
        if needed_s <= time_s:
            return steady_launch(job)
        late = Reason(code=OUT_OF_TIME, message="the budget ended during load")
        return Done(replicate(job.index, status="failed", reasons=[late]))

    def measure(self, targets: list[Target], **settings: Any) -> tuple[Keeper, list[str]]:
        asked = Settings(**{"replicates": 3, "max_replicates": 3, **settings})
        _, keeper, unreached = measure(targets, self.launch, asked, clock=self.clock)
        return keeper, [cell.id for cell in unreached]

    @property
    def took_s(self) -> float:
        return self.now_s - NOW_S


TAKES_S = st.sampled_from([0.5, 3.0, 9.0, 40.0, math.inf])


@given(
    takes_s=st.lists(st.tuples(TAKES_S, TAKES_S), min_size=1, max_size=8),
    budget_s=st.sampled_from([1.0, 10.0, 20.0, 60.0, 300.0]),
)
def test_a_budget_ends_whatever_preparations_and_cells_do(
    takes_s: list[tuple[float, float]], budget_s: float
) -> None:
    machine = Machine(**{f"c{number}": taken for number, (_, taken) in enumerate(takes_s)})

    def made_in(name: str, needed_s: float) -> Callable[[Any], Prepared | NotReady]:
        def prepare(ask: Any) -> Prepared | NotReady:
            answer = ask("prepare", str(needed_s).encode(), share=0.5)
            if isinstance(answer, Reason):
                answer = ask("prepare", b"3.0")  # without the reference
            if isinstance(answer, Reason):
                return NotReady("failed", answer)
            assert A_RECORD.model is not None
            return Prepared(msgspec.structs.replace(job(), model_path=name), A_RECORD.model)

        return prepare

    def ask(module: str, asked: bytes, allowance: Any, on_tick: Any) -> bytes | Reason:
        needed_s = float(asked)
        machine.now_s += max(0.0, min(needed_s, allowance.time_s))
        late = Reason(code=OUT_OF_TIME, message="late")
        return b"made" if needed_s <= allowance.time_s else late

    cells = [machine.target(name) for name in machine.takes_s]
    for cell, (needed_s, _) in zip(cells, takes_s, strict=True):
        cell.job, cell.prepare = None, made_in(cell.cell.id, needed_s)
    settings = Settings(budget_s=budget_s, replicates=3, max_replicates=3)
    measure(cells, machine.launch, settings, clock=machine.clock, ask=ask)
    assert machine.took_s <= budget_s + OVERTIME_S


def test_a_cell_that_hangs_leaves_time_for_the_others() -> None:
    machine = Machine(hangs=math.inf, works=2.0)
    keeper, unreached = machine.measure(
        [machine.target("hangs"), machine.target("works")], budget_s=60.0
    )
    assert unreached == ["hangs"]
    assert [(r.cell.id, len(r.replicates)) for r in keeper.records] == [("works", 3)]
    assert machine.turns[-1] == "hangs", "what is left is for the one that was cut"


def test_a_cell_that_is_refused_at_once_shortens_no_turn_of_others() -> None:
    given: list[float] = []
    machine = Machine(refused=1.0, slow=50.0)

    def launch(job: Job, time_s: float, **_: Any) -> Done:
        if job.model_path == "refused":
            machine.now_s += 1.0
            no = Reason(code="unsupported", message="one thread only")
            return Done(replicate(job.index, status="unsupported", reasons=[no]))
        given.append(time_s)
        return machine.launch(job, time_s)

    cells = [machine.target("refused", first_s=10.0), machine.target("slow", first_s=20.0)]
    cells.append(machine.target("slow", first_s=30.0))
    settings = Settings(budget_s=70.0, replicates=1, max_replicates=1)
    measure(cells, launch, settings, clock=machine.clock)
    assert given[0] >= 60.0, "three times what it is thought to take"


def test_a_wait_for_quiet_is_no_part_of_the_budget() -> None:
    machine = Machine(a=5.0)

    def look() -> str:
        machine.now_s += 2.0
        return "others use 45% of the CPUs" if machine.took_s < 50 else ""

    settings = Settings(budget_s=30.0, replicates=3, max_replicates=3)
    quiet = Quiet(60.0, look=look, clock=machine.clock)
    keeper = Keeper()
    campaign = Runner(
        [machine.target("a")],
        settings,
        Surroundings(A_RECORD.run, A_RECORD.device, []),
        keeper,
        Watcher(),
        NOW_S,
        Means(machine.launch, clock=machine.clock, quiet=quiet),
    )
    assert campaign.measure() == []
    assert len(keeper.records[0].replicates) == 3


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        (Settings(replicates=1, max_replicates=1), ["make", "make", "run", "run"]),
        (
            Settings(replicates=1, max_replicates=1, budget_s=9.0, hard_budget=False),
            ["make", "make", "run", "run"],
        ),
        # A first row must not wait for all models.
        (Settings(replicates=1, max_replicates=1, budget_s=9.0), ["make", "run"] * 2),
        (Settings(replicates=1, max_replicates=1, first_window_s=0.3), ["make", "run"] * 2),
    ],
)
def test_models_are_made_ahead_unless_time_presses(settings: Settings, steps: list[str]) -> None:
    done: list[str] = []

    def prepare(ask: Any) -> Prepared | NotReady:
        done.append("make")
        assert A_RECORD.model is not None
        return Prepared(job(), A_RECORD.model)

    def launch(job: Job, **_: Any) -> Done:
        done.append("run")
        return steady_launch(job)

    cells = [target("a"), target("b")]
    for cell in cells:
        cell.job, cell.prepare = None, prepare
    measure(cells, launch, settings)
    assert done == steps


@pytest.mark.parametrize("hangs", [False, True])
def test_a_failed_preparation_is_a_row_and_one_cut_by_the_budget_is_not(hangs: bool) -> None:
    code = OUT_OF_TIME if hangs else "preparation"
    late = NotReady("failed", Reason(code=code, message="no model"))
    cell = target("a")
    cell.job, cell.prepare = None, lambda ask: late
    machine = Machine(b=1.0)
    clock = iter(range(int(NOW_S), int(NOW_S) + 10_000))
    settings = Settings(budget_s=60.0, replicates=1, max_replicates=1)
    _, keeper, unreached = measure(
        [cell, machine.target("b")], machine.launch, settings, clock=lambda: float(next(clock))
    )
    found = {made.cell.id: made.status for made in keeper.records}
    assert found == ({"b": "ok"} if hangs else {"a": "failed", "b": "ok"})
    assert [cell.id for cell in unreached] == (["a"] if hangs else [])


def test_a_first_look_is_short_and_is_shown_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[int] = []
    monkeypatch.setattr(Watcher, "looked", lambda _, made: shown.append(len(made.replicates)))
    slices_s: list[float] = []

    def launch(job: Job, **_: Any) -> Done:
        slices_s.append(job.slice_s)
        return steady_launch(job)

    measure([target("a")], launch, Settings(first_window_s=0.3))
    assert (slices_s, shown) == ([0.3, 2.0, 2.0], [1])


def test_a_signal_whose_exception_was_lost_ends_the_run_before_the_next_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(signals, "_asked", [signal.SIGTERM])
    keeper = Keeper()
    with pytest.raises(signals.Stopped, match="SIGTERM"):
        measure([target("a")], keeper=keeper)
    assert keeper.entries == []


def test_a_spoilt_replicate_whose_quality_pass_was_cut_is_still_a_spoilt_one() -> None:
    reasons = [
        Reason(code="device_thermal_throttle", message="hot"),
        Reason(code=reruns.QUALITY_CUT, message="quality over 10 of 100 items"),
    ]
    assert reruns.disturbed(replicate(0, status="invalid", reasons=reasons))
    assert not reruns.disturbed(replicate(0, status="ok", reasons=reasons[1:]))


def test_cells_cut_by_the_budget_are_counted() -> None:
    machine = Machine(a=4.0, b=4.0, c=4.0)
    cells = [machine.target(name) for name in "abc"]
    settings = Settings(budget_s=18.0, replicates=3, max_replicates=3)
    campaign, _, unreached = measure(cells, machine.launch, settings, clock=machine.clock)
    cut = campaign.shortened()
    assert unreached == []
    assert cut is not None
    assert (cut.unreached, cut.few, cut.quality) == (0, 3, 0)
    assert cut.needed_s > 18.0
    whole, _, _ = measure([target("a")], settings=Settings(budget_s=600.0))
    assert whole.shortened() is None


def test_a_cut_preparation_makes_the_needed_budget_a_lower_bound() -> None:
    """A model of 2.4 GB was cut after 14 s of 20, and told that 28 s were likely to do."""
    machine = Machine(large=60.0)
    cells = [machine.target("large", first_s=4.0)]
    settings = Settings(budget_s=20.0, replicates=1, max_replicates=1)
    campaign, _, _ = measure(cells, machine.launch, settings, clock=machine.clock)
    cut = campaign.shortened()
    assert cut is not None
    assert (cut.unreached, cut.unsure) == (1, True)
    assert cut.needed_s > 20.0 + 2 * 20.0


def test_a_budget_too_short_for_all_goes_to_the_cheap_cells_of_every_backend() -> None:
    def cell(machine: Machine, name: str, backend: str, first_s: float) -> Target:
        made = machine.target(name, first_s=first_s)
        made.cell = msgspec.structs.replace(made.cell, backend=backend)
        return made

    takes_s = {"a1": 4.0, "a2": 8.0, "a3": 16.0, "b1": 10.0, "b2": 20.0, "b3": 40.0}
    machine = Machine(**takes_s)
    cells = [cell(machine, name, name[0], takes_s[name]) for name in reversed(takes_s)]
    _, unreached = machine.measure(cells, budget_s=45.0)
    assert machine.turns == ["a1", "b1", "a2", "b2", "a3"]
    assert set(unreached) == {"a3", "b3"}, (
        "the last one begins within the budget, and ends soon after"
    )
    assert machine.took_s == 45.0 + OVERTIME_S


def test_a_turn_leaves_every_backend_without_a_row_its_share_of_the_budget() -> None:
    """A long quality pass of one backend left another 20 s, which ended during its first request."""
    given: dict[str, float] = {}
    machine = Machine(a1=20.0, b1=1.0, a2=1.0)

    def launch(job: Job, time_s: float, **_: Any) -> Done:
        given.setdefault(job.model_path, time_s)
        return machine.launch(job, time_s)

    cells = [machine.target(name, first_s=30.0 + n) for n, name in enumerate(machine.takes_s)]
    for cell in cells:
        cell.cell = msgspec.structs.replace(cell.cell, backend=cell.cell.id[0])
    settings = Settings(budget_s=70.0, replicates=1, max_replicates=1)
    measure(cells, launch, settings, clock=machine.clock)
    assert given["a1"] == (70.0 + OVERTIME_S) / 2
    assert given["b1"] == 50.0 + OVERTIME_S, "alone among those without a row"


def test_a_quality_pass_has_its_share_of_the_budget_and_is_made_again_where_it_was_cut() -> None:
    times_s: list[float | None] = []
    asked: list[bool] = []

    def launch(job: Job, **_: Any) -> Done:
        times_s.append(job.time_s)
        asked.append(job.full_quality)
        if not job.full_quality:
            return steady_launch(job)
        whole = job.index > 0
        found = rec.Quality(
            metric="accuracy",
            value=0.9 if whole else 0.5,
            floor=0.8,
            better="higher",
            passed=whole,
            items=100 if whole else 10,
            of=None if whole else 100,
        )
        cut = (
            []
            if whole
            else [Reason(code=reruns.QUALITY_CUT, message="quality over 10 of 100 items")]
        )
        made = replicate(job.index, samples(7e6, 50, 0), quality=found, reasons=cut)
        return Done(made)

    settings = Settings(budget_s=40.0, replicates=3, max_replicates=3)
    _, keeper, _ = measure([target(name) for name in "abcd"], launch, settings)
    later_s = 8 * (OVERHEAD_S + SLICE_FACTOR * MIN_SLICE_S)
    assert times_s[0] == pytest.approx((40.0 - later_s) / 4), "later rounds have their time"
    assert asked == [True] * 8 + [False] * 4
    for made in keeper.records:
        assert made.quality is not None
        assert (made.quality.items, made.quality.of) == (100, None)
        assert made.reasons == [], "what was made up for is no reason any more"


@pytest.mark.parametrize(("replicates", "share_s"), [(1, 10.0), (100, 5.0)])
def test_later_rounds_are_left_what_they_need_at_most_half_of_the_budget(
    replicates: int, share_s: float
) -> None:
    times_s: list[float | None] = []

    def launch(job: Job, **_: Any) -> Done:
        times_s.append(job.time_s)
        return steady_launch(job)

    settings = Settings(budget_s=40.0, replicates=replicates, max_replicates=replicates)
    measure([target(name) for name in "abcd"], launch, settings)
    assert times_s[0] == share_s


@pytest.mark.parametrize("sound", [0, 2])
def test_cells_cut_by_the_budget_have_not_failed(
    sound: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut: list[str] = []
    monkeypatch.setattr(Watcher, "cut", lambda _, target, reason: cut.append(reason.code))

    def launch(job: Job, **_: Any) -> Done:
        if job.index < sound:
            return steady_launch(job)
        campaign._started_s -= 100.0  # silent until the budget was over
        hung = Reason(code=OUT_OF_TIME, message="the budget left it 60 s, which ended during load")
        return Done(replicate(job.index, status="failed", reasons=[hung]))

    keeper = Keeper()
    campaign = Runner(
        [target("a")],
        Settings(budget_s=60.0),
        Surroundings(A_RECORD.run, A_RECORD.device, []),
        keeper,
        Watcher(),
        NOW_S,
        Means(launch, clock=now),
    )
    unreached = campaign.measure()
    assert cut == [OUT_OF_TIME]
    assert len(keeper.entries) == sound
    assert [cell.id for cell in unreached] == ([] if sound else ["a"])
    assert [(r.status, len(r.replicates)) for r in keeper.records] == ([("ok", 2)] if sound else [])


def test_a_budget_left_goes_to_cells_that_are_not_told_apart() -> None:
    """Two are alike and one is far behind: its third replicate is its last."""
    p50_ns = {"a": 5.00e6, "b": 5.02e6, "slow": 9.0e6}

    def launch(job: Job, **_: Any) -> Done:
        shaken = 1 + 0.01 * random.Random(f"{job.model_path} {job.index}").gauss(0, 1)
        latencies = [round(p50_ns[job.model_path] * shaken)] * 50
        return Done(replicate(job.index, latencies, quality=quality(0.9)))

    cells = []
    for name in p50_ns:
        cell = msgspec.structs.replace(A_RECORD.cell, id=name, variant={"precision": name})
        each = msgspec.structs.replace(job(), model_path=name)
        cells.append(Target(cell, job=each))
    settings = Settings(budget_s=1e6, replicates=3, max_replicates=7, target=0.5)
    campaign, _, _ = measure(cells, launch, settings)
    counts = {name: len(record.replicates) for name, record in campaign.records.items()}
    assert counts == {"a": 7, "b": 7, "slow": 3}


def test_slices_share_the_budget() -> None:
    slices: list[float] = []

    def launch(job: Job, **_: Any) -> Done:
        slices.append(job.slice_s)
        return steady_launch(job)

    measure([target(str(n)) for n in range(4)], launch, Settings(budget_s=30.0, slice_s=100.0))
    assert len(slices) == 12
    assert MIN_SLICE_S <= slices[0] <= 30.0 / 12  # a twelfth; later ones get what is left over
    assert all(slice_s <= 30.0 for slice_s in slices)


def test_markers_and_idle_readings_count_in_the_budget() -> None:
    """Markers and looks at idle power take seconds: later windows are the shorter for them."""
    slices: list[float] = []

    def launch(job: Job, **_: Any) -> Done:
        slices.append(job.slice_s)
        spent_s.append(SLICE_FACTOR * job.slice_s)
        return steady_launch(job)

    def mark() -> list[Marker]:
        spent_s.append(3.0)
        return []

    spent_s: list[float] = []
    campaign = Runner(
        [target(name) for name in "abc"],
        Settings(budget_s=100.0, slice_s=100.0),
        Surroundings(A_RECORD.run, A_RECORD.device, []),
        Keeper(),
        Watcher(),
        NOW_S,
        Means(launch, mark=mark, clock=lambda: NOW_S + sum(spent_s)),
    )
    campaign.measure()
    assert len(slices) == 9
    left_s = 100.0 - SLICE_FACTOR * slices[0] - 6.0
    overhead_s = 2 * 6.0 + 6 * OVERHEAD_S  # two first ones are due, and six others
    assert slices[1] == pytest.approx((left_s - overhead_s) / 8 / SLICE_FACTOR)


def test_seven_rounds_of_twelve_cells_fit_in_the_budget_of_quick() -> None:
    """On a quiet machine of two cores, where a first replicate takes 2.7 s beside its window and a later
    one 0.7 s, windows shrink until all rounds are in."""
    spent_s = [3.0]  # until models are ready
    rounds: list[int] = []

    def launch(job: Job, **_: Any) -> Done:
        rounds.append(job.index)
        spent_s.append((2.7 if job.thorough else 0.7) + job.slice_s)
        return spread_launch(job)

    quick = resolved(run.command.make_context("run", []).params).settings
    cells = [target(str(n)) for n in range(12)]
    measure(cells, launch, quick, clock=lambda: NOW_S + sum(spent_s))
    assert [rounds.count(index) for index in range(7)] == [12] * 7
    assert sum(spent_s) <= 105.0 + 1.0


def test_a_budget_too_small_leaves_the_smallest_slice() -> None:
    slices: list[float] = []

    def launch(job: Job, **_: Any) -> Done:
        slices.append(job.slice_s)
        return steady_launch(job)

    measure([target("a")], launch, Settings(budget_s=1.2), clock=lambda: NOW_S + 0.5 * len(slices))
    assert slices == [MIN_SLICE_S] * 3


def test_resumed_replicates_are_not_measured_again() -> None:
    resumed = target("a")
    resumed.entries.append(JournalEntry(cell="a", replicate=replicate(0)))
    indices: list[int] = []

    def launch(job: Job, **_: Any) -> Done:
        indices.append(job.index)
        return steady_launch(job)

    _, keeper, _ = measure([resumed], launch)
    assert indices == [1, 2]
    assert [r.index for r in keeper.records[0].replicates] == [0, 1, 2]


def test_most_replicates_decide_on_caching() -> None:
    def caches(flags: list[bool]) -> Launch:
        def launch(job: Job, **_: Any) -> Done:
            unseen = Unseen(pool_ns=[1], unseen_ns=[9], caching=flags[job.index])
            return Done(replicate(job.index, samples(7e6, 50, 0), unseen=unseen))

        return launch

    _, keeper, _ = measure([target("a")], caches([True, False, False]))
    assert keeper.records[0].status == "ok"
    _, keeper, _ = measure([target("a")], caches([True, True, False]))
    assert keeper.records[0].status == "invalid"
    assert [r.code for r in keeper.records[0].reasons] == ["caching"]


def test_one_replicate_that_caches_and_is_far_faster_strikes_the_cell() -> None:
    def begins_late(job: Job, **_: Any) -> Done:
        late = job.index == 2
        unseen = Unseen(pool_ns=[1], unseen_ns=[9], caching=late)
        return Done(replicate(job.index, samples(7e4 if late else 7e6, 50, 0), unseen=unseen))

    _, keeper, _ = measure([target("a")], begins_late)
    assert keeper.records[0].status == "invalid"
    assert [r.code for r in keeper.records[0].reasons] == ["caching"]


def test_a_throttled_replicate_makes_the_record_invalid(monkeypatch: pytest.MonkeyPatch) -> None:
    throttled = StateCheck(name="throttle", level="invalid", evidence="12 events", fix="cool it")
    monkeypatch.setattr(machine_state, "compare", lambda *_: [throttled])
    _, keeper, _ = measure([target("a")])
    assert keeper.records[0].status == "invalid"
    assert keeper.records[0].reasons[0].message == "12 events"
    assert keeper.records[0].replicates[0].state_after == [throttled]


def test_a_machine_in_no_state_to_measure_makes_every_record_invalid(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hot = StateCheck(name="pi_throttled", level="invalid", evidence="0x50005", fix="cool it")
    monkeypatch.setattr(machine_state, "postflight", lambda **_: [hot])
    _, keeper, _ = measure([target("a")])
    assert keeper.records[0].status == "invalid"
    assert [r.code for r in keeper.records[0].reasons] == ["device_pi_throttled"]
    assert keeper.records[0].state_after == [hot]


def test_strict_stops_at_an_invalid_state_and_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    throttled = StateCheck(name="throttle", level="invalid", evidence="12 events")
    monkeypatch.setattr(machine_state, "compare", lambda *_: [throttled])
    keeper = Keeper()
    with pytest.raises(DeviceStateError, match="12 events"):
        measure([target("a")], settings=Settings(strict=True), keeper=keeper)
    assert len(keeper.entries) == 1


def test_a_disk_that_fills_up_leaves_what_was_measured_to_be_shown() -> None:
    class FullKeeper(Keeper):
        def add_replicate(self, entry: JournalEntry) -> None:
            super().add_replicate(entry)
            if len(self.entries) == 3:
                raise StoreError("full")

    keeper = FullKeeper()
    campaign = Runner(
        [target("a"), target("b")],
        Settings(),
        Surroundings(A_RECORD.run, A_RECORD.device, []),
        keeper,
        Watcher(),
        NOW_S,
        Means(steady_launch, clock=now),
    )
    with pytest.raises(StoreError):
        campaign.measure()
    assert sorted(len(r.replicates) for r in campaign.provisional()) == [1, 2]


class FakeMeter:
    """A meter that needs windows of five seconds."""

    needed_s = idle_s = 5.0

    def __init__(self) -> None:
        self.idles = 0

    def idle(self) -> None:
        self.idles += 1

    def measured(self, replicate: Replicate, batch: int, before: Idle) -> Replicate:
        return replicate

    def of_record(self, replicates: Sequence[Replicate]) -> Energy:
        return Energy(status="unavailable", reason="read_failed")


@pytest.mark.parametrize(("budget_s", "least_s", "idles"), [(None, 5.0, 3), (5.5, 0.0, 0)])
def test_a_window_is_long_enough_for_the_meter_if_the_budget_allows(
    budget_s: float | None, least_s: float, idles: int
) -> None:
    windows = []

    def launch(job: Job, **_: Any) -> Done:
        windows.append(job.min_window_s)
        return steady_launch(job)

    meter = FakeMeter()
    campaign = Runner(
        [target("a")],
        Settings(budget_s=budget_s),
        Surroundings(A_RECORD.run, A_RECORD.device, []),
        Keeper(),
        Watcher(),
        NOW_S,
        Means(launch, meter=meter, clock=now),
    )
    campaign.measure()
    assert windows == [least_s] * 3
    assert meter.idles == idles
    assert campaign.records["a"].energy.reason == "read_failed"


def test_a_mode_that_changed_during_the_run_makes_the_record_invalid(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def mode(text: str, level: Any = "ok") -> StateCheck:
        return StateCheck(name="power_mode", level=level, evidence=text)

    def codes(before: StateCheck, after: StateCheck) -> list[str]:
        monkeypatch.setattr(machine_state, "postflight", lambda **_: [after])
        _, keeper, _ = measure([target("a")], before=[before])
        return [reason.code for reason in keeper.records[0].reasons]

    assert codes(mode("15W"), mode("15W")) == []
    assert codes(mode("15W"), mode("MAXN")) == ["device_settings_changed"]
    assert codes(mode("15W"), mode("no answer", "unknown")) == []


# Replicates that the machine spoilt.

THROTTLED = StateCheck(name="throttle", level="invalid", evidence="12 events", fix="cool it")


def spoil(monkeypatch: pytest.MonkeyPatch, *turns: int) -> None:
    """The machine throttles during these turns, counted from 0."""
    count = iter(range(10**6))
    monkeypatch.setattr(
        machine_state, "compare", lambda *_: [THROTTLED] if next(count) in turns else []
    )


def test_a_throttled_replicate_is_run_again_and_kept_as_evidence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spoil(monkeypatch, 1)
    _, keeper, _ = measure([target("a")])
    (made,) = keeper.records
    assert made.status == "ok"
    assert made.reasons == []
    assert [r.status for r in made.replicates] == ["ok", "invalid", "ok", "ok"]
    assert [r.rerun_of for r in made.replicates] == [None, None, 1, None]
    assert [r.superseded_by for r in made.replicates] == [None, 2, None, None]
    assert made.replicates[1].state_after == [THROTTLED]
    assert [entry.replicate.rerun_of for entry in keeper.entries] == [None, None, 1, None]


def test_the_quality_pass_is_repeated_where_its_replicate_was_spoilt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spoil(monkeypatch, 0)
    full: list[bool] = []

    def launch(job: Job, **_: Any) -> Done:
        full.append(job.full_quality)
        return steady_launch(job)

    measure([target("a")], launch)
    assert full == [True, True, False, False]


def test_reruns_end_at_their_limit_and_the_cell_is_invalid(monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(monkeypatch, 0, 1, 2, 3, 4)
    _, keeper, _ = measure([target("a")], settings=Settings(reruns=3))
    (made,) = keeper.records
    assert made.status == "invalid"
    assert [r.rerun_of for r in made.replicates] == [None, 0, 1, 2]
    assert all(r.superseded_by is None for r in made.replicates)
    assert [r.code for r in made.reasons] == ["device_throttle"]


def test_without_reruns_the_first_spoilt_replicate_ends_the_cell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spoil(monkeypatch, 1)
    _, keeper, _ = measure([target("a")], settings=Settings(reruns=0))
    assert [r.status for r in keeper.records[0].replicates] == ["ok", "invalid"]
    assert keeper.records[0].status == "invalid"


def test_a_cell_that_is_given_up_leaves_its_share_of_the_budget_to_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spoil(monkeypatch, 0)
    slices: list[float] = []

    def launch(job: Job, **_: Any) -> Done:
        slices.append(job.slice_s)
        return steady_launch(job)

    settings = Settings(budget_s=100.0, slice_s=100.0, reruns=0)
    measure([target("a"), target("b")], launch, settings)
    assert len(slices) == 4
    assert slices[1] > 100.0 / 4 / SLICE_FACTOR  # of three that are due, not of five


def test_a_fault_of_its_own_is_not_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(monkeypatch, 0)

    def launch(job: Job, **_: Any) -> Done:
        mismatch = Reason(code="output_mismatch", message="other outputs")
        return Done(replicate(job.index, samples(7e6, 50, 0), status="invalid", reasons=[mismatch]))

    _, keeper, _ = measure([target("a")], launch)
    assert all(r.rerun_of is None for r in keeper.records[0].replicates)


def test_watcher_is_told_of_disturbed_replicates(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[tuple[str, bool]] = []
    monkeypatch.setattr(
        Watcher,
        "disturbed",
        lambda _, target, replicate, again: heard.append((target.cell.id, again)),
    )
    spoil(monkeypatch, 1, 2)
    measure([target("a")], settings=Settings(reruns=1))
    assert heard == [("a", True), ("a", False)]


def test_a_chain_of_reruns_is_superseded_by_its_sound_end(monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(monkeypatch, 0, 1)
    _, keeper, _ = measure([target("a")])
    assert [r.superseded_by for r in keeper.records[0].replicates] == [2, 2, None, None, None]
    assert keeper.records[0].status == "ok"


def test_a_rerun_that_crashes_takes_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(monkeypatch, 0)

    def launch(job: Job, **_: Any) -> Done:
        if job.index == 0:
            return steady_launch(job)
        reason = Reason(code="crashed", message="died")
        return Done(replicate(job.index, status="failed", reasons=[reason]))

    _, keeper, _ = measure([target("a")], launch)
    assert keeper.records[0].status == "failed"
    assert [r.superseded_by for r in keeper.records[0].replicates] == [None, None]


def test_a_rerun_that_was_due_when_the_run_was_killed_is_made_on_resuming() -> None:
    resumed = target("a")
    disturbed = replicate(
        0, status="invalid", reasons=[Reason(code="device_throttle", message="12 events")]
    )
    resumed.entries.append(JournalEntry(cell="a", replicate=disturbed))
    _, keeper, _ = measure([resumed])
    assert [r.rerun_of for r in keeper.records[0].replicates] == [None, 0, None, None]
    assert keeper.records[0].status == "ok"


def test_settings_that_change_between_two_replicates_spoil_the_later_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    modes = iter(["performance"] * 2 + ["powersave"] * 20)

    def snapshot() -> machine_state.Snapshot:
        return machine_state.Snapshot(
            0, {}, {"cpu/scaling_governor": next(modes)}, None, None, None, None
        )

    monkeypatch.setattr(machine_state, "snapshot", snapshot)
    _, keeper, _ = measure([target("a")])
    (made,) = keeper.records
    assert made.status == "invalid"
    assert [r.status for r in made.replicates] == ["ok", "invalid", "invalid", "invalid"]
    assert "performance -> powersave" in made.reasons[0].message


replicates = st.lists(st.booleans(), min_size=1, max_size=12)


@given(replicates, st.integers(0, 5))
def test_whatever_the_machine_does_reruns_are_bounded_and_nothing_is_lost(
    disturbed: list[bool], limit: int
) -> None:
    """Replicates as a campaign makes them: each spoilt or not, each a re-run where one is due."""
    why = [Reason(code="device_throttle", message="hot")]
    made: list[Replicate] = []
    for index, hot in enumerate(disturbed):
        changes: dict[str, Any] = {"status": "invalid", "reasons": why} if hot else {}
        made.append(replicate(index, [1], rerun_of=reruns.due(made, limit), **changes))
    marked = reruns.marked(made)
    assert [r.index for r in marked] == list(range(len(disturbed)))
    assert sum(r.rerun_of is not None for r in made) <= limit
    named = [r.rerun_of for r in made if r.rerun_of is not None]
    assert len(set(named)) == len(named)  # nothing is run again twice
    for each in marked:
        assert each.superseded_by is None or disturbed[each.index]
        if each.superseded_by is not None:
            assert not disturbed[each.superseded_by]
    assert reruns.valid_replicates(made) == [r for r in marked if r.superseded_by is None]
