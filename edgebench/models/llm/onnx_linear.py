"""Linear layers of an ONNX decoder, from the weights as the GGUF file has them.

`as-is` keeps the 4- or 8-bit numbers and their scales in MatMulNBits, w = scale * (number - zero). Where
a block's offset is not -zero * scale, the rest is added as blocksum(x) * rest: exact but for rounding,
and fast, while float zero points of MatMulNBits take a path that is twenty times slower. 8-bit numbers
are two 4-bit ones, 16 * high + low: at full accuracy ONNX Runtime multiplies no 8-bit ones without
taking the whole matrix apart first, for each call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgebench.models.llm.ggml_blocks import Blocks, in_bytes
from edgebench.models.llm.gguf_file import GgufFile
from edgebench.models.llm.onnx_writer import OnnxWriter

if TYPE_CHECKING:
    from numpy.typing import NDArray

PRECISIONS = ("as-is", "fp32", "fp16", "w8", "int8-dynamic")
IN_BLOCKS = ("as-is", "w8")  # what MatMulNBits multiplies, and `accuracy_level` has an effect on
_EMBEDDING = "token_embd.weight"
#: `accuracy_level` of MatMulNBits at which it multiplies 8-bit numbers as they are.
_INTEGER_LEVEL = 4
_MIDDLE = 8  # MatMulNBits' zero of 4-bit numbers where none is given


@dataclass(frozen=True)
class Linear:
    """How matrices of the file become nodes. Values between nodes are of `dtype`."""

    writer: OnnxWriter
    file: GgufFile
    precision: str
    accuracy_level: int = 0
    #: The rows (outputs) of a matrix or bias of this name in another order.
    reorder: Callable[[str, NDArray[Any]], NDArray[Any]] = lambda name, rows: rows

    @property
    def dtype(self) -> str:
        return "float16" if self.precision == "fp16" else "float32"

    def __call__(self, x: str, names: Sequence[str]) -> str:
        """x times the matrices of these names, side by side, with their biases."""
        joint = "+".join(names)
        if self.precision in IN_BLOCKS:
            y = self._as_they_are(x, joint, names)
        elif self.precision == "int8-dynamic":
            y = self._int8(x, joint, names)
        else:
            y = self._plain(x, joint, names)
        biases = [f"{name.removesuffix('.weight')}.bias" for name in names]
        if biases[0] not in self.file.tensors:
            return y
        values = self._values(biases)
        bias = self.writer.constant(f"{joint}.bias", values.astype(self.dtype))
        return self.writer.node("Add", [y, bias])

    def embedding(self, tokens: str) -> str:
        """Rows of the embedding, of `dtype`; a tied head and it share their weights."""
        writer, tensor = self.writer, self.file.tensor(_EMBEDDING)
        blocks = self._blocks(_EMBEDDING) if self.precision in IN_BLOCKS else None
        if blocks is not None:
            return self._unpacked(tokens, blocks)
        if self.file.decoder.tied and self.precision != "int8-dynamic":
            matrix = self._matrix(_EMBEDDING, [_EMBEDDING])  # it lies the other way round
            rows = writer.node("Gather", [matrix, tokens], axis=1)
            return writer.node("Transpose", [rows], perm=[1, 2, 0])
        table = writer.constant(f"{_EMBEDDING}.rows", tensor.values().astype(self.dtype))
        return writer.node("Gather", [table, tokens])

    # --- floats, and integers made of them

    def _plain(self, x: str, joint: str, names: Sequence[str]) -> str:
        return self.writer.node("MatMul", [x, self._matrix(joint, names)])

    def _matrix(self, joint: str, names: Sequence[str]) -> str:
        """The matrices as floats, (inputs, outputs)."""
        return self.writer.constant(joint, self._values(names).T.astype(self.dtype))

    def _values(self, names: Sequence[str]) -> NDArray[Any]:
        return np.concatenate(
            [self.reorder(name, self.file.tensor(name).values()) for name in names]
        )

    def _int8(self, x: str, joint: str, names: Sequence[str]) -> str:
        """Weights in int8 with a scale for each output; x is quantised to uint8 as it comes."""
        values = self._values(names)
        scale = np.maximum(np.abs(values).max(axis=1), 1e-12) / 127
        numbers = np.round(values / scale[:, None]).astype(np.int8).T
        weights = [
            self.writer.constant(f"{joint}.int8", numbers),
            self.writer.constant(f"{joint}.scale", scale.astype(np.float32)),
        ]
        return self.writer.contrib("DynamicQuantizeMatMul", [x, *weights])

    # --- blocks, as they are or made anew

    def _blocks(self, name: str) -> Blocks | None:
        tensor = self.file.tensor(name)
        return in_bytes(tensor.values()) if self.precision == "w8" else tensor.blocks()

    def _as_they_are(self, x: str, joint: str, names: Sequence[str]) -> str:
        parts = [self._blocks(name) for name in names]
        known = [part for part in parts if part is not None]
        if not known:
            return self._plain(x, joint, names)
        kinds = {(part.bits, part.size, part.zero) for part in known}
        if len(kinds) > 1 or len(known) < len(parts):  # not of one kind: each on its own
            each = [self._as_they_are(x, name, [name]) for name in names]
            return self.writer.node("Concat", each, axis=-1)
        blocks = _stacked(known)
        if blocks.bits == 8 and self.accuracy_level == _INTEGER_LEVEL:
            y, zero = self._product(x, joint, blocks, blocks.numbers, bits=8), 128
        elif blocks.bits == 8:
            y, zero = self._split_product(x, joint, blocks), 128
        else:
            y, zero = self._product(x, joint, blocks, _pairs(blocks.numbers)), _MIDDLE
        if blocks.zero == zero:
            return y
        rest = self.writer.constant(f"{joint}.rest", (blocks.offset + zero * blocks.scale).T)
        return self.writer.node(
            "Add", [y, self.writer.node("MatMul", [self._block_sums(x, blocks), rest])]
        )

    def _split_product(self, x: str, joint: str, blocks: Blocks) -> str:
        """scale * (number - 128) = 16 * scale * (high - 8) + scale * low."""
        high = self._product(x, f"{joint}.high", blocks, _pairs(blocks.numbers >> 4), factor=16)
        low = self._product(x, f"{joint}.low", blocks, _pairs(blocks.numbers & 15), zero=0)
        return self.writer.node("Add", [high, low])

    def _product(
        self,
        x: str,
        name: str,
        blocks: Blocks,
        packed: NDArray[Any],
        *,
        bits: int = 4,
        factor: int = 1,
        zero: int | None = None,
    ) -> str:
        rows, count = blocks.scale.shape
        inputs = [
            x,
            self.writer.constant(f"{name}.numbers", packed),
            self.writer.constant(f"{name}.scale", blocks.scale * np.float32(factor)),
        ]
        if zero is not None:
            points = np.full((rows, (count + 1) // 2), zero * 17, np.uint8)
            inputs.append(self.writer.constant(f"{name}.zero", points))
        return self.writer.contrib(
            "MatMulNBits",
            inputs,
            K=count * blocks.size,
            N=rows,
            bits=bits,
            block_size=blocks.size,
            accuracy_level=self.accuracy_level,
        )

    def _block_sums(self, x: str, blocks: Blocks) -> str:
        """Sums of x over each block, (batch, tokens, blocks)."""
        shape = self.writer.numbers(0, 0, blocks.scale.shape[1], blocks.size)
        return self.writer.node(
            "ReduceSum",
            [self.writer.node("Reshape", [x, shape]), self.writer.numbers(-1)],
            keepdims=0,
        )

    def _unpacked(self, tokens: str, blocks: Blocks) -> str:
        """Rows of a quantised embedding, from the same weights that the head multiplies with."""
        writer, name = self.writer, _EMBEDDING

        def rows(part: str, array: NDArray[Any]) -> str:
            return writer.node("Gather", [writer.constant(f"{name}.{part}", array), tokens])

        if blocks.bits == 8 and self.accuracy_level == _INTEGER_LEVEL:
            numbers = writer.node("Cast", [rows("numbers", blocks.numbers)], to=1)
        elif blocks.bits == 8:
            high = self._halves(rows("high.numbers", _pairs(blocks.numbers >> 4)), blocks.size)
            low = self._halves(rows("low.numbers", _pairs(blocks.numbers & 15)), blocks.size)
            numbers = writer.node("Add", [writer.node("Mul", [high, writer.scalar(16.0)]), low])
        else:
            numbers = self._halves(rows("numbers", _pairs(blocks.numbers)), blocks.size)
        # The scale of the low half is the scale itself; that of the high half is 16 times it.
        part = (
            "low.scale" if blocks.bits == 8 and self.accuracy_level != _INTEGER_LEVEL else "scale"
        )
        scale = writer.node("Unsqueeze", [rows(part, blocks.scale), writer.numbers(-1)])
        if blocks.zero is not None:
            centred = writer.node("Sub", [numbers, writer.scalar(float(blocks.zero))])
            values = writer.node("Mul", [centred, scale])
        else:
            offset = writer.node("Unsqueeze", [rows("offset", blocks.offset), writer.numbers(-1)])
            values = writer.node("Add", [writer.node("Mul", [numbers, scale]), offset])
        return writer.node("Reshape", [values, writer.numbers(0, 0, self.file.decoder.width)])

    def _halves(self, packed: str, size: int) -> str:
        """(batch, tokens, blocks, bytes) -> (batch, tokens, blocks, size) as float32."""
        writer = self.writer
        last = writer.numbers(-1)
        low = writer.node("BitwiseAnd", [packed, writer.constant("u_15", np.array(15, np.uint8))])
        high = writer.node(
            "BitShift", [packed, writer.constant("u_4", np.array(4, np.uint8))], direction="RIGHT"
        )
        parts = [writer.node("Unsqueeze", [part, last]) for part in (low, high)]
        pairs = writer.node("Concat", parts, axis=-1)
        whole = writer.node("Reshape", [pairs, writer.numbers(0, 0, -1, size)])
        return writer.node("Cast", [whole], to=1)


def _pairs(numbers: NDArray[Any]) -> NDArray[Any]:
    """4-bit numbers (..., size) in bytes (..., size / 2), the first in the low half."""
    return np.asarray(numbers[..., 0::2] | (numbers[..., 1::2] << 4))


def _stacked(parts: Sequence[Blocks]) -> Blocks:
    """Several matrices of one kind as one, outputs below each other."""
    first = parts[0]
    return Blocks(
        first.bits,
        first.size,
        np.concatenate([part.numbers for part in parts]),
        np.concatenate([part.scale for part in parts]),
        np.concatenate([part.offset for part in parts]),
        first.zero,
    )
