"""The layout of a GGUF file: metadata and where each tensor lies. Versions 2 and 3, little-endian.

The specification is `docs/gguf.md` of ggml. The reader of the package `gguf` makes several objects for
each token of a vocabulary: seconds and 150 MB, which a worker would count as memory of the model.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAGIC = b"GGUF"
VERSIONS = (2, 3)
_ALIGNMENT = 32
_STRING, _ARRAY, _BOOL = 8, 9, 7
#: Type of a value -> its format; see `gguf_metadata_value_type`.
_FORMATS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "B",
    10: "Q",
    11: "q",
    12: "d",
}
_MOST = 1 << 40  # bytes or items: what is longer is no length


@dataclass(frozen=True)
class TensorPlace:
    """Sizes are in ggml's order: the innermost first. `offset` counts from the file's start."""

    name: str
    sizes: tuple[int, ...]
    kind: int  # ggml's number of the type
    offset: int


@dataclass(frozen=True)
class Layout:
    metadata: dict[str, Any]
    tensors: list[TensorPlace]


def read_layout(path: Path) -> Layout:
    """Raises OSError, and ValueError for a file that is no sound GGUF file."""
    with path.open("rb") as file:
        if path.stat().st_size < 24:
            raise ValueError("it is too short")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
            try:
                return _Reader(view).layout()
            except (struct.error, UnicodeDecodeError, OverflowError) as error:
                raise ValueError(f"its header is damaged: {error}") from None


class _Reader:
    def __init__(self, view: mmap.mmap) -> None:
        self._view, self._at = view, 4

    def layout(self) -> Layout:
        if self._view[:4] != MAGIC:
            raise ValueError("it does not begin with GGUF")
        version = self._number("I")
        if version not in VERSIONS:
            raise ValueError(f"its version is {version}, known are {VERSIONS}, little-endian")
        tensors, pairs = self._length(), self._length()
        metadata: dict[str, Any] = {}
        for _ in range(pairs):
            key = self._string()
            metadata[key] = self._value(self._number("I"))
        places = [self._place() for _ in range(tensors)]
        alignment = int(metadata.get("general.alignment", _ALIGNMENT))
        start = self._at + -self._at % max(alignment, 1)
        return Layout(
            metadata,
            [TensorPlace(p.name, p.sizes, p.kind, p.offset + start) for p in places],
        )

    def _number(self, form: str) -> Any:
        (value,) = struct.unpack_from(f"<{form}", self._view, self._at)
        self._at += struct.calcsize(form)
        return value

    def _length(self) -> int:
        length = int(self._number("Q"))
        if length > _MOST:
            raise ValueError("its header is damaged: a length beyond reason")
        return length

    def _string(self) -> str:
        length = self._length()
        end = self._at + length
        if end > len(self._view):
            raise ValueError("it ends within its header")
        text = self._view[self._at : end].decode("utf-8", errors="replace")
        self._at = end
        return text

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._string()
        if kind == _ARRAY:
            return self._array(self._number("I"), self._length())
        if kind not in _FORMATS:
            raise ValueError(f"its metadata has values of the unknown type {kind}")
        value = self._number(_FORMATS[kind])
        return bool(value) if kind == _BOOL else value

    def _array(self, kind: int, count: int) -> list[Any]:
        if kind in (_STRING, _ARRAY):
            return [self._value(kind) for _ in range(count)]
        if kind not in _FORMATS:
            raise ValueError(f"its metadata has values of the unknown type {kind}")
        form = f"<{count}{_FORMATS[kind]}"
        values = list(struct.unpack_from(form, self._view, self._at))
        self._at += struct.calcsize(form)
        return [bool(value) for value in values] if kind == _BOOL else values

    def _place(self) -> TensorPlace:
        name = self._string()
        sizes = tuple(self._number("Q") for _ in range(self._number("I")))
        return TensorPlace(name, sizes, self._number("I"), self._number("Q"))
