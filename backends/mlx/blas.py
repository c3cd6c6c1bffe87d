"""Which BLAS multiplies matrices, and with how many threads: read from the process itself."""

from __future__ import annotations

import ctypes
import os
import sys
from dataclasses import dataclass
from pathlib import Path

PRELOAD = (
    "apt install libopenblas0, then run with LD_PRELOAD=libopenblas.so.0 "
    "(OPENBLAS_NUM_THREADS sets its threads)"
)
_NAMES = ("openblas", "mkl", "blis")


class _Place(ctypes.Structure):
    _fields_ = (
        ("file", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("symbol", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
    )


@dataclass(frozen=True)
class Blas:
    """`name` for people; `path` of the library, where one was preloaded."""

    name: str
    path: str | None


def preloaded_by_environment() -> bool:
    """Whether the environment preloads a BLAS; it does not look into any library."""
    preload = os.environ.get("LD_PRELOAD", "")
    return any(name in Path(part).name for part in preload.split() for name in _NAMES)


def running() -> Blas:
    """The BLAS that MLX's CPU device calls in this process."""
    if sys.platform == "darwin":
        return Blas("Accelerate", None)
    symbol = getattr(ctypes.CDLL(None), "cblas_sgemm", None)
    if symbol is None:  # nothing preloaded offers it: the wheel's own is found
        return Blas("reference BLAS of the mlx-cpu wheel", None)
    place = _Place()
    known = ctypes.CDLL(None).dladdr(ctypes.cast(symbol, ctypes.c_void_p), ctypes.byref(place))
    path = place.file.decode() if known and place.file else "?"
    return Blas(f"preloaded {Path(path).name}", path)


def threads() -> int | None:
    """Threads of a preloaded OpenBLAS; 1 for the reference BLAS; None where nothing tells."""
    blas = running()
    if sys.platform == "darwin":
        return None
    if blas.path is None:
        return 1
    count = getattr(ctypes.CDLL(None), "openblas_get_num_threads", None)
    return None if count is None else int(count())


def set_threads(count: int) -> None:
    """Sets the threads of a preloaded OpenBLAS, where there is one."""
    setter = getattr(ctypes.CDLL(None), "openblas_set_num_threads", None)
    if setter is not None and sys.platform != "darwin":
        setter(ctypes.c_int(count))
