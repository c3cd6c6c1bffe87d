"""The seam between edgebench and a meter: one `EnergySource` per file beside this one.

A source reads one meter, knows no window and no statistics, and runs in a helper process, never in
the measured one. What its samples mean is stated as data: the kind of value, what it covers, how
often the meter updates, and how far its values may be off.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

#: What a value is: read by a meter outside the device, at a rail on it, from a counter of the
#: vendor's own, or computed from a model. Values of different kinds are never compared.
Kind = Literal["measured_external", "measured_rail", "vendor_counter", "modelled"]

#: "power": a sample is the watts at one moment (or the mean of the meter's last period, see
#: `EnergySource.averages`). "energy": a sample is joules since `open`.
Quantity = Literal["power", "energy"]

#: A clock in nanoseconds that only goes forward.
ClockNs = Callable[[], int]

#: Why there is no value. Stable: they stand in records.
ReasonCode = Literal[
    "no_sensor",
    "permission_denied",
    "counter_dead",
    "virtualised",
    "window_too_short",
    "read_failed",
]


@dataclass(frozen=True)
class Rail:
    """One rail of a meter as read once. `value` in the source's quantity (watts or joules since
    `open`); None where the read failed. `counted`: the total of the scope contains it."""

    name: str
    value: float | None
    counted: bool


class Sample(NamedTuple):
    """One read of a meter. `value` is None where the read failed: a gap, never zero.

    `start_ns` and `end_ns` are the monotonic clock before and after the read. `value` is in watts
    where the source's quantity is "power"; where it is "energy", it is in joules since `open`, with
    wrap-around of the meter's own counter already undone.
    """

    start_ns: int
    end_ns: int
    value: float | None


@dataclass(frozen=True)
class NoEnergy:
    """No source can be used, and why."""

    reason: ReasonCode
    detail: str
    fix: str = ""


class EnergySource(ABC):
    """A meter that can be read here. `open` once, `sample` as often as `period_s` asks for, `close`
    once. Instances are picklable before `open`: a helper process opens them."""

    name: ClassVar[str]  # "ina3221", "rapl", ...
    kind: Kind
    quantity: Quantity
    averages: bool = False  # power: a value is the mean since the meter's last update
    caveats: tuple[str, ...] = ()  # what no number here says: for people, and for the record
    scope: str  # what the value covers: "module input", "package + dram", ...
    total_rail: str  # the rails that were summed: "VDD_IN", "VDD_GPU_SOC + VDD_CPU_CV + ..."
    period_s: float  # time between the meter's own updates
    calm_s: float = 0.0  # power need not be looked at more often than this
    resolution: float  # smallest step of `Sample.value`, in its unit, at the values seen
    gain_error: float = 0.0  # bound of the error that grows with the value, as a share of it
    offset_w: float = 0.0  # bound of the constant error, watts
    latency_s: float = 0.0  # bound of the age of a value when it is new, beyond `period_s`
    load_rails: tuple[str, ...] = ()  # rails that must advance when the processor is busy
    _clock_ns: ClockNs

    @abstractmethod
    def open(self) -> None:
        """Opens files or devices and keeps them open. Raises OSError where that fails."""

    def sample(self) -> Sample:
        """Reads the total of the scope once. A failed read is a sample without a value."""
        start_ns = self._clock_ns()
        value = total([rail.value for rail in self.rails() if rail.counted])
        return Sample(start_ns, self._clock_ns(), value)

    @abstractmethod
    def rails(self) -> list[Rail]:
        """Reads every rail once, those outside the total included: for people to look at."""

    @property
    def problem(self) -> str:
        """Why samples have no value any more, "" as long as they may have one.

        A counter that was set back, or may have wrapped unseen, missed an unknown amount: from then
        on every sample is without a value, until the source is opened again.
        """
        return ""

    @abstractmethod
    def close(self) -> None:
        """Releases what `open` took. May be called twice."""


def total(values: Sequence[float | None]) -> float | None:
    """The sum, unknown where any part is: what is left of a sum is not a smaller sum."""
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def not_opened(source: EnergySource, error: OSError) -> NoEnergy:
    """The refusal for a source that was found but cannot be opened."""
    denied = isinstance(error, PermissionError)
    reason: ReasonCode = "permission_denied" if denied else "read_failed"
    return NoEnergy(reason, f"{source.name}: {error.strerror or error}")
