"""Realistic records for tests, built without measuring anything."""

from __future__ import annotations

import random
from typing import Any

from edgebench.backend import Effective, Scalar, TensorInfo
from edgebench.record import (
    CellFacts,
    DeviceFacts,
    Energy,
    EnergyUncertainty,
    Generate,
    Imported,
    Memory,
    ModelFacts,
    Offline,
    OutputCheck,
    Pipeline,
    Quality,
    Reason,
    Record,
    Replicate,
    Request,
    RunFacts,
    Status,
    Unseen,
    Warmup,
)

MIB = 2**20
NO_ENERGY = Energy(status="unavailable", reason="no_sensor", detail="no power sensor was found")


def energy(
    joules: float,
    kind: str = "measured_rail",
    scope: str = "VDD_IN",
    share: float = 0.02,
    spread: bool = True,
    **changes: Any,
) -> Energy:
    """Measured, to a share of the value; `spread`: in several processes."""
    half = joules * share
    return Energy(
        status="ok",
        j_per_inference=joules,
        uncertainty_j=half,
        uncertainty=EnergyUncertainty(edge_j=half, spread_j=half / 10 if spread else None),
        kind=kind,
        scope=scope,
        **changes,
    )


def samples(median_ns: float, count: int, seed: int) -> list[int]:
    """Latencies with a long right tail around a median."""
    source = random.Random(seed)
    return [int(median_ns * (1 + 0.01 * source.expovariate(1.0))) for _ in range(count)]


def replicate(
    index: int = 0,
    latencies: list[int] | None = None,
    *,
    peak: int | None = 90 * MIB,
    status: Status = "ok",
    **changes: Any,
) -> Replicate:
    """One worker process; every part that a real one has, unless `changes` says otherwise."""
    latencies = samples(7e6, 300, index) if latencies is None else latencies
    inference = latencies[:20]
    parts: dict[str, Any] = {
        "import_ns": 120_000_000,
        "load_ns": 60_000_000,
        "first_inference_ns": 15_000_000,
        "warmup": Warmup(iterations=12, duration_ns=90_000_000, steady=True),
        "samples_ns": latencies,
        "window_ns": sum(latencies) + 200 * len(latencies),
        "cpu_ns": sum(latencies),
        "involuntary_switches": 3,
        "stop": "precise",
        "unseen": Unseen(pool_ns=latencies[:16], unseen_ns=latencies[16:32], caching=False),
        "pipeline": Pipeline(
            preprocess_ns=[2_000_000] * len(inference),
            inference_ns=inference,
            postprocess_ns=[30_000] * len(inference),
            end_to_end_ns=[2_030_000 + value for value in inference],
        ),
        "memory": Memory(
            peak_bytes=peak,
            peak_source="VmHWM" if peak is not None else "the system does not tell",
            uss_loaded_bytes=70 * MIB,
            uss_warm_bytes=80 * MIB,
            uss_end_bytes=80 * MIB,
        ),
        "output_check": OutputCheck(
            against="reference", relative_error=1e-6, limit=1e-3, passed=True
        ),
        "wall_s": 4.2,
        "parent_cpu_s": 0.01,
    }
    if status != "ok":
        parts = {"samples_ns": []}
    parts.update(changes)
    return Replicate(index=index, status=status, started_utc="2026-07-01T10:00:00Z", **parts)


def generating(
    index: int = 0,
    ttft_ns: int = 300_000_000,
    step_ns: int = 20_000_000,
    *,
    tokens: int = 16,
    prompt_tokens: int = 128,
    width: int = 1,
    requests: int = 8,
    **changes: Any,
) -> Replicate:
    """A replicate of the scenario generate, each token a little later than the last one's interval."""
    each = [
        Request(
            prompt_tokens=prompt_tokens,
            token_ns=[ttft_ns + 1000 * number + step_ns * step for step in range(tokens)],
            new_tokens=[tokens] * width,
            stop=["length"] * width,
        )
        for number in range(requests)
    ]
    return replicate(
        index,
        [request.token_ns[-1] for request in each],
        **{
            "generate": Generate(
                requests=each,
                width=width,
                positions=prompt_tokens + tokens,
                kv_cache_bytes=12 * MIB,
                temperature=0.0,
                fixed_length=True,
            ),
            **changes,
        },
    )


