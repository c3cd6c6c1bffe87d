"""Backends with one fault each, to prove that the harness sees it.

Usable as `--backend edgebench.testing.faults:Hang`. Each works through another backend (option
`inner`, ONNX Runtime unless told) for the first `after` runs; with the next run the fault comes.
Faults that come earlier (at import, at open) are classes of their own. With `honest_sessions` a fault
comes late: so many sessions, counted in the file `counter`, are honest from the first run to the last.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import re
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import msgspec

from edgebench import __version__
from edgebench.backend import (
    Backend,
    Capabilities,
    Effective,
    ModelFile,
    Option,
    Ready,
    Scalar,
    Session,
    Unavailable,
)
from edgebench.errors import UnsupportedError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgebench.backend import Feeds, Outputs

    Settings = Mapping[str, Scalar | None]

_MIB = 2**20
_STEP_MIB = 64


def _capabilities(*more: Option) -> Capabilities:
    return Capabilities(
        formats=("onnx",),
        precisions=("fp32", "int8-dynamic", "int8-static", "as-is"),
        options=(
            Option("after", "int", 0, "runs before the fault comes", minimum=0),
            Option("inner", "str", "ort", "the backend that does the work"),
            Option("honest_sessions", "int", 0, "sessions before one has the fault", minimum=0),
            Option("counter", "str", "sessions", "the file that counts those sessions"),
            Option("threads", "int", None, "threads of the inner backend", minimum=1),
            *more,
        ),
    )


class FaultySession(Session):
    """The inner session for the first `after` runs, `fault` from then on."""

    backend: FaultyBackend  # that opened it

    def __init__(self, inner: Session, settings: Settings) -> None:
        self.inner = inner
        self.settings = settings
        self.inputs = inner.inputs
        self.outputs = inner.outputs
        self.run = self._run
        self._runs_left = int(settings["after"] or 0)
        self._honest = _is_honest(settings)

    def _run(self, prepared: Any) -> Any:
        if self._honest:
            return self.work(prepared)
        if self._runs_left:
            self._runs_left -= 1
            return self.work(prepared)
        return self.fault(prepared)

    def work(self, prepared: Any) -> Any:
        """An honest run."""
        return self.inner.run(prepared)

    def fault(self, prepared: Any) -> Any:
        """What a run does once the fault is there: what the backend says, unless the session itself has the fault."""
        return self.backend.fault(self, prepared)

    def prepare(self, feeds: Feeds) -> Any:
        return self.inner.prepare(feeds)

    def outputs_of(self, prepared: Any, raw: Any) -> Outputs:
        return self.inner.outputs_of(prepared, raw)

    def device(self) -> str:
        return self.inner.device()

    def effective(self) -> Effective:
        facts = self.inner.effective()
        own = {name: value for name, value in self.settings.items() if name != "threads"}
        return msgspec.structs.replace(facts, options={**facts.options, **own})

    def arena_bytes(self) -> int | None:
        return self.inner.arena_bytes()

    def close(self) -> None:
        self.inner.close()


def _is_honest(settings: Settings) -> bool:
    """Whether this session is one of those before the fault; counts it."""
    honest = int(settings["honest_sessions"] or 0)
    if not honest:
        return False
    counter = Path(str(settings["counter"]))
    opened = int(counter.read_text()) if counter.exists() else 0
    counter.write_text(str(opened + 1))
    return opened < honest


class FaultyBackend(Backend):
    """Opens a session of the inner backend and wraps it. By itself it has no fault.

    The name of a subclass follows from that of its class: `fault-hang-at-open` of HangAtOpen.
    """

    name = "fault-none"
    summary = "test backend: works, through another one"
    capabilities = _capabilities()
    session: ClassVar[type[FaultySession]] = FaultySession

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.name = "fault" + re.sub("[A-Z]", lambda letter: f"-{letter[0].lower()}", cls.__name__)

    def availability(self) -> Ready | Unavailable:
        return Ready(__version__)

    def import_runtime(self) -> str:
        return __version__

    def open(self, model: ModelFile, options: Mapping[str, Scalar]) -> Session:
        from edgebench import registry

        self.capabilities.check(model, options)
        settings = {option.name: option.default for option in self.capabilities.options}
        settings.update(options)
        inner = registry.load(str(settings["inner"]))
        inner.import_runtime()
        session = self.session(inner.open(model, _for_inner(options)), settings)
        session.backend = self
        return session

    def fault(self, session: FaultySession, prepared: Any) -> Any:
        """What a run of the session does once the fault is there."""
        return session.work(prepared)


def _for_inner(options: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """The options that the inner backend gets."""
    return {name: options[name] for name in ("threads",) if name in options}


# --- no return, no process ----------------------------------------------------------------------


def _hang() -> NoReturn:
    while True:
        time.sleep(3600)


class Hang(FaultyBackend):
    summary = "test backend: a run never returns"

    def fault(self, session: FaultySession, prepared: Any) -> NoReturn:
        _hang()


class HangHoldingGil(FaultyBackend):
    summary = "test backend: a run never returns, and no other Python thread runs any more"

    def fault(self, session: FaultySession, prepared: Any) -> NoReturn:
        sleep = ctypes.PyDLL(None).sleep  # PyDLL keeps the interpreter's lock during the call
        while True:
            sleep(3600)


class HangAtImport(FaultyBackend):
    summary = "test backend: importing the runtime never returns"

    def import_runtime(self) -> NoReturn:
        _hang()


class HangAtOpen(FaultyBackend):
    summary = "test backend: opening a model never returns"

    def open(self, model: ModelFile, options: Mapping[str, Scalar]) -> NoReturn:
        _hang()


class Segfault(FaultyBackend):
    summary = "test backend: a run reads address 0"

    def fault(self, session: FaultySession, prepared: Any) -> Any:
        return ctypes.string_at(0)


class Exit(FaultyBackend):
    summary = "test backend: a run ends the process with status 3, without a word"

    def fault(self, session: FaultySession, prepared: Any) -> NoReturn:
        os._exit(3)


class Crash(FaultyBackend):
    summary = "test backend: a run raises RuntimeError"

    def fault(self, session: FaultySession, prepared: Any) -> NoReturn:
        raise RuntimeError("the runtime gave up in the middle of a run")


class CrashAtOpen(FaultyBackend):
    summary = "test backend: opening a model raises RuntimeError"

    def open(self, model: ModelFile, options: Mapping[str, Scalar]) -> NoReturn:
        raise RuntimeError("the runtime gave up while it loaded the model")


class Refuse(FaultyBackend):
    summary = "test backend: refuses every model"

    def open(self, model: ModelFile, options: Mapping[str, Scalar]) -> NoReturn:
        raise UnsupportedError("this runtime has no kernel for the model", "use another runtime")


class MemoryEater(FaultyBackend):
    """Gives back nothing while it eats: run it only in a process with a memory limit, or with
    `limit_mib`, after which the run goes on as if nothing had been."""

    summary = "test backend: a run takes memory in steps of 64 MiB until something stops it"
    capabilities = _capabilities(
        Option("limit_mib", "int", None, "stop there and run; else never", minimum=_STEP_MIB)
    )

    def fault(self, session: FaultySession, prepared: Any) -> Any:
        page_bytes = os.sysconf("SC_PAGESIZE")
        touch = b"\1" * (_STEP_MIB * _MIB // page_bytes)
        limit_mib = session.settings["limit_mib"]
        held: list[bytearray] = []
        while limit_mib is None or len(held) * _STEP_MIB < int(limit_mib):
            held.append(bytearray(_STEP_MIB * _MIB))
            held[-1][::page_bytes] = touch
        return session.work(prepared)


# --- answers, but not honest ones ---------------------------------------------------------------


class _MemoiseSession(FaultySession):
    """Prepared is (digest of the input, what the inner session prepared)."""

    def __init__(self, inner: Session, settings: Settings) -> None:
        super().__init__(inner, settings)
        self._known: dict[bytes, Any] = {}

    def prepare(self, feeds: Feeds) -> Any:
        digest = hashlib.sha256()
        for name in sorted(feeds):
            digest.update(self.key(feeds[name]).tobytes())
        return digest.digest(), self.inner.prepare(feeds)

    def key(self, array: NDArray[Any]) -> NDArray[Any]:
        """By what an array is known again."""
        return array

    def work(self, prepared: Any) -> Any:
        return self.inner.run(prepared[1])

    def fault(self, prepared: Any) -> Any:
        digest = prepared[0]
        if digest not in self._known:
            self._known[digest] = self.work(prepared)
        return self._known[digest]

    def outputs_of(self, prepared: Any, raw: Any) -> Outputs:
        return self.inner.outputs_of(prepared[1], raw)


class Memoise(FaultyBackend):
    summary = "test backend: answers an input it has seen from a cache"
    session = _MemoiseSession


class _WrongOutputSession(FaultySession):
    """The faulty answer is None here, and becomes arrays outside of the run."""

    _like: Outputs | None = None

    def fault(self, prepared: Any) -> None:
        if self._like is None:  # once, to learn the shapes
            self._like = self.inner.outputs_of(prepared, self.inner.run(prepared))

    def outputs_of(self, prepared: Any, raw: Any) -> Outputs:
        if raw is not None or self._like is None:
            return self.inner.outputs_of(prepared, raw)
        import numpy as np

        return {name: np.ones_like(array) for name, array in self._like.items()}


class WrongOutput(FaultyBackend):
    summary = "test backend: answers at once, and with ones"
    session = _WrongOutputSession


class _ThreadedSession(FaultySession):
    """Has a thread that works after the call."""

    def __init__(self, inner: Session, settings: Settings) -> None:
        super().__init__(inner, settings)
        self._thread = ThreadPoolExecutor(max_workers=1)

    def close(self) -> None:
        self._thread.shutdown(cancel_futures=True)
        super().close()


class _AsyncSession(_ThreadedSession):
    def fault(self, prepared: Any) -> Future[Any]:
        return self._thread.submit(self._later, prepared)

    def _later(self, prepared: Any) -> Any:
        time.sleep(0.001)  # as in a device's queue: the caller is gone before the work begins
        return self.work(prepared)

    def outputs_of(self, prepared: Any, raw: Any) -> Outputs:
        done = raw.result() if isinstance(raw, Future) else raw
        return self.inner.outputs_of(prepared, done)


class Async(FaultyBackend):
    summary = "test backend: a run returns before the work is done"
    session = _AsyncSession


class _SilentFallbackSession(FaultySession):
    def effective(self) -> Effective:
        facts = super().effective()
        other = "fp16" if facts.precision == "fp32" else "fp32"
        return msgspec.structs.replace(facts, precision=other)


class SilentFallback(FaultyBackend):
    summary = (
        "test backend: runs in another precision than was asked for, and says so only if asked"
    )
    session = _SilentFallbackSession


# --- work that is done somewhere else, and times that are none ------------------------------------


class _WorkInPrepareSession(FaultySession):
    """Prepared is (what the inner session prepared, its answer)."""

    def prepare(self, feeds: Feeds) -> Any:
        prepared = self.inner.prepare(feeds)
        return prepared, None if self._honest else self.inner.run(prepared)

    def work(self, prepared: Any) -> Any:
        return self.inner.run(prepared[0])

    def fault(self, prepared: Any) -> Any:
        return prepared[1]

    def outputs_of(self, prepared: Any, raw: Any) -> Outputs:
        return self.inner.outputs_of(prepared[0], raw)


class WorkInPrepare(FaultyBackend):
    summary = "test backend: computes the answer when an input is prepared, and only hands it out in a run"
    session = _WorkInPrepareSession


class _Promise:
    """An output whose values are computed when somebody reads them; kept, or computed each time."""

    def __init__(self, compute: Callable[[], Any], keep: bool) -> None:
        self._compute = compute
        self._keep = keep
        self._value: Any = None

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        value = self._compute() if self._value is None else self._value
        if self._keep:
            self._value = value
        return value if dtype is None else value.astype(dtype)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__array__(), name)

    def __getitem__(self, index: Any) -> Any:
        return self.__array__()[index]


class _LazyOutputsSession(FaultySession):
    """A run returns a list into which the answer comes when an output is first read."""

    def fault(self, prepared: Any) -> list[Any]:
        return []

    def outputs_of(self, prepared: Any, raw: Any) -> Outputs:
        def answer(name: str) -> Any:
            if not raw or not self.settings["keep"]:
                raw[:] = [self.inner.outputs_of(prepared, self.work(prepared))]
            return raw[0][name]

        keep = bool(self.settings["keep"])
        return {
            info.name: _Promise(lambda name=info.name: answer(name), keep)  # type: ignore[misc]
            for info in self.outputs
        }


class LazyOutputs(FaultyBackend):
    summary = "test backend: outputs are promises, whose values are computed when they are read"
    capabilities = _capabilities(
        Option("keep", "bool", True, "computed when first read; else at every reading")
    )
    session = _LazyOutputsSession


class _LateOutputsSession(_ThreadedSession):
    """Hands out arrays at once; a thread fills them when it comes to it."""

    _like: Outputs | None = None

    def fault(self, prepared: Any) -> Any:
        import numpy as np

        if self._like is None:
            self._like = self.inner.outputs_of(prepared, self.work(prepared))
        outputs = {name: np.zeros_like(array) for name, array in self._like.items()}
        self._thread.submit(self._fill, prepared, outputs)
        return outputs

    def _fill(self, prepared: Any, outputs: Outputs) -> None:
        time.sleep(0.002)  # as in a device's queue
        for name, array in self.inner.outputs_of(prepared, self.work(prepared)).items():
            outputs[name][...] = array

    def outputs_of(self, prepared: Any, raw: Any) -> Outputs:
        return dict(raw)


class LateOutputs(FaultyBackend):
    summary = "test backend: hands out arrays that another thread fills later"
    session = _LateOutputsSession


class _RoundedMemoiseSession(_MemoiseSession):
    def key(self, array: NDArray[Any]) -> NDArray[Any]:
        import numpy as np

        if array.dtype.kind != "f":
            return array
        return np.round(array, int(self.settings["decimals"] or 0)) + 0.0


class RoundedMemoise(FaultyBackend):
    summary = "test backend: answers an input from a cache that is keyed by its rounded values"
    capabilities = _capabilities(
        Option("decimals", "int", 1, "to which inputs are rounded", minimum=0)
    )
    session = _RoundedMemoiseSession


class _SlowClockSession(FaultySession):
    """Gives the clocks back when it is closed."""

    def close(self) -> None:
        for name, clock in _CLOCKS.items():
            setattr(time, name, clock)
        super().close()


_CLOCKS: dict[str, Callable[[], int]] = {
    name: getattr(time, name) for name in ("perf_counter_ns", "monotonic_ns", "time_ns")
}


class SlowClock(FaultyBackend):
    """Replaces functions of `time` in the process that opens it, until the session is closed."""

    summary = "test backend: the clocks of its process run at a part of their speed"
    capabilities = _capabilities(
        Option("speed", "float", 0.5, "of the clocks", minimum=0.01),
        Option("clocks", "str", "all", "which of them", choices=("all", "perf_counter_ns")),
    )
    session = _SlowClockSession

    def open(self, model: ModelFile, options: Mapping[str, Scalar]) -> Session:
        session = super().open(model, options)
        speed, which = options.get("speed", 0.5), options.get("clocks", "all")
        for name, clock in _CLOCKS.items():
            if which in ("all", name):
                setattr(time, name, _slowed(clock, float(speed)))
        return session


def _slowed(clock: Callable[[], int], speed: float) -> Callable[[], int]:
    start = clock()
    return lambda: start + round((clock() - start) * speed)


class _MoreThreadsSession(FaultySession):
    def effective(self) -> Effective:
        return msgspec.structs.replace(super().effective(), threads=1)


class MoreThreads(FaultyBackend):
    summary = "test backend: computes on several threads and says that it is one"
    capabilities = _capabilities(Option("really", "int", 4, "threads that compute", minimum=2))
    session = _MoreThreadsSession

    def open(self, model: ModelFile, options: Mapping[str, Scalar]) -> Session:
        self.capabilities.check(model, options)
        return super().open(model, {**options, "threads": options.get("really", 4)})


def _serve(
    pipe: Any, model: ModelFile, inner: str, options: dict[str, Scalar], hidden: bool
) -> None:
    """The helper: answers feeds until its parent is gone."""
    from edgebench import registry

    if hidden:
        if os.fork():
            os._exit(0)
        os.setsid()
    backend = registry.load(inner)
    backend.import_runtime()
    session = backend.open(model, options)
    pipe.send(True)
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            prepared = session.prepare(pipe.recv())
            pipe.send(session.outputs_of(prepared, session.run(prepared)))


class _HelperProcessSession(FaultySession):
    """Prepared is the feeds; the inner session here is for descriptions alone."""

    pipe: Any = None

    def prepare(self, feeds: Feeds) -> Any:
        return dict(feeds)

    def work(self, prepared: Any) -> Any:
        self.pipe.send(prepared)
        return self.pipe.recv()

    def outputs_of(self, prepared: Any, raw: Any) -> Outputs:
        return dict(raw)

    def close(self) -> None:
        self.pipe.close()
        super().close()


class HelperProcess(FaultyBackend):
    summary = "test backend: another process holds the model and computes"
    capabilities = _capabilities(
        Option("hidden", "bool", False, "it leaves its parent and its session")
    )
    session = _HelperProcessSession

    def open(self, model: ModelFile, options: Mapping[str, Scalar]) -> Session:
        import multiprocessing

        session = super().open(model, options)
        assert isinstance(session, _HelperProcessSession)
        context = multiprocessing.get_context("spawn")
        session.pipe, theirs = context.Pipe()
        inner = str(options.get("inner", "ort"))
        hidden = bool(options.get("hidden"))
        told = (theirs, model, inner, _for_inner(options), hidden)
        helper = context.Process(target=_serve, args=told, daemon=True)
        helper.start()
        theirs.close()
        if hidden:
            helper.join()
        session.pipe.recv()
        return session


# --- slow, loud, absent -------------------------------------------------------------------------


class _SlowerSession(FaultySession):
    """Hashes bytes after each run: real work, in the thread that runs the model, every time.

    How many bytes is told, or found in the first runs, from the least CPU time of a run and of hashing.
    """

    def __init__(self, inner: Session, settings: Settings) -> None:
        super().__init__(inner, settings)
        self._share = float(settings["percent"] or 0) / 100
        told = settings["work_bytes"]
        self._left = 0 if told is not None else int(settings["calibration_runs"] or 1)
        self._work = bytes(int(told or 0))
        self._least_ns = 0

    def fault(self, prepared: Any) -> Any:
        if self._left:
            return self._calibrate(prepared)
        result = self.work(prepared)
        hashlib.sha256(self._work).digest()
        return result

    def _calibrate(self, prepared: Any) -> Any:
        start = time.process_time_ns()
        result = self.work(prepared)
        took = time.process_time_ns() - start
        self._least_ns = min(self._least_ns or took, took)
        self._left -= 1
        if not self._left:
            self._work = bytes(round(self._share * self._least_ns * hashed_bytes_per_ns()))
        return result


def hashed_bytes_per_ns(repetitions: int = 9) -> float:
    """Speed of the work that `Slower` adds, by the least CPU time of several."""
    probe, times = bytes(_MIB), []
    for _ in range(repetitions):
        start = time.process_time_ns()
        hashlib.sha256(probe).digest()
        times.append(time.process_time_ns() - start)
    return _MIB / max(min(times), 1)


class Slower(FaultyBackend):
    summary = "test backend: works, and does so many per cent more in every run"
    capabilities = _capabilities(
        Option("percent", "float", 5.0, "extra CPU time of a run, in per cent", minimum=0),
        Option("calibration_runs", "int", 6, "first runs, which are honest", minimum=1),
        Option("work_bytes", "int", None, "bytes to hash after a run; nothing: found", minimum=0),
    )
    session = _SlowerSession

    def import_runtime(self) -> str:
        """Takes its time where the backend that it is compared with does."""
        from edgebench import registry

        registry.load("ort").import_runtime()
        return super().import_runtime()


class _SlowStartSession(FaultySession):
    def __init__(self, inner: Session, settings: Settings) -> None:
        super().__init__(inner, settings)
        self._slow_left = int(settings["slow_runs"] or 0)
        self._delay_s = float(settings["delay_s"] or 0)
        time.sleep(self._delay_s)

    def fault(self, prepared: Any) -> Any:
        if self._slow_left:
            self._slow_left -= 1
            time.sleep(self._delay_s)
        return self.work(prepared)


class SlowStart(FaultyBackend):
    summary = "test backend: opening and the first runs take longer than the later ones"
    capabilities = _capabilities(
        Option("delay_s", "float", 0.05, "added to opening and to each slow run", minimum=0),
        Option("slow_runs", "int", 20, "runs that are slow", minimum=0),
    )
    session = _SlowStartSession


def _make_noise(where: str) -> None:
    """Through Python's streams and past them: text, half a JSON object, bytes that are no text."""
    print(f"noise from {where}", flush=True)
    print(f"WARNING: noise from {where}", file=sys.stderr, flush=True)
    for descriptor in (1, 2):
        os.write(descriptor, b'{"noise": \xff\xfe\n')


