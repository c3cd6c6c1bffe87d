"""Records of many runs of the same cells."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from pathlib import Path

import msgspec

from edgebench.record import Record, encode
from tests import records as make

Level = Callable[[int], float]  # run -> factor on the latency


def one_run(number: int, level: float, precision: str = "fp32", **facts: str) -> Record:
    """A record of the run with this number: one a day, a commit every two days."""
    record = make.record(
        {"precision": precision, "threads": 1}, p50=7e6 * level, run=f"run-{number:03d}", count=30
    )
    run = msgspec.structs.replace(
        record.run,
        started_utc=f"2026-{1 + number // 28:02d}-{1 + number % 28:02d}T10:00:00Z",
        commit=f"{number // 2:040x}",
        packages={"onnxruntime": facts.pop("onnxruntime", "1.30.0")},
    )
    device = msgspec.structs.replace(record.device, facts={**record.device.facts, **facts})
    return msgspec.structs.replace(record, run=run, device=device)


def noisy(level: Level, seed: int = 0, noise: float = 0.01) -> Level:
    def value(number: int) -> float:
        return level(number) * math.exp(random.Random(seed * 1000 + number).gauss(0, noise))

    return value


def write(folder: Path, runs: list[list[Record]]) -> Path:
    """A result file for each run."""
    folder.mkdir(exist_ok=True)
    for number, records in enumerate(runs):
        (folder / f"{number:03d}.jsonl").write_bytes(b"".join(map(encode, records)))
    return folder
