"""benchmark_app of OpenVINO: its console log, or its report (`-report_type`), CSV or `-json_stats`.

The report says neither the precision that ran (`UNSPECIFIED`) nor the types of inputs, and rounds
to 0.01 ms; the log tells both. The latency is the median unless `-latency_percentile` says another.

A log may hold several runs, of Python's or of C++'s benchmark_app. Each is read alone, and one that
failed gives no row. The log names no file: its NETWORK_NAME is often the same for every model that
was converted the same way, so the model is that of the echoed command, else a name that tells models
apart, else unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from edgebench.backend import Scalar
from edgebench.importers import _source
from edgebench.importers._commands import Echo, echoes, one_model
from edgebench.record import Record

TOOL = "benchmark_app"
SUMMARY = "benchmark_app of OpenVINO: its console log, or its report as CSV or JSON"

_NAMED_BY = "the command echoed into the log (set -x)"
_MAX_LINE = 4096  # longer ones hold no setting and no result
_STEP = re.compile(r"\[Step (\d{1,3})/(\d{1,3})\] ?(.*)")
_LEVEL = re.compile(r"\[ ?([A-Z]{4,9}) ?\] ?")
_MODEL_OPTIONS = ("m", "path_to_model", "model")
#: Names that a converter gives to any model.
_NO_NAME = re.compile(
    r".*frontend.*|model\d*|main(?:_graph)?|graph|tf2onnx|torch[-_]jit.*|paddle[-_]onnx|unnamed|unknown",
    re.IGNORECASE,
)
_PRECISIONS = {"float": "fp32", "float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}
_TO_NS = {"us": 1e3, "ms": 1e6, "s": 1e9}
_PERCENTILES = ("50", "90", "99")  # that have a column

_LATENCY = re.compile(
    r"\s*(?:Median|Latency|(\d{1,3}(?:\.\d{1,6})?) percentile):\s*(\S{1,40}) (us|ms|s)\b"
)
_THROUGHPUT = re.compile(r"\s*Throughput:\s*(\S{1,40}) FPS\b")
_GROUPS = "Latency for each data shape group"
_PROPERTY = re.compile(r"( +)([A-Z][A-Z0-9_.]{1,60}): ?(.{0,500})$")
#: Properties whose axis has another name.
_AXES = {"INFERENCE_NUM_THREADS": "threads", "PERFORMANCE_HINT": "hint"}
_NO_SETTINGS = frozenset(
    ("NETWORK_NAME", "OPTIMAL_NUMBER_OF_INFER_REQUESTS", "RUNTIME_REQUIREMENTS", "EXECUTION_DEVICES",
     "SUPPORTED_PROPERTIES", "LOG_LEVEL", "CACHE_DIR", "LOADED_FROM_CACHE", "INFERENCE_PRECISION_HINT",
     "MODEL_PTR", "OV_VERSION")
)  # fmt: skip
#: Options and settings of a report that change neither what is computed nor how.
_REPORT_NO_SETTINGS = frozenset(
    ("m", "path_to_model", "model", "report_type", "report_folder", "json_stats", "latency_percentile", "t",
     "time", "niter", "progress", "pc", "pcsort", "exec_graph_path", "dump_config", "topology",
     "precision", "number_of_iterations", "iterations_num", "duration_ms", "duration", "hint",
     "batch_size", "number_of_parallel_infer_requests", "nireq", "api", "target_device", "d")
)  # fmt: skip
_CSV_TITLES = {
    "Command line parameters": "cmd_options",
    "Configuration setup": "configuration_setup",
    "Execution results": "execution_results",
    "Group Latencies": "group_latencies",
}
_SECTIONS = ("configuration_setup", "execution_results")


def read(source: _source.SourceFile) -> _source.Imports:
    """A record for each run of a log, or each report. Raises StoreError with file and line."""
    if any(_STEP.match(line.lstrip()) for line in source.lines):
        return _of_log(source)
    reports = list(_json_reports(source)) or list(_csv_reports(source))
    if not reports:
        source.bad("neither a report nor a log of benchmark_app", 1)
    return _of_reports(source, reports)


# --- the log


@dataclass
class _Run:
    """The lines of one run, those of each step by its number, and the commands echoed before it."""

    start: int
    shown: Sequence[Echo]
    #: With their numbers, without level and what stands before it.
    lines: list[tuple[int, str]] = field(default_factory=list)
    titles: dict[int, str] = field(default_factory=dict)  # of the steps
    errors: list[str] = field(default_factory=list)
    steps: dict[int, list[str]] = field(default_factory=dict)

    def step(self, number: int) -> list[str]:
        return self.steps.get(number, [])

    def first(self, pattern: str) -> str | None:
        """Returns what the first line says that matches from its start on."""
        matches = (re.match(pattern, text) for _, text in self.lines)
        return next((match[1].strip() for match in matches if match), None)


def _runs(lines: Sequence[str]) -> Iterator[_Run]:
    """The log in runs: one begins where the steps begin again."""
    run, step = None, 0
    commands, shown = echoes(lines, "benchmark_app"), []
    for number, line in enumerate(lines, start=1):
        if number - 1 in commands:
            shown.append(commands[number - 1])
        if len(line) > _MAX_LINE:
            continue
        if match := _STEP.match(line.lstrip()):
            if run is None or int(match[1]) <= step:
                if run is not None:
                    yield run
                run, shown = _Run(number, shown), []
            step = int(match[1])
            run.titles[step] = match[3]
        if run is not None:
            level = _LEVEL.match(line.lstrip())
            text = line.lstrip()[level.end() :] if level else line
            if level and level[1] == "ERROR":
                run.errors.append(text.strip())
            run.lines.append((number, text))
            run.steps.setdefault(step, []).append(text)
    if run is not None:
        yield run


def _of_log(source: _source.SourceFile) -> _source.Imports:
    records, notes = [], []
    source = source.with_mark_of(_numbers(source.lines))
    for number, run in enumerate(_runs(source.lines), start=1):
        record = None if run.errors else _of_run(source, run, number)
        if record is not None:
            records.append(record)
        else:
            why = f"it failed: {run.errors[0][:200]}" if run.errors else "it ends without results"
            notes.append(f"the run at line {run.start} gives no row: {why}")
    if not records:
        source.bad("; ".join(_source.first_few(notes)), len(source.lines), "the run failed")
    return _source.Imports(
        records, [*_source.first_few(notes), *_source.unnamed_note(records, _NAMED_BY)]
    )


def _numbers(lines: Sequence[str]) -> Iterator[str]:
    for line in lines:
        text = _LEVEL.sub("", line[:_MAX_LINE].lstrip(), count=1)
        if match := _LATENCY.match(text):
            yield match[2]
        elif match := _THROUGHPUT.match(text):
            yield match[1]


def _of_run(source: _source.SourceFile, run: _Run, number: int) -> Record | None:
    """The record of a run; None where it has no results."""
    results = _results(source, run)
    if not results.line:
        return None
    network = run.first(r" +NETWORK_NAME: (.+)")
    named = None if network is None or _NO_NAME.fullmatch(network) else network
    synchronous = "synchronously" in run.titles.get(10, "").split(" ")
    requests = _requests(run, synchronous)
    precision = run.first(r" +INFERENCE_PRECISION_HINT: (?:<Type: ')?(\w+)")
    precision = _PRECISIONS.get(precision or "", precision)
    inputs = _inputs(run)
    types = ", ".join(f"{name}: {kind}" for name, kind, _ in inputs)
    notes = [f"inputs as {types}" if types else "the types of inputs are not in the log"]
    if precision:
        notes.append(f"INFERENCE_PRECISION_HINT is {precision}: what layers ran is not told")
    results.notes = [*notes, *results.notes]
    row = {
        "log": results.shown,
        "network": network,
        "groups": results.groups,
        "step 10": run.titles.get(10, ""),
    }
    device = _device(run)
    settings: dict[str, Scalar | None] = {
        **_properties(run),
        "batch": _integer(run.first(r"(?:Model|Network) batch size: (\S+)")),
        "device": device,
        "inputs": "+".join(f"{name}:{kind}:{_plain_shape(shape)}" for name, kind, shape in inputs)
        or None,
        "data_shapes": _data_shapes(run),
        "mode": run.first(r"(?i).{0,40}?\b(inference only|full) mode"),
        "precision": precision,
        "requests": requests,
    }
    return _record(
        source,
        source.origin(TOOL, row, results.line),
        _source.model_of(source, one_model(run.shown, *_MODEL_OPTIONS) or named, number),
        build=run.first(r"Build \.+ (\S+)") or "",
        device=device or _source.UNKNOWN,
        variant=settings,
        alone=synchronous or requests == 1,
        results=results,
    )


@dataclass(kw_only=True)
class _Results(_source.Reported):
    """Holds what the end of a run says. `line` is 0 where it says nothing."""

    line: int = 0
    shown: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)  # lines on each data shape


def _results(source: _source.SourceFile, run: _Run) -> _Results:
    results = _Results()
    in_groups = False
    for number, text in run.lines:
        if match := _THROUGHPUT.match(text):
            value = source.number(match[1], "Throughput", number)
            results.put_once(source, "throughput", value, "Throughput", number)
            results.statistic["throughput"] = "items per second, over the whole run"
            in_groups = False
        elif text.startswith(_GROUPS):
            in_groups = True
            continue
        elif in_groups:
            results.groups.append(text.strip())
            continue
        elif match := _LATENCY.match(text):
            percentile = match[1] or "50"
            _put_latency(source, results, percentile, match[2], match[3], number)
        if match:
            results.line = results.line or number
        if results.line and text.strip():
            results.shown.append(text)
    if results.groups:
        results.notes.append(
            f"the latency is over all data shapes; of each: {'; '.join(results.groups)[:2000]}"
        )
    return results


def _put_latency(
    source: _source.SourceFile,
    results: _Results,
    percentile: str,
    text: str,
    unit: str,
    line: int | None,
) -> None:
    """Adds a latency, and by how much its last digit may be off."""
    what = "median" if percentile == "50" else f"{percentile} percentile"
    if re.fullmatch(r"0(?:[.,]0*)?", text):
        results.unknown["latency_ns"] = f"{text} {unit}: less than the steps that are printed"
    elif percentile not in _PERCENTILES:
        results.unknown["latency_ns"] = f"p{percentile} was reported, which has no column"
    else:
        metric = f"latency.p{percentile}"
        value = source.nanoseconds(text, what, line, _TO_NS[unit])
        results.put_once(source, metric, value, what, line)
        step = 10.0 ** -len(re.split(r"[.,]", text)[-1]) if re.search(r"[.,]", text) else 1.0
        off = step / 2 * _TO_NS[unit] / value
        results.statistic[metric] = f"{what}, rounded to {step:g} {unit} (up to {off:.1%} off)"
        if off > 0.005:
            results.notes.append(f"the latency is rounded to {step:g} {unit}, up to {off:.1%} off")


def _requests(run: _Run, synchronous: bool) -> int | None:
    """Requests in flight: as measured, else as many as OpenVINO held best."""
    if synchronous:
        return 1
    match = re.search(r"(\d{1,9}) inference requests", run.titles.get(10, ""))
    optimal = run.first(r" +OPTIMAL_NUMBER_OF_INFER_REQUESTS: (\d{1,9})")
    return _integer(match[1] if match else optimal)


def _properties(run: _Run) -> dict[str, Scalar]:
    """The properties of the compiled model (step 8), those of one device of several by its name."""
    settings: dict[str, Scalar] = {}
    device = ""
    for text in run.step(8):
        match = _PROPERTY.match(text)
        if match is None:
            continue
        indent, name, value = match.groups()
        if len(indent) < 4:
            device = "" if value.strip() else f"{name.lower()}."
        if value.strip() and name not in _NO_SETTINGS:
            axis = device + _AXES.get(name, name.lower())
            settings[axis] = _value(value.strip())
    return settings


def _value(text: str) -> Scalar:
    """A property's value as Python's and C++'s benchmark_app both mean it."""
    text = re.sub(r"^<Type: '(\w+)'>$", r"\1", text)
    text = re.sub(r"^[A-Z]\w+\.([A-Z_]+)$", r"\1", text)
    number = _integer(text)
    if number is not None:
        return number
    return text.lower() if re.fullmatch(r"[A-Z_]+|True|False", text) else text


