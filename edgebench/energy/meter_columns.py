"""Holds what the columns of a meter's log are, and in which units, by their names: "Time (s)", "timestamp",
"Main current [mA]", "USB(mA)", "power_w".

A name may leave its unit out, and then means s, W, A, V or J. A name with a word that may be a unit
and is not known is refused: the value could be off by a thousand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from edgebench.errors import UsageError

Role = Literal["time", "power", "current", "voltage", "energy"]

#: The unit of each role that values are brought to.
BASE: dict[Role, str] = {"time": "s", "power": "W", "current": "A", "voltage": "V", "energy": "J"}

_PREFIXES = (
    ("k", "kilo", 1e3), ("", "", 1.0), ("m", "milli", 1e-3), ("u", "micro", 1e-6), ("n", "nano", 1e-9),
)  # fmt: skip
_UNPREFIXED: tuple[tuple[Role, str, tuple[str, ...], float], ...] = (
    ("time", "s", ("second",), 1.0),
    ("time", "sec", (), 1.0),
    ("power", "w", ("watt",), 1.0),
    ("current", "a", ("amp", "ampere"), 1.0),
    ("voltage", "v", ("volt",), 1.0),
    ("energy", "j", ("joule",), 1.0),
    ("energy", "wh", ("watthour",), 3600.0),
)
_ROLES: tuple[tuple[Role, frozenset[str]], ...] = (
    ("time", frozenset({"time", "timestamp", "date", "datetime", "utc", "t", "elapsed", "epoch"})),
    ("energy", frozenset({"energy", "joules"})),
    ("power", frozenset({"power", "p", "watts"})),
    ("current", frozenset({"current", "i", "amps", "amperes"})),
    ("voltage", frozenset({"voltage", "volts", "u"})),
)
#: Words that tell no unit: a name of nothing else has none.
_PLAIN = frozenset(
    ("main", "total", "mean", "average", "avg", "rms", "input", "output", "supply",
     "board", "device", "usb", "ch", "channel", "unix", "local")
)  # fmt: skip
_BRACKETS = re.compile(r"[\[(]([^\[\]()]{0,60})[\])]")
_WORD = re.compile("(?:[^\\W\\d_]|\ufffd)+")  # that sign stands for a letter that was lost


def _all_units() -> Iterator[tuple[str, tuple[Role, float]]]:
    for role, symbol, names, factor in _UNPREFIXED:
        for short, long, scale in _PREFIXES:
            yield short + symbol, (role, scale * factor)
            for name in names:
                yield long + name, (role, scale * factor)
                yield f"{long}{name}s", (role, scale * factor)
    for unit in ("min", "minute", "minutes"):
        yield unit, ("time", 60.0)
    for unit in ("h", "hr", "hour", "hours"):
        yield unit, ("time", 3600.0)


#: What a unit measures, and its factor to the base unit of that role.
UNITS: Mapping[str, tuple[Role, float]] = dict(_all_units())


@dataclass(frozen=True)
class Column:
    index: int
    name: str
    role: Role
    unit: str  # a key of UNITS, "" where the name tells none
    understood: bool  # False: the name may tell a unit that is not known


class Columns:
    """The columns of a log by their roles; those that the user names go before others."""

    def __init__(
        self, where: str, head: Sequence[str], named: Mapping[Role, str], names: Sequence[str] = ()
    ) -> None:
        """`where`: file and line of the head, for errors; `names`: of the columns without the units of a
        row below, by which a user may call them too. Raises UsageError where a name is none."""
        self._where = where
        self.named = frozenset(named)
        self._found: dict[Role, list[Column]] = {}
        for index, name in enumerate(head):
            if (role := _role(name)) is not None:
                self._found.setdefault(role, []).append(_column(index, name, role))
        for role, name in named.items():
            called = head if name in head else names
            if called.count(name) != 1:
                many = "several columns are called" if name in called else "no column"
                raise UsageError(
                    f"{where}: {many} {name!r}", f"the columns are: {', '.join(head)[:500]}"
                )
            index = called.index(name)
            self._found[role] = [_column(index, head[index], role)]

    def get(self, role: Role) -> Column | None:
        """The column of a role. Raises UsageError where there are several; of time the first serves."""
        columns = self._found.get(role, [])
        if len(columns) > 1 and role != "time":
            names = ", ".join(column.name for column in columns)
            raise UsageError(
                f"{self._where}: several columns of {role}: {names}",
                f"choose one with --{role}-column NAME",
            )
        return columns[0] if columns else None

    def every(self, role: Role) -> list[Column]:
        """The columns of a role, the one that the user names alone."""
        return self._found.get(role, [])

    def scale(self, column: Column) -> float:
        """Factor to the base unit. Raises UsageError where the unit is not understood."""
        if not column.understood:
            raise UsageError(
                f"{self._where}: the unit of {column.name!r} is not a known unit of {column.role}",
                f"rename it in the file, with its unit in brackets: {column.role} "
                f"[{BASE[column.role]}], [m{BASE[column.role]}], ...",
            )
        return UNITS[column.unit][1] if column.unit else 1.0


def unit_of(role: Role, text: str) -> str | None:
    """The unit that a cell has behind its number; None where it is none of this role."""
    unit = _lowered(text)
    return unit if unit in UNITS and UNITS[unit][0] == role else None


def with_units(names: Sequence[str], units: Sequence[str]) -> list[str] | None:
    """Names with the units of the row below them; None where that row is no row of units."""
    plain = [_lowered(unit).strip("[]() ") for unit in units]
    words = {word for _, words in _ROLES for word in words} - set(UNITS)
    if not any(unit in UNITS for unit in plain) or any(unit in words for unit in plain):
        return None
    if len(units) != len(names) or not any(_role(name) for name in names):
        return None
    told = (unit.strip("[]() ") for unit in units)
    return [
        f"{name} [{unit}]" if unit not in ("", "-") else name
        for name, unit in zip(names, told, strict=True)
    ]


def _lowered(name: str) -> str:
    return name.lower().replace("µ", "u").replace("μ", "u")


def _role(name: str) -> Role | None:
    """Returns what a column is: by a word of its name, else by a unit in brackets."""
    lowered = _lowered(name)
    words = set(_WORD.findall(_BRACKETS.sub(" ", lowered)))
    for role, names in _ROLES:
        if words & names:
            return role
    units = {UNITS[text.strip()][0] for text in _BRACKETS.findall(lowered) if text.strip() in UNITS}
    return units.pop() if len(units) == 1 else None


def _column(index: int, name: str, role: Role) -> Column:
    """The column with its unit: in brackets, as the last word, or the only word that says anything."""
    lowered = _lowered(name)
    units = {unit for unit, (kind, _) in UNITS.items() if kind == role}
    plain = _PLAIN | dict(_ROLES)[role]
    brackets = [text.strip() for text in _BRACKETS.findall(lowered)]
    shown = {text for text in brackets if text in UNITS}
    if shown:
        one = len(shown) == 1 and shown <= units
        return Column(index, name, role, shown.pop() if one else "", one)
    words = _WORD.findall(_BRACKETS.sub(" ", lowered))
    asides = [word for text in brackets for word in _WORD.findall(text) or [text]]
    told = {word for word in words if word in units}
    odd = {word for word in words if word not in plain} - told
    if set(asides) - plain or len(told) > 1 or (odd and not (told and words[-1] in told)):
        return Column(index, name, role, "", False)
    return Column(index, name, role, told.pop() if told else "", True)
