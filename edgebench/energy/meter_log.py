"""The log of any meter: a CSV file with times and power, or current and voltage, or energy.

Columns are told by their names and units (`meter_columns`), or by a row of units under the names.
Numbers of one table row belong to one moment. A cell that says that there is no value is none; rows
that share a stamp are one moment, whose power is their mean.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from edgebench.energy.meter_columns import BASE, UNITS, Column, Columns, Role, unit_of, with_units
from edgebench.energy.meter_times import is_date, is_time_of_day, moments
from edgebench.energy.source import Quantity
from edgebench.errors import UsageError
from edgebench.files.ci_log_marks import terminal_lines
from edgebench.files.foreign_text import decode, read_bytes, unpacked
from edgebench.text.number_parsing import (
    MixedMarks,
    TwoReadings,
    decimal_mark,
    decimals,
    is_ambiguous,
    parse_number,
    proven_mark,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

MAX_LOG_BYTES = 64 << 20
#: Beyond these, a number has another unit than was thought: no machine takes as much.
MAX_W, MAX_J, MAX_V = 1e9, 1e15, 1e6
#: A number this large is no time since the start of a log but one of the clock, in this unit.
_EPOCHS = ((1e17, "ns"), (1e14, "us"), (1e11, "ms"), (1e9, "s"))
#: The year 2255: later ones are beyond a clock in nanoseconds, and in another unit than was said.
LATEST_S = 9e9
#: What a log is read for, the first that it has.
_ORDER: tuple[Role, ...] = ("power", "energy", "current")
_MISSING = frozenset(
    ("", "n/a", "na", "#n/a", "nan", "-", "--", "---", "null", "none", "not supported", "not available",
     "unknown error", "err!", "insufficient permissions")
)  # fmt: skip
_WITH_UNIT = re.compile(r"([^A-Za-zµμ]{1,60}?)\s*([A-Za-zµμ]{1,12})")


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
    #: What the file leaves open, with what was taken: "power in W", "timestamp in UTC".
    assumed: tuple[str, ...] = ()
    repeated: int = 0  # rows that share the stamp of the row before, and are one moment with it

    @property
    def period_s(self) -> float:
        """The usual time between rows."""
        return float(np.median(np.diff(self.times_s)))


def read_log(
    path: Path, named: dict[Role, str] | None = None, volts: float | None = None, mark: str = ""
) -> MeterLog:
    """Reads a log. `named`: columns by the user's word, which decide what is read; `volts`: of a log of
    current alone; `mark`: the decimal one, where the user tells it.

    Raises UsageError, naming file and line, for what cannot be read.
    """
    table = _table(path)
    columns = Columns(f"{path}:{table.head_line}", table.head, named or {}, table.names)
    if len(table.body) < 3:
        raise UsageError(f"{path}: {len(table.body)} rows of data: too few for a log")
    chosen = _chosen(path, columns, volts)
    clock = _clock(table, columns)
    numeric = [clock.column] if clock.texts is None else []
    numbers = _Numbers(table, [*numeric, *chosen], mark)
    times_s, absolute, taken = _times(table, columns, clock, numbers)
    series = _power([numbers.series(column, columns) for column in chosen], volts)
    _check_values(table, series, numbers.missing)
    times_s, values, repeated = _one_a_moment(table, times_s, series)
    assumed = (*([taken] if taken else []), *series.assumed)
    return MeterLog(
        path,
        times_s,
        values,
        series.quantity,
        absolute,
        series.name,
        series.step,
        assumed,
        repeated,
    )


# --- the table


@dataclass(frozen=True)
class _Table:
    path: Path
    delimiter: str
    head_line: int
    head: list[str]  # names of columns, with the units of a row below them
    names: list[str]  # names as they stand in the file
    body: list[tuple[int, list[str]]]  # numbered rows

    def column(self, index: int) -> list[str]:
        return [cells[index] if index < len(cells) else "" for _, cells in self.body]

    def where(self, row: int) -> str:
        return f"{self.path}:{self.body[row][0]}"

    def bad(self, row: int, message: str, fix: str = "") -> NoReturn:
        raise UsageError(f"{self.where(row)}: {message}", fix)


def _table(path: Path) -> _Table:
    rows, delimiter = _rows(path)
    at = _head(path, rows)
    head_line, names = rows[at]
    head = names
    repeated = [names]  # where logs were put one behind the other
    if at > 0:
        before = rows[at - 1][1]
        if (merged := with_units(before, names)) is not None:
            (head_line, names), head = rows[at - 1], merged
            repeated.append(before)
        elif (merged := with_units(names, before)) is not None:
            head = merged
            repeated.append(before)
    body = [(line, cells) for line, cells in rows[at + 1 :] if any(cells) and cells not in repeated]
    for line, cells in body:
        if len(cells) > len(head) and any(cells[len(head) :]):
            fix = (
                "quote numbers with a comma, or separate by semicolons" if delimiter == "," else ""
            )
            raise UsageError(f"{path}:{line}: {len(cells)} cells under {len(head)} columns", fix)
    return _Table(path, delimiter, head_line, head, names, body)


def _rows(path: Path) -> tuple[list[tuple[int, list[str]]], str]:
    """Numbered rows, comments left out, and what separates their cells."""
    lines = [(n, line) for n, line in enumerate(terminal_lines(_text(path)), 1) if line.strip()]
    told = re.fullmatch(r"sep=(.)", lines[0][1].strip()) if lines else None
    if told:  # as spreadsheets write it
        del lines[0]
    while lines and lines[0][1].lstrip().startswith("#") and len(lines) > 1:
        # The last comment before the data may be the head itself.
        if not lines[1][1].lstrip().startswith("#") and _is_data(lines[1][1]):
            lines[0] = (lines[0][0], lines[0][1].lstrip("# \t"))
            break
        lines.pop(0)
    kept = [(n, line) for n, line in lines if not line.lstrip().startswith("#")]
    if not kept:
        raise UsageError(f"{path}: the file is empty")
    # Beside another mark, a comma is that of a decimal number.
    delimiter = (
        told[1] if told else next((mark for mark in (";", "\t") if mark in kept[-1][1]), ",")
    )
    cells = csv.reader((line for _, line in kept), delimiter=delimiter, skipinitialspace=True)
    numbered = zip((n for n, _ in kept), cells, strict=False)
    try:
        return [(n, [cell.strip() for cell in row]) for n, row in numbered], delimiter
    except csv.Error as error:
        raise UsageError(f"{path}: this is not a CSV file: {error}") from None


def _text(path: Path) -> str:
    """The file as text; where it is in no Unicode, one byte a character, as older programs write "µ"."""
    packed = read_bytes(path, MAX_LOG_BYTES, UsageError)
    data = unpacked(packed, path, MAX_LOG_BYTES, UsageError)
    try:
        return decode(data, path, UsageError)
    except UsageError:
        if b"\0" in data:
            raise
        return data.decode("latin-1")


def _is_data(line: str) -> bool:
    return bool(re.match(r"\s*\"?[-+]?\d", line))


def _head(path: Path, rows: Sequence[tuple[int, list[str]]]) -> int:
    """Which row names the columns: the last one before the first row of numbers."""
    for at, ((_, cells), (_, following)) in enumerate(pairwise(rows)):
        if cells and not _is_data(cells[0]) and following and _is_data(following[0]):
            return at
    raise UsageError(
        f"{path}:{rows[0][0]}: there is no header row above the numbers",
        "add a header row, such as time_s,power_w",
    )


# --- what is read


def _chosen(path: Path, columns: Columns, volts: float | None) -> list[Column]:
    """The columns of what the user names, else of power, energy or current, whichever is there."""
    of_current = volts is not None or "voltage" in columns.named
    asked = [r for r in _ORDER if r in columns.named or (r == "current" and of_current)]
    if len(asked) > 1:
        raise UsageError(
            f"{path}: columns of {' and '.join(asked)} are named, but only one quantity can be read",
            "name power, or energy, or current with its voltage",
        )
    for role in asked or _ORDER:
        if (column := columns.get(role)) is not None:
            return [column, *_voltage(path, columns, volts)] if role == "current" else [column]
    if asked:
        raise UsageError(
            f"{path}: the log has no column of current", "name it with --current-column NAME"
        )
    raise UsageError(
        f"{path}: the log has no column of power, energy or current",
        "name it with --power-column NAME",
    )


def _voltage(path: Path, columns: Columns, volts: float | None) -> list[Column]:
    if volts is not None:
        if "voltage" in columns.named:
            raise UsageError("both --volts and --voltage-column are given", "give one of them")
        if not 0 < abs(volts) < MAX_V:
            raise UsageError(
                f"--volts {volts:g}: not a possible voltage of a device",
                "give it in volts, such as 5",
            )
        return []
    column = columns.get("voltage")
    if column is None:
        raise UsageError(
            f"{path}: the log has current but no voltage", "give --volts V or --voltage-column NAME"
        )
    return [column]


@dataclass(frozen=True)
class _Series:
    """A column in its base unit, or the power of several."""

    name: str
    values: Floats
    quantity: Quantity
    step: float  # what the last digit is worth
    assumed: tuple[str, ...]


class _Numbers:
    """The numbers of the columns that are read, by the decimal mark that the user tells or that they prove."""

    def __init__(self, table: _Table, columns: Sequence[Column], told: str) -> None:
        self._table = table
        self._told = told
        self.missing = ""  # what a cell says instead of a value
        self._units: dict[int, str] = {}
        self._texts = {column.index: self._plain_cells(column) for column in columns}

    def _plain_cells(self, column: Column) -> list[str]:
        """The cells without their units, "" where there is no value."""
        texts = self._table.column(column.index)
        for row, text in enumerate(texts):
            if text[-1:].isdigit():
                continue
            if text.strip("[]() ").lower() in _MISSING:
                self.missing = self.missing or text
                texts[row] = ""
            elif number := _WITH_UNIT.fullmatch(text):
                texts[row] = number[1]
                unit = unit_of(column.role, number[2])
                if unit is None or self._units.setdefault(column.index, unit) != unit:
                    self._table.bad(
                        row, f"{column.name}: {text[:40]!r} is in another unit than others"
                    )
        return texts

    def _all(self) -> Iterator[str]:
        return chain.from_iterable(self._texts.values())

    @cached_property
    def _mark(self) -> str:
        """The decimal mark of the file, "" where nobody tells."""
        if self._proven:
            return self._proven
        points_alone = not any("," in text for text in self._all())
        # Who writes decimal commas separates by something else.
        return "." if self._table.delimiter == "," and points_alone else ""

    @cached_property
    def _proven(self) -> str:
        """The decimal mark by the user's word, by the numbers that are read, or by all others."""
        return self._told or self._proven_by_those_read or self._proven_by_others

    @cached_property
    def _proven_by_others(self) -> str:
        cells = (cell for _, row in self._table.body for cell in row if "," in cell or "." in cell)
        try:
            return decimal_mark(cells)
        except MixedMarks:
            return ""

    @cached_property
    def _proven_by_those_read(self) -> str:
        marked = (text for text in self._all() if "." in text)
        if not any("," in text or text.count(".") > 1 for text in self._all()):
            return "." if any(map(proven_mark, marked)) else ""
        try:
            return decimal_mark(self._all())
        except MixedMarks as mixed:
            rows = [
                next(
                    row
                    for texts in self._texts.values()
                    for row, t in enumerate(texts)
                    if t == text
                )
                for text in mixed.texts
            ]
            self._table.bad(
                max(rows), f"{mixed} (line {self._table.body[min(rows)][0]}): the same mark cannot be both",
                "write all numbers with a decimal point",
            )  # fmt: skip

    def values(self, column: Column) -> Floats:
        """The numbers as they stand, NaN where there is none. Raises UsageError."""
        texts = self._texts[column.index]
        self._check_readings(column, texts)
        values = np.full(len(texts), np.nan)
        for row, text in enumerate(texts):
            if text:
                values[row] = self._value(column, row, text)
        return values

    def _value(self, column: Column, row: int, text: str) -> float:
        try:
            value = parse_number(text, self._mark)
        except TwoReadings as two:
            self._table.bad(row, f"{column.name}: {two}", _TWO_READINGS)
        if value is None or not math.isfinite(value):
            self._table.bad(row, f"{column.name}: {text[:60]!r} is not a number")
        return value

    def _check_readings(self, column: Column, texts: Sequence[str]) -> None:
        """Refuses a column that may be read in two ways, though a mark is proven or a point is usual.

        Every number is another with the other mark; between commas, a quoted comma is no decimal one. Or
        nothing but the commas proves the point, and beside 1.234 stands 998: a program that writes three
        decimals writes 998.000.
        """
        if self._told:
            return
        if not self._proven:
            whole = any(text.isdigit() and text.strip("0") for text in texts)
            row = (
                next((n for n, text in enumerate(texts) if is_ambiguous(text)), None)
                if whole
                else None
            )
            if row is not None:
                self._table.bad(row, f"{column.name}: {TwoReadings(texts[row])}", _TWO_READINGS)
            return
        if self._mark == "." and self._table.delimiter == ",":
            return
        other = "," if self._mark == "." else "."
        told = [(row, text) for row, text in enumerate(texts) if text]
        if told and all(other in text and is_ambiguous(text) for _, text in told):
            row, text = told[0]
            self._table.bad(row, f"{column.name}: {TwoReadings(text)}", _TWO_READINGS)

    def series(self, column: Column, columns: Columns) -> _Series:
        """A column's numbers in its base unit. Raises UsageError where it has another one, or none known."""
        values = self.values(column)
        unit = self._units.get(column.index, "")
        if unit and column.unit and UNITS[unit] != UNITS[column.unit]:
            raise UsageError(
                f"{self._table.where(0)}: {column.name}: its cells are in {unit}", _OTHER_UNIT
            )
        scale = UNITS[unit][1] if unit else columns.scale(column)
        quantity: Quantity = "energy" if column.role == "energy" else "power"
        beyond = np.flatnonzero(np.abs(values) >= MAX_J)
        if len(beyond):
            row = int(beyond[0])
            text = self._texts[column.index][row][:40]
            self._table.bad(row, f"{column.name}: {text} is beyond any machine", _OTHER_UNIT)
        assumed = () if column.unit or unit else (f"{column.name} in {BASE[column.role]}",)
        digits = max(
            (decimals(text, self._mark) for text in self._texts[column.index][:1000]), default=0
        )
        return _Series(column.name, values * scale, quantity, scale * 10.0**-digits, assumed)


