"""Holds what all importers share: reading the file and its tables, and making a record."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import msgspec

from edgebench import __version__
from edgebench.backend import Scalar
from edgebench.errors import StoreError
from edgebench.files.ci_log_marks import terminal_lines, unstamped
from edgebench.files.foreign_text import decode, read_bytes, unpacked
from edgebench.record import (
    CellFacts,
    DeviceFacts,
    Energy,
    Imported,
    Quality,
    Record,
    Replicate,
    RunFacts,
)
from edgebench.text.number_parsing import MixedMarks, TwoReadings, decimal_mark, parse_number
from edgebench.text.plain_text import plain

UNKNOWN = "unknown"
UNKNOWN_MODEL = "unknown model"
MAX_FILE_BYTES = 64 << 20
#: No measurement is beyond these, in any unit that is used here.
MAX_NUMBER, MIN_NUMBER = 1e18, 1e-18
_MAX_DEPTH = 50  # of a JSON document
_MAX_NOTES = 5  # of one kind
_MAX_FAILURES = 50  # places that look like the start of a JSON document and are none
_MAX_INTEGER = 2**63 - 1
#: Where a JSON document may begin, and where an object or a list of objects surely does.
_DOCUMENT = re.compile(r"^[^\S\n]*([\[{])(?=\s*[\[{\]}\"0-9-])", re.MULTILINE)
_OBJECT = re.compile(r"(\{)(?=\s*[\"}])")
_SURELY = re.compile(r"\{\s*\"|\[\s*\{\s*\"")


@dataclass(frozen=True)
class SourceFile:
    """A file of another tool, whole in memory, without what terminals and CI systems put around it."""

    path: Path
    name: str
    sha256: str  # of the file as it lies there, packed or not
    text: str
    command: list[str] = field(default_factory=list)
    model: str = ""  # by the user's word, for a file that does not name its own
    mark: str = ""  # the decimal mark, by the user's word or as its numbers prove

    @cached_property
    def lines(self) -> list[str]:
        return self.text.split("\n")

    def bad(self, message: str, line: int | None = None, fix: str = "") -> NoReturn:
        """Raises StoreError that names file and line."""
        where = f"{self.path}:{line}" if line is not None else str(self.path)
        raise StoreError(f"{where}: {message}", fix)

    def origin(
        self,
        tool: str,
        row: dict[str, Any],
        line: int | None,
        started_utc: object = None,
        run: str | None = None,
    ) -> Origin:
        """The place of a row of this file. Its run is named by the tool and the file's hash, unless `run` names it."""
        run = run or f"{tool}-{self.sha256[:8]}"
        return Origin(tool, run, row, line, str(started_utc or UNKNOWN))

    def with_mark_of(self, numbers: Iterable[str], needs: Sequence[str] = ()) -> SourceFile:
        """The file with the decimal mark that the user told, else that its numbers prove. `needs`: columns of
        the table that they stand in. Raises StoreError where two marks are proven."""
        if self.mark:
            return self
        head = self.csv_head(needs) if needs else None
        between = "" if head is None else _delimiter(self.lines[head], needs)
        try:
            return replace(self, mark=decimal_mark(numbers, between))
        except MixedMarks as mixed:
            self.bad(f"{mixed}: the same mark cannot be both", fix="write all with a decimal point")

    def number(self, text: object, what: str, line: int | None, unit: float = 1.0) -> float:
        """A finite, positive number, times the unit it is in. Raises StoreError."""
        shown = f"{str(text)[:40]!r}"
        try:
            parsed = (
                parse_number(str(text), self.mark) if isinstance(text, str) else _plain_number(text)
            )
        except TwoReadings as two:
            self.bad(f"{what}: {two}", line, "say which with --decimal point or --decimal comma")
        if parsed is None:
            self.bad(f"{what} is not a number: {shown}", line)
        value = parsed * unit
        if not math.isfinite(value) or value <= 0:
            self.bad(f"{what} must be above 0 and finite, not {shown}", line)
        if not MIN_NUMBER <= value <= MAX_NUMBER:
            self.bad(f"{what} is beyond any measurement: {shown}", line)
        return value

    def nanoseconds(self, text: object, what: str, line: int | None, unit: float) -> float:
        """A time of at least one nanosecond, when rounded. Raises StoreError."""
        value = self.number(text, what, line, unit)
        if round(value) < 1:
            self.bad(f"{what} is less than a nanosecond: {str(text)[:40]!r}", line)
        return value

    def samples_ns(
        self, values: Iterable[object], what: str, line: int | None, unit: float
    ) -> list[int]:
        """Times as samples of a record. Raises StoreError."""
        return [round(self.nanoseconds(value, what, line, unit)) for value in values]

    def csv_head(self, needs: Sequence[str]) -> int | None:
        """How many lines stand before the first head that has `needs`; None where there is none."""
        return next((n for n, line in enumerate(self.lines) if _delimiter(line, needs)), None)

    def csv_rows(
        self, needs: Sequence[str], *, of_log: bool = False
    ) -> Iterator[tuple[int, dict[str, str]]]:
        """Line and fields of each row of each table whose head has `needs`.

        What stands before the first head is skipped; so are, `of_log` of a tool that quotes its rows, the
        lines between them that are not quoted. Raises StoreError.
        """
        start = self.csv_head(needs)
        if start is None:
            head = next((line for line in self.lines if line.strip()), "")
            missing = next((name for name in needs if name not in head), needs[0])
            self.bad(f"no column {missing!r}", 1, f"it needs {', '.join(needs)}")
        delimiter = _delimiter(self.lines[start], needs)
        body = self.lines[start:]
        quoted = of_log and any(line.startswith('"') for line in body[1:])
        reader = csv.reader(body, strict=True, delimiter=delimiter)
        head_fields: list[str] = []
        line = start + 1
        try:
            for fields in reader:
                is_head = all(name in fields for name in needs)
                skipped = quoted and not is_head and not self.lines[line - 1].startswith('"')
                if is_head:
                    head_fields = self._head(fields, line)
                elif fields and not skipped:
                    if len(fields) != len(head_fields):
                        self.bad(f"{len(fields)} fields under {len(head_fields)} columns", line)
                    yield line, dict(zip(head_fields, fields, strict=True))
                line = start + reader.line_num + 1
        except csv.Error as error:
            self.bad(f"no CSV: {error}", start + reader.line_num)

    def _head(self, fields: list[str], line: int) -> list[str]:
        twice = next((name for name in fields if fields.count(name) > 1), None)
        if twice is not None:
            self.bad(f"two columns are called {twice[:40]!r}", line)
        return fields

    def json_documents(self) -> Iterator[tuple[int, Any]]:
        """Line and value of each JSON document that begins a line; other text is skipped.

        Raises StoreError where one that begins as an object is none.
        """
        return self._json(_DOCUMENT)

    def json_objects(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Line and content of each JSON object, in a list or not; other text is skipped.

        Objects of a list that was never closed count too. Raises StoreError.
        """
        return self._json(_OBJECT)

    def _json(self, start: re.Pattern[str]) -> Iterator[tuple[int, Any]]:
        position, failures = 0, 0
        while failures < _MAX_FAILURES and (match := start.search(self.text, position)):
            document = self._document(match.start(1))
            if document is None:
                failures += 1
                position = match.end(1)
            else:
                value, position = document
                yield self._line(match.start(1)), value

    def _document(self, start: int) -> tuple[Any, int] | None:
        """Returns what a JSON document holds, and where it ends; None where the text is no JSON and need not be."""
        try:
            value, end = _DECODER.raw_decode(self.text, start)
            return _plain_value(value), end
        except json.JSONDecodeError as error:
            if _SURELY.match(self.text, start):
                self.bad(f"no JSON: {error.msg}", error.lineno)
            return None
        except (RecursionError, ValueError):
            self.bad(
                "no JSON that can be read: nested too deeply, or a number of too many digits",
                self._line(start),
            )

    @cached_property
    def _line_starts(self) -> list[int]:
        return [0, *(match.end() for match in re.finditer("\n", self.text))]

    def _line(self, position: int) -> int:
        return bisect_right(self._line_starts, position)


_DECODER = json.JSONDecoder(parse_constant=str)


def _delimiter(line: str, needs: Sequence[str]) -> str:
    """Returns what separates the fields of a head that has all columns that are needed; "" where it is none."""
    if not all(name in line for name in needs):
        return ""
    for delimiter in (",", ";", "\t"):
        fields = next(csv.reader([line], delimiter=delimiter), [])
        if all(name in fields for name in needs):
            return delimiter
    return ""


def _plain_number(value: object) -> float | None:
    """A number of a JSON document. One with too many digits is infinite."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _plain_value(value: Any, depth: int = 0) -> Any:
    """The value with texts as `plain` leaves them, and no integer that a record cannot hold.

    Raises ValueError where it is nested too deeply.
    """
    if depth > _MAX_DEPTH:
        raise ValueError("nested too deeply")
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, dict):
        return {plain(key): _plain_value(part, depth + 1) for key, part in value.items()}
    if isinstance(value, list):
        return [_plain_value(part, depth + 1) for part in value]
    if isinstance(value, int) and abs(value) > _MAX_INTEGER:
        return str(value)
    return value


