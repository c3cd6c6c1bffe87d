"""The examples of CONTRIBUTING.md work as they stand."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

TEXT = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")


def example(name: str) -> str:
    """The code block that follows the comment with its file name."""
    found = re.search(rf"<!-- example: {re.escape(name)} -->\n```\w+\n(.*?)```", TEXT, re.DOTALL)
    assert found, f"CONTRIBUTING.md has no example {name}"
    return found[1]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a model of one MatMul, and the examples."""
    from onnx import TensorProto, helper, numpy_helper

    from edgebench.models.onnx_file import save_model

    weight = np.random.default_rng(0).standard_normal((16, 8)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "matmul",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8])],
        [numpy_helper.from_array(weight, "w")],
    )
    model = tmp_path / "matmul.onnx"
    save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), model)
    (tmp_path / "onnx_evaluator.py").write_text(example("onnx_evaluator.py"))
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    definition = example("tiny-matmul.yaml").replace("SHA256_OF_YOUR_FILE", digest)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "tiny-matmul.yaml").write_text(definition.replace("file:", "file:../"))
    _write_own_task(tmp_path / "mine", weight, digest)
    return tmp_path


def _write_own_task(folder: Path, weight: Any, digest: str) -> None:
    """The example of a task of one's own, with rows whose best score is known."""
    rows = np.random.default_rng(1).standard_normal((20, 16)).astype(np.float32)
    right = (rows @ weight).argmax(axis=1)
    table = folder / "rows.csv"
    np.savetxt(table, np.column_stack([rows, right]), delimiter=",", fmt="%.9g")
    (folder / "best_score.py").write_text(example("best_score.py"))
    text = example("tiny-scores.yaml").replace("file:matmul", "file:../matmul")
    text = text.replace("SHA256_OF_YOUR_FILE", digest)
    text = text.replace("SHA256_OF_YOUR_ROWS", hashlib.sha256(table.read_bytes()).hexdigest())
    (folder / "tiny-scores.yaml").write_text(text)


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    quick = ["--replicates", "1", "--slice", "0.1s", "--no-save", "--format", "json"]
    return subprocess.run(
        [sys.executable, "-m", "edgebench", "run", "--workloads", "mine", *arguments, *quick],
        cwd=folder,
        env={**os.environ, "EDGEBENCH_CACHE": str(folder / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_example_backend_and_workload_run_side_by_side_with_ort(folder: Path) -> None:
    done = run(folder, "tiny-matmul", "--backend", "ort,onnx_evaluator.py:OnnxEvaluator")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert {(row["backend"], row["scenario"]) for row in rows} == {
        (backend, scenario)
        for backend in ("ort", "onnx_evaluator")
        for scenario in ("single_stream", "offline")
    }
    assert all(row["status"] == "ok" and row["quality"]["passed"] for row in rows)


@pytest.mark.slow
def test_the_example_backend_keeps_the_contract(folder: Path) -> None:
    kit = ["--pyargs", "edgebench.testing", "--backend", "onnx_evaluator.py:OnnxEvaluator"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *kit],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]


def test_the_example_task_judges_by_its_own_data_and_says_that_it_runs(folder: Path) -> None:
    done = run(folder, "tiny-scores")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["rows"]
    quality = row["quality"]
    assert (quality["metric"], quality["value"], quality["floor"]) == ("accuracy", 1.0, 0.95)
    assert row["ranked"]
    code = folder.resolve() / "mine" / "best_score.py"
    assert f"task: tiny-scores runs code of your own: BestScore in {code}" in done.stderr


def test_a_deployment_below_the_example_tasks_floor_is_not_ranked(folder: Path) -> None:
    table = folder / "mine" / "rows.csv"
    rows = np.loadtxt(table, delimiter=",")
    rows[:5, -1] = (rows[:5, -1] + 1) % 8
    before = hashlib.sha256(table.read_bytes()).hexdigest()
    np.savetxt(table, rows, delimiter=",", fmt="%.9g")
    definition = folder / "mine" / "tiny-scores.yaml"
    after = hashlib.sha256(table.read_bytes()).hexdigest()
    definition.write_text(definition.read_text().replace(before, after))
    (row,) = json.loads(run(folder, "tiny-scores").stdout)["rows"]
    assert row["quality"]["value"] == 0.75
    assert not row["ranked"]


@pytest.mark.parametrize("method", ["preprocess", "score"])
def test_an_error_of_an_own_task_names_file_and_line(folder: Path, method: str) -> None:
    code = folder / "mine" / "best_score.py"
    lines = code.read_text().splitlines()
    at = next(n for n, line in enumerate(lines) if f"def {method}(" in line) + 1
    lines[at] = "        return 1 / 0"
    code.write_text("\n".join(lines))
    (row,) = json.loads(run(folder, "tiny-scores").stdout)["rows"]
    (reason,) = row["reasons"]
    assert f"best_score.py:{at + 1}: ZeroDivisionError" in reason["message"]
