"""Percentiles, early stopping, Student's t and intervals clustered by process."""

from __future__ import annotations

import math
import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgebench import stats


@given(st.lists(st.integers(0, 10**12), min_size=1), st.integers(1, 999))
def test_percentile_is_the_smallest_value_that_enough_samples_reach(
    values: list[int], permille: int
) -> None:
    ordered = sorted(values)
    found = stats.percentile(ordered, permille)
    assert sum(value <= found for value in ordered) * 1000 >= permille * len(ordered)
    below = [value for value in ordered if value < found]
    assert len(below) * 1000 < permille * len(ordered)


def test_percentile_of_ten_values() -> None:
    values = list(range(1, 11))
    assert [stats.percentile(values, p) for p in (500, 900, 990, 999)] == [5, 9, 10, 10]


@pytest.mark.parametrize(("permille", "samples"), [(900, 64), (990, 662), (999, 6636)])
def test_early_stopping_begins_at_mlperfs_minimum(permille: int, samples: int) -> None:
    assert stats.min_samples(permille) == samples
    assert stats.early_stopping_rank(samples - 1, permille) is None
    assert stats.early_stopping_rank(samples, permille) == 1
    ordered = list(range(samples))
    assert stats.early_stopping_estimate(ordered, permille) == ordered[-1]
    assert stats.early_stopping_estimate(ordered[1:], permille) is None


def test_the_median_needs_a_range_that_encloses_it_with_95_percent() -> None:
    n = stats.min_samples(500)
    assert 1 - 2 * 0.5**n >= 0.95 > 1 - 2 * 0.5 ** (n - 1)


@pytest.mark.parametrize("permille", [900, 950, 990])
@pytest.mark.parametrize("samples", [130, 700, 1500])
def test_early_stopping_rank_against_exact_arithmetic(permille: int, samples: int) -> None:
    above = Fraction(1000 - permille, 1000)
    total, exact = Fraction(0), -1
    for k in range(samples + 1):
        total += math.comb(samples, k) * above**k * (1 - above) ** (samples - k)
        if total > Fraction(1, 100):
            break
        exact = k
    assert stats.early_stopping_rank(samples, permille) == (exact if exact >= 1 else None)


@given(st.integers(1, 60), st.integers(0, 60), st.sampled_from([0.001, 0.1, 0.5, 0.9]))
def test_binomial_cdf_is_the_sum_of_its_terms(n: int, k: int, p: float) -> None:
    terms = (math.comb(n, j) * p**j * (1 - p) ** (n - j) for j in range(min(k, n) + 1))
    assert stats.binomial_cdf(k, n, p) == pytest.approx(math.fsum(terms), rel=1e-10)


# Critical values as printed in tables of Student's t (two-sided 90, 95 and 99 %).
@pytest.mark.parametrize(
    ("degrees", "p95", "p975", "p995"),
    [
        (1, 6.3138, 12.7062, 63.6567),
        (2, 2.9200, 4.3027, 9.9248),
        (3, 2.3534, 3.1824, 5.8409),
        (4, 2.1318, 2.7764, 4.6041),
        (7, 1.8946, 2.3646, 3.4995),
        (19, 1.7291, 2.0930, 2.8609),
        (30, 1.6973, 2.0423, 2.7500),
        (120, 1.6577, 1.9799, 2.6174),
        (10_000, 1.6450, 1.9602, 2.5763),
    ],
)
def test_t_quantile_against_the_table(degrees: int, p95: float, p975: float, p995: float) -> None:
    found = [stats.t_quantile(p, degrees) for p in (0.95, 0.975, 0.995)]
    assert found == pytest.approx([p95, p975, p995], abs=6e-5)
    assert stats.t_quantile(0.025, degrees) == -stats.t_quantile(0.975, degrees)


def test_t_quantile_of_one_and_two_degrees_in_closed_form() -> None:
    for p in (0.6, 0.9, 0.999):
        assert stats.t_quantile(p, 1) == pytest.approx(math.tan(math.pi * (p - 0.5)), rel=1e-9)
        x = 2 * p - 1
        assert stats.t_quantile(p, 2) == pytest.approx(x * math.sqrt(2 / (1 - x * x)), rel=1e-9)


def test_an_interval_needs_two_positive_values() -> None:
    assert stats.log_interval([5.0]) is None
    assert stats.log_interval([5.0, 0.0]) is None
    assert stats.ratio_interval([5.0], [1.0, 2.0]) is None
    assert stats.log_interval([5.0, 5.0]) == pytest.approx((5.0, 5.0))


