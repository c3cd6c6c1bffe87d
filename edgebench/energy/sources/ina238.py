"""INA238 at the input of a Jetson Thor: `power1_input`, in microwatts, without a label.

It measures all that hangs behind its shunt: module and carrier board, which NVML and the module's
INA3221 do not.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from edgebench.energy.source import EnergySource, NoEnergy, Rail, Sample
from edgebench.energy.sources._boards import constants
from edgebench.energy.sources._chips import forbidden, hwmon_chips, unknown_total
from edgebench.energy.sources._registers import Register, scaled
from edgebench.energy.sources.ina3221 import shunt_watts
from edgebench.probes import proc_files
from edgebench.probes.machine import Machine

_W_PER_UW = 1e-6
_RAIL = "VIN"
_MIN_SHUNT_UOHM = 1000  # where the driver does not tell


class Ina238(EnergySource):
    name = "ina238"
    kind = "measured_rail"
    quantity = "power"
    averages = True
    scope = "module + carrier board input"
    total_rail = _RAIL

    def __init__(self, folder: Path, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        chip = constants().chips["ina238"]
        shunt_uohm = proc_files.read_int(folder / "shunt_resistor") or _MIN_SHUNT_UOHM
        millivolts = proc_files.read_int(folder / "in1_input")
        self.period_s, self.latency_s = chip.period_s, chip.latency_s
        self.resolution = shunt_watts(chip.step_uv, shunt_uohm, millivolts)
        self.offset_w = shunt_watts(chip.offset_uv, shunt_uohm, millivolts)
        self.gain_error = chip.gain_error
        self._clock_ns = clock_ns
        self._power = Register(folder / "power1_input")

    def open(self) -> None:
        self._power.open()

    def sample(self) -> Sample:
        start_ns = self._clock_ns()
        watts = scaled(self._power.read(), _W_PER_UW)
        return Sample(start_ns, self._clock_ns(), watts)

    def rails(self) -> list[Rail]:
        return [Rail(_RAIL, scaled(self._power.read(), _W_PER_UW), True)]

    def close(self) -> None:
        self._power.close()


def is_input(machine: Machine) -> bool:
    """Whether the chip measures the input of the board: on a Thor. Elsewhere its place is unknown."""
    return "thor" in (machine.board() or "").lower()


def find(
    machine: Machine, clock_ns: Callable[[], int] = time.monotonic_ns
) -> Ina238 | NoEnergy | None:
    """The chip at the input of a Thor; None where there is none. On another board it is any chip of hwmon."""
    folders = [
        folder
        for name, folder in hwmon_chips(machine)
        if name == "ina238" and (folder / "power1_input").exists()
    ]
    if not folders or not is_input(machine):
        return None
    if len(folders) > 1:
        return unknown_total(f"INA238 on {machine.board()}:", [f.name for f in folders])
    return forbidden(machine, folders[0] / "power1_input") or Ina238(folders[0], clock_ns)
