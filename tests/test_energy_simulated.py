"""The stated uncertainty of every meter holds against the truth, and is no wider than it must be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edgebench.probes.energy.method import WindowEnergy, integrate
from edgebench.probes.energy.window import SourceFacts
from edgebench.testing.power.bench import Clock, computed, end_of, really_read
from edgebench.testing.power.cases import (
    LOADS,
    Case,
    Outcome,
    Summary,
    make_case,
    outcome,
    read_times,
)
from edgebench.testing.power.curves import Line
from edgebench.testing.power.meters import METERS, OrinNx, SimulatedMeter
from edgebench.testing.power.sensor import Sensor

CASES = 1000
REALLY_READ = 7  # one of every load


@pytest.fixture(params=METERS)
def meter(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SimulatedMeter]:
    meter = METERS[request.param](tmp_path)
    yield meter
    meter.close()


def case_of(meter: SimulatedMeter, facts: SourceFacts, seed: int, **changes: object) -> Case:
    return make_case(seed, facts, most_w=meter.most_w, irregular=meter.irregular, **changes)  # type: ignore[arg-type]


def facts_of(meter: SimulatedMeter) -> SourceFacts:
    source = meter.source(Clock())
    source.open()
    source.close()
    return SourceFacts.of(source)


def test_the_truth_lies_inside_and_the_interval_is_narrow(meter: SimulatedMeter) -> None:
    facts = facts_of(meter)
    outcomes = []
    for seed in range(CASES):
        case = case_of(meter, facts, seed)
        outcomes.append(outcome(case, facts, computed(case, meter, facts, seed)))
    found = Summary.of(outcomes)
    print(meter.name, found, found.width_ratio)
    for load in LOADS:
        s = Summary.of([o for o in outcomes if o.load == load])
        print(f"    {load:16} {s.coverage:.3f} p95 {s.error_p95:.5f} med {s.half_width_median:.5f} {s.width_ratio:.2f}")
    assert found.coverage >= 0.95
    assert found.width_ratio <= 3


def test_the_real_source_reads_what_was_computed(meter: SimulatedMeter) -> None:
    clock = Clock()
    source = meter.source(clock)
    facts = facts_of(meter)
    for seed in range(REALLY_READ):
        case = case_of(meter, facts, seed)
        times_s = read_times(facts, end_of(case, facts), seed)
        expected = computed(case, meter, facts, seed)
        got = really_read(case, meter, source, clock, times_s)
        assert [s.start_ns for s in got] == [s.start_ns for s in expected]
        for one, other in zip(got, expected, strict=True):
            if other.value is not None:
                assert one.value == pytest.approx(other.value, rel=1e-9, abs=1e-9)
