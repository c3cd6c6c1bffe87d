"""Energy: which source a machine has (`find_source`), or why there is none.

The seam is `source.EnergySource`; one file beside this one holds one source. This version ships no
source yet: wherever it runs, energy is unavailable, with the reason.
"""

from __future__ import annotations

from pathlib import Path

from edgebench.probes.energy.meters import find_meters
from edgebench.probes.energy.source import EnergySource, NoEnergy
from edgebench.probes.files import LIVE
from edgebench.probes.machine import Machine, Runner
from edgebench.probes.virtualisation import detect
from edgebench.record import Energy


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
        return NoEnergy("no_sensor", f"{names} found, but this version reads no energy meter")
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
        return Energy(status="unavailable", reason="no_sensor", detail=found.name)
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
