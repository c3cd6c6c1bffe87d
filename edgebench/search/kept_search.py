"""Keeps a search: what exploring measured, a line each, so that a search that was stopped measures none of it again; and
what was found, beside its result file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from edgebench.errors import StoreError, mend_disk
from edgebench.files.atomic_write import replacing
from edgebench.search.search_messages import Exploration
from edgebench.search.search_picture import svg
from edgebench.search.search_report import SearchReport, read_search

Value = TypeVar("Value")


class _Line(msgspec.Struct, frozen=True, array_like=True):
    key: list[str]
    value: msgspec.Raw


class Journal:
    """A file of values by their keys. Lines are only ever added; one that was cut off counts as not there."""

    def __init__(self, path: Path, kept: dict[tuple[str, ...], msgspec.Raw]) -> None:
        self._path, self._kept = path, kept

    def once(self, key: Sequence[str], kind: Any, make: Callable[[], Value]) -> Value:
        """The value of a key: of the file, or made now and kept. `kind` is its type."""
        name = tuple(key)
        if name in self._kept:
            try:
                found: Value = msgspec.json.decode(self._kept[name], type=kind)
            except msgspec.MsgspecError:
                pass  # of another version of edgebench
            else:
                return found
        made = make()
        self._keep(name, made)
        return made

    def _keep(self, name: tuple[str, ...], made: object) -> None:
        value = msgspec.json.encode(made)
        self._kept[name] = msgspec.Raw(value)
        with _writing(self._path), self._path.open("ab") as file:
            file.write(msgspec.json.encode(_Line([*name], msgspec.Raw(value))) + b"\n")


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """The folder of a file is there. Raises StoreError where it, or the file, cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise StoreError(
            f"{path}: cannot write the search: {error.strerror}",
            mend_disk(error, "give another folder with --out") + "; --resume continues from here",
        ) from None


def write_file(path: Path, content: bytes) -> None:
    """Writes a file of a search whole, in a folder that is made where it is missing. Raises StoreError."""
    with _writing(path), replacing(path) as partial:
        partial.write_bytes(content)


def forget(path: Path) -> None:
    """Removes a file of an earlier search, whose folder is there after. Raises StoreError."""
    with _writing(path):
        path.unlink(missing_ok=True)


def journal_at(path: Path, resume: bool) -> Journal:
    """The journal of a search: what is kept where it goes on, else empty. Raises StoreError."""
    if not resume:
        forget(path)
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        lines = []
    if lines and not lines[-1].endswith(b"\n"):
        path.write_bytes(b"".join(lines[:-1]))
    return Journal(path, {tuple(each.key): each.value for each in map(_read, lines) if each})


def _read(line: bytes) -> _Line | None:
    try:
        return msgspec.json.decode(line, type=_Line)
    except msgspec.MsgspecError:
        return None


def read_exploration(path: Path) -> Exploration | None:
    """What an earlier search kept; None where there is nothing, or nothing whole."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Exploration)
    except (OSError, msgspec.MsgspecError):
        return None


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
