"""Exact statistics that tasks score with, in numpy alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def ranks(values: ArrayLike) -> NDArray[np.float64]:
    """Ranks from 1; equal values share the mean of the ranks they take. None has a rank where one is NaN."""
    array = np.asarray(values)
    if np.isnan(array).any():  # sorting would call it the greatest
        return np.full(array.size, np.nan)
    _, inverse, counts = np.unique(array, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mean_rank = last - (counts - 1) / 2
    return np.asarray(mean_rank[inverse.reshape(-1)], dtype=np.float64)


def pearson(first: ArrayLike, second: ArrayLike) -> float:
    """Pearson's correlation; NaN where one side is constant: it has none."""
    a = np.asarray(first, dtype=np.float64)
    b = np.asarray(second, dtype=np.float64)
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((a @ a) * (b @ b)))
    if norm == 0:
        return float("nan")
    return float(np.clip(a @ b / norm, -1, 1))


def spearman(first: ArrayLike, second: ArrayLike) -> float:
    """Spearman's rank correlation; ties share their mean rank."""
    return pearson(ranks(first), ranks(second))


def auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Area under the ROC curve: the chance that a positive outscores a negative, ties half.

    By the Mann-Whitney statistic. Raises ValueError where only one class occurs.
    """
    positive: NDArray[Any] = np.asarray(labels, dtype=bool)
    count = int(positive.sum())
    others = positive.size - count
    if not count or not others:
        raise ValueError("the area under the ROC curve needs both classes")
    wins = float(ranks(scores)[positive].sum()) - count * (count + 1) / 2
    return wins / (count * others)
