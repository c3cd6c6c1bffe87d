"""Lines on a terminal: laid out by us, coloured by rich, at most as wide as the terminal.

Without a terminal, or with NO_COLOR, there are no escape sequences.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TextIO

from rich.console import Console
from rich.segment import Segment, Segments
from rich.style import Style

from edgebench.text.plain_text import plain

TITLE = Style(bold=True)
HEAD = Style(dim=True)
FRONT = Style(color="green")
STRUCK = Style(dim=True, strike=True)
REASON = Style(color="red")
WARN = Style(color="yellow")
DEPLOY = Style(bold=True, color="green")
_MIN_WIDTH = 40
_WIDTH = 80  # where nothing tells it

Line = tuple[str, Style | None]


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
        segments += [Segment(words, style), Segment.line()]
    console.print(Segments(segments), end="", crop=False, soft_wrap=True)


def console_on(out: TextIO, min_width: int = _MIN_WIDTH) -> Console:
    """A console without colours where NO_COLOR is set, and never narrower than `min_width`."""
    console = Console(
        file=out, highlight=False, color_system=None if os.environ.get("NO_COLOR") else "auto"
    )
    # COLUMNS=0 stands for an unknown width; with it rich would print nothing at all.
    console.width = max(console.width or _WIDTH, min_width)
    return console


def wrapped(
    line: str, width: int, style: Style | None, indent: str = "", first: str | None = None
) -> Iterator[Line]:
    """The line in pieces no wider than the terminal; later ones are indented."""
    for part in textwrap.wrap(
        line,
        width,
        initial_indent=indent if first is None else first,
        subsequent_indent=indent or "  ",
        break_on_hyphens=False,
    ):
        yield part, style


#: A line of a grid: its label, its cells, how it looks.
GridLine = tuple[str, Sequence[str], Style | None]


def room_for_labels(head: Sequence[str], lines: Sequence[GridLine], width: int) -> int:
    """What the cells of a grid leave of the width; below 0 where they alone are wider."""
    return width - sum(widths := _cell_widths(head, lines)) - len(widths)


def _cell_widths(head: Sequence[str], lines: Sequence[GridLine]) -> list[int]:
    columns = range(1, len(head))
    return [max(len(head[at]), *(len(cells[at - 1]) for _, cells, _ in lines)) for at in columns]


def grid(head: Sequence[str], lines: Sequence[GridLine], width: int) -> Iterator[Line]:
    """A label to the left and cells to the right of each line, under a head of the same shape.

    A label that does not fit beside the cells has a line of its own.
    """
    widths, room = _cell_widths(head, lines), room_for_labels(head, lines, width)
    label = min(max(len(head[0]), *(len(name) for name, _, _ in lines)), max(room, 0))

    def joined(cells: Sequence[str]) -> str:
        return "".join(f" {cell:>{size}}" for cell, size in zip(cells, widths, strict=True))

    yield f"{head[0]:<{label}}{joined(head[1:])}".rstrip(), HEAD
    for name, cells, style in lines:
        if len(name) <= label:
            yield f"{name:<{label}}{joined(cells)}".rstrip(), style
        else:
            yield from wrapped(name, width, style, first="")
            yield f"{'':<{label}}{joined(cells)}".rstrip(), style
