"""How far each value of a metric may be off, and draws from that: a parametric bootstrap.

The process (a replicate) is the sample unit. A value with an interval over n replicates is drawn as
value * exp(s * t), t from Student's t with n - 1 degrees of freedom and s the standard error of the
mean logarithm: the draws have the interval that tables show. (Drawing replicates with replacement
would not do: with 3 of them, a nominal 95 % interval holds the truth in some 75 % of cases.)

A draw depends on the seed, the row's device, run and id, the metric and the number of the draw, and
on nothing else: not on the order of rows, nor on which other rows there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from edgebench.analysis import stats
from edgebench.analysis.frame import Frame, Indices, Numbers, splitmix
from edgebench.metrics import Metric

#: Values that carry no sampling error that a run could tell: sizes, and the score on a fixed set.
EXACT = ("quality", "quality.delta", "model.size", "paced.misses")
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

    def take(self, indices: Indices | Sequence[int]) -> Uncertain:
        """The rows at these places alone."""
        return Uncertain(
            self.metric, self.value[indices], self.error[indices], self.degrees[indices]
        )

    def bounds(self, confidence: float) -> tuple[Numbers, Numbers]:
        """Two-sided interval of each value; NaN where nothing tells."""
        low, high = factors(_quantiles(self.degrees, 0.5 + confidence / 2) * self.error)
        return self.value * low, self.value * high

    def draws(self, keys: NDArray[np.uint64], start: int, count: int, seed: int) -> Numbers:
        """Draws (n, count), numbered from `start`; the values themselves where they are exact or
        nothing tells how far they are off."""
        known = np.nan_to_num(self.error)
        drawn = np.empty((len(self.value), count))
        tables, kind = np.unique(self.degrees, return_inverse=True)
        noise = np.concatenate([t_table(int(degrees)) for degrees in tables])
        offset = (kind.reshape(-1) << _BITS)[:, None]
        step = max(_CACHED // count, 1)  # new memory costs more than the arithmetic
        for first in range(0, len(drawn), step):
            some = slice(first, first + step)
            part = drawn[some]
            if not known[some].any():
                part[:] = self.value[some, None]
                continue
            places = _places(keys[some], self.metric.name, start, count, seed)
            np.multiply(noise.take(places + offset[some]), known[some, None], out=part)
            with np.errstate(over="ignore"):  # beyond all numbers is a draw like another
                np.exp(part, out=part)
                part *= self.value[some, None]
        return drawn


def factors(reach: Numbers) -> tuple[Numbers, Numbers]:
    """The ends of an interval around 1 whose half-width on logarithms is `reach`; infinite beyond all
    numbers, as with two replicates and a high confidence."""
    with np.errstate(over="ignore"):
        return np.exp(-reach), np.exp(reach)


def uncertain(frame: Frame, metric: Metric) -> Uncertain:
    """A metric of all rows of a frame, with what tells how far it may be off."""
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


def levelled(values: Numbers, resolution: float) -> Numbers:
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


def student_share(values: Numbers, degrees: int) -> Numbers:
    """P(T <= value) for each value, to 2**-14."""
    table = t_table(degrees)
    return np.asarray(np.searchsorted(table, values, side="right") / len(table))


def below(one: Uncertain, two: Uncertain) -> Numbers:
    """P(the true value of `one` is at most that of `two`), element by element: Welch's t on
    logarithms; 1 or 0 where both are exact."""
    parts = one.error**2, two.error**2
    error = np.sqrt(parts[0] + parts[1])
    probability = (one.value <= two.value).astype(np.float64)
    moving = np.flatnonzero(error > 0)
    with np.errstate(invalid="ignore"):
        reach = (np.log(two.value[moving]) - np.log(one.value[moving])) / error[moving]
    spread = parts[0] ** 2 / one.degrees + parts[1] ** 2 / two.degrees
    degrees = np.clip(error[moving] ** 4 / spread[moving] + 1e-9, 1, _NORMAL).astype(np.intp)
    for count in np.unique(degrees):
        some = degrees == count
        probability[moving[some]] = student_share(reach[some], int(count))
    return probability


def _places(keys: NDArray[np.uint64], name: str, start: int, count: int, seed: int) -> Indices:
    """Places in the table (n, count): a hash of what names a draw."""
    salt = (crc32(name.encode()) | (seed & 0xFFFFFFFF) << 32) & 0xFFFFFFFFFFFFFFFF
    rows = splitmix(keys ^ np.uint64(salt))
    numbers = splitmix(np.arange(start, start + count, dtype=np.uint64))
    return (splitmix(rows[:, None] ^ numbers[None, :]) >> np.uint64(64 - _BITS)).astype(np.intp)
