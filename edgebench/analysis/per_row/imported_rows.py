"""Builds rows from the numbers that another tool reports, where it gives no samples."""

from __future__ import annotations

from typing import Any

import msgspec

from edgebench.analysis.table_types import Generate, Row, Source
from edgebench.metrics import METRICS
from edgebench.record import Imported
from edgebench.words import unknown_words

#: Percentiles and ends of intervals are made of samples, whatever the reason says.
_OF_SAMPLES = ("latency_ns.", "generate.interval_", "throughput_low", "throughput_high")


def with_imported(row: Row, imported: Imported) -> Row:
    """The row with the reported numbers in their fields, and the source's own reasons for gaps.

    Where samples gave a number already, it stays: what is derived can be derived again.
    """
    unknown = {path: _reason(path, why, imported) for path, why in row.unknown.items()}
    del unknown["imported"]
    reported: dict[str, str] = {}
    if row.generate is None and any(name.startswith("generate.") for name in imported.reported):
        row = msgspec.structs.replace(row, generate=_untold_generation(row))
    for name, number in imported.reported.items():
        metric = METRICS[name]
        if metric.value(row) is not None:
            continue
        value = round(number) if metric.unit in ("ns", "bytes") else float(number)
        row = _put(row, metric.path, value)
        unknown.pop(metric.path, None)
        what = imported.statistic.get(name, metric.label)
        reported[name] = unknown_words.reported(what=what, tool=imported.tool)
        for path in filter(None, (metric.low_path, metric.high_path)):
            unknown[path] = unknown_words.no_reported_interval(tool=imported.tool)
    silent = unknown_words.not_reported(tool=imported.tool)
    if any(METRICS[name].path.startswith("latency_ns.") for name in reported):
        unknown.pop("latency_ns", None)
        _explain_fields("latency_ns", row.latency_ns, silent, unknown)
    if row.generate is not None:
        unknown.pop("generate", None)
        _explain_fields("generate", row.generate, silent, unknown)
    if row.energy.status == "ok":
        unknown.pop("energy", None)
        _explain_fields("energy", row.energy, row.energy.detail or silent, unknown)
    if imported.line is None:
        unknown["imported.line"] = unknown_words.NO_LINES
    source = Source(
        tool=imported.tool,
        file=imported.file,
        sha256=imported.sha256,
        line=imported.line,
        reported=reported,
        notes=imported.notes,
    )
    return msgspec.structs.replace(row, imported=source, unknown={**unknown, **imported.unknown})


def _untold_generation(row: Row) -> Generate:
    """The part that reported times of tokens stand in: of the lengths, what the settings say."""
    lengths = {
        axis: length
        for axis in ("prompt_tokens", "new_tokens")
        if isinstance(length := row.variant.get(axis), int)
    }
    told = {"width": row.variant.get("batch"), **lengths}
    names = (field.name for field in msgspec.structs.fields(Generate) if field.required)
    return Generate(**{name: told.get(name) for name in names})  # type: ignore[arg-type]


def _explain_fields(name: str, part: msgspec.Struct, why: str, unknown: dict[str, str]) -> None:
    for field in part.__struct_fields__:
        if getattr(part, field) is None:
            unknown.setdefault(f"{name}.{field}", why)


def _reason(path: str, why: str, imported: Imported) -> str:
    of_samples = why in unknown_words.OF_SAMPLES or path.startswith(_OF_SAMPLES)
    return unknown_words.not_reported(tool=imported.tool) if of_samples else why


def _put(row: Row, path: str, value: float) -> Row:
    """The row with one field set, or with one field of one of its parts."""
    part_name, _, field = path.rpartition(".")
    if not part_name:
        return _replace(row, {field: value})
    part = getattr(row, part_name)
    if part is None:
        raise ValueError(f"a reported {path} needs a part to stand in")
    return _replace(row, {part_name: msgspec.structs.replace(part, **{field: value})})


def _replace(row: Row, changes: dict[str, Any]) -> Row:
    return msgspec.structs.replace(row, **changes)
