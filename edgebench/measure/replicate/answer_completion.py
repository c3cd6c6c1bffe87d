"""Checks that the answer is complete when the measured call returns, and times reading it.

Outputs are read as arrays, every byte of them: what a backend hands out may be a promise whose values
are computed when somebody looks.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import cycle
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgebench.preparation.input_pool import Feeds, Outputs
from edgebench.probes.run_queue_waits import WaitClock
from edgebench.record import Completion

if TYPE_CHECKING:
    from edgebench.backend import Session
    from edgebench.measure.replicate.loops import Clock

#: Pairs of queries of an attempt that are not judged: code that reads for the first time is cold.
COLD_PAIRS = 1
#: How often what looks deferred is looked at: a busy machine interrupts one reading, not all of them.
ATTEMPTS = 3
#: Left work is at least this share of a query, this many times what the second reading and one that finds
#: the caches cold take, and this many times what readings differ by on this machine at this moment.
MIN_DEFERRED_SHARE = 0.1
MIN_DEFERRED_READINGS = 4
MIN_DEFERRED_SPREADS = 5
#: How long outputs are held to see whether they stay as they are.
HELD_S = 0.02


def read(outputs: Outputs) -> dict[str, int]:
    """A checksum of each output, for which all of its bytes are needed. Copies none that lies in order:
    the peak of memory is still to be read."""
    return {name: _checksum(np.asarray(array)) for name, array in outputs.items()}


def _checksum(array: NDArray[Any]) -> int:
    if array.dtype.hasobject:
        return hash(repr(array.tolist()))
    flat = np.ascontiguousarray(array).reshape(-1)
    return zlib.crc32(flat.view(np.uint8).data) if flat.size else 0


def completion(
    session: Session,
    pool: Sequence[Any],
    typical_ns: int,
    pairs: int,
    clock: Clock | None = None,
) -> Completion:
    """Reads the outputs of so many queries twice, each with another run beside it. A runtime that returns before
    its work is done, or leaves it until somebody looks, is slow the first time and not the second, at every attempt.

    Times are without those in which this thread waited for a core, where the kernel tells.
    """
    with closing(WaitClock()) as waiting:
        clock = clock or (lambda: time.perf_counter_ns() - waiting.read_ns())
        for _ in range(ATTEMPTS):
            attempt = _attempt(session, pool, typical_ns, pairs, clock)
            if not attempt.deferred:
                break
    return attempt


def _attempt(
    session: Session, pool: Sequence[Any], typical_ns: int, pairs: int, clock: Clock
) -> Completion:
    """Reads outputs twice after each run. A run's caches make any first reading slow: an array of our own tells how slow."""
    first_ns: list[int] = []
    second_ns: list[int] = []
    cold_ns: list[int] = []
    own = {"own": np.zeros(16, np.uint8)}
    queries = cycle(pool)
    for number in range(COLD_PAIRS + pairs):
        prepared = next(queries)
        raw = session.run(prepared)
        returned = clock()
        read(session.outputs_of(prepared, raw))
        once = clock()
        read(session.outputs_of(prepared, raw))
        twice = clock()
        session.run(next(queries))
        begin = clock()
        read(own)
        end = clock()
        if number >= COLD_PAIRS:
            first_ns.append(_lasted_ns(returned, once))
            second_ns.append(_lasted_ns(once, twice))
            cold_ns.append(_lasted_ns(begin, end))
    return Completion(
        first_read_ns=first_ns,
        second_read_ns=second_ns,
        cold_read_ns=cold_ns,
        deferred=looks_deferred(first_ns, second_ns, cold_ns, typical_ns),
    )


def _lasted_ns(begin: int, end: int) -> int:
    """Never below 0: where this thread lost its core between its clock and its waits, more is taken off than was
    waited for."""
    return max(0, end - begin)


def max_queries(pairs: int) -> int:
    return 2 * ATTEMPTS * (COLD_PAIRS + pairs)


def copying_ns(feeds: Feeds, outputs: Outputs) -> int:
    """Returns what handling a query's arrays costs here and now, whoever does it: the measure of `prepare` and of
    reading."""
    plain = [{name: np.asarray(array) for name, array in each.items()} for each in (feeds, outputs)]
    begin = time.perf_counter_ns()
    for arrays in plain:
        read({name: array.copy() for name, array in arrays.items()})
    return time.perf_counter_ns() - begin


def keeps_changing(
    session: Session, pool: Sequence[Any], sleep: Callable[[float], None] = time.sleep
) -> bool:
    """Whether outputs that were handed out get other values later: somebody still works on them.

    Holds the outputs of several queries, so it comes after the peak of memory was read.
    """
    held = []
    for prepared in pool:
        outputs = session.outputs_of(prepared, session.run(prepared))
        held.append((outputs, read(outputs)))
    sleep(HELD_S)
    return any(read(outputs) != first for outputs, first in held)


def looks_deferred(
    first_ns: Sequence[int], second_ns: Sequence[int], cold_ns: Sequence[int], typical_ns: int
) -> bool:
    """Whether first readings did work that second ones did not have to do."""
    second = median(second_ns)
    least = max(
        MIN_DEFERRED_SHARE * typical_ns,
        MIN_DEFERRED_READINGS * (second + median(cold_ns)),
        MIN_DEFERRED_SPREADS * median(abs(each - second) for each in second_ns),
    )
    return median(first_ns) - second > least
