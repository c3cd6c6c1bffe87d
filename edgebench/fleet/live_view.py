"""Draws one line per board: its state, cells, temperature and last words; anew on a terminal, elsewhere when it changes."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from edgebench.fleet.board_runs import BoardState
from edgebench.text.plain_text import plain, say
from edgebench.units import format_clock

LINE_EVERY_S: Final = 5.0  # of a board, where there is no terminal


class LiveView:
    """Shows boards on stderr."""

    def __init__(
        self,
        write: Callable[[str], None] = say,
        now: Callable[[], float] = time.monotonic,
        terminal: bool | None = None,
    ) -> None:
        self._write = write
        self._now = now
        self._terminal = sys.stderr.isatty() if terminal is None else terminal
        self._live: Any = None
        self._told: dict[str, tuple[str, float]] = {}

    def __enter__(self) -> LiveView:  # noqa: PYI034 - typing.Self is Python 3.11's
        if self._terminal:
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(stderr=True, highlight=False), auto_refresh=False)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, states: Sequence[BoardState]) -> None:
        """Draws all boards, or tells of those that changed."""
        lines = {state.name: board_line(state) for state in states}
        news = {state.name: board_line(replace(state, left_s=None)) for state in states}
        if self._live is not None:
            from rich.text import Text

            self._live.update(Text("\n".join(lines.values()), no_wrap=True), refresh=True)
            return
        for state in states:
            before, at = self._told.get(state.name, ("", -LINE_EVERY_S))
            changed = news[state.name] != before
            if changed and (state.over or self._now() - at >= LINE_EVERY_S):
                self._told[state.name] = news[state.name], self._now()
                self._write(lines[state.name])


def board_line(state: BoardState) -> str:
    """ "jetson-7: running, 5 rows, process 16 of 36, 2:40 left, 61 C: image-classification ort fp32"."""
    parts: list[str] = [state.state]
    if state.records or state.state in ("running", "done"):
        parts.append(f"{state.records} row{'s' * (state.records != 1)}")
    if state.state == "running" and state.process:
        parts.append(f"process {state.process}")
    if state.state == "running" and state.left_s is not None:
        parts.append(f"{format_clock(state.left_s)} left")
    if state.temperature_c is not None:
        parts.append(f"{state.temperature_c:.0f} C")
    said = "" if state.state == "done" else state.said
    return plain(f"{state.name}: {', '.join(parts)}{': ' if said else ''}{said}")
