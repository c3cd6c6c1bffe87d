"""The scenario `sustained`: what remains of the speed once the machine is hot.

A closed loop that runs until temperature and latency are steady or its time is up. It is cut into
periods of about a second; between two periods the temperature is read, never inside a query.
"""

from __future__ import annotations

import math
import random
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from statistics import fmean, median
from typing import Any, NamedTuple

from edgebench import stats
from edgebench.measure.replicate.loops import BLOCK_NS, Clock, Run, Window, no_gc, time_block, usage
from edgebench.record import CurvePoint, Sustained

#: Degrees Celsius, or None where nothing tells.
ReadTemperature = Callable[[], "float | None"]

BURST_S = 5.0  # from the start, at most a tenth of the time
SPAN_S = 30.0  # that must look alike in both its halves; what it gives is the sustained latency
#: A meter of energy may need a longer window than that, up to this share of the time.
METERED_SHARE = 0.5
LATENCY_TOLERANCE = 0.02
TEMPERATURE_TOLERANCE_K = 0.5
#: Latency alone may look steady long before the heat reaches it: this share of the time must be over.
LATENCY_ALONE_SHARE = 0.5
MAX_POINTS = 600  # of a curve
BLOCK_KEEP = 64  # samples of a block of about 20 ms
_CHOICE = random.Random(0)


@dataclass
class _Period:
    samples_ns: list[int]  # a random part of its queries
    queries: int
    duration_ns: int
    p50_ns: int
    temperature_c: float | None
    used: Window = field(default_factory=Window)  # CPU time and context switches alone


class Temperature(NamedTuple):
    """Holds what tells the temperature; `source` names its sensors, or says why there is none."""

    read: ReadTemperature
    source: str


def sustained(
    run: Run,
    pool: Sequence[Any],
    *,
    typical_ns: int,
    limit_s: float,
    max_samples: int,
    temperature: Temperature,
    min_window_s: float = 0.0,
    clock: Clock = time.perf_counter_ns,
) -> Window:
    """Runs for `limit_s` at most. The window's samples are those of the last periods.

    `min_window_s`: what a meter of energy needs. If the time allows it, the load goes on while it is
    steady until the window is that long; its samples are still those of the last 30 s.
    """
    period_s = period_of(limit_s)
    span = max(2, round(SPAN_S / period_s))
    burst_periods = max(1, round(min(BURST_S, limit_s / 10) / period_s))
    metered = math.ceil(min_window_s / period_s) if metered_window(min_window_s, limit_s) else 0
    least = max(span, metered)  # steady periods that end it
    keep = max(1, max_samples // span)
    queries = cycle(pool)
    curve: list[CurvePoint] = []
    burst_ns: list[int] = []
    recent: deque[_Period] = deque(maxlen=least)
    settled = 0  # periods that are steady without a break, up to now
    with no_gc():
        start = clock()
        while settled < least and (not curve or clock() - start < limit_s * 1e9):
            period = _period(run, queries, typical_ns, period_s, keep, temperature.read, clock)
            recent.append(period)
            typical_ns = period.p50_ns
            elapsed_ns = clock() - start
            curve.append(
                CurvePoint(
                    at_ns=elapsed_ns, p50_ns=period.p50_ns, temperature_c=period.temperature_c
                )
            )
            if len(curve) <= burst_periods:
                burst_ns += period.samples_ns
            judged = list(recent)[-span:]
            steady = len(judged) == span and _steady(judged, elapsed_ns / (limit_s * 1e9))
            settled = max(settled + 1, span) if steady else 0
    counted = max(1, min(span, len(curve) // 3))
    last = list(recent)[-max(counted, metered) :]
    return Window(
        samples_ns=[ns for period in last[-counted:] for ns in period.samples_ns],
        window_ns=sum(period.duration_ns for period in last),
        start_ns=last[0].used.start_ns,
        end_ns=last[-1].used.end_ns,
        start_unix_ns=last[0].used.start_unix_ns,
        queries=sum(period.queries for period in last),
        cpu_ns=sum(period.used.cpu_ns for period in last),
        involuntary_switches=sum(period.used.involuntary_switches for period in last),
        stop="steady" if settled else "time",
        sustained=Sustained(
            burst_ns=burst_ns,
            curve=curve,
            steady=settled > 0,
            limit_s=limit_s,
            temperature_source=temperature.source,
        ),
    )


def metered_window(min_window_s: float, limit_s: float) -> bool:
    """Whether a load of `limit_s` has a window of this length for a meter of energy."""
    return min_window_s <= METERED_SHARE * limit_s


def period_of(limit_s: float) -> float:
    """Length of a period: a second, less where time is short, more where a curve would be long."""
    return max(min(1.0, max(0.1, limit_s / 60)), limit_s / MAX_POINTS)


def _period(
    run: Run,
    queries: Iterator[Any],
    typical_ns: int,
    period_s: float,
    keep: int,
    temperature: ReadTemperature,
    clock: Clock,
) -> _Period:
    """Queries for one period, then one look at the temperature. At most `keep` samples are kept."""
    samples: list[int] = []
    count = 0
    used = Window()
    per_block = max(1, BLOCK_NS // max(typical_ns, 1))
    with usage(used):
        start = clock()
        while (spent_ns := clock() - start) < period_s * 1e9:
            block: list[int] = []
            time_block(run, islice(queries, per_block), block.append, clock)
            count += len(block)
            samples += _thinned(block, BLOCK_KEEP)  # a second of short queries would fill megabytes
    return _Period(
        samples_ns=_thinned(samples, keep),
        queries=count,
        duration_ns=spent_ns,
        p50_ns=stats.percentile(sorted(samples), 500),
        temperature_c=temperature(),
        used=used,
    )


def _thinned(samples: list[int], most: int) -> list[int]:
    """A random part of them in their order, `most` at most.

    Not every n-th: inputs take turns, and some would never be seen.
    """
    if len(samples) <= most:
        return samples
    return [samples[index] for index in sorted(_CHOICE.sample(range(len(samples)), most))]


def _steady(recent: Sequence[_Period], share_over: float) -> bool:
    """Whether both halves of the last periods look alike, in latency and in temperature.

    `share_over`: how much of the time is over.
    """
    half = len(recent) // 2
    before, after = recent[:half], recent[half:]
    first, second = (median(period.p50_ns for period in part) for part in (before, after))
    if abs(first - second) > LATENCY_TOLERANCE * second:
        return False
    cool, warm = _mean_temperature(before), _mean_temperature(after)
    if cool is None or warm is None:
        return share_over >= LATENCY_ALONE_SHARE
    return abs(warm - cool) <= TEMPERATURE_TOLERANCE_K


def _mean_temperature(periods: Sequence[_Period]) -> float | None:
    known = [period.temperature_c for period in periods if period.temperature_c is not None]
    return fmean(known) if known else None
