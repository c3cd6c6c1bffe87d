"""The energy of a window: joules with the parts of their uncertainty, or a refusal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from edgebench.energy.error_budget import total
from edgebench.energy.source import EnergySource, Kind, Quantity, ReasonCode
from edgebench.record import EnergyUncertainty

#: Two free edges bound the relative error by 2*P*tau / (P*T) = 2 / updates: 2 % at 100.
MIN_UPDATES = 100
#: The stretch between a counter's ticks must be this much of the window that it speaks for.
MIN_COVERED = 0.5
#: More of a window than this share without readings: refused.
MAX_MISSING = 0.1
#: An interval between readings longer than so many usual ones is a gap, also without a failed read.
GAP_INTERVALS = 4.0
#: What is asked where power is less than nothing.
WRONG_WAY = "is the meter connected the wrong way round?"


@dataclass(frozen=True, kw_only=True)
class SourceFacts:
    """The facts of a source, without the source itself."""

    name: str
    kind: Kind
    quantity: Quantity
    scope: str
    total_rail: str
    period_s: float
    resolution: float
    averages: bool = False
    gain_error: float = 0.0
    offset_w: float = 0.0
    latency_s: float = 0.0
    calm_s: float = 0.0

    @classmethod
    def of(cls, source: EnergySource) -> SourceFacts:
        return cls(**{field.name: getattr(source, field.name) for field in fields(cls)})


#: What integration must know of a source.
Facts = EnergySource | SourceFacts


@dataclass(frozen=True)
class WindowEnergy:
    """Energy between `start_ns` and `end_ns` of the monotonic clock.

    For a power meter that is the window asked for; for a counter it is the longest stretch inside
    it that starts and ends on observed ticks.
    """

    energy_j: float
    uncertainty: EnergyUncertainty  # in joules of the window
    start_ns: int
    end_ns: int
    updates: int  # of the meter within it
    gaps: int  # failed or missing reads that were bridged

    @property
    def window_s(self) -> float:
        return (self.end_ns - self.start_ns) / 1e9

    @property
    def average_w(self) -> float:
        return self.energy_j / self.window_s

    @property
    def uncertainty_j(self) -> float:
        return total(self.uncertainty)


@dataclass(frozen=True)
class Refused:
    """Why a window has no energy; `needed_s` is the length it would have had to have, if that is
    the reason."""

    reason: ReasonCode
    detail: str
    needed_s: float | None = None


def refuse_without_power(energy: WindowEnergy | Refused, total_rail: str) -> WindowEnergy | Refused:
    """The energy, refused where it is 0 or less: no machine at work draws that."""
    if isinstance(energy, Refused) or energy.energy_j > 0:
        return energy
    if energy.energy_j == 0:
        return Refused("counter_dead", f"{total_rail} stayed at 0 W")
    return Refused("counter_dead", f"{total_rail}: {energy.average_w:.3g} W; {WRONG_WAY}")


def flows_back(facts: Facts, watts: Mapping[str, float | None]) -> Refused | None:
    """The refusal where power flows back through a part of the total: the sum would look like a smaller one.

    `watts`: of each rail of the total. A meter may show a little less than nothing where nothing flows, by its offset and
    its smallest step.
    """
    if facts.quantity != "power":
        return None
    least_w = -(facts.offset_w + facts.resolution)
    for name, value in watts.items():
        if value is not None and value < least_w:
            return Refused(
                "counter_dead", f"{name}, of the total, shows {value:.3g} W; {WRONG_WAY}"
            )
    return None


def needed_between_ticks_s(period_s: float, edge_s: float) -> float:
    """Length of a window that is long enough wherever a counter's ticks fall in it.

    `period_s`: between two ticks. `edge_s`: how well the time of a tick is known.
    """
    return max(MIN_UPDATES * edge_s + 2 * period_s, 2 * period_s / (1 - MIN_COVERED))
