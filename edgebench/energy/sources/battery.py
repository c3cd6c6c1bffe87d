"""A laptop's or a phone's battery: the power that its gauge says flows out of it.

`power_now` (uW) where the gauge tells it, else `current_now` (uA) times `voltage_now` (uV). Whether a current that
discharges is negative differs from driver to driver, so that the sign is not used: the battery's `status` says which way it
flows, and is asked with every value. On a charger nothing here says what the machine draws.

Taken only where devices.yaml asks for it: a gauge is so slow that windows have to be long.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgebench.energy.source import ClockNs, NoEnergy
from edgebench.energy.sources._chips import forbidden
from edgebench.energy.sources._registers import RegisterRail, RegisterSource
from edgebench.probes import proc_files
from edgebench.probes.machine import Machine
from edgebench.probes.snapshot import feeds_a_device

_DISCHARGING = "Discharging"
_MICRO, _PICO = 1e-6, 1e-12
_STEP_W, _STEP_A = 0.001, 0.001  # gauges and firmware tell whole milliwatts or milliamperes
#: Between two values, where the driver's name says what the gauge is: a smart battery measures every second.
_SMART_PREFIX, _SMART_PERIOD_S = "sbs-", 1.0
#: Else: firmware asks a gauge within seconds to half a minute, and nothing tells how often.
_PERIOD_S = 30.0


@dataclass(frozen=True)
class Gauge:
    """One battery's files. `power` where it is told, else `current`; `voltage` beside it."""

    name: str
    status: Path
    voltage: Path
    power: Path | None
    current: Path | None

    @property
    def files(self) -> tuple[Path, ...]:
        """Those that make a value; none where the gauge tells too little."""
        if self.power:
            return (self.power,)
        return (self.current, self.voltage) if self.current and self.voltage.exists() else ()

    @property
    def period_s(self) -> float:
        """How often it may update, at worst."""
        return _SMART_PERIOD_S if self.name.startswith(_SMART_PREFIX) else _PERIOD_S

    @property
    def step_w(self) -> float:
        """The smallest step of its power at the voltage now."""
        return (
            _STEP_W if self.power else _STEP_A * (proc_files.read_int(self.voltage) or 0) * _MICRO
        )


class Battery(RegisterSource):
    name = "battery"
    kind = "measured_rail"
    quantity = "power"
    scope = "whole machine, from its battery"

    def __init__(self, gauges: Sequence[Gauge], clock_ns: ClockNs = time.monotonic_ns) -> None:
        super().__init__([_BatteryRail(gauge) for gauge in gauges], clock_ns)
        self.total_rail = " + ".join(gauge.name for gauge in gauges)
        self.period_s = self.latency_s = max(gauge.period_s for gauge in gauges)
        self.resolution = sum(gauge.step_w for gauge in gauges)
        self.caveats = (
            "a battery's gauge states no accuracy: uncertainty does not include it",
            f"how often the gauge updates is not told: {self.period_s:g} s are assumed, so that only long windows have an energy",
            "display, radio and charger electronics are in it: compare it within one machine only",
        )


class _BatteryRail(RegisterRail):
    def __init__(self, gauge: Gauge) -> None:
        super().__init__(gauge.name, gauge.files, True, _MICRO if gauge.power else _PICO)
        self._status = gauge.status

    def read(self, at_ns: int) -> float | None:
        """What flows out of a battery now; None on the charger, where that is not what the machine draws."""
        watts = super().read(at_ns)
        if watts is None or proc_files.read(self._status) != _DISCHARGING:
            return None
        return abs(watts)


def gauges(machine: Machine) -> list[Gauge]:
    """The batteries that this machine can run from, and whose power can be told."""
    folders = [path.parent for path in machine.glob("sys/class/power_supply/*/type")]
    found = [_gauge(folder) for folder in folders if _is_machines(folder)]
    return [gauge for gauge in found if gauge.files]


def _is_machines(folder: Path) -> bool:
    kind, present = proc_files.read(folder / "type"), proc_files.read_int(folder / "present")
    return kind == "Battery" and present != 0 and not feeds_a_device(folder)


def _gauge(folder: Path) -> Gauge:
    power, current = folder / "power_now", folder / "current_now"
    return Gauge(
        folder.name,
        folder / "status",
        folder / "voltage_now",
        power if power.exists() and not _has_no_data(power) else None,
        current if current.exists() else None,
    )


def _has_no_data(path: Path) -> bool:
    """Whether the driver shows the file and its gauge does not know the value."""
    return proc_files.problem(path) == os.strerror(errno.ENODATA).lower()


def find(machine: Machine, clock_ns: ClockNs = time.monotonic_ns) -> Battery | NoEnergy | None:
    """The batteries of a machine that runs from them; None where it has none with a gauge.

    One that is empty or full while another feeds the machine is left out; on the charger there is no value.
    """
    found = gauges(machine)
    if not found:
        return None
    states = {gauge: proc_files.read(gauge.status) or "state unknown" for gauge in found}
    used = [gauge for gauge, state in states.items() if state == _DISCHARGING]
    if not used or "Charging" in states.values():
        listed = ", ".join(f"{gauge.name} ({state.lower()})" for gauge, state in states.items())
        return NoEnergy(
            "no_sensor",
            f"the machine does not run from its battery: {listed}; a charger hides what the machine draws",
            "unplug the charger for the time of the run",
        )
    for path in (path for gauge in used for path in gauge.files):
        if problem := forbidden(machine, path):
            return problem
    return Battery(used, clock_ns)
