"""Looks at a meter for a while: every rail, and the energy of the time. Not for measuring: it runs in
this process, and takes windows that a result would refuse as too short.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from edgebench.energy.energy_window import (
    Refused,
    SourceFacts,
    WindowEnergy,
    flows_back,
    refuse_without_power,
)
from edgebench.energy.integrate import integrate
from edgebench.energy.sampler import poll_interval_s
from edgebench.energy.source import EnergySource, Quantity, Rail, Sample

_MIN_INTERVAL_S = 0.002
_READINGS = 250  # of a short look
_RAILS_S = 0.1  # between two readings of every rail
_NOW = 11  # readings of a counter that tell its power now: those of a second
_MAX_LEAD_S = 1.0
_MAX_MISSING = 0.5  # a busy machine may keep this process waiting


@dataclass(frozen=True)
class RailPower:
    """Power of a rail in watts, over the whole time and over its end; None where it is not known."""

    name: str
    w: float | None
    now_w: float | None
    counted: bool


@dataclass
class _RailSeries:
    counted: bool
    values: list[tuple[int, float]] = field(default_factory=list)  # ns, watts or joules

    def mean_w(self, quantity: Quantity, last: int = 0) -> float | None:
        """Mean power of the `last` readings, of all where it is 0."""
        values = self.values[-last:]
        if quantity == "power":
            return sum(v for _, v in values) / len(values) if values else None
        if len(values) < 2:
            return None
        (first_ns, first_j), (last_ns, last_j) = values[0], values[-1]
        return (last_j - first_j) / ((last_ns - first_ns) / 1e9) if last_j > first_j else None


class Watch:
    """An open source, read until the watch ends."""

    def __init__(
        self, source: EnergySource, clock_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._source = source
        self._clock_ns = clock_ns
        self._samples: list[Sample] = []
        self._rails: dict[str, _RailSeries] = {}
        self._facts = SourceFacts.of(source)
        self._lead_s = min(2 * source.period_s, _MAX_LEAD_S)
        self._start_ns = clock_ns()

    def run(
        self,
        seconds: float,
        show: Callable[[], None] = lambda: None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Reads for `seconds` and a little before and after; calls `show` ten times a second."""
        interval_s = min(poll_interval_s(self._source), max(seconds / _READINGS, _MIN_INTERVAL_S))
        begin_ns = self._clock_ns()
        self._start_ns = begin_ns + round(self._lead_s * 1e9)
        end_ns = self._start_ns + (seconds + self._lead_s) * 1e9
        shown_ns = 0
        while (now_ns := self._clock_ns()) < end_ns:
            self._samples.append(self._source.sample())
            if now_ns - shown_ns >= _RAILS_S * 1e9:
                self._add(self._source.rails())
                shown_ns = now_ns
                show()
            sleep(interval_s)
        self._samples.append(self._source.sample())
        self._add(self._source.rails())

    def _add(self, rails: Sequence[Rail]) -> None:
        at_ns = self._clock_ns()
        for rail in rails:
            series = self._rails.setdefault(rail.name, _RailSeries(rail.counted))
            if rail.value is not None:
                series.values.append((at_ns, rail.value))

    def rails(self) -> list[RailPower]:
        return [
            RailPower(
                name,
                series.mean_w(self._facts.quantity),
                series.mean_w(self._facts.quantity, 1 if self._facts.quantity == "power" else _NOW),
                series.counted,
            )
            for name, series in self._rails.items()
        ]

    def energy(self, seconds: float) -> WindowEnergy | Refused:
        """Energy of the first `seconds`, or why there is none."""
        if seconds <= 0:
            return Refused("window_too_short", "it was stopped before the window began")
        end_ns = self._start_ns + round(seconds * 1e9)
        if self._facts.quantity == "energy":
            energy = integrate(self._samples, self._facts, self._start_ns, end_ns)
        else:
            energy = self._of_power(end_ns)
        if self._source.problem:
            return Refused("read_failed", self._source.problem)
        counted = {rail.name: rail.w for rail in self.rails() if rail.counted}
        judged = refuse_without_power(energy, self._facts.total_rail)
        return judged if isinstance(judged, Refused) else flows_back(self._facts, counted) or judged

    def _of_power(self, end_ns: int) -> WindowEnergy | Refused:
        """However few the updates: what they leave open is in the uncertainty."""
        from edgebench.energy.trapezoid import integrate_power

        return integrate_power(
            self._samples,
            self._facts,
            self._start_ns,
            end_ns,
            min_updates=0,
            max_missing=_MAX_MISSING,
        )

    def elapsed_s(self) -> float:
        return max(0.0, (self._clock_ns() - self._start_ns) / 1e9)
