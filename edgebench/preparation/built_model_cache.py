"""Caches built files: one folder per key, complete or absent, verified at every use."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import psutil

from edgebench.assets import file_sha256
from edgebench.errors import AssetError, mend_disk

_FACTS = "entry.json"
_PARTIAL = ".partial-"


class Made(msgspec.Struct, frozen=True, kw_only=True):
    facts: dict[str, Any]
    #: Files elsewhere that the entry stands for: absolute path -> sha256.
    refers_to: dict[str, str] = {}


class _Entry(msgspec.Struct, frozen=True, kw_only=True):
    files: dict[str, str]  # name -> sha256
    made: Made


@dataclass(frozen=True)
class Cache:
    """Entries below `root`. Processes may share it: the first to finish an entry wins."""

    root: Path
    #: Hears of each step before it is made, and of each part of one that can tell: signs of life.
    say: Callable[[str], object] = lambda step: None

    def get(self, key: dict[str, Any], make: Callable[[Path], Made]) -> tuple[Path, dict[str, Any]]:
        """The folder of the entry and its facts, made by `make(folder)` where there is none.

        An entry whose files are not what they were is made again. Raises AssetError where the cache
        cannot be written.
        """
        folder = self.root / _digest(key)
        entry = _read(folder)
        if entry is None:
            self.say(str(key.get("step", "model")))
            entry = self._make(folder, make)
        return folder, entry.made.facts

    def _make(self, folder: Path, make: Callable[[Path], Made]) -> _Entry:
        partial = self.root / f"{_PARTIAL}{os.getpid()}-{secrets.token_hex(4)}"
        try:
            partial.mkdir(parents=True)
            _sweep(self.root)
        except OSError as error:
            raise _not_writable(self.root, error) from None
        try:
            built = make(partial)
            entry = _Entry(files=_hashes(partial), made=built)
            (partial / _FACTS).write_bytes(msgspec.json.encode(entry))
            return _publish(partial, folder, entry)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
                raise _not_writable(self.root, error) from None
            raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _sweep(root: Path) -> None:
    """Removes what killed processes left half made."""
    for path in root.glob(f"{_PARTIAL}*"):
        owner = path.name.removeprefix(_PARTIAL).partition("-")[0]
        if not psutil.pid_exists(int(owner)):
            shutil.rmtree(path, ignore_errors=True)


def _publish(partial: Path, folder: Path, entry: _Entry) -> _Entry:
    """Moves the finished entry into place; where another process was first, takes its entry."""
    for _attempt in range(3):
        try:
            partial.rename(folder)
            return entry
        except OSError:
            if not folder.exists():
                raise
        present = _read(folder)
        if present is not None:
            return present
        broken = partial.with_name(f"{partial.name}-broken")
        folder.rename(broken)
        shutil.rmtree(broken, ignore_errors=True)
    raise OSError(f"{folder} cannot be replaced")


def _read(folder: Path) -> _Entry | None:
    """The entry if it is there and whole."""
    try:
        entry = msgspec.json.decode((folder / _FACTS).read_bytes(), type=_Entry)
        whole = all(file_sha256(folder / name) == sha for name, sha in entry.files.items())
        same = all(file_sha256(Path(p)) == sha for p, sha in entry.made.refers_to.items())
    except (OSError, msgspec.DecodeError, RecursionError):
        return None
    return entry if whole and same else None


def _hashes(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): file_sha256(path) for path in files}


def _digest(key: dict[str, Any]) -> str:
    text = json.dumps(key, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _not_writable(root: Path, error: OSError) -> AssetError:
    return AssetError(
        f"cannot write prepared models to {root}: {error.strerror or error}",
        fix=mend_disk(error, "set EDGEBENCH_CACHE to a folder that can be written"),
    )
