"""LiteRT (formerly TensorFlow Lite): .tflite files as they come, ONNX files by our own converter."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
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
    named_by_place,
)
from edgebench.errors import EdgebenchError, UnsupportedError, UsageError
from edgebench.models import open_axes
from edgebench.text.did_you_mean import did_you_mean

from .._kept_conversions import converted, kept_file
from .._session_facts import closed, listed, one_precision, os_threads
from .operator_census import census

if TYPE_CHECKING:
    from edgebench.backend import Feeds, Outputs
    from edgebench.operator_times import Profiler

#: In what LiteRT says of a file whose parts point outside it.
_DAMAGED = "not a valid Flatbuffer"
_OPTIONS = (
    Option("threads", "int", None, "threads of the kernels, the caller's included", minimum=1),
    Option("xnnpack", "bool", None, "run through the XNNPACK delegate, which is LiteRT's default"),
    Option(
        "api",
        "str",
        "interpreter",
        "LiteRT's interface: the interpreter, or a compiled model",
        ("interpreter", "compiled"),
    ),
    Option(
        "accelerator",
        "str",
        None,
        "what a compiled model is for; cpu unless given",
        ("cpu", "gpu", "npu"),
    ),
    Option(
        "require_full_delegation",
        "bool",
        False,
        "refuse a model of which a delegate or an accelerator takes only a part",
    ),
    Option(
        "signature", "str", None, "which signature of a .tflite file that has several is measured"
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
        from . import onnx_to_tflite

        made_from = [model.sha256, _sources_sha256(), self.import_runtime()]
        path = kept_file(
            cache, made_from, ".tflite", lambda path: onnx_to_tflite.convert(model.path, path)
        )
        return converted(model, path, "tflite")

    def open(self, model: ModelFile, options: Mapping[str, Scalar]) -> Session:
        self.capabilities.check(model, options)
        if options.get("api") == "compiled":
            from .compiled_model import CompiledModelSession

            return CompiledModelSession(model, options)
        if "accelerator" in options:
            raise UnsupportedError(
                "accelerator is an option of compiled models", "--set api=compiled"
            )
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
        self._model, self._asked_threads = model, options.get("threads")
        before = os_threads()
        opened = functools.partial(
            Interpreter,
            str(model.path),
            num_threads=options.get("threads"),
            experimental_op_resolver_type=kind,
        )
        try:
            self._inner: Any = opened()
            names = _workload_names(model, _port_names(self._inner))
            # What the workload says of names goes before places.
            places = ((), ()) if model.names else (model.inputs, model.outputs)
            _fix_shapes(self._inner, names, places[0], model.shapes)
            self._inner.allocate_tensors()
        except _OpenAxesError as error:
            raise UsageError(error.message, _shapes_that_run(opened, error.shapes)) from None
        except (RuntimeError, ValueError) as error:
            raise _refusal(model.path, error) from None
        grown = os_threads() - before
        self._operators, self._delegated = _operators(self._inner)
        self._threads = self._read_threads(grown, options)
        if options.get("xnnpack") and not self._delegated:
            raise UnsupportedError(f"XNNPACK takes no operator of {model.path.name}")
        self._whole = bool(options.get("require_full_delegation"))
        if self._whole and self._delegated < len(self._operators):
            raise UnsupportedError(
                f"XNNPACK takes {self._delegated} of {len(self._operators)} operators of {model.path.name}",
                "leave require_full_delegation out",
            )
        self._signature = _signature(self._inner, model.path.name, options.get("signature"))
        inputs, outputs = self._inner.get_input_details(), self._inner.get_output_details()
        described = [_tensor_info(detail, names, detail["shape"]) for detail in inputs]
        self.inputs = named_by_place(described, places[0], "input")
        described = [_tensor_info(detail, names, _declared(detail)) for detail in outputs]
        self.outputs = named_by_place(described, places[1])
        self._indices = [int(detail["index"]) for detail in inputs]
        self._out_indices = [int(detail["index"]) for detail in outputs]
        self.run = functools.partial(
            _invoke, self._inner.set_tensor, self._inner.invoke, self._indices
        )

    def prepare(self, feeds: Feeds) -> Any:
        import numpy as np

        return [np.asarray(feeds[info.name], order="C") for info in self.inputs]

    def outputs_of(self, prepared: Any, raw: Any) -> Outputs:
        # get_tensor copies.
        return {
            info.name: self._inner.get_tensor(index)
            for info, index in zip(self.outputs, self._out_indices, strict=True)
        }

    def reset(self) -> None:
        self._inner.reset_all_variables()

    def effective(self) -> Effective:
        compute = census(self._operators)
        self._demand_precision(compute)
        total = len(self._operators)
        return Effective(
            device="cpu",
            telemetry="none",
            precision=one_precision(compute),
            providers={"XNNPACK": self._delegated, "LiteRT": total - self._delegated},
            compute_nodes=compute,
            threads=self._threads,
            inputs=self.inputs,
            outputs=self.outputs,
            runtime=f"ai-edge-litert {importlib.metadata.version('ai-edge-litert')}",
            options={
                "xnnpack": self._delegated > 0,
                "signature": self._signature,
                "api": "interpreter",
                "accelerator": None,
                "require_full_delegation": self._whole,
            },
        )

    def profiler(self) -> Profiler:
        from .operator_profiler import LiteRtProfiler

        if not self._delegated:
            raise UnsupportedError(
                "LiteRT profiles compiled models alone, and they run through XNNPACK",
                "leave xnnpack=false out, or explain the model on another backend",
            )
        inputs, outputs = self._inner.get_input_details(), self._inner.get_output_details()
        names = [str(each["name"]) for each in inputs], [str(each["name"]) for each in outputs]
        return LiteRtProfiler(self, self._model, self._asked_threads, names)

    def close(self) -> None:
        self.run = closed
        self._inner = None

    def _read_threads(self, grown: int, options: Mapping[str, Scalar]) -> int | None:
        """Threads that compute, by those that XNNPACK's pool started; LiteRT tells nothing, and its
        own kernels start theirs with the first run only."""
        if self._delegated:
            return grown + 1
        return 1 if options.get("threads") == 1 else None

    def _demand_precision(self, compute: Mapping[str, int]) -> None:
        precision = self._model.precision
        operators = listed(compute, "operators")
        if precision == "fp32" and set(compute) - {"fp32"}:
            raise UnsupportedError(
                f"fp32 was asked for, but {self._model.path.name} has {operators}"
            )
        if precision.startswith("int8") and not compute.get("int8"):
            raise UnsupportedError(
                f"{precision} was asked for, but {self._model.path.name} has {operators or 'none of it'}"
            )


def _signature(interpreter: Any, file: str, asked: Scalar | None) -> str | None:
    """The signature that is run; None: the file has none.

    Raises UnsupportedError where the file has several and none was asked for, or the one asked for is not
    the first graph's: nothing else of the file would be measured, and nobody would know.
    """
    known = sorted(interpreter.get_signature_list())
    first = [
        name
        for name in known
        if interpreter.get_signature_runner(name)._subgraph_index == 0  # the only place that tells
    ]
    listed = ", ".join(known) or "none"
    if asked is None and len(known) > 1:
        fixes = " or ".join(f"--set signature={name}" for name in first)
        raise UnsupportedError(
            f"{file} has several signatures ({listed}), and one is measured",
            fixes or "export the one to measure as a file of its own",
        )
    if asked is not None and asked not in known:
        near = did_you_mean(str(asked), known)
        raise UnsupportedError(f"{file} has no signature {asked!r}; it has {listed}{near}")
    chosen = str(asked) if asked is not None else next(iter(known), None)
    if chosen is not None and chosen not in first:
        raise UnsupportedError(
            f"the signature {chosen!r} of {file} is not its first graph, which alone is measured",
            "export it as a file of its own",
        )
    return chosen


def _invoke(set_tensor: Any, invoke: Any, indices: list[int], arrays: list[Any]) -> None:
    for index, array in zip(indices, arrays):  # noqa: B905 - measured; `prepare` made them match
        set_tensor(index, array)
    invoke()


def _refusal(path: Path, error: Exception) -> EdgebenchError:
    """A file that is no sound FlatBuffer is damaged; what else LiteRT refuses, it cannot do."""
    if _DAMAGED in str(error):
        return EdgebenchError(
            f"{path} is damaged: {error}", "check that the file arrived whole: download it again"
        )
    return UnsupportedError(f"LiteRT refuses {path.name}: {error}")


def _sources_sha256() -> str:
    """Of the converter: a file made by another version of it is made anew."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()


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


