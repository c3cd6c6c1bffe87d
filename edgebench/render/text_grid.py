"""Columns of text, drawn once for every table that a terminal shows.

rich's own tables take seconds for ten thousand rows, and cut or wrap numbers where a line is too narrow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from rich.style import Style

from edgebench.render.console import QUIET
from edgebench.render.wrapping import Line, wrapped


@dataclass(frozen=True)
class Column:
    """One column; the first one of a grid holds labels."""

    name: str
    right: bool = True
    min_width: int = 0
    dispensable: bool = False  # left out where labels would not fit beside the others


@dataclass(frozen=True)
class GridRow:
    """A label with its cells, or with `text` in their place; what `below` says stands under it."""

    label: str
    cells: Sequence[str] = ()
    style: Style | None = None
    text: str = ""
    below: Sequence[Line] = ()


Joined: TypeAlias = Callable[[str, Sequence[str]], str]

BELOW = "    "  # in front of what stands under a row


def columns(label: str, *names: str) -> list[Column]:
    """A column of labels to the left, and numbers to the right."""
    return [Column(label, right=False), *map(Column, names)]


def grid(columns: Sequence[Column], rows: Sequence[GridRow], width: int | None) -> Iterator[Line]:
    """The rows under a head, which is left out where no column has a name.

    Columns stand two spaces apart where there is room, else one. A label that does not fit beside the cells has
    a line of its own. Without a width every row is one line.
    """
    columns, rows = _fitting(columns, rows, width)
    cell_widths = _cell_widths(columns, rows)
    longest = max([len(columns[0].name), columns[0].min_width, *(len(row.label) for row in rows)])
    gap = 2 if width is None or longest + sum(cell_widths) + 2 * len(cell_widths) <= width else 1
    room = longest if width is None else width - sum(cell_widths) - gap * len(cell_widths)
    label = min(longest, max(room, 0))

    def joined(name: str, cells: Sequence[str]) -> str:
        text = name.rjust(label) if columns[0].right else name.ljust(label)
        for column, cell, size in zip(columns[1:], cells, cell_widths, strict=True):
            text += " " * gap + (cell.rjust(size) if column.right else cell.ljust(size))
        return text.rstrip()

    if any(column.name for column in columns):
        yield joined(columns[0].name, [column.name for column in columns[1:]]), QUIET
    for row in rows:
        yield from _row_lines(row, joined, label, width)


def _row_lines(row: GridRow, joined: Joined, label: int, width: int | None) -> Iterator[Line]:
    if row.text:
        first = f"{row.label:<{label}}  "
        yield from wrapped(row.text, width or len(first + row.text), row.style, BELOW, first)
    elif len(row.label) <= label:
        yield joined(row.label, row.cells), row.style
    else:
        yield from wrapped(row.label, width or len(row.label), row.style, first="")
        yield joined("", row.cells), row.style
    for line, style in row.below:
        yield from wrapped(line, width or len(line) + len(BELOW), style, BELOW)


def fits(columns: Sequence[Column], rows: Sequence[GridRow], width: int) -> bool:
    """Whether the cells leave room for the name of the labels' column."""
    sizes = _cell_widths(columns, rows)
    return sum(sizes) + len(sizes) + len(columns[0].name) <= width


def _fitting(
    columns: Sequence[Column], rows: Sequence[GridRow], width: int | None
) -> tuple[Sequence[Column], Sequence[GridRow]]:
    """Drops the dispensable columns if labels fit beside the cells only then."""
    sizes = _cell_widths(columns, rows)
    longest = max((len(row.label) for row in rows if row.cells), default=0)
    if width is None or longest + sum(sizes) + len(sizes) <= width:
        return columns, rows
    kept = [place for place, column in enumerate(columns) if not column.dispensable]
    if len(kept) == len(columns):
        return columns, rows
    fewer = [
        replace(row, cells=[row.cells[place - 1] for place in kept[1:]]) if row.cells else row
        for row in rows
    ]
    return [columns[place] for place in kept], fewer


def _cell_widths(columns: Sequence[Column], rows: Sequence[GridRow]) -> list[int]:
    return [
        max(
            [
                len(column.name),
                column.min_width,
                *(len(row.cells[place]) for row in rows if row.cells),
            ]
        )
        for place, column in enumerate(columns[1:])
    ]
