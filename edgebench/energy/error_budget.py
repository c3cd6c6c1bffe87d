"""Combines the parts of an uncertainty: `combined`, and `total` of those that an energy has."""

from __future__ import annotations

import math
from collections.abc import Iterable

from edgebench.record import EnergyUncertainty


def combined(bounds: Iterable[float], normal: Iterable[float]) -> float:
    """Half-width for 95 % coverage from independent parts, all in one unit.

    `bounds` are limits within which an error lies anywhere alike (u = bound / sqrt(3)), `normal` are
    half-widths of 95 % (u = half-width / 2); the whole is 2 * sqrt(sum of u^2), at most the plain sum
    (JCGM 100:2008, GUM, 4.3.7, 5.1.2 and 6.2).
    """
    bounds, normal = list(bounds), list(normal)
    # hypot, as a square may be beyond all numbers where the root is not.
    spread = math.hypot(*(each / math.sqrt(3) for each in bounds), *(each / 2 for each in normal))
    return min(2 * spread, sum(bounds) + sum(normal))


def total(parts: EnergyUncertainty) -> float:
    """The half-width that the parts make together. Quantum, gain and offset are bounds that all windows of a meter
    share; the others are random."""
    return combined(
        (parts.quantum_j, parts.gain_j, parts.offset_j),
        (parts.edge_j, parts.sampling_j, parts.gap_j, parts.spread_j or 0.0),
    )