def _workload_names(model: ModelFile, present: list[str]) -> dict[str, str]:
    """Names in the file -> those of the workload. Raises UnsupportedError for one that is not there."""
    for theirs in model.names.values():
        if theirs not in present:
            near = did_you_mean(theirs, present)
            raise UnsupportedError(f"{model.path.name} has no input or output {theirs!r}{near}")
    return {theirs: ours for ours, theirs in model.names.items()}


def _port_names(interpreter: Any) -> list[str]:
    details = (*interpreter.get_input_details(), *interpreter.get_output_details())
    return [str(detail["name"]) for detail in details]


def _declared(detail: Mapping[str, Any]) -> Sequence[int]:
    """The shape as the file says it; an open axis is negative."""
    signature: Sequence[int] = detail.get("shape_signature", detail["shape"])
    return signature


def _fix_shapes(
    interpreter: Any,
    names: Mapping[str, str],
    places: Sequence[str],
    asked: Mapping[str, Sequence[int]],
) -> None:
    """Gives open axes of inputs the sizes that were asked for, and a leading one else a batch of 1."""
    details = interpreter.get_input_details()
    described = [_tensor_info(detail, names, _declared(detail)) for detail in details]
    known = [info.name for info in named_by_place(described, places, "input")]
    for name in asked:
        if name not in known:
            raise UsageError(f"the model has no input {name!r}{did_you_mean(name, known)}")
    shapes = {
        name: _fixed_shape(name, [int(size) for size in _declared(detail)], asked.get(name))
        for name, detail in zip(known, details, strict=True)
    }
    if any(map(_is_open, shapes.values())):
        raise _OpenAxesError(shapes)
    _resize(interpreter, shapes.values())