_OTHER_UNIT = "correct the unit in the column's name"
_TWO_READINGS = "say which with --decimal point or --decimal comma"


def _power(read: Sequence[_Series], volts: float | None) -> _Series:
    """The series itself, or the power of a current at a fixed voltage or that of a column."""
    first, *others = read
    if volts is not None:
        step = first.step * abs(volts)
        return _Series(
            f"{first.name} x {volts:g} V", first.values * volts, "power", step, first.assumed
        )
    if not others:
        return first
    (voltage,) = others
    return _Series(
        f"{first.name} x {voltage.name}",
        first.values * voltage.values,
        "power",
        first.step * _mean(voltage.values) + voltage.step * _mean(first.values),
        (*first.assumed, *voltage.assumed),
    )


def _check_values(table: _Table, series: _Series, missing: str) -> None:
    """Raises UsageError for too few values, and for one that no machine takes. `missing`: what cells say
    that have none."""
    known = int(np.isfinite(series.values).sum())
    if not known and missing:
        raise UsageError(
            f"{table.path}: {series.name}: the meter gave no value: its {len(table.body)} cells say "
            f"{missing!r}",
            "read another column or another meter: this one does not measure it",
        )
    if known < 3:
        raise UsageError(
            f"{table.path}: {series.name}: {known} rows have a value: too few for a log"
        )
    most = MAX_J if series.quantity == "energy" else MAX_W
    beyond = np.flatnonzero(np.abs(series.values) >= most)
    if len(beyond):
        row = int(beyond[0])
        table.bad(
            row, f"{series.name}: {series.values[row]:.3g} is beyond any machine", _OTHER_UNIT
        )


