"""How far rounding alone moves a model's answers: what its arithmetic allows two right runtimes to differ.

A file that computes in reduced precision rounds between its operators, and where a kernel sums in another
order or fuses two operators, a value lands one step away: a step of the tensor's own quantisation in int8,
one of the activations' block in front of weights of few bits, one of the last bits in fp16 and bf16. How
much that is in the outputs depends on the file: its depth, its ranges, what it ends in. So nobody guesses:
the model runs once more with every such value moved by up to one step, at random and from a fixed seed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

#: Quantized element types and their limits, by ONNX's names.
_STEPS = {
    "INT4": (-8, 7),
    "UINT4": (0, 15),
    "INT8": (-128, 127),
    "UINT8": (0, 255),
    "INT16": (-32768, 32767),
    "UINT16": (0, 65535),
}
#: Floating-point types that round visibly, and how far a value may be off by it. Of bf16 half a unit of the
#: last place, since sums are kept in fp32; of fp16, in which some kernels keep their sums, two units.
_ROUNDED = {"FLOAT16": ("fp16", 2.0**-9), "BFLOAT16": ("bf16", 2.0**-8)}
#: Of fp32 16 units of the last place, where somebody asks what that moves: a sum of n terms in another
#: order is off by about the root of n, and what cancels out in it makes that visible.
FP32_UNITS = 16
FP32_STEP = FP32_UNITS * 2.0**-23
#: What moves further than that by it is no answer any more that fp32 should be held to: bf16 is off as much.
MAX_FP32_ROUNDING = 0.01
_ROUNDED_FP32 = {"FLOAT": ("fp32", FP32_STEP)}
#: Operators that quantize their first input to 8 bits inside, or may.
_QUANTIZE_INSIDE = {
    "MatMulNBits",
    "DynamicQuantizeMatMul",
    "DynamicQuantizeLSTM",
    "QAttention",
    "QMoE",
}
#: Operators that read quantized values and write floating-point ones, of the type of their scale.
_WRITE_FLOAT = {
    "DequantizeLinear",
    "GatherBlockQuantized",
    "MatMulIntegerToFloat",
    "QAttention",
    "QEmbedLayerNormalization",
}
_WEIGHTS = ("INT4", "UINT4", "INT8", "UINT8")
_PREFIX = "edgebench::"


@dataclass
class _Jitter:
    """A model whose values move while they are rounded, under construction."""

    types: dict[str, str]  # value -> name of its ONNX element type
    computed: set[str]  # values that follow from an input: others are the same in every kernel
    few_bits: dict[str, str]  # value dequantized from constants -> "int4", "int8"
    rounds: Mapping[str, tuple[str, float]]  # types that round visibly
    kinds: set[str] = field(default_factory=set)
    count: int = 0

    def node(self, op_type: str, inputs: list[str], **attributes: Any) -> NodeProto:
        from onnx import helper

        self.count += 1
        name = f"{_PREFIX}{self.count}"
        return helper.make_node(op_type, inputs, [name], name=name, **attributes)

    def number(self, value: float) -> NodeProto:
        from onnx import TensorProto, helper

        return self.node(
            "Constant", [], value=helper.make_tensor("", TensorProto.FLOAT, [], [value])
        )

    def noise(self, like: NodeProto, low: float, high: float) -> NodeProto:
        seed = float(self.count)
        return self.node("RandomUniformLike", [like.output[0]], low=low, high=high, seed=seed)

    def graph(self, graph: GraphProto) -> None:
        """Moves the values of a graph and of the bodies of its nodes, in place."""
        nodes: list[NodeProto] = []
        for node in graph.node:
            for attribute in node.attribute:
                for body in [attribute.g] if attribute.HasField("g") else attribute.graphs:
                    self.graph(body)
            nodes += self.moved_input(node)
            nodes.append(node)
            if node.op_type != "Constant":
                nodes += self.moved_output(node)
        del graph.node[:]
        graph.node.extend(nodes)

    def moved_input(self, node: NodeProto) -> list[NodeProto]:
        """In front of a node that quantizes what it reads: by a step of 8 bits of its largest value."""
        kind = self.inner_kind(node)
        source = node.input[0] if node.input else ""
        if not kind or self.types.get(source) not in ("FLOAT", "FLOAT16", "BFLOAT16"):
            return []
        self.kinds.add(kind)
        wide = self.node("Cast", [source], to=1)
        size = self.node("Abs", [wide.output[0]])
        largest = self.node("ReduceMax", [size.output[0]])
        share = self.number(1 / 127)
        step = self.node("Mul", [largest.output[0], share.output[0]])
        noise = self.noise(wide, -1.0, 1.0)
        shift = self.node("Mul", [noise.output[0], step.output[0]])
        moved = self.node("Add", [wide.output[0], shift.output[0]])
        back = self.node("Cast", [moved.output[0]], to=_number_of(self.types[source]))
        node.input[0] = back.output[0]
        return [wide, size, largest, share, step, noise, shift, moved, back]

    def inner_kind(self, node: NodeProto) -> str:
        if node.op_type in _QUANTIZE_INSIDE:
            bits = next((a.i for a in node.attribute if a.name == "bits"), 8)
            return f"int{bits}"
        if node.op_type in ("MatMul", "Gemm") and node.input[0] not in self.few_bits:
            return self.few_bits.get(node.input[1], "")
        return ""

    def moved_output(self, node: NodeProto) -> list[NodeProto]:
        """Behind a node that writes a quantized tensor, or one of 16 bits."""
        name = node.output[0] if node.output else ""
        kind = self.types.get(name, "") if name in self.computed else ""
        quantized = kind in _STEPS and node.op_type.startswith(("Q", "NhwcQ", "DynamicQuantize"))
        if not quantized and kind not in self.rounds:
            return []
        exact = f"{_PREFIX}exact::{name}"  # names of values may be numbers, as ours are
        node.output[0] = exact
        wide = self.node("Cast", [exact], to=1)
        moved = [wide, *(self.stepped(wide, kind) if quantized else self.rounded(wide, kind))]
        back = self.node("Cast", [moved[-1].output[0]], to=_number_of(kind))
        back.output[0] = name
        return [*moved, back]

    def stepped(self, wide: NodeProto, kind: str) -> list[NodeProto]:
        """One step down, none or one up, within the type's limits."""
        self.kinds.add(kind.lower().removeprefix("u"))
        least, most = map(self.number, _STEPS[kind])
        noise = self.noise(wide, -1.0, 2.0)
        step = self.node("Floor", [noise.output[0]])
        moved = self.node("Add", [wide.output[0], step.output[0]])
        above = self.node("Max", [moved.output[0], least.output[0]])
        within = self.node("Min", [above.output[0], most.output[0]])
        return [least, most, noise, step, moved, above, within]

    def rounded(self, wide: NodeProto, kind: str) -> list[NodeProto]:
        name, unit = self.rounds[kind]
        self.kinds.add(name)
        share, noise = self.number(unit), self.noise(wide, -1.0, 1.0)
        part = self.node("Mul", [noise.output[0], share.output[0]])
        shift = self.node("Mul", [wide.output[0], part.output[0]])
        return [share, noise, part, shift, self.node("Add", [wide.output[0], shift.output[0]])]


