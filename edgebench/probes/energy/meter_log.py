"""The log of any meter: a CSV file with times and power, or current and voltage, or energy.

Columns are told by their names and units: "Time (s)", "timestamp", "Main current [mA]", "USB(mA)",
"power_w". Numbers of one table row belong to one moment.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from edgebench.errors import UsageError
from edgebench.probes.energy.source import Quantity

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Role = Literal["time", "power", "current", "voltage", "energy"]

#: What a column's unit makes it, and its factor to s, W, A, V, J.
_UNITS: dict[str, tuple[Role, float]] = {
    "s": ("time", 1.0), "sec": ("time", 1.0), "seconds": ("time", 1.0),
    "ms": ("time", 1e-3), "us": ("time", 1e-6), "ns": ("time", 1e-9), "min": ("time", 60.0),
    "kw": ("power", 1e3), "w": ("power", 1.0), "mw": ("power", 1e-3), "uw": ("power", 1e-6),
    "watts": ("power", 1.0), "watt": ("power", 1.0),
    "a": ("current", 1.0), "ma": ("current", 1e-3), "ua": ("current", 1e-6), "na": ("current", 1e-9),
    "v": ("voltage", 1.0), "mv": ("voltage", 1e-3), "uv": ("voltage", 1e-6),
    "j": ("energy", 1.0), "mj": ("energy", 1e-3), "uj": ("energy", 1e-6),
    "wh": ("energy", 3600.0), "mwh": ("energy", 3.6), "kwh": ("energy", 3.6e6),
}  # fmt: skip
_WORDS: tuple[tuple[Role, tuple[str, ...]], ...] = (
    ("time", ("time", "timestamp", "date", "datetime", "utc", "t", "elapsed", "epoch")),
    ("energy", ("energy", "joules")),
    ("power", ("power", "p", "watts")),
    ("current", ("current", "i", "amps", "amperes")),
    ("voltage", ("voltage", "volts", "u")),
)
_SHOWN_UNIT = re.compile(r"[\[(]\s*([a-zA-Zµμ]+)\s*[\])]\s*$")
_WORD = re.compile(r"[a-zµμ]+")
#: A number this large is no time since the start of a log but one of the clock, in this unit.
_EPOCHS = ((1e17, 1e-9), (1e14, 1e-6), (1e11, 1e-3), (1e9, 1.0))


@dataclass(frozen=True)
class MeterLog:
    """Times in seconds, ascending; values in W or J, NaN where a cell was empty."""

    path: Path
    times_s: Floats
    values: Floats
    quantity: Quantity
    absolute: bool  # times are Unix time, else since some moment
    columns: str  # which columns were read: "Main current [mA] x Main voltage [V]"
    resolution: float  # the smallest step that the file's digits can tell

    @property
    def period_s(self) -> float:
        """The usual time between rows."""
        return float(np.median(np.diff(self.times_s)))


@dataclass(frozen=True)
class _Column:
    index: int
    name: str
    role: Role
    scale: float | None  # None: the name tells no unit


def read_log(
    path: Path, named: dict[Role, str] | None = None, volts: float | None = None
) -> MeterLog:
    """Reads a log. `named`: columns by the user's word; `volts`: of a log of current alone.

    Raises UsageError, naming file and line, for what cannot be read.
    """
    rows = _rows(path)
    head_line, head = _head(path, rows)
    columns = _columns(path, head_line, head, named or {})
    body = [(line, cells) for line, cells in rows if line > head_line and any(cells)]
    if len(body) < 3:
        raise UsageError(f"{path}: {len(body)} rows of data: too few for a log")
    times_s, absolute = _times(path, columns["time"], body)
    values, quantity, used, resolution = _values(path, columns, body, volts)
    backwards = np.flatnonzero(np.diff(times_s) <= 0)
    if len(backwards):
        line = body[int(backwards[0]) + 1][0]
        raise UsageError(
            f"{path}:{line}: time does not go on: {body[int(backwards[0]) + 1][1]}",
            "times must ascend from row to row",
        )
    return MeterLog(path, times_s, values, quantity, absolute, used, resolution)


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    """Numbered rows, comments left out."""
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    lines = [(n, line) for n, line in enumerate(text.splitlines(), 1) if line.strip()]
    while lines and lines[0][1].lstrip().startswith("#") and len(lines) > 1:
        # The last comment before the data may be the head itself.
        if not lines[1][1].lstrip().startswith("#") and _is_data(lines[1][1]):
            lines[0] = (lines[0][0], lines[0][1].lstrip("# \t"))
            break
        lines.pop(0)
    if not lines:
        raise UsageError(f"{path}: empty")
    delimiter = max((";", "\t", ","), key=lambda mark: lines[-1][1].count(mark))
    kept = [(n, line) for n, line in lines if not line.lstrip().startswith("#")]
    cells = csv.reader((line for _, line in kept), delimiter=delimiter)
    numbered = zip((n for n, _ in kept), cells, strict=False)
    return [(n, [cell.strip() for cell in row]) for n, row in numbered]


def _is_data(line: str) -> bool:
    return bool(re.match(r"\s*\"?[-+]?\d", line))


def _head(path: Path, rows: Sequence[tuple[int, list[str]]]) -> tuple[int, list[str]]:
    """The row of names: the last one before the first row of numbers."""
    for (line, cells), (_, following) in pairwise(rows):
        if cells and not _is_data(cells[0]) and following and _is_data(following[0]):
            return line, cells
    raise UsageError(
        f"{path}:{rows[0][0]}: no row with names of columns before the numbers",
        "give the file a head, as in: time_s,power_w",
    )


def _columns(path: Path, line: int, head: list[str], named: dict[Role, str]) -> dict[Role, _Column]:
    """The column of each role, by the user's word or by its name."""
    found: dict[Role, list[_Column]] = {}
    for index, name in enumerate(head):
        if (column := _recognise(index, name)) is not None:
            found.setdefault(column.role, []).append(column)
    chosen: dict[Role, _Column] = {}
    for role, name in named.items():
        if name not in head:
            raise UsageError(
                f"{path}:{line}: no column {name!r}", f"the columns are: {', '.join(head)}"
            )
        recognised = _recognise(head.index(name), name)
        fits = recognised is not None and recognised.role == role
        scale = recognised.scale if recognised is not None and fits else None
        chosen[role] = _Column(head.index(name), name, role, scale)
    for role, columns in found.items():
        if role in chosen:
            continue
        if len(columns) > 1 and role != "time":
            names = ", ".join(column.name for column in columns)
            raise UsageError(
                f"{path}:{line}: several columns of {role}: {names}",
                f"say which: --{role}-column NAME",
            )
        chosen[role] = columns[0]
    if "time" not in chosen:
        raise UsageError(
            f"{path}:{line}: no column of time among: {', '.join(head)}", "say --time-column NAME"
        )
    return chosen


