"""Turns one record into one row: percentiles, intervals, peaks and medians over its replicates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median_low

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgebench import record as rec
from edgebench import stats
from edgebench.analysis.per_row.answer_cache import caches
from edgebench.analysis.per_row.company_rows import company_of
from edgebench.analysis.per_row.generation_rows import generate_of
from edgebench.analysis.per_row.imported_rows import with_imported
from edgebench.analysis.per_row.instruction_rows import instructions_of
from edgebench.analysis.per_row.loadgen_rows import loadgen_of
from edgebench.analysis.per_row.rate_search import at_the_rate
from edgebench.analysis.per_row.shape_rows import shapes_of
from edgebench.analysis.per_row.stream_rows import stream_of
from edgebench.analysis.per_row.sustained_rows import sustained_of
from edgebench.analysis.per_row.worst_rows import why_no_energy, worst_of
from edgebench.analysis.table_types import (
    ColdStart,
    Interval,
    Latency,
    Memory,
    Paced,
    Pipeline,
    Quality,
    Row,
    Warmup,
)
from edgebench.words import unknown_words

Unknown = dict[str, str]
Samples = NDArray[np.int64]
#: Fewer samples than that have no such percentile apart from their maximum.
_P90_PER_REPLICATE = 10
_P99_PER_REPLICATE = 100


def row_of(record: rec.Record) -> Row:
    """Derives a row, from the replicates that are ok alone. Cross-row facts are filled in later."""
    unknown: Unknown = _unknown_of(record.run)
    cell = record.cell
    good = [replicate for replicate in record.replicates if replicate.status == "ok"]
    served = at_the_rate(good, record.rate_search)
    each = [_ascending(replicate.samples_ns) for replicate in served if replicate.samples_ns]
    latency, of_median = _latency(cell, each, len(served), unknown)
    rates = _rates(cell, served)
    rate, throughput = _middle(rates), stats.log_interval(rates)
    if (search := record.rate_search) is not None:
        rates = []  # what came at the rate that was found tells of the seed, not of the deployment
        rate, throughput = search.rate_per_s, _sought(search)
    memories = [replicate.memory for replicate in good if replicate.memory is not None]
    row = Row(
        id=cell.id,
        device=record.device.name,
        run=record.run.id,
        started_utc=record.run.started_utc,
        commit=record.run.commit,
        workload=cell.workload,
        workload_version=cell.workload_version,
        title=cell.title,
        backend=cell.backend,
        variant=cell.variant,
        scenario=cell.scenario,
        rate_per_s=cell.rate_per_s,
        bound_p99_ns=cell.bound_p99_ns,
        status=record.status,
        reasons=_reasons(record),
        latency_ns=latency,
        interval=_interval(record, served, _reached(record, each, of_median, throughput)),
        throughput_per_s=rate,
        throughput_low_per_s=throughput and rate and min(throughput.low, rate),
        throughput_high_per_s=throughput and rate and max(throughput.high, rate),
        throughput_of_replicates_per_s=rates,
        rounds=_rounds(served),
        memory_peak_bytes=_most([memory.peak_bytes for memory in memories]),
        memory=_memory(memories, good, record.status),
        model=record.model,
        quality=_quality(record.quality),
        energy=record.energy,
        effective=record.effective,
        power_mode=record.power_mode,
        pipeline=_pipeline(good),
        cold_start=_cold_start(good),
        warmup=_warmup(good),
        instructions=instructions_of(served, unknown),
        paced=_paced(cell, served),
        rate_search=record.rate_search,
        company=company_of(good),
        loadgen=loadgen_of(good),
        shapes=shapes_of(good),
        worst_case=worst_of(good),
        stream=stream_of(served, latency.p99, record.energy),
        sustained=sustained_of(good),
        generate=generate_of(good, record.energy, unknown),
        caching=caches(good),
        inputs_sha256=record.inputs_sha256,
        replicate_wall_s=_wall_s(good),
        state=_state(_valid_replicates(record)),
        busy=_busy(good),
        superseded=_superseded(record),
        unknown=unknown,
    )
    _explain(row, record, good, unknown)
    return row if record.imported is None else with_imported(row, record.imported)


# --- latency and throughput


def _latency(
    cell: rec.CellFacts, each: Sequence[Samples], replicates: int, unknown: Unknown
) -> tuple[Latency, stats.Interval | None]:
    """Of the ascending samples of each replicate that has some; and the interval of their medians, not rounded."""
    if cell.scenario == "offline":
        unknown["latency_ns"] = unknown_words.OFFLINE_LATENCY
        return Latency(samples=0, replicates=replicates), None
    if not each:
        unknown["latency_ns"] = unknown_words.NOTHING_MEASURED
        return Latency(samples=0, replicates=replicates), None
    pooled = np.concatenate(each)
    pooled.sort()
    p50 = _percentile(pooled, 500, "p50", unknown)
    p90 = _percentile(pooled, 900, "p90", unknown)
    p99 = _percentile(pooled, 990, "p99", unknown)
    p50_each = _of_replicates(each, 500, 1)
    p90_each = _of_replicates(each, 900, _P90_PER_REPLICATE)
    p99_each = _of_replicates(each, 990, _P99_PER_REPLICATE)
    of_median = stats.log_interval(p50_each)
    p50_low, p50_high = _bounds(p50, p50_each, of_median, "p50", unknown)
    p90_low, p90_high = _bounds(p90, p90_each, stats.log_interval(p90_each), "p90", unknown)
    p99_low, p99_high = _bounds(p99, p99_each, stats.log_interval(p99_each), "p99", unknown)
    latency = Latency(
        p50=p50,
        p90=p90,
        p99=p99,
        p50_low=p50_low,
        p50_high=p50_high,
        p90_low=p90_low,
        p90_high=p90_high,
        p99_low=p99_low,
        p99_high=p99_high,
        p90_early_stopping=stats.early_stopping_estimate(pooled, 900),
        p99_early_stopping=stats.early_stopping_estimate(pooled, 990),
        p999_early_stopping=_far_tail(pooled, unknown),
        minimum=int(pooled[0]),
        maximum=int(pooled[-1]),
        samples=len(pooled),
        replicates=len(each),
        p50_of_replicates=p50_each,
        p90_of_replicates=p90_each,
        p99_of_replicates=p99_each,
    )
    return latency, of_median


def _of_replicates(each: Sequence[Samples], permille: int, least: int) -> list[int]:
    return [stats.percentile(samples, permille) for samples in each if len(samples) >= least]


def _ascending(samples: Sequence[int]) -> Samples:
    """Sorted by numpy: a table may hold ten million samples."""
    values = np.array(samples, dtype=np.int64)
    values.sort()
    return values


def _percentile(pooled: Samples, permille: int, name: str, unknown: Unknown) -> int | None:
    needed = stats.min_samples(permille)
    if len(pooled) >= needed:
        return stats.percentile(pooled, permille)
    why = unknown_words.few_samples(needed, len(pooled))
    unknown[f"latency_ns.{name}"] = why
    if name != "p50":
        unknown[f"latency_ns.{name}_early_stopping"] = why
    return None


def _far_tail(pooled: Samples, unknown: Unknown) -> int | None:
    """MLPerf's estimate of p99.9, which some of its benchmarks demand."""
    estimate = stats.early_stopping_estimate(pooled, 999)
    if estimate is None:
        needed = stats.min_samples(999)
        unknown["latency_ns.p999_early_stopping"] = unknown_words.few_samples(needed, len(pooled))
    return estimate


