"""The search for the slowest input: what it finds, what chance does not make it find, and what a limit does with it."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from edgebench.analysis.limits import parse_limit
from edgebench.analysis.table import build_table
from edgebench.measure.loads import worst_inputs
from edgebench.measure.loads.worst_inputs import KINDS, Timed, candidate, kind_of, search
from edgebench.metrics import metric
from edgebench.render.table_wording import remarks
from tests.records import record, replicate

ITEMS: list[Any] = [
    {
        "x": np.random.default_rng(seed).normal(0, 1, (1, 3, 16, 16)).astype(np.float32),
        "ids": np.arange(5)[None] + seed,
    }
    for seed in range(worst_inputs.ITEMS)
]


class Machine:
    """A clock. Tiny numbers take 9 ms, everything else 1 ms; one query in 20 is interrupted for 50 ms."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.chance = random.Random(0)

    def serve(self, feeds: Any) -> Timed:
        tiny = np.abs(feeds["x"]).max() < 1e-30
        run_ns = 9_000_000 if tiny else 1_000_000
        run_ns += 50_000_000 if self.chance.random() < 0.05 else 0
        self.now_ns += run_ns + 1_000_000
        return Timed(run_ns, 1_000_000)


def test_it_finds_what_is_slow_by_itself_and_not_what_was_interrupted() -> None:
    machine = Machine()
    found = search(machine.serve, ITEMS, 2.0, 3, clock=lambda: machine.now_ns)
    assert found.kind == "tiny numbers"
    assert 50 < found.tried < 2000
    assert found.seconds < 3
    (row,) = build_table([record(replicates=[replicate(worst_case=found)])]).rows
    part = row.worst_case
    assert part is not None
    assert (part.worst_ns, part.median_ns) == (10_000_000, 2_000_000)
    assert part.amplification == pytest.approx(5)
    assert metric("latency.worst").value(row) == 10_000_000
    assert parse_limit("latency.worst<=50ms").value == 50e6
    assert any("slowest of" in line and f"seed {found.seed}" in line for line in remarks(row))


def test_where_nothing_is_slower_the_amplification_is_1() -> None:
    now_ns = 0

    def serve(_: Any) -> Timed:
        nonlocal now_ns
        now_ns += 2_000_000
        return Timed(1_000_000, 1_000_000)

    found = search(serve, ITEMS, 0.5, 0, clock=lambda: now_ns)
    (row,) = build_table([record(replicates=[replicate(worst_case=found)])]).rows
    assert row.worst_case is not None
    assert row.worst_case.amplification == 1
    assert row.worst_case.run_share == 0.5


def test_an_input_that_is_refused_is_counted_and_ends_nothing() -> None:
    machine = Machine()

    def serve(feeds: Any) -> Timed:
        if np.abs(feeds["x"]).max() < 1e-30:
            raise ValueError("no such number")
        return machine.serve(feeds)

    found = search(serve, ITEMS, 0.5, 3, clock=lambda: machine.now_ns)
    assert found.failed > 0
    assert found.failure == "ValueError: no such number"
    assert found.kind != "tiny numbers"


@pytest.mark.parametrize("kind", KINDS)
def test_a_candidate_follows_from_its_seed_and_has_the_items_shape_and_type(kind: str) -> None:
    seed = next(seed for seed in range(1000, 1100) if kind_of(seed) == kind)
    made, again = candidate(ITEMS, seed), candidate(ITEMS, seed)
    for name, array in ITEMS[0].items():
        assert made[name].shape == array.shape
        assert made[name].dtype == array.dtype
        assert np.array_equal(made[name], again[name])
    values = {int(each) for item in ITEMS for each in item["ids"].ravel()}
    assert set(made["ids"].ravel().tolist()) <= values, "whole numbers are those of items"


def test_small_copies_hold_the_picture_several_times() -> None:
    picture = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    made = worst_inputs._small_copies(picture, 2)
    assert made[0, 0].tolist() == [[0, 2, 0, 2], [8, 10, 8, 10], [0, 2, 0, 2], [8, 10, 8, 10]]
