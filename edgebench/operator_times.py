"""Times of a model's operators: what a session's profiler tells.

A profiler is a session beside the measured one, with the runtime's own profiling on: it slows, and nothing of
it may be in a latency.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from edgebench.files.number_bounds import Amount, Count, DurationNs

if TYPE_CHECKING:
    from numpy.typing import NDArray


class OperatorTime(msgspec.Struct, frozen=True, kw_only=True):
    """One operator that a runtime executes, and what it took in each profiled run.

    An operator of the runtime may be several nodes of the model's file (a fused convolution), or none: what
    the runtime put in itself, such as a change of layout. Nodes without a name are called by their first output.
    """

    name: str  # the runtime's own
    kind: str  # the runtime's own: "QLinearConv", "Convolution", ...
    #: Names in the model's file of the nodes that it stands for, in the file's order; None: the runtime does
    #: not tell; none: it put the operator in itself.
    nodes: tuple[str, ...] | None = None
    provider: str = ""  # of ONNX Runtime an execution provider, of others a delegate or a kernel
    device: str = "cpu"  # as `Session.device` names it
    type: str | None = (
        None  # what it computes in: "fp32", "int8", ...; None: the runtime does not tell
    )
    times_ns: list[
        DurationNs
    ]  # one per run, itself alone: operators within it are not counted twice
    moved_bytes: Count | None = None  # of its inputs, constants and outputs
    parallel: bool | None = None  # whether its work was cut for several threads; None: not told

    @property
    def added(self) -> bool:
        """Whether the runtime put it in itself."""
        return self.nodes is not None and not self.nodes


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """The operators of a model in the order in which they ran, and what whole runs took meanwhile."""

    operators: tuple[OperatorTime, ...]
    runs_ns: list[DurationNs]  # the profiled calls, by the caller's clock
    source: str  # whose times they are: "ONNX Runtime's profiler"
    notes: tuple[
        str, ...
    ] = ()  # what a reader must know, for example that names are the runtime's own


#: What limits an operator: arithmetic, memory, or neither of the two.
Bound = Literal["compute", "memory", "overhead"]


class OperatorLine(msgspec.Struct, frozen=True, kw_only=True):
    """One operator of a runtime."""

    name: str
    kind: str
    nodes: list[str] | None = (
        None  # of the file; None: the runtime does not tell; []: it added the operator
    )
    provider: str = ""
    device: str = ""
    type: str | None = None
    time_ns: Amount  # median over runs
    low_ns: Amount  # quartiles over runs
    high_ns: Amount
    share: Amount  # of the sum of all operators
    parallel: bool | None = None
    flops: Count | None = None
    moved_bytes: Count | None = None
    ceiling_ns: Amount | None = None  # no run on this device is faster, by its calibration
    bound: Bound | None = None


class Profiler(ABC):
    """A session that is profiled, opened by `Session.profiler`. Runs may take turns with those of others."""

    @abstractmethod
    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """One profiled run; returns the outputs by name."""

    @abstractmethod
    def finish(self) -> Profile:
        """Ends the profiling, frees the session, and tells what all runs took but the first `warm_up`."""

    #: The first runs, of which nothing is told: they allocate, and start threads.
    warm_up: int = 1


def profile(profiler: Profiler, feeds: Sequence[Mapping[str, NDArray[Any]]], runs: int) -> Profile:
    """The profile of so many runs on these inputs in turn, and of a few more that are not counted."""
    for number in range(profiler.warm_up + runs):
        profiler.run(feeds[number % len(feeds)])
    return profiler.finish()
