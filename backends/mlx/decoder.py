"""A decoder of a GGUF file in MLX's operations: packed weights stay as they are.

Each function takes arrays and gives arrays, so that a step can be compiled; the caches of keys and values
are arguments and results. Names of tensors are GGUF's.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import mlx.core as mx
import numpy as np

from edgebench.errors import UnsupportedError
from edgebench.models.llm.gguf_file import Decoder, GgufFile, Tensor
from edgebench.models.llm.reference_decoder import rope_frequencies

if TYPE_CHECKING:
    from edgebench.models.llm.ggml_blocks import Blocks

#: Keys and values of a layer, each (width, kv_heads, positions, head_size).
Cache = list[tuple[mx.array, mx.array]]


@dataclass(frozen=True)
class Matrix:
    """A weight (outputs, inputs): packed numbers with a scale and a bias per group, or plain floats."""

    weight: mx.array
    scales: mx.array | None = None
    biases: mx.array | None = None
    bits: int = 0
    group: int = 0

    @property
    def kind(self) -> str:
        """ "w4", "w8", "fp32", "fp16", "bf16"."""
        if self.bits:
            return f"w{self.bits}"
        names = {mx.float32: "fp32", mx.float16: "fp16", mx.bfloat16: "bf16"}
        return names[self.weight.dtype]

    def times(self, x: mx.array) -> mx.array:
        """x @ weight.T"""
        if self.scales is None:
            return x @ self.weight.T
        return mx.quantized_matmul(
            x,
            self.weight,
            self.scales,
            self.biases,
            transpose=True,
            group_size=self.group,
            bits=self.bits,
        )

    def rows(self, ids: mx.array) -> mx.array:
        """The rows of an embedding."""
        if self.scales is None:
            return self.weight[ids]
        assert self.biases is not None
        return mx.dequantize(
            self.weight[ids],
            self.scales[ids],
            self.biases[ids],
            group_size=self.group,
            bits=self.bits,
        )

    def arrays(self) -> list[mx.array]:
        """Everything it holds."""
        return [part for part in (self.weight, self.scales, self.biases) if part is not None]


class MlxDecoder:
    """The network. `packed`: quantised weights stay in their blocks; else they become `dtype`."""

    def __init__(self, file: GgufFile, dtype: mx.Dtype, *, packed: bool) -> None:
        self.facts: Decoder = file.decoder
        self.dtype = dtype
        self._file, self._packed = file, packed
        self._matrices: dict[str, Matrix] = {}
        self._vectors: dict[str, mx.array] = {}
        for name, tensor in file.tensors.items():
            if name == "rope_freqs.weight":
                continue
            if len(tensor.shape) == 2:
                self._matrices[name] = self._matrix(tensor)
            else:
                self._vectors[name] = mx.array(tensor.values()).astype(dtype)
        self._head = self._matrices[file.head.name]
        self._frequencies = self._periods(file)
        mx.eval(list(self._vectors.values()))

    def _matrix(self, tensor: Tensor) -> Matrix:
        blocks = tensor.blocks() if self._packed else None
        if blocks is None:
            matrix = Matrix(mx.array(tensor.values()).astype(self.dtype))
        else:
            matrix = _packed(blocks, self.dtype)
        mx.eval(matrix.arrays())
        return matrix

    def _periods(self, file: GgufFile) -> mx.array | None:
        """Periods of the rotary pairs where the file scales them one by one."""
        factors = file.rope_factors()
        if factors is None:
            return None
        return mx.array((1 / rope_frequencies(self.facts, factors)).astype(np.float32))

    def products(self) -> Counter[str]:
        """Kind of weight -> matrix products of a step."""
        names = [name for name in self._matrices if name.startswith("blk.")]
        return Counter([*(self._matrices[name].kind for name in names), self._head.kind])

    def weight_bytes(self) -> dict[str, int]:
        """Kind of weight -> bytes, scales and biases included."""
        sizes: Counter[str] = Counter()
        for matrix in self._matrices.values():
            sizes[matrix.kind] += sum(array.nbytes for array in matrix.arrays())
        return dict(sizes)

    def empty_cache(self, width: int, positions: int) -> Cache:
        """Room for `positions` tokens of `width` sequences, held from the start."""
        shape = (width, self.facts.kv_heads, positions, self.facts.head_size)
        cache = [(mx.zeros(shape, self.dtype), mx.zeros(shape, self.dtype)) for _ in self._layers]
        mx.eval(cache)
        return cache

    @property
    def _layers(self) -> range:
        return range(self.facts.layers)

    def read(self, tokens: mx.array, cache: Cache) -> tuple[mx.array, Cache]:
        """Prompts (width, length) from position 0 on: the last norm's output for each token."""
        x = self._embedded(tokens)
        start = mx.array([0])
        filled: Cache = []
        for layer in self._layers:
            query, key, value = self._projected(layer, x, 0)
            mixed = self._attended(query, key, value, "causal")
            filled.append(
                (
                    mx.slice_update(cache[layer][0], key, start, (2,)),
                    mx.slice_update(cache[layer][1], value, start, (2,)),
                )
            )
            x = self._after(layer, x, mixed)
        return self._norm(x, "output_norm"), filled

    def step(
        self, tokens: mx.array, position: mx.array, room: int, cache: Cache
    ) -> tuple[mx.array, Cache]:
        """One token of each sequence (width,) at `position` (1,): logits (width, vocabulary).

        Attention looks at the first `room` positions of the cache and masks those not yet used.
        """
        x = self._embedded(tokens[:, None])
        unused = mx.arange(room) > position
        mask = mx.where(unused, mx.array(-mx.inf, self.dtype), mx.array(0, self.dtype))
        filled: Cache = []
        for layer in self._layers:
            query, key, value = self._projected(layer, x, position)
            keys = mx.slice_update(cache[layer][0], key, position, (2,))
            values = mx.slice_update(cache[layer][1], value, position, (2,))
            filled.append((keys, values))
            mixed = self._attended(query, keys[:, :, :room], values[:, :, :room], mask)
            x = self._after(layer, x, mixed)
        return self.logits(self._norm(x, "output_norm")[:, -1]), filled

    def logits(self, x: mx.array) -> mx.array:
        """Returns the logits of the last norm's output."""
        return self._head.times(x)

    def _embedded(self, tokens: mx.array) -> mx.array:
        x = self._matrices["token_embd.weight"].rows(tokens).astype(self.dtype)
        return x if self.facts.embedding_scale == 1 else x * self.facts.embedding_scale

    def _norm(self, x: mx.array, name: str) -> mx.array:
        return mx.fast.rms_norm(x, self._vectors[f"{name}.weight"], self.facts.norm_epsilon)

    def _linear(self, x: mx.array, name: str) -> mx.array:
        y = self._matrices[f"{name}.weight"].times(x)
        bias = self._vectors.get(f"{name}.bias")
        return y if bias is None else y + bias

    def _projected(
        self, layer: int, x: mx.array, position: int | mx.array
    ) -> tuple[mx.array, mx.array, mx.array]:
        """Query, key and value, turned to their positions: (width, heads, tokens, head_size)."""
        facts, block = self.facts, f"blk.{layer}."
        x = self._norm(x, block + "attn_norm")

        def heads(name: str, count: int) -> mx.array:
            y = self._linear(x, block + name)
            return y.reshape(*y.shape[:2], count, facts.head_size)

        query, key = heads("attn_q", facts.heads), heads("attn_k", facts.kv_heads)
        value = heads("attn_v", facts.kv_heads)
        if facts.qk_norm:
            query = self._norm(query, block + "attn_q_norm")
            key = self._norm(key, block + "attn_k_norm")
        turned = [self._turned(part.transpose(0, 2, 1, 3), position) for part in (query, key)]
        return turned[0], turned[1], value.transpose(0, 2, 1, 3)

    def _turned(self, x: mx.array, position: int | mx.array) -> mx.array:
        facts = self.facts
        offset = position if isinstance(position, int) else position[0]
        if self._frequencies is not None:
            return mx.fast.rope(
                x,
                facts.rope_size,
                traditional=facts.interleaved_rope,
                base=None,
                scale=1.0,
                offset=offset,
                freqs=self._frequencies,
            )
        return mx.fast.rope(
            x,
            facts.rope_size,
            traditional=facts.interleaved_rope,
            base=facts.rope_base,
            scale=facts.rope_scale,
            offset=offset,
        )

    def _attended(
        self, query: mx.array, key: mx.array, value: mx.array, mask: str | mx.array
    ) -> mx.array:
        scale = 1 / math.sqrt(self.facts.head_size)
        mixed = mx.fast.scaled_dot_product_attention(query, key, value, scale=scale, mask=mask)
        mixed = mixed.transpose(0, 2, 1, 3)
        return mixed.reshape(*mixed.shape[:2], -1)

    def _after(self, layer: int, x: mx.array, mixed: mx.array) -> mx.array:
        block = f"blk.{layer}."
        x = x + self._linear(mixed, block + "attn_output")
        y = self._norm(x, block + "ffn_norm")
        gate, up = self._linear(y, block + "ffn_gate"), self._linear(y, block + "ffn_up")
        act = gate * mx.sigmoid(gate) if self.facts.activation == "silu" else _gelu(gate)
        return x + self._linear(act * up, block + "ffn_down")


def _gelu(x: mx.array) -> mx.array:
    """The tanh form, which ggml uses."""
    return 0.5 * x * (1 + mx.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def _packed(blocks: Blocks, dtype: mx.Dtype) -> Matrix:
    """Blocks as `mx.quantized_matmul` reads them: numbers packed in uint32 from the lowest bits on.

    Raises UnsupportedError where MLX has no such group.
    """
    if blocks.size not in (32, 64, 128):
        raise UnsupportedError(
            f"MLX has no groups of {blocks.size} weights", "--set precision=fp16"
        )
    numbers = blocks.numbers.reshape(len(blocks.numbers), -1)
    if blocks.bits == 4:
        numbers = numbers[:, 0::2] | (numbers[:, 1::2] << 4)
    words = np.ascontiguousarray(numbers).view("<u4")
    return Matrix(
        mx.array(words),
        mx.array(blocks.scale).astype(dtype),
        mx.array(blocks.offset).astype(dtype),
        blocks.bits,
        blocks.size,
    )
