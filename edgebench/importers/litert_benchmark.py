"""litert-benchmark of LiteRT (ai-edge-litert): `--result_json`.

Times are rounded to 0.01 ms, so one that stands as 0.0 is only known to be below 0.005 ms and is left unknown.
"""

from __future__ import annotations

from typing import Any

from edgebench.importers import _source
from edgebench.record import Record

TOOL = "litert-benchmark"
SUMMARY = "litert-benchmark of LiteRT: --result_json"

_ROUNDED = "rounded to 0.00 ms: below 0.005 ms"


def read(source: _source.SourceFile) -> _source.Imports:
    """A record for each result. Raises StoreError where the file is malformed."""
    records = [
        _record(source, line, number, result)
        for number, (line, result) in enumerate(source.json_documents(), start=1)
        if isinstance(result, dict) and isinstance(result.get("latency"), dict)
    ]
    if not records:
        source.bad("no result of litert-benchmark in it", 1, "give the file of --result_json")
    return _source.Imports(records, _source.unnamed_note(records))


def _record(source: _source.SourceFile, line: int, number: int, result: dict[str, Any]) -> Record:
    latency, model = result["latency"], result.get("model")
    named = _source.model_of(
        source, model.removesuffix(".tflite") if isinstance(model, str) else None, number
    )
    accelerators = _names(result.get("accelerators"))
    whole = result.get("fully_accelerated")
    notes = ["random inputs", "times are rounded to 0.01 ms"]
    reported = _source.Reported(
        statistic={"latency.p50": f"median of {latency.get('num_runs', _source.UNKNOWN)} runs"},
        notes=notes,
    )
    if latency.get("median_ms") in (0, 0.0, "0.0"):
        reported.unknown["latency_ns"] = _ROUNDED
    else:
        median_ns = source.nanoseconds(latency.get("median_ms"), "median_ms", line, 1e6)
        reported.values["latency.p50"] = median_ns
    if whole is False and accelerators != "CPU":
        notes.append("not fully accelerated: a part ran on the CPU")
    threads = result.get("num_threads")
    return _source.make_record(
        source,
        source.origin(TOOL, dict(result), line),
        named.cell(
            "litert",
            "LiteRT CompiledModel",
            {
                "accelerators": accelerators,
                "fully_accelerated": str(whole).lower(),
                "signature": str(result.get("signature") or _source.UNKNOWN),
                **({"threads": threads} if isinstance(threads, int) else {}),
            },
        ),
        reported,
        _source.Device(
            _source.UNKNOWN,
            {"cpu_model": None, "accelerator": accelerators, "os": None, "memory_bytes": None},
        ),
    )


def _names(value: object) -> str:
    return "+".join(map(str, value)) if isinstance(value, list) and value else _source.UNKNOWN
