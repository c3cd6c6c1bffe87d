"""Measures the numeric error of every layer: where it arises, how it grows, and what it does to the outputs.

The reference runs on ONNX Runtime's CPU provider without optimisation, so that each of its tensors exists. The
other model runs on its own backend. Both are opened with the tensors of a batch of layers as further outputs:
how much memory that takes is bounded, however large the network is.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from edgebench.backend import Backend, ModelFile, Scalar
from edgebench.errors import EdgebenchError, UnsupportedError
from edgebench.explain.layer_slices import Layer, Network, common_layers, model_of
from edgebench.explain.numeric_report import LayerError, NumericReport
from edgebench.models.onnx_file import load_model, save_model

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto, ValueInfoProto

    Arrays = Mapping[str, NDArray[Any]]


#: Bytes of intermediate tensors that are held at a time, and layers of a batch at most.
MAX_BATCH_BYTES, MAX_BATCH_LAYERS = 256 << 20, 48
#: Local errors that a precision explains; above, something is wrong with the layer.
LIMITS = {"int8": 0.1, "fp16": 0.01, "bf16": 0.03, "fp32": 1e-3}
_BEHIND = "edgebench.delta."
_WORST = 20
Say = Callable[[str], object]
Message = TypeVar("Message", bound=Any)  # of protobuf


@dataclass(frozen=True)
class Other:
    """The model whose numbers are doubted, and what opens it."""

    backend: Backend
    model: ModelFile
    options: Mapping[str, Scalar]
    name: str
    reference: str = "the reference"  # what it is held against, for people


def numeric_report(
    reference: Path,
    other: Other,
    items: Sequence[Arrays],
    limit: float | None = None,
    say: Say = lambda step: None,
) -> NumericReport:
    """Errors of all common layers. Raises EdgebenchError where the two files have none in common."""
    with tempfile.TemporaryDirectory(prefix="edgebench-") as folder:
        return _Measurement(reference, other, items, Path(folder), say).report(limit)


class _Measurement:
    def __init__(
        self, reference: Path, other: Other, items: Sequence[Arrays], folder: Path, say: Say
    ) -> None:
        self._path, self._other, self._items = reference, other, items
        self._folder, self._say = folder, say
        self._reference = Network(load_model(reference))
        self._network = Network(load_model(other.model.path))
        self._layers = common_layers(self._reference, self._network)
        if not self._layers:
            raise EdgebenchError(
                f"{other.model.path.name} and {reference.name} have no tensor in common",
                "give the model that it was made from: --reference FILE",
            )
        self._shapes = _value_infos(self._reference.model)
        self._skipped: dict[str, str] = {}

    def report(self, limit: float | None) -> NumericReport:
        errors = [error for batch in self._batches() for error in self._errors(batch)]
        self._demand_some(errors)
        precision = _arithmetic(self._network)
        chosen = LIMITS[precision] if limit is None else limit
        over = [e for e in errors if e.local is not None and e.local > chosen]
        ranked = sorted(errors, key=lambda e: -(e.damage or 0.0))
        return NumericReport(
            name=self._other.name,
            backend=self._other.backend.name,
            reference=f"{self._other.reference} on ONNX Runtime, not optimised",
            items=len(self._items),
            limit=chosen,
            limit_source="given" if limit is not None else f"what {precision} explains",
            output_error=self._output_error(),
            first_over=over[0].node if over else None,
            worst=[error.node for error in ranked if error.damage][:_WORST],
            layers=errors,
            layers_skipped=self._skipped,
        )

    def _demand_some(self, errors: Sequence[LayerError]) -> None:
        """Raises UnsupportedError where nothing is known of any layer: that is no sound model."""
        if all(each.local is None for each in errors):
            why = next(iter(self._skipped.values()), "they write nothing that can be compared")
            raise UnsupportedError(
                f"no layer could be compared on {self._other.backend.name}: {why.splitlines()[0]}",
                "explain the model on a backend that opens its layers, such as --backend ort or openvino",
            )

    def _batches(self) -> Iterator[list[Layer]]:
        """Layers one after the other, as many as their tensors leave room for."""
        batch: list[Layer] = []
        size = 0
        for layer in self._layers:
            needed = sum(self._bytes(t) for t in {layer.tensor, *(t for _, t in layer.inputs)})
            full = size + needed > MAX_BATCH_BYTES or len(batch) == MAX_BATCH_LAYERS
            if batch and full:
                yield batch
                batch, size = [], 0
            batch.append(layer)
            size += needed
        yield batch

    def _bytes(self, tensor: str) -> int:
        value = self._shapes.get(tensor)
        if value is None:
            return 0
        sizes = [max(1, d.dim_value) for d in value.type.tensor_type.shape.dim]
        return 4 * int(np.prod(sizes)) * len(self._items) * 2  # of both models

    def _errors(self, batch: Sequence[Layer]) -> list[LayerError]:
        self._say(f"layers from {batch[0].node}")
        wanted = {t for layer in batch for t in (layer.tensor, *(t for _, t in layer.inputs))}
        right = self._reference_values(sorted(wanted))
        accumulated = self._other_values([layer.read_as for layer in batch])
        locals_ = {layer.tensor: self._local(layer, right) for layer in batch}
        damages = self._damages(batch, right, locals_)
        return [
            LayerError(
                node=layer.node,
                tensor=layer.tensor,
                kind=layer.kind,
                local=_error(locals_[layer.tensor], _each(right, layer.tensor)),
                accumulated=_error(_each(accumulated, layer.read_as), _each(right, layer.tensor)),
                damage=damages.get(layer.tensor),
            )
            for layer in batch
        ]

    def _reference_values(self, tensors: Sequence[str]) -> list[dict[str, NDArray[Any]]]:
        session = _ort_session(_with_outputs(self._reference.model, tensors), self._folder)
        found = []
        for item in self._items:
            answers = session.run([t for t in tensors if t not in item], dict(item))
            named = dict(zip([t for t in tensors if t not in item], answers, strict=True))
            found.append({**named, **{t: item[t] for t in tensors if t in item}})
        return found

    def _other_values(self, tensors: Sequence[str]) -> list[dict[str, NDArray[Any]]]:
        """What the whole model writes on its backend; nothing where the backend refuses to tell."""
        names = [t for t in dict.fromkeys(tensors) if t not in self._network.inputs]
        file = self._saved(_with_outputs(self._network.model, names))
        try:
            session = self._other.backend.open(file, self._other.options)
            return [self._answer(session, item) for item in self._items]
        except (EdgebenchError, RuntimeError, ValueError) as error:
            self._skipped.setdefault("accumulated", f"{type(error).__name__}: {error}"[:200])
            return [{} for _ in self._items]

    def _saved(self, model: ModelProto) -> ModelFile:
        path = self._folder / "other.onnx"
        save_model(model, path, keep_opset=True)
        return replace(self._other.model, path=path, inputs=(), outputs=())

    @staticmethod
    def _answer(session: Any, item: Arrays) -> dict[str, NDArray[Any]]:
        prepared = session.prepare(dict(item))
        return dict(session.outputs_of(prepared, session.run(prepared)))

    def _local(self, layer: Layer, right: Sequence[Arrays]) -> list[NDArray[Any]] | None:
        """What the layer writes on the reference's own values."""
        try:
            file = self._saved(model_of(layer, self._network, self._shapes))
            session = self._other.backend.open(file, self._other.options)
            answers = [
                self._answer(session, {name: values[tensor] for name, tensor in layer.inputs})
                for values in right
            ]
            session.close()
            return [answer[layer.read_as] for answer in answers]
        except Exception as error:  # noqa: BLE001 - runtimes' exceptions share no base class but Exception
            self._skipped[layer.node] = f"{type(error).__name__}: {error}"[:200]
            return None

    def _damages(
        self,
        batch: Sequence[Layer],
        right: Sequence[Arrays],
        locals_: Mapping[str, list[NDArray[Any]] | None],
    ) -> dict[str, float]:
        """What each layer's local error alone does to the outputs of the reference."""
        wrong = {
            layer.tensor: [a - b[layer.tensor] for a, b in zip(made, right, strict=True)]
            for layer in batch
            if (made := locals_[layer.tensor]) is not None
            and right[0][layer.tensor].dtype == np.float32
            and made[0].shape == right[0][layer.tensor].shape
        }
        wrong = {t: deltas for t, deltas in wrong.items() if any(np.any(d) for d in deltas)}
        ranks = {tensor: right[0][tensor].ndim for tensor in wrong}
        session = _ort_session(_with_deltas(self._reference, ranks), self._folder)
        outputs = [value.name for value in self._reference.graph.output]
        zero = {_BEHIND + t: np.zeros((1,) * rank, np.float32) for t, rank in ranks.items()}
        plain = [session.run(outputs, {**item, **zero}) for item in self._items]
        found = {}
        for tensor, deltas in wrong.items():
            moved = [
                session.run(outputs, {**item, **zero, _BEHIND + tensor: delta})
                for item, delta in zip(self._items, deltas, strict=True)
            ]
            found[tensor] = max(
                _error([m[i] for m in moved], [p[i] for p in plain]) or 0.0
                for i in range(len(outputs))
            )
        return found

    def _output_error(self) -> float | None:
        outputs = [value.name for value in self._reference.graph.output]
        right = self._reference_values(outputs)
        values = self._other_values(outputs)
        errors = [_error(_each(values, name), _each(right, name)) for name in outputs]
        return max((error for error in errors if error is not None), default=None)


