"""The wording that all text forms of the table share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edgebench.analysis.competition import Group, group_of, speed_of
from edgebench.analysis.fp32_baseline import is_surely_slower
from edgebench.analysis.table_types import (
    Company,
    Demand,
    Front,
    LoadGen,
    Paced,
    Pick,
    Quality,
    Row,
    Shapes,
    Stream,
    Sustained,
    Table,
    WorstCase,
)
from edgebench.record import RateSearch, Reason
from edgebench.render import generation_wording
from edgebench.render.number_format import percent
from edgebench.render.wrapping import listed
from edgebench.text.plain_text import plain
from edgebench.units import format_bytes, format_ns, format_rate, format_si, format_times
from edgebench.words import unknown_words

_SHOWN = 3


def around(row: Row) -> str:
    """Returns what the application adds to the inference, and what the first answer costs; "" if unknown.

    The parts are medians of their own and need not add up to the median of the whole.
    """
    parts = []
    if (way := row.pipeline) is not None:
        parts.append(
            f"end to end {format_ns(way.end_to_end_ns)}: before {format_ns(way.preprocess_ns)}, "
            f"inference {format_ns(way.inference_ns)}, after {format_ns(way.postprocess_ns)}"
        )
    if row.cold_start is not None and row.cold_start.total_ns is not None:
        parts.append(f"cold start {format_ns(row.cold_start.total_ns)}")
    return "; ".join(parts)


#: Of a row on the front for sure, perhaps and by value, perhaps, not; and of one that does not compete.
MARKS = {"yes": "*", "by_value": "+", "undecided": "?", "no": "", "struck": "x"}
MARKS_LEGEND = (
    "* on the Pareto front for sure, + perhaps and by value, ? perhaps, x struck from every ranking"
)


def mark(row: Row) -> str:
    """Its sign in tables: one of `MARKS`."""
    if row.front is None:
        return MARKS["undecided" if row.ranked else "struck"]
    return front_mark(row.front, row.front_by_value is True, row.pareto is True)


def front_mark(verdict: str, by_value: bool, shown: bool) -> str:
    """The sign of a row that competes; `shown`: on the front as tables show it."""
    if verdict != "undecided":
        return MARKS[verdict]
    return MARKS["by_value" if by_value else "undecided" if shown else "no"]


def _reason(reason: Reason) -> str:
    """ "openvino is not installed [not_installed], fix: pip install openvino"."""
    fix = f", fix: {reason.fix}" if reason.fix else ""
    return f"{reason.message} [{reason.code}]{fix}"


def reasons(row: Row) -> str:
    return _why(row, "; ".join(map(_reason, row.reasons)))


def reason_in_short(row: Row) -> str:
    rest = len(row.reasons) - 1
    more = f" and {rest} more" if rest > 0 else ""
    return _why(row, "".join(map(_reason, row.reasons[:1])) + more)


def _why(row: Row, why: str) -> str:
    what = "" if row.status == "ok" else f"{row.status}: "
    return plain(what + (why or "no reason was recorded"))


def demands(rows: Sequence[Row]) -> list[Demand]:
    """Each demand on the quality of these rows once: floors that differ between rows are several."""
    return list(dict.fromkeys(_demands([row.quality for row in rows if row.quality])))


def _demands(qualities: Sequence[Quality]) -> Iterator[Demand]:
    own = [(quality.metric, quality.floor, quality.better) for quality in qualities]
    also = [
        (limit.metric, limit.limit, limit.better) for quality in qualities for limit in quality.also
    ]
    for metric, bound, better in [*own, *also]:
        if bound is not None:
            yield Demand(metric=plain(metric), bound=bound, better=better)


def _demanded(demand: Demand) -> str:
    return f"{demand.metric}{'>=' if demand.better == 'higher' else '<='}{demand.bound:g}"


def judged_by(rows: Sequence[Row]) -> str:
    """ "quality: top1>=0.85, top5>=0.94": every metric with what was demanded of it; "" where none was judged."""
    words = [*_own_demands(rows), *(_demanded(each) for each in demands(rows))]
    return plain(f"quality: {', '.join(dict.fromkeys(words))}") if words else ""


def judged_by_first(rows: Sequence[Row]) -> str:
    """ "top1>=0.85": the metric that the column of the quality holds, with its own limit."""
    return plain(", ".join(_own_demands(rows)))


def _own_demands(rows: Sequence[Row]) -> list[str]:
    own = {row.quality.metric for row in rows if row.quality}
    limited = [each for each in demands(rows) if each.metric in own]
    return [*sorted(own - {each.metric for each in limited}), *map(_demanded, limited)]


def remarks(row: Row) -> list[str]:
    """Returns what to know of a row besides its numbers, a line each."""
    lines = [_reason(reason) for reason in row.reasons] if row.ranked else []
    if row.ranked and row.baseline is not None and is_surely_slower(row):
        slower = format_times(1 / row.baseline.speedup)
        lines.append(f"slower than fp32: it takes {slower} the time")
    if row.paced is not None:
        lines += _load(row, row.paced)
    if row.stream is not None:
        lines.append(_stream(row.stream))
    if row.company is not None:
        lines += _company(row.company)
    if row.loadgen is not None:
        lines.append(_loadgen(row.loadgen))
    if row.shapes is not None:
        lines.append(_shapes(row.shapes))
    if row.worst_case is not None:
        lines.append(_worst(row.worst_case))
    if row.rate_search is not None:
        lines += _search(row.rate_search)
    if row.sustained is not None:
        lines.append(_sustained(row.sustained))
    if row.generate is not None:
        lines += generation_wording.remarks(row.generate)
    if row.superseded:
        times = f"{len(row.superseded)} replicate{'s' if len(row.superseded) > 1 else ''} re-run"
        lines.append(f"{times}: {row.superseded[0].message} [{row.superseded[0].code}]")
    return [plain(line) for line in lines]


def _company(part: Company) -> list[str]:
    """`1.42x (1.38 to 1.46) as long beside cpu:2: mean 7.1 ms for 5.0 ms; 180 MiB together`"""
    low, high = part.ratio_low, part.ratio_high
    spread = "" if low is None or high is None else f" ({low:.2f} to {high:.2f})"
    memory = "" if part.total_bytes is None else f"; {format_bytes(part.total_bytes)} together"
    beside = ", ".join(dict.fromkeys(part.companions))
    times = f"mean {format_ns(part.mean_ns)} for {format_ns(part.alone_mean_ns)}"
    causes = " and ".join(cause.message for cause in part.contested)
    contested = f"; contested: {causes}" if causes else ""
    line = f"{part.ratio:.2f}x{spread} as long beside {beside}: {times}{memory}{contested}"
    return [line, *part.notes]


def _loadgen(part: LoadGen) -> str:
    """`LoadGen 6.0.17 Server: p90 5.1 ms (1.013x ours, 1.001x of the same queries), p99 5.3 ms`"""
    words = []
    for name in ("p90", "p99"):
        value, ratio = getattr(part, f"{name}_ns"), getattr(part, f"{name}_ratio")
        same = getattr(part, f"{name}_same_ratio")
        compared = [] if ratio is None else [f"{ratio:.3f}x ours"]
        compared += [] if same is None else [f"{same:.3f}x of the same queries"]
        times = f" ({', '.join(compared)})" if compared else ""
        words += [] if value is None else [f"{name} {format_ns(value)}{times}"]
    if part.throughput_ratio is not None and part.throughput_per_s is not None:
        rate = format_rate(part.throughput_per_s)
        words.append(f"{rate} samples/s ({part.throughput_ratio:.3f}x ours)")
    added = (
        "" if part.overhead_ns is None else f"; it adds {format_ns(part.overhead_ns)} to a query"
    )
    invalid = part.replicates - part.valid
    not_valid = f"; {invalid} of {part.replicates} not valid: {part.why}" if invalid else ""
    return f"LoadGen {part.version} {part.scenario}: {', '.join(words)}{added}{not_valid}"


def _shapes(part: Shapes) -> str:
    """`31 shapes (1x4 to 1x128): p50 9 ms, p99 31 ms; a change costs 1.02x, the first 1.9x; +3.1 MiB over 1000 changes`"""
    times = [
        f"{name} {format_ns(value)}"
        for name in ("p50", "p99")
        if (value := getattr(part, f"{name}_ns")) is not None
    ]
    words = [f"{part.shapes} shapes ({part.smallest} to {part.largest}): {', '.join(times)}"]
    if part.change_ratio is not None:
        words.append(f"after a change {part.change_ratio:.2f}x as long")
    if part.first_ratio is not None:
        words.append(f"the first time {part.first_ratio:.2f}x")
    if part.growth_bytes is not None:
        words.append(f"{format_bytes(part.growth_bytes)} more memory after {part.changes} changes")
    return "; ".join(words)


def _worst(part: WorstCase) -> str:
    """`slowest of 310 inputs: 81 ms, 4.1x the median item's 20 ms (noise, seed 71344; the answer is 62 % of it)`"""
    times = "" if part.amplification is None else f", {format_times(part.amplification)} the median"
    words = f"slowest of {part.tried} inputs: {format_ns(part.worst_ns)}{times} item's {format_ns(part.median_ns)}"
    answer = "" if part.run_share is None else f"; the answer is {1 - part.run_share:.0%} of it"
    if part.tokens is not None:
        answer = f"; an answer of {part.tokens} tokens, the median item's of {part.median_tokens}"
    failed = f"; {part.failed} failed: {part.failure}" if part.failed else ""
    return f"{words} ({part.kind}, seed {part.seed}{answer}){_most_energy(part)}{failed}"


def _most_energy(part: WorstCase) -> str:
    """`; by energy 41 mJ +- 1 mJ, 1.3x the median item's (tiny numbers, seed 71)`"""
    if part.energy_j is None:
        return ""
    error_j = part.energy_uncertainty_j
    about = "" if error_j is None else f" +- {format_si(error_j, 'J')}"
    ratio = part.energy_amplification
    times = "" if ratio is None else f", {format_times(ratio)} the median item's"
    joules = format_si(part.energy_j, "J")
    return f"; by energy {joules}{about}{times} ({part.energy_kind}, seed {part.energy_seed})"


def _stream(part: Stream) -> str:
    """`hop 32 ms: 0 misses in 186; delay 32 ms and p99 0.4 ms; catches up in 0.6 ms; 1.0 KiB of state; 1.2 % of a core`"""
    words = [f"hop {format_ns(part.hop_ns)}: {part.misses} misses in {part.hops} hops"]
    words.append(f"waits {format_ns(part.algorithmic_delay_ns)} for its input")
    if part.recovery_ns is None:
        words.append("does not catch up after a stop")
    else:
        words.append(f"catches up in {format_ns(part.recovery_ns)} after a stop")
    if part.state_bytes is not None:
        words.append(f"{format_bytes(part.state_bytes)} of state")
    if part.cpu_share is not None:
        words.append(f"{part.cpu_share:.1%} of a core")
    return "; ".join(words)


def _search(search: RateSearch) -> list[str]:
    """`highest rate within p99 15 ms: 132/s (p99 up to 14.2 ms); 139/s is over it; 9 rates in 27 processes`"""
    made = sum(len(trial.replicates) for trial in search.trials)
    effort = f"{len(search.trials)} rates in {made} processes"
    best = next((t for t in search.trials if t.rate_per_s == search.rate_per_s), None)
    if best is None or best.upper_ns is None:
        return [f"rate sought: {effort}"]
    over = "" if search.over_per_s is None else f"; {format_rate(search.over_per_s)}/s is over it"
    early = "; the run ended before the search did" if search.ended == "cut" else ""
    bound, upper = format_ns(search.bound_p99_ns), format_ns(best.upper_ns)
    rate = f"{format_rate(best.rate_per_s)}/s"
    return [f"highest rate within p99 {bound}: {rate} (p99 up to {upper}){over}; {effort}{early}"]


def _sustained(part: Sustained) -> str:
    """`sustained 6.2 ms after a burst of 4.9 ms (1.27x) from 42 s on; 45 to 78 C; steady after 120 s`"""
    slow = "-" if part.sustained_p50_ns is None else format_ns(part.sustained_p50_ns)
    words = f"sustained {slow}"
    if part.burst_p50_ns is None:
        words += f", burst unknown: {unknown_words.BEGAN_HOT}"
    else:
        words += f" after a burst of {format_ns(part.burst_p50_ns)}"
    if part.slowdown is not None:
        words += f" ({part.slowdown:.2f}x)"
    if part.time_to_throttle_s is not None:
        words += f" from {part.time_to_throttle_s:.0f} s on"
    if part.temperature_end_c is None:
        heat = f"temperature unknown: {part.temperature_source}"
    elif part.temperature_start_c is None:
        heat = f"{part.temperature_end_c:.0f} C at the end"
    else:
        heat = f"{part.temperature_start_c:.0f} to {part.temperature_end_c:.0f} C"
    end = f"{part.duration_s:.0f} s"
    steady = f"steady by {part.steady_by} after {end}" if part.steady else f"not steady after {end}"
    return f"{words}; {steady}; {heat}"


def blocks(table: Table) -> list[tuple[Front, Pick, list[int]]]:
    """The groups of rows as they are printed: by device and workload, indices by merit."""
    members: dict[Group, list[int]] = defaultdict(list)
    for index, row in enumerate(table.rows):
        members[group_of(row)].append(index)
    pairs = sorted(
        zip(table.fronts, table.picks, strict=True), key=lambda pair: _printed_at(pair[0])
    )
    return [
        (front, pick, sorted(members[_group(front)], key=lambda index: _order(table.rows[index])))
        for front, pick in pairs
    ]


def _printed_at(front: Front) -> tuple[Any, ...]:
    return (
        *(front.device, front.workload, front.workload_version, front.scenario != "single_stream"),
        *(front.rate_per_s or 0.0, front.prompt_tokens or 0, front.new_tokens or 0),
        *(front.request or "", front.samples_per_query or 0, front.bound_p99_ns or 0),
    )


def _group(front: Front) -> Group:
    return Group(*(getattr(front, name) for name in Group._fields))


def _order(row: Row) -> tuple[bool, bool, float]:
    """Rows that compete first, then those that were measured and struck; the fastest of each on top."""
    metric = speed_of([row])
    value = None if metric is None else metric.value(row)
    if metric is None or value is None:
        return not row.ranked, row.status != "ok", float("inf")
    return not row.ranked, row.status != "ok", -value if metric.better == "higher" else value


#: A start that is so late, as a share of the median latency, is worth a line.
_MIN_LATE_SHARE = 0.05


def _load(row: Row, paced: Paced) -> list[str]:
    found = []
    if paced.misses and paced.arrivals == "constant" and row.stream is None:
        found.append(f"{paced.misses} deadlines missed in {paced.queries} queries")
    if paced.arrivals == "poisson" and paced.utilisation is not None:
        depth = f", at most {paced.depth_max} queries at once" if paced.depth_max else ""
        found.append(f"busy {paced.utilisation:.0%} of the time{depth}{_workers(paced)}")
    late_ns, p50_ns = paced.wake_late_p50_ns, row.latency_ns.p50
    if late_ns and p50_ns and late_ns > _MIN_LATE_SHARE * p50_ns:
        found.append(
            f"queries started {format_ns(late_ns)} late on an idle device: {late_ns / p50_ns:.0%} of p50 is the "
            "operating system's wake-up"
        )
    return found


def _workers(paced: Paced) -> str:
    """`; 2 workers share a session`; "" where there is one."""
    if paced.workers == 1:
        return ""
    how = "share a session" if paced.sessions == 1 else "have a session each"
    return f"; {paced.workers} workers {how}"


def scenario(front: Front) -> str:
    rate = "" if front.rate_per_s is None else f" at {front.rate_per_s:g}/s"
    if front.prompt_tokens is not None and front.new_tokens is not None:
        kind = "" if front.request is None else f" ({front.request})"
        return f"{front.scenario} {front.new_tokens} tokens after {front.prompt_tokens}{kind}"
    if front.samples_per_query is not None:
        return f"{front.scenario} of {front.samples_per_query}"
    bound = "" if front.bound_p99_ns is None else f" within p99 {format_ns(front.bound_p99_ns)}"
    return front.scenario + rate + bound


def not_reached(rows: Sequence[Row], names: Sequence[str]) -> str:
    """Which rows missed the precision that was asked for, and what they reached; "" if none."""
    missed = [
        (row, f"{name} ±{percent(row.interval.reached)}")
        for row, name in zip(rows, names, strict=True)
        if row.ranked and row.interval.met is False and row.interval.reached is not None
    ]
    if not missed:
        return ""
    target = missed[0][0].interval.target or 0.0
    return f"±{target * 100:g}% not reached: {listed([text for _, text in missed], _SHOWN)}"


def _limited_cpus(facts: Mapping[str, Any]) -> str:
    """What a control group (a container's limit) leaves of the CPUs' time."""
    share = facts.get("cgroup_cpu_limit")
    return f" (limited to the time of {share:g})" if isinstance(share, (int, float)) else ""


def _limited_memory(facts: Mapping[str, Any], memory: int) -> str:
    limit = facts.get("cgroup_memory_limit_bytes")
    if not isinstance(limit, int) or limit >= memory:
        return ""
    return f" (limited to {format_bytes(limit)})"


def device_line(table: Table, name: str) -> str:
    device = next(device for device in table.devices if device.name == name)
    facts = device.facts
    title = device.declared.title if device.declared is not None else None
    words = [name, title, facts.get("board"), facts.get("cpu_model")]
    if cpus := facts.get("logical_cpus"):
        words.append(f"{cpus} CPUs{_limited_cpus(facts)}")
    if isinstance(memory := facts.get("memory_bytes"), int):
        words.append(f"{format_bytes(memory)}{_limited_memory(facts, memory)}")
    words += [facts.get("os"), "virtual machine" if facts.get("virtualised") is True else None]
    words += [facts.get("emulated_evidence")]
    return plain(" · ".join(str(word) for word in words if word))


def state_lines(table: Table, device: str) -> list[str]:
    """The checks of a device's state that were not ok."""
    lines: dict[str, None] = {}
    for run in table.runs:
        if run.device == device:
            for check in run.state:
                if check.level in ("warn", "invalid"):
                    lines[plain(f"{check.level}: {check.name}: {check.evidence}")] = None
    return list(lines)
