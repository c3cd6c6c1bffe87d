"""Ties a child to its parent: it ends when the parent does."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence

from edgebench.processes.memory_limit import be_first_to_go, limit_memory

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
#: How often a process looks after its parent where the kernel does not tell of its end.
LOOK_S = 1.0


def die_with_parent(parent_pid: int) -> None:
    """From now on this process ends when its parent does, however that ends.

    Linux: the kernel sends SIGKILL (prctl(2), PR_SET_PDEATHSIG). Elsewhere a thread looks whether the
    parent is still the same.
    """
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent_pid:  # it died before the call
            os._exit(1)
    else:
        threading.Thread(target=exit_when_orphaned, args=(parent_pid,), daemon=True).start()


def keep_orphans() -> None:
    """Makes orphans of this process's children its own children (Linux)."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def exit_when_orphaned(
    parent_pid: int,
    parent: Callable[[], int] = os.getppid,
    sleep: Callable[[float], None] = time.sleep,
    leave: Callable[[int], object] = os._exit,
) -> None:
    """Ends this process once it has another parent: that of orphans."""
    while parent() == parent_pid:
        sleep(LOOK_S)
    leave(1)


def tie_to_parent(words: Sequence[str]) -> None:
    """What a child that makes something does first. `words`, its arguments: the parent's process id, and
    the bytes that it may allocate, or `-`."""
    parent_pid, limit = words
    die_with_parent(int(parent_pid))
    be_first_to_go()
    limit_memory(None if limit == "-" else int(limit))
