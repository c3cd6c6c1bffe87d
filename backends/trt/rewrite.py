"""ONNX files as a strongly typed TensorRT network wants them: fp16 written out, Q/DQ symmetric.

A strongly typed network computes in the types that the file states, so that the file is where a
precision is decided, on TensorRT 10 and 11 alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from edgebench.errors import UnsupportedError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto, NodeProto, TensorProto

_QUANTIZERS = ("QuantizeLinear", "DequantizeLinear")
#: Operators whose result is never negative, and those that keep what their input is.
_NON_NEGATIVE = ("Relu", "Sigmoid", "Softmax", "HardSigmoid", "Abs")
_PASS_ON = ("MaxPool", "AveragePool", "GlobalAveragePool", "Flatten", "Reshape", "Transpose")


def to_fp16(model: ModelProto) -> ModelProto:
    """The model in float16, its inputs and outputs in the types they had, with casts between.

    ONNX Runtime's own converter does it: weights beyond float16's range are clamped, and operators
    it knows to be unfit (Resize's scales, TopK, ...) stay in float32.
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    converted = OnnxModel(convert_float_to_float16(model, keep_io_types=True))
    converted.topological_sort()  # the casts were appended
    sorted_model: ModelProto = converted.model
    return sorted_model


def to_symmetric(model: ModelProto) -> ModelProto:
    """A Q/DQ model with signed, symmetric activations and float biases, changed in place.

    TensorRT takes int8 with a zero point of 0 only ("Working with Quantized Types"). Unsigned
    activations of range [lo, hi] become signed ones of scale max(-lo, hi) / 127: no range is cut, at
    the price of up to one bit. Biases in int32 become float32, which TensorRT adds to int32 sums.
    Where an unsigned range began at 0, its clipping did a Relu's work, and the quantizer left the Relu
    out: it comes back. Raises UnsupportedError for what cannot be written so.
    """
    import numpy as np
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for bias in _folded(model, constants):
        model.graph.node.remove(bias)
    done: dict[str, str] = {}
    for node in _quantizers(model):
        scale, zero = node.input[1], _zero_name(node)
        if scale not in constants or zero not in constants:
            raise UnsupportedError(f"{node.name}: TensorRT needs constant scales and zero points")
        if done.setdefault(scale, zero) != zero:
            raise UnsupportedError(f"{node.name}: one scale with several zero points")
    _clip_at_zero(model, constants)
    points = {zero: numpy_helper.to_array(constants[zero]) for zero in done.values()}
    for scale, zero in done.items():  # several scales may share a zero point
        _make_symmetric(constants[scale], points[zero], zero)
    for zero, point in points.items():
        constants[zero].CopyFrom(numpy_helper.from_array(np.zeros(point.shape, np.int8), zero))
    return model


def _quantizers(model: ModelProto) -> Iterator[NodeProto]:
    return (node for node in model.graph.node if node.op_type in _QUANTIZERS)


def _zero_name(node: NodeProto) -> str:
    return node.input[2] if len(node.input) > 2 else ""


def _folded(model: ModelProto, constants: dict[str, TensorProto]) -> list[NodeProto]:
    """Dequantised int32 constants, each now a float constant under the name of its output."""
    from onnx import TensorProto, numpy_helper

    folded = []
    for node in model.graph.node:
        source = constants.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
        if source is None or source.data_type != TensorProto.INT32:
            continue
        value = numpy_helper.to_array(source) * numpy_helper.to_array(constants[node.input[1]])
        model.graph.initializer.append(
            numpy_helper.from_array(value.astype("float32"), node.output[0])
        )
        folded.append(node)
    return folded


def _clip_at_zero(model: ModelProto, constants: dict[str, TensorProto]) -> None:
    """A Relu before every quantisation to a range from 0 whose input may be negative."""
    from onnx import helper

    makers = {name: node for node in model.graph.node for name in node.output}
    nodes = []
    for node in model.graph.node:
        if (
            node.op_type == "QuantizeLinear"
            and _starts_at_zero(node, constants)
            and not _non_negative(node.input[0], makers, constants)
        ):
            clipped = f"{node.output[0]}.relu"
            nodes.append(helper.make_node("Relu", [node.input[0]], [clipped], name=clipped))
            node.input[0] = clipped
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _starts_at_zero(node: NodeProto, constants: dict[str, TensorProto]) -> bool:
    import numpy as np
    from onnx import numpy_helper

    zero = numpy_helper.to_array(constants[_zero_name(node)])
    return zero.dtype == np.uint8 and not zero.any()


def _non_negative(
    name: str, makers: dict[str, NodeProto], constants: dict[str, TensorProto]
) -> bool:
    maker = makers.get(name)
    if maker is None:
        return False
    if maker.op_type in _PASS_ON:
        return _non_negative(maker.input[0], makers, constants)
    if maker.op_type == "DequantizeLinear":
        return _starts_at_zero(maker, constants)
    return maker.op_type in _NON_NEGATIVE


def _make_symmetric(scale: TensorProto, point: NDArray[Any], zero: str) -> None:
    import numpy as np
    from onnx import numpy_helper

    if point.dtype == np.int8:
        if point.any():
            raise UnsupportedError(f"{zero}: TensorRT quantises with a zero point of 0 only")
        return
    if point.dtype != np.uint8:
        raise UnsupportedError(f"{zero}: TensorRT has no quantisation to {point.dtype}")
    step = numpy_helper.to_array(scale).astype(np.float64)
    reach = np.maximum(point.astype(np.float64), 255.0 - point) * step
    scale.CopyFrom(numpy_helper.from_array((reach / 127).astype(np.float32), scale.name))
