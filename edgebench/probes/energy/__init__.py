"""The seam between edgebench and a meter.

An `EnergySource` reads one meter; one file beside this one will hold one source. `find_source` picks
the source of a machine or says why there is none, and `measure_unavailable` writes that into a
record. This version ships no source yet: wherever it runs, energy is unavailable, with the reason.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from edgebench.probes.energy.meters import find_meters
from edgebench.probes.files import LIVE
from edgebench.probes.machine import Machine, Runner
from edgebench.probes.virtualisation import detect
from edgebench.record import Energy

#: What a value is: read by a meter outside the device, at a rail on it, from a counter of the
#: vendor's own, or computed from a model. Values of different kinds are never compared.
Kind = Literal["measured_external", "measured_rail", "vendor_counter", "modelled"]

#: Why there is no value. Stable: they stand in records.
ReasonCode = Literal[
    "no_sensor",
    "permission_denied",
    "counter_dead",
    "virtualised",
    "window_too_short",
    "not_supported_yet",
]


@dataclass(frozen=True)
class Sample:
    """One read of a meter. `value` is None where the read failed: a gap, never zero.

    `start_ns` and `end_ns` are the monotonic clock before and after the read. `value` is in watts
    where the source's quantity is "power"; where it is "energy", it is in joules since `open`, with
    wrap-around of the meter's own counter already undone.
    """

    start_ns: int
    end_ns: int
    value: float | None


class EnergySource(ABC):
    """A meter that can be read here. Lives in a helper process, never in the measured one.

    `open` once, `sample` as often as `period_s` asks for, `close` once.
    """

    name: ClassVar[str]
    kind: ClassVar[Kind]
    quantity: ClassVar[Literal["power", "energy"]]
    scope: str  # what the value covers: "module input VDD_IN", "package-0 + dram", ...
    period_s: float  # time between the meter's own updates
    resolution: float  # smallest step of `Sample.value`

    @abstractmethod
    def open(self) -> None:
        """Opens files or devices and keeps them open. Raises OSError where that fails."""

    @abstractmethod
    def sample(self) -> Sample:
        """Reads the total of the scope once. A failed read is a sample without a value."""

    @abstractmethod
    def close(self) -> None:
        """Releases what `open` took. May be called twice."""


@dataclass(frozen=True)
class NoEnergy:
    """Why no source can be used."""

    reason: ReasonCode
    detail: str


def find_source(
    root: Path = LIVE, run: Runner | None = None, platform: str | None = None
) -> EnergySource | NoEnergy:
    """The source that fits the machine below `root`, or why none does. Reads no meter.

    `run` and `platform` are for tests.
    """
    machine = Machine.at(root, run, platform)
    meters = find_meters(machine)
    readable = [meter for meter in meters if not meter.problem]
    if readable:
        names = ", ".join(meter.name for meter in readable)
        return NoEnergy(
            "not_supported_yet", f"{names} found, but this version reads no energy meter"
        )
    if meters:
        return NoEnergy(
            "permission_denied", "; ".join(f"{meter.name}: {meter.problem}" for meter in meters)
        )
    return _no_meter(machine)


def measure_unavailable(
    root: Path = LIVE, run: Runner | None = None, platform: str | None = None
) -> Energy:
    """The energy part of a record where nothing was measured: the reason, never a number."""
    found = find_source(root, run, platform)
    if isinstance(found, EnergySource):
        return Energy(status="unavailable", reason="not_supported_yet", detail=found.name)
    return Energy(status="unavailable", reason=found.reason, detail=found.detail)


def _no_meter(machine: Machine) -> NoEnergy:
    found = detect(machine)
    if not found.virtual:
        return NoEnergy(
            "no_sensor", "no RAPL, INA3221, INA238, hwmon, battery or GPU meter in /sys"
        )
    # Some hypervisors show a RAPL performance counter that opens and stays at zero.
    phantom = (machine.root / "sys/bus/event_source/devices/power").exists()
    detail = f"no_sensor: a virtual machine without a meter ({found.evidence})"
    return NoEnergy(
        "virtualised",
        detail + ("; its perf RAPL counter is not to be trusted" if phantom else ""),
    )
