"""No runtime at all: zeros of the right shape at almost no cost.

It shows what the harness itself costs, and serves tests. Its answers are wrong on purpose, so that
a quality or parity check strikes every one of its rows.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edgebench import __version__
from edgebench.backend import (
    Backend,
    Capabilities,
    Effective,
    ModelFile,
    Option,
    Ready,
    Scalar,
    Session,
    TensorInfo,
)
from edgebench.errors import UnsupportedError

if TYPE_CHECKING:
    from edgebench.backend import Feeds, Outputs

_Axes = tuple[int | str, ...]  # a number, or the name of an open axis


class NullBackend(Backend):
    name = "null"
    summary = "computes nothing: zeros of the right shape, to measure the harness and for tests"
    capabilities = Capabilities(
        formats=("onnx",),
        precisions=("fp32", "int8-dynamic", "int8-static", "as-is"),
        options=(
            Option("latency_us", "float", 0.0, "busy-wait this long in every run", minimum=0),
            Option("threads", "int", None, "taken and of no effect: nothing computes", minimum=1),
        ),
    )

    def availability(self) -> Ready:
        return Ready(__version__)

    def import_runtime(self) -> str:
        return __version__

    def open(self, model: ModelFile, options: Mapping[str, Scalar]) -> NullSession:
        self.capabilities.check(model, options)
        return NullSession(model, float(options.get("latency_us", 0.0)))


class NullSession(Session):
    def __init__(self, model: ModelFile, latency_us: float) -> None:
        inputs, outputs = _signature(model)
        self._axes = {info.name: axes for info, axes in (*inputs, *outputs)}
        self.inputs = tuple(info for info, _ in inputs)
        self.outputs = tuple(info for info, _ in outputs)
        self._latency_us = latency_us
        self.run = _spinning(latency_us) if latency_us else _identity

    def prepare(self, feeds: Feeds) -> list[Any]:
        """The outputs themselves, so that `run` has nothing left to do."""
        import numpy as np

        sizes: dict[int | str, int] = {}
        for name, array in feeds.items():
            sizes.update(zip(self._axes[name], array.shape, strict=True))
        return [
            np.zeros([a if isinstance(a, int) else sizes.get(a, 1) for a in axes], info.dtype)
            for info, axes in ((info, self._axes[info.name]) for info in self.outputs)
        ]

    def outputs_of(self, prepared: Any, raw: list[Any]) -> Outputs:
        return {info.name: array.copy() for info, array in zip(self.outputs, raw, strict=True)}

    def effective(self) -> Effective:
        return Effective(
            device="none",
            precision=None,
            inputs=self.inputs,
            outputs=self.outputs,
            runtime=f"null {__version__}",
            notes=("null backend: computes nothing",),
            options={"latency_us": self._latency_us},
        )


def _identity(prepared: Any) -> Any:
    return prepared


def _spinning(latency_us: float) -> Any:
    latency_ns = round(latency_us * 1000)
    now_ns = time.perf_counter_ns

    def run(prepared: Any) -> Any:
        end_ns = now_ns() + latency_ns
        while now_ns() < end_ns:
            pass
        return prepared

    return run


def _signature(
    model: ModelFile,
) -> tuple[list[tuple[TensorInfo, _Axes]], list[tuple[TensorInfo, _Axes]]]:
    """Inputs and outputs of an ONNX file. Raises UnsupportedError where it is none."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        loaded = onnx.load(str(model.path), load_external_data=False)
        loaded = onnx.shape_inference.infer_shapes(loaded)
    except (DecodeError, onnx.shape_inference.InferenceError) as error:
        raise UnsupportedError(f"{model.path.name} is not an ONNX model: {error}") from None
    graph = loaded.graph
    if not graph.output:
        raise UnsupportedError(f"{model.path.name} is not an ONNX model: it has no outputs")
    weights = {tensor.name for tensor in graph.initializer}
    return (
        [_tensor(value) for value in graph.input if value.name not in weights],
        [_tensor(value) for value in graph.output],
    )


def _tensor(value: Any) -> tuple[TensorInfo, _Axes]:
    import onnx

    tensor = value.type.tensor_type
    axes: _Axes = tuple(
        axis.dim_value if axis.HasField("dim_value") else axis.dim_param or f"{value.name}.{index}"
        for index, axis in enumerate(tensor.shape.dim)
    )
    dtype = str(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
    shape = tuple(axis if isinstance(axis, int) else None for axis in axes)
    return TensorInfo(value.name, dtype, shape), axes


BACKEND = NullBackend
