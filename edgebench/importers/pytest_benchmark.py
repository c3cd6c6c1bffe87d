"""pytest-benchmark: `--benchmark-json`, or a file of its storage (.benchmarks/).

A row is one benchmark. Where a round is one call, its times are samples; where a round is the mean of several calls,
percentiles of rounds are no percentiles of calls, so the median stands alone and says what it is.
"""

from __future__ import annotations

from typing import Any

from edgebench.importers import _source
from edgebench.importers._settings import flat_settings
from edgebench.record import Record

TOOL = "pytest-benchmark"
SUMMARY = "pytest-benchmark: --benchmark-json, or a file of .benchmarks/"


def read(source: _source.SourceFile) -> _source.Imports:
    """A record for each benchmark. Raises StoreError where the file is malformed."""
    records: list[Record] = []
    for line, document in source.json_documents():
        if not isinstance(document, dict) or not isinstance(document.get("benchmarks"), list):
            continue
        for benchmark in document["benchmarks"]:
            if not isinstance(benchmark, dict) or not isinstance(benchmark.get("stats"), dict):
                source.bad("a benchmark without its stats", line)
            records.append(_record(source, line, document, benchmark))
    if not records:
        source.bad("no benchmark in it", 1, "give the file of --benchmark-json")
    return _source.Imports(records)


def _record(
    source: _source.SourceFile, line: int, document: dict[str, Any], benchmark: dict[str, Any]
) -> Record:
    stats = benchmark["stats"]
    name = str(benchmark.get("fullname") or benchmark.get("name") or _source.UNKNOWN)
    calls = stats.get("iterations")
    if isinstance(calls, bool) or not isinstance(calls, int) or calls < 1:
        source.bad(f"iterations of {name[:40]!r} is not a count: {str(calls)[:40]!r}", line)
    data = stats.get("data")
    reported = _source.Reported()
    if calls == 1 and isinstance(data, list) and data:
        reported.samples_ns = source.samples_ns(data, "a time", line, 1e9)
    else:
        what = f"median over {stats.get('rounds', _source.UNKNOWN)} rounds"
        what += f" of the mean of {calls} calls" if calls > 1 else ""
        median_ns = source.nanoseconds(stats.get("median"), "the median", line, 1e9)
        reported.values["latency.p50"] = median_ns
        reported.statistic["latency.p50"] = what
        if calls > 1:
            why = f"a round is the mean of {calls} calls"
            reported.unknown |= {"latency_ns.p90": why, "latency_ns.p99": why}
    machine = _source.part(document, "machine_info")
    cpu_model = str(_source.part(machine, "cpu").get("brand_raw") or "")
    return _source.make_record(
        source,
        source.origin(
            TOOL,
            {**benchmark, "stats": {key: each for key, each in stats.items() if key != "data"}},
            line,
            document.get("datetime"),
        ),
        _source.named_cell(
            workload=f"benchmark-{_source.slug(name)}",
            title=name,
            task="function",
            backend=f"{machine.get('python_implementation', 'Python')} {machine.get('python_version', '')}".strip(),
            variant=flat_settings(_source.part(benchmark, "params")),
        ),
        reported,
        _source.Device(
            cpu_model or str(machine.get("machine") or _source.UNKNOWN),
            {"cpu_model": cpu_model, "os": machine.get("system"), "memory_bytes": None},
        ),
    )
