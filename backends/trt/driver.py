"""Whether an NVIDIA driver and a GPU are here, asked of the driver itself, without CUDA or TensorRT.

The CUDA driver library belongs to the system; loading it and counting devices makes no context.
"""

from __future__ import annotations

import ctypes

_LIBRARY = "libcuda.so.1"
_NO_DEVICE = 100  # CUDA_ERROR_NO_DEVICE


def problem(jetson: bool) -> tuple[str, str] | None:
    """The missing part of the driver with its fix; None if at least one GPU answers."""
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError as error:
        return f"there is no NVIDIA driver: {error}", _driver_fix(jetson)
    code = int(library.cuInit(0))
    count = ctypes.c_int(0)
    if code == 0:
        code = int(library.cuDeviceGetCount(ctypes.byref(count)))
    if code == _NO_DEVICE or (code == 0 and count.value == 0):
        return "the NVIDIA driver finds no GPU", _gpu_fix(jetson)
    if code != 0:
        return f"the NVIDIA driver does not start: CUDA error {code}", _driver_fix(jetson)
    return None


def _driver_fix(jetson: bool) -> str:
    if jetson:
        return (
            "the driver is part of JetPack: reinstall nvidia-l4t-cuda, or give the container GPUs"
        )
    return (
        "install the NVIDIA driver (`nvidia-smi` must work); in a container, run it with --gpus all"
    )


def _gpu_fix(jetson: bool) -> str:
    if jetson:
        return "add yourself to the groups video and render, or run the container with the NVIDIA runtime"
    return "check that `nvidia-smi -L` lists a GPU, and that CUDA_VISIBLE_DEVICES does not hide it"
