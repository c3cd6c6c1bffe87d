"""Any chip of hwmon that gives power (`power*_input`, uW) or energy (`energy*_input`, uJ).

A chip updates no more often than its driver's `update_interval` says.

What a value covers is known only for the chips of boards.yaml. The rails of any other chip are named
"chip/label" and summed where the user's devices.yaml says that they are the whole.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

import msgspec

from edgebench.energy.source import ClockNs, NoEnergy, Quantity
from edgebench.energy.sources import ina238
from edgebench.energy.sources._boards import HwmonRule, constants, scope_of
from edgebench.energy.sources._chips import forbidden, hwmon_chips, unknown_total
from edgebench.energy.sources._counter import Counter
from edgebench.energy.sources._registers import RegisterRail, RegisterSource
from edgebench.probes import proc_files
from edgebench.probes.machine import Machine

#: Chips whose step of power follows from their shunt: what 1 V over it is in steps of current, and a step
#: of power in those (the data sheets' and Linux's ina2xx).
_INA_STEPS = {
    "ina219": (100, 20), "ina220": (100, 20), "ina226": (400, 25), "ina230": (400, 25), "ina231": (400, 25),
}  # fmt: skip
_BATTERY = "Battery"  # the kernel shows batteries as chips too: they are a source of their own
_FILE = re.compile(r"(power|energy)([0-9]+)_(input|average)")
_MICRO = 1e-6
_MAX_W = 5000.0
_PERIOD_S = 0.1  # where nothing tells: the slowest that drivers of hwmon usually are
_SLACK_S = 10.0


@dataclass(frozen=True)
class Value:
    """One value of a chip. `label`: the driver's, else the file's ("power1")."""

    chip: str
    label: str
    path: Path
    quantity: Quantity

    @property
    def rail(self) -> str:
        return f"{self.chip}/{self.label}"


class Hwmon(RegisterSource):
    name = "hwmon"
    caveats = ("the chip's accuracy is not known: uncertainty does not include it",)

    def __init__(
        self,
        values: Sequence[Value],
        counted: Sequence[str],
        rule: HwmonRule,
        clock_ns: ClockNs = time.monotonic_ns,
    ) -> None:
        """`values`: all of one quantity."""
        self.kind, self.scope, self.quantity = rule.kind, rule.scope, values[0].quantity
        # 64 bits of microjoules do not wrap.
        counter = partial(Counter, _MICRO, None, _MAX_W, _SLACK_S)
        new_counter = counter if self.quantity == "energy" else None
        names = _told_apart([value.rail for value in values])
        rails = [
            RegisterRail(name, [value.path], value.rail in counted, _MICRO, new_counter)
            for value, name in zip(values, names, strict=True)
        ]
        super().__init__(rails, clock_ns)
        self.total_rail = " + ".join(rail.name for rail in self._counted)
        summed = [value for value in values if value.rail in counted]
        files = [value.path for value in summed]
        self.averages = rule.averages and all(map(_is_average, files))
        self.period_s = max(rule.period_s, *map(_interval_s, files))
        self.resolution = sum(rule.step or _step(value) for value in summed) or _MICRO


def find(
    machine: Machine, total_rails: Sequence[str] = (), clock_ns: ClockNs = time.monotonic_ns
) -> Hwmon | NoEnergy | None:
    """Finds all chips of the first kind with a rule, or the rails that the user names; None where there
    is none."""
    values = [
        value
        for name, folder in hwmon_chips(machine)
        if name != "ina3221" and not (name == "ina238" and ina238.is_input(machine))
        if proc_files.read(folder / "device/type") != _BATTERY
        for value in _values(name, folder)
    ]
    if not values:
        return None
    rule, counted = _named(total_rails) if total_rails else _find_rule(values)
    chosen = [value for value in values if value.rail in counted]
    if rule is None or {value.rail for value in chosen} != set(counted):
        board = machine.board()
        meter = f"hwmon on {board}" if board else "hwmon"
        return unknown_total(meter, sorted({value.rail for value in values}), total_rails)
    if len({value.quantity for value in chosen}) > 1 or len(chosen) != len(counted):
        return unknown_total("hwmon: several of one name, or power and energy, in", counted)
    for value in chosen:
        if problem := forbidden(machine, value.path):
            return problem
    chips = len({value.path.parent for value in chosen})
    if rule.chip and chips > 1:
        rule = msgspec.structs.replace(rule, scope=f"{chips} x {rule.scope}")
    quantity = chosen[0].quantity
    return Hwmon([v for v in values if v.quantity == quantity], counted, rule, clock_ns)


def _is_average(path: Path) -> bool:
    return path.name.endswith("_average")


def _interval_s(path: Path) -> float:
    """Returns what a mean is taken over, or how often the chip updates; 0 where the driver tells neither."""
    told = (path.with_name(f"{path.name}_interval"), path.with_name("update_interval"))
    return max(proc_files.read_int(each) or 0 for each in told) / 1000


def _step(value: Value) -> float:
    """The smallest step of a chip's power in watts, 0 where it is not known."""
    shunt_uohm = proc_files.read_int(value.path.with_name("shunt_resistor"))
    if value.chip not in _INA_STEPS or not shunt_uohm or value.quantity != "power":
        return 0.0
    per_volt, factor = _INA_STEPS[value.chip]
    return factor / per_volt / shunt_uohm * 1e3


def _told_apart(names: Sequence[str]) -> list[str]:
    """The names, numbered in their order where several are the same."""
    return [
        f"{name} ({names[: place + 1].count(name)})" if names.count(name) > 1 else name
        for place, name in enumerate(names)
    ]


def _named(total_rails: Sequence[str]) -> tuple[HwmonRule, Sequence[str]]:
    scope = scope_of(total_rails)
    rule = HwmonRule("", "", scope, "measured_rail", _PERIOD_S, "named by the user")
    return rule, total_rails


def _find_rule(values: Sequence[Value]) -> tuple[HwmonRule | None, Sequence[str]]:
    for rule in constants().hwmon:
        counted = [
            v.rail for v in values if v.chip == rule.chip and fnmatchcase(v.label, rule.total)
        ]
        if counted:
            return rule, counted
    return None, ()


def _values(chip: str, folder: Path) -> list[Value]:
    """Each value once; where a driver gives both, the average is what energy is made of."""
    values: dict[str, Value] = {}
    for path in sorted(folder.glob("*_*")):  # "average" comes before "input"
        if match := _FILE.fullmatch(path.name):
            quantity: Quantity = "power" if match[1] == "power" else "energy"
            name = match[1] + match[2]
            label = proc_files.read(folder / f"{name}_label") or name
            values.setdefault(name, Value(chip, label, path, quantity))
    return list(values.values())
