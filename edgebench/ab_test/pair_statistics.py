"""The statistic of an A/B: one number per pair of processes, and what several of them say.

Iterations and rounds of a pair are not independent; pairs are. A pair gives D, a trimmed mean over its
rounds of log(median of the head's block / median of the base's block), and everything below is made from
the D's. Changes are logarithms of ratios in here; `as_share` turns one into "+3 %" for people.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import median
from typing import NamedTuple

from edgebench.stats import t_quantile

#: Share of a pair's rounds that is cut off at either end before their mean is taken.
ROUND_TRIM = 0.25
#: Share of pairs that Yuen's interval cuts off at either end.
PAIR_TRIM = 0.2
#: Below so many pairs nothing is called an outlier: their median deviation is too uncertain itself, and
#: choosing the interval by it would call more regressions than alpha allows (measured: 1.4 x).
PAIRS_TO_TRIM = 8
#: Distance from the median, in robust standard deviations, that makes a pair an outlier.
OUTLIER = 5.0
_MAD_TO_SD = 1.4826  # of a normal distribution
#: Share of a pair's rounds that must count for the pair to have a number.
MIN_ROUNDS = 0.5


class Block(NamedTuple):
    """Holds what one arm did in one round: the time of each sample, all of equally many calls."""

    wall_ns: Sequence[int]
    cpu_ns: Sequence[int]
    switches: Sequence[int]  # involuntary context switches during each sample
    waited_ns: Sequence[int] = ()  # of each sample, ready to run and without a core; empty: unknown


Round = tuple[Block, Block]  # base, head
Times = Callable[[Block], Sequence[int]]


class Estimate(NamedTuple):
    """Mean change over pairs with its standard error; log ratios."""

    mean: float
    error: float
    degrees: int
    pairs: int
    trimmed: bool  # Yuen's, because of outliers

    def low(self, alpha: float) -> float:
        """Lower bound that the truth is above with confidence 1 - alpha."""
        return self.mean - t_quantile(1 - alpha, self.degrees) * self.error

    def high(self, alpha: float) -> float:
        """Upper bound that the truth is below with confidence 1 - alpha."""
        return self.mean + t_quantile(1 - alpha, self.degrees) * self.error

    def detectable(self, tau: float, alpha: float) -> float:
        """The smallest true change that so many pairs of this spread show with a power of 95 %."""
        reach = t_quantile(1 - alpha, self.degrees) + t_quantile(0.95, self.degrees)
        return tau + reach * self.error


def change(rounds: Sequence[Round], times: Times) -> float | None:
    """D of the times that blocks are said to have; None where the rounds do not support it."""
    return _trimmed([_log_ratio(times(base), times(head)) for base, head in rounds])


def cpu_ns(block: Block) -> Sequence[int]:
    return block.cpu_ns


def wall_ns(block: Block) -> Sequence[int]:
    """Of all iterations: where nothing tells of preemption, or a device works."""
    return block.wall_ns


def undisturbed_ns(block: Block) -> Sequence[int]:
    """Times without what an iteration waited for its core; where the system does not tell, or another thread
    of the process was preempted, the iteration is left out."""
    waited = block.waited_ns or [0] * len(block.wall_ns)
    return [
        wall - wait
        for wall, wait, switches in zip(block.wall_ns, waited, block.switches, strict=True)
        if wait or not switches
    ]


def _log_ratio(base: Sequence[int], head: Sequence[int]) -> float | None:
    if not base or not head:
        return None
    below, above = median(base), median(head)
    return math.log(above / below) if below > 0 and above > 0 else None


def _trimmed(ratios: Sequence[float | None]) -> float | None:
    known = sorted(ratio for ratio in ratios if ratio is not None)
    if not known or len(known) < MIN_ROUNDS * len(ratios):
        return None
    cut = int(ROUND_TRIM * len(known))
    kept = known[cut : len(known) - cut]
    return math.fsum(kept) / len(kept)


def estimate(changes: Sequence[float]) -> Estimate | None:
    """Mean and standard error over the pairs' D's; None with fewer than 2.

    Student's t, or where a pair is an outlier Yuen's trimmed t (Biometrika 61, 1974): the mean of what
    is left after trimming, the error from the winsorised variance.
    """
    count = len(changes)
    if count < 2:
        return None
    cut = int(PAIR_TRIM * count)
    if count >= PAIRS_TO_TRIM and _has_outlier(changes):
        return _yuen(sorted(changes), cut)
    mean = math.fsum(changes) / count
    variance = math.fsum((value - mean) ** 2 for value in changes) / (count - 1)
    return Estimate(mean, math.sqrt(variance / count), count - 1, count, False)


def _has_outlier(values: Sequence[float]) -> bool:
    middle = median(values)
    spread = _MAD_TO_SD * median(abs(value - middle) for value in values)
    return any(abs(value - middle) > OUTLIER * spread for value in values) if spread else False


def _yuen(ordered: Sequence[float], cut: int) -> Estimate:
    count = len(ordered)
    kept = ordered[cut : count - cut]
    winsorised = [*[kept[0]] * cut, *kept, *[kept[-1]] * cut]
    middle = math.fsum(winsorised) / count
    squares = math.fsum((value - middle) ** 2 for value in winsorised)
    error = math.sqrt(squares / (len(kept) * (len(kept) - 1)))
    return Estimate(math.fsum(kept) / len(kept), error, len(kept) - 1, count, True)


def as_share(log_ratio: float) -> float:
    """exp(x) - 1: a log ratio of .03 is a change of +3.05 %."""
    return math.expm1(log_ratio)
