"""Cores for a pair: chosen at random, and locked, so that parallel jobs on a machine never share one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from edgebench.errors import DeviceStateError
from edgebench.files.lock_file import open_lock, own_folder
from edgebench.probes.proc_files import LIVE

#: How long to wait for a core that another job holds: a few pairs of it.
CORES_TIMEOUT_S = 60.0
POLL_S = 0.1


class CoreLease(NamedTuple):
    """Cores that are ours for now; empty where this system cannot pin. Workers inherit the locks."""

    cores: tuple[int, ...]
    fds: tuple[int, ...]


def available() -> list[int]:
    """Cores this process may run on; empty where there is no pinning (macOS)."""
    if not hasattr(os, "sched_getaffinity"):
        return []
    return sorted(os.sched_getaffinity(0))


def usable_cpus() -> int:
    return len(available()) or os.cpu_count() or 1


def lock_folder() -> Path:
    """The lock folder of this user's jobs. One for all users would be a place where each of them could
    make the others open what is not theirs."""
    return Path(tempfile.gettempdir()) / f"edgebench-{os.geteuid()}"


@contextmanager
def hold(
    count: int,
    *,
    source: random.Random,
    among: Sequence[int] | None = None,
    folder: Path | None = None,
    patience_s: float = CORES_TIMEOUT_S,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[CoreLease]:
    """Holds `count` cores, at random among those that no other job holds.

    Where the system cannot pin, one lock stands for the machine. Raises DeviceStateError where other
    jobs hold too many of them for `patience_s`.
    """
    folder = lock_folder() if folder is None else folder
    cores = available() if among is None else list(among)
    names = [str(core) for core in cores] or ["machine"]
    count = min(count, len(names))
    give_up = clock() + patience_s
    with contextlib.ExitStack() as stack:
        while True:
            held = _take(source.sample(names, len(names)), count, folder)
            if len(held) == count:
                break
            _release(held.values())
            if clock() >= give_up:
                raise DeviceStateError(
                    f"other edgebench jobs hold the cores of this machine ({folder})",
                    "let one gate run at a time, or give each job cores of its own (taskset)",
                )
            sleep(POLL_S)
        stack.callback(_release, list(held.values()))
        pinned = tuple(sorted(int(name) for name in held)) if cores else ()
        yield CoreLease(pinned, tuple(held.values()))


@contextmanager
def borrow(
    held: Sequence[int],
    *,
    among: Sequence[int] | None = None,
    folder: Path | None = None,
    root: Path = LIVE,
) -> Iterator[tuple[int, ...]]:
    """Borrows as many further cores as are held, for a moment: of the same memory node, and none that another job
    holds. Where there are not so many, those that are held."""
    folder = lock_folder() if folder is None else folder
    nodes = {_node(core, root) for core in held}
    others = sorted({*(available() if among is None else among)} - {*held})
    near = [str(core) for core in others if _node(core, root) in nodes]
    taken = _take(near, len(held), folder) if len(near) >= len(held) else {}
    try:
        yield tuple(map(int, taken)) if len(taken) == len(held) else tuple(held)
    finally:
        _release(taken.values())


def _node(core: int, root: Path) -> str:
    """The memory node of a core; "" where the system tells of none."""
    folder = root / f"sys/devices/system/cpu/cpu{core}"
    return next((path.name for path in folder.glob("node[0-9]*")), "")


def _take(names: Sequence[str], count: int, folder: Path) -> dict[str, int]:
    """Locks of the first `count` free names. Raises DeviceStateError where the folder is not this user's."""
    held: dict[str, int] = {}
    for name in names:
        if len(held) == count:
            break
        fd = _open(folder, name)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            continue
        held[name] = fd
    return held


def _open(folder: Path, name: str) -> int:
    try:
        return open_lock(own_folder(folder) / f"{name}.lock")
    except OSError as error:
        raise DeviceStateError(
            f"no lock for a core: {error.filename or folder}: {error.strerror}",
            "remove it, or set TMPDIR to a folder of your own",
        ) from None


def _release(fds: Iterable[int]) -> None:
    for fd in fds:
        os.close(fd)
