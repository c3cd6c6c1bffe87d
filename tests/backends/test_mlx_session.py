"""The MLX backend: what is asked for runs, or is refused; what ran is read back."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("mlx.core")
onnx = pytest.importorskip("onnx")

from edgebench.analysis.per_row import validity
from edgebench.backend import ModelFile
from edgebench.backends.mlx import MlxBackend, blas
from edgebench.errors import UnsupportedError

TensorProto, helper, numpy_helper = onnx.TensorProto, onnx.helper, onnx.numpy_helper

WIDTH = 64


@pytest.fixture
def product(tmp_path: Path) -> Path:
    """One matrix product of 64 x 64 weights."""
    weight = np.random.default_rng(0).standard_normal((WIDTH, WIDTH)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, WIDTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4, WIDTH])],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def opened(path: Path, precision: str, **options: Any) -> Any:
    return MlxBackend().open(ModelFile(path, "onnx", "", precision), options)


def answer(session: Any, x: Any) -> Any:
    prepared = session.prepare({"x": x})
    return session.outputs_of(prepared, session.run(prepared))["y"]


@pytest.mark.parametrize(
    ("precision", "limit"), [("fp16", 5e-3), ("bf16", 3e-2), ("w8", 2e-2), ("w4", 0.2)]
)
def test_reduced_precisions_run_as_asked(product: Path, precision: str, limit: float) -> None:
    x = np.random.default_rng(1).standard_normal((4, WIDTH)).astype(np.float32)
    exact = answer(opened(product, "fp32", compile="never"), x)
    session = opened(product, precision, compile="never")

    got = answer(session, x)

    error = np.linalg.norm(got - exact) / np.linalg.norm(exact)
    assert 0 < error < limit
    assert session.effective().precision == precision
    assert got.dtype == np.float32


def test_four_bits_take_less_than_eight(product: Path) -> None:
    sizes = {
        precision: sum(
            opened(product, precision, compile="never").effective().weight_bytes.values()
        )
        for precision in ("fp32", "w8", "w4")
    }

    assert sizes["w4"] < sizes["w8"] < sizes["fp32"] == WIDTH * WIDTH * 4


def test_groups_that_do_not_fit_are_refused(product: Path) -> None:
    with pytest.raises(UnsupportedError, match="no matrix product"):
        opened(product, "w4", group_size=128)


def test_effective_reports_whether_the_plan_was_compiled(product: Path) -> None:
    never = opened(product, "fp32", compile="never").effective()

    assert never.options["compile"] == "never"
    assert never.options["compile_s"] is None


def test_without_a_compiler_compiling_is_refused(
    product: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if sys.platform == "darwin":
        pytest.skip("macOS compiles without g++")
    monkeypatch.setenv("PATH", "")

    with pytest.raises(UnsupportedError, match=r"g\+\+"):
        opened(product, "fp32", compile="always")
    assert "no g++" in " ".join(opened(product, "fp32").effective().notes)


@pytest.mark.skipif(sys.platform == "darwin", reason="a Mac has the real build")
def test_the_reference_build_says_so_and_is_no_deployment(product: Path) -> None:
    effective = opened(product, "fp32", compile="never").effective()

    assert effective.device == "cpu"
    assert "reference build, not Apple Silicon" in effective.not_deployable
    assert any("BLAS" in note for note in effective.notes)
    assert effective.threads == blas.threads()


def test_a_row_of_such_a_build_is_not_ranked(product: Path) -> None:
    import msgspec

    from edgebench.analysis.per_row.row_from_record import row_of
    from tests import records

    record = records.record()
    effective = opened(product, "fp32", compile="never").effective()
    if not effective.not_deployable:
        pytest.skip("a Mac has the real build")
    assert validity.judge(row_of(record), record).ranked
    marked = msgspec.structs.replace(record, effective=effective)
    row = validity.judge(row_of(marked), marked)

    assert not row.ranked
    assert [reason.code for reason in row.reasons] == ["not_deployable"]


def test_more_threads_than_there_can_be_are_refused(product: Path) -> None:
    if blas.running().path is not None:
        pytest.skip("a BLAS with threads is preloaded")

    with pytest.raises(UnsupportedError, match="threads=7"):
        opened(product, "fp32", threads=7)
