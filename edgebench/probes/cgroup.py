"""Holds what the control group of this process may use, in the layouts of cgroup v2 and v1.

Every level up to the root may set a limit, and the tightest one holds; a container sees its own
group as the root.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import Literal

from edgebench.probes.proc_files import read, read_int

Limit = float | Literal["none"] | None
_MOUNT = "sys/fs/cgroup"
V1_UNLIMITED_BYTES = 1 << 60  # v1 writes "no limit" as the largest multiple of the page size


def cpu_limit(root: Path) -> Limit:
    """CPUs' worth of time per period, "none" without a limit, None where no group can be read."""
    shares = [
        _share(*words)
        for group in levels(root, "cpu")
        if len(words := (read(group / "cpu.max") or "").split()) == 2
    ]
    shares += [
        _share(quota, period)
        for group in levels(root, "cpu")
        if (quota := read(group / "cpu.cfs_quota_us"))
        and (period := read(group / "cpu.cfs_period_us"))
    ]
    limits = [share for share in shares if share is not None]
    return min(limits) if limits else "none" if levels(root, "cpu") else None


def memory_limit_bytes(root: Path) -> Limit:
    """Bytes, "none" without a limit, None where no group can be read."""
    groups = levels(root, "memory")
    limits = [
        size
        for group in groups
        for name in ("memory.max", "memory.limit_in_bytes")
        if (size := read_int(group / name)) is not None and size < V1_UNLIMITED_BYTES
    ]
    return min(limits) if limits else "none" if groups else None


def cpu_stat_files(root: Path) -> list[Path]:
    """The `cpu.stat` of every level that counts `nr_throttled`."""
    paths = [group / "cpu.stat" for group in levels(root, "cpu")]
    return [path for path in paths if throttled_periods(path) is not None]


def throttled_periods(cpu_stat: Path) -> int | None:
    """Periods in which the group ran out of its quota, since the group was made."""
    for line in (read(cpu_stat) or "").splitlines():
        key, _, value = line.partition(" ")
        if key == "nr_throttled" and value.isdecimal():
            return int(value)
    return None


def levels(root: Path, controller: str) -> list[Path]:
    """Directories of this process's group and its ancestors, for v2 and for v1's `controller`."""
    levels: list[Path] = []
    for line in (read(root / "proc/self/cgroup") or "").splitlines():
        hierarchy, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if hierarchy == "0" and not controllers:
            mounts = [root / _MOUNT, root / _MOUNT / "unified"]
        elif controller in controllers.split(","):
            mounts = [root / _MOUNT / controllers, root / _MOUNT / controller]
        else:
            continue
        for mount in mounts:
            levels += [path for path in _upwards(mount, group) if path.is_dir()]
    # v1 mounts cpu,cpuacct once and links cpu to it.
    return list({os.path.realpath(path): path for path in reversed(levels)}.values())[::-1]


def _upwards(mount: Path, group: str) -> list[Path]:
    relative = PurePosixPath(group.lstrip("/"))
    return [mount / level for level in (relative, *relative.parents) if ".." not in level.parts]


def _share(quota: str, period: str) -> float | None:
    """Quota over period; None where there is no quota ("max" in v2, -1 in v1)."""
    if not (quota.isdecimal() and period.isdecimal() and int(period)):
        return None
    return int(quota) / int(period)
