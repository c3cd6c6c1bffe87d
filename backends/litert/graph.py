"""Writes .tflite files with the schema that comes with ai-edge-litert: tensors, operators, buffers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgebench.errors import UnsupportedError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

#: Weights are aligned so, as the schema demands (`force_align`).
_ALIGNMENT = 16
#: Constants up to this size are written once however often they occur.
_SHARED_BYTES = 256
_SCHEMA_VERSION = 3
_IDENTIFIER = b"TFL3"
_TYPES = {
    "float32": "FLOAT32",
    "float16": "FLOAT16",
    "int64": "INT64",
    "int32": "INT32",
    "int8": "INT8",
    "uint8": "UINT8",
    "bool": "BOOL",
}


def schema() -> Any:
    """The generated schema module, imported where it is used: it is large."""
    from ai_edge_litert import schema_py_generated

    return schema_py_generated


class Graph:
    """One subgraph under construction. Tensors are numbers, as in the file."""

    def __init__(self) -> None:
        self._schema = schema()
        self._buffer_type = _aligned_buffer_type(self._schema)
        self._tensors: list[Any] = []
        self._operators: list[Any] = []
        self._buffers: list[Any] = [self._schema.BufferT()]  # buffer 0 is the empty one
        self._codes: dict[int, int] = {}
        self._constants: dict[tuple[str, tuple[int, ...], bytes], int] = {}
        self._producer: dict[int, Any] = {}

    @property
    def types(self) -> dict[str, int]:
        """The schema's numbers of element types, by numpy's names."""
        return {name: getattr(self._schema.TensorType, kind) for name, kind in _TYPES.items()}

    def tensor(self, name: str, shape: Sequence[int], dtype: str) -> int:
        """A tensor that an operator writes or a caller feeds."""
        if dtype not in _TYPES:
            raise UnsupportedError(f"LiteRT has no tensors of {dtype}: {name}")
        record = self._schema.TensorT()
        record.name = name.encode()
        record.shape = [int(size) for size in shape]
        record.type = getattr(self._schema.TensorType, _TYPES[dtype])
        record.buffer = 0
        self._tensors.append(record)
        return len(self._tensors) - 1

    def constant(self, array: ArrayLike, name: str = "constant") -> int:
        """A tensor that holds `array`; equal small ones are shared."""
        import numpy as np

        values = np.asarray(array, order="C")
        content = values.tobytes()
        key = (str(values.dtype), values.shape, content if len(content) <= _SHARED_BYTES else b"")
        if key in self._constants:
            return self._constants[key]
        index = self.tensor(name, values.shape, str(values.dtype))
        buffer = self._buffer_type()
        buffer.data = np.frombuffer(content, np.uint8)
        self._buffers.append(buffer)
        self._tensors[index].buffer = len(self._buffers) - 1
        if len(content) <= _SHARED_BYTES:
            self._constants[key] = index
        return index

    def integers(self, values: Sequence[int]) -> int:
        """A constant vector of int32, as operators take axes, shapes and paddings."""
        import numpy as np

        return self.constant(np.array(values, np.int32))

    def operator(
        self,
        code: str,
        inputs: Sequence[int],
        output: int | Sequence[int],
        options: str | None = None,
        **settings: Any,
    ) -> None:
        """Appends an operator, `code` in the names of BuiltinOperator, options by their class."""
        record = self._schema.OperatorT()
        record.opcodeIndex = self._code(getattr(self._schema.BuiltinOperator, code))
        record.inputs = list(inputs)
        record.outputs = [output] if isinstance(output, int) else list(output)
        if options is not None:
            record.builtinOptionsType = getattr(self._schema.BuiltinOptions, options)
            record.builtinOptions = getattr(self._schema, f"{options}T")()
            for name, value in settings.items():
                setattr(record.builtinOptions, name, value)
        self._operators.append(record)
        for index in record.outputs:
            self._producer[index] = record

    def activate(self, tensor: int, activation: str) -> bool:
        """Fuses an activation into the operator that writes `tensor`, where it takes one."""
        options: Any = getattr(self._producer.get(tensor), "builtinOptions", None)
        if getattr(options, "fusedActivationFunction", None) != 0:
            return False
        options.fusedActivationFunction = getattr(self._schema.ActivationFunctionType, activation)
        return True

    def shape(self, tensor: int) -> tuple[int, ...]:
        return tuple(self._tensors[tensor].shape)

    def dtype(self, tensor: int) -> str:
        kind = self._tensors[tensor].type
        return next(n for n, t in _TYPES.items() if getattr(self._schema.TensorType, t) == kind)

    def rename(self, tensor: int, name: str) -> None:
        self._tensors[tensor].name = name.encode()

    def is_constant(self, tensor: int) -> bool:
        return bool(self._tensors[tensor].buffer)

    def save(self, path: Path, inputs: Sequence[int], outputs: Sequence[int]) -> None:
        import flatbuffers

        subgraph = self._schema.SubGraphT()
        subgraph.tensors, subgraph.operators = self._tensors, self._operators
        subgraph.inputs, subgraph.outputs = list(inputs), list(outputs)
        subgraph.name = b"main"
        model = self._schema.ModelT()
        model.version = _SCHEMA_VERSION
        model.description = b"edgebench"
        model.operatorCodes = [self._operator_code(code) for code in self._codes]
        model.subgraphs, model.buffers = [subgraph], self._buffers
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(model.Pack(builder), _IDENTIFIER)
        path.write_bytes(builder.Output())

    def _code(self, code: int) -> int:
        return self._codes.setdefault(code, len(self._codes))

    def _operator_code(self, code: int) -> Any:
        made = self._schema.OperatorCodeT()
        made.builtinCode = code
        made.deprecatedBuiltinCode = min(code, 127)  # where the number does not fit a byte
        made.version = 1
        return made


def _aligned_buffer_type(generated: Any) -> Any:
    """A BufferT whose bytes are aligned: the generated `Pack` forgets the schema's `force_align`."""

    class AlignedBuffer(generated.BufferT):  # type: ignore[misc] # the schema is untyped
        def Pack(self, builder: Any) -> Any:
            size = len(self.data)
            builder.StartVector(1, size, _ALIGNMENT)
            builder.head = builder.head - size
            builder.Bytes[builder.head : builder.head + size] = self.data.tobytes()
            builder.vectorNumElems = size
            content = builder.EndVector()
            generated.BufferStart(builder)
            generated.BufferAddData(builder, content)
            return generated.BufferEnd(builder)

    return AlignedBuffer
