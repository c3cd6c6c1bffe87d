"""A small file of the kernel's that is read over and over: opened once, read from its start."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

_MAX_BYTES = 64


class Register:
    """One whole number in a file. Picklable as long as it is not open."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = -1

    def open(self) -> None:
        """Raises OSError where the file cannot be opened. The kernel makes its text anew for every
        read at offset 0, so that one descriptor serves."""
        if self._descriptor < 0:
            self._descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)

    def read(self) -> int | None:
        """The number now, or None: not ready (EAGAIN), switched off (ENODATA), or not a number."""
        try:
            return int(os.pread(self._descriptor, _MAX_BYTES, 0))
        except (OSError, ValueError):
            return None

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def open_all(registers: Iterable[tuple[Register, bool]]) -> None:
    """Opens registers. Of those that are needed (True), a failure closes all again and is raised."""
    registers = list(registers)
    for register, needed in registers:
        try:
            register.open()
        except OSError:
            if needed:
                for each, _ in registers:
                    each.close()
                raise


def scaled(value: int | None, scale: float) -> float | None:
    """`value * scale`, unknown where it is."""
    return None if value is None else value * scale


def product(left: int | None, right: int | None, scale: float) -> float | None:
    """`left * right * scale`, unknown where either is."""
    return None if left is None or right is None else left * right * scale


def total(values: list[float | None]) -> float | None:
    """The sum, unknown where any part is: what is left of a sum is not a smaller sum."""
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
