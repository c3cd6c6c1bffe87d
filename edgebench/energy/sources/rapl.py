"""RAPL of Intel and AMD processors through powercap: counters of microjoules that wrap.

The whole is the packages and, where the processor counts it apart, their memory. `core` and `uncore`
are parts of their package; `psys` (the platform) contains the packages: it is shown, never added.
`intel-rapl-mmio` shows the same package again. The kernel's perf counter of the same name is not used:
a virtual machine may offer one that stands still.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgebench.energy.source import EnergySource, NoEnergy, Rail, Sample
from edgebench.energy.sources._chips import forbidden
from edgebench.energy.sources._counter import Counter
from edgebench.energy.sources._registers import Register, open_all, total
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


class Rapl(EnergySource):
    name = "rapl"
    kind = "vendor_counter"
    quantity = "energy"
    caveats = ("vendors state no accuracy for RAPL: uncertainty does not include it",)

    def __init__(
        self, zones: Sequence[Zone], clock_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        counted = [zone for zone in zones if zone.counted]
        with_memory = any(zone.name.endswith("dram") for zone in counted)
        self.scope = "package + dram" if with_memory else "package"
        self.total_rail = " + ".join(zone.name for zone in counted)
        self.period_s = _PERIOD_S
        self.resolution = _STEP_J * len(counted)
        self._zones = [(zone, Register(zone.energy)) for zone in zones]
        self._clock_ns = clock_ns
        self._counters: list[tuple[Zone, Register, Counter]] = []

    def open(self) -> None:
        open_all((register, zone.counted) for zone, register in self._zones)
        self._counters = [
            (zone, register, Counter(_UNIT_J, zone.range_uj, _MAX_W, _SLACK_S))
            for zone, register in self._zones
        ]
        self.rails()  # joules are counted from each counter's first value

    def sample(self) -> Sample:
        start_ns = self._clock_ns()
        joules = total(
            [
                counter.advance(register.read(), start_ns)
                for zone, register, counter in self._counters
                if zone.counted
            ]
        )
        return Sample(start_ns, self._clock_ns(), joules)

    def rails(self) -> list[Rail]:
        return [
            Rail(zone.name, counter.advance(register.read(), self._clock_ns()), zone.counted)
            for zone, register, counter in self._counters
        ]

    @property
    def problem(self) -> str:
        lost = [(zone, counter.lost) for zone, _, counter in self._counters if counter.lost]
        return "; ".join(f"{zone.name} {why}" for zone, why in lost if zone.counted)

    def close(self) -> None:
        for _, register in self._zones:
            register.close()


def find(
    machine: Machine, clock_ns: Callable[[], int] = time.monotonic_ns
) -> Rapl | NoEnergy | None:
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
