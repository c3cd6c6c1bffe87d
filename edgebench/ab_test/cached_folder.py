"""Caches folders: each is built once, and verified before it is used again.

A list beside the files says what each of them was. Files whose size and times are as last looked at are
taken to be unchanged (nobody can set the time of a change, `st_ctime`, back); others are hashed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from edgebench.assets import file_sha256
from edgebench.errors import AssetError, mend_disk
from edgebench.files.atomic_write import replacing
from edgebench.files.lock_file import is_ours, open_lock

LIST = ".edgebench-files"
#: Python writes these by itself, from files that are in the list.
_DERIVED = "__pycache__"


class _Known(msgspec.Struct, frozen=True, array_like=True):
    """Holds what the list records of a file, or the target of a link."""

    content: str  # sha256, or "-> target"
    size_bytes: int
    mtime_ns: int
    ctime_ns: int


_decode = msgspec.json.Decoder(dict[str, _Known]).decode


def make_once(folder: Path, make: Callable[[], None]) -> None:
    """Has `make` fill `folder` where that is not there, or no longer as it was made.

    Jobs that want the same thing wait for each other. Raises AssetError where it cannot be written.
    """
    with locked(folder.with_suffix(".lock")):
        if not _is_as_made(folder):
            shutil.rmtree(folder, ignore_errors=True)
            make()
            _write_list(folder, _look(folder, {}))


def _is_as_made(folder: Path) -> bool:
    if not is_ours(folder / LIST):
        return False
    try:
        known = _decode((folder / LIST).read_bytes())
        files = _look(folder, known)
    except (OSError, msgspec.MsgspecError):
        return False
    if {name: file.content for name, file in files.items()} != {
        name: file.content for name, file in known.items()
    }:
        return False
    if files != known:
        with contextlib.suppress(OSError):  # a cache that is read-only is hashed each time
            _write_list(folder, files)
    return True


def _look(folder: Path, known: dict[str, _Known]) -> dict[str, _Known]:
    """Every file below the folder by its name there; those that are as they are known are not read."""
    found = {}
    for directory, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name != _DERIVED]
        links = [name for name in folders if Path(directory, name).is_symlink()]
        for name in (*files, *links):
            path = Path(directory, name)
            relative = str(path.relative_to(folder))
            if relative != LIST:
                found[relative] = _look_at(path, known.get(relative))
    return found


def _look_at(path: Path, known: _Known | None) -> _Known:
    if path.is_symlink():
        return _Known(f"-> {path.readlink()}", 0, 0, 0)
    facts = path.stat()
    marks = facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns
    if known is not None and (known.size_bytes, known.mtime_ns, known.ctime_ns) == marks:
        return known
    return _Known(file_sha256(path), *marks)


def _write_list(folder: Path, files: dict[str, _Known]) -> None:
    with replacing(folder / LIST) as partial:
        partial.write_bytes(msgspec.json.encode(files))


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds a lock file: two jobs that want the same thing build it once. Raises AssetError where what
    stands beside it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = open_lock(path)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)
    except OSError as error:
        message = f"{error.filename or path}: {error.strerror or error}"
        raise AssetError(
            message, mend_disk(error, "set EDGEBENCH_CACHE to another folder")
        ) from None
