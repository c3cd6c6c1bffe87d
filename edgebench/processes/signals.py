"""Signals that ask a run to end: they end it as Ctrl-C does, so that it can say what is kept."""

from __future__ import annotations

import signal
from types import FrameType

#: Of a service manager or a CI system, of a terminal that is gone, of Ctrl-backslash, of `ulimit -t`.
ENDINGS = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGXCPU)


#: How to go on where nothing can be resumed.
AGAIN = "give the command again"


class Stopped(KeyboardInterrupt):
    """Raised in the main thread where a signal other than Ctrl-C's asks for the end."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")


_asked: list[int] = []


def stop(number: int, frame: FrameType | None) -> None:
    """A handler of signals. Raises Stopped."""
    raise Stopped(number)


def _stop_for_sure(number: int, frame: FrameType | None) -> None:
    """Stops even if Python loses the handler's exception while it finalises an object: `check` raises it again."""
    _asked.append(number)
    stop(number, frame)


def check() -> None:
    """Raises Stopped where a signal asked for the end and its exception was lost."""
    if _asked:
        stop(_asked.pop(), None)


def ended_by(error: KeyboardInterrupt) -> str:
    """Returns what ended a run, in words."""
    return str(error) or "interrupted"


def listen_for_endings() -> None:
    """From now on these signals raise Stopped; one that is ignored (nohup) stays so."""
    for number in ENDINGS:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _stop_for_sure)
