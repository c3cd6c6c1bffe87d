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
from edgebench.errors import EdgebenchError, UnsupportedError

if TYPE_CHECKING:
    from edgebench.backend import Feeds, Outputs


class NullBackend(Backend):
    name = "null"
    summary = "computes nothing: zeros of the right shape, to measure the harness and for tests"
    capabilities = Capabilities(
        formats=("onnx",),
        precisions=("fp32", "int8-dynamic", "int8-static", "mixed", "as-is"),
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
        self.inputs, self.outputs = _signature(model)
        self._latency_us = latency_us
        self.run = _spinning(latency_us) if latency_us else _identity

    def device(self) -> str:
        return "none"

    def prepare(self, feeds: Feeds) -> list[Any]:
        """The outputs themselves, so that `run` has nothing left to do.

        An open leading axis takes the size it has in the inputs, any other open axis 1.
        """
        import numpy as np

        batch = next((array.shape[0] for array in feeds.values() if array.ndim), 1)
        return [np.zeros(_sizes(info, batch), info.dtype) for info in self.outputs]

    def outputs_of(self, prepared: Any, raw: list[Any]) -> Outputs:
        return {info.name: array.copy() for info, array in zip(self.outputs, raw, strict=True)}

    def effective(self) -> Effective:
        return Effective(
            device=self.device(),
            telemetry="none",
            precision=None,
            inputs=self.inputs,
            outputs=self.outputs,
            runtime=f"null {__version__}",
            notes=("null backend: computes nothing",),
            options={"latency_us": self._latency_us},
        )


def _sizes(info: TensorInfo, batch: int) -> list[int]:
    """Where the file does not even tell the number of axes, the batch alone."""
    shape = (None,) if info.shape is None else info.shape
    open_axes = [batch] + [1] * len(shape)
    return [open_axes[i] if size is None else size for i, size in enumerate(shape)]


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


def _signature(model: ModelFile) -> tuple[tuple[TensorInfo, ...], tuple[TensorInfo, ...]]:
    """Inputs and outputs of an ONNX file. Raises UnsupportedError where it is none."""
    from onnx.shape_inference import infer_shapes

    from edgebench.models.onnx_file import describe, load_model

    try:
        return describe(infer_shapes(load_model(model.path, weights=False)))
    except EdgebenchError as error:
        raise UnsupportedError(error.message, error.fix) from None


BACKEND = NullBackend
