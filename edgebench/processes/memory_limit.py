"""Limits the memory of a process: what it allocates, and by a control group of its own (cgroup v2's memory.max, or v1's
limit) what it holds.

Unlike a limit on what a process allocates, a group counts pages of files too, and the kernel may drop those and read
them again: what a small device does with weights that are mapped.
"""

from __future__ import annotations

import contextlib
import glob
import os
import re
import resource
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edgebench.probes.cgroup import levels
from edgebench.probes.proc_files import LIVE, read

#: What holds a process that no group can be made for: pages of files are not counted then.
BY_ALLOCATIONS = "RLIMIT_DATA"
#: The name of a group of ours, with the id of the process that made it.
_OWN = re.compile(r"edgebench-(\d+)-[0-9a-f]{8}")
#: What this process might allocate when it began, such as `ulimit -d` says, and the most that it may ask for.
_AT_START = resource.getrlimit(resource.RLIMIT_DATA)


def be_first_to_go() -> None:
    """Asks the kernel to kill this process, and not its parent, when memory runs out."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123
        file.write("1000")


def limit_memory(limit_bytes: int | None) -> None:
    """Limits what this process may allocate from now on; None: as much as it might when it began, which no limit exceeds."""
    at_start, most = _AT_START
    limit = at_start if limit_bytes is None else limit_bytes
    if at_start != resource.RLIM_INFINITY:
        limit = min(limit, at_start)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, most))


@dataclass(frozen=True)
class MemoryGroup:
    """A control group. `by`: what limits it; `folder`: None where there is none, and the process limits itself."""

    by: str
    folder: Path | None = None

    def add(self, pid: int) -> None:
        """Moves a process into the group. Raises OSError."""
        if self.folder is not None:
            (self.folder / "cgroup.procs").write_text(str(pid))

    @property
    def kills(self) -> int:
        """Processes of the group that the kernel ended for want of memory."""
        if self.folder is None:
            return 0
        events = (
            read(self.folder / "memory.events") or read(self.folder / "memory.oom_control") or ""
        )
        counts = dict(line.split(maxsplit=1) for line in events.splitlines() if " " in line)
        count = counts.get("oom_kill", "0")
        return int(count) if count.isdecimal() else 0


def lift_limit(folder: Path) -> None:
    """Lets a group hold what it likes, for what its process does once it was measured."""
    names = ("memory.memsw.limit_in_bytes", "memory.limit_in_bytes", "memory.max")
    for file in (folder / name for name in names):
        if file.exists():
            with contextlib.suppress(OSError):
                file.write_text("max" if file.name == "memory.max" else "-1")


def drop_from_page_cache(model: Path, further: Iterable[Path] = ()) -> None:
    """Has the kernel forget the pages of a model's files: of a folder, or of a file and those beside it that are named
    after it, and of `further` ones. A page that is held already counts for whoever read it first, and a group would have
    it for nothing. Pages that another process maps stay. A system without such a call has no such groups either."""
    if not hasattr(os, "posix_fadvise"):
        return
    if model.is_dir():
        files = [path for path in model.rglob("*") if path.is_file()]
    else:
        # "a.bin" and "a_data" are named after "a.xml", and "apart.bin" is not.
        beside, rest = model.parent.glob(f"{glob.escape(model.stem)}*"), len(model.stem)
        files = [
            path for path in beside if path.is_file() and not path.name[rest : rest + 1].isalnum()
        ]
    for path in (*files, *further):
        with contextlib.suppress(OSError):
            opened = os.open(path, os.O_RDONLY)
            try:
                os.fdatasync(opened)  # what is not written yet is kept
                os.posix_fadvise(opened, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(opened)


@contextlib.contextmanager
def memory_group(budget_bytes: int, root: Path = LIVE) -> Iterator[MemoryGroup]:
    """A group of so many bytes below the nearest one that this process may divide; without one, no group.

    Its processes must have ended when the block is left: the group is removed.
    """
    folder, by = _create_group(budget_bytes, root)
    try:
        yield MemoryGroup(by, folder)
    finally:
        if folder is not None:
            with contextlib.suppress(OSError):
                folder.rmdir()


def _create_group(budget_bytes: int, root: Path) -> tuple[Path | None, str]:
    for parent in levels(root, "memory"):
        version = _version(parent)
        if version is None or not os.access(parent, os.W_OK):
            continue
        _remove_orphans(parent, root)
        folder = parent / f"edgebench-{os.getpid()}-{secrets.token_hex(4)}"
        try:
            folder.mkdir()
        except OSError:
            continue
        try:
            _limit(folder, version, budget_bytes)
        except OSError:
            with contextlib.suppress(OSError):
                folder.rmdir()
            continue
        return folder, f"cgroup v{version}"
    return None, BY_ALLOCATIONS


def _remove_orphans(parent: Path, root: Path) -> None:
    """Removes the groups of edgebench that a killed process left behind; one that still holds a process stays."""
    for folder in parent.iterdir():
        own = _OWN.fullmatch(folder.name)
        if own and not (root / "proc" / own[1]).exists():
            with contextlib.suppress(OSError):
                folder.rmdir()


def _version(group: Path) -> int | None:
    """Of a group below which another can be limited; None: it cannot."""
    if (group / "memory.limit_in_bytes").exists():
        return 1
    return 2 if "memory" in (read(group / "cgroup.subtree_control") or "").split() else None


def _limit(folder: Path, version: int, budget_bytes: int) -> None:
    """Memory and nothing beside it: what is swapped out still takes its place. Raises OSError."""
    if version == 1:
        (folder / "memory.limit_in_bytes").write_text(str(budget_bytes))
        with contextlib.suppress(OSError):  # a kernel that counts no swap
            (folder / "memory.memsw.limit_in_bytes").write_text(str(budget_bytes))
        return
    (folder / "memory.max").write_text(str(budget_bytes))
    with contextlib.suppress(OSError):
        (folder / "memory.swap.max").write_text("0")