def _bounds(
    value: int | None,
    each: Sequence[int],
    interval: stats.Interval | None,
    name: str,
    unknown: Unknown,
) -> tuple[int | None, int | None]:
    """The interval over replicates, widened where the pooled value lies outside it."""
    if value is None or interval is None:
        why = unknown_words.unknown(name=name) if value is None else _no_interval(len(each))
        unknown[f"latency_ns.{name}_low"] = unknown[f"latency_ns.{name}_high"] = why
        return None, None
    return min(round(interval.low), value), max(round(interval.high), value)


def _no_interval(replicates: int) -> str:
    if replicates >= 2:
        return unknown_words.MEASURED_ZERO
    return unknown_words.few_replicates(replicates, long=True)


def _rates(cell: rec.CellFacts, good: Sequence[rec.Replicate]) -> list[float]:
    """Items per second of each replicate: completed queries times their samples over the window's wall
    time; offline, the samples of the one query over its duration."""
    items_per_query = cell.samples_per_query
    rates = []
    for replicate in good:
        if replicate.offline is not None:
            items, duration_ns = replicate.offline.samples, replicate.offline.duration_ns
        else:
            items = (replicate.queries or len(replicate.samples_ns)) * items_per_query
            duration_ns = replicate.window_ns or 0
        if items and duration_ns:
            rates.append(items * 1e9 / duration_ns)
    return rates


