"""Any lines and columns (of a query) as a table, CSV, JSON or Markdown."""

from __future__ import annotations

import csv
import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from edgebench.errors import UsageError
from edgebench.render.table_markdown import escape
from edgebench.text.plain_text import plain, plain_json, spreadsheet_text

FORMATS = ("table", "csv", "json", "md")


def render(names: Sequence[str], lines: Iterable[Sequence[Any]], form: str, out: TextIO) -> None:
    """Writes the lines in one of FORMATS; unknown values are empty, in JSON null. So are NaN and
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
        out.writelines(_markdown([_text(value) for value in line]) for line in lines)
    else:
        _table(names, list(lines), out)


def _table(names: Sequence[str], lines: Sequence[Sequence[Any]], out: TextIO) -> None:
    """Columns as wide as their widest value, numbers to the right."""
    cells = [[_text(value) for value in line] for line in lines]
    widths = [
        max([len(name), *(len(line[column]) for line in cells)])
        for column, name in enumerate(names)
    ]
    right = [
        any(_is_number(line[column]) for line in lines)
        and all(line[column] is None or _is_number(line[column]) for line in lines)
        for column in range(len(names))
    ]
    for line in ([plain(name) for name in names], *cells):
        joined = "  ".join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(line, widths, right, strict=True)
        )
        out.write(joined.rstrip() + "\n")
    if not lines:
        out.write("no rows\n")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cell(value: Any) -> Any:
    return value if _is_number(value) else spreadsheet_text(_text(value))


def _json(value: Any) -> Any:
    """The value as JSON can hold it, in lists and structures too."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _json(item) for key, item in value.items()}
    return list(map(_json, value)) if isinstance(value, list | tuple) else value


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return plain(str(value))


def _markdown(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(escape, cells))} |\n"
