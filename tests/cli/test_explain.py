"""`edgebench explain` from the command line: what it prints, and what it refuses in one line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.explain import planted

pytest.importorskip("onnxruntime")
REFERENCE = Path(__file__).parents[2] / "results/reference/quick-linux-amd-2c.jsonl"


def edgebench(*arguments: str, cache: Path) -> subprocess.CompletedProcess[str]:
    import os

    return subprocess.run(
        [sys.executable, "-m", "edgebench", "explain", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "EDGEBENCH_CACHE": str(cache)},
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "name one thing to explain"),
        (["no-such-workload"], "no workload 'no-such-workload'"),
        (["smollm2-chat"], "decoders are not profiled"),
        (["file-typing", "--against", "fp99"], "no such precision"),
        (
            ["file-typing", "--set", "precision=int8-static,fp32"],
            "variants fit, and one is explained",
        ),
        (["file-typing", "--backend", "openvin"], "openvin"),
        (["file-typing", "--limit", "0.1"], "apply to --numeric only"),
        (["file-typing", "--numeric", "--limit", "2"], "--limit 2 is not between 0 and 1"),
        ([str(REFERENCE), "--workload", "nothing"], "has no row of 'nothing'"),
        ([str(REFERENCE), "--numeric"], "a record keeps no tensors"),
        (["no/such/file.jsonl"], "no such file"),
    ],
)
def test_bad_input_is_one_clear_line(tmp_path: Path, arguments: list[str], words: str) -> None:
    from click.testing import CliRunner

    from edgebench.cli.explain import command
    from edgebench.cli.shared.error_to_exit_code import as_told
    from edgebench.errors import ExitCode

    done = CliRunner().invoke(command, arguments)
    assert done.exception is not None
    told = as_told(done.exception) if isinstance(done.exception, Exception) else None
    assert told is not None
    assert words in told.message
    assert "\n" not in told.message
    assert told.exit_code in (ExitCode.USAGE, ExitCode.STORE)


def test_stored_results_are_explained_without_a_runtime(capsys: pytest.CaptureFixture[str]) -> None:
    from click.testing import CliRunner

    from edgebench.cli.explain import command

    arguments = [str(REFERENCE), "--workload", "music-transcription", "--format", "json"]
    done = CliRunner().invoke(command, [*arguments, "--set", "precision=int8-static"])
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["schema"] == "edgebench.explain/1"
    assert found["slowdown"]["value"] > 1


@pytest.mark.slow
def test_own_model_is_profiled_and_its_numbers_compared(tmp_path: Path) -> None:
    model = planted.network(tmp_path / "network.onnx", 1)
    asked = ["--model", str(model), "--set", "threads=1", "--set", "precision=int8-static"]
    done = edgebench(*asked, "--format", "json", cache=tmp_path / "cache")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["subject"]["precision"] == "int8"
    assert found["against"]["label"] == "fp32"
    assert {kind["kind"] for kind in found["subject"]["kinds"]} >= {"QLinearConv"}
    wrong = planted.planted(model, tmp_path / "wrong.onnx", "scale", 1)
    asked = ["--model", str(tmp_path / "wrong.onnx"), "--numeric", "--reference", str(model)]
    done = edgebench(*asked, cache=tmp_path / "cache")
    assert done.returncode == 0, done.stderr
    assert f"{wrong} (Conv) is the first layer above" in " ".join(done.stdout.split())


@pytest.mark.slow
def test_runtime_without_a_profiler_is_refused_in_one_line(tmp_path: Path) -> None:
    model = planted.network(tmp_path / "network.onnx", 1)
    done = edgebench("--model", str(model), "--backend", "null", cache=tmp_path / "cache")
    assert done.returncode == 2
    assert "null: its runtime tells no times of operators" in done.stderr
    assert "Traceback" not in done.stderr
