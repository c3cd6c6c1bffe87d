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

from edgebench.errors import UnsupportedError

MAGIC = b"GGUF"
VERSIONS = (2, 3)
_ALIGNMENT = 32
_STRING, _ARRAY, _BOOL = 8, 9, 7
#: Type of a value -> its format; see `gguf_metadata_value_type`. 8 and 9 are texts and arrays.
_FORMATS = {**dict(enumerate("BbHhIifB")), 10: "Q", 11: "q", 12: "d"}
#: Bytes that one of them takes in a file at least: more of them than there is room for are no count.
_MIN_STRING_BYTES, _MIN_PAIR_BYTES, _MIN_TENSOR_BYTES = 8, 13, 24
_MIN_ARRAY_BYTES = 12
MAX_AXES = 4  # of a tensor, in ggml
MAX_NESTING = 8  # of arrays in arrays; no known key has more than one
MAX_PLAUSIBLE_VERSION = 100  # another one is a damaged header
_SWAPPED_VERSIONS = tuple(version << 24 for version in VERSIONS)


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
    """Raises OSError, ValueError for a file that is no sound GGUF file, and UnsupportedError for one that is
    sound and of another kind than is read here."""
    with path.open("rb") as file:
        if path.stat().st_size < 24:
            raise ValueError("it is too short")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
            try:
                return _Reader(view).layout()
            except struct.error as error:
                raise ValueError(f"its header is damaged: {error}") from None


class _Reader:
    def __init__(self, view: mmap.mmap) -> None:
        self._view, self._at = view, 4

    def layout(self) -> Layout:
        if self._view[:4] != MAGIC:
            raise ValueError("it does not begin with GGUF")
        self._check_version(self._number("I"))
        tensors, pairs = self._count(_MIN_TENSOR_BYTES), self._count(_MIN_PAIR_BYTES)
        metadata: dict[str, Any] = {}
        for _ in range(pairs):
            key = self._string()
            metadata[key] = self._value(self._number("I"))
        places = [self._place() for _ in range(tensors)]
        alignment = metadata.get("general.alignment", _ALIGNMENT)
        if type(alignment) is not int or alignment < 1:
            raise ValueError(f"general.alignment is {alignment!r}")
        start = self._at + -self._at % alignment
        return Layout(
            metadata, [TensorPlace(p.name, p.sizes, p.kind, p.offset + start) for p in places]
        )

    def _number(self, form: str) -> Any:
        (value,) = struct.unpack_from(f"<{form}", self._view, self._at)
        self._at += struct.calcsize(form)
        return value

    def _check_version(self, version: int) -> None:
        if version in _SWAPPED_VERSIONS:
            raise UnsupportedError(
                "a GGUF file in big-endian order is not read here",
                "turn a copy of it: gguf-convert-endian FILE little (of pip install gguf)",
            )
        if version not in range(1, MAX_PLAUSIBLE_VERSION):
            raise ValueError(f"its version is {version}")
        if version not in VERSIONS:
            raise UnsupportedError(
                f"GGUF files of version {version} are not read here: known are {VERSIONS}",
                "convert the model again with a llama.cpp of today",
            )

    def _count(self, bytes_of_each: int) -> int:
        """How many follow. Raises ValueError where the file has no room for them."""
        count = int(self._number("Q"))
        if count * bytes_of_each > len(self._view) - self._at:
            raise ValueError("it ends within its header")
        return count

    def _string(self) -> str:
        end = self._count(1) + self._at
        text = self._view[self._at : end].decode("utf-8", errors="replace")
        self._at = end
        return text

    def _value(self, kind: int, nesting: int = 0) -> Any:
        if kind == _STRING:
            return self._string()
        if kind == _ARRAY:
            return self._array(self._number("I"), nesting + 1)
        value = self._number(_format(kind))
        return bool(value) if kind == _BOOL else value

    def _array(self, kind: int, nesting: int) -> list[Any]:
        if nesting > MAX_NESTING:
            raise ValueError(f"its metadata has arrays nested more than {MAX_NESTING} deep")
        if kind in (_STRING, _ARRAY):
            count = self._count(_MIN_STRING_BYTES if kind == _STRING else _MIN_ARRAY_BYTES)
            return [self._value(kind, nesting) for _ in range(count)]
        one = _format(kind)
        form = f"<{self._count(struct.calcsize(one))}{one}"
        values = list(struct.unpack_from(form, self._view, self._at))
        self._at += struct.calcsize(form)
        return [bool(value) for value in values] if kind == _BOOL else values

    def _place(self) -> TensorPlace:
        name = self._string()
        axes = self._number("I")
        if axes > MAX_AXES:
            raise ValueError(f"tensor {name!r} has {axes} axes")
        sizes = tuple(self._number("Q") for _ in range(axes))
        return TensorPlace(name, sizes, self._number("I"), self._number("Q"))


def _format(kind: int) -> str:
    if kind not in _FORMATS:
        raise ValueError(f"its metadata has values of the unknown type {kind}")
    return _FORMATS[kind]
