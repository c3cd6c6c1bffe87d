"""Exact bounds of a share, for tests of how often verdicts are wrong."""

from __future__ import annotations

from edgebench.stats import binomial_cdf


def clopper_pearson(events: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Exact two-sided bounds of a share from `events` of `trials` independent trials."""
    tail = (1 - confidence) / 2

    def solve(above: bool) -> float:
        low, high = 0.0, 1.0
        for _ in range(100):
            middle = (low + high) / 2
            if above:  # P(X <= events) falls with p: the upper bound is where it is `tail`
                go_up = binomial_cdf(events, trials, middle) > tail
            else:  # P(X >= events) grows with p
                go_up = 1 - binomial_cdf(events - 1, trials, middle) < tail
            low, high = (middle, high) if go_up else (low, middle)
        return low

    return (
        0.0 if events == 0 else solve(False),
        1.0 if events == trials else solve(True),
    )
