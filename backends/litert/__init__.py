"""LiteRT (formerly TensorFlow Lite): .tflite files as they come, ONNX files by our own converter."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
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
    availability_of,
)
from edgebench.errors import EdgebenchError, UnsupportedError
from edgebench.suggest import did_you_mean

if TYPE_CHECKING:
    from edgebench.backend import Feeds, Outputs

#: Operators that do the arithmetic.
_COMPUTE = frozenset(
    {
        *("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "CONV_3D", "FULLY_CONNECTED"),
        *("BATCH_MATMUL", "SVDF", "LSTM", "UNIDIRECTIONAL_SEQUENCE_LSTM"),
    }
)
_PRECISIONS = {
    "float64": "fp64",
    "float32": "fp32",
    "float16": "fp16",
    "int16": "int16",
    "int8": "int8",
    "uint8": "int8",
}
_OPTIONS = (
    Option("threads", "int", None, "threads of the kernels, the caller's included", minimum=1),
    Option(
        "xnnpack", "bool", None, "run through the XNNPACK delegate; LiteRT does unless told not"
    ),
)


class LiteRtBackend(Backend):
    name = "litert"
    summary = "LiteRT, formerly TensorFlow Lite, on the CPU (XNNPACK)"
    capabilities = Capabilities(
        formats=("tflite",),
        precisions=("fp32", "int8-static", "as-is"),
        options=_OPTIONS,
    )

    def availability(self) -> Ready | Unavailable:
        return availability_of("ai-edge-litert", "LiteRT", "pip install 'edgebench[litert]'")

    def import_runtime(self) -> str:
        from ai_edge_litert import interpreter

        del interpreter  # imported for its cost and for the error it may raise
        return importlib.metadata.version("ai-edge-litert")

    def converts(self, model: ModelFile, options: Mapping[str, Scalar]) -> bool:
        return model.format == "onnx"

    def convert(self, model: ModelFile, options: Mapping[str, Scalar], cache: Path) -> ModelFile:
        from . import convert

        key = json.dumps([model.sha256, _sources_sha256(), self.import_runtime()])
        path = cache / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.tflite"
        if not path.exists():
            cache.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(f".{os.getpid()}.tmp")
            convert.convert(model.path, partial)
            partial.replace(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return replace(model, path=path, format="tflite", sha256=digest)

    def open(self, model: ModelFile, options: Mapping[str, Scalar]) -> LiteRtSession:
        self.capabilities.check(model, options)
        return LiteRtSession(model, options)


class LiteRtSession(Session):
    """An `Interpreter`; a run sets the inputs and invokes it, outputs are read after."""

    def __init__(self, model: ModelFile, options: Mapping[str, Scalar]) -> None:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        kinds = OpResolverType
        kind = (
            kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES
            if options.get("xnnpack") is False
            else kinds.BUILTIN
        )
        self._model = model
        before = _os_threads()
        try:
            self._inner: Any = Interpreter(
                str(model.path),
                num_threads=options.get("threads"),
                experimental_op_resolver_type=kind,
            )
            self._inner.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            message = f"LiteRT refuses {model.path.name}: {error}"
            if "Flatbuffer" in str(error) or "allocation is null" in str(error):
                raise EdgebenchError(message, "check that the file arrived whole") from None
            raise UnsupportedError(message) from None
        grown = _os_threads() - before
        self._operators, self._delegated = _operators(self._inner)
        self._threads = self._read_threads(grown, options)
        if options.get("xnnpack") and not self._delegated:
            raise UnsupportedError(f"XNNPACK takes no operator of {model.path.name}")
        inputs, outputs = self._inner.get_input_details(), self._inner.get_output_details()
        names = _workload_names(model, [str(detail["name"]) for detail in (*inputs, *outputs)])
        self.inputs = tuple(_tensor_info(detail, names) for detail in inputs)
        self.outputs = tuple(_tensor_info(detail, names) for detail in outputs)
        self._indices = [int(detail["index"]) for detail in inputs]
        self._out_indices = [int(detail["index"]) for detail in outputs]
        self.run = functools.partial(
            _invoke, self._inner.set_tensor, self._inner.invoke, self._indices
        )

    def prepare(self, feeds: Feeds) -> Any:
        import numpy as np

        return [np.ascontiguousarray(feeds[info.name]) for info in self.inputs]

    def outputs_of(self, prepared: Any, raw: Any) -> Outputs:
        # get_tensor copies.
        return {
            info.name: self._inner.get_tensor(index)
            for info, index in zip(self.outputs, self._out_indices, strict=True)
        }

    def reset(self) -> None:
        self._inner.reset_all_variables()

    def effective(self) -> Effective:
        compute = _census(self._operators)
        precision = next(iter(compute), None) if len(compute) < 2 else "mixed"
        self._demand_precision(compute)
        total = len(self._operators)
        return Effective(
            device="cpu",
            precision=precision,
            providers={"XNNPACK": self._delegated, "LiteRT": total - self._delegated},
            compute_nodes=compute,
            threads=self._threads,
            inputs=self.inputs,
            outputs=self.outputs,
            runtime=f"ai-edge-litert {importlib.metadata.version('ai-edge-litert')}",
            options={"xnnpack": self._delegated > 0},
        )

    def close(self) -> None:
        self.run = _closed
        self._inner = None

    def _read_threads(self, grown: int, options: Mapping[str, Scalar]) -> int | None:
        """Threads that compute, by those that XNNPACK's pool started; LiteRT tells nothing, and its
        own kernels start theirs with the first run only."""
        if self._delegated:
            return grown + 1
        return 1 if options.get("threads") == 1 else None

    def _demand_precision(self, compute: Mapping[str, int]) -> None:
        wanted = self._model.precision
        listed = ", ".join(f"{n} operators in {name}" for name, n in sorted(compute.items()))
        if wanted == "fp32" and set(compute) - {"fp32"}:
            raise UnsupportedError(f"fp32 was asked for, but {self._model.path.name} has {listed}")
        if wanted.startswith("int8") and not compute.get("int8"):
            raise UnsupportedError(
                f"{wanted} was asked for, but {self._model.path.name} has {listed or 'none of it'}"
            )


def _invoke(set_tensor: Any, invoke: Any, indices: list[int], arrays: list[Any]) -> None:
    for index, array in zip(indices, arrays):  # noqa: B905 - measured; `prepare` made them match
        set_tensor(index, array)
    invoke()


def _sources_sha256() -> str:
    """Of the converter: a file made by another version of it is made anew."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()


