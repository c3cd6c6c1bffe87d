"""From samples of a meter to the energy of a window, with its uncertainty: `integrate`.

Power is integrated by trapezoids (`trapezoid`), counters from tick to tick (`ticks`). Pure functions
over samples: no clock, no file. docs/energy-method.md has the formulas in one place.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgebench.energy.energy_window import (
    MIN_UPDATES,
    Facts,
    Refused,
    WindowEnergy,
    needed_between_ticks_s,
)
from edgebench.energy.sampler import MAX_INTERVAL_S, poll_interval_s
from edgebench.energy.source import Sample

#: A planned window is longer than the shortest that serves: readings come late on a busy machine.
_MARGIN = 1.15


def integrate(
    samples: Sequence[Sample], facts: Facts, start_ns: int, end_ns: int
) -> WindowEnergy | Refused:
    """Energy between two moments of the monotonic clock, or why there is none.

    `samples` ascend in time and reach beyond the window at both ends where possible. `facts`: the
    source, or anything that has its facts. Refusals: `window_too_short` (with the length needed),
    `read_failed` (too much is missing), `counter_dead`.
    """
    if end_ns <= start_ns:
        return Refused("window_too_short", "the window is empty", needed_s(facts))
    # numpy comes with these: `edgebench run --help` does without.
    if facts.quantity == "energy":
        from edgebench.energy.counter_ticks import integrate_counter

        return integrate_counter(samples, facts, start_ns, end_ns)
    from edgebench.energy.trapezoid import integrate_power

    return integrate_power(samples, facts, start_ns, end_ns)


def calm_interval_s(window_s: float) -> float:
    """Time between two looks at a meter of power that windows of this length need: waking up is most
    of what a look costs. At most `MAX_INTERVAL_S`."""
    return min(MAX_INTERVAL_S, window_s / (_MARGIN * MIN_UPDATES))


def needed_s(facts: Facts) -> float:
    """Length of a window that `integrate` will take, for planning, with a margin."""
    interval_s = poll_interval_s(facts)
    if facts.quantity == "energy":
        edge_s = min(interval_s, facts.period_s)
        return _MARGIN * needed_between_ticks_s(max(facts.period_s, interval_s), edge_s)
    return _MARGIN * MIN_UPDATES * max(facts.period_s, interval_s)
