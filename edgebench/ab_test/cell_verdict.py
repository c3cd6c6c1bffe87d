"""Judges the pairs of a cell: latency by the gate's rules, every other metric by its tolerance."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import median

import msgspec

from edgebench import stats
from edgebench.ab_test.ab_report_types import (
    CPU,
    ENERGY,
    MEMORY,
    OUTPUTS,
    QUALITY,
    SIZE,
    WALL,
    CellCase,
    GateRow,
    Percentiles,
)
from edgebench.ab_test.arm_faults import fault_of
from edgebench.ab_test.pair_record import SIDES, Pair, Side
from edgebench.ab_test.pair_statistics import Times, change, cpu_ns, undisturbed_ns, wall_ns
from edgebench.ab_test.quality_verdict import complaint_of, complaints, judge_drop, lost
from edgebench.ab_test.verdict import (
    RuleResult,
    Rules,
    Tolerance,
    Verdict,
    judge,
    judge_amounts,
    judge_canary,
    pairs_of_next_look,
)
from edgebench.record import Quality, Reason
from edgebench.units import parity_option
from edgebench.words import note_words, verdict_words
from edgebench.words.reason_words import reason

UNSCREENED = 1 << 30  # tests: more than any suite has


class Clock(msgspec.Struct, frozen=True):
    """One latency of a cell: which times of a block count, and which change is tolerated."""

    metric: str
    times: Times
    tolerance: Tolerance


def clocks(case: CellCase, pairs: Sequence[Pair]) -> list[Clock]:
    """CPU time and un-preempted wall time where the arms were pinned and computed themselves; wall time
    of everything elsewhere, where CPU time would say nothing of a device or of a core that is not fixed."""
    allowed = case.tolerances
    if any(pair.device or not pair.cores for pair in pairs):
        return [Clock(WALL, wall_ns, allowed.wall)]
    return [Clock(CPU, cpu_ns, allowed.cpu), Clock(WALL, undisturbed_ns, allowed.wall)]


def changes(pairs: Sequence[Pair], clock: Clock) -> list[float]:
    of_pairs = [change(pair.rounds(), clock.times) for pair in pairs]
    return [one for one in of_pairs if one is not None]


def undisturbed(pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs whose times count, because no arm was stopped meanwhile."""
    return [pair for pair in pairs if pair.disturbed is None]


def wanted_pairs(case: CellCase, pairs: Sequence[Pair], rules: Rules) -> int:
    """The number of pairs that the cell needs for its next look; those it has, where it is decided. Disturbed ones
    are made up for."""
    sound = undisturbed(pairs)
    wanted = _pairs_due(case, sound, rules)
    return (
        len(pairs)
        if wanted <= len(sound)
        else min(max(len(pairs), wanted + len(pairs) - len(sound)), rules.cap)
    )


def _pairs_due(case: CellCase, pairs: Sequence[Pair], rules: Rules) -> int:
    have = len(pairs)
    if have < rules.least:
        return rules.least
    timed = [] if case.report_only else clocks(case, pairs)
    values = [(clock, changes(pairs, clock)) for clock in timed]
    tests = [(_latency(case, told, clock, rules), len(told)) for clock, told in values]
    if any(ruling.verdict == "regress" for ruling, _ in tests):
        return have
    memory = None if case.canary else _memory(case, pairs, rules)
    if memory is not None:
        tests.append((memory, have))
    if wants_energy(case, pairs, rules):
        tests.append((_energy(case, pairs, rules), len(_joules(pairs, "base"))))
    open_looks = [
        pairs_of_next_look(ruling, told, have) for ruling, told in tests if not ruling.decided
    ]
    return min(max([have, *open_looks]), rules.cap)


def wants_energy(case: CellCase, pairs: Sequence[Pair], rules: Rules) -> bool:
    """Whether the next pair is to have its energy measured, where there is a meter: as long as that is
    not decided, and unless none of the first pairs told any."""
    pairs = undisturbed(pairs)
    if case.canary or len(pairs) < rules.least:
        return not case.canary
    ruling = _energy(case, pairs, rules)
    return ruling.pairs > 0 and not ruling.decided