def _inputs(run: _Run) -> list[tuple[str, str, str]]:
    """Name, type and shape of the inputs as configured (step 6), which may differ from the model's own."""
    inputs = []
    for text in run.step(6):
        if "Model outputs" in text or "Network outputs" in text:
            break
        name, node, rest = text.partition(" (node: ")
        parts = [part.strip() for part in rest.partition(") : ")[2].split(" / ")]
        if node and parts[0]:
            inputs.append((name.strip(), parts[0], parts[-1] if len(parts) > 1 else ""))
    return inputs


def _data_shapes(run: _Run) -> str | None:
    """The shapes that were fed in turn (step 9), where there are several."""
    lines = run.step(9)
    start = next((n for n, text in enumerate(lines) if "tensor groups:" in text), len(lines))
    groups = [
        text.strip()
        for text in takewhile(lambda text: text.startswith(("\t", " ")), lines[start + 1 :])
    ]
    return "+".join(map(_plain_shape, groups)) or None


def _plain_shape(text: str) -> str:
    """1x3x32x32 of [1,3,32,32] and of {1, 3, 32, 32}."""
    return re.sub(r",\s*", "x", re.sub(r"[\[\]{}]", "", text)).replace(" ", "")


def _device(run: _Run) -> str | None:
    told = run.first(r" +EXECUTION_DEVICES: (.+)") or run.first(r"Execution Devices: ?(.+)")
    return ",".join(re.findall(r"[\w.:()-]+", told[:200])) or None if told else None