def cell_value(cell: str) -> Any:
    """The value of a cell that Python wrote: nothing, a number, a truth or a list; else its text."""
    words = {"": None, "None": None, "nan": None, "True": True, "False": False}
    if cell in words:
        return words[cell]
    try:
        return _plain_value(json.loads(cell))
    except (ValueError, RecursionError):
        return cell


@dataclass(frozen=True)
class Imports:
    """The records of a file, and notes for the user."""

    records: list[Record]
    notes: list[str] = field(default_factory=list)


def open_source(path: Path, command: Sequence[str], model: str = "", mark: str = "") -> SourceFile:
    """Reads a file, unpacking gzip. `mark`: the decimal one, by the user's word. Raises StoreError."""
    packed = read_bytes(path, MAX_FILE_BYTES, StoreError)
    data = unpacked(packed, path, MAX_FILE_BYTES, StoreError)
    text = "\n".join(map(unstamped, terminal_lines(decode(data, path, StoreError))))
    return SourceFile(
        path,
        plain(path.name),
        hashlib.sha256(packed).hexdigest(),
        text,
        [plain(argument) for argument in command],
        plain(model),
        mark,
    )


def slug(text: str) -> str:
    """A name that may stand in the id of a cell: no spaces, commas, slashes."""
    return re.sub(r"[^\w.+-]+", "-", text).strip("-") or UNKNOWN


