"""Derives burst and sustained latency, time to throttle and temperatures from the replicates' curves."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median_low

from edgebench import record as rec
from edgebench import stats
from edgebench.analysis.table_types import Sustained

#: Slower than the burst by more than this, for so many periods in a row and in the median of all that
#: follow: the machine throttles.
THROTTLED = 1.05
PERIODS = 5


def sustained_of(good: Sequence[rec.Replicate]) -> Sustained | None:
    """None where no replicate was a sustained load. Where the first process does not count, all began
    hot: what needs a cool start is None then."""
    each = [(replicate, replicate.sustained) for replicate in good]
    parts = [(replicate, part) for replicate, part in each if part is not None and part.curve]
    if not parts:
        return None
    replicate, first = parts[0]
    cool = replicate.index == 0
    burst_ns = stats.known_median(first.burst_ns) if cool else None
    sustained_ns = stats.known_median(replicate.samples_ns)
    celsius = [p.temperature_c for p in first.curve if p.temperature_c is not None]
    return Sustained(
        burst_p50_ns=burst_ns,
        sustained_p50_ns=sustained_ns,
        slowdown=sustained_ns / burst_ns if burst_ns and sustained_ns else None,
        time_to_throttle_s=throttled_s(first) if cool else None,
        duration_s=first.curve[-1].at_ns / 1e9,
        steady=all(part.steady for _, part in parts),
        steady_by="latency and temperature" if celsius else "latency",
        temperature_start_c=celsius[0] if cool and celsius else None,
        temperature_end_c=celsius[-1] if celsius else None,
        temperature_max_c=max(celsius, default=None),
        temperature_source=first.temperature_source,
    )


def throttled_s(part: rec.Sustained) -> float | None:
    """When a load became slower than its burst for good; None where it did not, or nobody can say."""
    burst_ns = stats.known_median(part.burst_ns)
    return time_to_throttle_s(part.curve, burst_ns) if burst_ns else None


def time_to_throttle_s(curve: Sequence[rec.CurvePoint], burst_ns: int) -> float | None:
    """When the latency rose above the burst's for good: the start of the first such period."""
    limit = THROTTLED * burst_ns
    starts_ns = [0, *(point.at_ns for point in curve)]
    for index in range(len(curve)):
        rest = [point.p50_ns for point in curve[index:]]
        if len(rest) < PERIODS:
            return None
        if min(rest[:PERIODS]) > limit and median_low(rest) > limit:
            return starts_ns[index] / 1e9
    return None
