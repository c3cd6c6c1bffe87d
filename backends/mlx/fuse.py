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
    products = {
        node.output[0]: node
        for node in graph.node
        if node.op_type == "MatMul"
        and not node.domain
        and uses[node.output[0]] == 1
        and _rank(constants, node.input[1]) == 2
        and node.input[0] not in constants
    }
    replaced: dict[int, Any] = {}
    gone: set[int] = set()
    for node in graph.node:
        found = _product_and_bias(node, products, constants)
        if found is not None:
            product, bias = found
            replaced[id(node)] = _gemm(product, bias, node)
            gone.add(id(product))
    return [replaced.get(id(node), node) for node in graph.node if id(node) not in gone]


def _product_and_bias(
    node: Any, products: Mapping[str, Any], constants: Mapping[str, Any]
) -> tuple[Any, str] | None:
    if node.op_type != "Add" or node.domain:
        return None
    for value, bias in (tuple(node.input), tuple(reversed(node.input))):
        product = products.get(value)
        if product is None or _rank(constants, bias) != 1:
            continue
        if constants[bias].shape[0] == constants[product.input[1]].shape[1]:
            return product, bias
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