class Noisy(FaultyBackend):
    summary = "test backend: writes to stdout and stderr at import, at open and in every run"

    def fault(self, session: FaultySession, prepared: Any) -> Any:
        _make_noise("run")
        return session.work(prepared)

    def import_runtime(self) -> str:
        _make_noise("import")
        return super().import_runtime()

    def open(self, model: ModelFile, options: Mapping[str, Scalar]) -> Session:
        _make_noise("open")
        return super().open(model, options)


class NotInstalled(FaultyBackend):
    summary = "test backend: its runtime is not installed"

    def availability(self) -> Unavailable:
        return Unavailable("not_installed", "no-such-runtime is not installed", "install it")

    def import_runtime(self) -> NoReturn:
        raise ModuleNotFoundError("No module named 'no_such_runtime'", name="no_such_runtime")


class BrokenInstall(FaultyBackend):
    summary = "test backend: its runtime is installed and cannot be loaded"

    def availability(self) -> Unavailable:
        return Unavailable("broken", "libnosuch.so.1 is missing", "reinstall the runtime")

    def import_runtime(self) -> NoReturn:
        raise OSError("libnosuch.so.1: cannot open shared object file")


class BrokenAtImport(FaultyBackend):
    """The usual case: found by its metadata, and only its import shows the damage."""

    summary = "test backend: says that it is ready, and its import fails"

    def import_runtime(self) -> NoReturn:
        raise ImportError("libnosuch.so.1: cannot open shared object file")


class UnknownState(FaultyBackend):
    summary = "test backend: cannot tell whether its runtime is here"

    def availability(self) -> Unavailable:
        return Unavailable("unknown", "the driver does not answer", "start the driver")
