"""Writes a file completely or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
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
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: OSError) -> StoreError:
    message = f"{path}: cannot be written: {error.strerror}"
    return StoreError(message, mend_disk(error, "name another place"))


@contextmanager
def ready_to_write(path: Path) -> Iterator[None]:
    """Refuses, before there is anything to write, what no `whole_file` can be; a pipe is held open meanwhile.

    Raises StoreError, on entering alone.
    """
    with ExitStack() as held:
        try:
            refuse_planted(path)
            if path.exists() and not path.is_file():
                held.enter_context(_held_open(path))
        except OSError as error:
            raise _unwritable(path, error) from None
        yield


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path, whose file replaces `path` if the block ends without an error.

    A device or a pipe (`/dev/null`, `/dev/stdout`) is written to itself: nothing may take its place. A link
    stays one, and its file is replaced. What another user has put there is neither followed nor written to,
    and nothing waits for a reader. Raises OSError.
    """
    refuse_planted(path)
    if path.exists() and not path.is_file():
        with _held_open(path):
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


def append(path: Path, text: str) -> None:
    """Writes at the end of a file, which need not be there yet. Raises OSError, also for a pipe that nobody
    reads and for a socket."""
    if path.exists() and not path.is_file():
        with _held_open(path), path.open("w", encoding="utf-8") as special:
            special.write(text)
        return
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


@contextmanager
def _held_open(path: Path) -> Iterator[None]:
    """Holds a pipe open meanwhile, so that its next opening waits for nobody and its reader sees no early
    end. Raises OSError for one that nobody reads, and for a socket."""
    kind = stat.S_IFMT(path.stat().st_mode)
    if kind == stat.S_IFSOCK:
        raise OSError(errno.ENXIO, "it is a socket and not a file", str(path))
    with ExitStack() as held:
        if kind == stat.S_IFIFO:
            held.callback(os.close, _end_to_write(path))
        yield


def _end_to_write(pipe: Path) -> int:
    try:
        return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        raise OSError(errno.ENXIO, "it is a pipe that nobody reads", str(pipe)) from None


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
