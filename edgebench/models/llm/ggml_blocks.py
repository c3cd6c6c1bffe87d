"""Quantised blocks of ggml, without loss: weight = scale * number + offset for each block.

Layouts: `ggml-common.h` of ggml. Scales and offsets are widened to float32, which holds each of them
exactly (products of two halfs for the K types).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgebench.errors import UnsupportedError

if TYPE_CHECKING:
    from numpy.typing import NDArray

FLOATS = ("F32", "F16", "BF16", "F64")


@dataclass(frozen=True)
class Blocks:
    """A matrix (rows, columns) in blocks along its columns."""

    bits: int  # 4 or 8: numbers are 0 .. 2**bits - 1, those of five and six bits among 8
    size: int  # columns of a block
    numbers: NDArray[Any]  # uint8 (rows, blocks, size)
    scale: NDArray[Any]  # float32 (rows, blocks)
    offset: NDArray[Any]  # float32 (rows, blocks)
    #: Where offset = -zero * scale for all blocks: that zero. None: each block has its own offset.
    zero: int | None

    def values(self) -> NDArray[Any]:
        """Float32 (rows, columns)."""
        import numpy as np

        wide = self.numbers.astype(np.float32) * self.scale[..., None] + self.offset[..., None]
        return np.asarray(wide.reshape(len(wide), -1))


def in_bytes(values: NDArray[Any], size: int = 32) -> Blocks:
    """Floats (rows, columns) in symmetric 8-bit blocks, as Q8_0 has them but for the scale's half."""
    import numpy as np

    if values.shape[1] % size:
        raise UnsupportedError(
            f"rows of {values.shape[1]} weights do not fit into blocks of {size}"
        )
    blocks = values.reshape(len(values), -1, size)
    scale = np.maximum(np.abs(blocks).max(axis=-1), 1e-12) / np.float32(127)
    numbers = (np.round(blocks / scale[..., None]) + 128).astype(np.uint8)
    return Blocks(8, size, numbers, scale, -128 * scale, zero=128)


def blocks_of(name: str, kind: str, shape: tuple[int, ...], raw: NDArray[Any]) -> Blocks | None:
    """None for plain floats. Raises UnsupportedError for a type whose blocks are not known here."""
    if kind in FLOATS:
        return None
    reader = _READERS.get(kind)
    if reader is None or len(shape) != 2:
        raise UnsupportedError(
            f"{name} is {kind}: its blocks cannot be used as they are",
            f"known are {', '.join(_READERS)}; --set precision=fp32 takes the weights apart",
        )
    return reader(raw.reshape(shape[0], -1))


def _halves(raw: NDArray[Any], start: int) -> NDArray[Any]:
    """A half-precision number at byte `start` of each block, as float32: (rows, blocks)."""
    import numpy as np

    pair = np.ascontiguousarray(raw[..., start : start + 2])
    return pair.view(np.float16)[..., 0].astype(np.float32)


def _nibbles(packed: NDArray[Any]) -> NDArray[Any]:
    """(..., 16) bytes -> (..., 32) numbers: the low halves come first."""
    import numpy as np

    return np.concatenate([packed & 0x0F, packed >> 4], axis=-1)


def _q4_0(raw: NDArray[Any]) -> Blocks:
    blocks = raw.reshape(len(raw), -1, 18)
    scale = _halves(blocks, 0)
    return Blocks(4, 32, _nibbles(blocks[..., 2:]), scale, -8 * scale, zero=8)


def _q4_1(raw: NDArray[Any]) -> Blocks:
    blocks = raw.reshape(len(raw), -1, 20)
    scale, offset = _halves(blocks, 0), _halves(blocks, 2)
    return Blocks(4, 32, _nibbles(blocks[..., 4:]), scale, offset, zero=None)


def _q8_0(raw: NDArray[Any]) -> Blocks:
    import numpy as np

    blocks = raw.reshape(len(raw), -1, 34)
    scale = _halves(blocks, 0)
    numbers = (blocks[..., 2:].view(np.int8).astype(np.int16) + 128).astype(np.uint8)
    return Blocks(8, 32, numbers, scale, -128 * scale, zero=128)


def _fifth_bits(blocks: NDArray[Any], start: int) -> NDArray[Any]:
    """The fifth bit of 32 numbers, from four bytes at `start`, as 0 or 16."""
    import numpy as np

    bits = np.unpackbits(
        np.ascontiguousarray(blocks[..., start : start + 4]), axis=-1, bitorder="little"
    )
    return np.asarray(bits << 4)


