"""Makes stdout and stderr safe to use when they are closed or full, or when their reader has gone.

Results go to stdout, so that a failure there is an error of its own kind. What is said on stderr helps a
reader and decides nothing: where it cannot be written, the command goes on.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import select
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from typing_extensions import Buffer


_SIZE = re.compile(r"[0-9]{1,6}")  # of a terminal


class StdoutError(Exception):
    """stdout cannot be written; told from an error of any other file."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error.strerror)
        self.errno, self.strerror = error.errno, error.strerror


class _Output(io.RawIOBase):
    """Writes to a descriptor. After a failure the rest is dropped: Python flushes once more as it ends."""

    def __init__(self, fd: int, must: bool) -> None:
        self._fd, self._must, self._failed = fd, must, False

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd

    def isatty(self) -> bool:
        return os.isatty(self._fd)

    def write(self, data: Buffer, /) -> int:
        size = memoryview(data).nbytes
        if self._failed:
            return size
        try:
            return self._written(data)
        except OSError as error:
            self._failed = True
            if self._must:
                raise StdoutError(error) from None
            return size

    def _written(self, data: Buffer) -> int:
        while True:
            try:
                return os.write(self._fd, data)
            except BlockingIOError:  # somebody made it non-blocking, as terminals' programs do
                select.select([], [self._fd], [])


def secure_streams() -> None:
    """Puts streams in place that fail as this module says, keeps files that are opened later from getting
    the descriptor of a closed one, and forgets sizes of the terminal that are none."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            # What cannot be written must say so: stdout fails as a closed one does.
            os.open(os.devnull, os.O_WRONLY if fd == 2 else os.O_RDONLY)
    for name in ("COLUMNS", "LINES"):
        if not _SIZE.fullmatch(os.environ.get(name, "0")):  # rich would make a number of any digits
            del os.environ[name]
    sys.stdout = _text(sys.stdout, 1, must=True)
    sys.stderr = _text(sys.stderr, 2, must=False)


def _text(stream: TextIO | None, fd: int, must: bool) -> TextIO:
    """A text stream as the given one is, over a descriptor of our own kind."""
    raw = _Output(fd, must)
    if stream is not None:
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    errors = getattr(stream, "errors", None) or "strict"
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=getattr(stream, "encoding", None) or "utf-8",
        errors="backslashreplace" if errors in ("strict", "surrogateescape") else errors,
        line_buffering=fd == 2 or raw.isatty() or bool(getattr(stream, "write_through", False)),
    )
