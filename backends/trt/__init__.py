"""TensorRT 10.x and 11.x on NVIDIA GPUs, and on the DLAs of a Jetson; TensorRT for RTX, also as a builder without a GPU.

An ONNX model is converted first: the engine is built in a process of its own and kept. Not run on
hardware yet: docs/hardware.md says what holds it, and how to check it on a board.
"""

from __future__ import annotations

from collections.abc import Mapping
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

from .._kept_conversions import converted
from . import driver, library
from . import supported_platforms as support

if TYPE_CHECKING:
    from .engine_session import TrtSession

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
    Option(
        "compute_capability",
        "int",
        None,
        "build for GPUs of this compute capability, times ten (TensorRT for RTX; no GPU is needed)",
        support.CAPABILITIES,
    ),
    Option("cuda_graph", "bool", False, "replay the kernels as one CUDA graph"),
    Option("spin_wait", "bool", False, "the CPU spins while it waits for the GPU"),
)


class TrtBackend(Backend):
    name = "trt"
    summary = "TensorRT 10.x and 11.x (NVIDIA GPUs; DLAs of a Jetson), TensorRT for RTX"
    capabilities = Capabilities(
        formats=("onnx", "engine"),
        precisions=("fp32", "fp16", "int8-static", "as-is"),
        options=_OPTIONS,
        device_kinds=("gpu", "npu"),
    )

    def availability(self) -> Ready | Unavailable:
        board = support.read_board()
        found = library.find()
        if found is None:
            fix = "pip install tensorrt cuda-python"
            if board.jetson:
                fix = (
                    "TensorRT is part of JetPack: sudo apt install python3-libnvinfer, and make the "
                    "environment of JetPack's own Python with --system-site-packages"
                )
            return Unavailable("not_installed", "TensorRT's Python module is not installed", fix)
        if found.rtx:
            return _of_rtx(found, board)
        refused = support.refusal(found.version, board)
        if refused is not None:
            return Unavailable("broken", *refused)
        if installed_version(*_CUDA) is None:
            fix = "pip install 'edgebench[jetson]'" if board.jetson else "pip install cuda-python"
            return Unavailable("not_installed", "cuda-python is not installed", fix)
        missing = driver.problem(board.jetson)
        return Unavailable("broken", *missing) if missing is not None else Ready(found.version)

    def import_runtime(self) -> str:
        tensorrt = library.load()
        if not hasattr(tensorrt, "Builder"):
            raise ImportError("the module tensorrt is empty: reinstall it")
        if library.is_rtx() and _cannot_run() is not None:
            return str(tensorrt.__version__)  # it builds, and needs no CUDA for that
        from cuda.bindings import runtime

        if not hasattr(runtime, "cudaMalloc"):
            raise ImportError("the module cuda.bindings is empty: reinstall it")
        return str(tensorrt.__version__)

    def converts(self, model: ModelFile, options: Mapping[str, Scalar]) -> bool:
        return model.format == "onnx"

    def convert(self, model: ModelFile, options: Mapping[str, Scalar], cache: Path) -> ModelFile:
        """The engine of an ONNX model, built or from the cache."""
        self.capabilities.check(model, options)
        from .build_engine import engine_for

        return converted(model, engine_for(model, options, cache), "engine")

    def open(self, model: ModelFile, options: Mapping[str, Scalar]) -> TrtSession:
        self.capabilities.check(model, options)
        if model.format != "engine":
            raise UnsupportedError("an ONNX model is converted to an engine before it is opened")
        if library.is_rtx() and (missing := _cannot_run()) is not None:
            raise UnsupportedError(_built(model, missing[0]), missing[1])
        from .engine_session import TrtSession

        return TrtSession(model, dict(options))


def _of_rtx(found: library.Library, board: support.Board) -> Ready:
    """TensorRT for RTX builds wherever it is installed; whether its engines run here is another question."""
    version = f"for RTX {found.version}"
    missing = _cannot_run()
    if missing is None:
        return Ready(version)
    note = f"builds engines (--set compute_capability=...); they cannot run here: {missing[0]}"
    return Ready(version, note, missing[1], builds_only=True)


def _cannot_run() -> tuple[str, str] | None:
    """Why no engine of TensorRT for RTX can run here, with the fix; None where it can."""
    missing = driver.problem(jetson=False)
    if missing is None and installed_version(*_CUDA) is None:
        return "cuda-python is not installed", "pip install cuda-python"
    return missing


def _built(model: ModelFile, why: str) -> str:
    from .build_engine import read_facts

    facts = read_facts(model.path)
    told = f"TensorRT {facts.tensorrt} built it {facts.in_words()}" if facts else "it is an engine"
    return f"built, cannot run here: {why}. {told}"


BACKEND = TrtBackend