def offline(index: int = 0, per_s: float = 150.0, items: int = 256) -> Replicate:
    """A replicate of the offline scenario."""
    return replicate(
        index,
        [],
        window_ns=None,
        unseen=None,
        pipeline=None,
        offline=Offline(samples=items, duration_ns=int(items / per_s * 1e9), batch=8),
    )


def quality(value: float | None = 0.885, floor: float | None = 0.85, **changes: Any) -> Quality:
    better = changes.get("better", "higher")
    ok = value is not None and (
        floor is None or (value >= floor if better == "higher" else value <= floor)
    )
    fields: dict[str, Any] = {
        "metric": "accuracy",
        "value": value,
        "floor": floor,
        "better": better,
        "passed": ok,
        "items": 200,
    }
    return Quality(**(fields | changes))


def record(
    variant: dict[str, Scalar] | None = None,
    *,
    workload: str = "image-classification",
    backend: str = "ort",
    scenario: str = "single_stream",
    p50: float = 7e6,
    spread: float = 0.002,
    count: int = 300,
    seed: int = 0,
    replicates: list[Replicate] | None = None,
    peak: int | None = 90 * MIB,
    device: str = "desk",
    run: str = "20260701-100000-ab12",
    rate_per_s: float | None = None,
    **changes: Any,
) -> Record:
    """A cell of three replicates whose medians lie within `spread` (a share) of `p50`."""
    variant = {"precision": "fp32", "threads": 1} if variant is None else variant
    axes = ",".join(f"{axis}={variant[axis]}" for axis in sorted(variant))
    if replicates is None:
        offsets = (-1.0, 0.0, 1.0)
        replicates = [
            replicate(i, samples(p50 * (1 + spread * offset), count, seed * 3 + i), peak=peak)
            for i, offset in enumerate(offsets)
        ]
    fields: dict[str, Any] = {
        "cell": CellFacts(
            id=f"{workload}@1/{backend}/{axes}/{scenario}",
            workload=workload,
            workload_version=1,
            title=f"Title of {workload}",
            task=workload.replace("-", "_"),
            backend=backend,
            variant=variant,
            scenario=scenario,
            rate_per_s=rate_per_s,
        ),
        "status": "ok",
        "run": RunFacts(
            id=run,
            started_utc="2026-07-01T10:00:00Z",
            edgebench="0.1.0",
            python="3.11.7",
            settings={"suite": "quick", "target": 0.02, "replicates": 3},
            command=["edgebench", "run"],
            seed=0,
            packages={"onnxruntime": "1.32.0", "numpy": "2.2.0"},
            packages_sha256="d" * 64,
        ),
        "device": DeviceFacts(
            name=device,
            facts={"cpu_model": "Example CPU", "logical_cpus": 2, "memory_bytes": 8 * 2**30},
            unknown={"board": "not a board"},
        ),
        "model": ModelFacts(
            name=f"{workload}.onnx",
            sha256="a" * 64,
            size_bytes=18 * MIB,
            source="pypi:example==1.0!model.onnx",
            source_sha256="b" * 64,
            precision=str(variant.get("precision", "as-is")),
            build_s=1.5,
        ),
        "inputs_sha256": "c" * 64,
        "quality": quality(),
        "energy": NO_ENERGY,
        "effective": Effective(
            device="cpu",
            precision="fp32",
            providers={"CPUExecutionProvider": 60},
            threads=1,
            inputs=(TensorInfo("x", "float32", (1, 3, 224, 224)),),
            outputs=(TensorInfo("y", "float32", (1, 1000)),),
            runtime="onnxruntime 1.32.0",
        ),
        "target": 0.02,
        "replicates": replicates,
    }
    return Record(**(fields | changes))


def reported(metric: str, value: float, **changes: Any) -> Record:
    """A cell of which another tool reports one number."""
    row = Imported(
        tool="other", file="f.csv", sha256="e" * 64, line=1, row={}, reported={metric: value}
    )
    return record(replicates=[], imported=row, **changes)


def failed(variant: dict[str, Scalar], code: str, message: str, **changes: Any) -> Record:
    """A cell that yielded nothing but a reason."""
    reason = Reason(code=code, message=message, fix="see the log")
    status: Status = changes.pop("status", "failed")
    return record(
        variant,
        replicates=[replicate(0, status=status, reasons=[reason])],
        status=status,
        reasons=[reason],
        quality=None,
        effective=None,
        **changes,
    )
