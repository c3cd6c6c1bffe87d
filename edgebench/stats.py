"""Statistics that need only the standard library.

Iterations of one process are not independent samples: the process (a replicate) is the unit, so
every interval here is built from one number per replicate. Percentiles are given in per mille
(500, 900, 990, 999), which keeps ranks exact integers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from statistics import fmean, median_low
from typing import NamedTuple, Protocol, SupportsInt

CONFIDENCE = 0.95
#: With 6 samples the smallest and the largest enclose the median with 1 - 2**-5 = 97 % confidence;
#: with 5 it is less than 95 %.
MEDIAN_MIN_SAMPLES = 6
_EARLY_STOPPING_ALPHA = 0.01  # MLPerf's confidence of 99 %


class Ordered(Protocol):
    """Ascending integers: a list or an array."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> SupportsInt: ...


class Interval(NamedTuple):
    """A confidence interval, in the unit of what it was made from."""

    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Returns half the width as a share of the middle: what "±2 %" means for a ratio scale."""
        return math.sqrt(self.high / self.low) - 1


def percentile(ordered: Ordered, permille: int) -> int:
    """Nearest-rank percentile: the smallest value that at least `permille`/1000 of all reach.

    `ordered` is ascending and not empty; the answer is always one of its values.
    """
    rank = -(-len(ordered) * permille // 1000)
    return int(ordered[max(rank, 1) - 1])


def known_percentile(ordered: Ordered, permille: int) -> int | None:
    """Returns the percentile; None where there are fewer samples than `min_samples`."""
    return percentile(ordered, permille) if len(ordered) >= min_samples(permille) else None


def known_median(values: Iterable[int | None]) -> int | None:
    """Returns the lower median of the values that are known; None where none is."""
    known = [value for value in values if value is not None]
    return median_low(known) if known else None


def min_samples(permille: int) -> int:
    """Samples from which on a percentile is reported: 6 / 64 / 662 / 6636 for p50 / 90 / 99 / 99.9.

    The median needs a sample range that encloses it; the others need MLPerf's early-stopping rule
    to leave one sample above the percentile.
    """
    if permille <= 500:
        return MEDIAN_MIN_SAMPLES
    return _early_stopping_min_samples(permille)


def supported_percentiles(ordered: Ordered) -> tuple[int | None, int | None, int | None]:
    """p50, p90 and p99; None where there are too few values to report one."""
    p50, p90, p99 = (
        percentile(ordered, permille) if len(ordered) >= min_samples(permille) else None
        for permille in (500, 900, 990)
    )
    return p50, p90, p99


@lru_cache(maxsize=64)
def _early_stopping_min_samples(permille: int) -> int:
    low, high = 1, 2
    while early_stopping_rank(high, permille) is None:
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        if early_stopping_rank(middle, permille) is None:
            low = middle
        else:
            high = middle
    return high


@lru_cache(maxsize=65536)
def early_stopping_rank(samples: int, permille: int) -> int | None:
    """MLPerf LoadGen's t: the largest with P(Binom(samples, 1 - p) <= t) <= 1 %.

    None where t would be 0: so few samples do not support the percentile.
    """
    above = 1 - permille / 1000
    low, high = 0, int(samples * above) + 1  # P(X <= high) > 1 %: high is past the mean
    while high - low > 1:
        middle = (low + high) // 2
        if binomial_cdf(middle, samples, above) <= _EARLY_STOPPING_ALPHA:
            low = middle
        else:
            high = middle
    return low or None


def early_stopping_estimate(ordered: Ordered, permille: int) -> int | None:
    """MLPerf's early-stopping estimate of a percentile: its 99 % upper confidence bound.

    It is `ordered[n - t]`, counted from 0, with t of `early_stopping_rank`; None where the samples
    do not support one.
    """
    rank = early_stopping_rank(len(ordered), permille)
    return None if rank is None else int(ordered[len(ordered) - rank])


def binomial_cdf(k: int, n: int, p: float) -> float:
    """P(Binom(n, p) <= k), summed downwards from k so that nothing underflows (0 < p < 1)."""
    if k >= n:
        return 1.0
    log_term = (
        math.lgamma(n + 1)
        - math.lgamma(k + 1)
        - math.lgamma(n - k + 1)
        + k * math.log(p)
        + (n - k) * math.log1p(-p)
    )
    # Each term relative to the one at k; below the mean they fall faster than geometrically.
    relative, total = 1.0, 1.0
    odds = (1 - p) / p
    for j in range(k, 0, -1):
        relative *= j * odds / (n - j + 1)
        total += relative
        if relative < total * 1e-17:
            break
    return min(1.0, math.exp(log_term) * total)


@lru_cache(maxsize=4096)
def t_quantile(probability: float, degrees: int) -> float:
    """Quantile of Student's t: the x with P(T <= x) = probability (0 < probability < 1)."""
    if probability < 0.5:
        return -t_quantile(1 - probability, degrees)
    # Newton's method from 0: P(T <= x) is concave there, so that it comes from below and never passes.
    x, step = 0.0, 1.0
    while step > 1e-15 * x:
        step = (probability - _t_cdf(x, degrees)) / _t_density(x, degrees)
        x += step
    return x


