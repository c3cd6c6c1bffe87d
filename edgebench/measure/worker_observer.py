"""Observes a worker from its parent: whether it was stopped, and whether its clock is the machine's.

Parent and worker read the same monotonic clock, so what a worker says it is by its clock when it speaks
can be at most the time at which its words arrive, and is less by the time they took. A clock that
somebody slowed down falls behind by more with every phase.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from edgebench.measure.worker_messages import Done
from edgebench.record import Reason, Replicate
from edgebench.words.reason_words import reason

#: Words of a worker about its window begin with the first of these and end before what follows.
WINDOW = "measurement"
END = "end"
#: A clock falls behind by at least this share of the time since the window began, and by this much: the
#: least of several looks, so that a parent that wakes late now and then sees nothing.
MIN_LAG_SHARE = 0.05
MIN_LAG_S = 0.1
MIN_LOOKS = 3
STOPPED = reason("device_stopped")
SUSPENDED = reason("device_suspended")
#: A suspend takes seconds; less is how far two clocks are read apart.
MIN_SUSPENDED_NS = 10_000_000


@dataclass
class Witness:
    """Sees one worker from its start to its last word. `clock` is the parent's."""

    clock: Callable[[], int] = time.monotonic_ns
    stopped: bool = False  # while it measured
    _phase: str = ""
    _window_ns: int | None = None  # the window began, by the parent's clock
    _before: list[int] = field(default_factory=list)  # how late words arrived, up to the window
    _after: list[int] = field(default_factory=list)  # likewise from its end on

    def look(self, pid: int) -> None:
        """Whether it was stopped, or continued, since the last look."""
        if was_stopped(pid) and self._phase == WINDOW:
            self.stopped = True

    def hear(self, phase: str, at_ns: int | None, late: bool) -> None:
        """It says that a phase begins, `at_ns` by its clock. `late`: the parent was asleep itself."""
        now_ns = self.clock()
        if phase == WINDOW:
            self._window_ns = now_ns
        # Of its last word nothing is known: a session that is closed may have put the clock right again.
        if at_ns is not None and not late and phase != END:
            (self._before if self._window_ns is None or phase == WINDOW else self._after).append(
                now_ns - at_ns
            )
        self._phase = phase

    @property
    def lag_ns(self) -> int | None:
        """Returns by how much, at least, the worker's clock fell behind since the window began; None: unknown."""
        if len(self._after) < MIN_LOOKS:
            return None
        return min(self._after) - min(self._before, default=0)

    def slow_clock(self) -> Reason | None:
        """Reports that the worker's clock differs from the machine's, as far as is known by now."""
        since_ns = 0 if self._window_ns is None else self.clock() - self._window_ns
        return clock_reason(self.lag_ns, since_ns)

    def told(self, done: Done) -> Done:
        """The worker's last word, with what was seen of it meanwhile."""
        replicate = msgspec.structs.replace(done.replicate, clock_lag_ns=self.lag_ns)
        phases = [
            STOPPED if self.stopped else None,
            SUSPENDED if _suspended(replicate) else None,
            self.slow_clock(),
        ]
        reasons = [fault for fault in phases if fault is not None]
        if reasons and replicate.status in ("ok", "invalid"):
            replicate = msgspec.structs.replace(
                replicate, status="invalid", reasons=[*replicate.reasons, *reasons]
            )
        return msgspec.structs.replace(done, replicate=replicate)


def clock_reason(lag_ns: int | None, since_ns: int) -> Reason | None:
    """Reports that a clock fell behind by more than `since_ns` explain."""
    if lag_ns is None or abs(lag_ns) <= MIN_LAG_S * 1e9 + MIN_LAG_SHARE * since_ns:
        return None
    return reason("clock_disagrees.lag")


def _suspended(replicate: Replicate) -> bool:
    counted = replicate.accounts
    return counted is not None and (counted.suspended_ns or 0) > MIN_SUSPENDED_NS


def was_stopped(pid: int) -> bool:
    """Whether a child was stopped or continued since this was last asked; False where nobody tells."""
    try:
        events = os.WSTOPPED | os.WCONTINUED | os.WNOHANG
        return os.waitid(os.P_PID, pid, events) is not None
    except (AttributeError, ChildProcessError):
        return False
