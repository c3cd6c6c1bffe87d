"""What to deploy of each group of rows, and why, in one line; the bad news beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgebench.analysis.frontier import MEMORY_RESOLUTION, groups
from edgebench.analysis.labels import labels
from edgebench.analysis.types import Pick, Row
from edgebench.units import format_bytes, format_ns

_SHOWN = 3  # of a list within a sentence


def picks(rows: Sequence[Row]) -> list[Pick]:
    """One per device, workload, scenario and rate.

    Among ranked rows the lowest p50 (offline: the highest throughput); of those whose interval
    overlaps with the best one's, that with the least memory, then the best quality.
    """
    found = []
    for key, members in groups(rows).items():
        group = [rows[index] for index in members]
        names = dict(zip(members, labels(group), strict=True))
        order = sorted((i for i in members if rows[i].ranked), key=lambda i: _cost(rows[i]))
        tied = [index for index in order if _overlap(rows[order[0]], rows[index])]
        best = _best(rows, tied) if tied else None
        others = [index for index in order if index != best]
        runner_up = next((index for index in tied if index != best), None)
        if runner_up is None:
            runner_up = others[0] if others else None
        certain = best is not None and all(_known(rows[i]) for i in order)
        found.append(
            Pick(
                **key._asdict(),
                row=best,
                id=None if best is None else rows[best].id,
                runner_up=runner_up,
                clear=best is not None and len(tied) == 1 and (certain or not others),
                text=_nothing(group)
                if best is None
                else _sentence(rows, names, best, tied, len(order)),
                bad_news=_bad_news(rows, members, names),
            )
        )
    return found


def _cost(row: Row) -> float:
    if row.scenario == "offline":
        return -(row.throughput_per_s or 0.0)
    return row.latency_ns.p50 if row.latency_ns.p50 is not None else float("inf")


def _span(row: Row) -> tuple[float, float] | None:
    """The interval of the cost; None without one."""
    if row.scenario == "offline":
        if row.throughput_low_per_s is None or row.throughput_high_per_s is None:
            return None
        return -row.throughput_high_per_s, -row.throughput_low_per_s
    if row.latency_ns.p50_low is None or row.latency_ns.p50_high is None:
        return None
    return row.latency_ns.p50_low, row.latency_ns.p50_high


def _known(row: Row) -> bool:
    return _span(row) is not None


def _overlap(best: Row, other: Row) -> bool:
    if other is best:
        return True
    one, two = _span(best), _span(other)
    return one is not None and two is not None and one[0] <= two[1] and two[0] <= one[1]


def _best(rows: Sequence[Row], tied: Sequence[int]) -> int:
    """Least memory (within what counts as a difference), then best quality, then lowest cost."""
    peaks = [rows[index].memory_peak_bytes for index in tied]
    known = [peak for peak in peaks if peak is not None]
    if len(known) == len(tied):
        limit = min(known) * (1 + MEMORY_RESOLUTION)
        tied = [index for index, peak in zip(tied, known, strict=True) if peak <= limit]
    return min(tied, key=lambda index: (-_goodness(rows[index]), _cost(rows[index])))


def _goodness(row: Row) -> float:
    if row.quality is None or row.quality.value is None:
        return -float("inf")
    return row.quality.value if row.quality.better == "higher" else -row.quality.value


# --- words


def _nothing(group: Sequence[Row]) -> str:
    codes: dict[str, int] = {}
    for row in group:
        code = row.reasons[0].code if row.reasons else row.status
        codes[code] = codes.get(code, 0) + 1
    why = ", ".join(f"{count}x {code}" for code, count in sorted(codes.items()))
    return f"nothing to deploy: no row passed ({why})"


def _sentence(
    rows: Sequence[Row], names: dict[int, str], best: int, tied: Sequence[int], ranked: int
) -> str:
    row = rows[best]
    parts = [_speed(row), _gain(row, rows), _quality(row), _memory(row), _misses(row)]
    text = f"deploy {names[best]}: " + ", ".join(part for part in parts if part)
    return text + _doubt(rows, names, best, tied, ranked)


def _speed(row: Row) -> str:
    if row.scenario == "offline":
        return f"{format_rate(row.throughput_per_s or 0)}/s"
    p50 = f"p50 {format_ns(row.latency_ns.p50 or 0)}"
    if row.generate is None:
        return p50
    made = row.generate
    parts = [p50, f"TTFT {format_ns(made.ttft_ns or 0)}"]
    if made.tpot_ns is not None and made.decode_tokens_per_s is not None:
        rate = format_rate(made.decode_tokens_per_s)
        parts.append(f"TPOT {format_ns(made.tpot_ns)} ({rate} tokens/s)")
    return ", ".join(parts)


def format_rate(per_s: float) -> str:
    """Three significant digits: "7.31", "136", "12.3k", "1.2M"."""
    for factor, unit in ((1.0, ""), (1e3, "k"), (1e6, "M"), (1e9, "G")):
        value = per_s / factor
        if value < 999.5 or unit == "G":
            digits = 0 if value >= 99.95 else 1 if value >= 9.995 else 2
            return f"{value:.{digits}f}{unit}"
    raise AssertionError("unreachable")


def _gain(row: Row, rows: Sequence[Row]) -> str:
    gain = row.baseline
    if gain is None:
        return ""
    name = "fp32" if gain.same_settings else _named_fp32(gain.id, rows)
    if gain.speedup_low is None or gain.speedup_high is None:
        return f"{gain.speedup:.2f}x as fast as {name} (one replicate: uncertain)"
    span = f"({gain.speedup_low:.2f}-{gain.speedup_high:.2f}x)"
    if gain.speedup_low > 1:
        return f"{gain.speedup:.2f}x as fast as {name} {span}"
    if gain.speedup_high < 1:
        return f"{1 / gain.speedup:.2f}x slower than {name} {span}"
    return f"not clearly faster than {name} {span}"


def _named_fp32(identity: str, rows: Sequence[Row]) -> str:
    """The fastest fp32 row, with the settings that make it another than the row's own."""
    variant = next((row.variant for row in rows if row.id == identity), {})
    rest = ",".join(f"{axis}={value}" for axis, value in variant.items() if axis != "precision")
    return f"the fastest fp32 ({rest})" if rest else "the fastest fp32"


