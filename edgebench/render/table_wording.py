"""The wording that all text forms of the table share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from edgebench.analysis.competition import Group, group_of, speed_of
from edgebench.analysis.per_row.sustained_rows import BEGAN_HOT
from edgebench.analysis.table_types import Front, Pick, Row, Sustained, Table
from edgebench.record import Reason
from edgebench.text.plain_text import plain
from edgebench.units import format_bytes, format_ns, format_rate

_SHOWN = 3


def percent(share: float) -> str:
    """A half-width: "0.8%", "12%"."""
    if share >= 0.9995:
        return ">99%"
    return f"{share * 100:.1f}%" if share < 0.0995 else f"{share * 100:.0f}%"


def half_width(value: float | None, low: float | None, high: float | None) -> str:
    """ "±0.8%", or nothing where there is no interval."""
    if not value or low is None or high is None:
        return ""
    return f"±{percent((high - low) / (2 * value))}"


def time_cell(value: int | None, low: int | None, high: int | None) -> str:
    """ "7.31 ms ±0.8%", or "-" where it is unknown."""
    if value is None:
        return "-"
    return " ".join(filter(None, (format_ns(value), half_width(value, low, high))))


def p90_cell(row: Row) -> str:
    """The 90th percentile, or the upper bound that stands for it ("<=7.63 ms"; of p99 in words)."""
    ns = row.latency_ns
    if ns.p90 is not None or row.imported is None:
        return time_cell(ns.p90, ns.p90_low, ns.p90_high)
    if ns.p90_early_stopping is not None:
        return f"<={format_ns(ns.p90_early_stopping)}"
    others = (
        (ns.p99, "p99 "),
        (ns.p99_early_stopping, "p99<="),
        (ns.p999_early_stopping, "p99.9<="),
    )
    for value, name in others:
        if value is not None:
            return f"{name}{format_ns(value)}"
    return "-"


def generate_cells(row: Row) -> list[str]:
    """Time to first token, time per output token, new tokens per second."""
    made = row.generate
    if made is None:
        return ["-"] * 3
    rate = made.decode_tokens_per_s
    return [
        time_cell(made.ttft_ns, made.ttft_low_ns, made.ttft_high_ns),
        time_cell(made.tpot_ns, made.tpot_low_ns, made.tpot_high_ns),
        "-" if rate is None else format_rate(rate),
    ]


def quality_cell(row: Row) -> str:
    """ "0.880 -0.005": the value and its distance to fp32."""
    quality = row.quality
    if quality is None or quality.value is None:
        return "-"
    delta = "" if quality.delta is None else f" {quality.delta:+.3f}"
    return f"{quality.value:.3f}{delta}"


def around(row: Row) -> str:
    """What the application adds to the inference, and what the first answer costs; "" if unknown.

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


def energy_cell(row: Row) -> str:
    """ "31.2 mJ ±3.2%": joules per inference and their uncertainty, or why there are none."""
    joules, half = row.energy.j_per_inference, row.energy.uncertainty_j
    if joules is None:
        return plain(row.energy.reason or "-")
    spread = "" if half is None else half_width(joules, joules - half, joules + half)
    return " ".join(filter(None, (_joules(joules), spread)))


def _joules(joules: float) -> str:
    for factor, unit in ((1.0, "J"), (1e-3, "mJ")):
        if joules >= factor:
            return f"{joules / factor:.3g} {unit}"
    return f"{joules * 1e6:.3g} uJ"


def bytes_cell(size: int | None) -> str:
    return "-" if size is None else format_bytes(size)


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
    """Why a row is not ranked, in words."""
    what = "" if row.status == "ok" else f"{row.status}: "
    why = "; ".join(map(_reason, row.reasons)) or "no reason was recorded"
    return plain(what + why)


def remarks(row: Row) -> list[str]:
    """What to know of a row besides its numbers, a line each."""
    found = []
    if row.paced is not None and row.paced.misses:
        found.append(f"{row.paced.misses} deadlines missed in {row.paced.queries} queries")
    if row.sustained is not None:
        found.append(_sustained(row.sustained))
    if row.superseded:
        times = f"{len(row.superseded)} replicate{'s' if len(row.superseded) > 1 else ''} re-run"
        found.append(f"{times}: {row.superseded[0].message} [{row.superseded[0].code}]")
    return [plain(line) for line in found]


def _sustained(part: Sustained) -> str:
    """`sustained 6.2 ms after a burst of 4.9 ms (1.27x) from 42 s on; 45 to 78 C; steady after 120 s`"""
    slow = "-" if part.sustained_p50_ns is None else format_ns(part.sustained_p50_ns)
    words = f"sustained {slow}"
    if part.burst_p50_ns is None:
        words += f", burst unknown: {BEGAN_HOT}"
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
    """The groups of rows as they are printed: by device and workload, indices by latency."""
    members: dict[Group, list[int]] = defaultdict(list)
    for index, row in enumerate(table.rows):
        members[group_of(row)].append(index)
    pairs = sorted(
        zip(table.fronts, table.picks, strict=True),
        key=lambda pair: (
            pair[0].device,
            pair[0].workload,
            pair[0].workload_version,
            pair[0].scenario != "single_stream",
            pair[0].rate_per_s or 0.0,
            pair[0].prompt_tokens or 0,
            pair[0].new_tokens or 0,
        ),
    )
    return [
        (front, pick, sorted(members[_group(front)], key=lambda index: _order(table.rows[index])))
        for front, pick in pairs
    ]


def _group(front: Front) -> Group:
    return Group(*(getattr(front, name) for name in Group._fields))


def _order(row: Row) -> tuple[bool, float]:
    """Measured rows first, the fastest of them on top."""
    metric = speed_of([row])
    value = None if metric is None else metric.value(row)
    if metric is None or value is None:
        return row.status != "ok", float("inf")
    return row.status != "ok", -value if metric.better == "higher" else value


def scenario(front: Front) -> str:
    rate = "" if front.rate_per_s is None else f" at {front.rate_per_s:g}/s"
    if front.prompt_tokens is not None and front.new_tokens is not None:
        return f"{front.scenario} {front.new_tokens} tokens after {front.prompt_tokens}"
    return front.scenario + rate


def not_reached(rows: Sequence[Row], names: Sequence[str]) -> str:
    """Which rows missed the precision that was asked for, and what they reached; "" if none."""
    missed = [
        (row, f"{name} ±{percent(row.interval.reached)}")
        for row, name in zip(rows, names, strict=True)
        if row.ranked and row.interval.met is False and row.interval.reached is not None
    ]
    if not missed:
        return ""
    shown = ", ".join(text for _, text in missed[:_SHOWN])
    rest = f" and {len(missed) - _SHOWN} more" if len(missed) > _SHOWN else ""
    target = missed[0][0].interval.target or 0.0
    return f"±{target * 100:g}% not reached: {shown}{rest}"


def device_line(table: Table, name: str) -> str:
    """Name and the main facts of a device."""
    device = next(device for device in table.devices if device.name == name)
    facts = device.facts
    title = device.declared.title if device.declared is not None else None
    words = [name, title, facts.get("board"), facts.get("cpu_model")]
    if cpus := facts.get("logical_cpus"):
        words.append(f"{cpus} CPUs")
    if isinstance(memory := facts.get("memory_bytes"), int):
        words.append(format_bytes(memory))
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
