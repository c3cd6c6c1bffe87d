"""ncnn: precision is what layers wrote, and pnnx's and ncnn's refusals come through."""

from __future__ import annotations

import json
import platform
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgebench import registry
from edgebench.backend import Backend, ModelFile, Scalar, Session, Unavailable
from edgebench.errors import UnsupportedError
from edgebench.testing.models import Case, chain, convolution, embedding, two_by_two
from tests import onnx_models

pytest.importorskip("ncnn")
BACKEND: Backend = registry.load("ncnn")
MODULE = sys.modules[type(BACKEND).__module__]


@pytest.fixture(autouse=True)
def _needs_pnnx() -> None:
    if MODULE._pnnx() is None:
        pytest.skip("pnnx is not installed: pip install --no-deps pnnx")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shared, so that a model is converted once."""
    return tmp_path_factory.mktemp("ncnn")


@pytest.fixture
def model(folder: Path) -> ModelFile:
    return converted(convolution(1), folder)


def converted(case: Case, folder: Path) -> ModelFile:
    return BACKEND.convert(case.write(folder), {}, folder / "cache")


def opened(
    model: ModelFile, precision: str = "fp32", options: dict[str, Scalar] | None = None
) -> Session:
    return BACKEND.open(replace(model, precision=precision), options or {})


def error(session: Session, case: Case) -> float:
    feeds = case.feeds(1)
    prepared = session.prepare(feeds)
    found = session.outputs_of(prepared, session.run(prepared))
    return max(
        float(np.linalg.norm(found[name] - wanted) / np.linalg.norm(wanted))
        for name, wanted in case.reference(feeds).items()
    )


def test_fp32_is_fp32(model: ModelFile) -> None:
    session = opened(model)
    facts = session.effective()
    assert facts.precision == "fp32"
    assert facts.compute_nodes == {"fp32": 2}
    assert facts.options["fp16_storage"] is facts.options["bf16_storage"] is False
    assert error(session, convolution(1)) < 1e-5


def test_bf16_is_seen_in_the_blobs(model: ModelFile) -> None:
    session = opened(model, "bf16")
    assert session.effective().compute_nodes == {"bf16": 2}
    assert 1e-4 < error(session, convolution(1)) < 5e-2


def test_fp16_runs_or_is_refused_whatever_the_option_says(model: ModelFile) -> None:
    """On x86 ncnn accepts the option and computes in fp32, on weights that it rounded."""
    session = opened(model, "fp16")
    if platform.machine() == "x86_64":
        with pytest.raises(UnsupportedError, match=r"fp16 was asked for, but.*2 layers in fp32"):
            session.effective()
    else:
        assert session.effective().compute_nodes == {"fp16": 2}


def test_half_precision_weights_are_not_called_fp32(model: ModelFile) -> None:
    session = opened(model, "as-is", {"fp16_storage": True})
    facts = session.effective()
    assert facts.options["fp16_storage"] is True
    assert facts.precision != "fp32"
    assert 1e-5 < error(session, convolution(1)) < 1e-2


def test_fp32_that_ran_in_half_precision_is_refused(model: ModelFile) -> None:
    session = opened(model, "bf16")
    session._precision = "fp32"  # type: ignore[attr-defined] # as if nobody had asked for bf16
    with pytest.raises(
        UnsupportedError, match="fp32 was asked for, but ncnn runs 2 layers in bf16"
    ):
        session.effective()


@pytest.mark.parametrize("option", ["fp16_storage", "fp16_arithmetic"])
def test_half_precision_under_the_name_of_fp32_is_refused(model: ModelFile, option: str) -> None:
    with pytest.raises(UnsupportedError, match="contradict"):
        opened(model, options={option: True})


def test_settings_are_read_back(model: ModelFile) -> None:
    chosen: dict[str, Scalar] = {
        "packing_layout": False,
        "winograd": False,
        "sgemm": False,
        "light_mode": False,
        "blocktime_ms": 0,
    }
    facts = opened(model, options={"threads": 2, **chosen}).effective()
    assert {name: facts.options[name] for name in chosen} == chosen
    assert facts.threads == 2


@pytest.mark.parametrize("case", [convolution(4), two_by_two(), chain(3)], ids=lambda c: c.name)
def test_batches_several_inputs_and_models_without_a_batch_axis(folder: Path, case: Case) -> None:
    session = opened(converted(case, folder))
    assert [info.name for info in session.inputs] == [info.name for info in case.inputs]
    assert error(session, case) < 1e-5


def test_an_operator_ncnn_lacks_is_refused_with_its_message(folder: Path) -> None:
    with pytest.raises(UnsupportedError, match="layer Gather not exists or registered"):
        converted(embedding(), folder)


def test_a_converter_that_dies_is_a_refusal(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "pnnx"
    broken.write_text("#!/bin/sh\necho pass_level2\nkill -SEGV $$\n")
    broken.chmod(0o755)
    monkeypatch.setattr(MODULE, "_pnnx", lambda: broken)
    with pytest.raises(
        UnsupportedError, match="died of SIGSEGV after printing: pass_level2"
    ) as died:
        BACKEND.convert(convolution(1).write(tmp_path), {}, tmp_path / "cache")
    assert "leave ncnn out" in died.value.fix
    assert not list((tmp_path / "cache").iterdir())


def test_without_pnnx_the_fix_installs_it_without_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODULE, "_pnnx", lambda: None)
    state = BACKEND.availability()
    assert isinstance(state, Unavailable)
    assert state.kind == "not_installed"
    assert "pip install --no-deps pnnx" in state.fix


def test_batch_axes_are_read_from_the_example() -> None:
    example = """
        ex.input("in0", ncnn.Mat(in0.numpy(), batch_index=0).clone())
        ex.input("in1", ncnn.Mat(in1.numpy(), batch_index=233).clone())
        out.append(torch.from_numpy(out0.numpy(batch_index=1)))
        out.append(torch.from_numpy(out1.numpy()))
    """
    assert MODULE._batch_axes(example) == {"in0": 0, "in1": 233, "out0": 1, "out1": 233}


def test_the_size_of_a_converted_model_includes_its_weights(model: ModelFile) -> None:
    from edgebench.measure.convert_model import _size

    parts = [model.path.with_suffix(suffix) for suffix in (".param", ".bin", ".json")]
    assert _size(model.path) == sum(part.stat().st_size for part in parts)
    assert json.loads(parts[2].read_text())["inputs"][0]["info"]["name"] == "image"


# --- models as exporters leave them -----------------------------------------------------------------


def product(
    folder: Path, outputs: dict[str, onnx_models.Shape], *, beside: bool = False
) -> ModelFile:
    """y = x w, [1, 64] -> [1, 400]; an output w is the weight itself. Its weights may lie beside it."""
    import onnx

    weights = {"w": np.random.default_rng(0).standard_normal((64, 400)).astype(np.float32)}
    nodes: list[onnx_models.Node] = [("MatMul", ["x", "w"], "y", {})]
    path = folder / "product.onnx"
    model = onnx_models.model(nodes, {"x": [1, 64]}, outputs, weights)
    onnx.save(
        model, str(path), save_as_external_data=beside, location="product.data", size_threshold=0
    )
    return ModelFile(path, "onnx", path.read_bytes().hex()[-64:], "as-is")


@pytest.mark.parametrize("beside", [False, True])
def test_open_axes_of_outputs_and_weights_beside_the_file(tmp_path: Path, beside: bool) -> None:
    file = product(tmp_path, {"y": ["batch", "classes"]}, beside=beside)
    session = BACKEND.open(BACKEND.convert(file, {}, tmp_path / "cache"), {})
    assert [info.shape for info in session.outputs] == [(1, 400)]
    feeds = {"x": np.ones((1, 64), np.float32)}
    prepared = session.prepare(feeds)
    (want,) = onnx_models.run(file.path, feeds)
    found = session.outputs_of(prepared, session.run(prepared))
    np.testing.assert_allclose(found["y"], want, rtol=1e-4, atol=1e-4)


def test_an_output_that_pnnx_drops_is_named(tmp_path: Path) -> None:
    """It numbers those that it keeps: others would get their names."""
    file = product(tmp_path, {"y": [1, 400], "w": [64, 400]})
    with pytest.raises(UnsupportedError, match=r"keeps 1 of the model's 2 outputs \(y, w\)"):
        BACKEND.convert(file, {}, tmp_path / "cache")


SAME = [
    ("SAME_UPPER", 10, 3, 2),
    ("SAME_LOWER", 10, 3, 2),
    ("SAME_UPPER", 9, 5, 3),
    ("SAME_LOWER", 9, 5, 3),
]


@pytest.mark.parametrize(("pad", "size", "kernel", "stride"), SAME)
@pytest.mark.parametrize("operator", ["MaxPool", "Conv"])
def test_automatic_padding_is_that_of_onnx(
    tmp_path: Path, operator: str, pad: str, size: int, kernel: int, stride: int
) -> None:
    """pnnx by itself pads a MaxPool of SAME_UPPER at both ends (mtcnn's onet was wrong by 5.9 there), and has no
    Conv of SAME_LOWER."""
    session = windowed(tmp_path, operator, size, kernel, stride, {"auto_pad": pad})
    assert error_of(session, tmp_path) < 1e-4


@pytest.mark.parametrize("pads", [[1, 1, 0, 0], [0, 0, 1, 1]])
def test_padding_at_one_end_is_that_of_onnx(tmp_path: Path, pads: list[int]) -> None:
    session = windowed(tmp_path, "MaxPool", 10, 3, 2, {"pads": pads})
    assert error_of(session, tmp_path) < 1e-4


def test_an_output_of_another_size_is_a_refusal(tmp_path: Path) -> None:
    """pnnx pads both ends of this one, and every window would be read."""
    session = windowed(tmp_path, "MaxPool", 9, 2, 1, {"pads": [1, 1, 0, 0]})
    with pytest.raises(UnsupportedError, match=r"output y of .* where ONNX has \(1, 4, 9, 9\)"):
        error_of(session, tmp_path)


def test_a_model_that_pnnx_converts_and_ncnn_cannot_run_is_a_refusal() -> None:
    """Seen with silero_vad_16k_sequence.onnx: a bare RuntimeError, without a fix."""

    class Extractor:
        def input(self, name: str, mat: object) -> None:
            del name, mat

        def extract(self, name: str) -> tuple[int, None]:
            del name
            return -1, None

    with pytest.raises(UnsupportedError, match="out0 ends with code -1") as refused:
        MODULE._infer(Extractor, ["in0"], ["out0"], [None])
    assert "leave ncnn out" in refused.value.fix


def windowed(
    folder: Path, operator: str, size: int, kernel: int, stride: int, padding: dict[str, object]
) -> Session:
    """y = relu(operator(x)) on [1, 4, size, size]."""
    weight = np.random.default_rng(0).standard_normal((4, 4, kernel, kernel))
    weights = {"w": weight} if operator == "Conv" else {}
    named = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, **padding}
    nodes: list[onnx_models.Node] = [
        (operator, ["x", *weights], "z", named),
        ("Relu", ["z"], "y", {}),
    ]
    model = onnx_models.model(nodes, {"x": [1, 4, size, size]}, {"y": [1, 4, "h", "w"]}, weights)
    path = folder / "windowed.onnx"
    path.write_bytes(model.SerializeToString())
    file = ModelFile(path, "onnx", "0" * 64, "as-is")
    return BACKEND.open(BACKEND.convert(file, {}, folder / "cache"), {})


def error_of(session: Session, folder: Path) -> float:
    shape = [size or 1 for size in session.inputs[0].shape or ()]
    values = np.random.default_rng(1).standard_normal(shape) - 3  # all below 0: zeros would be seen
    feeds = {"x": values.astype(np.float32)}
    prepared = session.prepare(feeds)
    (want,) = onnx_models.run(folder / "windowed.onnx", feeds)
    return float(np.abs(session.outputs_of(prepared, session.run(prepared))["y"] - want).max())
