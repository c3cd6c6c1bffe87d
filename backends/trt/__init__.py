"""TensorRT 10.x and 11.x on NVIDIA GPUs, and on the DLAs of a Jetson.

An ONNX model is converted first: the engine is built in a process of its own and kept. Not run on
hardware yet: docs/hardware.md says what holds it, and how to check it on a board.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
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
from edgebench.errors import UnsupportedError
from edgebench.installed_packages import installed_version

from . import driver
from . import supported_platforms as support

if TYPE_CHECKING:
    from .engine_session import TrtSession

#: Distributions that bring the module `tensorrt`; on a Jetson it comes with JetPack's packages.
_TENSORRT = ("tensorrt", "tensorrt-cu13", "tensorrt-cu12", "tensorrt_cu13", "tensorrt_cu12")
_CUDA = ("cuda-python", "cuda-bindings")

_OPTIONS = (
    Option("threads", "int", None, "CPU threads: the GPU computes, one drives it", (1,)),
    Option(
        "typing",
        "str",
        None,
        "who decides a layer's precision: the file (strong) or, on 10.x only, TensorRT (weak)",
        ("strong", "weak"),
    ),
    Option("tf32", "bool", False, "let fp32 layers multiply in TF32"),
    Option("workspace_mib", "int", None, "scratch memory a layer may use, MiB", minimum=1),
    Option("optimization_level", "int", None, "time spent on choosing kernels", (0, 1, 2, 3, 4, 5)),
    Option("timing_cache", "bool", True, "reuse timings of kernels from earlier builds"),
    Option("profile", "str", None, "shapes of open axes: x=1x3x8x8:4x3x8x8:8x3x8x8, joined by +"),
    Option("dla_core", "int", None, "run on this DLA core (Jetson)", minimum=0),
    Option("dla_gpu_fallback", "bool", False, "layers that the DLA cannot run go to the GPU"),
    Option("cuda_graph", "bool", False, "replay the kernels as one CUDA graph"),
    Option("spin_wait", "bool", False, "the CPU spins while it waits for the GPU"),
)


class TrtBackend(Backend):
    name = "trt"
    summary = "TensorRT 10.x and 11.x (NVIDIA GPUs; DLAs of a Jetson)"
    capabilities = Capabilities(
        formats=("onnx", "engine"),
        precisions=("fp32", "fp16", "int8-static", "as-is"),
        options=_OPTIONS,
        device_kinds=("gpu", "npu"),
    )

    def availability(self) -> Ready | Unavailable:
        board = support.read_board()
        version = _tensorrt_version()
        if version is None:
            fix = "pip install tensorrt cuda-python"
            if board.jetson:
                fix = (
                    "TensorRT is part of JetPack: sudo apt install python3-libnvinfer, and make the "
                    "environment of JetPack's own Python with --system-site-packages"
                )
            return Unavailable("not_installed", "TensorRT's Python module is not installed", fix)
        refused = support.refusal(version, board)
        if refused is not None:
            return Unavailable("broken", *refused)
        if installed_version(*_CUDA) is None:
            fix = "pip install 'edgebench[jetson]'" if board.jetson else "pip install cuda-python"
            return Unavailable("not_installed", "cuda-python is not installed", fix)
        missing = driver.problem(board.jetson)
        return Unavailable("broken", *missing) if missing is not None else Ready(version)

    def import_runtime(self) -> str:
        import tensorrt
        from cuda.bindings import runtime

        if not hasattr(tensorrt, "Builder") or not hasattr(runtime, "cudaMalloc"):
            raise ImportError("the module tensorrt or cuda.bindings is empty: reinstall it")
        return str(tensorrt.__version__)

    def converts(self, model: ModelFile, options: Mapping[str, Scalar]) -> bool:
        return model.format == "onnx"

    def convert(self, model: ModelFile, options: Mapping[str, Scalar], cache: Path) -> ModelFile:
        """The engine of an ONNX model, built or from the cache."""
        self.capabilities.check(model, options)
        from edgebench.assets import file_sha256

        from .build_engine import engine_for

        engine = engine_for(model, options, cache)
        return replace(model, path=engine, format="engine", sha256=file_sha256(engine))

    def open(self, model: ModelFile, options: Mapping[str, Scalar]) -> TrtSession:
        self.capabilities.check(model, options)
        if model.format != "engine":
            raise UnsupportedError("an ONNX model is converted to an engine before it is opened")
        from .engine_session import TrtSession

        return TrtSession(model, dict(options))


def _tensorrt_version() -> str | None:
    """TensorRT's version by its distribution, or by its module's own text; nothing is imported."""
    version = installed_version(*_TENSORRT)
    if version is not None:
        return version
    spec = importlib.util.find_spec("tensorrt")
    if spec is None or spec.origin is None:  # no origin: a folder of type stubs
        return None
    try:
        text = Path(spec.origin).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    stated = re.search(r"""^__version__ *= *["']([^"']+)""", text, re.MULTILINE)
    return stated[1] if stated else "unknown"


BACKEND = TrtBackend
