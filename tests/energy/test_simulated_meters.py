"""The stated uncertainty of every meter holds against the truth, and is no wider than it must be."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edgebench.energy.attach_log import Meter, facts_of_log, samples_of
from edgebench.energy.energy_window import SourceFacts, WindowEnergy
from edgebench.energy.integrate import integrate
from edgebench.energy.marker_alignment import Alignment
from edgebench.energy.meter_log import read_log
from edgebench.energy.sampler import MAX_INTERVAL_S, poll_interval_s
from edgebench.testing.power.bench import Clock, computed, end_of, really_read
from edgebench.testing.power.cases import (
    LOADS,
    Case,
    Summary,
    make_case,
    outcome,
    read_times,
)
from edgebench.testing.power.curves import Line
from edgebench.testing.power.meters import METERS, FileMeter, OrinNx, SimulatedMeter
from edgebench.testing.power.sensor import Sensor

CASES = 1000
STEADY = ("constant", "ramp", "slow_sine")


@pytest.fixture(params=METERS)
def meter(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SimulatedMeter]:
    meter = METERS[request.param](tmp_path)
    yield meter
    if isinstance(meter, FileMeter):
        meter.close()


def case_of(
    meter: SimulatedMeter,
    facts: SourceFacts,
    seed: int,
    load: str | None = None,
    length_s: float | None = None,
) -> Case:
    return make_case(
        seed, facts, most_w=meter.most_w, irregular=meter.irregular, load=load, length_s=length_s
    )


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
    assert found.coverage >= 0.95, found
    assert found.width_ratio <= 3, found
    # No kind of load is paid for by the others.
    for load in LOADS:
        some = Summary.of([each for each in outcomes if each.load == load])
        assert some.coverage >= 0.92, (load, some)


@pytest.mark.parametrize("calm_s", [0.0174, MAX_INTERVAL_S])
def test_a_calm_look_is_as_honest_and_no_wider_than_fewer_readings_make_it(
    tmp_path: Path, calm_s: float
) -> None:
    meter = OrinNx(tmp_path)
    usual = facts_of(meter)
    calm = replace(usual, calm_s=calm_s)
    found = {}
    for facts in (usual, calm):
        cases = [(seed, case_of(meter, calm, seed)) for seed in range(300)]
        found[facts.calm_s] = Summary.of(
            [outcome(case, facts, computed(case, meter, facts, seed)) for seed, case in cases]
        )
    meter.close()
    assert found[calm_s].coverage >= 0.95, found
    fewer = poll_interval_s(calm) / poll_interval_s(usual)
    assert found[calm_s].half_width_median < math.sqrt(fewer) * found[0.0].half_width_median, found


def test_the_real_source_reads_what_was_computed(meter: SimulatedMeter) -> None:
    clock = Clock()
    source = meter.source(clock)
    facts = facts_of(meter)
    for seed in range(len(LOADS)):
        case = case_of(meter, facts, seed)
        times_s = read_times(facts, end_of(case, facts), seed).tolist()
        expected = computed(case, meter, facts, seed)
        got = really_read(case, meter, source, clock, times_s)
        assert [sample.start_ns for sample in got] == [sample.start_ns for sample in expected]
        known = [
            (one.value, two.value) for one, two in zip(got, expected, strict=True) if two.value
        ]
        assert len(known) > 50
        assert [one for one, _ in known] == pytest.approx([two for _, two in known])


@pytest.mark.parametrize("load", STEADY)
def test_steady_loads_within_a_percent_in_200_updates(meter: SimulatedMeter, load: str) -> None:
    """The method's own error: a specimen without gain, offset and failed reads."""
    facts = facts_of(meter)
    length_s = 200 * max(facts.period_s, poll_interval_s(facts))
    for seed in range(20):
        case = case_of(meter, facts, seed, load, length_s)
        ideal = replace(case.sensor, gain=0.0, offset_w=0.0, failures=0.0)
        case = replace(case, sensor=ideal)
        found = outcome(case, facts, computed(case, meter, facts, seed))
        assert abs(found.error) <= 0.01


def test_ten_watts_for_a_second_on_an_orin(tmp_path: Path) -> None:
    """5 mOhm, steps of 41 mW, a window of one second wherever it starts."""
    meter = OrinNx(tmp_path)
    clock = Clock()
    source = meter.source(clock)
    facts = facts_of(meter)
    for seed in range(50):
        start_s = 1 + 0.013 * seed
        sensor = Sensor(facts.period_s, phase=(seed * 0.37) % 1)
        case = Case("constant", Line(10.0), sensor, start_s, start_s + 1.0)
        times_s = read_times(facts, end_of(case, facts), seed).tolist()
        samples = really_read(case, meter, source, clock, times_s)
        found = integrate(samples, facts, round(start_s * 1e9), round((start_s + 1) * 1e9))
        assert isinstance(found, WindowEnergy)
        assert found.energy_j == pytest.approx(10.0, rel=0.01)
        assert abs(found.energy_j - 10.0) <= found.uncertainty_j
    meter.close()


def test_an_external_meters_log_from_its_file(tmp_path: Path) -> None:
    """An instrument that averages 20 ms into a row, through the file that `attach` reads."""
    step_s = 0.02
    log = tmp_path / "log.csv"
    facts = SourceFacts(
        name="log",
        kind="measured_external",
        quantity="power",
        scope="device input",
        total_rail="power_w",
        period_s=step_s,
        resolution=0.001,
        averages=True,
        gain_error=0.002,
    )
    outcomes = []
    for seed in range(CASES):
        case = make_case(seed, facts)
        updates_s = case.sensor.updates(case.end_s + 1.0)
        watts = case.sensor.power(case.curve, updates_s)
        lines = [
            f"{t:.6f},{w:.3f}" for t, w in zip(updates_s.tolist(), watts.tolist(), strict=True)
        ]
        log.write_text("\n".join(["time_s,power_w", *lines]))
        read = read_log(log)
        meter = Meter(averages=True, accuracy=facts.gain_error)
        samples = samples_of(read, facts_of_log(read, Alignment(0.0, 0.0, 1.0), meter), 0.0)
        outcomes.append(outcome(case, facts, samples))
    found = Summary.of(outcomes)
    assert found.coverage >= 0.95, found
    assert found.width_ratio <= 3, found
