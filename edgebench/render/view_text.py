"""A view of the literature as a table, CSV or Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TextIO

from edgebench.analysis.views import View
from edgebench.render import tables as flat
from edgebench.render.console import HEAD, STRUCK, Line, grid, paint, wrapped
from edgebench.render.number_format import quantity
from edgebench.text.plain_text import plain


def render(view: View, form: str, out: TextIO) -> None:
    """Writes it in one of "table", "csv" and "md"; unknown cells are empty, in a table "-"."""
    if form == "table":
        paint(lambda width: _lines(view, width), out)
        return
    head = ["device", "run", "id", "row", "ranked", *(c.name for c in view.columns), "unknown"]
    flat.render(head, _flat(view), form, out)


def _flat(view: View) -> Iterator[list[Any]]:
    for line in view.lines:
        why = "; ".join(f"{name}: {reason}" for name, reason in line.unknown.items())
        yield [line.device, line.run, line.id, line.label, line.ranked, *line.cells, why]


def _lines(view: View, width: int) -> Iterator[Line]:
    known = [
        place
        for place in range(len(view.columns))
        if any(line.cells[place] is not None for line in view.lines)
    ]
    if not view.lines:
        yield "no rows", None
        return
    rows = []
    for line in view.lines:
        cells = [_cell(line.cells[place], _unit(view, place)) for place in known]
        mark = "" if line.ranked else "x "
        rows.append((plain(mark + line.label), cells, None if line.ranked else STRUCK))
    yield from grid([view.name, *(view.columns[place].name for place in known)], rows, width)
    reasons: dict[str, None] = {}
    if not all(line.ranked for line in view.lines):
        reasons["x: not ranked, `edgebench show` says why"] = None
    for line in view.lines:
        for name, why in line.unknown.items():
            reasons[f"{name} unknown: {why}"] = None
    meanings = [f"{column.name}: {column.meaning}" for column in view.columns if column.meaning]
    for words in (*reasons, *view.notes, "; ".join(meanings)):
        yield from wrapped(plain(words), width, HEAD)


def _unit(view: View, place: int) -> str:
    """That of the column; a budget has that of what it limits."""
    if view.columns[place].name == "budget":
        return "ns" if view.name == "iso-latency" else "1"
    return view.columns[place].unit


def _cell(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    return quantity(value * 1e9, "ns") if unit == "s" else quantity(value, unit)
