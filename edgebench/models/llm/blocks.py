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

    bits: int  # 4 or 8: numbers are 0 .. 2**bits - 1
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
    return Blocks(
        4, 32, _nibbles(blocks[..., 4:]), _halves(blocks, 0), _halves(blocks, 2), zero=None
    )


def _q8_0(raw: NDArray[Any]) -> Blocks:
    import numpy as np

    blocks = raw.reshape(len(raw), -1, 34)
    scale = _halves(blocks, 0)
    numbers = (blocks[..., 2:].view(np.int8).astype(np.int16) + 128).astype(np.uint8)
    return Blocks(8, 32, numbers, scale, -128 * scale, zero=128)


_READERS: dict[str, Callable[[NDArray[Any]], Blocks]] = {
    "Q4_0": _q4_0,
    "Q4_1": _q4_1,
    "Q8_0": _q8_0,
}
