"""Gives more rounds to the cells that leave the front or the choice undecided.

Looking after every round and stopping at the first sure answer would be wrong more often than one look is.
So a look demands `MAX_LOOKS` times as much as the final table does (Bonferroni over looks).
"""

from __future__ import annotations

from collections.abc import Sequence

from edgebench.record import Record

#: Looks that the error rate is shared out over; a run makes one a round.
MAX_LOOKS = 10


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
