"""Detects the end of a warm-up."""

from __future__ import annotations

from collections import deque
from statistics import median

#: Iterations compared with as many before them. Measured on ONNX Runtime, the first iteration is
#: about 60 % slower and the rest settle within 2 % after 3 to 6 iterations.
WINDOW = 5
TOLERANCE = 0.02


class SteadyDetector:
    """Detects when latency has stopped falling.

    Steady: the median of the last WINDOW iterations lies within TOLERANCE of the median of the WINDOW
    before, or above it: what gets slower is no longer warming up. Fluctuation wider than the
    tolerance is accepted where it is as wide within a window as between the two.
    """

    def __init__(self, window: int = WINDOW) -> None:
        self._window = window
        self._recent: deque[int] = deque(maxlen=2 * window)

    def add(self, latency_ns: int) -> bool:
        """Takes the next iteration's latency; True as soon as latency is steady."""
        self._recent.append(latency_ns)
        if len(self._recent) < 2 * self._window:
            return False
        values = list(self._recent)
        before, after = values[: self._window], values[self._window :]
        fall = median(before) - median(after)
        if fall <= TOLERANCE * median(after):
            return True
        return fall <= _spread(before) and fall <= _spread(after)


def _spread(values: list[int]) -> float:
    """Median absolute deviation."""
    middle = median(values)
    return float(median(abs(value - middle) for value in values))
