"""Floating-point (or integer) operations of one ONNX node, from the shapes of its tensors.

A multiply-accumulate is 2 operations, any other arithmetic on an element 1, whatever it costs; a
transcendental function is 1 as well. Moving data is none. What is not listed here is not counted,
and whoever sums says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import TYPE_CHECKING

from edgebench.models.onnx_file import attribute

if TYPE_CHECKING:
    from onnx import NodeProto

Shapes = Sequence[Sequence[int] | None]  # None: an optional input that is left out


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Views and constants: neither operations nor bytes. Quantizing and its inverse belong to the
#: layers beside them, whose tensors then count at their quantized width.
FREE = _words(
    "Reshape Flatten Squeeze Unsqueeze Identity Dropout Shape Size Constant ConstantOfShape "
    "QuantizeLinear DequantizeLinear"
)
MOVING = _words(
    "Transpose Concat Slice Gather GatherElements GatherND ScatterND ScatterElements Pad Expand Tile "
    "Split Cast DepthToSpace SpaceToDepth Range NonZero EyeLike DynamicQuantizeLinear Compress "
    "OneHot CastLike"
)
#: Of their first input they read what they give out, however large it is: a row of a table of words.
PICKING = _words("Gather GatherElements GatherND Slice Compress")
ELEMENTWISE = _words(
    "Add Sub Mul Div Relu Clip LeakyRelu PRelu Elu Selu Celu Sigmoid HardSigmoid HardSwish Mish Gelu "
    "Tanh Exp Log Sqrt Reciprocal Erf Abs Neg Sign Floor Ceil Round Pow Min Max Mean Sum Where Not And "
    "Or Xor Equal Greater GreaterOrEqual Less LessOrEqual Softplus Softsign Sin Cos Tan Mod IsNaN "
    "IsInf BitShift ThresholdedRelu Swish QuickGelu"
)
_SUMMING = _words("Min Max Mean Sum")  # of any number of inputs: one operation less than there are
_PER_OUTPUT = {"BatchNormalization": 2, "Softmax": 5, "LogSoftmax": 5, "Hardmax": 2}
_PER_INPUT = {
    "GlobalAveragePool": 1, "GlobalMaxPool": 1, "ReduceMean": 1, "ReduceSum": 1, "ReduceMax": 1,
    "ReduceMin": 1, "ReduceProd": 1, "ReduceL1": 2, "ReduceL2": 2, "ReduceSumSquare": 2,
    "ReduceLogSum": 1, "ReduceLogSumExp": 3, "ArgMax": 1, "ArgMin": 1, "CumSum": 1,
    "LayerNormalization": 8, "InstanceNormalization": 8, "LpNormalization": 3, "LRN": 5,
    "RMSNormalization": 5, "GroupNormalization": 8, "SimplifiedLayerNormalization": 5,
}  # fmt: skip
_GATES = {"LSTM": 4, "DynamicQuantizeLSTM": 4, "GRU": 3, "RNN": 1}


def operations(node: NodeProto, inputs: Shapes, outputs: Shapes) -> int | None:
    """Operations of the node; None where they are not known."""
    kind = node.op_type
    if kind in FREE or kind in MOVING:
        return 0
    if kind in ELEMENTWISE:
        return prod(_shape(outputs, 0)) * (len(node.input) - 1 if kind in _SUMMING else 1)
    if kind in _PER_OUTPUT:
        return _PER_OUTPUT[kind] * prod(_shape(outputs, 0))
    if kind in _PER_INPUT:
        return _PER_INPUT[kind] * prod(_shape(inputs, 0))
    count = _COUNTS.get(kind)
    return None if count is None else count(node, inputs, outputs)


def _shape(shapes: Shapes, index: int) -> Sequence[int]:
    shape = shapes[index]
    assert shape is not None, "the caller gives every input that the operator needs"
    return shape


def _conv(weight_index: int) -> Callable[[NodeProto, Shapes, Shapes], int]:
    def count(node: NodeProto, inputs: Shapes, outputs: Shapes) -> int:
        weight = _shape(inputs, weight_index)  # [out, in / groups, kernel...]
        return 2 * prod(_shape(outputs, 0)) * prod(weight[1:])

    return count


def _conv_transpose(node: NodeProto, inputs: Shapes, outputs: Shapes) -> int:
    weight = _shape(inputs, 1)  # [in, out / groups, kernel...]: each input element meets all of it
    return 2 * prod(_shape(inputs, 0)) * prod(weight[1:])


def _matmul(node: NodeProto, inputs: Shapes, outputs: Shapes) -> int:
    return 2 * prod(_shape(outputs, 0)) * _shape(inputs, 0)[-1]


def _gemm(node: NodeProto, inputs: Shapes, outputs: Shapes) -> int:
    inner = _shape(inputs, 0)[0 if attribute(node, "transA", 0) else 1]
    return 2 * prod(_shape(outputs, 0)) * inner


def _pool(node: NodeProto, inputs: Shapes, outputs: Shapes) -> int:
    kernel: Sequence[int] = attribute(node, "kernel_shape", [1])
    return prod(_shape(outputs, 0)) * prod(kernel)


def _recurrent(node: NodeProto, inputs: Shapes, outputs: Shapes) -> int:
    steps, batch, width = _shape(inputs, 0)
    directions, hidden = _shape(inputs, 2)[0], attribute(node, "hidden_size", 0)
    if not hidden:
        raise ValueError("a recurrent layer without hidden_size")
    per_step = 2 * _GATES[node.op_type] * hidden * (width + hidden)
    return int(steps * batch * directions * per_step)


def _resize(node: NodeProto, inputs: Shapes, outputs: Shapes) -> int | None:
    """Nearest moves data; linear over two axes is three interpolations of 2 operations, about."""
    mode = attribute(node, "mode", b"nearest")
    if mode == b"nearest":
        return 0
    return 7 * prod(_shape(outputs, 0)) if mode == b"linear" else None


_COUNTS: dict[str, Callable[[NodeProto, Shapes, Shapes], int | None]] = {
    "Conv": _conv(1),
    "ConvInteger": _conv(1),
    "FusedConv": _conv(1),
    "QLinearConv": _conv(3),
    "ConvTranspose": _conv_transpose,
    "MatMul": _matmul,
    "MatMulInteger": _matmul,
    "QLinearMatMul": _matmul,
    "Gemm": _gemm,
    "MaxPool": _pool,
    "AveragePool": _pool,
    "Resize": _resize,
    "Upsample": _resize,
    "LSTM": _recurrent,
    "DynamicQuantizeLSTM": _recurrent,
    "GRU": _recurrent,
    "RNN": _recurrent,
}
