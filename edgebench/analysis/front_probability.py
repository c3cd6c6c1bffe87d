"""How often each row is on the front of its group when every value is drawn anew, and which rows one
particular rival beats for sure.

Small groups are judged pair by pair, all of them at once; large ones draw by draw with the sorted
filter of `dominance`. Both give the same counts. All objectives are turned so that lower is better.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgebench.analysis.defaults import DRAWS, MIN_DRAWS
from edgebench.analysis.dominance import (
    Flags,
    Points,
    dominates,
    non_dominated,
    non_dominated_columns,
)
from edgebench.analysis.frame import Indices, Numbers
from edgebench.analysis.uncertainty import Uncertain, ratio

_SMALL = 256  # rows of a group that is judged pair by pair
_PAIR_DRAWS = 400_000_000  # comparisons of a pair in a draw that are worth their time
_POINT_DRAWS = 30_000_000  # the same of rows of large groups
_PAIRS = 1_000_000  # pairs held at once
_STRIP = 2**14  # pairs compared at once
_CHUNK = 64  # draws made at once
#: Of the error that the confidence leaves: the tails of Student's t are not that exact where spreads differ.
_SPENT = 0.6
_MAX_CHANCE = 1 - 2**-15  # tables of Student's t tell no more
_HELD = 4_000_000  # drawn values of an objective held at once


@dataclass(frozen=True)
class SignedObjective:
    """An objective of the competing rows; sign -1 turns one where higher is better."""

    of: Uncertain
    sign: float

    @property
    def values(self) -> Numbers:
        return self.sign * self.of.compared

    def draws(
        self, rows: Indices, keys: NDArray[np.uint64], start: int, count: int, seed: int
    ) -> Numbers:
        return self.sign * self.of.take(rows).draws(keys[rows], start, count, seed)

    def moves(self, rows: Indices) -> bool:
        """Whether any of these rows is drawn at all."""
        return bool(np.nan_to_num(self.of.error[rows]).any())

    def extremes(self) -> tuple[Numbers, Numbers]:
        """Returns the bounds that no draw exceeds, with lower values as the better ones."""
        # A double ends at e**709, the value itself needs room, and so far nothing need be told apart.
        reach = np.minimum(self.of.reach(), 650.0)
        low, high = self.of.compared * np.exp(-reach), self.of.compared * np.exp(reach)
        return (low, high) if self.sign > 0 else (-high, -low)


@dataclass(frozen=True)
class FrontProbability:
    """Holds for each row its share of draws on the front, whether one particular row dominates it for
    sure, and whether it is on the front of the values themselves."""

    share: Numbers
    by_value: Flags
    beaten: Flags
    draws: Indices


def front_probability(
    objectives: Sequence[SignedObjective],
    groups: Indices,
    keys: NDArray[np.uint64],
    seed: int,
    draws: int = DRAWS,
    confidence: float = 0.95,
) -> FrontProbability:
    """FrontProbability of rows that have a value in every objective, group by group.

    A value whose error is unknown is drawn as if it were exact: what that leaves undecided is the
    caller's business. Without draws only `by_value` is found.
    """
    order = np.argsort(groups, kind="stable")
    columns = [
        SignedObjective(objective.of.take(order), objective.sign) for objective in objectives
    ]
    count = len(groups)
    answer = FrontProbability(
        share=np.ones(count),
        by_value=np.ones(count, dtype=bool),
        beaten=np.zeros(count, dtype=bool),
        draws=np.full(count, draws, dtype=np.intp),
    )
    sizes = np.bincount(groups, minlength=1)
    sizes = sizes[sizes > 0]
    starts = np.cumsum(sizes) - sizes
    limit = _sure(np.repeat(sizes, sizes), confidence)
    small = sizes <= _SMALL
    _judge_pairs(columns, starts[small], sizes[small], keys[order], seed, draws, limit, answer)
    for start, size in zip(starts[~small], sizes[~small], strict=True):
        members = np.arange(start, start + size)
        _judge_large(columns, members, keys[order], seed, draws, answer)
        _beat_large(columns, members, limit, answer)
    back = np.empty_like(order)
    back[order] = np.arange(count)
    return FrontProbability(
        answer.share[back], answer.by_value[back], answer.beaten[back], answer.draws[back]
    )


def _sure(sizes: Indices, confidence: float) -> Numbers:
    """How likely a rival must dominate a row so that it does so for sure.

    Any of the rivals of any row may do so by chance: what the confidence leaves is shared out over all
    ordered pairs of a group (Bonferroni), so that it holds for the group as a whole, and not all of it is spent.
    """
    pairs = np.maximum(sizes * (sizes - 1), 1)
    return np.asarray(np.minimum(1 - _SPENT * (1 - confidence) / pairs, _MAX_CHANCE))


# --- small groups: pairs. Rows stand in the order of their groups.


def _judge_pairs(
    objectives: Sequence[SignedObjective],
    starts: Indices,
    sizes: Indices,
    keys: NDArray[np.uint64],
    seed: int,
    draws: int,
    limit: Numbers,
    answer: FrontProbability,
) -> None:
    values = [objective.values for objective in objectives]
    extremes = [objective.extremes() for objective in objectives]
    low, high = [bounds[0] for bounds in extremes], [bounds[1] for bounds in extremes]
    open_pairs = []
    for target, rival in _pairs(starts, sizes):
        by_value = np.flatnonzero(_dominate(values, rival, values, target))
        answer.by_value[target[by_value]] = False
        leading = answer.by_value[rival[by_value]]
        for some in (by_value[leading], by_value[~leading]):  # most rows fall to the first ones
            some = some[~answer.beaten[target[some]]]
            chance = _chance(objectives, rival[some], target[some])
            answer.beaten[target[some[chance >= limit[target[some]]]]] = True
        answer.share[target[_dominate(high, rival, low, target)]] = 0.0
        # Whatever a surely dominated row dominates, its dominator dominates in the same draw.
        possible = (answer.share[target] > 0) & (answer.share[rival] > 0)
        for least, most in zip(low, high, strict=True):
            possible &= least[rival] <= most[target]
        open_pairs.append((target[possible], rival[possible]))
    target = np.concatenate([pair[0] for pair in open_pairs]) if open_pairs else starts[:0]
    rival = np.concatenate([pair[1] for pair in open_pairs]) if open_pairs else starts[:0]
    del open_pairs
    if not len(target) or not draws:
        return
    least_draws = min(MIN_DRAWS, draws)
    draws = max(min(_PAIR_DRAWS // len(target), draws), least_draws)
    start = 0
    while len(target) and start < draws:
        # Of very many rows, those that no draw of the first ones has on the front are done.
        until = draws if draws > least_draws else min(start + _CHUNK, draws)
        for strip in _strips(target):
            _count(objectives, target[strip], rival[strip], keys, seed, (start, until), answer)
        start = until
        left = answer.share[target] > 0
        target, rival = target[left], rival[left]


def _chance(objectives: Sequence[SignedObjective], rows: Indices, others: Indices) -> Numbers:
    """Pair by pair, how likely the row, which does so by value, dominates the other one."""
    chance = np.ones(len(rows))
    for objective in objectives:
        one, two = objective.of.take(rows), objective.of.take(others)
        moving = np.flatnonzero((one.error > 0) | (two.error > 0))
        one, two = one.take(moving), two.take(moving)
        chance[moving] *= (ratio(one, two) if objective.sign > 0 else ratio(two, one)).below()
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
    objectives: Sequence[SignedObjective],
    target: Indices,
    rival: Indices,
    keys: NDArray[np.uint64],
    seed: int,
    span: tuple[int, int],
    answer: FrontProbability,
) -> None:
    """Adds the draws of the span to the share of the targets: those in which no rival dominates
    them."""
    rows, places = np.unique(np.concatenate([target, rival]), return_inverse=True)
    own, other = np.split(places.reshape(-1), 2)
    first = np.flatnonzero(np.concatenate([[True], own[1:] != own[:-1]]))
    fixed: list[SignedObjective] = []
    moving: list[SignedObjective] = []
    for objective in objectives:
        (moving if objective.moves(rows) else fixed).append(objective)
    better = np.zeros((len(own), 1), dtype=bool)
    for objective in fixed:  # never worse, or the pair would not be here
        value = objective.values[rows]
        better[:, 0] |= value[other] < value[own]
    free = np.zeros(len(first), dtype=np.intp)
    for start in range(span[0], span[1], _CHUNK):
        count = min(_CHUNK, span[1] - start)
        dominated = np.ones((len(own), count), dtype=bool)
        somewhere = np.repeat(better, count, axis=1)
        for objective in moving:
            # Half the bytes: what is compared were random numbers before. Two replicates have draws beyond all
            # of these numbers.
            with np.errstate(over="ignore"):
                drawn = objective.draws(rows, keys, start, count, seed).astype(np.float32)
            mine, theirs = drawn[own], drawn[other]
            dominated &= theirs <= mine
            somewhere |= theirs < mine
        dominated &= somewhere
        free += count - np.logical_or.reduceat(dominated, first, axis=0).sum(axis=1)
    targets = target[first]
    before = answer.share[targets] * span[0]
    answer.share[targets] = (before + free) / span[1]
    answer.draws[targets] = span[1]


# --- large groups: draw by draw


def _judge_large(
    objectives: Sequence[SignedObjective],
    members: Indices,
    keys: NDArray[np.uint64],
    seed: int,
    draws: int,
    answer: FrontProbability,
) -> None:
    answer.by_value[members] = non_dominated_columns([o.values[members] for o in objectives])
    if not draws:
        return
    left = members[_not_surely_dominated(objectives, members)]
    draws = max(min(_POINT_DRAWS // len(left), draws), min(MIN_DRAWS, draws))
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
    answer.share[members] = 0.0
    answer.share[left] = free / draws
    answer.draws[members] = draws


def _beat_large(
    objectives: Sequence[SignedObjective],
    members: Indices,
    limit: Numbers,
    answer: FrontProbability,
) -> None:
    """Marks rows that one of the rows of the front by value dominates for sure."""
    values = [objective.values for objective in objectives]
    front = members[answer.by_value[members]]
    left = members[~answer.by_value[members]]
    for pivot in front[:: -(-len(front) // _CHUNK)]:
        worse = left[_dominate(values, np.full(len(left), pivot), values, left)]
        chance = _chance(objectives, np.full(len(worse), pivot), worse)
        answer.beaten[worse[chance >= limit[worse]]] = True
        left = left[~answer.beaten[left]]


def _not_surely_dominated(objectives: Sequence[SignedObjective], members: Indices) -> Flags:
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
