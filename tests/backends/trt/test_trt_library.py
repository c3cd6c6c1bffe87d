"""Which TensorRT is used, and what a builder's own words say of an engine that nothing can load here."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from edgebench import registry
from edgebench.backend import Ready
from edgebench.backends.trt import build_engine, library
from edgebench.backends.trt.layers import read_layer_lines
from edgebench.errors import UnsupportedError
from edgebench.planning import cells

RTX = ("tensorrt-rtx-cu13-bindings", "tensorrt-rtx-cu13-libs")
#: Lines of TensorRT for RTX 1.7.1, shapes and strides included.
TEXT = """\
Name: __myl_Move_myl0_0, LayerType: kgen, Inputs: [ { Name: image, Dimensions: [1,3,8,8], Strides: [1,8], Datatype: Float }], \
Constants: [], Outputs: [ { Name: b.1_2_myl0, Dimensions: [1,3,8,8], Datatype: Half, Format: (NHWC) }], \
TacticName: __myl_Move_0x195e, StreamId: 0, Metadata:
Name: node_of_a_myl0_1, LayerType: correlation, Inputs: [ { Name: b.1_2_myl0, Dimensions: [1,3,8,8], Datatype: Half }], \
Constants: [ { Name: w, Dimensions: [4,3,3,3], Datatype: Half, Format: (NHWC) }], Outputs: [ { Name: c, Datatype: Half }], \
TacticName: __myelin_CASK_STUB, StreamId: 0, Metadata: [ONNX Layer: node_of_a]
Name: scalar, LayerType: kgen, Inputs: [ { Name: s, Dimensions: [], Datatype: Int64 }], Constants: [], \
Outputs: [ { Name: t, Dimensions: [], Datatype: Int64 }], TacticName: __myl_Add, StreamId: 0, Metadata: [ONNX Layer: add]

I/O Tensors:
"""
LINES = TEXT.splitlines()


def installed(monkeypatch: pytest.MonkeyPatch, **versions: str) -> None:
    """Distributions by name, "-" written as "_"; no module `tensorrt` beside them."""
    found = {name.replace("_", "-"): version for name, version in versions.items()}
    monkeypatch.setattr(
        library,
        "installed_version",
        lambda *names: next((found[n] for n in names if n in found), None),
    )
    monkeypatch.setattr(library, "_stated_version", lambda: None)


def test_tensorrt_goes_before_its_flavour_for_rtx(monkeypatch: pytest.MonkeyPatch) -> None:
    rtx = dict.fromkeys((name.replace("-", "_") for name in RTX), "1.7.1")
    installed(monkeypatch, **rtx)
    assert library.find() == library.Library("tensorrt_rtx_bindings", "1.7.1", rtx=True)
    installed(monkeypatch, tensorrt="11.4.1", **rtx)
    assert library.find() == library.Library("tensorrt", "11.4.1", rtx=False)


def test_bindings_without_their_libraries_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, tensorrt_rtx_cu13_bindings="1.7.1")
    assert library.find() is None


def test_a_module_that_is_loaded_tells_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("tensorrt")
    module.__version__ = "10.13.0"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    monkeypatch.setattr(library, "installed_version", lambda *names: None)
    assert library.find() == library.Library("tensorrt", "10.13.0", rtx=False)


def test_builder_and_gpu_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, **dict.fromkeys((name.replace("-", "_") for name in RTX), "1.7.1"))
    monkeypatch.setattr(
        "edgebench.backends.trt.driver.problem",
        lambda jetson: ("there is no NVIDIA driver", "install it"),
    )
    state = registry.load("trt").availability()
    assert state == Ready(
        "for RTX 1.7.1",
        "builds engines (--set compute_capability=...); they cannot run here: there is no NVIDIA driver",
        "install it",
        builds_only=True,
    )
    assert not cells._runs(registry.load("trt"))


def test_a_builder_for_the_gpu_at_hand_takes_no_other() -> None:
    with pytest.raises(UnsupportedError, match="builds for the GPU that is here, and for no other"):
        build_engine._refuse_combinations("11.4.1", "fp32", {"compute_capability": 86})
    with pytest.raises(
        UnsupportedError, match=r"TensorRT for RTX 1\.7\.1 has strongly typed networks only"
    ):
        build_engine._refuse_combinations("1.7.1", "fp32", {"typing": "weak"}, rtx=True)


def test_a_builders_lines_tell_layers_and_what_they_compute_in() -> None:
    found = read_layer_lines(LINES)
    assert (found.total, found.compute, found.names) == (
        3,
        {"fp16": 1},
        {"fp16": ["node_of_a_myl0_1 [ONNX Layer: node_of_a]"]},
    )
    assert read_layer_lines(["nothing of the kind"]).total == 0


def test_what_was_built_is_told_in_words() -> None:
    facts = build_engine.Facts(
        tensorrt="for RTX 1.7.1", driver="", gpu="compute capability 8.6, ahead of time", options={},
        layers_on_gpu=98, engine_layers=50, engine_precisions={"fp32": 49}, size_bytes=18 << 20,
    )  # fmt: skip
    assert facts.in_words() == (
        "for compute capability 8.6, ahead of time; 18.0 MiB; 98 layers in the network; "
        "50 in the engine, compute-heavy: 49 in fp32"
    )
