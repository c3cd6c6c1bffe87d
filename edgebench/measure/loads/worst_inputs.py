"""Searches for inputs that take longest, within a time: for tasks whose work depends on what they are given.

A candidate follows from a seed alone: an item of the task, or what can be made of items (noise in their range, copies
in small, two of them mixed, numbers so small that a processor may take a slow path). Halves are dropped in rounds:
all candidates are timed once, the slower quarter again, and so on. What was slow by chance does not stay: the last one
is timed anew at the end, in turn with the item of median time, and only those times are told.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from edgebench.measure.replicate.loops import Clock, no_gc
from edgebench.record import WorstCase

if TYPE_CHECKING:
    from edgebench.backend import Feeds

KINDS = ("item", "noise", "small copies", "two mixed", "tiny numbers")
ITEMS = 16  # of the task, from which candidates are made
KEPT_SHARE = 4  # of a round, one in so many goes on
CONFIRMING = 15  # times of the last one, and of the median item
MIN_CANDIDATES, MAX_CANDIDATES = 10, 4096
#: Share of the time for the first round; the others and the confirmation take what is left.
FIRST_SHARE = 0.6
TINY = 1e-39  # below what float32 holds in full


class Timed(NamedTuple):
    """The time of a query and of the application's answer after it."""

    run_ns: int
    answer_ns: int

    @property
    def whole_ns(self) -> int:
        return self.run_ns + self.answer_ns


#: Runs inputs, and makes the application's answer of the outputs.
Serve = Callable[["Feeds"], Timed]


def kind_of(seed: int) -> str:
    """What a candidate is made by. The first seeds are the items themselves."""
    return KINDS[0] if seed < ITEMS else KINDS[seed % len(KINDS)]


def candidate(items: Sequence[Feeds], seed: int) -> Feeds:
    """The inputs of a seed."""
    first = items[seed % len(items)]
    kind = kind_of(seed)
    if kind == KINDS[0]:
        return first
    drawn = np.random.RandomState([seed])
    second = items[drawn.randint(len(items))]
    return {name: _changed(kind, array, second[name], drawn) for name, array in first.items()}


def _changed(kind: str, array: Any, other: Any, drawn: np.random.RandomState) -> Any:
    """An input of the same shape and type; of whole numbers only values that an item has."""
    if array.size == 0 or array.dtype.kind not in "fiu":
        return array
    if kind == "small copies":
        return _small_copies(array, 2 ** drawn.randint(1, 4))
    if kind == "two mixed":
        return np.where(drawn.random_sample(array.shape) < 0.5, array, other)
    if array.dtype.kind != "f":
        return drawn.permutation(array.ravel()).reshape(array.shape)
    if kind == "noise":
        return drawn.uniform(array.min(), array.max(), array.shape).astype(array.dtype)
    return (array * TINY).astype(array.dtype)


def _small_copies(array: Any, times: int) -> Any:
    """The picture (its last two axes) or the sequence (its last) in small, so many times in each direction."""
    made = array
    for axis in range(max(1, array.ndim - 2), array.ndim):
        size = array.shape[axis]
        made = np.take(made, (np.arange(size) * times) % size, axis=axis)
    return np.ascontiguousarray(made)


class Guarded:
    """Serves; an input that is refused took no time, and is counted."""

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self.failures: list[str] = []

    def __call__(self, feeds: Feeds) -> Timed:
        try:
            return self._serve(feeds)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a model or a task makes of strange inputs
            self.failures.append(f"{type(error).__name__}: {error}")
            return Timed(0, 0)


def search(
    serve: Serve,
    items: Sequence[Feeds],
    seconds: float,
    seed: int,
    *,
    clock: Clock = time.perf_counter_ns,
) -> WorstCase:
    """The slowest candidate that was found in the time, and the times of it and of the median item."""
    begin = clock()
    serve = guarded = Guarded(serve)
    with no_gc():
        times = _first_round(serve, items, round(FIRST_SHARE * seconds * 1e9), seed, clock)
        tried = len(times)
        median_seed = _median_item(serve, items)
        deadline = begin + round(seconds * 1e9)
        while len(times) > 1:
            times = _slower_part(serve, items, times)
            if clock() > deadline:
                break
        worst_seed = max(times, key=lambda each: times[each])
        worst, typical = _confirmed(serve, items, worst_seed, median_seed)
    return WorstCase(
        tried=tried,
        seconds=(clock() - begin) / 1e9,
        seed=worst_seed,
        kind=kind_of(worst_seed),
        worst_ns=[each.whole_ns for each in worst],
        median_ns=[each.whole_ns for each in typical],
        worst_run_ns=[each.run_ns for each in worst],
        median_run_ns=[each.run_ns for each in typical],
        failed=len(guarded.failures),
        failure=guarded.failures[0] if guarded.failures else "",
    )


def _first_round(
    serve: Serve, items: Sequence[Feeds], limit_ns: int, seed: int, clock: Clock
) -> dict[int, int]:
    """Seed -> time, of all items and as many others as fit."""
    begin = clock()
    drawn = random.Random(seed)
    times: dict[int, int] = {}
    for number in range(MAX_CANDIDATES):
        each = number if number < len(items) else drawn.randrange(ITEMS, 2**31)
        times[each] = serve(candidate(items, each)).whole_ns
        if number >= MIN_CANDIDATES and clock() - begin > limit_ns:
            break
    return times


def _slower_part(serve: Serve, items: Sequence[Feeds], times: dict[int, int]) -> dict[int, int]:
    """The slower quarter with the shorter of its former time and a new one."""
    count = max(1, len(times) // KEPT_SHARE)
    kept = sorted(times, key=lambda each: -times[each])[:count]
    return {each: min(times[each], serve(candidate(items, each)).whole_ns) for each in kept}


def _median_item(serve: Serve, items: Sequence[Feeds]) -> int:
    """Which of the items takes the median time, by the shorter of two runs."""
    times = [min(serve(item).whole_ns, serve(item).whole_ns) for item in items]
    order = sorted(range(len(items)), key=lambda place: times[place])
    return order[(len(order) - 1) // 2]


def _confirmed(
    serve: Serve, items: Sequence[Feeds], worst_seed: int, median_seed: int
) -> tuple[list[Timed], list[Timed]]:
    """Fresh times of both, in turn, so that drift meets both alike."""
    worst_feeds, typical_feeds = candidate(items, worst_seed), items[median_seed]
    worst, typical = [], []
    for _ in range(CONFIRMING):
        worst.append(serve(worst_feeds))
        typical.append(serve(typical_feeds))
    return worst, typical
