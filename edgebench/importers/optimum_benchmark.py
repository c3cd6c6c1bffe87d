"""optimum-benchmark: benchmark_report.json, or benchmark.json, which holds the report in `report`.

Latencies are taken from their raw values. What its readers found wrong is left out and said so:
times per token (events of earlier requests are never cleared), energy (sampled at 1 Hz, the
loading included), and rates of prefill and decode (tokens labelled as samples).
"""

from __future__ import annotations

from typing import Any

from edgebench.backend import Scalar
from edgebench.importers._source import UNKNOWN, Imports, SourceFile, make_record, sampled, slug
from edgebench.record import Energy, Record

TOOL = "optimum-benchmark"
SUMMARY = "optimum-benchmark: benchmark_report.json or benchmark.json"

_WHOLE = ("forward", "call")  # a whole query
_PARTS = ("prefill", "decode")  # of a request that generates
_NOT_TAKEN = {
    "per_token": "its events are never cleared between requests, so times per token are too long"
}


def read(source: SourceFile) -> Imports:
    """A record for each phase that has latencies. Raises StoreError where the file is malformed."""
    document = source.json()
    if not isinstance(document, dict):
        source.bad("not an object", 1)
    report = document.get("report", document)
    config = document.get("config", {})
    if not isinstance(report, dict) or not isinstance(config, dict):
        source.bad("`report` or `config` is not an object")
    records, notes = [], []
    for phase, measurements in report.items():
        if phase in _NOT_TAKEN:
            notes.append(f"{phase} left out: {_NOT_TAKEN[phase]}")
        elif phase in (*_WHOLE, *_PARTS):
            if not isinstance(measurements, dict):
                source.bad(f"{phase} is not an object")
            records.append(_record(source, phase, measurements, config))
    if not records:
        source.bad("no forward, call, prefill or decode in it", fix="give benchmark_report.json")
    return Imports(records, notes)


def _record(
    source: SourceFile, phase: str, measurements: dict[str, Any], config: dict[str, Any]
) -> Record:
    latency = measurements.get("latency")
    unknown, samples = {}, []
    if isinstance(latency, dict) and latency.get("values"):
        if latency.get("unit") != "s" or not isinstance(latency["values"], list):
            source.bad(f"latency of {phase} in {latency.get('unit')!r}, not a list of values in s")
        samples = [
            round(source.number(value, f"latency of {phase}", None, 1e9))
            for value in latency["values"]
        ]
    else:
        unknown["latency_ns"] = f"the report has no latencies of {phase}"
    reported: dict[str, float] = {}
    statistic: dict[str, str] = {}
    rate = measurements.get("throughput")
    if not isinstance(rate, dict):
        unknown["throughput_per_s"] = "the report has none"
    elif phase in _WHOLE:
        reported["throughput"] = source.number(rate.get("value"), f"throughput of {phase}", None)
        statistic["throughput"] = f"{rate.get('unit')}, volume over mean latency"
    else:
        unknown["throughput_per_s"] = f"labelled {rate.get('unit')!r}, but tokens may be counted"
    memory = measurements.get("memory")
    if isinstance(memory, dict) and memory.get("unit") == "MB" and memory.get("max_ram"):
        reported["memory.peak"] = source.number(memory["max_ram"], "max_ram", None, 1e6)
        statistic["memory.peak"] = "largest of polled resident sizes: short peaks may be missed"
    backend, scenario = _part(config, "backend"), _part(config, "scenario")
    shapes = _part(scenario, "input_shapes")
    variant: dict[str, Scalar] = {}
    for axis, value in (
        ("batch", shapes.get("batch_size")),
        ("sequence_length", shapes.get("sequence_length")),
        ("precision", backend.get("torch_dtype")),
    ):
        if isinstance(value, int | str):
            variant[axis] = value
    environment = _part(config, "environment")
    gpus = environment.get("gpu")
    model = str(backend.get("model", config.get("name", UNKNOWN)))
    return make_record(
        source,
        tool=TOOL,
        line=None,
        row={"phase": phase, **measurements},
        workload=f"optimum-{slug(model)}-{phase}",
        version=1,
        title=f"{model}, {phase}",
        task=str(backend.get("task", UNKNOWN)),
        backend=f"{backend.get('name', UNKNOWN)} {backend.get('version', '')}".strip(),
        variant=variant,
        scenario="single_stream",
        device=str(environment.get("machine") or environment.get("cpu") or UNKNOWN).strip(),
        facts={
            "cpu_model": str(environment.get("cpu", "")).strip(),
            "accelerator": ", ".join(map(str, gpus)) if isinstance(gpus, list) else None,
            "os": environment.get("system"),
            "memory_bytes": None,
        },
        run=f"optimum-benchmark-{source.sha256[:8]}",
        reported=reported,
        statistic=statistic,
        unknown=unknown,
        energy=Energy(
            status="unavailable",
            reason="not_trusted",
            detail="optimum-benchmark samples at 1 Hz, the loading included",
        ),
        replicates=[sampled(samples)] if samples else [],
    )


def _part(whole: dict[str, Any], name: str) -> dict[str, Any]:
    part = whole.get(name)
    return part if isinstance(part, dict) else {}
