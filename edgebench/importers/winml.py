"""winml perf of Microsoft's winml-cli: its JSON report (schema 2), of single inferences or of `--runtime winml-genai`.

Single inferences come with their samples. Of generations, TTFT is `model_ttft_duration_ms` (reading the prompt and
computing the first token): template and tokenizer stand outside, as they do in edgebench's own.
"""

from __future__ import annotations

from statistics import median
from typing import Any

from edgebench import stats
from edgebench.backend import Scalar
from edgebench.importers import _source
from edgebench.importers._settings import flat_settings
from edgebench.record import Record

TOOL = "winml"
SUMMARY = "winml perf of Microsoft's winml-cli: its JSON report"

_MEGABYTE = 1 << 20
#: What the report says of a run that is no setting, or says again elsewhere.
_NO_SETTINGS = frozenset(
    ("runtime", "model_id", "running_model_path", "bundle_dir", "task", "timestamp", "iterations", "warmup",
     "duration_sec", "prompt", "prompt_tokens", "generated_tokens", "effective_batch_size", "compile_timeout",
     "monitor", "ep_source")
)  # fmt: skip


def read(source: _source.SourceFile) -> _source.Imports:
    """A record for each report. Raises StoreError where the file is malformed."""
    records = []
    for number, (line, report) in enumerate(source.json_documents(), start=1):
        info = report.get("benchmark_info") if isinstance(report, dict) else None
        if not isinstance(info, dict):
            continue
        if isinstance(report.get("requests"), list):
            records.append(_generation(source, line, number, report, info))
        elif isinstance(report.get("latency_ms"), dict):
            records.append(_inference(source, line, number, report, info))
        else:
            source.bad(
                "neither latency_ms nor requests in it", line, "give a report without --module"
            )
    if not records:
        source.bad("no report of winml perf in it", 1, "give the JSON that --output names")
    return _source.Imports(records, _source.unnamed_note(records))


def _inference(
    source: _source.SourceFile, line: int, number: int, report: dict[str, Any], info: dict[str, Any]
) -> Record:
    raw = report.get("raw_samples_ms")
    samples = [
        round(source.nanoseconds(value, "a sample", line, 1e6)) for value in raw
    ] if isinstance(raw, list) else []  # fmt: skip
    reported: dict[str, float] = {}
    statistic: dict[str, str] = {}
    if not samples:
        latency = report["latency_ms"]
        reported["latency.p50"] = source.nanoseconds(latency.get("p50"), "p50", line, 1e6)
        statistic["latency.p50"] = f"p50 of {info.get('iterations', _source.UNKNOWN)} runs"
    rate = report.get("throughput")
    if isinstance(rate, dict) and rate.get("samples_per_sec"):
        reported["throughput"] = source.number(rate["samples_per_sec"], "samples_per_sec", line)
        statistic["throughput"] = "samples per second, batch over mean latency"
    batch = info.get("effective_batch_size", 1)
    variant: dict[str, Scalar] = {"batch": batch} if isinstance(batch, int) and batch > 0 else {}
    lists = ("raw_samples_ms", "hw_monitor")
    row = {name: value for name, value in report.items() if name not in lists}
    return _record(
        source, (line, number), (info, row, variant), "single_stream",
        _source.Reported(values=reported | _memory(source, line, report), statistic=statistic), samples,
    )  # fmt: skip


def _generation(
    source: _source.SourceFile, line: int, number: int, report: dict[str, Any], info: dict[str, Any]
) -> Record:
    timed = [
        request
        for request in report["requests"]
        if isinstance(request, dict) and request.get("kind") != "warmup"
    ]
    if not timed:
        source.bad("no timed request in it", line, "run winml perf with --iterations 1 or more")

    def each(name: str) -> list[float]:
        return [source.nanoseconds(request.get(name), name, line, 1e6) for request in timed]

    steps = sorted(
        round(source.nanoseconds(value, "a token", line, 1e6))
        for request in timed
        for value in request.get("decode_token_durations_ms") or []
    )
    reported = {"generate.ttft": median(each("model_ttft_duration_ms"))}
    of = f"of {len(timed)} requests"
    statistic = {"generate.ttft": f"median {of}: reading the prompt and the first token"}
    unknown: dict[str, str] = {}
    if steps:
        reported["generate.tpot"] = median(each("steady_state_tpot_ms"))
        statistic["generate.tpot"] = (
            f"median {of}; of each, the mean over its tokens after the first"
        )
    for name, permille in (("p90", 900), ("p99", 990)):
        if len(steps) >= stats.min_samples(permille):
            reported[f"generate.interval.{name}"] = stats.percentile(steps, permille)
            statistic[f"generate.interval.{name}"] = f"of {len(steps)} times between tokens"
        else:
            why = f"needs {stats.min_samples(permille)} intervals, there are {len(steps)}"
            unknown[f"generate.interval_{name}_ns"] = why
    lengths: dict[str, Scalar] = {
        axis: value
        for axis, name in (("prompt_tokens", "prompt_tokens"), ("new_tokens", "generated_tokens"))
        if isinstance(value := timed[0].get(name), int)
    }
    row = {name: value for name, value in report.items() if name not in ("requests", "hw_monitor")}
    return _record(
        source, (line, number), (info, row, lengths), "generate",
        _source.Reported(values=reported | _memory(source, line, report), statistic=statistic, unknown=unknown),
        [round(ns) for ns in each("request_duration_ms")],
    )  # fmt: skip


def _memory(source: _source.SourceFile, line: int, report: dict[str, Any]) -> dict[str, float]:
    memory = report.get("memory")
    peak = memory.get("rss_checkpoint_peak_mb") if isinstance(memory, dict) else None
    if not peak:
        return {}
    return {"memory.peak": source.number(peak, "rss_checkpoint_peak_mb", line, _MEGABYTE)}


def _record(
    source: _source.SourceFile,
    place: tuple[int, int],
    told: tuple[dict[str, Any], dict[str, Any], dict[str, Scalar]],
    scenario: str,
    reported: _source.Reported,
    samples: list[int],
) -> Record:
    (line, number), (info, row, lengths) = place, told
    model = info.get("model_id") or info.get("running_model_path")
    named = _source.model_of(source, str(model) if model else None, number)
    generates = scenario == "generate"
    return _source.make_record(
        source,
        source.origin(TOOL, row, line, started_utc=str(info.get("timestamp") or _source.UNKNOWN)),
        _source.NamedCell(
            workload=f"{'llm' if generates else 'winml'}-{named.stem}",
            title=named.title,
            task="text_generation" if generates else str(info.get("task") or _source.UNKNOWN),
            backend=f"winml {info.get('runtime') or ''} {info.get('ep') or ''}".strip(),
            variant={
                **flat_settings(info, {"batch_size": "batch"}, _NO_SETTINGS),
                **lengths,
                **named.axes,
            },
            scenario=scenario,
        ),
        _source.Device(_source.UNKNOWN, {"cpu_model": None, "os": None, "memory_bytes": None}),
        _source.Reported(
            values=reported.values,
            statistic={
                "memory.peak": "largest of sampled checkpoints: short peaks are missed",
                **reported.statistic,
            },
            unknown=reported.unknown,
        ),
        replicates=[_source.sampled(samples)] if samples else [],
    )
