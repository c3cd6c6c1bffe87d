"""Turns one record into one row: percentiles, intervals, peaks and medians over its replicates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median, median_low
from typing import Any

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
from edgebench.analysis.per_row.unknown_fields import Unknown, explain, no_interval
from edgebench.analysis.per_row.worst_rows import worst_of
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

Samples = NDArray[np.int64]
#: The percentiles of a row, in per mille, the median first; fewer samples of a replicate than stand beside them
#: have no such percentile apart from their maximum.
_PERCENTILES = {"p50": (500, 1), "p90": (900, 10), "p99": (990, 100)}


def row_of(record: rec.Record) -> Row:
    """Derives a row, from the replicates that are ok alone. Cross-row facts are filled in later."""
    unknown = {} if record.run.commit is not None else {"commit": unknown_words.NO_COMMIT}
    cell = record.cell
    good = [replicate for replicate in record.replicates if replicate.status == "ok"]
    served = at_the_rate(good, record.rate_search)
    each = [_ascending(replicate.samples_ns) for replicate in served if replicate.samples_ns]
    latency, of_median = _latency(cell, each, len(served), unknown)
    rates = _rates(cell, served)
    rate, throughput = median(rates) if rates else None, stats.log_interval(rates)
    if (search := record.rate_search) is not None:
        rates = []  # what came at the rate that was found tells of the seed, not of the deployment
        rate, throughput = search.rate_per_s, _sought(search)
    rate_low, rate_high = stats.ends_around(rate, throughput)
    memories = [replicate.memory for replicate in good if replicate.memory is not None]
    walls_s = [replicate.wall_s for replicate in good if replicate.wall_s is not None]
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
        throughput_low_per_s=rate_low,
        throughput_high_per_s=rate_high,
        throughput_of_replicates_per_s=rates,
        rounds=_rounds(served),
        memory_peak_bytes=_most([memory.peak_bytes for memory in memories]),
        memory=_memory(memories, good, record.status),
        model=record.model,
        quality=None
        if record.quality is None
        else msgspec.convert(record.quality, Quality, from_attributes=True),
        energy=record.energy,
        effective=record.effective,
        power_mode=record.power_mode,
        pipeline=_pipeline(good),
        cold_start=_cold_start(good),
        warmup=_warmup(good),
        instructions=instructions_of(served, unknown),
        paced=_paced(served),
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
        replicate_wall_s=median(walls_s) if walls_s else None,
        state=_state(_valid_replicates(record)),
        busy=_busy(good),
        superseded=_superseded(record),
        unknown=unknown,
    )
    explain(row, record, good, unknown)
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
    fields: dict[str, Any] = {
        name: _percentile(pooled, permille, name, unknown)
        for name, (permille, _) in _PERCENTILES.items()
    }
    intervals = []
    for name, (permille, least) in _PERCENTILES.items():
        values = _of_replicates(each, permille, least)
        intervals.append(stats.log_interval(values))
        ends = _bounds(fields[name], values, intervals[-1], name, unknown)
        fields[f"{name}_low"], fields[f"{name}_high"] = ends
        fields[f"{name}_of_replicates"] = values
    latency = Latency(
        p90_early_stopping=stats.early_stopping_estimate(pooled, 900),
        p99_early_stopping=stats.early_stopping_estimate(pooled, 990),
        p999_early_stopping=_far_tail(pooled, unknown),
        minimum=int(pooled[0]),
        maximum=int(pooled[-1]),
        samples=len(pooled),
        replicates=len(each),
        **fields,
    )
    return latency, intervals[0]


def _of_replicates(each: Sequence[Samples], permille: int, least: int) -> list[int]:
    return [stats.percentile(samples, permille) for samples in each if len(samples) >= least]


def _ascending(samples: Sequence[int]) -> Samples:
    """Sorted by numpy: a table may hold ten million samples."""
    values = np.array(samples, dtype=np.int64)
    values.sort()
    return values


def _percentile(pooled: Samples, permille: int, name: str, unknown: Unknown) -> int | None:
    told = stats.known_percentile(pooled, permille)
    if told is None:
        why = unknown_words.few_samples(stats.min_samples(permille), len(pooled))
        unknown[f"latency_ns.{name}"] = why
        if name != "p50":
            unknown[f"latency_ns.{name}_early_stopping"] = why
    return told


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
        why = unknown_words.unknown(name=name) if value is None else no_interval(len(each))
        unknown[f"latency_ns.{name}_low"] = unknown[f"latency_ns.{name}_high"] = why
    return stats.ends_around_ns(value, interval)


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
    return [replicate for replicate in record.replicates if replicate.superseded_by is None]


def _superseded(record: rec.Record) -> list[rec.Reason]:
    """Returns for each replicate that a re-run replaced the reason."""
    replaced = [replicate for replicate in record.replicates if replicate.superseded_by is not None]
    return [replicate.reasons[0] for replicate in replaced if replicate.reasons]


def _most(values: Sequence[int | None]) -> int | None:
    return max([value for value in values if value is not None], default=None)


#: Sizes of which a row has the largest of all replicates; of the rest that of the first.
_LARGEST = (
    *("uss_loaded_bytes", "uss_warm_bytes", "uss_end_bytes", "arena_bytes", "anonymous_bytes"),
    *("file_bytes", "pss_bytes", "device_peak_bytes"),
)


def _memory(
    each: Sequence[rec.Memory], good: Sequence[rec.Replicate], status: rec.Status
) -> Memory:
    if not each:
        return Memory()
    counted = status != "failed" and all(memory.budget_by.startswith("cgroup") for memory in each)
    peaks = [memory.peak_bytes for memory in each if memory.peak_bytes is not None]
    most = {name: _most([getattr(memory, name) for memory in each]) for name in _LARGEST}
    first = each[0]
    return Memory(
        peak_min_bytes=min(peaks, default=None),
        peak_source=first.peak_source,
        budget_bytes=first.budget_bytes,
        budget_by=first.budget_by,
        fits_bytes=first.budget_bytes if counted else None,
        device_source=first.device_source,
        storage_read_bytes_per_query=_per_query(good, lambda counted: counted.storage_read_bytes),
        major_faults_per_query=_per_query(good, lambda counted: counted.major_faults),
        **most,
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
    parts = (
        stats.known_median(replicate.import_ns for replicate in good),
        stats.known_median(replicate.load_ns for replicate in good),
        stats.known_median(replicate.first_inference_ns for replicate in good),
    )
    whole = [part for part in parts if part is not None]
    if not whole:
        return None
    total_ns = sum(whole) if len(whole) == len(parts) else None
    return ColdStart(
        import_ns=parts[0], load_ns=parts[1], first_inference_ns=parts[2], total_ns=total_ns
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


def _paced(good: Sequence[rec.Replicate]) -> Paced | None:
    each = [replicate.paced for replicate in good if replicate.paced is not None]
    if not each:
        return None
    return Paced(
        rate_per_s=each[0].rate_per_s,
        queries=sum(len(replicate.samples_ns) for replicate in good),
        misses=sum(paced.misses for paced in each),
        service_p50_ns=stats.known_median(ns for paced in each for ns in paced.service_ns),
        wake_late_p50_ns=stats.known_median(ns for paced in each for ns in paced.wake_late_ns),
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
