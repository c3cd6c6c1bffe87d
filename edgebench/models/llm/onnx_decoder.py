"""A decoder as an ONNX graph, made of a GGUF file with ONNX Runtime's own operators.

Inputs: `input_ids` (batch, tokens); `kept`, the places within `input_ids` whose logits are wanted;
`last_position` (batch), the number of the last token in the cache after this call; `total_length`,
that plus one; and for each layer `past_key_values.N.key` and `.value`, (batch, kv heads, positions,
head size). Bound to the same buffers, the outputs `present.N.key` and `.value` are written in place.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgebench.errors import UnsupportedError
from edgebench.models.llm.gguf_file import Decoder, GgufFile
from edgebench.models.llm.onnx_linear import Linear
from edgebench.models.llm.onnx_writer import OnnxWriter
from edgebench.models.llm.reference_decoder import rope_frequencies

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORM = "edgebench.decoder/1"  # in the file's metadata: which inputs it has


def write_decoder(file: GgufFile, path: Path, precision: str, accuracy_level: int = 0) -> None:
    """Writes `path` and its weights beside it, all or nothing. Raises UnsupportedError for what cannot
    be done."""
    with OnnxWriter(path, contrib=True) as writer:
        _Graph(file, writer, Linear(writer, file, precision, accuracy_level)).write()
        in_blocks = writer.has("MatMulNBits")
        if accuracy_level and not in_blocks:
            raise UnsupportedError(
                f"accuracy_level has no effect on {precision} of {file.path.name}: only blocks of "
                "integers have it",
                "--set precision=w8",
            )
        writer.metadata = {
            "form": FORM,
            "architecture": file.decoder.architecture,
            "context_length": str(file.decoder.context_length),
            "accuracy_level": str(accuracy_level) if in_blocks else "",
        }


def code_sha256() -> str:
    """The hash of the code that makes graphs; cached graphs depend on it."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def rope_tables(file: GgufFile, positions: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Cosines and sines, float32 (positions, rope_size / 2)."""
    frequencies = rope_frequencies(file.decoder, file.rope_factors())
    angles = np.arange(positions)[:, None] * frequencies
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


class DecoderGraph(ABC):
    """What graphs of both kinds of operators have in common."""

    def __init__(self, file: GgufFile, writer: OnnxWriter, linear: Linear) -> None:
        self._file, self._writer, self._linear = file, writer, linear
        self._decoder: Decoder = file.decoder
        self._type = linear.dtype

    def _tables(self) -> list[NDArray[Any]]:
        """Cosines and sines of all positions."""
        tables = rope_tables(self._file, self._decoder.context_length)
        return [table.astype(self._type) for table in tables]

    def _embedded(self, tokens: str) -> str:
        x, scale = self._linear.embedding(tokens), self._decoder.embedding_scale
        if scale == 1.0:
            return x
        return self._writer.node("Mul", [x, self._writer.scalar(scale, self._type)])

    @abstractmethod
    def _activated(self, gate: str) -> str: ...

    def _feed_forward(self, block: str, x: str) -> str:
        gate, up = (self._linear(x, [f"{block}ffn_{part}.weight"]) for part in ("gate", "up"))
        mixed = self._writer.node("Mul", [self._activated(gate), up])
        return self._linear(mixed, [f"{block}ffn_down.weight"])


