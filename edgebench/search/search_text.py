"""Says what a search found: sentences that terminals and reports share, and how they stand on a terminal."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TextIO

from edgebench.render.console import BAD, DEPLOY, GOOD, QUIET, TITLE, WARN, WORSE, paint
from edgebench.render.number_format import UNKNOWN, quantity
from edgebench.render.text_grid import GridRow, columns, grid
from edgebench.render.wrapping import Line, wrapped
from edgebench.search.search_messages import REFUSED_DAMAGE, LimitVerdict, Verdict
from edgebench.search.search_report import FloatGroup, SearchReport, SearchRow
from edgebench.text.plain_text import plain
from edgebench.units import format_ns
from edgebench.words.search_words import STANDING_LEGEND, STANDING_WORDS, groups_split, output_error

if TYPE_CHECKING:
    from edgebench.search.model_family import Family, Offer

_TOLD_GROUPS = 5
#: A front of fewer points is explained.
FEW_ON_FRONT = 5
_STYLES = {
    "safe": GOOD,
    "missed": BAD,
    "held": WARN,
    "tuning": QUIET,
    "untested": None,
    "base": None,
}
_LEGEND = f"int8, fp32: groups of the network; * on the front of latency, memory and quality; limits: {STANDING_LEGEND}"


# Sentences


def decision(report: SearchReport) -> str:
    """What to deploy, and how fast it is."""
    chosen = report.deployment
    if chosen is None:
        return f"{_fallback(report)}: {_why_not(report)}"
    other = _fp32_name(report, chosen)
    gain = f"{chosen.speedup:.2f}x as fast as {other}" if chosen.speedup else f"faster than {other}"
    if chosen.speedup_low is not None and chosen.speedup_high is not None:
        gain += f" ({chosen.speedup_low:.2f}-{chosen.speedup_high:.2f}x)"
    else:
        gain += " (?)"
    parts = f", {chosen.int8_groups} of {chosen.groups} groups in int8" if chosen.groups else ""
    if chosen.split.get("w4"):
        parts = f", groups: {groups_split(chosen.split)}"
    return f"deploy {chosen.backend} {chosen.label}: {gain}{parts}"


def _fallback(report: SearchReport) -> str:
    """What is left where nothing replaces fp32: the fastest fp32 within the limits of cost, or nothing."""
    bases = report.measured_fp32
    within = next((row for row in bases if not row.missed_costs), None)
    if bases and within is None:
        return f"deploy nothing, as fp32 itself misses {', '.join(bases[0].missed_costs)}"
    return f"deploy {'fp32' if within is None else _fp32_name(report, within)}"


def _fp32_name(report: SearchReport, row: SearchRow) -> str:
    """The fp32 of a row's backend and settings, named where several were measured."""
    own = ["fp32", *row.settings]
    return " ".join([row.backend, *own]) if len(report.measured_fp32) > 1 else "fp32"


def doubts(report: SearchReport) -> Iterator[str]:
    """What weakens the decision."""
    chosen = report.deployment
    if chosen is not None and chosen.speedup_low is None:
        yield "(?) one process each was measured, so the speed has no interval: give more --budget"
    if chosen is not None:
        yield from _faster_fp32(report, chosen)
    held = next(
        (row for row in report.rows if row.standing == "held" and _is_faster(row, chosen)), None
    )
    if held is None:
        return
    gain = f"{held.speedup:.2f}x" if held.speedup else "faster"
    yield (
        f"faster, and not shown to be safe: {held.backend} {held.label}, {gain}; more test items could show it"
    )


def _faster_fp32(report: SearchReport, chosen: SearchRow) -> Iterator[str]:
    """The choice stands beside the fp32 of its own backend and settings: another's may be as fast as the choice."""
    fastest = next((row for row in report.measured_fp32 if not row.missed_costs), None)
    if fastest is None or (fastest.p50_ns or 0.0) >= (chosen.p50_ns or math.inf):
        return
    yield (
        f"faster than the choice: {fastest.backend} {fastest.label}, {format_ns(fastest.p50_ns or 0.0)}; the choice "
        f"is held against {_fp32_name(report, chosen)} alone"
    )


def _is_faster(row: SearchRow, chosen: SearchRow | None) -> bool:
    """Whether a row is faster than the choice, or than fp32 where nothing is chosen: speeds beside fp32 compare only where
    both have the same fp32."""
    if chosen is None:
        return (row.speedup or 0) > 1
    if (row.backend, row.settings) == (chosen.backend, chosen.settings):
        return (row.speedup or 0) > (chosen.speedup or 0)
    return (row.p50_ns or math.inf) < (chosen.p50_ns or math.inf)