def _mean(values: Floats) -> float:
    """Returns the mean of the known absolute values; 0 if none is known."""
    known = values[np.isfinite(values)]
    return float(np.abs(known).mean()) if len(known) else 0.0


# --- times


@dataclass(frozen=True)
class _Clock:
    column: Column
    texts: list[str] | None  # stamps; None: the column holds numbers


def _clock(table: _Table, columns: Columns) -> _Clock:
    """The column of time, with a second one where the first holds dates alone."""
    times = columns.every("time")
    if not times:
        raise UsageError(
            f"{table.path}:{table.head_line}: no column of time among: {', '.join(table.head)[:500]}",
            "name it with --time-column NAME",
        )
    first, *others = times
    texts = table.column(first.index)
    if is_date(texts[0]):
        days = next((c for c in others if is_time_of_day(table.column(c.index)[0])), None)
        if days is not None:
            clock = table.column(days.index)
            return _Clock(
                first, [f"{date} {time}" for date, time in zip(texts, clock, strict=True)]
            )
    numeric = re.fullmatch(
        r"[-+]?[\d.,'\u2019\s]+(?:e[-+]?\d+)?(?: ?[a-zµμ]+)?", texts[0], re.IGNORECASE
    )
    return _Clock(first, None if numeric and not is_date(texts[0]) else texts)


