"""winml perf of Microsoft's winml-cli: its JSON report (schema 2), of single inferences or of `--runtime winml-genai`.

Single inferences come with their samples. Of generations, TTFT is `model_ttft_duration_ms` (reading the prompt and
computing the first token): template and tokenizer stand outside, as they do in edgebench's own.
"""

from __future__ import annotations

from itertools import chain
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
    reported = _source.Reported()
    raw = report.get("raw_samples_ms")
    if isinstance(raw, list) and raw:
        reported.samples_ns = source.samples_ns(raw, "a sample", line, 1e6)
    else:
        p50_ns = source.nanoseconds(report["latency_ms"].get("p50"), "p50", line, 1e6)
        reported.values["latency.p50"] = p50_ns
        runs = info.get("iterations", _source.UNKNOWN)
        reported.statistic["latency.p50"] = f"p50 of {runs} runs"
    if rate := _source.part(report, "throughput").get("samples_per_sec"):
        reported.values["throughput"] = source.number(rate, "samples_per_sec", line)
        reported.statistic["throughput"] = "samples per second, batch over mean latency"
    batch = info.get("effective_batch_size", 1)
    variant: dict[str, Scalar] = {"batch": batch} if isinstance(batch, int) and batch > 0 else {}
    lists = ("raw_samples_ms", "hw_monitor")
    row = {name: value for name, value in report.items() if name not in lists}
    _add_memory(source, line, report, reported)
    return _record(source, (line, number), (info, row, variant), "single_stream", reported)


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

    tokens = [request.get("decode_token_durations_ms") or [] for request in timed]
    steps = sorted(source.samples_ns(chain.from_iterable(tokens), "a token", line, 1e6))
    of = f"of {len(timed)} requests"
    reported = _source.Reported(
        values={"generate.ttft": median(each("model_ttft_duration_ms"))},
        statistic={"generate.ttft": f"median {of}: reading the prompt and the first token"},
    )
    if steps:
        reported.values["generate.tpot"] = median(each("steady_state_tpot_ms"))
        what = f"median {of}; of each, the mean over its tokens after the first"
        reported.statistic["generate.tpot"] = what
    for name, permille in (("p90", 900), ("p99", 990)):
        if len(steps) >= stats.min_samples(permille):
            reported.values[f"generate.interval.{name}"] = stats.percentile(steps, permille)
            what = f"of {len(steps)} times between tokens"
            reported.statistic[f"generate.interval.{name}"] = what
        else:
            why = f"needs {stats.min_samples(permille)} intervals, there are {len(steps)}"
            reported.unknown[f"generate.interval_{name}_ns"] = why
    lengths: dict[str, Scalar] = {
        axis: value
        for axis, name in (("prompt_tokens", "prompt_tokens"), ("new_tokens", "generated_tokens"))
        if isinstance(value := timed[0].get(name), int)
    }
    row = {name: value for name, value in report.items() if name not in ("requests", "hw_monitor")}
    _add_memory(source, line, report, reported)
    reported.samples_ns = [round(ns) for ns in each("request_duration_ms")]
    return _record(source, (line, number), (info, row, lengths), "generate", reported)


def _add_memory(
    source: _source.SourceFile, line: int, report: dict[str, Any], reported: _source.Reported
) -> None:
    if peak := _source.part(report, "memory").get("rss_checkpoint_peak_mb"):
        size_bytes = source.number(peak, "rss_checkpoint_peak_mb", line, _MEGABYTE)
        reported.values["memory.peak"] = size_bytes
    what = "largest of sampled checkpoints: short peaks are missed"
    reported.statistic = {"memory.peak": what, **reported.statistic}


def _record(
    source: _source.SourceFile,
    place: tuple[int, int],
    told: tuple[dict[str, Any], dict[str, Any], dict[str, Scalar]],
    scenario: str,
    reported: _source.Reported,
) -> Record:
    (line, number), (info, row, lengths) = place, told
    model = info.get("model_id") or info.get("running_model_path")
    named = _source.model_of(source, str(model) if model else None, number)
    generates = scenario == "generate"
    return _source.make_record(
        source,
        source.origin(TOOL, row, line, info.get("timestamp")),
        named.cell(
            "llm" if generates else "winml",
            f"winml {info.get('runtime') or ''} {info.get('ep') or ''}".strip(),
            {**flat_settings(info, {"batch_size": "batch"}, _NO_SETTINGS), **lengths},
            "text_generation" if generates else str(info.get("task") or _source.UNKNOWN),
            scenario,
        ),
        reported,
    )
