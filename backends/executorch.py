"""ExecuTorch: .pte files as they come, on the kernels and delegates that its wheel has (XNNPACK on a CPU).

Its Python interface needs torch, which its package does not declare.
"""

from __future__ import annotations

import functools
import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgebench.backend import (
    Backend,
    Capabilities,
    Effective,
    ModelFile,
    Option,
    Ready,
    Scalar,
    Session,
    TensorInfo,
    Unavailable,
    named_by_place,
)
from edgebench.errors import EdgebenchError, UnsupportedError
from edgebench.installed_packages import installed_version
from edgebench.operator_times import OperatorTime, Profile, Profiler
from edgebench.text.did_you_mean import did_you_mean

from ._session_facts import closed, one_precision
from ._xnnpack_names import COMPUTE, type_of

if TYPE_CHECKING:
    from edgebench.backend import Feeds, Outputs

_FORWARD = "forward"
_FIX = "pip install 'edgebench[executorch]'"
#: numpy's names by the numbers of element types in a program.
_DTYPES = {
    0: "uint8",
    1: "int8",
    2: "int16",
    3: "int32",
    4: "int64",
    5: "float16",
    6: "float32",
    7: "float64",
    11: "bool",
    15: "bfloat16",
}
#: Errors of ExecuTorch by their number: what they say of a file.
_DAMAGED = {0x22: "it cannot be read", 0x23: "its program is invalid", 0x24: "data is missing"}
_REFUSED = {
    0x10: "it asks for what this build does not support",
    0x14: "it has an operator for which this build has no kernel",
    0x20: "it needs a delegate that this build does not have",
    0x30: "it was made for another version of a delegate",
}
_ERROR = re.compile(r"error: 0x:?([0-9a-f]+)", re.IGNORECASE)
_KERNEL, _CALL, _DELEGATE = "native_call_", "OPERATOR_CALL", "DELEGATE_CALL"
_EXECUTE, _INSIDE = "Execute", "Method::execute"
XNNPACK = "XNNPACK"


class ExecuTorchBackend(Backend):
    name = "executorch"
    summary = "ExecuTorch: programs exported from PyTorch (.pte), on the CPU (XNNPACK)"
    capabilities = Capabilities(
        formats=("pte",),
        precisions=("as-is",),
        options=(
            Option("threads", "int", None, "threads of its pool, the caller's included", minimum=1),
            Option("method", "str", None, "which method is run; `forward` unless given"),
        ),
    )

    def availability(self) -> Ready | Unavailable:
        version = installed_version("executorch")
        if version is None:
            return Unavailable("not_installed", "ExecuTorch is not installed", _FIX)
        if installed_version("torch") is None:
            return Unavailable("broken", "ExecuTorch needs torch, which it does not declare", _FIX)
        return Ready(version)

    def import_runtime(self) -> str:
        from executorch.extension.pybindings import portable_lib

        del portable_lib  # imported for its cost and for the error it may raise
        return str(installed_version("executorch"))

    def open(self, model: ModelFile, options: Mapping[str, Scalar]) -> ExecuTorchSession:
        self.capabilities.check(model, options)
        return ExecuTorchSession(model, options)