def _sought(search: rec.RateSearch) -> stats.Interval | None:
    """Between the highest rate that keeps the bound and the lowest that does not."""
    if search.rate_per_s is None or search.over_per_s is None:
        return None
    return stats.Interval(search.rate_per_s, search.over_per_s)


def _rounds(good: Sequence[rec.Replicate]) -> list[int]:
    """The round of each replicate, or nothing where one does not tell."""
    rounds = [replicate.round for replicate in good if replicate.round is not None]
    return rounds if len(rounds) == len(good) else []


def _middle(values: Sequence[float]) -> float | None:
    if not values:
        return None
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def _interval(
    record: rec.Record, good: Sequence[rec.Replicate], interval: stats.Interval | None
) -> Interval:
    """How precise the run was to be, and the interval that it came to."""
    reached = None if interval is None else interval.half_width
    stops = [replicate.stop for replicate in good if replicate.stop]
    known = reached is not None and record.target is not None
    return Interval(
        confidence=stats.CONFIDENCE,
        percentile=None if record.cell.scenario == "offline" else record.percentile,
        target=record.target,
        reached=reached,
        met=reached <= record.target if known else None,  # type: ignore[operator]
        stops={stop: stops.count(stop) for stop in stops},
    )


def _reached(
    record: rec.Record,
    each: Sequence[Samples],
    of_median: stats.Interval | None,
    throughput: stats.Interval | None,
) -> stats.Interval | None:
    """The interval of what the run was to know precisely: of the throughput or its percentile."""
    if record.cell.scenario == "offline":
        return throughput
    permille = round(record.percentile * 1000)
    return of_median if permille == 500 else stats.log_interval(_of_replicates(each, permille, 1))


# --- everything else that replicates hold


def _reasons(record: rec.Record) -> list[rec.Reason]:
    """The record's reasons, then those of replicates that add another code."""
    reasons = list(record.reasons)
    codes = {reason.code for reason in reasons}
    for replicate in _valid_replicates(record):
        for reason in replicate.reasons:
            if reason.code not in codes:
                codes.add(reason.code)
                reasons.append(reason)
    return reasons


def _valid_replicates(record: rec.Record) -> list[rec.Replicate]:
    """Replicates that no re-run replaced."""
    return [replicate for replicate in record.replicates if replicate.superseded_by is None]


def _superseded(record: rec.Record) -> list[rec.Reason]:
    """Returns for each replicate that a re-run replaced the reason."""
    replaced = [replicate for replicate in record.replicates if replicate.superseded_by is not None]
    return [replicate.reasons[0] for replicate in replaced if replicate.reasons]


def _most(values: Sequence[int | None]) -> int | None:
    return max([value for value in values if value is not None], default=None)


