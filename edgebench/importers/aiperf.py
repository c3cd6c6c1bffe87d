"""AIPerf (and GenAI-Perf, whose layout it keeps): profile_export_aiperf.json, or profile_export.jsonl with every request.

Percentiles are over requests under the load that the settings name. `inter_token_latency` is AIPerf's mean over the
tokens of a request after the first, which is TPOT.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgebench import stats
from edgebench.backend import Scalar
from edgebench.importers import _source
from edgebench.importers._settings import flat_settings
from edgebench.record import Record

TOOL = "aiperf"
SUMMARY = "AIPerf: profile_export_aiperf.json, or profile_export.jsonl"

_UNITS_NS = {"ns": 1.0, "us": 1e3, "ms": 1e6, "s": 1e9, "sec": 1e9}
#: Metric of the file -> statistic of it -> metric of a row.
_TIMES = {
    "request_latency": {"p50": "latency.p50", "p90": "latency.p90", "p99": "latency.p99"},
    "time_to_first_token": {"p50": "generate.ttft"},
    "inter_token_latency": {"p50": "generate.tpot"},
}
#: Parts of the configuration that are settings of what was measured.
_PARTS = ("endpoint", "input", "loadgen", "prompt", "conversation")
_NO_SETTINGS = frozenset(
    ("endpoint.model_names", "endpoint.urls", "endpoint.url", "endpoint.api_key", "endpoint.timeout_seconds",
     "endpoint.ready_check_timeout", "input.file", "input.random_seed", "loadgen.benchmark_duration",
     "loadgen.benchmark_grace_period", "loadgen.request_count", "loadgen.warmup_request_count")
)  # fmt: skip


def read(source: _source.SourceFile) -> _source.Imports:
    """A record for a summary, or for the requests of a run. Raises StoreError where the file is malformed."""
    documents = [(line, each) for line, each in source.json_documents() if isinstance(each, dict)]
    requests = [(line, each) for line, each in documents if isinstance(each.get("metrics"), dict)]
    summaries = [
        (line, each) for line, each in documents if isinstance(each.get("request_latency"), dict)
    ]
    notes: list[str] = []
    if summaries:
        records = [_of_summary(source, line, each) for line, each in summaries]
    elif requests:
        failed = sum(isinstance(each.get("metadata"), dict) for _, each in documents) - len(
            requests
        )
        if failed:
            notes.append(f"left out: {failed} of {failed + len(requests)} requests, which failed")
        records = [_of_requests(source, requests)]
    else:
        source.bad(
            "no request_latency of AIPerf in it", 1,
            "give profile_export_aiperf.json or profile_export.jsonl of a run that ended",
        )  # fmt: skip
    return _source.Imports(
        records, [*notes, *_source.unnamed_note(records, "profile_export_aiperf.json")]
    )


def _of_summary(source: _source.SourceFile, line: int, summary: dict[str, Any]) -> Record:
    if summary.get("was_cancelled") is True:
        source.bad("the run was cancelled before it ended", line, "import a run that ended")
    count = summary.get("request_count")
    requests = count.get("avg") if isinstance(count, dict) else None
    requests = int(source.number(requests, "request_count", line)) if requests else 0
    reported: dict[str, float] = {}
    unknown: dict[str, str] = {}
    for name, wanted in _TIMES.items():
        values = summary.get(name)
        if not isinstance(values, dict):
            continue
        unit = _UNITS_NS.get(str(values.get("unit")))
        if unit is None:
            source.bad(
                f"{name} in {str(values.get('unit'))[:20]!r}",
                line,
                f"known: {', '.join(_UNITS_NS)}",
            )
        for key, metric in wanted.items():
            needed = stats.min_samples(int(key[1:]) * 10)
            if values.get(key) is not None and requests >= needed:
                reported[metric] = source.nanoseconds(values[key], f"{key} of {name}", line, unit)
            elif metric.startswith("latency."):
                unknown[f"latency_ns.{key}"] = f"needs {needed} requests, there are {requests}"
    rate = summary.get("output_token_throughput")
    if isinstance(rate, dict) and rate.get("avg"):
        reported["throughput"] = source.number(rate["avg"], "output_token_throughput", line)
    config = summary.get("input_config")
    config = config if isinstance(config, dict) else {}
    notes = []
    if summary.get("error_summary"):
        notes.append("some requests failed: the statistics are of the others")
    statistic = dict.fromkeys(reported, f"over {requests} requests under the load of the settings")
    statistic["throughput"] = "output tokens per second of all requests together"
    return _record(
        source,
        line,
        config,
        _source.Reported(values=reported, statistic=statistic, unknown=unknown, notes=notes),
        summary,
    )


def _of_requests(
    source: _source.SourceFile, requests: Sequence[tuple[int, dict[str, Any]]]
) -> Record:
    latencies = _each(source, requests, "request_latency")
    if not latencies:
        source.bad("no request has a request_latency", requests[0][0])
    reported: dict[str, float] = {}
    for name, metric in (
        ("time_to_first_token", "generate.ttft"),
        ("inter_token_latency", "generate.tpot"),
    ):
        if values := _each(source, requests, name):
            reported[metric] = float(stats.percentile(sorted(values), 500))
    statistic = dict.fromkeys(reported, f"median of {len(requests)} requests")
    row = {"requests": len(requests)}
    return _record(
        source,
        requests[0][0],
        {},
        _source.Reported(values=reported, statistic=statistic),
        row,
        latencies,
    )


def _each(
    source: _source.SourceFile, requests: Sequence[tuple[int, dict[str, Any]]], name: str
) -> list[int]:
    """A time of every request that has it, in nanoseconds."""
    values = []
    for line, request in requests:
        told = request["metrics"].get(name)
        if not isinstance(told, dict):
            continue
        unit = _UNITS_NS.get(str(told.get("unit")))
        if unit is None:
            source.bad(
                f"{name} in {str(told.get('unit'))[:20]!r}", line, f"known: {', '.join(_UNITS_NS)}"
            )
        values.append(round(source.nanoseconds(told.get("value"), name, line, unit)))
    return values


def _record(
    source: _source.SourceFile,
    line: int,
    config: Mapping[str, Any],
    reported: _source.Reported,
    row: dict[str, Any],
    samples: Sequence[int] = (),
) -> Record:
    endpoint = config.get("endpoint")
    models = endpoint.get("model_names") if isinstance(endpoint, dict) else None
    model = str(models[0]) if isinstance(models, list) and len(models) == 1 else None
    named = _source.model_of(source, model)
    settings: dict[str, Scalar] = {}
    for part in _PARTS:
        told = config.get(part)
        if isinstance(told, dict):
            settings |= flat_settings(told, None, _NO_SETTINGS, f"{part}.")
    kind = endpoint.get("type") if isinstance(endpoint, dict) else None
    return _source.make_record(
        source,
        source.origin(
            TOOL,
            {key: each for key, each in row.items() if key != "input_config"},
            line,
            started_utc=str(row.get("start_time") or _source.UNKNOWN),
        ),
        _source.NamedCell(
            workload=f"llm-{named.stem}",
            title=named.title,
            task="text_generation",
            backend=f"server {kind or _source.UNKNOWN}",
            variant={**settings, **named.axes},
            scenario="generate",
        ),
        _source.Device(_source.UNKNOWN, {"cpu_model": None, "os": None, "memory_bytes": None}),
        _source.Reported(
            values=reported.values,
            statistic=reported.statistic,
            unknown=reported.unknown,
            notes=["times hold the network and the queue of the server", *reported.notes],
        ),
        replicates=[_source.sampled(samples)] if samples else [],
    )
