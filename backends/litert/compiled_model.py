"""LiteRT's `CompiledModel`: accelerators chosen by name, and whether they took the whole model."""

from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edgebench.backend import Effective, ModelFile, Scalar, Session, TensorInfo, named_by_place
from edgebench.errors import UnsupportedError
from edgebench.text.did_you_mean import did_you_mean

from .._session_facts import closed, one_precision, os_threads
from .operator_census import census, operators_in

if TYPE_CHECKING:
    from edgebench.backend import Feeds, Outputs
    from edgebench.operator_times import Profiler

CPU = "cpu"


class CompiledModelSession(Session):
    """A compiled model with its buffers; a run writes the inputs and runs it, outputs are read after."""

    def __init__(self, model: ModelFile, options: Mapping[str, Scalar]) -> None:
        self._model, self._options = model, dict(options)
        self._accelerator = str(options.get("accelerator", CPU))
        _refuse_options(options)
        before = os_threads()
        self._inner: Any = _compiled(model, self._accelerator, options)
        self._threads = os_threads() - before + 1
        self._whole = bool(self._inner.is_fully_accelerated())
        if options.get("require_full_delegation") and not self._whole:
            raise UnsupportedError(
                f"{self._accelerator} does not take the whole of {model.path.name}",
                "leave require_full_delegation out: the row then says that the CPU runs a part of it",
            )
        signature = self._inner.get_signature_by_index(0)
        key = str(signature["key"])
        self.inputs = _described(
            signature["inputs"], self._inner.get_input_tensor_details(key), model, "input"
        )
        self.outputs = _described(
            signature["outputs"], self._inner.get_output_tensor_details(key), model, "output"
        )
        self._in = self._inner.create_input_buffers(0)
        self._out = self._inner.create_output_buffers(0)
        self.run = functools.partial(_run, self._inner.run_by_index, self._in, self._out)

    def device(self) -> str:
        return self._accelerator

    def prepare(self, feeds: Feeds) -> Any:
        import numpy as np

        return [np.asarray(feeds[info.name], order="C") for info in self.inputs]

    def outputs_of(self, prepared: Any, raw: Any) -> Outputs:
        import numpy as np

        found = {}
        for info, buffer in zip(self.outputs, self._out, strict=True):
            count = int(np.prod(info.sizes or ()))
            values = np.asarray(buffer.read(count, np.dtype(info.dtype).type))
            found[info.name] = values.reshape(info.sizes or ()).copy()
        return found

    def effective(self) -> Effective:
        operators = operators_in(self._model.path)
        compute = census(operators)
        alone = self._accelerator == CPU
        notes = (
            [] if self._whole else [f"the CPU runs a part that {self._accelerator} does not take"]
        )
        return Effective(
            device=self.device(),
            telemetry="none",
            precision=one_precision(compute)
            if alone
            else None,  # an accelerator may compute in less
            providers={self._accelerator.upper(): len(operators)} if self._whole else None,
            compute_nodes=compute,
            threads=self._threads if alone else None,
            inputs=self.inputs,
            outputs=self.outputs,
            runtime=f"ai-edge-litert {importlib.metadata.version('ai-edge-litert')}",
            notes=tuple(notes),
            options={
                "api": "compiled",
                "accelerator": self._accelerator,
                "require_full_delegation": bool(self._options.get("require_full_delegation")),
                "fully_delegated": self._whole,
                "xnnpack": None,
                "signature": None,
            },
        )

    def profiler(self) -> Profiler:
        from .operator_profiler import LiteRtProfiler

        if self._accelerator != CPU:
            raise UnsupportedError(
                f"LiteRT's profiler has not been read on {self._accelerator}",
                "explain the model on another backend, such as --backend ort",
            )
        return LiteRtProfiler(self, self._model, self._options.get("threads"))

    def close(self) -> None:
        self.run = closed
        self._in = self._out = []
        self._inner = None


def _refuse_options(options: Mapping[str, Scalar]) -> None:
    for name in ("xnnpack", "signature"):
        if name in options:
            raise UnsupportedError(
                f"{name} is an option of the interpreter", "--set api=interpreter"
            )
    if "threads" in options and options.get("accelerator", CPU) != CPU:
        raise UnsupportedError("threads is an option of the CPU", "leave it out")


def _compiled(model: ModelFile, accelerator: str, options: Mapping[str, Scalar]) -> Any:
    """The compiled model. What the accelerator does not take the CPU may run, unless the whole is asked for."""
    from ai_edge_litert.compiled_model import CompiledModel, HardwareAccelerator
    from ai_edge_litert.options import Options

    kinds = {name: getattr(HardwareAccelerator, name.upper()) for name in ("cpu", "gpu", "npu")}
    chosen = kinds[accelerator]
    if not options.get("require_full_delegation"):
        chosen |= kinds[CPU]
    settings = Options(hardware_accelerators=chosen)
    if "threads" in options:
        settings.cpu_options.num_threads = int(options["threads"])
    try:
        found = CompiledModel.from_file(str(model.path), options=settings)
    except (RuntimeError, ValueError) as error:
        raise UnsupportedError(
            f"LiteRT does not compile {model.path.name} for {accelerator}: {_reason(error)}"
        ) from None
    if found.get_num_signatures() != 1:
        raise UnsupportedError(
            f"{model.path.name} has several signatures",
            "--set api=interpreter --set signature=NAME",
        )
    return found


def _reason(error: Exception) -> str:
    """The last line of LiteRT's message, which tells; the others are places in its source."""
    lines = [
        line.strip("└ ").strip() for line in str(error).splitlines() if line.strip("└ ").strip()
    ]
    return lines[-1] if lines else type(error).__name__


def _described(
    names: list[str], details: Mapping[str, Mapping[str, Any]], model: ModelFile, kind: str
) -> tuple[TensorInfo, ...]:
    """Inputs or outputs by the names of the workload."""
    ours = {theirs: name for name, theirs in model.names.items()}
    described = []
    for name in names:
        if name not in details:
            near = did_you_mean(name, details)
            raise UnsupportedError(f"{model.path.name} does not describe {name!r}{near}")
        shape = tuple(int(size) for size in details[name]["shape"])
        if min(shape, default=1) < 1:
            raise UnsupportedError(
                f"{kind} {name!r} of {model.path.name} has open axes", "--set api=interpreter"
            )
        described.append(TensorInfo(ours.get(name, name), str(details[name]["dtype"]), shape))
    places = () if model.names else (model.inputs if kind == "input" else model.outputs)
    return named_by_place(described, places, kind)


def _run(run_by_index: Any, inputs: Any, outputs: Any, arrays: list[Any]) -> None:
    for buffer, array in zip(inputs, arrays):  # noqa: B905 - measured; `prepare` made them match
        buffer.write(array)
    run_by_index(0, inputs, outputs)