def _quality(row: Row) -> str:
    quality = row.quality
    if quality is None or quality.value is None:
        return ""
    delta = "" if quality.delta is None else f" ({quality.delta:+.3g} to fp32)"
    return f"{quality.metric} {quality.value:.3f}{delta}"


def _memory(row: Row) -> str:
    return "" if row.memory_peak_bytes is None else format_bytes(row.memory_peak_bytes)


def _misses(row: Row) -> str:
    if row.paced is None or not row.paced.misses:
        return ""
    return f"{row.paced.misses} deadlines missed in {row.paced.queries} queries"


def _doubt(
    rows: Sequence[Row], names: dict[int, str], best: int, tied: Sequence[int], ranked: int
) -> str:
    if ranked == 1:
        return "; the only row that passed" if len(names) > 1 else ""
    others = [index for index in tied if index != best]
    if others:
        against = _listed([names[index] for index in others])
        return f"; no clear winner between it and {against}: their intervals overlap" + _tie_break(
            rows, best, others
        )
    if not all(_known(rows[index]) for index in names if rows[index].ranked):
        return "; not certain: some rows have no interval (one replicate)"
    return f"; fastest of {ranked} for sure"


def _tie_break(rows: Sequence[Row], best: int, others: Sequence[int]) -> str:
    peak = rows[best].memory_peak_bytes
    peaks = [rows[index].memory_peak_bytes for index in others]
    if peak is not None and all(
        other is not None and peak * (1 + MEMORY_RESOLUTION) < other for other in peaks
    ):
        return ", it needs less memory"
    if all(_goodness(rows[best]) > _goodness(rows[index]) for index in others):
        return ", its quality is better"
    return ""


def _bad_news(rows: Sequence[Row], members: Sequence[int], names: dict[int, str]) -> list[str]:
    """Rows that are surely slower than fp32 with the same settings, and those that lost quality."""
    news = []
    slower = [i for i in members if rows[i].ranked and _surely_slower(rows[i])]
    if slower:
        news.append("slower than fp32: " + _listed([_slowdown(rows[i], names[i]) for i in slower]))
    struck = [index for index in members if _lost_quality(rows[index])]
    if struck:
        news.append("not good enough: " + _listed([names[index] for index in struck]))
    return news


def _surely_slower(row: Row) -> bool:
    gain = row.baseline
    if gain is None or not gain.same_settings or gain.speedup_high is None:
        return False
    return gain.speedup_high < 1


def _slowdown(row: Row, name: str) -> str:
    assert row.baseline is not None
    return f"{name} ({1 / row.baseline.speedup:.2f}x the time)"


def _lost_quality(row: Row) -> bool:
    return any(reason.code.startswith("quality_") for reason in row.reasons)


def _listed(items: Sequence[str], describe: Callable[[int], str] = "and {} more".format) -> str:
    shown = list(items[:_SHOWN])
    rest = len(items) - len(shown)
    return ", ".join([*shown, describe(rest)] if rest else shown)
