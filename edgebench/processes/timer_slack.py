"""Lets a sleep end when it was asked to.

Linux lets a thread's sleeps end up to 50 us late so that the CPU wakes for several at once. A device's interrupt
would wake an application without that, so a load that sleeps until a query is due asks for none.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_PR_SET_TIMERSLACK, _PR_GET_TIMERSLACK = 29, 30
_MIN_SLACK_NS = 1  # 0 would restore the default


@contextmanager
def exact_timers() -> Iterator[None]:
    """Sleeps of this thread end as soon as they can; a system without such a setting is left as it is."""
    if sys.platform != "linux":
        yield
        return
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    before_ns = prctl(_PR_GET_TIMERSLACK, 0, 0, 0, 0)
    prctl(_PR_SET_TIMERSLACK, _MIN_SLACK_NS, 0, 0, 0)
    try:
        yield
    finally:
        if before_ns > 0:
            prctl(_PR_SET_TIMERSLACK, before_ns, 0, 0, 0)