def rows(
    case: CellCase,
    pairs: Sequence[Pair],
    rules: Rules,
    seconds: float = 0.0,
    failure: Reason | None = None,
) -> list[GateRow]:
    """The rows of a cell. `failure`: why it has no (further) pairs, which makes it INVALID."""
    reason = failure or mismatch(case, pairs)
    if reason is not None:
        judged = [*_invalid(case, pairs, reason), *_failed_quality(case, pairs)]
        # That others hold the cores says nothing of head: a cell that is only shown can do without.
        if reason.code == "cores_taken":
            judged = [_shown_only(case, row) for row in judged]
    else:
        sound = undisturbed(pairs)
        judged = [
            *_latency_rows(case, sound, rules),
            *_memory_rows(case, sound, rules),
            *_energy_rows(case, sound, rules),
            *_amount_rows(case, pairs),
        ]
        judged = [row if row.verdict == "invalid" else _shown_only(case, row) for row in judged]
    return [msgspec.structs.replace(row, seconds=round(seconds, 2)) for row in judged]


def mismatch(case: CellCase, pairs: Sequence[Pair]) -> Reason | None:
    """The reason why the arms' answers forbid a comparison of their times, or None."""
    for side in SIDES:
        fault = fault_of(case, pairs, side)
        if fault is not None:
            return fault
    for pair in pairs:
        for side in SIDES:
            check = pair.arm(side).output_check
            if not check.passed:
                return reason(
                    "output_mismatch.arm",
                    side=side,
                    against=check.against,
                    error=check.relative_error,
                    limit=check.limit or 0.0,
                    basis=check.basis,
                )
        if pair.parity_error is None or case.parity_limit is None:
            continue
        limit = case.parity_limit if pair.parity_limit is None else pair.parity_limit
        if not pair.parity_error <= limit:
            if pair.parity_note:
                return reason("output_mismatch.other_outputs", note=pair.parity_note)
            option = parity_option(pair.parity_error)
            key = "output_mismatch.arms" if option else "output_mismatch.arms_hopeless"
            return reason(key, error=pair.parity_error, limit=limit, option=option)
    return None


def _latency(case: CellCase, values: Sequence[float], clock: Clock, rules: Rules) -> RuleResult:
    if case.canary:
        return judge_canary(values, clock.tolerance, rules)
    return judge(values, clock.tolerance, rules)


def _latency_rows(case: CellCase, pairs: Sequence[Pair], rules: Rules) -> Iterator[GateRow]:
    for clock in clocks(case, pairs):
        values = changes(pairs, clock)
        ruling = _latency(case, values, clock, rules)
        if len(values) < rules.least <= len(pairs):
            why = verdict_words.preempted(count=len(pairs) - len(values), pairs=len(pairs))
            ruling = msgspec.structs.replace(
                ruling, verdict="inconclusive", decided=True, reason=why
            )
        base, head = (_typical_ns(pairs, side, clock.times) for side in SIDES)
        yield _row(case, clock.metric, ruling, base, head, "ns")


def _memory_rows(case: CellCase, pairs: Sequence[Pair], rules: Rules) -> Iterator[GateRow]:
    ruling = _memory(case, pairs, rules)
    if ruling is not None:
        base, head = (_peaks(pairs, side) for side in SIDES)
        yield _row(case, MEMORY, ruling, median(base), median(head), "bytes")
        return
    arms = ((side, pair.arm(side).memory) for pair in pairs for side in SIDES)
    untold = next(((side, of.peak_source) for side, of in arms if of.peak_bytes is None), None)
    if untold is not None:
        yield GateRow(
            cell=case.cell,
            metric=MEMORY,
            verdict="inconclusive",
            judged=False,
            reason=verdict_words.peak_unknown(side=untold[0], why=untold[1]),
        )