def _memory(
    each: Sequence[rec.Memory], good: Sequence[rec.Replicate], status: rec.Status
) -> Memory:
    if not each:
        return Memory()
    counted = status != "failed" and all(memory.budget_by.startswith("cgroup") for memory in each)
    peaks = [memory.peak_bytes for memory in each if memory.peak_bytes is not None]
    return Memory(
        peak_min_bytes=min(peaks, default=None),
        peak_source=each[0].peak_source,
        uss_loaded_bytes=_most([memory.uss_loaded_bytes for memory in each]),
        uss_warm_bytes=_most([memory.uss_warm_bytes for memory in each]),
        uss_end_bytes=_most([memory.uss_end_bytes for memory in each]),
        arena_bytes=_most([memory.arena_bytes for memory in each]),
        anonymous_bytes=_most([memory.anonymous_bytes for memory in each]),
        file_bytes=_most([memory.file_bytes for memory in each]),
        pss_bytes=_most([memory.pss_bytes for memory in each]),
        budget_bytes=each[0].budget_bytes,
        budget_by=each[0].budget_by,
        fits_bytes=each[0].budget_bytes if counted else None,
        storage_read_bytes_per_query=_per_query(good, lambda counted: counted.storage_read_bytes),
        major_faults_per_query=_per_query(good, lambda counted: counted.major_faults),
        device_peak_bytes=_most([memory.device_peak_bytes for memory in each]),
        device_source=each[0].device_source,
    )


def _per_query(
    good: Sequence[rec.Replicate], count: Callable[[rec.Accounts], int | None]
) -> float | None:
    """Returns what the kernel counted in the windows, over their queries; a token of a generation is one."""
    counted, queries = 0, 0
    for replicate in good:
        number = None if replicate.accounts is None else count(replicate.accounts)
        if number is None:
            return None
        counted += number
        if replicate.generate is not None:
            queries += sum(len(request.token_ns) for request in replicate.generate.requests)
        else:
            queries += replicate.queries or len(replicate.samples_ns)
    return counted / queries if queries else None


def _quality(quality: rec.Quality | None) -> Quality | None:
    if quality is None:
        return None
    return Quality(
        metric=quality.metric,
        value=quality.value,
        floor=quality.floor,
        better=quality.better,
        passed=quality.passed,
        items=quality.items,
        kind=quality.kind,
        also=quality.also,
    )


def _pipeline(good: Sequence[rec.Replicate]) -> Pipeline | None:
    parts = [replicate.pipeline for replicate in good if replicate.pipeline is not None]
    parts = [part for part in parts if part.end_to_end_ns]
    if not parts:
        return None

    return Pipeline(
        preprocess_ns=median_low([ns for part in parts for ns in part.preprocess_ns]),
        inference_ns=median_low([ns for part in parts for ns in part.inference_ns]),
        postprocess_ns=median_low([ns for part in parts for ns in part.postprocess_ns]),
        end_to_end_ns=median_low([ns for part in parts for ns in part.end_to_end_ns]),
        samples=sum(len(part.end_to_end_ns) for part in parts),
    )


def _cold_start(good: Sequence[rec.Replicate]) -> ColdStart | None:
    def middle(values: Sequence[int | None]) -> int | None:
        known = [value for value in values if value is not None]
        return median_low(known) if known else None

    parts = (
        middle([replicate.import_ns for replicate in good]),
        middle([replicate.load_ns for replicate in good]),
        middle([replicate.first_inference_ns for replicate in good]),
    )
    whole = [part for part in parts if part is not None]
    if not whole:
        return None
    return ColdStart(
        import_ns=parts[0],
        load_ns=parts[1],
        first_inference_ns=parts[2],
        total_ns=sum(whole) if len(whole) == len(parts) else None,
    )


