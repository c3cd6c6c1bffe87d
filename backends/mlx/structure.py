"""Operators that move values about while the graph is planned: sequences, optionals, control flow.

They cost nothing at run time: a sequence is a Python list, a branch with a known condition is its
nodes, a loop with a known number of turns is unrolled. A condition or a number of turns that depends
on computed data is read in a walk with real arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from .unsupported import UnsupportedOperator

if TYPE_CHECKING:
    from .functions import Scope
    from .planner import Planner

#: A loop that turns more often is not unrolled.
MAX_TURNS = 4096


@dataclass
class Call:
    """One such node: its inputs as the tracer holds them, and where its names live."""

    tracer: Planner
    proto: Any
    name: str
    inputs: list[Any]
    attributes: dict[str, Any]
    env: dict[str, Any]
    scope: Scope

    def refuse(self, why: str, reason: str = "attribute") -> NoReturn:
        raise UnsupportedOperator(self.name, self.proto.op_type, reason, why)

    def static(self, index: int) -> Any:
        """The value of an input that decides what is walked, or None."""
        if index >= len(self.inputs) or self.inputs[index] is None:
            return None
        return self.tracer.static(f"{self.name} ({self.proto.op_type})", self.inputs[index])

    def walk(self, graph: Any, values: Sequence[Any], turn: str = "") -> list[Any]:
        """Walks a subgraph: it sees the names around it; `values` are its inputs."""
        env = dict(self.env)
        env.update(zip((value.name for value in graph.input), values, strict=False))
        scope = replace(self.scope, path=f"{self.name}{turn}/")
        return self.tracer.graph(graph, env, scope)

    def sequence(self, index: int = 0) -> list[Any]:
        value = self.inputs[index]
        if not isinstance(value, list):
            self.refuse("its input is no sequence", "type")
        return value

    def emit(self, operator: str, inputs: list[Any], **attributes: Any) -> list[Any]:
        return list(self.tracer.emit(self, operator, inputs, **attributes))


Function = Callable[[Call], Sequence[Any]]
_ENTRIES: dict[tuple[str, str], Function] = {}


def find(domain: str, operator: str) -> Function | None:
    return _ENTRIES.get((domain, operator))


def structural(name: str) -> Callable[[Function], Function]:
    def register(function: Function) -> Function:
        _ENTRIES["", name] = function
        return function

    return register


@structural("If")
def if_(call: Call) -> Sequence[Any]:
    condition = bool(call.static(0).reshape(-1)[0])
    branch = call.attributes["then_branch" if condition else "else_branch"]
    return call.walk(branch, [])


@structural("Loop")
def loop(call: Call) -> Sequence[Any]:
    body = call.attributes["body"]
    trips, condition = call.static(0), call.static(1)
    limit = int(trips.reshape(-1)[0]) if trips is not None else None
    going = bool(condition.reshape(-1)[0]) if condition is not None else True
    carried = list(call.inputs[2:])
    scans: list[list[Any]] = [[] for _ in body.output[1 + len(carried) :]]
    turn = 0
    while going and (limit is None or turn < limit):
        if turn == MAX_TURNS:
            call.refuse(f"a loop of more than {MAX_TURNS} turns", "shape")
        values = [np.array(turn, np.int64), np.array(True), *carried]
        results = call.walk(body, values, f"[{turn}]")
        turn += 1
        carried = results[1 : 1 + len(carried)]
        for scan, value in zip(scans, results[1 + len(carried) :], strict=True):
            scan.append(value)
        name = f"{call.name} (Loop)"
        going = bool(call.tracer.static(name, results[0]).reshape(-1)[0])
    return [*carried, *(_stacked(call, scan) for scan in scans)]


@structural("Scan")
def scan_(call: Call) -> Sequence[Any]:
    body, count = call.attributes["body"], int(call.attributes["num_scan_inputs"])
    inputs = call.inputs
    if call.scope.opsets.get("", 0) < 9:  # the first form has a batch axis and lengths
        if inputs[0] is not None or call.attributes.get("directions"):
            call.refuse("sequence lengths of Scan-8")
        inputs = inputs[1:]
        states, scanned = inputs[: len(inputs) - count], inputs[len(inputs) - count :]
        batches = _shape(scanned[0])[0]
        rows = []
        for batch in range(batches):
            at = [np.array(batch, np.int64)]
            picked = [call.emit("Gather", [v, *at], axis=0)[0] for v in states + scanned]
            rows.append(_scan_once(call, body, picked[: len(states)], picked[len(states) :], {}))
        return [_stacked(call, list(column)) for column in zip(*rows, strict=True)]
    states, scanned = inputs[: len(inputs) - count], inputs[len(inputs) - count :]
    return _scan_once(call, body, states, scanned, call.attributes)


def _scan_once(
    call: Call, body: Any, states: list[Any], scanned: list[Any], attributes: dict[str, Any]
) -> list[Any]:
    in_axes = attributes.get("scan_input_axes") or [0] * len(scanned)
    in_turns = attributes.get("scan_input_directions") or [0] * len(scanned)
    outputs = len(body.output) - len(states)
    out_axes = attributes.get("scan_output_axes") or [0] * outputs
    out_turns = attributes.get("scan_output_directions") or [0] * outputs
    length = _shape(scanned[0])[in_axes[0]]
    if length > MAX_TURNS:
        call.refuse(f"a scan of more than {MAX_TURNS} turns", "shape")
    scans: list[list[Any]] = [[] for _ in range(outputs)]
    states = list(states)
    for turn in range(length):
        picked = [
            call.emit("Gather", [value, np.array(length - 1 - turn if back else turn)], axis=axis)[
                0
            ]
            for value, axis, back in zip(scanned, in_axes, in_turns, strict=True)
        ]
        results = call.walk(body, [*states, *picked], f"[{turn}]")
        states = results[: len(states)]
        for scan, value in zip(scans, results[len(states) :], strict=True):
            scan.append(value)
    stacked = [
        _stacked(call, scan[::-1] if back else scan, axis)
        for scan, axis, back in zip(scans, out_axes, out_turns, strict=True)
    ]
    return [*states, *stacked]


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(value.shape)


def _stacked(call: Call, values: list[Any], axis: int = 0) -> Any:
    if not values:
        call.refuse("a loop without a turn has no scan outputs", "shape")
    rank = len(_shape(values[0])) + 1
    at = np.array([axis % rank], np.int64)
    if call.scope.opsets.get("", 0) >= 13:
        raised = [call.emit("Unsqueeze", [value, at])[0] for value in values]
    else:
        raised = [call.emit("Unsqueeze", [value], axes=[axis % rank])[0] for value in values]
    return call.emit("Concat", raised, axis=axis)[0]


@structural("SequenceEmpty")
def sequence_empty(_call: Call) -> Sequence[Any]:
    return [[]]


@structural("SequenceConstruct")
def sequence_construct(call: Call) -> Sequence[Any]:
    return [list(call.inputs)]


@structural("SequenceAt")
def sequence_at(call: Call) -> Sequence[Any]:
    return [call.sequence()[int(call.static(1))]]


@structural("SequenceInsert")
def sequence_insert(call: Call) -> Sequence[Any]:
    values = list(call.sequence())
    position = call.static(2)
    place = len(values) if position is None else int(position.reshape(-1)[0])
    if not -len(values) <= place <= len(values):
        call.refuse(f"position {place} in a sequence of {len(values)}", "shape")
    values.insert(place, call.inputs[1])
    return [values]


@structural("SequenceErase")
def sequence_erase(call: Call) -> Sequence[Any]:
    values = list(call.sequence())
    position = call.static(1)
    del values[-1 if position is None else int(position.reshape(-1)[0])]
    return [values]


@structural("SequenceLength")
def sequence_length(call: Call) -> Sequence[Any]:
    return [np.array(len(call.sequence()), np.int64)]


@structural("ConcatFromSequence")
def concat_from_sequence(call: Call) -> Sequence[Any]:
    axis = int(call.attributes["axis"])
    if call.attributes.get("new_axis"):
        return [_stacked(call, call.sequence(), axis)]
    return call.emit("Concat", call.sequence(), axis=axis)


@structural("SplitToSequence")
def split_to_sequence(call: Call) -> Sequence[Any]:
    axis = int(call.attributes.get("axis", 0))
    size = _shape(call.inputs[0])[axis]
    split = call.static(1)
    keep = True if split is not None else bool(call.attributes.get("keepdims", 1))
    if split is None:
        lengths = [1] * size
    elif split.ndim == 0:
        step = int(split)
        lengths = [min(step, size - at) for at in range(0, size, step)]
    else:
        lengths = [int(length) for length in split]
    rank = len(_shape(call.inputs[0]))
    ends = np.cumsum(lengths)
    parts = []
    for end, length in zip(ends, lengths, strict=True):
        where = np.arange(end - length, end) if keep else np.array(end - 1)
        parts.append(call.emit("Gather", [call.inputs[0], where], axis=axis % rank)[0])
    return [parts]


@structural("Optional")
def optional(call: Call) -> Sequence[Any]:
    return [call.inputs[0] if call.inputs else None]


@structural("OptionalHasElement")
def optional_has_element(call: Call) -> Sequence[Any]:
    return [np.array(bool(call.inputs) and call.inputs[0] is not None)]


@structural("OptionalGetElement")
def optional_get_element(call: Call) -> Sequence[Any]:
    if call.inputs[0] is None:
        call.refuse("an optional without an element", "type")
    return [call.inputs[0]]


@structural("Identity")
def identity(call: Call) -> Sequence[Any]:
    return [call.inputs[0]]
