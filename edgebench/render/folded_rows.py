"""Folds the unsupported rows of a backend into one line of the terminal table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from edgebench.analysis.table_types import Row
from edgebench.render.console import BAD
from edgebench.render.wrapping import Line, cut
from edgebench.text.plain_text import plain


def is_folded(row: Row, verbose: bool) -> bool:
    """Whether the row has no line of its own: a `verbose` table folds none."""
    return row.status == "unsupported" and not verbose


def folded_lines(rows: Sequence[Row], names: Sequence[str], width: int) -> Iterator[Line]:
    """Yields a line for each backend that has unsupported rows; `names` are those of the rows."""
    unable: dict[str, dict[str, Row]] = defaultdict(dict)
    for row, name in zip(rows, names, strict=True):
        if row.status == "unsupported":
            unable[row.backend][name] = row
    for backend, some in unable.items():
        yield cut(f"x {_unable(backend, some)}", width), BAD


def _unable(backend: str, rows: Mapping[str, Row]) -> str:
    """Returns what a backend cannot do: which variant or how many, and why, or what would mend it."""
    what = next(iter(rows)) if len(rows) == 1 else f"{backend}: {len(rows)} variants"
    reasons = [reason for row in rows.values() for reason in row.reasons[:1]]
    codes = ", ".join(dict.fromkeys(reason.code for reason in reasons))
    fixes = dict.fromkeys(reason.fix for reason in reasons)
    messages = dict.fromkeys(reason.message for reason in reasons)
    why = next(iter(messages)) if len(messages) == 1 else ""
    why = f"fix: {next(iter(fixes))}" if len(fixes) == 1 and all(fixes) else why
    return plain(": ".join(filter(None, [f"{what} unsupported [{codes}]", why])))
