"""trtexec: its log, or `--exportTimes` (the times of every query), or `--exportProfile`.

Latency is the sum of transfer in, computation and transfer out, by the device's events; where the log says
that transfers are disabled (the default of trtexec 11), of computation alone. The trace
of `--exportTimes` holds the queries of the warm-up too; the log's summary does not.
"""

from __future__ import annotations

import re
from typing import Any

from edgebench.importers._source import UNKNOWN, Imports, SourceFile, make_record, sampled, slug
from edgebench.record import Record, Replicate

TOOL = "trtexec"
SUMMARY = "trtexec of TensorRT: its log, --exportTimes or --exportProfile JSON"

_SUMMARY_LINE = re.compile(r"=== Performance summary ===")
_THROUGHPUT = re.compile(r"\bThroughput: ([\d.eE+-]+) qps")
_LATENCY = re.compile(r"(?:\]|^) ?Latency: (min = .*)$")
_STATISTIC = re.compile(r"(min|max|mean|median|percentile\((\d+(?:\.\d+)?)%\)) = ([\d.eE+-]+) ms")
_FACTS = {
    "onnx": re.compile(r"\] (?:Model|ONNX): (\S+\.onnx)"),
    "engine": re.compile(r"\] Load engine: (\S+)|--loadEngine=(\S+)"),
    "precision": re.compile(r"\] Precision: (.+)$"),
    "device": re.compile(r"\] (?:Selected Device|Device Name): (.+)$"),
    "transfers": re.compile(r"\] Data transfers: (\w+)"),
    "tensorrt": re.compile(r"\] TensorRT version: (\S+)"),
}


def read(source: SourceFile) -> Imports:
    """One record. Raises StoreError with file and line where the file is malformed."""
    if not source.text.lstrip().startswith("["):
        return Imports([_of_log(source)])
    if re.match(r"\s*\[(?:\d\d/|[IVWE]\])", source.text):  # a log's stamp, not JSON
        return Imports([_of_log(source)])
    entries = source.json()
    if not isinstance(entries, list) or not all(isinstance(item, dict) for item in entries):
        source.bad("not a list of objects")
    if any("latencyMs" in item for item in entries):
        return Imports([_of_times(source, entries)])
    if any("averageMs" in item for item in entries):
        return Imports([_of_profile(source, entries)])
    return source.bad("neither --exportTimes nor --exportProfile")


def _of_log(source: SourceFile) -> Record:
    lines = source.text.splitlines()
    start = next((n for n, text in enumerate(lines, 1) if _SUMMARY_LINE.search(text)), None)
    if start is None:
        source.bad(
            "no performance summary", len(lines), "the run failed, or this is no trtexec log"
        )
    facts = _facts(lines)
    reported: dict[str, float] = {}
    statistic: dict[str, str] = {}
    row: dict[str, Any] = dict(facts)
    unknown = {"throughput_per_s": "the log states none"}
    alone = facts.get("transfers") == "Disabled"
    of = "computation alone, without transfers" if alone else "H2D + compute + D2H"
    for number, text in enumerate(lines[start:], start + 1):
        if found := _THROUGHPUT.search(text):
            reported["throughput"] = source.number(found[1], "Throughput", number)
            statistic["throughput"] = "queries per second; a query may hold several items"
            row["throughput (qps)"] = found[1]
            unknown.pop("throughput_per_s")
        if found := _LATENCY.search(text):
            for name, percentile, value in _STATISTIC.findall(found[1]):
                row[f"latency {name} (ms)"] = value
                metric = "latency.p50" if name == "median" else f"latency.p{percentile}"
                if metric in ("latency.p50", "latency.p90", "latency.p99"):
                    reported[metric] = source.number(value, f"Latency {name}", number, 1e6)
                    statistic[metric] = f"{name} of {of}"
    if "latency.p50" not in reported:
        source.bad("a summary without the median latency", start)
    notes = ["data transfers were disabled: no latency or rate holds them"] if alone else []
    return _record(source, start, row, facts, reported, statistic, unknown, notes)


def _facts(lines: list[str]) -> dict[str, str]:
    facts = {}
    for text in lines:
        for name, pattern in _FACTS.items():
            found = pattern.search(text)
            if found and name not in facts:
                facts[name] = next(group for group in found.groups() if group).strip()
    return facts


def _of_times(source: SourceFile, entries: list[dict[str, Any]]) -> Record:
    samples = []
    for number, entry in enumerate(entries, start=1):
        if "latencyMs" not in entry:
            source.bad(f"query {number} without latencyMs")
        what = f"latencyMs of query {number}"
        samples.append(round(source.number(entry["latencyMs"], what, None, 1e6)))
    notes = ["the trace holds the queries of the warm-up, which trtexec's own summary leaves out"]
    unknown = {"throughput_per_s": "queries overlap: their latencies do not add up to the time"}
    row = {"queries": len(entries), "first": entries[0], "last": entries[-1]}
    return _record(source, None, row, {}, {}, {}, unknown, notes, [sampled(samples)])


def _of_profile(source: SourceFile, entries: list[dict[str, Any]]) -> Record:
    layers = [entry for entry in entries if "averageMs" in entry]
    why = "a profile of layers: their sum leaves out transfers and gaps, and profiling costs time"
    row = {"layers": layers, "count": next((e["count"] for e in entries if "count" in e), None)}
    return _record(source, None, row, {}, {}, {}, {"latency_ns": why, "throughput_per_s": why})


def _record(
    source: SourceFile,
    line: int | None,
    row: dict[str, Any],
    facts: dict[str, str],
    reported: dict[str, float],
    statistic: dict[str, str],
    unknown: dict[str, str],
    notes: list[str] | None = None,
    replicates: list[Replicate] | None = None,
) -> Record:
    model = facts.get("onnx") or facts.get("engine") or source.name
    name = slug(model.replace("\\", "/").rsplit("/", 1)[-1].rsplit(".", 1)[0])
    return make_record(
        source,
        tool=TOOL,
        line=line,
        row=row,
        workload=f"trtexec-{name}",
        version=1,
        title=model,
        task=UNKNOWN,
        backend=f"TensorRT {facts.get('tensorrt', UNKNOWN)}",
        variant={"precision": facts["precision"]} if "precision" in facts else {},
        scenario="single_stream",
        device=facts.get("device", UNKNOWN),
        facts={"accelerator": facts.get("device"), "cpu_model": None, "os": None},
        run=f"trtexec-{source.sha256[:8]}",
        reported=reported,
        statistic=statistic,
        unknown={**unknown, "effective": "trtexec states what layers were allowed, not what ran"},
        notes=["trtexec feeds random inputs and may overlap queries", *(notes or [])],
        replicates=replicates or [],
    )
