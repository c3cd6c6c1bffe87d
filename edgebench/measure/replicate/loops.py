"""The timed loops of the scenarios. They know no backend and no task.

The measured window holds the call, two clock reads and an append; outputs are released before the
second clock read, as they are in `session.run(...)` as a statement. Garbage collection is off.
"""

from __future__ import annotations

import gc
import math
import random
import resource
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle, islice
from statistics import median
from typing import Any, Literal

from edgebench import stats
from edgebench.measure.replicate.warmup import WINDOW, SteadyDetector
from edgebench.probes.process_accounting import raw_clock_ns
from edgebench.record import Offline, Paced, Stream, Sustained, Warmup

Clock = Callable[[], int]
Run = Callable[[Any], Any]
Stop = Literal["", "precise", "time", "samples", "steady"]

BLOCK_NS = 20_000_000  # between two looks at the time: long enough to cost nothing
MIN_WINDOW_NS = 250_000_000
MIN_BLOCKS = 10
MIN_SAMPLES = 30
#: A window goes on beyond its time for so many samples, up to so many times its length: a slow query in
#: a short window would give a number that says nothing.
MIN_TIMED, MAX_SLICES = 10, 4
MIN_WARM_UP = 3  # queries, however slow
MAX_SCHEDULED = 1 << 20  # queries of a load


@dataclass
class Window:
    """The samples and times of a measured window."""

    samples_ns: list[int] = field(default_factory=list)
    window_ns: int = 0
    start_ns: int = 0  # of the monotonic clock
    end_ns: int = 0
    raw_ns: int | None = None  # between the two by the clock that nothing slews
    start_unix_ns: int = 0
    queries: int = 0  # those included whose latency was not kept
    cpu_ns: int = 0
    involuntary_switches: int = 0
    stop: Stop = ""
    paced: Paced | None = None
    stream: Stream | None = None
    offline: Offline | None = None
    sustained: Sustained | None = None


@dataclass(frozen=True)
class Precision:
    """How well a window is to know its latency."""

    target: float  # half-width of the interval, as a share
    percentile: float = 0.5


@contextmanager
def no_gc() -> Iterator[None]:
    """Garbage collection off, and what exists now out of its way."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


@contextmanager
def usage(window: Window) -> Iterator[None]:
    """When the window was, and CPU time and involuntary context switches of this process in it."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    window.start_unix_ns = time.time_ns()
    window.start_ns, raw_ns = time.monotonic_ns(), raw_clock_ns()
    try:
        yield
    finally:
        window.end_ns, raw_end_ns = time.monotonic_ns(), raw_clock_ns()
        window.raw_ns = None if raw_ns is None or raw_end_ns is None else raw_end_ns - raw_ns
        after = resource.getrusage(resource.RUSAGE_SELF)
        cpu_s = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
        window.cpu_ns = round(cpu_s * 1e9)
        window.involuntary_switches = after.ru_nivcsw - before.ru_nivcsw


def warm_up(
    run: Run,
    pool: Sequence[Any],
    limit_s: float,
    *,
    steady_window: int = WINDOW,
    clock: Clock = time.perf_counter_ns,
) -> tuple[Warmup, int]:
    """Runs until latency is steady or the time is up. Steady is what the median of `steady_window`
    iterations shows against that of as many before.

    Returns what was run, and the median latency of the last iterations in ns.
    """
    detector = SteadyDetector(steady_window)
    recent: list[int] = []
    steady = False
    start = clock()
    for prepared in cycle(pool):
        t0 = clock()
        run(prepared)
        t1 = clock()
        recent.append(t1 - t0)
        spent = (t1 - start) / (limit_s * 1e9)
        steady = detector.add(t1 - t0)
        # Every input of the pool is seen once, so that none is new in the window, if time allows.
        if steady and (len(recent) >= len(pool) or spent >= 0.5):
            break
        if spent >= 1 and len(recent) >= MIN_WARM_UP:
            break
    typical = round(median(recent[-5:]))
    return Warmup(iterations=len(recent), duration_ns=clock() - start, steady=steady), typical


def time_block(
    run: Run,
    queries: Iterator[Any],
    keep: Callable[[int], None],
    clock: Clock = time.perf_counter_ns,
) -> None:
    """The measured loop: one clock pair per query, outputs released inside it."""
    for prepared in queries:
        start = clock()
        run(prepared)
        end = clock()
        keep(end - start)


