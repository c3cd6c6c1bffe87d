"""Every error that reaches a user, and the exit code it ends with.

EdgebenchError                   base: one message, one fix, one exit code (6), which is never 1
├── UsageError                   2: options or arguments that make no sense
│   └── SpecError                2: a definition file, with file:line:column and key path
├── AssetError                   6: a model or data file cannot be had or is not what it should be
├── StoreError                   7: results cannot be written or read
├── DeviceStateError             3: the machine is in no state to measure, under --strict
├── InternalError                70: an error in edgebench itself: no verdict, whatever was judged
└── UnsupportedError             a backend cannot do what was asked: becomes a row, never a fallback
"""

from __future__ import annotations

import errno
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgebench.api.results import Results


class ExitCode(IntEnum):
    """Exit codes of every `edgebench` command."""

    OK = 0  # ab, gate: pass or improve; also with `unsupported` or quality-struck rows
    CELL_FAILED = 1  # a cell failed or is invalid, or none was measured; ab, gate: a regression
    USAGE = 2  # options, arguments, definition files
    DEVICE_STATE = 3  # invalid device state under --strict
    INCONCLUSIVE = 4  # ab, gate: not enough evidence
    INVALID = 5  # ab, gate, compare: no valid comparison
    ASSET = 6  # a model or data file cannot be had
    STORE = 7  # results cannot be written or read, or the system refuses what they need
    INTERNAL = 70  # an error in edgebench itself: nothing is said of what was to be judged
    INTERRUPTED = 130  # Ctrl-C, SIGTERM, SIGHUP, SIGQUIT, SIGXCPU; what was measured is kept


#: In what runtimes say when they get no memory.
_OUT_OF_MEMORY = "bad_alloc", "failed to allocate", "out of memory", "cannot allocate memory"


def tells_of_no_memory(error: Exception) -> bool:
    """Whether a runtime's error is that it got no memory: no word on what it can do."""
    lowered = f"{type(error).__name__}: {error}".lower()
    return isinstance(error, MemoryError) or any(sign in lowered for sign in _OUT_OF_MEMORY)


class EdgebenchError(Exception):
    """An error with a message for people, and, where there is one, the fix.

    No error ends with 1: that is a verdict of `ab` and `gate`. Where no subclass says more, a model or data
    file is not what a task needs.
    """

    exit_code = ExitCode.ASSET
    #: What `edgebench.run` had measured before the error ended the run.
    results: Results | None = None

    def __init__(self, message: str, fix: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.message}\n  fix: {self.fix}" if self.fix else self.message


class UsageError(EdgebenchError):
    exit_code = ExitCode.USAGE


class SpecError(UsageError):
    """A definition file is wrong. Line and column count from 1."""

    def __init__(
        self, file: str, line: int, column: int, key: str, message: str, fix: str = ""
    ) -> None:
        where = f"{file}:{line}:{column}: " + (f"{key}: " if key else "")
        super().__init__(where + message, fix)
        self.file, self.line, self.column, self.key = file, line, column, key


class AssetError(EdgebenchError):
    exit_code = ExitCode.ASSET


class StoreError(EdgebenchError):
    exit_code = ExitCode.STORE


class DeviceStateError(EdgebenchError):
    exit_code = ExitCode.DEVICE_STATE


class InternalError(EdgebenchError):
    """An error in edgebench itself. The exit code is EX_SOFTWARE of sysexits(3)."""

    exit_code = ExitCode.INTERNAL


class UnsupportedError(EdgebenchError):
    """The backend cannot run this model with these options. Becomes a row `unsupported`."""

    exit_code = ExitCode.USAGE


def mend_disk(error: OSError, elsewhere: str) -> str:
    """The fix for a disk that cannot be written; `elsewhere` says how to name another place."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"free some space, or {elsewhere}"
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return f"make it writable, or {elsewhere}"
    if error.errno == errno.ELOOP:
        return f"there is a link: remove it, or {elsewhere}"
    if error.errno in (errno.ENOLCK, errno.EOPNOTSUPP):
        return f"its file system has no locks: {elsewhere}"
    return elsewhere
