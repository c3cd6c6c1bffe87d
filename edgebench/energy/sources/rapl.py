"""RAPL of Intel and AMD processors through powercap: counters of microjoules that wrap.

The whole is the packages and, where the processor counts it apart, their memory. `core` and `uncore`
are parts of their package; `psys` (the platform) contains the packages: it is shown, never added.
`intel-rapl-mmio` shows the same package again. The kernel's perf counter of the same name is not used:
a virtual machine may offer one that stands still.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from edgebench.energy.source import ClockNs, NoEnergy
from edgebench.energy.sources._chips import forbidden
from edgebench.energy.sources._counter import Counter
from edgebench.energy.sources._registers import RegisterRail, RegisterSource
from edgebench.probes import proc_files
from edgebench.probes.machine import Machine

_UNIT_J = 1e-6
_STEP_J = 2.0**-14  # the processor's own unit: 61 uJ, finer on some
_PERIOD_S = 0.001
_MAX_W = 1000.0  # more than a package draws: tells a wrap from a counter that was set back
_SLACK_S = 1.0


@dataclass(frozen=True)
class Zone:
    """A counter of powercap. `name` is its own, behind its package's where it is a part of one."""

    name: str
    energy: Path
    range_uj: int | None
    counted: bool


class Rapl(RegisterSource):
    name = "rapl"
    kind = "vendor_counter"
    quantity = "energy"
    period_s = _PERIOD_S
    caveats = ("vendors state no accuracy for RAPL: uncertainty does not include it",)

    def __init__(self, zones: Sequence[Zone], clock_ns: ClockNs = time.monotonic_ns) -> None:
        rails = [
            RegisterRail(
                zone.name,
                [zone.energy],
                zone.counted,
                _UNIT_J,
                partial(Counter, _UNIT_J, zone.range_uj, _MAX_W, _SLACK_S),
            )
            for zone in zones
        ]
        super().__init__(rails, clock_ns)
        names = [rail.name for rail in self._counted]
        with_memory = any(name.endswith("dram") for name in names)
        self.scope = "package + dram" if with_memory else "package"
        self.total_rail = " + ".join(names)
        self.resolution = _STEP_J * len(names)


def find(machine: Machine, clock_ns: ClockNs = time.monotonic_ns) -> Rapl | NoEnergy | None:
    """The RAPL counters of a machine; None where it shows none."""
    zones = _zones(machine)
    counted = [zone for zone in zones if zone.counted]
    for zone in counted:
        if problem := forbidden(machine, zone.energy):
            return NoEnergy(
                "permission_denied",
                f"RAPL: {problem.detail} (root alone may read it since Linux 5.10: CVE-2020-8694)",
                "run as root, or until the next start: "
                "sudo chmod a+r /sys/class/powercap/*rapl*:*/energy_uj",
            )
    return Rapl(zones, clock_ns) if counted else None


def _zones(machine: Machine) -> list[Zone]:
    """Every counter once. Ids tell parts: "intel-rapl:0:1" is one of "intel-rapl:0"; the last part
    of an id need not be a number."""
    names: dict[str, str] = {}  # by id
    zones: dict[str, Zone] = {}  # by name
    paths = machine.glob("sys/class/powercap/*rapl*:*/energy_uj")
    for path in sorted(paths, key=lambda path: "mmio" in path.parent.name):
        identity = path.parent.name
        own = proc_files.read(path.parent / "name") or identity
        parent = names.get(identity.rpartition(":")[0])
        name = names[identity] = f"{parent}/{own}" if parent else own
        range_uj = proc_files.read_int(path.parent / "max_energy_range_uj") or None
        counted = own == "dram" or (parent is None and own.startswith("package"))
        zones.setdefault(name, Zone(name, path, range_uj, counted))
    return list(zones.values())
