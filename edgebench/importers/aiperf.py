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
    requests = _source.part(summary, "request_count").get("avg")
    requests = int(source.number(requests, "request_count", line)) if requests else 0
    reported = _source.Reported()
    for name, wanted in _TIMES.items():
        values = summary.get(name)
        if not isinstance(values, dict):
            continue
        unit = _unit_ns(source, values, name, line)
        for key, metric in wanted.items():
            needed = stats.min_samples(int(key[1:]) * 10)
            if values.get(key) is not None and requests >= needed:
                value = source.nanoseconds(values[key], f"{key} of {name}", line, unit)
                reported.values[metric] = value
            elif metric.startswith("latency."):
                why = f"needs {needed} requests, there are {requests}"
                reported.unknown[f"latency_ns.{key}"] = why
    if rate := _source.part(summary, "output_token_throughput").get("avg"):
        reported.values["throughput"] = source.number(rate, "output_token_throughput", line)
    if summary.get("error_summary"):
        reported.notes.append("some requests failed: the statistics are of the others")
    of = f"over {requests} requests under the load of the settings"
    reported.statistic = dict.fromkeys(reported.values, of)
    reported.statistic["throughput"] = "output tokens per second of all requests together"
    return _record(source, line, _source.part(summary, "input_config"), reported, summary)


def _of_requests(
    source: _source.SourceFile, requests: Sequence[tuple[int, dict[str, Any]]]
) -> Record:
    reported = _source.Reported(samples_ns=_each(source, requests, "request_latency"))
    if not reported.samples_ns:
        source.bad("no request has a request_latency", requests[0][0])
    for name, metric in (
        ("time_to_first_token", "generate.ttft"),
        ("inter_token_latency", "generate.tpot"),
    ):
        if values := _each(source, requests, name):
            reported.values[metric] = float(stats.percentile(sorted(values), 500))
    of = f"median of {len(requests)} requests"
    reported.statistic = dict.fromkeys(reported.values, of)
    return _record(source, requests[0][0], {}, reported, {"requests": len(requests)})


def _each(
    source: _source.SourceFile, requests: Sequence[tuple[int, dict[str, Any]]], name: str
) -> list[int]:
    """A time of every request that has it, in nanoseconds."""
    values = []
    for line, request in requests:
        told = request["metrics"].get(name)
        if isinstance(told, dict):
            unit = _unit_ns(source, told, name, line)
            values.append(round(source.nanoseconds(told.get("value"), name, line, unit)))
    return values


def _unit_ns(source: _source.SourceFile, told: dict[str, Any], name: str, line: int) -> float:
    """The unit of a time. Raises StoreError."""
    unit = _UNITS_NS.get(str(told.get("unit")))
    if unit is None:
        known = f"known: {', '.join(_UNITS_NS)}"
        source.bad(f"{name} in {str(told.get('unit'))[:20]!r}", line, known)
    return unit


def _record(
    source: _source.SourceFile,
    line: int,
    config: Mapping[str, Any],
    reported: _source.Reported,
    row: dict[str, Any],
) -> Record:
    endpoint = _source.part(config, "endpoint")
    models = endpoint.get("model_names")
    model = str(models[0]) if isinstance(models, list) and len(models) == 1 else None
    named = _source.model_of(source, model)
    settings: dict[str, Scalar] = {}
    for name in _PARTS:
        part = _source.part(config, name)
        settings |= flat_settings(part, None, _NO_SETTINGS, f"{name}.")
    reported.notes.insert(0, "times hold the network and the queue of the server")
    return _source.make_record(
        source,
        source.origin(
            TOOL,
            {key: each for key, each in row.items() if key != "input_config"},
            line,
            row.get("start_time"),
        ),
        named.cell(
            "llm",
            f"server {endpoint.get('type') or _source.UNKNOWN}",
            settings,
            "text_generation",
            "generate",
        ),
        reported,
    )