# --- the report


def _of_reports(
    source: _source.SourceFile, reports: Sequence[tuple[int | None, dict[str, Any]]]
) -> _source.Imports:
    records, notes = [], []
    for number, (line, report) in enumerate(reports, start=1):
        execution = report.get("execution_results")
        if isinstance(execution, dict) and "error" in execution:
            why = str(execution["error"])[:200]
            notes.append(f"the report at line {line} gives no row: it failed: {why}")
        else:
            records.append(_of_report(source, line, number, report))
    if not records:
        source.bad("; ".join(_source.first_few(notes)), fix="the run failed")
    return _source.Imports(
        records, [*_source.first_few(notes), *_source.unnamed_note(records, _NAMED_BY)]
    )


def _json_reports(source: _source.SourceFile) -> Iterator[tuple[int | None, dict[str, Any]]]:
    for line, report in source.json_documents():
        if not isinstance(report, dict):
            source.bad("the report is not an object", line)
        if "detailed_performance" in report or "execution_results" not in report:
            source.bad("a report without execution_results", line, "give benchmark_report.json")
        yield line, report


def _csv_reports(source: _source.SourceFile) -> Iterator[tuple[int | None, dict[str, Any]]]:
    """The CSV form, sections of `name;value` lines, as the JSON form has them."""
    report: dict[str, dict[str, str]] = {}
    start, section = 0, ""
    for line, text in enumerate(source.lines, start=1):
        name, separator, value = text.partition(";")
        if name.strip() in _CSV_TITLES and not separator:
            section = _CSV_TITLES[name.strip()]
            if section in report:
                yield start, report
                report = {}
            start = start if report else line
            report[section] = {}
        elif text.strip() and section:
            if not separator:
                source.bad(f"no 'name;value': {text[:40]!r}", line)
            told = report[section].setdefault(name, value)
            if told != value and ("latency (" in name or name == "throughput"):
                source.bad(f"{name} stands twice, as {told[:40]} and {value[:40]}", line)
    if report:
        yield start, report


