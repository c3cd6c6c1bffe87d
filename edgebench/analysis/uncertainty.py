"""How far each value of a metric may be off, ratios of two, and draws: a parametric bootstrap.

The process (a replicate) is the sample unit. A value with an interval over n replicates is drawn as
value * exp(s * t), t from Student's t with n - 1 degrees of freedom and s the standard error of the
mean logarithm: the draws have the interval that tables show. (Drawing replicates with replacement
would not do: with 3 of them, a nominal 95 % interval holds the truth in some 75 % of cases.)

Rows that were measured in the same rounds of a run form a block (`round_blocks.py`): what they have in common
is no part of how far their ratio may be off. Within a block a row is drawn as value * exp(e * z * g), z
normal and g of the whole block (one place in each row's own table), so that each ratio of two rows has
Student's t, with degrees of freedom between theirs and hypot of both errors. `ratio` is the one
definition of that, wherever two rows are compared.

A draw depends on the seed, the row's device, run and id, the metric and the number of the draw, and
on nothing else: not on the order of rows, nor on which other rows there are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from edgebench import stats
from edgebench.analysis.frame import BLOCK_COLUMNS, Frame, Indices, Numbers, splitmix
from edgebench.metrics import Metric

#: Values that carry no sampling error that a run could tell: sizes, and the score on a fixed set.
EXACT = ("quality", "quality.delta", "model.size", "memory.budget", "fits", "paced.misses")
#: Peaks of memory differ from process to process by pages: less than this is no difference.
MEMORY_RESOLUTION = 0.01

_NORMAL = 200  # degrees of freedom from which on t counts as normal
_BITS = 14
_CACHED = 2**14  # draws made at once
#: Expected range of n normal values, in standard deviations (n = 2, 3, ...; Tippett 1925).
_RANGES = np.array([1.128, 1.693, 2.059, 2.326, 2.534, 2.704, 2.847, 2.970, 3.078])


@dataclass(frozen=True)
class Uncertain:
    """A metric of many rows. value: NaN where unknown. error: standard error of the logarithm; 0
    where the value is exact, NaN where nothing tells. degrees: of freedom of that error."""

    metric: Metric
    value: Numbers
    error: Numbers
    degrees: Indices
    blocks: Blocks | None = None  # None: all rows are independent of each other

    def take(self, indices: Indices | Sequence[int]) -> Uncertain:
        """The rows at these places alone."""
        return Uncertain(
            self.metric,
            self.value[indices],
            self.error[indices],
            self.degrees[indices],
            None if self.blocks is None else self.blocks.take(indices),
        )

    @property
    def compared(self) -> Numbers:
        """The values by which rows are held against each other: those over all rounds of their block."""
        return self.value if self.blocks is None else self.blocks.value

    def signed(self, signs: Numbers) -> Uncertain:
        """Values times 1 or -1."""
        blocks = self.blocks
        turned = None if blocks is None else replace(blocks, value=blocks.value * signs)
        return replace(self, value=self.value * signs, blocks=turned)

    def bounds(self, confidence: float) -> tuple[Numbers, Numbers]:
        """Two-sided interval of each value; NaN where nothing tells."""
        low, high = factors(_quantiles(self.degrees, 0.5 + confidence / 2) * self.error)
        return self.value * low, self.value * high

    def reach(self, common: bool = True) -> Numbers:
        """How far a draw may lie from the compared value, on logarithms."""
        alone = _largest(self.degrees, t_table) * np.nan_to_num(self.error)
        if self.blocks is None:
            return alone
        each = self.blocks
        within = t_table(_NORMAL)[-1] * _largest(each.degrees, scale_table) * each.error
        if common:
            within = within + _largest(self.degrees, t_table) * each.common
        return np.where(each.key == 0, alone, within)

    def draws(self, keys: NDArray[np.uint64], start: int, count: int, seed: int) -> Numbers:
        """Draws (n, count), numbered from `start`; the values themselves where they are exact or
        nothing tells how far they are off."""
        drawn = np.empty((len(self.value), count))
        step = max(_CACHED // count, 1)  # new memory costs more than the arithmetic
        known = np.nan_to_num(self.error)
        noise = _Tables(t_table, self.degrees)
        for first in range(0, len(drawn), step):
            some = slice(first, first + step)
            part = drawn[some]
            if not known[some].any():
                part[:] = self.compared[some, None]
                continue
            places = _places(keys[some], self.metric.name, start, count, seed)
            np.multiply(noise.take(places, some), known[some, None], out=part)
            if self.blocks is not None:
                self._of_blocks(part, places, some, start, count, seed)
            with np.errstate(over="ignore"):  # beyond all numbers is a draw like another
                np.exp(part, out=part)
                part *= self.compared[some, None]
        return drawn

    def _of_blocks(
        self, part: Numbers, places: Indices, some: slice, start: int, count: int, seed: int
    ) -> None:
        """Overwrites the logarithms of rows of blocks."""
        assert self.blocks is not None
        rows = np.flatnonzero(self.blocks.key[some] != 0)
        if not len(rows):
            return
        each = self.blocks.take(np.arange(len(self.value))[some][rows])
        own = _places(each.key, f"{self.metric.name} spread", start, count, seed)
        scale = _Tables(scale_table, each.degrees).take(own, slice(None))
        part[rows] = t_table(_NORMAL)[places[rows]] * scale * each.error[:, None]
        if each.common.any():
            shared = _places(each.key, f"{self.metric.name} round", start, count, seed)
            freedom = self.degrees[some][rows]
            part[rows] += _Tables(t_table, freedom).take(shared, slice(None)) * each.common[:, None]


@dataclass(frozen=True)
class Blocks:
    """Holds what rows of a block are compared by. key: a number per block, 0 of a row that is in none, whose
    other values are its own. value: over all rounds of the block. error, degrees: of its logarithm within
    the block. common: standard error of what all rows of the block share, which counts against rows of
    other blocks alone."""

    key: NDArray[np.uint64]
    value: Numbers
    error: Numbers
    degrees: Indices
    common: Numbers

    def take(self, indices: Indices | Sequence[int]) -> Blocks:
        """Returns those of the rows at these places."""
        return Blocks(
            self.key[indices],
            self.value[indices],
            self.error[indices],
            self.degrees[indices],
            self.common[indices],
        )


@dataclass(frozen=True)
class Ratio:
    """Holds for pairs of rows the logarithm of one value over the other, its standard error (0: exact, NaN:
    nothing tells) and degrees of freedom. Student's t on logarithms: of rows of one block with
    degrees between theirs, else Welch's."""

    log: Numbers
    error: Numbers
    degrees: Indices
    paired: NDArray[np.bool_]  # measured in the same rounds

    def bounds(self, confidence: float) -> tuple[Numbers, Numbers]:
        """Two-sided interval of the ratio; NaN where nothing tells."""
        low, high = factors(_quantiles(self.degrees, 0.5 + confidence / 2) * self.error)
        with np.errstate(over="ignore"):
            middle = np.exp(self.log)
        return middle * low, middle * high

    def below(self) -> Numbers:
        """P(the true ratio is at most 1); 1 or 0 where both values are exact; NaN: nothing tells."""
        probability = np.where(np.isnan(self.error), np.nan, (self.log <= 0).astype(np.float64))
        moving = np.flatnonzero(self.error > 0)
        with np.errstate(invalid="ignore"):
            reach = -self.log[moving] / self.error[moving]
        for count in np.unique(self.degrees[moving]):
            some = self.degrees[moving] == count
            probability[moving[some]] = student_share(reach[some], int(count))
        return probability

    def told_apart(self, confidence: float) -> NDArray[np.bool_]:
        """Whether the two-sided interval excludes 1; of exact values, whether they differ."""
        reach = _quantiles(self.degrees, 0.5 + confidence / 2) * self.error
        return np.asarray(np.abs(self.log) > np.nan_to_num(reach, nan=np.inf))


