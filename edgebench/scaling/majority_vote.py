"""Computes how often sampled answers are right, alone and by majority vote."""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

from edgebench import record as rec

_Z = 1.959963984540054  # two-sided 95 %
_DRAWS = 500  # subsets of the samples, at most


class Share(NamedTuple):
    value: float
    low: float
    high: float


def answer_at(sample: rec.Sampled, budget: int) -> str:
    """The answer of a sample that is cut after `budget` tokens; "" if it has none yet."""
    place = bisect_right(sample.since, budget)
    return sample.answers[place - 1] if place else ""


def vote(answers: Sequence[str], right: str) -> float:
    """1 where most of the answers that were given are right; ties count by lot: 1 / tied.

    Samples that have not answered have no vote; where none has, that is wrong.
    """
    counts = Counter(answer for answer in answers if answer)
    if not counts:
        return 0.0
    most = max(counts.values())
    tied = [answer for answer, count in counts.items() if count == most]
    return 1 / len(tied) if right in tied else 0.0


def accuracy(problems: Sequence[rec.Problem], budget: int, votes: int) -> Share:
    """Share of problems answered rightly by the vote of `votes` samples, cut at `budget`.

    Mean over the subsets of each problem's samples. The interval is Wilson's, with the problem as the
    unit: samples of one problem are not independent.
    """
    values = [
        _of_subsets([answer_at(s, budget) for s in _samples(problem)], problem.right, votes)
        for problem in problems
    ]
    return wilson(sum(values), len(values))


def wilson(right: float, count: int) -> Share:
    """Wilson's score interval (1927), 95 %. `right` may be a sum of shares."""
    share = right / count
    spread = _Z * math.sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2))
    middle, whole = share + _Z**2 / (2 * count), 1 + _Z**2 / count
    return Share(share, max(0.0, (middle - spread) / whole), min(1.0, (middle + spread) / whole))


def _samples(problem: rec.Problem) -> list[rec.Sampled]:
    return [sample for attempt in problem.attempts for sample in attempt.samples]


def _of_subsets(answers: Sequence[str], right: str, size: int) -> float:
    chosen = list(_subsets(len(answers), size))
    return sum(vote([answers[n] for n in some], right) for some in chosen) / len(chosen)


def _subsets(count: int, size: int) -> Iterator[Sequence[int]]:
    """All of them, or as many as `_DRAWS` at random where there are more."""
    if math.comb(count, size) <= _DRAWS:
        yield from combinations(range(count), size)
        return
    drawn = random.Random(0)
    for _ in range(_DRAWS):
        yield drawn.sample(range(count), size)
