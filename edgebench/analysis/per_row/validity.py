"""Decides which rows may be ranked, and gives the reasons against the others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from edgebench import stats
from edgebench.analysis.competition import ranked_by, same_run, speed_of
from edgebench.analysis.per_row import plausibility
from edgebench.analysis.per_row.answer_cache import CACHING
from edgebench.analysis.per_row.device_limits import missed_limits
from edgebench.analysis.table_types import Row
from edgebench.metrics import METRICS
from edgebench.record import MULTI_STREAM, SAMPLES_PER_QUERY, Reason, Record
from edgebench.words import unknown_words
from edgebench.words.reason_words import reason

#: Axes that multiply the work of one query.
WORK_AXES = (
    *("batch", SAMPLES_PER_QUERY, "size", "seq", "sequence_length"),
    *("prompt_tokens", "new_tokens"),
)
#: More work that costs no more than this was not done.
_NO_GROWTH = 1.05
#: Below this, calling the runtime costs as much as the work, and growth need not show.
_OVERHEAD_NS = 50_000


def judge(row: Row, record: Record) -> Row:
    """Adds the reasons that keep one row out of every ranking, and sets `ranked`."""
    if row.status != "ok":
        return row
    row = _with_proven_precision(row, record)
    false = [*([CACHING] if row.caching else []), *plausibility.impossible(row, record)]
    struck = [*false, *_quality(row, record), *_output_checks(record), *_unmeasured(row)]
    struck += _not_deployable(row) + missed_limits(row, record.device.declared)
    codes = {each.code for each in row.reasons}
    return msgspec.structs.replace(
        row,
        status="invalid" if false else row.status,
        ranked=not struck,
        reasons=row.reasons + [each for each in struck if each.code not in codes],
    )


def _with_proven_precision(row: Row, record: Record) -> Row:
    """The row, whose precision is unknown where its answers do not show the one that it says."""
    why = plausibility.unproven_precision(row, record)
    if not why or row.effective is None:
        return row
    effective = msgspec.structs.replace(row.effective, precision=None)
    unknown = {**row.unknown, "effective.precision": why}
    return msgspec.structs.replace(row, effective=effective, unknown=unknown)


def _not_deployable(row: Row) -> list[Reason]:
    """A build that exists to check answers has no place among deployments."""
    if row.effective is None or not row.effective.not_deployable:
        return []
    return [reason("not_deployable", why=row.effective.not_deployable)]


def _quality(row: Row, record: Record) -> list[Reason]:
    quality = row.quality
    if quality is None or quality.value is None:
        why = row.unknown.get("quality") or row.unknown["quality.value"]
        return [reason("quality_unknown", why=why)]
    if quality.passed:
        return []
    if record.quality is not None and record.quality.of is not None:
        counts = {"items": quality.items, "of": record.quality.of}
        return [reason("quality_unknown.cut", metric=quality.metric, value=quality.value, **counts)]
    reasons = []
    floor, value = quality.floor, quality.value
    if floor is not None and quality.better == "higher" and not value >= floor:
        below = reason("quality_below_floor", metric=quality.metric, value=value, floor=floor)
        reasons.append(below)
    if floor is not None and quality.better == "lower" and not value <= floor:
        basis = record.quality.basis if record.quality else ""
        above = {"value": value, "ceiling": floor}
        key = "quality_above_ceiling"
        reasons.append(reason(key, metric=quality.metric, **above, basis=basis))
    missed = [limit for limit in quality.also if not limit.passed]
    if missed:
        limits = ", ".join(map(unknown_words.value_and_limit, missed))
        reasons.append(reason("quality_limit_missed", limits=limits))
    why = (record.quality.reason if record.quality else "") or unknown_words.QUALITY_FAILED
    by_parity = record.quality is not None and record.quality.kind == "parity"
    return reasons or [reason("quality_failed.parity" if by_parity else "quality_failed", why=why)]


def _output_checks(record: Record) -> list[Reason]:
    for replicate in record.replicates:
        check = replicate.output_check
        if replicate.status == "ok" and check is not None and not check.passed:
            return [
                reason(
                    "output_mismatch.replicate",
                    replicate=replicate.index,
                    against=check.against,
                    error=check.relative_error,
                    limit=check.limit or 0.0,
                    basis=check.basis,
                )
            ]
    return []


def _unmeasured(row: Row) -> list[Reason]:
    if speed_of([row]) is not None:
        return []
    metric = METRICS[ranked_by(row)]
    code = {"throughput": "throughput_unknown", "latency.p99": "latency_unknown.p99"}.get(
        metric.name, "latency_unknown"
    )
    few = ".few" if row.latency_ns.samples else ""
    return [reason(code + few, why=metric.why_unknown(row))]


def flag_flat_scaling(rows: Sequence[Row]) -> list[Row]:
    """Marks rows invalid whose latency does not grow along an axis of work.

    Compared are rows of one run that are equal but for that axis: the smallest against the largest
    value. A runtime that never does the work (a lazy one that is never forced to evaluate, say)
    shows the same latency for both. All rows between them are marked, as it is not known which are
    true.
    """
    marked: dict[int, Reason] = {}
    for axis in WORK_AXES:
        for chain in _chains(rows, axis):
            fault = _growth_fault([rows[index] for index in chain], axis)
            if fault is not None:
                marked.update((index, fault) for index in chain if index not in marked)
    return [
        msgspec.structs.replace(
            row, status="invalid", ranked=False, reasons=[*row.reasons, marked[index]]
        )
        if index in marked
        else row
        for index, row in enumerate(rows)
    ]


def _chains(rows: Sequence[Row], axis: str) -> list[list[int]]:
    """Indices of rows equal but for `axis`, by ascending value; chains of one are left out."""
    if len({row.variant.get(axis) for row in rows}) < 2:  # so it is for most axes of most tables
        return []
    chains: dict[tuple[object, ...], list[tuple[float, int]]] = defaultdict(list)
    for index, row in enumerate(rows):
        size = row.variant.get(axis)
        measured = row.status == "ok" and row.latency_ns.p50 is not None
        if not measured or row.rate_per_s is not None or row.bound_p99_ns is not None:
            continue
        if axis == "batch" and row.scenario == MULTI_STREAM:
            continue  # the query has as many samples in larger batches
        if not isinstance(size, int | float) or isinstance(size, bool) or size <= 0:
            continue
        rest = tuple(sorted((k, repr(v)) for k, v in row.variant.items() if k != axis))
        chains[(*same_run(row), rest)].append((float(size), index))
    ordered = [sorted(chain) for chain in chains.values()]
    return [[index for _, index in chain] for chain in ordered if chain[-1][0] >= 2 * chain[0][0]]


class _Time(NamedTuple):
    p50: int
    of_replicates: list[int]


def _time(row: Row, axis: str) -> _Time | None:
    """The time that must grow with an axis.

    Of a decoder, longer prompts and more of them take longer until the first token; what they add to a
    step may be nothing, where reading the weights is what takes the time. More tokens take longer as a
    whole, where answers have a fixed length.
    """
    answer = row.generate
    if answer is not None and axis != "new_tokens":
        return (
            None if answer.ttft_ns is None else _Time(answer.ttft_ns, answer.ttft_of_replicates_ns)
        )
    if row.latency_ns.p50 is None or (answer is not None and not answer.fixed_length):
        return None
    return _Time(row.latency_ns.p50, row.latency_ns.p50_of_replicates)


def _growth_fault(chain: Sequence[Row], axis: str) -> Reason | None:
    first, last = chain[0], chain[-1]
    small, large = _time(first, axis), _time(last, axis)
    if small is None or large is None or large.p50 > _NO_GROWTH * small.p50:
        return None
    if small.p50 < _OVERHEAD_NS:
        return None
    if first.effective is not None and not first.effective.device.startswith("cpu"):
        return None  # an accelerator that is not full takes more work for nothing
    more = float(last.variant[axis]) / float(first.variant[axis])
    ratio = stats.ratio_interval(large.of_replicates, small.of_replicates)
    if ratio is not None and ratio.high > (1 + more) / 2:
        return None  # so uncertain that growth in step with the work is not excluded
    return reason(
        "latency_does_not_grow_with_work",
        axis=axis,
        more=last.variant[axis],
        less=first.variant[axis],
        times=large.p50 / max(small.p50, 1),
    )
