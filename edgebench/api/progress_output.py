"""Sends the progress of a run to stderr, to a function of the user, or nowhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, TypeAlias

from edgebench.api import run_progress
from edgebench.api.run_request import Voice
from edgebench.assets.download_progress import line_progress, terminal_progress
from edgebench.text.plain_text import plain_lines, say

if TYPE_CHECKING:
    from edgebench.ab_test.ab_runner import Watcher as PairWatcher

#: What `progress=` takes: True for stderr, a function that gets each line, False for silence.
Telling: TypeAlias = bool | Callable[[str], None]


def to_stderr() -> Voice:
    """Live lines on a terminal, else a line now and then."""
    return Voice(say, run_progress.watching, terminal_progress)


def voice_of(telling: Telling) -> Voice:
    """A run's voice as the user wants it."""
    if telling is True:
        return to_stderr()
    tell = _told(telling)
    return Voice(
        tell,
        lambda: nullcontext(run_progress.LineWatcher(write=tell)),
        lambda: nullcontext(line_progress(tell)),
    )


@contextmanager
def pair_watcher(telling: Telling) -> Iterator[PairWatcher]:
    """The watcher of an A/B as the user wants it."""
    from edgebench.api import ab_progress

    if telling is True:
        with ab_progress.watching() as watcher:
            yield watcher
    else:
        yield ab_progress.LineWatcher(_told(telling))


def teller(telling: Telling) -> Callable[[str], None]:
    """The function that receives single lines of progress."""
    return say if telling is True else _told(telling)


def _told(telling: Telling) -> Callable[[str], None]:
    if not callable(telling):
        return lambda text: None
    return lambda text: telling(plain_lines(text))
