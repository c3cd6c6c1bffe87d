"""Opens files that users name: only regular files, no larger than their reader expects."""

from __future__ import annotations

import errno
import io
import os
import stat
from pathlib import Path

_BUFFER_BYTES = 1 << 17  # holds several lines of samples
_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


def open_regular(path: Path, max_bytes: int | None = None) -> io.BufferedReader:
    """Opens a file for reading. Raises OSError, whose `strerror` says why, for what is no regular file
    (a pipe that nobody writes to would be waited for without end) and for one larger than `max_bytes`.
    """
    fd = _opened(path)
    try:
        status = os.fstat(fd)
        kind = stat.S_IFMT(status.st_mode)
        if kind != stat.S_IFREG:
            raise _no_file(path, _KINDS.get(kind, "something else"))
        if max_bytes is not None and status.st_size > max_bytes:
            raise _too_large(path, f"it has {status.st_size / 2**20:.1f} MiB", max_bytes)
        return io.BufferedReader(io.FileIO(fd), _BUFFER_BYTES)
    except BaseException:
        os.close(fd)
        raise


def _opened(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        if error.errno not in (errno.ENXIO, errno.EOPNOTSUPP) or not path.is_socket():
            raise
        raise _no_file(path, "a socket") from None


def _no_file(path: Path, what: str) -> OSError:
    return OSError(errno.EINVAL, f"it is {what} and not a file", str(path))


def read_regular(path: Path, max_bytes: int) -> bytes:
    """The content of a file, like `open_regular`."""
    with open_regular(path, max_bytes) as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:  # it grew, or it is one of the kernel's, which tell no size
        raise _too_large(path, "it goes on", max_bytes)
    return content


def _too_large(path: Path, size: str, max_bytes: int) -> OSError:
    message = f"{size}, and at most {max_bytes / 2**20:g} MiB are read"
    return OSError(errno.EFBIG, message, str(path))