def _why_not(report: SearchReport) -> str:
    """Why nothing is offered."""
    measured = [row for row in report.rows if row.standing != "base" and row.p50_ns is not None]
    faster = [row for row in measured if (row.speedup or 0) > 1]
    if not report.measured_fp32:
        return "the budget left no time to measure fp32, so nothing is compared; give more --budget"
    if not measured:
        return "no other precision could be measured"
    if all(row.speedup is None for row in measured):
        return "too little was measured to compare anything with fp32; give more --budget"
    if not faster:
        return "no map is faster"
    if report.maximize is not None and not any(_more_reward(row, report) for row in faster):
        return f"nothing faster has more of {report.maximize} than fp32"
    if any(row.standing == "held" for row in faster):
        return "faster maps hold the limits on test items, but too few items show that they do"
    if all(row.speedup_low is not None and row.speedup_low <= 1 for row in faster):
        return "nothing is faster for sure; give more --budget"
    if all(row.standing in ("missed", "tuning") for row in faster):
        return "every faster map misses a limit"
    return "nothing that is surely faster was shown to hold every limit"


def _more_reward(row: SearchRow, report: SearchReport) -> bool:
    base = (r for r in report.rows if r.standing == "base" and r.backend == row.backend)
    return (row.reward or 0.0) > max((each.reward or 0.0 for each in base), default=0.0)


def verdict_words(verdict: Verdict) -> str:
    standing = "safe" if verdict.safe else "not shown" if verdict.held else "missed"
    head = f"{verdict.precision}: {standing}; {verdict.items} test items ({verdict.tested_on})"
    return f"{head}{'; ' if verdict.note else ''}{verdict.note}"


def limit_words(limit: LimitVerdict) -> str:
    """A limit on test items: the value, its change from fp32, and what fp32 leaves."""
    sign = ">=" if limit.better == "higher" else "<="
    text = f"{limit.metric} {limit.value:.3f} ({sign} {limit.limit:g}; fp32 {limit.fp32:.3f})"
    worst = limit.low if limit.better == "higher" else limit.high
    if worst is None or not limit.items:
        return f"{text}: no interval"
    told = f"{text}: change {limit.change:+.4f}, at worst {worst:+.4f} of {limit.items} items"
    if limit.shown:
        return told
    told = f"{told}: fp32 leaves {limit.limit - limit.fp32:+.4f}"
    enough = items_to_show(limit)
    return f"{told}; some {enough} such items could show it" if enough else told


def items_to_show(limit: LimitVerdict) -> int | None:
    """How many items like those tested would show a limit, if the change stays what it is: its uncertainty falls with
    the root of their number, or with the number where no answer changed. None: no number would."""
    worst = limit.low if limit.better == "higher" else limit.high
    if worst is None or not limit.items:
        return None
    sign = 1 if limit.better == "higher" else -1
    room = sign * (limit.fp32 + limit.change - limit.limit)
    width = sign * (limit.change - worst)
    if room <= 0 or width <= 0:
        return None
    power = 1 if limit.still else 2
    return math.ceil(limit.items * (width / room) ** power)


def why(report: SearchReport) -> str:
    """How many groups the map leaves in fp32; "" where it leaves none, or no map is told of."""
    kept = report.kept_in_fp32
    if not kept:
        return ""
    text = "1 group stays in fp32" if len(kept) == 1 else f"{len(kept)} groups stay in fp32"
    if report.deployment is None or report.deployment.precision != report.explained:
        text = f"in {report.explained}, which is not offered, {text}"
    slower = sum(group.timed and group.gain_us <= 0 for group in kept)
    if not slower:
        return text
    which = (
        "it is"
        if len(kept) == 1
        else "they are"
        if slower == len(kept)
        else f"{slower} of them are"
    )
    return f"{text}; {which} no faster in int8"


def group_words(group: FloatGroup) -> str:
    """What int8 would have done to a group that stays in fp32."""
    damage = output_error(group.damage, REFUSED_DAMAGE)
    name = f"{group.op} {_short(group.name)}"
    if group.gain_us > 0:
        return f"{name}: int8 would gain {group.gain_us:.0f} us, output error {damage}"
    if not group.timed:
        return f"{name}: its times are unknown, output error {damage}"
    times = f"int8 takes {group.int8_us:.0f} us where fp32 takes {group.fp32_us:.0f} us"
    return f"{name}: {times}, output error {damage}"


