"""Chooses the energy source of a machine, or says why it has none."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgebench.energy.source import EnergySource, NoEnergy
from edgebench.energy.sources import (
    battery,
    hwmon,
    ina238,
    ina3221,
    ina3221_iio,
    ioreport,
    joulescope,
    nvml,
    pmic_read_adc,
    powermetrics,
    rapl,
)
from edgebench.errors import UsageError
from edgebench.probes.machine import Machine, Runner
from edgebench.probes.proc_files import LIVE
from edgebench.probes.virtualisation import detect
from edgebench.text.did_you_mean import did_you_mean

NONE = "none"  # a preference: measure no energy


@dataclass(frozen=True)
class Search:
    """Holds what a source needs to find out whether its meter exists."""

    machine: Machine
    total_rails: Sequence[str]
    clock_ns: Callable[[], int]


Find = Callable[[Search], "EnergySource | NoEnergy | None"]

#: Name -> how to find it; where several fit, the first is taken: the wider scope, the better meter.
SOURCES: dict[str, Find] = {
    "ina238": lambda at: ina238.find(at.machine, at.clock_ns),
    "ina3221": lambda at: ina3221.find(at.machine, at.total_rails, at.clock_ns),
    "ina3221_iio": lambda at: ina3221_iio.find(at.machine, at.total_rails, at.clock_ns),
    "pmic_read_adc": lambda at: pmic_read_adc.find(at.machine, at.clock_ns),
    "rapl": lambda at: rapl.find(at.machine, at.clock_ns),
    "hwmon": lambda at: hwmon.find(at.machine, at.total_rails, at.clock_ns),
    "nvml": lambda at: nvml.find(at.machine, at.clock_ns),
    "ioreport": lambda at: ioreport.find(at.machine, at.clock_ns),
    "powermetrics": lambda at: powermetrics.find(at.machine, at.clock_ns),
}
#: Those that sum the rails which the user names. The others have one total.
_OF_RAILS = ("ina3221", "ina3221_iio", "hwmon")
#: Those that are not looked for: an instrument may be connected to another device, and a battery's gauge makes windows
#: so long that nobody should meet them unasked.
ON_REQUEST: dict[str, Find] = {
    "battery": lambda at: battery.find(at.machine, at.clock_ns),
    "joulescope": lambda at: joulescope.find(at.clock_ns),
}


def check_name(name: str) -> None:
    """Raises UsageError for what devices.yaml may not name as its energy_source."""
    known = (*SOURCES, *ON_REQUEST, NONE)
    if name not in known:
        raise UsageError(
            f"no energy source {name!r}{did_you_mean(name, known)}", f"one of: {', '.join(known)}"
        )


def find_source(
    root: Path = LIVE,
    run: Runner | None = None,
    platform: str | None = None,
    *,
    preference: str | None = None,
    total_rails: Sequence[str] = (),
    clock_ns: Callable[[], int] = time.monotonic_ns,
) -> EnergySource | NoEnergy:
    """The source that fits the machine below `root`, or why none does. Not opened yet.

    `preference` and `total_rails` are the user's, from devices.yaml: the name of a source (no other is
    taken then, since one of another scope would be another quantity) or "none", and the rails that
    make the whole (a source with another total is not taken then). `run`, `platform` and `clock_ns`
    are for tests. Raises UsageError for an unknown name.
    """
    search = Search(Machine.at(root, run, platform), total_rails, clock_ns)
    if preference in (None, NONE):
        source = _first(search)
        if preference == NONE and isinstance(source, EnergySource):
            return NoEnergy(
                "no_sensor", f"{source.name} is there; devices.yaml says energy_source: none"
            )
        return source
    return _preferred(search, preference)


def _first(search: Search) -> EnergySource | NoEnergy:
    refused: list[NoEnergy] = []
    for source in _candidates(search):
        if isinstance(source, EnergySource):
            forbidden = (each.detail for each in refused if each.reason == "permission_denied")
            stands_in = tuple(f"stands in for another meter: {why}" for why in forbidden)
            source.caveats = source.caveats + stands_in
            return source
        refused.append(source)
    if search.total_rails and not refused:
        return _no_rails(search.total_rails, "and no meter that can be read here has them")
    return refused[0] if refused else _no_meter(search.machine)


def _sums(source: EnergySource, total_rails: Sequence[str]) -> bool:
    """Whether the total of a source is what the user says, if anything."""
    if not total_rails or source.name in _OF_RAILS:
        return True
    return set(source.total_rail.split(" + ")) == set(total_rails)


def _no_rails(total_rails: Sequence[str], why: str) -> NoEnergy:
    return NoEnergy(
        "no_sensor",
        f"devices.yaml sums {' + '.join(total_rails)}, {why}",
        "correct energy_total and energy_source, or leave them out",
    )


def find_all(
    root: Path = LIVE, run: Runner | None = None, platform: str | None = None
) -> list[EnergySource | NoEnergy]:
    """Every source that is there, usable or not, in the order of `find_source`."""
    return list(_candidates(Search(Machine.at(root, run, platform), (), time.monotonic_ns)))


def _candidates(search: Search) -> Iterator[EnergySource | NoEnergy]:
    for name, find in SOURCES.items():
        source = find(search)
        if isinstance(source, EnergySource):
            if _sums(source, search.total_rails):
                yield source
        elif source is not None and (name in _OF_RAILS or not search.total_rails):
            yield source


def _preferred(search: Search, name: str) -> EnergySource | NoEnergy:
    """The source of this name, or of another driver of the same chip ("ina3221", "ina3221_iio")."""
    check_name(name)
    sources = {**SOURCES, **ON_REQUEST}
    family = (find for known, find in sources.items() if f"{known}_".startswith(f"{name}_"))
    found = next((found for find in family if (found := find(search)) is not None), None)
    if isinstance(found, EnergySource) and not _sums(found, search.total_rails):
        return _no_rails(search.total_rails, f"and {name} has one total: {found.total_rail}")
    return found or NoEnergy("no_sensor", f"devices.yaml asks for {name}, which is not there")


def _no_meter(machine: Machine) -> NoEnergy:
    hypervisor = detect(machine)
    # Some hypervisors show a RAPL performance counter that opens and stays at zero.
    perf = (machine.root / "sys/bus/event_source/devices/power").exists()
    slow, fix = _battery(machine)
    if not hypervisor.virtual:
        detail = "no energy meter in /sys, no counter of a GPU"
        if perf:
            return NoEnergy(
                "no_sensor",
                f"{detail}; RAPL is readable only through perf, which edgebench does not use{slow}",
                "sudo modprobe intel_rapl_msr",
            )
        return NoEnergy("no_sensor", f"{detail}{slow}", fix)
    detail = f"no_sensor: a virtual machine without a meter ({hypervisor.evidence})"
    trust = "; the RAPL counter of perf cannot be trusted there" if perf else ""
    return NoEnergy("virtualised", f"{detail}{trust}{slow}", fix)


def _battery(machine: Machine) -> tuple[str, str]:
    """What is said of a battery that could be asked, and how to ask it; empty where there is none."""
    named = ", ".join(gauge.name for gauge in battery.gauges(machine))
    if not named:
        return "", ""
    ask = "energy_source: battery in devices.yaml, for long runs without the charger"
    return f"; there is a battery ({named}), whose gauge is slow", ask
