"""Rank statistics: exact against the definition, and against scikit-learn and scipy if installed."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from edgebench.tasks._statistics import auc, pearson, ranks, spearman

# Few distinct values, so that ties are common.
SCORES = st.integers(-3, 3).map(float)
PAIRS = st.lists(st.tuples(SCORES, SCORES), min_size=3, max_size=40)
LABELLED = st.lists(st.tuples(st.booleans(), SCORES), min_size=2, max_size=40)


def columns(rows: list[tuple[Any, Any]]) -> tuple[list[Any], list[Any]]:
    first, second = zip(*rows, strict=True)
    return list(first), list(second)


def test_ties_share_their_mean_rank() -> None:
    assert ranks([10, 30, 20, 20]).tolist() == [1, 4, 2.5, 2.5]


@given(LABELLED)
def test_auc_is_the_share_of_pairs_in_the_right_order(rows: list[tuple[bool, float]]) -> None:
    labels, scores = columns(rows)
    positives = [score for label, score in rows if label]
    negatives = [score for label, score in rows if not label]
    assume(positives and negatives)
    wins = [(p > n) + (p == n) / 2 for p, n in product(positives, negatives)]
    assert auc(labels, scores) == pytest.approx(sum(wins) / len(wins))


@given(LABELLED)
def test_auc_agrees_with_scikit_learn(rows: list[tuple[bool, float]]) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    labels, scores = columns(rows)
    assume(len(set(labels)) == 2)
    assert auc(labels, scores) == pytest.approx(metrics.roc_auc_score(labels, scores))


@given(PAIRS)
def test_correlations_agree_with_scipy(rows: list[tuple[float, float]]) -> None:
    stats = pytest.importorskip("scipy.stats")
    first, second = columns(rows)
    assume(len(set(first)) > 1 and len(set(second)) > 1)
    assert pearson(first, second) == pytest.approx(stats.pearsonr(first, second)[0], abs=1e-9)
    assert spearman(first, second) == pytest.approx(stats.spearmanr(first, second)[0], abs=1e-9)


@given(PAIRS)
def test_spearman_sees_only_the_order(rows: list[tuple[float, float]]) -> None:
    first, second = columns(rows)
    assume(len(set(first)) > 1 and len(set(second)) > 1)
    assert spearman(np.exp(first), second) == pytest.approx(spearman(first, second))
    assert spearman(first, np.negative(second)) == pytest.approx(-spearman(first, second))


def test_one_class_has_no_auc_and_a_constant_no_correlation() -> None:
    with pytest.raises(ValueError, match="both classes"):
        auc([True, True], [0.1, 0.2])
    assert np.isnan(pearson([1, 1, 1], [1, 2, 3]))
    assert np.isnan(spearman([1, 2, 3], [5, 5, 5]))


def test_scores_with_nan_have_no_rank_statistics() -> None:
    """A model that overflows where it should be surest must not win by it."""
    assert np.isnan(auc([True, False, False], [np.nan, 0.1, 0.2]))
    assert np.isnan(spearman([np.nan, 1, 2], [3, 1, 2]))
