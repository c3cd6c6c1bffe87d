"""LiteRT's own profiler: its Python interface has none, its C library has, and is driven here through ctypes.

A compiled model of the same file, beside the measured session. Structures are those of LiteRT 2.3; no other
version is driven, since a structure that changed would be read wrongly.
"""

from __future__ import annotations

import ctypes
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgebench.backend import ModelFile, Scalar, Session
from edgebench.errors import UnsupportedError
from edgebench.installed_packages import installed_version
from edgebench.operator_times import OperatorTime, Profile, Profiler

from .._xnnpack_names import type_of

if TYPE_CHECKING:
    from edgebench.backend import Feeds, Outputs

VERSION = "2.3."
_ELSEWHERE = "explain the model on another backend, such as --backend ort"
#: Kinds of events, as bits: an operator of LiteRT's own, and one within a delegate.
_OWN, _DELEGATED = 1 << 1, (1 << 2) | (1 << 3)
_CPU, _READ, _WRITE = 1, 0, 1
_TYPE_BYTES = 256  # room for the description of a tensor, which LiteRT writes and reads
#: Operators that run others, whose times are told by themselves.
_RUNNING_OTHERS = frozenset({"WHILE", "IF", "CALL_ONCE", "CALL"})
_Handle = ctypes.c_void_p


class _Event(ctypes.Structure):
    """`ProfiledEventData` of LiteRT 2.3."""

    _fields_ = (
        ("tag", ctypes.c_char_p),
        ("kind", ctypes.c_int),
        ("start_us", ctypes.c_uint64),
        ("elapsed_us", ctypes.c_uint64),
        ("memory", ctypes.c_int64 * 6),
        ("index", ctypes.c_uint64),
        ("subgraph", ctypes.c_uint64),
        ("source", ctypes.c_int),
    )


@dataclass(frozen=True)
class Key:
    """Which operator an event is about."""

    name: str
    delegated: bool
    subgraph: int
    index: int


class LiteRtProfiler(Profiler):
    """A compiled model with profiling on. `names`: of the session's inputs and outputs in the file, or none where
    places tell."""

    warm_up = 2

    def __init__(
        self,
        session: Session,
        model: ModelFile,
        threads: Scalar | None,
        names: tuple[Sequence[str], Sequence[str]] | None = None,
    ) -> None:
        version = installed_version("ai-edge-litert") or ""
        if not version.startswith(VERSION):
            raise UnsupportedError(
                f"the profiler of LiteRT {VERSION}x is known, not that of {version}", _ELSEWHERE
            )
        self._session = session
        self._compiled = _Compiled(model.path, threads)
        inputs, outputs = names or (None, None)
        self._in = self._compiled.places("Input", inputs, len(session.inputs))
        self._out = self._compiled.places("Output", outputs, len(session.outputs))
        self._runs_ns: list[int] = []
        self._times_ns: dict[Key, list[int]] = {}

    def run(self, feeds: Feeds) -> Outputs:
        import numpy as np

        for place, info in zip(self._in, self._session.inputs, strict=True):
            self._compiled.write(place, np.require(feeds[info.name], requirements="C"))
        start_ns = time.perf_counter_ns()
        events = self._compiled.run()
        self._runs_ns.append(time.perf_counter_ns() - start_ns)
        self._count(events)
        found = {}
        for place, info in zip(self._out, self._session.outputs, strict=True):
            array = np.empty(info.sizes or (), np.dtype(info.dtype))
            self._compiled.read(place, array)
            found[info.name] = array
        return found

    def _count(self, events: Sequence[tuple[Key, int]]) -> None:
        number = len(self._runs_ns)
        for key, elapsed_ns in events:
            times_ns = self._times_ns.setdefault(key, [])
            times_ns += [0] * (number - len(times_ns))
            times_ns[-1] += elapsed_ns
        for times_ns in self._times_ns.values():
            times_ns += [0] * (number - len(times_ns))

    def finish(self) -> Profile:
        self._compiled.close()
        seen: Counter[str] = Counter()
        return Profile(
            operators=tuple(
                self._operator(key, times_ns, seen) for key, times_ns in self._times_ns.items()
            ),
            runs_ns=self._runs_ns[self.warm_up :],
            source="LiteRT's profiler, of a compiled model",
            notes=("LiteRT counts microseconds", "nodes are called as its kernels are"),
        )

    def _operator(self, key: Key, times_ns: list[int], seen: Counter[str]) -> OperatorTime:
        seen[key.name] += 1
        return OperatorTime(
            name=key.name if seen[key.name] == 1 else f"{key.name}#{seen[key.name]}",
            kind=key.name,
            provider="XNNPACK" if key.delegated else "LiteRT",
            type=type_of(key.name),
            times_ns=times_ns[self.warm_up :],
        )


