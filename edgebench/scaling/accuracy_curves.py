"""Test-time scaling of a decoder: accuracy over token budgets and votes, and what each of them costs.

After EdgeReasoning (2025). Accuracy and times of every budget come from one pass (`record.Scaling`); the
cost of prompts and steps is fitted to the timed requests of the cell and of those that differ from it in the
lengths of requests alone. Predicted times stand beside measured ones, which no fit has seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import mean
from typing import NamedTuple

import msgspec

from edgebench import record as rec
from edgebench.analysis.table import placed
from edgebench.analysis.table_types import Row, Table
from edgebench.record import Part
from edgebench.scaling.cost_fit import PAD, Fit, decode_fit, decode_ns, padded, prefill_fit
from edgebench.scaling.majority_vote import accuracy
from edgebench.words import unknown_words

_MIN_TOKENS = 4  # tokens of a budget
_LENGTHS = ("prompt_tokens", "new_tokens")


class Point(Part, frozen=True, kw_only=True):
    """A token budget and a number of votes: how good, and at what cost. Means over the problems."""

    budget: int
    votes: int
    accuracy: float
    accuracy_low: float  # Wilson, 95 %
    accuracy_high: float
    latency_ns: float  # measured: from the question until the last vote is in
    predicted_ns: float | None  # by the fits, for the tokens that were written
    tokens: float  # written for a question, of all votes
    tokens_per_correct: float | None  # None: nothing was right
    estimated_j_per_correct: float | None  # by the mean power of the cell's timed requests
    front: bool = False  # no other point is as fast and more accurate, or as accurate and faster


class Scaled(Part, frozen=True, kw_only=True):
    row: int  # of the table
    device: str
    workload: str
    workload_version: int
    id: str
    problems: int
    samples: int  # of each problem
    width: int  # sequences side by side
    temperature: float
    prefill: Fit | None
    decode: Fit | None
    points: list[Point]
    unknown: dict[str, str] = msgspec.field(default_factory=dict)  # what is None -> why
    left_out: str = ""  # why it takes no part in the pick; "" it does


class Choice(Part, frozen=True, kw_only=True):
    """The most accurate point within a time, of all cells of a device and workload."""

    device: str
    workload: str
    workload_version: int
    within_ns: float | None
    row: int | None = None  # None: no point is fast enough
    point: Point | None = None
    by: str = ""  # "predicted" or "measured": the time that was held against the limit
    #: Points of other budgets or cells within the limit whose interval reaches the accuracy picked.
    as_good: int = 0
    nearest_ns: float | None = None  # the fastest point there is, where none is fast enough


class Scalings(Part, frozen=True, kw_only=True):
    cells: list[Scaled]
    choices: list[Choice]
    pad: int


class Cell(NamedTuple):
    number: int
    row: Row
    replicates: Sequence[rec.Replicate]


def scaling(
    table: Table, records: Sequence[rec.Record], within_ns: float | None = None, pad: int = PAD
) -> Scalings:
    """Computes the curves of the records that answered problems; `table` is that of the same records, in order."""
    cells = [
        Cell(place, table.rows[place], [part for part in record.replicates if part.status == "ok"])
        for place, record in dict(placed(records)).items()
    ]
    return scaling_of(cells, within_ns, pad)


def scaling_of(cells: Sequence[Cell], within_ns: float | None = None, pad: int = PAD) -> Scalings:
    """Computes the curves of the cells that answered problems; the others give the cost of prompts and steps."""
    curves = [
        _scaled(cell, part, [other for other in cells if _same_work(other.row, cell.row)], pad)
        for cell in cells
        for part in [
            replicate.scaling for replicate in cell.replicates if replicate.scaling is not None
        ][:1]
    ]
    return Scalings(cells=curves, choices=choices(curves, within_ns), pad=pad)


def _same_work(other: Row, row: Row) -> bool:
    """Differs in the lengths of requests alone; a row that is struck proves no cost."""
    if other is row:
        return True
    names = ("device", "run", "workload", "workload_version", "backend", "scenario")
    same = all(getattr(other, name) == getattr(row, name) for name in names)
    return same and other.ranked and _without_lengths(other) == _without_lengths(row)


def _without_lengths(row: Row) -> dict[str, object]:
    return {axis: value for axis, value in row.variant.items() if axis not in _LENGTHS}


def _scaled(cell: Cell, part: rec.Scaling, others: Sequence[Cell], pad: int) -> Scaled:
    by_length: dict[int, list[Sequence[rec.Request]]] = {}
    for other in others:
        for replicate in other.replicates:
            generate = replicate.generate
            if generate is not None and generate.requests:
                by_length.setdefault(generate.requests[0].prompt_tokens, []).append(
                    generate.requests
                )
    prefill, why_prefill = prefill_fit(by_length, pad)
    decode, why_decode = decode_fit(
        [r for each in by_length.values() for some in each for r in some]
    )
    unknown = {"prefill": why_prefill, "decode": why_decode}
    width = len(part.problems[0].attempts[0].samples)
    samples = width * min(len(problem.attempts) for problem in part.problems)
    # The mean power of the timed requests, whatever their width: a model's joules are no basis.
    energy = cell.row.energy
    watts = None if energy.kind == "modelled" else energy.average_w
    if watts is None:
        unknown["estimated_j_per_correct"] = (
            cell.row.energy.reason or unknown_words.NO_METERED_ENERGY
        )
    cost = None if prefill is None or decode is None else _Cost(prefill, decode, pad)
    points = [
        _point(part, budget, votes, width, cost, watts)
        for votes in _votes(width, samples)
        for budget in _budgets(part.budget)
    ]
    return Scaled(
        row=cell.number,
        device=cell.row.device,
        workload=cell.row.workload,
        workload_version=cell.row.workload_version,
        id=cell.row.id,
        problems=len(part.problems),
        samples=samples,
        width=width,
        temperature=part.temperature,
        prefill=prefill,
        decode=decode,
        points=_with_front(points),
        unknown={name: why for name, why in unknown.items() if why},
        left_out="" if cell.row.ranked else _why(cell.row),
    )


def _why(row: Row) -> str:
    return "; ".join(reason.message for reason in row.reasons) or unknown_words.not_ok(
        status=row.status
    )


def _budgets(largest: int) -> list[int]:
    """Powers of two, and the largest."""
    powers = (2**power for power in range(largest.bit_length()))
    return [*(budget for budget in powers if _MIN_TOKENS <= budget < largest), largest]


def _votes(width: int, samples: int) -> list[int]:
    """Numbers of samples that fill whole requests, doubling: a request of fewer costs as much."""
    votes, count = [], width
    while count <= samples:
        votes.append(count)
        count *= 2
    return votes


class _Cost(NamedTuple):
    prefill: Fit
    decode: Fit
    pad: int

    def request_ns(self, prompt_tokens: int, tokens: float) -> float:
        prompt_ns = self.prefill.at(padded(prompt_tokens, self.pad))
        return prompt_ns + decode_ns(self.decode, prompt_tokens, tokens)


def _point(
    part: rec.Scaling, budget: int, votes: int, width: int, cost: _Cost | None, watts: float | None
) -> Point:
    requests = votes // width
    share = accuracy(part.problems, budget, votes)
    latency_ns = requests * _over_attempts(
        part, lambda _, attempt: attempt.token_ns[min(budget, len(attempt.token_ns)) - 1]
    )
    tokens = requests * _over_attempts(
        part, lambda _, attempt: sum(min(budget, sample.tokens) for sample in attempt.samples)
    )
    predicted_ns = None
    if cost is not None:
        predicted_ns = requests * _over_attempts(
            part,
            lambda problem, attempt: cost.request_ns(
                problem.prompt_tokens, min(budget, len(attempt.token_ns))
            ),
        )
    joules = None if watts is None else watts * latency_ns * 1e-9
    right = share.value
    return Point(
        budget=budget,
        votes=votes,
        accuracy=right,
        accuracy_low=share.low,
        accuracy_high=share.high,
        latency_ns=latency_ns,
        predicted_ns=predicted_ns,
        tokens=tokens,
        tokens_per_correct=tokens / right if right else None,
        estimated_j_per_correct=joules / right if joules is not None and right else None,
    )


def _over_attempts(part: rec.Scaling, of: Callable[[rec.Problem, rec.Attempt], float]) -> float:
    """Mean over problems of the mean over their attempts."""
    return mean(
        mean(of(problem, attempt) for attempt in problem.attempts) for problem in part.problems
    )


def time_of(point: Point) -> float:
    """The time to compare with a limit: the predicted one if there is one."""
    return point.latency_ns if point.predicted_ns is None else point.predicted_ns


def _with_front(points: Sequence[Point]) -> list[Point]:
    """Sorts points by time; a point is on the front if it is more accurate than every faster one."""
    best, points_on_front = 0.0, []
    for point in sorted(points, key=lambda point: (time_of(point), -point.accuracy)):
        front = point.accuracy > best
        best = max(best, point.accuracy)
        points_on_front.append(msgspec.structs.replace(point, front=front))
    return points_on_front


def groups(cells: Sequence[Scaled]) -> dict[tuple[str, str, int], list[Scaled]]:
    """Cells that answered the same problems, by device, workload and its version."""
    by_device: dict[tuple[str, str, int], list[Scaled]] = {}
    for cell in cells:
        by_device.setdefault((cell.device, cell.workload, cell.workload_version), []).append(cell)
    return by_device


def choices(cells: Sequence[Scaled], within_ns: float | None) -> list[Choice]:
    """The pick of each group; without a limit the most accurate there is."""
    return [_choice(*group, members, within_ns) for group, members in groups(cells).items()]


def _choice(
    device: str, workload: str, version: int, cells: Sequence[Scaled], within_ns: float | None
) -> Choice:
    """The most accurate; of equals the fastest."""
    all_points = [(cell, point) for cell in cells if not cell.left_out for point in cell.points]
    limit = float("inf") if within_ns is None else within_ns
    fast = [(cell, point) for cell, point in all_points if time_of(point) <= limit]
    nearest = min((time_of(point) for _, point in all_points), default=None)
    none = Choice(
        device=device,
        workload=workload,
        workload_version=version,
        within_ns=within_ns,
        nearest_ns=nearest,
    )
    if not fast:
        return none
    cell, best = max(fast, key=lambda pair: (pair[1].accuracy, -time_of(pair[1])))
    return msgspec.structs.replace(
        none,
        row=cell.row,
        point=best,
        by="measured" if best.predicted_ns is None else "predicted",
        as_good=sum(
            point is not best and point.accuracy_high >= best.accuracy for _, point in fast
        ),
    )
