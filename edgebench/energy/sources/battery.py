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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgebench.energy.source import EnergySource, NoEnergy, Rail, Sample
from edgebench.energy.sources._chips import forbidden
from edgebench.energy.sources._registers import Register, open_all
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


class Battery(EnergySource):
    name = "battery"
    kind = "measured_rail"
    quantity = "power"
    scope = "whole machine, from its battery"

    def __init__(
        self, gauges: Sequence[Gauge], clock_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self.total_rail = " + ".join(gauge.name for gauge in gauges)
        self.period_s = self.latency_s = max(gauge.period_s for gauge in gauges)
        self.resolution = sum(gauge.step_w for gauge in gauges)
        self.caveats = _caveats(self.period_s)
        self._clock_ns = clock_ns
        self._gauges = [(gauge, [Register(path) for path in gauge.files]) for gauge in gauges]

    def open(self) -> None:
        open_all((register, True) for _, registers in self._gauges for register in registers)

    def sample(self) -> Sample:
        """The sum; without a value as soon as one battery does not discharge."""
        start_ns = self._clock_ns()
        values = [_watts(gauge, registers) for gauge, registers in self._gauges]
        known = [value for value in values if value is not None]
        total = sum(known) if len(known) == len(values) else None
        return Sample(start_ns, self._clock_ns(), total)

    def rails(self) -> list[Rail]:
        return [
            Rail(gauge.name, _watts(gauge, registers), True) for gauge, registers in self._gauges
        ]

    def close(self) -> None:
        for _, registers in self._gauges:
            for register in registers:
                register.close()


def _caveats(period_s: float) -> tuple[str, ...]:
    return (
        "a battery's gauge states no accuracy: uncertainty does not include it",
        f"how often the gauge updates is not told: {period_s:g} s are assumed, so that only long windows have an energy",
        "display, radio and charger electronics are in it: compare it within one machine only",
    )


def _watts(gauge: Gauge, registers: Sequence[Register]) -> float | None:
    """What flows out of a battery now; None on the charger, where that is not what the machine draws."""
    values = [register.read() for register in registers]
    if None in values or proc_files.read(gauge.status) != _DISCHARGING:
        return None
    if gauge.power:
        return abs(values[0] or 0) * _MICRO
    return abs((values[0] or 0) * (values[1] or 0)) * _PICO


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


def find(
    machine: Machine, clock_ns: Callable[[], int] = time.monotonic_ns
) -> Battery | NoEnergy | None:
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
