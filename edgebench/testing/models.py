"""Small models with references in numpy, written by the contract kit itself.

Each model is an ONNX file that the oldest supported runtime loads, with fixed shapes, and weights
from a fixed seed. The references share no code with any runtime.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgebench.backend import ModelFile, TensorInfo
from edgebench.models.onnx_file import save_model

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import NodeProto

    Arrays = Mapping[str, NDArray[Any]]

_OPSET = 17
_IR = 8
_CHAIN_LENGTH = 4
_CHAIN_WIDTH = 512


@dataclass(frozen=True)
class Case:
    """A model, inputs for it by seed, and what it must answer."""

    name: str
    batch: int
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    nodes: tuple[NodeProto, ...]
    weights: Arrays
    reference: Callable[[Arrays], Arrays]
    essential: bool = True  # a backend that converts ONNX files may refuse the others

    def feeds(self, seed: int) -> dict[str, NDArray[Any]]:
        """Inputs that differ from seed to seed."""
        rng = np.random.default_rng((seed, len(self.name)))
        return {info.name: _sample(rng, info) for info in self.inputs}

    def write(self, folder: Path) -> ModelFile:
        """Writes the model as ONNX, in fp32."""
        from onnx import helper, numpy_helper

        graph = helper.make_graph(
            list(self.nodes),
            self.name,
            [_value(info) for info in self.inputs],
            [_value(info) for info in self.outputs],
            [numpy_helper.from_array(array, name) for name, array in self.weights.items()],
        )
        model = helper.make_model(
            graph, ir_version=_IR, opset_imports=[helper.make_opsetid("", _OPSET)]
        )
        path = folder / f"{self.name}-{self.batch}.onnx"
        save_model(model, path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return ModelFile(
            path,
            "onnx",
            digest,
            precision="fp32",
            batch=self.batch,
            inputs=tuple(info.name for info in self.inputs),
            outputs=tuple(info.name for info in self.outputs),
        )


def convolution(batch: int) -> Case:
    """An image classifier: convolution, ReLU, flatten, fully connected."""
    from onnx.helper import make_node

    rng = np.random.default_rng(1)
    weights = {
        "kernel": _normal(rng, 4, 3, 3, 3),
        "kernel_bias": _normal(rng, 4),
        "dense": _normal(rng, 5, 256),
        "dense_bias": _normal(rng, 5),
    }

    def reference(feeds: Arrays) -> Arrays:
        padded = np.pad(feeds["image"], ((0, 0), (0, 0), (1, 1), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
        features = np.einsum("bchwij,ocij->bohw", windows, weights["kernel"])
        features = np.maximum(features + weights["kernel_bias"].reshape(4, 1, 1), 0)
        flat = features.reshape(len(features), -1)
        return {"logits": flat @ weights["dense"].T + weights["dense_bias"]}

    return Case(
        "convolution",
        batch,
        (TensorInfo("image", "float32", (batch, 3, 8, 8)),),
        (TensorInfo("logits", "float32", (batch, 5)),),
        (
            make_node("Conv", ["image", "kernel", "kernel_bias"], ["a"], pads=[1, 1, 1, 1]),
            make_node("Relu", ["a"], ["b"]),
            make_node("Flatten", ["b"], ["c"]),
            make_node("Gemm", ["c", "dense", "dense_bias"], ["logits"], transB=1),
        ),
        weights,
        reference,
    )


def two_by_two() -> Case:
    """Two inputs and two outputs, neither in the order of their names, and neither symmetric."""
    from onnx.helper import make_node

    weights = {"mixer": _normal(np.random.default_rng(2), 4, 4)}

    def reference(feeds: Arrays) -> Arrays:
        return {
            "product": (feeds["left"] @ weights["mixer"]) * feeds["right"],
            "difference": feeds["left"] - feeds["right"],
        }

    return Case(
        "two-by-two",
        1,
        (TensorInfo("right", "float32", (1, 4)), TensorInfo("left", "float32", (1, 4))),
        (TensorInfo("product", "float32", (1, 4)), TensorInfo("difference", "float32", (1, 4))),
        (
            make_node("MatMul", ["left", "mixer"], ["mixed"]),
            make_node("Mul", ["mixed", "right"], ["product"]),
            make_node("Sub", ["left", "right"], ["difference"]),
        ),
        weights,
        reference,
    )


def embedding() -> Case:
    """Integer inputs: rows of a table."""
    from onnx.helper import make_node

    weights = {"table": _normal(np.random.default_rng(3), 32, 8)}
    return Case(
        "embedding",
        1,
        (TensorInfo("ids", "int64", (1, 6)),),
        (TensorInfo("vectors", "float32", (1, 6, 8)),),
        (make_node("Gather", ["table", "ids"], ["vectors"], axis=0),),
        weights,
        lambda feeds: {"vectors": weights["table"][feeds["ids"]]},
        essential=False,
    )


def scalar_input() -> Case:
    """An input without axes beside one with two."""
    from onnx.helper import make_node

    return Case(
        "scalar-input",
        1,
        (TensorInfo("x", "float32", (1, 16)), TensorInfo("gain", "float32", ())),
        (TensorInfo("y", "float32", (1, 16)),),
        (make_node("Mul", ["x", "gain"], ["scaled"]), make_node("Relu", ["scaled"], ["y"])),
        {},
        lambda feeds: {"y": np.maximum(feeds["x"] * feeds["gain"], 0)},
        essential=False,
    )


def twin_outputs() -> Case:
    """Two outputs that are one tensor."""
    from onnx.helper import make_node

    weights = {"mixer": _normal(np.random.default_rng(5), 16, 10)}

    def reference(feeds: Arrays) -> Arrays:
        product = feeds["x"] @ weights["mixer"]
        return {"y": product, "z": product}

    return Case(
        "twin-outputs",
        1,
        (TensorInfo("x", "float32", (1, 16)),),
        (TensorInfo("y", "float32", (1, 10)), TensorInfo("z", "float32", (1, 10))),
        (make_node("MatMul", ["x", "mixer"], ["y"]), make_node("Identity", ["y"], ["z"])),
        weights,
        reference,
        essential=False,
    )


def chain(rows: int) -> Case:
    """Four 512 x 512 matrix products with a ReLU after each: work in proportion to `rows`."""
    from onnx.helper import make_node

    rng = np.random.default_rng(4)
    layers = [f"layer{index}" for index in range(_CHAIN_LENGTH)]
    weights = {layer: _normal(rng, _CHAIN_WIDTH, _CHAIN_WIDTH) for layer in layers}
    nodes = []
    value = "x"
    for layer in layers:
        nodes.append(make_node("MatMul", [value, layer], [f"{layer}.product"]))
        value = "y" if layer == layers[-1] else f"{layer}.out"
        nodes.append(make_node("Relu", [f"{layer}.product"], [value]))

    def reference(feeds: Arrays) -> Arrays:
        x = feeds["x"]
        for layer in layers:
            x = np.maximum(x @ weights[layer], 0)
        return {"y": x}

    return Case(
        "chain",
        rows,
        (TensorInfo("x", "float32", (rows, _CHAIN_WIDTH)),),
        (TensorInfo("y", "float32", (rows, _CHAIN_WIDTH)),),
        tuple(nodes),
        weights,
        reference,
    )


def parity_cases() -> list[Case]:
    """The models whose answers are compared with numpy's."""
    return [
        *(convolution(1), convolution(4), two_by_two(), embedding(), chain(2)),
        *(scalar_input(), twin_outputs()),
    ]


def _normal(rng: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    """Weights scaled so that values keep their size from layer to layer."""
    fan_in = int(np.prod(shape[1:])) if len(shape) == 4 else shape[-1]
    scaled: NDArray[np.float32] = np.float32(np.sqrt(2 / fan_in)) * rng.standard_normal(
        shape, dtype=np.float32
    )
    return scaled


def _sample(rng: np.random.Generator, info: TensorInfo) -> NDArray[Any]:
    shape = info.sizes or ()
    if info.dtype == "int64":
        return rng.integers(0, 32, shape, dtype=np.int64)
    return np.asarray(rng.standard_normal(shape), info.dtype)


def _value(info: TensorInfo) -> Any:
    from onnx import helper

    element = helper.np_dtype_to_tensor_dtype(np.dtype(info.dtype))
    return helper.make_tensor_value_info(info.name, element, info.shape)
