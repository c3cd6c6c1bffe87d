"""The few CUDA calls that are needed, through cuda-python, with errors raised instead of returned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


class CudaError(RuntimeError):
    """A CUDA call failed. The message names the call and CUDA's own error."""


@dataclass(frozen=True)
class Gpu:
    """The device in use. `integrated`: it shares the memory of the CPU, as on a Jetson."""

    name: str
    compute_capability: str
    integrated: bool


class Cuda:
    """Calls of `cuda.bindings.runtime` on device 0 with one stream. Closed by `close`."""

    def __init__(self, spin_wait: bool) -> None:
        from cuda.bindings import runtime

        self.api: Any = runtime
        # By default waiting for the GPU sleeps: a spinning thread would take a core from the rest.
        wait = (
            runtime.cudaDeviceScheduleSpin if spin_wait else runtime.cudaDeviceScheduleBlockingSync
        )
        self.call("cudaSetDeviceFlags", wait)
        self.free_at_start_bytes = self.free_bytes()
        self.stream = self.call("cudaStreamCreateWithFlags", runtime.cudaStreamNonBlocking)

    def call(self, name: str, *arguments: Any) -> Any:
        """The results of one call: None, one value, or a tuple. Raises CudaError."""
        code, *results = getattr(self.api, name)(*arguments)
        if code != self.api.cudaError_t.cudaSuccess:
            raise CudaError(f"{name}: {self.error_text(code)}")
        return results[0] if len(results) == 1 else tuple(results) or None

    def error_text(self, code: Any) -> str:
        """CUDA's name of an error code."""
        _, name = self.api.cudaGetErrorName(code)
        return name.decode() if isinstance(name, bytes) else str(name)

    def gpu(self) -> Gpu:
        """The device in use, as CUDA describes it."""
        properties = self.call("cudaGetDeviceProperties", 0)
        name = (
            properties.name.decode() if isinstance(properties.name, bytes) else str(properties.name)
        )
        return Gpu(
            name.rstrip("\0"), f"{properties.major}.{properties.minor}", bool(properties.integrated)
        )

    def driver_version(self) -> int:
        """The newest CUDA that the driver serves, as 1000 x major + 10 x minor."""
        return int(self.call("cudaDriverGetVersion"))

    def spins(self) -> bool:
        """Whether waiting for the GPU spins, read back from the device."""
        flags = int(self.call("cudaGetDeviceFlags")) & int(self.api.cudaDeviceScheduleMask)
        return flags == int(self.api.cudaDeviceScheduleSpin)

    def free_bytes(self) -> int:
        """Free memory of the device; of the whole board where CPU and GPU share it."""
        free, _ = self.call("cudaMemGetInfo")
        return int(free)

    def synchronize(self) -> None:
        """Returns when everything on the stream is done."""
        self.call("cudaStreamSynchronize", self.stream)

    def close(self) -> None:
        """Frees the stream."""
        self.call("cudaStreamDestroy", self.stream)


class Pinned:
    """Page-locked host memory, seen as a numpy array, which the GPU copies from and to at full speed."""

    def __init__(self, cuda: Cuda, size_bytes: int) -> None:
        import ctypes

        import numpy as np

        self._cuda = cuda
        self.pointer = int(cuda.call("cudaMallocHost", max(size_bytes, 1)))
        raw: Any = (ctypes.c_uint8 * size_bytes).from_address(self.pointer)
        self.array = np.frombuffer(raw, np.uint8)

    def free(self) -> None:
        """Gives the memory back; the array must not be used any more."""
        self._cuda.call("cudaFreeHost", self.pointer)
