"""Reading the small files of /proc and /sys, below any root, without ever raising.

A file that is missing, forbidden or not ready (a power-gated sensor answers EAGAIN) reads as None;
`problem` says which of them it was.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

LIVE = Path("/")  # the root of the machine that runs this process
_LIMIT_BYTES = 1 << 16  # enough for any file read here; /proc/cpuinfo costs time per CPU shown
_PADDING = "\0 \t\r\n"  # device-tree strings end in NUL


def read(path: Path, limit_bytes: int = _LIMIT_BYTES) -> str | None:
    """Text of the first `limit_bytes` without padding at its ends, or None."""
    try:
        return _read_bytes(path, limit_bytes).decode("utf-8", "replace").strip(_PADDING)
    except OSError:
        return None


def read_int(path: Path) -> int | None:
    """The whole number that the file holds, or None."""
    text = read(path, 64)
    try:
        return None if text is None else int(text)
    except ValueError:
        return None


def problem(path: Path) -> str:
    """The reason why `path` cannot be read ("no such file or directory", ...), or "" if it can."""
    try:
        _read_bytes(path, 1)
    except OSError as error:
        return (error.strerror or type(error).__name__).lower()
    return ""


def glob(root: Path, pattern: str) -> list[Path]:
    """Paths below `root` that match, sorted with numbers in their order (cpu2 before cpu10)."""
    try:
        return sorted(root.glob(pattern), key=_natural)
    except OSError:
        return []


def fields(text: str | None, separator: str = ":") -> dict[str, str]:
    """`key: value` lines as a dictionary; of a key that repeats, the first line counts."""
    values: dict[str, str] = {}
    for line in (text or "").splitlines():
        key, mark, value = line.partition(separator)
        if mark:
            values.setdefault(key.strip(), value.strip())
    return values


def _read_bytes(path: Path, limit_bytes: int) -> bytes:
    # Bare system calls: a snapshot reads dozens of files between measurements.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        chunks = []
        while limit_bytes > 0:  # /proc hands out a page or so per read
            chunk = os.read(descriptor, limit_bytes)
            if not chunk:
                break
            chunks.append(chunk)
            limit_bytes -= len(chunk)
        return b"".join(chunks)
    finally:
        os.close(descriptor)


def _natural(path: Path) -> list[str | int]:
    parts = re.split(r"([0-9]+)", str(path))  # text and digits take turns
    return [int(part) if index % 2 else part for index, part in enumerate(parts)]
