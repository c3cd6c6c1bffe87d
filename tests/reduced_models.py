"""A small network in fp32 and in every reduced precision a file may be in itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from edgebench.models import quantize

onnx: Any = pytest.importorskip("onnx")
TensorProto, helper, numpy_helper = onnx.TensorProto, onnx.helper, onnx.numpy_helper

WIDTH, LAYERS = 64, 6


def weights(seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    size = np.sqrt(2 / WIDTH)
    return {
        f"w{layer}": (size * rng.standard_normal((WIDTH, WIDTH))).astype(np.float32)
        for layer in range(LAYERS)
    }


def network(given: Mapping[str, Any], kind: int = 1) -> Any:
    """x -> LAYERS times a matrix product and a ReLU, the last without -> y, and the label of y."""
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    nodes, value = [], "x"
    for layer in range(LAYERS):
        nodes.append(helper.make_node("MatMul", [value, f"w{layer}"], [f"m{layer}"]))
        value = f"r{layer}"
        nodes.append(helper.make_node("Relu", [f"m{layer}"], [value]))
    nodes[-1] = helper.make_node("Identity", [f"m{LAYERS - 1}"], ["y"])
    nodes.append(helper.make_node("ArgMax", ["y"], ["label"], axis=1))
    return build(nodes, {n: w.astype(dtype) for n, w in given.items()}, kind)


def build(nodes: list[Any], given: Mapping[str, Any], kind: int = 1) -> Any:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, (1, WIDTH))],
        [
            helper.make_tensor_value_info("y", kind, (1, WIDTH)),
            helper.make_tensor_value_info("label", TensorProto.INT64, (1, 1)),
        ],
        [numpy_helper.from_array(array, name) for name, array in given.items()],
    )
    domains = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, ir_version=8, opset_imports=domains)


def fp16(given: Mapping[str, Any]) -> Any:
    return network(given, TensorProto.FLOAT16)


def int8(given: Mapping[str, Any]) -> Any:
    """QDQ, as quantizers write it; calibrated on what the reference is fed, whatever the weights."""
    rng = np.random.default_rng(7)
    feeds = ({"x": rng.standard_normal((1, WIDTH)).astype(np.float32)} for _ in range(16))
    return quantize.quantize_static(network(given), feeds, 1)


def dynamic(given: Mapping[str, Any]) -> Any:
    return quantize.quantize_dynamic(network(given))


def int4(given: Mapping[str, Any]) -> Any:
    """Blocks of 32 weights with a scale each, and activations in 8 bits."""
    nodes, packed, value = [], {}, "x"
    for layer in range(LAYERS):
        blocks = given[f"w{layer}"].T.reshape(WIDTH, -1, 32)
        scales = np.abs(blocks).max(axis=2, keepdims=True) / 7 + 1e-9
        numbers = (np.clip(np.round(blocks / scales), -8, 7) + 8).astype(np.uint8)
        packed[f"q{layer}"] = numbers[..., 0::2] | (numbers[..., 1::2] << 4)
        packed[f"s{layer}"] = scales.reshape(WIDTH, -1).astype(np.float32)
        inputs, made = [value, f"q{layer}", f"s{layer}"], f"m{layer}"
        nodes.append(
            helper.make_node(
                "MatMulNBits", inputs, [made], domain="com.microsoft", K=WIDTH, N=WIDTH, bits=4,
                block_size=32, accuracy_level=4,
            )
        )  # fmt: skip
        value = f"r{layer}"
        nodes.append(helper.make_node("Relu", [made], [value]))
    nodes[-1] = helper.make_node("Identity", [f"m{LAYERS - 1}"], ["y"])
    nodes.append(helper.make_node("ArgMax", ["y"], ["label"], axis=1))
    return build(nodes, packed)


def int8_weights(given: Mapping[str, Any]) -> Any:
    """QDQ by the runtime's own operators: activations in 16 bits, weights in 8, which a kernel may well read
    with activations in 8."""
    nodes, value = [], "x"
    held: dict[str, Any] = {"step": np.float32(16 / 65535), "middle": np.uint16(32768)}
    for layer in range(LAYERS):
        scale = np.float32(np.abs(given[f"w{layer}"]).max() / 127)
        held[f"q{layer}"] = np.round(given[f"w{layer}"] / scale).astype(np.int8)
        held |= {f"s{layer}": scale, f"z{layer}": np.int8(0)}
        for op_type, inputs, made in (
            ("QuantizeLinear", [value, "step", "middle"], f"a{layer}"),
            ("DequantizeLinear", [f"a{layer}", "step", "middle"], f"b{layer}"),
            ("DequantizeLinear", [f"q{layer}", f"s{layer}", f"z{layer}"], f"w{layer}"),
        ):
            nodes.append(helper.make_node(op_type, inputs, [made], domain="com.microsoft"))
        nodes.append(helper.make_node("MatMul", [f"b{layer}", f"w{layer}"], [f"m{layer}"]))
        value = f"r{layer}"
        nodes.append(helper.make_node("Relu", [f"m{layer}"], [value]))
    nodes[-1] = helper.make_node("Identity", [f"m{LAYERS - 1}"], ["y"])
    nodes.append(helper.make_node("ArgMax", ["y"], ["label"], axis=1))
    return build(nodes, {name: np.asarray(array) for name, array in held.items()})


KINDS: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "fp16": fp16, "int8": int8, "int8 dynamic": dynamic, "int4": int4,
    "int16+int8": int8_weights,
}  # fmt: skip


def cancelling(given: Mapping[str, Any]) -> Any:
    """In fp32, and all but a little of the last layer's answer is taken off again: what is left shows how
    runtimes round. ONNX Runtime folds the factor into the weights where it optimises."""
    factor, kept = np.float32(1.7), 3e-5
    last = (given["w0"] * factor * (1 + kept)).astype(np.float32)
    made = {
        "first": given["w0"].reshape(WIDTH, WIDTH, 1),
        "last": last.reshape(WIDTH, WIDTH, 1),
        "factor": np.full((1, WIDTH, 1), factor),
        "axes": np.array([2]),
    }
    nodes = [
        helper.make_node("Unsqueeze", ["x", "axes"], ["wide"]),
        helper.make_node("Conv", ["wide", "first"], ["plain"]),
        helper.make_node("Mul", ["plain", "factor"], ["whole"]),
        helper.make_node("Conv", ["wide", "last"], ["most"]),
        helper.make_node("Sub", ["most", "whole"], ["left"]),
        helper.make_node("Squeeze", ["left", "axes"], ["y"]),
        helper.make_node("ArgMax", ["y"], ["label"], axis=1),
    ]
    return build(nodes, made)
