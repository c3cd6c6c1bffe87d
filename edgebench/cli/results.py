"""Result files as the arguments of a command."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from edgebench.errors import StoreError
from edgebench.record import Record
from edgebench.store import iter_records, result_files


def files_of(paths: Sequence[Path]) -> list[Path]:
    """Every file once, however often it is named. Raises StoreError where there is none."""
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


def records_of(files: Sequence[Path]) -> Iterator[Record]:
    """The records of all files, one at a time."""
    for file in files:
        yield from iter_records(file)
