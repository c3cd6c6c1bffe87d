"""MLX: any ONNX model, imported into an MLX program. Metal on a Mac, a reference build elsewhere.

Light on purpose: what needs MLX is imported when a session opens.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from edgebench.backend import (
    Backend,
    Capabilities,
    ModelFile,
    Option,
    Ready,
    Scalar,
    Unavailable,
)
from edgebench.installed_packages import installed_version

from .blas import PRELOAD, preloaded_by_environment

if TYPE_CHECKING:
    from edgebench.generation import Room

    from .onnx_session import MlxSession
    from .text_generation import MlxGeneration

#: Distributions that bring the library itself where the distribution `mlx` holds only its frame.
GPU_BUILDS = ("mlx-cuda-12", "mlx-cuda-13", "mlx-cuda")
BUILDS = ("mlx-cpu", *GPU_BUILDS)
_INSTALL = "pip install 'edgebench[mlx]'"

_DEVICE = Option(
    "device", "str", None, "where MLX computes; else its default device", ("cpu", "gpu")
)
_COMPILE = Option(
    "compile",
    "str",
    None,
    "mx.compile; else the faster of both for this graph",
    ("always", "never"),
)
_GROUP_SIZE = Option(
    "group_size", "int", 64, "weights that share a scale and a bias, for w8 and w4", (32, 64, 128)
)
_THREADS = Option(
    "threads",
    "int",
    None,
    "threads of a preloaded OpenBLAS; MLX itself computes on one thread and offers no choice",
    minimum=1,
)
_ACTIVATIONS = Option(
    "activations",
    "str",
    None,
    "what packed weights are multiplied with; else fp16 on a GPU, fp32 on a CPU",
    ("fp32", "fp16", "bf16"),
)


class MlxBackend(Backend):
    name = "mlx"
    summary = "MLX (Metal on a Mac, CUDA on Linux; its CPU build there checks answers)"
    capabilities = Capabilities(
        formats=("onnx",),
        precisions=("fp32", "fp16", "bf16", "w8", "w4", "as-is"),
        options=(_DEVICE, _COMPILE, _GROUP_SIZE, _THREADS),
        device_kinds=("cpu", "gpu"),
    )
    generation = Capabilities(
        formats=("gguf",),
        precisions=("as-is", "fp32", "fp16", "bf16"),
        options=(_DEVICE, _COMPILE, _THREADS, _ACTIVATIONS),
        device_kinds=("cpu", "gpu"),
        rewinds=True,
    )

    def availability(self) -> Ready | Unavailable:
        version = installed_version("mlx")
        if version is None:
            return Unavailable("not_installed", "MLX is not installed", _INSTALL)
        if sys.platform == "darwin":
            if platform.machine() != "arm64":
                return Unavailable("broken", "MLX needs Apple Silicon", "use another backend")
            return Ready(version)
        if installed_version(*GPU_BUILDS) is not None:
            return Ready(version)
        if installed_version(*BUILDS) is None:
            reason = "the distribution mlx is installed without a build for this platform"
            return Unavailable("broken", reason, _INSTALL)
        if preloaded_by_environment():
            return Ready(version, "reference build, not Apple Silicon; a BLAS is preloaded")
        note = "reference build, not Apple Silicon; links the reference BLAS, several times slower"
        return Ready(version, note, PRELOAD)

    def import_runtime(self) -> str:
        import mlx.core as mx

        return str(mx.__version__)

    def open(self, model: ModelFile, options: Mapping[str, Scalar]) -> MlxSession:
        self.capabilities.check(model, options)
        from .onnx_session import MlxSession

        return MlxSession(model, dict(options))

    def open_generation(
        self, model: ModelFile, options: Mapping[str, Scalar], room: Room
    ) -> MlxGeneration:
        self.generation.check(model, options)
        from .text_generation import MlxGeneration

        return MlxGeneration(model, options, room)


BACKEND = MlxBackend
