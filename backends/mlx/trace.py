"""Walks an ONNX graph once and writes down what MLX has to do: the plan.

While walking, a value is one of: a numpy array (a constant), an MLX array (a constant that follows
from a graph input whose value is part of the plan's key), `Traced` (depends on the model's inputs), a
list of values (a sequence), or None (left out). Operators run lazily on sample arrays, so that shapes
and types are MLX's own; nothing of it is evaluated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import mlx.core as mx
import numpy as np

from . import functions, structure
from . import operator_registry as registry
from .arrays import MLX_DTYPES, dtype_name, to_mlx, to_numpy
from .fold import fold
from .functions import Scope
from .fuse import fused
from .node import Node, WantsPlain
from .onnx_attrs import attribute_value, element_type
from .unsupported import UnsupportedOperator

#: These give other results in each run: nothing to compute once, and nothing to compare.
RANDOM = frozenset(
    {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial"}
)

#: Where nearly all arithmetic happens: their type is the precision of a graph.
COMPUTE = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum", "RNN", "GRU", "LSTM"})


class NeedsValue(Exception):
    """A graph input decides a shape: the plan is to be made anew for each of its values."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class DataDependent(Exception):
    """A shape depends on computed data: the graph can only be walked with real arrays."""


@dataclass(eq=False)
class Traced:
    """A value that depends on the inputs: its place in the run, and a sample for shape and type."""

    slot: int
    sample: Any
    last: bool = False  # channels lie last, where ONNX says second
    source: str | None = None  # the graph input it is
    twin: Traced | None = None  # the same value in the other layout

    @property
    def shape(self) -> tuple[int, ...]:
        shape = tuple(self.sample.shape)
        return (shape[0], shape[-1], *shape[1:-1]) if self.last else shape


@dataclass(frozen=True)
class Slot:
    """Stands in a step for the value of a `Traced`."""

    index: int


@dataclass(frozen=True)
class Step:
    """One call of an operator function in a run."""

    function: Callable[..., Any]
    node: Node
    arguments: tuple[Any, ...]
    results: tuple[int | None, ...]


@dataclass
class Plan:
    """Holds what a run does: steps over slots. Outputs that are constants stand as they are."""

    inputs: dict[str, int]  # name -> slot; inputs that are part of the key have none
    outputs: list[Any]
    steps: list[Step]
    slots: int
    compute: Mapping[str, int] = field(default_factory=dict)  # type -> compute-heavy operators
    weights: tuple[Any, ...] = ()  # constants as MLX holds them
    group_size: int | None = None  # of packed weights; None where nothing was packed

    @property
    def compilable(self) -> bool:
        """Whether all outputs are single values that depend on the inputs."""
        return all(type(output) is Slot for output in self.outputs)

    def weight_bytes(self) -> dict[str, int]:
        """Bytes of constants by element type."""
        found: dict[str, int] = {}
        for array in self.weights:
            name = dtype_name(array)
            found[name] = found.get(name, 0) + int(array.nbytes)
        return found

    def __call__(self, arrays: Sequence[Any]) -> list[Any]:
        """The outputs, lazily: sequences as lists."""
        values: list[Any] = [None] * self.slots
        for slot, array in zip(self.inputs.values(), arrays, strict=True):
            values[slot] = array
        for step in self.steps:
            raw = step.function(step.node, *_bind(step.arguments, values))
            results = raw if isinstance(raw, tuple) else (raw,)
            for slot_or_none, result in zip(step.results, results, strict=False):
                if slot_or_none is not None:
                    values[slot_or_none] = result
        return list(_bind(self.outputs, values))


def _bind(arguments: Sequence[Any], values: list[Any]) -> Iterator[Any]:
    for argument in arguments:
        if type(argument) is Slot:
            yield values[argument.index]
        elif type(argument) is list:
            yield list(_bind(argument, values))
        else:
            yield argument