def _memory(case: CellCase, pairs: Sequence[Pair], rules: Rules) -> RuleResult | None:
    """The high-water mark differs between processes as times do, and is judged as they are: with an error
    rate of its own, and without a screen, since no moment of the machine changes it."""
    base, head = (_peaks(pairs, side) for side in SIDES)
    if not len(base) == len(head) == len(pairs) > 0:
        return None
    tau, delta = case.tolerances.memory, case.tolerances.memory_delta
    allowed = Tolerance(tau=tau, delta=2 * tau if delta is None else delta)
    return judge(_log_ratios(base, head), allowed, _unscreened(rules))


def _energy_rows(case: CellCase, pairs: Sequence[Pair], rules: Rules) -> Iterator[GateRow]:
    """Joules of an inference, with an error rate of their own. Shown and not judged where the meter did
    not tell: that is no fault of either side."""
    asked = [pair for pair in pairs if pair.base.energy and pair.head.energy]
    if not asked:
        return
    ruling = _energy(case, pairs, rules)
    base, head = (median(told) if (told := _joules(pairs, s)) else None for s in SIDES)
    row = _row(case, ENERGY, ruling, base, head, "J")
    if ruling.pairs >= rules.least:
        meter = asked[0].base.energy
        assert meter is not None
        by = verdict_words.of_meter(source=meter.source, kind=meter.kind, rail=meter.total_rail)
        yield msgspec.structs.replace(row, reason="; ".join(filter(None, (ruling.reason, by))))
        return
    silent = [e for pair in asked for e in (pair.base.energy, pair.head.energy) if e]
    refused = next((e for e in silent if e.status != "ok"), None)
    why = f"{refused.reason}: {refused.detail}" if refused else ruling.reason
    if any(e.kind == "modelled" for e in silent):
        why = note_words.ENERGY_MODELLED
    yield msgspec.structs.replace(row, judged=False, reason=why)


def _energy(case: CellCase, pairs: Sequence[Pair], rules: Rules) -> RuleResult:
    base, head = (_joules(pairs, side) for side in SIDES)
    return judge(_log_ratios(base, head), case.tolerances.energy, _unscreened(rules))


def _joules(pairs: Sequence[Pair], side: Side) -> list[float]:
    """Returns joules per inference of the pairs whose meter reported both arms; zero joules and estimates count as
    unknown."""
    return [_of_arm(pair, side) for pair in pairs if min(_of_arm(pair, s) for s in SIDES) > 0]


def _of_arm(pair: Pair, side: Side) -> float:
    energy = pair.arm(side).energy
    if energy is None or energy.kind == "modelled":
        return 0.0
    return energy.j_per_inference or 0.0


def _unscreened(rules: Rules) -> Rules:
    """The rules of one metric of every cell that no moment of the machine changes."""
    return msgspec.structs.replace(rules, tests=rules.cells, many=UNSCREENED)


def _log_ratios(base: Sequence[float], head: Sequence[float]) -> list[float]:
    return [math.log(after / before) for before, after in zip(base, head, strict=True)]


def _amount_rows(case: CellCase, pairs: Sequence[Pair]) -> Iterator[GateRow]:
    allowed = case.tolerances
    if len(case.size_bytes) == 2:
        sizes = [case.size_bytes["base"]], [case.size_bytes["head"]]
        ruling = judge_amounts(*sizes, allowed.size)
        yield _row(case, SIZE, ruling, sizes[0][0], sizes[1][0], "bytes")
    yield from _quality_rows(case, pairs)


def _quality_rows(case: CellCase, pairs: Sequence[Pair]) -> Iterator[GateRow]:
    """The row of the first pair that measured quality on both sides."""
    for pair in pairs:
        before, after = pair.base.quality, pair.head.quality
        if before is not None and after is not None:
            ruling = _quality(case, before, after)
            yield _row(case, QUALITY, ruling, before.value, after.value, after.metric)
            return


