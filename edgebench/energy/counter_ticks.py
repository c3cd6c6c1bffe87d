"""Computes the energy of a window from a counter, from one observed tick to another.

A counter that is polled shows when it ticked to within a polling interval, however slowly it ticks.
So the energy between two ticks is known but for the time of its edges, and nothing is interpolated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edgebench.energy.energy_window import (
    MIN_COVERED,
    MIN_UPDATES,
    Facts,
    Refused,
    WindowEnergy,
    needed_between_ticks_s,
)
from edgebench.energy.error_budget import combined
from edgebench.energy.source import Sample
from edgebench.record import EnergyUncertainty

#: Power at a tick over the mean power around it, at most, where ticks are far apart.
_UNSEEN = 2.0
#: A counter that stood still for so many of its periods is dead.
DEAD_PERIODS = 10


def integrate_counter(
    samples: Sequence[Sample], facts: Facts, start_ns: int, end_ns: int
) -> WindowEnergy | Refused:
    """Energy between the first and the last tick inside the window, or why there is none.

    Edge: the time of a tick is known to within w = min(polling interval, period) + half the lengths of the
    two reads around it (a value is of some moment within its read), so each edge is off by at most w/2 times
    the power there; of a slow counter only the mean power between ticks is
    known, and twice that is allowed for. Quantum: one step, as both readings are cut off. Gain
    and offset as for power. The counter sums between readings: no sampling error. A failed read
    only widens the time of the tick that it missed.
    """
    window_s = (end_ns - start_ns) / 1e9
    good = [s for s in samples if s.value is not None and math.isfinite(s.value)]
    if len(good) < 2:
        return Refused("read_failed", "the meter gave no value")
    middles = np.array([(s.start_ns - start_ns) + (s.end_ns - start_ns) for s in good]) / 2e9
    lengths = np.array([s.end_ns - s.start_ns for s in good]) / 1e9
    joules = np.array([s.value for s in good], dtype=np.float64)
    steps = np.diff(joules)
    if (steps < 0).any():
        return Refused("read_failed", "the counter went backwards: its driver was reset")
    ticked = np.flatnonzero(steps) + 1
    widths = np.minimum(middles[ticked] - middles[ticked - 1], facts.period_s)
    times = middles[ticked] - widths / 2 - facts.latency_s / 2
    inside = np.flatnonzero((times >= 0) & (times <= window_s))
    period_s, usual_s = _period_s(times, facts), _median(widths)
    if len(inside) < 2:
        if window_s > DEAD_PERIODS * facts.period_s and not len(ticked):
            return Refused("counter_dead", f"the counter stood still for {window_s:.3g} s")
        return _too_short(len(inside), window_s, needed_between_ticks_s(period_s, usual_s))
    first, last = inside[0], inside[-1]
    used_s = float(times[last] - times[first])
    if used_s < max(MIN_UPDATES * usual_s, MIN_COVERED * window_s):
        return _too_short(len(inside), window_s, needed_between_ticks_s(period_s, usual_s))
    values = joules[ticked]
    energy_j = float(values[last] - values[first])
    known_s = widths + (lengths[ticked] + lengths[ticked - 1]) / 2
    rates_w = np.diff(values) / np.maximum(np.diff(times), 1e-9)
    at_start = _power_near(rates_w, int(first))
    at_end = _power_near(rates_w, int(last))
    unseen = _UNSEEN if _median(np.diff(times)) > 2 * _median(np.diff(middles)) else 1.0
    failed = sum(s.value is None and start_ns <= s.start_ns <= end_ns for s in samples)
    return WindowEnergy(
        energy_j,
        EnergyUncertainty(
            edge_j=combined(
                (
                    float(known_s[first]) / 2 * at_start * unseen,
                    float(known_s[last]) / 2 * at_end * unseen,
                    facts.latency_s / 2 * abs(at_end - at_start),
                ),
                (),
            ),
            quantum_j=facts.resolution,
            gain_j=facts.gain_error * energy_j,
            offset_j=facts.offset_w * used_s,
        ),
        start_ns + round(float(times[first]) * 1e9),
        start_ns + round(float(times[last]) * 1e9),
        updates=len(inside) - 1,
        gaps=failed,
    )


def _period_s(times: np.ndarray, facts: Facts) -> float:
    """The longest usual time between ticks: a counter may tick more slowly than it promises."""
    return max(facts.period_s, _median(np.diff(times)))


def _median(values: np.ndarray) -> float:
    return float(np.median(values)) if len(values) else 0.0


def _power_near(rates_w: np.ndarray, tick: int) -> float:
    """The higher of the mean powers before and after a tick."""
    return float(rates_w[max(tick - 1, 0) : tick + 1].max())


def _too_short(ticks: int, window_s: float, needed: float) -> Refused:
    return Refused(
        "window_too_short",
        f"{ticks} ticks of the counter in {window_s:.3g} s; the window must last {needed:.3g} s",
        needed,
    )
