"""INA238 at the input of a Jetson Thor: `power1_input`, in microwatts, without a label.

It measures all that hangs behind its shunt: module and carrier board, which NVML and the module's
INA3221 do not.
"""

from __future__ import annotations

import time
from pathlib import Path

from edgebench.energy.source import ClockNs, NoEnergy
from edgebench.energy.sources._boards import constants
from edgebench.energy.sources._chips import forbidden, hwmon_chips, unknown_total
from edgebench.energy.sources._registers import RegisterRail, RegisterSource
from edgebench.energy.sources.ina3221 import set_bounds
from edgebench.probes import proc_files
from edgebench.probes.machine import Machine

_W_PER_UW = 1e-6
_RAIL = "VIN"
_POWER = "power1_input"
_MIN_SHUNT_UOHM = 1000  # where the driver does not tell


class Ina238(RegisterSource):
    name = "ina238"
    kind = "measured_rail"
    quantity = "power"
    averages = True
    scope = "module + carrier board input"
    total_rail = _RAIL

    def __init__(self, folder: Path, clock_ns: ClockNs = time.monotonic_ns) -> None:
        super().__init__([RegisterRail(_RAIL, [folder / _POWER], True, _W_PER_UW)], clock_ns)
        chip = constants().chips["ina238"]
        shunt_uohm = proc_files.read_int(folder / "shunt_resistor") or _MIN_SHUNT_UOHM
        self.period_s, self.latency_s = chip.period_s, chip.latency_s
        set_bounds(self, chip, [(shunt_uohm, proc_files.read_int(folder / "in1_input"))])


def is_input(machine: Machine) -> bool:
    """Whether the chip measures the input of the board: on a Thor. Elsewhere its place is unknown."""
    return "thor" in (machine.board() or "").lower()


def find(machine: Machine, clock_ns: ClockNs = time.monotonic_ns) -> Ina238 | NoEnergy | None:
    """The chip at the input of a Thor; None where there is none. On another board it is any chip of hwmon."""
    folders = [
        folder
        for name, folder in hwmon_chips(machine)
        if name == "ina238" and (folder / _POWER).exists()
    ]
    if not folders or not is_input(machine):
        return None
    if len(folders) > 1:
        return unknown_total(f"INA238 on {machine.board()}:", [f.name for f in folders])
    return forbidden(machine, folders[0] / _POWER) or Ina238(folders[0], clock_ns)
