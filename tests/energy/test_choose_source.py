"""Which source is chosen, and with which reason none."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgebench.definitions.device_inventory import load_devices
from edgebench.energy import EnergySource, NoEnergy, find_source
from edgebench.energy.choose_source import NONE, ON_REQUEST, SOURCES
from edgebench.errors import UsageError
from edgebench.testing.trees import write_tree
from tests.energy.energy_trees import AGX_ORIN, INTEL, METAL, NANO_JP4, ORIN_NX, THOR, VM

RAPL = "sys/class/powercap"


def refusal(root: Path) -> NoEnergy:
    found = find_source(root)
    assert isinstance(found, NoEnergy)
    return found


def test_no_meter_on_bare_metal(tmp_path: Path) -> None:
    found = refusal(write_tree(tmp_path, METAL))
    assert found.reason == "no_sensor"
    assert found.detail


def test_no_meter_in_a_virtual_machine(tmp_path: Path) -> None:
    found = refusal(write_tree(tmp_path, VM))
    assert found.reason == "virtualised"
    assert found.detail.startswith("no_sensor: a virtual machine")


def test_a_phantom_counter_is_named_and_not_trusted(tmp_path: Path) -> None:
    phantom = {"sys/bus/event_source/devices/power/events/energy-psys": "event=0x05"}
    found = refusal(write_tree(tmp_path, {**VM, **phantom}))
    assert found.reason == "virtualised"
    assert "cannot be trusted" in found.detail


def test_without_powercap_the_module_is_named(tmp_path: Path) -> None:
    perf = {"sys/bus/event_source/devices/power/events/energy-pkg": "event=0x02"}
    found = find_source(write_tree(tmp_path, {**METAL, **perf}))
    assert isinstance(found, NoEnergy)
    assert (found.reason, found.fix) == ("no_sensor", "sudo modprobe intel_rapl_msr")


def test_time_taken_by_a_hypervisor_tells_a_virtual_machine(tmp_path: Path) -> None:
    stat = {"proc/stat": "cpu  200970 1477 22708 105431 511 0 239 973 0 0"}
    assert refusal(write_tree(tmp_path, stat)).reason == "virtualised"


def test_batteries_of_mice_and_mains_are_not_energy_meters(tmp_path: Path) -> None:
    root = write_tree(
        tmp_path,
        {
            **METAL,
            "sys/class/hwmon/hwmon0/name": "coretemp",
            "sys/class/hwmon/hwmon0/temp1_input": "55000",
            "sys/class/power_supply/mouse/type": "Battery",
            "sys/class/power_supply/mouse/scope": "Device",
            "sys/class/power_supply/mouse/power_now": "1",
            "sys/class/power_supply/AC/type": "Mains",
            f"{RAPL}/intel-rapl/enabled": "1",
        },
    )
    assert refusal(root).reason == "no_sensor"


def test_a_preference_is_for_a_chip_whatever_its_driver(tmp_path: Path) -> None:
    found = find_source(write_tree(tmp_path, NANO_JP4), preference="ina3221")
    assert isinstance(found, EnergySource)
    assert found.name == "ina3221_iio"


def test_no_other_source_stands_in_for_the_preferred_one(tmp_path: Path) -> None:
    found = find_source(write_tree(tmp_path, ORIN_NX), preference="rapl")
    assert isinstance(found, NoEnergy)
    assert "asks for rapl" in found.detail


INA226 = {
    "sys/class/hwmon/hwmon2/name": "ina226",
    "sys/class/hwmon/hwmon2/power1_input": "4500000",
}


@pytest.mark.parametrize("board", [INTEL, THOR, AGX_ORIN, NANO_JP4])
def test_rails_of_the_users_are_not_passed_over_for_another_total(
    tmp_path: Path, board: dict[str, str]
) -> None:
    root = write_tree(tmp_path, {**METAL, **board, **INA226})
    first = find_source(root)
    found = find_source(root, total_rails=["ina226/power1"])
    assert isinstance(first, EnergySource)
    assert isinstance(found, EnergySource)
    assert first.name != "hwmon"
    assert (found.name, found.total_rail) == ("hwmon", "ina226/power1")
    assert found.scope == "ina226/power1, named in devices.yaml"


def test_other_rails_of_the_users_are_another_scope(tmp_path: Path) -> None:
    root = write_tree(tmp_path, AGX_ORIN)
    cpu, gpu = "VDD_CPU_CV", "VDD_GPU_SOC"
    found = [
        find_source(root, total_rails=rails) for rails in ([cpu], [gpu], [cpu, gpu], [gpu, cpu])
    ]
    scopes = [source.scope for source in found if isinstance(source, EnergySource)]
    assert scopes[2] == scopes[3] == "VDD_CPU_CV + VDD_GPU_SOC, named in devices.yaml"
    assert len(set(scopes)) == 3


def test_rails_that_no_meter_has_leave_no_energy(tmp_path: Path) -> None:
    for number, board in enumerate((INTEL, THOR, AGX_ORIN)):
        root = write_tree(tmp_path / str(number), {**METAL, **board})
        found = find_source(root, total_rails=["A", "B"])
        assert isinstance(found, NoEnergy)
        assert (found.reason, "devices.yaml sums A + B" in found.detail) == ("no_sensor", True)
        assert "energy_total" in found.fix
    found = find_source(tmp_path / "0", preference="rapl", total_rails=["A"])
    assert isinstance(found, NoEnergy)
    assert "rapl has one total: package-0 + package-0/dram" in found.detail


def test_the_rails_of_a_fixed_total_may_be_named(tmp_path: Path) -> None:
    root = write_tree(tmp_path, INTEL)
    for preference in (None, "rapl"):
        found = find_source(
            root, preference=preference, total_rails=["package-0/dram", "package-0"]
        )
        assert isinstance(found, EnergySource)
        assert found.name == "rapl"


def test_nothing_to_switch_off_leaves_the_true_reason(tmp_path: Path) -> None:
    found = find_source(write_tree(tmp_path, VM), preference="none")
    assert isinstance(found, NoEnergy)
    assert found.reason == "virtualised"


def test_an_unknown_source_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'rapl'"):
        find_source(tmp_path, preference="rappl")


def test_the_shipped_inventory_names_known_sources() -> None:
    inventory = load_devices(Path(__file__).parents[2] / "devices.yaml")
    named = {device.energy_source for device in inventory} - {None}
    assert named <= {*SOURCES, *ON_REQUEST, NONE}


def test_a_battery_is_no_source(tmp_path: Path) -> None:
    battery = {
        "sys/class/power_supply/BAT0/type": "Battery",
        "sys/class/power_supply/BAT0/power_now": "4830000",
    }
    found = find_source(write_tree(tmp_path, {**METAL, **battery}))
    assert isinstance(found, NoEnergy)
