"""Chosen columns as a table, CSV, JSON or Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TextIO

from edgebench.export.column_types import ChosenColumns
from edgebench.render import tables as flat
from edgebench.render.console import QUIET, paint
from edgebench.render.number_format import UNKNOWN, quantity
from edgebench.render.text_grid import GridRow, columns, grid
from edgebench.render.wrapping import Line, wrapped
from edgebench.text.plain_text import plain


def render(chosen: ChosenColumns, form: str, out: TextIO) -> None:
    """Writes it in one of "table", "json", "csv" and "md"; unknown cells are empty, in a table "-"."""
    if form == "table":
        paint(lambda width: _lines(chosen, width), out)
    elif form == "json":
        from edgebench.files.json_lines import write_json

        write_json(chosen, out)
    else:
        head = [
            "device",
            "run",
            "id",
            "row",
            "ranked",
            *(c.name for c in chosen.columns),
            "unknown",
        ]
        flat.render(head, _flat(chosen), form, out)


def _flat(chosen: ChosenColumns) -> Iterator[list[Any]]:
    for line in chosen.lines:
        why = "; ".join(f"{name}: {reason}" for name, reason in line.unknown.items())
        yield [line.device, line.run, line.id, line.label, line.ranked, *line.cells, why]


def _lines(chosen: ChosenColumns, width: int) -> Iterator[Line]:
    known = [
        place
        for place in range(len(chosen.columns))
        if any(line.cells[place] is not None for line in chosen.lines)
    ]
    if not chosen.lines:
        yield "no rows", None
        return
    rows = []
    for line in chosen.lines:
        cells = [_cell(line.cells[place], _unit(chosen, place)) for place in known]
        mark = "" if line.ranked else "x "
        rows.append(GridRow(plain(mark + line.label), cells, None if line.ranked else QUIET))
    names = [chosen.columns[place].name for place in known]
    yield from grid(columns("row", *names), rows, width)
    reasons: dict[str, None] = {}
    if not all(line.ranked for line in chosen.lines):
        reasons["x: not ranked, `edgebench show` says why"] = None
    for line in chosen.lines:
        for name, why in line.unknown.items():
            reasons[f"{name} unknown: {why}"] = None
    meanings = [f"{column.name}: {column.meaning}" for column in chosen.columns if column.meaning]
    for words in (*reasons, *chosen.notes, "; ".join(meanings)):
        yield from wrapped(plain(words), width, QUIET)


def _unit(chosen: ChosenColumns, place: int) -> str:
    """Returns the unit of the column; a budget has the unit of the value that it limits."""
    if chosen.columns[place].name == "budget":
        return "ns" if chosen.name == "iso-latency" else "1"
    return chosen.columns[place].unit


def _cell(value: Any, unit: str) -> str:
    if value is None:
        return UNKNOWN
    if not unit:
        return flat.text_of(value)
    return quantity(value * 1e9, "ns") if unit == "s" else quantity(value, unit)
