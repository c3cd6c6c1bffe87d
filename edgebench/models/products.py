"""Matrix products with constant weights: which nodes are some, one form for all, and weights in blocks of few bits."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from edgebench.models.onnx_file import attribute, graph_nodes

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import GraphProto, ModelProto, NodeProto

#: Weights of one scale: so many inputs of an output.
BLOCK_SIZE = 32
#: MatMulNBits rounds activations to int8, block by block, and multiplies integers: its fastest kernels.
_INTEGER_LEVEL = 4
_DOMAIN = "com.microsoft"


def product_inputs(graph: GraphProto) -> dict[str, int]:
    """The nodes that are products with a constant matrix, with its number of inputs."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    found = {}
    for node in graph.node:
        shape = shapes.get(node.input[1], ()) if len(node.input) > 1 else ()
        if len(shape) == 2 and (node.op_type == "MatMul" or _is_plain(node)):
            found[node.name] = shape[1 if attribute(node, "transB") else 0]
    return found


def _is_plain(node: NodeProto) -> bool:
    """Whether a Gemm is a product and a sum, and nothing else."""
    plain = {"alpha": 1.0, "beta": 1.0, "transA": 0}
    return node.op_type == "Gemm" and all(attribute(node, n, v) == v for n, v in plain.items())


def split_gemms(model: ModelProto, names: Collection[str]) -> None:
    """Makes MatMul and Add of some Gemm nodes, in place: the quantizer's products at run time are MatMuls."""
    from onnx import helper

    nodes = []
    for node in model.graph.node:
        if node.op_type != "Gemm" or node.name not in names:
            nodes.append(node)
            continue
        weights = node.input[1]
        if attribute(node, "transB"):
            weights = _constant(model, f"{node.name}.weights", _values(model, weights).T)
        biased = len(node.input) > 2 and node.input[2]
        product = f"{node.output[0]}.product" if biased else node.output[0]
        nodes.append(helper.make_node("MatMul", [node.input[0], weights], [product], node.name))
        if biased:
            inputs = [product, node.input[2]]
            nodes.append(helper.make_node("Add", inputs, [node.output[0]], f"{node.name}.bias"))
    _replace_nodes(model, nodes)


def put_in_blocks(model: ModelProto, bits: Mapping[str, int]) -> None:
    """Gives some MatMul nodes weights of 4 or 8 bits with a scale for each block of inputs, in place."""
    from onnx import helper

    nodes = []
    for node in model.graph.node:
        if node.name not in bits:
            nodes.append(node)
            continue
        weights = _values(model, node.input[1])
        numbers, scales = blocks_of(weights, bits[node.name])
        inputs = [
            node.input[0],
            _constant(model, f"{node.name}.numbers", numbers),
            _constant(model, f"{node.name}.scales", scales),
        ]
        nodes.append(
            helper.make_node(
                "MatMulNBits",
                inputs,
                list(node.output),
                node.name,
                domain=_DOMAIN,
                K=weights.shape[0],
                N=weights.shape[1],
                bits=bits[node.name],
                block_size=BLOCK_SIZE,
                accuracy_level=_INTEGER_LEVEL,
            )
        )
    _replace_nodes(model, nodes)
    if all(opset.domain != _DOMAIN for opset in model.opset_import):
        model.opset_import.append(helper.make_opsetid(_DOMAIN, 1))


def blocks_of(weights: NDArray[Any], bits: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Weights (inputs, outputs) as MatMulNBits reads them: numbers (outputs, blocks, bytes), the first of two 4-bit
    ones in the low half, and scales (outputs, blocks). A block's largest weight becomes the number 0 exactly."""
    inputs, outputs = weights.shape
    blocks = weights.T.astype(np.float32).reshape(outputs, inputs // BLOCK_SIZE, BLOCK_SIZE)
    largest = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=-1)[..., None], axis=-1)
    middle = 1 << (bits - 1)
    scales = largest / np.float32(-middle)
    ratios = np.divide(blocks, scales, out=np.zeros_like(blocks), where=scales != 0)
    numbers = np.clip(np.round(ratios) + middle, 0, 2 * middle - 1).astype(np.uint8)
    if bits == 4:
        numbers = numbers[..., 0::2] | (numbers[..., 1::2] << 4)
    return np.ascontiguousarray(numbers), np.ascontiguousarray(scales[..., 0])


def _values(model: ModelProto, name: str) -> NDArray[Any]:
    from onnx import numpy_helper

    tensor = next(each for each in model.graph.initializer if each.name == name)
    return numpy_helper.to_array(tensor)


def _constant(model: ModelProto, name: str, values: NDArray[Any]) -> str:
    from onnx import numpy_helper

    model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
    return name


def _replace_nodes(model: ModelProto, nodes: list[NodeProto]) -> None:
    """Also drops the constants that nothing reads any more."""
    graph = model.graph
    copies = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)
    read = {name for node in graph_nodes(graph) for name in node.input}
    read |= {value.name for value in graph.output}
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    if len(kept) < len(graph.initializer):
        copied = [type(tensor).FromString(tensor.SerializeToString()) for tensor in kept]
        del graph.initializer[:]
        graph.initializer.extend(copied)
