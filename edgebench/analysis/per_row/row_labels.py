"""Names the rows of a group by the axes in which they differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from edgebench.backend import Scalar


class Named(Protocol):
    """Holds what tells rows of a group apart: a row of a table, or what a frame knows of it."""

    @property
    def device(self) -> str: ...
    @property
    def run(self) -> str: ...
    @property
    def backend(self) -> str: ...
    @property
    def variant(self) -> dict[str, Scalar]: ...


def labels(rows: Sequence[Named]) -> list[str]:
    """One label per row: its precision, the axes that vary, the backend, device and run if they do."""
    axes = _varying_axes(rows)
    backends = len({row.backend for row in rows}) > 1
    runs = {run: number for number, run in enumerate(sorted({row.run for row in rows}), start=1)}
    devices = len({row.device for row in rows}) > 1
    several = len(runs) > 1 and not devices
    return [
        _label(row, axes, row.backend if backends else "", runs[row.run] if several else 0)
        + (f" on {row.device}" if devices else "")
        for row in rows
    ]


def common(rows: Sequence[Named]) -> str:
    """Returns what `labels` leaves out because all rows share it: "ort, threads=1"."""
    axes = _varying_axes(rows)
    first = rows[0]
    parts = [first.backend] if len({row.backend for row in rows}) == 1 else []
    parts += [
        setting(axis, value)
        for axis, value in sorted(first.variant.items())
        if axis not in axes and axis != "precision"
    ]
    return ", ".join(parts)


def _varying_axes(rows: Sequence[Named]) -> list[str]:
    axes = sorted({axis for row in rows for axis in row.variant})
    return [axis for axis in axes if len({repr(row.variant.get(axis)) for row in rows}) > 1]


def _label(row: Named, axes: Sequence[str], backend: str, run: int) -> str:
    parts = [backend] if backend else []
    if "precision" in row.variant:
        parts.append(str(row.variant["precision"]))
    parts += [
        setting(axis, row.variant[axis])
        for axis in axes
        if axis != "precision" and axis in row.variant
    ]
    if run:
        parts.append(f"run{run}")
    return " ".join(parts) or row.backend


def setting(axis: str, value: Scalar) -> str:
    """An axis with its value as people type it: "threads=2"."""
    return f"{axis}={str(value).lower() if isinstance(value, bool) else value}"
