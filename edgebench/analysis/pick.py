"""Picks the row to deploy under limits and its runner-up, and says how sure that is (`edgebench pick`).

The one engine of choices: `edgebench pick`, the deploy line of every table and report ask here. Of the
rows that meet every limit by value the best one leads. Where rows are not told apart from it (the 95 %
interval of their ratio holds 1), the rule of ties decides (`ties.py`). Beside the choice stands how
likely each limit holds, given the intervals over replicates, and, where one may not hold, the best
row that meets all of them for sure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from edgebench import stats
from edgebench.analysis import ties
from edgebench.analysis.check_limits import Checked, check
from edgebench.analysis.defaults import DRAWS, SURE
from edgebench.analysis.frame import Frame, Indices, Numbers
from edgebench.analysis.frontier import (
    COMPETES,
    OBJECTIVE,
    Across,
    Frontier,
    group_columns,
    leave_out,
    unranked,
)
from edgebench.analysis.frontier_report import (
    Value,
    axis_of,
    not_ranked,
    shared,
    shared_notes,
    value_of,
)
from edgebench.analysis.limits import Limit
from edgebench.analysis.objectives import Objective, default_speeds
from edgebench.analysis.pick_report import Candidate, Choice, Held, Margin, PickReport, Relaxation
from edgebench.analysis.uncertainty import (
    MEMORY_RESOLUTION,
    Ratio,
    Uncertain,
    known,
    quantized,
    ratio,
    uncertain,
)
from edgebench.metrics import METRICS
from edgebench.units import exact_bytes
from edgebench.words import note_words

_LISTED = 20  # rows that meet the limits by value alone
_SURELY_WORSE = 0.9999  # confidence at which a row is too far off the best one to be drawn
_DRAWN = 200  # best rows among which the choice may lose a draw


@dataclass(frozen=True)
class _Competition:
    """The values by which all groups are judged, one entry per row of the frame."""

    frame: Frame
    objective: Objective
    of: Uncertain
    checked: list[Checked]
    meets: NDArray[np.bool_]  # every limit, by value
    sure: NDArray[np.bool_]
    low: Numbers  # the 95 % interval of `of`
    high: Numbers
    keys: NDArray[np.uint64]
    prefer: Sequence[str]  # the rule of ties
    result: Frontier  # who competes


def pick(
    frame: Frame,
    limits: Sequence[Limit],
    objective: Objective | None = None,
    *,
    confidence: float = SURE,
    seed: int = 0,
    across: Sequence[Across] = (),
    prefer: Sequence[str] = ties.DEFAULT,
) -> PickReport:
    """One choice per group of rows that compete (as in `frontier.frontier`).

    Without an objective, by the median latency (or what rows tell of it), offline by the throughput.
    """
    result = unranked(frame, confidence, seed, across)
    checked = [check(frame, limit) for limit in limits]
    parts = _parts(frame, objective, across)
    picks = [
        choice for some, chosen in parts for choice in _picks(result, checked, chosen, some, prefer)
    ]
    return PickReport(
        require=[limit.text for limit in limits],
        objective=", ".join(chosen.text for _, chosen in parts),
        confidence=confidence,
        seed=seed,
        prefer=list(prefer),
        picks=picks,
        notes=[],
    )


def _parts(
    frame: Frame, objective: Objective | None, across: Sequence[Across]
) -> list[tuple[NDArray[np.bool_], Objective]]:
    if objective is not None:
        return [(np.ones(len(frame), dtype=bool), objective)]
    return default_speeds(frame, group_columns([], across))


def _picks(
    result: Frontier,
    checked: list[Checked],
    objective: Objective,
    some: NDArray[np.bool_],
    prefer: Sequence[str],
) -> list[Choice]:
    frame = result.frame
    limits = [Objective(each.limit.metric, each.limit.metric.better) for each in checked]
    of = uncertain(frame, objective.metric)
    low, high = of.bounds(stats.CONFIDENCE)
    # Limits on energy leave out rows without a measured one, like an objective.
    leave_out(result, some, [objective, *(each for each in limits if each.metric.of_energy)])
    competition = _Competition(
        frame=frame,
        objective=objective,
        of=of,
        checked=checked,
        meets=_all([each.meets for each in checked], len(frame)),
        sure=_all([each.probability >= result.confidence for each in checked], len(frame)),
        low=low,
        high=high,
        keys=frame.keys(),
        prefer=[name for name in prefer if name != objective.metric.name],
        result=result,
    )
    return [
        _choice(competition, names, competing, others)
        for names, competing, others in _groups(result, [objective, *limits], some)
    ]


def _groups(
    result: Frontier, demands: Sequence[Objective], some: NDArray[np.bool_]
) -> Iterator[tuple[dict[str, Any], Indices, Indices]]:
    """Yields what the rows of a group have in common, those that compete, and those that do not.

    Rows that do not compete may lack what tells groups apart (the kind of a quality, say): they
    stand with the first group of their device, workload and scenario.
    """
    frame, across = result.frame, result.across
    columns, common = group_columns(demands, across), group_columns([], across)
    wide, narrow = frame.grouped(common), frame.grouped(columns)
    competes = result.left_out == COMPETES
    for names, everyone in zip(wide.names, _split(wide.codes), strict=True):
        members = everyone[some[everyone]]
        if not len(members):
            continue
        others = members[~competes[members]]
        rest = members[competes[members]]
        if not len(rest):
            yield dict(zip(common, names, strict=True)), rest, others
        for code in dict.fromkeys(narrow.codes[rest].tolist()):
            same = rest[narrow.codes[rest] == code]
            yield dict(zip(columns, narrow.names[code], strict=True)), same, others
            others = others[:0]


def _split(codes: Indices) -> list[Indices]:
    if not len(codes):
        return []
    order = np.argsort(codes, kind="stable")
    return np.split(order, np.cumsum(np.bincount(codes))[:-1])


def _all(flags: Sequence[NDArray[np.bool_]], count: int) -> NDArray[np.bool_]:
    return np.asarray(np.logical_and.reduce(flags)) if flags else np.ones(count, dtype=bool)


def _choice(
    competition: _Competition, names: dict[str, Any], competing: Indices, others: Indices
) -> Choice:
    sign = competition.objective.sign(names.get("quality.better"))
    ordered = _ordered(competition, sign, competing)
    meet = ordered[competition.meets[ordered]]
    sure = meet[competition.sure[meet]]
    against = _against(competition.of, sign, meet)
    tied = meet[_tied(competition, meet, against)]
    decided = _decide(competition.frame, tied, competition.prefer) if len(meet) else None
    chosen = None if decided is None else decided.row
    second = next((int(row) for row in meet[:2] if row != chosen), None)
    rivals = meet[1:][~against.told_apart(competition.result.confidence)[1:]]
    runs = _runs(competition, competing)
    doubtful = meet[~competition.sure[meet]][:_LISTED]
    closest, binding, relax = (None, [], "") if len(meet) else _binding(competition, ordered)
    safe = int(sure[0]) if len(sure) and int(sure[0]) != chosen else None

    def candidate(row: int | None) -> Candidate | None:
        return None if row is None else _candidate(competition, row)

    return Choice(
        **shared(names),
        objective=axis_of(competition.objective, names.get("quality.better")),
        rows=len(competing),
        meet=len(meet),
        surely_meet=len(sure),
        choice=candidate(chosen),
        runner_up=candidate(second),
        margin=None
        if chosen is None or second is None
        else _margin(competition, sign, chosen, second),
        probability=None
        if chosen is None
        else _probability(competition, sign, meet, against, chosen),
        clear=runs == 1
        and chosen is not None
        and chosen == int(meet[0])
        and not len(rivals)
        and not (competition.result.left_out[others] >= OBJECTIVE).any().item(),
        rivals=rivals[:_LISTED].tolist(),
        tied=[int(row) for row in tied if row != chosen][:_LISTED],
        decided_by=list(decided.by) if decided is not None else [],
        runs=runs,
        safe_choice=candidate(safe),
        not_surely=[_candidate(competition, int(row)) for row in doubtful],
        closest=candidate(closest),
        binding=binding,
        relax=relax,  # type: ignore[arg-type]
        left_out=[not_ranked(competition.result, int(row)) for row in others],
        notes=_notes(competition, names, competing),
    )


def _ordered(competition: _Competition, sign: float, competing: Indices) -> Indices:
    """The best row first, by the objective and, where it is equal, by less memory and latency."""
    values = competition.of.compared[competing]
    if competition.objective.metric.name == "memory.peak":
        values = quantized(values, MEMORY_RESOLUTION)
    beside = [
        competition.frame.numbers(c)[competing] for c in ("latency.p50_ns", "memory.peak_bytes")
    ]
    return competing[np.lexsort([*beside, sign * values])]


def _against(of: Uncertain, sign: float, meet: Indices) -> Ratio:
    """Returns the cost of each row over the cost of the first one."""
    first = of.take(np.repeat(meet[:1], len(meet)))
    return ratio(of.take(meet), first) if sign > 0 else ratio(first, of.take(meet))


def _tied(competition: _Competition, meet: Indices, against: Ratio) -> NDArray[np.bool_]:
    """Which rows are not told apart from the first one, itself included.

    Where nothing tells how far a value may be off, it stands as it is.
    """
    values = competition.of.compared[meet]
    if competition.objective.metric.name == "memory.peak":
        values = quantized(values, MEMORY_RESOLUTION)
    open_ = (against.error > 0) & ~against.told_apart(stats.CONFIDENCE)
    return np.asarray(open_ | (values == values[:1]))


class _Decision(NamedTuple):
    """The row that the rule chose, and which criteria told it from the others."""

    row: int
    by: tuple[str, ...]


def _decide(frame: Frame, tied: Indices, preferences: Sequence[str]) -> _Decision:
    """One of the rows, which stand in the order of the objective: the first of those that no criterion
    tells apart (`ties.py`)."""
    by = []
    for name in preferences:
        if len(tied) == 1:
            break
        values = _criterion(frame, tied, name)
        if np.isnan(values).any() or not _may_rank(frame, tied, name):
            continue
        kept = tied[values == values.min()]
        if len(kept) < len(tied):
            by.append(name)
            tied = kept
    return _Decision(int(tied[0]), tuple(by))


def _may_rank(frame: Frame, rows: Indices, name: str) -> bool:
    """Whether the rows' values of the criterion are of one quantity, and measured."""
    if name == ties.THREADS or not METRICS[name].of_energy:
        return True
    origins = frame.grouped(["energy.kind", "energy.scope"]).codes[rows]
    return bool((origins == origins[0]).all() and not frame.energy_is_modelled()[rows].any())