def _in_id(value: Scalar) -> str:
    """A setting in the id of a cell. Two that differ look different."""
    if not isinstance(value, str):
        return str(value)
    text = value.replace("/", ":").replace(" ", "-")
    readable = re.sub(r"[^\w.+:-]+", "-", text).strip("-") or UNKNOWN
    told_apart = "" if readable == text else f"~{hashlib.sha256(value.encode()).hexdigest()[:6]}"
    return readable + told_apart


@dataclass(frozen=True)
class ModelName:
    """Holds what a file says of the model that ran: its name in the id, its title, and its path as an axis
    where the name does not tell it whole."""

    stem: str
    title: str
    axes: Mapping[str, Scalar]

    def cell(
        self,
        prefix: str,
        backend: str,
        variant: Mapping[str, Scalar],
        task: str = UNKNOWN,
        scenario: str = "single_stream",
    ) -> CellFacts:
        """The cell of this model. `prefix`: before its name in the workload's."""
        return named_cell(
            workload=f"{prefix}-{self.stem}",
            title=self.title,
            task=task,
            backend=backend,
            variant={**variant, **self.axes},
            scenario=scenario,
        )


def model_of(source: SourceFile, told: str | None, number: int = 1) -> ModelName:
    """The model as told by the tool, else by the user.

    Where nobody tells, it is unknown, and its name is one that no other file's has: `number` counts the
    runs in a file.
    """
    path = told or source.model
    if not path:
        return ModelName(f"{UNKNOWN}-{source.sha256[:8]}-{number}", UNKNOWN_MODEL, {})
    path = path.replace("\\", "/").removeprefix("./")
    stem = slug(path.rstrip("/").rsplit("/", 1)[-1].removesuffix(".onnx"))
    return ModelName(stem, path, {} if path.removesuffix(".onnx") == stem else {"model": path})


