"""True power over time, with its exact energy: what a meter would have to find."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


class Curve(Protocol):
    """Power in watts and energy in joules since 0, at times in seconds (arrays of any length)."""

    def watts(self, at_s: Floats) -> Floats: ...
    def joules(self, at_s: Floats) -> Floats: ...


@dataclass(frozen=True)
class Line:
    """Power that rises or falls evenly for ever; a constant load has no slope."""

    start_w: float
    slope_w_per_s: float = 0.0

    def watts(self, at_s: Floats) -> Floats:
        return self.start_w + self.slope_w_per_s * at_s

    def joules(self, at_s: Floats) -> Floats:
        return self.start_w * at_s + self.slope_w_per_s * at_s**2 / 2


@dataclass(frozen=True)
class Sine:
    """A load that swings."""

    mean_w: float
    amplitude_w: float
    period_s: float
    phase: float = 0.0  # radians

    def watts(self, at_s: Floats) -> Floats:
        angle = 2 * math.pi * at_s / self.period_s + self.phase
        return self.mean_w + self.amplitude_w * np.sin(angle)

    def joules(self, at_s: Floats) -> Floats:
        angle = 2 * math.pi * at_s / self.period_s + self.phase
        scale = self.amplitude_w * self.period_s / (2 * math.pi)
        return self.mean_w * at_s + scale * (math.cos(self.phase) - np.cos(angle))


@dataclass(frozen=True)
class Square:
    """A load that is on for a share of each period."""

    low_w: float
    high_w: float
    period_s: float
    duty: float = 0.5
    phase: float = 0.0  # share of a period

    def watts(self, at_s: Floats) -> Floats:
        part = (at_s / self.period_s + self.phase) % 1.0
        return np.where(part < self.duty, self.high_w, self.low_w)

    def joules(self, at_s: Floats) -> Floats:
        high_s = self._high(at_s / self.period_s + self.phase) - self._high(np.array(self.phase))
        return self.low_w * at_s + (self.high_w - self.low_w) * self.period_s * high_s

    def _high(self, periods: Floats) -> Floats:
        whole = np.floor(periods)
        return whole * self.duty + np.minimum(periods - whole, self.duty)


class Steps:
    """Power that stays at one level until the next begins: bursts, idle around a load."""

    def __init__(self, starts_s: Floats, levels_w: Floats) -> None:
        """`levels_w[i]` holds from `starts_s[i]` (ascending) on; the first also before."""
        self._starts_s = starts_s
        self._levels_w = levels_w
        self._joules = np.concatenate(([0.0], np.cumsum(levels_w[:-1] * np.diff(starts_s))))

    def watts(self, at_s: Floats) -> Floats:
        return self._levels_w[self._index(at_s)]

    def joules(self, at_s: Floats) -> Floats:
        index = self._index(at_s)
        return self._joules[index] + self._levels_w[index] * (at_s - self._starts_s[index])

    def _index(self, at_s: Floats) -> NDArray[np.intp]:
        return np.clip(np.searchsorted(self._starts_s, at_s, side="right") - 1, 0, None)


def bursts(
    rng: np.random.Generator,
    low_w: float,
    high_w: float,
    length_s: float,
    mean_s: float,
    total_s: float,
) -> Steps:
    """Bursts of `length_s` after pauses of random length, `mean_s` on average."""
    count = max(2, int(2 * total_s / (length_s + mean_s)) + 2)
    pauses = rng.exponential(mean_s, count)
    starts = np.cumsum(pauses + length_s) - length_s
    times = np.concatenate(([0.0], np.stack((starts, starts + length_s), axis=1).ravel()))
    levels = np.concatenate(([low_w], np.tile([high_w, low_w], count)))
    return Steps(times, levels)


def energy_between(curve: Curve, start_s: float, end_s: float) -> float:
    """True joules between two moments."""
    start, end = curve.joules(np.array([start_s, end_s]))
    return float(end - start)
