"""Pairs and cells for tests of the gate, built without measuring anything."""

from __future__ import annotations

import random
from typing import Any

from edgebench.ab_test.ab_report_types import CellCase
from edgebench.ab_test.pair_record import ArmBlock, BlockShape, Measured, Pair
from edgebench.record import Memory, OutputCheck, Quality

MIB = 2**20
GOOD = OutputCheck(against="reference", relative_error=1e-6, limit=1e-3, passed=True)


def accuracy(value: float, floor: float = 0.85) -> Quality:
    return Quality(
        metric="accuracy",
        value=value,
        floor=floor,
        better="higher",
        passed=value >= floor,
        items=200,
        reason="" if value >= floor else f"accuracy {value:g} < {floor:g}",
    )


def measured(
    ns: float = 5e6, *, seed: int = 0, blocking_ns: float = 0.0, peak: int = 90 * MIB, **more: Any
) -> Measured:
    """An arm of 20 blocks of 4 samples around `ns`."""
    source = random.Random(seed)
    blocks = []
    for _ in range(20):
        cpu = [round(ns * source.gauss(1, 0.003)) for _ in range(4)]
        wall = [value + round(blocking_ns) for value in cpu]
        blocks.append(ArmBlock(wall_ns=wall, cpu_ns=cpu, switches=[0] * 4, waited_ns=[0] * 4))
    parts: dict[str, Any] = {
        "memory": Memory(peak_bytes=peak, peak_source="VmHWM"),
        "output_check": GOOD,
    }
    return Measured(blocks=blocks, **(parts | more))


def pair(
    index: int = 0,
    change: float = 0.0,
    *,
    cell: str = "demo",
    base: Measured | None = None,
    head: Measured | None = None,
    **more: Any,
) -> Pair:
    """A pair whose head is slower by the share `change`."""
    parts: dict[str, Any] = {
        "cores": [index % 2],
        "load_1m": 1.0,
        "seconds": 1.5,
        "device": False,
        "parity_error": 1e-7 if index == 0 else None,
    }
    quality = accuracy(0.9) if index == 0 else None
    return Pair(
        cell=cell,
        index=index,
        first="base" if index % 2 == 0 else "head",
        started_utc="2026-07-01T10:00:00Z",
        begin=BlockShape(samples=4, calls=1),
        base=base or measured(seed=2 * index, quality=quality),
        head=head or measured(5e6 * (1 + change), seed=2 * index + 1, quality=quality),
        **(parts | more),
    )


def pairs(count: int = 5, change: float = 0.0, **more: Any) -> list[Pair]:
    return [pair(index, change, **more) for index in range(count)]


def case(cell: str = "demo", **more: Any) -> CellCase:
    return CellCase(cell=cell, base=cell, head=cell, size_bytes={"base": MIB, "head": MIB}, **more)