class ExecuTorchSession(Session):
    """One method of a program; a run gives it tensors that share the inputs' memory, outputs are copied after."""

    def __init__(self, model: ModelFile, options: Mapping[str, Scalar]) -> None:
        from executorch.extension.pybindings import portable_lib

        self._model = model
        self._threads = _set_threads(portable_lib, options.get("threads"))
        self._program: Any = _program(model.path)
        self._method = _method_name(self._program, model.path, options.get("method"))
        method = _loaded(self._program, self._method, model.path)
        told = method.method_meta()
        inputs = _tensors(told.input_tensor_meta, told.num_inputs(), model.path)
        outputs = _tensors(told.output_tensor_meta, told.num_outputs(), model.path)
        self.inputs = named_by_place(inputs, model.inputs, "input")
        self.outputs = named_by_place(outputs, model.outputs)
        self.run = functools.partial(_run, method)

    def prepare(self, feeds: Feeds) -> Any:
        import numpy as np
        import torch

        return tuple(
            torch.from_numpy(np.require(feeds[info.name], requirements=["C", "W"]))
            for info in self.inputs
        )

    def outputs_of(self, prepared: Any, raw: Any) -> Outputs:
        return {
            info.name: tensor.numpy().copy() for info, tensor in zip(self.outputs, raw, strict=True)
        }

    def effective(self) -> Effective:
        operators = self._operators()
        compute = Counter(str(o.type) for o in operators if o.kind.startswith(COMPUTE) and o.type)
        return Effective(
            device="cpu",
            telemetry="none",
            precision=one_precision(compute),
            providers=dict(Counter(operator.provider for operator in operators)),
            compute_nodes=dict(compute),
            threads=self._threads,
            inputs=self.inputs,
            outputs=self.outputs,
            runtime=f"executorch {installed_version('executorch')}",
            notes=("nodes are the operators of one traced run",),
            options={"method": self._method},
        )

    def _operators(self) -> Sequence[OperatorTime]:
        """The operators of a run on zeros."""
        import numpy as np

        profiler = self.profiler()
        profiler.run({info.name: np.zeros(info.sizes or (), info.dtype) for info in self.inputs})
        profiler.run({info.name: np.zeros(info.sizes or (), info.dtype) for info in self.inputs})
        return profiler.finish().operators

    def profiler(self) -> Profiler:
        return ExecuTorchProfiler(self, self._model.path, self._method)

    def close(self) -> None:
        self.run = closed
        self._program = None


def _run(method: Any, inputs: Any) -> Any:
    return method.call(inputs, clone_outputs=False)


def _set_threads(library: Any, asked: Scalar | None) -> int:
    """Threads of the pool, which is the process's; raises UnsupportedError where it does not take the number."""
    if asked is not None:
        library._unsafe_reset_threadpool(int(asked))  # the only way; unsafe while something runs
    found = int(library._threadpool_get_thread_count())
    if asked is not None and found != asked:
        raise UnsupportedError(f"threads={asked} was asked for, and ExecuTorch has {found}")
    return found


def _program(path: Path, traced: bool = False) -> Any:
    from executorch.extension.pybindings import portable_lib

    try:
        return portable_lib._load_program(str(path), enable_etdump=traced)
    except RuntimeError as error:
        raise _refusal(path, error) from None


def _loaded(program: Any, method: str, path: Path) -> Any:
    """A method, ready to run. Raises UnsupportedError where this build lacks what it needs."""
    try:
        return program.load_method(method)
    except RuntimeError as error:
        raise _refusal(path, error) from None


def _refusal(path: Path, error: Exception) -> EdgebenchError:
    """What an error of ExecuTorch, a number, says of a file."""
    told = _ERROR.search(str(error))
    number = int(told[1], 16) if told else -1
    if number in _DAMAGED:
        return EdgebenchError(
            f"{path} is damaged: {_DAMAGED[number]} (0x{number:x})",
            "check that the file arrived whole: export it again",
        )
    why = _REFUSED.get(number, str(error).splitlines()[0])
    return UnsupportedError(
        f"ExecuTorch refuses {path.name}: {why}" + (f" (0x{number:x})" if told else ""),
        "export it for what this build has, such as XNNPACK",
    )


def _method_name(program: Any, path: Path, asked: Scalar | None) -> str:
    """The method that is run. Raises UnsupportedError where the file has none of that name, or several and none
    was named."""
    known = sorted(str(program.get_method_name(n)) for n in range(program.num_methods()))
    if asked is None and len(known) > 1 and _FORWARD not in known:
        raise UnsupportedError(
            f"{path.name} has several methods ({', '.join(known)}), and one is measured",
            f"--set method={known[0]}",
        )
    chosen = str(asked) if asked is not None else _FORWARD if _FORWARD in known else known[0]
    if chosen not in known:
        raise UnsupportedError(f"{path.name} has no method {chosen!r}{did_you_mean(chosen, known)}")
    return chosen