def ratio(one: Uncertain, two: Uncertain) -> Ratio:
    """Returns the ratio of each row of `one` to the row of `two` in the same place."""
    count = len(one.value)
    paired = np.zeros(count, dtype=bool)
    top, bottom, errors = one.value, two.value, (one.error, two.error)
    if one.blocks is not None and two.blocks is not None:
        paired = (one.blocks.key == two.blocks.key) & (one.blocks.key != 0)
        top = np.where(paired, one.blocks.value, top)
        bottom = np.where(paired, two.blocks.value, bottom)
        errors = (
            np.where(paired, one.blocks.error, one.error),
            np.where(paired, two.blocks.error, two.error),
        )
    parts = errors[0] ** 2, errors[1] ** 2
    squared = parts[0] + parts[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        log = np.log(top) - np.log(bottom)
        spread = parts[0] ** 2 / one.degrees + parts[1] ** 2 / two.degrees
        freedom = np.nan_to_num(squared**2 / spread, nan=1.0, posinf=_NORMAL)
    # Both degrees bound it from below; rounding alone may fall short.
    smallest = np.minimum(one.degrees, two.degrees)
    freedom = np.clip(freedom + 1e-9, np.minimum(smallest, _NORMAL), _NORMAL)
    if paired.any():
        assert one.blocks is not None
        assert two.blocks is not None
        of_both = one.blocks.degrees, two.blocks.degrees
        freedom = np.where(paired, shared_degrees(parts, of_both), freedom)
    return Ratio(log, np.sqrt(squared), freedom.astype(np.intp), paired)


def shared_degrees(squares: tuple[Numbers, Numbers], degrees: tuple[Indices, Indices]) -> Indices:
    """Returns the degrees of freedom of the ratio of two rows of a block, from the squares of their errors:
    between their own, nearer to those of the row that spreads more."""
    both = squares[0] + squares[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        shared = both / (squares[0] / degrees[0] + squares[1] / degrees[1])
    least = np.minimum(degrees[0], degrees[1])
    return np.where(both > 0, np.nan_to_num(shared) + 1e-9, least).astype(np.intp)


def ratio_of(frame: Frame, metric: Metric, tops: Indices, bottoms: Indices) -> Ratio:
    """The ratio of a metric of some rows to that of others, pair by pair."""
    of = uncertain(frame, metric)
    return ratio(of.take(tops), of.take(bottoms))


class Gain(NamedTuple):
    """A ratio and the ends of its 95 % interval; None where nothing tells."""

    ratio: float
    low: float | None
    high: float | None


def gains_of(frame: Frame, metric: Metric, tops: Indices, bottoms: Indices) -> list[Gain | None]:
    """The ratio of each pair; None where a value is unknown."""
    of = ratio_of(frame, metric, tops, bottoms)
    low, high = of.bounds(stats.CONFIDENCE)
    ratios = np.exp(of.log).tolist()
    return [
        Gain(each, known(low[place]), known(high[place])) if np.isfinite(of.log[place]) else None
        for place, each in enumerate(ratios)
    ]


def known(value: float) -> float | None:
    """The number; None where it is NaN."""
    return None if np.isnan(value) else float(value)


def factors(reach: Numbers) -> tuple[Numbers, Numbers]:
    """The ends of an interval around 1 whose half-width on logarithms is `reach`; infinite beyond all
    numbers, as with two replicates and a high confidence."""
    with np.errstate(over="ignore"):
        return np.exp(-reach), np.exp(reach)


def uncertain(frame: Frame, metric: Metric) -> Uncertain:
    """A metric of all rows of a frame, with what tells how far it may be off."""
    alone = _alone(frame, metric)
    return replace(alone, blocks=_blocks(frame, alone))


def _blocks(frame: Frame, of: Uncertain) -> Blocks | None:
    """The blocks that rows say they are part of; None where no row says all that makes one."""
    name = of.metric.name
    value, error, freedom = (
        frame.numbers(f"{name}_paired_{part}") for part in ("value", "error", "degrees")
    )
    inside = ~np.isnan([value, error, freedom, of.error, of.value]).any(axis=0)
    if not inside.any():
        return None
    key = np.where(inside, frame.keys(BLOCK_COLUMNS), np.uint64(0))
    value = np.where(inside, value, of.value)
    degrees = np.where(inside, freedom, of.degrees)
    beyond = np.where(inside, np.maximum(of.error**2 - error**2, 0.0), 0.0)
    _, place, size = np.unique(key, return_inverse=True, return_counts=True)
    shared = np.sqrt(np.bincount(place.reshape(-1), weights=beyond) / size)[place.reshape(-1)]
    return Blocks(
        key, value, np.where(inside, error, of.error), degrees.astype(np.intp),
        np.where(inside, shared, 0.0),
    )  # fmt: skip


def _alone(frame: Frame, metric: Metric) -> Uncertain:
    value = frame.numbers(metric.column()).copy()
    nothing = np.full(len(value), np.nan)
    degrees = np.ones(len(value), dtype=np.intp)
    if metric.name in EXACT:
        return Uncertain(metric, value, np.where(np.isnan(value), np.nan, 0.0), degrees)
    value[~(value > 0)] = np.nan if metric.low_path else value[~(value > 0)]
    if metric.name == "memory.peak":
        return _of_range(frame, metric, value)
    if metric.name == "energy.j_per_inference":
        # The budget of errors is taken as a 95 % interval of a normal one. Without the spread between
        # processes it is the meter's alone, and nothing tells how far the next process may be off.
        share = frame.numbers("energy.uncertainty_j") / value
        share[np.isnan(frame.numbers("energy.spread_j"))] = np.nan
        return Uncertain(metric, value, share / stats.t_quantile(0.975, _NORMAL), degrees * _NORMAL)
    if not metric.low_path:
        return Uncertain(metric, value, nothing, degrees)
    low, high = frame.numbers(metric.column("low")), frame.numbers(metric.column("high"))
    degrees = np.maximum(frame.replicates(metric) - 1, 1).astype(np.intp)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.log(high / low) / 2 / _quantiles(degrees, 0.5 + stats.CONFIDENCE / 2)
    return Uncertain(metric, value, np.where(np.isfinite(error), error, np.nan), degrees)


def _of_range(frame: Frame, metric: Metric, value: Numbers) -> Uncertain:
    """Peaks of memory: the largest stands, and is exact unless peaks differ by more than pages."""
    least = frame.numbers("memory.peak_min_bytes")
    replicates = np.maximum(np.nan_to_num(frame.replicates(metric)), 2).astype(np.intp)
    with np.errstate(divide="ignore", invalid="ignore"):
        span = np.nan_to_num(np.log(value / least))
    expected = _RANGES[np.minimum(replicates - 2, len(_RANGES) - 1)]
    error = np.where(span > np.log1p(MEMORY_RESOLUTION), span / expected, 0.0)
    return Uncertain(metric, value, np.where(np.isnan(value), np.nan, error), replicates - 1)


def quantized(values: Numbers, resolution: float) -> Numbers:
    """Values with those that lie within `resolution` above another set equal to that one.

    Classes start at the smallest value, then at the smallest that lies beyond the class before.
    """
    order = np.argsort(values, kind="stable")
    ascending, start, level = values[order], 0, values.copy()
    while start < len(order):
        limit = ascending[start] * (1 + resolution)
        end = max(int(np.searchsorted(ascending, limit, side="right")), start + 1)
        level[order[start:end]] = ascending[start]
        start = end
    return level


def _quantiles(degrees: Indices, probability: float) -> Numbers:
    known, kind = np.unique(np.minimum(degrees, _NORMAL), return_inverse=True)
    each = np.array([stats.t_quantile(probability, int(count)) for count in known])
    return np.asarray(each[kind.reshape(-1)], dtype=np.float64)


@lru_cache(maxsize=64)
def t_table(degrees: int) -> Numbers:
    """2**14 equally likely values of Student's t: the middles of as many slices of its area.

    By x = sqrt(n) tan(a) the density becomes cos(a)**(n - 1), which is summed over a fine grid.
    """
    degrees = min(degrees, _NORMAL)
    angle = np.linspace(-np.pi / 2, np.pi / 2, 2**17 + 1)[1:-1]
    density = np.cos(angle) ** (degrees - 1)
    area = np.cumsum(density) - density / 2
    middles = (np.arange(2**_BITS) + 0.5) / 2**_BITS
    turned = np.interp(middles, area / density.sum(), angle)
    return np.asarray(np.sqrt(degrees) * np.tan(turned), dtype=np.float64)


@lru_cache(maxsize=64)
def scale_table(degrees: int) -> Numbers:
    """2**14 equally likely values of sqrt(n / chi-square with n degrees of freedom): a normal value
    times one of them has Student's t. The chi-square is summed over a fine grid of its logarithm."""
    degrees = min(degrees, _NORMAL)
    log = np.linspace(-60.0, np.log(degrees + 12 * np.sqrt(2 * degrees) + 60), 2**17)
    density = np.exp(degrees / 2 * (log - np.log(degrees)) - (np.exp(log) - degrees) / 2)
    area = np.cumsum(density) - density / 2
    middles = (np.arange(2**_BITS) + 0.5) / 2**_BITS
    chi_square = np.exp(np.interp(1 - middles, area / density.sum(), log))
    return np.asarray(np.sqrt(degrees / chi_square), dtype=np.float64)


class _Tables:
    """A table of equally likely values for each row's degrees of freedom."""

    def __init__(self, table: Callable[[int], Numbers], degrees: Indices) -> None:
        kinds, kind = np.unique(degrees, return_inverse=True)
        self._values = np.concatenate([table(int(each)) for each in kinds])
        self._offset = (kind.reshape(-1) << _BITS)[:, None]

    def take(self, places: Indices, some: slice) -> Numbers:
        """The values at these places in the tables of some of the rows."""
        return np.asarray(self._values.take(places + self._offset[some]))


def _largest(degrees: Indices, table: Callable[[int], Numbers]) -> Numbers:
    """The last value of each row's table."""
    kinds, kind = np.unique(degrees, return_inverse=True)
    return np.asarray(np.array([table(int(each))[-1] for each in kinds])[kind.reshape(-1)])


def student_share(values: Numbers, degrees: int) -> Numbers:
    """P(T <= value) for each value, to 2**-14."""
    table = t_table(degrees)
    return np.asarray(np.searchsorted(table, values, side="right") / len(table))


def _places(keys: NDArray[np.uint64], name: str, start: int, count: int, seed: int) -> Indices:
    """Places in the table (n, count): a hash of what names a draw."""
    salt = (crc32(name.encode()) | (seed & 0xFFFFFFFF) << 32) & 0xFFFFFFFFFFFFFFFF
    rows = splitmix(keys ^ np.uint64(salt))
    numbers = splitmix(np.arange(start, start + count, dtype=np.uint64))
    return (splitmix(rows[:, None] ^ numbers[None, :]) >> np.uint64(64 - _BITS)).astype(np.intp)