class _Compiled:
    """A compiled model and its buffers, by LiteRT's C interface."""

    def __init__(self, path: Path, threads: Scalar | None) -> None:
        self._library = _library()
        self._kept: list[Any] = []  # what LiteRT holds pointers to
        self._environment = self._made("LiteRtCreateEnvironment", ctypes.c_int(0), None)
        file = ctypes.c_char_p(str(path).encode())
        self._model = self._made("LiteRtCreateModelFromFile", self._environment, file)
        options = self._made("LiteRtCreateOptions")
        self._call("LiteRtSetOptionsHardwareAccelerators", options, ctypes.c_int(_CPU))
        self._add(options, "runtime_options_string", "enable_profiling = true\n")
        if threads is not None:
            self._add(options, "xnnpack", f"num_threads = {int(threads)}\n")
        self._inner = self._made(
            "LiteRtCreateCompiledModel", self._environment, self._model, options
        )
        self._profiler = self._made("LiteRtCompiledModelGetProfiler", self._inner)
        if not self._profiler:
            raise UnsupportedError("LiteRT made no profiler for the model", _ELSEWHERE)
        self._signature = self._made("LiteRtGetModelSignature", self._model, ctypes.c_size_t(0))
        self._names: dict[str, list[str]] = {}
        self._inputs, self._outputs = self._buffers("Input"), self._buffers("Output")

    def places(self, kind: str, names: Sequence[str] | None, count: int) -> list[_Handle]:
        """Buffers in the session's order. Raises UnsupportedError where they do not match its tensors."""
        buffers = self._inputs if kind == "Input" else self._outputs
        known = self._names[kind]
        if len(known) != count or (names is not None and set(names) - set(known)):
            raise UnsupportedError(
                "LiteRT's compiled model has other inputs or outputs than its interpreter",
                _ELSEWHERE,
            )
        order = range(count) if names is None else [known.index(name) for name in names]
        return [_Handle(buffers[place]) for place in order]

    def write(self, buffer: _Handle, array: Any) -> None:
        self._copy(buffer, array, _WRITE)

    def read(self, buffer: _Handle, array: Any) -> None:
        self._copy(buffer, array, _READ)

    def run(self) -> list[tuple[Key, int]]:
        """One profiled run; returns its operators with what they took."""
        self._call("LiteRtResetProfiler", self._profiler)
        self._call("LiteRtStartProfiler", self._profiler)
        self._call(
            "LiteRtRunCompiledModel",
            *(self._inner, ctypes.c_size_t(0)),
            *(ctypes.c_size_t(len(self._inputs)), self._inputs),
            *(ctypes.c_size_t(len(self._outputs)), self._outputs),
        )
        self._call("LiteRtStopProfiler", self._profiler)
        count = ctypes.c_int()
        self._call("LiteRtGetNumProfilerEvents", self._profiler, ctypes.byref(count))
        events = (_Event * count.value)()
        self._call("LiteRtGetProfilerEvents", self._profiler, count, events)
        return operators_of(list(events))

    def close(self) -> None:
        if self._inner:
            for buffer in (*self._inputs, *self._outputs):
                self._library.LiteRtDestroyTensorBuffer(_Handle(buffer))
            self._library.LiteRtDestroyCompiledModel(self._inner)
            self._library.LiteRtDestroyModel(self._model)
            self._inner = _Handle()

    def _buffers(self, kind: str) -> Any:
        count = ctypes.c_size_t()
        self._call(f"LiteRtGetNumSignature{kind}s", self._signature, ctypes.byref(count))
        buffers = (_Handle * count.value)()
        self._names[kind] = []
        for place in range(count.value):
            at = ctypes.c_size_t(place)
            tensor = self._made(f"LiteRtGetSignature{kind}TensorByIndex", self._signature, at)
            name = ctypes.c_char_p()
            self._call("LiteRtGetTensorName", tensor, ctypes.byref(name))
            self._names[kind].append((name.value or b"").decode())
            described = ctypes.create_string_buffer(_TYPE_BYTES)
            self._call("LiteRtGetRankedTensorType", tensor, described)
            first = ctypes.c_size_t(0)
            needs = self._made(
                f"LiteRtGetCompiledModel{kind}BufferRequirements", self._inner, first, at
            )
            buffers[place] = self._made(
                "LiteRtCreateManagedTensorBufferFromRequirements",
                *(self._environment, described, needs),
            ).value
        return buffers

    def _copy(self, buffer: _Handle, array: Any, mode: int) -> None:
        size = ctypes.c_size_t()
        self._call("LiteRtGetTensorBufferPackedSize", buffer, ctypes.byref(size))
        if size.value != array.nbytes:
            raise UnsupportedError(
                "LiteRT's compiled model has tensors of other sizes than its interpreter",
                _ELSEWHERE,
            )
        memory = _Handle()
        self._call("LiteRtLockTensorBuffer", buffer, ctypes.byref(memory), ctypes.c_int(mode))
        pointers = (memory, _Handle(array.ctypes.data))
        ctypes.memmove(*(pointers if mode == _WRITE else pointers[::-1]), array.nbytes)
        self._call("LiteRtUnlockTensorBuffer", buffer)

    def _add(self, options: _Handle, name: str, text: str) -> None:
        """Adds options that LiteRT reads from a text of TOML."""
        content = ctypes.create_string_buffer(text.encode())
        release = ctypes.CFUNCTYPE(None, _Handle)(lambda _: None)
        known = ctypes.c_char_p(name.encode())
        self._kept += [content, release, known]
        pointer = ctypes.cast(content, _Handle)
        opaque = self._made("LiteRtCreateOpaqueOptions", known, pointer, release)
        self._call("LiteRtAddOpaqueOptions", options, opaque)

    def _made(self, function: str, *arguments: Any) -> _Handle:
        """What a function writes into its last argument."""
        found = _Handle()
        self._call(function, *arguments, ctypes.byref(found))
        return found

    def _call(self, function: str, *arguments: Any) -> None:
        status = getattr(self._library, function)(*arguments)
        if status:
            raise UnsupportedError(f"{function} of LiteRT's library says {status}", _ELSEWHERE)


def operators_of(events: Sequence[Any]) -> list[tuple[Key, int]]:
    """The operators among the events of a run, and what they took: not those that run others, nor a delegate that
    tells its own."""
    told = {int(event.subgraph) for event in events if event.kind & _DELEGATED}
    found = []
    for event in events:
        name = (event.tag or b"").decode(errors="replace")
        own = event.kind == _OWN and name not in _RUNNING_OTHERS
        if own and "Delegate" in name and int(event.subgraph) in told:
            continue
        if own or event.kind & _DELEGATED:
            delegated = bool(event.kind & _DELEGATED)
            key = Key(name, delegated, int(event.subgraph), int(event.index))
            found.append((key, int(event.elapsed_us) * 1000))
    return found


def _library() -> ctypes.CDLL:
    import ai_edge_litert

    folder = Path(str(ai_edge_litert.__file__)).parent
    found = sorted(folder.glob("libLiteRt.*"))
    if not found:
        raise UnsupportedError(
            "this LiteRT has no C library, which alone has a profiler", _ELSEWHERE
        )
    return ctypes.CDLL(str(found[0]))
