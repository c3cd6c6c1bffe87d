"""A decoder in plain numpy, float32: slow, and short enough to be read. What all runtimes are held to.

Root mean square norm: Zhang & Sennrich (2019). Rotary positions: Su et al. (2021). Grouped queries:
Ainslie et al. (2023). Gated feed-forward part: Shazeer (2020). The tensors' names are GGUF's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgebench.backend import Effective, ModelFile
from edgebench.errors import UnsupportedError
from edgebench.generation import GenerationSession, Prompts, Room, check_prompts, check_step
from edgebench.models.file_kind import format_of
from edgebench.models.llm.gguf_file import Decoder, GgufFile

Array = NDArray[np.float32]


class ReferenceDecoder:
    """One sequence at a time. Holds all weights as float32: four bytes for each."""

    def __init__(self, file: GgufFile) -> None:
        self.decoder = file.decoder
        self._weights = {name: tensor.values() for name, tensor in file.tensors.items()}
        self._head = self._weights[file.head.name]
        self._frequencies = rope_frequencies(self.decoder, file.rope_factors())
        self.reset()

    def reset(self) -> None:
        empty = np.zeros((self.decoder.kv_heads, 0, self.decoder.head_size), np.float32)
        self._cache = [(empty, empty)] * self.decoder.layers

    @property
    def used(self) -> int:
        """Tokens in the cache."""
        return self._cache[0][0].shape[1]

    def feed(self, tokens: Sequence[int]) -> Array:
        """Logits after each of the tokens, which follow those fed before: (tokens, vocabulary)."""
        decoder, weights = self.decoder, self._weights
        x = weights["token_embd.weight"][np.asarray(tokens)] * np.float32(decoder.embedding_scale)
        for layer in range(decoder.layers):
            x = x + self._attention(layer, self._norm(x, f"blk.{layer}.attn_norm"))
            x = x + self._feed_forward(layer, self._norm(x, f"blk.{layer}.ffn_norm"))
        return np.asarray(self._norm(x, "output_norm") @ self._head.T)

    def _norm(self, x: Array, name: str) -> Array:
        mean = np.mean(x * x, axis=-1, keepdims=True)
        scaled = x / np.sqrt(mean + np.float32(self.decoder.norm_epsilon))
        return np.asarray(scaled * self._weights[f"{name}.weight"])

    def _linear(self, x: Array, name: str) -> Array:
        y = x @ self._weights[f"{name}.weight"].T
        bias = self._weights.get(f"{name}.bias")
        return np.asarray(y if bias is None else y + bias)

    def _heads(self, x: Array, name: str, count: int) -> Array:
        """A projection, split into heads: (heads, tokens, head_size)."""
        y = self._linear(x, name).reshape(len(x), count, self.decoder.head_size)
        return y.transpose(1, 0, 2)

    def _attention(self, layer: int, x: Array) -> Array:
        decoder, block = self.decoder, f"blk.{layer}."
        query = self._heads(x, block + "attn_q", decoder.heads)
        key = self._heads(x, block + "attn_k", decoder.kv_heads)
        value = self._heads(x, block + "attn_v", decoder.kv_heads)
        if decoder.qk_norm:
            query = self._norm(query, block + "attn_q_norm")
            key = self._norm(key, block + "attn_k_norm")
        past_key, past_value = self._cache[layer]
        positions = np.arange(past_key.shape[1], past_key.shape[1] + len(x))
        query, key = self._turned(query, positions), self._turned(key, positions)
        key = np.concatenate([past_key, key], axis=1)
        value = np.concatenate([past_value, value], axis=1)
        self._cache[layer] = (key, value)
        shared = decoder.heads // decoder.kv_heads
        scores = query @ np.repeat(key, shared, axis=0).transpose(0, 2, 1)
        scores = scores / np.float32(math.sqrt(decoder.head_size))
        scores = np.where(np.arange(key.shape[1]) <= positions[:, None], scores, -np.inf)
        mixed = _softmax(scores) @ np.repeat(value, shared, axis=0)
        return self._linear(mixed.transpose(1, 0, 2).reshape(len(x), -1), block + "attn_output")

    def _turned(self, x: Array, positions: NDArray[Any]) -> Array:
        """Rotary positions on the leading `rope_size` dimensions of each head."""
        size = self.decoder.rope_size
        angle = positions[:, None] * self._frequencies
        cos, sin = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
        out = x.copy()
        if self.decoder.interleaved_rope:
            first, second = slice(0, size, 2), slice(1, size, 2)
        else:
            first, second = slice(0, size // 2), slice(size // 2, size)
        out[..., first] = x[..., first] * cos - x[..., second] * sin
        out[..., second] = x[..., second] * cos + x[..., first] * sin
        return out

    def _feed_forward(self, layer: int, x: Array) -> Array:
        block = f"blk.{layer}."
        gate, up = self._linear(x, block + "ffn_gate"), self._linear(x, block + "ffn_up")
        act = gate / (1 + np.exp(-gate)) if self.decoder.activation == "silu" else _gelu(gate)
        return self._linear(np.asarray(act * up), block + "ffn_down")


def rope_frequencies(decoder: Decoder, factors: NDArray[Any] | None) -> NDArray[np.float64]:
    """Angle per position of each pair of dimensions, (rope_size / 2,)."""
    exponents = np.arange(0, decoder.rope_size, 2) / decoder.rope_size
    frequencies = decoder.rope_scale * decoder.rope_base**-exponents
    return np.asarray(frequencies if factors is None else frequencies / factors)


def log_softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Logarithm of the softmax over the last axis, in float64."""
    wide = np.asarray(logits, np.float64)
    shifted = wide - wide.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def _softmax(x: Array) -> Array:
    raised = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True))


