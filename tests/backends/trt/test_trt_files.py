"""What the TensorRT backend writes (fp16, symmetric Q/DQ) and reads (the inspector's JSON)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgebench.backends.trt import rewrite
from edgebench.backends.trt.layers import Layers, read_layers
from edgebench.errors import UnsupportedError
from edgebench.models.onnx_file import load_model, precision_census, save_model
from edgebench.testing.models import convolution


def q_dq(scale: float, zero: int, op: str | None = None, dtype: Any = np.uint8) -> Any:
    """x [4] -> (op ->) QuantizeLinear -> DequantizeLinear -> y."""
    from onnx import TensorProto, helper, numpy_helper

    nodes = [] if op is None else [helper.make_node(op, ["x"], ["a"])]
    value = "x" if op is None else "a"
    nodes += [
        helper.make_node("QuantizeLinear", [value, "s", "z"], ["q"], name="quantise"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], name="dequantise"),
    ]
    constants = [
        numpy_helper.from_array(np.array(scale, np.float32), "s"),
        numpy_helper.from_array(np.array(zero, dtype), "z"),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "q_dq", ends[:1], ends[1:], constants)
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


def run(model: Any, x: Any) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"x": np.array(x, np.float32)})[0]


def constants_of(model: Any) -> dict[str, Any]:
    from onnx import numpy_helper

    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


@given(st.floats(2**-10, 8, width=32), st.integers(0, 255), st.floats(0, 1))
def test_symmetric_ranges_hold_the_unsigned_ones(scale: float, zero: int, share: float) -> None:
    low, high = -zero * scale, (255 - zero) * scale
    value = low + share * (high - low)
    written = rewrite.to_symmetric(q_dq(scale, zero))
    found = constants_of(written)
    assert found["z"].dtype == np.int8
    assert not found["z"].any()
    step = float(found["s"])
    assert step == pytest.approx(max(-low, high) / 127, rel=1e-5)
    # Half a step of rounding, as everywhere; nothing is cut.
    assert abs(float(run(written, [value] * 4)[0]) - value) <= step * 0.501 + 1e-6


def test_the_relu_that_an_unsigned_range_did_comes_back() -> None:
    x = [-3.0, -0.5, 0.5, 2.0]
    model = q_dq(0.01, 0)
    before = run(model, x)
    written = rewrite.to_symmetric(model)
    assert written.graph.node[0].op_type == "Relu"
    np.testing.assert_allclose(run(written, x), before, atol=0.02)
    assert run(written, x).min() == 0


@pytest.mark.parametrize("op", ["Relu", "Sigmoid"])
def test_no_relu_is_added_where_nothing_is_negative(op: str) -> None:
    written = rewrite.to_symmetric(q_dq(0.01, 0, op))
    assert written.graph.node[0].op_type == op
    assert len(written.graph.node) == 3


def test_scales_that_share_a_zero_point_all_grow() -> None:
    from onnx import helper, numpy_helper

    model = q_dq(0.02, 0)
    graph = model.graph
    del graph.output[:]
    graph.node.append(helper.make_node("QuantizeLinear", ["y", "s2", "z"], ["q2"], name="again"))
    graph.node.append(helper.make_node("DequantizeLinear", ["q2", "s2", "z"], ["end"], name="end"))
    graph.initializer.append(numpy_helper.from_array(np.array(0.01, np.float32), "s2"))
    graph.output.append(helper.make_tensor_value_info("end", 1, [4]))
    x = [0.5, 1.5, 2.0, 2.5]
    before = run(model, x)
    np.testing.assert_allclose(run(rewrite.to_symmetric(model), x), before, atol=0.05)


def test_a_range_below_zero_needs_no_relu() -> None:
    assert len(rewrite.to_symmetric(q_dq(0.01, 128)).graph.node) == 2


def test_other_quantisations_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="a zero point of 0 only"):
        rewrite.to_symmetric(q_dq(0.01, 5, dtype=np.int8))
    with pytest.raises(UnsupportedError, match="no quantisation to uint16"):
        rewrite.to_symmetric(q_dq(0.01, 5, dtype=np.uint16))


def test_biases_in_int32_become_floats() -> None:
    from onnx import TensorProto, helper, numpy_helper

    nodes = [helper.make_node("DequantizeLinear", ["b", "s"], ["y"], name="bias")]
    constants = [
        numpy_helper.from_array(np.array([3, -4], np.int32), "b"),
        numpy_helper.from_array(np.array(0.5, np.float32), "s"),
    ]
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])
    written = rewrite.to_symmetric(
        helper.make_model(helper.make_graph(nodes, "bias", [], [out], constants))
    )
    assert list(constants_of(written)["y"]) == [1.5, -2.0]
    assert not written.graph.node


def test_fp16_is_in_the_weights_and_not_in_the_ends(tmp_path: Path) -> None:
    from onnx import TensorProto

    source = load_model(convolution(1).write(tmp_path).path)
    written = rewrite.to_fp16(source)
    save_model(written, tmp_path / "half.onnx")  # checks it: order included
    nodes, weights = precision_census(load_model(tmp_path / "half.onnx"))
    assert nodes.get("fp32", 0) == 0
    assert weights.get("float32", 0) == 0
    assert written.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT
    assert written.graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT


# --- the inspector's text -----------------------------------------------------------------------


def layer(kind: str, element: str, *, apart: bool = False, **more: Any) -> dict[str, Any]:
    """A layer as TensorRT 10 writes it, or, apart, as 11 does."""
    tensor = (
        {"Name": "t", "DataType": element, "Format": "kLINEAR"}
        if apart
        else {"Name": "t", "Format/Datatype": element}
    )
    return {"Name": "layer", "LayerType": kind, "Inputs": [tensor], "Outputs": [tensor], **more}


def read(*layers: Any) -> Layers:
    return read_layers(json.dumps({"Layers": list(layers), "Bindings": []}))


@pytest.mark.parametrize(
    ("found", "precision"),
    [
        (layer("CaskConvolution", "Row major linear FP32"), "fp32"),
        (layer("CaskConvolution", "Channel major FP16 format where channel % 4 == 0"), "fp16"),
        (layer("CaskConvolution", "Thirty-two wide channel vectorized row major Int8"), "int8"),
        (layer("gemm", "BFloat16"), "bf16"),
        (layer("gemm", "Half", apart=True), "fp16"),
        (layer("gemm", "Float", apart=True), "fp32"),
        (layer("gemm", "Float", TacticName="sm80_xmma_gemm_f32f32_tf32f32_f32_nn"), "tf32"),
        # Casts fused into the kernel: what goes in and out is wider than what is multiplied.
        (layer("CaskConvolution", "Float", Weights={"Type": "Half", "Count": 9}), "fp16"),
        (layer("kgen", "Half", Name="__myl_CastMatMulAdd_myl0_3"), "fp16"),
        (layer("Myelin", "Float", Name="{ForeignNode[/encoder/MatMul.../Add]}"), "unknown"),
        (layer("MatrixMultiply", "a type of tomorrow"), "unknown"),
    ],
)
def test_precision_of_a_layer_is_read_from_the_engine(
    found: dict[str, Any], precision: str
) -> None:
    layers = read(found)
    assert layers.compute == {precision: 1}
    assert layers.precision == (None if precision == "unknown" else precision)


def test_layers_that_only_move_data_do_not_count() -> None:
    layers = read(
        layer("Reformat", "Half"),
        layer("Shuffle", "Float"),
        layer("PointWise", "Float", Name="/conv1/Relu"),  # named after a layer it is not
        layer("CaskConvolution", "Half"),
    )
    assert (layers.total, layers.compute, layers.reformats) == (4, {"fp16": 1}, 2)
    assert layers.precision == "fp16"


def test_different_layers_are_mixed_and_named() -> None:
    layers = read(layer("gemm", "Half", Name="a"), layer("gemm", "Float", Name="b"))
    assert layers.precision == "mixed"
    assert layers.names == {"fp16": ["a"], "fp32": ["b"]}


def test_without_heavy_layers_all_arithmetic_counts() -> None:
    assert read(layer("PointWise", "Float"), layer("Reformat", "Half")).precision == "fp32"


def test_names_alone_tell_no_precision() -> None:
    layers = read("conv + relu", "gemm")
    assert (layers.total, layers.detailed, layers.precision) == (2, False, None)
