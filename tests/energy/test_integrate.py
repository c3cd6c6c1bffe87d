"""Energy of a window from samples: what is right, what is refused, and what the uncertainty says."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgebench.energy.cell_energy import combine, incomparable
from edgebench.energy.energy_window import Refused, SourceFacts, WindowEnergy
from edgebench.energy.error_budget import combined, total
from edgebench.energy.integrate import calm_interval_s, integrate, needed_s
from edgebench.energy.replicate_energy import (
    inferences,
    net_energy,
    seconds_per_inference,
    window_energy,
)
from edgebench.energy.sampler import MAX_INTERVAL_S
from edgebench.energy.source import Sample
from edgebench.record import Energy, EnergyUncertainty, Offline, Paced
from edgebench.testing.power.cases import read_times
from tests.records import replicate

S = 1_000_000_000
POWER = SourceFacts(
    name="test",
    kind="measured_rail",
    quantity="power",
    scope="module input",
    total_rail="VDD_IN",
    period_s=0.01,
    resolution=0.04,
)
COUNTER = replace(POWER, kind="vendor_counter", quantity="energy", period_s=0.1, resolution=0.001)


def power(watts: Any, until_s: float = 12.0, step_s: float = 0.01) -> list[Sample]:
    """Reads every 10 ms with a little jitter; `watts(t)` is what the meter shows."""
    rng = random.Random(0)
    found = []
    for number in range(int(until_s / step_s)):
        at_s = (number + 0.2 * rng.random()) * step_s
        ns = round(at_s * 1e9)
        found.append(Sample(ns, ns, watts(at_s)))
    return found


def counter(watts: float, period_s: float, until_s: float = 30.0) -> list[Sample]:
    """Reads every 20 ms of a counter that is published every `period_s`."""
    found = []
    for number in range(int(until_s / 0.02)):
        ticks = math.floor(number * 0.02 / period_s + 1e-9)
        found.append(Sample(number * 20_000_000, number * 20_000_000, ticks * period_s * watts))
    return found


def known(found: WindowEnergy | Refused) -> WindowEnergy:
    assert isinstance(found, WindowEnergy), found
    return found


def refused(found: WindowEnergy | Refused) -> Refused:
    assert isinstance(found, Refused), found
    return found


def test_a_constant_load_has_only_the_meters_own_errors() -> None:
    facts = replace(POWER, gain_error=0.01, offset_w=0.05)
    found = known(integrate(power(lambda _: 10.0), facts, 3 * S, 6 * S))
    assert found.energy_j == pytest.approx(30)
    assert found.average_w == pytest.approx(10)
    parts = found.uncertainty
    assert (parts.edge_j, parts.sampling_j, parts.gap_j) == (0, 0, 0)
    assert parts.quantum_j == pytest.approx(0.04 * 3 / 2)
    assert parts.gain_j == pytest.approx(0.3)
    assert parts.offset_j == pytest.approx(0.15)
    assert found.updates == pytest.approx(300, abs=3)


@given(st.integers(0, 10**9), st.integers(2 * 10**9, 8 * 10**9))
def test_edges_are_interpolated_wherever_they_are(start_ns: int, length_ns: int) -> None:
    start_ns += S
    found = known(integrate(power(lambda t: 5 + t), POWER, start_ns, start_ns + length_ns))
    a, b = start_ns / 1e9, (start_ns + length_ns) / 1e9
    truth_j = 5 * (b - a) + (b * b - a * a) / 2
    # The meter's values were read at once: half a period of age is what it may be off.
    assert abs(found.energy_j - truth_j) <= found.uncertainty_j
    assert found.energy_j == pytest.approx(truth_j, rel=0.01)


def test_a_window_with_too_few_updates_is_refused_with_what_it_needs() -> None:
    found = refused(integrate(power(lambda _: 10.0), POWER, 3 * S, 3 * S + S // 2))
    assert found.reason == "window_too_short"
    assert found.needed_s == pytest.approx(1.0, rel=0.05)
    assert "50 updates" in found.detail
    assert needed_s(POWER) >= 1.0
    slow = replace(POWER, period_s=0.5)
    assert refused(integrate(power(lambda _: 10.0), slow, 1 * S, 10 * S)).needed_s == 50.0


def test_a_planned_window_is_taken_however_the_readings_fall() -> None:
    """At random moments of their intervals, and some not at all, as on a busy machine."""
    facts = replace(POWER, period_s=calm_interval_s(2.0))
    end_ns = 2 * S + round(needed_s(facts) * 1e9)
    for seed in range(500):
        rng = random.Random(seed)
        at_ns = [round(at_s * 1e9) for at_s in read_times(facts, 6.0, seed)]
        samples = [Sample(ns, ns, 10.0) for ns in at_ns if rng.random() > 0.08]
        assert known(integrate(samples, facts, 2 * S, end_ns)).energy_j == pytest.approx(20)


def test_a_failed_read_is_a_gap_and_never_zero() -> None:
    def failing(at_s: float) -> float | None:
        return None if 4.0 <= at_s < 4.1 else 10 + math.sin(at_s)

    whole = known(integrate(power(lambda t: 10 + math.sin(t)), POWER, 3 * S, 6 * S))
    found = known(integrate(power(failing), POWER, 3 * S, 6 * S))
    assert found.gaps == 1
    assert found.energy_j == pytest.approx(whole.energy_j, rel=0.001)
    assert found.uncertainty.gap_j > 0
    assert found.uncertainty_j > whole.uncertainty_j


@pytest.mark.parametrize("averages", [False, True])
def test_a_gap_is_found_however_old_the_values_are(averages: bool) -> None:
    facts = replace(POWER, period_s=0.03, averages=averages)
    reads = range(0, 10 * S, S // 100)
    samples = [Sample(ns, ns, None if ns == 4 * S else 8.0 + ns % 7) for ns in reads]
    found = known(integrate(samples, facts, 3 * S, 6 * S))
    assert found.gaps == 1
    assert found.uncertainty.gap_j == pytest.approx(6 / 2 * 0.01)  # one read in a spread of 6 W


@pytest.mark.parametrize(("first_s", "last_s"), [(3.5, 4.0), (0.0, 3.5), (5.5, 99.0), (0.0, 99.0)])
def test_too_much_missing_is_refused(first_s: float, last_s: float) -> None:
    samples = power(lambda t: None if first_s <= t < last_s else 10.0)
    assert refused(integrate(samples, POWER, 3 * S, 6 * S)).reason == "read_failed"
    kept = [sample for sample in samples if sample.value is not None]
    assert refused(integrate(kept, POWER, 3 * S, 6 * S)).reason == "read_failed"


def test_a_value_that_is_no_number_is_a_gap() -> None:
    found = known(
        integrate(power(lambda t: math.nan if 4 < t < 4.05 else 10.0), POWER, 3 * S, 6 * S)
    )
    assert found.energy_j == pytest.approx(30)
    assert found.gaps == 1


def test_a_step_at_the_edge_is_within_the_edges_bound() -> None:
    for shift_ms in range(10):
        edge_s = 3 + shift_ms / 1000
        samples = power(lambda t, edge_s=edge_s: 20.0 if t >= edge_s else 4.0)
        found = known(integrate(samples, POWER, round(edge_s * 1e9), round(edge_s * 1e9) + 2 * S))
        assert abs(found.energy_j - 40.0) <= found.uncertainty_j < 0.4
        assert found.uncertainty.edge_j > 0


def test_a_varying_load_has_sampling_error() -> None:
    rng = random.Random(1)
    noise = power(lambda _: rng.choice((4.0, 20.0)))
    found = known(integrate(noise, POWER, 3 * S, 5 * S))
    # 200 independent readings of +-8 W: sd 8 / sqrt(200) W.
    assert found.uncertainty.sampling_j == pytest.approx(2.1 * 8 / math.sqrt(200) * 2, rel=0.2)


@pytest.mark.parametrize("period_s", [0.02, 0.1, 2.1])
def test_a_counter_runs_from_tick_to_tick(period_s: float) -> None:
    facts = replace(COUNTER, period_s=period_s)
    length_s = needed_s(facts)
    found = known(integrate(counter(10, period_s), facts, 3 * S, 3 * S + round(length_s * 1e9)))
    assert found.start_ns >= 3 * S
    assert found.end_ns <= 3 * S + length_s * 1e9
    assert abs(found.energy_j - 10 * found.window_s) <= found.uncertainty_j
    assert found.energy_j == pytest.approx(10 * found.window_s, rel=0.01)
    assert found.window_s >= length_s / 2


def test_a_slow_counter_says_how_long_it_needs() -> None:
    facts = replace(COUNTER, period_s=2.1)
    found = refused(integrate(counter(10, 2.1), facts, 3 * S, 5 * S))
    assert found.reason == "window_too_short"
    assert found.needed_s == pytest.approx(8.4, rel=0.05)


def test_a_dead_counter_and_one_that_was_set_back() -> None:
    dead = [sample._replace(value=5.0) for sample in counter(10, 0.1)]
    assert refused(integrate(dead, COUNTER, 3 * S, 9 * S)).reason == "counter_dead"
    back = [s._replace(value=(s.value or 0) % 100) for s in counter(10, 0.1)]
    found = refused(integrate(back, COUNTER, 8 * S, 14 * S))
    assert found.reason == "read_failed"
    assert "backwards" in found.detail


def test_a_failed_read_of_a_counter_loses_nothing() -> None:
    samples = [
        s._replace(value=None) if number % 7 == 3 else s
        for number, s in enumerate(counter(10, 0.1))
    ]
    found = known(integrate(samples, COUNTER, 3 * S, 9 * S))
    assert found.energy_j == pytest.approx(10 * found.window_s, rel=0.01)
    assert found.gaps > 0


def test_a_long_read_of_a_counter_dates_its_ticks_worse() -> None:
    """A value is of some moment within its read: 8 ms at 20 W, as ticks are far apart, at two edges."""
    quick = counter(10, 0.1)
    slow = [s._replace(start_ns=s.start_ns - 4_000_000, end_ns=s.end_ns + 4_000_000) for s in quick]
    one, other = (known(integrate(each, COUNTER, 3 * S, 9 * S)) for each in (quick, slow))
    assert other.energy_j == one.energy_j
    more_j = other.uncertainty.edge_j - one.uncertainty.edge_j
    assert more_j == pytest.approx(2 * (2 / 3) ** 0.5 * 20 * 0.008 / 2, rel=0.01)


def test_an_empty_window_is_refused() -> None:
    assert refused(integrate(power(lambda _: 1.0), POWER, S, S)).reason == "window_too_short"
    assert refused(integrate([], POWER, S, 3 * S)).reason == "read_failed"
    assert refused(integrate([], COUNTER, S, 3 * S)).reason == "read_failed"


def test_parts_combine_to_less_than_their_sum() -> None:
    assert combined([0.3], []) == 0.3
    assert combined([], [0.3]) == pytest.approx(0.3)
    assert combined([3.0, 4.0], []) == pytest.approx(2 * 5 / math.sqrt(3))
    assert combined([1.0], [1.0]) < 2.0
    assert total(EnergyUncertainty(quantum_j=0.1, sampling_j=0.1)) < 0.2


# --- net, per inference, several processes


def window(watts: float, seconds: float = 2.0, half_j: float = 0.0) -> WindowEnergy:
    parts = EnergyUncertainty(quantum_j=half_j)
    return WindowEnergy(watts * seconds, parts, 0, round(seconds * 1e9), 200, 0)


def test_net_is_gross_less_idle_and_suppressed_where_idle_drifts() -> None:
    net = net_energy(window(10, half_j=0.1), window(3.9), window(4.1))
    assert net.energy_j == pytest.approx(12)
    assert net.uncertainty_j is not None
    assert net.uncertainty_j >= 0.1
    # Idle moved by 2 W of 6 W between idle and load: more than a tenth.
    assert net_energy(window(10), window(3), window(5)).energy_j is None
    assert "idle moved" in net_energy(window(10), window(3), window(5)).reason
    assert "as much as the load" in net_energy(window(4), window(4), window(4.1)).reason


def test_bounds_count_in_net_as_they_do_in_gross() -> None:
    parts = EnergyUncertainty(edge_j=0.1, quantum_j=0.1, gain_j=0.1, offset_j=5.0)
    net = net_energy(replace(window(10), uncertainty=parts), window(3.9), window(4.1))
    within_j = total(msgspec.structs.replace(parts, offset_j=0.0))
    assert net.uncertainty_j == pytest.approx(combined((0.2,), (within_j,)))  # drift: 0.2 W of 2 s


def measured(**changes: Any) -> Any:
    fields = {
        "window_ns": 3 * S,
        "window_start_ns": 3 * S,
        "window_end_ns": 6 * S,
        "queries": 300,
    }
    return replicate(0, [10_000_000] * 300, **(fields | changes))


def test_a_window_becomes_joules_per_item() -> None:
    found = window_energy(POWER, power(lambda _: 10.0), measured(), 4, window(4), window(4))
    assert found.status == "ok"
    assert found.inferences == 1200
    assert found.j_per_inference == pytest.approx(30 / 1200)
    assert found.net_j_per_inference == pytest.approx(18 / 1200)
    assert found.edp_j_s == pytest.approx(30 / 1200 * 3 / 1200)
    assert found.inferences_per_j == pytest.approx(40)
    assert found.uncertainty_j == pytest.approx(0.06 / 1200)
    assert (found.scope, found.total_rail, found.source) == ("module input", "VDD_IN", "test")
    assert found.rate_hz == pytest.approx(100, rel=0.01)
    alone = window_energy(POWER, power(lambda _: 10.0), measured(), 1)
    assert alone.net_reason == "idle power is unknown: not measured"
    short = measured(window_end_ns=3 * S + S // 4)
    refusal = window_energy(POWER, power(lambda _: 10.0), short, 1)
    assert (refusal.status, refusal.reason) == ("unavailable", "window_too_short")
    assert refusal.needed_s == pytest.approx(1.0, rel=0.05)


def test_items_between_two_ticks() -> None:
    even = measured()
    assert inferences(even, 1, 3 * S, 6 * S) == 300
    assert inferences(even, 2, 4 * S, 5 * S) == pytest.approx(200)
    # The second half of the queries takes three times as long: a quarter of the time, half of them.
    uneven = replicate(
        0, [5_000_000] * 150 + [15_000_000] * 150, window_ns=3 * S, window_start_ns=3 * S,
        window_end_ns=6 * S, queries=300,
    )  # fmt: skip
    assert inferences(uneven, 1, 3 * S, 3 * S + 3 * S // 4) == pytest.approx(150)
    paced = measured(
        paced=Paced(rate_per_s=100, misses=0, service_ns=[1] * 300, wake_late_ns=[]),
    )
    assert seconds_per_inference(paced, 1) == pytest.approx(0.01)
    batch = measured(offline=Offline(samples=1200, duration_ns=3 * S, batch=4))
    assert seconds_per_inference(batch, 4) == pytest.approx(3 / 1200)


def energy(joules: float, **changes: Any) -> Energy:
    base = window_energy(POWER, power(lambda _: 10.0), measured(), 1)
    fields: dict[str, Any] = {"j_per_inference": joules, "trace": None}
    from msgspec.structs import replace as changed

    return changed(base, **(fields | changes))


def test_processes_together_have_their_spread() -> None:
    one = combine([energy(0.1)])
    assert one is not None
    assert one.uncertainty is not None
    assert one.uncertainty.spread_j is None
    both = combine([energy(0.09), None, energy(0.10), energy(0.11)])
    assert both is not None
    assert both.j_per_inference == pytest.approx(0.1)
    assert both.uncertainty is not None
    assert both.uncertainty.spread_j == pytest.approx(4.303 * 0.01 / math.sqrt(3), rel=0.01)
    assert both.uncertainty_j is not None
    assert both.uncertainty.spread_j is not None
    assert both.uncertainty_j >= both.uncertainty.spread_j
    assert both.inferences_per_j == pytest.approx(10)
    # What all windows of a meter share does not shrink with their number.
    assert both.uncertainty.quantum_j == one.uncertainty.quantum_j
    unavailable = Energy(status="unavailable", reason="window_too_short", detail="x")
    assert combine([unavailable, None]) == unavailable
    assert combine([None]) is None
    assert combine([unavailable, energy(0.1)]) == one


def test_energies_that_cannot_be_compared_say_why() -> None:
    rail = energy(0.1)
    assert incomparable([rail, rail]) == ""
    other = energy(0.1, scope="package")
    assert "module input" in incomparable([rail, other])
    assert "package" in incomparable([rail, other])
    assert incomparable([rail, energy(0.1, kind="modelled")]) == "modelled, not measured"


def test_a_calm_look_gives_a_window_just_what_it_needs() -> None:
    for window_s in (0.5, 1.0, 1.5, 2.0):
        calm = replace(POWER, calm_s=calm_interval_s(window_s))
        assert needed_s(calm) == pytest.approx(max(window_s, needed_s(POWER)))
    assert calm_interval_s(60.0) == MAX_INTERVAL_S