def _of_report(
    source: _source.SourceFile, line: int | None, number: int, report: dict[str, Any]
) -> Record:
    missing = [name for name in _SECTIONS if not isinstance(report.get(name), dict)]
    if missing:
        source.bad(f"a report without {missing[0]}", line, "the run may have failed")
    told = report.get("cmd_options")
    options = (
        {str(name).lstrip("-"): value for name, value in told.items()}
        if isinstance(told, dict)
        else {}
    )
    setup, execution = report["configuration_setup"], report["execution_results"]
    results = _Results()
    latency = _report_latency(execution, str(options.get("latency_percentile", "50")))
    if latency is None:
        results.unknown["latency_ns"] = "the report has none"
    else:
        percentile, text = latency
        source = source.with_mark_of([text, str(execution.get("throughput", ""))])
        _put_latency(source, results, percentile, text, "ms", line)
    if "throughput" in execution:
        value = source.number(execution["throughput"], "throughput", line)
        results.values["throughput"] = value
        results.statistic["throughput"] = "items per second, over the whole run"
    else:
        results.unknown["throughput_per_s"] = "the report has none"
    results.notes.append(
        "the report does not tell precision or types of inputs: benchmark_app may have run bf16 on u8 "
        "images unasked; its log tells"
    )
    requests = _integer(_first_of(setup, "number of parallel infer requests", "nireq"))
    device = str(_first_of(setup, "target device", "target_device") or _source.UNKNOWN)
    topology = str(setup.get("topology", ""))
    model = options.get("m") or options.get("path_to_model")
    hint, api = options.get("hint"), _first_of(setup, "API", "api")
    told = str(model) if model else (None if _NO_NAME.fullmatch(topology) else topology or None)
    return _record(
        source,
        source.origin(TOOL, report, line),
        _source.model_of(source, told, number),
        build="",
        device=device,
        variant={
            **_report_settings(setup),
            **_report_settings(options),
            "api": api if isinstance(api, str) else None,
            "batch": _integer(_first_of(setup, "batch size", "batch_size")),
            "device": device,
            "hint": hint if isinstance(hint, str) else None,
            "requests": requests,
        },
        alone=api == "sync" or requests == 1,
        results=results,
    )


