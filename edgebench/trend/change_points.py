"""Finds where a series of runs stepped from one level to another.

Candidates come from the best segmentation under a penalty per segment (optimal partitioning; Jackson et al. 2005), each
segment with at least three runs, so that a single outlier is none. A candidate stays where a permutation test of the two
segments beside it says so: the largest between-group sum of squares over all places, against that of the same values in
random orders. Values are logarithms where all are positive.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgebench.stats import t_upper_tail

Numbers: TypeAlias = NDArray[np.float64]

MIN_SEGMENT: Final = 3  # runs
MIN_RUNS: Final = 8  # with fewer, no order of the values is rare enough to be a step
MAX_RUNS: Final = 2000  # the newest ones of a longer series are looked at
LEVEL: Final = 0.003  # share of series of pure noise in which a step may be seen
PENALTY: Final = 3.0  # of a segment, in variances times the logarithm of the number of runs
OUTLIER_MADS: Final = 4.0
_WINDOW: Final = 5  # runs around one, whose median it is held against
_STAGES: Final = (199, 1999)  # permutations; more only where fewer leave a doubt
_TAIL: Final = 0.01  # the share of the largest permuted splits that the tail is fitted to
_FLOOR: Final = 1e-9  # of the noise, of values that are always the same


@dataclass(frozen=True)
class Step:
    """The first run of a new level, and the probability of such a step in noise."""

    at: int
    p_value: float


@dataclass(frozen=True)
class Steps:
    """All steps of one series; p_value: of the surest one, for as many as were looked at; None: too few runs."""

    steps: tuple[Step, ...]
    p_value: float | None
    outliers: tuple[int, ...]


def find_steps(values: Sequence[float], seed: int = 0) -> Steps:
    """Looks for steps in one series; `holds` says which of several series to believe."""
    series = _logarithms(np.asarray(values, dtype=np.float64))
    clipped, outliers = without_outliers(series)
    if len(series) < MIN_RUNS:
        return Steps((), None, outliers)
    draw = np.random.default_rng(seed)
    tried = places = _segmented(clipped)
    while places:
        tested = _tested(clipped, places, draw)
        worst = max(tested, key=lambda step: step.p_value)
        if worst.p_value <= LEVEL:
            p_value = min(1.0, min(step.p_value for step in tested) * len(tried))
            return Steps(tuple(tested), p_value, outliers)
        places = [place for place in places if place != worst.at]
    return Steps((), 1.0, outliers)


def believed(series: Sequence[Steps]) -> list[bool]:
    """Whether the steps of each series stand, so that few of the believed ones are false (Benjamini and Hochberg)."""
    known = [(each.p_value, at) for at, each in enumerate(series) if each.p_value is not None]
    kept: set[int] = set()
    known.sort()
    for rank, (p_value, _) in enumerate(known, start=1):
        if p_value <= LEVEL * rank / len(known):
            kept = {at for _, at in known[:rank]}
    return [at in kept and bool(each.steps) for at, each in enumerate(series)]


def _logarithms(values: Numbers) -> Numbers:
    return np.log(values) if len(values) and values.min() > 0 else values


def without_outliers(series: Numbers) -> tuple[Numbers, tuple[int, ...]]:
    """The series with values that stand alone drawn to their neighbours' median, and the places of such values."""
    if len(series) < _WINDOW:
        return series, ()
    half = _WINDOW // 2
    padded = np.pad(series, half, mode="reflect")
    level = np.median(np.lib.stride_tricks.sliding_window_view(padded, _WINDOW), axis=1)
    away = series - level
    bound = OUTLIER_MADS * max(noise_of(series), _FLOOR)
    alone = np.flatnonzero(np.abs(away) > bound)
    return level + np.clip(away, -bound, bound), tuple(map(int, alone))