def _with_outputs(model: ModelProto, tensors: Sequence[str]) -> ModelProto:
    """The model with these tensors as outputs too."""
    from onnx import helper

    copy = _copied(model)
    known = {value.name for value in (*copy.graph.output, *copy.graph.input)}
    infos = _value_infos(model)
    for tensor in tensors:
        if tensor not in known:
            value = infos.get(tensor)
            copy.graph.output.append(value or helper.make_empty_tensor_value_info(tensor))
    return copy


def _copied(message: Message) -> Message:
    copy: Message = type(message)()
    copy.CopyFrom(message)
    return copy


def _value_infos(model: ModelProto) -> dict[str, ValueInfoProto]:
    """Types and shapes of all tensors, as far as they can be inferred."""
    from edgebench.models.onnx_file import inferred_graph

    graph = inferred_graph(model)
    return {v.name: v for v in (*graph.input, *graph.value_info, *graph.output)}


def _with_deltas(network: Network, tensors: Mapping[str, int]) -> ModelProto:
    """The reference with an input for each tensor, which is added to it before others read it. `tensors`: with
    the number of their axes."""
    from onnx import TensorProto, helper

    copy = _copied(network.model)
    graph = copy.graph
    moved = {tensor: f"{tensor}.edgebench" for tensor in tensors}
    written = {value.name for value in graph.output}
    nodes = []
    for node in network.graph.node:
        changed = _copied(node)
        changed.input[:] = [
            moved[n] if n in moved and (n in network.inputs or n not in written) else n
            for n in node.input
        ]
        changed.output[:] = [
            f"{n}.before" if n in moved and n in written else n for n in node.output
        ]
        nodes.append(changed)
    del graph.node[:]
    for tensor, rank in tensors.items():
        source = f"{tensor}.before" if tensor in written else tensor
        target = tensor if tensor in written else moved[tensor]
        add = helper.make_node("Add", [source, _BEHIND + tensor], [target])
        axes = [f"{tensor}.{axis}" for axis in range(rank)]
        value = helper.make_tensor_value_info(_BEHIND + tensor, TensorProto.FLOAT, axes)
        graph.input.append(value)
        nodes.append(add)
    graph.node.extend(_sorted(nodes, network))
    return copy


