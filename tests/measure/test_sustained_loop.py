"""The sustained load on a machine whose heat and clock are made up."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from edgebench.analysis.per_row.row_from_record import row_of
from edgebench.analysis.per_row.sustained_rows import sustained_of, time_to_throttle_s
from edgebench.analysis.table import build_table
from edgebench.measure import state_monitor
from edgebench.measure.replicate.loops import Window
from edgebench.measure.replicate.sustained_loop import Temperature, period_of, sustained
from edgebench.measure.runner import Settings
from edgebench.measure.worker_messages import Done, Job
from edgebench.probes import machine_state
from edgebench.probes.throttling import Gauge, Gauges
from edgebench.record import CurvePoint, Level, Replicate, StateCheck
from edgebench.render import table_wording
from tests.measure.test_runner import (
    FakeMeter,
    job,
    measure,
    spoil,
    spread_launch,
    steady_launch,
    target,
)
from tests.records import record, replicate


class Machine:
    """A chip that warms up while it computes, and halves its clock at a limit.

    Temperature follows the power with the time constant `tau_s`, as one lump of metal does.
    """

    def __init__(
        self,
        *,
        hot_c: float = 60.0,
        limit_c: float = 95.0,
        tau_s: float = 20.0,
        drift_per_s: float = 0.0,
    ) -> None:
        self.now_ns = 5_000_000_000
        self.celsius = 30.0
        self.hot_c, self.limit_c, self.tau_s, self.drift = hot_c, limit_c, tau_s, drift_per_s
        self.looks: list[int] = []
        self.in_query = False

    def clock(self) -> int:
        return self.now_ns

    def run(self, _: Any) -> None:
        self.in_query = True
        base_ns = 10e6 * (1 + self.drift * (self.now_ns - 5e9) / 1e9)
        ns = base_ns * (2 if self.celsius >= self.limit_c else 1)
        self.now_ns += round(ns)
        step = 1 - math.exp(-ns / 1e9 / self.tau_s)
        self.celsius += (self.hot_c - self.celsius) * step
        self.in_query = False

    def temperature(self) -> float:
        assert not self.in_query
        self.looks.append(self.now_ns)
        return round(self.celsius * 2) / 2  # a sensor of half a degree

    def sustain(
        self,
        limit_s: float,
        temperature: Callable[[], float | None] | None = None,
        min_window_s: float = 0.0,
    ) -> Window:
        return sustained(
            self.run,
            [0, 1],
            typical_ns=10_000_000,
            limit_s=limit_s,
            max_samples=900,
            temperature=Temperature(temperature or self.temperature, "cpu-thermal"),
            min_window_s=min_window_s,
            clock=self.clock,
        )


def of(window: Window, index: int = 0) -> Replicate:
    return replicate(
        index,
        samples_ns=window.samples_ns,
        window_ns=window.window_ns,
        queries=window.queries,
        stop=window.stop,
        sustained=window.sustained,
    )


def test_a_cooled_machine_becomes_steady_and_ends_early() -> None:
    machine = Machine()
    window = machine.sustain(600)
    part = sustained_of([of(window)])
    assert window.stop == "steady"
    assert part is not None
    assert part.steady
    assert part.steady_by == "latency and temperature"
    assert 60 < part.duration_s < 200  # the heat of 30 K fades to half a kelvin within four tau
    assert (part.slowdown, part.time_to_throttle_s) == (1.0, None)
    assert part.temperature_start_c is not None
    assert part.temperature_start_c < 33
    assert part.temperature_end_c == part.temperature_max_c == 59.5


def test_a_machine_that_throttles_shows_when_and_how_much() -> None:
    machine = Machine(hot_c=120.0, limit_c=95.0)
    part = sustained_of([of(machine.sustain(600))])
    assert part is not None
    # 30 + 90 * (1 - exp(-t / 20)) reaches 95 degrees after 25.6 s.
    assert part.time_to_throttle_s == pytest.approx(25.6, abs=1.5)
    assert part.burst_p50_ns == 10_000_000
    assert part.sustained_p50_ns == 20_000_000
    assert part.slowdown == 2.0
    assert part.steady


def test_the_time_ends_before_anything_is_steady() -> None:
    machine = Machine(drift_per_s=0.01)
    window = machine.sustain(40)
    part = sustained_of([of(window)])
    assert window.stop == "time"
    assert part is not None
    assert not part.steady
    assert 40 <= part.duration_s < 42
    assert part.slowdown is not None
    assert part.slowdown > 1.2


def test_heat_that_still_rises_is_not_steady_though_the_latency_is() -> None:
    window = Machine(tau_s=300.0).sustain(120)
    assert window.stop == "time"
    assert window.sustained is not None
    assert not window.sustained.steady


def test_without_a_temperature_half_of_the_time_must_be_over() -> None:
    machine = Machine()
    window = machine.sustain(300, temperature=lambda: None)
    part = sustained_of([of(window)])
    assert part is not None
    assert (part.steady, part.steady_by) == (True, "latency")
    assert 150 <= part.duration_s < 155
    assert part.temperature_max_c is None


def test_a_slow_meter_of_energy_has_its_window_of_steady_load() -> None:
    def sustain(min_window_s: float) -> Window:
        return Machine().sustain(300, lambda: 40.0, min_window_s)

    without, window = sustain(0.0), sustain(100.0)
    assert without.sustained is not None
    assert window.sustained is not None
    assert window.window_ns == pytest.approx(100e9, rel=0.01)
    assert window.window_ns >= 100e9
    assert window.queries == pytest.approx(10_000, rel=0.01)
    assert len(window.samples_ns) <= 900  # of the last 30 s, as ever
    assert window.stop == "steady"
    # Steady from the start, it goes on until the window is full, and no longer.
    assert (len(without.sustained.curve), len(window.sustained.curve)) == (30, 100)
    assert sustain(1.0).window_ns == without.window_ns


def test_a_load_that_is_never_steady_has_that_window_at_its_end() -> None:
    window = Machine(drift_per_s=0.01).sustain(120, min_window_s=50.0)
    assert window.stop == "time"
    assert window.window_ns == pytest.approx(50e9, rel=0.05)
    assert min(window.samples_ns) >= 10e6 * (1 + 0.01 * 85)  # and the latency of its last 30 s


def test_a_meter_too_slow_for_the_time_changes_nothing() -> None:
    short = Machine().sustain(150, min_window_s=100.0)
    assert short.window_ns == Machine().sustain(150).window_ns


def test_samples_are_thinned_and_the_throughput_is_not() -> None:
    window = Machine().sustain(600)
    assert window.sustained is not None
    assert len(window.samples_ns) <= 900
    assert window.queries == 3000  # 30 s of 10 ms each
    row = row_of(record({}, scenario="sustained", replicates=[of(window)]))
    assert row.throughput_per_s == pytest.approx(100.0)


def test_thinning_does_not_favour_some_inputs() -> None:
    """Two inputs in turn, one of them ten times as slow: both are half of what is kept."""
    machine = Machine()
    slow = iter(range(10**9))

    def run(_: Any) -> None:
        machine.now_ns += 1_000_000 if next(slow) % 2 else 100_000

    machine.run = run  # type: ignore[method-assign]
    window = machine.sustain(60, temperature=lambda: 40.0)
    share = sum(ns == 1_000_000 for ns in window.samples_ns) / len(window.samples_ns)
    assert 0.4 < share < 0.6


def test_the_temperature_is_read_once_a_period() -> None:
    machine = Machine()
    window = machine.sustain(30)
    assert window.sustained is not None
    assert len(machine.looks) == len(window.sustained.curve)
    gaps = [b - a for a, b in zip(machine.looks, machine.looks[1:], strict=False)]
    assert min(gaps) >= period_of(30) * 1e9


@pytest.mark.parametrize(
    ("limit_s", "period_s"), [(2, 0.1), (30, 0.5), (60, 1), (300, 1), (3600, 6)]
)
def test_curves_have_a_bounded_length(limit_s: float, period_s: float) -> None:
    assert period_of(limit_s) == pytest.approx(period_s)


def test_a_query_longer_than_the_time_still_gives_one_period() -> None:
    window = Machine().sustain(0.001)
    assert window.sustained is not None
    assert len(window.sustained.curve) == 1
    assert window.samples_ns


def curve(*p50_ms: float) -> list[CurvePoint]:
    return [
        CurvePoint(at_ns=(number + 1) * 10**9, p50_ns=round(ms * 1e6), temperature_c=None)
        for number, ms in enumerate(p50_ms)
    ]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([10] * 10 + [12] * 10, 10.0),
        ([10] * 20, None),
        ([10] * 5 + [12] * 4 + [10] * 11, None),  # a hiccup
        ([10] * 3 + [12] * 6 + [10] * 20, None),  # longer, and yet it recovered
        ([10] * 10 + [10.4] * 10, None),  # within 5 %
        ([10] * 10 + [12] * 4, None),  # too short to tell
    ],
)
def test_when_it_throttled(values: list[float], expected: float | None) -> None:
    assert time_to_throttle_s(curve(*values), 10_000_000) == expected


def test_every_null_of_the_row_has_its_reason_and_the_report_says_it() -> None:
    window = Machine().sustain(60, temperature=lambda: None)
    table = build_table([record({}, scenario="sustained", replicates=[of(window)])])
    (row,) = table.rows
    assert row.sustained is not None
    for name in row.sustained.__struct_fields__:
        if getattr(row.sustained, name) is None:
            assert row.unknown[f"sustained.{name}"]
    (line,) = table_wording.remarks(row)
    assert line.startswith("sustained 10.0 ms after a burst of 10.0 ms (1.00x); ")
    assert "steady by latency after 30 s" in line
    assert "temperature unknown: cpu-thermal" in line
    other = build_table([record()]).rows[0]
    assert other.unknown["sustained"] == "not the scenario sustained"


def test_burst_latency_is_unknown_if_the_first_process_does_not_count() -> None:
    machine = Machine(hot_c=120.0, limit_c=95.0)
    disturbed = msgspec.structs.replace(of(machine.sustain(600)), status="invalid")
    again = [of(machine.sustain(600), index) for index in (1, 2, 3)]  # the machine is hot by now
    table = build_table([record({}, scenario="sustained", replicates=[disturbed, *again])])
    (row,) = table.rows
    part = row.sustained
    assert part is not None
    assert part.sustained_p50_ns == 20_000_000
    assert part.temperature_end_c == pytest.approx(120, abs=1)
    for name in ("burst_p50_ns", "slowdown", "time_to_throttle_s", "temperature_start_c"):
        assert getattr(part, name) is None
        assert "starts cool" in row.unknown[f"sustained.{name}"]
    (line,) = (line for line in table_wording.remarks(row) if line.startswith("sustained"))
    assert line.startswith("sustained 20.0 ms, burst unknown: the first process, ")
    assert line.endswith(" C at the end")


def test_heat_is_a_finding_of_a_sustained_load_and_spoils_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spoil(monkeypatch, 0)
    monkeypatch.setattr(state_monitor, "HEAT", frozenset({"throttle"}))
    long = target("a")
    long.cell = msgspec.structs.replace(long.cell, scenario="sustained")
    _, keeper, _ = measure([long])
    assert keeper.records[0].status == "ok"
    assert [check.level for check in keeper.records[0].replicates[0].state_after] == ["warn"]


def test_no_more_sustained_loads_than_were_asked_for() -> None:
    long = target("a")
    long.cell = msgspec.structs.replace(long.cell, scenario="sustained")
    _, keeper, _ = measure([long, target("b")], spread_launch)
    assert {r.cell.id: len(r.replicates) for r in keeper.records} == {"a": 3, "b": 9}


def test_the_budget_is_shared_with_sustained_loads() -> None:
    jobs: list[Job] = []

    def launch(job: Job, **_: Any) -> Done:
        jobs.append(job)
        return steady_launch(job)

    long = target("a")
    long.cell = msgspec.structs.replace(long.cell, scenario="sustained")
    long.job = msgspec.structs.replace(job(), scenario="sustained")
    measure([long, target("b")], launch, Settings(budget_s=100.0, slice_s=2.0))
    rounds = [{bool(made.sustain_s) for made in jobs[at : at + 2]} for at in (0, 2, 4)]
    assert rounds == [{True, False}] * 3
    assert all(made.slice_s <= 2.0 for made in jobs)
    first = next(made for made in jobs if made.sustain_s)
    assert 2.0 < first.sustain_s < 100.0 / 6


@pytest.mark.parametrize(("needed_s", "metered_s"), [(100.0, 100.0), (151.0, 0.0)])
def test_a_meter_too_slow_for_the_load_is_not_waited_for(needed_s: float, metered_s: float) -> None:
    meter = FakeMeter()
    meter.needed_s = needed_s
    jobs: list[Job] = []

    def launch(job: Job, **_: Any) -> Done:
        jobs.append(job)
        return steady_launch(job)

    long = target("a")
    long.cell = msgspec.structs.replace(long.cell, scenario="sustained")
    measure([long], launch, Settings(sustain_s=300.0), meter=meter)
    assert [made.min_window_s for made in jobs] == [metered_s] * 3
    assert meter.idles == (3 if metered_s else 0)


def test_a_changed_setting_spoils_a_sustained_load_all_the_same() -> None:
    changed = StateCheck(name="settings_changed", level="invalid", evidence="governor")
    assert state_monitor.allowing_heat([changed]) == [changed]


def test_heat_does_not_hide_a_setting_that_changed_between_two_loads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hot = StateCheck(name="thermal_throttle", level="invalid", evidence="12 times")
    monkeypatch.setattr(machine_state, "compare", lambda *_: [hot])
    watch = state_monitor.StateMonitor()
    monkeypatch.setattr(
        machine_state,
        "snapshot",
        lambda: machine_state.Snapshot(0, {}, {"g": "powersave"}, None, None, None, None),
    )
    found = state_monitor.allowing_heat(watch.end({"g": "performance"}))
    assert {check.name: check.level for check in found} == {
        "thermal_throttle": "warn",
        "settings_changed": "invalid",
    }


CLOCK, GOVERNOR = "cpufreq/policy0/scaling_max_freq", "cpufreq/policy0/scaling_governor"


def changes_of(
    monkeypatch: pytest.MonkeyPatch, before: dict[str, str], after: dict[str, str], state_now: str
) -> dict[str, str]:
    """Levels after a sustained load in which the settings went from one to the other, while a device
    that cools was in this state at the end."""
    modes = iter((before, after))
    snapshots = (machine_state.Snapshot(0, {}, mode, None, None, None, None) for mode in modes)
    monkeypatch.setattr(machine_state, "snapshot", lambda: next(snapshots))
    gauge = Gauge("cooling_throttle", "cool it", lambda: state_now)
    monkeypatch.setattr(machine_state, "Gauges", lambda: Gauges([gauge]))
    found = state_monitor.allowing_heat(state_monitor.StateMonitor().end(before))
    return {check.name: check.level for check in found if check.level != "ok"}


def test_a_clock_that_the_kernel_lowered_by_heat_is_no_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cool = {CLOCK: "1800000", GOVERNOR: "performance"}
    hot = {CLOCK: "1200000", GOVERNOR: "performance"}
    found = changes_of(monkeypatch, cool, hot, "cpufreq-cpu0 is slowed down to state 3")
    assert found == {"cooling_throttle": "warn"}
    assert changes_of(monkeypatch, cool, hot, "") == {"settings_changed": "invalid"}
    other = {**hot, GOVERNOR: "powersave"}
    found = changes_of(monkeypatch, cool, other, "cpufreq-cpu0 is slowed down to state 3")
    assert found == {"cooling_throttle": "warn", "settings_changed": "invalid"}


def test_after_a_run_a_clock_that_heat_holds_down_is_no_setting() -> None:
    def checks(clocks: str, cooling: Level) -> list[StateCheck]:
        return [
            StateCheck(name="clocks_pinned", level="warn", evidence=clocks),
            StateCheck(name="cooling_throttle", level=cooling, evidence=""),
        ]

    before = checks("policy0 400000-1800000", "ok")
    assert machine_state.changed_since(before, checks("policy0 400000-1200000", "invalid")) == []
    (changed,) = machine_state.changed_since(before, checks("policy0 400000-1200000", "ok"))
    assert (changed.name, changed.level) == ("settings_changed", "invalid")
