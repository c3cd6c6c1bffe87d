"""One session that is given inputs of several shapes: what a change of shape costs, and how memory grows.

The session is opened on the model with its axes left open, apart from the one that the row measures, whose shapes are
fixed. Each shape is seen once at first; then the mix goes on. Where a query has another shape than the one before, it
is run once more: the difference of the two is the cost of the change.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from edgebench.errors import EdgebenchError
from edgebench.measure.replicate.loops import Clock, Run, no_gc
from edgebench.record import HeldMemory, ShapeChanges
from edgebench.text.did_you_mean import did_you_mean

if TYPE_CHECKING:
    from edgebench.backend import Feeds

#: Queries of other shapes than the one before: over so many the growth of memory is told.
CHANGES = 1000
LOOKS = 10  # at memory meanwhile
MAX_QUERIES = 8192


class Query(NamedTuple):
    """Inputs that the session prepared, and their shape as text."""

    shape: str
    prepared: Any


class Asked(NamedTuple):
    seconds: float
    changes: int = CHANGES
    min_queries: int = 0


def shape_text(feeds: Feeds) -> str:
    """`1x128`; of several inputs with different shapes all, in the order of their names."""
    shapes = ["x".join(map(str, np.shape(feeds[name]))) or "scalar" for name in sorted(feeds)]
    return " ".join(dict.fromkeys(shapes))


def in_shape(feeds: Feeds, step: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """The inputs cut or repeated to other shapes, so that every value is one that the input had before. Raises
    EdgebenchError for an input that there is not, or has other axes."""
    return {**feeds, **{name: _sized(feeds, name, shape) for name, shape in step.items()}}


def _sized(feeds: Feeds, name: str, shape: Sequence[int]) -> Any:
    if name not in feeds:
        raise EdgebenchError(f"--shape-sequence: no input {name!r}{did_you_mean(name, feeds)}")
    array = feeds[name]
    if array.ndim != len(shape):
        raise EdgebenchError(
            f"--shape-sequence: the input {name} has {array.ndim} axes, not {len(shape)}",
            f"its shape is {','.join(map(str, array.shape)) or 'scalar'}",
        )
    for axis, size in enumerate(shape):
        array = np.take(array, range(size), axis=axis, mode="wrap")
    return np.ascontiguousarray(array)


def drawn(queries: Sequence[Query], seed: int) -> Iterator[Query]:
    """The queries of a task without an order of their own, again and again in another one."""
    chance = random.Random(seed)
    order = list(queries)
    while True:
        chance.shuffle(order)
        yield from order


def measure(
    run: Run,
    queries: Sequence[Query],
    order: Iterator[Query] | None,
    asked: Asked,
    held: Callable[[int], HeldMemory],
    *,
    clock: Clock = time.perf_counter_ns,
) -> ShapeChanges:
    """First every shape once, then the mix until there were so many changes, or the time is up. `order`: of the
    mix; None: that of the queries. `held`: the memory that the process has after so
    many changes."""
    first = {query.shape: query for query in queries}
    found = ShapeChanges(
        shapes=list(first),
        first_ns=[],
        again_ns=[],
        mix_ns=[],
        changed_ns=[],
        same_ns=[],
        memory=[],
    )
    with no_gc():
        for query in first.values():
            found.first_ns.append(_timed(run, query, clock))
            found.again_ns.append(_timed(run, query, clock))
        found.memory.append(held(0))
        _mix(run, order or cycle(queries), asked, held, found, clock)
    return found


def _mix(
    run: Run,
    order: Iterator[Query],
    asked: Asked,
    held: Callable[[int], HeldMemory],
    found: ShapeChanges,
    clock: Clock,
) -> None:
    before = ""
    changes = 0
    deadline = clock() + round(asked.seconds * 1e9)
    for query in order:
        taken_ns = _timed(run, query, clock)
        found.mix_ns.append(taken_ns)
        if before and query.shape != before:
            found.changed_ns.append(taken_ns)
            found.same_ns.append(_timed(run, query, clock))
            changes += 1
            if changes % max(1, asked.changes // LOOKS) == 0:
                found.memory.append(held(changes))
        before = query.shape
        enough = changes >= asked.changes and len(found.mix_ns) >= asked.min_queries
        if enough or clock() > deadline or len(found.mix_ns) >= MAX_QUERIES:
            break
    if found.memory[-1].changes < changes:
        found.memory.append(held(changes))


def _timed(run: Run, query: Query, clock: Clock) -> int:
    start = clock()
    run(query.prepared)
    return clock() - start
