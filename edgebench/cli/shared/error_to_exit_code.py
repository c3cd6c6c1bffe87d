"""Whatever ends a command becomes one message on stderr and an exit code, never a traceback.

Errors of edgebench carry both; others are translated here: what click and the system refuse, an interrupt,
stdout that cannot be written, and mistakes of edgebench itself.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from pathlib import Path

import click

from edgebench.cli.shared.streams import StdoutError
from edgebench.errors import EdgebenchError, ExitCode, InternalError, StoreError, UsageError
from edgebench.processes.signals import AGAIN, ended_by
from edgebench.text.plain_text import say, shortened, utf8


def exit_code_of(program: click.Command) -> int:
    """Runs the command line and returns its exit code; an error is told on stderr."""
    try:
        code = program.main(standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else ExitCode.OK
    except click.ClickException as error:
        text = io.StringIO()
        error.show(text)
        say(text.getvalue())
        return ExitCode.USAGE
    except (click.Abort, KeyboardInterrupt) as error:
        return _interrupted(error)
    except StdoutError as error:
        return _without_stdout(error)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is no verdict
        told = as_told(error)
        if isinstance(told, InternalError) and os.environ.get(TRACEBACK):
            import traceback

            traceback.print_exception(error)
        say(f"edgebench: {told}")
        return told.exit_code


def _interrupted(error: BaseException) -> int:
    """OpenBLAS interrupts its own process where it gets no thread, and that is nobody's Ctrl-C."""
    import threading

    try:
        threading.Thread(target=int).start()
    except RuntimeError:
        say(f"edgebench: {_NO_PROCESS}")
        return _NO_PROCESS.exit_code
    ending = error.__cause__ if isinstance(error, click.Abort) else error  # what click made of it
    if isinstance(ending, KeyboardInterrupt):
        say(f"edgebench: {ended_by(ending)}: no file is left half written; {AGAIN}")
    return ExitCode.INTERRUPTED


def _without_stdout(error: StdoutError) -> int:
    if error.errno == errno.EPIPE:  # the reader (head, less) has enough
        return ExitCode.OK
    say(f"edgebench: stdout cannot be written: {error.strerror}")
    return ExitCode.STORE


def as_told(error: Exception) -> EdgebenchError:
    """The error as users are told of it, with its exit code: 1 would be read as a verdict."""
    if isinstance(error, EdgebenchError):
        return error
    if isinstance(error, UnicodeEncodeError):
        name = shortened(utf8(str(error.object)))
        fix = "rename that file or folder, or set EDGEBENCH_CACHE to another one"
        return UsageError(f"{name}: the name is not UTF-8 and cannot be stored", fix)
    if isinstance(error, OSError):
        return _of_the_system(error)
    if isinstance(error, MemoryError):
        return StoreError("there is not enough memory", "close other programs, or give fewer files")
    if isinstance(error, RuntimeError) and "start new thread" in str(error):
        return _NO_PROCESS
    if isinstance(error, RuntimeError) and "home directory" in str(error):
        return UsageError(
            "a path begins with ~ or ~NAME, and no user has that name or a home folder",
            "write the full path",
        )
    return InternalError(
        f"an error in edgebench itself: {type(error).__name__}: {error} ({_place(error)})",
        f"report it with the output of {TRACEBACK}=1; it is not a verdict",
    )


def _place(error: Exception) -> str:
    """The innermost line of ours that the error came through."""
    import traceback

    package = str(Path(__file__).parents[2])
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if frame.filename.startswith(package)]
    frame = (ours or frames)[-1]
    return f"{Path(frame.filename).name}:{frame.lineno}"


def _of_the_system(error: OSError) -> EdgebenchError:
    """Returns what the system refused, and where that is known what it was asked for."""
    names = [os.fsdecode(name) for name in (error.filename, error.filename2) if name is not None]
    why = error.strerror or str(error)
    if error.errno == errno.EAGAIN:
        return _NO_PROCESS
    relative = not any(map(os.path.isabs, names))
    if error.errno in (errno.ENOENT, errno.EACCES) and relative and not _is_usable(Path()):
        where = ["the working directory", *names[:1]]
        return StoreError(
            ": ".join([*where, why]), "change to a folder that you may read and write"
        )
    return StoreError(": ".join([*names[:1], why]), _FIXES.get(error.errno or 0, ""))


def _is_usable(folder: Path) -> bool:
    """Whether names in a folder lead anywhere: not where it was removed, or may not be looked into."""
    try:
        return bool(folder.resolve()) and os.access(folder, os.X_OK)
    except OSError:
        return False


#: Set to see where an unexpected error came from.
TRACEBACK = "EDGEBENCH_TRACEBACK"
_NO_SPACE = "free some space there and in the folder for temporary files (TMPDIR)"
_FIXES = {
    errno.ENOSPC: _NO_SPACE,
    errno.EDQUOT: _NO_SPACE,
    errno.EMFILE: "raise `ulimit -n`",
    errno.EACCES: "change what its permissions allow, or name another file or folder",
}
_NO_PROCESS = StoreError("the system cannot start another process or thread", "raise `ulimit -u`")
