"""The inventory of devices."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from edgebench.definitions.device_inventory import (
    declared_mode,
    device_of,
    load_devices,
    named,
    named_first,
    other_machine,
    with_declared,
)
from edgebench.errors import SpecError, UsageError
from edgebench.record import DeviceFacts

SHIPPED = Path(__file__).parents[2] / "devices.yaml"


def write(folder: Path, text: str) -> Path:
    path = folder / "devices.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_working_directory_is_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_devices() == []
    write(tmp_path, "devices: [{name: mine, title: Mine, match: {board: B*}, power_mode: 15W}]")
    (device,) = load_devices()
    assert (device.name, device.power_mode, device.energy_source) == ("mine", "15W", None)


def test_a_named_file_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        load_devices(tmp_path / "absent.yaml")


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("{name: a, title: A, match: {bord: x}}", (2, 33), "unknown key; did you mean 'board'?"),
        ("{name: a, title: A, match: {}}", (2, 32), "matches every machine"),
        ("{name: a, title: A}", (2, 5), "the key 'match' is missing"),
        ("{name: A b, title: A, match: {os: x}}", (2, 12), "matching regex"),
        ("{name: a, title: A, match: {virtualised: yes}}", (2, 46), "true for a boolean"),
        ("{name: a, title: A, match: {os: x}}\n  - {name: a, title: A, match: {os: x}}", (3, 12),
         "'a' twice"),
        ("{name: a, title: A, match: {os: x}, energy_total: []}", (2, 55), "names no rail"),
        ("{name: a, title: A, match: {os: x}, energy_total: [A, A]}", (2, 55), "a rail twice"),
    ],
)  # fmt: skip
def test_errors_in_devices_yaml_name_line_and_column(
    tmp_path: Path, text: str, place: tuple[int, int], words: str
) -> None:
    with pytest.raises(SpecError) as caught:
        load_devices(write(tmp_path, f"devices:\n  - {text}\n"))
    assert (caught.value.line, caught.value.column) == place, str(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"board": "NVIDIA Jetson Nano Developer Kit"}, "jetson-nano"),
        ({"board": "NVIDIA Jetson Xavier NX Developer Kit (eMMC)"}, "jetson-xavier-nx"),
        ({"board": "NVIDIA Jetson Orin Nano Developer Kit"}, "jetson-orin-nano"),
        (
            {"board": "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super"},
            "jetson-orin-nano",
        ),
        ({"board": "NVIDIA Orin NX Developer Kit"}, "jetson-orin-nx"),
        ({"board": "NVIDIA Jetson AGX Orin Developer Kit"}, "jetson-agx-orin"),
        ({"board": "NVIDIA Jetson AGX Thor Developer Kit"}, "jetson-thor"),
        ({"board": "Raspberry Pi 5 Model B Rev 1.0"}, "raspberry-pi-5"),
        ({"board": "Raspberry Pi 4 Model B Rev 1.4"}, "raspberry-pi-4"),
        ({"board": "Raspberry Pi 3 Model B Rev 1.2"}, None),
        ({"cpu_model": "Apple M1", "virtualised": False}, "macbook-m1"),
        ({"cpu_model": "Apple M3 Pro", "virtualised": False}, "macbook-m3"),
        ({"cpu_model": "Apple M5 Max", "virtualised": False}, "macbook-m5"),
        ({"cpu_model": "Apple M3 Pro", "virtualised": True}, "cloud-vm"),
        (
            {"cpu_model": "Intel(R) Core(TM) i7-1260P", "virtualised": False},
            "intel-nuc",
        ),
        ({"cpu_model": "a server's", "virtualised": True}, "cloud-vm"),
        ({"cpu_model": "a desktop's"}, None),
        ({}, None),
    ],
)
def test_the_shipped_inventory_knows_its_machines(
    facts: dict[str, Any], expected: str | None
) -> None:
    found = device_of(load_devices(SHIPPED), facts)
    assert (found.name if found else None) == expected


def test_an_entry_for_many_machines_keeps_the_detected_name() -> None:
    shipped = load_devices(SHIPPED)
    vm = with_declared(DeviceFacts(name="xeon-2c", facts={"virtualised": True}), shipped)
    assert vm.name == "xeon-2c"
    assert vm.declared is not None
    assert vm.declared.entry == "cloud-vm"
    # Whatever is told apart by less than its board must be a family.
    assert all(device.family for device in shipped if device.match.board is None)


def test_an_entry_is_declared_beside_the_facts(tmp_path: Path) -> None:
    devices = load_devices(
        write(
            tmp_path,
            "devices:\n"
            "  - name: lab-3\n"
            "    title: Third board of the lab\n"
            "    match: {board: B*}\n"
            "    power_mode: 15W\n"
            "    energy_source: ina3221\n"
            "    energy_total: [VDD_IN]\n"
            "    limits: {latency.p99: 50ms, memory.peak: 512MiB, temperature: 85, throughput: 10}\n",
        )
    )
    facts = with_declared(DeviceFacts(name="b", facts={"board": "B1"}), devices)
    assert facts.name == "lab-3"
    assert facts.declared is not None
    assert facts.declared.limits == {
        "latency.p99": 5e7,
        "memory.peak": 2.0**29,
        "temperature": 85.0,
        "throughput": 10.0,
    }
    assert (facts.declared.power_mode, facts.declared.energy_total) == ("15W", ["VDD_IN"])
    other = DeviceFacts(name="c", facts={"board": "C"})
    assert with_declared(other, devices) is other


@pytest.mark.parametrize("number", [0, 2])
def test_a_power_mode_may_be_its_number(tmp_path: Path, number: int) -> None:
    text = f"devices: [{{name: a, title: A, match: {{os: x}}, power_mode: {number}}}]"
    facts = with_declared(
        DeviceFacts(name="a", facts={"os": "x"}), load_devices(write(tmp_path, text))
    )
    assert declared_mode(facts) == str(number)


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        ("latency.p98: 5ms", "did you mean 'latency.p9"),
        ("latency.p50: 50", "needs a unit"),
        ("latency.p50: '50'", "needs a unit"),
        ("latency.p50: fast", "not a duration"),
        ("memory.peak: much", "not a size"),
        ("temperature: hot", "must be a number (unit C)"),
        ("temperature: 0", "must be more than 0"),
        ("latency.p99: 0ms", "must be more than 0"),
        ("memory.peak: 0MiB", "must be more than 0"),
        ("quality: 0.9", "a device cannot have a limit of"),
        ("speedup: 2", "a device cannot have a limit of"),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused_at_its_place(
    tmp_path: Path, limit: str, words: str
) -> None:
    text = f"devices:\n  - {{name: a, title: A, match: {{os: x}}, limits: {{{limit}}}}}\n"
    with pytest.raises(SpecError, match=re.escape(words)) as caught:
        load_devices(write(tmp_path, text))
    assert (caught.value.line, caught.value.key) == (
        2,
        f"devices[0].limits.{limit.split(':', maxsplit=1)[0]}",
    )


def test_an_energy_source_that_nobody_knows_is_refused_at_its_place(tmp_path: Path) -> None:
    text = "devices:\n  - {name: a, title: A, match: {os: x}, energy_source: ina3222}\n"
    with pytest.raises(SpecError, match="did you mean 'ina3221'") as caught:
        load_devices(write(tmp_path, text))
    assert (caught.value.line, caught.value.key) == (2, "devices[0].energy_source")


def test_all_facts_of_an_entry_must_hold_and_the_first_entry_wins(tmp_path: Path) -> None:
    devices = load_devices(
        write(
            tmp_path,
            "devices:\n"
            "  - {name: both, title: T, match: {os: 'debian*', machine: aarch64}}\n"
            "  - {name: one, title: T, match: {os: 'debian*'}}\n",
        )
    )
    arm = device_of(devices, {"os": "Debian GNU/Linux 12", "machine": "aarch64"})
    x86 = device_of(devices, {"os": "Debian GNU/Linux 12", "machine": "x86_64"})
    assert arm == devices[0]
    assert x86 == devices[1]


def test_a_machine_is_called_what_somebody_calls_it() -> None:
    facts = DeviceFacts(name="virtual-machine", facts={})
    assert named(facts, None) is facts
    assert named(facts, "rack-7").name == "rack-7"
    for name in ("", " ", "../up", "a/b", ".hidden", "x" * 101, "a\nb"):
        with pytest.raises(UsageError, match="is not a valid name"):
            named(facts, name)


def test_of_boards_that_are_alike_the_entry_of_the_given_name_is_taken(tmp_path: Path) -> None:
    devices = load_devices(
        write(
            tmp_path,
            "devices:\n"
            "  - {name: a, title: A, match: {machine: aarch64}}\n"
            "  - {name: b, title: B, match: {machine: aarch64}, limits: {memory.peak: 1MiB}}\n"
            "  - {name: x, title: X, match: {machine: x86_64}}\n",
        )
    )
    facts = DeviceFacts(name="board", facts={"machine": "aarch64"})

    def declared(given: str | None) -> Any:
        found = with_declared(facts, named_first(devices, given)).declared
        assert found is not None
        return found.entry

    assert declared("b") == "b"
    assert declared(None) == declared("c") == declared("x") == "a"
    assert "the entry 'x' does not match this machine" in other_machine(devices, facts.facts, "x")
    assert not other_machine(devices, facts.facts, "b")
    assert not other_machine(devices, facts.facts, None)