class _Graph(DecoderGraph):
    def write(self) -> None:
        decoder, writer = self._decoder, self._writer
        tokens = writer.input("input_ids", "int64", ["batch", "tokens"])
        writer.input("kept", "int64", ["kept"])
        writer.input("last_position", "int32", ["batch"])
        writer.input("total_length", "int32", [])
        for name, table in zip(("cos", "sin"), self._tables(), strict=True):
            writer.constant(name, table)
        x, branch = self._embedded(tokens), ""
        for layer in range(decoder.layers):
            block = f"blk.{layer}."
            x, y = self._added_and_normed(x, branch, block + "attn_norm")
            x, y = self._added_and_normed(x, self._attention(layer, y), block + "ffn_norm")
            branch = self._feed_forward(block, y)
        _, y = self._added_and_normed(x, branch, "output_norm")
        y = writer.node("Gather", [y, "kept"], axis=1)
        logits = self._linear(y, [self._file.head.name])
        if self._type == "float32":
            writer.node("Identity", [logits], ["logits"])  # the runtime takes it out: no copy
        else:
            writer.node("Cast", [logits], ["logits"], to=1)
        writer.output("logits", "float32", ["batch", "kept", decoder.vocabulary])

    def _norm_weight(self, name: str) -> str:
        values = self._file.tensor(f"{name}.weight").values()
        return self._writer.constant(f"{name}.weight", values.astype(self._type))

    def _added_and_normed(self, x: str, branch: str, name: str) -> tuple[str, str]:
        """x + branch, and the norm of it."""
        weight, epsilon = self._norm_weight(name), self._decoder.norm_epsilon
        if not branch:
            return x, self._writer.node(
                "SimplifiedLayerNormalization", [x, weight], axis=-1, epsilon=epsilon
            )
        total, normed = f"{name}.sum", f"{name}.out"
        outputs = [normed, "", "", total] if name != "output_norm" else [normed]
        self._writer.contrib(
            "SkipSimplifiedLayerNormalization", [x, branch, weight], outputs, epsilon=epsilon
        )
        return total, normed

    def _attention(self, layer: int, x: str) -> str:
        decoder, writer, block = self._decoder, self._writer, f"blk.{layer}."
        joint = self._linear(x, [f"{block}attn_{part}.weight" for part in "qkv"])
        parts = [joint, "", ""]
        if decoder.qk_norm:
            parts = self._normed_heads(block, joint)
        past = [f"past_key_values.{layer}.{part}" for part in ("key", "value")]
        present = [f"present.{layer}.{part}" for part in ("key", "value")]
        for before, after in zip(past, present, strict=True):
            size: tuple[int | str, ...] = (decoder.kv_heads, "positions", decoder.head_size)
            writer.input(before, self._type, ["batch", *size])
            writer.output(after, self._type, ["batch", *size])
        mixed = writer.contrib(
            "GroupQueryAttention",
            [*parts, *past, "last_position", "total_length", "cos", "sin"],
            [f"{block}mixed", *present],
            num_heads=decoder.heads,
            kv_num_heads=decoder.kv_heads,
            scale=decoder.head_size**-0.5,
            do_rotary=1,
            rotary_interleaved=int(decoder.interleaved_rope),
        )
        return self._linear(mixed, [f"{block}attn_output.weight"])

    def _normed_heads(self, block: str, joint: str) -> list[str]:
        """Query and key with each head normed, and the value."""
        decoder, writer = self._decoder, self._writer
        counts = (decoder.heads, decoder.kv_heads, decoder.kv_heads)
        sizes = [count * decoder.head_size for count in counts]
        names = [f"{block}split_{part}" for part in "qkv"]
        writer.node("Split", [joint, writer.numbers(*sizes)], names, axis=-1)
        for index, part in enumerate("qk"):
            heads = writer.node(
                "Reshape", [names[index], writer.numbers(0, 0, -1, decoder.head_size)]
            )
            normed = writer.node(
                "SimplifiedLayerNormalization",
                [heads, self._norm_weight(f"{block}attn_{part}_norm")],
                axis=-1,
                epsilon=decoder.norm_epsilon,
            )
            names[index] = writer.node("Reshape", [normed, writer.numbers(0, 0, sizes[index])])
        return names

    def _activated(self, gate: str) -> str:
        if self._decoder.activation == "silu":
            return self._writer.contrib("QuickGelu", [gate], alpha=1.0)
        return self._writer.contrib("FastGelu", [gate])