def _q5_0(raw: NDArray[Any]) -> Blocks:
    blocks = raw.reshape(len(raw), -1, 22)
    scale = _halves(blocks, 0)
    numbers = (_nibbles(blocks[..., 6:]) | _fifth_bits(blocks, 2)) + 112  # zero is 16 there
    return Blocks(8, 32, numbers, scale, -128 * scale, zero=128)


def _q5_1(raw: NDArray[Any]) -> Blocks:
    blocks = raw.reshape(len(raw), -1, 24)
    numbers = _nibbles(blocks[..., 8:]) | _fifth_bits(blocks, 4)
    return _centred(numbers, _halves(blocks, 0), _halves(blocks, 2))


def _centred(numbers: NDArray[Any], scale: NDArray[Any], offset: NDArray[Any]) -> Blocks:
    """Numbers of five bits around the middle of eight: what is then left of the offset is small."""
    return Blocks(8, 32, numbers + 112, scale, offset - 112 * scale, zero=None)


def _q4_k(raw: NDArray[Any]) -> Blocks:
    blocks = raw.reshape(len(raw), -1, 144)
    packed = blocks[..., 16:].reshape(len(raw), -1, 4, 32)
    return _k_blocks(4, blocks, _by_halves(packed))


def _q5_k(raw: NDArray[Any]) -> Blocks:
    import numpy as np

    blocks = raw.reshape(len(raw), -1, 176)
    packed = blocks[..., 48:].reshape(len(raw), -1, 4, 32)
    shifts = np.arange(8, dtype=np.uint8)[:, None]
    fifth = (blocks[..., None, 16:48] >> shifts) & 1
    return _k_blocks(8, blocks, _by_halves(packed) | (fifth << 4))


def _q6_k(raw: NDArray[Any]) -> Blocks:
    """256 numbers of six bits: low halves, then upper pairs of bits, sixteen scales, and one of all."""
    import numpy as np

    blocks = raw.reshape(len(raw), -1, 210)
    count = blocks.shape[1]
    low = blocks[..., :128].reshape(len(raw), count, 2, 1, 64)
    low = (low >> np.array([0, 4], np.uint8)[:, None]) & 0x0F  # (rows, blocks, 2, 2, 64)
    high = blocks[..., 128:192].reshape(len(raw), count, 2, 1, 32)
    high = (high >> np.array([0, 2, 4, 6], np.uint8)[:, None]) & 3  # (rows, blocks, 2, 4, 32)
    numbers = low.reshape(len(raw), count, 8, 32) | (high.reshape(len(raw), count, 8, 32) << 4)
    scales = blocks[..., 192:208].view(np.int8).astype(np.float32)
    scale = (_halves(blocks, 208)[..., None] * scales).reshape(len(raw), -1)
    numbers = numbers.reshape(len(raw), -1, 16) + np.uint8(96)  # zero is 32 there
    return Blocks(8, 16, numbers, scale, -128 * scale, zero=128)


def _by_halves(packed: NDArray[Any]) -> NDArray[Any]:
    """(rows, blocks, 4, 32) bytes -> (rows, blocks, 8, 32) numbers: low halves before high ones."""
    import numpy as np

    shifts = np.array([0, 4], np.uint8)[:, None]
    both = (packed[..., None, :] >> shifts) & 0x0F
    return np.asarray(both.reshape(*packed.shape[:2], 8, 32))


def _k_blocks(bits: int, blocks: NDArray[Any], numbers: NDArray[Any]) -> Blocks:
    """Eight sub-blocks of 32 with scales and minima of six bits, as Q4_K and Q5_K have them."""
    import numpy as np

    packed = blocks[..., 4:16].reshape(*blocks.shape[:2], 3, 4)
    first, second, third = (packed[..., part, :] for part in range(3))
    scales = np.concatenate([first & 63, (third & 15) | ((first >> 2) & 48)], axis=-1)
    minima = np.concatenate([second & 63, (third >> 4) | ((second >> 2) & 48)], axis=-1)
    rows = len(blocks)
    scale = (_halves(blocks, 0)[..., None] * scales.astype(np.float32)).reshape(rows, -1)
    offset = -(_halves(blocks, 2)[..., None] * minima.astype(np.float32)).reshape(rows, -1)
    numbers = numbers.reshape(rows, -1, 32)
    if bits == 4:
        return Blocks(4, 32, numbers, scale, offset, None)
    return _centred(numbers, scale, offset)


_READERS: dict[str, Callable[[NDArray[Any]], Blocks]] = {
    "Q4_0": _q4_0,
    "Q4_1": _q4_1,
    "Q5_0": _q5_0,
    "Q5_1": _q5_1,
    "Q8_0": _q8_0,
    "Q4_K": _q4_k,
    "Q5_K": _q5_k,
    "Q6_K": _q6_k,
}
