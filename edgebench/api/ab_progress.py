"""Shows the progress of an A/B on stderr: a live line on a terminal, occasional lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from edgebench.ab_test.ab_runner import ABCell, Watcher
from edgebench.text.plain_text import plain, say
from edgebench.units import format_clock


class LineWatcher:
    """For pipes and logs: a line when a cell fails, and one each time all cells had a turn."""

    def __init__(self, write: Callable[[str], None] = say) -> None:
        self._sweep = 0
        self._write = write

    def pair_starts(self, cell: ABCell, wanted: int, left_s: float | None) -> None:
        number = len(cell.pairs) + 1
        if number > self._sweep:
            self._sweep = number
            left = "" if left_s is None else f", {format_clock(left_s)} of the budget left"
            self._write(f"pair {number} of each open cell{left}")

    def pair_done(self, cell: ABCell) -> None:
        if cell.failure is not None:
            text = f"INVALID: {cell.case.cell}: {cell.failure.message}"
            self._write(text)


class LiveWatcher(LineWatcher):
    """For terminals: one line, rewritten between pairs and never while one is measured."""

    def pair_starts(self, cell: ABCell, wanted: int, left_s: float | None) -> None:
        left = "" if left_s is None else f" {format_clock(left_s)} left "
        text = f"pair {len(cell.pairs) + 1}/{wanted}{left} {cell.case.cell}"
        print(f"\r\x1b[K{plain(text)[:79]}", end="", file=sys.stderr, flush=True)

    def pair_done(self, cell: ABCell) -> None:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
        super().pair_done(cell)


@contextmanager
def watching() -> Iterator[Watcher]:
    """The watcher that suits stderr."""
    live = sys.stderr.isatty()
    try:
        yield LiveWatcher() if live else LineWatcher()
    finally:
        if live:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
