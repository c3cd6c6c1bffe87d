"""Parses `--companion`: what stands for the rest of the application."""

from __future__ import annotations

import contextlib
from typing import NamedTuple

from edgebench.errors import UsageError
from edgebench.units import parse_bytes

MAX_CORES = 1024
MAX_BYTES_PER_S = 10**13
MAX_BYTES = 10**15
#: What a load of copies moves: a block that no cache holds, and another one.
BLOCK_BYTES = 64 << 20
_FIX = "write it like cpu:2 (busy cores), memory:8GB/s (bytes read and written) or memory:2GB (bytes that are held)"


class Synthetic(NamedTuple):
    """A load without a model: so many busy cores, or so many bytes per second through memory, or bytes that are held."""

    cores: int
    bytes_per_s: float | None = None
    held_bytes: int | None = None

    @property
    def needs_bytes(self) -> int:
        """Memory that it takes beside its process."""
        copied = 0 if self.bytes_per_s is None else 2 * BLOCK_BYTES
        return copied if self.held_bytes is None else self.held_bytes


def is_load(text: str) -> bool:
    """Whether a companion is such a load, rather than another workload."""
    return ":" in text


def parse_companion(text: str) -> Synthetic:
    """`"cpu:2"`, `"memory:8GB/s"`, `"memory:2GB"`. Raises UsageError."""
    kind, _, amount = text.partition(":")
    if kind == "cpu" and amount.isascii() and amount.isdigit() and 0 < int(amount) <= MAX_CORES:
        return Synthetic(int(amount))
    size = None
    number = amount.removesuffix("/s")
    if kind == "memory" and number[-1:].isalpha():  # a number without a unit is a mistake
        with contextlib.suppress(UsageError):
            size = parse_bytes(number)
    if size and amount.endswith("/s") and 0 < size <= MAX_BYTES_PER_S:
        return Synthetic(1, float(size))
    if size and not amount.endswith("/s") and 0 < size <= MAX_BYTES:
        return Synthetic(1, held_bytes=size)
    raise UsageError(f"--companion {text!r} is no load", _FIX)
