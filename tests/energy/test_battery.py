"""A battery's gauge as a meter: current times voltage, while the machine runs from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgebench.energy import EnergySource, NoEnergy, find_source
from edgebench.testing.trees import write_tree
from tests.energy.energy_trees import METAL, ORIN_NX, Clock, ina3221

SUPPLY = "sys/class/power_supply"


def battery(name: str = "BAT0", **files: str) -> dict[str, str]:
    """A battery that discharges at 11.4 V; `files` replaces or adds."""
    fields = {"type": "Battery", "present": "1", "status": "Discharging", "voltage_now": "11400000"}
    return {f"{SUPPLY}/{name}/{key}": value for key, value in {**fields, **files}.items()}


def asked(tmp_path: Path, *trees: dict[str, str]) -> EnergySource | NoEnergy:
    tree = {path: text for each in (METAL, *trees) for path, text in each.items()}
    return find_source(write_tree(tmp_path, tree), preference="battery", clock_ns=Clock())


def opened(found: EnergySource | NoEnergy) -> EnergySource:
    assert isinstance(found, EnergySource), found
    found.open()
    return found


@pytest.mark.parametrize("sign", ["", "-"])
def test_current_times_voltage_whatever_the_drivers_sign(tmp_path: Path, sign: str) -> None:
    source = opened(asked(tmp_path, battery(current_now=f"{sign}1500000")))
    assert source.sample().value == pytest.approx(11.4 * 1.5)
    assert (source.name, source.kind, source.total_rail) == ("battery", "measured_rail", "BAT0")
    assert source.resolution == pytest.approx(11.4e-3)
    assert any("gauge" in caveat for caveat in source.caveats)


def test_power_that_the_gauge_tells_itself_goes_first(tmp_path: Path) -> None:
    source = opened(asked(tmp_path, battery(current_now="1", power_now="9120000")))
    assert source.sample().value == pytest.approx(9.12)


def test_only_a_smart_battery_is_known_to_measure_every_second(tmp_path: Path) -> None:
    acpi = opened(asked(tmp_path / "a", battery(power_now="9120000")))
    smart = opened(asked(tmp_path / "b", battery("sbs-0-000b", current_now="-800000")))
    assert (acpi.period_s, smart.period_s) == (30.0, 1.0)


def test_on_the_charger_there_is_no_value(tmp_path: Path) -> None:
    found = asked(tmp_path, battery(current_now="1500000", status="Charging"))
    assert isinstance(found, NoEnergy)
    assert "BAT0 (charging)" in found.detail
    assert "unplug" in found.fix


def test_a_charger_that_is_plugged_in_later_makes_a_gap(tmp_path: Path) -> None:
    source = opened(asked(tmp_path, battery(current_now="1500000")))
    (tmp_path / SUPPLY / "BAT0/status").write_text("Not charging\n")
    assert source.sample().value is None
    assert [rail.value for rail in source.rails()] == [None]


def test_two_batteries_that_discharge_are_one_total_and_one_that_rests_is_left_out(
    tmp_path: Path,
) -> None:
    source = opened(
        asked(
            tmp_path,
            battery("BAT0", power_now="5000000"),
            battery("BAT1", power_now="4000000"),
            battery("BAT2", power_now="0", status="Not charging"),
        )
    )
    assert source.sample().value == pytest.approx(9.0)
    assert source.total_rail == "BAT0 + BAT1"


def test_batteries_of_mice_and_those_without_a_gauge_are_no_meters(tmp_path: Path) -> None:
    found = asked(tmp_path, battery("mouse", scope="Device", power_now="1"), battery("BAT0"))
    assert isinstance(found, NoEnergy)
    assert "which is not there" in found.detail


def test_nobody_meets_it_unasked_and_the_reason_names_it(tmp_path: Path) -> None:
    hwmon = {"sys/class/hwmon/hwmon1/name": "BAT0", "sys/class/hwmon/hwmon1/power1_input": "9120000",
             "sys/class/hwmon/hwmon1/device/type": "Battery"}  # fmt: skip
    found = find_source(write_tree(tmp_path, {**METAL, **battery(power_now="9120000"), **hwmon}))
    assert isinstance(found, NoEnergy)
    assert "a battery (BAT0)" in found.detail
    assert "energy_source: battery" in found.fix


# Power that flows back


def test_a_rail_of_the_total_that_flows_back_makes_no_smaller_sum(tmp_path: Path) -> None:
    from edgebench.energy.meter_liveness import check_alive

    clock, folder = Clock(), "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1"
    rails = {
        1: ("VDD_GPU_SOC", 12008, 280),
        2: ("VDD_CPU_CV", 12008, 40),
        3: ("VIN_SYS_5V0", 4968, -500),
    }
    found = find_source(write_tree(tmp_path, ina3221(folder, rails, 2000)), clock_ns=clock)
    dead = check_alive(opened(found), clock.advance)
    assert dead is not None
    assert (
        "VIN_SYS_5V0, of the total, shows -2.48 W; is the meter connected the wrong way round?"
        in dead.detail
    )


def test_a_step_below_nothing_is_the_chips_offset(tmp_path: Path) -> None:
    from edgebench.energy.meter_liveness import check_alive

    clock, folder = Clock(), "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1"
    rails = {
        1: ("VDD_GPU_SOC", 12008, 280),
        2: ("VDD_CPU_CV", 12008, -20),
        3: ("VIN_SYS_5V0", 4968, 980),
    }
    found = find_source(write_tree(tmp_path, ina3221(folder, rails, 2000)), clock_ns=clock)
    assert check_alive(opened(found), clock.advance) is None


def test_a_meter_the_wrong_way_round_does_not_stay_at_nothing(tmp_path: Path) -> None:
    from edgebench.energy.meter_liveness import check_alive

    clock = Clock()
    turned = {
        path: f"-{text}" if path.endswith("curr1_input") else text for path, text in ORIN_NX.items()
    }
    dead = check_alive(
        opened(find_source(write_tree(tmp_path, turned), clock_ns=clock)), clock.advance
    )
    assert dead is not None
    assert "showed -4.58 W (is the meter connected the wrong way round?)" in dead.detail
