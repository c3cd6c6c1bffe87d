"""Which whole numbers the inputs of a graph may be: rows of a table, sizes, counts, as its operators read them.

An input is followed through what leaves its values as they are (Cast, Unsqueeze, Identity, adding a constant, ...)
to the operators that read it. What no rule here knows is not in the answer: the caller has a default for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import msgspec

from edgebench.task import InputRange

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

#: Their first input goes through them with its values as they were.
_KEEP_VALUES = {
    *("Identity", "Cast", "CastLike", "Unsqueeze", "Squeeze", "Reshape", "Flatten", "Transpose"),
    *("Expand", "Tile", "Slice", "Concat", "Max", "Min", "Clip", "Dropout", "Abs"),
    *("SplitToSequence", "Split", "Gather", "GatherElements", "Where"),
}
_MAX_INT32 = 2**31 - 1
#: What a size or a count is where nothing else tells: enough to do something, little enough to end.
_COUNT = 4
#: Of so many numbers a constant is read: the classes of a one-hot code, of bytes or letters.
MAX_CONSTANTS = 1024
#: Divisors are not zero.
_DIVISOR = InputRange(low=1, high=3, why="divisor")


@dataclass(frozen=True)
class _Reader:
    """An operator that reads a value, and what is known around it."""

    node: NodeProto
    place: int  # of the value among its inputs
    size: int | None  # how many numbers the value has
    shapes: Mapping[str, tuple[int | None, ...]]
    constants: Mapping[str, list[Any]]

    def attribute(self, name: str, default: int) -> int:
        return next((int(a.i) for a in self.node.attribute if a.name == name), default)

    def dims(self, place: int) -> tuple[int | None, ...]:
        """The shape of another of its inputs; empty where it is not known."""
        names = self.node.input
        return self.shapes.get(names[place], ()) if place < len(names) else ()

    def rows(self, place: int, axis: int) -> InputRange | None:
        """A place along an axis of another of its inputs."""
        size = self.length(place, axis)
        if not size:
            return None
        told = f"rows of {self.node.op_type} {self.node.input[place]!r}"
        return InputRange(low=0, high=size - 1, why=told)

    def length(self, place: int, axis: int) -> int | None:
        dims = self.dims(place)
        return dims[axis] if -len(dims) <= axis < len(dims) else None

    def constant(self, place: int) -> list[Any]:
        """Returns what another of its inputs holds; nothing where it is none of a few numbers."""
        names = self.node.input
        return self.constants.get(names[place], []) if place < len(names) else []

    def fixed(self, values: list[int], what: str) -> InputRange:
        return InputRange(values=values, why=f"{what} of {self.node.op_type}")


Rule = Callable[[_Reader], InputRange | None]


def input_ranges(model: ModelProto) -> dict[str, InputRange]:
    """Input -> the numbers it may be."""
    from edgebench.models.onnx_file import graph_inputs, graph_nodes

    shapes, constants = _shapes_and_constants(model)
    followed: dict[str, tuple[str, int]] = {v.name: (v.name, 0) for v in graph_inputs(model)}
    ranges: dict[str, InputRange] = {}
    asked_for: dict[str, InputRange | None] = {}  # where no other reader tells more
    for node in graph_nodes(model.graph):
        for place, name in enumerate(node.input):
            if name not in followed:
                continue
            source, shift = followed[name]
            reader = _Reader(node, place, _count(shapes.get(source)), shapes, constants)
            rule = _RULES.get((node.op_type, place))
            told = rule(reader) if rule else None
            if told is not None:
                moved = _moved(told, shift)
                ranges[source] = _both(ranges[source], moved) if source in ranges else moved
            elif node.op_type == "Equal":
                asked_for.setdefault(source, _range_of_comparison(reader))
            further = _followed_through(reader, shift)
            if further is not None and node.output:
                followed.setdefault(node.output[0], (source, further))
    return {**{name: told for name, told in asked_for.items() if told is not None}, **ranges}


def _shapes_and_constants(
    model: ModelProto,
) -> tuple[dict[str, tuple[int | None, ...]], dict[str, list[Any]]]:
    """Shapes of values, inferred, and small constants."""
    from onnx import TensorProto, numpy_helper

    from edgebench.models.onnx_file import constant_tensors, declared_shape, graphs, inferred_graph

    graph = inferred_graph(model)
    plain = {TensorProto.INT64, TensorProto.INT32, TensorProto.FLOAT}
    shapes: dict[str, tuple[int | None, ...]] = {}
    constants: dict[str, list[Any]] = {}
    for part in graphs(graph):
        for value in (*part.input, *part.value_info, *part.output):
            shape = declared_shape(value)
            if shape is not None:
                shapes[value.name] = shape
    for name, tensor in constant_tensors(graph):
        shapes[name] = tuple(tensor.dims)
        small = _count(shapes[name]) in range(MAX_CONSTANTS + 1) and not tensor.external_data
        if small and tensor.data_type in plain:
            constants[name] = numpy_helper.to_array(tensor).reshape(-1).tolist()
    return shapes, constants


def _count(shape: tuple[int | None, ...] | None) -> int | None:
    known = [size for size in shape or () if size is not None]
    return None if shape is None or len(known) < len(shape) else prod(known)


def _followed_through(reader: _Reader, shift: int) -> int | None:
    """Returns what is added to the input in the node's output so far; None: its values end here."""
    node, place = reader.node, reader.place
    if node.op_type in ("Add", "Sub") and len(node.input) == 2:
        other = reader.constant(1 - place)
        if len(other) != 1 or other[0] % 1 != 0 or (node.op_type == "Sub" and place == 1):
            return None  # nothing whole is added; infinity and what is no number are not either
        return shift + int(other[0]) * (1 if node.op_type == "Add" else -1)
    if node.op_type == "Where":
        return shift if place > 0 else None
    if node.op_type in ("Concat", "Max", "Min"):
        return shift
    return shift if node.op_type in _KEEP_VALUES and place == 0 else None