def _warmup(good: Sequence[rec.Replicate]) -> Warmup | None:
    each = [replicate.warmup for replicate in good if replicate.warmup is not None]
    if not each:
        return None
    return Warmup(
        iterations=median_low([warmup.iterations for warmup in each]),
        duration_ns=median_low([warmup.duration_ns for warmup in each]),
        steady=all(warmup.steady for warmup in each),
    )


def _wall_s(good: Sequence[rec.Replicate]) -> float | None:
    return _middle([r.wall_s for r in good if r.wall_s is not None])


def _paced(cell: rec.CellFacts, good: Sequence[rec.Replicate]) -> Paced | None:
    each = [replicate.paced for replicate in good if replicate.paced is not None]
    if not each:
        return None
    service = [value for paced in each for value in paced.service_ns]
    late = [value for paced in each for value in paced.wake_late_ns]
    return Paced(
        rate_per_s=each[0].rate_per_s,
        queries=sum(len(replicate.samples_ns) for replicate in good),
        misses=sum(paced.misses for paced in each),
        service_p50_ns=median_low(service) if service else None,
        wake_late_p50_ns=median_low(late) if late else None,
        arrivals=each[0].arrivals,
        utilisation=_utilisation(good),
        depth_max=max((depth for paced in each for depth in paced.depth), default=None),
        workers=each[0].workers,
        sessions=each[0].sessions,
    )


def _utilisation(good: Sequence[rec.Replicate]) -> float | None:
    """Time of service over the time of the load, of all workers."""
    loads = [replicate for replicate in good if replicate.paced is not None]
    served_ns = sum(sum(replicate.paced.service_ns) for replicate in loads if replicate.paced)
    spent_ns = sum((r.window_ns or 0) * r.paced.workers for r in loads if r.paced)
    return served_ns / spent_ns if spent_ns else None


#: Checks that say that something else wanted the machine, or that it was too hot for its speed.
_BUSY = (
    "cpu_pressure", "steal", "swap", "thermal_throttle", "cooling_throttle", "gpu_throttle",
    "thermal_pressure", "pi_throttled",
)  # fmt: skip


def _busy(good: Sequence[rec.Replicate]) -> str:
    """Returns what at least half of the replicates met: one alone says little of all, and threads of the worker
    itself may wait for each other."""
    checks = [check for replicate in good for check in replicate.state_after]
    troubled = [check for check in checks if check.level in ("warn", "invalid")]
    for name in _BUSY if troubled else ():
        met = [check for check in troubled if check.name == name]
        if met and 2 * len(met) >= len(good):
            return f"{name.replace('_', ' ')}, {met[0].evidence}"
    return ""


def _state(replicates: Sequence[rec.Replicate]) -> list[rec.StateCheck]:
    """One check per name, the worst that any replicate met."""
    order = {"invalid": 0, "warn": 1, "unknown": 2, "ok": 3}
    worst: dict[str, rec.StateCheck] = {}
    for replicate in replicates:
        for check in (*replicate.state_before, *replicate.state_after):
            seen = worst.get(check.name)
            if seen is None or order[check.level] < order[seen.level]:
                worst[check.name] = check
    return list(worst.values())


# --- why something is None


def _unknown_of(run: rec.RunFacts) -> Unknown:
    if run.commit is not None:
        return {}
    return {"commit": unknown_words.NO_COMMIT}


