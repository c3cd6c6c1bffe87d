"""On a machine that stops and interrupts whatever it runs, no verdict on time strikes an honest backend.

Time is simulated: every look at the clock costs a little, and now and then the machine takes the core away,
for a time slice or for up to 0.4 s. The same machine does not hide a backend that cheats.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from statistics import median
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgebench.measure.replicate import answer_completion, quality_checks, steps
from edgebench.measure.replicate.check_plan import (
    AT_LENGTH,
    IN_BRIEF,
    MIN_SLOW_QUERY_NS,
    CheckPlan,
)
from edgebench.measure.worker_observer import WINDOW, Witness, clock_reason

US, MS = 1_000, 1_000_000
CASES = 400
PLANS = [
    pytest.param(AT_LENGTH, id="at length"),
    pytest.param(IN_BRIEF, id="in brief"),
]


class BusyMachine:
    """A clock that its programs do not own. `share`: of it, others have the core."""

    def __init__(self, seed: int, share: float) -> None:
        self._random = random.Random(seed)
        self._share = share
        self.now_ns = 0
        self.waited_ns = 0  # ready to run and without a core, as the kernel counts it

    def clock(self) -> int:
        self.spend(40)
        return self.now_ns

    def own(self) -> int:
        """The clock without what was waited. A program that is stopped does not wait."""
        return self.clock() - self.waited_ns

    def spend(self, work_ns: float) -> None:
        """So much work, with everything that comes between."""
        self.now_ns += round(work_ns * self._random.uniform(1.0, 1.2))
        slices = self._share * work_ns / (4 * MS) + self._share * 0.02
        while self._random.random() < slices:
            slices -= 1
            lost_ns = round(self._random.uniform(0.5, 24) * MS)
            self.now_ns += lost_ns
            self.waited_ns += lost_ns
        if self._random.random() < 0.01 * self._share:
            self.now_ns += round(self._random.uniform(0, 400) * MS)


class Simulated:
    """A session whose every part costs what it is told, on a busy machine."""

    def __init__(
        self,
        machine: BusyMachine,
        *,
        run_ns: float,
        first_ns: float,
        again_ns: float,
        unseen_ns: float | None = None,
        cold: float = 1.0,
    ) -> None:
        self._machine = machine
        self._run_ns = run_ns
        self._unseen_ns = run_ns if unseen_ns is None else unseen_ns
        self._reads_ns = first_ns, again_ns
        self._cold = cold  # how much slower the first readings are
        self._readings = 0
        self.answer = {"y": np.zeros(4, np.float32)}

    def run(self, prepared: Any) -> list[str]:
        self._machine.spend(self._run_ns if prepared == "known" else self._unseen_ns)
        return ["unread"]

    def prepare(self, feeds: Any) -> str:
        return "new"

    def outputs_of(self, prepared: Any, raw: Any) -> dict[str, Any]:
        cold = self._cold if self._readings < 2 else 1.0
        self._machine.spend(cold * self._reads_ns[0 if raw else 1])
        self._readings += 1
        raw[:] = []
        return self.answer


def seeds(name: str) -> list[tuple[int, float]]:
    rng = random.Random(name)
    return [(rng.randrange(1 << 30), rng.choice((0.0, 0.3, 0.8, 1.6))) for _ in range(CASES)]


#: Honest backends: what a run takes, what its first reading takes, and the next.
HONEST = {
    "tiny": (2 * US, 3 * US, 2 * US),
    "copies": (60 * US, 20 * US, 9 * US),
    "large outputs": (900 * US, 270 * US, 87 * US),
    "slow": (80 * MS, 200 * US, 70 * US),
    "slower, few checks": (MIN_SLOW_QUERY_NS, 9 * MS, 4 * MS),
    "cold": (20 * US, 45 * US, 10 * US),
}


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("kind", HONEST)
def test_no_honest_reading_is_deferred(kind: str, plan: CheckPlan) -> None:
    run_ns, first_ns, again_ns = HONEST[kind]
    struck = 0
    for seed, share in seeds(kind):
        machine = BusyMachine(seed, share)
        session: Any = Simulated(
            machine, run_ns=run_ns, first_ns=first_ns, again_ns=again_ns, cold=4.5
        )
        clock = machine.own if seed % 2 else machine.clock  # not every kernel tells
        found = answer_completion.completion(
            session, ["known"], run_ns, plan.for_queries_of(run_ns).completion_pairs, clock
        )
        struck += found.incomplete
    assert struck == 0


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize(
    ("run_ns", "left_ns"),
    [(400, 600 * US), (400, 30 * MS), (MIN_SLOW_QUERY_NS, MIN_SLOW_QUERY_NS // 5)],
)
def test_work_that_is_left_is_seen_on_a_busy_machine(
    run_ns: int, left_ns: int, plan: CheckPlan
) -> None:
    seen = 0
    pairs = plan.for_queries_of(run_ns).completion_pairs
    for seed, share in seeds("left")[:100]:
        machine = BusyMachine(seed, share)
        session: Any = Simulated(machine, run_ns=run_ns, first_ns=left_ns, again_ns=3 * US)
        found = answer_completion.completion(session, ["known"], run_ns, pairs, machine.own)
        seen += found.deferred
    assert seen >= 95


def test_outputs_that_are_filled_later_are_seen() -> None:
    session: Any = Simulated(BusyMachine(1, 0.0), run_ns=US, first_ns=US, again_ns=US)

    def fill(seconds: float) -> None:
        session.answer["y"][:] = 1

    assert answer_completion.keeps_changing(session, ["known"] * 6, sleep=fill)
    assert not answer_completion.keeps_changing(session, ["known"] * 6, sleep=lambda seconds: None)


def in_turn_on(machine: BusyMachine) -> Callable[..., tuple[list[int], list[int]]]:
    """`scenario.in_turn` by the machine's clock."""

    def in_turn(run: Any, first: Any, second: Any) -> tuple[list[int], list[int]]:
        both: tuple[list[int], list[int]] = ([], [])
        for number, pair in enumerate(zip(first, second, strict=True)):
            turns = list(zip(pair, both, strict=True))
            for prepared, kept in turns if number % 2 == 0 else turns[::-1]:
                start = machine.clock()
                run(prepared)
                kept.append(machine.clock() - start)
        return both

    return in_turn


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("run_ns", [2 * US, 600 * US, 20 * MS, MIN_SLOW_QUERY_NS])
def test_no_honest_backend_is_said_to_cache(
    monkeypatch: pytest.MonkeyPatch, run_ns: int, plan: CheckPlan
) -> None:
    struck = 0
    feeds = [{"x": np.zeros(2, np.float32)}]
    for seed, share in seeds(f"cache {run_ns}"):
        machine = BusyMachine(seed, share)
        monkeypatch.setattr(quality_checks, "in_turn", in_turn_on(machine))
        session: Any = Simulated(machine, run_ns=run_ns, first_ns=US, again_ns=US)
        found = quality_checks.unseen(
            session,
            feeds,
            ["known"],
            run_ns,
            counts=plan.for_queries_of(run_ns).unseen_counts,
            seconds=0.05,
            seed=seed,
        )
        struck += found.caching
    assert struck == 0


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize(
    ("run_ns", "unseen_ns"), [(US, 600 * US), (MIN_SLOW_QUERY_NS, 2 * MIN_SLOW_QUERY_NS)]
)
def test_a_cache_is_seen_on_a_busy_machine(
    monkeypatch: pytest.MonkeyPatch, run_ns: int, unseen_ns: int, plan: CheckPlan
) -> None:
    seen = 0
    counts = plan.for_queries_of(run_ns).unseen_counts
    feeds = [{"x": np.zeros(2, np.float32)}]
    for seed, share in seeds("cached")[:100]:
        machine = BusyMachine(seed, share)
        monkeypatch.setattr(quality_checks, "in_turn", in_turn_on(machine))
        session: Any = Simulated(
            machine, run_ns=run_ns, first_ns=US, again_ns=US, unseen_ns=unseen_ns
        )
        found = quality_checks.unseen(
            session, feeds, ["known"], run_ns, counts=counts, seconds=0.05, seed=seed
        )
        seen += found.caching
    assert seen > 60  # half of a row's replicates are enough


