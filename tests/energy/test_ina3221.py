"""The INA3221 source: the right rails, the right whole, gaps where a read fails."""

from __future__ import annotations

import errno
import os
import pickle
import shutil
from pathlib import Path

import pytest

from edgebench.energy import EnergySource, NoEnergy, find_source
from edgebench.probes import proc_files
from edgebench.testing.trees import write_tree
from tests.energy.energy_trees import AGX_ORIN, AGX_XAVIER, I2C, ORIN_NX, Clock, ina3221

HWMON = f"{I2C}/1-0040/hwmon/hwmon1"
AGX_FOLDER = "sys/devices/platform/c240000.i2c/i2c-1"


def opened(root: Path, clock: Clock | None = None) -> EnergySource:
    source = find_source(root, clock_ns=clock or Clock())
    assert isinstance(source, EnergySource), source
    source.open()
    return source


@pytest.mark.parametrize(
    ("tree", "total", "watts", "resolution_w"),
    [
        (ORIN_NX, "VDD_IN", 5.16 * 0.888, 0.008 * 5.16),
        (
            AGX_ORIN,
            "VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0",
            12.008 * 0.28 + 12.008 * 0.04 + 4.968 * 0.98,
            0.02 * (12.008 + 12.008 + 4.968),
        ),
        (
            AGX_XAVIER,
            "GPU + CPU + SOC + CV + VDDRQ + SYS5V",
            19 * (0.06 + 0.02 + 0.13 + 0.01) + 5 * 0.54,
            0.008 * (5 * 19 + 5),
        ),
    ],
    ids=["orin-nx", "agx-orin", "agx-xavier"],
)
def test_the_whole_of_a_board(
    tmp_path: Path, tree: dict[str, str], total: str, watts: float, resolution_w: float
) -> None:
    source = opened(write_tree(tmp_path, tree))
    assert (source.name, source.kind, source.quantity) == ("ina3221", "measured_rail", "power")
    assert (source.scope, source.total_rail) == ("module input", total)
    assert source.sample().value == pytest.approx(watts)
    assert source.resolution == pytest.approx(resolution_w)
    assert {rail.name for rail in source.rails() if rail.counted} == set(total.split(" + "))
    source.close()


def test_rails_outside_the_whole_are_shown_and_sums_and_open_ends_are_not(tmp_path: Path) -> None:
    source = opened(write_tree(tmp_path, AGX_ORIN))
    outside = {rail.name: rail.value for rail in source.rails() if not rail.counted}
    assert outside == pytest.approx({"VDDQ_VDD2_1V8AO": 4.968 * 0.08})


def test_the_period_is_the_drivers_or_its_default(tmp_path: Path) -> None:
    assert opened(write_tree(tmp_path / "told", ORIN_NX)).period_s == 0.007
    assert opened(write_tree(tmp_path / "untold", AGX_ORIN)).period_s == 0.0066


@pytest.mark.parametrize(("samples", "period_s"), [("1", 0.007), ("64", 0.448), ("1024", 7.168)])
def test_a_mean_of_many_samples_takes_as_many_times_as_long(
    tmp_path: Path, samples: str, period_s: float
) -> None:
    """The driver's update_interval does not hold them."""
    source = opened(write_tree(tmp_path, {**ORIN_NX, f"{HWMON}/samples": samples}))
    assert source.period_s == pytest.approx(period_s)
    assert source.averages == (samples != "1")
    assert source.latency_s == pytest.approx(0.0022 * int(samples))


def test_a_total_that_is_switched_off_is_named_and_no_other_rail_takes_its_place(
    tmp_path: Path,
) -> None:
    found = find_source(write_tree(tmp_path, {**ORIN_NX, f"{HWMON}/in1_enable": "0"}))
    assert isinstance(found, NoEnergy)
    assert "rail VDD_IN, of the total of Jetson Orin NX, Orin Nano, Xavier NX" in found.detail
    assert "is switched off" in found.detail
    assert found.fix == f"echo 1 | sudo tee /{HWMON}/in1_enable"
    part = {**ORIN_NX, f"{HWMON}/in1_enable": "1", f"{HWMON}/in3_enable": "0"}
    rails = opened(write_tree(tmp_path / "part", part)).rails()
    assert [rail.name for rail in rails] == ["VDD_IN", "VDD_CPU_GPU_CV"]


def test_channels_without_labels_are_named_by_their_place(tmp_path: Path) -> None:
    tree = {path: text for path, text in ORIN_NX.items() if not path.endswith("_label")}
    root = write_tree(tmp_path, tree)
    for preference in (None, "ina3221"):
        found = find_source(root, preference=preference)
        assert isinstance(found, NoEnergy)
        assert "INA3221 rails 1-0040/in1, 1-0040/in2, 1-0040/in3" in found.detail
        assert "energy_total" in found.fix
    named = find_source(root, total_rails=["1-0040/in1"])
    assert isinstance(named, EnergySource)
    named.open()
    assert named.total_rail == "1-0040/in1"
    assert named.sample().value == pytest.approx(5.16 * 0.888)


