"""Which source is chosen, and with which reason none."""

from __future__ import annotations

from pathlib import Path

from edgebench.probes.energy import measure_unavailable
from edgebench.testing.trees import write_tree

VM = {"proc/cpuinfo": "flags : fpu hypervisor avx2"}
METAL = {"proc/cpuinfo": "flags : fpu avx2"}
RAPL = "sys/class/powercap"


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


def test_time_taken_by_a_hypervisor_tells_a_virtual_machine(tmp_path: Path) -> None:
    stat = {"proc/stat": "cpu  200970 1477 22708 105431 511 0 239 973 0 0"}
    assert measure_unavailable(write_tree(tmp_path, stat)).reason == "virtualised"


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