def heard(machine: BusyMachine, speed: float, window_s: float) -> Witness:
    """What a parent hears of a worker whose clock has `speed`; words wait until the parent is woken."""
    witness = Witness(clock=machine.clock)
    start_ns = machine.now_ns
    phases = [
        ("import", 0.1),
        ("load", 0.05),
        ("warm-up", 0.3),
        (WINDOW, window_s),
        ("never-seen", 0.1),
        ("pipeline", 0.1),
        ("device", 0.0),
        ("output check", 0.02),
        ("quality", 0.2),
    ]
    for name, seconds in phases:
        said_ns = start_ns + round((machine.now_ns - start_ns) * speed)
        before_ns = machine.now_ns
        machine.spend(20 * US)  # the parent wakes
        if machine._random.random() < 0.2 * min(machine._share, 1):
            machine.now_ns += round(machine._random.uniform(0, 400) * MS)
        witness.hear(name, said_ns, late=False)
        machine.now_ns = max(machine.now_ns, before_ns + round(seconds * 1e9))
    return witness


@pytest.mark.parametrize("window_s", [0.25, 2.0])
def test_a_parent_that_wakes_late_doubts_no_clock(window_s: float) -> None:
    struck = 0
    for seed, share in seeds(f"clock {window_s}"):
        machine = BusyMachine(seed, share)
        begin_ns = machine.now_ns
        witness = heard(machine, 1.0, window_s)
        struck += clock_reason(witness.lag_ns, machine.now_ns - begin_ns) is not None
    assert struck == 0


