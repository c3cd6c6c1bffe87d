"""MiniLM sentence embeddings from their safetensors weights: the graph written straight to ONNX.

Architecture: BERT (Devlin et al., 2019) with 6 layers of width 384, then the mean over the words
that the mask shows, scaled to unit length, as in sentence-transformers' all-MiniLM-L6-v2. Inputs
`input_ids` and `attention_mask` [batch, 128] int64; output `embedding` [batch, 384].
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgebench.errors import EdgebenchError
from edgebench.models.onnx_file import save_model

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto, NodeProto, TensorProto

LENGTH = 128  # tokens per sentence, padding included
LAYERS, WIDTH, HEADS = 6, 384, 12
_OPSET = 17
_EPSILON = 1e-12
#: The attention score of padding: vanishes in the softmax, and fp16 can hold it.
_MASKED = -1e4


def build(source: Path, out: Path) -> None:
    """Writes the ONNX file `out` from the weights file `source` (safetensors).

    Raises EdgebenchError where `source` holds other weights or the reader is not installed.
    """
    _write(_Writer(_load(source)), out)


def build_open(source: Path, out: Path) -> None:
    """The same network for texts of any length up to 128 tokens."""
    _write(_Writer(_load(source), open_length=True), out)


def _write(writer: _Writer, out: Path) -> None:
    hidden = writer.embeddings()
    mask = writer.mask()
    for layer in range(LAYERS):
        hidden = writer.layer(hidden, mask, f"encoder.layer.{layer}")
    writer.pooling(hidden)
    save_model(writer.model(), out)


def _load(source: Path) -> dict[str, NDArray[Any]]:
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file
    except ImportError:
        raise EdgebenchError(
            "safetensors, which reads these weights, is not installed",
            fix='pip install "edgebench[full]"',
        ) from None
    try:
        tensors = load_file(str(source))
    except (OSError, SafetensorError) as error:
        raise EdgebenchError(f"{source.name} cannot be read: {error}") from None
    return {name.removeprefix("bert."): value for name, value in tensors.items()}


class _Writer:
    """Collects nodes and weights; every method returns the name of the value it adds."""

    def __init__(self, weights: dict[str, NDArray[Any]], open_length: bool = False) -> None:
        self._weights = weights
        self._length: int | str = "length" if open_length else LENGTH
        self._kept = 0 if open_length else LENGTH  # to Reshape, 0 is the axis as it comes
        self._nodes: list[NodeProto] = []
        self._constants: dict[str, TensorProto] = {}

    def embeddings(self) -> str:
        """Word, position and (constant) segment embeddings, normalised: [batch, 128, 384]."""
        positions = self._weight("embeddings.position_embeddings.weight")[:LENGTH]
        segment = self._weight("embeddings.token_type_embeddings.weight")[0]
        table = self._constant("words", self._weight("embeddings.word_embeddings.weight"))
        places = self._constant("places", (positions + segment)[None])
        if self._kept == 0:
            places = self._first_places(places)
        words = self._node("Gather", [table, "input_ids"], "embeddings.words")
        placed = self._node("Add", [words, places], "embeddings.placed")
        return self._normalise(placed, "embeddings.LayerNorm")

    def _first_places(self, places: str) -> str:
        """As many of the places as there are words."""
        zero, axis = (
            self._constant(name, np.array([value], dtype=np.int64))
            for name, value in (("places.from", 0), ("places.axis", 1))
        )
        length = self._node("Shape", ["input_ids"], "places.count", start=1, end=2)
        return self._node("Slice", [places, zero, length, axis], "places.shown")

    def mask(self) -> str:
        """Whether each word counts, as the attention scores need it: bool [batch, 1, 1, 128]."""
        from onnx import TensorProto

        self._node("Cast", ["attention_mask"], "mask", to=TensorProto.FLOAT)
        shown = self._node("Cast", ["attention_mask"], "mask.shown", to=TensorProto.BOOL)
        axes = self._constant("mask.axes", np.array([1, 2], dtype=np.int64))
        return self._node("Unsqueeze", [shown, axes], "mask.wide")

    def layer(self, hidden: str, mask: str, name: str) -> str:
        """One transformer layer, normalised after each residual sum."""
        attended = self._attention(hidden, mask, name)
        attended = self._linear(attended, f"{name}.attention.output.dense")
        summed = self._node("Add", [attended, hidden], f"{name}.attention.sum")
        middle = self._normalise(summed, f"{name}.attention.output.LayerNorm")
        wide = self._gelu(self._linear(middle, f"{name}.intermediate.dense"), f"{name}.gelu")
        narrow = self._linear(wide, f"{name}.output.dense")
        summed = self._node("Add", [narrow, middle], f"{name}.sum")
        return self._normalise(summed, f"{name}.output.LayerNorm")

    def pooling(self, hidden: str) -> None:
        """The mean over shown words, scaled to unit length: `embedding`."""
        last = self._constant("axis.last", np.array([2], dtype=np.int64))
        words = self._constant("axis.words", np.array([1], dtype=np.int64))
        weight = self._node("Unsqueeze", ["mask", last], "pool.weight")
        shown = self._node("Mul", [hidden, weight], "pool.shown")
        total = self._node("ReduceSum", [shown, words], "pool.total", keepdims=0)
        count = self._node("ReduceSum", [weight, words], "pool.count", keepdims=0)
        mean = self._node("Div", [total, count], "pool.mean")
        length = self._node("ReduceL2", [mean], "pool.length", axes=[1], keepdims=1)
        self._node("Div", [mean, length], "embedding")

    def model(self) -> ModelProto:
        from onnx import TensorProto, helper

        inputs = [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", self._length])
            for name in ("input_ids", "attention_mask")
        ]
        output = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", WIDTH])
        graph = helper.make_graph(
            self._nodes, "minilm", inputs, [output], list(self._constants.values())
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)])

    def _attention(self, hidden: str, mask: str, name: str) -> str:
        query, key, value = (
            self._heads(hidden, f"{name}.attention.self.{part}", order)
            for part, order in (
                ("query", [0, 2, 1, 3]),
                ("key", [0, 2, 3, 1]),
                ("value", [0, 2, 1, 3]),
            )
        )
        scale = self._constant("attention.scale", np.float32(1 / math.sqrt(WIDTH // HEADS)))
        product = self._node("MatMul", [query, key], f"{name}.product")
        scaled = self._node("Mul", [product, scale], f"{name}.scaled")
        # Chosen, not added: a sum with -10,000 would leave static quantisation no step for the rest.
        hidden_score = self._constant("attention.hidden", np.float32(_MASKED))
        masked = self._node("Where", [mask, scaled, hidden_score], f"{name}.masked")
        weights = self._node("Softmax", [masked], f"{name}.weights", axis=-1)
        mixed = self._node("MatMul", [weights, value], f"{name}.mixed")
        rows = self._node("Transpose", [mixed], f"{name}.rows", perm=[0, 2, 1, 3])
        shape = self._constant("shape.joined", np.array([0, self._kept, WIDTH], dtype=np.int64))
        return self._node("Reshape", [rows, shape], f"{name}.joined")

    def _heads(self, hidden: str, name: str, order: list[int]) -> str:
        """A projection split into heads: [batch, heads, ...] in the given order of axes."""
        split = np.array([0, self._kept, HEADS, WIDTH // HEADS], dtype=np.int64)
        shape = self._constant("shape.heads", split)
        heads = self._node("Reshape", [self._linear(hidden, name), shape], f"{name}.split")
        return self._node("Transpose", [heads], f"{name}.heads", perm=order)

    def _gelu(self, x: str, name: str) -> str:
        """x * (1 + erf(x / sqrt(2))) / 2, in the order that runtimes know and fuse."""
        root = self._constant("gelu.root", np.float32(math.sqrt(2)))
        one = self._constant("gelu.one", np.float32(1))
        half = self._constant("gelu.half", np.float32(0.5))
        scaled = self._node("Div", [x, root], f"{name}.scaled")
        error = self._node("Erf", [scaled], f"{name}.erf")
        gate = self._node("Add", [error, one], f"{name}.gate")
        gated = self._node("Mul", [x, gate], f"{name}.gated")
        return self._node("Mul", [gated, half], name)

    def _linear(self, x: str, name: str) -> str:
        weight = self._constant(f"{name}.weight", self._weight(f"{name}.weight").T)
        bias = self._constant(f"{name}.bias", self._weight(f"{name}.bias"))
        product = self._node("MatMul", [x, weight], f"{name}.product")
        return self._node("Add", [product, bias], name)

    def _normalise(self, x: str, name: str) -> str:
        weight = self._constant(f"{name}.weight", self._weight(f"{name}.weight"))
        bias = self._constant(f"{name}.bias", self._weight(f"{name}.bias"))
        inputs = [x, weight, bias]
        return self._node("LayerNormalization", inputs, name, axis=-1, epsilon=_EPSILON)

    def _weight(self, name: str) -> NDArray[Any]:
        try:
            return self._weights[name]
        except KeyError:
            raise EdgebenchError(f"these are not MiniLM's weights: {name} is missing") from None

    def _constant(self, name: str, value: NDArray[Any] | np.float32) -> str:
        from onnx import numpy_helper

        array = np.asarray(value)
        if array.dtype != np.int64:
            array = array.astype(np.float32)
        if name not in self._constants:
            self._constants[name] = numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name

    def _node(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        from onnx import helper

        self._nodes.append(helper.make_node(operator, inputs, [output], output, **attributes))
        return output
