"""The search for the slowest input: what it finds, what chance does not make it find, and what a limit does with it."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from edgebench.analysis.limits import parse_limit
from edgebench.analysis.table import build_table
from edgebench.energy.energy_window import SourceFacts
from edgebench.energy.run_meter import SampledMeter
from edgebench.energy.source import Sample
from edgebench.measure.loads import worst_inputs
from edgebench.measure.loads.worst_inputs import (
    KINDS,
    Effort,
    Inputs,
    Timed,
    Windows,
    search,
)
from edgebench.metrics import metric, number_at
from edgebench.record import Replicate
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
    found = search(machine.serve, Inputs(ITEMS), 2.0, 3, clock=lambda: machine.now_ns)
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

    found = search(serve, Inputs(ITEMS), 0.5, 0, clock=lambda: now_ns)
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

    found = search(serve, Inputs(ITEMS), 0.5, 3, clock=lambda: machine.now_ns)
    assert found.failed > 0
    assert found.failure == "ValueError: no such number"
    assert found.kind != "tiny numbers"


@pytest.mark.parametrize("kind", KINDS)
def test_a_candidate_follows_from_its_seed_and_has_the_items_shape_and_type(kind: str) -> None:
    seed = next(seed for seed in range(1000, 1100) if Inputs(ITEMS).kind_of(seed) == kind)
    made, again = Inputs(ITEMS).make(seed), Inputs(ITEMS).make(seed)
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


class Meter:
    """Takes the place of the process that reads a meter: 10 W, and 40 W while noise is computed."""

    alive = True
    facts = SourceFacts(
        name="ina3221", kind="measured_rail", quantity="power", scope="module",
        total_rail="VDD_IN", period_s=0.001, resolution=0.001,
    )  # fmt: skip

    def __init__(self) -> None:
        self.now_ns = 10**12
        self.noisy: list[tuple[int, int]] = []

    def serve(self, feeds: Any) -> Timed:
        """Noise takes 2 ms, tiny numbers 3 ms, all else 1 ms."""
        start_ns, noise = self.now_ns, not any(np.array_equal(feeds["x"], i["x"]) for i in ITEMS)
        noise = noise and abs(float(feeds["x"].std()) - 2) < 0.4
        tiny = np.abs(feeds["x"]).max() < 1e-30
        run_ns = 2_000_000 if noise else 3_000_000 if tiny else 1_000_000
        self.now_ns += run_ns
        if noise:
            self.noisy.append((start_ns, self.now_ns))
        return Timed(run_ns, 0)

    def between(self, start_ns: int, end_ns: int, margin_s: float) -> list[Sample]:
        margin_ns = round(margin_s * 1e9)
        moments = range(start_ns - margin_ns, end_ns + margin_ns, 10**6)
        return [Sample(at, at + 1000, self._watts(at)) for at in moments]

    def _watts(self, at_ns: int) -> float:
        return 40.0 if any(start <= at_ns < end for start, end in self.noisy) else 10.0


def searched_by_energy(meter: Any, seconds: float) -> Replicate:
    """A replicate whose search had a meter of windows of 0.2 s."""
    clock = lambda: meter.now_ns
    windows = Windows(0.2, 1, clock)
    found = search(meter.serve, Inputs(ITEMS), seconds, 3, windows=windows, clock=clock)
    made = replicate(0, worst_case=found, window_start_ns=10**12, window_end_ns=10**12 + 10**9)
    return SampledMeter(meter).measured(made, 1, None)


def test_the_input_that_takes_most_energy_need_not_be_the_slowest() -> None:
    (row,) = build_table([record(replicates=[searched_by_energy(Meter(), 2.0)])]).rows
    part = row.worst_case
    assert part is not None
    assert part.kind == "tiny numbers"
    assert (part.by, part.energy_kind) == (["latency", "energy"], "noise")
    assert part.energy_j == pytest.approx(0.08, rel=0.02)
    assert part.energy_median_j == pytest.approx(0.01, rel=0.02)
    assert part.energy_amplification == pytest.approx(8, rel=0.03)
    assert part.energy_uncertainty_j is not None
    assert metric("energy.worst").value(row) == part.energy_j
    assert number_at(row, "worst_case.energy_amplification") == part.energy_amplification
    assert parse_limit("energy.worst<=50mJ").value == pytest.approx(0.05)
    (line,) = [line for line in remarks(row) if "slowest of" in line]
    assert "by energy 79.7 mJ +- " in line
    assert f"(noise, seed {part.energy_seed})" in line


def test_a_search_whose_time_holds_no_two_windows_says_how_long_it_must_be() -> None:
    (row,) = build_table([record(replicates=[searched_by_energy(Meter(), 0.3)])]).rows
    assert row.worst_case is not None
    assert (row.worst_case.by, row.worst_case.energy_j) == (["latency"], None)
    assert "--worst-case 0.4s" in row.unknown["worst_case.energy_j"]


def test_without_a_meter_the_row_says_that_energy_was_not_sought() -> None:
    machine = Machine()
    found = search(machine.serve, Inputs(ITEMS), 0.5, 3, clock=lambda: machine.now_ns)
    (row,) = build_table([record(replicates=[replicate(worst_case=found)])]).rows
    assert row.unknown["worst_case.energy_j"] == "no meter of energy read during the search"


def test_an_input_that_is_refused_has_no_energy() -> None:
    meter = Meter()

    def serve(feeds: Any) -> Timed:
        if np.abs(feeds["x"]).max() < 1e-30:
            raise ValueError("no such number")
        return meter.serve(feeds)

    clock = lambda: meter.now_ns
    windows = Windows(0.2, 2, clock)
    found = search(serve, Inputs(ITEMS), 2.0, 3, windows=windows, clock=clock)
    kinds = [each.kind for each in found.energy_windows]
    assert "noise" in kinds
    assert "tiny numbers" not in kinds
    assert found.energy_windows[0].inferences == 2 * 200


def test_a_median_item_that_is_refused_at_the_meter_ends_its_window_and_no_time_is_said_to_lack() -> (
    None
):
    meter = Meter()
    refused = 0

    def serve(feeds: Any) -> Timed:
        nonlocal refused
        if meter.now_ns - 10**12 > 1_900_000_000:  # when the times are known
            meter.now_ns += 1_000_000
            refused += 1
            raise ValueError("no more")
        return meter.serve(feeds)

    clock = lambda: meter.now_ns
    windows = Windows(0.2, 1, clock)
    found = search(serve, Inputs(ITEMS), 2.0, 3, windows=windows, clock=clock)
    assert found.energy_windows == []
    assert found.energy_needed_s is None
    assert refused < 50


def test_the_search_ends_in_its_time_and_the_windows_of_a_meter_in_as_long_again() -> None:
    meter = Meter()
    clock = lambda: meter.now_ns
    begin_ns = meter.now_ns
    search(meter.serve, Inputs(ITEMS), 1.0, 3, windows=Windows(0.2, 1, clock), clock=clock)
    assert meter.now_ns - begin_ns < 2.2e9


def test_slow_queries_are_tried_as_little_as_may_be() -> None:
    now_ns = served = 0

    def serve(_: Any) -> Timed:
        nonlocal now_ns, served
        now_ns += 10**9
        served += 1
        return Timed(10**9, 0)

    effort = Effort(least=8, confirming=3)
    search(serve, Inputs(ITEMS[:4]), 1.0, 0, effort=effort, clock=lambda: now_ns)
    assert served <= 2 * (effort.least + 4 + effort.confirming)
