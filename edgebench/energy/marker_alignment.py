"""Finds the marker pulses of a run in a meter's log.

The pulses are a pattern of load at known times of the run's clock. The lag at which the log correlates
best with the pattern is the offset between the two clocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgebench.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

STEP_S = 0.005
#: Least correlation of pattern and power, and least lead over every other place in the log.
MIN_CORRELATION = 0.5
MAX_SECOND = 0.8
_APART_S = 0.5
#: Time zones differ by whole quarters of an hour, and by 26 hours at most.
_ZONE_STEP_S, _MAX_ZONE_S = 900.0, 26 * 3600.0
_MAX_GRID = 50_000_000  # points at which power and pattern are compared


@dataclass(frozen=True)
class Alignment:
    """The offset to add to a log's times, and its error."""

    offset_s: float
    error_s: float
    correlation: float


def align(
    times_s: Floats, watts: Floats, pulses_s: Sequence[tuple[float, float]], what: str
) -> Alignment:
    """The offset from the pattern of pulses (start and end by the run's clock, in seconds).

    Raises UsageError, saying of `what`, where no place or more than one fits.
    """
    step_s = max(STEP_S, float(np.median(np.diff(times_s))))
    if (times_s[-1] - times_s[0]) / step_s > _MAX_GRID:
        raise UsageError(
            f"{what}: the log goes from {times_s[0]:.0f} s to {times_s[-1]:.0f} s, too long to look for "
            "markers in it",
            "cut it to the time of the run",
        )
    grid_s = np.arange(times_s[0], times_s[-1], step_s)
    known = np.isfinite(watts)
    power = np.interp(grid_s, times_s[known], watts[known])
    first_s = pulses_s[0][0]
    pattern, mask = _pattern([(a - first_s, b - first_s) for a, b in pulses_s], step_s)
    if len(pattern) > len(power):
        raise UsageError(
            f"{what}: the log is shorter ({grid_s[-1] - grid_s[0]:.1f} s) than the run's markers "
            f"({len(pattern) * step_s:.1f} s)"
        )
    score = _correlation(power, pattern, mask)
    best = int(score.argmax())
    apart = np.abs(np.arange(len(score)) - best) * step_s > _APART_S
    second = float(score[apart].max(initial=0.0))
    if score[best] < MIN_CORRELATION or second > MAX_SECOND * score[best]:
        raise UsageError(
            f"{what}: the markers of the run do not stand out in the log (correlation "
            f"{score[best]:.2f}, next best {second:.2f})",
            "give the offset of the clocks with --offset-s N",
        )
    lead_s = _LEAD_S
    offset_s = first_s - lead_s - (grid_s[0] + (best + _peak(score, best)) * step_s)
    return Alignment(float(offset_s), 2 * step_s, float(score[best]))


def zone_shift_s(
    log_s: tuple[float, float], windows_s: Sequence[tuple[float, float]]
) -> float | None:
    """The seconds to add to a log's times so that it holds all windows, if two time zones differ by that; the
    least of them. None where it holds one already, or none would do. Both are given by start and end."""
    if not windows_s or any(log_s[0] < end and start < log_s[1] for start, end in windows_s):
        return None
    first, last = min(start for start, _ in windows_s), max(end for _, end in windows_s)
    lowest = np.ceil((last - log_s[1]) / _ZONE_STEP_S) * _ZONE_STEP_S
    highest = np.floor((first - log_s[0]) / _ZONE_STEP_S) * _ZONE_STEP_S
    nearest = float(lowest if lowest > 0 else highest)
    return nearest if lowest <= nearest <= highest and 0 < abs(nearest) <= _MAX_ZONE_S else None


_LEAD_S = 0.3  # quiet around a group of pulses is part of the pattern


def _pattern(pulses_s: Sequence[tuple[float, float]], step_s: float) -> tuple[Floats, Floats]:
    """The pulses on a grid, each group with mean 0 and nothing between groups; and where groups are."""
    size = int((pulses_s[-1][1] + 2 * _LEAD_S) / step_s) + 1
    at_s = np.arange(size) * step_s - _LEAD_S
    pattern, mask = np.zeros(size), np.zeros(size)
    for start_s, end_s in pulses_s:
        pattern[(at_s >= start_s) & (at_s < end_s)] = 1.0
        mask[(at_s >= start_s - _LEAD_S) & (at_s < end_s + _LEAD_S)] = 1.0
    edges = np.flatnonzero(np.diff(np.concatenate(([0.0], mask, [0.0]))))
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        pattern[first:last] -= pattern[first:last].mean()
    return pattern, mask


def _correlation(power: Floats, pattern: Floats, mask: Floats) -> Floats:
    """Pearson's correlation of the pattern with the power, where the mask is, at every lag."""
    power = power - power.mean()
    count = mask.sum()
    mean = _slide(power, mask) / count
    variance = np.maximum(_slide(power**2, mask) / count - mean**2, 0.0)
    scale = np.sqrt(variance * count * (pattern**2).sum())
    floor = 1e-9 * float(scale.max(initial=0.0)) + 1e-30
    correlation: Floats = _slide(power, pattern) / np.maximum(scale, floor)
    return correlation


def _slide(series: Floats, kernel: Floats) -> Floats:
    """Sum of products at every lag at which the kernel lies inside the series, by FFT."""
    size = 1 << (len(series) + len(kernel) - 1).bit_length()
    spectrum = np.fft.rfft(series, size) * np.conj(np.fft.rfft(kernel, size))
    products: Floats = np.fft.irfft(spectrum, size)[: len(series) - len(kernel) + 1]
    return products


def _peak(score: Floats, best: int) -> float:
    """Returns the place of the maximum between grid steps: the vertex of a parabola."""
    if not 0 < best < len(score) - 1:
        return 0.0
    left, middle, right = score[best - 1 : best + 2]
    curvature = left - 2 * middle + right
    return 0.0 if curvature >= 0 else float((left - right) / (2 * curvature))