def _first_of(part: Mapping[str, Any], *names: str) -> Any:
    return next((part[name] for name in names if name in part), None)


def _report_latency(execution: Mapping[str, Any], percentile: str) -> tuple[str, str] | None:
    """Percentile and milliseconds of a report, by the names of Python's and of C++'s benchmark_app."""
    told = _first_of(execution, "latency (ms)", "Median latency (ms)", "latency_median")
    if told is not None:
        boundary = _first_of(execution, "percentile_boundary", "Percentile boundary")
        return str(boundary or percentile), str(told)
    for name, value in execution.items():
        if match := re.fullmatch(r"latency \((\d{1,3}(?:\.\d{1,6})?) percentile\) \(ms\)", name):
            return match[1], str(value)
    return None


def _report_settings(part: Mapping[str, Any]) -> dict[str, Scalar]:
    named = {re.sub(r"\W+", "_", name.lower()).strip("_"): value for name, value in part.items()}
    return {
        axis: _value(value) if isinstance(value, str) else value
        for axis, value in named.items()
        if axis not in _REPORT_NO_SETTINGS and isinstance(value, str | int | float) and value != ""
    }


def _record(
    source: _source.SourceFile,
    origin: _source.Origin,
    named: _source.ModelName,
    *,
    build: str,
    device: str,
    variant: dict[str, Scalar | None],
    alone: bool,
    results: _Results,
) -> Record:
    results.unknown["memory_peak_bytes"] = "benchmark_app's figures are VmPeak, address space"
    return _source.make_record(
        source,
        origin,
        named.cell(
            "benchmark_app",
            f"OpenVINO {build.partition('-')[0]}".strip(),
            {axis: value for axis, value in variant.items() if value is not None},
            # Several requests at once: a latency among others, not that of a query alone.
            scenario="single_stream" if alone else "concurrent",
        ),
        results,
        _source.Device(
            _source.UNKNOWN,
            {"openvino_device": device, "cpu_model": None, "os": None, "memory_bytes": None},
        ),
    )


def _integer(text: object) -> int | None:
    return int(str(text)) if re.fullmatch(r"\d{1,18}", str(text)) else None
