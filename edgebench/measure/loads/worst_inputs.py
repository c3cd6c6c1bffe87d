"""Searches for inputs that take longest, within a time: for tasks whose work depends on what they are given.

A candidate follows from a seed alone: an item of the task, or what can be made of items (noise in their range, copies
in small, two of them mixed, numbers so small that a processor may take a slow path). Halves are dropped in rounds:
all candidates are timed once, the slower quarter again, and so on. What was slow by chance does not stay: the last one
is timed anew at the end, in turn with the item of median time, and only those times are told.

Where a meter reads, the slowest of each kind and the median item then run for as long as it needs: when these windows
were is told, and whoever has the readings knows which takes most energy.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from edgebench.measure.replicate.loops import Clock, no_gc
from edgebench.record import EnergyWindow, WorstCase

if TYPE_CHECKING:
    from edgebench.backend import Feeds

KINDS = ("item", "noise", "small copies", "two mixed", "tiny numbers")
ITEMS = 16  # of the task, from which candidates are made
KEPT_SHARE = 4  # of a round, one in so many goes on
MAX_CANDIDATES = 4096
MAX_SEED = 2**31
#: Share of the time for the first round; the others and the confirmation take what is left.
FIRST_SHARE = 0.6
TINY = 1e-39  # below what float32 holds in full


class Timed(NamedTuple):
    """The time of a query and of the application's answer after it; of a text, its tokens."""

    run_ns: int
    answer_ns: int
    tokens: int | None = None

    @property
    def whole_ns(self) -> int:
        return self.run_ns + self.answer_ns


#: Runs inputs, and makes the application's answer of the outputs.
Serve = Callable[[Any], Timed]


class Candidates(Protocol):
    """Inputs by their seeds; the first seeds are the items of the task."""

    @property
    def items(self) -> int: ...

    def kind_of(self, seed: int) -> str: ...

    def make(self, seed: int) -> Any: ...


class Effort(NamedTuple):
    """How much is tried, however little time there is, and how often the last one is timed."""

    least: int = 10
    confirming: int = 15


class Windows(NamedTuple):
    """What a meter needs: windows so long, of so many inferences a query, by the clock of its readings. 0: none reads."""

    seconds: float = 0.0
    inferences: int = 1
    clock: Clock = time.monotonic_ns


EFFORT = Effort()
NO_METER = Windows()


class Inputs:
    def __init__(self, items: Sequence[Feeds]) -> None:
        self._items = items
        self.items = len(items)

    def kind_of(self, seed: int) -> str:
        """What a candidate is made by. The first seeds are the items themselves."""
        return KINDS[0] if seed < ITEMS else KINDS[seed % len(KINDS)]

    def make(self, seed: int) -> Feeds:
        first = self._items[seed % self.items]
        kind = self.kind_of(seed)
        if kind == KINDS[0]:
            return first
        drawn = np.random.RandomState([seed])
        second = self._items[drawn.randint(self.items)]
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


class _Trials:
    """Serves candidates; an input that is refused took no time, and is counted."""

    def __init__(self, serve: Serve, candidates: Candidates) -> None:
        self._serve, self.candidates = serve, candidates
        self.failures: list[str] = []

    def time_ns(self, seed: int) -> int:
        return self(self.candidates.make(seed)).whole_ns

    def __call__(self, made: Any) -> Timed:
        try:
            return self._serve(made)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a model or a task makes of strange inputs
            self.failures.append(f"{type(error).__name__}: {error}")
            return Timed(0, 0)