@pytest.mark.parametrize("speed", [0.5, 0.8, 1.5])
def test_a_clock_of_another_speed_is_seen(speed: float) -> None:
    seen = 0
    for seed, share in seeds("slow clock")[:100]:
        machine = BusyMachine(seed, share)
        witness = heard(machine, speed, 2.0)
        seen += clock_reason(witness.lag_ns, round(2.5e9)) is not None
    assert seen >= 95


def test_late_messages_do_not_prove_a_slow_clock() -> None:
    machine = BusyMachine(1, 0.0)
    witness = Witness(clock=machine.clock)
    witness.hear(WINDOW, machine.now_ns, late=False)
    said_ns = machine.now_ns + 2_000 * MS
    machine.now_ns += 60_000 * MS  # Ctrl-Z, and back a minute later
    for phase in ("never-seen", "pipeline", "device", "output check"):
        witness.hear(phase, said_ns, late=True)
    assert witness.lag_ns is None


@pytest.mark.parametrize("kind", HONEST)
def test_no_honest_work_is_said_to_have_moved(kind: str) -> None:
    """Through the pipeline's own loop, by the machine's clock."""
    from tests.analysis.test_plausibility import codes, of

    run_ns, first_ns, _ = HONEST[kind]
    handling_ns = first_ns / 5
    struck = 0
    for seed, share in seeds(f"moved {kind}")[:200]:
        machine = BusyMachine(seed, share)
        replicates = [_replicate(machine, run_ns, first_ns, handling_ns) for _ in range(3)]
        made = of(run_ns, runs=3)
        parts = [
            SimpleNamespace(samples=samples, pipeline=pipeline) for samples, pipeline in replicates
        ]
        import msgspec

        made = msgspec.structs.replace(
            made,
            replicates=[
                msgspec.structs.replace(each, samples_ns=part.samples, pipeline=part.pipeline)
                for each, part in zip(made.replicates, parts, strict=True)
            ],
        )
        struck += "moved_work" in codes(made)
    assert struck == 0


def _replicate(machine: BusyMachine, run_ns: float, read_ns: float, copy_ns: float) -> Any:
    def took(work_ns: float) -> int:
        start = machine.clock()
        machine.spend(work_ns)
        return machine.clock() - start

    samples = [took(run_ns) for _ in range(60)]
    parts: dict[str, list[int]] = {name: [] for name in ("prepare", "run", "read", "copy", "post")}
    for _ in range(steps.MIN_RUNS):
        parts["prepare"].append(took(copy_ns))
        parts["run"].append(took(1.5 * run_ns))
        parts["read"].append(took(read_ns))
        parts["copy"].append(took(copy_ns))
        parts["post"].append(took(US))
    from edgebench.record import Pipeline

    inference = [a + b for a, b in zip(parts["run"], parts["read"], strict=True)]
    return samples, Pipeline(
        preprocess_ns=parts["prepare"],
        inference_ns=inference,
        postprocess_ns=parts["post"],
        end_to_end_ns=[sum(each) for each in zip(parts["prepare"], inference, strict=True)],
        prepare_ns=parts["prepare"],
        read_ns=parts["read"],
        copy_ns=parts["copy"],
    )


def test_the_simulated_machine_is_a_busy_one() -> None:
    """Else the tests above would show nothing."""
    machine = BusyMachine(7, 1.6)
    took = []
    for _ in range(400):
        start = machine.clock()
        machine.spend(600 * US)
        took.append(machine.clock() - start)
    assert median(took) < 1 * MS
    assert max(took) > 20 * MS
    assert sum(took) > 3 * 400 * 600 * US


def test_times_are_not_below_0_where_more_was_waited_than_passed() -> None:
    """The core may be lost between a look at the clock and one at what was waited."""
    looks = iter([100, 90, 95, 200, 180] * 100)
    session: Any = Simulated(BusyMachine(0, 0.0), run_ns=MS, first_ns=US, again_ns=US, cold=1.0)
    found = answer_completion.completion(session, ["known"], MS, pairs=3, clock=lambda: next(looks))
    times = [*found.first_read_ns, *found.second_read_ns, *found.cold_read_ns]
    assert min(times) == 0
