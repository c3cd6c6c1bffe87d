"""The forms of the trade-off table by the name that `--format` takes."""

from __future__ import annotations

from typing import TextIO

from edgebench.analysis.table_types import Table

#: What each of them needs is imported only when it is asked for.
FORMATS = ("table", "json", "csv", "md")


def render(table: Table, form: str, out: TextIO, verbose: bool = False) -> None:
    """Writes the table in the form of that name, one of FORMATS; a `verbose` one leaves nothing to ask for.

    JSON is one line, `edgebench.table/1` (docs/table.md); CSV has the columns of docs/export.md, numbers unrounded
    and unknown ones empty.
    """
    if form == "json":
        from edgebench.files.json_lines import encoded
        from edgebench.render.deploy_line import with_words
        from edgebench.text.plain_text import plain_json

        out.write(plain_json(encoded(with_words(table)).decode()))
    elif form == "csv":
        from edgebench.export.columns import columns_of
        from edgebench.render import tables

        columns = columns_of(table.rows)
        lines = ([column.value(row) for column in columns] for row in table.rows)
        tables.render([column.name for column in columns], lines, "csv", out)
    elif form == "md":
        from edgebench.render import table_markdown

        table_markdown.render(table, out)
    else:
        from edgebench.render import table_terminal

        table_terminal.render(table, out, verbose)
