"""A meter that does not answer to a load is not trusted."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgebench.energy import EnergySource, find_source
from edgebench.energy.meter_liveness import check_alive
from edgebench.testing.trees import write_tree
from tests.energy.energy_trees import METAL, ORIN_NX, POWERCAP, Clock, zone


@pytest.fixture
def clock() -> Clock:
    return Clock()


def opened(root: Path, clock: Clock) -> EnergySource:
    source = find_source(root, clock_ns=clock)
    assert isinstance(source, EnergySource)
    source.open()
    return source


def test_a_phantom_stands_still_and_is_dead(tmp_path: Path, clock: Clock) -> None:
    root = write_tree(tmp_path, {**METAL, **zone("intel-rapl:0", "package-0", 0)})
    dead = check_alive(opened(root, clock), clock.advance)
    assert dead is not None
    assert dead.reason == "counter_dead"
    assert "package-0 did not advance" in dead.detail


def test_a_counter_that_advances_is_alive(tmp_path: Path, clock: Clock) -> None:
    root = write_tree(tmp_path, {**METAL, **zone("intel-rapl:0", "package-0", 0)})

    def load(seconds: float) -> None:
        clock.advance(seconds)
        (root / POWERCAP / "intel-rapl:0/energy_uj").write_text("5000000\n")

    assert check_alive(opened(root, clock), load) is None


def test_the_load_lasts_as_long_as_the_meter_needs(tmp_path: Path, clock: Clock) -> None:
    asked: list[float] = []
    source = opened(write_tree(tmp_path, ORIN_NX), clock)
    assert check_alive(source, asked.append) is None
    source.period_s = 2.0
    check_alive(source, asked.append)
    assert asked == [0.2, 6.0]


def test_power_that_stays_at_nothing_is_dead(tmp_path: Path, clock: Clock) -> None:
    nothing = {path: "0" if path.endswith("curr1_input") else v for path, v in ORIN_NX.items()}
    dead = check_alive(opened(write_tree(tmp_path, nothing), clock), clock.advance)
    assert dead is not None
    assert (dead.reason, "0 W" in dead.detail) == ("counter_dead", True)


def test_no_value_is_no_life(tmp_path: Path, clock: Clock) -> None:
    source = opened(write_tree(tmp_path, ORIN_NX), clock)
    source.close()
    dead = check_alive(source, clock.advance)
    assert dead is not None
    assert dead.reason == "read_failed"


def test_a_counter_set_back_under_the_load_is_named(tmp_path: Path, clock: Clock) -> None:
    root = write_tree(tmp_path, {**METAL, **zone("intel-rapl:0", "package-0", 10**11)})

    def load(seconds: float) -> None:
        clock.advance(seconds)
        (root / POWERCAP / "intel-rapl:0/energy_uj").write_text("5\n")

    dead = check_alive(opened(root, clock), load)
    assert dead is not None
    assert (dead.reason, "set back" in dead.detail) == ("read_failed", True)
