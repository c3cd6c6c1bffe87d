"""How often each row is on the front of its group when every value is drawn anew.

Small groups are judged pair by pair, all of them at once; large ones draw by draw with the sorted
filter of `dominance`. Both give the same counts. All objectives are turned so that lower is better.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgebench.analysis.dominance import (
    Flags,
    Points,
    dominates,
    non_dominated,
    non_dominated_columns,
)
from edgebench.analysis.frame import Indices, Numbers
from edgebench.analysis.uncertainty import Uncertain, below, t_table

DRAWS = 2000
LEAST_DRAWS = 100
_SMALL = 256  # rows of a group that is judged pair by pair
_PAIR_DRAWS = 400_000_000  # comparisons of a pair in a draw that are worth their time
_POINT_DRAWS = 30_000_000  # the same of rows of large groups
_PAIRS = 1_000_000  # pairs held at once
_STRIP = 2**14  # pairs compared at once
_CHUNK = 64  # draws made at once
_HELD = 4_000_000  # drawn values of an objective held at once


@dataclass(frozen=True)
class Turned:
    """An objective of the competing rows; sign -1 turns one where higher is better."""

    of: Uncertain
    sign: float

    @property
    def values(self) -> Numbers:
        return self.sign * self.of.value

    def draws(
        self, rows: Indices, keys: NDArray[np.uint64], start: int, count: int, seed: int
    ) -> Numbers:
        return self.sign * self.of.take(rows).draws(keys[rows], start, count, seed)

    def moves(self, rows: Indices) -> bool:
        """Whether any of these rows is drawn at all."""
        return bool(np.nan_to_num(self.of.error[rows]).any())

    def extremes(self) -> tuple[Numbers, Numbers]:
        """What no draw leaves."""
        kinds, kind = np.unique(self.of.degrees, return_inverse=True)
        reach = np.array([t_table(int(degrees))[-1] for degrees in kinds])[kind.reshape(-1)]
        # A double ends at e**709, the value itself needs room, and so far nothing need be told apart.
        reach = np.minimum(reach * np.nan_to_num(self.of.error), 650.0)
        low, high = self.of.value * np.exp(-reach), self.of.value * np.exp(reach)
        return (low, high) if self.sign > 0 else (-high, -low)


@dataclass(frozen=True)
class Odds:
    """Of each row: its share of draws on the front, whether one particular row dominates it at the
    confidence, and whether it is on the front of the values themselves."""

    share: Numbers
    by_value: Flags
    beaten: Flags
    draws: Indices


def front_odds(
    objectives: Sequence[Turned],
    groups: Indices,
    keys: NDArray[np.uint64],
    seed: int,
    draws: int = DRAWS,
    confidence: float = 0.95,
) -> Odds:
    """Odds of rows that have a value in every objective, group by group.

    A value whose error is unknown is drawn as if it were exact: what that leaves undecided is the
    caller's business. Without draws only `by_value` is found.
    """
    order = np.argsort(groups, kind="stable")
    columns = [Turned(objective.of.take(order), objective.sign) for objective in objectives]
    count = len(groups)
    odds = Odds(
        share=np.ones(count),
        by_value=np.ones(count, dtype=bool),
        beaten=np.zeros(count, dtype=bool),
        draws=np.full(count, draws, dtype=np.intp),
    )
    sizes = np.bincount(groups, minlength=1)
    sizes = sizes[sizes > 0]
    starts = np.cumsum(sizes) - sizes
    small = sizes <= _SMALL
    _judge_pairs(columns, starts[small], sizes[small], keys[order], seed, draws, confidence, odds)
    for start, size in zip(starts[~small], sizes[~small], strict=True):
        members = np.arange(start, start + size)
        _judge_large(columns, members, keys[order], seed, draws, odds)
        _beat_large(columns, members, confidence, odds)
    back = np.empty_like(order)
    back[order] = np.arange(count)
    return Odds(odds.share[back], odds.by_value[back], odds.beaten[back], odds.draws[back])


# --- small groups: pairs. Rows stand in the order of their groups.


def _judge_pairs(
    objectives: Sequence[Turned],
    starts: Indices,
    sizes: Indices,
    keys: NDArray[np.uint64],
    seed: int,
    draws: int,
    confidence: float,
    odds: Odds,
) -> None:
    values = [objective.values for objective in objectives]
    extremes = [objective.extremes() for objective in objectives]
    low, high = [bounds[0] for bounds in extremes], [bounds[1] for bounds in extremes]
    open_pairs = []
    for target, rival in _pairs(starts, sizes):
        by_value = np.flatnonzero(_dominate(values, rival, values, target))
        odds.by_value[target[by_value]] = False
        leading = odds.by_value[rival[by_value]]
        for some in (by_value[leading], by_value[~leading]):  # most rows fall to the first ones
            some = some[~odds.beaten[target[some]]]
            chance = _chance(objectives, rival[some], target[some])
            odds.beaten[target[some[chance >= confidence]]] = True
        odds.share[target[_dominate(high, rival, low, target)]] = 0.0
        # Whatever a surely dominated row dominates, its dominator dominates in the same draw.
        possible = (odds.share[target] > 0) & (odds.share[rival] > 0)
        for least, most in zip(low, high, strict=True):
            possible &= least[rival] <= most[target]
        open_pairs.append((target[possible], rival[possible]))
    target = np.concatenate([pair[0] for pair in open_pairs]) if open_pairs else starts[:0]
    rival = np.concatenate([pair[1] for pair in open_pairs]) if open_pairs else starts[:0]
    del open_pairs
    if not len(target) or not draws:
        return
    least_draws = min(LEAST_DRAWS, draws)
    draws = max(min(_PAIR_DRAWS // len(target), draws), least_draws)
    start = 0
    while len(target) and start < draws:
        # Of very many rows, those that no draw of the first ones has on the front are done.
        until = draws if draws > least_draws else min(start + _CHUNK, draws)
        for strip in _strips(target):
            _count(objectives, target[strip], rival[strip], keys, seed, (start, until), odds)
        start = until
        left = odds.share[target] > 0
        target, rival = target[left], rival[left]


def _chance(objectives: Sequence[Turned], rows: Indices, others: Indices) -> Numbers:
    """Pair by pair, how likely the row, which does so by value, dominates the other one."""
    chance = np.ones(len(rows))
    for objective in objectives:
        one, two = objective.of.take(rows), objective.of.take(others)
        moving = np.flatnonzero((one.error > 0) | (two.error > 0))
        one, two = one.take(moving), two.take(moving)
        chance[moving] *= below(one, two) if objective.sign > 0 else below(two, one)
    return chance


def _dominate(
    one: Sequence[Numbers], rows: Indices, two: Sequence[Numbers], others: Indices
) -> Flags:
    """Pair by pair, whether the row dominates the other one; points are given by columns."""
    nowhere_worse = np.ones(len(rows), dtype=bool)
    better = np.zeros(len(rows), dtype=bool)
    for mine, theirs in zip(one, two, strict=True):
        left, right = mine[rows], theirs[others]
        nowhere_worse &= left <= right
        better |= left < right
    return nowhere_worse & better


def _pairs(starts: Indices, sizes: Indices) -> Iterator[tuple[Indices, Indices]]:
    """All ordered pairs (row, rival) within groups; all pairs of one group come together, and
    those of a row one after the other."""
    filled = np.cumsum(sizes**2)
    first = 0
    while first < len(starts):
        done = filled[first - 1] if first else 0
        last = max(int(np.searchsorted(filled, done + _PAIRS, side="right")), first + 1)
        some, begin = sizes[first:last], starts[first:last]
        each = np.repeat(some, some)  # rivals of each row of these groups
        start = np.repeat(begin, some)
        row = start + np.arange(len(each)) - np.repeat(np.cumsum(some) - some, some)
        target = np.repeat(row, each)
        number = np.arange(len(target)) - np.repeat(np.cumsum(each) - each, each)
        rival = np.repeat(start, each) + number
        apart = target != rival
        # Half the bytes: there may be tens of millions of pairs.
        yield target[apart].astype(np.int32), rival[apart].astype(np.int32)
        first = last


def _strips(target: Indices) -> Iterator[slice]:
    """Pieces of some thousand pairs that hold all pairs of a row."""
    starts = np.flatnonzero(np.concatenate([[True], target[1:] != target[:-1]]))
    begin = 0
    while begin < len(target):
        place = int(np.searchsorted(starts, begin + _STRIP))
        end = int(starts[place]) if place < len(starts) else len(target)
        yield slice(begin, end)
        begin = end


def _count(
    objectives: Sequence[Turned],
    target: Indices,
    rival: Indices,
    keys: NDArray[np.uint64],
    seed: int,
    span: tuple[int, int],
    odds: Odds,
) -> None:
    """Adds the draws of the span to the share of the targets: those in which no rival dominates
    them."""
    begin = min(int(target[0]), int(rival.min()))
    rows = np.arange(begin, max(int(target[-1]), int(rival.max())) + 1)
    own, other = target - begin, rival - begin
    first = np.flatnonzero(np.concatenate([[True], own[1:] != own[:-1]]))
    fixed: list[Turned] = []
    moving: list[Turned] = []
    for objective in objectives:
        (moving if objective.moves(rows) else fixed).append(objective)
    better = np.zeros((len(own), 1), dtype=bool)
    for objective in fixed:  # never worse, or the pair would not be here
        value = objective.of.value[rows] * objective.sign
        better[:, 0] |= value[other] < value[own]
    free = np.zeros(len(first), dtype=np.intp)
    for start in range(span[0], span[1], _CHUNK):
        count = min(_CHUNK, span[1] - start)
        dominated = np.ones((len(own), count), dtype=bool)
        somewhere = np.repeat(better, count, axis=1)
        for objective in moving:
            # Half the bytes: what is compared were random numbers before.
            with np.errstate(
                over="ignore"
            ):  # two replicates have draws beyond all of these numbers
                drawn = objective.draws(rows, keys, start, count, seed).astype(np.float32)
            mine, theirs = drawn[own], drawn[other]
            dominated &= theirs <= mine
            somewhere |= theirs < mine
        dominated &= somewhere
        free += count - np.logical_or.reduceat(dominated, first, axis=0).sum(axis=1)
    targets = target[first]
    before = odds.share[targets] * span[0]
    odds.share[targets] = (before + free) / span[1]
    odds.draws[targets] = span[1]


# --- large groups: draw by draw


def _judge_large(
    objectives: Sequence[Turned],
    members: Indices,
    keys: NDArray[np.uint64],
    seed: int,
    draws: int,
    odds: Odds,
) -> None:
    odds.by_value[members] = non_dominated_columns([o.values[members] for o in objectives])
    if not draws:
        return
    left = members[_not_surely_dominated(objectives, members)]
    draws = max(min(_POINT_DRAWS // len(left), draws), min(LEAST_DRAWS, draws))
    free = np.zeros(len(left), dtype=np.intp)
    chunk = max(1, min(_CHUNK, _HELD // len(left)))
    for start in range(0, draws, chunk):
        count = min(chunk, draws - start)
        columns = [
            objective.draws(left, keys, start, count, seed)
            if objective.moves(left)
            else np.broadcast_to(objective.values[left, None], (len(left), count))
            for objective in objectives
        ]
        for number in range(count):
            free += non_dominated_columns([column[:, number] for column in columns])
    odds.share[members] = 0.0
    odds.share[left] = free / draws
    odds.draws[members] = draws


def _beat_large(
    objectives: Sequence[Turned], members: Indices, confidence: float, odds: Odds
) -> None:
    """Marks rows that one of the rows of the front by value dominates for sure."""
    values = [objective.values for objective in objectives]
    front = members[odds.by_value[members]]
    left = members[~odds.by_value[members]]
    for pivot in front[:: -(-len(front) // _CHUNK)]:
        worse = left[_dominate(values, np.full(len(left), pivot), values, left)]
        chance = _chance(objectives, np.full(len(worse), pivot), worse)
        odds.beaten[worse[chance >= confidence]] = True
        left = left[~odds.beaten[left]]


def _not_surely_dominated(objectives: Sequence[Turned], members: Indices) -> Flags:
    """Which rows no strong row dominates in every possible draw."""
    bounds = [objective.extremes() for objective in objectives]
    low: Points = np.stack([low[members] for low, _ in bounds], axis=1)
    high: Points = np.stack([high[members] for _, high in bounds], axis=1)
    strong = high[non_dominated(high)]
    left = np.arange(len(members))
    for pivot in strong[:: -(-len(strong) // _CHUNK)]:
        left = left[~dominates(pivot, low[left])]
    flags = np.zeros(len(members), dtype=bool)
    flags[left] = True
    return flags
