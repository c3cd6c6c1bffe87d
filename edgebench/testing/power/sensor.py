"""A meter as its data sheet describes it: what it publishes of a true power curve, and when."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from edgebench.testing.power.curves import Curve

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Sensor:
    """Updates come every `period_s`, each up to `irregular` of it earlier or later, and show power
    (or energy so far) as it was `latency_s` before; `failures` of the reads fail.

    `gain` and `offset_w` are this specimen's errors, within the bounds that its kind promises.
    """

    period_s: float
    phase: float = 0.0  # share of a period at which the first update comes
    irregular: float = 0.0  # share of a period
    latency_s: float = 0.0
    averages: bool = False  # power: the mean since the last update
    gain: float = 0.0
    offset_w: float = 0.0
    failures: float = 0.0
    seed: int = 0
    _lead: int = field(default=2, repr=False)  # updates before time 0

    def updates(self, until_s: float) -> Floats:
        """Times of the updates, from a little before 0 on."""
        count = int(until_s / (self.period_s * (1 - self.irregular))) + self._lead + 2
        rng = np.random.default_rng(self.seed)
        steps = self.period_s * (1 + self.irregular * rng.uniform(-1, 1, count))
        times: Floats = np.cumsum(steps) - steps[0] + (self.phase - self._lead) * self.period_s
        return times

    def power(self, curve: Curve, updates_s: Floats) -> Floats:
        """Watts shown from each update on."""
        then = updates_s - self.latency_s
        if self.averages:
            joules = curve.joules(np.concatenate(([then[0] - self.period_s], then)))
            steps = np.diff(np.concatenate(([then[0] - self.period_s], then)))
            true_w = np.diff(joules) / steps
        else:
            true_w = curve.watts(then)
        return true_w * (1 + self.gain) + self.offset_w

    def energy(self, curve: Curve, updates_s: Floats) -> Floats:
        """Joules counted up to each update; the count began before time 0."""
        then = updates_s - self.latency_s
        joules = curve.joules(then) * (1 + self.gain) + self.offset_w * then
        counted: Floats = joules - joules[0]
        return counted

    def shown_at(self, times_s: Floats, updates_s: Floats) -> NDArray[np.intp]:
        """Index of the update that a read at each time sees."""
        return np.clip(np.searchsorted(updates_s, times_s, side="right") - 1, 0, None)

    def fails_at(self, times_s: Floats) -> NDArray[np.bool_]:
        """Which reads fail."""
        rng = np.random.default_rng(self.seed + 1)
        return rng.uniform(size=len(times_s)) < self.failures
