"""From result files to a report's file, whole or not at all."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgebench.errors import StoreError, UsageError
from edgebench.record import Record
from edgebench.report.build import build_report
from edgebench.store import iter_records, result_files
from edgebench.suggest import did_you_mean

#: Format -> module of this package and its function that gives text or bytes.
_FORMS = {
    "html": ("page", "render"),
    "md": ("page_markdown", "render"),
    "png": ("pictures", "png"),
    "svg": ("pictures", "svg"),
}


def write_report(paths: Sequence[Path], out: Path, form: str, workloads: Sequence[str]) -> None:
    """Writes the report of these files. Raises StoreError and UsageError."""
    if form != "md":
        from edgebench.report import vegalite

        vegalite.require()  # before minutes of reading
    files = _files(paths)
    report = build_report(_records(files, workloads), [file.name for file in files])
    if workloads and not report.rows:
        known = {record.cell.workload for record in _records(files, ())}
        raise UsageError(f"no workload {workloads[0]!r}{did_you_mean(workloads[0], known)}")
    module, function = _FORMS[form]
    made = getattr(importlib.import_module(f"edgebench.report.{module}"), function)(report)
    _put(out, made.encode() if isinstance(made, str) else made)


def _files(paths: Sequence[Path]) -> list[Path]:
    """Every result file once, however often it is named."""
    files: dict[Path, Path] = {}
    for path in paths:
        for file in result_files(path):
            files.setdefault(file.resolve(), file)
    if not files:
        raise StoreError(
            f"no result files below {', '.join(map(str, paths))}",
            "`edgebench run` writes results/<device>/<time>-<id>.jsonl",
        )
    return list(files.values())


def _records(files: Sequence[Path], workloads: Sequence[str]) -> Iterator[Record]:
    for file in files:
        for record in iter_records(file):
            if not workloads or record.cell.workload in workloads:
                yield record


def _put(out: Path, content: bytes) -> None:
    if str(out) == "-":
        sys.stdout.buffer.write(content)
        return
    partial = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        partial.write_bytes(content)
        partial.replace(out)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise StoreError(f"{out}: cannot be written: {error.strerror}") from None
    print(f"report: {out} ({len(content) / 2**20:.1f} MiB)", file=sys.stderr)
