"""Ceilings of a device, and the roofline that is drawn with them."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edgebench.calibration import Calibration, Ceiling
from edgebench.record import DeviceFacts, Layer, Work, encode
from tests.fuzz.records import run
from tests.records import record

_WORK = Work(
    flops=10**9, moved_bytes=10**7, layers=[Layer(op="Conv", flops=10**9, moved_bytes=10**7)]
)


def _calibration(*threads: int) -> bytes:
    kinds = ("gemm_fp32", "gemm_int8", "memory_add")
    ceilings = [
        Ceiling(
            what=what,  # type: ignore[arg-type]
            threads=count,
            per_s=1e11,
            low_per_s=9e10,
            high_per_s=1.1e11,
            of_processes_per_s=[9.5e10, 1e11],
            detail="512 x 512",
        )
        for what in kinds
        for count in threads
    ]
    made = Calibration(
        device=DeviceFacts(name="desk", facts={"cpu_model": "Example CPU"}),
        started_utc="2026-07-01T10:00:00Z",
        edgebench="0.1.0",
        onnxruntime="1.32.0",
        state=[],
        ceilings=ceilings,
    )
    return msgspec.json.encode(made)


SEEDS = [_calibration(1, 2), _calibration()]


def read(data: bytes, folder: Path) -> None:
    file, results = folder / "desk.json", folder / "results.jsonl"
    file.write_bytes(data)
    one = record()
    assert one.model is not None
    model = msgspec.structs.replace(one.model, work=_WORK)
    results.write_bytes(encode(msgspec.structs.replace(one, model=model)))
    run("roofline", str(results), "--calibration", str(file), "--layers", "2")
    run("report", str(results), "--calibration", str(file), "-o", str(folder / "report.md"))
