"""trtexec: its log, or `--exportTimes` (the times of every query), or `--exportProfile`.

Latency is the sum of transfer in, computation and transfer out, by the device's events; where the log says
that transfers are disabled (the default of trtexec 11), of computation alone. The trace
of `--exportTimes` holds the queries of the warm-up too; the log's summary does not.

A log may hold several runs. Each is read alone, and one that failed gives no row.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from edgebench.backend import Scalar
from edgebench.importers import _source
from edgebench.importers._commands import Echo, echoes, one_model
from edgebench.record import Record

TOOL = "trtexec"
SUMMARY = "trtexec of TensorRT: its log, --exportTimes or --exportProfile JSON"

_MAX_LINE = 20_000  # longer ones hold no setting and no result
_START = "&&&& RUNNING "
_FAILED = "&&&& FAILED"
_OPTIONS = re.compile(r"=== (Model|Build|Inference|System|Reporting) Options ===")
_SUMMARY = "=== Performance summary ==="
_OLD_SUMMARY, _OLD_END = "Host Latency", "GPU Compute"  # of TensorRT 7
_PREFIX = re.compile(r"(?:\[\d\d/\d\d/\d{4}-\d\d:\d\d:\d\d\] )?\[([IVWE])\] ?")
_THROUGHPUT = re.compile(r"[Tt]hroughput: (\S{1,40}) qps")
_LATENCY = re.compile(r"Latency: (min = .*)$")
_STATISTIC = re.compile(
    r"(min|max|mean|median|percentile\((\d{1,3}(?:\.\d{1,9})?)%\)) = (\S{1,40}) ms"
)
_OLD_STATISTIC = re.compile(r"(median|percentile): (\S{1,40}) ms(?: at (\d{1,3}(?:\.\d{1,9})?)%)?")
_FACTS = {
    "precision": re.compile(r"Precision: (.+)$"),
    "device": re.compile(r"(?:Selected Device|Device Name): (.+)$"),
    "transfers": re.compile(r"Data transfers: (\w+)"),
    "tensorrt": re.compile(r"TensorRT version: (\S{1,40})"),
}
_VERSION = re.compile(r"\[TensorRT v(\d{4,6})\]")
_MODEL_OPTIONS = ("onnx", "loadEngine", "uff", "deploy", "model")
_MODEL_LINES = re.compile(r"(?:Model|ONNX|Load engine): (\S.*)$")
#: Options that change neither what is computed nor how: where things are written, what is shown.
_NO_SETTINGS = re.compile(
    r"save\w*|export\w*|dump\w*|verbose|v|help|h|percentile|avgRuns|timingCacheFile|plugins|"
    r"staticPlugins|dynamicPlugins|setPluginsToSerialize|profilingVerbosity|separateProfileRun|"
    r"loadInputs|loadEngine|timingCacheMode|safe|nvtxVerbosity"
)
#: Of the command, what the log says again as "Precision".
_PRECISION_FLAGS = frozenset(("fp16", "bf16", "fp8", "int8", "int4", "best"))
#: Lines of sections that are no settings, in lower case and with _ for what is no letter.
_NO_SETTING_LINES = re.compile(
    r"format|model|onnx|output|precision|save_engine|load_engine|profiling_verbosity|timingcachefile|"
    r"timingcachemode|nvtx_verbosity|separate_profiling|inputs?_s?_?format|verbose|averages.*|"
    r"percentile.*|dump.*|profile|export.*|plugins|setpluginstoserialize|dynamic_plugins|inputs"
)


def read(source: _source.SourceFile) -> _source.Imports:
    """A record for each run of a log, each trace or each profile. Raises StoreError with file and line."""
    if _START in source.text or _SUMMARY in source.text or _OPTIONS.search(source.text):
        return _of_log(source)
    records = [
        _of_json(source, line, number, document)
        for number, (line, document) in enumerate(source.json_documents(), start=1)
    ]
    if not records:
        source.bad(
            "neither a log nor JSON of trtexec", 1, "the run failed, or this is another file"
        )
    return _source.Imports(records, _source.unnamed_note(records))


@dataclass(frozen=True)
class _Run:
    """The lines of one run, with the line of the file on which it starts."""

    start: int
    lines: Sequence[str]

    @property
    def announced(self) -> bool:
        return _START in self.lines[0]

    @property
    def failed(self) -> bool:
        return any(_FAILED in line for line in self.lines)

    @property
    def command(self) -> Echo:
        """The command of the run, as trtexec tells it, else as the last echo before it does."""
        before = next((n for n, line in enumerate(self.lines) if "=== " in line), 0)
        shown = echoes(self.lines[:1] if self.announced else self.lines[:before], "trtexec")
        return list(shown.values())[-1] if shown else Echo({}, traced=False)

    @property
    def name(self) -> str:
        model = one_model([self.command], *_MODEL_OPTIONS)
        return f"the run at line {self.start}{f', of {model},' if model else ''}"


def _runs(lines: Sequence[str]) -> Iterator[_Run]:
    """The log in runs: one begins where trtexec says so, or where it tells its options again."""
    start, seen = 0, False
    for number, line in enumerate(lines):
        told = "=== Model Options ===" in line
        if number > start and (_START in line or (told and seen)):
            yield _Run(start + 1, lines[start:number])
            start, seen = number, False
        seen = seen or told
    yield _Run(start + 1, lines[start:])


def _of_log(source: _source.SourceFile) -> _source.Imports:
    records, notes = [], []
    source = source.with_mark_of(_numbers(source.lines))
    for run in _runs(source.lines):
        summaries = [n for n, line in enumerate(run.lines) if _is_summary(line)]
        if len(summaries) > 1 and not run.failed:
            source.bad(
                "two performance summaries in one run",
                run.start + summaries[1],
                "give the whole log, with the lines that begin a run",
            )
        if summaries and not run.failed:
            records.append(_of_run(source, run, summaries[0]))
        elif run.announced:
            notes.append(f"{run.name} gives no row: {_why(run)}")
    if not records:
        why = "; ".join(_source.first_few(notes)) or "no performance summary"
        source.bad(why, len(source.lines), "the run failed, or this is not a trtexec log")
    return _source.Imports(records, [*_source.first_few(notes), *_source.unnamed_note(records)])


def _is_summary(line: str) -> bool:
    return _SUMMARY in line or _untold(line) == _OLD_SUMMARY


def _untold(line: str) -> str:
    """The line without its stamp and level."""
    return _PREFIX.sub("", line[:_MAX_LINE], count=1).strip()


def _numbers(lines: Sequence[str]) -> Iterator[str]:
    for line in lines:
        if len(line) <= _MAX_LINE and (" ms" in line or " qps" in line):
            yield from (match[2] for match in _STATISTIC.findall(line))
            yield from (match[1] for match in _OLD_STATISTIC.findall(line))
            yield from _THROUGHPUT.findall(line)


def _why(run: _Run) -> str:
    errors = [match for line in run.lines if (match := _PREFIX.match(line)) and match[1] == "E"]
    if errors:
        return f"it failed: {errors[-1].string[errors[-1].end() :][:200].strip()}"
    return "it failed" if run.failed else "it has no performance summary"


def _of_run(source: _source.SourceFile, run: _Run, summary: int) -> Record:
    told = [_untold(line) for line in run.lines if len(line) <= _MAX_LINE]
    facts, settings = _facts(told), _settings(told)
    command = run.command
    reported = _source.Reported()
    alone = facts.get("transfers") == "Disabled"
    of = "computation alone, without transfers" if alone else "H2D + compute + D2H"
    row: dict[str, Any] = {**facts, "settings": settings, "command": command.options}
    told_ms: list[tuple[str, str, str, int]] = []  # statistic, its percentile, milliseconds, line
    lines = run.lines[summary:]
    for number, text in enumerate(lines, start=run.start + summary):
        text = _untold(text)
        if text == _OLD_END:
            break
        if match := _THROUGHPUT.match(text):
            rate = source.number(match[1], "Throughput", number)
            reported.put_once(source, "throughput", rate, "Throughput", number)
            row["throughput (qps)"] = match[1]
        elif match := _LATENCY.match(text):
            for name, percentile, value in _STATISTIC.findall(match[1]):
                told_ms.append((name, percentile, value, number))
        elif match := _OLD_STATISTIC.match(text):
            told_ms.append((match[1], match[3], match[2], number))
    for name, percentile, value, number in told_ms:
        row[f"latency {name} (ms)"] = value
        metric = "latency.p50" if name == "median" else f"latency.p{percentile}"
        if metric in ("latency.p50", "latency.p90", "latency.p99"):
            time_ns = source.nanoseconds(value, f"Latency {name}", number, 1e6)
            reported.put_once(source, metric, time_ns, f"Latency {name}", number)
            reported.statistic[metric] = f"{name} of {of}"
    if "latency.p50" not in reported.values:
        source.bad("a summary without the median latency", run.start + summary)
    if "throughput" in reported.values:
        what = "queries per second; a query may hold several items"
        reported.statistic["throughput"] = what
    else:
        reported.unknown["throughput_per_s"] = "the log states none"
    if alone:
        reported.notes.append("data transfers were disabled: no latency or rate holds them")
    return _record(
        source,
        source.origin(TOOL, row, run.start + summary),
        _source.model_of(source, _model(told, command), run.start),
        reported,
        facts=facts,
        variant={**_command_settings(command.options, facts), **settings},
    )


def _facts(told: Sequence[str]) -> dict[str, str]:
    facts: dict[str, str] = {}
    for text in told:
        for name, pattern in _FACTS.items():
            if name not in facts and (match := pattern.match(text)):
                facts[name] = match[1].strip()
    if "tensorrt" not in facts and (match := _VERSION.search(told[0])):
        facts["tensorrt"] = _version(match[1])
    return facts


def _version(digits: str) -> str:
    """8.6.1 of 8601, and 10.3.0 of 100300."""
    width = 2 if len(digits) > 4 else 1
    tail = digits[len(digits) - 3 - (len(digits) > 4) :]
    return f"{int(digits[: -len(tail)])}.{int(tail[:width])}.{int(tail[width:])}"


def _settings(told: Sequence[str]) -> dict[str, Scalar]:
    """Returns what the sections of options say, by the names of their lines."""
    settings: dict[str, Scalar] = {}
    inside = False
    for text in told:
        if "=== " in text:
            match = _OPTIONS.search(text)
            inside = match is not None and match[1] != "Reporting"
        elif inside:
            name, _, value = text.partition(":")
            axis = re.sub(r"\W+", "_", name.strip().lower()).strip("_")
            if value.strip() and not _NO_SETTING_LINES.fullmatch(axis):
                settings[axis] = value.strip()
    return settings


def _command_settings(command: Mapping[str, list[str]], facts: dict[str, str]) -> dict[str, Scalar]:
    settings: dict[str, Scalar] = {
        name: ",".join(values) or True
        for name, values in command.items()
        if not _NO_SETTINGS.fullmatch(name)
        and name not in _MODEL_OPTIONS
        and not (name in _PRECISION_FLAGS and "precision" in facts)
    }
    return settings | ({"precision": facts["precision"]} if "precision" in facts else {})


def _model(told: Sequence[str], command: Echo) -> str | None:
    if (model := one_model([command], *_MODEL_OPTIONS)) is not None:
        return model
    lines = {match[1].strip() for text in told if (match := _MODEL_LINES.match(text))}
    return next(iter(lines)) if len(lines) == 1 else None


def _of_json(source: _source.SourceFile, line: int, number: int, document: Any) -> Record:
    if not isinstance(document, list) or not all(isinstance(item, dict) for item in document):
        source.bad("not a list of objects", line)
    if any("latencyMs" in item for item in document):
        return _of_times(source, line, number, document)
    if any("averageMs" in item for item in document):
        return _of_profile(source, line, number, document)
    return source.bad("neither --exportTimes nor --exportProfile", line)


def _of_times(
    source: _source.SourceFile, line: int, number: int, entries: list[dict[str, Any]]
) -> Record:
    samples_ns = []
    for query, entry in enumerate(entries, start=1):
        if "latencyMs" not in entry:
            source.bad(f"query {query} without latencyMs", line)
        what = f"latencyMs of query {query}"
        samples_ns += source.samples_ns([entry["latencyMs"]], what, line, 1e6)
    notes = ["the trace holds the queries of the warm-up, which trtexec's own summary leaves out"]
    unknown = {"throughput_per_s": "queries overlap: their latencies do not add up to the time"}
    row = {"queries": len(entries), "first": entries[0], "last": entries[-1]}
    return _record(
        source,
        source.origin(TOOL, row, None),
        _source.model_of(source, None, number),
        _source.Reported(unknown=unknown, notes=notes, samples_ns=samples_ns),
    )


def _of_profile(
    source: _source.SourceFile, line: int, number: int, entries: list[dict[str, Any]]
) -> Record:
    layers = [entry for entry in entries if "averageMs" in entry]
    why = "a profile of layers: their sum leaves out transfers and gaps, and profiling costs time"
    row = {"layers": layers, "count": next((e["count"] for e in entries if "count" in e), None)}
    unknown = {"latency_ns": why, "throughput_per_s": why}
    origin, named = source.origin(TOOL, row, None), _source.model_of(source, None, number)
    return _record(source, origin, named, _source.Reported(unknown=unknown))


def _record(
    source: _source.SourceFile,
    origin: _source.Origin,
    named: _source.ModelName,
    reported: _source.Reported,
    *,
    facts: Mapping[str, str] = MappingProxyType({}),
    variant: Mapping[str, Scalar] = MappingProxyType({}),
) -> Record:
    reported.unknown["effective"] = "trtexec states what layers were allowed, not what ran"
    reported.notes.insert(0, "trtexec feeds random inputs and may overlap queries")
    return _source.make_record(
        source,
        origin,
        named.cell("trtexec", f"TensorRT {facts.get('tensorrt', _source.UNKNOWN)}", variant),
        reported,
        _source.Device(
            facts.get("device", _source.UNKNOWN),
            {"accelerator": facts.get("device"), "cpu_model": None, "os": None},
        ),
    )
