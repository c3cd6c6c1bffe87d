"""The log of any meter: a CSV file with times and power, or current and voltage, or energy.

Columns are told by their names and units (`meter_columns`). Numbers of one table row belong to one
moment.
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
from typing import TYPE_CHECKING

import numpy as np

from edgebench.errors import UsageError
from edgebench.probes.energy.meter_columns import BASE, UNITS, Column, Columns, Role
from edgebench.probes.energy.source import Quantity

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

#: A number this large is no time since the start of a log but one of the clock, in this unit.
_EPOCHS = ((1e17, "ns"), (1e14, "us"), (1e11, "ms"), (1e9, "s"))
#: The year 2255: later ones are beyond a clock in nanoseconds, and in another unit than was said.
LATEST_S = 9e9
#: What a log is read for, the first that it has.
_ORDER: tuple[Role, ...] = ("power", "energy", "current")
_FRACTION = re.compile(r"[.,](\d+)")


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
    #: Columns whose names tell no unit, with the one taken: "power in W".
    assumed: tuple[str, ...] = ()

    @property
    def period_s(self) -> float:
        """The usual time between rows."""
        return float(np.median(np.diff(self.times_s)))


def read_log(
    path: Path, named: dict[Role, str] | None = None, volts: float | None = None
) -> MeterLog:
    """Reads a log. `named`: columns by the user's word, which decide what is read; `volts`: of a log of
    current alone.

    Raises UsageError, naming file and line, for what cannot be read.
    """
    rows = _rows(path)
    head_line, head = _head(path, rows)
    columns = Columns(f"{path}:{head_line}", head, named or {})
    body = [(line, cells) for line, cells in rows if line > head_line and any(cells)]
    if len(body) < 3:
        raise UsageError(f"{path}: {len(body)} rows of data: too few for a log")
    time = columns.get("time")
    if time is None:
        raise UsageError(
            f"{path}:{head_line}: no column of time among: {', '.join(head)}",
            "say --time-column NAME",
        )
    times_s, absolute, time_unit = _times(path, columns, time, body)
    beyond = np.flatnonzero(np.abs(times_s) >= LATEST_S)
    if len(beyond):
        line, cells = body[int(beyond[0])]
        raise UsageError(
            f"{path}:{line}: {time.name}: {_cell(cells, time.index)} is no time: it would be "
            f"{times_s[beyond[0]]:.3g} s",
            "correct the unit in the column's name",
        )
    backwards = np.flatnonzero(np.diff(times_s) <= 0)
    if len(backwards):
        line = body[int(backwards[0]) + 1][0]
        raise UsageError(
            f"{path}:{line}: time does not go on: {body[int(backwards[0]) + 1][1]}",
            "times must ascend from row to row",
        )
    series = _values(path, columns, body, volts)
    known = int(np.isfinite(series.values).sum())
    if known < 3:
        raise UsageError(f"{path}: {series.name}: {known} rows have a value: too few for a log")
    assumed = (*([f"{time.name} in {time_unit}"] if time_unit else []), *series.assumed)
    return MeterLog(
        path, times_s, series.values, series.quantity, absolute, series.name, series.step, assumed
    )


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    """Numbered rows, comments left out."""
    text = _text(path)
    lines = [(n, line) for n, line in enumerate(text.splitlines(), 1) if line.strip()]
    while lines and lines[0][1].lstrip().startswith("#") and len(lines) > 1:
        # The last comment before the data may be the head itself.
        if not lines[1][1].lstrip().startswith("#") and _is_data(lines[1][1]):
            lines[0] = (lines[0][0], lines[0][1].lstrip("# \t"))
            break
        lines.pop(0)
    kept = [(n, line) for n, line in lines if not line.lstrip().startswith("#")]
    if not kept:
        raise UsageError(f"{path}: empty")
    # Beside another mark, a comma is that of a decimal number.
    delimiter = next((mark for mark in (";", "\t") if mark in kept[-1][1]), ",")
    cells = csv.reader((line for _, line in kept), delimiter=delimiter)
    numbered = zip((n for n, _ in kept), cells, strict=False)
    try:
        return [(n, [cell.strip() for cell in row]) for n, row in numbered]
    except csv.Error as error:
        raise UsageError(f"{path}: no CSV: {error}") from None


def _text(path: Path) -> str:
    """The file as text: UTF-8, else one byte a character, as older programs write "µ"."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    if b"\0" in data:
        raise UsageError(
            f"{path}: no text in UTF-8: it has bytes that are 0", "save it as UTF-8, not as UTF-16"
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


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


def _times(
    path: Path, columns: Columns, column: Column, body: Sequence[tuple[int, list[str]]]
) -> tuple[Floats, bool, str]:
    """Seconds, whether they are Unix time, and the unit that was assumed, "" where none had to be."""
    first = _cell(body[0][1], column.index)
    if _number(first) is None:
        moments = [_moment(path, line, _cell(c, column.index)) for line, c in body]
        return np.array(moments), True, ""
    numbers = np.array([_required(path, line, c, column) for line, c in body])
    scale = columns.scale(column)
    if column.unit:
        seconds = numbers * scale
        return seconds, bool(seconds[0] >= 1e9), ""
    unit = next((unit for least, unit in _EPOCHS if abs(numbers[0]) >= least), None)
    scale = UNITS[unit or "s"][1]
    return numbers * scale, unit is not None, unit or "s"


def _moment(path: Path, line: int, text: str) -> float:
    """Unix time of an ISO 8601 moment; UTC where it names no zone."""
    # Python 3.10 takes no "Z", and fractions of 3 or 6 digits alone.
    plain = _FRACTION.sub(lambda match: f".{match[1][:6]:0<6}", re.sub(r"[zZ]$", "+00:00", text))
    try:
        moment = datetime.fromisoformat(plain)
    except ValueError:
        raise UsageError(
            f"{path}:{line}: {text!r} is no time",
            "write seconds, or ISO 8601 as 2026-05-01T10:00:00Z",
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return moment.timestamp()


@dataclass(frozen=True)
class _Series:
    """What was read beside the times."""

    name: str
    values: Floats
    quantity: Quantity
    step: float  # what the last digit is worth
    assumed: tuple[str, ...]


def _values(
    path: Path, columns: Columns, body: Sequence[tuple[int, list[str]]], volts: float | None
) -> _Series:
    """Watts or joules: of what the user names, else of power, energy or current, whichever is there."""
    of_current = volts is not None or "voltage" in columns.named
    asked = [r for r in _ORDER if r in columns.named or (r == "current" and of_current)]
    if len(asked) > 1:
        raise UsageError(
            f"{path}: columns of {' and '.join(asked)} are named, and one quantity is read",
            "name power, or energy, or current with its voltage",
        )
    for role in asked or _ORDER:
        if (column := columns.get(role)) is not None:
            found = _series(path, columns, column, body)
            return _times_voltage(path, columns, body, found, volts) if role == "current" else found
    if asked:
        raise UsageError(f"{path}: no column of current", "say --current-column NAME")
    raise UsageError(f"{path}: neither power, energy nor current", "say --power-column NAME")


def _times_voltage(
    path: Path,
    columns: Columns,
    body: Sequence[tuple[int, list[str]]],
    current: _Series,
    volts: float | None,
) -> _Series:
    """Power of a current, at a fixed voltage or that of a column."""
    if volts is not None:
        if "voltage" in columns.named:
            raise UsageError("both --volts and --voltage-column are given", "give one of them")
        name = f"{current.name} x {volts:g} V"
        step = current.step * abs(volts)
        return _Series(name, current.values * volts, "power", step, current.assumed)
    column = columns.get("voltage")
    if column is None:
        raise UsageError(
            f"{path}: current without voltage", "say --volts V, or --voltage-column NAME"
        )
    voltage = _series(path, columns, column, body)
    return _Series(
        f"{current.name} x {voltage.name}",
        current.values * voltage.values,
        "power",
        current.step * _mean(voltage.values) + voltage.step * _mean(current.values),
        (*current.assumed, *voltage.assumed),
    )


def _mean(values: Floats) -> float:
    """Of the absolute values that are known; 0 where none is."""
    known = values[np.isfinite(values)]
    return float(np.abs(known).mean()) if len(known) else 0.0


def _series(
    path: Path, columns: Columns, column: Column, body: Sequence[tuple[int, list[str]]]
) -> _Series:
    """A column's numbers in its base unit; NaN where a cell is empty."""
    scale = columns.scale(column)
    texts = [_cell(cells, column.index) for _, cells in body]
    numbers = []
    for (line, _), text in zip(body, texts, strict=True):
        number = _number(text) if text else math.nan
        if number is None or math.isinf(number):
            raise UsageError(f"{path}:{line}: {column.name}: {text!r} is no number")
        numbers.append(number)
    digits = max(map(_decimals, texts[:1000]))
    assumed = () if column.unit else (f"{column.name} in {BASE[column.role]}",)
    quantity: Quantity = "energy" if column.role == "energy" else "power"
    values = np.array(numbers) * scale
    return _Series(column.name, values, quantity, scale * 10.0**-digits, assumed)


def _decimals(text: str) -> int:
    """Digits behind the point, with the exponent: "1.25e-3" has 5."""
    mantissa, _, exponent = text.lower().replace(",", ".").partition("e")
    behind = len(mantissa.partition(".")[2])
    return behind - int(exponent) if exponent else behind


def _required(path: Path, line: int, cells: Sequence[str], column: Column) -> float:
    text = _cell(cells, column.index)
    number = _number(text)
    if number is None or not math.isfinite(number):
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