def _sorted(nodes: Sequence[Any], network: Network) -> list[Any]:
    """The nodes so that whoever writes stands before whoever reads."""
    from graphlib import TopologicalSorter

    writer = {name: place for place, node in enumerate(nodes) for name in node.output if name}
    order = TopologicalSorter(
        {
            place: {writer[name] for name in _reads(node) if name in writer}
            for place, node in enumerate(nodes)
        }
    )
    return [nodes[place] for place in order.static_order()]


def _reads(node: Any) -> Iterator[str]:
    yield from node.input
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                yield from _reads(inner)


def _ort_session(model: ModelProto, folder: Path) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    path = folder / "reference.onnx"
    save_model(model, path, keep_opset=True)
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _arithmetic(network: Network) -> str:
    """What a file's operators are allowed to lose."""
    kinds = {node.op_type for node in network.graph.node}
    if kinds & {"QuantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "ConvInteger"}:
        return "int8"
    types = {tensor.data_type for tensor in network.constants.values()}
    return "fp16" if 10 in types else "bf16" if 16 in types else "fp32"


def _each(values: Sequence[Arrays], name: str) -> list[NDArray[Any]] | None:
    return [each[name] for each in values] if values and all(name in v for v in values) else None


def _error(
    made: Sequence[NDArray[Any]] | None, right: Sequence[NDArray[Any]] | None
) -> float | None:
    """||made - right|| / ||right|| over all items; None where either is not known, or no numbers are."""
    if made is None or right is None:
        return None
    gap = size = 0.0
    for ours, theirs in zip(made, right, strict=True):
        if ours.shape != theirs.shape or theirs.dtype.kind not in "fiu":
            return None
        wide = theirs.astype(np.float64)
        gap += float(np.sum((ours.astype(np.float64) - wide) ** 2))
        size += float(np.sum(wide**2))
    if not np.isfinite(gap):
        return 1e9
    return float(np.sqrt(gap / size)) if size > 0 else float(gap > 0)
