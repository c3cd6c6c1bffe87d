"""Signals that ask a run to end: they end it as Ctrl-C does, so that it can say what is kept."""

from __future__ import annotations

import signal
from types import FrameType

#: Of a service manager or a CI system, of a terminal that is gone, of Ctrl-backslash.
ENDINGS = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class Stopped(KeyboardInterrupt):
    """Raised in the main thread where a signal other than Ctrl-C's asks for the end."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")


def stop(number: int, frame: FrameType | None) -> None:
    """A handler of signals. Raises Stopped."""
    raise Stopped(number)


def ended_by(error: KeyboardInterrupt) -> str:
    """What ended a run, in words."""
    return str(error) or "interrupted"


def listen_for_endings() -> None:
    """From now on these signals raise Stopped; one that is ignored (nohup) stays so."""
    for number in ENDINGS:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, stop)
