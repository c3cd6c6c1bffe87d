"""Lines on a terminal: laid out here, coloured by rich, at most as wide as the terminal.

Without a terminal, or with NO_COLOR, there are no escape sequences.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TextIO

from rich.console import Console
from rich.segment import Segment, Segments
from rich.style import Style

from edgebench.render.wrapping import Line
from edgebench.text.plain_text import plain

# Of the 256 colours that every terminal has alike, those with a contrast of 4.5:1 on white and on black.
_GREEN, _RED, _VIOLET, _GREY = (f"color({number})" for number in (29, 131, 98, 243))
TITLE = Style(bold=True)
QUIET = Style(color=_GREY)  # heads, legends, and rows that do not compete
GOOD = Style(color=_GREEN)
BAD = Style(color=_RED)
WARN = Style(color=_VIOLET)
DEPLOY = GOOD + TITLE
DOUBTFUL = WARN + TITLE
WORSE = BAD + TITLE
STYLES = (TITLE, QUIET, GOOD, BAD, WARN, DEPLOY, DOUBTFUL, WORSE)
_MIN_WIDTH = 40
_WIDTH = 80  # where nothing tells it


def paint(lines: Callable[[int], Iterable[Line]], out: TextIO, min_width: int = _MIN_WIDTH) -> None:
    """Writes the lines made for the width of the terminal; in a pipe that is COLUMNS, else 80.

    Whatever text of files they quote, no line steers the terminal or the log that it goes to.
    """
    console = console_on(out, min_width)
    unicode = (getattr(out, "encoding", None) or "utf-8").lower().startswith("utf")
    segments = []
    for line, style in lines(console.width):
        words = plain(line)
        words = words if unicode else words.replace("±", "~").encode("ascii", "replace").decode()
        segments += [Segment(words, _legible(style, console)), Segment.line()]
    console.print(Segments(segments), end="", crop=False, soft_wrap=True)


def console_on(out: TextIO, min_width: int = _MIN_WIDTH) -> Console:
    """A console without colours where NO_COLOR is set, and never narrower than `min_width`."""
    console = Console(
        file=out, highlight=False, color_system=None if os.environ.get("NO_COLOR") else "auto"
    )
    # COLUMNS=0 stands for an unknown width; with it rich would print nothing at all.
    console.width = max(console.width or _WIDTH, min_width)
    return console


def _legible(style: Style | None, console: Console) -> Style | None:
    """The style without its colour on a terminal of 16 colours, each of which may be any other."""
    return style.without_color if style and console.color_system == "standard" else style