def _quality(case: CellCase, before: Quality, after: Quality) -> RuleResult:
    """A limit that head misses is a regression however fast it is, unless base misses that limit as well:
    then, as elsewhere, what counts is the drop. Answers off the reference, without labels, are no
    comparison at all."""

    def ruling(verdict: Verdict, reason: str = "", change: float | None = None) -> RuleResult:
        return RuleResult(
            verdict=verdict, decided=True, wanted=1, pairs=1, reason=reason, change=change
        )

    if after.kind == "parity" and not after.passed:
        return ruling("invalid", after.reason or verdict_words.not_passed(metric=after.metric))
    if missed := lost(before, after):
        return ruling("regress", complaints(missed))
    if case.quality is not None and (why := complaint_of(case.quality, after)):
        return ruling("regress", why)
    if before.value is None or after.value is None:
        return ruling("invalid", verdict_words.none_of(metric=after.metric))
    if after.kind == "parity":  # an error far below its ceiling may double and mean nothing
        return ruling("pass", change=after.value - before.value)
    return judge_drop(before, after, case.tolerances.quality)


def _failed_quality(case: CellCase, pairs: Sequence[Pair]) -> list[GateRow]:
    """Returns the failed quality of a cell, even if its times are not comparable."""
    if case.canary:
        return []
    return [row for row in _quality_rows(case, pairs) if row.verdict == "regress"]


def _invalid(case: CellCase, pairs: Sequence[Pair], reason: Reason) -> Iterator[GateRow]:
    text = reason.message + (f" ({reason.fix})" if reason.fix else "")
    ruling = RuleResult(verdict="invalid", decided=True, wanted=0, pairs=len(pairs), reason=text)
    if reason.code == "output_mismatch" and not case.canary:  # that speaks for times alone
        yield _row(case, OUTPUTS, ruling)
        return
    for clock in clocks(case, pairs):
        yield _row(case, clock.metric, ruling, unit="ns")


def _shown_only(case: CellCase, row: GateRow) -> GateRow:
    if not case.report_only or row.metric not in (CPU, WALL):
        return row
    why = "; ".join(filter(None, (case.report_only, row.reason)))
    return msgspec.structs.replace(row, judged=False, reason=why)


def _row(
    case: CellCase,
    metric: str,
    ruling: RuleResult,
    base: float | None = None,
    head: float | None = None,
    unit: str = "",
) -> GateRow:
    return GateRow(
        cell=case.cell,
        metric=metric,
        verdict=ruling.verdict,
        change=ruling.change,
        low=ruling.low,
        high=ruling.high,
        mde=ruling.mde,
        pairs=ruling.pairs,
        base=base,
        head=head,
        unit=unit,
        alpha=ruling.alpha,
        trimmed=ruling.trimmed,
        reason=ruling.reason,
    )


def _peaks(pairs: Sequence[Pair], side: Side) -> list[float]:
    peaks = [pair.arm(side).memory.peak_bytes for pair in pairs]
    return [peak for peak in peaks if peak is not None]


def _typical_ns(pairs: Sequence[Pair], side: Side, times: Times) -> float | None:
    """Median over pairs of the median time of a call, of what counts."""
    medians = [
        median(counted) / pair.begin.calls
        for pair in pairs
        if (counted := [ns for both in pair.rounds() for ns in times(both[SIDES.index(side)])])
    ]
    return median(medians) if medians else None


def percentiles(case: CellCase, pairs: Sequence[Pair]) -> list[Percentiles]:
    """Percentiles of single calls, pooled over pairs; only where the number of samples supports them."""
    single = [pair for pair in undisturbed(pairs) if pair.begin.calls == 1]
    found = []
    for side in SIDES:
        pooled = sorted(
            ns for pair in single for block in pair.arm(side).blocks for ns in block.wall_ns
        )
        p50_ns, p90_ns, p99_ns = stats.supported_percentiles(pooled)
        found.append(
            Percentiles(cell=case.cell, side=side, p50_ns=p50_ns, p90_ns=p90_ns, p99_ns=p99_ns)
        )
    return found
