"""Test-time scaling: what more tokens and more samples buy, and what they cost (EdgeReasoning).

Accuracy comes from sampled answers to small tasks (`record.Trial`): a budget of b tokens is a hard cut after
b tokens, k samples are put to the vote. Costs are those of the same requests, cut alike. Two fits say
what other requests would cost:

    prefill  a*P^2 + b*P + c   with P = 128 * ceil(prompt / 128)
    decode   n + m * context   for each token after the first
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from statistics import median
from typing import Any

import msgspec
import numpy as np

from edgebench import record as rec
from edgebench.analysis.types import Part

PAD = 128
_Z = 1.959963984540054  # of a two-sided interval of 95 %


class Fit(Part, frozen=True, kw_only=True):
    """Least squares over `x`, nanoseconds; residuals are measured minus fitted, one for each x."""

    terms: dict[str, float]  # name -> coefficient, in ns per unit
    x: list[int]
    measured_ns: list[float]  # median at each x
    residual_ns: list[float]
    r_squared: float | None  # None: as many terms as points, or nothing varies


class Point(Part, frozen=True, kw_only=True):
    """One budget of tokens with one number of samples; costs are means or medians over tasks."""

    budget_tokens: int
    samples: int
    tasks: int
    right: int
    accuracy: float
    accuracy_low: float  # Wilson's 95 % interval
    accuracy_high: float
    latency_p50_ns: int
    latency_max_ns: int  # the slowest task
    tokens: float  # new tokens of all samples, mean over tasks
    tokens_per_correct: float | None  # None: nothing is right
    pareto: bool = False  # no other point is as accurate in less time


class Scaling(Part, frozen=True, kw_only=True):
    """Of one cell of one run."""

    id: str
    run: str
    device: str
    ranked: bool  # False: its quality did not pass, or it failed; see `reason`
    reason: str
    width: int  # samples that run side by side
    points: list[Point]
    pick: int | None  # index into points: the most accurate within the limit
    tied: list[int]  # points within the limit that the tasks do not tell from the pick
    prefill: Fit | None
    prefill_unknown: str
    decode: Fit | None
    decode_unknown: str
    prompt_tokens: int  # of the longest task
    fitted_budget: int | None  # tokens that the fits let through within the limit, of those tried
    energy_unknown: str


def scaling_of(records: Iterable[rec.Record], within_ns: int | None = None) -> list[Scaling]:
    """Every cell with sampled answers; fits take in its sisters with other prompts and answers."""
    known = [record for record in records if any(map(_generated, record.replicates))]
    sisters = defaultdict(list)
    for record in known:
        sisters[_sisterhood(record)].append(record)
    return [
        _of_cell(record, sisters[_sisterhood(record)], within_ns)
        for record in known
        if any(part.trials for part in _parts([record]))
    ]


def _of_cell(record: rec.Record, sisters: Sequence[rec.Record], within_ns: int | None) -> Scaling:
    points = points_of([trial for part in _parts([record]) for trial in part.trials])
    prefill, prefill_unknown = prefill_fit(prefill_samples(sisters))
    decode, decode_unknown = decode_fit(decode_samples(sisters))
    chosen = pick(points, within_ns)
    longest = max(trial.prompt_tokens for part in _parts([record]) for trial in part.trials)
    fitted = None
    if prefill is not None and decode is not None and within_ns is not None:
        most = max(point.budget_tokens for point in points)
        fitted = largest_budget(prefill, decode, longest, within_ns, most)
    reason = _struck(record)
    return Scaling(
        id=record.cell.id,
        run=record.run.id,
        device=record.device.name,
        ranked=not reason,
        reason=reason,
        width=max(part.width for part in _parts([record])),
        points=points,
        pick=None if reason else chosen,
        tied=[] if reason or chosen is None else _tied(points, chosen, within_ns),
        prefill=prefill,
        prefill_unknown=prefill_unknown,
        decode=decode,
        decode_unknown=decode_unknown,
        prompt_tokens=longest,
        fitted_budget=fitted,
        energy_unknown=record.energy.reason
        or "energy is measured over the timed requests, not over these answers",
    )


def _struck(record: rec.Record) -> str:
    if record.status != "ok":
        return "; ".join(reason.message for reason in record.reasons) or record.status
    if record.effective is not None and record.effective.not_deployable:
        return record.effective.not_deployable
    if record.quality is None:
        return "its quality is unknown"
    if record.quality.passed and all(limit.passed for limit in record.quality.also):
        return ""
    return record.quality.reason or f"{record.quality.metric} misses its limit"


# --- accuracy and its cost


def points_of(trials: Sequence[rec.Trial]) -> list[Point]:
    """Every budget with every number of samples that fills whole requests, the front marked."""
    by_task: dict[int, list[rec.Trial]] = defaultdict(list)
    for trial in trials:
        by_task[trial.task].append(trial)
    if not by_task:
        return []
    width = len(trials[0].said)
    budgets = range(1, max(len(trial.token_ns) for trial in trials) + 1)
    rounds = range(1, min(map(len, by_task.values())) + 1)
    points = [
        _point([each[:count] for each in by_task.values()], budget, count * width)
        for count in rounds
        for budget in budgets
    ]
    return [msgspec.structs.replace(point, pareto=_on_front(point, points)) for point in points]


def _point(tasks: Sequence[Sequence[rec.Trial]], budget: int, samples: int) -> Point:
    answers = [
        majority([said[min(budget, len(said)) - 1] for trial in each for said in trial.said])
        for each in tasks
    ]
    right = sum(answer == each[0].wanted for answer, each in zip(answers, tasks, strict=True))
    spent = [sum(_cut_ns(trial, budget) for trial in each) for each in tasks]
    tokens = sum(
        min(budget, count) for each in tasks for trial in each for count in trial.new_tokens
    )
    low, high = wilson(right, len(tasks))
    return Point(
        budget_tokens=budget,
        samples=samples,
        tasks=len(tasks),
        right=right,
        accuracy=right / len(tasks),
        accuracy_low=low,
        accuracy_high=high,
        latency_p50_ns=round(median(spent)),
        latency_max_ns=max(spent),
        tokens=tokens / len(tasks),
        tokens_per_correct=tokens / right if right else None,
    )


def _cut_ns(trial: rec.Trial, budget: int) -> int:
    return trial.token_ns[min(budget, len(trial.token_ns)) - 1]


def majority(answers: Sequence[str]) -> str:
    """The answer given most often; of equals, the one given first. Empty ones have no vote."""
    votes = Counter(answer for answer in answers if answer)
    return votes.most_common(1)[0][0] if votes else ""


def majority_accuracy(p: float, samples: int) -> float:
    """P(more than half of `samples` independent answers are right), each with probability `p`.

    What a vote gains at best, where all wrong answers are the same: Condorcet's binomial tail.
    """
    most = samples // 2
    return sum(
        math.comb(samples, k) * p**k * (1 - p) ** (samples - k)
        for k in range(most + 1, samples + 1)
    )


def wilson(right: int, count: int) -> tuple[float, float]:
    """Wilson's score interval of a share, 95 %."""
    share, z2 = right / count, _Z * _Z
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = _Z / (1 + z2 / count) * math.sqrt(share * (1 - share) / count + z2 / (4 * count**2))
    return max(0.0, min(middle - half, share)), min(1.0, max(middle + half, share))


