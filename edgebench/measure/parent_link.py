"""A worker's ties to its parent: it dies with it, and it speaks to it through one pipe."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading

from edgebench.measure.jobs import Done, Job, Phase, decode_job, encode_message

_PR_SET_PDEATHSIG = 1


class ParentLink:
    """The worker's end: `job_fd` stays open in the parent as a sign of life."""

    def __init__(self, job_fd: int, result_fd: int, parent_pid: int) -> None:
        self._job = os.fdopen(job_fd, "rb")
        self._result_fd = result_fd
        self._parent_pid = parent_pid

    def die_with_parent(self) -> None:
        """From now on this process ends when its parent does, however that ends.

        Linux: the kernel sends SIGKILL (prctl(2), PR_SET_PDEATHSIG). Elsewhere a thread waits for the
        end of the job pipe; it sleeps in `read` and takes no time.
        """
        if sys.platform == "linux":
            import ctypes

            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != self._parent_pid:  # it died before the call
                os._exit(1)
        else:
            threading.Thread(target=self._wait_for_end, daemon=True).start()

    def _wait_for_end(self) -> None:
        while self._job.read(1):
            pass
        os._exit(1)

    def receive_job(self) -> Job:
        return decode_job(self._job.readline())

    def phase(self, name: str, limit_s: float = 0.0) -> None:
        """Tells the parent what comes next and how long it may take beyond the time-out."""
        self._send(encode_message(Phase(name, limit_s)))

    def done(self, message: Done) -> None:
        self._send(encode_message(message))

    def _send(self, line: bytes) -> None:
        view = memoryview(line + b"\n")
        while view:
            view = view[os.write(self._result_fd, view) :]


def be_first_to_go() -> None:
    """Asks the kernel to kill this process, and not its parent, when memory runs out."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123
        file.write("1000")
