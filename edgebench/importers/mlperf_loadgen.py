"""MLPerf's LoadGen: the detail log of a test (`mlperf_log_detail.txt`), such as `edgebench run --loadgen` keeps.

A log holds what LoadGen states, and no samples: percentiles of latency of the streams and of Server, samples per
second of Offline and Server. It names neither model nor machine.
"""

from __future__ import annotations

from typing import Any

from edgebench.files import loadgen_log
from edgebench.importers._source import (
    UNKNOWN,
    Imports,
    Reported,
    SourceFile,
    make_record,
    model_of,
    named_cell,
)
from edgebench.record import Record

TOOL = "mlperf-loadgen"
SUMMARY = "MLPerf's LoadGen: the detail log of a test (mlperf_log_detail.txt)"

SCENARIOS = {
    "SingleStream": "single_stream",
    "MultiStream": "multi_stream",
    "Server": "server",
    "Offline": "offline",
}
_PERCENTILES = {"p50": "50.00", "p90": "90.00", "p99": "99.00"}
#: Settings that tell what was asked for.
_ASKED = ("effective_target_qps", "effective_min_query_count", "effective_min_duration_ms")


def read(source: SourceFile) -> Imports:
    """The record of a test. Raises StoreError where the file is no log of a performance test that ended."""
    try:
        found = loadgen_log.entries(source.text.split("\n"))
    except ValueError as error:
        source.bad(str(error), None, "give mlperf_log_detail.txt")
    scenario = found.get("effective_scenario")
    if scenario not in SCENARIOS:
        source.bad(f"no scenario {str(scenario)[:40]!r}", None, "give mlperf_log_detail.txt")
    if "result_validity" not in found:
        source.bad(
            "the test states no result", None, "give the log of a performance test that ended"
        )
    return Imports([_record(source, found, str(scenario))], [])


def _record(source: SourceFile, found: dict[str, Any], scenario: str) -> Record:
    values = _values(source, found, scenario)
    latency = {} if scenario != "Offline" else {"latency_ns": "Offline states a rate"}
    rate = {} if "throughput" in values else {"throughput_per_s": f"{scenario} states a latency"}
    name = model_of(source, None)
    variant = {"samples_per_query": _number(source, found, "effective_samples_per_query")}
    return make_record(
        source,
        source.origin(
            TOOL,
            {key: found[key] for key in sorted(found) if _plain(found[key])},
            None,
            found.get("test_datetime"),
            f"loadgen-{source.sha256[:8]}",
        ),
        named_cell(
            workload=f"loadgen-{name.stem}",
            title=name.title,
            backend=str(found.get("sut_name") or UNKNOWN),
            variant={
                **name.axes,
                **(variant if scenario == "MultiStream" else {}),
                **_asked(source, found),
            },
            scenario=SCENARIOS[scenario],
        ),
        Reported(
            values=values,
            statistic=dict.fromkeys(values, f"as LoadGen states it of {scenario}"),
            unknown={**latency, **rate},
            notes=_notes(found),
        ),
    )


def _plain(value: Any) -> bool:
    return isinstance(value, str | int | float | bool)


def _asked(source: SourceFile, found: dict[str, Any]) -> dict[str, float]:
    names = [key for key in _ASKED if key in found]
    return {key.removeprefix("effective_"): _number(source, found, key) for key in names}


def _number(source: SourceFile, found: dict[str, Any], key: str) -> float:
    number = source.number(str(found.get(key)), key, None)
    return int(number) if number == int(number) else number


def _values(source: SourceFile, found: dict[str, Any], scenario: str) -> dict[str, float]:
    """Metric -> what LoadGen states."""
    values = {}
    if scenario != "Offline":
        for name, percentile in _PERCENTILES.items():
            key = loadgen_log.percentile_key(percentile, scenario)
            if key in found:
                values[f"latency.{name}"] = source.number(str(found[key]), key, None)
    rate = loadgen_log.samples_per_s(found, scenario)
    return values if rate is None else {**values, "throughput": rate}


def _notes(found: dict[str, Any]) -> list[str]:
    version = found.get("loadgen_version", UNKNOWN)
    notes = [f"LoadGen {version}, {found.get('result_query_count', 'unknown')} queries"]
    if found["result_validity"] != "VALID":
        why = found.get("result_invalid_reason") or found.get("early_stopping_result") or ""
        notes.append(" ".join(f"not valid by LoadGen's rules: {why}".split()))
    return notes
