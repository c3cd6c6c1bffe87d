"""Which whole numbers the inputs of a .tflite file may be: its graph in ONNX's words, as `input_ranges` reads them.

Only what that needs of a graph is written down: operators that read places, sizes and counts, or that leave
values as they are, and the shapes of tensors. LiteRT's package holds the schema; without it nothing is known.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

    from edgebench.task import InputRange

_Answer = TypeVar("_Answer")

#: LiteRT's operator -> ONNX's, and which of its inputs stand where ONNX has them.
_SAME: Mapping[str, tuple[str, tuple[int, ...]]] = {
    "GATHER": ("Gather", (0, 1)),
    "GATHER_ND": ("GatherND", (0, 1)),
    "EMBEDDING_LOOKUP": ("Gather", (1, 0)),
    "ONE_HOT": ("OneHot", (0, 1)),
    "TOPK_V2": ("TopK", (0, 1)),
    "RESHAPE": ("Reshape", (0, 1)),
    "BROADCAST_TO": ("Expand", (0, 1)),
    "TILE": ("Tile", (0, 1)),
    "FILL": ("ConstantOfShape", (0,)),
    "RANGE": ("Range", (0, 1, 2)),
    "DIV": ("Div", (0, 1)),
    "FLOOR_DIV": ("Div", (0, 1)),
    "FLOOR_MOD": ("Mod", (0, 1)),
    "EQUAL": ("Equal", (0, 1)),
    "ADD": ("Add", (0, 1)),
    "SUB": ("Sub", (0, 1)),
    "MAXIMUM": ("Max", (0, 1)),
    "MINIMUM": ("Min", (0, 1)),
    "SELECT_V2": ("Where", (0, 1, 2)),
    "SELECT": ("Where", (0, 1, 2)),
    "CAST": ("Cast", (0,)),
    "EXPAND_DIMS": ("Unsqueeze", (0,)),
    "SQUEEZE": ("Squeeze", (0,)),
    "TRANSPOSE": ("Transpose", (0,)),
    "SLICE": ("Slice", (0,)),
    "STRIDED_SLICE": ("Slice", (0,)),
}
_JOINED = ("CONCATENATION", "PACK")
#: Constants of more bytes than this are no number, size or shape.
_MAX_BYTES = 512
#: What flatbuffers raise over a file that is damaged.
_DAMAGE = (struct.error, AttributeError, IndexError, TypeError, ValueError, OSError)


def input_ranges(path: Path) -> dict[str, InputRange]:
    """Input -> the numbers it may be, under the name that a session gives it."""
    from edgebench.models import input_ranges as of_onnx

    return _asked(path, lambda graph: of_onnx.input_ranges(graph.in_onnx())) or {}


def input_names(path: Path) -> list[str]:
    """Inputs under the names that a session gives them; none where they are not known."""
    return _asked(path, lambda graph: graph.input_names()) or []


def _asked(path: Path, ask: Callable[[_Graph], _Answer]) -> _Answer | None:
    """None without the schema, and for a damaged file: the runtime tells how."""
    try:
        from ai_edge_litert import schema_py_generated as schema
    except ImportError:
        return None
    try:
        return ask(_Graph(schema, path.read_bytes()))
    except _DAMAGE:
        return None


class _Graph:
    """The first graph of a file."""

    def __init__(self, schema: Any, content: bytes) -> None:
        self._schema = schema
        self._model = schema.Model.GetRootAs(content, 0)
        self._graph = self._model.Subgraphs(0)
        self._operators = {
            number: name
            for name, number in vars(schema.BuiltinOperator).items()
            if isinstance(number, int)
        }

    def in_onnx(self) -> ModelProto:
        from onnx import helper

        tensors = range(self._graph.TensorsLength())
        inputs = self._inputs()
        names = self._input_names(inputs)
        nodes = [
            node
            for n in range(self._graph.OperatorsLength())
            for node in self._node(self._graph.Operators(n), names)
        ]
        constants = {
            n: constant for n in tensors if (constant := self._constant(n, names)) is not None
        }
        known = [self._value(n, names) for n in tensors if n not in constants and n not in inputs]
        graph = helper.make_graph(
            nodes,
            "g",
            [self._value(n, names) for n in inputs],
            [],
            list(constants.values()),
            value_info=known,
        )
        return helper.make_model(graph)

    def input_names(self) -> list[str]:
        return list(self._input_names(self._inputs()).values())

    def _inputs(self) -> list[int]:
        return [int(self._graph.Inputs(n)) for n in range(self._graph.InputsLength())]

    def _input_names(self, inputs: list[int]) -> dict[int, str]:
        from edgebench.backend import TensorInfo, named_by_place

        own = [TensorInfo((self._tensor(n).Name() or b"").decode(), "", ()) for n in inputs]
        named = named_by_place(own, (), "input")
        return {number: info.name for number, info in zip(inputs, named, strict=True)}

    def _tensor(self, number: int) -> Any:
        return self._graph.Tensors(number)

    def _shape(self, number: int) -> list[int]:
        tensor = self._tensor(number)
        if tensor.ShapeSignatureLength():
            return [int(tensor.ShapeSignature(n)) for n in range(tensor.ShapeSignatureLength())]
        return [int(tensor.Shape(n)) for n in range(tensor.ShapeLength())]

    def _value(self, number: int, names: Mapping[int, str]) -> Any:
        from onnx import TensorProto, helper

        sizes = [size if size >= 0 else None for size in self._shape(number)]
        return helper.make_tensor_value_info(_name(number, names), TensorProto.INT64, sizes)

    def _constant(self, number: int, names: Mapping[int, str]) -> Any:
        """A tensor whose content the file holds; of large ones the shape alone."""
        import numpy as np
        from onnx import TensorProto, numpy_helper

        tensor, kinds = self._tensor(number), self._schema.TensorType
        buffer = self._model.Buffers(tensor.Buffer())
        size = buffer.DataLength() or buffer.Size()
        if not size:
            return None
        kind = {kinds.INT32: "<i4", kinds.INT64: "<i8", kinds.FLOAT32: "<f4"}.get(tensor.Type())
        shape = self._shape(number)
        if kind and buffer.DataLength() in range(1, _MAX_BYTES + 1):
            values = np.frombuffer(buffer.DataAsNumpy().tobytes(), kind).reshape(shape)
            made = numpy_helper.from_array(values, _name(number, names))
        else:
            made = TensorProto(name=_name(number, names), dims=shape, data_type=TensorProto.INT8)
            made.external_data.add(key="location", value="not read")
        return made

    def _node(self, operator: Any, names: Mapping[int, str]) -> Iterator[NodeProto]:
        from onnx import helper

        code = self._model.OperatorCodes(operator.OpcodeIndex())
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        kind = self._operators.get(number, "")
        read = [int(operator.Inputs(n)) for n in range(operator.InputsLength())]
        if kind in _JOINED:
            same: tuple[str, tuple[int, ...]] | None = ("Concat", tuple(range(len(read))))
        else:
            same = _SAME.get(kind)
        if same is None or len(read) < len(same[1]):
            return
        name, places = same
        attributes: dict[str, Any] = {"axis": self._axis(operator)} if kind == "GATHER" else {}
        yield helper.make_node(
            name,
            [_name(read[place], names) for place in places],
            [_name(int(operator.Outputs(n)), names) for n in range(operator.OutputsLength())],
            **attributes,
        )

    def _axis(self, operator: Any) -> int:
        options = operator.BuiltinOptions()
        if options is None:
            return 0
        gather = self._schema.GatherOptions()
        gather.Init(options.Bytes, options.Pos)
        return int(gather.Axis())


def _name(number: int, names: Mapping[int, str]) -> str:
    return names.get(number, f"tensor {number}")