def _tensors(meta: Callable[[int], Any], count: int, path: Path) -> list[TensorInfo]:
    try:
        return [_described(meta(place)) for place in range(count)]
    except RuntimeError as error:
        raise UnsupportedError(
            f"{path.name} takes or gives what is no tensor: {str(error).splitlines()[0]}",
            "export a method that takes and gives tensors",
        ) from None


def _described(info: Any) -> TensorInfo:
    number = int(info.dtype())
    if number not in _DTYPES or _DTYPES[number] == "bfloat16":
        raise UnsupportedError(
            f"a tensor has the element type {_DTYPES.get(number, number)}, which numpy has not",
            "export the program with inputs and outputs of fp32",
        )
    return TensorInfo("", _DTYPES[number], tuple(int(size) for size in info.sizes()))


# --- operators


class ExecuTorchProfiler(Profiler):
    """The program with its event tracer on, beside the measured one."""

    warm_up = 1

    def __init__(self, session: ExecuTorchSession, path: Path, method: str) -> None:
        if installed_version("pandas") is None:  # the reader of events needs it
            raise UnsupportedError("ExecuTorch's Inspector needs pandas", _FIX)
        self._session = session
        self._program: Any = _program(path, traced=True)
        if not self._program.has_etdump():
            raise UnsupportedError("this build of ExecuTorch has no event tracer", _FIX)
        self._method: Any = _loaded(self._program, method, path)
        self._runs_ns: list[int] = []

    def run(self, feeds: Feeds) -> Outputs:
        prepared = self._session.prepare(feeds)
        start_ns = time.perf_counter_ns()
        raw = _run(self._method, prepared)
        self._runs_ns.append(time.perf_counter_ns() - start_ns)
        return self._session.outputs_of(prepared, raw)

    def finish(self) -> Profile:
        with tempfile.TemporaryDirectory(prefix="edgebench-") as folder:
            path = Path(folder) / "events.etdp"
            self._program.write_etdump_result_to_file(str(path), "")
            events = _events(path)
        self._method = self._program = None
        return Profile(
            operators=tuple(_operators(events, self.warm_up)),
            runs_ns=self._runs_ns[self.warm_up :],
            source="ExecuTorch's event tracer",
            notes=(
                "a .pte file names no nodes: names are the kernels'",
                "XNNPACK counts microseconds",
            ),
        )


@dataclass(frozen=True)
class Event:
    """One event of a run, and what it took in each."""

    name: str
    delegated: bool
    times_ns: tuple[int, ...]


def _events(path: Path) -> list[Event]:
    """The events of the runs in a file of the event tracer."""
    import warnings

    from executorch.devtools import Inspector
    from executorch.devtools.inspector import TimeScale

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what a file without tensors lacks
        inspector = Inspector(
            etdump_path=str(path),
            source_time_scale=TimeScale.NS,
            target_time_scale=TimeScale.NS,
        )
    return [
        Event(
            str(event.name),
            bool(event.is_delegated_op),
            tuple(round(taken) for taken in event.perf_data.raw),
        )
        for block in inspector.event_blocks
        if block.name == _EXECUTE
        for event in block.events
        if event.perf_data is not None
    ]


def _operators(events: Sequence[Event], warm_up: int) -> Iterator[OperatorTime]:
    """Kernels, and operators within delegates; a delegate that tells none is one itself."""
    seen: Counter[str] = Counter()
    inside = 0
    for event in events:
        if event.name in (_CALL, _INSIDE):
            continue
        if event.name == _DELEGATE:
            told, inside = inside, 0
            if told:
                continue
        inside += event.delegated
        kind = re.sub(r" #\d+$", "", event.name).removeprefix(_KERNEL)
        seen[kind] += 1
        yield OperatorTime(
            name=kind if seen[kind] == 1 else f"{kind}#{seen[kind]}",
            kind=kind,
            provider=_provider(event),
            type=type_of(kind),
            times_ns=list(event.times_ns[warm_up:]),
        )


def _provider(event: Event) -> str:
    if event.name == _DELEGATE:
        return "delegate"
    return XNNPACK if event.delegated else "ExecuTorch"


BACKEND = ExecuTorchBackend
