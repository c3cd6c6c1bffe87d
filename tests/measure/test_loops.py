"""The loops that hold the clock, with an injected clock where time matters."""

from __future__ import annotations

import gc
import sys
import weakref
from itertools import count
from typing import Any

import numpy as np
import pytest

from edgebench.measure.replicate import loops


class Clock:
    """Time that passes only when it is told to."""

    def __init__(self) -> None:
        self.now_ns = 1_000_000_000

    def __call__(self) -> int:
        return self.now_ns

    def sleep(self, seconds: float) -> None:
        self.now_ns += round(seconds * 1e9)


def test_outputs_are_released_inside_the_window() -> None:
    alive: list[weakref.ref[Any]] = []
    seen: list[bool] = []

    class Output:
        pass

    def run(_: Any) -> Output:
        seen.append(any(reference() is not None for reference in alive))
        output = Output()
        alive.append(weakref.ref(output))
        return output

    kept: list[int] = []
    loops.time_block(run, iter([0] * 5), kept.append)
    assert seen == [False] * 5
    assert all(reference() is None for reference in alive)


def test_garbage_collection_is_off_in_the_window_and_on_after_it() -> None:
    states: list[bool] = []
    loops.single_stream(
        lambda _: states.append(gc.isenabled()),
        [0],
        typical_ns=1000,
        slice_s=0.01,
        precision=loops.Precision(0.02, 0.5),
        max_samples=50,
    )
    assert states
    assert not any(states)
    assert gc.isenabled()


def test_garbage_collection_comes_back_after_a_crash() -> None:
    def crash(_: Any) -> None:
        raise ValueError("crash")

    with pytest.raises(ValueError, match="crash"), loops.no_gc():
        crash(0)
    assert gc.isenabled()


def test_every_query_of_the_pool_takes_its_turn() -> None:
    order: list[int] = []
    window = loops.single_stream(
        order.append,
        [1, 2, 3],
        typical_ns=1000,
        slice_s=1.0,
        precision=loops.Precision(0.02, 0.5),
        max_samples=30,
        clock=Clock(),
    )
    assert window.stop == "samples"
    assert len(window.samples_ns) == 30
    assert order == [1, 2, 3] * 10


@pytest.mark.parametrize(
    ("query_ns", "samples"),
    [
        (20_000_000, loops.MIN_TIMED),  # 5 fit into the slice
        (45_000_000, 9),  # patience ends after four slices
        (500_000_000, 1),
    ],
)
def test_a_slow_query_gets_some_samples_beyond_its_time(query_ns: int, samples: int) -> None:
    clock = Clock()
    window = loops.single_stream(
        lambda _: clock.sleep(query_ns / 1e9),
        [0],
        typical_ns=query_ns,
        slice_s=0.1,
        precision=loops.Precision(1e-9, 0.5),
        max_samples=1000,
        clock=clock,
    )
    assert window.stop == "time"
    assert window.samples_ns == [query_ns] * samples
    assert window.window_ns == query_ns * samples