def _explain(row: Row, record: rec.Record, good: Sequence[rec.Replicate], unknown: Unknown) -> None:
    nothing = _nothing(row, good)
    if nothing:
        unknown["latency_ns"] = nothing
    _explain_load(row, nothing, unknown)
    _explain_rates(row, nothing, unknown)
    _explain_memory(row, nothing, unknown)
    _explain_quality(row, record, nothing, unknown)
    _explain_energy(row.energy, unknown)
    _explain_model(row, unknown)
    _explain_session(row, nothing, unknown)
    for name in ("front", "front_probability", "front_by_value", "pareto"):
        unknown[name] = unknown_words.NOT_RANKED
    unknown["baseline"] = unknown_words.NO_FP32_ROW
    for name in ("pipeline", "cold_start", "warmup"):
        why = (nothing or unknown_words.NOT_MEASURED, unknown_words.NOT_MEASURED_EACH)
        _explain_part(row, name, *why, unknown)
    _explain_sustained(row, nothing, unknown)
    _explain_stream(row, nothing, unknown)
    _explain_company(row, unknown)
    _explain_loadgen(row, unknown)
    _explain_shapes(row, unknown)
    _explain_worst(row, good, unknown)
    reasons = {
        "generate": nothing if row.scenario == "generate" else unknown_words.NO_TEXT,
        "caching": nothing or unknown_words.NO_UNSEEN_INPUTS,
        "replicate_wall_s": nothing or unknown_words.NOT_RECORDED,
        "inputs_sha256": nothing or unknown_words.NOT_RECORDED,
    }
    unknown.update({name: why for name, why in reasons.items() if getattr(row, name) is None})
    unknown["imported"] = unknown_words.BY_EDGEBENCH


def _explain_rates(row: Row, nothing: str, unknown: Unknown) -> None:
    if row.throughput_per_s is None:
        unknown["throughput_per_s"] = nothing or unknown_words.NO_WINDOW
    if row.throughput_low_per_s is None:
        why = _no_interval(len(row.throughput_of_replicates_per_s))
        unknown["throughput_low_per_s"] = unknown["throughput_high_per_s"] = why
    reasons = {
        "percentile": unknown_words.OFFLINE_INTERVAL,
        "target": unknown_words.NO_TARGET,
        "reached": unknown_words.NO_INTERVAL,
        "met": unknown_words.NO_INTERVAL_OR_TARGET,
    }
    for name, why in reasons.items():
        if getattr(row.interval, name) is None:
            unknown[f"interval.{name}"] = why


def _explain_session(row: Row, nothing: str, unknown: Unknown) -> None:
    if row.power_mode is None:
        unknown["power_mode"] = unknown_words.NO_POWER_MODE
    why = (nothing or unknown_words.NO_SESSION_REPORT, unknown_words.UNTOLD_BY_RUNTIME)
    _explain_part(row, "effective", *why, unknown)


def _explain_part(row: Row, name: str, missing: str, untold: str, unknown: Unknown) -> None:
    """`missing`: why the row has no such part; `untold`: why fields of one that it has are unknown."""
    part = getattr(row, name)
    if part is None:
        unknown[name] = missing
    else:
        _explain_fields(part, name, untold, unknown)


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
    if row.paced is None:
        unknown["paced"] = unknown.get("rate_per_s") or nothing or unknown_words.NOT_MEASURED
    else:
        _explain_fields(row.paced, "paced", unknown_words.NOT_RECORDED, unknown)


def _explain_company(row: Row, unknown: Unknown) -> None:
    if row.company is None:
        unknown["company"] = unknown_words.MEASURED_ALONE
        return
    _explain_fields(row.company, "company", unknown_words.FEW_BLOCKS, unknown)
    if row.company.total_bytes is None:
        unknown["company.total_bytes"] = unknown_words.UNTOLD_BY_SYSTEM


def _explain_worst(row: Row, good: Sequence[rec.Replicate], unknown: Unknown) -> None:
    part = row.worst_case
    if part is None:
        unknown["worst_case"] = unknown_words.NO_WORST_CASE
        return
    _explain_fields(part, "worst_case", unknown_words.TIME_OF_0, unknown)
    why = why_no_energy(good)
    for name in ("j", "uncertainty_j", "median_j", "amplification", "seed", "kind"):
        if getattr(part, f"energy_{name}") is None:
            unknown[f"worst_case.energy_{name}"] = why
    if part.tokens is None:
        unknown["worst_case.tokens"] = unknown_words.NO_ANSWER_TEXT
        unknown["worst_case.median_tokens"] = unknown_words.NO_ANSWER_TEXT


