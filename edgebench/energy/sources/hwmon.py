"""Any chip of hwmon that gives power (`power*_input`, uW) or energy (`energy*_input`, uJ).

A chip updates no more often than its driver's `update_interval` says.

What a value covers is known only for the chips of boards.yaml. The rails of any other chip are named
"chip/label" and summed where the user's devices.yaml says that they are the whole.
"""

from __future__ import annotations

import re
import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec

from edgebench.energy.source import EnergySource, NoEnergy, Quantity, Rail, Sample
from edgebench.energy.sources import ina238
from edgebench.energy.sources._boards import HwmonRule, constants, scope_of
from edgebench.energy.sources._chips import forbidden, hwmon_chips, unknown_total
from edgebench.energy.sources._counter import Counter
from edgebench.energy.sources._registers import Register, open_all, scaled, total
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


class _Hwmon(EnergySource):
    name = "hwmon"

    def __init__(
        self,
        values: Sequence[Value],
        counted: Sequence[str],
        rule: HwmonRule,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.kind = rule.kind
        self.scope = rule.scope
        self._registers = [
            (value, name, Register(value.path))
            for value, name in zip(values, _told_apart([v.rail for v in values]), strict=True)
        ]
        self.total_rail = " + ".join(
            name for value, name, _ in self._registers if value.rail in counted
        )
        files_of_total = [value.path for value in values if value.rail in counted]
        self.averages = rule.averages and all(map(_is_average, files_of_total))
        self.period_s = max(rule.period_s, *map(_interval_s, files_of_total))
        counted_values = [value for value in values if value.rail in counted]
        steps = [rule.step or _step(value) for value in counted_values]
        self.resolution = sum(steps) or _MICRO
        self.caveats = ("the chip's accuracy is not known: uncertainty does not include it",)
        self._counted = frozenset(counted)
        self._clock_ns = clock_ns

    def open(self) -> None:
        open_all((register, value.rail in self._counted) for value, _, register in self._registers)

    @abstractmethod
    def _read(self, register: Register, at_ns: int) -> float | None:
        """A value now, in the source's quantity."""

    def sample(self) -> Sample:
        """Reads what is summed alone: the other values of a chip may be one a core."""
        start_ns = self._clock_ns()
        values = [
            self._read(register, start_ns)
            for value, _, register in self._registers
            if value.rail in self._counted
        ]
        return Sample(start_ns, self._clock_ns(), total(values))

    def rails(self) -> list[Rail]:
        at_ns = self._clock_ns()
        return [
            Rail(name, self._read(register, at_ns), value.rail in self._counted)
            for value, name, register in self._registers
        ]

    def close(self) -> None:
        for *_, register in self._registers:
            register.close()


class HwmonPower(_Hwmon):
    quantity = "power"

    def _read(self, register: Register, at_ns: int) -> float | None:
        return scaled(register.read(), _MICRO)


class HwmonEnergy(_Hwmon):
    quantity = "energy"

    def open(self) -> None:
        super().open()
        self._counters = {
            register: Counter(_MICRO, None, _MAX_W, _SLACK_S) for *_, register in self._registers
        }  # 64 bits of microjoules do not wrap
        self.rails()  # joules are counted from each counter's first value

    def _read(self, register: Register, at_ns: int) -> float | None:
        return self._counters[register].advance(register.read(), at_ns)

    @property
    def problem(self) -> str:
        return "; ".join(
            f"{name} {why}"
            for value, name, register in self._registers
            if value.rail in self._counted and (why := self._counters[register].lost)
        )


def find(
    machine: Machine,
    total_rails: Sequence[str] = (),
    clock_ns: Callable[[], int] = time.monotonic_ns,
) -> HwmonPower | HwmonEnergy | NoEnergy | None:
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
    source = HwmonEnergy if quantity == "energy" else HwmonPower
    return source([v for v in values if v.quantity == quantity], counted, rule, clock_ns)


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
