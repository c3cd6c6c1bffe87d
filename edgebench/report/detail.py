"""The samples of a row, condensed to what a chart can show: a page holds thousands of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgebench.record import Record, Replicate, StateCheck
from edgebench.report.model import Band, Detail, Histogram, Process
from edgebench.report.text import plain

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
    """What is kept of a replicate while a report is built."""

    index: int
    samples_ns: Samples
    warmup_s: float
    steady: bool
    disturbed: tuple[str, ...]


def traces(record: Record) -> list[Trace]:
    """The measured windows of a record's replicates that are ok and have samples."""
    return [
        Trace(
            replicate.index,
            np.array(replicate.samples_ns, dtype=np.int64),
            replicate.warmup.duration_ns / 1e9 if replicate.warmup else 0.0,
            replicate.warmup.steady if replicate.warmup else True,
            _disturbances(replicate),
        )
        for replicate in record.replicates
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
    ranks = np.ceil(np.array(PROBABILITIES) * len(pooled)).astype(int) - 1
    return _ms(pooled[np.clip(ranks, 0, len(pooled) - 1)])


def _histogram(pooled: Samples) -> Histogram:
    """Bins up to the 99.5th percentile: one late sample must not flatten all others."""
    low = int(pooled[0])
    high = max(int(pooled[int(np.ceil(0.995 * len(pooled))) - 1]), low + 1)
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
    busy = sum(trace.warmup_s + float(trace.samples_ns.sum()) / 1e9 for trace in kept)
    now, processes, bands = 0.0, [], []
    for trace in kept:
        start = now + trace.warmup_s
        ends = np.cumsum(trace.samples_ns) / 1e9
        if trace.warmup_s:
            steady = "" if trace.steady else ", and the latency was not steady when it ended"
            words = f"process {trace.index}: warm-up of {trace.warmup_s:.3g} s{steady}"
            bands.append(_band("warm-up", now, start, words))
        if trace.disturbed:
            words = f"process {trace.index}: {'; '.join(trace.disturbed)}"
            bands.append(_band("disturbed", start, start + float(ends[-1]), words))
        processes.append(_process(trace, start, ends))
        now = start + float(ends[-1]) + _GAP * busy
    return processes, bands


def _band(kind: str, start: float, end: float, words: str) -> Band:
    return Band(
        kind="warm-up" if kind == "warm-up" else "disturbed",
        start_s=round(start, 4),
        end_s=round(end, 4),
        words=words,
    )


def _process(trace: Trace, start: float, ends: NDArray[np.float64]) -> Process:
    per_point = -(-len(ends) // _POINTS)
    cuts = range(0, len(ends), per_point)
    medians, largest = _binned(trace.samples_ns, per_point)
    return Process(
        index=trace.index,
        samples=len(ends),
        median_ms=_ms(np.array([np.median(trace.samples_ns)]))[0],
        start_s=round(start, 4),
        seconds_s=[round(start + float(ends[cut]), 4) for cut in cuts],
        median_of_bin_ms=_ms(medians),
        largest_of_bin_ms=_ms(largest),
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
