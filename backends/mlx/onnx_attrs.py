"""Attributes and types of ONNX nodes as Python values."""

from __future__ import annotations

from typing import Any

import numpy as np


def attribute_value(proto: Any) -> Any:
    """An AttributeProto's value: numbers, text, numpy arrays, GraphProtos, lists of them."""
    import onnx

    kind = onnx.AttributeProto
    if proto.type == kind.TENSOR:
        return onnx.numpy_helper.to_array(proto.t)
    if proto.type == kind.STRING:
        return proto.s.decode("utf-8", "replace")
    if proto.type == kind.STRINGS:
        return [text.decode("utf-8", "replace") for text in proto.strings]
    if proto.type == kind.TENSORS:
        return [onnx.numpy_helper.to_array(tensor) for tensor in proto.tensors]
    return onnx.helper.get_attribute_value(proto)


def type_name(element_type: int) -> str:
    """numpy's name of an ONNX element type, "string" for text."""
    import onnx

    if element_type == onnx.TensorProto.STRING:
        return "string"
    return str(onnx.helper.tensor_dtype_to_np_dtype(element_type).name)


def element_type(name: str) -> int:
    """ONNX's number of a type by numpy's name of it."""
    import onnx

    if name == "bfloat16":
        return int(onnx.TensorProto.BFLOAT16)
    return int(onnx.helper.np_dtype_to_tensor_dtype(np.dtype(name)))
