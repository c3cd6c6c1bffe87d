"""The trade-off table as JSON, `edgebench.table/1`: the documented interface (docs/table.md)."""

from __future__ import annotations

from typing import TextIO

from edgebench.analysis.table_types import Table
from edgebench.files.json_lines import encoded
from edgebench.render.deploy_line import with_words
from edgebench.text.plain_text import plain_json


def render(table: Table, out: TextIO) -> None:
    out.write(plain_json(encoded(with_words(table)).decode()))
