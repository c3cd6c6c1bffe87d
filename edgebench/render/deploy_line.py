"""Words the decision of a group: what to deploy, what it gains and how sure that is, with its warnings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from edgebench.analysis.competition import groups
from edgebench.analysis.fp32_baseline import is_surely_slower
from edgebench.analysis.per_row.row_labels import labels
from edgebench.analysis.table_types import Pick, Row, Table
from edgebench.analysis.ties import THREADS
from edgebench.metrics import METRICS
from edgebench.render.wrapping import cut
from edgebench.units import format_bytes, format_ns, format_probability, format_rate

_SHOWN = 3  # of a list within a sentence
#: Said of the row that a criterion decided for: in a clause, and in short.
_WHY_TIED = {
    "memory.peak": ("it needs less memory", "less memory"),
    "quality": ("its quality is better", "better quality"),
    THREADS: ("it needs fewer threads", "fewer threads"),
    "model.size": ("its file is smaller", "smaller file"),
    "energy.j_per_inference": ("it needs less energy", "less energy"),
}


def tie_words(names: Sequence[str]) -> str:
    """Why the rule chose its row: "it needs less memory"."""
    return ", ".join(_why_tied(name)[0] for name in names)


def _why_tied(name: str) -> tuple[str, str]:
    return _WHY_TIED.get(name, (f"its {name} is better", f"better {name}"))


class DeployLine(NamedTuple):
    headline: str  # what to deploy, its speed and what it gains
    text: str  # the headline, quality, memory, and how sure the choice is
    doubt: str  # how sure the choice is, what decided where its speed did not, and what no interval holds
    bad_news: list[str]


def with_words(table: Table) -> Table:
    """The table with the words of its decisions, as JSON and the Python API hand it on."""
    members = groups(table.rows).values()
    picks = [
        msgspec.structs.replace(pick, **words(table.rows, pick, some)._asdict())
        for pick, some in zip(table.picks, members, strict=True)
    ]
    return msgspec.structs.replace(table, picks=picks)


def words(rows: Sequence[Row], pick: Pick, members: Sequence[int]) -> DeployLine:
    """The words of a decision; `members` are the rows of its group, as places in `rows`."""
    names = dict(zip(members, labels([rows[index] for index in members]), strict=True))
    headline, doubt = _headline(rows, names, pick), _doubt(rows, names, pick)
    parts = [headline]
    if pick.row is not None:
        row = rows[pick.row]
        parts += [_quality(row), _memory(row), _misses(row)]
    text = "; ".join(filter(None, [", ".join(filter(None, parts)), doubt]))
    return DeployLine(headline, text, doubt, _bad_news(rows, names))


def _headline(rows: Sequence[Row], names: Mapping[int, str], pick: Pick) -> str:
    if pick.row is None:
        return _nothing([rows[index] for index in names])
    row = rows[pick.row]
    believed = " (not to be believed yet)" if pick.busy else ""
    parts = [_speed(row, pick.metric), _gain(row, rows)]
    return f"deploy {names[pick.row]}{believed}: " + ", ".join(filter(None, parts))


def doubt_in_a_line(
    rows: Sequence[Row], pick: Pick, members: Sequence[int], doubt: str, width: int
) -> str:
    """The doubt as it is, or in short where it needs more than a line: without the interval or the ratio if need be."""
    if len(doubt) <= width or pick.row is None:
        return doubt
    if pick.busy:
        return cut(f"the machine was busy: {pick.busy}", width)
    names = dict(zip(members, labels([rows[index] for index in members]), strict=True))
    lead = _lead(pick, names, rows)
    ratios = _ratios_in_short(pick, names, rows)
    ends = _ends_in_short(pick, sum(rows[index].ranked for index in names))
    forms = [", ".join([f"{lead}{ratio}", *ends]) for ratio in ratios]
    return next((words for words in forms if len(words) <= width), cut(forms[-1], width))


def _lead(pick: Pick, names: Mapping[int, str], rows: Sequence[Row]) -> str:
    if pick.tied:
        return "no clear winner"
    if pick.clear:
        return "fastest for sure"
    if pick.compared == 1 or pick.faster_probability is None:
        return _certainty(pick, names, rows)
    return f"fastest, {format_probability(pick.faster_probability)} sure"


def _ratios_in_short(pick: Pick, names: Mapping[int, str], rows: Sequence[Row]) -> list[str]:
    """ ": 1.31x as fast as llama_cpp (1.18-1.46x)", then with less and less of it."""
    if pick.runner_up is None or pick.speedup is None or pick.row is None:
        return [""]
    if _is_baseline(rows[pick.row], rows[pick.runner_up]):
        return [""]
    other = names[pick.runner_up]
    ratio = f": {pick.speedup:.2f}x as fast as {other}"
    shorter = [ratio, f" against {other}" if pick.tied else "", ""]
    if pick.speedup_low is None or pick.speedup_low == pick.speedup_high:
        return shorter
    return [f"{ratio} ({pick.speedup_low:.2f}-{pick.speedup_high:.2f}x)", *shorter]


def _ends_in_short(pick: Pick, ranked: int) -> list[str]:
    ends = [
        *(_why_tied(name)[1] for name in (pick.decided_by if pick.tied else ())),
        f"in {pick.runs} runs" if pick.runs > 1 else "",
        f"{ranked - pick.compared} not compared" if ranked > pick.compared else "",
    ]
    return [words for words in ends if words]


def _doubt(rows: Sequence[Row], names: Mapping[int, str], pick: Pick) -> str:
    if pick.row is None:
        return ""
    silent = sum(rows[index].ranked for index in names) - pick.compared
    parts = [
        f"the machine was busy: {pick.busy}" if pick.busy else "",
        _certainty(pick, names, rows),
        f"the drift between {pick.runs} runs is not included" if pick.runs > 1 else "",
        _not_compared(silent, pick.metric),
    ]
    return "; ".join(filter(None, parts))


def _bad_news(rows: Sequence[Row], names: Mapping[int, str]) -> list[str]:
    """Rows that are surely slower than fp32 with the same settings, and those that lost quality."""
    news = []
    slower = [i for i in names if rows[i].ranked and is_surely_slower(rows[i])]
    if slower:
        news.append("slower than fp32: " + _listed([_slowdown(rows[i], names[i]) for i in slower]))
    struck = [index for index in names if _lost_quality(rows[index])]
    if struck:
        news.append("not good enough: " + _listed([names[index] for index in struck]))
    return news


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
    answer = row.generate
    parts = [text, f"TTFT {format_ns(answer.ttft_ns or 0)}"]
    if answer.decode_tokens_per_s is not None:
        parts.append(f"{format_rate(answer.decode_tokens_per_s)} tokens/s")
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


def _certainty(pick: Pick, names: Mapping[int, str], rows: Sequence[Row]) -> str:
    if pick.compared == 1:
        alone = len(names) > 1 and sum(rows[index].ranked for index in names) == 1
        return "the only row that passed" if alone else ""
    if pick.tied:
        against = _listed([names[row] for row in pick.tied])
        why = tie_words(pick.decided_by) or "it is the first by value"
        return f"no clear winner between it and {against}{_ratio(pick, names, rows)}: {why}"
    if pick.faster_probability is None:
        imported = any(rows[index].imported is not None for index in names)
        why = "as another tool reports them" if imported else "one replicate"
        return f"not certain: some rows have no interval ({why})"
    sure = " for sure" if pick.clear else ""
    return f"fastest of {pick.compared}{sure}{_ratio(pick, names, rows)}"


def _ratio(pick: Pick, names: Mapping[int, str], rows: Sequence[Row]) -> str:
    """ " (1.19x as fast as fp32, 1.12-1.26x, 99.9 % sure)": the interval of the ratio, never two."""
    if pick.runner_up is None or pick.speedup is None or pick.faster_probability is None:
        return ""
    assert pick.row is not None
    sure = f"{format_probability(pick.faster_probability)} sure"
    if _is_baseline(rows[pick.row], rows[pick.runner_up]):
        return f" ({sure})"  # the ratio was said as the gain over fp32
    span = ""
    if pick.speedup_low is not None and pick.speedup_low != pick.speedup_high:
        span = f", {pick.speedup_low:.2f}-{pick.speedup_high:.2f}x"
    than = "" if pick.tied == [pick.runner_up] else f" as {names[pick.runner_up]}"  # just named
    return f" ({pick.speedup:.2f}x as fast{than}{span}, {sure})"


def _is_baseline(row: Row, other: Row) -> bool:
    gain = row.baseline
    return gain is not None and (gain.id, gain.run) == (other.id, other.run)


def _not_compared(count: int, metric: str) -> str:
    if not count:
        return ""
    rows = (
        "another row that does not tell" if count == 1 else f"{count} other rows that do not tell"
    )
    return f"not compared with {rows} {metric}"


def _listed(items: Sequence[str]) -> str:
    shown = list(items[:_SHOWN])
    rest = len(items) - len(shown)
    return ", ".join([*shown, f"and {rest} more"] if rest else shown)
