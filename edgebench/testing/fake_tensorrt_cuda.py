"""Stands for `cuda.bindings.runtime` where there is no GPU: the calls the backend makes, no others.

Work on a stream happens when somebody waits for it, never before: a backend that forgets to wait
reads stale outputs. Copies are checked against what was allocated. Every call returns a tuple that
starts with an error code, as cuda-python's do.
"""

from __future__ import annotations

import ctypes
import itertools
import time
from collections.abc import Callable
from enum import IntEnum
from typing import Any

cudaDeviceScheduleSpin = 1
cudaDeviceScheduleBlockingSync = 4
cudaDeviceScheduleMask = 7
cudaStreamNonBlocking = 1
cudaEventDefault = 0

TOTAL_BYTES = 8 << 30
CONTEXT_BYTES = 64 << 20  # what an engine's context takes, so that free memory falls


class cudaError_t(IntEnum):
    cudaSuccess = 0
    cudaErrorInvalidValue = 1
    cudaErrorMemoryAllocation = 2
    cudaErrorIllegalState = 401


class cudaMemcpyKind(IntEnum):
    cudaMemcpyHostToDevice = 1
    cudaMemcpyDeviceToHost = 2


class cudaStreamCaptureMode(IntEnum):
    cudaStreamCaptureModeThreadLocal = 1


class cudaDeviceProp:
    name = b"Fake GPU"
    major, minor = 8, 7
    integrated = 0


class Stream:
    """Work in order, done when somebody waits; while capturing, work goes to the graph instead."""

    def __init__(self, handle: int) -> None:
        self.handle = handle
        self.work: list[Callable[[], None]] = []
        self.graph: list[Callable[[], None]] | None = None

    def __int__(self) -> int:
        return self.handle

    def add(self, work: Callable[[], None]) -> None:
        (self.work if self.graph is None else self.graph).append(work)

    def drain(self) -> None:
        while self.work:
            self.work.pop(0)()


class Event:
    """The moment at which the stream reached it."""

    stream: Stream | None = None
    at_ns = 0


streams: dict[int, Stream] = {}
device: dict[int, Any] = {}  # address -> buffer; real memory plays the GPU's
host: dict[int, Any] = {}
_handles = itertools.count(1)
_flags = 0

_OK = cudaError_t.cudaSuccess
_BAD = cudaError_t.cudaErrorInvalidValue
_ILLEGAL = cudaError_t.cudaErrorIllegalState


def cudaGetErrorName(code: cudaError_t) -> tuple[cudaError_t, bytes]:
    return _OK, cudaError_t(code).name.encode()


def cudaSetDeviceFlags(flags: int) -> tuple[cudaError_t]:
    global _flags
    _flags = flags
    return (_OK,)


def cudaGetDeviceFlags() -> tuple[cudaError_t, int]:
    return _OK, _flags


def cudaDriverGetVersion() -> tuple[cudaError_t, int]:
    return _OK, 12060


def cudaGetDeviceProperties(number: int) -> tuple[cudaError_t, cudaDeviceProp | None]:
    return (_OK, cudaDeviceProp()) if number == 0 else (_BAD, None)


def cudaMemGetInfo() -> tuple[cudaError_t, int, int]:
    used = sum(ctypes.sizeof(buffer) for buffer in device.values())
    return _OK, TOTAL_BYTES - used, TOTAL_BYTES


def cudaMalloc(size: int) -> tuple[cudaError_t, int]:
    return _allocate(device, size)


def cudaMallocHost(size: int) -> tuple[cudaError_t, int]:
    return _allocate(host, size)


def _allocate(memory: dict[int, Any], size: int) -> tuple[cudaError_t, int]:
    if size < 1 or size > TOTAL_BYTES:
        return cudaError_t.cudaErrorMemoryAllocation, 0
    buffer = (ctypes.c_uint8 * size)()
    memory[ctypes.addressof(buffer)] = buffer
    return _OK, ctypes.addressof(buffer)


def cudaMemset(pointer: int, value: int, count: int) -> tuple[cudaError_t]:
    if pointer not in device or count > ctypes.sizeof(device[pointer]):
        return (_BAD,)
    ctypes.memset(pointer, value, count)
    return (_OK,)


def cudaFree(pointer: int) -> tuple[cudaError_t]:
    return (_OK if device.pop(pointer, None) is not None else _BAD,)


def cudaFreeHost(pointer: int) -> tuple[cudaError_t]:
    return (_OK if host.pop(pointer, None) is not None else _BAD,)


def cudaStreamCreateWithFlags(flags: int) -> tuple[cudaError_t, Stream]:
    stream = Stream(next(_handles))
    streams[stream.handle] = stream
    return _OK, stream


def cudaStreamDestroy(stream: Stream) -> tuple[cudaError_t]:
    return (_OK if streams.pop(stream.handle, None) is not None else _BAD,)


def cudaStreamSynchronize(stream: Stream) -> tuple[cudaError_t]:
    if stream.graph is not None or stream.handle not in streams:
        return (_ILLEGAL,)
    stream.drain()
    return (_OK,)


def cudaMemcpyAsync(
    target: int, source: int, count: int, kind: cudaMemcpyKind, stream: Stream
) -> tuple[cudaError_t]:
    to_device = kind == cudaMemcpyKind.cudaMemcpyHostToDevice
    into, out_of = (device, host) if to_device else (host, device)
    for memory, pointer in ((into, target), (out_of, source)):
        if pointer not in memory or count > ctypes.sizeof(memory[pointer]):
            return (_BAD,)

    def copy() -> None:
        ctypes.memmove(target, source, count)

    stream.add(copy)
    return (_OK,)


def cudaEventCreateWithFlags(flags: int) -> tuple[cudaError_t, Event]:
    return _OK, Event()


def cudaEventRecord(event: Event, stream: Stream) -> tuple[cudaError_t]:
    def reached() -> None:
        event.at_ns = time.perf_counter_ns()

    event.stream, event.at_ns = stream, 0
    stream.add(reached)
    return (_OK,)


def cudaEventSynchronize(event: Event) -> tuple[cudaError_t]:
    if event.stream is None:
        return (_BAD,)
    return cudaStreamSynchronize(event.stream)


def cudaEventElapsedTime(start: Event, end: Event) -> tuple[cudaError_t, float]:
    if not start.at_ns or not end.at_ns:
        return _BAD, 0.0
    return _OK, (end.at_ns - start.at_ns) / 1e6


def cudaEventDestroy(event: Event) -> tuple[cudaError_t]:
    return (_OK,)


def cudaStreamBeginCapture(stream: Stream, mode: cudaStreamCaptureMode) -> tuple[cudaError_t]:
    if stream.work or stream.graph is not None:
        return (_ILLEGAL,)
    stream.graph = []
    return (_OK,)


def cudaStreamEndCapture(stream: Stream) -> tuple[cudaError_t, list[Callable[[], None]] | None]:
    graph, stream.graph = stream.graph, None
    return (_OK, graph) if graph else (_ILLEGAL, None)


def cudaGraphInstantiate(
    graph: list[Callable[[], None]], flags: int
) -> tuple[cudaError_t, list[Callable[[], None]]]:
    return _OK, list(graph)


def cudaGraphLaunch(graph: list[Callable[[], None]], stream: Stream) -> tuple[cudaError_t]:
    for work in graph:
        stream.add(work)
    return (_OK,)


def cudaGraphExecDestroy(graph: list[Callable[[], None]]) -> tuple[cudaError_t]:
    return (_OK,)
