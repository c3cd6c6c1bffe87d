"""ONNX Runtime's own profiler: a session of its own that records every operator, read back by node of the file."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import time
import weakref
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgebench.backend import ModelFile, TensorInfo
from edgebench.errors import EdgebenchError, UnsupportedError
from edgebench.models import fused_nodes
from edgebench.models.onnx_file import fits_inline, graph_nodes, load_model, save_model
from edgebench.operator_times import OperatorTime, Profile, Profiler

from ._ort_plugins import Part, assigned_parts, record_assignment

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto

    from edgebench.backend import Feeds, Outputs

_SUFFIX = "_kernel_time"
#: What a provider that compiles makes of the nodes that it takes, and ONNX Runtime calls by a number.
COMPILED = "compiled subgraph"
_COMPILED_KIND = re.compile(r"(?P<provider>.+)_\d+_(?P<number>\d+)")
#: Names of precisions by the names of element types in a profile; of others their own.
_TYPES = {
    "float": "fp32",
    "float16": "fp16",
    "bfloat16": "bf16",
    "double": "fp64",
    "uint8": "int8",
    "int8": "int8",
}
#: Opens a session on a model with options that were changed by the function.
Open = Callable[[ModelFile, Callable[[Any], None]], Any]


class OrtProfiler(Profiler):
    """A session with ONNX Runtime's profiling on, beside the measured one."""

    warm_up = 2

    def __init__(
        self,
        model: ModelFile,
        open_session: Open,
        outputs: Sequence[TensorInfo],
        device_of: Callable[[str], str],
    ) -> None:
        self._outputs, self._device_of = outputs, device_of
        self._runs_ns: list[int] = []
        folder = Path(tempfile.mkdtemp(prefix="edgebench-"))
        self._remove = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self._source = load_model(model.path, weights=False)
        model = _with_names(model, self._source, folder)
        self._optimised = folder / "optimized.onnx"
        self._inner: Any = _opened(model, open_session, folder / "p", self._optimised)
        self._parts = assigned_parts(self._inner) or []

    def run(self, feeds: Feeds) -> Outputs:
        start_ns = time.perf_counter_ns()
        answer = self._inner.run(None, feeds)
        self._runs_ns.append(time.perf_counter_ns() - start_ns)
        return {info.name: array for info, array in zip(self._outputs, answer, strict=True)}

    def finish(self) -> Profile:
        events = json.loads(Path(self._inner.end_profiling()).read_bytes())
        self._inner = None
        timed = _timed(events)
        compiled = _compiled(timed, self._parts)
        nodes, notes = (
            _by_name(timed, self._source.graph, compiled)
            if compiled
            else _nodes(self._optimised, timed, self._source.graph)
        )
        self._remove()
        return Profile(
            operators=tuple(self._operator(each, nodes.get(each.name)) for each in timed),
            runs_ns=self._runs_ns[self.warm_up :],
            source="ONNX Runtime's profiler",
            notes=notes,
        )

    def _operator(self, timed: _Timed, nodes: tuple[str, ...] | None) -> OperatorTime:
        return OperatorTime(
            name=timed.name,
            kind=timed.kind,
            nodes=nodes,
            provider=timed.provider,
            device=self._device_of(timed.provider),
            type=timed.type,
            times_ns=timed.times_ns[self.warm_up :],
            moved_bytes=timed.moved_bytes,
            parallel=timed.parallel,
        )


def _opened(model: ModelFile, open_session: Open, prefix: Path, optimised: Path) -> Any:
    """A profiled session that writes the graph it runs, or where it cannot write that, one that does not."""

    def profiled(options: Any) -> None:
        record_assignment(options)
        options.enable_profiling = True
        options.profile_file_prefix = str(prefix)

    def written(options: Any) -> None:
        profiled(options)
        options.optimized_model_filepath = str(optimised)

    try:
        return open_session(model, written)
    except UnsupportedError:
        optimised.unlink(missing_ok=True)
        return open_session(model, profiled)


def _with_names(model: ModelFile, source: ModelProto, folder: Path) -> ModelFile:
    """The same model with a name for each node: a profile knows nodes by name alone."""
    nameless = [node for node in graph_nodes(source.graph) if not node.name]
    if not nameless:
        return model
    whole = load_model(model.path)
    if not fits_inline(whole):
        return model
    for node in graph_nodes(whole.graph):
        node.name = fused_nodes.name_of(node)
    path = folder / "named.onnx"
    save_model(whole, path, keep_opset=True)
    return replace(model, path=path)


@dataclass
class _Timed:
    """An operator of a profile."""

    name: str
    kind: str
    provider: str
    type: str | None
    moved_bytes: int | None
    parallel: bool | None
    times_ns: list[int] = field(default_factory=list)


