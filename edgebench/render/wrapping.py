"""Text in lines no wider than a terminal: the one wrapping of all commands. It imports no rich, as `list` must not."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from rich.style import Style

_PARTS = re.compile(r"[^/,>]*[/,>]|[^/,>]+")

Line: TypeAlias = "tuple[str, Style | None]"


def cut(line: str, width: int) -> str:
    """The line, or as much of it as fits, and dots."""
    return line if len(line) <= width else f"{line[: width - 3].rstrip()}..."


def listed(names: Sequence[str], most: int, count: int | None = None) -> str:
    """The first names, and how many there are besides; `count`: of all, where it is not that of the names."""
    rest = (len(names) if count is None else count) - len(names[:most])
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def wrapped(
    line: str, width: int, style: Style | None, indent: str = "", first: str | None = None
) -> Iterator[Line]:
    """The line in pieces of whole words, no wider than the terminal; later ones are indented.

    `first` stands before the first piece in the place of `indent`. A word that is longer than a line is cut
    after one of its `/`, `,` and `>`, else where the line ends.
    """
    for text in wrapped_text(line, width, indent, first):
        yield text, style


def labelled(
    label: str, text: str, size: int, width: int, style: Style | None = None
) -> Iterator[Line]:
    """The text in a column of its own, beside a label that takes `size` characters."""
    yield from wrapped(text or " ", width, style, " " * size, label.ljust(size))


def wrapped_text(
    line: str, width: int, indent: str = "", first: str | None = None
) -> Iterator[str]:
    """The pieces of `wrapped`, without a style."""
    beside = indent or "  "
    text, empty = indent if first is None else first, True
    for word in line.split():
        parts = [word] if len(beside + word) <= width else _PARTS.findall(word)
        for number, part in enumerate(parts):
            glue = " " if number == 0 and not empty else ""
            if len(text + glue + part) > width and text.strip():
                yield text.rstrip()
                text, glue = beside, ""
            text, empty = text + glue + part, False
            while len(text) > width:  # a part without a place to cut it
                yield text[:width]
                text = beside + text[width:]
    if text.strip():
        yield text.rstrip()
