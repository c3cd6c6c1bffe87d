"""`edgebench ab` and `edgebench gate` with real processes: heads that must not count as anything."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgebench.errors import ExitCode
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
    done = edgebench(folder, "ab", *sides, "--no-save", "--format", "json", "--budget", "30s")
    report: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, report


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (["empty.onnx"], "head cannot run"),
        ([f"{FAULTS}:Segfault", "after=30"], "head: died of SIGSEGV"),
        ([f"{FAULTS}:WrongOutput"], "outputs of head differ"),
        ([f"{FAULTS}:Memoise"], "head caches results"),
        ([f"{FAULTS}:Async"], "head: outputs were not complete when the measured call returned"),
    ],
)
def test_a_head_that_is_none_is_invalid(folder: Path, head: list[str], reason: str) -> None:
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


def test_a_machine_without_a_meter_says_that_energy_is_not_judged(folder: Path) -> None:
    (folder / "bare").mkdir(exist_ok=True)
    done = edgebench(
        folder, "ab", "--base", "two-by-two-1.onnx", "--head", f"{FAULTS}:Segfault",
        "--head", "after=1",
        "--energy-root", "bare", "--no-save", "--format", "json",
    )  # fmt: skip
    assert "energy is not judged: no_sensor" in " ".join(json.loads(done.stdout)["notes"])
