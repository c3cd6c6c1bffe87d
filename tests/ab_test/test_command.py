"""`edgebench ab` and `edgebench gate` with real processes: heads that must not count as anything."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from edgebench.ab_test import run_ab
from edgebench.ab_test.ab_report_types import GateReport
from edgebench.cli import cli
from edgebench.errors import ExitCode, UsageError
from edgebench.testing.models import chain, two_by_two

FAULTS = "edgebench.testing.faults"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ab")
    two_by_two().write(path)
    (path / "empty.onnx").touch()
    return path


def edgebench(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgebench", *arguments],
        cwd=folder,
        env={**os.environ, "EDGEBENCH_CACHE": str(folder / "cache"), "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def compared(folder: Path, *head: str) -> tuple[int, dict[str, Any]]:
    sides = ["--base", "two-by-two-1.onnx", *(part for text in head for part in ("--head", text))]
    done = edgebench(folder, "ab", *sides, "--no-save", "--format", "json", "--budget", "10min")
    report: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, report


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (["empty.onnx"], "head cannot run"),
        ([f"{FAULTS}:Segfault", "after=30"], "head: died of SIGSEGV"),
        ([f"{FAULTS}:Async"], "head: outputs were not complete when the measured call returned"),
    ],
)
def test_a_head_that_cannot_be_compared_is_invalid(
    folder: Path, head: list[str], reason: str
) -> None:
    """One head of each kind: refused, dead, and suspect by its times. test_cheats_in_ab has the others."""
    code, report = compared(folder, *head)
    assert code == ExitCode.INVALID
    assert report["verdict"] == "invalid"
    assert all(row["verdict"] == "invalid" for row in report["cells"])
    assert reason in report["cells"][0]["reason"]


def test_arms_that_do_not_fit_in_memory_are_invalid_with_that_reason(folder: Path) -> None:
    chain(2).write(folder)
    done = edgebench(
        folder, "ab", "--base", "chain-2.onnx", "--head", f"{FAULTS}:MemoryEater",
        "--memory-limit", "600MiB", "--no-save", "--format", "json",
    )  # fmt: skip
    assert done.returncode == ExitCode.INVALID
    reason = json.loads(done.stdout)["cells"][0]["reason"]
    assert "both arms do not fit in memory together" in reason


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ab", "--base", "ort", "--head", "opnvino"], "did you mean 'openvino'"),
        (["ab", "--base", "ort", "--head", "ort"], "nothing to run"),
        (["ab", "--base", "ort", "--head", "ort", "file-typng"], "did you mean 'file-typing'"),
        (["ab", "--base", "ort", "--head", "ort", "--suite", "quik"], "did you mean 'quick'"),
        (
            ["ab", "--base", "two-by-two-1.onnx", "--head", "ort", "--tau", "5%", "--delta", "1%"],
            "must be above tau",
        ),
        (["gate"], "nothing to judge"),
    ],
)
def test_bad_input_gets_one_error(folder: Path, arguments: list[str], message: str) -> None:
    done = edgebench(folder, *arguments)
    assert done.returncode == ExitCode.USAGE
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not done.stdout


def invoked(*arguments: str) -> Any:
    """In this process, so that errors are raised."""
    done = CliRunner().invoke(cli, arguments, standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return done


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["file-typing", "--task", "mine.py:Mine"], "--shape and --task apply to model files only"),
        (["--suite", "quick", "--shape", "x=1,3"], "--shape and --task apply to model files only"),
        (
            ["--suite", "quick", "--range", "x=1,3"],
            "--range and --inputs apply to model files only",
        ),
        (["--workloads", "."], "--workloads needs workloads to measure"),
        (
            ["file-typing", "--build", "make"],
            "--build and --artifact apply to a git: revision only",
        ),
        (["file-typing", "--delta", "5"], "below 100 %"),
        (["voice-activity", "--suite", "quick"], "has none of voice-activity"),
    ],
)
def test_options_that_would_be_ignored_are_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        invoked("ab", "--base", "ort", "--head", "null", *arguments)


def test_a_gate_without_time_and_a_budget_for_stored_results_are_refused(tmp_path: Path) -> None:
    policy, results = tmp_path / "gate.yaml", tmp_path / "new.jsonl"
    policy.write_text("base: ort\nhead: ort\nsuite: quick\n")
    results.touch()
    with pytest.raises(UsageError, match="--budget 0s is not a time"):
        invoked("gate", "--policy", str(policy), "--budget", "0s")
    with pytest.raises(UsageError, match="stored results are only checked"):
        invoked("gate", "--limit", "p50 <= 1ms", "--budget", "60s", str(results))


@pytest.mark.parametrize("limits", ["", "limits: [p50 <= 1ms]\n"])
def test_a_measured_gate_says_that_limits_are_not_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limits: str
) -> None:
    monkeypatch.setattr(run_ab, "compare", lambda *_, **__: GateReport(verdict="pass", cells=[]))
    policy = tmp_path / "gate.yaml"
    policy.write_text(f"base: ort\nhead: ort\nsuite: quick\n{limits}")
    done = invoked("gate", "--policy", str(policy), "--no-energy", "--format", "json")
    notes = json.loads(done.stdout)["notes"]
    assert [("were not judged" in note) for note in notes] == [True] * bool(limits)


def test_a_machine_without_a_meter_says_that_energy_is_not_judged(folder: Path) -> None:
    (folder / "bare").mkdir(exist_ok=True)
    done = edgebench(
        folder, "ab", "--base", "two-by-two-1.onnx", "--head", f"{FAULTS}:Segfault",
        "--head", "after=1",
        "--energy-root", "bare", "--no-save", "--format", "json",
    )  # fmt: skip
    assert "energy is not judged: no_sensor" in " ".join(json.loads(done.stdout)["notes"])
