"""Warm-up ends when latency has stopped to fall, and not before."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from edgebench.measure.replicate.warmup import WINDOW, SteadyDetector


def iterations_until_steady(latencies: list[int]) -> int | None:
    detector = SteadyDetector()
    for number, latency in enumerate(latencies, start=1):
        if detector.add(latency):
            return number
    return None


def test_a_constant_latency_is_steady_after_two_windows() -> None:
    assert iterations_until_steady([1000] * 50) == 2 * WINDOW


def test_a_slow_start_is_waited_for() -> None:
    start = [4000, 3000, 2500, 2200, 2000, 1800, 1600, 1450, 1300, 1200, 1100, 1050]
    found = iterations_until_steady(start + [1000] * 50)
    assert found is not None
    assert found > len(start)


def test_latency_that_keeps_falling_is_never_steady() -> None:
    falling = [round(1e6 * 0.97**n) for n in range(200)]
    assert iterations_until_steady(falling) is None


def test_latency_that_rises_is_no_warm_up() -> None:
    assert iterations_until_steady([1000 + 50 * n for n in range(50)]) == 2 * WINDOW


@given(seed=st.integers(0, 10_000), noise=st.floats(0.001, 0.3))
def test_noise_alone_does_not_keep_it_waiting(seed: int, noise: float) -> None:
    source = random.Random(seed)
    latencies = [round(1e6 * (1 + source.uniform(-noise, noise))) for _ in range(400)]
    assert iterations_until_steady(latencies) is not None
