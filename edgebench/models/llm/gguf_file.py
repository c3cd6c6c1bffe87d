"""A GGUF file as typed facts and tensors.

Layout and names of the keys: the GGUF specification of ggml. What a decoder computes is told by
`general.architecture`; one that is not known here is refused by its name, and so is a tensor that
nothing would use: a forgotten part would give answers that are silently wrong.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edgebench.errors import EdgebenchError, UnsupportedError
from edgebench.models.file_kind import format_of
from edgebench.models.llm.ggml_blocks import Blocks, blocks_of
from edgebench.models.llm.gguf_layout import Layout, TensorPlace, read_layout

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEEDS_EXTRA = "pip install 'edgebench[llm]'"
AGAIN = "check that the file arrived whole: download it again"


@dataclass(frozen=True)
class _Family:
    """Holds what sets an architecture apart from Llama's."""

    interleaved_rope: bool = False  # pairs (0, 1), (2, 3)..., not (0, n/2), (1, n/2+1)...
    qk_norm: bool = False  # an RMS norm of each head's query and key
    activation: Literal["silu", "gelu"] = "silu"
    scaled_embedding: bool = False  # times sqrt(width)


#: Sources: the graphs of llama.cpp for these names of `general.architecture`.
FAMILIES = {
    "llama": _Family(interleaved_rope=True),
    "qwen2": _Family(),
    "qwen3": _Family(qk_norm=True),
    "gemma": _Family(activation="gelu", scaled_embedding=True),
}


@dataclass(frozen=True)
class Decoder:
    """Holds what a decoder-only transformer computes: RMS norms, rotary positions, grouped queries, a gated
    feed-forward part."""

    architecture: str
    layers: int
    width: int
    heads: int
    kv_heads: int
    head_size: int
    hidden: int  # of the feed-forward part
    vocabulary: int
    context_length: int  # positions it was trained for
    norm_epsilon: float
    rope_base: float
    rope_size: int  # leading dimensions of a head that are turned
    rope_scale: float  # positions are multiplied by it (linear scaling)
    interleaved_rope: bool
    qk_norm: bool
    qkv_bias: bool
    activation: Literal["silu", "gelu"]
    embedding_scale: float
    tied: bool  # the head is the embedding


@dataclass(frozen=True)
class Tensor:
    """A tensor as it lies in the file. `shape` is numpy's: a weight has (outputs, inputs)."""

    name: str
    kind: str  # ggml's name of the type: "Q4_1", "F32", ...
    shape: tuple[int, ...]
    raw: NDArray[Any]

    def values(self) -> NDArray[Any]:
        """All values, float32."""
        import numpy as np
        from gguf import quants
        from gguf.constants import GGMLQuantizationType

        kind = GGMLQuantizationType[self.kind]
        try:
            values = quants.dequantize(self.raw, kind)
        except (NotImplementedError, KeyError):
            raise UnsupportedError(f"{self.name}: no way to read {self.kind} weights") from None
        return np.ascontiguousarray(values, dtype=np.float32).reshape(self.shape)

    def blocks(self) -> Blocks | None:
        """The quantised blocks without any loss; None where the values are plain floats.

        Raises UnsupportedError for a quantised type whose blocks are not known here.
        """
        return blocks_of(self.name, self.kind, self.shape, self.raw)


class GgufFile:
    """An open file: metadata at once, tensors when they are asked for.

    Raises EdgebenchError where it cannot be read or the package `gguf` is missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._layout = _layout(path)
        self.metadata: Mapping[str, Any] = self._layout.metadata

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name, their data mapped into memory."""
        import numpy as np

        data = np.memmap(self.path, np.uint8, mode="r")
        return {place.name: _tensor(self.path, place, data) for place in self._layout.tensors}

    @cached_property
    def decoder(self) -> Decoder:
        """The architecture. Raises UnsupportedError for one that is not known, by its name."""
        decoder = _decoder(self.metadata, self.tensors)
        _check_tensors(decoder, self.tensors)
        _check_sizes(decoder, self.tensors)
        return decoder

    def tensor(self, name: str) -> Tensor:
        """Raises EdgebenchError where the file has none of that name."""
        try:
            return self.tensors[name]
        except KeyError:
            raise EdgebenchError(f"{self.path.name} has no tensor {name}") from None

    @property
    def head(self) -> Tensor:
        """The matrix that makes logits of the last norm's output."""
        return self.tensor("token_embd.weight" if self.decoder.tied else "output.weight")

    def rope_factors(self) -> NDArray[Any] | None:
        """Returns the divisors of the rotary frequencies (`rope_freqs.weight`), where the file says so."""
        factors = self.tensors.get("rope_freqs.weight")
        return None if factors is None else factors.values()


