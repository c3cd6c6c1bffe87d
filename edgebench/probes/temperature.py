"""Reads the temperature of the chip: the hottest sensor of CPU or GPU, in degrees Celsius.

Sensors of disks, radios and batteries are left out, and so are `acpitz`, the firmware's idea of the
case, which may read -44 degrees, and Jetsons' `PMIC-Die`. A power-gated engine answers EAGAIN and has
no temperature then.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgebench.probes import nvidia_clocks, proc_files
from edgebench.probes.machine import Machine, Nvml
from edgebench.probes.proc_files import LIVE
from edgebench.words import state_words as words

#: Sensors report nonsense below this; trip points that are off read 0 or about absolute zero.
COLDEST_C = -30.0
_OTHER_ZONES = re.compile(
    r"acpitz|iwlwifi|wifi|nvme|bat|charger|skin|pch_|ambient|pmic", re.IGNORECASE
)
#: Under JetPack 4 this zone reads 100 degrees, whatever the temperature.
DUMMY_ZONE = "PMIC-Die"
_CHIPS = frozenset({"coretemp", "k10temp", "zenpower", "cpu_thermal"})


@dataclass(frozen=True)
class Thermometer:
    """The sensors of a machine's chip, found once. Without any, `why_none` says so."""

    sensors: tuple[tuple[str, Path], ...]  # name and the file that holds millidegrees
    nvml: Any | None = None  # NVIDIA's management library, where its GPUs count as well
    why_none: str = ""

    @classmethod
    def find(
        cls,
        root: Path = LIVE,
        platform: str | None = None,
        nvml: Nvml | None = None,
        gpu_used: bool = False,
    ) -> Thermometer:
        """`gpu_used`: ask NVIDIA's GPUs as well, which loads a library into this process."""
        machine = Machine.at(root, platform=platform, nvml=nvml)
        if machine.macos:
            return cls((), why_none=words.NO_TEMPERATURE_ON_MACOS)
        sensors = (*_zones(machine), *_chips(machine))
        library = machine.nvml() if gpu_used and machine.nvidia else None
        none = not sensors and library is None
        return cls(sensors, library, words.NO_TEMPERATURE_SENSOR if none else "")

    @property
    def source(self) -> str:
        """The names of the sensors, or why there is none."""
        names = [*dict.fromkeys(name for name, _ in self.sensors)]
        return ", ".join([*names, *(["NVML"] if self.nvml is not None else [])]) or self.why_none

    def read(self) -> float | None:
        """The hottest sensor that answers with sense, or None."""
        readings = [proc_files.read_int(path) for _, path in self.sensors]
        known = [value / 1000 for value in readings if value is not None]
        gpus = nvidia_clocks.read(self.nvml) if self.nvml is not None else []
        known += [each.temperature_c for each in gpus if each.temperature_c is not None]
        return max((celsius for celsius in known if celsius >= COLDEST_C), default=None)


def _zones(machine: Machine) -> list[tuple[str, Path]]:
    zones = machine.glob("sys/class/thermal/thermal_zone[0-9]*")
    named = [(proc_files.read(zone / "type") or zone.name, zone / "temp") for zone in zones]
    return [(name, path) for name, path in named if not _OTHER_ZONES.search(name)]


def _chips(machine: Machine) -> list[tuple[str, Path]]:
    inputs = machine.glob("sys/class/hwmon/hwmon[0-9]*/temp[0-9]*_input")
    named = [(proc_files.read(path.parent / "name") or "", path) for path in inputs]
    return [(name, path) for name, path in named if name in _CHIPS]