def _t_density(x: float, degrees: int) -> float:
    half = degrees / 2
    log_scale = math.lgamma(half + 0.5) - math.lgamma(half) - 0.5 * math.log(degrees * math.pi)
    return math.exp(log_scale - (half + 0.5) * math.log1p(x * x / degrees))


def _t_cdf(x: float, degrees: int) -> float:
    """P(T <= x) for x >= 0."""
    return 1 - 0.5 * _beta_regularized(degrees / (degrees + x * x), degrees / 2, 0.5)


def t_upper_tail(x: float, degrees: int) -> float:
    """P(T > x) for x >= 0, exact to the smallest probabilities."""
    return 0.5 * _beta_regularized(degrees / (degrees + x * x), degrees / 2, 0.5)


def _beta_regularized(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function I_x(a, b), for 0 <= x <= 1."""
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):  # the fraction converges fast on the other side
        return 1 - _beta_regularized(1 - x, b, a)
    log_front = (
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    return math.exp(log_front) / (a * _beta_fraction(x, a, b))


def _beta_fraction(x: float, a: float, b: float) -> float:
    """The continued fraction of the incomplete beta function (DLMF 8.17.22), from its tail.

    I_x(a, b) = x^a (1-x)^b / (a B(a, b)) / (1 + d1/(1 + d2/(1 + ...))).
    """
    fraction = 1.0
    for m in range(200, 0, -1):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m - 1) * (a + b + m - 1) * x / ((a + 2 * m - 2) * (a + 2 * m - 1))
        fraction = 1 + odd / (1 + even / fraction)
    return fraction


def log_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval | None:
    """t interval of the geometric mean of one value per replicate.

    Logarithms, because times and rates vary by a factor. None with fewer than 2 values, or where a
    value is not positive.
    """
    if len(values) < 2 or min(values) <= 0:
        return None
    mean, variance = _mean_and_variance([math.log(value) for value in values])
    half = t_quantile(0.5 + confidence / 2, len(values) - 1) * math.sqrt(variance / len(values))
    return Interval(math.exp(mean - half), math.exp(mean + half))


def ends_around(
    value: float | None, interval: Interval | None
) -> tuple[float | None, float | None]:
    """Returns the ends of the interval, widened where the value lies outside it; None where one of both is unknown."""
    if value is None or interval is None:
        return None, None
    return min(interval.low, value), max(interval.high, value)


def ends_around_ns(value: int | None, interval: Interval | None) -> tuple[int | None, int | None]:
    """Returns the same in whole nanoseconds."""
    if value is None or interval is None:
        return None, None
    return min(round(interval.low), value), max(round(interval.high), value)


class Mean(NamedTuple):
    """A geometric mean of one value per replicate, and the ends of its interval."""

    value: float | None
    low: float | None
    high: float | None


def geometric_mean(values: Sequence[float]) -> Mean:
    """Returns the mean of positive values; None where there are none, and no ends where there is one."""
    if not values:
        return Mean(None, None, None)
    value = math.exp(fmean(map(math.log, values)))
    return Mean(value, *ends_around(value, log_interval(values)))


def ratio_interval(
    numerators: Sequence[float], denominators: Sequence[float], confidence: float = CONFIDENCE
) -> Interval | None:
    """Welch's t interval of the ratio of two geometric means, one value per replicate each.

    The degrees of freedom are rounded down, which is conservative. None as in `log_interval`.
    """
    groups = (numerators, denominators)
    if any(len(group) < 2 or min(group) <= 0 for group in groups):
        return None
    (above, above_variance), (below, below_variance) = (
        _mean_and_variance([math.log(value) for value in group]) for group in groups
    )
    parts = (above_variance / len(numerators), below_variance / len(denominators))
    squared_error = sum(parts)
    if squared_error == 0:
        return Interval(math.exp(above - below), math.exp(above - below))
    degrees = squared_error**2 / sum(
        part**2 / (len(group) - 1) for part, group in zip(parts, groups, strict=True)
    )
    # Both numbers of replicates bound it from below; floor() may fall short by rounding alone.
    smallest = min(len(group) for group in groups) - 1
    half = t_quantile(0.5 + confidence / 2, max(int(degrees), smallest)) * math.sqrt(squared_error)
    return Interval(math.exp(above - below - half), math.exp(above - below + half))


def _mean_and_variance(values: Sequence[float]) -> tuple[float, float]:
    mean = math.fsum(values) / len(values)
    return mean, math.fsum([(value - mean) ** 2 for value in values]) / (len(values) - 1)