def _explain_loadgen(row: Row, unknown: Unknown) -> None:
    if row.loadgen is None:
        unknown["loadgen"] = unknown_words.NO_LOADGEN
    else:
        why = unknown_words.not_of_loadgen(scenario=row.loadgen.scenario)
        _explain_fields(row.loadgen, "loadgen", why, unknown)
        for name in ("p90", "p99"):
            stated = getattr(row.loadgen, f"{name}_ns")
            if stated is not None and getattr(row.loadgen, f"{name}_same_ratio") is None:
                unknown[f"loadgen.{name}_same_ratio"] = unknown_words.QUERIES_NOT_KEPT


def _explain_shapes(row: Row, unknown: Unknown) -> None:
    part = row.shapes
    if part is None:
        unknown["shapes"] = unknown_words.ONE_SHAPE
        return
    _explain_fields(part, "shapes", unknown_words.FEW_QUERIES, unknown)
    if part.growth_bytes is None:
        unknown["shapes.growth_bytes"] = unknown_words.UNTOLD_BY_SYSTEM
    if part.arena_growth_bytes is None:
        unknown["shapes.arena_growth_bytes"] = unknown_words.UNTOLD_BY_RUNTIME


def _explain_stream(row: Row, nothing: str, unknown: Unknown) -> None:
    part = row.stream
    if part is None:
        unsought = "" if row.scenario == "stream" else unknown_words.NO_STREAM
        unknown["stream"] = unsought or nothing or unknown_words.NOT_MEASURED
        return
    _explain_fields(part, "stream", unknown_words.NOT_RECORDED, unknown)
    few_hops = unknown_words.few_samples(stats.min_samples(990), part.hops, "hops")
    reasons = {
        "service_p99_ns": few_hops,
        "delay_p99_ns": few_hops,
        "recovery_ns": unknown_words.NO_RECOVERY,
        "state_bytes": unknown_words.STATE_INSIDE,
        "j_per_s": row.energy.reason or unknown_words.UNKNOWN_ENERGY,
    }
    unknown.update(
        {f"stream.{name}": why for name, why in reasons.items() if getattr(part, name) is None}
    )


def _explain_sustained(row: Row, nothing: str, unknown: Unknown) -> None:
    part = row.sustained
    if part is None:
        unsought = "" if row.scenario == "sustained" else unknown_words.NO_SUSTAINED
        unknown["sustained"] = unsought or nothing or unknown_words.NOT_MEASURED
        return
    _explain_fields(part, "sustained", part.temperature_source, unknown)
    began_hot = part.burst_p50_ns is None and part.sustained_p50_ns is not None
    for name in ("burst_p50_ns", "sustained_p50_ns", "slowdown"):
        if getattr(part, name) is None:
            unknown[f"sustained.{name}"] = (
                unknown_words.BEGAN_HOT if began_hot else unknown_words.NOTHING_MEASURED
            )
    if part.time_to_throttle_s is None:
        unknown["sustained.time_to_throttle_s"] = (
            unknown_words.BEGAN_HOT if began_hot else unknown_words.NO_THROTTLING
        )
    if began_hot and part.temperature_end_c is not None:
        unknown["sustained.temperature_start_c"] = unknown_words.BEGAN_HOT


def _explain_energy(energy: rec.Energy, unknown: Unknown) -> None:
    if energy.j_per_inference is None:
        unknown["energy"] = energy.reason or unknown_words.NOT_MEASURED
        return
    _explain_fields(energy, "energy", unknown_words.UNTOLD_BY_SOURCE, unknown)
    net = energy.net_reason or unknown_words.NO_IDLE_POWER
    why = {
        "net_j_per_inference": net,
        "net_uncertainty_j": net,
        "needed_s": unknown_words.WINDOW_LONG_ENOUGH,
        "modelled": unknown_words.NO_ESTIMATE,
        "trace": unknown_words.TRACE_IN_REPLICATES,
        "uncertainty.spread_j": unknown_words.SINGLE_PROCESS,
    }
    for name, reason in why.items():
        if name in _unknown_fields(energy):
            unknown[f"energy.{name}"] = reason


