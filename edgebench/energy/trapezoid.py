"""Computes the energy of a window from power samples, by the trapezoid rule over the monotonic clock.

The samples are interpolated at the exact edges. A value is as old as the meter's last update: times
are moved back by the mean age, and half of the age's spread stays in the uncertainty.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgebench.energy.energy_window import (
    GAP_INTERVALS,
    MAX_MISSING,
    MIN_UPDATES,
    Facts,
    Refused,
    WindowEnergy,
)
from edgebench.energy.error_budget import combined
from edgebench.energy.source import Sample
from edgebench.record import EnergyUncertainty

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

#: Batches of the batch means where the meter's own clock decides when power is looked at.
BATCHES = 40
_T_FACTOR = 2.1  # Student's t, 95 %, of 20 batches or more
_SPAN = 8  # intervals whose length is looked at together


def integrate_power(
    samples: Sequence[Sample],
    facts: Facts,
    start_ns: int,
    end_ns: int,
    *,
    min_updates: int = MIN_UPDATES,
    max_missing: float = MAX_MISSING,
) -> WindowEnergy | Refused:
    """Energy between two moments, or why there is none: fewer than `min_updates` of the meter, or more
    than the share `max_missing` of the window without readings.

    Edge: at each edge power is known to within (interval + period + latency) / 2 in time, so the
    bound is that times the spread of the power there, and of a meter that averages another P*period/4
    (a load that swings by P within one mean, cut at the worst moment); a common shift of all times adds its half
    spread times the difference of power between the edges. Quantum: q*T/2. Gain: gain*E. Offset:
    offset*T. Sampling: `_sampling_w` * T, or `_steps_j` of a meter that averages. Gaps:
    length times half of the spread of the power.
    """
    window_s = (end_ns - start_ns) / 1e9
    times, values, failed = _series(samples, start_ns)
    if not len(times):
        return Refused("read_failed", "the meter gave no value")
    times, failed = times - mean_age_s(facts), failed - mean_age_s(facts)
    around = (times > -1.0 - facts.period_s) & (times < window_s + 1.0 + facts.period_s)
    interval_s = _interval_s(times[around], window_s)
    tau_s = max(facts.period_s, interval_s)
    missing_s = _missing_s(times, failed, interval_s, window_s)
    updates = int((window_s - missing_s.sum()) / tau_s + 0.5)
    if window_s < min_updates * tau_s * 0.995:
        return too_short(window_s, updates, MIN_UPDATES * tau_s)
    if missing_s.sum() > max_missing * window_s:
        return Refused(
            "read_failed",
            f"{missing_s.sum() / window_s:.0%} of the window has no readings "
            f"(at most {max_missing:.0%} may be bridged)",
        )
    inside = (times > 0) & (times < window_s)
    inner_t, inner_v = times[inside], values[inside]
    edges_w = np.interp([0.0, window_s], times, values)
    line_t = np.concatenate(([0.0], inner_t, [window_s]))
    line_v = np.concatenate((edges_w[:1], inner_v, edges_w[1:]))
    energy_j = float(((line_v[1:] + line_v[:-1]) * np.diff(line_t)).sum() / 2)
    spread_w = float(np.ptp(line_v))
    uncertainty = EnergyUncertainty(
        edge_j=_edge_j(times, values, facts, tau_s, interval_s, window_s),
        sampling_j=_steps_j(line_t, line_v)
        if facts.averages
        else _sampling_w(inner_v, facts.period_s, interval_s) * window_s,
        gap_j=spread_w / 2 * math.sqrt(float((missing_s**2).sum())),
        quantum_j=facts.resolution * window_s / 2,
        gain_j=facts.gain_error * abs(energy_j),
        offset_j=facts.offset_w * window_s,
    )
    return WindowEnergy(energy_j, uncertainty, start_ns, end_ns, updates, len(missing_s))


def mean_age_s(facts: Facts) -> float:
    """The mean age of a value when it is read: half of the meter's period and latency, and
    another half of a period where the value is the mean over one."""
    periods = 1.0 if facts.averages else 0.5
    return periods * facts.period_s + facts.latency_s / 2


def too_short(window_s: float, updates: int, needed_s: float) -> Refused:
    return Refused(
        "window_too_short",
        f"{updates} updates of the meter in {window_s:.3g} s; {MIN_UPDATES} take {needed_s:.3g} s",
        needed_s,
    )


def _series(samples: Sequence[Sample], start_ns: int) -> tuple[Floats, Floats, Floats]:
    """Times (seconds from the start, the middle of the read) and values of good reads, and the
    times of failed ones."""
    middles = np.array([(s.start_ns - start_ns) + (s.end_ns - start_ns) for s in samples]) / 2e9
    values = np.array([math.nan if s.value is None else s.value for s in samples], dtype=np.float64)
    good = np.isfinite(values)
    return middles[good], values[good], middles[~good]


def _interval_s(times: Floats, window_s: float) -> float:
    """The usual time between readings; gaps do not raise it.

    Several intervals at once: readings come at random moments of their intervals, so that the median of
    single ones misses their mean by some percent in a short window.
    """
    if len(times) <= 2:
        return window_s
    span = min(_SPAN, len(times) - 1)
    return float(np.median(times[span:] - times[:-span])) / span


def _missing_s(times: Floats, failed: Floats, interval_s: float, window_s: float) -> Floats:
    """Length of each stretch of the window without readings, beyond the usual interval."""
    bounds = np.concatenate(([min(times[0], 0.0)], times, [max(times[-1], window_s)]))
    starts, ends = bounds[:-1], bounds[1:]
    has_failed = np.zeros(len(starts), dtype=bool)
    has_failed[np.clip(np.searchsorted(ends, failed), 0, len(ends) - 1)] = True
    is_gap = has_failed | (ends - starts > GAP_INTERVALS * interval_s)
    lengths = np.minimum(ends, window_s) - np.maximum(starts, 0.0) - interval_s
    gaps_s: Floats = lengths[is_gap & (lengths > 0)]
    return gaps_s


def _edge_j(
    times: Floats,
    values: Floats,
    facts: Facts,
    tau_s: float,
    interval_s: float,
    window_s: float,
) -> float:
    """Bound of what the two edges may be off; see `integrate_power`."""
    reach_s = 2 * tau_s + facts.latency_s
    age_s = (facts.period_s + facts.latency_s) / 2
    spreads, levels = [], []
    for edge_s in (0.0, window_s):
        first, last = np.searchsorted(times, (edge_s - reach_s, edge_s + reach_s))
        near = values[max(first - 1, 0) : last + 1]
        spreads.append(float(np.ptp(near)))
        levels.append(float(near.mean()))
    bounds = [(interval_s / 2 + age_s) * spread for spread in spreads]
    if facts.averages:  # what happens within one mean is not seen: an edge may cut it anywhere
        bounds = [
            each + facts.period_s / 4 * level for each, level in zip(bounds, levels, strict=True)
        ]
    return combined((*bounds, age_s * abs(levels[1] - levels[0])), ())


def _steps_j(times: Floats, values: Floats) -> float:
    """Half-width of the energy of a meter that shows mean power: each change came at some moment
    between two reads, so that a trapezoid is off by at most dt*|dP|/2, evenly distributed."""
    return float(2 * np.sqrt(((np.diff(times) * np.diff(values)) ** 2).sum() / 12))


def _sampling_w(values: Floats, period_s: float, interval_s: float) -> float:
    """Half-width of the mean power of a varying load that was looked at now and then, from batch
    means and their successive differences (von Neumann 1941), which a slow trend hardly moves:
    var(mean) = sum((m[j+1] - m[j])^2) / (2 (B - 1)) / B.

    Where readings come at random moments, one in each interval, they are independent given the load
    and a batch is one reading (collapsed strata; Cochran, Sampling Techniques, 5A.12). Where the
    meter's own period decides, readings may beat with the load: 40 batches as well.
    """
    values = values[:: max(1, round(period_s / interval_s))]
    variance = _variance_of_mean(values)
    if period_s > 0.99 * interval_s and len(values) >= 2 * BATCHES:
        size = len(values) // BATCHES
        batches = values[: size * BATCHES].reshape(BATCHES, size).mean(axis=1)
        variance = max(variance, _variance_of_mean(batches))
    return _T_FACTOR * math.sqrt(variance)


def _variance_of_mean(means: Floats) -> float:
    """Returns the variance of the mean, from the differences between successive values."""
    count = len(means)
    if count < 3:
        return 0.0
    return float((np.diff(means) ** 2).sum()) / (2 * (count - 1)) / count
