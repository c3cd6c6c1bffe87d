"""Finds and removes cached files that no known workload needs."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from .asset_cache import cache_dir, clear, disk_errors

#: Folders in `models/` are named by this many digits of the sha256 of what they are made from.
SOURCE_DIGITS = 16


@dataclass(frozen=True)
class Leftover:
    """A file or folder of the cache that can go, and why."""

    path: Path
    size_bytes: int
    reason: str


def prune(known: Collection[str], *, dry_run: bool = False) -> list[Leftover]:
    """Removes what is not of an asset in `known` (sha256), and gives what it removed.

    That is assets, what was derived from them, and what killed downloads left. With `dry_run`
    nothing is removed. Not to be called while a run measures. Raises AssetError.
    """
    with disk_errors():
        leftovers = list(_leftovers(known))
        for leftover in [] if dry_run else leftovers:
            clear(leftover.path)
    return leftovers


def _leftovers(known: Collection[str]) -> Iterator[Leftover]:
    root = cache_dir()
    sources = {sha256[:SOURCE_DIGITS] for sha256 in known}
    yield from _select(root / "assets", lambda name: name not in known, "no workload names it")
    yield from _select(root / "files", lambda name: name not in known, "no workload names it")
    yield from _select(
        root / "models", lambda name: name not in sources, "made of what no workload names"
    )
    yield from _select(
        root / "tmp", lambda name: _is_free(root / "locks" / name), "left by a killed download"
    )


def _select(folder: Path, unneeded: Callable[[str], bool], reason: str) -> Iterator[Leftover]:
    with contextlib.suppress(FileNotFoundError):
        for path in sorted(folder.iterdir()):
            if unneeded(path.name):
                yield Leftover(path, _size_bytes(path), reason)


def _is_free(lock: Path) -> bool:
    """Whether no process is downloading under this lock."""
    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return True
    except BlockingIOError:
        return False
    return True


def _size_bytes(path: Path) -> int:
    if not path.is_dir():
        return path.lstat().st_size
    return sum(
        Path(folder, name).lstat().st_size for folder, _, names in os.walk(path) for name in names
    )
