"""benchmark_app of OpenVINO: its console log, or its report (`-report_type`), CSV or `-json_stats`.

The report says neither the precision that ran (`UNSPECIFIED`) nor the types of inputs, and rounds
to 0.01 ms; the log tells both. The latency is the median unless `-latency_percentile` says another.
"""

from __future__ import annotations

import re
from typing import Any

from edgebench.backend import Scalar
from edgebench.importers._source import UNKNOWN, Imports, SourceFile, make_record, slug
from edgebench.record import Record

TOOL = "benchmark_app"
SUMMARY = "benchmark_app of OpenVINO: its console log, or its report as CSV or JSON"

_REPORT_STEP_MS = 0.01  # what a report rounds to
_SECTIONS = ("configuration_setup", "execution_results")
_PRECISIONS = {"float": "fp32", "float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}
_TO_NS = {"us": 1e3, "ms": 1e6}
_LATENCY = re.compile(r"(Median|(\d+(?:\.\d+)?) percentile):\s+([\d.]+) (us|ms)")
_LOG = {
    "build": re.compile(r"Build \.+ (\S+)"),
    "network": re.compile(r"NETWORK_NAME: (.+)$"),
    "requests": re.compile(r"(?:OPTIMAL_NUMBER_OF_INFER_REQUESTS|inference requests):? (\d+)"),
    "threads": re.compile(r"INFERENCE_NUM_THREADS: (\d+)"),
    "hint": re.compile(r"PERFORMANCE_HINT: (?:PerformanceMode\.)?(\w+)$"),
    "precision": re.compile(r"INFERENCE_PRECISION_HINT: (?:<Type: ')?([\w]+)"),
    "batch": re.compile(r"Model batch size: (\d+)"),
    "mode": re.compile(r"Start inference (synchronously|asynchronously)"),
    "device": re.compile(r"Execution Devices:\s*\['(\w+)"),
}


def read(source: SourceFile) -> Imports:
    """One record. Raises StoreError with file and line where the file is malformed."""
    text = source.text.lstrip()
    if text.startswith("{"):
        report = source.json()
        if "detailed_performance" in report or "execution_results" not in report:
            source.bad("a report without execution_results", fix="give benchmark_report.json")
        return Imports([_of_report(source, report)])
    if text.startswith("[Step "):
        return Imports([_of_log(source)])
    if ";" in text:
        return Imports([_of_report(source, _csv(source))])
    return source.bad("neither a report nor a log of benchmark_app", 1)


def _csv(source: SourceFile) -> dict[str, dict[str, str]]:
    """The CSV form, sections of `name;value` lines, as the JSON form has them."""
    titles = {
        "Command line parameters": "cmd_options",
        "Configuration setup": "configuration_setup",
        "Execution results": "execution_results",
    }
    report: dict[str, dict[str, str]] = {}
    section = ""
    for line, text in enumerate(source.text.splitlines(), start=1):
        name, separator, value = text.partition(";")
        if name.strip() in titles and not separator:
            section = titles[name.strip()]
            report[section] = {}
        elif text.strip():
            if not section or not separator:
                source.bad(f"no 'name;value': {text[:40]!r}", line)
            report[section][name] = value
    return report


def _of_report(source: SourceFile, report: dict[str, Any]) -> Record:
    missing = [name for name in _SECTIONS if not isinstance(report.get(name), dict)]
    if missing:
        source.bad(f"a report without {missing[0]}", fix="the run may have failed")
    options = report.get("cmd_options")
    options = options if isinstance(options, dict) else {}
    setup = report["configuration_setup"]
    results = report["execution_results"]
    notes, reported, statistic, unknown = [], {}, {}, {}
    percentile = str(options.get("-latency_percentile", "50"))
    metric = f"latency.p{percentile}"
    value = results.get("latency (ms)")
    if value is None:
        unknown["latency_ns"] = "the report has none"
    elif re.fullmatch(r"0(?:\.0*)?", str(value)):
        unknown["latency_ns"] = f"{value} ms: less than the report's steps of 0.01 ms"
    elif metric not in ("latency.p50", "latency.p90", "latency.p99"):
        unknown["latency_ns"] = f"p{percentile} was reported, which has no column"
    else:
        reported[metric] = source.number(value, "latency (ms)", None, _TO_NS["ms"])
        rounding = _REPORT_STEP_MS / 2 * _TO_NS["ms"] / reported[metric]
        statistic[metric] = f"rounded to 0.01 ms (up to {rounding:.1%} off)"
        if rounding > 0.005:
            notes.append(f"the latency is rounded to 0.01 ms, up to {rounding:.1%} off")
    if "throughput" in results:
        reported["throughput"] = source.number(results["throughput"], "throughput", None)
        statistic["throughput"] = "items per second, over the whole run"
    else:
        unknown["throughput_per_s"] = "the report has none"
    notes.append("the report does not tell precision or types of inputs: benchmark_app may have run "
                 "bf16 on u8 images unasked; its log tells")  # fmt: skip
    requests = _integer(setup.get("number of parallel infer requests"))
    hint = options.get("-hint")
    return _record(
        source,
        row=report,
        model=str(options.get("-m", setup.get("topology", UNKNOWN))),
        build=UNKNOWN,
        device=str(setup.get("target device", UNKNOWN)),
        variant={
            "batch": _integer(setup.get("batch size")),
            "hint": hint if isinstance(hint, str) else None,
            "requests": requests,
        },
        alone=setup.get("API") == "sync" or requests == 1,
        found=(reported, statistic, unknown, notes),
    )


def _of_log(source: SourceFile) -> Record:
    lines = source.text.splitlines()
    facts: dict[str, str] = {}
    reported: dict[str, float] = {}
    statistic: dict[str, str] = {}
    unknown: dict[str, str] = {}
    where = 0
    for number, text in enumerate(lines, start=1):
        for name, pattern in _LOG.items():
            if name not in facts and (found := pattern.search(text)):
                facts[name] = found[1].strip()
        if found := _LATENCY.search(text):
            where = where or number
            percentile = found[2] or "50"
            metric = f"latency.p{percentile}"
            if metric in ("latency.p50", "latency.p90", "latency.p99"):
                reported[metric] = source.number(found[3], found[1], number, _TO_NS[found[4]])
                statistic[metric] = found[1].lower()
            else:
                unknown["latency_ns"] = f"p{percentile} was reported, which has no column"
        if found := re.search(r"Throughput:\s+([\d.]+) FPS", text):
            where = where or number
            reported["throughput"] = source.number(found[1], "Throughput", number)
            statistic["throughput"] = "items per second, over the whole run"
    if not where:
        source.bad("the log ends without results", len(lines), "the run failed")
    types = _input_types(lines)
    precision = _PRECISIONS.get(facts.get("precision", ""), facts.get("precision"))
    notes = [f"inputs as {types}" if types else "the types of inputs are not in the log"]
    if precision:
        notes.append(f"INFERENCE_PRECISION_HINT is {precision}: what layers ran is not told")
    return _record(
        source,
        row={"log": [text for text in lines[where - 1 :] if text.strip()], **facts},
        model=facts.get("network", UNKNOWN),
        build=facts.get("build", UNKNOWN),
        device=facts.get("device", UNKNOWN),
        variant={
            "batch": _integer(facts.get("batch")),
            "hint": facts["hint"].lower() if "hint" in facts else None,
            "precision": precision,
            "requests": _integer(facts.get("requests")),
            "threads": _integer(facts.get("threads")),
        },
        alone=facts.get("mode") == "synchronously" or facts.get("requests") == "1",
        found=(reported, statistic, unknown, notes),
        line=where,
    )


def _input_types(lines: list[str]) -> str:
    """Types of the inputs as configured (step 6), which may differ from the model's own."""
    step = next((n for n, text in enumerate(lines) if text.startswith("[Step 6/")), len(lines))
    found = []
    for text in lines[step:]:
        if "Model outputs" in text:
            break
        if match := re.search(r"\]\s+(\S+) \(node: .*?\) : (\w+) /", text):
            found.append(f"{match[1]}: {match[2]}")
    return ", ".join(found)


_Found = tuple[dict[str, float], dict[str, str], dict[str, str], list[str]]


def _record(
    source: SourceFile,
    *,
    row: dict[str, Any],
    model: str,
    build: str,
    device: str,
    variant: dict[str, Scalar | None],
    alone: bool,
    found: _Found,
    line: int | None = None,
) -> Record:
    reported, statistic, unknown, notes = found
    name = slug(model.replace("\\", "/").rsplit("/", 1)[-1].removesuffix(".onnx"))
    return make_record(
        source,
        tool=TOOL,
        line=line,
        row=row,
        workload=f"benchmark_app-{name}",
        version=1,
        title=model,
        task=UNKNOWN,
        backend="OpenVINO" if build == UNKNOWN else f"OpenVINO {build.partition('-')[0]}",
        variant={axis: value for axis, value in variant.items() if value is not None},
        # Several requests at once: a latency among others, not that of a query alone.
        scenario="single_stream" if alone else "concurrent",
        device=UNKNOWN,
        facts={"openvino_device": device, "cpu_model": None, "os": None, "memory_bytes": None},
        run=f"benchmark_app-{source.sha256[:8]}",
        reported=reported,
        statistic=statistic,
        unknown={
            **unknown,
            "memory_peak_bytes": "benchmark_app's figures are VmPeak, address space",
        },
        notes=notes,
    )


def _integer(text: object) -> int | None:
    return int(str(text)) if re.fullmatch(r"\d{1,18}", str(text)) else None
