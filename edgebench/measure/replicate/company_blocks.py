"""Times a model alone and in company, in blocks that take turns, so that drift meets both alike."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import cycle
from typing import Any, NamedTuple

from edgebench.measure.replicate.loops import Clock, Run, no_gc

MIN_PAIRS, MAX_PAIRS = 3, 8
MIN_BLOCK_S = 0.05
MIN_QUERIES = 3  # of a block, however slow
MAX_KEPT = 256  # latencies of a block
#: Queries after a change that are not kept: the companions wake, caches fill.
SETTLING = 1


class Counted(NamedTuple):
    """What the kernel has counted of this process so far; None: it does not tell."""

    cpu_ns: int | None = None
    waited_ns: int | None = None  # ready to run, without a core
    more: Mapping[str, float] = {}  # what `probes/contention` reads, by its names


class Block(NamedTuple):
    """One block: the mean latency of all its queries, a random part of the latencies, and what the kernel counted, a
    query."""

    mean_ns: int
    kept_ns: list[int]
    counted: Counted = Counted()


class Blocks(NamedTuple):
    """Blocks alone and in company; the two lists are parallel, a pair of neighbours each."""

    alone: list[Block]
    company: list[Block]


class Plan(NamedTuple):
    pairs: int
    block_s: float


def plan(slice_s: float, typical_ns: int) -> Plan:
    """As many pairs as fit into the time, within limits."""
    least_s = max(MIN_BLOCK_S, (MIN_QUERIES + SETTLING) * typical_ns / 1e9)
    pairs = max(MIN_PAIRS, min(MAX_PAIRS, int(slice_s / (2 * least_s))))
    return Plan(pairs, max(least_s, slice_s / (2 * pairs)))


class Companions:
    """Processes that load the machine when they are let, and stand still when they are not."""

    def __init__(self, pids: Sequence[int], kill: Callable[[int, int], None] = os.kill) -> None:
        self._pids, self._kill = pids, kill

    def let(self) -> None:
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        self._signal(signal.SIGSTOP)

    def _signal(self, number: signal.Signals) -> None:
        for pid in self._pids:
            self._kill(pid, number)


def in_company(
    run: Run,
    pool: Sequence[Any],
    companions: Companions,
    asked: Plan,
    *,
    clock: Clock = time.perf_counter_ns,
    look: Callable[[], Counted] = Counted,
) -> Blocks:
    """Pairs of blocks; which of a pair comes first changes from one to the next. The companions stand still
    when it returns."""
    found = Blocks([], [])
    queries = cycle(pool)
    with no_gc():
        for number in range(asked.pairs):
            for crowded in (False, True) if number % 2 == 0 else (True, False):
                (companions.let if crowded else companions.stop)()
                block = _block(run, queries, round(asked.block_s * 1e9), clock, look)
                (found.company if crowded else found.alone).append(block)
        companions.stop()
    return found


def _block(
    run: Run,
    queries: Iterator[Any],
    block_ns: int,
    clock: Clock,
    look: Callable[[], Counted],
) -> Block:
    """Queries for the whole length of the block: one that is shorter than a turn of the scheduler would see no
    companion."""
    for _ in range(SETTLING):
        run(next(queries))
    drawn = random.Random(0)
    kept: list[int] = []
    count = spent_ns = 0
    before = look()
    end_at = clock() + block_ns
    while count < MIN_QUERIES or clock() < end_at:
        start = clock()
        run(next(queries))
        taken = clock() - start
        count, spent_ns = count + 1, spent_ns + taken
        if len(kept) < MAX_KEPT:
            kept.append(taken)
        elif (place := drawn.randrange(count)) < MAX_KEPT:
            kept[place] = taken
    return Block(spent_ns // count, kept, _a_query(before, look(), count))


def _a_query(before: Counted, after: Counted, count: int) -> Counted:
    """What was counted between two looks, over the queries."""
    more = {
        name: max(0.0, after.more[name] - amount) / count
        for name, amount in before.more.items()
        if name in after.more
    }
    return Counted(
        _each(before.cpu_ns, after.cpu_ns, count),
        _each(before.waited_ns, after.waited_ns, count),
        more,
    )


def _each(before: int | None, after: int | None, count: int) -> int | None:
    return None if before is None or after is None else max(0, after - before) // count
