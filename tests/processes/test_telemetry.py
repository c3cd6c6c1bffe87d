"""No runtime reports home from a process of edgebench, and the record says so."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgebench.processes.python_command import module_command
from edgebench.processes.telemetry import (
    ORT_SWITCH,
    has_database_open,
    keep_openvino_silent,
    openvino_telemetry,
    ort_environment,
    ort_telemetry,
)
from edgebench.testing.models import two_by_two

ROOT = Path(__file__).parents[2]
ORT = pytest.importorskip("onnxruntime")
#: Of a machine that is no CI: there, ONNX Runtime sends nothing by itself.
NO_CI = re.compile(r"CI|.*_CI|GITHUB_.*|TF_BUILD|BUILD_.*|JENKINS_.*|ORT_.*")
reports = pytest.mark.skipif(
    sys.platform != "linux" or ort_telemetry(Path(ORT.capi.onnxruntime_pybind11_state.__file__)) == "none",
    reason="this ONNX Runtime has no telemetry",
)  # fmt: skip


class Home:
    """A machine with an empty home, where every look-up and connection of any process is noted."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder / "home", folder / "net.log"
        self.folder.mkdir()
        self.work = folder / "work"
        self.work.mkdir()
        self.model = two_by_two().write(self.work).path
        library = folder / "net_log.so"
        compiler = shutil.which("cc")
        if compiler is None:
            pytest.skip("no C compiler for the log of connections")
        flags = ("-shared", "-fPIC", "-o", str(library), str(ROOT / "tests/data/net_log.c"), "-ldl")
        subprocess.run([compiler, *flags], check=True)
        kept = {name: value for name, value in os.environ.items() if not NO_CI.fullmatch(name)}
        for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"):
            kept.pop(name, None)
        self.environment = {
            **kept,
            "HOME": str(self.folder),
            "EDGEBENCH_CACHE": str(folder / "cache"),
            "LD_PRELOAD": str(library),
            "NET_LOG": str(self.log),
        }

    def start(self, command: list[str], **more: str) -> str:
        done = subprocess.run(
            command, cwd=self.work, env={**self.environment, **more}, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode in (0, 1, 5), (
            done.stderr
        )  # 1: its only row is unsupported. 5: its head is wrong
        return done.stdout

    def edgebench(self, *arguments: str, **more: str) -> dict[str, Any]:
        answer = self.start(module_command("edgebench", *arguments, "--format", "json"), **more)
        parsed: dict[str, Any] = json.loads(answer)
        return parsed

    def run(self, *arguments: str, **more: str) -> dict[str, Any]:
        [row] = self.rows(*arguments, **more)
        return row

    def rows(self, *arguments: str, **more: str) -> list[dict[str, Any]]:
        options = ("--replicates", "1", "--slice", "0.1s", "--out", "results.jsonl")
        table = self.edgebench("run", "--model", str(self.model), *options, *arguments, **more)
        rows: list[dict[str, Any]] = table["rows"]
        return rows

    def files(self) -> list[str]:
        return [str(path) for path in self.folder.rglob("*") if path.is_file()]

    def calls(self) -> list[str]:
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [line for line in lines if line.split()[-1] not in ("127.0.0.1", "::1", "localhost")]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    if sys.platform != "linux":
        pytest.skip("LD_PRELOAD is of Linux")
    return Home(tmp_path)


def test_the_log_sees_a_connection(home: Home) -> None:
    code = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(('192.0.2.1', 9))"
    home.start([sys.executable, "-c", code])
    assert home.calls() == ["connect 192.0.2.1"]


@reports
def test_onnxruntime_by_itself_writes_into_the_home(home: Home) -> None:
    home.start([sys.executable, "-c", "import onnxruntime"])
    assert any(name.endswith("deviceid") for name in home.files())


def test_run_leaves_no_file_in_the_home_and_speaks_to_nobody(home: Home) -> None:
    row = home.run("--backend", "ort", "--set", "precision=int8-static")
    assert row["status"] in ("ok", "unsupported")
    home.run("--backend", "ort", "--set", "preoptimized=true")
    assert home.files() == []
    assert home.calls() == []


def test_ab_and_calibrate_leave_no_file_in_the_home_and_speak_to_nobody(home: Home) -> None:
    # Its first pairs decide: the A/B ends early, and within no budget of which a busy machine leaves nothing.
    sides = (
        "--base",
        str(home.model),
        "--head",
        "edgebench.testing.faults:WrongOutput",
        "--no-save",
    )
    assert home.edgebench("ab", *sides)["cells"][0]["pairs"] > 0
    home.edgebench("calibrate", "--processes", "2", "--slice", "50ms", "-o", "peaks.json")
    assert home.files() == []
    assert home.calls() == []


def test_telemetry_stays_off_whatever_the_environment_says(home: Home) -> None:
    home.run(**{ORT_SWITCH: "0"})
    assert home.files() == []


@reports
def test_the_record_says_that_telemetry_is_off(home: Home) -> None:
    assert home.run()["effective"]["telemetry"] == "off"


@reports
def test_set_telemetry_leaves_it_on_and_the_record_says_so(home: Home) -> None:
    rows = home.rows("--set", "telemetry=false,true", "--backend", "ort")
    told = {row["variant"]["telemetry"]: row["effective"]["telemetry"] for row in rows}
    assert told == {False: "off", True: "on"}
    assert any(name.endswith("onnxruntime.db") for name in home.files())


@reports
def test_telemetry_that_was_asked_for_and_is_not_on_is_unsupported(home: Home) -> None:
    row = home.run("--set", "telemetry=true", CI="true")
    assert row["status"] == "unsupported"
    assert "has not started it" in row["reasons"][0]["message"]


def test_a_library_that_does_not_know_the_switch_has_no_telemetry(tmp_path: Path) -> None:
    (tmp_path / "old.so").write_bytes(b"\x7fELF an older library")
    (tmp_path / "new.so").write_bytes(b"\x7fELF ORT_DISABLE_TELEMETRY\0")
    off, on = ort_environment(wanted=False), ort_environment(wanted=True)
    (tmp_path / "fd").mkdir()
    assert ort_telemetry(tmp_path / "old.so", on, tmp_path) == "none"
    assert ort_telemetry(tmp_path / "new.so", off, tmp_path) == "off"
    assert ort_telemetry(tmp_path / "new.so", on, tmp_path) == "on"
    assert ort_telemetry(tmp_path / "new.so", {}, tmp_path) == "on"
    (tmp_path / "fd" / "7").symlink_to("/home/u/.cache/x/onnxruntime.db")
    assert ort_telemetry(tmp_path / "new.so", off, tmp_path) == "on"
    assert has_database_open(tmp_path) is True
    assert has_database_open(tmp_path / "nowhere") is None


def test_openvino_finds_nothing_to_report_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "openvino_telemetry", raising=False)
    keep_openvino_silent()
    assert sys.modules["openvino_telemetry"] is None
    assert openvino_telemetry() in ("off", "none")
    monkeypatch.setitem(sys.modules, "openvino_telemetry", os)
    keep_openvino_silent()
    assert openvino_telemetry() == "on"


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_openvino_is_imported_without_a_word_to_anybody(home: Home) -> None:
    pytest.importorskip("openvino")
    home.start(
        [sys.executable, "-c", "import edgebench.backends.openvino, openvino, time; time.sleep(1)"]
    )
    assert home.files() == []
    assert home.calls() == []
