"""onnxruntime_perf_test: its console log, or the result file that it appends to.

The log gives averages, and with `-s` percentiles; the result file gives the time of every request in seconds. A
percentile of fewer requests than it needs is left out: P99 of 100 requests is their maximum.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from edgebench import stats
from edgebench.backend import Scalar
from edgebench.importers import _source
from edgebench.importers._commands import Echo, echoes, one_model
from edgebench.record import Record

TOOL = "onnxruntime_perf_test"
SUMMARY = "onnxruntime_perf_test: the console log, or the result file"

_FIRST = re.compile(r"Session creation time cost: ?\S{1,40} s\b")
_REQUESTS = re.compile(r"Total (?:inference requests|iterations): ?(\d{1,12})\s*$")
_RATE = re.compile(r"Number of inferences per second: (\S{1,40})\s*$")
_AVERAGE = re.compile(r"Average (?:inference )?time cost: ?(\S{1,40}) ms\b")
_MEMORY = re.compile(r"Peak working set size: (\d{1,18}) bytes\b")
_PERCENTILE = re.compile(r"P(50|90|99) Latency(?: is|:) ?(\S{1,40}?) ?(?:s|sec)\s*$")
#: A line of the result file: model, seconds, bytes, CPU usage, number of the request from 0.
_REQUEST = re.compile(r"([^,]{0,400}),(\d[\d.e+-]{0,30}),(\d{1,18}),(-?\d{1,6}),(\d{1,12})\s*$")
_NUMBER = re.compile(r"(?:cost|Latency(?: is)?|second): ?(\d[\d.,]{0,30}\d)")
_PERMILLE = {"50": 500, "90": 900, "99": 990}
#: Options of the command that are settings, and the axis of each: those with a value, and flags.
_AXES = {
    "e": "provider", "x": "threads", "y": "inter_op_threads", "c": "concurrency", "o": "optimization_level",
    "i": "provider_options", "f": "free_dimensions", "F": "free_dimensions_by_name", "C": "session_config",
}  # fmt: skip
_FLAGS = {"P": "parallel_executor", "A": "no_arena", "M": "no_memory_pattern", "I": "random_inputs"}


@dataclass
class _Run:
    """Holds what a log or a result file says of one run."""

    line: int
    lines: list[tuple[int, str]] = field(default_factory=list)
    requests: list[tuple[int, re.Match[str]]] = field(default_factory=list)


def read(source: _source.SourceFile) -> _source.Imports:
    """A record for each run. Raises StoreError where the file is malformed."""
    source = source.with_mark_of(_NUMBER.findall(source.text))
    commands = echoes(source.lines, "onnxruntime_perf_test")
    records = []
    for number, run in enumerate(_runs(source.lines), start=1):
        before = [echo for at, echo in commands.items() if at < run.line]
        records.append(_record(source, number, run, before[-1:]))
    if not records:
        source.bad(
            "no result of onnxruntime_perf_test in it",
            1,
            "give its log, or the result file it wrote",
        )
    return _source.Imports(records, _source.unnamed_note(records, "the echo of the command"))


def _runs(lines: Sequence[str]) -> Iterator[_Run]:
    """The runs of a file: a log's begin as sessions do, a result file's where requests count from 0 again."""
    run: _Run | None = None
    for line, text in enumerate(lines, start=1):
        request = _REQUEST.match(text)
        begins = _FIRST.match(text) or (request and request[5] == "0")
        if begins and run is not None and (run.requests or not request):
            yield run
            run = None
        if run is None and (begins or _AVERAGE.search(text) or request):
            run = _Run(line)
        if run is not None:
            run.lines.append((line, text))
            if request:
                run.requests.append((line, request))
    if run is not None and (run.requests or any(_AVERAGE.search(text) for _, text in run.lines)):
        yield run


def _record(source: _source.SourceFile, number: int, run: _Run, shown: Sequence[Echo]) -> Record:
    reported = _source.Reported()
    row: dict[str, object] = {}
    count = len(run.requests)
    for line, text in run.lines:
        if found := _REQUESTS.search(text):
            count = int(found[1])
        elif found := _RATE.search(text):
            rate = source.number(found[1], "the rate", line)
            reported.put_once(source, "throughput", rate, "the rate", line)
        elif found := _MEMORY.search(text):
            reported.values["memory.peak"] = source.number(found[1], "the working set", line)
        elif found := _AVERAGE.search(text):
            row["average_ms"] = found[1]
        elif found := _PERCENTILE.search(text):
            _add_percentile(source, line, found, count, reported)
    for line, request in run.requests:
        reported.samples_ns += source.samples_ns([request[2]], "a time", line, 1e9)
    told = ""
    if run.requests:
        _, first = run.requests[0]
        told = first[1].strip()
        if "memory.peak" not in reported.values and first[3] != "0":
            peak = source.number(first[3], "the working set", run.line)
            reported.values["memory.peak"] = peak
    elif "latency.p50" not in reported.values:
        why = "the log gives an average alone: -s prints percentiles"
        reported.unknown.setdefault("latency_ns", why)
    reported.statistic = dict.fromkeys(reported.values, f"of {count} requests")
    reported.statistic["memory.peak"] = "peak working set of the process"
    named = _source.model_of(source, _model(shown) or told or None, number)
    options = dict(shown[-1].options) if shown else {}
    return _source.make_record(
        source,
        source.origin(TOOL, {**row, "requests": count}, run.line),
        named.cell("ort", "ONNX Runtime", _settings(options)),
        reported,
    )


def _add_percentile(
    source: _source.SourceFile,
    line: int,
    found: re.Match[str],
    count: int,
    reported: _source.Reported,
) -> None:
    needed = stats.min_samples(_PERMILLE[found[1]])
    if count < needed:
        why = f"needs {needed} requests, there are {count}"
        reported.unknown[f"latency_ns.p{found[1]}"] = why
        return
    what = f"P{found[1]}"
    value = source.nanoseconds(found[2], what, line, 1e9)
    reported.put_once(source, f"latency.p{found[1]}", value, what, line)


def _model(shown: Sequence[Echo]) -> str | None:
    """The model that the command names: it has no option of its own, but stands as a word that ends so."""
    if (model := one_model(shown, "model", "m")) and model.endswith((".onnx", ".ort")):
        return model
    words = [word for values in shown[-1].options.values() for word in values] if shown else []
    return next((word for word in words if word.endswith((".onnx", ".ort"))), None)


def _settings(options: dict[str, list[str]]) -> dict[str, Scalar]:
    valued = {axis: options[name][-1] for name, axis in _AXES.items() if name in options}
    return {**valued, **{axis: True for name, axis in _FLAGS.items() if name in options}}
