"""The contract kit and whole runs on machines that are laid out as folders, TensorRT included."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgebench import registry
from edgebench.errors import UsageError
from edgebench.planning.own_models import workload_for_model
from edgebench.store import read_records
from edgebench.testing.fake_tensorrt import lay_out
from edgebench.testing.models import convolution


@pytest.fixture(params=[10, 11])
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """The environment of a process on a machine with this TensorRT."""
    folder = lay_out(tmp_path / "machine", request.param)
    return {
        **os.environ,
        "PYTHONPATH": str(folder),
        "EDGEBENCH_CACHE": str(tmp_path / "cache"),
    }


def start(environment: dict[str, str], folder: Path, *words: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", *words],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout


def test_the_contract_is_kept(machine: dict[str, str], tmp_path: Path) -> None:
    kit = "edgebench.testing.test_contract"  # it generates no text
    code, out = start(machine, tmp_path, "pytest", "-q", "--pyargs", kit, "--backend", "trt")
    assert code == 0, out
    assert " passed" in out
    assert "skipped" not in out


def test_the_doctor_finds_it_ready(machine: dict[str, str], tmp_path: Path) -> None:
    _, out = start(machine, tmp_path, "edgebench", "doctor", "--format", "json")
    [found] = [b for b in json.loads(out)["backends"] if b["name"] == "trt"]
    assert (found["status"], found["version"][:3]) in {("ready", "10."), ("ready", "11.")}


def test_a_run_tells_precision_transfers_and_memory(
    machine: dict[str, str], tmp_path: Path
) -> None:
    model = convolution(1).write(tmp_path).path
    quick = ("--replicates", "2", "--slice", "0.1s", "--format", "json")
    chosen = ("--backend", "trt", "--set", "precision=fp32,fp16", "--model", str(model))
    code, out = start(machine, tmp_path, "edgebench", "run", *chosen, *quick)
    rows = json.loads(out)["rows"]
    assert [row["status"] for row in rows] == ["ok", "ok"], out
    assert code == 0
    assert [row["effective"]["precision"] for row in rows] == ["fp32", "fp16"]
    assert all(row["quality"]["passed"] for row in rows)
    [file] = (tmp_path / "results").rglob("*.jsonl")
    for record in read_records(file):
        assert record.model is not None
        assert record.model.build_s is not None  # building the engine counts
        assert record.model.build_s > 0
        for replicate in record.replicates:
            times, memory = replicate.device, replicate.memory
            assert memory is not None
            # What the first one established is not repeated, unless it is the one that is measured again.
            assert (times is not None) is (replicate.index == 0 or replicate.rerun_of == 0)
            if times is not None:
                assert len(times.compute_ns) == len(times.host_to_device_ns) >= 5
                assert times.layers_ns
            assert memory.device_peak_bytes is not None
            assert memory.peak_bytes is not None
            assert memory.peak_bytes > memory.device_peak_bytes
            assert "cudaMemGetInfo" in memory.peak_source


def test_a_prebuilt_engine_is_judged_by_the_model_it_was_made_from(
    machine: dict[str, str], tmp_path: Path
) -> None:
    model = convolution(1).write(tmp_path).path
    build = (
        "from pathlib import Path; from edgebench import registry; "
        "from edgebench.testing.models import convolution; "
        "m = convolution(1).write(Path('.')); "
        "made = registry.load('trt').convert(m, {}, Path('made').resolve()); "
        "Path('own.engine').write_bytes(made.path.read_bytes())"
    )
    subprocess.run([sys.executable, "-c", build], env=machine, cwd=tmp_path, check=True)
    quick = ("--backend", "trt", "--replicates", "1", "--slice", "0.1s", "--format", "json")
    run = ("edgebench", "run", "--no-save", *quick, "--model", "own.engine")
    _, out = start(machine, tmp_path, *run)
    [row] = json.loads(out)["rows"]
    assert row["status"] == "ok"
    assert row["quality"]["value"] is None
    assert "--reference" in row["unknown"]["quality.value"]
    _, out = start(machine, tmp_path, *run, "--reference", str(model))
    [row] = json.loads(out)["rows"]
    assert row["quality"]["value"] < 1e-5
    assert row["quality"]["passed"] is True
    other = {**machine, "PYTHONPATH": str(lay_out(tmp_path / "other", 10, "10.99.0"))}
    _, out = start(other, tmp_path, *run)
    [row] = json.loads(out)["rows"]
    assert row["status"] == "unsupported"
    assert "this is 10.99.0" in row["reasons"][0]["message"]


def test_a_reference_is_for_other_formats_only(tmp_path: Path) -> None:
    model = convolution(1).write(tmp_path).path
    with pytest.raises(UsageError, match="for a model in a runtime's own format"):
        workload_for_model(model, {}, reference=model)


def test_the_backend_is_named_like_its_folder() -> None:
    assert registry.load("trt").name == "trt"
