"""Jetsons with JetPack 4, Thor, Raspberry Pi 5 and chips of hwmon: the right rails and the right whole."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path

import pytest

from edgebench.energy import EnergySource, NoEnergy, find_source
from edgebench.energy.sources._boards import constants
from edgebench.energy.sources._registers import Register
from edgebench.testing.trees import write_tree
from tests.energy.energy_trees import I2C, METAL, NANO_JP4, PMIC, THOR, TX2_JP4, Clock, ina3221

PI5 = {"sys/firmware/devicetree/base/model": "Raspberry Pi 5 Model B Rev 1.0"}
HWMON = "sys/class/hwmon"


def opened(root: Path, clock: Clock | None = None, **options: object) -> EnergySource:
    source = find_source(root, clock_ns=clock or Clock(), **options)  # type: ignore[arg-type]
    assert isinstance(source, EnergySource), source
    source.open()
    return source


@pytest.mark.parametrize(
    ("tree", "name", "total", "watts", "others"),
    [
        (NANO_JP4, "ina3221_iio", "POM_5V_IN", 0.933, {"POM_5V_GPU": 0.0, "POM_5V_CPU": 0.084}),
        (
            TX2_JP4,
            "ina3221_iio",
            "VDD_IN",
            1.038,
            {"VDD_GPU": 0.153, "VDD_SOC": 0.384, "VDD_WIFI": 0.038, "VDD_CPU": 0.153,
             "VDD_DDR": 0.192},
        ),
        (THOR, "ina238", "VIN", 36.63, {}),
    ],
    ids=["nano-jp4", "tx2-jp4", "thor"],
)  # fmt: skip
def test_older_and_newer_jetsons(
    tmp_path: Path,
    tree: dict[str, str],
    name: str,
    total: str,
    watts: float,
    others: dict[str, float],
) -> None:
    source = opened(write_tree(tmp_path, tree))
    assert (source.name, source.kind, source.quantity) == (name, "measured_rail", "power")
    assert source.total_rail == total
    assert source.sample().value == pytest.approx(watts)
    rails = {rail.name: rail.value for rail in source.rails() if not rail.counted}
    assert rails == pytest.approx(others)
    assert source.averages
    assert source.resolution > 0
    assert source.offset_w > 0
    source.close()


def test_a_jetson_nano_2gb_has_no_sensor(tmp_path: Path) -> None:
    tree = {"sys/firmware/devicetree/base/model": "NVIDIA Jetson Nano 2GB Developer Kit"}
    found = find_source(write_tree(tmp_path, tree))
    assert isinstance(found, NoEnergy)
    assert found.reason == "no_sensor"


def test_thors_input_goes_before_the_rails_of_its_module(tmp_path: Path) -> None:
    module = ina3221(
        f"{I2C}/1-0040/hwmon/hwmon1",
        {1: ("VDD_GPU", 12000, 100), 2: ("VDD_CPU_SOC_MSS", 12000, 100)},
        2000,
    )
    assert opened(write_tree(tmp_path, {**module, **THOR})).total_rail == "VIN"


@pytest.mark.parametrize("model", ["Facebook Harma BMC", None])
def test_an_ina238_on_another_board_has_an_unknown_place(tmp_path: Path, model: str | None) -> None:
    """Neither a scope nor a sum is claimed, also where nothing tells the board; the user may name it."""
    tree = {path: text for path, text in THOR.items() if not path.endswith("model")}
    if model:
        tree["sys/firmware/devicetree/base/model"] = model
    root = write_tree(tmp_path, tree)
    found = find_source(root)
    assert isinstance(found, NoEnergy)
    assert (model or "hwmon") in found.detail
    assert "ina238/power1" in found.detail
    named = opened(root, total_rails=["ina238/power1"])
    assert named.name == "hwmon"
    assert named.sample().value == pytest.approx(36.63)
    assert "devices.yaml" in named.scope


def test_a_chip_of_hwmon_updates_as_often_as_its_driver_says(tmp_path: Path) -> None:
    tree = {
        f"{HWMON}/hwmon3/name": "ina226",
        f"{HWMON}/hwmon3/power1_input": "5000000",
        f"{HWMON}/hwmon3/update_interval": "2253",
        f"{HWMON}/hwmon3/shunt_resistor": "10000",
    }
    source = opened(write_tree(tmp_path, tree), total_rails=["ina226/power1"])
    assert source.period_s == pytest.approx(2.253)
    assert source.resolution == pytest.approx(6.25e-3)
    fast = {**tree, f"{HWMON}/hwmon3/update_interval": "2"}
    assert (
        opened(write_tree(tmp_path / "fast", fast), total_rails=["ina226/power1"]).period_s == 0.1
    )


def test_a_shunt_that_is_told_sets_the_step(tmp_path: Path) -> None:
    told = {**THOR, "sys/bus/i2c/devices/2-0044/hwmon/hwmon6/shunt_resistor": "5000"}
    source = opened(write_tree(tmp_path, told))
    assert source.resolution == pytest.approx(0.001 * 19.8)


def test_every_rule_sums_rails_that_it_demands() -> None:
    for board in constants().boards:
        assert set(board.total) <= set(board.rails), board.name
        assert board.shunt_uohm


def test_a_raspberry_pi_5_is_the_sum_of_its_pairs(tmp_path: Path) -> None:
    asked: list[Sequence[str]] = []

    def run(command: Sequence[str]) -> str:
        asked.append(command)
        return PMIC

    source = opened(write_tree(tmp_path, PI5), run=run)
    assert (source.name, source.kind) == ("pmic_read_adc", "measured_rail")
    assert source.total_rail == "3V7_WL_SW + 3V3_SYS + VDD_CORE"
    wanted = 0.06245952 * 3.306322 + 10.87674 * 0.8974594  # no fit, no 5 V input, no battery
    assert source.sample().value == pytest.approx(wanted)
    assert set(asked) == {("vcgencmd", "pmic_read_adc")}
    assert any("not published" in caveat for caveat in source.caveats)


def test_a_pair_that_is_missing_is_a_gap(tmp_path: Path) -> None:
    answers = [PMIC, PMIC, PMIC.replace("  VDD_CORE_V volt(15)=0.89745940V\n", ""), ""]
    clock = Clock()
    source = opened(write_tree(tmp_path, PI5), clock, run=lambda command: answers.pop(0))
    assert source.sample().value is not None  # the reading of a moment ago
    for _ in range(2):
        clock.advance(0.1)
        assert source.sample().value is None


def test_a_pi_that_does_not_answer_says_so(tmp_path: Path) -> None:
    found = find_source(write_tree(tmp_path, PI5))
    assert isinstance(found, NoEnergy)
    assert "vcgencmd" in found.detail


def test_a_copied_tree_may_hold_the_commands_answer(tmp_path: Path) -> None:
    root = write_tree(tmp_path, {"vcgencmd_pmic_read_adc.txt": PMIC})
    found = find_source(root)
    assert isinstance(found, EnergySource)
    source = pickle.loads(pickle.dumps(found))
    source.open()
    assert source.sample().value == pytest.approx(9.968, abs=0.001)


def test_the_sockets_of_amd_energy(tmp_path: Path) -> None:
    chip = f"{HWMON}/hwmon3"
    tree = {
        **METAL,
        f"{chip}/name": "amd_energy",
        f"{chip}/energy1_label": "Ecore000",
        f"{chip}/energy1_input": "1000",
        f"{chip}/energy2_label": "Esocket0",
        f"{chip}/energy2_input": "5000000",
    }
    clock = Clock()
    source = opened(write_tree(tmp_path, tree), clock)
    assert (source.name, source.kind, source.quantity) == ("hwmon", "vendor_counter", "energy")
    assert source.total_rail == "amd_energy/Esocket0"
    clock.advance(1)
    (tmp_path / chip / "energy2_input").write_text("47000000\n")
    assert source.sample().value == pytest.approx(42)
    (tmp_path / chip / "energy1_input").write_text("1\n")
    assert [rail.value for rail in source.rails()] == [None, pytest.approx(42)]
    assert source.problem == ""  # the sum is known all the same
    (tmp_path / chip / "energy2_input").write_text("1\n")
    assert source.sample().value is None
    assert "amd_energy/Esocket0 went back from 47000000 to 1" in source.problem


def test_a_sample_reads_only_what_is_summed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chip = f"{HWMON}/hwmon3"
    tree = {**METAL, f"{chip}/name": "amd_energy"}
    for number, label in enumerate(("Ecore000", "Ecore001", "Esocket0"), 1):
        tree |= {f"{chip}/energy{number}_label": label, f"{chip}/energy{number}_input": "5"}
    source = opened(write_tree(tmp_path, tree))
    read: list[str] = []
    monkeypatch.setattr(Register, "read", lambda self: read.append(self.path.name))
    source.sample()
    assert read == ["energy3_input"]


@pytest.mark.parametrize(("interval_ms", "period_s"), [("30000", 30.0), ("500", 1.0), ("", 1.0)])
def test_a_meter_of_means_updates_as_slowly_as_its_driver_says(
    tmp_path: Path, interval_ms: str, period_s: float
) -> None:
    chip = f"{HWMON}/hwmon7"
    tree = {**METAL, f"{chip}/name": "power_meter", f"{chip}/power1_average": "213000000"}
    source = opened(write_tree(tmp_path, {**tree, f"{chip}/power1_average_interval": interval_ms}))
    assert (source.averages, source.period_s) == (True, period_s)


def test_power_input_of_a_gpu_is_not_taken_for_an_average(tmp_path: Path) -> None:
    chip = f"{HWMON}/hwmon4"
    tree = {**METAL, f"{chip}/name": "amdgpu", f"{chip}/power1_label": "PPT"}
    assert not opened(write_tree(tmp_path, {**tree, f"{chip}/power1_input": "9000000"})).averages


def test_microwatts_of_a_known_chip_whatever_its_number(tmp_path: Path) -> None:
    tree = {
        **METAL,
        f"{HWMON}/hwmon0/name": "coretemp",
        f"{HWMON}/hwmon0/temp1_input": "55000",
        f"{HWMON}/hwmon7/name": "power_meter",
        f"{HWMON}/hwmon7/power1_average": "213000000",
        f"{HWMON}/hwmon7/power1_average_interval": "1000",
    }
    source = opened(write_tree(tmp_path, tree))
    assert (source.scope, source.total_rail) == ("system input", "power_meter/power1")
    assert source.sample().value == pytest.approx(213)
    assert source.averages


def test_where_a_chip_gives_both_the_average_is_taken_and_once(tmp_path: Path) -> None:
    chip = f"{HWMON}/hwmon4"
    tree = {
        **METAL,
        f"{chip}/name": "amdgpu",
        f"{chip}/power1_label": "PPT",
        f"{chip}/power1_input": "99000000",
        f"{chip}/power1_average": "41000000",
    }
    source = opened(write_tree(tmp_path, tree))
    assert [(rail.name, rail.value) for rail in source.rails()] == [("amdgpu/PPT", 41.0)]
    assert source.sample().value == 41.0


def test_two_gpus_are_another_scope_than_one(tmp_path: Path) -> None:
    tree = dict(METAL)
    for number, microwatts in ((2, "9000000"), (5, "41000000")):
        chip = f"{HWMON}/hwmon{number}"
        tree |= {f"{chip}/name": "amdgpu", f"{chip}/power1_label": "PPT"}
        tree |= {f"{chip}/power1_average": microwatts}
    source = opened(write_tree(tmp_path, tree))
    assert (source.scope, source.sample().value) == ("2 x GPU package", 50.0)
    assert source.total_rail == "amdgpu/PPT (1) + amdgpu/PPT (2)"
    assert [(rail.name, rail.value, rail.counted) for rail in source.rails()] == [
        ("amdgpu/PPT (1)", 9.0, True),
        ("amdgpu/PPT (2)", 41.0, True),
    ]


def test_a_chip_without_a_rule_needs_the_users_word(tmp_path: Path) -> None:
    tree = {
        **METAL,
        f"{HWMON}/hwmon2/name": "ina226",
        f"{HWMON}/hwmon2/power1_input": "4500000",
    }
    root = write_tree(tmp_path, tree)
    found = find_source(root)
    assert isinstance(found, NoEnergy)
    assert "ina226/power1" in found.detail
    source = opened(root, total_rails=["ina226/power1"])
    assert source.sample().value == pytest.approx(4.5)
    assert "devices.yaml" in source.scope


def test_two_chips_of_one_name_cannot_be_told_apart(tmp_path: Path) -> None:
    tree = dict(METAL)
    for number in (2, 3):
        tree[f"{HWMON}/hwmon{number}/name"] = "ina226"
        tree[f"{HWMON}/hwmon{number}/power1_input"] = "4500000"
    found = find_source(write_tree(tmp_path, tree), total_rails=["ina226/power1"])
    assert isinstance(found, NoEnergy)