def told_groups(report: SearchReport, most: int) -> list[FloatGroup]:
    """Of the groups that stay in fp32 those that tell most: the dearest in quality, and then the slowest in int8."""
    damaging = [group for group in report.kept_in_fp32 if group.gain_us > 0 or not group.timed]
    slower = sorted(
        (group for group in report.kept_in_fp32 if group.timed and group.gain_us <= 0),
        key=lambda g: g.gain_us,
    )
    few = min(len(slower), max(most // 2, most - len(damaging)))
    return [*damaging[: most - few], *slower[:few]]


def explain_command(report: SearchReport) -> str:
    """The command that says where the time of the map goes; "" without a map's file."""
    row = next((row for row in report.rows if row.precision == report.explained), None)
    if row is None or row.map_file is None:
        return ""
    return _command("explain", report.subject, row.map_file, report.settings)


def run_command(report: SearchReport) -> str:
    """The command that measures the choice again; "" where that is no map."""
    chosen = report.deployment
    if chosen is None or chosen.map_file is None:
        return ""
    task = [] if report.task is None else ["--task", report.task]
    own = {text.partition("=")[0]: text for text in chosen.settings}
    settings = [own.get(text.partition("=")[0], text) for text in report.settings]
    return _command("run", [*report.subject, *task], chosen.map_file, settings)


def _command(name: str, subject: Sequence[str], map_file: str, settings: Sequence[str]) -> str:
    sets = (word for each in (f"precision=@{map_file}", *settings) for word in ("--set", each))
    return plain(shlex.join(["edgebench", name, *subject, *sets]))


def searched(report: SearchReport) -> str:
    found = report.exploration
    count = len(found.candidates) if report.maps_found is None else report.maps_found
    items = (
        f"{found.tuning_items} tuning items" if found.tuning_items else "no labelled tuning items"
    )
    return (
        f"searched {report.seconds:.0f} s of {report.budget_s:.0f} s: {count} maps over "
        f"{sum(not unit.joiner for unit in found.units)} groups; {items} ({found.tuned_on}), "
        f"{found.evaluation_items} evaluation items; calibration {found.calibration.method}"
    )


def front_words(report: SearchReport) -> str:
    """How many measured deployments make up the front, and why it is no more where they are few."""
    measured = [row for row in report.rows if row.p50_ns is not None]
    front = [row for row in measured if row.front]
    if not front:
        return ""
    text = f"front: {len(front)} of {len(measured)} measured deployments"
    if len(front) == 1 and len(measured) > 1:
        [best] = front
        return f"{text}: nothing measured beats {best.backend} {best.label} in latency, memory or quality"
    if len(front) < min(FEW_ON_FRONT, len(measured)):
        return f"{text}: one of them beats each other one in latency, memory and quality"
    return text


# On a terminal


def render(report: SearchReport, out: TextIO) -> None:
    paint(lambda width: _lines(report, width), out)


def _lines(report: SearchReport, width: int) -> Iterator[Line]:
    yield from wrapped(plain(report.title), width, TITLE)
    style = WORSE if report.deployment is None else DEPLOY
    yield from wrapped(plain(decision(report)), width, style)
    for text in doubts(report):
        yield from wrapped(plain(text), width, WARN)
    if run_command(report):
        yield from wrapped(run_command(report), width, QUIET)
    yield "", None
    yield from grid(
        columns("deployment", *_counted(report), *table_head(report)[1:]),
        [_row(row, report) for row in report.rows],
        width,
    )
    yield "", None
    for verdict in report.verdicts:
        yield from wrapped(plain(verdict_words(verdict)), width, None)
        for limit in verdict.limits:
            yield from wrapped(plain(limit_words(limit)), width, None, "    ", "  ")
    yield from _kept(report, width)
    for text in filter(None, (searched(report), front_words(report), *report.notes, _LEGEND)):
        yield from wrapped(plain(text), width, QUIET)


def table_head(report: SearchReport) -> tuple[str, ...]:
    """The names of `row_cells`."""
    rewarded = ("reward",) if report.maximize is not None else ()
    return ("groups", "p50", "x fp32", "size", report.metric, *rewarded, "limits")


def _row(row: SearchRow, report: SearchReport) -> GridRow:
    several = len({each.backend for each in report.rows}) > 1
    name = f"{row.backend} {row.label}" if several else row.label
    label = f"{'*' if row.front else ' '} {name}"
    if row.p50_ns is None:
        return GridRow(label, text=plain(row.reason or row.status), style=QUIET)
    counts = [
        str(sum(row.split.get(kind, 0) for kind in kinds)) if row.split else UNKNOWN
        for kinds in _counted(report).values()
    ]
    return GridRow(label, [*counts, *row_cells(row, report)[1:]], style=_STYLES[row.standing])


def _counted(report: SearchReport) -> dict[str, tuple[str, ...]]:
    """Columns that count groups: the precisions in each. That of 4 bits is there where a map has any."""
    found: dict[str, tuple[str, ...]] = {"int8": ("int8", "int8-dynamic", "w8")}
    if any(row.split.get("w4") for row in report.rows):
        found["4-bit"] = ("w4",)
    return {**found, "fp32": ("fp32",)}


def row_cells(row: SearchRow, report: SearchReport) -> tuple[str, ...]:
    """Groups, p50, speed beside fp32, size, quality, the reward where one decides, and the word for its limits."""
    value = row.quality.get(report.metric)
    reward = UNKNOWN if row.reward is None else quantity(row.reward, "1")
    speed = "1" if row.standing == "base" else UNKNOWN
    return (
        UNKNOWN if row.groups is None else groups_split(row.split),
        UNKNOWN if row.p50_ns is None else format_ns(row.p50_ns),
        speed if row.speedup is None or row.standing == "base" else f"{row.speedup:.2f}",
        UNKNOWN if row.size_bytes is None else quantity(row.size_bytes, "bytes"),
        UNKNOWN if value is None else quantity(value, "1"),
        *([reward] if report.maximize is not None else []),
        STANDING_WORDS[row.standing],
    )


def _kept(report: SearchReport, width: int) -> Iterator[Line]:
    if not why(report):
        return
    yield from wrapped(plain(why(report)), width, None)
    told = told_groups(report, _TOLD_GROUPS)
    for group in told:
        yield from wrapped(plain(group_words(group)), width, QUIET, "    ", "  ")
    if len(report.kept_in_fp32) > len(told):
        yield f"  and {len(report.kept_in_fp32) - len(told)} more: see the map's file", QUIET
    if explain_command(report):
        yield from wrapped(f"where its time goes: {explain_command(report)}", width, QUIET)


def _short(name: str, most: int = 36) -> str:
    return name if len(name) <= most else f"...{name[-most + 3 :]}"


def render_family(family: Family, out: TextIO) -> None:
    """All measured deployments of several models in one table, and the best of them."""
    paint(lambda width: _family_lines(family, width), out)


def _family_lines(family: Family, width: int) -> Iterator[Line]:
    yield "", None
    yield from wrapped(f"{len(family.names) + len(family.dropped)} models together", width, TITLE)
    best = family.chosen
    if best is None:
        missed = "deploy none: no deployment of any model was shown to hold every limit"
        none = "nothing was measured: give more --budget"
        yield from wrapped(missed if family.offers else none, width, WORSE)
        return
    told = f"deploy {best.model}, {best.row.backend} {best.row.label}"
    yield from wrapped(plain(told), width, DEPLOY)
    for name, why_dropped in family.dropped.items():
        yield from wrapped(plain(f"{name} got no more time: {why_dropped}"), width, QUIET)
    compared = {o.model for o in family.offers if o.offered or o.row.standing == "base"}
    for name in (each for each in family.names if each not in compared):
        text = (
            f"{name} takes no part: the budget left no time to measure its fp32; give more --budget"
        )
        yield from wrapped(plain(text), width, WARN)
    yield "", None
    rewarded = any(offer.row.reward is not None for offer in family.offers)
    names = ("p50", best.metric, *(["reward"] if rewarded else []), "limits")
    rows = [_offer(offer, rewarded, offer is best) for offer in family.offers]
    yield from grid(columns("deployment", *names), rows, width)
    yield "", None
    legend = "* no other deployment of any model is as fast and as good, and better in one"
    yield from wrapped(legend, width, QUIET)


def _offer(offer: Offer, rewarded: bool, best: bool) -> GridRow:
    row = offer.row
    cells = (
        UNKNOWN if row.p50_ns is None else format_ns(row.p50_ns),
        quantity(row.quality[offer.metric], "1"),
        *([UNKNOWN if row.reward is None else quantity(row.reward, "1")] if rewarded else []),
        STANDING_WORDS[row.standing],
    )
    label = f"{'*' if offer.front else ' '} {offer.model} {row.backend} {row.label}"
    return GridRow(plain(label), cells, style=DEPLOY if best else _STYLES[row.standing])


def lines_of(report: SearchReport, width: int = 80) -> Sequence[str]:
    """The text without colours, as documents show it."""
    return [line for line, _ in _lines(report, width)]