def test_paced_latency_counts_from_the_scheduled_time() -> None:
    clock = Clock()
    service_ns = [5_000_000] * 10
    service_ns[3] = 25_000_000  # late by 1.5 periods: the next two queries start late

    def run(number: int) -> None:
        clock.now_ns += service_ns[number]

    window = loops.at_a_rate(
        run, range(10), loops.equal_periods(100, 10), clock=clock, sleep=clock.sleep
    )
    assert [ns // 1_000_000 for ns in window.samples_ns] == [5, 5, 5, 25, 20, 15, 10, 5, 5, 5]
    assert window.paced is not None
    assert window.paced.service_ns == service_ns
    assert window.paced.misses == 3
    # Four of ten found their time come already: there was no idle time before them.
    assert len(window.paced.wake_late_ns) == 6


def test_a_rate_that_cannot_be_kept_ends_and_counts_what_never_ran() -> None:
    clock = Clock()

    def run(_: int) -> None:
        clock.now_ns += 1_000_000_000

    window = loops.at_a_rate(run, [0], loops.equal_periods(10, 10), clock=clock, sleep=clock.sleep)
    assert window.paced is not None
    assert len(window.samples_ns) < 10
    assert window.paced.misses == 10
    assert window.paced.never_run == 10 - len(window.samples_ns)


def test_a_schedule_holds_no_more_queries_than_memory_does_however_long_a_meter_needs_it() -> None:
    assert loops.queries_at(200.0, 2.0, 8192, 10.0) == 2000
    assert loops.queries_at(1e9, 2.0, 8192, 10.0) == loops.MAX_SCHEDULED


def test_poisson_arrivals_are_of_the_rate_and_follow_from_the_seed() -> None:
    schedule = loops.poisson(200, 20_000, seed=7)
    assert schedule.due_ns == loops.poisson(200, 20_000, seed=7).due_ns
    assert schedule.due_ns != loops.poisson(200, 20_000, seed=8).due_ns
    gaps = np.diff([0, *schedule.due_ns]) / 1e9
    assert gaps.mean() == pytest.approx(1 / 200, rel=0.03)
    assert gaps.std() == pytest.approx(1 / 200, rel=0.05)  # of an exponential both are alike
    assert (gaps > 0.01).mean() == pytest.approx(np.exp(-2), abs=0.01)


def test_server_latency_is_that_of_a_queue() -> None:
    """M/D/1: the mean wait is utilisation / (2 (1 - utilisation)) services (Pollaczek and Khinchine)."""
    clock, service_ns = Clock(), 1_000_000

    def run(_: int) -> None:
        clock.now_ns += service_ns

    window = loops.at_a_rate(
        run, [0], loops.poisson(500, 60_000, seed=3), clock=clock, sleep=clock.sleep
    )
    wait_ns = np.mean(window.samples_ns) - service_ns
    assert wait_ns == pytest.approx(0.5 / (2 * 0.5) * service_ns, rel=0.05)
    assert window.paced is not None
    assert window.paced.arrivals == "poisson"
    assert max(window.paced.depth) > 3
    assert min(window.paced.depth) == 1
    assert len(window.paced.due_ns) == len(window.samples_ns)


def test_a_stall_shows_in_the_latency_of_queries_that_arrive_meanwhile() -> None:
    """Coordinated omission: a closed loop counts a stall of 100 ms once, a server's queries wait in it."""

    def stalled() -> tuple[Clock, loops.Run]:
        clock, calls = Clock(), count()

        def run(_: int) -> None:
            clock.now_ns += 100_000_000 if next(calls) == 50 else 100_000

        return clock, run

    clock, run = stalled()
    served = loops.at_a_rate(
        run, [0], loops.poisson(500, 1000, seed=1), clock=clock, sleep=clock.sleep
    )
    clock, run = stalled()
    closed: list[int] = []
    loops.time_block(run, iter([0] * 1000), closed.append, clock)
    assert np.percentile(closed, 99) == 100_000
    assert np.percentile(served.samples_ns, 97) > 20_000_000
    assert max(served.samples_ns) >= 100_000_000


def test_overload_ends_in_bounded_time_and_tells_what_never_ran() -> None:
    clock = Clock()

    def run(_: int) -> None:
        clock.now_ns += 100_000_000

    window = loops.at_a_rate(
        run, [0], loops.poisson(100, 200, seed=1), clock=clock, sleep=clock.sleep
    )
    assert window.window_ns < 7_000_000_000
    assert window.paced is not None
    assert window.paced.never_run > 100
    assert window.paced.misses == window.paced.never_run


def test_a_query_of_several_samples_runs_them_one_after_the_other() -> None:
    clock, ran = Clock(), list[int]()

    def run(prepared: int) -> None:
        ran.append(prepared)
        clock.sleep(0.001)

    serve, queries = loops.queries_of(run, [0, 1, 2], 8)
    window = loops.single_stream(
        serve,
        queries,
        typical_ns=8_000_000,
        slice_s=0.5,
        precision=loops.Precision(0.02, 0.99),
        max_samples=100,
        clock=clock,
    )
    assert window.samples_ns == [8_000_000] * len(window.samples_ns)
    assert ran[:16] == [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0]
    assert len(ran) == 8 * window.queries
    assert len(loops.queries_of(run, list(range(16)), 4)[1]) == 4


def test_offline_is_one_query_in_batches() -> None:
    calls: list[int] = []
    window = loops.offline(
        calls.append, [7, 8], batch=4, typical_ns=1_000_000, slice_s=0.02, max_samples=1000
    )
    assert window.offline is not None
    assert window.offline.samples == 4 * len(calls) == 80
    assert window.offline.duration_ns >= sum(window.samples_ns)


def test_two_sets_are_timed_in_turn() -> None:
    order: list[str] = []
    first, second = loops.in_turn(order.append, ["a"] * 4, ["b"] * 4)
    assert order == ["a", "b", "b", "a", "a", "b", "b", "a"]
    assert len(first) == len(second) == 4


def test_warm_up_sees_the_whole_pool() -> None:
    seen: set[int] = set()
    clock = Clock()

    def run(number: int) -> None:
        seen.add(number)
        clock.now_ns += 1000

    warmup, typical_ns = loops.warm_up(run, range(40), limit_s=10.0, clock=clock)
    assert seen == set(range(40))
    assert warmup.steady
    assert typical_ns == 1000


def test_warm_up_that_never_settles_says_so() -> None:
    clock = Clock()
    latency = [1e8]

    def run(_: int) -> None:
        latency[0] *= 0.95
        clock.now_ns += round(latency[0])

    warmup, _ = loops.warm_up(run, [0], limit_s=1.0, clock=clock)
    assert not warmup.steady
    assert warmup.duration_ns < 1_200_000_000


def test_an_input_is_held_by_nobody_else() -> None:
    # The loop must not keep queries or outputs: their release belongs to the caller.
    query = object()
    before = sys.getrefcount(query)
    kept: list[int] = []
    loops.time_block(lambda _: None, iter([query]), kept.append)
    assert sys.getrefcount(query) == before


def test_a_window_goes_on_for_a_meter_and_keeps_no_more_samples() -> None:
    clock = Clock()
    window = loops.single_stream(
        lambda _: clock.sleep(1e-6),
        [0],
        typical_ns=1000,
        slice_s=0.01,
        precision=loops.Precision(0.5, 0.5),
        max_samples=100,
        min_window_s=0.05,
        clock=clock,
    )
    assert window.stop == "samples"
    assert window.samples_ns == [1000] * 100
    assert window.window_ns == 50_000_000 == window.queries * 1000


def test_the_stretch_that_a_meter_is_asked_about_holds_the_window() -> None:
    window = loops.single_stream(
        lambda _: None,
        [0],
        typical_ns=1000,
        slice_s=0.001,
        precision=loops.Precision(0.02, 0.5),
        max_samples=30,
    )
    assert window.end_ns - window.start_ns >= window.window_ns
