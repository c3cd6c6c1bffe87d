"""Holds what the sources that read /sys share: chips by their name, never by their number, and refusals."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

from edgebench.energy.source import NoEnergy
from edgebench.probes import proc_files
from edgebench.probes.machine import Machine

# The same folder is reachable in several ways; a copied tree may hold any of them, as links or not.
_PLACES = (
    "sys/class/hwmon/hwmon[0-9]*",
    "sys/bus/i2c/drivers/*/[0-9]*-[0-9a-f]*/hwmon/hwmon[0-9]*",
    "sys/bus/i2c/devices/[0-9]*-[0-9a-f]*/hwmon/hwmon[0-9]*",
    "sys/devices/platform/*/i2c-[0-9]*/[0-9]*-[0-9a-f]*/hwmon/hwmon[0-9]*",
    "sys/devices/platform/*/*/i2c-[0-9]*/[0-9]*-[0-9a-f]*/hwmon/hwmon[0-9]*",
    "sys/devices/platform/*/hwmon/hwmon[0-9]*",
)

_FORBIDDEN = {os.strerror(code).lower() for code in (errno.EACCES, errno.EPERM)}


def hwmon_chips(machine: Machine) -> list[tuple[str, Path]]:
    """Name and folder of every chip, each once (a machine gives each a number of its own), in the order
    of their places on the bus."""
    chips: dict[str, tuple[str, str, Path]] = {}
    for place in _PLACES:
        for folder in machine.glob(place):
            if name := proc_files.read(folder / "name"):
                chips.setdefault(folder.name, (os.path.realpath(folder), name, folder))
    return [(name, folder) for _, name, folder in sorted(chips.values())]


def forbidden(machine: Machine, path: Path) -> NoEnergy | None:
    """The reason why this user may not read the file; None if nothing forbids it (it may be busy or off)."""
    problem = proc_files.problem(path)
    if problem not in _FORBIDDEN:
        return None
    name = f"/{path.relative_to(machine.root)}"  # as its own machine calls it
    return NoEnergy("permission_denied", f"{name}: {problem}", f"sudo chmod a+r {name}")


def unknown_total(meter: str, labels: Sequence[str], total: Sequence[str] = ()) -> NoEnergy:
    """The refusal if no rule gives the total, as rails may contain each other. `total`: rails of devices.yaml."""
    if total:
        return NoEnergy(
            "no_sensor",
            f"devices.yaml sums {' + '.join(total)}, and {meter} has {', '.join(labels)}",
            "correct energy_total in devices.yaml",
        )
    return NoEnergy(
        "no_sensor",
        f"{meter} rails {', '.join(labels)}: no rule says which of them make the whole",
        "name them in devices.yaml: energy_total: [RAIL, ...]",
    )
