"""Which TensorRT is used: TensorRT itself, or TensorRT for RTX, whose builder needs no GPU.

Both have the same interface for what is done here. TensorRT for RTX builds ahead of time, for GPUs that are named by their
compute capability, on a CPU alone; its engines run on GPUs of RTX cards from Turing on.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgebench.installed_packages import installed_version


@dataclass(frozen=True)
class Library:
    """A TensorRT that is installed, found without importing it."""

    module: str
    version: str
    rtx: bool

    @property
    def title(self) -> str:
        return f"TensorRT for RTX {self.version}" if self.rtx else f"TensorRT {self.version}"


#: Distributions that bring the module `tensorrt`; on a Jetson it comes with JetPack's packages.
_TENSORRT = ("tensorrt", "tensorrt-cu13", "tensorrt-cu12", "tensorrt_cu13", "tensorrt_cu12")
_RTX = ("tensorrt-rtx-cu13-bindings", "tensorrt-rtx-cu12-bindings")
_RTX_LIBRARIES = ("tensorrt-rtx-cu13-libs", "tensorrt-rtx-cu12-libs")
_RTX_MODULE = "tensorrt_rtx_bindings"


def find() -> Library | None:
    """The TensorRT to use: TensorRT for RTX where no other is there; None where neither is. Imports nothing."""
    version = installed_version(*_TENSORRT) or _stated_version()
    if version is not None:
        return Library("tensorrt", version, rtx=False)
    version = installed_version(*_RTX)
    if version is None or installed_version(*_RTX_LIBRARIES) is None:
        return None
    return Library(_RTX_MODULE, version, rtx=True)


def load() -> Any:
    """The module of the TensorRT to use. Raises ImportError where there is none."""
    found = find()
    return importlib.import_module("tensorrt" if found is None else found.module)


def is_rtx() -> bool:
    """Whether TensorRT for RTX is used."""
    found = find()
    return found is not None and found.rtx


def _stated_version() -> str | None:
    """The version of a module `tensorrt` that no distribution owns: of the one that is loaded, or by its own text."""
    loaded = sys.modules.get("tensorrt")
    if loaded is not None:
        return str(getattr(loaded, "__version__", "unknown"))
    spec = importlib.util.find_spec("tensorrt")
    if spec is None or spec.origin is None:  # no origin: a folder of type stubs
        return None
    try:
        text = Path(spec.origin).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    stated = re.search(r"""^__version__ *= *["']([^"']+)""", text, re.MULTILINE)
    return stated[1] if stated else "unknown"