@dataclass
class Tracer:
    """One walk. With `concrete`, samples are the real arrays of a run, and nothing is written down."""

    device: str
    policy: str = "float32"  # what float32 is computed as
    concrete: bool = False
    bits: int = 0  # of the weights of matrix products; 0 keeps them as they are
    group_size: int = 64
    packed: bool = False  # whether any weight was
    steps: list[Step] = field(default_factory=list)
    slots: int = 0
    compute: dict[str, int] = field(default_factory=dict)  # type -> compute-heavy operators
    dynamic: dict[str, str] = field(default_factory=dict)  # nodes with data-dependent shapes
    _traced: dict[int, Traced] = field(default_factory=dict)  # of the current call, by its sample
    _constants: dict[int, tuple[Any, Any]] = field(default_factory=dict)
    _lasts: dict[tuple[int, int], tuple[Any, Any]] = field(default_factory=dict)

    # What operators ask for

    def policy_name(self, dtype: str) -> str:
        return self.policy if dtype == "float32" else dtype

    def constant(self, node: Node, value: Any) -> Any:
        """A numpy constant as an MLX array, converted once."""
        known = self._constants.get(id(value))
        if known is None:
            name = value.dtype.name
            if name not in MLX_DTYPES:
                node.refuse(f"a constant of type {_told(name)}", "type")
            if name == "float64" and self.device != "cpu":
                node.refuse("a constant of type float64", "type")
            array = to_mlx(value)
            if name == "float32" and self.policy != "float32":
                array = array.astype(MLX_DTYPES[self.policy])
            known = self._constants[id(value)] = (value, array)  # value kept: ids are reused
        return known[1]

    def static(self, node: Node | str, value: Any) -> Any:
        """The value of an operand that decides a shape, as a numpy array."""
        if value is None or isinstance(value, np.ndarray):
            return value
        traced = value if isinstance(value, Traced) else self._traced.get(id(value))
        if traced is None:
            return to_numpy(value)
        if self.concrete:
            if traced.source is None:
                name = node if isinstance(node, str) else f"{node.name} ({node.operator})"
                self.dynamic.setdefault(name, "a shape depends on data")
            return to_numpy(self.first(traced).sample)
        if traced.source is not None:
            raise NeedsValue(traced.source)
        raise DataDependent

    def quantised(self, node: Node, a: Any, b: Any) -> Any | None:
        """A product with a constant weight in MLX's packed form, where the variant asks for it."""
        if not self.bits or not isinstance(b, np.ndarray) or b.ndim != 2 or a.ndim < 2:
            return None
        if b.dtype.name != "float32" or b.shape[0] % self.group_size:
            return None
        from .ops.matmul import quantise

        dtype = MLX_DTYPES[self.policy]
        packed = node.memo("packed", lambda: quantise(b, self.group_size, self.bits, dtype))
        node.packed = self.packed = True
        weight, scales, biases = packed
        return mx.quantized_matmul(a, weight, scales, biases, True, self.group_size, self.bits)

    # The walk

    def input(self, name: str, sample: Any) -> Traced:
        return self._new(sample, source=name)

    def graph(self, graph: Any, env: dict[str, Any], scope: Scope) -> list[Any]:
        """Walks a graph's nodes; returns the values of its outputs."""
        for initializer in graph.initializer:
            env[initializer.name] = _tensor(initializer)
        if graph.sparse_initializer:
            raise UnsupportedOperator(
                graph.sparse_initializer[0].values.name, "initializer", "type", "a sparse tensor"
            )
        constants = {t.name: env[t.name] for t in graph.initializer}
        self.nodes(fused(graph, constants), env, scope)
        return [env[output.name] for output in graph.output]

    def nodes(self, nodes: Any, env: dict[str, Any], scope: Scope) -> None:
        for node in nodes:
            outputs = self.node(node, [env[n] if n else None for n in node.input], env, scope)
            for name, value in zip(node.output, outputs, strict=False):
                if name:
                    env[name] = value

    def node(
        self, proto: Any, inputs: list[Any], env: dict[str, Any], scope: Scope
    ) -> Sequence[Any]:
        domain, operator = functions.domain_of(proto.domain), proto.op_type
        name = scope.path + (proto.name or (proto.output[0] if proto.output else operator))
        attributes = functions.resolved(proto, scope)
        function = functions.model_function(scope, domain, operator)
        if function is not None:
            filled = functions.function_attributes(function, attributes)
            return self._expand(function, name, inputs, filled, scope)
        opset = scope.opsets.get(domain)
        schema = functions.schema_of(operator, domain, opset)
        if schema is None:
            why = f"no operator of domain {domain or 'ai.onnx'!r}, opset {opset}"
            raise UnsupportedOperator(name, operator, "operator", why)
        if operator in RANDOM:
            raise UnsupportedOperator(name, operator, "random", "its results are random")
        given = [value for value in inputs if value is not None]
        subgraphs = any(a.HasField("g") for a in attributes.values())
        if all(isinstance(v, np.ndarray) for v in given) and not subgraphs:
            folded = self._fold(proto, attributes, inputs, scope)
            if folded is not None:
                return folded
        shaped = structure.find(domain, operator)
        if shaped is not None:
            values = {key: attribute_value(a) for key, a in attributes.items()}
            call = structure.Call(self, proto, name, inputs, values, env, scope)
            return shaped(call)
        entry = registry.find(domain, operator, schema.since_version)
        wanted = max((i + 1 for i, output in enumerate(proto.output) if output), default=0)
        if entry is not None:
            values = {
                key: attribute_value(a)
                for key, a in attributes.items()
                if not _is_default(a, schema.attributes.get(key))
            }
            node = Node(self, operator, name, schema.since_version, values, wanted)
            return self.call(entry, node, inputs)
        types = [_type_proto(value) for value in inputs]
        body = None
        if None not in types:
            body = functions.standard_body(schema, proto, attributes, types, opset or 0)
        if body is None:
            why = f"not supported (version {schema.since_version})"
            raise UnsupportedOperator(name, operator, "operator", why)
        filled = functions.with_defaults(schema, attributes)
        return self._expand(body, name, inputs, filled, scope)

    def emit(
        self, call: structure.Call, operator: str, inputs: list[Any], **attributes: Any
    ) -> Sequence[Any]:
        """A leaf operator of ONNX's own domain on behalf of another node."""
        outputs = attributes.pop("outputs", 1)
        schema = functions.schema_of(operator, "", call.scope.opsets.get(""))
        since = 0 if schema is None else schema.since_version
        entry = registry.find("", operator, since)
        if entry is None:
            call.refuse(f"it needs {operator}, which is not supported", "operator")
        node = Node(self, operator, call.name, since, attributes, outputs)
        return self.call(entry, node, inputs)

    def call(self, entry: registry.Entry, node: Node, inputs: list[Any]) -> list[Any]:
        """One leaf operator: checked, run on samples, and written down as a step."""
        self._check_types(entry, node, inputs)
        rank = self._rank_last(entry, inputs)
        try:
            return self._call(entry, node, inputs, rank)
        except WantsPlain:
            return self._call(entry, node, inputs, 0)

    def first(self, value: Traced) -> Traced:
        """The value in ONNX's order of axes."""
        return self._twin(value) if value.last else value

    # Inside

    def _call(self, entry: registry.Entry, node: Node, inputs: list[Any], rank: int) -> list[Any]:
        arguments = [self._laid_out(entry, value, rank, i) for i, value in enumerate(inputs)]
        node.last = bool(rank)
        self._traced = {id(t.sample): t for t in _all_traced(arguments)}
        is_traced = bool(self._traced)
        try:
            raw = entry.function(node, *_samples(arguments))
        except (ValueError, IndexError, TypeError, RuntimeError, OverflowError) as error:
            node.refuse(f"MLX refuses it: {str(error).splitlines()[0]}", "shape")
        except MemoryError:
            node.refuse("not enough memory", "shape")
        finally:
            self._traced = {}
        unread = node.unread()
        if unread:
            told = ", ".join(f"{key}={value}" for key, value in unread.items())
            node.refuse(f"attribute {told[:120]} is not supported")
        results = list(raw) if isinstance(raw, tuple) else [raw]
        if len(results) < node.outputs:
            node.refuse(f"output {len(results)} is not supported")
        if not is_traced:
            for result in results:
                if result is not None and not isinstance(result, np.ndarray):
                    mx.eval(result)
            return results
        self._count(node, results[0])
        last = node.last and not node.flat
        made = [self._result(result, last) for result in results]
        if not self.concrete:
            slots = tuple(m.slot if isinstance(m, Traced) else None for m in made)
            self.steps.append(Step(entry.function, node, tuple(_slots(arguments)), slots))
        return made

    def _count(self, node: Node, result: Any) -> None:
        if node.operator in COMPUTE and result is not None:
            kind = f"w{self.bits}" if node.packed else dtype_name(result)
            self.compute[kind] = self.compute.get(kind, 0) + 1

    def weights(self) -> tuple[Any, ...]:
        """Constants that the plan's operators hold, as MLX has them."""
        kept = {id(array): array for _, array in self._constants.values()}
        for step in self.steps:
            for value in step.node.made():
                kept[id(value)] = value
        return tuple(kept.values())

    def _result(self, result: Any, last: bool) -> Any:
        if result is None or isinstance(result, np.ndarray):
            return result
        return self._new(result, last=last)

    def _new(self, sample: Any, *, last: bool = False, source: str | None = None) -> Traced:
        self.slots += 1
        return Traced(self.slots - 1, sample, last, source)

    def _twin(self, value: Traced) -> Traced:
        """The same value in the other layout, made once: a step of its own."""
        if value.twin is None:
            move = _to_first if value.last else _to_last
            value.twin = self._new(move(None, value.sample), last=not value.last)
            value.twin.twin = value
            value.twin.source = value.source
            if not self.concrete:
                node = Node(self, "Transpose", "layout", 1, {}, 1)
                self.steps.append(Step(move, node, (Slot(value.slot),), (value.twin.slot,)))
        return value.twin

    def _rank_last(self, entry: registry.Entry, inputs: list[Any]) -> int:
        """The rank of the operands that are to have channels last; 0 for ONNX's order."""
        head = inputs[0] if inputs and isinstance(inputs[0], Traced) else None
        if entry.layout == "last" and head is not None:
            return len(head.shape) if len(head.shape) >= 3 else 0
        if entry.layout == "axes" and head is not None:
            return len(head.shape) if head.last else 0
        if entry.layout == "any":
            ranks = {len(value.shape) for value in _all_traced(inputs) if value.last}
            rank = ranks.pop() if len(ranks) == 1 else 0
            if rank and all(_fits_rank(value, rank) for value in inputs):
                return rank
        return 0

    def _laid_out(self, entry: registry.Entry, value: Any, rank: int, index: int) -> Any:
        """An input in the layout the operator wants; `rank` is 0 for ONNX's order."""
        if isinstance(value, list):
            return [self._laid_out(entry, item, rank, index) for item in value]
        if isinstance(value, Traced):
            wanted = 0 < rank == len(value.shape) and (index == 0 or entry.layout != "last")
            return value if value.last == wanted else self._twin(value)
        if rank and entry.layout == "any" and isinstance(value, np.ndarray) and value.size > 1:
            return self._constant_last(value, rank)
        return value

    def _constant_last(self, value: Any, rank: int) -> Any:
        known = self._lasts.get((id(value), rank))
        if known is None:
            padded = value.reshape((1,) * (rank - value.ndim) + value.shape)
            known = self._lasts[id(value), rank] = (value, np.moveaxis(padded, 1, -1))
        return known[1]

    def _check_types(self, entry: registry.Entry, node: Node, inputs: list[Any]) -> None:
        for value in _flat(inputs):
            if isinstance(value, list) or value is None:
                continue
            name = dtype_name(value.sample if isinstance(value, Traced) else value)
            if name == "float64" and not entry.float64:
                node.refuse("MLX computes it in float32 only, the model asks for float64", "type")
            if name not in MLX_DTYPES:
                node.refuse(f"type {_told(name)}", "type")

    def _expand(
        self,
        function: Any,
        name: str,
        inputs: list[Any],
        attributes: Mapping[str, Any],
        scope: Scope,
    ) -> list[Any]:
        """Walks a function's body in place of the node."""
        env: dict[str, Any] = dict.fromkeys(function.input)
        env.update(zip(function.input, inputs, strict=False))
        opsets = functions.opsets_of(function)
        inner = Scope({**scope.opsets, **opsets}, scope.functions, attributes, f"{name}/")
        self.nodes(function.node, env, inner)
        return [env.get(output) for output in function.output]  # optional ones may have no node

    def _fold(
        self, proto: Any, attributes: Mapping[str, Any], inputs: list[Any], scope: Scope
    ) -> list[Any] | None:
        if proto.op_type == "Constant" and "value" in attributes:
            return [_tensor(attributes["value"].t)]
        return fold(functions.with_attributes(proto, attributes), inputs, scope.opsets)


