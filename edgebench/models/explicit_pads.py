"""`auto_pad` of convolutions and max-pooling as the `pads` it stands for: some converters misread the word.

pnnx pads a MaxPool with SAME_UPPER alike on both sides where ONNX pads the end alone, knows no Conv with
SAME_LOWER, and takes a MaxPool's larger padding at the begin for the padding of both ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgebench.models.onnx_file import attribute, declared_shape, graph_inputs, inferred_graph

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

_OPERATORS = frozenset({"Conv", "MaxPool"})
_SAME = frozenset({"SAME_UPPER", "SAME_LOWER"})

Sizes = dict[str, "tuple[int | None, ...] | None"]
#: Begin and end of each axis.
Pads = list[tuple[int, int]]


def has_odd_pads(model: ModelProto) -> bool:
    """Whether `write_pads` may change the model."""
    return any(_is_same(node) or _leans_to_the_begin(node) for node in model.graph.node)


def write_pads(model: ModelProto) -> None:
    """Writes the padding into the model, in place, where the sizes that it depends on are known."""
    sizes = _sizes(inferred_graph(model), model)
    for node in model.graph.node:
        pads = _pads(node, sizes) if _is_same(node) else None
        if pads is not None:
            _replace_pads(node, pads)
        even = _even_pads(node, sizes) if _leans_to_the_begin(node) else None
        if even is not None:
            _replace_pads(node, even)


def _is_same(node: NodeProto) -> bool:
    return node.op_type in _OPERATORS and attribute(node, "auto_pad", b"").decode() in _SAME


def _leans_to_the_begin(node: NodeProto) -> bool:
    return node.op_type == "MaxPool" and any(begin > end for begin, end in _pads_of(node))


def _pads_of(node: NodeProto) -> Pads:
    pads = attribute(node, "pads", [])
    half = len(pads) // 2
    return list(zip(pads[:half], pads[half:], strict=True))


def _sizes(graph: GraphProto, model: ModelProto) -> Sizes:
    """Shapes by tensor; of weights, those of their data."""
    found: Sizes = {
        value.name: declared_shape(value)
        for value in (*graph.value_info, *graph.output, *graph_inputs(model))
    }
    found.update((tensor.name, tuple(tensor.dims)) for tensor in model.graph.initializer)
    return found


def _pads(node: NodeProto, sizes: Sizes) -> Pads | None:
    """None where a size is not known."""
    image = _spatial(sizes.get(node.input[0]))
    weight = _spatial(sizes.get(node.input[1])) if node.op_type == "Conv" else None
    kernel = attribute(node, "kernel_shape", weight)
    if image is None or kernel is None:
        return None
    upper = attribute(node, "auto_pad", b"") == b"SAME_UPPER"
    axes = zip(image, kernel, *_steps(node, kernel), strict=True)
    return [_pair(*axis, upper=upper) for axis in axes]


def _even_pads(node: NodeProto, sizes: Sizes) -> Pads | None:
    """As much at the end as at the begin, where no window reads what is added; None where one would."""
    image = _spatial(sizes.get(node.input[0]))
    given = _pads_of(node)
    even = [(max(pair), max(pair)) if pair[0] > pair[1] else pair for pair in given]
    if image is None or _windows(node, image, even) != _windows(node, image, given):
        return None
    return even


def _steps(node: NodeProto, kernel: Sequence[int]) -> tuple[list[int], list[int]]:
    """Strides and dilations."""
    ones = [1] * len(kernel)
    return attribute(node, "strides", ones), attribute(node, "dilations", ones)


def _windows(node: NodeProto, image: list[int], pads: Pads) -> list[int]:
    """How many windows an axis has. With ceil_mode the last may hang over, as it does without."""
    kernel = attribute(node, "kernel_shape", [])
    strides, dilations = _steps(node, kernel)
    rest = [
        size + sum(pair) - (k - 1) * d - 1
        for size, pair, k, d in zip(image, pads, kernel, dilations, strict=True)
    ]
    up = bool(attribute(node, "ceil_mode", 0))
    return [-(-r // s) + 1 if up else r // s + 1 for r, s in zip(rest, strides, strict=True)]


def _spatial(shape: Sequence[int | None] | None) -> list[int] | None:
    if shape is None:
        return None
    sizes = [size for size in shape[2:] if size is not None]
    return sizes if len(sizes) == len(shape) - 2 else None


def _pair(size: int, kernel: int, stride: int, dilation: int, *, upper: bool) -> tuple[int, int]:
    """The output has one value per stride of the input; an odd padding is larger at the end, or at the begin."""
    reach = (kernel - 1) * dilation + 1
    total = max((-(-size // stride) - 1) * stride + reach - size, 0)
    small, large = total // 2, total - total // 2
    return (small, large) if upper else (large, small)


def _replace_pads(node: NodeProto, pads: Pads) -> None:
    """Begins of all axes, then ends."""
    from onnx import helper

    begins, ends = zip(*pads, strict=True)
    kept = [a for a in node.attribute if a.name not in ("auto_pad", "pads")]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute("pads", [*begins, *ends])])
