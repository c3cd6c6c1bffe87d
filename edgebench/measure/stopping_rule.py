"""Tells when a cell has enough replicates, and which cells get more: those that leave the front or the choice undecided.

Looking after every round and stopping at the first sure answer would be wrong more often than one look is.
So a look demands `MAX_LOOKS` times as much as the final table does (Bonferroni over looks).
"""

from __future__ import annotations

from collections.abc import Sequence

from edgebench import stats
from edgebench.record import Record, Replicate

#: Looks that the error rate is shared out over; a run makes one a round.
MAX_LOOKS = 10


def precise(replicates: Sequence[Replicate], percentile: float, target: float) -> bool:
    """Whether the percentile is known within the target, over replicates, or no replicate has one."""
    width = half_width(replicates, percentile)
    timed = any(replicate.samples_ns for replicate in replicates)
    return not timed or (width is not None and width <= target)


def half_width(replicates: Sequence[Replicate], percentile: float) -> float | None:
    """Half-width of the interval of a percentile, as a share; None if there is no interval yet."""
    permille = round(percentile * 1000)
    values = [
        stats.percentile(sorted(replicate.samples_ns), permille)
        for replicate in replicates
        if replicate.samples_ns
    ]
    interval = stats.log_interval(values)
    return None if interval is None else interval.half_width


def open_cells(records: Sequence[Record]) -> set[str]:
    """Ids of the cells of one run whose further replicates may decide something.

    Of a group with an undecided front, all that are not off it for sure; of a group whose choice is not
    clear, the best row and those that are not told apart from it. A cell that is struck, or beaten for
    sure, is none.
    """
    from edgebench.analysis.competition import groups
    from edgebench.analysis.defaults import SURE
    from edgebench.analysis.table import build_table

    confidence = 1 - (1 - SURE) / MAX_LOOKS
    table = build_table(records, confidence=confidence)
    open_ids: set[str] = set()
    for members, pick in zip(groups(table.rows).values(), table.picks, strict=True):
        rows = [table.rows[index] for index in members if table.rows[index].front is not None]
        if any(row.front == "undecided" for row in rows):
            open_ids.update(row.id for row in rows if row.front != "no")
        if pick.row is not None and pick.rivals:
            open_ids.update(table.rows[index].id for index in (pick.row, *pick.rivals))
    return open_ids