def test_a_channel_that_is_off_and_has_no_label_is_no_rail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the kernel shows the channels of an AGX Orin that are not connected."""
    second = f"{AGX_FOLDER}/1-0041/hwmon/hwmon4"
    tree = {path: text for path, text in AGX_ORIN.items() if text != "NC"}
    original = proc_files._read_bytes

    def no_data(path: Path, limit_bytes: int) -> bytes:
        if second in str(path) and path.name in (
            "in1_input",
            "in3_input",
            "curr1_input",
            "curr3_input",
        ):
            raise OSError(errno.ENODATA, os.strerror(errno.ENODATA))
        return original(path, limit_bytes)

    monkeypatch.setattr(proc_files, "_read_bytes", no_data)
    for folder, switches in (("told", {"in1_enable": "0", "in3_enable": "0"}), ("silent", {})):
        more = {f"{second}/{name}": text for name, text in switches.items()}
        source = opened(write_tree(tmp_path / folder, {**tree, **more}))
        names = [rail.name for rail in source.rails()]
        assert names == ["VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0", "VDDQ_VDD2_1V8AO"]


@pytest.mark.parametrize("linked", [True, False])
def test_the_same_chip_seen_in_several_places_is_one(tmp_path: Path, linked: bool) -> None:
    root = write_tree(tmp_path, ORIN_NX)
    (root / "sys/class/hwmon").mkdir(parents=True)
    if linked:
        (root / "sys/class/hwmon/hwmon1").symlink_to(root / HWMON)
    else:  # a copy that follows links
        shutil.copytree(root / HWMON, root / "sys/class/hwmon/hwmon1")
    assert len(opened(root).rails()) == 3


def test_each_sample_reads_anew_between_two_looks_at_the_clock(tmp_path: Path) -> None:
    clock = Clock()
    source = opened(write_tree(tmp_path, ORIN_NX), clock)
    before = source.sample()
    (tmp_path / HWMON / "curr1_input").write_text("1776\n")
    clock.advance(0.02)
    after = source.sample()
    assert after.value == pytest.approx(2 * (before.value or 0))
    assert (before.start_ns, after.start_ns) == (1_000_000_000, 1_020_000_000)


@pytest.mark.parametrize("code", [errno.EAGAIN, errno.ENODATA, errno.EIO])
def test_a_failed_read_is_a_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    source = opened(write_tree(tmp_path, AGX_ORIN))
    pread = os.pread
    current = tmp_path / "sys/devices/platform/c240000.i2c/i2c-1/1-0040/hwmon/hwmon3/curr2_input"

    def failing(descriptor: int, length: int, offset: int) -> bytes:
        if os.fstat(descriptor).st_ino == current.stat().st_ino:
            raise OSError(code, os.strerror(code))
        return pread(descriptor, length, offset)

    monkeypatch.setattr(os, "pread", failing)
    assert source.sample().value is None  # not the sum of what is left
    assert [rail.value is None for rail in source.rails()] == [False, True, False, False]
    monkeypatch.undo()
    assert source.sample().value is not None


def test_unknown_rails_have_no_guessed_whole(tmp_path: Path) -> None:
    tree = ina3221(HWMON, {1: ("A", 5000, 100), 2: ("B", 5000, 100)}, 5000)
    found = find_source(write_tree(tmp_path, tree))
    assert isinstance(found, NoEnergy)
    assert found.reason == "no_sensor"
    assert "A, B" in found.detail
    assert "energy_total" in found.fix


def test_the_users_word_goes_before_the_rules(tmp_path: Path) -> None:
    root = write_tree(tmp_path, ORIN_NX)
    source = find_source(root, total_rails=["VDD_CPU_GPU_CV", "VDD_SOC"])
    assert isinstance(source, EnergySource)
    assert source.total_rail == "VDD_CPU_GPU_CV + VDD_SOC"
    assert "devices.yaml" in source.scope
    misspelt = find_source(root, total_rails=["VDD_INN"])
    assert isinstance(misspelt, NoEnergy)


def test_a_forbidden_file_is_named_with_its_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = proc_files._read_bytes

    def forbidden(path: Path, limit_bytes: int) -> bytes:
        if path.name == "curr1_input":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return original(path, limit_bytes)

    root = write_tree(tmp_path, ORIN_NX)
    monkeypatch.setattr(proc_files, "_read_bytes", forbidden)
    found = find_source(root)
    assert isinstance(found, NoEnergy)
    assert found.reason == "permission_denied"
    assert f"/{HWMON}/curr1_input" in found.detail
    assert found.fix.startswith("sudo chmod a+r /sys/")


def test_a_source_can_be_sent_to_the_process_that_opens_it(tmp_path: Path) -> None:
    found = find_source(write_tree(tmp_path, ORIN_NX))
    assert isinstance(found, EnergySource)
    source = pickle.loads(pickle.dumps(found))
    source.open()
    assert source.sample().value == pytest.approx(5.16 * 0.888)
    source.close()
    source.close()