def _times(
    table: _Table, columns: Columns, clock: _Clock, numbers: _Numbers
) -> tuple[Floats, bool, str]:
    """Seconds, whether they are Unix time, and what was taken of what the file leaves open, "" for nothing."""
    name = clock.column.name
    if clock.texts is not None:
        read = moments(clock.texts, lambda row: f"{table.where(row)}: {name}")
        taken = "" if read.zoned or not read.absolute else f"{name} in UTC"
        return np.array(read.seconds), read.absolute, taken
    values = numbers.values(clock.column)
    empty = np.flatnonzero(np.isnan(values))
    if len(empty):
        row = int(empty[0])
        table.bad(row, f"{name}: {table.column(clock.column.index)[row][:60]!r} is not a number")
    unit, absolute = clock.column.unit, False
    scale = columns.scale(clock.column)
    taken = ""
    if not unit:
        told = next((unit for least, unit in _EPOCHS if abs(values[0]) >= least), None)
        absolute, scale, taken = told is not None, UNITS[told or "s"][1], f"{name} in {told or 's'}"
    times_s = values * scale
    beyond = np.flatnonzero(np.abs(times_s) >= LATEST_S)
    if len(beyond):
        row = int(beyond[0])
        text = table.column(clock.column.index)[row]
        table.bad(
            row, f"{name}: {text[:60]} is not a time: it would be {times_s[row]:.3g} s",
            _OTHER_UNIT,
        )  # fmt: skip
    return times_s, absolute or bool(unit and times_s[0] >= 1e9), taken


