"""What the run of a job does now, in a small file beside its stderr: written by the run, read by the worker."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Any, Final

import msgspec

#: Tells a run which file it keeps; where it is not set, a run keeps none.
PROGRESS_VARIABLE: Final = "EDGEBENCH_PROGRESS"


class Progress(msgspec.Struct, frozen=True):
    """Which process of which cell runs, and when all of them are expected to be over."""

    cell: str
    number: int = 0  # 0: what is measured is being prepared
    total: int | None = None  # None: further processes were not foreseen
    until_s: float | None = None  # seconds of the board's clock since 1970

    def shown(self, now_s: float) -> dict[str, Any]:
        """Plain values for the desk, whose clock may be another one."""
        left_s = None if self.until_s is None else max(self.until_s - now_s, 0.0)
        return {"cell": self.cell, "number": self.number, "total": self.total, "left_s": left_s}


def progress_path() -> Path | None:
    """The file of this run."""
    given = os.environ.get(PROGRESS_VARIABLE)
    return Path(given) if given else None


def write_progress(path: Path, progress: Progress) -> None:
    """Replaces the file. A run does not fail for it: a full disk is told by what has to be kept."""
    partial = path.with_name(f"{path.name}.new")
    with contextlib.suppress(OSError):
        partial.write_bytes(msgspec.json.encode(progress))
        partial.replace(path)


def read_progress(path: Path, said: Path) -> dict[str, Any] | None:
    """What is shown of a job; None where there is nothing. Without the cell where the run has said something since then:
    its words are news."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Progress)
        if path.stat().st_mtime_ns < said.stat().st_mtime_ns:
            found = msgspec.structs.replace(found, cell="")
    except (OSError, msgspec.MsgspecError):
        return None
    return found.shown(time.time())
