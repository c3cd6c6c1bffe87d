"""Small decoders with random weights as GGUF files: for the contract kit and for tests.

The vocabulary is the 256 bytes, some merges and three special tokens, so that any text can be encoded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from edgebench.backend import ModelFile

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
MERGES = ("t h", "i n", "e r", "a n", "o n", "th e", "\u0120 a", "\u0120 the", "r e", "in g")

#: ggml's number of a file whose weights are mostly of that type.
_FILE_TYPES = {"F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q4_K": 15}

Architecture = Literal["llama", "qwen2", "qwen3", "gemma"]


@dataclass(frozen=True, kw_only=True)
class TinyDecoder:
    """What the file of a decoder holds."""

    seed: int = 0  # of its weights
    width: int = 64
    layers: int = 2
    heads: int = 4
    kv_heads: int = 2
    head_size: int | None = None
    turned: int | None = None  # leading dimensions of a head that have rotary positions
    hidden: int = 96
    context_length: int = 512
    weights: str = "Q4_1"  # type of the matrices
    ends: str = "Q8_0"  # type of embedding and head
    tied: bool = True
    extra: tuple[str, ...] = ()  # names of further tensors, which no architecture has
    facts: Mapping[str, str | float] = field(
        default_factory=dict
    )  # further metadata of the architecture
    defined: tuple[str, ...] = ()  # further tokens, of the user-defined kind

    @property
    def size(self) -> int:
        """Of a head."""
        return self.head_size or self.width // self.heads


def write_decoder(path: Path, architecture: Architecture = "llama", **changes: Any) -> ModelFile:
    """Writes a decoder with seeded random weights; `changes`: fields of `TinyDecoder`. Needs the package `gguf`."""
    from gguf import GGUFWriter

    decoder = TinyDecoder(**changes)
    writer = GGUFWriter(str(path), architecture)
    _add_shape(writer, architecture, decoder)
    _add_tokenizer(writer, decoder)
    _add_weights(writer, architecture, decoder)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return ModelFile(path, "gguf", digest)


def _add_shape(writer: Any, architecture: str, decoder: TinyDecoder) -> None:
    writer.add_name("tiny")
    writer.add_context_length(decoder.context_length)
    writer.add_embedding_length(decoder.width)
    writer.add_block_count(decoder.layers)
    writer.add_feed_forward_length(decoder.hidden)
    writer.add_head_count(decoder.heads)
    writer.add_head_count_kv(decoder.kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_key_length(decoder.size)
    writer.add_value_length(decoder.size)
    writer.add_rope_dimension_count(decoder.turned or decoder.size)
    for key, value in decoder.facts.items():
        add = writer.add_string if isinstance(value, str) else writer.add_float32
        add(f"{architecture}.{key}", value)


def _add_tokenizer(writer: Any, decoder: TinyDecoder) -> None:
    tokens = [*vocabulary(), *decoder.defined]
    writer.add_vocab_size(len(tokens))
    writer.add_file_type(_FILE_TYPES.get(decoder.weights, 0))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    kinds = [3 if token in SPECIAL else 1 for token in vocabulary()]
    writer.add_token_types([*kinds, *[4] * len(decoder.defined)])
    writer.add_token_merges(list(MERGES))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)


def _add_weights(writer: Any, architecture: str, decoder: TinyDecoder) -> None:
    rng, width, size = np.random.default_rng(decoder.seed), decoder.width, decoder.size

    def matrix(name: str, rows: int, columns: int, kind: str = decoder.weights) -> None:
        _add(writer, name, rng.standard_normal((rows, columns)) * columns**-0.5, kind)

    def norm(name: str, size: int) -> None:
        _add(writer, name, 1 + 0.1 * rng.standard_normal(size), "F32")

    tokens = len(vocabulary()) + len(decoder.defined)
    matrix("token_embd.weight", tokens, width, decoder.ends)
    norm("output_norm.weight", width)
    if not decoder.tied:
        matrix("output.weight", tokens, width, decoder.ends)
    read = decoder.kv_heads * size
    outputs = {"q": decoder.heads * size, "k": read, "v": read}
    for layer in range(decoder.layers):
        block = f"blk.{layer}"
        norm(f"{block}.attn_norm.weight", width)
        norm(f"{block}.ffn_norm.weight", width)
        for part, rows in outputs.items():
            matrix(f"{block}.attn_{part}.weight", rows, width)
            if architecture == "qwen2":
                _add(writer, f"{block}.attn_{part}.bias", 0.5 * rng.standard_normal(rows), "F32")
        if architecture == "qwen3":
            norm(f"{block}.attn_q_norm.weight", size)
            norm(f"{block}.attn_k_norm.weight", size)
        matrix(f"{block}.attn_output.weight", width, decoder.heads * size)
        matrix(f"{block}.ffn_gate.weight", decoder.hidden, width)
        matrix(f"{block}.ffn_up.weight", decoder.hidden, width)
        matrix(f"{block}.ffn_down.weight", width, decoder.hidden)
    for name in decoder.extra:
        norm(name, width)


def vocabulary() -> list[str]:
    """Special tokens, the 256 bytes as byte-level tokenizers write them, and what merges give."""
    merged = [merge.replace(" ", "") for merge in MERGES]
    return [*SPECIAL, *_byte_letters(), *merged]


def _byte_letters() -> list[str]:
    """GPT-2's letter for each byte: printable ones stand for themselves."""
    printable = [*range(ord("!"), 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    letters = {byte: chr(byte) for byte in printable}
    letters |= {byte: chr(256 + number) for number, byte in enumerate(others)}
    return [letters[byte] for byte in range(256)]


def _add(writer: Any, name: str, values: Any, kind: str) -> None:
    from gguf import quants
    from gguf.constants import GGMLQuantizationType

    plain = np.ascontiguousarray(values, dtype=np.float32)
    if kind == "F32":
        writer.add_tensor(name, plain)
        return
    as_type = GGMLQuantizationType[kind]
    packed = _k_blocks(kind, plain.shape) if kind in _K_SCALES else quants.quantize(plain, as_type)
    writer.add_tensor(name, packed, raw_dtype=as_type)


#: Byte of the scale in a block of a K type, and of the scale of its minima.
_K_SCALES = {"Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,)}


def _k_blocks(kind: str, shape: tuple[int, ...]) -> Any:
    """Random blocks of a type that the package `gguf` reads and does not write."""
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

    size, count = GGML_QUANT_SIZES[GGMLQuantizationType[kind]]
    rng = np.random.default_rng(shape)
    blocks = rng.integers(0, 256, (shape[0], shape[1] // size, count), dtype=np.uint8)
    scales = (1.0, 8.0) if kind != "Q6_K" else (0.1,)
    for place, scale in zip(_K_SCALES[kind], scales, strict=True):
        half = np.float16(scale * shape[1] ** -0.5 / 400)
        blocks[..., place : place + 2] = np.array([half]).view(np.uint8)
    return blocks.reshape(shape[0], -1)
