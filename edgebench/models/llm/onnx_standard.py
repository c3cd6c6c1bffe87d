"""A decoder as an ONNX graph of standard operators alone: for TensorRT, and for whoever reads ONNX.

Inputs, named as exporters name them: `input_ids` (batch, tokens), `attention_mask` (batch, past + tokens),
`position_ids` (batch, tokens), and for each layer `past_key_values.N.key` and `.value`, (batch, kv heads,
past, head size). Outputs: `logits` (batch, tokens, vocabulary) and `present.N.key` and `.value`, which are
the past with the new tokens behind it. Norms are computed in float32 whatever the weights are.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgebench.errors import UnsupportedError
from edgebench.models.llm.gguf_file import Decoder, GgufFile
from edgebench.models.llm.onnx_decoder import DecoderGraph
from edgebench.models.llm.onnx_linear import Linear
from edgebench.models.llm.onnx_writer import OnnxWriter

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORM = "standard"
PRECISIONS = ("fp32", "fp16")
_FLOAT, _BOOL = 1, 9  # ONNX's numbers of element types
_FORBIDDEN = -1e4  # added to scores of tokens that must not be seen; within reach of float16


def write_standard_decoder(file: GgufFile, path: Path, precision: str) -> None:
    """Writes `path` and its weights beside it, all or nothing; `precision` is fp32 or fp16."""
    if precision not in PRECISIONS:
        raise UnsupportedError(
            f"no decoder of standard operators in {precision}", "--set precision=fp16 or fp32"
        )
    with OnnxWriter(path, contrib=False) as writer:
        writer.metadata = {"form": FORM, "architecture": file.decoder.architecture}
        order = _half_split(file.decoder)
        _Graph(file, writer, Linear(writer, file, precision, reorder=order)).write()


def _half_split(decoder: Decoder) -> Any:
    """Rows of queries and keys so turned that the pairs of rotary positions lie half a head apart.

    Query and key are turned alike, so that their products stay as they are.
    """

    def turned(name: str, rows: NDArray[Any]) -> NDArray[Any]:
        part = name.split(".")[-2]
        if not decoder.interleaved_rope or part not in ("attn_q", "attn_k"):
            return rows
        pairs = np.arange(decoder.rope_size).reshape(-1, 2)
        order = np.concatenate([pairs.T.ravel(), np.arange(decoder.rope_size, decoder.head_size)])
        heads = rows.reshape(-1, decoder.head_size, *rows.shape[1:])
        return np.asarray(heads[:, order].reshape(rows.shape))

    return turned


class _Graph(DecoderGraph):
    def __init__(self, file: GgufFile, writer: OnnxWriter, linear: Linear) -> None:
        super().__init__(file, writer, linear)
        self._element = {"float32": _FLOAT, "float16": 10}[self._type]

    def write(self) -> None:
        decoder, writer = self._decoder, self._writer
        tokens = writer.input("input_ids", "int64", ["batch", "tokens"])
        writer.input("attention_mask", "int64", ["batch", "total"])
        writer.input("position_ids", "int64", ["batch", "tokens"])
        self._mask = self._seen()
        tables = zip(("cos", "sin"), self._tables(), strict=True)
        self._angles = [self._angle(name, table) for name, table in tables]
        x = self._embedded(tokens)
        for layer in range(decoder.layers):
            block = f"blk.{layer}."
            y = self._attention(layer, self._norm(x, block + "attn_norm"))
            x = writer.node("Add", [x, y])
            y = self._feed_forward(block, self._norm(x, block + "ffn_norm"))
            x = writer.node("Add", [x, y])
        logits = self._linear(self._norm(x, "output_norm"), [self._file.head.name])
        writer.node("Cast", [logits], ["logits"], to=_FLOAT)
        writer.output("logits", "float32", ["batch", "tokens", decoder.vocabulary])

    def _size(self, value: str, axis: int) -> str:
        """Length of an axis, as a vector of one number."""
        return self._writer.node("Shape", [value], start=axis, end=axis + 1)

    def _seen(self) -> str:
        """Returns what is added to scores: 0 where a token is seen, (batch, 1, 1, tokens, total)."""
        writer = self._writer
        total, tokens = self._size("attention_mask", 1), self._size("input_ids", 1)
        zero = writer.constant("zero", np.array(0, np.int64))
        one = writer.constant("one", np.array(1, np.int64))
        whole = writer.node("Squeeze", [total])
        past = writer.node("Squeeze", [writer.node("Sub", [total, tokens])])
        key = writer.node("Range", [zero, whole, one])
        query = writer.node(
            "Unsqueeze", [writer.node("Range", [past, whole, one]), writer.numbers(1)]
        )
        causal = writer.node("LessOrEqual", [key, query])
        mask = writer.node("Cast", ["attention_mask"], to=_BOOL)
        mask = writer.node("Unsqueeze", [mask, writer.numbers(1, 2, 3)])
        seen = writer.node("And", [causal, mask])
        nothing, much = writer.scalar(0.0, self._type), writer.scalar(_FORBIDDEN, self._type)
        return writer.node("Where", [seen, nothing, much])

    def _angle(self, name: str, table: NDArray[Any]) -> str:
        """Cosine or sine for each token and pair, (batch, 1, tokens, pairs)."""
        rows = self._writer.node("Gather", [self._writer.constant(name, table), "position_ids"])
        return self._writer.node("Unsqueeze", [rows, self._writer.numbers(1)])

    def _norm(self, x: str, name: str) -> str:
        writer = self._writer
        wide = writer.node("Cast", [x], to=_FLOAT) if self._element != _FLOAT else x
        square = writer.node("Mul", [wide, wide])
        mean = writer.node("ReduceMean", [square, writer.numbers(-1)], keepdims=1)
        epsilon = writer.scalar(self._decoder.norm_epsilon)
        root = writer.node("Sqrt", [writer.node("Add", [mean, epsilon])])
        weight = writer.constant(f"{name}.weight", self._file.tensor(f"{name}.weight").values())
        normed = writer.node("Mul", [writer.node("Div", [wide, root]), weight])
        return (
            writer.node("Cast", [normed], to=self._element) if self._element != _FLOAT else normed
        )

    def _heads(self, x: str, name: str, count: int, norm: str = "") -> str:
        """A projection split into heads, (batch, heads, tokens, head size)."""
        writer, size = self._writer, self._decoder.head_size
        y = writer.node(
            "Reshape", [self._linear(x, [f"{name}.weight"]), writer.numbers(0, 0, count, size)]
        )
        if norm:
            y = self._norm(y, norm)
        return writer.node("Transpose", [y], perm=[0, 2, 1, 3])

    def _turned(self, x: str) -> str:
        """Rotary positions; pairs lie half a head apart."""
        writer, decoder = self._writer, self._decoder
        half, rest = decoder.rope_size // 2, decoder.head_size - decoder.rope_size
        cos, sin = self._angles
        sizes = [half, half, *([rest] if rest else [])]
        parts = [f"{x}.{number}" for number in range(len(sizes))]
        writer.node("Split", [x, writer.numbers(*sizes)], parts, axis=-1)
        first, second = parts[:2]
        one = writer.node(
            "Sub", [writer.node("Mul", [first, cos]), writer.node("Mul", [second, sin])]
        )
        two = writer.node(
            "Add", [writer.node("Mul", [second, cos]), writer.node("Mul", [first, sin])]
        )
        return writer.node("Concat", [one, two, *parts[2:]], axis=-1)

    def _attention(self, layer: int, x: str) -> str:
        decoder, writer, block = self._decoder, self._writer, f"blk.{layer}."
        norms = [f"{block}attn_{part}_norm" if decoder.qk_norm else "" for part in "qk"]
        query = self._turned(self._heads(x, f"{block}attn_q", decoder.heads, norms[0]))
        key = self._turned(self._heads(x, f"{block}attn_k", decoder.kv_heads, norms[1]))
        value = self._heads(x, f"{block}attn_v", decoder.kv_heads)
        key, value = self._joined(layer, "key", key), self._joined(layer, "value", value)
        # Groups of queries share keys: a further axis, along which both are multiplied as they are.
        group, size = decoder.heads // decoder.kv_heads, decoder.head_size
        tokens = self._size("input_ids", 1)
        shape = writer.node(
            "Concat",
            [writer.numbers(0, decoder.kv_heads, group), tokens, writer.numbers(size)],
            axis=0,
        )
        query = writer.node("Reshape", [query, shape])
        across = writer.numbers(2)
        turned = writer.node("Transpose", [key], perm=[0, 1, 3, 2])
        scores = writer.node("MatMul", [query, writer.node("Unsqueeze", [turned, across])])
        scores = writer.node("Mul", [scores, writer.scalar(size**-0.5, self._type)])
        weights = writer.node("Softmax", [writer.node("Add", [scores, self._mask])], axis=-1)
        mixed = writer.node("MatMul", [weights, writer.node("Unsqueeze", [value, across])])
        mixed = writer.node("Transpose", [mixed], perm=[0, 3, 1, 2, 4])
        mixed = writer.node("Reshape", [mixed, writer.numbers(0, 0, decoder.heads * size)])
        return self._linear(mixed, [f"{block}attn_output.weight"])

    def _joined(self, layer: int, part: str, new: str) -> str:
        """The past with what is new behind it."""
        decoder, writer = self._decoder, self._writer
        past, present = f"past_key_values.{layer}.{part}", f"present.{layer}.{part}"
        size = decoder.head_size
        writer.input(past, self._type, ["batch", decoder.kv_heads, "past", size])
        writer.output(present, self._type, ["batch", decoder.kv_heads, "total", size])
        return writer.node("Concat", [past, new], [present], axis=2)

    def _activated(self, gate: str) -> str:
        if self._decoder.activation == "silu":
            return self._writer.node("Mul", [gate, self._writer.node("Sigmoid", [gate])])
        return self._gelu(gate)

    def _gelu(self, x: str) -> str:
        """The tanh form: 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))."""
        writer = self._writer

        def scalar(value: float) -> str:
            return writer.scalar(value, self._type)

        cube = writer.node("Mul", [x, writer.node("Mul", [x, x])])
        inner = writer.node("Add", [x, writer.node("Mul", [cube, scalar(0.044715)])])
        raised = writer.node(
            "Tanh", [writer.node("Mul", [inner, scalar(float(np.sqrt(2 / np.pi)))])]
        )
        half = writer.node("Mul", [x, scalar(0.5)])
        return writer.node("Mul", [half, writer.node("Add", [raised, scalar(1.0)])])