def _timed(events: Sequence[Mapping[str, Any]]) -> list[_Timed]:
    """The operators in the order in which they first ran, with what each took in every run."""
    starts = sorted(event["ts"] for event in events if event["name"] == "model_run")
    found: dict[tuple[str, str], _Timed] = {}
    for event, own_us in _own_times(_kernels(events)):
        run = bisect_right(starts, event["ts"]) - 1
        if run < 0:
            continue
        name, args = event["name"].removesuffix(_SUFFIX), event["args"]
        key = name, args.get("op_name", "")
        if key not in found:
            found[key] = _described(name, args)
            found[key].times_ns = [0] * len(starts)
        found[key].times_ns[run] += own_us * 1000
    return list(found.values())


def _kernels(events: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [
        event for event in events if event.get("cat") == "Node" and event["name"].endswith(_SUFFIX)
    ]


def _own_times(kernels: list[Mapping[str, Any]]) -> Iterator[tuple[Mapping[str, Any], int]]:
    """Each kernel with its own microseconds: those of the kernels within it (of a branch, of a loop) are
    theirs."""
    within: dict[int, int] = {}
    open_ones: dict[Any, list[Mapping[str, Any]]] = {}
    ordered = sorted(kernels, key=lambda event: (event["ts"], -event["dur"]))
    for event in ordered:
        stack = open_ones.setdefault(event.get("tid"), [])
        while stack and stack[-1]["ts"] + stack[-1]["dur"] < event["ts"] + event["dur"]:
            stack.pop()
        if stack and stack[-1]["ts"] + stack[-1]["dur"] > event["ts"]:
            within[id(stack[-1])] = within.get(id(stack[-1]), 0) + event["dur"]
        stack.append(event)
    for event in ordered:
        yield event, max(0, event["dur"] - within.get(id(event), 0))


def _described(name: str, args: Mapping[str, Any]) -> _Timed:
    kind = str(args.get("op_name", ""))
    return _Timed(
        name=name,
        kind=kind,
        provider=str(args.get("provider", "")),
        type=_type(kind, args.get("input_type_shape") or args.get("output_type_shape") or []),
        moved_bytes=_moved_bytes(args),
        parallel=_parallel(args.get("thread_scheduling_stats")),
    )


def _type(kind: str, tensors: Sequence[Mapping[str, Any]]) -> str | None:
    """What it computes in: the type of its first input, or int8 where it turns that into integers itself."""
    if kind.startswith(("DynamicQuantizeMatMul", "DynamicQuantizeLSTM")):
        return "int8"
    name = next((name for tensor in tensors for name in tensor), None)
    return None if name is None else _TYPES.get(name, name)


def _moved_bytes(args: Mapping[str, Any]) -> int | None:
    try:
        return sum(int(args[key]) for key in ("activation_size", "parameter_size", "output_size"))
    except (KeyError, ValueError):
        return None


def _parallel(stats: Any) -> bool | None:
    """Whether it was cut for several threads; None where the session has one alone."""
    if not isinstance(stats, Mapping):
        return None
    return bool(stats.get("main_thread", {}).get("block_size"))


def _nodes(
    optimised: Path, timed: Sequence[_Timed], source: GraphProto
) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """Names in the file by the name of an operator, and what a reader must know of them."""
    notes: tuple[str, ...] = ()
    try:
        graph = load_model(optimised, weights=False).graph
    except (EdgebenchError, OSError):
        graph = _graph_of(timed)
        notes = ("ONNX Runtime cannot write the graph that it runs: nodes are found by name alone",)
    nodes = fused_nodes.sources_of(graph, source)
    inner = {fused_nodes.name_of(node) for node in graph_nodes(source)}
    for each in timed:  # within a branch or a loop
        if each.name not in nodes and each.name in inner:
            nodes[each.name] = (each.name,)
    return nodes, notes


def _by_name(
    timed: Sequence[_Timed], source: GraphProto, compiled: Mapping[str, tuple[str, ...]]
) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """Names in the file where a provider compiled parts of it; others are found by their name alone."""
    known = {fused_nodes.name_of(node) for node in graph_nodes(source)}
    for each in timed:
        each.kind = COMPILED if each.name in compiled else each.kind
    return {
        each.name: compiled.get(each.name, (each.name,) if each.name in known else ())
        for each in timed
    }, (f"{_provider_of(timed, compiled)} compiles what it takes, and tells no operators of it",)


def _provider_of(timed: Sequence[_Timed], compiled: Mapping[str, Any]) -> str:
    return next(each.provider for each in timed if each.name in compiled)


def _compiled(timed: Sequence[_Timed], parts: Sequence[Part]) -> dict[str, tuple[str, ...]]:
    """Nodes of the operators that a provider compiled, which are numbered as it took them."""
    found = {}
    for each in timed:
        told = _COMPILED_KIND.fullmatch(each.kind)
        if told is None or told["provider"] != each.provider:
            continue
        own = [part for part in parts if part.provider == each.provider]
        number = int(told["number"])
        if number < len(own):
            found[each.name] = own[number].nodes
    return found


def _graph_of(timed: Sequence[_Timed]) -> GraphProto:
    """A graph of the operators that ran, without their tensors."""
    from onnx import helper

    nodes = [helper.make_node(each.kind or "Unknown", [], [], name=each.name) for each in timed]
    return helper.make_graph(nodes, "profiled", [], [])
