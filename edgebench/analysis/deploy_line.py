"""Writes the line that says what to deploy, what it gains and how sure that is, with its warnings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from edgebench.analysis import ties
from edgebench.analysis.pick_report import Candidate, Choice
from edgebench.analysis.table_types import Row
from edgebench.metrics import METRICS
from edgebench.record import StateCheck
from edgebench.units import format_bytes, format_ns, format_probability, format_rate

_SHOWN = 3  # of a list within a sentence


def busy(rows: Sequence[Row], states: Mapping[str, Sequence[StateCheck]]) -> str:
    """Why the machine was too busy to believe these rows, in words; "" where it was not.

    What happened while a row was measured counts, and what there was before its run. The load average,
    which forgets slowly, counts only where the kernel does not tell the pressure.
    """
    for row in rows:
        if row.ranked and row.busy:
            return row.busy
    for run in dict.fromkeys(row.run for row in rows if row.ranked):
        levels = {check.name: check for check in states.get(run, ())}
        told = levels.get("cpu_pressure")
        names = ("cpu_pressure",) if told is not None and told.level != "unknown" else ("load",)
        for name in names:
            if name in levels and levels[name].level in ("warn", "invalid"):
                return f"before the run, {_said(levels[name])}"
    return ""


def _said(check: StateCheck) -> str:
    return f"{check.name.replace('_', ' ')}, {check.evidence}"


def headline(rows: Sequence[Row], names: Mapping[int, str], choice: Choice, busy: str) -> str:
    """What to deploy, its speed and what it gains; `names` are the rows of one group and their labels."""
    if choice.choice is None:
        return _nothing([rows[index] for index in names])
    row = rows[choice.choice.row]
    believed = " (not to be believed yet)" if busy else ""
    parts = [_speed(row, choice.objective.metric), _gain(row, rows)]
    return f"deploy {names[choice.choice.row]}{believed}: " + ", ".join(filter(None, parts))


def text(rows: Sequence[Row], names: Mapping[int, str], choice: Choice, busy: str) -> str:
    """The whole line: the headline, quality, memory, and how sure the choice is."""
    words = [headline(rows, names, choice, busy)]
    if choice.choice is not None:
        row = rows[choice.choice.row]
        words += [_quality(row), _memory(row), _misses(row)]
    sure = doubt(rows, names, choice, busy)
    return "; ".join(filter(None, [", ".join(filter(None, words)), sure]))


def doubt(rows: Sequence[Row], names: Mapping[int, str], choice: Choice, busy: str) -> str:
    """How sure the choice is, what decided where its speed did not, and what no interval holds."""
    if choice.choice is None:
        return ""
    silent = sum(rows[index].ranked for index in names) - choice.rows
    parts = [
        f"the machine was busy: {busy}" if busy else "",
        _certainty(choice, names, rows, sure=choice.clear and not busy),
        _several_runs(choice.runs),
        _not_compared(silent, choice.objective.metric),
    ]
    return "; ".join(filter(None, parts))


def bad_news(rows: Sequence[Row], names: Mapping[int, str]) -> list[str]:
    """Rows that are surely slower than fp32 with the same settings, and those that lost quality."""
    news = []
    slower = [i for i in names if rows[i].ranked and is_surely_slower(rows[i])]
    if slower:
        news.append("slower than fp32: " + _listed([_slowdown(rows[i], names[i]) for i in slower]))
    struck = [index for index in names if _lost_quality(rows[index])]
    if struck:
        news.append("not good enough: " + _listed([names[index] for index in struck]))
    return news


def is_surely_slower(row: Row) -> bool:
    """Whether it is slower than the fp32 row with the same settings, its interval included."""
    gain = row.baseline
    if gain is None or not gain.same_settings or gain.speedup_high is None:
        return False
    return gain.speedup_high < 1


def _slowdown(row: Row, name: str) -> str:
    assert row.baseline is not None
    return f"{name} ({1 / row.baseline.speedup:.2f}x the time)"


def _lost_quality(row: Row) -> bool:
    """Known to be worse than demanded; quality that is unknown, or of some items only, is said elsewhere."""
    codes = {reason.code for reason in row.reasons if reason.code.startswith("quality_")}
    return bool(codes - {"quality_unknown", "quality_cut"})


def _nothing(group: Sequence[Row]) -> str:
    if any(row.ranked for row in group):
        return "nothing to choose by: the rows state no speed of one kind"
    codes: dict[str, int] = {}
    for row in group:
        code = row.reasons[0].code if row.reasons else row.status
        codes[code] = codes.get(code, 0) + 1
    why = ", ".join(f"{count}x {code}" for code, count in sorted(codes.items()))
    return f"nothing to deploy: no row passed ({why})"


def _speed(row: Row, name: str) -> str:
    value = METRICS[name].value(row) or 0
    if name == "throughput":
        return f"{format_rate(value)}/s"
    text = f"{name.removeprefix('latency.').replace('_', ' ')} {format_ns(value)}"
    if row.generate is None:
        return text
    made = row.generate
    parts = [text, f"TTFT {format_ns(made.ttft_ns or 0)}"]
    if made.decode_tokens_per_s is not None:
        parts.append(f"{format_rate(made.decode_tokens_per_s)} tokens/s")
    return ", ".join(parts)


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


def _certainty(choice: Choice, names: Mapping[int, str], rows: Sequence[Row], sure: bool) -> str:
    assert choice.choice is not None
    if choice.meet == 1:
        alone = len(names) > 1 and sum(rows[index].ranked for index in names) == 1
        return "the only row that passed" if alone else ""
    if choice.tied:
        against = _listed([names[row] for row in choice.tied])
        why = ties.words(choice.decided_by) or "it is the first by value"
        return f"no clear winner between it and {against}{_ratio(choice, names, rows)}: {why}"
    if choice.margin is None or choice.margin.confidence is None:
        imported = any(rows[index].imported is not None for index in names)
        why = "as another tool reports them" if imported else "one replicate"
        return f"not certain: some rows have no interval ({why})"
    if sure:
        return f"fastest of {choice.meet} for sure{_ratio(choice, names, rows)}"
    return f"fastest of {choice.meet}{_ratio(choice, names, rows)}"


def _ratio(choice: Choice, names: Mapping[int, str], rows: Sequence[Row]) -> str:
    """ " (1.19x as fast as fp32, 1.12-1.26x, 99.9 % sure)": the interval of the ratio, never two."""
    margin, other = choice.margin, choice.runner_up
    if margin is None or other is None or margin.ratio is None or margin.confidence is None:
        return ""
    assert choice.choice is not None
    sure = f"{format_probability(margin.confidence)} sure"
    if _is_baseline(rows[choice.choice.row], other):
        return f" ({sure})"  # the ratio was said as the gain over fp32
    span = ""
    if margin.low is not None and margin.high is not None and margin.low != margin.high:
        span = f", {margin.low:.2f}-{margin.high:.2f}x"
    than = "" if choice.tied == [other.row] else f" as {names[other.row]}"  # it was just named
    return f" ({margin.ratio:.2f}x as fast{than}{span}, {sure})"


def _is_baseline(row: Row, other: Candidate) -> bool:
    gain = row.baseline
    return gain is not None and (gain.id, gain.run) == (other.id, other.run)


def _not_compared(count: int, metric: str) -> str:
    if not count:
        return ""
    rows = (
        "another row that does not tell" if count == 1 else f"{count} other rows that do not tell"
    )
    return f"not compared with {rows} {metric}"


def _several_runs(runs: int) -> str:
    if runs < 2:
        return ""
    return f"the drift between {runs} runs is not included"


def _listed(items: Sequence[str], describe: Callable[[int], str] = "and {} more".format) -> str:
    shown = list(items[:_SHOWN])
    rest = len(items) - len(shown)
    return ", ".join([*shown, describe(rest)] if rest else shown)