def _to_first(_node: Any, array: Any) -> Any:
    rank = array.ndim
    return mx.transpose(array, (0, rank - 1, *range(1, rank - 1)))


def _to_last(_node: Any, array: Any) -> Any:
    rank = array.ndim
    return mx.transpose(array, (0, *range(2, rank), 1))


def _flat(values: Any) -> Iterator[Any]:
    for value in values:
        if isinstance(value, list):
            yield from _flat(value)
        else:
            yield value


def _all_traced(values: Any) -> Iterator[Traced]:
    return (value for value in _flat(values) if isinstance(value, Traced))


def _samples(values: Any) -> list[Any]:
    return [
        _samples(v) if isinstance(v, list) else v.sample if isinstance(v, Traced) else v
        for v in values
    ]


def _slots(values: Any) -> list[Any]:
    return [
        _slots(v) if isinstance(v, list) else Slot(v.slot) if isinstance(v, Traced) else v
        for v in values
    ]


def _fits_rank(value: Any, rank: int) -> bool:
    """Whether a value can take part in an elementwise operator with channels last."""
    if value is None:
        return True
    if isinstance(value, Traced):
        return len(value.shape) == rank
    return isinstance(value, np.ndarray) and (value.size == 1 or value.ndim <= rank)


def _tensor(proto: Any) -> Any:
    import onnx

    return onnx.numpy_helper.to_array(proto)


def _told(name: str) -> str:
    return "string" if name.startswith("str") or name == "object" else name


def _is_default(given: Any, spec: Any) -> bool:
    """Whether an attribute says what its absence says."""
    if spec is None or spec.default_value is None or not spec.default_value.type:
        return False
    copy = type(given)()
    copy.CopyFrom(spec.default_value)
    copy.name = given.name
    copy.doc_string = given.doc_string
    return bool(copy == given)


def _type_proto(value: Any) -> Any | None:
    import onnx

    if value is None:
        return onnx.TypeProto()
    if isinstance(value, list):
        if not value:
            return None
        inner = _type_proto(value[0])
        return None if inner is None else onnx.helper.make_sequence_type_proto(inner)
    array = value.sample if isinstance(value, Traced) else value
    name = dtype_name(array)
    if name not in MLX_DTYPES:
        return None
    return onnx.helper.make_tensor_type_proto(element_type(name), list(value.shape))
