"""ONNX values on their way into a .tflite file, in whichever layout they were written last.

ONNX keeps images as N, C, H, W; LiteRT's kernels want N, H, W, C. A value is transposed only where
somebody wants the form it is not in, once, and operators that do not care stay in the form at hand.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from edgebench.errors import UnsupportedError

from .graph import Graph

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto, NodeProto

TO_IMAGE = (0, 2, 3, 1)  # N, C, H, W -> N, H, W, C
FROM_IMAGE = (0, 3, 1, 2)
IMAGE_AXIS = {0: 0, 1: 3, 2: 1, 3: 2}  # where an axis of N, C, H, W lies in N, H, W, C


class Values:
    """All values of an ONNX graph by name: constants as arrays, others as tensors of a `Graph`."""

    def __init__(self, model: ModelProto, graph: Graph) -> None:
        from onnx import numpy_helper

        self.graph = graph
        self.constants: dict[str, NDArray[Any]] = {
            tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer
        }
        self.shapes, self.dtypes = _types(model)
        self._plain: dict[str, int] = {}
        self._image: dict[str, int] = {}
        self._uses = Counter(name for node in model.graph.node for name in node.input)
        self._uses.update(value.name for value in model.graph.output)

    def array(self, name: str, node: NodeProto) -> NDArray[Any]:
        """A constant. Raises UnsupportedError where it is computed: the file would need to know it."""
        if name not in self.constants:
            raise refusal(node, f"its operand {name!r} is computed, LiteRT needs a constant")
        return self.constants[name]

    def shape(self, name: str) -> tuple[int, ...]:
        if name in self.constants:
            return self.constants[name].shape
        if name not in self.shapes:
            raise UnsupportedError(f"the shape of {name!r} is not known ahead of the run")
        return self.shapes[name]

    def dtype(self, name: str) -> str:
        return str(self.constants[name].dtype) if name in self.constants else self.dtypes[name]

    def used_once(self, name: str) -> bool:
        return self._uses[name] == 1

    def is_known(self, name: str) -> bool:
        """Whether the value is a constant, or an operator or a caller writes it."""
        return name in self.constants or name in self._plain or name in self._image

    def is_image(self, name: str) -> bool:
        """Whether the value lies there as N, H, W, C only."""
        return name in self._image and name not in self._plain

    def plain(self, name: str) -> int:
        """The value's tensor with ONNX's order of axes."""
        if name not in self._plain:
            if name in self.constants:
                self._plain[name] = self.graph.constant(self.constants[name], name)
            else:
                self._plain[name] = self._transposed(name, self._image[name], FROM_IMAGE)
        return self._plain[name]

    def image(self, name: str) -> int:
        """The tensor of a value of four axes as N, H, W, C."""
        if name not in self._image:
            if name in self.constants:
                array = self.constants[name]
                array = array.reshape((1,) * (4 - array.ndim) + array.shape)
                self._image[name] = self.graph.constant(array.transpose(TO_IMAGE), name)
            else:
                self._image[name] = self._transposed(name, self._plain[name], TO_IMAGE)
        return self._image[name]

    def new_plain(self, name: str) -> int:
        """A tensor for a node to write, in ONNX's order."""
        self._plain[name] = self.graph.tensor(name, self.shape(name), self.dtype(name))
        return self._plain[name]

    def new_image(self, name: str) -> int:
        """A tensor for a node to write, as N, H, W, C."""
        shape = self.shape(name)
        sizes = [shape[axis] for axis in TO_IMAGE]
        self._image[name] = self.graph.tensor(name, sizes, self.dtype(name))
        return self._image[name]

    def as_it_lies(self, name: str) -> int:
        """The value's tensor in the order that it lies in."""
        return self.image(name) if self.is_image(name) else self.plain(name)

    def new_like(self, name: str, source: str) -> int:
        """A tensor for a node to write, in the order that `source` lies in."""
        return self.new_image(name) if self.is_image(source) else self.new_plain(name)

    def temporary(self, like: str, shape: Any, dtype: str | None = None) -> int:
        return self.graph.tensor(f"{like}.part", shape, dtype or self.dtype(like))

    def alias(self, name: str, source: str) -> None:
        """`name` is the same value as `source`: who reads the one reads the other."""
        self._uses[name] += self._uses[source] - 1
        for forms in (self._plain, self._image):
            if source in forms:
                forms[name] = forms[source]

    def _transposed(self, name: str, tensor: int, order: tuple[int, ...]) -> int:
        shape = self.graph.shape(tensor)
        transposed = self.graph.tensor(
            f"{name}.transposed", [shape[axis] for axis in order], self.graph.dtype(tensor)
        )
        inputs = [tensor, self.graph.integers(order)]
        self.graph.operator("TRANSPOSE", inputs, transposed, "TransposeOptions")
        return transposed


def refusal(node: NodeProto, why: str) -> UnsupportedError:
    name = node.name or (node.output[0] if node.output else "")
    return UnsupportedError(f"cannot be converted to LiteRT: {node.op_type} (node {name!r}): {why}")


def _types(model: ModelProto) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    """Shapes (fixed ones) and element types by name, inferred over the whole graph."""
    import onnx

    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes, dtypes = {}, {}
    for value in (*inferred.input, *inferred.value_info, *inferred.output):
        tensor = value.type.tensor_type
        if tensor.elem_type:
            dtypes[value.name] = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
        if tensor.HasField("shape") and all(d.HasField("dim_value") for d in tensor.shape.dim):
            shapes[value.name] = tuple(int(d.dim_value) for d in tensor.shape.dim)
    return shapes, dtypes
