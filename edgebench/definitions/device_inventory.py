"""The user's inventory of devices: `devices.yaml` -> frozen types.

It says what a machine cannot tell of itself. Without it, detected facts serve.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import msgspec

from edgebench.definitions.typed_values import convert
from edgebench.definitions.workload import Name, Spec
from edgebench.definitions.yaml_reader import Document, raise_errors, read_yaml
from edgebench.errors import SpecError, UsageError
from edgebench.metrics import metric
from edgebench.record import Declared, DeviceFacts
from edgebench.units import parse_bytes, parse_duration_s

FILE_NAME = "devices.yaml"
_GIVEN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,99}")
_RELATIVE = (
    "quality",
    "baseline",
)  # parts of a row that hold one row against others, or its answers


class Match(Spec, frozen=True, kw_only=True):
    """Which machine an entry is about: all that is given must hold.

    Texts are patterns (`*`, `?`) and compared without regard to case with the facts that
    `edgebench list devices --format json` shows.
    """

    board: str | None = None  # the device tree's model
    mac_model: str | None = None
    cpu_model: str | None = None
    machine: str | None = None  # "x86_64", "aarch64", "arm64"
    os: str | None = None
    virtualised: bool | None = None


class Device(Spec, frozen=True, kw_only=True):
    """One of the user's devices, and facts that it does not report itself."""

    name: Name
    title: str
    match: Match
    #: Many machines fit, and they are not alike: results are named after what was detected.
    family: bool = False
    power_mode: str | int | None = None  # the mode it is meant to run in, by name or number
    energy_source: str | None = None  # the one to take, or "none"
    energy_total: list[str] | None = None  # the rails that make the whole, where no rule knows
    #: Metric -> what a deployment on this machine may cost at most (of `throughput`: serve at least).
    limits: dict[str, int | float | str] = msgspec.field(default_factory=dict)
    notes: str = ""


class Inventory(Spec, frozen=True, kw_only=True):
    """The content of devices.yaml. The first entry that matches a machine is taken."""

    devices: list[Device]


def load_devices(path: Path | None = None) -> list[Device]:
    """The devices of a file, by default of `devices.yaml` in the working directory; none without it, nor
    where that directory cannot be looked into.

    Raises SpecError with file, line and column for what it may not say, and UsageError where a file
    that was named cannot be read.
    """
    if path is None:
        path = Path(FILE_NAME)
        if not os.access(path, os.F_OK):
            return []
    document = read_yaml(path)
    inventory = convert(document, Inventory)
    raise_errors(list(_impossible(inventory, document)))
    return inventory.devices


def named_first(devices: Sequence[Device], given: str | None) -> list[Device]:
    """The entry of the name that a machine is given before all others, as boards of one kind match alike."""
    return sorted(devices, key=lambda device: device.name != given)


def other_machine(devices: Sequence[Device], facts: Mapping[str, Any], given: str | None) -> str:
    """Says that the entry of the given name is about another machine than the one of these facts; "" where it is not."""
    entry = next((device for device in devices if device.name == given), None)
    if entry is None or _holds(entry.match, facts):
        return ""
    return f"{FILE_NAME}: the entry {given!r} does not match this machine, so that its limits do not count"


def device_of(devices: Sequence[Device], facts: Mapping[str, Any]) -> Device | None:
    """The first entry whose `match` holds for the facts of `probes.device_facts.detect`."""
    return next((device for device in devices if _holds(device.match, facts)), None)


def with_declared(facts: DeviceFacts, devices: Sequence[Device]) -> DeviceFacts:
    """The facts of a machine with what its entry declares, under the entry's name."""
    device = device_of(devices, facts.facts)
    if device is None:
        return facts
    declared = Declared(
        entry=device.name,
        title=device.title,
        power_mode=None if device.power_mode is None else str(device.power_mode),
        energy_source=device.energy_source,
        energy_total=device.energy_total or [],
        limits={name: limit_of(name, value) for name, value in device.limits.items()},
    )
    name = facts.name if device.family else device.name
    return msgspec.structs.replace(facts, name=name, declared=declared)


def named(facts: DeviceFacts, name: str | None) -> DeviceFacts:
    """The same machine under a name that somebody gives it. Raises UsageError for one that is none."""
    if name is None:
        return facts
    check_given_name(name)
    return msgspec.structs.replace(facts, name=name)


def check_given_name(name: str) -> None:
    """Raises UsageError for a name that cannot be that of a device: it becomes a folder of results."""
    if not _GIVEN_NAME.fullmatch(name):
        raise UsageError(
            f"--device {name!r} is not a valid name", "use letters, digits and ._-, as in rack-7"
        )


def declared_mode(facts: DeviceFacts) -> str | None:
    """The power mode that the machine is meant to be in, where its entry says so."""
    return None if facts.declared is None else facts.declared.power_mode


def limit_of(name: str, value: float | str) -> float:
    """A limit in the unit of its metric. Raises UsageError for one that nothing can be held to."""
    limited = metric(name)
    if limited.path.split(".")[0] in _RELATIVE:
        raise UsageError(
            f"a device cannot have a limit of {name}",
            "quality is limited by the workload's definition",
        )
    if limited.unit == "ns":
        if not isinstance(value, str) or value.strip()[-1:].isdecimal():
            raise UsageError(f"{name} needs a unit", f"write {value}ms or {value}s")
        limit = parse_duration_s(value) * 1e9
    elif isinstance(value, str):
        if limited.unit != "bytes":
            raise UsageError(f"{name} must be a number (unit {limited.unit}), got {value!r}")
        limit = float(parse_bytes(value))
    else:
        limit = float(value)
    if isinstance(value, bool) or not limit > 0:
        raise UsageError(f"{name} must be more than 0, got {value}")
    return limit


def _holds(match: Match, facts: Mapping[str, Any]) -> bool:
    return all(
        _equal(pattern, facts.get(fact))
        for fact, pattern in msgspec.structs.asdict(match).items()
        if pattern is not None
    )


def _equal(pattern: str | bool, fact: object) -> bool:
    if isinstance(pattern, str):
        return isinstance(fact, str) and fnmatchcase(fact.lower(), pattern.lower())
    return fact is pattern


def _impossible(inventory: Inventory, document: Document) -> Iterator[SpecError]:
    names = [device.name for device in inventory.devices]
    for index, device in enumerate(inventory.devices):
        if device.name in names[:index]:
            yield document.error(("devices", index, "name"), f"{device.name!r} twice")
        if device.energy_source is not None:
            from edgebench.energy.choose_source import check_name  # slow, and rarely asked for

            try:
                check_name(device.energy_source)
            except UsageError as error:
                source = ("devices", index, "energy_source")
                yield document.error(source, error.message, error.fix)
        if device.match == Match():
            message = "matches every machine"
            yield document.error(("devices", index, "match"), message, "give at least one fact")
        rails = device.energy_total
        if rails is not None and (not rails or len(set(rails)) < len(rails)):
            message = "names a rail twice" if rails else "names no rail"
            yield document.error(("devices", index, "energy_total"), message)
        for name, value in device.limits.items():
            try:
                limit_of(name, value)
            except UsageError as error:
                path = ("devices", index, "limits", name)
                yield document.error(path, error.message, error.fix)