def single_stream(
    run: Run,
    pool: Sequence[Any],
    *,
    typical_ns: int,
    slice_s: float,
    precision: Precision,
    max_samples: int,
    min_window_s: float = 0.0,
    clock: Clock = time.perf_counter_ns,
) -> Window:
    """Closed loop: the next query starts when the last one is complete.

    Ends when the percentile is known within half of the target (the other half is for the
    differences between processes), when `slice_s` is over, or at `max_samples`; but not before
    `min_window_s`: what runs beyond `max_samples` is counted, and its latency dropped.
    """
    window = Window()
    samples = window.samples_ns
    slice_s = max(slice_s, min_window_s)
    least_ns = max(MIN_WINDOW_NS, round(min_window_s * 1e9))
    rotation = cycle(pool)
    per_block = max(1, min(BLOCK_NS // max(typical_ns, 1), max_samples // MIN_BLOCKS or 1))
    block_values: list[float] = []
    target, permille = precision.target, round(precision.percentile * 1000)
    needed = max(MIN_SAMPLES, stats.min_samples(permille))
    with no_gc(), usage(window):
        start = clock()
        deadline = start + round(slice_s * 1e9)
        give_up = start + round(MAX_SLICES * slice_s * 1e9)
        while not window.stop:
            room = max_samples - len(samples)
            size = min(per_block, room) if room else per_block
            time_block(run, islice(rotation, size), samples.append if room else _drop, clock)
            now = clock()
            window.queries += size
            if room:
                block_values.append(stats.percentile(sorted(samples[-size:]), permille))
            if len(samples) >= max_samples:
                if now - start >= min_window_s * 1e9:
                    window.stop = "samples"
            elif now >= deadline and (len(samples) >= MIN_TIMED or now >= give_up):
                window.stop = "time"
            elif (
                # Looking costs time outside the calls only; look seldom all the same.
                len(block_values) % MIN_BLOCKS == 0
                and now - start >= least_ns
                and len(samples) >= needed
                and _within(block_values, target / 2)
            ):
                window.stop = "precise"
        window.window_ns = clock() - start
    return window


def queries_of(
    run: Run, pool: Sequence[Any], runs: int
) -> tuple[Callable[[Sequence[Any]], None], list[list[Any]]]:
    """A call that serves a query of several runs, one after the other, and the queries in rotation: each begins
    where the one before ended in the pool, so that over them every input has every place."""
    size = len(pool)
    starts = dict.fromkeys(number * runs % size for number in range(size))
    queries = [[pool[(start + step) % size] for step in range(runs)] for start in starts]

    def serve(query: Sequence[Any]) -> None:
        for prepared in query:
            run(prepared)

    return serve, queries


def _drop(latency_ns: int) -> None:
    """Keeps nothing."""


def _within(block_values: Sequence[float], target: float) -> bool:
    """Whether the mean over blocks is known within `target`, as a share, at 95 %.

    Blocks, not iterations, are the unit: neighbouring iterations are correlated.
    """
    interval = stats.log_interval(block_values)
    return interval is not None and interval.half_width <= target


@dataclass(frozen=True)
class Schedule:
    """When the queries of a load are due, from its start."""

    rate_per_s: float
    due_ns: Sequence[int]
    seed: int | None = None  # of a Poisson process; None: one query a period

    @property
    def period_ns(self) -> float:
        return 1e9 / self.rate_per_s


def equal_periods(rate_per_s: float, count: int) -> Schedule:
    """One query a period, as an application with a frame rate sends them."""
    return Schedule(rate_per_s, [round(number * 1e9 / rate_per_s) for number in range(count)])


def poisson(rate_per_s: float, count: int, seed: int) -> Schedule:
    """Queries that know nothing of each other: the times between them are exponential (MLPerf's Server).

    The schedule is the one that LoadGen draws from the seed: std::mt19937, two words a number, the first query
    at once.
    """
    draw = mersenne_twister(seed).getrandbits
    due_ns: list[int] = []
    at_ns = 0
    for _ in range(count):
        due_ns.append(at_ns)
        share = (draw(32) + draw(32) * 2**32) / 2**64
        at_ns += int(-math.log1p(-min(share, _BELOW_1)) / rate_per_s * 1e9)
    return Schedule(rate_per_s, due_ns, seed)


_BELOW_1 = math.nextafter(1.0, 0.0)
_WORDS = 624


def mersenne_twister(seed: int) -> random.Random:
    """The generator in the state that C++ gives std::mt19937 for a seed; Python mixes its own seeds further."""
    words = [seed & 0xFFFFFFFF]
    for number in range(1, _WORDS):
        words.append((1812433253 * (words[-1] ^ (words[-1] >> 30)) + number) & 0xFFFFFFFF)
    drawn = random.Random()
    drawn.setstate((3, (*words, _WORDS), None))
    return drawn


def queries_at(
    rate_per_s: float, slice_s: float, max_samples: int, min_window_s: float = 0.0
) -> int:
    """How many queries fill a window at a rate; however long a meter needs it, no more than a schedule holds."""
    filling = min(max_samples, round(slice_s * rate_per_s))
    return max(1, min(MAX_SCHEDULED, max(filling, _ceil(min_window_s * rate_per_s))))


def at_a_rate(
    run: Run,
    pool: Sequence[Any],
    schedule: Schedule,
    *,
    clock: Clock = time.perf_counter_ns,
    sleep: Callable[[float], None] = time.sleep,
) -> Window:
    """Queries at the times of a schedule; one that comes while another is served waits in a queue.

    Latency counts from the scheduled time, so that waiting and a late start are part of it. Between queries
    the process sleeps, as the application would. Where the device cannot keep the rate, the loop ends
    after twice the planned time, and the queries it never started are counted as misses.
    """
    due_ns = schedule.due_ns
    window = Window(stop="time")
    starts_ns: list[int] = []
    service_ns: list[int] = []
    wake_late_ns: list[int] = []
    misses = 0
    with no_gc(), usage(window):
        begin = clock() + 1_000_000
        give_up = begin + round(2 * max(due_ns[-1], len(due_ns) * schedule.period_ns) + 1e9)
        for offset_ns, prepared in zip(due_ns, cycle(pool), strict=False):
            due = begin + offset_ns
            idle_ns = due - clock()
            if idle_ns > 0:
                sleep(idle_ns / 1e9)
            start = clock()
            run(prepared)
            end = clock()
            if idle_ns > 0:
                wake_late_ns.append(start - due)
            starts_ns.append(start - begin)
            service_ns.append(end - start)
            window.samples_ns.append(end - due)
            misses += end - due > schedule.period_ns
            if end > give_up:
                break
        window.window_ns = clock() - begin
    window.queries = len(service_ns)
    never_run = len(due_ns) - len(service_ns)
    window.paced = Paced(
        rate_per_s=schedule.rate_per_s,
        misses=never_run + (misses if schedule.seed is None else 0),
        service_ns=service_ns,
        wake_late_ns=wake_late_ns,
        arrivals="constant" if schedule.seed is None else "poisson",
        seed=schedule.seed,
        due_ns=[] if schedule.seed is None else list(due_ns[: len(service_ns)]),
        depth=[bisect_right(due_ns, start) - number for number, start in enumerate(starts_ns)],
        never_run=never_run,
    )
    return window


def offline(
    run: Run,
    pool: Sequence[Any],
    *,
    batch: int,
    typical_ns: int,
    slice_s: float,
    max_samples: int,
    min_window_s: float = 0.0,
    clock: Clock = time.perf_counter_ns,
) -> Window:
    """One query of as many samples as fill the time, in batches; all are there from the start."""
    typical_ns = max(typical_ns, 1)
    calls = max(1, min(max_samples, round(slice_s * 1e9 / typical_ns)))
    calls = max(calls, _ceil(min_window_s * 1e9 / typical_ns))
    window = Window(stop="time", queries=calls)
    with no_gc(), usage(window):
        start = clock()
        queries = islice(cycle(pool), calls)
        time_block(run, islice(queries, max_samples), window.samples_ns.append, clock)
        time_block(run, queries, _drop, clock)
        window.window_ns = clock() - start
    window.offline = Offline(samples=calls * batch, duration_ns=window.window_ns, batch=batch)
    return window


def _ceil(value: float) -> int:
    return -int(-value // 1)


def in_turn(
    run: Run, first: Sequence[Any], second: Sequence[Any], clock: Clock = time.perf_counter_ns
) -> tuple[list[int], list[int]]:
    """Latencies of two sets of queries, timed in turn so that drift meets both alike."""
    first_ns: list[int] = []
    second_ns: list[int] = []
    with no_gc():
        for number, (a, b) in enumerate(zip(first, second, strict=True)):
            turns = ((a, first_ns), (b, second_ns))
            for prepared, kept in turns if number % 2 == 0 else turns[::-1]:
                start = clock()
                run(prepared)
                kept.append(clock() - start)
    return first_ns, second_ns