def noise_of(series: Numbers) -> float:
    """The standard deviation of a run, whatever steps there are: from differences of neighbours."""
    apart = np.abs(np.diff(series))
    return float(np.median(apart) / 0.9538726) if len(apart) else 0.0


def _segmented(series: Numbers) -> list[int]:
    """First runs of all segments but the first, of the segmentation with the least cost."""
    runs = len(series)
    noise = max(noise_of(series), float(np.std(series)) / 100, _FLOOR)
    penalty = PENALTY * noise**2 * np.log(runs)
    sums, squares = _sums(series), _sums(series**2)
    best = np.full(runs + 1, np.inf)
    best[0] = -penalty
    start_of = np.zeros(runs + 1, dtype=np.intp)
    for end in range(MIN_SEGMENT, runs + 1):
        starts = np.arange(0, end - MIN_SEGMENT + 1)
        total = sums[end] - sums[starts]
        cost = squares[end] - squares[starts] - total**2 / (end - starts)
        whole = best[starts] + cost + penalty
        start_of[end] = starts[np.argmin(whole)]
        best[end] = whole.min()
    return _walked_back(start_of, runs)


def _walked_back(start_of: NDArray[np.intp], end: int) -> list[int]:
    places = []
    while (end := int(start_of[end])) > 0:
        places.append(end)
    return places[::-1]


def _sums(values: Numbers) -> Numbers:
    return np.concatenate([[0.0], np.cumsum(values)])


def _tested(series: Numbers, places: Sequence[int], draw: np.random.Generator) -> list[Step]:
    """Each step against noise, within the two segments beside it."""
    edges = [0, *places, len(series)]
    return [
        Step(at, _p_value(series, before, after, draw))
        for before, at, after in zip(edges, edges[1:-1], edges[2:], strict=False)
    ]


def _p_value(series: Numbers, before: int, after: int, draw: np.random.Generator) -> float:
    """How often values of this stretch in random order split as clearly anywhere, for as many stretches of its
    length as the series has: the segmentation looked through them all."""
    centred = series[before:after] - series[before:after].mean()
    if not centred.any():
        return 1.0
    splits, at = _splits(centred[None, :])
    seen = float(splits[0])
    permuted = np.empty(0)
    for wanted in _STAGES:
        orders = draw.permuted(np.tile(centred, (wanted - len(permuted), 1)), axis=1)
        permuted = np.concatenate([permuted, _splits(orders)[0]])
        reached = int((permuted >= seen * (1 - 1e-9)).sum())
        if reached >= 10:
            break
    share = (reached + 1) / (len(permuted) + 1)
    if reached == 0:
        share = min(share, _tail(seen, permuted, float((centred**2).sum()), len(centred)))
    rarest = 1 / math.comb(len(centred), int(at[0]))
    return min(1.0, max(share, rarest) * len(series) / len(centred))


def _splits(rows: Numbers) -> tuple[Numbers, NDArray[np.intp]]:
    """Of each row the largest between-group sum of squares over all places, and its place; rows have the mean 0."""
    runs = rows.shape[1]
    left = np.arange(MIN_SEGMENT, runs - MIN_SEGMENT + 1)
    sums = np.cumsum(rows, axis=1)[:, left - 1]
    between = sums**2 * (runs / (left * (runs - left)))
    return np.asarray(between.max(axis=1)), np.asarray(left[between.argmax(axis=1)])


def _tail(seen: float, permuted: Numbers, total: float, runs: int) -> float:
    """The probability of a split that no permutation reached: that of one place, times as many places as explain the
    largest permuted splits."""
    typical = float(np.quantile(permuted, 1 - _TAIL))
    places = _TAIL / _one_place(typical / total, runs)
    return places * _one_place(seen / total, runs)


def _one_place(share: float, runs: int) -> float:
    """The probability that a split at one place explains that share of the variance of noise."""
    if share >= 1:
        return 0.0
    return 2 * t_upper_tail(math.sqrt(share * (runs - 2) / (1 - share)), runs - 2)