def _criterion(frame: Frame, rows: Indices, name: str) -> Numbers:
    """Returns the criterion's value of each row; lower is better."""
    if name == ties.THREADS:
        asked = frame.numbers("variant_threads")[rows]
        return np.where(np.isnan(asked), frame.numbers("effective.threads")[rows], asked)
    metric = METRICS[name]
    values = frame.numbers(metric.column())[rows]
    if name == "memory.peak":
        return quantized(values, MEMORY_RESOLUTION)
    better = metric.better or frame.text("quality.better", int(rows[0])) or "higher"
    return values if better == "lower" else -values


def _runs(competition: _Competition, competing: Indices) -> int:
    """Returns the largest number of runs of one device among the rows."""
    frame = competition.frame
    runs, devices = frame.codes("run"), frame.codes("device")
    pairs = np.unique(devices.codes[competing] * len(runs.names) + runs.codes[competing])
    return int(np.bincount(pairs // len(runs.names)).max()) if len(competing) else 0


def _candidate(competition: _Competition, row: int) -> Candidate:
    identity = competition.frame.identity(row)
    limits = [_check_row(competition, each, row) for each in competition.checked]
    return Candidate(
        id=identity.id,
        device=identity.device,
        run=identity.run,
        row=row,
        backend=identity.backend,
        variant=identity.variant,
        value=value_of(competition.of.value[row], competition.low[row], competition.high[row]),
        limits=limits,
        meets=bool(competition.meets[row]),
        sure=bool(competition.sure[row]),
        quality=known(competition.frame.numbers("quality")[row]),
    )


def _check_row(competition: _Competition, each: Checked, row: int) -> Held:
    limit, probability = each.limit, float(each.probability[row])
    upper = bool(each.upper[row])
    return Held(
        limit=limit.text,
        metric=limit.metric.name,
        unit=limit.metric.unit,
        op=("<" if upper else ">") + limit.op[1:],
        bound=known(each.bound[row]),
        value=_value(each.of, row),
        meets=bool(each.meets[row]),
        probability=known(probability),
        sure=probability >= competition.result.confidence,
    )


def _value(of: Uncertain, row: int) -> Value | None:
    if np.isnan(of.value[row]):
        return None
    low, high = of.take([row]).bounds(stats.CONFIDENCE)
    return value_of(of.value[row], low[0], high[0])


def _margin(competition: _Competition, sign: float, chosen: int, second: int) -> Margin:
    """How much better the choice is, by the ratio of both (`uncertainty.ratio`)."""
    of = competition.of
    own, other = float(of.compared[chosen]), float(of.compared[second])
    found = ratio(of.take([second]), of.take([chosen]))
    if sign < 0:
        found = ratio(of.take([chosen]), of.take([second]))
    error = float(found.error[0])
    times = float(np.exp(found.log[0])) if min(own, other) > 0 else None
    margin = Margin(ratio=times, low=None, high=None, difference=other - own, confidence=None)
    if np.isnan(error):
        return replace(margin, reason=note_words.ONE_WITHOUT_INTERVAL)
    sizes = competition.objective.metric.name == "memory.peak" and not error
    if sizes and times is not None and times <= 1 + MEMORY_RESOLUTION:
        return replace(margin, confidence=0.5, reason=note_words.EQUAL_MEMORY)
    if error == 0 or times is None:
        sure = 0.5 if own == other else 1.0
        return replace(margin, confidence=sure, low=times, high=times)
    low, high = found.bounds(stats.CONFIDENCE)
    return replace(
        margin, low=float(low[0]), high=float(high[0]), confidence=1 - float(found.below()[0])
    )


def _probability(
    competition: _Competition, sign: float, meet: Indices, against: Ratio, chosen: int
) -> float | None:
    """Returns the share of draws in which the chosen row is the best."""
    if len(meet) > 1 and np.isnan(competition.of.error[meet[:_DRAWN]]).any():
        return None
    within = ~against.told_apart(_SURELY_WORSE)
    within[0] = True
    best = meet[within][:_DRAWN]
    place = np.flatnonzero(best == chosen)
    if not len(place) or len(best) == 1:
        return float(len(place))
    drawn = sign * competition.of.take(best).draws(
        competition.keys[best], 0, DRAWS, competition.result.seed
    )
    return float((drawn.argmin(axis=0) == place[0]).mean())


def _binding(
    competition: _Competition, ordered: Indices
) -> tuple[int | None, list[Relaxation], str]:
    """The row that misses the limits by least, and which of them would have to give way.

    Either of some limits alone, where the others leave a row; or all that the closest row misses.
    """
    if not len(ordered) or not competition.checked:
        return None, [], ""
    misses = np.stack([each.misses_by()[ordered] for each in competition.checked])
    held = np.stack([each.meets[ordered] for each in competition.checked])
    alone = []
    for number in range(len(misses)):
        others = np.delete(held, number, axis=0).all(axis=0) & np.isfinite(misses[number])
        if others.any():
            place = int(np.argmin(np.where(others, misses[number], np.inf)))
            alone.append((number, place))
    if alone:
        nearest = min(alone, key=lambda pair: misses[pair])
        relaxed = [_relaxation(competition, *pair, ordered) for pair in alone]
        return int(ordered[nearest[1]]), relaxed, "one"
    worst = np.where(held, 0.0, misses).max(axis=0)
    place = int(np.argmin(worst))
    if not np.isfinite(worst[place]):
        return None, [], ""
    missed = np.flatnonzero(~held[:, place])
    relaxed = [_relaxation(competition, int(number), place, ordered) for number in missed]
    return int(ordered[place]), relaxed, "all"


def _relaxation(competition: _Competition, number: int, place: int, ordered: Indices) -> Relaxation:
    each, row = competition.checked[number], int(ordered[place])
    identity = competition.frame.identity(row)
    bound, needed = float(each.bound[row]), float(each.of.value[row])
    return Relaxation(
        limit=each.limit.text,
        metric=each.limit.metric.name,
        unit=each.limit.metric.unit,
        bound=bound,
        needed=needed,
        by=None if bound == 0 else needed / bound - 1,
        id=identity.id,
        device=identity.device,
        run=identity.run,
    )


def _notes(competition: _Competition, names: dict[str, Any], competing: Indices) -> list[str]:
    notes = []
    if names.get("quality.better") == "lower":
        metric = str(names.get("quality.metric"))
        for each in competition.checked:
            if each.limit.relative and each.limit.metric.name == "quality" and not each.limit.upper:
                limit, share = each.limit.text, each.limit.value
                notes.append(note_words.share_of_an_error(metric=metric, limit=limit, share=share))
        if competition.objective.metric.name == "quality":
            notes.append(note_words.lowest_is_best(metric=metric))
    for each in competition.checked:
        unknown = _unknown(competition, each, competing)
        notes += [*unknown, *_without_fp32(each, competing)]
        if unknown and each.limit.metric.name == "fits" and not each.limit.relative:
            notes.append(note_words.fit_can_be_measured(size=exact_bytes(each.limit.value)))
    return notes + shared_notes(competition.frame, competing, across=names.get("device") is None)


def _unknown(competition: _Competition, each: Checked, competing: Indices) -> list[str]:
    """Rows that a limit cannot be held against, and why: unknown is not met."""
    unknown = competing[np.isnan(each.of.value[competing])]
    reasons: dict[str, int] = {}
    for row in unknown.tolist()[:_LISTED]:
        reason = competition.frame.reason(row, each.limit.metric)
        reasons[reason] = reasons.get(reason, 0) + 1
    if not reasons:
        return []
    counts = len(unknown), len(competing)
    return [note_words.unknown_of_rows(each.limit.metric.name, *counts, reasons)]


def _without_fp32(each: Checked, competing: Indices) -> list[str]:
    """Rows that a share of fp32 cannot be held against: what has no bound does not meet it."""
    unbound = np.isnan(each.bound[competing]) & ~np.isnan(each.of.value[competing])
    if not unbound.any():
        return []
    some = int(np.count_nonzero(unbound))
    return [note_words.no_fp32_row(limit=each.limit.text, some=some, rows=len(competing))]