def part(whole: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A part of a document; empty where it is not an object."""
    value = whole.get(name)
    return value if isinstance(value, dict) else {}


def first_few(notes: Sequence[str]) -> list[str]:
    """The first notes of many of one kind, and how many more there are."""
    more = len(notes) - _MAX_NOTES
    return [*notes[:_MAX_NOTES], *([f"and so do {more} more"] if more > 0 else [])]


def unnamed_note(records: Iterable[Record], told_by: str = "") -> list[str]:
    """The note for a record of an unknown model: how to name it. `told_by`: another way of the tool's."""
    if not any(record.cell.title.startswith(UNKNOWN_MODEL) for record in records):
        return []
    ways = f"--model NAME does{f', and so does {told_by}' if told_by else ''}"
    note = (
        f"the file does not name its model: {ways}; until then its rows meet those of no other file"
    )
    return [note]


class Origin(NamedTuple):
    """Holds the place of a row in its file, and its run."""

    tool: str
    run: str
    row: dict[str, Any]
    line: int | None
    started_utc: str


def named_cell(
    *,
    workload: str,
    version: int = 1,
    title: str,
    task: str = UNKNOWN,
    backend: str,
    variant: Mapping[str, Scalar],
    scenario: str = "single_stream",
) -> CellFacts:
    """What was measured, as the source names it."""
    axes = ",".join(f"{axis}={_in_id(variant[axis])}" for axis in sorted(variant))
    return CellFacts(
        id=f"{workload}@{version}/{slug(backend)}/{axes}/{scenario}",
        workload=workload,
        workload_version=version,
        title=title,
        task=task,
        backend=backend,
        variant=dict(variant),
        scenario=scenario,
    )


class Device(NamedTuple):
    """The device, as the source names it; a fact that is None is not told."""

    name: str
    facts: Mapping[str, Any]


UNKNOWN_DEVICE = Device(UNKNOWN, {"cpu_model": None, "os": None, "memory_bytes": None})


@dataclass(kw_only=True)
class Reported:
    """Holds what the source reports: metrics, what each is a statistic of, samples, and why others are unknown."""

    values: dict[str, float] = field(default_factory=dict)
    statistic: dict[str, str] = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    samples_ns: list[int] = field(default_factory=list)

    def put_once(
        self, source: SourceFile, metric: str, value: float, what: str, line: int | None
    ) -> None:
        """Adds a number. Raises StoreError where another one stands there already."""
        if self.values.setdefault(metric, value) != value:
            both = f"{self.values[metric]:g} and {value:g}"
            fix = "give the log of each run"
            source.bad(f"{what} stands twice for one run, as {both}", line, fix)


def make_record(
    source: SourceFile,
    origin: Origin,
    cell: CellFacts,
    reported: Reported,
    device: Device = UNKNOWN_DEVICE,
    *,
    quality: Quality | None = None,
    energy: Energy | None = None,
) -> Record:
    """A record with everything that the source tells, and why the rest is unknown. Raises StoreError
    where a setting is no finite number."""
    for axis, value in cell.variant.items():
        if isinstance(value, float) and not math.isfinite(value):
            source.bad(f"{axis} is {value}", origin.line)
    silent = f"{origin.tool} does not tell"
    samples_ns = reported.samples_ns  # all of them are of one process
    replicate = Replicate(index=0, status="ok", started_utc=UNKNOWN, samples_ns=samples_ns)
    return Record(
        cell=cell,
        status="ok",
        run=RunFacts(
            id=origin.run,
            started_utc=origin.started_utc,
            edgebench=__version__,
            python=UNKNOWN,
            settings={},
            command=source.command,
            seed=None,
            packages={},
            packages_sha256=UNKNOWN,
        ),
        device=_device_facts(device, silent),
        quality=quality,
        energy=energy or Energy(status="unavailable", reason="not_reported", detail=silent),
        replicates=[replicate] if samples_ns else [],
        imported=Imported(
            tool=origin.tool,
            file=source.name,
            sha256=source.sha256,
            line=origin.line,
            row=origin.row,
            reported=reported.values,
            statistic=reported.statistic,
            unknown=_unknown(origin.tool, reported, judged=quality is not None),
            notes=reported.notes,
        ),
    )


def _device_facts(device: Device, silent: str) -> DeviceFacts:
    told = {name: fact for name, fact in device.facts.items() if fact not in (None, "")}
    return DeviceFacts(
        name=device.name,
        facts=told,
        unknown={name: silent for name in device.facts if name not in told},
    )


def _unknown(tool: str, reported: Reported, judged: bool) -> dict[str, str]:
    """Why what the source does not tell is unknown."""
    silent = f"{tool} does not tell"
    reasons = {
        "model": "the result of another tool comes without the model file",
        "effective": f"{silent} what the runtime really did",
        "memory_peak_bytes": silent,
        "memory.peak_min_bytes": silent,
        "cold_start": silent,
        "warmup": silent,
        "pipeline": silent,
        "caching": silent,
        "inputs_sha256": silent,
        "interval.target": "another tool's result: no precision was asked for",
        **({} if judged else {"quality": f"{tool} does not judge the answers"}),
        **reported.unknown,
    }
    if "memory.peak" in reported.values:
        del reasons["memory_peak_bytes"]
    return reasons


def told_apart(imports: Imports) -> Imports:
    """The imports with an id of its own for each record of a device.

    Rows that share all that the file tells of them are counted: the second is `repeat=2`.
    """
    seen: Counter[tuple[str, str]] = Counter()
    records = []
    for record in imports.records:
        key = (record.device.name, record.cell.id)
        seen[key] += 1
        records.append(_repeat(record, seen[key]) if seen[key] > 1 else record)
    again = sum(seen.values()) - len(seen)
    if not again:
        return imports
    note = (
        f"{again} row{'s share' if again > 1 else ' shares'} every setting that the file tells with a "
        "row before: `repeat` in the variant counts them"
    )
    return Imports(records, [*imports.notes, note])


def _repeat(record: Record, number: int) -> Record:
    cell = record.cell
    again = named_cell(
        workload=cell.workload,
        version=cell.workload_version,
        title=cell.title,
        task=cell.task,
        backend=cell.backend,
        variant={**cell.variant, "repeat": number},
        scenario=cell.scenario,
    )
    return msgspec.structs.replace(record, cell=again)
