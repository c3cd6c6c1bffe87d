"""The inventory of devices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgebench.errors import SpecError, UsageError
from edgebench.spec.devices import device_of, load_devices

SHIPPED = Path(__file__).parent.parent / "devices.yaml"


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
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_at_its_place(
    tmp_path: Path, text: str, place: tuple[int, int], words: str
) -> None:
    with pytest.raises(SpecError) as caught:
        load_devices(write(tmp_path, f"devices:\n  - {text}\n"))
    assert (caught.value.line, caught.value.column) == place, str(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"board": "NVIDIA Jetson Orin Nano Developer Kit"}, "jetson-orin-nano"),
        ({"board": "Raspberry Pi 5 Model B Rev 1.0"}, "raspberry-pi-5"),
        ({"board": "Raspberry Pi 4 Model B Rev 1.4"}, None),
        ({"cpu_model": "Apple M3 Pro", "virtualised": False}, "macbook"),
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
