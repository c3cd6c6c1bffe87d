"""MLPerf Client: results.json, one line a configuration.

A row is one category of prompts of one configuration. TTFT is the mean over its prompts, and the rate of tokens after
the first is one over TPOT; the overall figures are geometric means over the categories and are kept in the notes.
"""

from __future__ import annotations

import json
from typing import Any

from edgebench.importers import _source
from edgebench.importers._settings import flat_settings
from edgebench.record import Record

TOOL = "mlperf-client"
SUMMARY = "MLPerf Client: results.json"

CITING = "MLCommons' rules on citing results apply where they are shown"
_MAX_ERROR = 80
_FIRST, _RATE = "Avg Time to First Token", "Avg 2nd+ Token Generation Rate"
_NOT_SETTINGS = frozenset(("device_id", "device_name"))


def read(source: _source.SourceFile) -> _source.Imports:
    """A record for each category of each configuration. Raises StoreError where the file is malformed."""
    records: list[Record] = []
    failed: list[str] = []
    for line, result in source.json_documents():
        if not isinstance(result, dict) or "Scenario Name" not in result:
            continue
        categories = result.get("category_results")
        if result.get("Benchmark Success") is not True:
            error = str(result.get("Error Message") or "no reason told")[:_MAX_ERROR]
            failed.append(
                f"line {line}: {result.get('Model Name')} failed and gives no row ({error})"
            )
        elif not isinstance(categories, dict) or not categories:
            failed.append(
                f"line {line}: {result.get('Scenario Name')} is no benchmark of text and gives no row"
            )
        else:
            for category, values in categories.items():
                if not isinstance(values, dict):
                    source.bad(f"{category[:40]!r} is not an object", line)
                records.append(_record(source, line, result, category, values))
    if not records and not failed:
        source.bad("no result of MLPerf Client in it", 1, "give its results.json")
    return _source.Imports(records, [*_source.first_few(failed), CITING])


def _record(
    source: _source.SourceFile,
    line: int,
    result: dict[str, Any],
    category: str,
    values: dict[str, Any],
) -> Record:
    reported = _source.Reported(
        statistic={
            "generate.ttft": "mean over the prompts of the category, not their median",
            "generate.tpot": "one over the mean rate of tokens after the first",
            "generate.decode": "mean rate of tokens after the first",
        },
        notes=[str(result.get("Config") or "Configuration NOT tested by MLCommons"), CITING],
    )
    agentic = values.get("Is Agentic") is True
    if agentic:
        reported.unknown["latency_ns"] = (
            "of whole tasks MLPerf Client tells the mean alone, and no percentile"
        )
    else:
        ttft_ns = source.nanoseconds(values.get(_FIRST), _FIRST, line, 1e9)
        reported.values["generate.ttft"] = ttft_ns
        if values.get(_RATE):
            rate = source.number(values[_RATE], _RATE, line)
            reported.values |= {"generate.decode": rate, "generate.tpot": 1e9 / rate}
    lengths = {
        axis: value
        for axis, name in (
            ("prompt_tokens", "Avg Input Tokens"),
            ("new_tokens", "Avg Generated Tokens"),
        )
        if isinstance(value := values.get(name), int) and not isinstance(value, bool) and value > 0
    }
    cpu = str(result.get("SysInfo_CPUModel") or "")
    gpus = result.get("SysInfo_GPUNames")
    model = str(result.get("Model Name") or _source.UNKNOWN)
    if overall := result.get("overall_results"):
        reported.notes.append(f"geometric means over the categories: {json.dumps(overall)}")
    return _source.make_record(
        source,
        source.origin(
            TOOL,
            {**_without_texts(result), "category": category, "values": values},
            line,
            result.get("Benchmark Start Time"),
        ),
        _source.named_cell(
            workload=f"mlperf-client-{_source.slug(model)}-{_source.slug(category)}",
            title=f"MLPerf Client {model}, {category}",
            task="text_generation",
            backend=str(result.get("Execution Provider Name") or _source.UNKNOWN),
            variant={
                **flat_settings(_source.part(result, "EP Configuration"), None, _NOT_SETTINGS),
                "model_file": str(result.get("Model File Name") or _source.UNKNOWN),
                "device_type": str(result.get("Device Type") or _source.UNKNOWN),
                **lengths,
            },
            scenario="single_stream" if agentic else "generate",
        ),
        reported,
        _source.Device(
            cpu or _source.UNKNOWN,
            {
                "cpu_model": cpu,
                "accelerator": ", ".join(map(str, gpus)) if isinstance(gpus, list) else None,
                "os": result.get("SysInfo_OSName"),
                "memory_bytes": None,
            },
        ),
    )


def _without_texts(result: dict[str, Any]) -> dict[str, Any]:
    """The result without prompts and answers, which are long, and what stands in the row by itself."""
    texts = ("Output", "Input Prompts", "Input Categories", "Input History", "category_results")
    return {name: value for name, value in result.items() if name not in texts}