def _moved(told: InputRange, shift: int) -> InputRange:
    if not shift:
        return told
    values = [value - shift for value in told.values]
    if told.low is None or told.high is None:
        return msgspec.structs.replace(told, values=values)
    low, high = told.low - shift, told.high - shift
    # What is shifted to become an index counts from 0 itself, where it can.
    return msgspec.structs.replace(told, low=max(low, 0) if high >= 0 else low, high=high)


def _both(first: InputRange, second: InputRange) -> InputRange:
    """Returns what both readers take. Fixed values are inputs for which one number or one list alone is right."""
    if first.values or second.values:
        return first if first.values else second
    low, high = max(first.low or 0, second.low or 0), min(first.high or 0, second.high or 0)
    if low > high:
        return first
    return InputRange(low=low, high=high, why=first.why if high == first.high else second.why)


# --- what operators read ------------------------------------------------------------------------


def _gather(reader: _Reader) -> InputRange | None:
    return reader.rows(0, reader.attribute("axis", 0))


def _gather_nd(reader: _Reader) -> InputRange | None:
    """Places along several axes: what all of them have."""
    data, indices = reader.dims(0), reader.dims(1)
    first = reader.attribute("batch_dims", 0)
    depth = indices[-1] if indices else None
    sizes = data[first : first + depth] if depth else ()
    known = [size for size in sizes if size]
    if not known or len(known) < len(sizes):
        return None
    return InputRange(low=0, high=min(known) - 1, why=f"places of {reader.node.op_type}")


def _embedding(place: int) -> Rule:
    return lambda reader: reader.rows(place, 0)


def _top_k(reader: _Reader) -> InputRange | None:
    size = reader.length(0, reader.attribute("axis", -1))
    return reader.fixed([min(size or 1, 5)], "K")


def _one_hot(reader: _Reader) -> InputRange | None:
    depth = reader.constant(1)
    if len(depth) != 1:
        return None
    return InputRange(low=0, high=max(int(depth[0]) - 1, 0), why="classes of OneHot")