def _gelu(x: Array) -> Array:
    """The tanh form, which ggml uses."""
    inner = np.float32(math.sqrt(2 / math.pi)) * (x + np.float32(0.044715) * x**3)
    return np.asarray(0.5 * x * (1 + np.tanh(inner)))


class ReferenceSession(GenerationSession):
    """The reference behind the seam of runtimes: for what compares both, and for tests."""

    def __init__(self, file: GgufFile, positions: int) -> None:
        self._decoder = ReferenceDecoder(file)
        self.vocabulary, self.width, self.positions = file.decoder.vocabulary, 1, positions

    def prefill(self, prompts: Prompts) -> Array:
        check_prompts(prompts, self.width, self.positions)
        self._decoder.reset()
        return self._decoder.feed(prompts[0])[-1:]

    def step(self, tokens: Sequence[int]) -> Array:
        check_step(tokens, self.width, self._decoder.used, self.positions)
        return self._decoder.feed(tokens)

    def logits(self, raw: Array) -> Array:
        return raw.copy()

    def score(self, tokens: Sequence[int]) -> Array:
        check_prompts([tokens], 1, self.positions)
        self._decoder.reset()
        return self._decoder.feed(tokens)

    def reset(self) -> None:
        self._decoder.reset()

    def kv_cache_bytes(self) -> int | None:
        return None

    def effective(self) -> Effective:
        return Effective(
            device="cpu",
            precision="fp32",
            runtime=f"numpy {np.__version__}",
            options={"kv_cache": "fp32"},
        )


def reference_session(path: Path, positions: int) -> GenerationSession:
    """A GGUF file in numpy, float32; an ONNX decoder on ONNX Runtime without graph optimisations."""
    form = format_of(path)
    if form == "gguf":
        return ReferenceSession(GgufFile(path), positions)
    if form == "onnx":
        from edgebench import registry

        backend = registry.load("ort")
        backend.import_runtime()
        model = ModelFile(path, "onnx", "")
        room = Room(width=1, positions=positions)
        return backend.open_generation(model, {"optimization": "disable", "threads": 1}, room)
    raise UnsupportedError(f"no reference for decoders in {form} files")
