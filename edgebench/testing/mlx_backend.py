"""The MLX importer as a standard `onnx.backend.base.Backend`, for any ONNX test runner.

    import edgebench.testing.mlx_backend as backend

    outputs = backend.prepare(model, "CPU").run([array])

`UnsupportedOperator` is raised before anything runs, where the importer has no right answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from onnx import ModelProto  # noqa: TID253 - a module of its own for those who have onnx
from onnx.backend.base import Backend, BackendRep, namedtupledict  # noqa: TID253

from edgebench.backends.mlx.unsupported import UnsupportedOperator

__all__ = [
    "MlxBackend",
    "MlxModel",
    "UnsupportedOperator",
    "prepare",
    "run_model",
    "supports_device",
]


class MlxModel(BackendRep):  # type: ignore[misc, unused-ignore]
    """An imported model. `compiled` runs its plans through `mx.compile`."""

    def __init__(self, program: Any, compiled: bool) -> None:
        self.program = program
        self._compiled = compiled

    def run(self, inputs: Any, **kwargs: Any) -> Any:
        """Outputs for inputs in the model's order: numpy arrays; lists of them for sequences."""
        names = [value.name for value in self.program.inputs]
        values = [inputs[name] for name in names] if isinstance(inputs, dict) else list(inputs)
        values += [None] * (len(names) - len(values))
        samples = {name: _taken(value) for name, value in zip(names, values, strict=True)}
        outputs = [_given(o) for o in self.program.run(samples, compiled=self._compiled)]
        return namedtupledict("Outputs", [o.name for o in self.program.model.graph.output])(
            *outputs
        )


class MlxBackend(Backend):  # type: ignore[misc, unused-ignore]
    """ONNX's own interface to a backend."""

    devices: ClassVar[Sequence[str]] = ("CPU",)

    @classmethod
    def prepare(cls, model: ModelProto, device: str = "CPU", **kwargs: Any) -> MlxModel:
        """Imports a model. Raises UnsupportedOperator; ValueError for a device MLX lacks here."""
        import mlx.core as mx

        from edgebench.backends.mlx.program import Program

        if not cls.supports_device(device):
            raise ValueError(f"MLX has no device {device} here")
        kind = "gpu" if device.startswith("GPU") else "cpu"
        mx.set_default_device(mx.gpu if kind == "gpu" else mx.cpu)
        return MlxModel(Program(model, kind), bool(kwargs.get("compiled", False)))

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Whether "CPU" or "GPU" (Metal) can be computed on."""
        import mlx.core as mx

        kind, _, index = device.partition(":")
        if index not in ("", "0"):
            return False
        return kind == "CPU" or (kind == "GPU" and bool(mx.is_available(mx.gpu)))

    @classmethod
    def is_compatible(cls, model: ModelProto, device: str = "CPU", **kwargs: Any) -> bool:
        """Whether every operator of the model can be served, as far as that shows without data."""
        try:
            cls.prepare(model, device)
        except UnsupportedOperator:
            return False
        return True


def _taken(value: Any) -> Any:
    if value is None:
        return None
    if isinstance(value, (list, tuple)):
        return [_taken(item) for item in value]
    return np.asarray(value)


def _given(value: Any) -> Any:
    from edgebench.backends.mlx.arrays import to_numpy

    if value is None:
        return None
    return [_given(item) for item in value] if isinstance(value, list) else to_numpy(value)


prepare = MlxBackend.prepare
run_model = MlxBackend.run_model
supports_device = MlxBackend.supports_device