def test_log_interval_matches_a_hand_calculation() -> None:
    """Logs 0, 1, 2: mean 1, standard deviation 1, half-width 4.3027 / sqrt(3)."""
    interval = stats.log_interval([1.0, math.e, math.e**2])
    assert interval is not None
    half = 4.302652729911275 / math.sqrt(3)
    assert interval == pytest.approx((math.exp(1 - half), math.exp(1 + half)))
    assert interval.half_width == pytest.approx(math.exp(half) - 1)


@given(
    st.lists(st.floats(1, 1e9), min_size=2, max_size=8),
    st.lists(st.floats(1, 1e9), min_size=2, max_size=8),
    st.floats(0.001, 1000),
)
def test_intervals_scale_with_the_unit(one: list[float], two: list[float], unit: float) -> None:
    plain, scaled = stats.log_interval(one), stats.log_interval([v * unit for v in one])
    assert plain is not None
    assert scaled == pytest.approx((plain.low * unit, plain.high * unit), rel=1e-6)
    ratio, inverse = stats.ratio_interval(one, two), stats.ratio_interval(two, one)
    assert ratio is not None
    assert inverse == pytest.approx((1 / ratio.high, 1 / ratio.low), rel=1e-6)


def _process(source: random.Random) -> list[int]:
    """Samples of one process share its own speed: 2 % between processes, 1 % within."""
    speed = 1e6 * math.exp(source.gauss(0, 0.02))
    return sorted(int(speed * math.exp(source.gauss(0, 0.01))) for _ in range(15))


def _covers(interval: stats.Interval | None, truth: float) -> bool:
    assert interval is not None
    return interval.low <= truth <= interval.high


@pytest.mark.parametrize("replicates", [3, 8])
def test_95_percent_intervals_cover_the_truth_in_95_percent(replicates: int) -> None:
    source, trials, clustered, pooled = random.Random(7), 1000, 0, 0
    for _ in range(trials):
        processes = [_process(source) for _ in range(replicates)]
        medians = [stats.percentile(samples, 500) for samples in processes]
        clustered += _covers(stats.log_interval(medians), 1e6)
        pooled += _covers(stats.log_interval([v for samples in processes for v in samples]), 1e6)
    # Three standard deviations of a share of 95 % of 1000 trials are 2.1 %.
    assert 0.929 <= clustered / trials <= 0.971
    assert pooled / trials < 0.6  # what takes iterations for samples covers far too rarely


def test_the_interval_of_a_ratio_covers_the_truth() -> None:
    source, trials, covered = random.Random(11), 1200, 0
    for _ in range(trials):
        one = [2.0 * math.exp(source.gauss(0, 0.03)) for _ in range(4)]
        two = [math.exp(source.gauss(0, 0.01)) for _ in range(6)]
        interval = stats.ratio_interval(one, two)
        assert interval is not None
        covered += interval.low <= 2.0 <= interval.high
    assert 0.93 <= covered / trials <= 0.985  # Welch with degrees rounded down is conservative


def test_an_interval_is_widened_to_hold_its_value() -> None:
    interval = stats.Interval(2.4, 3.6)
    assert stats.ends_around(3.0, interval) == (2.4, 3.6)
    assert stats.ends_around(4.0, interval) == (2.4, 4.0)
    assert stats.ends_around_ns(1, interval) == (1, 4)
    assert stats.ends_around(None, interval) == stats.ends_around(3.0, None) == (None, None)


def test_what_is_unknown_has_no_part_in_a_median() -> None:
    assert stats.known_median([None, 5, 3, None, 9, 7]) == 5
    assert stats.known_median([None]) is None


def test_a_percentile_of_too_few_samples_is_unknown() -> None:
    assert stats.known_percentile(range(64), 900) == stats.percentile(range(64), 900)
    assert stats.known_percentile(range(63), 900) is None


def test_a_mean_of_one_value_has_no_interval() -> None:
    assert stats.geometric_mean([2.0])[1:] == (None, None)
    assert stats.geometric_mean([]) == (None, None, None)
    mean = stats.geometric_mean([1.0, 2.0, 4.0])
    assert mean.value == pytest.approx(2.0)
    assert mean.low is not None
    assert mean.high is not None
    assert mean.low < 2.0 < mean.high