def _resize(interpreter: Any, shapes: Iterable[Sequence[int]]) -> None:
    for detail, shape in zip(interpreter.get_input_details(), shapes, strict=True):
        if [*shape] != [int(size) for size in _declared(detail)]:
            interpreter.resize_tensor_input(int(detail["index"]), shape, strict=True)


class _OpenAxesError(UsageError):
    """Axes whose sizes nobody gave: the negative ones of `shapes`, which are those of all inputs by name."""

    def __init__(self, shapes: Mapping[str, Sequence[int]]) -> None:
        self.shapes = {name: [*shape] for name, shape in shapes.items()}
        told = [f"{name!r} {shape}" for name, shape in self.shapes.items() if _is_open(shape)]
        super().__init__(f"input {', '.join(told)}: axes are open, so their sizes must be given")


def _shapes_that_run(opened: Callable[[], Any], shapes: Mapping[str, Sequence[int]]) -> str:
    """The options that give open axes sizes with which the model was seen to run, or what they look like."""
    end = time.monotonic() + open_axes.MAX_TRIAL_S
    for size in open_axes.SIZES:
        if time.monotonic() > end:
            break
        tried = {name: _with_size(shape, size) for name, shape in shapes.items()}
        try:
            interpreter = opened()
            _resize(interpreter, tried.values())
            interpreter.allocate_tensors()
            interpreter.invoke()
        except (RuntimeError, ValueError):
            continue
        told = {name: shape for name, shape in tried.items() if _is_open(shapes[name])}
        return open_axes.seen_to_run(told)
    likely = {name: _with_size(shape, 224) for name, shape in shapes.items() if _is_open(shape)}
    return open_axes.unknown(likely)


def _is_open(shape: Sequence[int]) -> bool:
    return min(shape, default=1) < 0


def _with_size(shape: Sequence[int], size: int) -> list[int]:
    return [size if declared < 0 else declared for declared in shape]


def _fixed_shape(name: str, declared: list[int], asked: Sequence[int] | None) -> list[int]:
    """Returns what was asked for, else a leading open axis as a batch of 1. Raises UsageError for a shape that the
    file contradicts."""
    if asked is None:
        return [1 if axis == 0 and size < 0 else size for axis, size in enumerate(declared)]
    fits = len(asked) == len(declared) and all(
        theirs < 0 or theirs == ours for theirs, ours in zip(declared, asked, strict=True)
    )
    if not fits:
        said = ",".join("any" if size < 0 else str(size) for size in declared) or "scalar"
        likely = ",".join(str(size) for size in _with_size(declared, 1)) or "scalar"
        raise UsageError(
            f"input {name!r} is {said} in the model, not {','.join(map(str, asked)) or 'scalar'}",
            f"--shape {name}={likely}, with a size of yours for each `any`"
            if _is_open(declared)
            else "leave --shape out: the model has sizes of its own",
        )
    return [*asked]


def _tensor_info(
    detail: Mapping[str, Any], names: Mapping[str, str], sizes: Sequence[int]
) -> TensorInfo:
    import numpy as np

    shape = tuple(None if int(size) < 0 else int(size) for size in sizes)
    name = str(detail["name"])
    return TensorInfo(names.get(name, name), np.dtype(detail["dtype"]).name, shape)


BACKEND = LiteRtBackend