def _closed(_: Any) -> Any:
    raise RuntimeError("the session is closed")


def _os_threads() -> int:
    """Threads of this process, as the operating system counts them."""
    import psutil

    return int(psutil.Process().num_threads())


def _operators(interpreter: Any) -> tuple[list[Any], int]:
    """The model's operators, and how many of them the delegates took.

    A delegate appends a node DELEGATE with the tensors it reads and writes; the operators it replaced
    are those between the two.
    """
    details = interpreter._get_ops_details()  # the only place that tells
    own = [detail for detail in details if detail["op_name"] != "DELEGATE"]
    maker = {int(t): number for number, d in enumerate(own) for t in d["outputs"]}
    taken: set[int] = set()
    for delegate in details:
        if delegate["op_name"] != "DELEGATE":
            continue
        given = {int(tensor) for tensor in delegate["inputs"]}
        open_ends = [int(tensor) for tensor in delegate["outputs"]]
        while open_ends:
            number = maker.get(open_ends.pop())
            if number is None or number in taken:
                continue
            taken.add(number)
            open_ends += [int(t) for t in own[number]["inputs"] if int(t) not in given]
    return own, len(taken)


def _census(operators: list[Any]) -> dict[str, int]:
    """Compute-heavy operators by the type they compute in: that of their weights where the kernel
    turns its input into it (8-bit weights under float inputs), else of what they write."""
    import numpy as np

    counts: Counter[str] = Counter()
    for detail in operators:
        if detail["op_name"] not in _COMPUTE:
            continue
        kinds = [np.dtype(kind).name for kind in detail["operand_types"]]
        written = np.dtype(detail["result_types"][0]).name
        weight = kinds[1] if len(kinds) > 1 else written
        kind = weight if weight in ("int8", "uint8") else written
        counts[_PRECISIONS.get(kind, kind)] += 1
    return dict(counts)


def _workload_names(model: ModelFile, present: list[str]) -> dict[str, str]:
    """Names in the file -> those of the workload. Raises UnsupportedError for one that is not there."""
    for theirs in model.names.values():
        if theirs not in present:
            near = did_you_mean(theirs, present)
            raise UnsupportedError(f"{model.path.name} has no input or output {theirs!r}{near}")
    return {theirs: ours for ours, theirs in model.names.items()}


def _tensor_info(detail: Mapping[str, Any], names: Mapping[str, str]) -> TensorInfo:
    import numpy as np

    signature = detail.get("shape_signature", detail["shape"])
    shape = tuple(None if int(size) < 0 else int(size) for size in signature)
    name = str(detail["name"])
    return TensorInfo(names.get(name, name), np.dtype(detail["dtype"]).name, shape)


BACKEND = LiteRtBackend
