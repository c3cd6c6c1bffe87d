"""Writes a file completely or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgebench.errors import StoreError, mend_disk


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yields a temporary path, whose file replaces `path` if the block ends without an error.

    Raises StoreError where something cannot be written.
    """
    try:
        with replacing(path) as partial:
            yield partial
    except OSError as error:
        message = f"{path}: cannot be written: {error.strerror}"
        raise StoreError(message, mend_disk(error, "name another place")) from None


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path, whose file replaces `path` if the block ends without an error.

    A device or a pipe (`/dev/null`, `/dev/stdout`) is written to itself: nothing may take its place. A link
    stays one, and its file is replaced. What another user has put there is neither followed nor written to.
    Raises OSError.
    """
    refuse_planted(path)
    if path.exists() and not path.is_file():
        yield path
        return
    target = path.resolve()
    # No name that somebody could guess and take first; short, as `target` may be as long as names can be.
    partial = target.with_name(f".edgebench-{secrets.token_hex(8)}.partial")
    os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666))
    try:
        yield partial
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def refuse_planted(path: Path) -> None:
    """Raises PermissionError for a link or pipe of another user in a folder that all may write to, wherever
    in the path it stands.

    The kernel's own rule for such folders (protected_symlinks, protected_fifos), which not every system
    holds, and which replacing a file would go around.
    """
    for part in (path, *path.parents):
        if _is_planted(part):
            raise PermissionError(errno.EPERM, "another user has put it there", str(part))


def _is_planted(path: Path) -> bool:
    try:
        facts, folder = path.lstat(), path.parent.stat()
    except OSError:
        return False
    steers = not (stat.S_ISREG(facts.st_mode) or stat.S_ISDIR(facts.st_mode))
    shared = bool(folder.st_mode & stat.S_IWOTH)
    return steers and shared and facts.st_uid not in (os.geteuid(), folder.st_uid)
