"""OpenVINO's own counters: a compiled model with PERF_COUNT, whose layers know the nodes that they came from."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgebench.backend import ModelFile, Session
from edgebench.models.onnx_file import graph_nodes, load_model
from edgebench.operator_times import OperatorTime, Profile, Profiler

if TYPE_CHECKING:
    from edgebench.backend import Feeds, Outputs

#: What OpenVINO appends to the name of a node that it splits.
_APPENDED = ("/WithoutBiases", "/sink_port_0")


#: OpenVINO counts microseconds; a run's own time is told where it is this many times what rounding adds to it.
COUNTER_STEP_NS, MIN_STEPS = 1000, 10


@dataclass
class _Layer:
    """A layer of the graph that runs, and what it took in each run."""

    kind: str
    type: str
    kernel: str
    nodes: tuple[str, ...] | None
    #: After each run, what a run took on average so far: OpenVINO tells nothing else.
    averages_ns: list[int] = field(default_factory=list)

    def times_ns(self, runs: int, warm_up: int) -> list[int]:
        """What each run but the first ones took: differences of sums, or where the counter's step is much of
        them, their average for each."""
        sums = [count * mean for count, mean in enumerate(self.averages_ns, start=1)]
        sums = [0] * (runs - len(sums)) + sums
        counted = sums[warm_up - 1 :]
        mean = round((counted[-1] - counted[0]) / max(len(counted) - 1, 1))
        if mean < MIN_STEPS * runs * COUNTER_STEP_NS:
            return [max(0, mean)] * (len(counted) - 1)
        return [max(0, b - a) for a, b in itertools.pairwise(counted)]


class OpenVinoProfiler(Profiler):
    """A compiled model with counters beside the measured one."""

    warm_up = 2

    def __init__(
        self,
        session: Session,
        compiled: Any,
        model: ModelFile,
        device: str,
        precision_of: Callable[[str], str],
    ) -> None:
        self._session, self._compiled, self._device = session, compiled, device
        self._request = compiled.create_infer_request()
        self._runs_ns: list[int] = []
        self._layers = _layers(compiled, _names_in(model), precision_of)
        self._order: list[str] = []

    def run(self, feeds: Feeds) -> Outputs:
        prepared = self._session.prepare(feeds)
        start_ns = time.perf_counter_ns()
        raw = self._request.infer(prepared, share_inputs=True, share_outputs=True)
        self._runs_ns.append(time.perf_counter_ns() - start_ns)
        self._count()
        return self._session.outputs_of(prepared, raw)

    def _count(self) -> None:
        """Adds the counters of the last run."""
        for info in self._request.get_profiling_info():
            if info.status.name != "EXECUTED":
                continue
            layer = self._layers.setdefault(
                info.node_name, _Layer(info.node_type, "", info.exec_type, None)
            )
            if not layer.averages_ns:
                self._order.append(info.node_name)
            layer.averages_ns.append(round(info.real_time.total_seconds() * 1e9))

    def finish(self) -> Profile:
        self._request = self._compiled = None
        runs = len(self._runs_ns)
        return Profile(
            operators=tuple(
                OperatorTime(
                    name=name,
                    kind=layer.kind,
                    nodes=layer.nodes,
                    provider="OpenVINO",
                    device=self._device,
                    type=layer.type or None,
                    times_ns=layer.times_ns(runs, self.warm_up),
                )
                for name, layer in ((name, self._layers[name]) for name in self._order)
            ),
            runs_ns=self._runs_ns[self.warm_up :],
            source="OpenVINO's counters (PERF_COUNT)",
            notes=("OpenVINO tells averages over runs: short layers have no spread of their own",),
        )


def _layers(
    compiled: Any, known: Mapping[str, str], precision_of: Callable[[str], str]
) -> dict[str, _Layer]:
    """Layers of the graph that runs by their name."""
    found = {}
    for node in compiled.get_runtime_model().get_ordered_ops():
        info = node.get_rt_info()
        kind, precision, kernel, original = (
            info[key].astype(str) if key in info else ""
            for key in ("layerType", "runtimePrecision", "primitiveType", "originalLayersNames")
        )
        nodes = _nodes(original, known)
        name = str(node.get_friendly_name())
        found[name] = _Layer(kind, precision_of(precision), kernel, nodes)
    return found


def _nodes(original: str, known: Mapping[str, str]) -> tuple[str, ...] | None:
    """Nodes of the file that a layer came from: none where OpenVINO put it in, None where it does not say
    by which names the file knows them."""
    if not original:
        return ()
    names = []
    for part in original.split(","):
        for appended in _APPENDED:
            part = part.removesuffix(appended)
        if part in known:
            names.append(known[part])
    return tuple(dict.fromkeys(names)) or None


def _names_in(model: ModelFile) -> dict[str, str]:
    """Names of nodes, and of what they write, to the names by which nodes are told."""
    from edgebench.models.fused_nodes import name_of

    if model.format != "onnx":
        return {}
    nodes = list(graph_nodes(load_model(model.path, weights=False).graph))
    written = {output: name_of(node) for node in nodes for output in node.output if output}
    return {**written, **{node.name: node.name for node in nodes if node.name}}
