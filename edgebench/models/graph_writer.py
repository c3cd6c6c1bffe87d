"""Writes an ONNX graph from the weights of a framework's file: nodes and constants by the names of their values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgebench.errors import EdgebenchError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto


class GraphWriter:
    """Collects nodes and constants; a method that adds a value returns its name."""

    network: str  # whose weights these are

    def __init__(self, weights: Mapping[str, NDArray[Any]]) -> None:
        self._weights = weights
        self._nodes: list[NodeProto] = []
        self._constants: dict[str, TensorProto] = {}

    def weight(self, name: str) -> NDArray[Any]:
        """Raises EdgebenchError where the file has none of that name."""
        try:
            return self._weights[name]
        except KeyError:
            raise EdgebenchError(
                f"these are not {self.network}'s weights: {name} is missing"
            ) from None

    def constant(self, name: str, value: ArrayLike) -> str:
        """A constant, once for each name: whole numbers as int64, others as float32."""
        from onnx import numpy_helper

        array = np.asarray(value)
        if array.dtype != np.int64:
            array = array.astype(np.float32)
        if name not in self._constants:
            self._constants[name] = numpy_helper.from_array(array, name)
        return name

    def node(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        from onnx import helper

        self._nodes.append(helper.make_node(operator, inputs, [output], output, **attributes))
        return output

    def model(
        self, name: str, inputs: Sequence[ValueInfoProto], output: ValueInfoProto, opset: int
    ) -> ModelProto:
        from onnx import helper

        graph = helper.make_graph(
            self._nodes, name, inputs, [output], list(self._constants.values())
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
