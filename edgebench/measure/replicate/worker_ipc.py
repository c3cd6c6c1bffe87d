"""The worker's end of the pipes to its parent: it receives a job, and tells of phases and of the result."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from datetime import datetime, timezone

import msgspec

from edgebench.measure.worker_messages import Done, Job, Phase, decode_job, encode_message
from edgebench.processes.memory_limit import be_first_to_go
from edgebench.processes.parent_tie import die_with_parent, keep_orphans


def begin(words: Sequence[str]) -> tuple[ParentLink, Job, str]:
    """What a worker does first, of its arguments: the link, its job, and when it began.

    From then on the process ends with its parent, and before it when memory runs out.
    """
    link = ParentLink(*map(int, words))
    link.die_with_parent()
    be_first_to_go()
    job = link.receive_job()
    return link, job, datetime.now(timezone.utc).isoformat(timespec="milliseconds")


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
        keep_orphans()

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
