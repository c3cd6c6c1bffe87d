"""The examples of CONTRIBUTING.md work as they stand."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")


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
    (tmp_path / "numpy_matmul.py").write_text(example("numpy_matmul.py"))
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    definition = example("tiny-matmul.yaml").replace("SHA256_OF_YOUR_FILE", digest)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "tiny-matmul.yaml").write_text(definition.replace("file:", "file:../"))
    return tmp_path


def test_the_example_backend_and_workload_run_side_by_side_with_ort(folder: Path) -> None:
    done = subprocess.run(
        [
            sys.executable, "-m", "edgebench", "run", "tiny-matmul", "--workloads", "mine",
            "--backend", "ort,numpy_matmul.py:NumpyMatmul", "--replicates", "2",
            "--slice", "0.1s", "--no-save", "--format", "json",
        ],
        cwd=folder,
        env={**os.environ, "EDGEBENCH_CACHE": str(folder / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert {(row["backend"], row["scenario"]) for row in rows} == {
        (backend, scenario)
        for backend in ("ort", "numpy_matmul")
        for scenario in ("single_stream", "offline")
    }
    assert all(row["status"] == "ok" and row["quality"]["passed"] for row in rows)
