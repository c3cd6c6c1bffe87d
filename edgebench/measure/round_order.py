"""Draws the order of cells anew for each round, so that no cell always follows the same one.

The heat and the caches that a cell leaves behind are its neighbour's. A fixed order would lay them on one
cell in every round, and no number of rounds would take them away again.
"""

from __future__ import annotations

import hashlib

from edgebench.record import CellFacts


def drawn_place(cell: CellFacts, seed: int, number: int) -> bytes:
    """The key by which cells of round `number` are sorted. It depends on nothing but these three, so that a run
    that is resumed, or that lost a cell, keeps the order of the others."""
    return hashlib.sha256(f"{seed}/{number}/{cell.id}".encode()).digest()
