"""MLPerf Inference's tables of results, and those of MLPerf Tiny.

A table has one row per system, model and scenario, and its units stand beside the numbers. What the
number is depends on the scenario: the early-stopping estimate of p90 (SingleStream; of p99.9 for
pointpainting) or p99 (MultiStream), samples per second (Offline), the rate that keeps the latency bound
(Server).
Power is energy per query for the streams and average power for the others. MLPerf requires 8
samples a query in MultiStream.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec

from edgebench.importers import _source
from edgebench.importers.mlperf_loadgen import SCENARIOS
from edgebench.record import Energy, Quality, Record

TOOL = "mlperf"
SUMMARY = "MLPerf Inference or MLPerf Tiny: a table of results (.csv, .csv.gz)"

CITING = (
    "MLPerf results: MLCommons' rules on citing results apply where they are shown "
    "(name the version, division, submitter and the id of each result)"
)
_NEEDS = (
    "version", "ID", "Category", "Suite", "Submitter", "System", "Platform", "Processor",
    "Accelerator", "Software", "operating_system", "UsedModel", "Model", "Scenario",
    "weight_data_types", "Accuracy", "Performance_Result", "Performance_Units",
    "has_power", "Power_Result", "Power_Units",
)  # fmt: skip
_TINY_NEEDS = ("version", "division", "submitter", "system", "benchmark", "performance_median_ips")
_BY_AUC = "ad"  # anomaly detection: MLPerf Tiny demands an AUC of it, and an accuracy of the others
#: Percentiles that LoadGen's mlperf.conf demands of a scenario, and of a model where it differs.
_PERCENTILES = {"SingleStream": "90", "MultiStream": "99"}
_MODEL_PERCENTILES = {
    ("pointpainting", "SingleStream"): "99.9"
}  # since v5.0, which brought the model
_STREAM_SAMPLES = {"SingleStream": 1, "MultiStream": 8}
_ITEMS = {"Samples/s": "samples", "Queries/s": "queries", "Tokens/s": "tokens"}
_CONTAINER = re.compile(r"[0-9a-f]{12}-")  # a container's id in place of a host name


@dataclass(frozen=True)
class _Row:
    line: int
    fields: dict[str, str]
    copies: tuple[str, ...] = ()  # further platforms that repeat it


def read(source: _source.SourceFile) -> _source.Imports:
    """The records of a table. Raises StoreError with file and line where it is malformed."""
    if source.csv_head(_TINY_NEEDS) is not None:
        return _tiny(source)
    rows = [_Row(line, fields) for line, fields in source.csv_rows(_NEEDS)]
    results = (row.fields[name] for row in rows for name in ("Performance_Result", "Power_Result"))
    source = source.with_mark_of(results, _NEEDS)
    kept, notes = _without_copies(rows)
    return _source.Imports([_record(source, row) for row in kept], [*notes, CITING])


def _without_copies(rows: Sequence[_Row]) -> tuple[list[_Row], list[str]]:
    """Drops rows that equal another in every column but the platform's name and the id.

    The same result under two names is one result. The name that is no container id is kept.
    """
    groups: dict[tuple[str, ...], list[_Row]] = {}
    for row in rows:
        same = tuple(v for name, v in row.fields.items() if name not in ("ID", "Platform"))
        groups.setdefault(same, []).append(row)
    dropped: Counter[tuple[str, str]] = Counter()
    kept = []
    for group in groups.values():
        best = min(group, key=lambda row: (_is_container(row), row.line))
        copies = [row.fields["Platform"] for row in group if row is not best]
        dropped.update((copy, best.fields["Platform"]) for copy in copies)
        kept.append(replace(best, copies=tuple(copies)))
    notes = [
        f"{count} rows of platform {copy} dropped: they repeat {original} value for value"
        for (copy, original), count in sorted(dropped.items())
    ]
    return sorted(kept, key=lambda row: row.line), notes


def _is_container(row: _Row) -> bool:
    return _CONTAINER.match(row.fields["Platform"]) is not None


def _record(source: _source.SourceFile, row: _Row) -> Record:
    fields, line = row.fields, row.line
    scenario = SCENARIOS.get(fields["Scenario"])
    if scenario is None:
        source.bad(f"no scenario {fields['Scenario']!r}", line)
    reported = _performance(source, row)
    version = re.fullmatch(r"v(\d{1,4})\.(\d{1,2})", fields["version"])
    if version is None:
        source.bad(f"no version {fields['version']!r}", line, "it looks like v5.1")
    origin = f"{fields['Category']} division, {fields['Submitter']}, id {fields['ID']}"
    reported.unknown |= {
        "effective": "MLPerf states weight_data_types as submitted, not what ran",
        "run.started_utc": "the table gives no date",
    }
    reported.notes = [
        f"MLPerf Inference {fields['version']}, {origin}",
        CITING,
        *(f"the same values stand under platform {copy}, dropped" for copy in row.copies),
    ]
    return _source.make_record(
        source,
        source.origin(
            TOOL, dict(fields), line, run=f"mlperf-{fields['version']}-{source.sha256[:8]}"
        ),
        _source.named_cell(
            workload=f"mlperf-{_source.slug(fields['Model'])}",
            version=int(version[1]) * 100 + int(version[2]),
            title=f"MLPerf Inference {fields['Model']}",
            task=fields["Model"],
            backend=fields["Software"] or "unknown",
            variant={
                "division": fields["Category"],
                "model": fields["UsedModel"],
                "platform": fields["Platform"],
                "precision": fields["weight_data_types"],
            },
            scenario=scenario,
        ),
        reported,
        _source.Device(
            fields["System"] or fields["Platform"],
            {
                "cpu_model": fields["Processor"],
                "accelerator": fields["Accelerator"],
                "os": fields["operating_system"],
                "memory_bytes": None,
            },
        ),
        quality=_quality(source, row),
        energy=_energy(source, row),
    )


def _performance(source: _source.SourceFile, row: _Row) -> _source.Reported:
    fields = row.fields
    scenario, units = fields["Scenario"], fields["Performance_Units"]
    latency = scenario in _STREAM_SAMPLES  # in milliseconds
    value = source.number(
        fields["Performance_Result"], "Performance_Result", row.line, 1e6 if latency else 1.0
    )
    if latency:
        if units != "Latency (ms)":
            source.bad(f"{scenario} in {units!r}", row.line, "MLPerf gives Latency (ms)")
        percentile = _percentile(fields["Model"], scenario)
        name = f"latency.p{percentile.replace('.', '')}_early_stopping"
        what = f"early-stopping estimate of p{percentile} ({scenario})"
        if scenario == "MultiStream":
            what += ", of a query of 8 samples"
        silent = {"throughput_per_s": f"{scenario} states a latency, not a rate"}
        return _source.Reported(values={name: value}, statistic={name: what}, unknown=silent)
    if units not in _ITEMS:
        source.bad(f"{scenario} in {units!r}", row.line, f"known: {', '.join(_ITEMS)}")
    what = f"{_ITEMS[units]} per second ({scenario}"
    what += ", the highest rate that keeps the latency bound)" if scenario == "Server" else ")"
    silent = {"latency_ns": f"{scenario} states a rate, not a latency"}
    return _source.Reported(
        values={"throughput": value}, statistic={"throughput": what}, unknown=silent
    )


def _percentile(model: str, scenario: str) -> str:
    own = _MODEL_PERCENTILES.get((model.strip().lower(), scenario))
    return own or _PERCENTILES[scenario]


def _quality(source: _source.SourceFile, row: _Row) -> Quality | None:
    """The first number of the accuracy column; in the open division without a demand."""
    text = row.fields["Accuracy"]
    if not text.strip():
        return None
    match = re.match(r"\W*(\w{1,40}): *(\S{1,40}?)(?:,?\s|,?$)", text)
    if match is None:
        source.bad(f"Accuracy is not like 'acc: 76.46': {text[:40]!r}", row.line)
    name, number = match.groups()
    value = source.number(number, "Accuracy", row.line)
    metric = "accuracy" if name.lower() in ("acc", "accuracy") else name
    share = metric in ("accuracy", "mAP", "F1")
    return Quality(
        metric=metric,
        value=value / 100 if share else value,
        floor=None,
        better="higher",
        passed=True,
        reason="closed division: met MLPerf's target" if row.fields["Category"] == "closed"
        else "open division: reported without a demand",
    )  # fmt: skip


def _energy(source: _source.SourceFile, row: _Row) -> Energy:
    fields = row.fields
    if fields["has_power"] != "True":
        return Energy(status="unavailable", reason="not_reported", detail="submitted without power")
    scenario, units = fields["Scenario"], fields["Power_Units"]
    value = source.number(fields["Power_Result"], "Power_Result", row.line)
    meter = Energy(
        status="ok",
        kind="measured_external",
        scope="whole system",
        source="MLPerf Power: an analyser at the system's supply",
    )
    samples = _STREAM_SAMPLES.get(scenario)
    if samples is not None and units == "millijoules":
        detail = f"{fields['Power_Result']} mJ a query"
        detail += f" of {samples} samples, divided by them" if samples > 1 else ""
        joules = value / 1000 / samples
        return msgspec.structs.replace(meter, detail=detail, j_per_inference=joules)
    if samples is None and units == "Watts":
        per_item = None
        detail = "energy per token, not per inference, would follow from the rate"
        if fields["Performance_Units"] != "Tokens/s":
            rate = source.number(fields["Performance_Result"], "Performance_Result", row.line)
            per_item = value / rate
            detail = "average power over throughput, both as reported of one run"
        return msgspec.structs.replace(
            meter, detail=detail, j_per_inference=per_item, average_w=value
        )
    return source.bad(f"power of {scenario} in {units!r}", row.line)


def _tiny(source: _source.SourceFile) -> _source.Imports:
    rows = [_Row(line, fields) for line, fields in source.csv_rows(_TINY_NEEDS)]
    rates = (row.fields["performance_median_ips"] for row in rows)
    source = source.with_mark_of(rates, _TINY_NEEDS)
    return _source.Imports([_tiny_record(source, row) for row in rows], [CITING])


def _tiny_record(source: _source.SourceFile, row: _Row) -> Record:
    fields, line = row.fields, row.line
    rate = source.number(fields["performance_median_ips"], "performance_median_ips", line)
    quality = None
    columns = [("top1_pct", "accuracy", 100.0), ("auc", "auc", 1.0)]
    if fields["benchmark"] == _BY_AUC:
        columns.reverse()
    for column, metric, scale in columns:
        if quality is None and fields.get(column):
            value = source.number(fields[column], column, line) / scale
            quality = Quality(
                metric=metric, value=value, floor=None, better="higher", passed=True,
                reason=f"{fields['division']} division, as submitted",
            )  # fmt: skip
    energy = Energy(status="unavailable", reason="not_reported", detail="submitted without energy")
    if fields.get("energy_median_uJ_per_inf"):
        microjoules = source.number(fields["energy_median_uJ_per_inf"], "energy", line)
        energy = Energy(
            status="ok",
            j_per_inference=microjoules * 1e-6,
            kind="measured_external",
            scope="the board's supply",
            source="EEMBC EnergyRunner",
            detail="median over windows",
        )
    version = re.fullmatch(r"v?(\d{1,4})\.(\d{1,2})", fields["version"])
    if version is None:
        source.bad(f"no version {fields['version'][:40]!r}", line, "it looks like 1.3")
    origin = f"{fields['division']} division, {fields['submitter']}"
    return _source.make_record(
        source,
        source.origin(
            TOOL,
            dict(fields),
            line,
            run=f"mlperf-tiny-v{fields['version']}-{_source.slug(fields['submitter'])}",
        ),
        _source.named_cell(
            workload=f"mlperf-tiny-{_source.slug(fields['benchmark'])}",
            version=int(version[1]) * 100 + int(version[2].ljust(2, "0")),
            title=f"MLPerf Tiny {fields['benchmark']}",
            task=fields["benchmark"],
            backend=fields["system"].partition("/")[0] or "unknown",
            variant={"division": fields["division"]},
        ),
        _source.Reported(
            values={"throughput": rate},
            statistic={"throughput": "inferences per second, median over windows"},
            unknown={"latency_ns": "the table states a rate; its latency is the inverse of it"},
            notes=[f"MLPerf Tiny v{fields['version']}, {origin}", CITING],
        ),
        _source.UNKNOWN_DEVICE._replace(
            name=fields["system"].partition("/")[2] or fields["system"]
        ),
        quality=quality,
        energy=energy,
    )