def jittered(model: ModelProto, *, fp32: bool = False) -> tuple[ModelProto, str]:
    """The model with every rounded value moved, and the arithmetic that rounds ("int8", "fp16+int8"), in
    place; "" where nothing does: fp32 and above, unless values of `fp32` are to move as well."""
    types, computed = _types(model), _computed(model)
    rounds = {**_ROUNDED, **_ROUNDED_FP32} if fp32 else _ROUNDED
    jitter = _Jitter(types, computed, _few_bits(model, types, computed), rounds)
    jitter.graph(model.graph)
    del model.graph.value_info[:]
    return model, "+".join(sorted(jitter.kinds))


def _types(model: ModelProto) -> dict[str, str]:
    """Element types, inferred, and guessed where the runtime's own operators stop the inference: most of
    them write what they read."""
    import onnx

    from edgebench.models.onnx_file import (
        constant_tensors,
        element_types,
        graph_nodes,
        inferred_graph,
    )

    graph = inferred_graph(model)
    types = element_types(graph)
    for name, tensor in constant_tensors(graph):
        types[name] = str(onnx.TensorProto.DataType.Name(tensor.data_type))
    for node in graph_nodes(graph):
        for name in node.output[:1]:
            if types.get(name, "UNDEFINED") == "UNDEFINED":
                types[name] = _guessed(node, types)
    return types


def _guessed(node: NodeProto, types: Mapping[str, str]) -> str:
    from onnx import TensorProto

    to = next((a.i for a in node.attribute if a.name == "to"), None)
    if node.op_type == "Cast" and to is not None:
        return str(TensorProto.DataType.Name(to))
    read = [types[name] for name in node.input if types.get(name, "UNDEFINED") != "UNDEFINED"]
    if node.op_type in _WRITE_FLOAT:
        return next((kind for kind in read if kind in ("FLOAT", *_ROUNDED)), "UNDEFINED")
    if "Q" in node.op_type[:5]:
        read = [kind for kind in read if kind in _STEPS] or read
    return read[0] if read else "UNDEFINED"


def _computed(model: ModelProto) -> set[str]:
    """Values that follow from an input of the graph; what is drawn at random is its own business."""
    from edgebench.models.onnx_file import graph_inputs, graph_nodes

    computed = {value.name for value in graph_inputs(model)}
    for node in graph_nodes(model.graph):
        bodies = [a.g for a in node.attribute if a.HasField("g")]
        read = [
            *node.input,
            *(n for body in bodies for each in graph_nodes(body) for n in each.input),
        ]
        # What a body is given of each turn (the state of a Loop) is computed by the node around it.
        if not computed.isdisjoint(read):
            computed.update(node.output, (value.name for body in bodies for value in body.input))
    return computed


def _few_bits(
    model: ModelProto, types: Mapping[str, str], computed: Collection[str]
) -> dict[str, str]:
    """Values dequantized from constants of 8 bits or fewer, and those dequantized from computed ones of
    8 bits (as ""): between the latter and such weights, a kernel computes in integers anyway."""
    return {
        node.output[0]: ""
        if node.input[0] in computed
        else types[node.input[0]].lower().removeprefix("u")
        for node in _dequantizers(model)
        if types.get(node.input[0]) in _WEIGHTS
    }


def _dequantizers(model: ModelProto) -> Iterator[NodeProto]:
    from edgebench.models.onnx_file import graph_nodes

    return (n for n in graph_nodes(model.graph) if n.op_type == "DequantizeLinear" and n.input)


def _number_of(kind: str) -> int:
    from onnx import TensorProto

    return int(TensorProto.DataType.Value(kind))
