"""Judges stored results by absolute limits, and by a stored baseline where that is meaningful.

A machine drifts between two jobs by more than a regression is worth: latencies of two files are shown
and not judged. Sizes, memory and quality do not drift; a limit that says "p99 <= 30 ms" holds or not.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

import msgspec

from edgebench.ab_test.ab_report_types import (
    ENERGY,
    MEMORY,
    QUALITY,
    SIZE,
    GateReport,
    GateRow,
    Tolerances,
)
from edgebench.ab_test.quality_verdict import (
    complaint_of,
    complaints,
    judge_drop,
    lost,
    missed_by_both,
)
from edgebench.ab_test.verdict import RuleResult, Verdict, judge_amounts, overall
from edgebench.analysis import limits
from edgebench.analysis.limits import OPERATORS, Limit
from edgebench.analysis.table_types import Row, Table
from edgebench.backend import Scalar
from edgebench.energy.cell_energy import incomparable
from edgebench.errors import UsageError
from edgebench.gate.verdict_wording import quantity_of
from edgebench.metrics import metric
from edgebench.words import note_words, verdict_words
from edgebench.words.reason_words import reason

#: What people write for a metric's whole name.
_SHORT = {f"p{n}": f"latency.p{n}" for n in (50, 90, 99)} | {"memory": MEMORY, "size": SIZE}
_FIRST = re.compile(r"^\s*([A-Za-z_]\w*)(?=\s*[<>=])")


def parse_limit(text: str) -> Limit:
    """An absolute limit: "p99 <= 30 ms", "memory.peak <= 200MiB", "quality >= 0.87". Raises UsageError."""
    whole = _FIRST.sub(lambda found: _SHORT.get(found[1], found[0]), text)
    limit = limits.parse_limit(whole, "a limit")
    if limit.relative:
        raise UsageError(f"{text!r}: a gate's limits are absolute", "like latency.p99 <= 30 ms")
    return dataclasses.replace(limit, text=text.strip())


class CellRequirement(msgspec.Struct, frozen=True, kw_only=True):
    """Holds what a policy requires of the rows of one workload, of any backend and scenario; `sets` narrows them
    to variants that have one of the values of each axis."""

    workload: str
    sets: dict[str, list[Scalar]] = {}
    tolerances: Tolerances = Tolerances()
    quality: float | None = None

    def covers(self, row: Row) -> bool:
        return row.workload == self.workload and all(
            any(_is(row.variant.get(axis), value) for value in values)
            for axis, values in self.sets.items()
        )


def _is(have: Scalar | None, asked: Scalar) -> bool:
    """Whether a variant has the value that is asked for; `int8` stands for either kind of it."""
    return have == asked or (asked == "int8" and str(have).startswith("int8-"))


def judge_stored(
    candidate: Table,
    baseline: Table | None,
    demands: Sequence[Limit],
    tolerances: Tolerances,
    cells: Sequence[CellRequirement] = (),
) -> GateReport:
    """Every row of the candidate against the limits, and what does not drift against the baseline.

    `tolerances` are those of rows that no entry of `cells` covers. Raises UsageError where entries
    disagree about a row.
    """
    rows: list[GateRow] = []
    before = {} if baseline is None else {(row.device, row.id): row for row in baseline.rows}
    for row in candidate.rows:
        known = before.get((row.device, row.id))
        if row.status == "unsupported":
            if known is not None and known.status == "ok":
                why = row.reasons[0].message if row.reasons else row.status
                rows.append(_note(row, "invalid", verdict_words.ran_before(why=why)))
        else:
            rows += [_limited(row, limit) for limit in demands]
        allowed, quality = _demanded(row, cells) or (tolerances, None)
        rows += _status(row, known, quality)
        if known is not None:
            rows += (
                [] if row.status in ("unsupported", "failed") else _compared(known, row, allowed)
            )
        elif baseline is not None:
            rows.append(_note(row, "inconclusive", verdict_words.NOT_IN_BASELINE))
    there = {(row.device, row.id) for row in candidate.rows}
    gone = [row for place, row in before.items() if place not in there and row.status == "ok"]
    rows += [_note(row, "invalid", verdict_words.NOT_IN_CANDIDATE) for row in gone]
    rows += _uncovered(candidate, cells)
    verdicts = [row.verdict for row in rows if row.judged]
    reasons = [] if baseline is None else [reason("latency_not_judged")]
    return GateReport(verdict=overall(verdicts), cells=rows, reasons=reasons)


def _demanded(row: Row, cells: Sequence[CellRequirement]) -> tuple[Tolerances, float | None] | None:
    """Returns what the entry of a policy that covers a row demands of it; None: there is no such entry."""
    demands = [(cell.tolerances, cell.quality) for cell in cells if cell.covers(row)]
    if any(other != demands[0] for other in demands):
        raise UsageError(
            f"entries of `cells` for {row.workload} disagree about {row.id}",
            "tell them apart by `set`",
        )
    return demands[0] if demands else None


def _uncovered(candidate: Table, cells: Sequence[CellRequirement]) -> list[GateRow]:
    """A quality that is demanded of what is not there is not known, and never green."""
    there = [row for row in candidate.rows if row.status != "unsupported"]
    return [
        GateRow(
            cell=cell.workload,
            metric=QUALITY,
            verdict="inconclusive",
            reason=verdict_words.policy_without_row(demanded=cell.quality),
        )
        for cell in cells
        if cell.quality is not None and not any(map(cell.covers, there))
    ]


def _status(row: Row, known: Row | None, quality: float | None) -> list[GateRow]:
    """A row that failed is no result; one that misses a limit of its quality is a regression, unless the
    baseline missed that limit as well: that is shown, and news to nobody."""
    if row.status in ("failed", "invalid"):
        why = row.reasons[0].message if row.reasons else row.status
        return [_note(row, "invalid", why)]
    quality_now = row.quality
    if quality_now is None:
        unknown = quality is not None and row.status != "unsupported"
        why = verdict_words.policy_unmeasured(demanded=quality)
        return [_note(row, "inconclusive", why)] if unknown else []
    before = None if known is None else known.quality
    demanded = "" if quality is None else complaint_of(quality, quality_now)
    news = "; ".join(filter(None, (complaints(lost(before, quality_now)), demanded)))
    old = [] if before is None else [mine for _, mine in missed_by_both(before, quality_now)]
    verdict: Verdict = "regress" if news or old else "pass"
    return [
        GateRow(
            cell=row.id,
            metric=QUALITY,
            verdict=verdict,
            head=quality_now.value,
            unit=quality_now.metric,
            judged=bool(news) or not old,
            reason=news
            or (verdict_words.as_in_baseline(complaints=complaints(old)) if old else ""),
        )
    ]


def _limited(row: Row, limit: Limit) -> GateRow:
    """A limit holds, is broken, or cannot be told: then the row is inconclusive, never green."""
    value = limit.metric.value(row)
    estimated = limit.metric.of_energy and row.energy.kind == "modelled"
    known = [v for v in (limit.metric.low(row), value, limit.metric.high(row)) if v is not None]
    held = {bool(OPERATORS[limit.op](amount, limit.value)) for amount in known}
    verdict: Verdict = "inconclusive"
    untold = note_words.ENERGY_MODELLED if estimated else verdict_words.INTERVAL_CROSSES
    if value is None:
        why = limit.metric.why_unknown(row)
        untold = note_words.unknown_of_row(metric=limit.metric.name, why=why)
    words = verdict_words.limit_untold(limit=limit.text, why=untold)
    if value is not None and not estimated and held == {True}:
        verdict, words = "pass", limit.text
    elif value is not None and not estimated and held == {False}:
        shown = quantity_of(value, limit.metric.unit)
        verdict, words = "regress", verdict_words.limit_broken(limit=limit.text, value=shown)
    return GateRow(
        cell=row.id,
        metric=limit.metric.name,
        verdict=verdict,
        base=limit.value,
        head=value,
        unit=limit.metric.unit,
        reason=words,
    )


def _compared(before: Row, after: Row, tolerances: Tolerances) -> list[GateRow]:
    judged = {MEMORY: tolerances.memory, SIZE: tolerances.size, ENERGY: None, "latency.p50": None}
    rows = [_amount(before, after, name, tolerance) for name, tolerance in judged.items()]
    rows.append(_quality(before, after, tolerances.quality))
    return [row for row in rows if row is not None]


def _amount(before: Row, after: Row, name: str, tolerance: float | None) -> GateRow | None:
    """Compares a metric of both rows; without a tolerance it is shown and not judged."""
    of = metric(name)
    base, head = of.value(before), of.value(after)
    if head is None and base is not None and tolerance is not None:
        return _lost(after, name)
    if base is None or head is None:
        return None
    why = incomparable((before.energy, after.energy)) if of.of_energy else ""
    if why:
        return GateRow(cell=after.id, metric=name, verdict="inconclusive", judged=False, reason=why)
    ruling = judge_amounts([base], [head], tolerance or 0.0)
    row = _row(after, name, ruling, base, head, of.unit)
    if tolerance is None:
        return msgspec.structs.replace(
            row, judged=False, verdict="inconclusive", reason=verdict_words.NOT_ACROSS_JOBS
        )
    return row


def _quality(before: Row, after: Row, tolerance: float) -> GateRow | None:
    if before.quality is None or before.quality.value is None:
        return None
    if after.quality is None or after.quality.value is None:
        return _lost(after, QUALITY)
    base, head = before.quality.value, after.quality.value
    if after.quality.kind == "parity" and after.quality.passed:
        return None  # an error far below its ceiling may double and mean nothing
    ruling = judge_drop(before.quality, after.quality, tolerance)
    return _row(after, QUALITY, ruling, base, head, after.quality.metric)


def _row(row: Row, name: str, ruling: RuleResult, base: float, head: float, unit: str) -> GateRow:
    return GateRow(
        cell=row.id,
        metric=name,
        verdict=ruling.verdict,
        change=ruling.change,
        low=ruling.low,
        high=ruling.high,
        pairs=1,
        base=base,
        head=head,
        unit=unit,
        reason=ruling.reason,
    )


def _lost(row: Row, name: str) -> GateRow:
    """Returns an inconclusive result, never a pass: the value was known in the baseline and is unknown now."""
    why = verdict_words.NO_LONGER_KNOWN
    return GateRow(cell=row.id, metric=name, verdict="inconclusive", reason=why)


def _note(row: Row, verdict: Verdict, why: str) -> GateRow:
    return GateRow(cell=row.id, metric="status", verdict=verdict, reason=why)
