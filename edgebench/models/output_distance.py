"""Measures how far two answers differ: one number for each output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Outputs = Mapping[str, NDArray[Any]]

#: An output that is zero is met by what is this small.
_NOTHING = 1e-6


def distances(got: Sequence[Outputs], want: Sequence[Outputs]) -> dict[str, float]:
    """The distance of each output of `want` over all items; infinite where it has another shape, or
    is missing.

    Numbers: the largest ||a - b|| / ||b|| of an item. Flags and integers of more than 16 bits, which count
    or name something: the share of values that differ, averaged over items.
    """
    by_output: dict[str, list[float]] = {}
    for mine, theirs in zip(got, want, strict=True):
        for name, array in theirs.items():
            apart = _difference(np.asarray(mine[name]), array) if name in mine else float("inf")
            by_output.setdefault(name, []).append(apart)
        for name in mine.keys() - theirs.keys():
            by_output.setdefault(name, []).append(float("inf"))
    return {
        name: float(max(each) if name not in want[0] or is_number(want[0][name]) else np.mean(each))
        for name, each in by_output.items()
    }


def is_number(array: NDArray[Any]) -> bool:
    """Whether values are measures of something: floats, and what quantised networks use in their place."""
    kind = array.dtype
    return kind.kind not in "biuOSU" or (kind.kind in "iu" and kind.itemsize <= 2)


def _difference(mine: NDArray[Any], theirs: NDArray[Any]) -> float:
    if mine.shape != theirs.shape:
        return float("inf")
    if not is_number(theirs):
        return float(np.mean(mine != theirs)) if theirs.size else 0.0
    wider = np.complex128 if theirs.dtype.kind == "c" else np.float64
    gap, wide = mine.astype(wider), theirs.astype(wider)
    finite = np.isfinite(wide)
    if not np.array_equal(np.isfinite(gap), finite):
        return float("inf")
    gap, wide = gap[finite] - wide[finite], wide[finite]
    norm = float(np.linalg.norm(wide))
    return float(np.linalg.norm(gap)) / norm if norm > 0 else float(np.linalg.norm(gap) > _NOTHING)
