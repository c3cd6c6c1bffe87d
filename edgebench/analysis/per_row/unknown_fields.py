"""Says of every field of a row that is None why it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from edgebench import record as rec
from edgebench import stats
from edgebench.analysis.per_row.worst_rows import why_no_energy
from edgebench.analysis.table_types import Row
from edgebench.words import unknown_words

#: Dotted path of a field, from a row -> why it is None.
Unknown = dict[str, str]


def explain_fields(part: msgspec.Struct, name: str, why: str, unknown: Unknown) -> None:
    """Gives all fields of the part that are None one reason."""
    values = msgspec.structs.astuple(part)
    if None in values:
        absent = [
            field
            for field, value in zip(part.__struct_fields__, values, strict=True)
            if value is None
        ]
        unknown.update((f"{name}.{field}", why) for field in absent)


def explain_absent(
    part: msgspec.Struct, name: str, reasons: Mapping[str, str], unknown: Unknown
) -> None:
    """Gives those of these fields that are None their reasons."""
    for field, why in reasons.items():
        if getattr(part, field) is None:
            unknown[f"{name}.{field}"] = why


def explain(row: Row, record: rec.Record, good: Sequence[rec.Replicate], unknown: Unknown) -> None:
    """Gives each field that is None a reason, from the replicates that are `good`."""
    nothing = _nothing(row, good)
    if nothing:
        unknown["latency_ns"] = nothing
    _explain_load(row, nothing, unknown)
    _explain_rates(row, nothing, unknown)
    _explain_memory(row, nothing, unknown)
    _explain_quality(row, record, nothing, unknown)
    _explain_energy(row.energy, unknown)
    _explain_model(row, unknown)
    if row.power_mode is None:
        unknown["power_mode"] = unknown_words.NO_POWER_MODE
    session = (nothing or unknown_words.NO_SESSION_REPORT, unknown_words.UNTOLD_BY_RUNTIME)
    _explain_part(row, "effective", *session, unknown)
    for name in ("front", "front_probability", "front_by_value", "pareto"):
        unknown[name] = unknown_words.NOT_RANKED
    unknown["baseline"] = unknown_words.NO_FP32_ROW
    for name in ("pipeline", "cold_start", "warmup"):
        why = (nothing or unknown_words.NOT_MEASURED, unknown_words.NOT_MEASURED_EACH)
        _explain_part(row, name, *why, unknown)
    _explain_sustained(row, nothing, unknown)
    _explain_stream(row, nothing, unknown)
    untold = {"total_bytes": unknown_words.UNTOLD_BY_SYSTEM}
    company = (unknown_words.MEASURED_ALONE, unknown_words.FEW_BLOCKS)
    _explain_part(row, "company", *company, unknown, untold)
    _explain_loadgen(row, unknown)
    growth = {
        "growth_bytes": unknown_words.UNTOLD_BY_SYSTEM,
        "arena_growth_bytes": unknown_words.UNTOLD_BY_RUNTIME,
    }
    shapes = (unknown_words.ONE_SHAPE, unknown_words.FEW_QUERIES)
    _explain_part(row, "shapes", *shapes, unknown, growth)
    _explain_worst(row, good, unknown)
    reasons = {
        "generate": nothing if row.scenario == "generate" else unknown_words.NO_TEXT,
        "caching": nothing or unknown_words.NO_UNSEEN_INPUTS,
        "replicate_wall_s": nothing or unknown_words.NOT_RECORDED,
        "inputs_sha256": nothing or unknown_words.NOT_RECORDED,
    }
    unknown.update({name: why for name, why in reasons.items() if getattr(row, name) is None})
    unknown["imported"] = unknown_words.BY_EDGEBENCH


def no_interval(replicates: int) -> str:
    """Why so many replicates give no interval."""
    if replicates >= 2:
        return unknown_words.MEASURED_ZERO
    return unknown_words.few_replicates(replicates, long=True)


def _nothing(row: Row, good: Sequence[rec.Replicate]) -> str:
    """The one reason for everything where no replicate is ok."""
    if good:
        return ""
    if not row.reasons:
        return unknown_words.NO_REPLICATE
    return unknown_words.no_result(status=row.status, message=row.reasons[0].message)


def _explain_part(
    row: Row,
    name: str,
    missing: str,
    untold: str,
    unknown: Unknown,
    fields: Mapping[str, str] | None = None,
) -> None:
    """`missing`: why the row has no such part; `untold`: why fields of one that it has are unknown, but those of
    `fields`, which have reasons of their own."""
    part = getattr(row, name)
    if part is None:
        unknown[name] = missing
    else:
        explain_fields(part, name, untold, unknown)
        explain_absent(part, name, fields or {}, unknown)


def _explain_rates(row: Row, nothing: str, unknown: Unknown) -> None:
    if row.throughput_per_s is None:
        unknown["throughput_per_s"] = nothing or unknown_words.NO_WINDOW
    if row.throughput_low_per_s is None:
        why = no_interval(len(row.throughput_of_replicates_per_s))
        unknown["throughput_low_per_s"] = unknown["throughput_high_per_s"] = why
    reasons = {
        "percentile": unknown_words.OFFLINE_INTERVAL,
        "target": unknown_words.NO_TARGET,
        "reached": unknown_words.NO_INTERVAL,
        "met": unknown_words.NO_INTERVAL_OR_TARGET,
    }
    explain_absent(row.interval, "interval", reasons, unknown)


def _explain_load(row: Row, nothing: str, unknown: Unknown) -> None:
    """How queries came."""
    if row.rate_per_s is None:
        unknown["rate_per_s"] = unknown_words.CLOSED_LOOP
    if row.bound_p99_ns is None:
        unknown["bound_p99_ns"] = unknown["rate_search"] = unknown_words.NO_RATE_SOUGHT
    else:
        unknown["rate_per_s"] = unknown_words.RATE_SOUGHT
        if row.rate_search is None:
            unknown["rate_search"] = nothing or unknown_words.NOT_RECORDED
    why = unknown.get("rate_per_s") or nothing or unknown_words.NOT_MEASURED
    _explain_part(row, "paced", why, unknown_words.NOT_RECORDED, unknown)


def _explain_worst(row: Row, good: Sequence[rec.Replicate], unknown: Unknown) -> None:
    part = row.worst_case
    if part is None:
        unknown["worst_case"] = unknown_words.NO_WORST_CASE
        return
    explain_fields(part, "worst_case", unknown_words.TIME_OF_0, unknown)
    names = ("j", "uncertainty_j", "median_j", "amplification", "seed", "kind")
    reasons = dict.fromkeys([f"energy_{name}" for name in names], why_no_energy(good))
    explain_absent(part, "worst_case", reasons, unknown)
    if part.tokens is None:
        unknown["worst_case.tokens"] = unknown_words.NO_ANSWER_TEXT
        unknown["worst_case.median_tokens"] = unknown_words.NO_ANSWER_TEXT


def _explain_loadgen(row: Row, unknown: Unknown) -> None:
    part = row.loadgen
    if part is None:
        unknown["loadgen"] = unknown_words.NO_LOADGEN
        return
    why = unknown_words.not_of_loadgen(scenario=part.scenario)
    explain_fields(part, "loadgen", why, unknown)
    for name in ("p90", "p99"):
        if getattr(part, f"{name}_ns") is not None:
            reasons = {f"{name}_same_ratio": unknown_words.QUERIES_NOT_KEPT}
            explain_absent(part, "loadgen", reasons, unknown)


def _explain_stream(row: Row, nothing: str, unknown: Unknown) -> None:
    part = row.stream
    if part is None:
        unsought = "" if row.scenario == "stream" else unknown_words.NO_STREAM
        unknown["stream"] = unsought or nothing or unknown_words.NOT_MEASURED
        return
    explain_fields(part, "stream", unknown_words.NOT_RECORDED, unknown)
    few_hops = unknown_words.few_samples(stats.min_samples(990), part.hops, "hops")
    reasons = {
        "service_p99_ns": few_hops,
        "delay_p99_ns": few_hops,
        "recovery_ns": unknown_words.NO_RECOVERY,
        "state_bytes": unknown_words.STATE_INSIDE,
        "j_per_s": row.energy.reason or unknown_words.UNKNOWN_ENERGY,
    }
    explain_absent(part, "stream", reasons, unknown)


def _explain_sustained(row: Row, nothing: str, unknown: Unknown) -> None:
    part = row.sustained
    if part is None:
        unsought = "" if row.scenario == "sustained" else unknown_words.NO_SUSTAINED
        unknown["sustained"] = unsought or nothing or unknown_words.NOT_MEASURED
        return
    explain_fields(part, "sustained", part.temperature_source, unknown)
    hot = unknown_words.BEGAN_HOT if part.burst_p50_ns is None else ""
    hot = hot if part.sustained_p50_ns is not None else ""
    times = ("burst_p50_ns", "sustained_p50_ns", "slowdown")
    reasons = dict.fromkeys(times, hot or unknown_words.NOTHING_MEASURED)
    reasons["time_to_throttle_s"] = hot or unknown_words.NO_THROTTLING
    explain_absent(part, "sustained", reasons, unknown)
    if hot and part.temperature_end_c is not None:
        unknown["sustained.temperature_start_c"] = hot


def _explain_energy(energy: rec.Energy, unknown: Unknown) -> None:
    if energy.j_per_inference is None:
        unknown["energy"] = energy.reason or unknown_words.NOT_MEASURED
        return
    explain_fields(energy, "energy", unknown_words.UNTOLD_BY_SOURCE, unknown)
    net = energy.net_reason or unknown_words.NO_IDLE_POWER
    reasons = {
        "net_j_per_inference": net,
        "net_uncertainty_j": net,
        "needed_s": unknown_words.WINDOW_LONG_ENOUGH,
        "modelled": unknown_words.NO_ESTIMATE,
        "trace": unknown_words.TRACE_IN_REPLICATES,
    }
    explain_absent(energy, "energy", reasons, unknown)
    if energy.uncertainty is not None:
        spread = {"spread_j": unknown_words.SINGLE_PROCESS}
        explain_absent(energy.uncertainty, "energy.uncertainty", spread, unknown)


def _explain_memory(row: Row, nothing: str, unknown: Unknown) -> None:
    memory = row.memory
    if row.memory_peak_bytes is None:
        why = nothing or memory.peak_source or unknown_words.NOT_MEASURED
        unknown["memory_peak_bytes"] = unknown["memory.peak_min_bytes"] = why
    by_system = ("uss_loaded", "uss_warm", "uss_end", "anonymous", "file", "pss")
    reasons = {
        **dict.fromkeys([f"{name}_bytes" for name in by_system], unknown_words.UNTOLD_BY_SYSTEM),
        "budget_bytes": unknown_words.NO_MEMORY_BUDGET,
        "fits_bytes": _why_unfitted(row),
        "storage_read_bytes_per_query": unknown_words.UNTOLD_BY_SYSTEM,
        "major_faults_per_query": unknown_words.UNTOLD_BY_SYSTEM,
        "arena_bytes": unknown_words.UNTOLD_BY_RUNTIME,
        "device_peak_bytes": memory.device_source or unknown_words.NO_MEMORY_SOURCE,
    }
    whys = dict.fromkeys(reasons, nothing) if nothing else reasons
    explain_absent(memory, "memory", whys, unknown)


def _why_unfitted(row: Row) -> str:
    if row.memory.budget_bytes is None:
        return unknown_words.NO_MEMORY_BUDGET
    if row.status == "failed":
        return unknown_words.FAILED_WITHIN_BUDGET
    return unknown_words.BUDGET_WITHOUT_FILES


def _explain_model(row: Row, unknown: Unknown) -> None:
    model = row.model
    if model is None:
        unknown["model"] = unknown_words.NO_MODEL_FILE
        return
    reasons = {"build_s": unknown_words.NOT_BUILT, "work": unknown_words.NOT_COUNTED}
    explain_absent(model, "model", reasons, unknown)
    if model.work is not None:
        share = {"uncounted_share": unknown_words.OPEN_SHAPES}
        explain_absent(model.work, "model.work", share, unknown)


def _explain_quality(row: Row, record: rec.Record, nothing: str, unknown: Unknown) -> None:
    quality = row.quality
    if quality is None:
        unknown["quality"] = nothing or unknown_words.NOT_MEASURED
        return
    why = record.quality.reason if record.quality is not None else ""
    reasons = {"value": why or unknown_words.NOT_MEASURED, "floor": unknown_words.NO_LIMIT}
    explain_absent(quality, "quality", reasons, unknown)
    if any(limit.value is None or limit.limit is None for limit in quality.also):
        unknown["quality.also"] = unknown_words.LIMITS_NOT_MEASURED
    unknown["quality.delta"] = unknown["quality.delta_to"] = unknown_words.NO_FP32_ROW
