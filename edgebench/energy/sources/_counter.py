"""A counter of energy that wraps, or is set back, made into one that only grows."""

from __future__ import annotations

_NS = 1e-9


class Counter:
    """Sums up what a meter's counter advances by.

    A counter with a range starts again from 0 after `range_units`. Whether one that went back has
    wrapped or was set back (a driver loaded anew, a machine that slept) shows in the power that a
    wrap would mean: more than `most_w` is no wrap. What a counter missed is unknown, so that one that
    was set back, or that went unread long enough to wrap unseen, is lost from then on.
    """

    def __init__(
        self, unit_j: float, range_units: int | None, most_w: float, slack_s: float
    ) -> None:
        """`most_w`: more than the domain can draw. `slack_s`: the longest between two updates."""
        self._unit_j = unit_j
        self._range = range_units
        self._most_w = most_w
        self._slack_s = slack_s
        self._last: tuple[int, int] | None = None  # units, ns
        self._units = 0
        self.lost = ""  # why nothing is known any more

    def advance(self, units: int | None, at_ns: int) -> float | None:
        """Joules since the first value, or None where this read failed or the count is lost.

        After a failed read the next good one makes up for it: nothing was missed.
        """
        if units is None or self.lost:
            return None
        if self._last is None:
            self._last = (units, at_ns)
        before, before_ns = self._last
        step = units - before
        most = self._most_w * ((at_ns - before_ns) * _NS + self._slack_s) / self._unit_j
        if self._range is not None and most >= self._range:
            self.lost = f"unread for {(at_ns - before_ns) * _NS:.0f} s, it may have wrapped unseen"
        elif step < 0:
            wrapped = None if self._range is None else step + self._range
            if wrapped is None or not 0 <= wrapped <= most:
                self.lost = f"went back from {before} to {units}: it was set back"
            else:
                step = wrapped
        elif step > most:
            self.lost = f"leapt from {before} to {units}: more than {self._most_w:g} W"
        if self.lost:
            return None
        self._last = (units, at_ns)
        self._units += step
        return self._units * self._unit_j
