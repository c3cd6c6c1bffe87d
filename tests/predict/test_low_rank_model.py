"""The model and its intervals, on devices whose law is known."""

from __future__ import annotations

import numpy as np
import pytest

from edgebench.predict.conformal_interval import bounds, calibrate_intervals
from edgebench.predict.low_rank_model import (
    Indices,
    Numbers,
    condition,
    make_prior,
    most_representative,
)
from tests.predict.synthetic_devices import devices

CELLS = 60


def split(seed: int, anchors: int = 10) -> tuple[Numbers, Numbers, Numbers, Indices, Indices]:
    """Known devices, features, a new device, the cells it ran and those it did not."""
    values, features = devices(8, CELLS, seed)
    draw = np.random.default_rng(seed + 1)
    cells = np.sort(draw.choice(CELLS, anchors, replace=False))
    return values[:-1], features, values[-1], cells, np.setdiff1d(np.arange(CELLS), cells)


def errors(seed: int) -> Numbers:
    known, features, truth, cells, asked = split(seed)
    found = condition(make_prior(known, features), cells, truth[cells], asked)
    return np.asarray(np.abs(np.expm1(found.mean - truth[asked])))


def test_ten_cells_of_a_new_device_predict_the_others() -> None:
    assert np.mean([errors(seed).mean() for seed in range(6)]) < 0.08


def test_model_beats_the_mean_of_known_devices() -> None:
    known, features, truth, cells, asked = split(3)
    centred = (known - known.mean(axis=1, keepdims=True)).mean(axis=0)
    plain = centred[asked] + np.mean(truth[cells] - centred[cells])
    found = condition(make_prior(known, features), cells, truth[cells], asked)
    assert np.abs(found.mean - truth[asked]).mean() < 0.6 * np.abs(plain - truth[asked]).mean()


def test_stated_intervals_hold_about_nine_of_ten_values() -> None:
    held = []
    for seed in range(6):
        known, features, truth, cells, asked = split(seed)
        found = condition(make_prior(known, features), cells, truth[cells], asked)
        factor = calibrate_intervals(known, features, cells, truth[cells]).factor
        assert factor is not None
        held.append(np.mean(np.abs(found.mean - truth[asked]) <= factor * found.deviation))
    assert 0.8 < np.mean(held) < 0.98


def test_too_few_known_devices_give_no_interval() -> None:
    known, features, truth, cells, _ = split(0)
    assert calibrate_intervals(known[:2], features, cells, truth[cells]).factor is None
    assert bounds(1.0, 0.1, None) is None


def test_devices_of_the_new_one_s_kind_set_its_interval() -> None:
    """Of two kinds one is regular: a regular device has narrower intervals than one of the other kind."""
    draw = np.random.default_rng(0)
    shape, other = draw.normal(0, 0.5, CELLS), draw.normal(0, 0.5, CELLS)
    regular = shape + 0.01 * draw.standard_normal((6, CELLS))
    odd = (
        other + draw.standard_t(1.5, (6, CELLS)) * 0.05
    )  # a few cells are far off, and nothing tells which
    known, features = np.vstack([regular[1:], odd[1:]]), np.zeros((CELLS, 1))
    cells = np.arange(12)
    ordinary = calibrate_intervals(known, features, cells, regular[0, cells]).factor
    unlike = calibrate_intervals(known, features, cells, odd[0, cells]).factor
    assert ordinary is not None
    assert unlike is not None
    assert unlike > 1.3 * ordinary


def test_devices_that_are_all_alike_weigh_the_same() -> None:
    known, features, _, cells, _ = split(0)
    same = np.repeat(known[:1], 4, axis=0)
    assert calibrate_intervals(same, features, cells, same[0, cells]).factor is not None


def test_known_devices_may_lack_cells() -> None:
    known, features, truth, cells, asked = split(1)
    holes = known.copy()
    holes[np.random.default_rng(0).random(known.shape) < 0.2] = np.nan
    holes[0, :] = known[0, :]  # every cell ran somewhere
    whole = condition(make_prior(known, features), cells, truth[cells], asked)
    found = condition(make_prior(holes, features), cells, truth[cells], asked)
    worse = np.abs(found.mean - truth[asked]).mean() / np.abs(whole.mean - truth[asked]).mean()
    assert worse < 2


def test_a_device_that_ran_only_slow_cells_is_not_taken_for_slow() -> None:
    known, features = devices(3, CELLS, 5, noise=0.0)
    same = np.repeat(known[:1], 3, axis=0)
    slow = np.argsort(known[0])[CELLS // 2 :]
    same[2] = np.nan
    same[2, slow] = known[0, slow]
    prior = make_prior(same, features)
    cells = np.argsort(known[0])[:10]
    found = condition(prior, cells, known[0, cells], slow)
    assert found.mean == pytest.approx(known[0, slow], abs=0.02)


def test_suggested_cells_are_one_of_each_kind() -> None:
    """Three kinds of cells, each with a rate of its own on every device: one of each tells of all others."""
    draw = np.random.default_rng(0)
    kinds = np.arange(CELLS) % 3
    known = draw.normal(0, 0.5, (8, 3))[:, kinds] + draw.normal(0, 0.3, CELLS)
    prior = make_prior(known, np.zeros((CELLS, 1)))
    chosen = most_representative(prior, np.array([], dtype=np.intp), np.arange(CELLS), 3)
    assert sorted(kinds[chosen]) == [0, 1, 2]


def test_suggestions_leave_out_what_was_measured() -> None:
    known, features, _, cells, asked = split(2)
    chosen = most_representative(make_prior(known, features), cells, np.arange(CELLS), 200)
    assert sorted(chosen) == asked.tolist()
