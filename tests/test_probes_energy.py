"""Energy is unavailable with the right reason, whatever the machine has."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from edgebench.probes import files
from edgebench.probes.energy import NoEnergy, find_source, measure_unavailable
from edgebench.testing.trees import write_tree

RAPL = "sys/class/powercap"
VM = {"proc/cpuinfo": "flags : fpu hypervisor avx2"}
METAL = {"proc/cpuinfo": "flags : fpu avx2"}
METERS = {
    "Jetson INA3221 rails": {
        "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1/name": "ina3221",
        "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1/curr1_input": "888",
        "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1/in1_input": "5160",
    },
    "Jetson INA3221 rails (JetPack 4)": {
        "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/in_power0_input": "933",
    },
    "INA238 module input": {
        "sys/bus/i2c/devices/2-0044/hwmon/hwmon6/name": "ina238",
        "sys/bus/i2c/devices/2-0044/hwmon/hwmon6/power1_input": "36630000",
    },
    "Raspberry Pi 5 PMIC": {"sys/firmware/devicetree/base/model": "Raspberry Pi 5 Model B"},
    "RAPL": {f"{RAPL}/intel-rapl:a/energy_uj": "240422366267"},
    "hwmon zenpower": {
        "sys/class/hwmon/hwmon2/name": "zenpower",
        "sys/class/hwmon/hwmon2/power1_input": "1",
    },
    "NVIDIA GPU (NVML)": {"proc/driver/nvidia/gpus/0000:01:00.0/information": "Model: x"},
    "battery": {
        "sys/class/power_supply/BAT0/type": "Battery",
        "sys/class/power_supply/BAT0/power_now": "4830000",
    },
}


def test_no_meter_on_bare_metal(tmp_path: Path) -> None:
    found = measure_unavailable(write_tree(tmp_path, METAL))
    assert (found.status, found.reason) == ("unavailable", "no_sensor")
    assert found.detail


def test_no_meter_in_a_virtual_machine(tmp_path: Path) -> None:
    found = measure_unavailable(write_tree(tmp_path, VM))
    assert found.reason == "virtualised"
    assert found.detail.startswith("no_sensor: a virtual machine")


def test_a_phantom_counter_is_named_and_not_trusted(tmp_path: Path) -> None:
    phantom = {"sys/bus/event_source/devices/power/events/energy-psys": "event=0x05"}
    found = measure_unavailable(write_tree(tmp_path, {**VM, **phantom}))
    assert found.reason == "virtualised"
    assert "not to be trusted" in found.detail


def test_a_board_meter_is_not_named_again_as_any_hwmon(tmp_path: Path) -> None:
    again = {
        "sys/class/hwmon/hwmon6/name": "ina238",
        "sys/class/hwmon/hwmon6/power1_input": "36630000",
    }
    found = find_source(write_tree(tmp_path, {**METERS["INA238 module input"], **again}))
    assert isinstance(found, NoEnergy)
    assert "hwmon" not in found.detail


@pytest.mark.parametrize("name", METERS)
@pytest.mark.parametrize("machine", [VM, METAL], ids=["vm", "metal"])
def test_each_meter_is_named_and_gives_no_number(
    tmp_path: Path, name: str, machine: dict[str, str]
) -> None:
    found = measure_unavailable(write_tree(tmp_path, {**machine, **METERS[name]}))
    assert found.reason == "no_sensor"
    assert found.detail.startswith(f"{name} found")
    assert (found.j_per_inference, found.average_w, found.uncertainty_j) == (None, None, None)


def test_rapl_that_only_root_may_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = files._read_bytes

    def forbidden(path: Path, limit_bytes: int) -> bytes:
        if path.name == "energy_uj":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return original(path, limit_bytes)

    monkeypatch.setattr(files, "_read_bytes", forbidden)
    root = write_tree(tmp_path, {**METAL, f"{RAPL}/intel-rapl:0/energy_uj": "1"})
    assert find_source(root) == NoEnergy("permission_denied", "RAPL: energy_uj: permission denied")


def test_one_rail_that_is_off_does_not_hide_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = files._read_bytes

    def off(path: Path, limit_bytes: int) -> bytes:
        if path.name == "curr1_input":
            raise OSError(errno.ENODATA, os.strerror(errno.ENODATA))
        return original(path, limit_bytes)

    monkeypatch.setattr(files, "_read_bytes", off)
    folder = "sys/devices/platform/c240000.i2c/i2c-1/1-0041/hwmon/hwmon4"
    write_tree(
        tmp_path,
        {f"{folder}/name": "ina3221", f"{folder}/curr1_input": "1", f"{folder}/curr2_input": "1"},
    )
    assert measure_unavailable(tmp_path).reason == "no_sensor"


def test_what_is_no_meter_of_the_machine_is_not_taken_for_one(tmp_path: Path) -> None:
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
    assert measure_unavailable(root).reason == "no_sensor"


def test_a_mac_has_counters_that_are_not_read_yet(tmp_path: Path) -> None:
    found = measure_unavailable(tmp_path, platform="darwin", run=lambda command: None)
    assert found.reason == "no_sensor"
