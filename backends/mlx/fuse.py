"""Neighbouring nodes that MLX has one primitive for, joined before the walk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np


def fused(graph: Any, constants: Mapping[str, Any]) -> list[Any]:
    """The graph's nodes, a product with constant weights and the bias after it made one `Gemm`.

    MLX's `addmm` takes any rank, so that the `Gemm` here may have more axes than ONNX allows.
    """
    uses = Counter(name for node in _all_nodes(graph) for name in node.input)
    uses.update(output.name for output in graph.output)
    nodes = list(graph.node)
    products = {
        node.output[0]: place
        for place, node in enumerate(nodes)
        if node.op_type == "MatMul"
        and not node.domain
        and uses[node.output[0]] == 1
        and _rank(constants, node.input[1]) == 2
        and node.input[0] not in constants
    }
    result: list[Any] = list(nodes)
    for place, node in enumerate(nodes):
        found = _product_and_bias(node, nodes, products, constants)
        if found is not None:
            before, bias = found
            result[place] = _gemm(nodes[before], bias, node)
            result[before] = None
    return [node for node in result if node is not None]


def _product_and_bias(
    node: Any, nodes: list[Any], products: Mapping[str, int], constants: Mapping[str, Any]
) -> tuple[int, str] | None:
    """The place of the product that this node adds a bias to, and the bias."""
    if node.op_type != "Add" or node.domain:
        return None
    for value, bias in (tuple(node.input), tuple(reversed(node.input))):
        place = products.get(value)
        if place is None or _rank(constants, bias) != 1:
            continue
        if constants[bias].shape[0] == constants[nodes[place].input[1]].shape[1]:
            return place, bias
    return None


def _gemm(product: Any, bias: str, add: Any) -> Any:
    import onnx

    inputs = [product.input[0], product.input[1], bias]
    name = product.name or add.name
    return onnx.helper.make_node("Gemm", inputs, list(add.output), name=name)


def _rank(constants: Mapping[str, Any], name: str) -> int:
    value = constants.get(name)
    return value.ndim if isinstance(value, np.ndarray) and value.dtype.kind == "f" else -1


def _all_nodes(graph: Any) -> Iterator[Any]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _all_nodes(attribute.g)
