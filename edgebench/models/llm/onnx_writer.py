"""Writes an ONNX graph node by node, its weights straight to a file beside it.

No weight is held twice, and no graph meets protobuf's limit of 2 GiB.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, final

import numpy as np

from edgebench.files.atomic_write import replacing

if TYPE_CHECKING:
    from numpy.typing import NDArray

OPSET = 18  # what the oldest ONNX Runtime that edgebench supports loads, and TensorRT 10
IR_VERSION = 10
_INLINE_BYTES = 1024
_ALIGNMENT = 4096  # runtimes map weights into memory by pages


@final
class OnnxWriter:
    """A graph in the making. Use as a context: on leaving without an error, the file is written."""

    def __init__(self, path: Path, contrib: bool) -> None:
        self.path = path
        self.weights_path = path.with_suffix(".data")
        self._contrib = contrib
        self._nodes: list[Any] = []
        self._constants: dict[str, Any] = {}
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._count = 0
        self.metadata: dict[str, str] = {}

    def __enter__(self) -> OnnxWriter:
        self._weights = replacing(self.weights_path)
        self._file = self._weights.__enter__().open("wb")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        self._weights.__exit__(kind, error, trace)
        if kind is None:  # the graph comes last: where it is, the weights are whole
            with replacing(self.path) as partial:
                partial.write_bytes(self._model().SerializeToString())

    def input(self, name: str, dtype: str, shape: Sequence[int | str]) -> str:
        self._inputs.append(_value(name, dtype, shape))
        return name

    def output(self, name: str, dtype: str, shape: Sequence[int | str]) -> None:
        self._outputs.append(_value(name, dtype, shape))

    def constant(self, name: str, array: NDArray[Any]) -> str:
        """A weight, once for each name."""
        if name not in self._constants:
            self._constants[name] = self._tensor(name, np.ascontiguousarray(array))
        return name

    def numbers(self, *values: int) -> str:
        """A small constant of whole numbers (shapes, axes)."""
        return self.constant("n_" + "_".join(map(str, values)), np.array(values, np.int64))

    def scalar(self, value: float, dtype: str = "float32") -> str:
        return self.constant(f"f_{value!r}_{dtype}", np.array(value, dtype))

    def node(
        self,
        kind: str,
        inputs: Sequence[str],
        outputs: Sequence[str] | None = None,
        *,
        domain: str = "",
        **attributes: Any,
    ) -> str:
        """Adds a node and returns its first output. An unnamed output gets a name of its own."""
        from onnx import helper

        if outputs is None:
            self._count += 1
            outputs = [f"v{self._count}"]
        name = f"{kind}_{len(self._nodes)}"
        self._nodes.append(
            helper.make_node(kind, list(inputs), list(outputs), name, domain=domain, **attributes)
        )
        return outputs[0]

    def contrib(
        self,
        kind: str,
        inputs: Sequence[str],
        outputs: Sequence[str] | None = None,
        **attributes: Any,
    ) -> str:
        """An operator of ONNX Runtime's own."""
        assert self._contrib, f"{kind} in a graph of standard operators"
        return self.node(kind, inputs, outputs, domain="com.microsoft", **attributes)

    def has(self, kind: str) -> bool:
        return any(node.op_type == kind for node in self._nodes)

    def _tensor(self, name: str, array: NDArray[Any]) -> Any:
        from onnx import TensorProto, helper, numpy_helper

        if array.nbytes <= _INLINE_BYTES:
            return numpy_helper.from_array(array, name)
        self._file.write(b"\0" * (-self._file.tell() % _ALIGNMENT))
        offset = self._file.tell()
        array.tofile(self._file)
        tensor = TensorProto(
            name=name,
            dims=array.shape,
            data_type=helper.np_dtype_to_tensor_dtype(array.dtype),
            data_location=TensorProto.EXTERNAL,
        )
        place = {
            "location": self.weights_path.name,
            "offset": str(offset),
            "length": str(array.nbytes),
        }
        for key, value in place.items():
            tensor.external_data.add(key=key, value=value)
        return tensor

    def _model(self) -> Any:
        from onnx import helper

        graph = helper.make_graph(
            self._nodes, "decoder", self._inputs, self._outputs, list(self._constants.values())
        )
        opsets = [helper.make_opsetid("", OPSET)]
        if self._contrib:
            opsets.append(helper.make_opsetid("com.microsoft", 1))
        model = helper.make_model(
            graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="edgebench"
        )
        helper.set_model_props(model, self.metadata)
        return model


def _value(name: str, dtype: str, shape: Sequence[int | str]) -> Any:
    from onnx import helper

    element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return helper.make_tensor_value_info(name, element, list(shape))
