"""Arrays between numpy and MLX, and data types between ONNX, numpy and MLX."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mlx.core as mx
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

#: numpy's name of a data type -> MLX's. What is not here, MLX does not have.
MLX_DTYPES: dict[str, Any] = {
    "bool": mx.bool_,
    "uint8": mx.uint8,
    "uint16": mx.uint16,
    "uint32": mx.uint32,
    "uint64": mx.uint64,
    "int8": mx.int8,
    "int16": mx.int16,
    "int32": mx.int32,
    "int64": mx.int64,
    "float16": mx.float16,
    "bfloat16": mx.bfloat16,
    "float32": mx.float32,
    "float64": mx.float64,
}
_NAMES = {dtype: name for name, dtype in MLX_DTYPES.items()}


def dtype_name(array: Any) -> str:
    """numpy's name of the data type of a numpy or MLX array ("complex64" for MLX's own)."""
    if isinstance(array, np.ndarray):
        return str(array.dtype.name)
    return _NAMES.get(array.dtype, str(array.dtype).rpartition(".")[2])


def to_mlx(array: Array) -> Any:
    """A numpy array as an MLX array of the same type. Raises KeyError where MLX lacks the type."""
    dtype = MLX_DTYPES[array.dtype.name]
    array = np.ascontiguousarray(array).reshape(array.shape)
    if array.dtype.name == "bfloat16":  # no buffer format: through its bits
        return mx.view(mx.array(array.view(np.uint16)), mx.bfloat16)
    return mx.array(array, dtype=dtype)


def to_numpy(array: Any) -> Array:
    """An MLX array as a numpy array of the same type, evaluated."""
    if isinstance(array, np.ndarray):
        return array
    if array.dtype == mx.bfloat16:
        import ml_dtypes

        bits: Array = np.array(mx.view(mx.contiguous(array), mx.uint16))
        return bits.view(ml_dtypes.bfloat16)
    copied: Array = np.array(array)
    return copied


def along(vector: Any, axis: int, rank: int) -> Any:
    """A vector of numpy or MLX with `rank` axes, its numbers along one of them."""
    return vector.reshape([-1 if place == axis else 1 for place in range(rank)])


def is_float(array: Any) -> bool:
    return dtype_name(array) in ("float16", "bfloat16", "float32", "float64")


def is_signed(array: Any) -> bool:
    return dtype_name(array).startswith("int")


def is_int(array: Any) -> bool:
    return "int" in dtype_name(array)
