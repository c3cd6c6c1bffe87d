"""Any lines and columns (of a query) as a table, CSV, JSON or Markdown."""

from __future__ import annotations

import csv
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TextIO

from edgebench.errors import UsageError
from edgebench.render.console import paint
from edgebench.render.table_markdown import escape
from edgebench.render.text_grid import Column, GridRow, grid
from edgebench.render.wrapping import Line
from edgebench.text.plain_text import plain, plain_json, spreadsheet_text


def render(names: Sequence[str], lines: Iterable[Sequence[Any]], form: str, out: TextIO) -> None:
    """Writes the lines as "table", "csv", "json" or "md"; unknown values are empty, in JSON null. So are NaN and
    infinity in JSON, which has no such numbers.

    Raises UsageError where an object of JSON would hold a name twice, and so lose a column.
    """
    if form == "json":
        if twice := [name for name, count in Counter(names).items() if count > 1]:
            raise UsageError(f"several columns are named {twice[0]!r}", "name them with AS")
        objects = [dict(zip(names, map(_json, line), strict=True)) for line in lines]
        out.write(plain_json(json.dumps(objects, default=str)) + "\n")
    elif form == "csv":
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow([_cell(name) for name in names])
        writer.writerows([_cell(value) for value in line] for line in lines)
    elif form == "md":
        out.write(_markdown([plain(name) for name in names]))
        out.write("|" + "---|" * len(names) + "\n")
        out.writelines(_markdown([text_of(value) for value in line]) for line in lines)
    else:
        _table(names, list(lines), out)


def _table(names: Sequence[str], lines: Sequence[Sequence[Any]], out: TextIO) -> None:
    """Each line is one line, however wide; numbers stand to the right."""
    numbers = [
        any(_is_number(line[place]) for line in lines)
        and all(line[place] is None or _is_number(line[place]) for line in lines)
        for place in range(len(names))
    ]
    columns = [Column(plain(name), right) for name, right in zip(names, numbers, strict=True)]
    rows = [GridRow(cells[0], cells[1:]) for cells in (list(map(text_of, line)) for line in lines)]
    paint(lambda width: _grid_lines(columns, rows), out)


def _grid_lines(columns: Sequence[Column], rows: Sequence[GridRow]) -> Iterator[Line]:
    yield from grid(columns, rows, width=None)
    if not rows:
        yield "no rows", None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cell(value: Any) -> Any:
    if value is None or type(value) in (int, float):  # most cells
        return value
    return value if _is_number(value) else spreadsheet_text(text_of(value))


def _json(value: Any) -> Any:
    """The value as JSON can hold it, in lists and structures too."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _json(item) for key, item in value.items()}
    return list(map(_json, value)) if isinstance(value, list | tuple) else value


def text_of(value: Any) -> str:
    """A value as text: nothing where it is unknown, booleans and objects as in JSON, `;` between items."""
    if value is None:
        return ""
    if type(value) is str:  # nearly always
        return plain(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ";".join(map(text_of, value))
    if isinstance(value, dict):
        value = json.dumps(_json(value), sort_keys=True, default=str, ensure_ascii=False)
    return plain(str(value))


def _markdown(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(escape, cells))} |\n"
