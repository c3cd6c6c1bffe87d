"""optimum-benchmark: benchmark_report.json, or benchmark.json, which holds the report in `report`; either as
CSV, whose columns are the paths into it.

Latencies are taken from their raw values. What its readers found wrong is left out and said so:
times per token (events of earlier requests are never cleared), energy (sampled at 1 Hz,
too seldom), and rates of prefill and decode that are not labelled tokens/s (generate's per-token path counts tokens as samples).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from edgebench.backend import Scalar
from edgebench.importers import _source
from edgebench.importers._settings import flat_settings
from edgebench.record import Energy, Record

TOOL = "optimum-benchmark"
SUMMARY = "optimum-benchmark: benchmark_report or benchmark, as .json or .csv"

_WHOLE = ("forward", "call")  # a whole query
_PARTS = ("prefill", "decode")  # of a request that generates
#: A column that the table of every result has.
_COLUMN = re.compile(
    r"(?:^|[,;\t\"])((?:report\.)?(?:forward|call|prefill|decode)\.latency\.unit)\b", re.MULTILINE
)
#: Settings whose axis has another name, and what is none: it stands elsewhere, or tells how long to measure.
_AXES = {
    "input_shapes.batch_size": "batch",
    "input_shapes.sequence_length": "sequence_length",
    "torch_dtype": "precision",
    "dtype": "precision",
}
_NO_SETTINGS = frozenset(
    ("model", "task", "name", "version", "_target_", "seed", "token", "hub_kwargs.token", "iterations",
     "duration", "warmup_runs", "memory", "latency", "energy")
)  # fmt: skip
_NOT_TAKEN = {
    "per_token": "its events are never cleared between requests, so times per token are too long"
}


def read(source: _source.SourceFile) -> _source.Imports:
    """A record for each phase that has latencies. Raises StoreError where the file is malformed."""
    records, notes = [], []
    for number, (line, document) in enumerate(_documents(source), start=1):
        if not isinstance(document, dict):
            source.bad("not an object", line)
        report = document.get("report", document)
        config = document.get("config", {})
        if not isinstance(report, dict) or not isinstance(config, dict):
            source.bad("`report` or `config` is not an object", line)
        for phase, measurements in report.items():
            if phase in _NOT_TAKEN:
                notes.append(f"{phase} left out: {_NOT_TAKEN[phase]}")
            elif phase in (*_WHOLE, *_PARTS):
                if not isinstance(measurements, dict):
                    source.bad(f"{phase} is not an object", line)
                records.append(_record(source, number, phase, measurements, config))
    if not records:
        source.bad("no forward, call, prefill or decode in it", fix="give benchmark.json")
    return _source.Imports(records, [*notes, *_source.unnamed_note(records, "benchmark.json")])


def _documents(source: _source.SourceFile) -> Iterator[tuple[int, Any]]:
    column = _COLUMN.search(source.text)
    if column is None:
        yield from source.json_documents()
        return
    for line, row in source.csv_rows([column[1]]):
        document: dict[str, Any] = {}
        for path, cell in row.items():
            _put(document, path.split("."), _source.cell_value(cell))
        yield line, document


def _put(whole: dict[str, Any], path: list[str], value: Any) -> None:
    """Puts a value where its path leads; what stands in the way stays."""
    for name in path[:-1]:
        inner = whole.setdefault(name, {})
        if not isinstance(inner, dict):
            return
        whole = inner
    if value is not None:
        whole.setdefault(path[-1], value)


def _record(
    source: _source.SourceFile,
    number: int,
    phase: str,
    measurements: dict[str, Any],
    config: dict[str, Any],
) -> Record:
    latency = measurements.get("latency")
    reported = _source.Reported()
    if isinstance(latency, dict) and latency.get("values"):
        if latency.get("unit") != "s" or not isinstance(latency["values"], list):
            source.bad(f"latency of {phase} in {latency.get('unit')!r}, not a list of values in s")
        what = f"latency of {phase}"
        reported.samples_ns = source.samples_ns(latency["values"], what, None, 1e9)
    else:
        reported.unknown["latency_ns"] = f"the report has no latencies of {phase}"
    rate = measurements.get("throughput")
    if not isinstance(rate, dict):
        reported.unknown["throughput_per_s"] = "the report has none"
    elif phase in _WHOLE or rate.get("unit") == "tokens/s":
        value = source.number(rate.get("value"), f"throughput of {phase}", None)
        reported.values["throughput"] = value
        reported.statistic["throughput"] = f"{rate.get('unit')}, volume over mean latency"
    else:
        why = f"labelled {rate.get('unit')!r}, but tokens may be counted"
        reported.unknown["throughput_per_s"] = why
    memory = _source.part(measurements, "memory")
    if memory.get("unit") == "MB" and memory.get("max_ram"):
        reported.values["memory.peak"] = source.number(memory["max_ram"], "max_ram", None, 1e6)
        what = "largest of polled resident sizes: short peaks may be missed"
        reported.statistic["memory.peak"] = what
    backend, scenario = _source.part(config, "backend"), _source.part(config, "scenario")
    variant = {**_settings(scenario), **_settings(backend)}
    launcher = _settings(_source.part(config, "launcher"))
    variant |= {f"launcher.{axis}": each for axis, each in launcher.items()}
    environment = _source.part(config, "environment")
    gpus = environment.get("gpu")
    told = backend.get("model")
    named = _source.model_of(source, told if isinstance(told, str) else None, number)
    return _source.make_record(
        source,
        source.origin(TOOL, {"phase": phase, **measurements}, None),
        _source.named_cell(
            workload=f"optimum-{named.stem}-{phase}",
            title=f"{named.title}, {phase}",
            task=str(backend.get("task", _source.UNKNOWN)),
            backend=f"{backend.get('name', _source.UNKNOWN)} {backend.get('version', '')}".strip(),
            variant={**variant, **named.axes},
        ),
        reported,
        _source.Device(
            str(environment.get("machine") or environment.get("cpu") or _source.UNKNOWN).strip(),
            {
                "cpu_model": str(environment.get("cpu", "")).strip(),
                "accelerator": ", ".join(map(str, gpus)) if isinstance(gpus, list) else None,
                "os": environment.get("system"),
                "memory_bytes": None,
            },
        ),
        energy=Energy(
            status="unavailable",
            reason="not_trusted",
            detail="optimum-benchmark samples at 1 Hz, too seldom for its windows",
        ),
    )


def _settings(part: dict[str, Any]) -> dict[str, Scalar]:
    return flat_settings(part, _AXES, _NO_SETTINGS)
