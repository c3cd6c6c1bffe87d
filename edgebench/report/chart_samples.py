"""The samples of a row, condensed to what a chart can show: a page holds thousands of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgebench import stats
from edgebench.analysis.per_row.rate_search import at_the_rate
from edgebench.analysis.per_row.sustained_rows import THROTTLED, throttled_s
from edgebench.record import CurvePoint, Record, Replicate, StateCheck
from edgebench.report.report_model import Band, Detail, Histogram, Process
from edgebench.text.plain_text import plain

Samples = NDArray[np.int64]

#: Where the cumulative distribution is kept; denser in the tail, which decides.
PROBABILITIES: list[float] = [
    *(round(share / 50, 2) for share in range(50)), 0.99, 0.995, 0.999, 1.0,
]  # fmt: skip
_BINS = 36
_POINTS = 60  # of a process in a time series
_GAP = 0.04  # between processes, as a share of what they took
_STATES = ("warn", "invalid")


@dataclass(frozen=True)
class Trace:
    """Holds what is kept of a replicate while a report is built."""

    index: int
    samples_ns: Samples
    warmup_s: float
    steady: bool
    disturbed: tuple[str, ...]
    rate_per_s: float | None = None  # at which its queries were due; None: one followed the other
    curve: Sequence[CurvePoint] = ()  # of a sustained load, whose samples are of its end alone
    throttled_s: float | None = None  # from when on that load was slower for good
    due_ns: Sequence[int] = ()  # when each query arrived, of a load of random arrivals


def traces(record: Record) -> list[Trace]:
    """The measured windows of a record's replicates that are ok and have samples."""
    return [
        Trace(
            replicate.index,
            np.array(replicate.samples_ns, dtype=np.int64),
            replicate.warmup.duration_ns / 1e9 if replicate.warmup else 0.0,
            replicate.warmup.steady if replicate.warmup else True,
            _disturbances(replicate),
            replicate.paced.rate_per_s if replicate.paced else None,
            replicate.sustained.curve if replicate.sustained else (),
            throttled_s(replicate.sustained) if replicate.sustained else None,
            replicate.paced.due_ns if replicate.paced else (),
        )
        for replicate in at_the_rate(record.replicates, record.rate_search)
        if replicate.status == "ok" and replicate.samples_ns
    ]


def _disturbances(replicate: Replicate) -> tuple[str, ...]:
    """Throttling, clocks, steal and whatever else was noticed while it ran."""
    checks: Sequence[StateCheck] = (*replicate.state_before, *replicate.state_after)
    words = (f"{c.name}: {c.evidence}" for c in checks if c.level in _STATES)
    return tuple(dict.fromkeys(plain(word) for word in words))


def detail_of(kept: Sequence[Trace]) -> Detail | None:
    """Distribution and time series; None where nothing was sampled."""
    if not kept:
        return None
    pooled = np.sort(np.concatenate([trace.samples_ns for trace in kept]))
    processes, bands = _series(kept)
    return Detail(
        ecdf_ms=_ecdf(pooled), histogram=_histogram(pooled), processes=processes, bands=bands
    )


def _ecdf(pooled: Samples) -> list[float]:
    """Nearest-rank quantiles at PROBABILITIES, in milliseconds; the first is the smallest sample."""
    shares = [stats.percentile(pooled, round(1000 * share)) for share in PROBABILITIES]
    return _ms(np.array(shares, dtype=np.int64))


def _histogram(pooled: Samples) -> Histogram:
    """Bins up to the 99.5th percentile: one late sample must not flatten all others."""
    low = int(pooled[0])
    high = max(stats.percentile(pooled, 995), low + 1)
    within = pooled[pooled <= high]
    bins = int(min(_BINS, max(6, 2 * np.sqrt(len(within)))))
    counts, _ = np.histogram(within, bins=bins, range=(low, high))
    return Histogram(
        low_ms=low / 1e6,
        high_ms=high / 1e6,
        counts=[int(count) for count in counts],
        beyond=len(pooled) - len(within),
    )


def _series(kept: Sequence[Trace]) -> tuple[list[Process], list[Band]]:
    """Processes one after the other on one axis, each with its warm-up ahead of it."""
    points = [_points(trace) for trace in kept]
    busy = sum(t.warmup_s + float(ends[-1]) for t, (ends, _) in zip(kept, points, strict=True))
    now, processes, bands = 0.0, [], []
    for trace, (ends, values) in zip(kept, points, strict=True):
        start = now + trace.warmup_s
        end = start + float(ends[-1])
        if trace.warmup_s:
            steady = "" if trace.steady else ", and the latency was not steady when it ended"
            words = f"warm-up of {trace.warmup_s:.3g} s{steady}"
            bands.append(_band("warm-up", now, start, trace, words))
        if trace.throttled_s is not None:
            slower = f"slower than at first by more than {THROTTLED - 1:.0%}"
            words = f"{slower} from {trace.throttled_s:.0f} s on"
            bands.append(_band("disturbed", start + trace.throttled_s, end, trace, words))
        if trace.disturbed:
            bands.append(_band("disturbed", start, end, trace, "; ".join(trace.disturbed)))
        processes.append(_process(trace, start, ends, values))
        now = end + _GAP * busy
    return processes, bands


def _points(trace: Trace) -> tuple[NDArray[np.float64], Samples]:
    """When each query (of a sustained load: each period) ended, from the start of the load, and how
    long it took (its median). Between queries that are due at given times the device is idle."""
    if trace.curve:
        ends_ns = np.array([point.at_ns for point in trace.curve], dtype=np.int64)
        return ends_ns / 1e9, np.array([point.p50_ns for point in trace.curve], dtype=np.int64)
    if trace.rate_per_s is None:
        return np.cumsum(trace.samples_ns, dtype=np.float64) / 1e9, trace.samples_ns
    if trace.due_ns:
        due_s = np.array(trace.due_ns, dtype=np.float64) / 1e9
    else:
        due_s = np.arange(len(trace.samples_ns)) / trace.rate_per_s
    return due_s + trace.samples_ns / 1e9, trace.samples_ns


def _band(
    kind: Literal["warm-up", "disturbed"], start: float, end: float, trace: Trace, words: str
) -> Band:
    return Band(
        kind=kind,
        start_s=round(start, 4),
        end_s=round(end, 4),
        process=trace.index,
        words=words,
    )


def _process(trace: Trace, start: float, ends: NDArray[np.float64], values: Samples) -> Process:
    per_point = -(-len(ends) // _POINTS)
    cuts = range(0, len(ends), per_point)
    medians, largest = _binned(values, per_point)
    return Process(
        index=trace.index,
        samples=len(trace.samples_ns),
        median_ms=_ms(np.array([np.median(trace.samples_ns)]))[0],
        start_s=round(start, 4),
        seconds_s=[round(start + float(ends[cut]), 4) for cut in cuts],
        median_of_bin_ms=_ms(medians),
        largest_of_bin_ms=[] if trace.curve else _ms(largest),
        per_point=per_point,
    )


def _binned(samples: Samples, size: int) -> tuple[NDArray[np.float64], Samples]:
    """Median and maximum of every `size` samples, and of those left at the end."""
    whole = len(samples) - len(samples) % size
    parts, rest = samples[:whole].reshape(-1, size), samples[whole:]
    medians, largest = np.median(parts, axis=1), parts.max(axis=1)
    if len(rest):
        medians, largest = np.append(medians, np.median(rest)), np.append(largest, rest.max())
    return medians, largest


def _ms(values: NDArray[np.generic]) -> list[float]:
    return [float(f"{value / 1e6:.5g}") for value in values.tolist()]
