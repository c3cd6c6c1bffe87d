"""Reads how long this thread was ready to run but had no core. Runs in an arm, between two clock reads."""

from __future__ import annotations

import os
from pathlib import Path

from edgebench.probes.proc_files import LIVE


class WaitClock:
    """The run delay of the main thread: the second number of Linux's /proc/self/schedstat, in ns.

    Time asleep is no part of it, so that wall time minus it is computing and blocking, whoever else
    wanted the core. `known` is False where the kernel does not count it; then it reads 0.
    """

    def __init__(self, root: Path = LIVE) -> None:
        self._fd = -1
        try:
            self._fd = os.open(root / "proc/self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
            self.known = len(os.pread(self._fd, 128, 0).split()) >= 2
        except OSError:
            self.known = False

    def read_ns(self) -> int:
        return int(os.pread(self._fd, 128, 0).split()[1]) if self.known else 0

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self.known = -1, False