def _recognise(index: int, name: str) -> _Column | None:
    """What a column is, by its unit in brackets, its words, or a last word that is a unit."""
    lowered = name.lower().replace("µ", "u").replace("μ", "u")
    words = _WORD.findall(_SHOWN_UNIT.sub("", lowered))
    bracketed = _SHOWN_UNIT.search(lowered)
    unit = bracketed[1] if bracketed else words[-1] if len(words) > 1 else ""
    known = _UNITS.get(unit)
    for role, names in _WORDS:
        if any(word in names for word in words):
            return _Column(index, name, role, known[1] if known and known[0] == role else None)
    return _Column(index, name, *known) if known and bracketed else None


def _times(
    path: Path, column: _Column, body: Sequence[tuple[int, list[str]]]
) -> tuple[Floats, bool]:
    """Seconds, and whether they are Unix time."""
    first = _cell(body[0][1], column.index)
    if _number(first) is None:
        return np.array([_moment(path, line, _cell(c, column.index)) for line, c in body]), True
    numbers = np.array([_required(path, line, c, column) for line, c in body])
    epoch = next((scale for least, scale in _EPOCHS if abs(numbers[0]) >= least), None)
    if column.scale is not None:
        seconds = numbers * column.scale
        return seconds, bool(seconds[0] >= 1e9)
    return numbers * (epoch or 1.0), epoch is not None


def _moment(path: Path, line: int, text: str) -> float:
    """Unix time of an ISO 8601 moment; UTC where it names no zone."""
    try:
        moment = datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", text))
    except ValueError:
        raise UsageError(
            f"{path}:{line}: {text!r} is no time",
            "write seconds, or ISO 8601 as 2026-05-01T10:00:00Z",
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return moment.timestamp()


def _values(
    path: Path,
    columns: dict[Role, _Column],
    body: Sequence[tuple[int, list[str]]],
    volts: float | None,
) -> tuple[Floats, Quantity, str, float]:
    """Watts or joules, which of them, the columns read, and their resolution."""
    for role, quantity in (("power", "power"), ("energy", "energy")):
        if (column := columns.get(role)) is not None:  # type: ignore[call-overload]
            values, step = _series(path, column, body)
            return values, quantity, column.name, step  # type: ignore[return-value]
    current = columns.get("current")
    if current is None:
        raise UsageError(f"{path}: neither power, energy nor current", "say --power-column NAME")
    amperes, step_a = _series(path, current, body)
    if volts is not None:
        return amperes * volts, "power", f"{current.name} x {volts:g} V", step_a * volts
    if "voltage" not in columns:
        raise UsageError(
            f"{path}: current without voltage", "say --volts V, or --voltage-column NAME"
        )
    voltage, step_v = _series(path, columns["voltage"], body)
    name = f"{current.name} x {columns['voltage'].name}"
    step = step_a * float(np.nanmean(voltage)) + step_v * float(np.nanmean(np.abs(amperes)))
    return amperes * voltage, "power", name, step


def _series(
    path: Path, column: _Column, body: Sequence[tuple[int, list[str]]]
) -> tuple[Floats, float]:
    """A column's numbers in its base unit, and what its last digit is worth."""
    scale = 1.0 if column.scale is None else column.scale
    texts = [_cell(cells, column.index) for _, cells in body]
    numbers = []
    for (line, _), text in zip(body, texts, strict=True):
        number = _number(text) if text else math.nan
        if number is None:
            raise UsageError(f"{path}:{line}: {column.name}: {text!r} is no number")
        numbers.append(number)
    digits = max(map(_decimals, texts[:1000]))
    return np.array(numbers) * scale, scale * 10.0**-digits


def _decimals(text: str) -> int:
    """Digits behind the point, with the exponent: "1.25e-3" has 5."""
    mantissa, _, exponent = text.lower().replace(",", ".").partition("e")
    behind = len(mantissa.partition(".")[2])
    return behind - int(exponent) if exponent else behind


def _required(path: Path, line: int, cells: Sequence[str], column: _Column) -> float:
    text = _cell(cells, column.index)
    number = _number(text)
    if number is None:
        raise UsageError(f"{path}:{line}: {column.name}: {text!r} is no number")
    return number


def _cell(cells: Sequence[str], index: int) -> str:
    return cells[index] if index < len(cells) else ""


def _number(text: str) -> float | None:
    """A number, with a point or a decimal comma; None where it is none."""
    try:
        return float(text.replace(",", "."))
    except ValueError:
        return None
