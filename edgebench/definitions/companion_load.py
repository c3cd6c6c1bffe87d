"""Parses `--companion`: what stands for the rest of the application."""

from __future__ import annotations

from typing import NamedTuple

from edgebench.errors import UsageError
from edgebench.units import parse_bytes

MAX_CORES = 1024
MAX_BYTES_PER_S = 10**13
_FIX = "write it like cpu:2 (cores that are busy) or memory:8GB/s (bytes read and written)"


class Synthetic(NamedTuple):
    """A load without a model: so many busy cores, or so many bytes per second through memory."""

    cores: int
    bytes_per_s: float | None = None


def is_load(text: str) -> bool:
    """Whether a companion is such a load, rather than another workload."""
    return ":" in text


def parse_companion(text: str) -> Synthetic:
    """`"cpu:2"`, `"memory:8GB/s"`. Raises UsageError."""
    kind, _, amount = text.partition(":")
    if kind == "cpu" and amount.isascii() and amount.isdigit() and 0 < int(amount) <= MAX_CORES:
        return Synthetic(int(amount))
    if kind == "memory" and amount.endswith("/s"):
        rate = parse_bytes(amount.removesuffix("/s"))
        if 0 < rate <= MAX_BYTES_PER_S:
            return Synthetic(1, float(rate))
    raise UsageError(f"--companion {text!r} is no load", _FIX)