def _one_a_moment(table: _Table, times_s: Floats, series: _Series) -> tuple[Floats, Floats, int]:
    """Times that ascend: rows of one stamp are their mean power, or their last energy."""
    steps = np.diff(times_s)
    backwards = np.flatnonzero(steps < 0)
    if len(backwards):
        row = int(backwards[0]) + 1
        table.bad(
            row, f"time does not advance: {', '.join(table.body[row][1])[:120]}",
            "times must ascend from row to row: one log a file, and no clock that is set back",
        )  # fmt: skip
    if (steps > 0).all():
        return times_s, series.values, 0
    firsts = np.concatenate(([0], np.flatnonzero(steps > 0) + 1))
    if len(firsts) < 3:
        raise UsageError(
            f"{table.path}: {len(firsts)} stamps in {len(times_s)} rows: too few for a log"
        )
    if series.quantity == "energy":
        lasts = np.concatenate((firsts[1:], [len(times_s)])) - 1
        return times_s[firsts], series.values[lasts], len(times_s) - len(firsts)
    known = np.isfinite(series.values)
    counts = np.add.reduceat(known.astype(np.float64), firsts)
    sums = np.add.reduceat(np.where(known, series.values, 0.0), firsts)
    means = np.divide(sums, counts, out=np.full(len(firsts), np.nan), where=counts > 0)
    return times_s[firsts], means, len(times_s) - len(firsts)
