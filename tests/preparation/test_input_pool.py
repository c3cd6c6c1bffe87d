"""Queries: the pool, batches, and inputs never seen before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgebench.errors import UnsupportedError
from edgebench.preparation import input_pool
from edgebench.task import Task, TaskContext


class Numbers(Task):
    """Items of `width` floats, item i full of i."""

    metrics: ClassVar = {}

    def __init__(self, count: int, width: int = 4) -> None:
        super().__init__(TaskContext())
        self.count, self.width = count, width

    def __len__(self) -> int:
        return self.count

    def raw(self, index: int) -> int:
        return index

    def preprocess(self, raw: int) -> dict[str, Any]:
        return {"x": np.full((1, self.width), raw, np.float32), "n": np.array([[raw]])}

    def postprocess(self, outputs: dict[str, Any], raw: int) -> int:
        return raw

    def score(self, predictions: Sequence[int]) -> dict[str, float]:
        return {}


def build_pool(task: Task, batch: int) -> list[dict[str, Any]]:
    return input_pool.pool_of(input_pool.pool_items(task, batch), batch)


@pytest.mark.parametrize(("count", "batch", "queries"), [(100, 1, 16), (5, 1, 5), (100, 8, 12)])
def test_the_pool_holds_distinct_queries(count: int, batch: int, queries: int) -> None:
    pool = build_pool(Numbers(count), batch)
    assert len(pool) == queries
    assert all(feeds["x"].shape == (batch, 4) for feeds in pool)
    assert len({feeds["x"].tobytes() for feeds in pool}) == queries


def test_items_repeat_only_where_there_are_too_few() -> None:
    pool = build_pool(Numbers(3), 8)
    assert len(pool) == 2
    assert set(pool[0]["n"].ravel()) == {0, 1, 2}


def test_a_pool_of_large_queries_is_small() -> None:
    pool = build_pool(Numbers(100, width=2**20), 1)  # 4 MiB and a bit each
    assert len(pool) == 7
    assert len(build_pool(Numbers(100, width=2**20), 8)) == input_pool.MIN_POOL


@given(batch=st.integers(1, 9))
def test_split_undoes_stack(batch: int) -> None:
    task = Numbers(20)
    items = [task.preprocess(index) for index in range(batch)]
    back = input_pool.split(input_pool.stack(items), batch)
    for item, again in zip(items, back, strict=True):
        assert all(np.array_equal(item[name], again[name]) for name in item)


def test_an_output_without_the_batch_axis_goes_to_every_item() -> None:
    parts = input_pool.split({"y": np.arange(4), "scale": np.array([7.0])}, 4)
    assert [part["y"].tolist() for part in parts] == [[0], [1], [2], [3]]
    assert all(part["scale"].tolist() == [7.0] for part in parts)


@given(seed=st.integers(0, 1000))
def test_never_seen_inputs_are_new_and_alike(seed: int) -> None:
    rng = np.random.default_rng(seed)
    feeds: dict[str, Any] = {
        "image": rng.standard_normal((1, 3, 8, 8)).astype(np.float32),
        "tokens": np.arange(16).reshape(1, 16),
    }
    fresh = input_pool.never_seen(feeds, seed)
    assert not np.array_equal(fresh["image"], feeds["image"])
    assert np.abs(np.sort(fresh["image"], None) - np.sort(feeds["image"], None)).max() < 0.01
    # In no place the same after rounding: a cache that is keyed by rounded values does not know it.
    assert np.mean(fresh["image"].round(1) == feeds["image"].round(1)) < 0.5
    assert not np.array_equal(fresh["tokens"], feeds["tokens"])
    assert sorted(fresh["tokens"].ravel()) == sorted(feeds["tokens"].ravel())
    for name, array in feeds.items():
        assert (fresh[name].dtype, fresh[name].shape) == (array.dtype, array.shape)
        assert fresh[name].flags.c_contiguous
    assert np.array_equal(input_pool.never_seen(feeds, seed)["image"], fresh["image"])


def test_the_digest_sees_names_types_shapes_and_values() -> None:
    base = {"x": np.zeros((2, 3), np.float32)}
    others = (
        {"y": np.zeros((2, 3), np.float32)},
        {"x": np.zeros((2, 3), np.float64)},
        {"x": np.zeros((3, 2), np.float32)},
        {"x": np.ones((2, 3), np.float32)},
    )
    digests = {input_pool.digest([feeds]) for feeds in (base, *others)}
    assert len(digests) == 5


def test_a_scalar_stays_a_scalar_in_batches_and_in_never_seen_inputs() -> None:
    items = [{"x": np.full((1, 2), i, np.float32), "gain": np.array(3, np.float32)} for i in (1, 2)]
    query = input_pool.stack(items)
    assert (query["x"].shape, query["gain"].shape) == ((2, 2), ())
    fresh = input_pool.never_seen(query, seed=1)
    assert fresh["gain"].shape == ()
    assert fresh["gain"].dtype == np.float32
    assert input_pool.never_seen({"k": np.array(5)}, seed=1)["k"].shape == ()


def test_items_that_differ_in_a_scalar_are_no_batch() -> None:
    items = [{"gain": np.array(value, np.float32)} for value in (1, 2)]
    with pytest.raises(UnsupportedError, match="'gain' is a scalar"):
        input_pool.stack(items)
