"""Holds what the kernel counts of this process and of those it started. Runs inside the worker, around the window.

Nothing here is asked of Python or of a backend: a runtime that works in threads or processes it does not
tell of, or on a clock of its own, cannot change what the kernel has counted.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from edgebench.probes.proc_files import LIVE, fields, read
from edgebench.record import Accounts

#: Bound when this module is loaded, before any backend's: the kernel's clocks by their numbers.
_gettime_ns = time.clock_gettime_ns
_RAW, _BOOT = getattr(time, "CLOCK_MONOTONIC_RAW", None), getattr(time, "CLOCK_BOOTTIME", None)


def raw_clock_ns() -> int | None:
    """The clock that nothing slews, asked of the kernel by its number; None where there is none."""
    return None if _RAW is None else _gettime_ns(_RAW)


def asleep_ns() -> int:
    """Nanoseconds that the machine has slept since it was started; 0 if it does not say."""
    return 0 if _BOOT is None else _gettime_ns(_BOOT) - _gettime_ns(time.CLOCK_MONOTONIC)


class _Thread(NamedTuple):
    """Holds the fields of /proc/PID/task/TID/schedstat."""

    cpu_ns: int
    waited_ns: int


class _Look(NamedTuple):
    """Everything that is counted, at one time."""

    monotonic_ns: int
    boot_ns: int | None
    cpu_ns: int  # of the process, threads that ended included
    major_faults: int
    storage_read_bytes: int | None
    threads: dict[str, _Thread]
    child_cpu_ns: int | None  # of children that run and of those that were waited for


class Account:
    """From the window's beginning, when it is made, to its end, when it is `closed`."""

    def __init__(self, root: Path = LIVE) -> None:
        self._root = root
        self._begin = _look(root)

    def closed(self) -> Accounts:
        begin, end = self._begin, _look(self._root)
        wall_ns = end.monotonic_ns - begin.monotonic_ns
        spent = {
            name: _since(thread, begin.threads.get(name)) for name, thread in end.threads.items()
        }
        mine = spent.get(str(os.getpid()))
        processes = list(descendants(self._root, os.getpid()))
        known = (self._root / "proc/self/task").is_dir()
        runnable_ns = sum(thread.cpu_ns + thread.waited_ns for thread in spent.values())
        child_cpu_ns = _difference(end.child_cpu_ns, begin.child_cpu_ns)
        return Accounts(
            wall_ns=wall_ns,
            suspended_ns=None
            if end.boot_ns is None or begin.boot_ns is None
            else max(0, end.boot_ns - begin.boot_ns - wall_ns),
            waited_ns=None if mine is None else mine.waited_ns,
            asleep_ns=None if mine is None else max(0, wall_ns - mine.cpu_ns - mine.waited_ns),
            runnable_ns=max(runnable_ns, end.cpu_ns - begin.cpu_ns) if spent else None,
            major_faults=end.major_faults - begin.major_faults,
            storage_read_bytes=_difference(end.storage_read_bytes, begin.storage_read_bytes),
            children=len(processes) if known else None,
            child_cpu_ns=child_cpu_ns if known else None,
            child_bytes=sum(_proportional_bytes(self._root, pid) for pid in processes)
            if known
            else None,
        )


def cpu_and_wait_ns(root: Path = LIVE) -> tuple[int, int | None]:
    """CPU time of the process so far, and how long its threads were ready to run and had no core; None: the system does
    not tell."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    waits = [thread.waited_ns for thread in _threads(root, "self").values()]
    return round((usage.ru_utime + usage.ru_stime) * 1e9), sum(waits) if waits else None


def _look(root: Path) -> _Look:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return _Look(
        monotonic_ns=_gettime_ns(time.CLOCK_MONOTONIC),
        boot_ns=None if _BOOT is None else _gettime_ns(_BOOT),
        cpu_ns=round((usage.ru_utime + usage.ru_stime) * 1e9),
        major_faults=usage.ru_majflt,
        storage_read_bytes=_storage_read_bytes(root),
        threads=_threads(root, "self"),
        child_cpu_ns=_child_cpu_ns(root),
    )


def _storage_read_bytes(root: Path) -> int | None:
    """Bytes that this process has had read from storage so far; None: the system does not tell."""
    count = fields(read(root / "proc/self/io")).get("read_bytes", "")
    return int(count) if count.isdecimal() else None


def descendants(root: Path, pid: int | str) -> Iterator[int]:
    """Processes that a process started, and those that they started, as far as they still run."""
    for listed in sorted((root / f"proc/{pid}/task").glob("*/children")):
        for child in (read(listed) or "").split():
            yield int(child)
            yield from descendants(root, child)


def _threads(root: Path, pid: int | str) -> dict[str, _Thread]:
    threads = {}
    for folder in (root / f"proc/{pid}/task").glob("*"):
        words = (read(folder / "schedstat") or "").split()
        if len(words) >= 2:
            threads[folder.name] = _Thread(int(words[0]), int(words[1]))
    return threads


def _child_cpu_ns(root: Path) -> int:
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    running = sum(
        thread.cpu_ns
        for pid in descendants(root, os.getpid())
        for thread in _threads(root, pid).values()
    )
    return running + round((ended.ru_utime + ended.ru_stime) * 1e9)


def _proportional_bytes(root: Path, pid: int) -> int:
    words = fields(read(root / f"proc/{pid}/smaps_rollup")).get("Pss", "").split()
    return int(words[0]) * 1024 if words and words[0].isdecimal() else 0


def _since(now: _Thread, before: _Thread | None) -> _Thread:
    """Returns what a thread spent; one that is new spent all of it meanwhile."""
    if before is None:
        return now
    return _Thread(now.cpu_ns - before.cpu_ns, now.waited_ns - before.waited_ns)


def _difference(now: int | None, before: int | None) -> int | None:
    return None if now is None or before is None else max(0, now - before)
