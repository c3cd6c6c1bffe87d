"""Reads the memory of this process, and what is left for others. It runs in the worker, so it imports next to nothing."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from edgebench.probes.cgroup import V1_UNLIMITED_BYTES, levels
from edgebench.probes.proc_files import LIVE, fields, read, read_int


def peak_rss(root: Path = LIVE, platform: str = sys.platform) -> tuple[int | None, str]:
    """High-water mark of resident memory in bytes, and its source or why there is none.

    Linux: VmHWM of /proc/self/status, not `ru_maxrss`, which a process inherits from the one that
    forked it. macOS: `ru_maxrss`, which counts bytes there (Linux: KiB).
    """
    if platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, "ru_maxrss"
    kib = _kib(_status(root).get("VmHWM"))
    if kib is None:
        return None, f"no VmHWM in {root / 'proc/self/status'}"
    return kib * 1024, "VmHWM"


def uss_bytes(root: Path = LIVE, platform: str = sys.platform) -> int | None:
    """Memory in bytes that ending this process would free, or None where it cannot be had."""
    if platform == "darwin":
        import psutil

        try:
            return int(psutil.Process().memory_full_info().uss)
        except psutil.Error:
            return None
    rollup = fields(read(root / "proc/self/smaps_rollup"))
    sizes = [_kib(rollup.get(key)) for key in ("Private_Clean", "Private_Dirty")]
    if None in sizes:
        return None
    huge = _kib(rollup.get("Private_Hugetlb")) or 0  # the line exists only on kernels that use it
    return (sum(size for size in sizes if size is not None) + huge) * 1024


def resident_together(pids: Sequence[int], root: Path = LIVE) -> int | None:
    """Resident memory of processes together in bytes, shared pages by their share where the system tells; None
    where it tells nothing of one of them."""
    found = [_proportional(root / "proc" / str(pid)) for pid in pids]
    return None if None in found else sum(size for size in found if size is not None)


def available_bytes(root: Path = LIVE, platform: str = sys.platform) -> int | None:
    """Memory in bytes that further processes may take: MemAvailable, or what the control groups of this process leave
    where that is less; None: the system does not tell. Pages of files that the kernel can drop are available."""
    if platform == "darwin":
        import psutil

        return int(psutil.virtual_memory().available)
    found = [_left_by(group) for group in levels(root, "memory")]
    found.append(_as_bytes(_kib(fields(read(root / "proc/meminfo")).get("MemAvailable"))))
    return min((size for size in found if size is not None), default=None)


def _left_by(group: Path) -> int | None:
    """What the limit of a control group leaves; None: it has none."""
    for limit_file, used_file, of_all in (
        ("memory.max", "memory.current", ""),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
    ):
        limit, used = read_int(group / limit_file), read_int(group / used_file)
        if limit is not None and used is not None and limit < V1_UNLIMITED_BYTES:
            stat = fields(read(group / "memory.stat"), " ")
            pages = [stat.get(f"{of_all}{kind}_file", "") for kind in ("inactive", "active")]
            droppable = sum(int(size) for size in pages if size.isdecimal())
            return max(0, limit - used + droppable)
    return None


def _proportional(folder: Path) -> int | None:
    shared = _kib(fields(read(folder / "smaps_rollup")).get("Pss"))
    return _as_bytes(shared or _kib(fields(read(folder / "status")).get("VmRSS")))


class Resident(NamedTuple):
    """Memory of this process as it is now, in bytes; None: the system does not tell."""

    anonymous: int | None  # written by the process itself: heap, stacks, private copies
    #: Pages of files, such as weights that are mapped: the kernel may drop them.
    file_backed: int | None
    proportional: int | None  # each page that others share by its share (PSS)


def resident(root: Path = LIVE) -> Resident:
    """RssAnon and RssFile of /proc/self/status, Pss of /proc/self/smaps_rollup (Linux)."""
    status = _status(root)
    rollup = fields(read(root / "proc/self/smaps_rollup"))
    anonymous, file_backed = (_kib(status.get(key)) for key in ("RssAnon", "RssFile"))
    return Resident(*map(_as_bytes, (anonymous, file_backed, _kib(rollup.get("Pss")))))


def _as_bytes(kib: int | None) -> int | None:
    return None if kib is None else kib * 1024


def _status(root: Path) -> dict[str, str]:
    return fields(read(root / "proc/self/status"))


def _kib(value: str | None) -> int | None:
    """The number in "1234 kB", or None."""
    words = (value or "").split()
    if len(words) == 2 and words[1] == "kB" and words[0].isdecimal():
        return int(words[0])
    return None
