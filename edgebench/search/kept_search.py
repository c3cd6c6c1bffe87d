"""Keeps what a search found beside its result file, and reads it again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from edgebench.errors import StoreError
from edgebench.files.json_lines import decoded
from edgebench.files.regular_file import read_regular
from edgebench.search.journal import write_file
from edgebench.search.search_picture import svg
from edgebench.search.search_report import SEARCH_SCHEMA, SearchReport

MAX_FILE_BYTES = 1 << 26
_FIX = "`edgebench search` writes one beside its results: RESULTS.search.json"


def keep_search(report: SearchReport, results: Path) -> None:
    """Writes RESULTS.search.json and RESULTS.search.svg. Raises StoreError."""
    write_file(search_file(results), msgspec.json.format(msgspec.json.encode(report)))
    write_file(results.with_suffix(".search.svg"), svg(report).encode())


def search_file(results: Path) -> Path:
    """Where the search of a result file is kept."""
    return results.with_suffix(".search.json")


def searches_beside(files: Sequence[Path], tell: Callable[[str], None]) -> list[SearchReport]:
    """The searches that are kept beside result files. `tell` hears of those that cannot be read."""
    found = []
    for path in filter(Path.is_file, map(search_file, files)):
        try:
            found.append(read_search(path))
        except StoreError as error:
            tell(f"left out: {error.message}")
    return found


def read_search(path: Path) -> SearchReport:
    """Raises StoreError where the file is missing or is none, naming the field."""
    try:
        content = read_regular(path, MAX_FILE_BYTES)
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}", _FIX) from None
    decode = msgspec.json.Decoder(SearchReport).decode
    return decoded(content, decode, str(path), f"not a {SEARCH_SCHEMA} file", _FIX)
