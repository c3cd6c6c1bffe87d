"""TensorRT's own profiler of layers, as operators."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from edgebench.backend import Session
from edgebench.operator_times import OperatorTime, Profile, Profiler

if TYPE_CHECKING:
    from edgebench.backend import Feeds, Outputs

#: Layers that TensorRT puts in itself.
_ADDED = re.compile(r"reformat", re.IGNORECASE)
Times = Callable[[Any, int], tuple[list[int], dict[str, list[int]]]]


class LayerProfiler(Profiler):
    """Runs each input once plainly, for the answer, and once profiled, in a context of its own: the time of a run is
    that of the profiled one."""

    warm_up = 1

    def __init__(self, session: Session, layer_times: Times, device: str) -> None:
        self._session, self._layer_times, self._device = session, layer_times, device
        self._runs_ns: list[int] = []
        self._layers: dict[str, list[int]] = {}

    def run(self, feeds: Feeds) -> Outputs:
        prepared = self._session.prepare(feeds)
        answer = self._session.outputs_of(prepared, self._session.run(prepared))
        done = len(self._runs_ns) + 1
        runs_ns, layers_ns = self._layer_times(prepared, 1)
        self._runs_ns += runs_ns
        for name, times_ns in layers_ns.items():
            known = self._layers.setdefault(name, [0] * (done - 1))
            known.append(sum(times_ns))
        return answer

    def finish(self) -> Profile:
        return Profile(
            operators=tuple(self._operator(name, times) for name, times in self._layers.items()),
            runs_ns=self._runs_ns[self.warm_up :],
            source="TensorRT's profiler",
            notes=(
                "TensorRT tells names of layers, and not which nodes of the file they stand for",
            ),
        )

    def _operator(self, name: str, times_ns: list[int]) -> OperatorTime:
        added = bool(_ADDED.search(name))
        return OperatorTime(
            name=name,
            kind="Reformat" if added else "layer",
            nodes=() if added else None,
            provider="TensorRT",
            device=self._device,
            times_ns=times_ns[self.warm_up :],
        )
