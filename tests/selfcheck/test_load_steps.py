"""A meter under known loads: what makes a claim ok, and what makes it fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgebench.energy import EnergySource, find_source
from edgebench.energy.energy_window import Refused, WindowEnergy
from edgebench.energy.source import NoEnergy, Sample
from edgebench.record import EnergyUncertainty
from edgebench.selfcheck.load_steps import PARTS, Step, judge_steps, measure_steps
from edgebench.testing.trees import write_tree
from tests.energy.energy_trees import ORIN_NX, Clock

NS = 1_000_000_000


@pytest.fixture
def source(tmp_path: Path) -> EnergySource:
    found = find_source(write_tree(tmp_path, ORIN_NX), clock_ns=Clock())
    assert isinstance(found, EnergySource)
    return found


def window(watts: float, seconds: float = 3.0, open_j: float = 0.05) -> WindowEnergy:
    return WindowEnergy(
        watts * seconds, EnergyUncertainty(edge_j=open_j), 0, round(seconds * NS), 300, 0
    )


def step(cores: int, watts: float, parts: float | None = None, every_s: float = 0.009) -> Step:
    """A load with its power; `every_s`: between two values that differ."""
    part = window(parts or watts, 3.0 / PARTS)
    samples = tuple(Sample(round(n * every_s * NS), 0, watts + n % 2) for n in range(100))
    return Step(cores, window(watts), (part,) * PARTS, samples)


def judged(source: EnergySource, *steps: Step) -> dict[str, str]:
    return {answer.claim: answer.status for answer in judge_steps(source, steps)}


def test_a_meter_in_order_holds_every_claim(source: EnergySource) -> None:
    found = judged(source, step(0, 5.0), step(1, 8.0), step(2, 11.0))
    assert found == {"meter.follows": "ok", "meter.rate": "ok", "meter.sum": "ok"}


def test_a_meter_that_does_not_follow_the_load_is_found(source: EnergySource) -> None:
    assert judged(source, step(0, 5.0), step(1, 5.01), step(2, 5.01))["meter.follows"] == "failed"


def test_a_counter_that_wanders_by_a_little_follows_nothing(source: EnergySource) -> None:
    """Ticks date a counter's window so well that any difference is beyond chance."""
    sharp = [
        Step(n, window(w, open_j=1e-6), (window(w),) * PARTS, step(0, w).samples)
        for n, w in ((0, 13.0), (2, 13.02))
    ]
    assert judged(source, *sharp)["meter.follows"] == "failed"


def test_power_that_falls_with_a_further_core_is_found(source: EnergySource) -> None:
    assert judged(source, step(0, 5.0), step(1, 11.0), step(4, 8.0))["meter.follows"] == "failed"


def test_a_meter_slower_than_it_states_is_found(source: EnergySource) -> None:
    assert judged(source, step(0, 5.0), step(2, 8.0, every_s=0.5))["meter.rate"] == "failed"


def test_windows_that_do_not_add_up_are_found(source: EnergySource) -> None:
    assert judged(source, step(0, 5.0), step(2, 8.0, parts=7.0))["meter.sum"] == "failed"


def test_a_window_without_energy_fails_every_claim_with_its_reason(source: EnergySource) -> None:
    broken = Step(0, Refused("counter_dead", "VDD_IN stayed at 0 W"), (), ())
    answers = judge_steps(source, [broken, step(2, 8.0)])
    assert {answer.status for answer in answers} == {"failed"}
    assert all("VDD_IN stayed at 0 W" in answer.detail for answer in answers)


def test_a_meter_that_needs_minutes_for_a_window_is_not_waited_for(source: EnergySource) -> None:
    source.period_s = 30.0
    found = measure_steps(source, 2, pytest.fail)
    assert isinstance(found, NoEnergy)
    assert "for each load" in found.detail
