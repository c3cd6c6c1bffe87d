"""`edgebench energy watch`, and what `doctor` says of the source."""

from __future__ import annotations

import errno
import json
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from edgebench.cli import cli
from edgebench.energy import EnergySource, find_source
from edgebench.energy.energy_window import Refused, WindowEnergy
from edgebench.energy.meter_watch import Watch
from edgebench.energy.sources._registers import Register
from edgebench.errors import SpecError
from edgebench.testing.trees import write_tree
from tests.energy.energy_trees import (
    AGX_ORIN,
    INTEL,
    METAL,
    NANO_JP4,
    ORIN_NX,
    POWERCAP,
    VM,
    Clock,
    zone,
)

KEYS = [
    *("source", "kind", "scope", "total_rail", "rails", "energy_j", "window_s"),
    *("uncertainty_j", "status", "reason"),
]


def watch(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["energy", "watch", *arguments])


@pytest.fixture(autouse=True)
def looks_take_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks of the command sleep by a clock of their own, so that nothing is late on a busy machine."""
    run = Watch.run

    def at_once(self: Watch, seconds: float, *arguments: Any, **options: Any) -> None:
        if self._clock_ns is time.monotonic_ns:
            clock = Clock()
            clock.ns = time.monotonic_ns()  # the source has been opened by the real one
            self._clock_ns = self._source._clock_ns = clock
            options["sleep"] = clock.advance
        run(self, seconds, *arguments, **options)

    monkeypatch.setattr(Watch, "run", at_once)


def watch_json(root: Path, seconds: str = "0.3") -> dict[str, Any]:
    result = watch("--sysroot", str(root), "--seconds", seconds, "--format", "json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    assert list(found) == KEYS
    return found


def test_rails_and_energy_of_a_board(tmp_path: Path) -> None:
    found = watch_json(write_tree(tmp_path, AGX_ORIN))
    assert (found["source"], found["kind"], found["status"]) == ("ina3221", "measured_rail", "ok")
    assert (found["scope"], found["reason"]) == ("module input", "")
    assert found["total_rail"] == "VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0"
    powers = {rail["name"]: rail["w"] for rail in found["rails"]}
    assert list(powers) == ["VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0", "VDDQ_VDD2_1V8AO"]
    watts = 12.008 * 0.28 + 12.008 * 0.04 + 4.968 * 0.98
    assert found["energy_j"] == pytest.approx(watts * 0.3)
    assert found["window_s"] == pytest.approx(0.3)
    assert 0 < found["uncertainty_j"] < found["energy_j"]


def test_a_meter_too_slow_for_the_time_is_shown_all_the_same(tmp_path: Path) -> None:
    found = watch_json(write_tree(tmp_path, NANO_JP4))
    assert (found["source"], found["status"]) == ("ina3221_iio", "ok")
    assert found["energy_j"] == pytest.approx(0.933 * 0.3)
    assert {"name": "POM_5V_GPU", "w": 0.0} in found["rails"]


def test_a_counter_that_stands_still_is_dead_and_not_zero(tmp_path: Path) -> None:
    found = watch_json(write_tree(tmp_path, INTEL))
    assert (found["source"], found["status"]) == ("rapl", "unavailable")
    assert found["reason"] == "counter_dead"
    assert (found["energy_j"], found["uncertainty_j"]) == (None, None)
    assert all(rail["w"] is None for rail in found["rails"])
    again = watch("--sysroot", str(tmp_path), "--seconds", "0.3", "--format", "json")
    assert "stood still" in again.stderr
    assert "note: vendors state no accuracy" in again.stderr  # what no number says


def test_without_a_source_the_reason(tmp_path: Path) -> None:
    result = watch("--sysroot", str(write_tree(tmp_path, VM)), "--format", "json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert list(found) == KEYS
    assert (found["status"], found["reason"], found["rails"]) == ("unavailable", "virtualised", [])
    assert "no_sensor" in result.stderr


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (PermissionError(errno.EACCES, "Permission denied"), "permission_denied"),
        (OSError(errno.EIO, "Input/output error"), "read_failed"),
    ],
)
def test_a_meter_that_does_not_open_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, reason: str
) -> None:
    def fails(self: Register) -> None:
        raise error

    monkeypatch.setattr(Register, "open", fails)
    root = str(write_tree(tmp_path, ORIN_NX))
    result = watch("--sysroot", root, "--format", "json")
    assert json.loads(result.stdout)["reason"] == reason
    assert f"ina3221: {error.strerror}" in result.stderr


def test_the_table_fits_and_says_what_is_summed(tmp_path: Path) -> None:
    result = watch("--sysroot", str(write_tree(tmp_path, AGX_ORIN)), "--seconds", "0.3")
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert max(map(len, lines)) <= 80
    assert "VDDQ_VDD2_1V8AO" in result.output
    assert "VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0: module input, measured_rail" in lines
    dead = watch("--sysroot", str(write_tree(tmp_path / "x86", INTEL)), "--seconds", "0.3").output
    assert "unavailable (counter_dead)" in dead


@pytest.mark.parametrize(
    "arguments", [["--seconds", "0"], ["--seconds", "nan"], ["--sysroot", "absent"], ["x"]]
)
def test_usage_errors(arguments: list[str]) -> None:
    assert watch(*arguments).exit_code == 2
    assert CliRunner().invoke(cli, ["energy", "wach"]).exit_code == 2


def test_an_interrupted_look_shows_what_it_saw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept_s = 0.0
    advance = Clock.advance

    def interrupted(self: Clock, pause_s: float) -> None:
        nonlocal slept_s
        advance(self, pause_s)
        slept_s += pause_s
        if slept_s > 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(Clock, "advance", interrupted)
    found = watch_json(write_tree(tmp_path, ORIN_NX), seconds="3600")
    assert found["status"] == "ok"
    assert 2 < found["window_s"] < 3
    assert found["energy_j"] == pytest.approx(5.16 * 0.888 * found["window_s"])


def test_a_look_that_is_interrupted_at_once_does_not_call_the_meter_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(self: Clock, pause_s: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Clock, "advance", interrupted)
    for number, tree in enumerate((ORIN_NX, INTEL)):
        found = watch_json(write_tree(tmp_path / str(number), tree))
        assert (found["status"], found["reason"]) == ("unavailable", "window_too_short")


class _Tree:
    """A tree whose meter moves as time is slept away."""

    def __init__(self, root: Path, clock: Clock, watts: float) -> None:
        self.root, self.clock, self.watts = root, clock, watts
        self.joules = 0.0

    def sleep(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.joules += seconds * self.watts
        path = self.root / POWERCAP / "intel-rapl:0/energy_uj"
        path.write_text(f"{round(self.joules * 1e6)}\n")


def watched(root: Path, clock: Clock) -> Watch:
    source = find_source(root, clock_ns=clock)
    assert isinstance(source, EnergySource)
    source.open()
    return Watch(source, clock)


def test_watch_gives_the_energy_of_an_advancing_counter(tmp_path: Path) -> None:
    clock = Clock()
    root = write_tree(tmp_path, {**METAL, **zone("intel-rapl:0", "package-0", 0)})
    seen = watched(root, clock)
    seen.run(2.0, sleep=_Tree(root, clock, 25.0).sleep)
    found = seen.energy(2.0)
    assert isinstance(found, WindowEnergy)
    assert found.average_w == pytest.approx(25, rel=0.01)
    (rail,) = seen.rails()
    assert rail.w == pytest.approx(25, rel=0.05)


def test_a_counter_set_back_in_the_middle_is_refused(tmp_path: Path) -> None:
    clock = Clock()
    root = write_tree(tmp_path, {**METAL, **zone("intel-rapl:0", "package-0", 10**11)})
    tree = _Tree(root, clock, 25.0)
    tree.joules = 100_000.0
    slept = 0.0

    def sleep(seconds: float) -> None:
        nonlocal slept
        slept += seconds
        if slept > 1.0 > slept - seconds:
            tree.joules = 0.0
        tree.sleep(seconds)

    seen = watched(root, clock)
    seen.run(2.0, sleep=sleep)
    found = seen.energy(2.0)
    assert isinstance(found, Refused)
    assert (found.reason, "set back" in found.detail) == ("read_failed", True)


def doctor(root: Path) -> dict[str, Any]:
    result = CliRunner().invoke(cli, ["doctor", "--sysroot", str(root), "--format", "json"])
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.output)["energy"]
    return found


def test_doctor_names_the_source_that_would_be_used(tmp_path: Path) -> None:
    found = doctor(write_tree(tmp_path, ORIN_NX))
    assert (found["status"], found["source"]) == ("ok", "ina3221")
    assert (found["kind"], found["scope"]) == ("measured_rail", "module input")
    assert found["total_rail"] == "VDD_IN"
    assert found["rate_hz"] == pytest.approx(1 / 0.007)
    assert (found["resolution"], found["resolution_unit"]) == (pytest.approx(0.04128), "W")
    assert found["j_per_inference"] is None
    table = CliRunner().invoke(cli, ["doctor", "--sysroot", str(tmp_path)]).output
    assert "ina3221 (measured_rail)" in table
    assert max(map(len, table.splitlines())) <= 80


def test_doctor_lists_what_it_would_not_use(tmp_path: Path) -> None:
    chip = "sys/class/hwmon/hwmon1"
    tree = {**INTEL, f"{chip}/name": "power_meter", f"{chip}/power1_average": "90000000"}
    found = doctor(write_tree(tmp_path, tree))
    assert found["source"] == "rapl"
    assert found["others"] == [{"source": "hwmon", "scope": "system input"}]
    assert found["caveats"]


def test_the_users_devices_are_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_tree(tmp_path / "tree", ORIN_NX)
    monkeypatch.chdir(tmp_path)

    def devices(text: str) -> None:
        match = "{name: mine, title: Mine, match: {board: '*Orin NX*'}, " + text + "}"
        Path("devices.yaml").write_text(f"devices:\n  - {match}\n")

    devices("energy_source: none")
    found = doctor(root)
    assert (found["status"], found["reason"]) == ("unavailable", "no_sensor")
    assert "energy_source: none" in found["detail"]
    devices("energy_total: [VDD_SOC]")
    assert watch_json(root)["total_rail"] == "VDD_SOC"
    devices("energy_source: rapl")
    assert "asks for rapl" in doctor(root)["detail"]
    devices("energy_source: ina3222")
    error = watch("--sysroot", str(root)).exception
    assert isinstance(error, SpecError)
    assert "did you mean 'ina3221'" in str(error)