def _unknown_fields(energy: rec.Energy) -> set[str]:
    """Names of the fields that are None, parts of the uncertainty included."""
    unknown = {name for name in energy.__struct_fields__ if getattr(energy, name) is None}
    if energy.uncertainty is not None and energy.uncertainty.spread_j is None:
        unknown.add("uncertainty.spread_j")
    return unknown


def _nothing(row: Row, good: Sequence[rec.Replicate]) -> str:
    """The one reason for everything where no replicate is ok."""
    if good:
        return ""
    if not row.reasons:
        return unknown_words.NO_REPLICATE
    return unknown_words.no_result(status=row.status, message=row.reasons[0].message)


def _explain_fields(part: msgspec.Struct, name: str, why: str, unknown: Unknown) -> None:
    values = msgspec.structs.astuple(part)
    if None in values:
        absent = [
            field
            for field, value in zip(part.__struct_fields__, values, strict=True)
            if value is None
        ]
        unknown.update((f"{name}.{field}", why) for field in absent)


def _explain_memory(row: Row, nothing: str, unknown: Unknown) -> None:
    memory = row.memory
    if row.memory_peak_bytes is None:
        why = nothing or memory.peak_source or unknown_words.NOT_MEASURED
        unknown["memory_peak_bytes"] = unknown["memory.peak_min_bytes"] = why
    told = (
        "uss_loaded_bytes",
        "uss_warm_bytes",
        "uss_end_bytes",
        "anonymous_bytes",
        "file_bytes",
        "pss_bytes",
    )
    for name in told:
        if getattr(memory, name) is None:
            unknown[f"memory.{name}"] = nothing or unknown_words.UNTOLD_BY_SYSTEM
    if memory.budget_bytes is None:
        unknown["memory.budget_bytes"] = nothing or unknown_words.NO_MEMORY_BUDGET
    if memory.fits_bytes is None:
        unknown["memory.fits_bytes"] = nothing or _why_unfitted(row)
    for name in ("storage_read_bytes_per_query", "major_faults_per_query"):
        if getattr(memory, name) is None:
            unknown[f"memory.{name}"] = nothing or unknown_words.UNTOLD_BY_SYSTEM
    if memory.arena_bytes is None:
        unknown["memory.arena_bytes"] = nothing or unknown_words.UNTOLD_BY_RUNTIME
    if memory.device_peak_bytes is None:
        unknown["memory.device_peak_bytes"] = (
            nothing or memory.device_source or unknown_words.NO_MEMORY_SOURCE
        )


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
    if model.build_s is None:
        unknown["model.build_s"] = unknown_words.NOT_BUILT
    if model.work is None:
        unknown["model.work"] = unknown_words.NOT_COUNTED
    elif model.work.uncounted_share is None:
        unknown["model.work.uncounted_share"] = unknown_words.OPEN_SHAPES


def _explain_quality(row: Row, record: rec.Record, nothing: str, unknown: Unknown) -> None:
    quality = row.quality
    if quality is None:
        unknown["quality"] = nothing or unknown_words.NOT_MEASURED
        return
    if quality.value is None:
        reason = record.quality.reason if record.quality is not None else ""
        unknown["quality.value"] = reason or unknown_words.NOT_MEASURED
    if quality.floor is None:
        unknown["quality.floor"] = unknown_words.NO_LIMIT
    if any(limit.value is None or limit.limit is None for limit in quality.also):
        unknown["quality.also"] = unknown_words.LIMITS_NOT_MEASURED
    unknown["quality.delta"] = unknown["quality.delta_to"] = unknown_words.NO_FP32_ROW
