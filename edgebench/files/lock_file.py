"""Opens lock files so that no link and no file of another user is ever touched."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

_FLAGS = os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW


def open_lock(path: Path) -> int:
    """A descriptor of the file `path`, for `flock`; made where there is none.

    Raises OSError where it cannot be opened, and PermissionError for what is no file of this user.
    """
    fd = os.open(path, _FLAGS, 0o600)
    try:
        _check_own(os.fstat(fd), path, stat.S_ISREG, "file")
    except OSError:
        os.close(fd)
        raise
    return fd


def own_folder(path: Path) -> Path:
    """The folder `path` of this user, to which nobody else can write; made where there is none.

    Raises OSError where it cannot be made, and PermissionError where something else stands there.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    _check_own(path.lstat(), path, stat.S_ISDIR, "folder")
    return path


def is_ours(path: Path) -> bool:
    """Whether this user, or root, has made it: what anybody else says of a file proves nothing."""
    try:
        return path.lstat().st_uid in (os.geteuid(), 0)
    except OSError:
        return False


def _check_own(
    facts: os.stat_result, path: Path, is_kind: Callable[[int], bool], kind: str
) -> None:
    if not is_kind(facts.st_mode) or facts.st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, f"is not a {kind} of this user", str(path))
    if facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(errno.EPERM, "can be written by other users", str(path))
