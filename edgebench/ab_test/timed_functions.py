"""Times functions of the user in this process: one alone, or two in turns.

There is only one process, so what a process's luck with memory layout does to its times is in every
result and no interval knows of it. An A/B of this kind therefore calls nothing a regression that is
smaller than `delta`.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from typing import Any

import msgspec

from edgebench import stats
from edgebench.ab_test.pair_runner import ROUNDS, block_shape
from edgebench.ab_test.pair_statistics import (
    Block,
    Round,
    Times,
    change,
    cpu_ns,
    undisturbed_ns,
    wall_ns,
)
from edgebench.ab_test.verdict import RuleResult, Rules, Tolerance, judge
from edgebench.measure import cpu_pinning
from edgebench.measure.replicate.loops import no_gc
from edgebench.probes.run_queue_waits import WaitClock

WARM_UP = 8
#: A look of the single timing takes so long, unless the function is slower than that.
WINDOW_NS = 250_000_000

Call = Callable[[], Any]


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """Wall time of single calls in this process, nearest-rank percentiles; None: too few calls."""

    calls: int
    p50_ns: int | None
    p90_ns: int | None
    p99_ns: int | None


def time_calls(call: Call, window_ns: int = WINDOW_NS) -> Timing:
    """Warms up and times calls for about `window_ns`, at least 6 of them, garbage collection off."""
    for _ in range(WARM_UP):
        call()
    clock, samples = time.perf_counter_ns, list[int]()
    with no_gc():
        deadline = clock() + window_ns
        while len(samples) < stats.MEDIAN_MIN_SAMPLES or clock() < deadline:
            start = clock()
            call()
            samples.append(clock() - start)
    p50_ns, p90_ns, p99_ns = stats.supported_percentiles(sorted(samples))
    return Timing(calls=len(samples), p50_ns=p50_ns, p90_ns=p90_ns, p99_ns=p99_ns)


def compare_calls(
    base: Call,
    head: Call,
    tolerance: Tolerance,
    *,
    budget_s: float = 30.0,
    rounds: int = ROUNDS,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, RuleResult]:
    """Results on "cpu" and "wall" of head against base, in strict alternation; where cores cannot be pinned
    (macOS) on "wall" alone, as in any A/B.

    What takes the place of a pair of processes is a stretch of `rounds` rounds. REGRESS and IMPROVE need
    a change beyond `delta`, not beyond `tau`: the spread between processes is not in the interval.
    """
    strict = Tolerance(tau=tolerance.delta, delta=2 * tolerance.delta)
    clocks = _clocks()
    rules = Rules(tests=len(clocks))
    deadline = clock() + budget_s
    stretches: list[list[Round]] = []
    with no_gc():
        shape = _shape(base, head)
        while True:
            stretches.append(_stretch(base, head, shape, rounds, len(stretches) % 2 == 1))
            rulings = {
                name: judge(
                    [c for stretch in stretches if (c := change(stretch, times)) is not None],
                    strict,
                    rules,
                )
                for name, times in clocks.items()
            }
            decided = all(ruling.decided for ruling in rulings.values())
            if decided or len(stretches) >= rules.cap or clock() > deadline:
                return rulings


def _clocks() -> dict[str, Times]:
    if not cpu_pinning.available():
        return {"wall": wall_ns}
    return {"cpu": cpu_ns, "wall": undisturbed_ns}


def _shape(base: Call, head: Call) -> tuple[int, int]:
    """Samples of a block and calls of a sample, the same for both."""
    typical = 1
    for call in (base, head):
        times = []
        for _ in range(WARM_UP):
            start = time.perf_counter_ns()
            call()
            times.append(time.perf_counter_ns() - start)
        typical = max(typical, min(times[WARM_UP // 2 :]))
    shape = block_shape(typical)
    return shape.samples, shape.calls


def _stretch(
    base: Call, head: Call, shape: tuple[int, int], rounds: int, head_first: bool
) -> list[Round]:
    times = []
    for _ in range(rounds):
        if head_first:
            after, before = _block(head, shape), _block(base, shape)
        else:
            before, after = _block(base, shape), _block(head, shape)
        times.append((before, after))
    return times


def _block(call: Call, shape: tuple[int, int]) -> Block:
    samples, calls = shape
    waits = WaitClock()
    wall, cpu, switches, waited = (list[int]() for _ in range(4))
    for _ in range(samples):
        switched, wait = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw, waits.read_ns()
        cpu_start, start = time.process_time_ns(), time.perf_counter_ns()
        for _ in range(calls):
            call()
        wall.append(time.perf_counter_ns() - start)
        cpu.append(time.process_time_ns() - cpu_start)
        waited.append(waits.read_ns() - wait)
        switches.append(resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw - switched)
    waits.close()
    return Block(wall, cpu, switches, waited)
