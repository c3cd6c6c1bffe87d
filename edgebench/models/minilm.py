"""MiniLM sentence embeddings from their safetensors weights: the graph written straight to ONNX.

Architecture: BERT (Devlin et al., 2019) with 6 layers of width 384, then the mean over the words
that the mask shows, scaled to unit length, as in sentence-transformers' all-MiniLM-L6-v2. Inputs
`input_ids` and `attention_mask` [batch, 128] int64; output `embedding` [batch, 384].
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgebench.errors import EdgebenchError
from edgebench.models.graph_writer import GraphWriter
from edgebench.models.onnx_file import save_model

if TYPE_CHECKING:
    from numpy.typing import NDArray

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
    from onnx import TensorProto, helper

    hidden = writer.embeddings()
    mask = writer.mask()
    for layer in range(LAYERS):
        hidden = writer.layer(hidden, mask, f"encoder.layer.{layer}")
    writer.pooling(hidden)
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", writer.length])
        for name in ("input_ids", "attention_mask")
    ]
    output = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", WIDTH])
    save_model(writer.model("minilm", inputs, output, _OPSET), out)


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


class _Writer(GraphWriter):
    network = "MiniLM"

    def __init__(self, weights: dict[str, NDArray[Any]], open_length: bool = False) -> None:
        super().__init__(weights)
        self.length: int | str = "length" if open_length else LENGTH
        self._kept = 0 if open_length else LENGTH  # to Reshape, 0 is the axis as it comes

    def embeddings(self) -> str:
        """Word, position and (constant) segment embeddings, normalised: [batch, 128, 384]."""
        positions = self.weight("embeddings.position_embeddings.weight")[:LENGTH]
        segment = self.weight("embeddings.token_type_embeddings.weight")[0]
        table = self.constant("words", self.weight("embeddings.word_embeddings.weight"))
        places = self.constant("places", (positions + segment)[None])
        if self._kept == 0:
            places = self._first_places(places)
        words = self.node("Gather", [table, "input_ids"], "embeddings.words")
        placed = self.node("Add", [words, places], "embeddings.placed")
        return self._normalise(placed, "embeddings.LayerNorm")

    def _first_places(self, places: str) -> str:
        zero, axis = (
            self.constant(name, [value]) for name, value in (("places.from", 0), ("places.axis", 1))
        )
        length = self.node("Shape", ["input_ids"], "places.count", start=1, end=2)
        return self.node("Slice", [places, zero, length, axis], "places.shown")

    def mask(self) -> str:
        """Whether each word counts, as the attention scores need it: bool [batch, 1, 1, 128]."""
        from onnx import TensorProto

        self.node("Cast", ["attention_mask"], "mask", to=TensorProto.FLOAT)
        shown = self.node("Cast", ["attention_mask"], "mask.shown", to=TensorProto.BOOL)
        axes = self.constant("mask.axes", [1, 2])
        return self.node("Unsqueeze", [shown, axes], "mask.wide")

    def layer(self, hidden: str, mask: str, name: str) -> str:
        """One transformer layer, normalised after each residual sum."""
        attended = self._attention(hidden, mask, name)
        attended = self._linear(attended, f"{name}.attention.output.dense")
        summed = self.node("Add", [attended, hidden], f"{name}.attention.sum")
        middle = self._normalise(summed, f"{name}.attention.output.LayerNorm")
        wide = self._gelu(self._linear(middle, f"{name}.intermediate.dense"), f"{name}.gelu")
        narrow = self._linear(wide, f"{name}.output.dense")
        summed = self.node("Add", [narrow, middle], f"{name}.sum")
        return self._normalise(summed, f"{name}.output.LayerNorm")

    def pooling(self, hidden: str) -> None:
        """The mean over shown words, scaled to unit length: `embedding`."""
        last = self.constant("axis.last", [2])
        words = self.constant("axis.words", [1])
        weight = self.node("Unsqueeze", ["mask", last], "pool.weight")
        shown = self.node("Mul", [hidden, weight], "pool.shown")
        total = self.node("ReduceSum", [shown, words], "pool.total", keepdims=0)
        count = self.node("ReduceSum", [weight, words], "pool.count", keepdims=0)
        mean = self.node("Div", [total, count], "pool.mean")
        length = self.node("ReduceL2", [mean], "pool.length", axes=[1], keepdims=1)
        self.node("Div", [mean, length], "embedding")

    def _attention(self, hidden: str, mask: str, name: str) -> str:
        query, key, value = (
            self._heads(hidden, f"{name}.attention.self.{part}", order)
            for part, order in (
                ("query", [0, 2, 1, 3]),
                ("key", [0, 2, 3, 1]),
                ("value", [0, 2, 1, 3]),
            )
        )
        scale = self.constant("attention.scale", [1 / math.sqrt(WIDTH // HEADS)])
        product = self.node("MatMul", [query, key], f"{name}.product")
        scaled = self.node("Mul", [product, scale], f"{name}.scaled")
        # Chosen, not added: a sum with -10,000 would leave static quantisation no step for the rest.
        hidden_score = self.constant("attention.hidden", [_MASKED])
        masked = self.node("Where", [mask, scaled, hidden_score], f"{name}.masked")
        weights = self.node("Softmax", [masked], f"{name}.weights", axis=-1)
        mixed = self.node("MatMul", [weights, value], f"{name}.mixed")
        rows = self.node("Transpose", [mixed], f"{name}.rows", perm=[0, 2, 1, 3])
        shape = self.constant("shape.joined", [0, self._kept, WIDTH])
        return self.node("Reshape", [rows, shape], f"{name}.joined")

    def _heads(self, hidden: str, name: str, order: list[int]) -> str:
        """A projection split into heads: [batch, heads, ...] in the given order of axes."""
        split = [0, self._kept, HEADS, WIDTH // HEADS]
        shape = self.constant("shape.heads", split)
        heads = self.node("Reshape", [self._linear(hidden, name), shape], f"{name}.split")
        return self.node("Transpose", [heads], f"{name}.heads", perm=order)

    def _gelu(self, x: str, name: str) -> str:
        """x * (1 + erf(x / sqrt(2))) / 2, in the order that runtimes know and fuse."""
        root = self.constant("gelu.root", [math.sqrt(2)])
        one = self.constant("gelu.one", [1.0])
        half = self.constant("gelu.half", [0.5])
        scaled = self.node("Div", [x, root], f"{name}.scaled")
        error = self.node("Erf", [scaled], f"{name}.erf")
        gate = self.node("Add", [error, one], f"{name}.gate")
        gated = self.node("Mul", [x, gate], f"{name}.gated")
        return self.node("Mul", [gated, half], name)

    def _linear(self, x: str, name: str) -> str:
        weight = self.constant(f"{name}.weight", self.weight(f"{name}.weight").T)
        bias = self.constant(f"{name}.bias", self.weight(f"{name}.bias"))
        product = self.node("MatMul", [x, weight], f"{name}.product")
        return self.node("Add", [product, bias], name)

    def _normalise(self, x: str, name: str) -> str:
        weight = self.constant(f"{name}.weight", self.weight(f"{name}.weight"))
        bias = self.constant(f"{name}.bias", self.weight(f"{name}.bias"))
        inputs = [x, weight, bias]
        return self.node("LayerNormalization", inputs, name, axis=-1, epsilon=_EPSILON)