def search(
    serve: Serve,
    candidates: Candidates,
    seconds: float,
    seed: int,
    *,
    effort: Effort = EFFORT,
    windows: Windows = NO_METER,
    clock: Clock = time.perf_counter_ns,
) -> WorstCase:
    """The slowest candidate that was found in the time, and the times of it and of the median item.

    Windows for a meter come after it, and take as long again at most.
    """
    begin = clock()
    needed_s = 2 * windows.seconds
    trials = _Trials(serve, candidates)
    with no_gc():
        limit_ns = round(FIRST_SHARE * seconds * 1e9)
        first = _first_round(trials, limit_ns, seed, effort.least, clock)
        median_seed = _median_item(trials, first)
        deadline = begin + round(seconds * 1e9)
        times = first
        while len(times) > 1:
            times = _slower_part(trials, times)
            if clock() > deadline:
                break
        worst_seed = max(times, key=lambda each: times[each])
        worst, typical = _confirmed(trials, worst_seed, median_seed, effort.confirming)
        took_ns = clock() - begin
        finalists = _slowest_of_each_kind(candidates, first, worst_seed)
        metered = _metered(trials, [median_seed, *finalists], seconds, windows)
    return WorstCase(
        tried=len(first),
        seconds=took_ns / 1e9,
        seed=worst_seed,
        kind=candidates.kind_of(worst_seed),
        worst_ns=[each.whole_ns for each in worst],
        median_ns=[each.whole_ns for each in typical],
        worst_run_ns=[each.run_ns for each in worst],
        median_run_ns=[each.run_ns for each in typical],
        worst_tokens=worst[-1].tokens,
        median_tokens=typical[-1].tokens,
        energy_windows=metered,
        energy_needed_s=needed_s if needed_s > seconds else None,
        failed=len(trials.failures),
        failure=trials.failures[0] if trials.failures else "",
    )


def _first_round(
    trials: _Trials, limit_ns: int, seed: int, least: int, clock: Clock
) -> dict[int, int]:
    """Seed -> time, of all items and as many others as fit."""
    begin = clock()
    drawn = random.Random(seed)
    times: dict[int, int] = {}
    for number in range(MAX_CANDIDATES):
        known = number < trials.candidates.items
        each = number if known else drawn.randrange(ITEMS, MAX_SEED)
        times[each] = trials.time_ns(each)
        if number >= least and clock() - begin > limit_ns:
            break
    return times


def _slower_part(trials: _Trials, times: dict[int, int]) -> dict[int, int]:
    """The slower quarter with the shorter of its former time and a new one."""
    count = max(1, len(times) // KEPT_SHARE)
    kept = sorted(times, key=lambda each: -times[each])[:count]
    return {each: min(times[each], trials.time_ns(each)) for each in kept}


def _median_item(trials: _Trials, first: dict[int, int]) -> int:
    """Which of the items takes the median time, by the shorter of its first run and a new one."""
    items = [seed for seed in range(trials.candidates.items) if seed in first]
    times = {each: min(first[each], trials.time_ns(each)) for each in items}
    order = sorted(items, key=lambda each: times[each])
    return order[(len(order) - 1) // 2]


def _confirmed(
    trials: _Trials, worst_seed: int, median_seed: int, count: int
) -> tuple[list[Timed], list[Timed]]:
    """Fresh times of both, in turn, so that drift meets both alike."""
    worst_made, typical_made = map(trials.candidates.make, (worst_seed, median_seed))
    worst, typical = [], []
    for _ in range(count):
        worst.append(trials(worst_made))
        typical.append(trials(typical_made))
    return worst, typical


def _slowest_of_each_kind(
    candidates: Candidates, times: dict[int, int], worst_seed: int
) -> list[int]:
    """The slowest of all, and of the other kinds their slowest in the first round: what takes most energy need not
    take most time."""
    found = {candidates.kind_of(worst_seed): worst_seed}
    for each in sorted((seed for seed in times if times[seed]), key=lambda seed: -times[seed]):
        found.setdefault(candidates.kind_of(each), each)
    return list(found.values())


def _metered(
    trials: _Trials, seeds: Sequence[int], seconds: float, windows: Windows
) -> list[EnergyWindow]:
    """A window of each, as many as fit into the time; none where not even two do, or the median item fails."""
    fitting = int(seconds / windows.seconds) if windows.seconds else 0
    if fitting < 2:
        return []
    found = [_window(trials, seed, windows) for seed in seeds[:fitting]]
    return [each for each in found if each is not None] if found[0] else []


def _window(trials: _Trials, seed: int, windows: Windows) -> EnergyWindow | None:
    """None: the input was refused now."""
    made, clock, queries = trials.candidates.make(seed), windows.clock, 0
    failures = len(trials.failures)
    start = end = clock()
    while end - start < windows.seconds * 1e9:
        trials(made)
        queries += 1
        end = clock()
        if len(trials.failures) > failures:
            return None
    return EnergyWindow(
        seed=seed,
        kind=trials.candidates.kind_of(seed),
        inferences=queries * windows.inferences,
        start_ns=start,
        end_ns=end,
    )
