"""Rows that do not compete, with the reason, as `frontier` and `pick` list them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgebench.analysis.frontier_report import NotRanked
from edgebench.render.console import BAD, QUIET, TITLE
from edgebench.render.wrapping import Line, wrapped
from edgebench.text.plain_text import plain

_MAX_ROWS = 12


def left_out(rows: Sequence[NotRanked], width: int) -> Iterator[Line]:
    """The first of them; JSON has all."""
    if not rows:
        return
    yield f"{len(rows)} row{'s' * (len(rows) != 1)} left out:", TITLE
    for row in rows[:_MAX_ROWS]:
        yield from wrapped(plain(f"{row.id}: {row.reason}"), width, BAD, "    ", "  ")
    if len(rows) > _MAX_ROWS:
        yield f"  and {len(rows) - _MAX_ROWS} more: --format json", QUIET
