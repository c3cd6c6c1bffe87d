"""OpenVINO: fp32 means fp32, and every other precision is what runs or is refused."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgebench import registry
from edgebench.backend import Backend, ModelFile, Scalar, Session
from edgebench.errors import UnsupportedError
from edgebench.models.onnx_file import load_model, save_model
from edgebench.models.quantize import quantize_static
from edgebench.testing.models import convolution, embedding

openvino = pytest.importorskip("openvino")
BACKEND: Backend = registry.load("openvino")


@pytest.fixture
def model(tmp_path: Path) -> ModelFile:
    return convolution(1).write(tmp_path)


@pytest.fixture
def int8_model(tmp_path: Path, model: ModelFile) -> ModelFile:
    """The convolution in QDQ form, as edgebench's own quantiser writes it."""
    path = tmp_path / "int8.onnx"
    items = [convolution(1).feeds(seed) for seed in range(16)]
    save_model(quantize_static(load_model(model.path), items, 1), path, keep_opset=True)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return ModelFile(path, "onnx", digest, precision="int8-static")


def opened(model: ModelFile, **options: Scalar) -> Session:
    if BACKEND.converts(model, options):
        model = BACKEND.convert(model, options, model.path.parent / "cache")
    return BACKEND.open(model, options)


def error(session: Session) -> float:
    case = convolution(1)
    feeds = case.feeds(1)
    prepared = session.prepare(feeds)
    found = session.outputs_of(prepared, session.run(prepared))["logits"]
    wanted = case.reference(feeds)["logits"]
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


def capabilities() -> list[str]:
    found: list[str] = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return found


def test_fp32_is_fp32_where_openvino_would_choose_otherwise(model: ModelFile) -> None:
    facts = opened(model).effective()
    assert facts.precision == "fp32"
    assert facts.compute_nodes == {"fp32": 2}
    assert facts.options["inference_precision"] == "f32"
    assert error(opened(model)) < 1e-5
    if "BF16" in capabilities():
        # What would run without our asking: the reason why a precision is always set.
        silent = openvino.Core().compile_model(str(model.path), "CPU")
        assert silent.get_property("INFERENCE_PRECISION_HINT") == openvino.Type.bf16


@pytest.mark.parametrize(("precision", "capability"), [("bf16", "BF16"), ("fp16", "FP16")])
def test_a_lower_precision_runs_or_is_refused(
    model: ModelFile, precision: str, capability: str
) -> None:
    session = opened(replace(model, precision=precision))
    if capability not in capabilities():
        with pytest.raises(UnsupportedError, match=f"{precision} was asked for"):
            session.effective()
        return
    facts = session.effective()
    assert facts.precision == precision
    assert 1e-5 < error(session) < 5e-2


def test_a_precision_that_did_not_run_is_never_reported(
    model: ModelFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guard itself: a graph that ran in bf16 is no answer to a request for fp32."""
    session = opened(model)
    layers = [("Convolution", "bf16", "brgconv"), ("FullyConnected", "f32", "gemm")]
    monkeypatch.setattr("edgebench.backends.openvino.executed_layers", lambda _: layers)
    with pytest.raises(UnsupportedError, match="1 layers in bf16, 1 layers in fp32"):
        session.effective()


def test_int8_runs_in_int8(int8_model: ModelFile) -> None:
    facts = opened(int8_model).effective()
    assert facts.compute_nodes is not None
    assert facts.compute_nodes["int8"] >= 1


def test_int8_is_not_claimed_for_a_float_model(model: ModelFile) -> None:
    with pytest.raises(UnsupportedError, match="no compute-heavy layer runs in int8"):
        opened(replace(model, precision="int8-static")).effective()


def test_a_contradiction_is_refused(model: ModelFile) -> None:
    with pytest.raises(UnsupportedError, match="contradict"):
        opened(model, inference_precision="bf16")


@pytest.mark.parametrize("option", ["threads", "streams"])
def test_more_than_there_are_cores_is_refused(model: ModelFile, option: str) -> None:
    with pytest.raises(UnsupportedError, match=f"{option}=4096 was asked for, OpenVINO uses"):
        opened(model, **{option: 4096})


@pytest.mark.parametrize(("hint", "capability"), [("bf16", "BF16"), ("f16", "FP16")])
def test_a_precision_of_the_rest_is_taken_or_refused(
    model: ModelFile, hint: str, capability: str
) -> None:
    """Where the processor has only one of both, OpenVINO would take that in the place of the other."""
    model = replace(model, precision="as-is")
    if capability in capabilities():
        facts = opened(model, inference_precision=hint).effective()
        assert facts.options["inference_precision"] == hint
        return
    with pytest.raises(UnsupportedError, match=f"inference_precision={hint} was asked for"):
        opened(model, inference_precision=hint)


def test_settings_are_read_back(model: ModelFile) -> None:
    chosen: dict[str, Any] = {
        "streams": 1,
        "performance_hint": "throughput",
        "execution_mode": "accuracy",
        "pinning": True,
    }
    facts = opened(model, threads=1, **chosen).effective()
    assert {name: facts.options[name] for name in chosen} == chosen
    assert facts.threads == 1
    assert facts.device == "cpu"


def test_a_missing_device_is_refused_with_what_is_there(model: ModelFile) -> None:
    missing = next(
        name
        for name in ("NPU", "GPU")
        if not any(found.startswith(name) for found in openvino.Core().available_devices)
    )
    with pytest.raises(UnsupportedError, match=f"no {missing} here, only.*CPU"):
        opened(model, device=missing)


def test_a_precompiled_model_answers_the_same(model: ModelFile) -> None:
    session = opened(model, precompiled=True)
    assert error(session) < 1e-5
    facts = session.effective()
    assert facts.options["precompiled"] is True
    assert facts.precision == "fp32"


def test_element_types_of_inputs_are_those_of_the_file(tmp_path: Path) -> None:
    facts = opened(embedding().write(tmp_path)).effective()
    assert [(i.name, i.dtype) for i in facts.inputs] == [("ids", "int64")]
    assert facts.precision == "fp32"  # no heavy layer: named by what does run


def test_a_refusal_gives_openvinos_own_reason(tmp_path: Path, model: ModelFile) -> None:
    model.path.write_bytes(model.path.read_bytes().replace(b"Relu", b"Frob"))
    with pytest.raises(UnsupportedError, match=r"(?s)OpenVINO refuses.*Frob"):
        opened(model)