def _on_front(point: Point, points: Sequence[Point]) -> bool:
    return not any(
        other.accuracy >= point.accuracy
        and other.latency_p50_ns <= point.latency_p50_ns
        and (other.accuracy, -other.latency_p50_ns) != (point.accuracy, -point.latency_p50_ns)
        for other in points
    )


def pick(points: Sequence[Point], within_ns: int | None) -> int | None:
    """The most accurate point whose slowest task keeps the limit; of equals, the quickest."""
    allowed = _allowed(points, within_ns)
    if not allowed:
        return None
    return max(allowed, key=lambda n: (points[n].accuracy, -points[n].latency_p50_ns))


def _allowed(points: Sequence[Point], within_ns: int | None) -> list[int]:
    return [
        number
        for number, point in enumerate(points)
        if within_ns is None or point.latency_max_ns <= within_ns
    ]


def _tied(points: Sequence[Point], chosen: int, within_ns: int | None) -> list[int]:
    best = points[chosen]
    return [
        number
        for number in _allowed(points, within_ns)
        if number != chosen and points[number].accuracy_high >= best.accuracy_low
    ]


# --- what other requests would cost


def padded(tokens: int) -> int:
    """P = 128 * ceil(tokens / 128)."""
    return PAD * -(-tokens // PAD)


def prefill_fit(samples: Mapping[int, Sequence[float]]) -> tuple[Fit | None, str]:
    """a*P^2 + b*P + c over padded prompt lengths -> times; else None and the reason."""
    if len(samples) < 3:
        return None, f"needs 3 lengths of prompts in steps of {PAD}, there are {len(samples)}"
    return _fit(samples, {"a_per_token2": 2, "b_per_token": 1, "c": 0}), ""


def decode_fit(samples: Mapping[int, Sequence[float]]) -> tuple[Fit | None, str]:
    """n + m*context over tokens before a step -> its time; else None and the reason."""
    if len(samples) < 3:
        return None, f"needs 3 lengths of context, there are {len(samples)}"
    return _fit(samples, {"m_per_token": 1, "n": 0}), ""


def _fit(samples: Mapping[int, Sequence[float]], powers: Mapping[str, int]) -> Fit:
    """Of medians, each weighing the same: an outlier of one request moves nothing."""
    x = np.array(sorted(samples), dtype=np.float64)
    y = np.array([median(samples[int(value)]) for value in x])
    scale = x.max()
    columns = np.stack([(x / scale) ** power for power in powers.values()], axis=1)
    solution, *_ = np.linalg.lstsq(columns, y, rcond=None)
    residual = y - columns @ solution
    total = float(((y - y.mean()) ** 2).sum())
    exact = len(x) <= len(powers) or total == 0
    return Fit(
        terms={
            name: float(value / scale**power)
            for (name, power), value in zip(powers.items(), solution, strict=True)
        },
        x=[int(value) for value in x],
        measured_ns=y.tolist(),
        residual_ns=residual.tolist(),
        r_squared=None if exact else 1 - float((residual**2).sum()) / total,
    )


def predict_ns(prefill: Fit, decode: Fit, prompt_tokens: int, new_tokens: int) -> float:
    """A request by the fits: its prefill, and steps for every token after the first."""
    length = padded(prompt_tokens)
    first = (
        prefill.terms["a_per_token2"] * length**2
        + prefill.terms["b_per_token"] * length
        + prefill.terms["c"]
    )
    steps = new_tokens - 1
    contexts = steps * prompt_tokens + steps * (steps + 1) / 2
    return first + decode.terms["n"] * steps + decode.terms["m_per_token"] * contexts


def largest_budget(
    prefill: Fit, decode: Fit, prompt_tokens: int, within_ns: float, most: int
) -> int:
    """Tokens that the fits let through within a time, at most `most`; 0: not even the first one."""
    allowed = 0
    for tokens in range(1, most + 1):
        if predict_ns(prefill, decode, prompt_tokens, tokens) > within_ns:
            break
        allowed = tokens
    return allowed


def prefill_samples(records: Sequence[rec.Record]) -> dict[int, list[float]]:
    """Times to the first token by padded length of the prompt."""
    found: dict[int, list[float]] = defaultdict(list)
    for request in _requests(records):
        found[padded(request.prompt_tokens)].append(request.token_ns[0])
    return found


def decode_samples(records: Sequence[rec.Record]) -> dict[int, list[float]]:
    """Intervals by the tokens before the step."""
    found: dict[int, list[float]] = defaultdict(list)
    for request in _requests(records):
        for step, (before, after) in enumerate(pairwise(request.token_ns), start=1):
            found[request.prompt_tokens + step].append(after - before)
    return found


def _requests(records: Sequence[rec.Record]) -> Iterator[rec.Request]:
    for part in _parts(records):
        yield from part.requests


def _parts(records: Sequence[rec.Record]) -> list[rec.Generate]:
    return [
        replicate.generate
        for record in records
        for replicate in record.replicates
        if replicate.status == "ok" and replicate.generate is not None
    ]


def _generated(replicate: rec.Replicate) -> bool:
    return replicate.status == "ok" and replicate.generate is not None


def _sisterhood(record: rec.Record) -> Any:
    """What cells share that differ in the lengths of their requests alone."""
    variant = {
        axis: value
        for axis, value in record.cell.variant.items()
        if axis not in ("prompt_tokens", "new_tokens")
    }
    cell = record.cell
    names = (record.device.name, record.run.id, cell.workload, cell.workload_version, cell.backend)
    return (*names, tuple(sorted(variant.items())))