def trained_positions(model: Path) -> int | None:
    """Tokens of the longest text that a decoder was trained for; None: the file does not tell."""
    if format_of(model) != "gguf":
        return None
    metadata = GgufFile(model).metadata
    told = metadata.get(f"{metadata.get('general.architecture')}.context_length")
    return told if type(told) is int and told > 0 else None


def _layout(path: Path) -> Layout:
    try:
        layout = read_layout(path)
        _check_whole(path, layout)
        return layout
    except OSError as error:
        raise EdgebenchError(f"{path} cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise EdgebenchError(f"{path} is damaged: {error}", AGAIN) from None


def _check_whole(path: Path, layout: Layout) -> None:
    """Refuses a part of a model that was split into several files."""
    parts, part = (layout.metadata.get(f"split.{key}", 0) for key in ("count", "no"))
    if isinstance(parts, int) and isinstance(part, int) and parts > 1:
        raise UnsupportedError(
            f"{path.name} is part {part + 1} of {parts} of a split model",
            "join the parts: llama-gguf-split --merge FIRST_PART WHOLE.gguf (of llama.cpp)",
        )


def _tensor(path: Path, place: TensorPlace, data: NDArray[Any]) -> Tensor:
    """`raw` has the shape of the tensor, but for its last axis, which counts bytes."""
    try:
        from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
    except ImportError:
        raise EdgebenchError(
            "gguf, which reads the weights of language models, is not installed", NEEDS_EXTRA
        ) from None
    try:
        kind = GGMLQuantizationType(place.kind)
    except ValueError:
        raise UnsupportedError(f"{place.name} has the unknown type {place.kind}") from None
    of_block, bytes_of_block = GGML_QUANT_SIZES[kind]
    shape = place.sizes[::-1]
    if 0 in shape:
        raise EdgebenchError(f"{path} is damaged: its tensor {place.name} has no values", AGAIN)
    if not shape or shape[-1] % of_block:
        raise EdgebenchError(
            f"{path} is damaged: its tensor {place.name} of {shape} does not fit into blocks of "
            f"{of_block}",
            AGAIN,
        )
    row_bytes = shape[-1] // of_block * bytes_of_block
    end = place.offset + prod(shape[:-1]) * row_bytes
    if end > len(data):
        raise EdgebenchError(
            f"{path} is damaged: it ends before its tensor {place.name} does", AGAIN
        )
    return Tensor(
        place.name, kind.name, shape, data[place.offset : end].reshape(*shape[:-1], row_bytes)
    )


@dataclass(frozen=True)
class _Facts:
    """What the file's metadata states of its architecture, each read as what it must be."""

    architecture: str
    metadata: Mapping[str, Any]

    def of(self, key: str, otherwise: Any = None) -> Any:
        value = self.metadata.get(f"{self.architecture}.{key}", otherwise)
        if value is None:
            raise EdgebenchError(f"the GGUF file does not state {self.architecture}.{key}")
        if isinstance(value, list):
            raise UnsupportedError(f"{self.architecture}.{key} differs from layer to layer")
        return value

    def count(self, key: str, otherwise: int | None = None) -> int:
        value = self.of(key, otherwise)
        if type(value) is not int or value < 1:
            raise self._not(key, value, "a count")
        return value

    def number(self, key: str, otherwise: float | None = None) -> float:
        value = self.of(key, otherwise)
        if type(value) not in (int, float) or not 0 <= value < math.inf:
            raise self._not(key, value, "a number")
        return float(value)

    def _not(self, key: str, value: Any, what: str) -> EdgebenchError:
        return EdgebenchError(
            f"{self.architecture}.{key} of the GGUF file is {value!r}, not {what}", AGAIN
        )

    def check_supported(self) -> None:
        for key in ("expert_count", "attention.sliding_window", "attn_logit_softcapping"):
            if self.metadata.get(f"{self.architecture}.{key}"):
                raise UnsupportedError(f"{self.architecture}.{key} is not supported")

    def rope_scale(self) -> float:
        scaling = self.metadata.get(f"{self.architecture}.rope.scaling.type", "linear")
        if scaling not in ("none", "linear"):
            raise UnsupportedError(f"rotary scaling {scaling!r} is not supported")
        if self.number("rope.scaling.attn_factor", 1.0) != 1:  # times what is turned, in llama.cpp
            raise UnsupportedError(f"{self.architecture}.rope.scaling.attn_factor is not supported")
        # As llama.cpp takes it where no kind is named, and where an older key or none tells the factor.
        factor = self.number("rope.scaling.factor", self.number("rope.scale_linear", 1.0)) or 1.0
        return 1 / factor if scaling == "linear" else 1.0


def _decoder(metadata: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Decoder:
    name = str(metadata.get("general.architecture", ""))
    family = FAMILIES.get(name)
    if family is None:
        raise UnsupportedError(
            f"decoders of the architecture {name!r} are not supported",
            f"supported are {', '.join(FAMILIES)}",
        )
    facts = _Facts(name, metadata)
    facts.check_supported()
    rope_scale = facts.rope_scale()
    heads, width = facts.count("attention.head_count"), facts.count("embedding_length")
    head_size = facts.count("attention.key_length", max(width // heads, 1))
    if facts.count("attention.value_length", head_size) != head_size:
        raise UnsupportedError("keys and values of different sizes are not supported")
    embedding = tensors.get("token_embd.weight")
    if embedding is None:
        raise EdgebenchError("the GGUF file has no tensor token_embd.weight")
    return Decoder(
        architecture=name,
        layers=facts.count("block_count"),
        width=width,
        heads=heads,
        kv_heads=facts.count("attention.head_count_kv", heads),
        head_size=head_size,
        hidden=facts.count("feed_forward_length"),
        vocabulary=embedding.shape[0],
        context_length=facts.count("context_length"),
        norm_epsilon=facts.number("attention.layer_norm_rms_epsilon"),
        rope_base=facts.number("rope.freq_base", 10000.0),
        rope_size=facts.count("rope.dimension_count", head_size),
        rope_scale=rope_scale,
        interleaved_rope=family.interleaved_rope,
        qk_norm=family.qk_norm,
        qkv_bias="blk.0.attn_q.bias" in tensors,
        activation=family.activation,
        embedding_scale=width**0.5 if family.scaled_embedding else 1.0,
        tied="output.weight" not in tensors,
    )


def _layer_shapes(decoder: Decoder) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors of each layer, all of which must be there."""
    width, size, hidden = decoder.width, decoder.head_size, decoder.hidden
    queries, keys = decoder.heads * size, decoder.kv_heads * size
    shapes: dict[str, tuple[int, ...]] = {
        "attn_norm.weight": (width,),
        "ffn_norm.weight": (width,),
        "attn_q.weight": (queries, width),
        "attn_k.weight": (keys, width),
        "attn_v.weight": (keys, width),
        "attn_output.weight": (width, queries),
        "ffn_gate.weight": (hidden, width),
        "ffn_up.weight": (hidden, width),
        "ffn_down.weight": (width, hidden),
    }
    if decoder.qkv_bias:
        shapes |= {"attn_q.bias": (queries,), "attn_k.bias": (keys,), "attn_v.bias": (keys,)}
    if decoder.qk_norm:
        shapes |= {"attn_q_norm.weight": (size,), "attn_k_norm.weight": (size,)}
    return shapes


def _part_of(name: str) -> str:
    return re.sub(r"^blk\.\d+\.", "", name)


def _check_tensors(decoder: Decoder, tensors: Mapping[str, Tensor]) -> None:
    """Exactly the tensors that the architecture uses must be there."""
    parts = _layer_shapes(decoder)
    if decoder.layers * len(parts) > len(tensors):  # else a damaged number would fill the memory
        raise EdgebenchError(
            f"the GGUF file declares {decoder.layers} layers but has {len(tensors)} tensors"
        )
    needed = {f"blk.{layer}.{part}" for layer in range(decoder.layers) for part in parts}
    needed |= {"token_embd.weight", "output_norm.weight"}
    known = needed | {"output.weight", "rope_freqs.weight"}
    missing = sorted(needed - set(tensors))
    if missing:
        raise EdgebenchError(
            f"the GGUF file lacks {missing[0]} and {len(missing) - 1} more tensors"
        )
    further = sorted(set(map(_part_of, set(tensors) - known)))
    if further:
        raise UnsupportedError(
            f"{decoder.architecture} with {', '.join(further)} is not supported: these tensors would "
            "be left out"
        )


def _check_sizes(decoder: Decoder, tensors: Mapping[str, Tensor]) -> None:
    """Facts and tensors must agree: each size that a run allocates is then one of the file's own tensors."""
    if decoder.heads % decoder.kv_heads or decoder.rope_size % 2:
        raise EdgebenchError(
            f"the GGUF file declares {decoder.heads} heads for {decoder.kv_heads} of keys, and rotates "
            f"{decoder.rope_size} dimensions",
            AGAIN,
        )
    shapes = {
        **_layer_shapes(decoder),
        "token_embd.weight": (decoder.vocabulary, decoder.width),
        "output.weight": (decoder.vocabulary, decoder.width),
        "output_norm.weight": (decoder.width,),
        "rope_freqs.weight": (decoder.rope_size // 2,),
    }
    for name, tensor in tensors.items():
        shape = shapes[_part_of(name)]
        if tensor.shape != shape:
            raise EdgebenchError(
                f"tensor {name} of the GGUF file is {list(tensor.shape)}; its metadata makes it "
                f"{list(shape)}",
                AGAIN,
            )
    if decoder.rope_size > decoder.head_size:
        raise EdgebenchError(
            f"the GGUF file turns {decoder.rope_size} dimensions of heads that have {decoder.head_size}",
            AGAIN,
        )
