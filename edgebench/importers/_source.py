"""What all formats share: the file as read, its tables, and the making of a record."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import math
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from edgebench import __version__
from edgebench.backend import Scalar
from edgebench.errors import StoreError
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

UNKNOWN = "unknown"


@dataclass(frozen=True)
class SourceFile:
    """A file of another tool, whole in memory."""

    path: Path
    name: str
    sha256: str  # of the file as it lies there, packed or not
    text: str
    command: list[str] = field(default_factory=list)

    def bad(self, message: str, line: int | None = None, fix: str = "") -> NoReturn:
        """Raises StoreError that names file and line."""
        where = f"{self.path}:{line}" if line is not None else str(self.path)
        raise StoreError(f"{where}: {message}", fix)

    def number(self, text: object, what: str, line: int | None, unit: float = 1.0) -> float:
        """A finite, positive number, times the unit it is in. Raises StoreError."""
        try:
            value = float(str(text)) * unit
        except ValueError:
            self.bad(f"{what} is no number: {str(text)[:40]!r}", line)
        if not math.isfinite(value) or value <= 0:
            self.bad(f"{what} must be above 0 and finite, not {str(text)[:40]}", line)
        return value

    def csv_rows(
        self, needs: Sequence[str], first_line: int = 1
    ) -> Iterator[tuple[int, dict[str, str]]]:
        """Line and fields of each row; the head must have `needs`. Raises StoreError."""
        reader = csv.reader(io.StringIO(self.text), strict=True)
        try:
            head = next(reader, [])
            missing = [name for name in needs if name not in head]
            if missing:
                self.bad(f"no column {missing[0]!r}", first_line, f"it needs {', '.join(needs)}")
            start = reader.line_num + 1
            for fields in reader:
                if fields:
                    if len(fields) != len(head):
                        self.bad(f"{len(fields)} fields under {len(head)} columns", start)
                    yield start, dict(zip(head, fields, strict=True))
                start = reader.line_num + 1
        except csv.Error as error:
            self.bad(f"no CSV: {error}", reader.line_num)

    def json(self, text: str | None = None, first_line: int = 1) -> Any:
        """The text, or a part of it, as one JSON document. Raises StoreError."""
        try:
            return json.loads(self.text if text is None else text)
        except json.JSONDecodeError as error:
            self.bad(f"no JSON: {error.msg}", first_line + error.lineno - 1)
        except (RecursionError, ValueError):
            self.bad("no JSON that can be read: nested too deeply, or a number of too many digits")


@dataclass(frozen=True)
class Imports:
    """The records of a file, and what to tell of the import."""

    records: list[Record]
    notes: list[str] = field(default_factory=list)


def open_source(path: Path, command: Sequence[str]) -> SourceFile:
    """Reads a file, unpacking gzip. Raises StoreError."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from None
    digest = hashlib.sha256(data).hexdigest()
    if data.startswith(b"\x1f\x8b"):
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise StoreError(f"{path}: damaged gzip: {error}", "fetch it again") from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise StoreError(f"{path}:{line}: not UTF-8 text") from None
    return SourceFile(path, path.name, digest, text, list(command))


def slug(text: str) -> str:
    """A name that may stand in the id of a cell: no spaces, commas, slashes."""
    return re.sub(r"[^\w.+-]+", "-", text).strip("-") or UNKNOWN


def _in_id(value: Scalar) -> str:
    return slug(value) if isinstance(value, str) else str(value)


def make_record(
    source: SourceFile,
    *,
    tool: str,
    line: int | None,
    row: dict[str, Any],
    workload: str,
    version: int,
    title: str,
    task: str,
    backend: str,
    variant: Mapping[str, Scalar],
    scenario: str,
    device: str,
    facts: Mapping[str, Any],
    run: str,
    reported: Mapping[str, float],
    statistic: Mapping[str, str],
    unknown: Mapping[str, str],
    started_utc: str = UNKNOWN,
    notes: Sequence[str] = (),
    quality: Quality | None = None,
    energy: Energy | None = None,
    replicates: Sequence[Replicate] = (),
) -> Record:
    """A record with everything that the source tells, and why the rest is unknown. Raises StoreError
    where a setting is no finite number."""
    for axis, value in variant.items():
        if isinstance(value, float) and not math.isfinite(value):
            source.bad(f"{axis} is {value}", line)
    axes = ",".join(f"{axis}={_in_id(variant[axis])}" for axis in sorted(variant))
    silent = f"{tool} does not tell"
    reasons = {
        "model": "no model file is at hand: another tool's result",
        "effective": f"{silent} what the runtime really did",
        "memory_peak_bytes": silent,
        "memory.peak_min_bytes": silent,
        "cold_start": silent,
        "warmup": silent,
        "pipeline": silent,
        "caching": silent,
        "inputs_sha256": silent,
        "interval.target": "another tool's result: no precision was asked for",
        **({} if quality is not None else {"quality": f"{tool} does not judge the answers"}),
        **unknown,
    }
    reasons = {
        path: why
        for path, why in reasons.items()
        if not (path == "memory_peak_bytes" and "memory.peak" in reported)
    }
    return Record(
        cell=CellFacts(
            id=f"{workload}@{version}/{slug(backend)}/{axes}/{scenario}",
            workload=workload,
            workload_version=version,
            title=title,
            task=task,
            backend=backend,
            variant=dict(variant),
            scenario=scenario,
        ),
        status="ok",
        run=RunFacts(
            id=run,
            started_utc=started_utc,
            edgebench=__version__,
            python=UNKNOWN,
            settings={},
            command=source.command,
            seed=None,
            packages={},
            packages_sha256=UNKNOWN,
        ),
        device=DeviceFacts(
            name=device,
            facts={name: fact for name, fact in facts.items() if fact not in (None, "")},
            unknown={name: silent for name, fact in facts.items() if fact in (None, "")},
        ),
        quality=quality,
        energy=energy or Energy(status="unavailable", reason="not_reported", detail=silent),
        replicates=list(replicates),
        imported=Imported(
            tool=tool,
            file=source.name,
            sha256=source.sha256,
            line=line,
            row=row,
            reported=dict(reported),
            statistic=dict(statistic),
            unknown=reasons,
            notes=list(notes),
        ),
    )


def sampled(samples_ns: Sequence[int], started_utc: str = UNKNOWN, **parts: Any) -> Replicate:
    """Samples that a source gives, as the one process they come from."""
    return Replicate(
        index=0, status="ok", started_utc=started_utc, samples_ns=list(samples_ns), **parts
    )
