"""Axis-aligned boxes: rows of x0, y0, x1, y1 in pixels, one row per box."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def areas(boxes: NDArray[Any]) -> NDArray[Any]:
    """Area of each box; one with negative extent has none."""
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    return np.asarray(sides[:, 0] * sides[:, 1])


def iou(first: NDArray[Any], second: NDArray[Any]) -> NDArray[Any]:
    """Intersection over union of every pair, shape (len(first), len(second))."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    sides = np.maximum(high - low, 0)
    shared = sides[..., 0] * sides[..., 1]
    union = areas(first)[:, None] + areas(second)[None, :] - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(union), where=union > 0))


def match(
    truth: NDArray[Any], found: NDArray[Any], minimum_iou: float = 0.5
) -> list[tuple[int, int]]:
    """Pairs (row of truth, row of found), best overlap first, every row used at most once."""
    overlap = iou(truth.astype(np.float64), found.astype(np.float64))
    rows, columns = np.nonzero(overlap > minimum_iou)
    order = np.argsort(-overlap[rows, columns], kind="stable")
    pairs: list[tuple[int, int]] = []
    used_rows: set[int] = set()
    used_columns: set[int] = set()
    for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if row not in used_rows and column not in used_columns:
            pairs.append((row, column))
            used_rows.add(row)
            used_columns.add(column)
    return pairs


def f1(matched: int, truth: int, found: int) -> float:
    """Harmonic mean of precision and recall; 0 where there is nothing to match."""
    return 2 * matched / (truth + found) if truth + found else 0.0


def suppress(boxes: NDArray[Any], scores: NDArray[Any], maximum_iou: float = 0.5) -> list[int]:
    """Greedy non-maximum suppression: rows that stay, best score first."""
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while order.size:
        best, order = int(order[0]), order[1:]
        kept.append(best)
        order = order[iou(boxes[best : best + 1], boxes[order])[0] < maximum_iou]
    return kept