def _new_shape(reader: _Reader) -> InputRange | None:
    """The shape that data has where the ranks fit, else one long axis."""
    data, rank = reader.dims(0), reader.size
    if rank is None:
        return None
    if len(data) == rank and None not in data:
        return reader.fixed([size or 0 for size in data], "shape")
    return reader.fixed([1] * (rank - 1) + [-1], "shape") if rank else None


def _wider_shape(reader: _Reader) -> InputRange | None:
    data, rank = reader.dims(0), reader.size
    if rank is None or rank < len(data) or None in data:
        return None
    return reader.fixed([1] * (rank - len(data)) + [size or 1 for size in data], "shape")


def _always(value: int, what: str) -> Rule:
    return lambda reader: reader.fixed([value], what)


def _axes(reader: _Reader) -> InputRange | None:
    return reader.fixed(list(range(reader.size or 1)), "axes")


def _parts(reader: _Reader) -> InputRange | None:
    size = reader.length(0, reader.attribute("axis", 0))
    count = len(reader.node.output)
    if size is None or reader.size != count or size < count:
        return None
    return reader.fixed(
        [size // count] * (count - 1) + [size - size // count * (count - 1)], "parts"
    )


def _sequence_length(reader: _Reader) -> InputRange | None:
    dims = reader.dims(0)
    return reader.fixed([dims[0]], "sequence_lens") if dims and dims[0] else None


def _range_of_comparison(reader: _Reader) -> InputRange | None:
    """The number that a single value is asked for, such as a sample rate: what the graph was made for. Of
    several, each by its place, the classes of a one-hot code that is written as a comparison."""
    other = reader.constant(1 - reader.place)
    if not other or not isinstance(other[0], int) or isinstance(other[0], bool):
        return None
    if len(other) > 1:
        return InputRange(low=min(other), high=max(other), why="compared by Equal")
    return InputRange(values=other, why="compared by Equal") if reader.size == 1 else None


_RULES: dict[tuple[str, int], Rule] = {
    ("Gather", 1): _gather,
    ("GatherElements", 1): _gather,
    ("ScatterElements", 1): _gather,
    ("Scatter", 1): _gather,
    ("GatherND", 1): _gather_nd,
    ("ScatterND", 1): _gather_nd,
    ("GatherBlockQuantized", 1): lambda reader: reader.rows(0, reader.attribute("gather_axis", 0)),
    ("EmbedLayerNormalization", 0): _embedding(2),
    ("EmbedLayerNormalization", 1): _embedding(4),
    ("TopK", 1): _top_k,
    ("OneHot", 0): _one_hot,
    ("OneHot", 1): _always(8, "depth"),
    ("Reshape", 1): _new_shape,
    ("Expand", 1): _wider_shape,
    ("Tile", 1): _always(1, "repeats"),
    ("ConstantOfShape", 0): _always(_COUNT, "shape"),
    ("Range", 0): _always(0, "start"),
    ("Range", 1): _always(2 * _COUNT, "limit"),
    ("Range", 2): _always(1, "delta"),
    ("Slice", 1): _always(0, "starts"),
    ("Slice", 2): _always(_MAX_INT32, "ends"),
    ("Slice", 3): _axes,
    ("Slice", 4): _always(1, "steps"),
    ("Pad", 1): _always(0, "pads"),
    ("Pad", 3): _axes,
    ("Resize", 3): _new_shape,
    ("Split", 1): _parts,
    ("Unsqueeze", 1): _axes,
    ("Squeeze", 1): _axes,
    ("CumSum", 1): _always(0, "axis"),
    ("Loop", 0): _always(_COUNT, "iterations"),
    ("Loop", 1): _always(1, "condition"),
    ("RNN", 4): _sequence_length,
    ("GRU", 4): _sequence_length,
    ("LSTM", 4): _sequence_length,
    ("NonMaxSuppression", 2): _always(10, "boxes"),
    ("Trilu", 1): _always(0, "diagonal"),
    ("Div", 1): lambda reader: _DIVISOR,
    ("Mod", 1): lambda reader: _DIVISOR,
    **{(f"Reduce{kind}", 1): _axes for kind in ("Sum", "Mean", "Max", "Min", "Prod", "L2", "L1")},
}
