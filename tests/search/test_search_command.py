"""`edgebench search` as a person runs it: real processes on a small network, Ctrl-C, and bad input."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from edgebench.models.onnx_file import save_model
from edgebench.store import read_records
from tests import onnx_models as models

pytest.importorskip("onnxruntime")
TASK = f"{Path(__file__).parent / 'agreement_task.py'}:Agreement"
LIMIT = ("--require", "agreement>=0.8")


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "edgebench", "search", *arguments, "--out", "out"],
        cwd=folder,
        env={**os.environ, "EDGEBENCH_CACHE": str(folder / "cache")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )


def searched(folder: Path, *arguments: str) -> tuple[int, str, str]:
    process = start(folder, *arguments)
    out, err = process.communicate(timeout=120)
    assert "Traceback" not in err, err
    return process.returncode, out, err


@pytest.fixture
def model(tmp_path: Path) -> str:
    save_model(models.convolution([1, 3, 8, 8]), tmp_path / "model.onnx")
    return "model.onnx"


def results(folder: Path) -> list[Path]:
    return sorted((folder / "out").rglob("*Z-*.jsonl"))


@pytest.mark.slow
def test_a_search_measures_maps_and_keeps_its_budget(tmp_path: Path, model: str) -> None:
    begun_s = time.monotonic()
    code, out, err = searched(
        tmp_path, "--model", model, "--task", TASK, *LIMIT, "--budget", "18s", "--format", "json"
    )
    assert code in (0, 1), err  # so small a network may be no faster in int8
    assert time.monotonic() - begun_s < 60
    report: dict[str, Any] = json.loads(out)
    [file] = results(tmp_path)
    kept = {str(r.cell.variant["precision"]) for r in read_records(file)}
    mixed = {name for name in kept if name.startswith("mixed:")}
    assert mixed == {row["precision"] for row in report["rows"]} - {
        "fp32",
        "int8-dynamic",
        "int8-static",
    }
    assert mixed
    assert {path.name for path in file.with_suffix(".maps").iterdir()} == {
        f"{name.replace(':', '-')}.yaml" for name in mixed
    }
    assert "left" in err  # progress without a terminal
    map_file = next(file.with_suffix(".maps").iterdir())
    again = subprocess.run(
        [sys.executable, "-m", "edgebench", "run", "--model", model, "--task", TASK,
         "--set", f"precision=@{map_file}", "--replicates", "1", "--slice", "0.1s", "--no-save", "--format", "json"],
        cwd=tmp_path, env={**os.environ, "EDGEBENCH_CACHE": str(tmp_path / "other-cache")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    [row] = json.loads(again.stdout)["rows"]
    assert row["status"] == "ok"
    assert row["variant"]["precision"] in mixed


@pytest.mark.slow
def test_ctrl_c_loses_nothing_and_resume_goes_on(tmp_path: Path, model: str) -> None:
    asked = ("--model", model, "--task", TASK, *LIMIT, "--budget", "16s")
    process = start(tmp_path, *asked)
    end_s = time.monotonic() + 60
    while not (journals := [*(tmp_path / "out").rglob("*.journal*")]) and time.monotonic() < end_s:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "--resume" in err
    assert journals
    code, _, err = searched(tmp_path, *asked, "--resume", "--budget", "10s")
    assert code in (0, 1), err
    assert "maps were found before" in err
    assert len(results(tmp_path)) == 1  # the same run went on


@pytest.mark.slow
def test_ctrl_c_while_exploring_keeps_what_was_found(tmp_path: Path, model: str) -> None:
    asked = ("--model", model, "--task", TASK, *LIMIT, "--budget", "16s")
    process = start(tmp_path, *asked)
    end_s = time.monotonic() + 60
    while not (steps := [*(tmp_path / "out").rglob("*.steps")]) and time.monotonic() < end_s:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "continue with --resume" in err
    assert "Traceback" not in err
    before = steps[0].read_bytes()
    code, _, err = searched(tmp_path, *asked, "--resume")
    assert code in (0, 1), err
    assert steps[0].read_bytes().startswith(before[: before.rfind(b"\n") + 1])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--require", "agreement>=1.2"), "fp32 itself has agreement"),
        (("--task", f"{TASK}s"), "has no class 'Agreements'"),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path, model: str, arguments: tuple[str, ...], told: str
) -> None:
    code, out, err = searched(
        tmp_path, "--model", model, "--task", TASK, "--budget", "8s", *arguments
    )
    assert (code, out) == (2, "")
    [line] = [line for line in err.splitlines() if line.startswith("edgebench:")]
    assert told in line


@pytest.mark.slow
def test_a_model_without_anything_to_quantise_is_told(tmp_path: Path) -> None:
    save_model(models.constant(), tmp_path / "adds.onnx")
    code, _, err = searched(tmp_path, "--model", "adds.onnx", "--budget", "8s")
    assert code == 2
    assert "no operator with constant weights" in err


def test_maps_of_another_model_and_of_unknown_groups_are_told(tmp_path: Path, model: str) -> None:
    from edgebench.assets import file_sha256

    map_file = tmp_path / "map.yaml"
    own = file_sha256(tmp_path / model)
    told = []
    for sha256, group in (("a" * 64, "Conv_0"), (own, "Conv_9")):
        map_file.write_text(
            f'model_sha256: "{sha256}"\nrecipe: u8s8/1\ngroups: {{{group}: int8}}\n'
        )
        found = subprocess.run(
            [sys.executable, "-m", "edgebench", "run", "--model", model, "--no-save", "--format", "json",
             "--set", "precision=@map.yaml", "--replicates", "1"],
            cwd=tmp_path, env={**os.environ, "EDGEBENCH_CACHE": str(tmp_path / "cache")},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        [row] = json.loads(found.stdout)["rows"]
        assert found.returncode == 1
        told.append(row["reasons"][0]["message"])
    assert "is of another model" in told[0]
    assert "names 'Conv_9', which is no group of this model" in told[1]
