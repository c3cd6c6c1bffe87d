"""The ties of a child to its parent: it dies with it, and a worker speaks to it through one pipe."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence

import msgspec

from edgebench.run.worker_messages import Done, Job, Phase, decode_job, encode_message

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
#: How often a process looks after its parent where the kernel does not tell of its end.
LOOK_S = 1.0


class ParentLink:
    """The worker's end of both pipes. Words on `job_fd` have one reader, the main thread."""

    def __init__(self, job_fd: int, result_fd: int, parent_pid: int) -> None:
        self._job = os.fdopen(job_fd, "rb")
        self._result_fd = result_fd
        self._parent_pid = parent_pid

    def die_with_parent(self) -> None:
        """From now on this process ends when its parent does, however that ends, and what its children leave
        behind stays its own: a helper that hides from it is still seen."""
        die_with_parent(self._parent_pid)
        if sys.platform == "linux":
            import ctypes

            ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def receive_job(self) -> Job:
        return decode_job(self._job.readline())

    def phase(self, name: str, limit_s: float = 0.0, so_far: Done | None = None) -> None:
        """Tells the parent what comes next, how long it may take beyond the time-out, and what stands
        where the budget ends within it."""
        self._send(encode_message(Phase(name, limit_s, so_far, time.monotonic_ns())))

    def done(self, message: Done) -> None:
        self._send(encode_message(msgspec.structs.replace(message, at_ns=time.monotonic_ns())))

    def _send(self, line: bytes) -> None:
        view = memoryview(line + b"\n")
        while view:
            view = view[os.write(self._result_fd, view) :]


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
        threading.Thread(target=outlive_nobody, args=(parent_pid,), daemon=True).start()


def outlive_nobody(
    parent_pid: int,
    parent: Callable[[], int] = os.getppid,
    sleep: Callable[[float], None] = time.sleep,
    leave: Callable[[int], object] = os._exit,
) -> None:
    """Ends this process once it has another parent: that of orphans."""
    while parent() == parent_pid:
        sleep(LOOK_S)
    leave(1)


def be_first_to_go() -> None:
    """Asks the kernel to kill this process, and not its parent, when memory runs out."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123
        file.write("1000")


def limit_memory(limit_bytes: int | None) -> None:
    """What this process may allocate from now on; None: as much as there is."""
    if limit_bytes is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes,) * 2)


def tie_to_parent(words: Sequence[str]) -> None:
    """What a child that makes something does first. `words`, its arguments: the parent's process id, and
    the bytes that it may allocate, or `-`."""
    parent_pid, limit = words
    die_with_parent(int(parent_pid))
    be_first_to_go()
    limit_memory(None if limit == "-" else int(limit))
