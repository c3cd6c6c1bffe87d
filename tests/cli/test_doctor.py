"""`edgebench doctor`."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from edgebench import registry
from edgebench.backend import Backend, Ready, Unavailable
from edgebench.cli import cli
from edgebench.errors import UsageError
from edgebench.probes import python_distributions
from edgebench.probes.python_distributions import Owner
from edgebench.testing.trees import write_tree

TREE = {
    "proc/cpuinfo": "model name : Intel(R) Xeon(R) Processor\nflags : fpu hypervisor avx2",
    "proc/loadavg": "3.65 4.98 3.72 4/105 27021",
    "proc/stat": "cpu  200970 1477 22708 105431 511 0 239 973 0 0",
    "proc/meminfo": "MemTotal: 24684084 kB",
    "sys/devices/system/cpu/online": "0-1",
}


def doctor(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["doctor", *arguments])


def doctor_json(*arguments: str) -> dict[str, Any]:
    result = doctor("--format", "json", *arguments)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.output)
    return found


@pytest.fixture
def stub_backends(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: dict[str, Ready | Unavailable] = {
        "fine": Ready("1.2"),
        "absent": Unavailable("not_installed", "no module", "pip install absent"),
        "torn": Unavailable("broken", "cannot load libx.so", "reinstall it"),
    }

    class Stub:
        def __init__(self, name: str) -> None:
            self.name = name

        def availability(self) -> Ready | Unavailable:
            return answers[self.name]

    monkeypatch.setattr(registry, "every", lambda: [Stub(name) for name in answers])


@pytest.mark.usefixtures("stub_backends")
def test_the_live_machine_in_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEBENCH_CACHE", str(tmp_path / "not" / "yet"))
    found = doctor_json()
    assert found["schema"] == "edgebench.doctor/1"
    assert found["sysroot"] is None
    assert found["device"]["name"]
    energy = found["energy"]  # whether there is a meter is this machine's business
    assert (energy["status"] == "ok") == bool(energy["source"])
    assert (energy["status"] == "unavailable") == bool(energy["reason"])
    assert found["cache"]["path"] == str(tmp_path / "not" / "yet")
    assert found["cache"]["free_bytes"] > 0
    assert "Python 3." in found["python"].replace("CPython", "Python")
    backends = {row.pop("name"): row for row in found["backends"]}
    assert backends["fine"] == {"status": "ready", "version": "1.2", "reason": "", "fix": ""}
    assert backends["absent"]["status"] == "not_installed"
    assert backends["torn"]["fix"] == "reinstall it"


def test_the_shipped_backends_are_listed() -> None:
    names = {row["name"] for row in doctor_json()["backends"]}
    assert {"ort", "null"} <= names


@pytest.mark.usefixtures("stub_backends")
def test_the_table_fits_eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    owners = [Owner("onnxruntime", "1.23.2"), Owner("onnxruntime-gpu", "1.23.2")]
    monkeypatch.setattr(python_distributions, "onnxruntime_owners", lambda: owners)
    result = doctor()
    assert result.exit_code == 0, result.output
    assert max(map(len, result.output.splitlines())) <= 80
    for part in ("Problems", "Device", "State", "Energy", "Backends", "Python", "Cache"):
        assert f"\n{part}" in f"\n{result.output}"
    assert "not_installed absent" in result.output
    assert "fix: pip install absent" in result.output
    assert "fix: python -m pip uninstall -y onnxruntime onnxruntime-gpu" in result.output


@pytest.mark.usefixtures("stub_backends")
def test_two_owners_of_onnxruntime_are_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor_json()["problems"] == []
    owners = [Owner("onnxruntime", "1.23.2"), Owner("onnxruntime-openvino", "1.23.0")]
    monkeypatch.setattr(python_distributions, "onnxruntime_owners", lambda: owners)
    (problem,) = doctor_json()["problems"]
    assert "onnxruntime 1.23.2, onnxruntime-openvino 1.23.0" in problem["message"]
    assert "uninstall" in problem["fix"]


def test_errors_in_a_part_of_doctor_are_listed_as_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    def taken_twice() -> list[Backend]:
        raise UsageError("two backends are called 'x'", "rename one")

    monkeypatch.setattr(registry, "every", taken_twice)
    monkeypatch.setenv("EDGEBENCH_CACHE", "relative/path")
    found = doctor_json()
    messages = [problem["message"] for problem in found["problems"]]
    assert messages[0] == "two backends are called 'x'"
    assert "relative" in messages[1]
    assert (found["backends"], found["cache"]) == ([], None)
    assert doctor().exit_code == 0


def test_a_copied_tree_is_read_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: pytest.fail("started a process"))
    found = doctor_json("--sysroot", str(write_tree(tmp_path, TREE)))
    assert found["sysroot"] == str(tmp_path.resolve())
    assert found["device"]["name"] == "intel-xeon-2c-24g"
    assert "python" not in found["device"]["facts"]
    assert (found["python"], found["backends"], found["cache"]) == (None, None, None)
    levels = {check["name"]: check["level"] for check in found["state"]}
    assert (levels["load"], levels["hypervisor"]) == ("warn", "warn")
    assert found["energy"]["reason"] == "virtualised"


def test_the_table_of_a_copied_tree(tmp_path: Path) -> None:
    output = doctor("--sysroot", str(write_tree(tmp_path, TREE))).output
    assert max(map(len, output.splitlines())) <= 80
    assert "1.82 per CPU" in output
    assert "Backends" not in output
    assert "memory_bytes              23.5 GiB" in output


@pytest.mark.parametrize("arguments", [["--sysroot", "absent"], ["--format", "xml"], ["extra"]])
def test_usage_errors(arguments: list[str]) -> None:
    assert doctor(*arguments).exit_code == 2


def test_colour_only_where_it_is_wanted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    root = str(write_tree(tmp_path, TREE))
    monkeypatch.delenv("NO_COLOR", raising=False)
    coloured = CliRunner(env={"FORCE_COLOR": "1", "TERM": "xterm-256color"}).invoke(
        cli, ["doctor", "--sysroot", root]
    )
    assert "\x1b[" in coloured.output
    monkeypatch.setenv("NO_COLOR", "1")
    forced = {"FORCE_COLOR": "1", "TERM": "xterm-256color"}
    plain = CliRunner(env=forced).invoke(cli, ["doctor", "--sysroot", root])
    assert "\x1b[" not in plain.output
    assert "warn" in plain.output


def test_the_declared_power_mode_is_held_against_the_tree(tmp_path: Path) -> None:
    board = {
        "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3",
        "sys/firmware/devicetree/base/model": "NVIDIA Jetson Orin Nano Developer Kit",
        "var/lib/nvpmodel/status": "pmode:0002",
        "etc/nvpmodel.conf": "< POWER_MODEL ID=0 NAME=15W >\nCPU_ONLINE CORE_0 1\n"
        "< POWER_MODEL ID=2 NAME=MAXN_SUPER >",
    }
    inventory = tmp_path / "mine.yaml"
    inventory.write_text(
        "devices: [{name: lab-3, title: Third, match: {board: '*Orin Nano*'}, power_mode: 15W, limits: {latency.p99: 50ms}}]"
    )
    root = str(write_tree(tmp_path / "root", board))
    found = doctor_json("--sysroot", root, "--devices", str(inventory))
    assert found["device"]["name"] == "lab-3"
    assert found["device"]["declared"]["entry"] == "lab-3"
    (mode,) = [check for check in found["state"] if check["name"] == "power_mode"]
    assert mode["level"] == "warn"
    assert "MAXN_SUPER, and devices.yaml declares 15W" in mode["evidence"]
    output = doctor("--sysroot", root, "--devices", str(inventory)).output
    assert "Third (lab-3)" in output
    assert "latency.p99 <= 50.0 ms" in output


def test_an_inventory_that_cannot_be_read_is_a_usage_error(tmp_path: Path) -> None:
    result = doctor("--devices", str(tmp_path / "absent.yaml"))
    assert isinstance(result.exception, UsageError)
