"""Checks the answers: quality against labels, parity with the reference, and the cheap check.

The reference is the model before edgebench quantised it, on ONNX Runtime's CPU provider with graph
optimisations off. How far a right answer may lie from it follows from what that file computes in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from edgebench.backend import Session, computes_itself
from edgebench.definitions.workload import PARITY_METRIC
from edgebench.definitions.workload import Limit as LimitSpec
from edgebench.definitions.workload import Quality as QualitySpec
from edgebench.files.model_outputs import load_outputs, save_outputs
from edgebench.generation import GenerationSession, Prompts
from edgebench.measure.replicate.answer_completion import copying_ns
from edgebench.measure.replicate.loops import in_turn
from edgebench.measure.replicate.phases import looks_cached, timed
from edgebench.measure.replicate.quality_pass import (
    UNLIMITED,
    QualityTime,
    in_time,
    judged,
    outputs_in_time,
    unknown_quality,
)
from edgebench.models.output_distance import distances
from edgebench.preparation.input_pool import Feeds, Outputs, never_seen, split, stack
from edgebench.preparation.preparation_messages import Parity, Reference
from edgebench.preparation.quantization_noise import MAX_FP32_ROUNDING
from edgebench.record import Limit, OutputCheck, Quality, Reason, Unseen
from edgebench.task import Task
from edgebench.units import parity_option
from edgebench.words import quality_words
from edgebench.words.reason_words import reason

#: Relative error that separates rounding from a wrong result of a file in fp32, by precision.
PARITY_LIMIT = {"fp32": 1e-3, "as-is": 1e-3}
#: Of what is computed in another precision than the reference.
REDUCED_PARITY_LIMIT = 0.1
#: A file may be off its reference by so many times what rounding in its own arithmetic moves it, where that
#: is known, and never by more than the second: answers that are zero, or another model's, are off by 1 and more.
ROUNDINGS, MAX_ROUNDING = 2, 0.5
#: An output that rounding moves by so much of its size has no other content: a text detector's on noise.
NEARLY_ALL = 0.9
_PARITY = QualitySpec(metric=PARITY_METRIC)
NOTHING_ALIKE = 1e9  # in records, which hold no infinity
SAME_SESSION_LIMIT = 1e-3  # between two processes of one cell
CHECKED_ITEMS = 4
#: Inferences side by side in a quality pass: each holds activations of its own.
MAX_LANES = 2
#: Runs batches of items: in turn, as `map` does, or side by side.
RunBatch = Callable[[Sequence[Feeds]], list[Outputs]]
Spread = Callable[[RunBatch, Iterable[Sequence[Feeds]]], Iterable[list[Outputs]]]


def infer(
    session: Session, batch: int, items: Sequence[Feeds], spread: Spread = map
) -> list[Outputs]:
    """Runs items through a session in batches, which `spread` may run side by side; the last one is filled
    up by repetition."""

    def run(chunk: Sequence[Feeds]) -> list[Outputs]:
        missing = batch - len(chunk)
        prepared = session.prepare(stack([*chunk, *[chunk[-1]] * missing]))
        return split(session.outputs_of(prepared, session.run(prepared)), batch)[: len(chunk)]

    chunks = [items[start : start + batch] for start in range(0, len(items), batch)]
    return [outputs for done in spread(run, chunks) for outputs in done]


@contextmanager
def side_by_side(lanes: int) -> Iterator[Spread]:
    """Runs so many calls at once, results in order; one lane is the calling thread's."""
    if lanes == 1:
        yield map
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(lanes) as threads:
        yield threads.map


def lanes_of(session: Session, threads: int, cores: int) -> int:
    """How many calls of a session that computes in so many threads (0: as many as it likes) may run at once
    on otherwise idle cores, where nothing is timed."""
    stateless = type(session).reset is Session.reset
    if not (session.concurrent and stateless and threads and computes_itself(session.device())):
        return 1
    return max(1, min(MAX_LANES, cores // threads))


@dataclass(frozen=True)
class Tolerance:
    """How far outputs may differ from the reference, and where that limit comes from."""

    limit: float
    basis: str = ""
    outputs: Mapping[str, float] = field(default_factory=dict)  # those with a limit of their own

    def of(self, output: str) -> float:
        return self.outputs.get(output, self.limit)


def tolerance(precision: str, parity: Parity, asked: float | None = None) -> Tolerance:
    """Returns what a cell of this precision may be off the reference. `asked`: the user's own limit."""
    if asked is not None:
        return Tolerance(asked, quality_words.ASKED)
    if precision not in PARITY_LIMIT:
        return _with_rounding(REDUCED_PARITY_LIMIT, quality_words.REDUCED_PRECISION, parity)
    return _with_rounding(
        PARITY_LIMIT[precision], quality_words.rounding(arithmetic="fp32"), parity
    )


def _with_rounding(limit: float, basis: str, parity: Parity, times: float = ROUNDINGS) -> Tolerance:
    if parity.arithmetic and not parity.moved:
        return Tolerance(
            max(limit, REDUCED_PARITY_LIMIT), quality_words.rounding(arithmetic=parity.arithmetic)
        )
    outputs = {
        name: min(_most(parity), times * moved)
        for name, moved in parity.moved.items()
        if times * moved > limit
    }
    if not parity.arithmetic and not outputs:
        return Tolerance(limit, basis)
    basis = quality_words.roundings(times, parity.arithmetic)
    return Tolerance(limit, basis, outputs)


class Deviation(NamedTuple):
    """The output that comes closest to its limit, or is furthest beyond it."""

    error: float
    limit: float
    output: str = ""

    @property
    def held(self) -> bool:
        return self.error <= self.limit


def deviation(got: Sequence[Outputs], want: Sequence[Outputs], allowed: Tolerance) -> Deviation:
    """How far outputs lie from those that they are held against."""
    apart = distances(got, want).items()
    deviations = [Deviation(far, allowed.of(name), name) for name, far in apart]
    return max(deviations, key=lambda each: each.error / each.limit if each.limit else each.error)


@dataclass(frozen=True)
class Matched:
    """A head's outputs under the names of base's, and a note where the names are not the same."""

    head: list[Outputs]
    note: str = ""


def matched(base: Sequence[Outputs], head: Sequence[Outputs]) -> Matched | str:
    """Which output of head is which of base: that of its name, and of those without one the next in
    order. Why they cannot be compared, where there are not as many or one has another shape."""
    theirs, mine = base[0], head[0]
    free = iter([name for name in mine if name not in theirs])
    names = {name: name if name in mine else next(free, "") for name in theirs}
    if len(mine) != len(theirs) or len(base) != len(head):
        return quality_words.other_outputs(base=_listed(theirs), head=_listed(mine))
    if any(np.shape(mine[names[name]]) != np.shape(theirs[name]) for name in theirs):
        return quality_words.other_shapes(base=_listed(theirs), head=_listed(mine))
    renamed = [(old, new) for old, new in names.items() if old != new]
    return Matched(
        [{name: item[names[name]] for name in names} for item in head],
        quality_words.renamed_outputs(renamed) if renamed else "",
    )


def _listed(outputs: Outputs) -> str:
    return ", ".join(f"{name!r} {list(np.shape(array))}" for name, array in outputs.items())


@dataclass(frozen=True, kw_only=True)
class Standard:
    precision: str
    reference: Reference = field(default_factory=Reference)
    batch: int = 1
    asked: float | None = None  # the user's own limit

    @property
    def tolerance(self) -> Tolerance:
        return tolerance(self.precision, self.reference.parity, self.asked)


def output_check(
    session: Session,
    items: Sequence[Feeds],
    standard: Standard,
    expected: str,
) -> OutputCheck:
    """The cheap check: the task's first items against this cell's first process, or against the reference.

    Called after the measured window, so that it sees the session in the state that was timed. A model
    that is random by itself is held to nothing.
    """
    batch, parity, count = standard.batch, standard.reference.parity, len(items)
    session.reset()
    got = infer(session, batch, items)
    same = _with_rounding(SAME_SESSION_LIMIT, quality_words.ONE_DEPLOYMENT, parity, times=1)
    if Path(expected).exists():
        want, against, allowed = load_outputs(expected, count), "replicate 0", same
    else:
        save_outputs(expected, got)
        if not standard.reference.path:
            session.reset()
            want, got, against, allowed = got, infer(session, batch, items), "itself", same
        else:
            want, against = load_outputs(standard.reference.path, count), parity.named
            allowed = standard.tolerance
    largest = deviation(got, want, allowed)
    # A reduced precision is judged by its quality, and randomness by nothing.
    free = bool(parity.random) or (
        against == parity.named
        and standard.asked is None
        and (standard.precision not in PARITY_LIMIT or drowned(largest, parity))
    )
    return _checked(against, largest, "" if free else allowed.basis)


def _most(parity: Parity) -> float:
    """Returns what no rounding allows an output to be off by."""
    return MAX_ROUNDING if parity.arithmetic else MAX_FP32_ROUNDING


def drowned(deviation: Deviation, parity: Parity) -> bool:
    """Whether that output is further off than is ever allowed, and rounding alone may do that: the distance does
    not tell right from wrong. What is nearly all rounding may be any number of times off a reference near zero."""
    moved = parity.moved.get(deviation.output, 0.0)
    reach = float("inf") if moved >= NEARLY_ALL else ROUNDINGS * moved
    return bool(np.isfinite(deviation.error)) and _most(parity) < deviation.error <= reach


def _checked(against: str, deviation: Deviation, basis: str) -> OutputCheck:
    """`basis`: why the limit is what it is; "": there is none."""
    return OutputCheck(
        against=against,
        relative_error=min(deviation.error, NOTHING_ALIKE),
        limit=deviation.limit if basis else None,
        passed=deviation.held or not basis,
        basis=basis,
    )


def mismatch(check: OutputCheck) -> Reason:
    """Returns what a check that did not pass found."""
    option = parity_option(check.relative_error)
    form = "random" if check.against == "itself" else "checked" if option else "hopeless"
    return reason(
        f"output_mismatch.{form}",
        against=check.against,
        error=check.relative_error,
        limit=check.limit or 0.0,
        basis=check.basis,
        option=option,
    )


def logits_check(session: GenerationSession, prompts: Prompts, *, expected: str) -> OutputCheck:
    """The cheap check of a decoder: logits after a prompt and a few greedy steps, as many as there is
    room for, against those of this cell's first process; in that one, against themselves after other
    requests."""
    got = [_some_logits(session, prompts)]
    if Path(expected).exists():
        want, against = load_outputs(expected, 1), "replicate 0"
    else:
        save_outputs(expected, got)
        want, against = got, "itself"
        got = [_some_logits(session, prompts)]
    allowed = Tolerance(SAME_SESSION_LIMIT, quality_words.ONE_DEPLOYMENT)
    return _checked(against, deviation(got, want, allowed), allowed.basis)


def _some_logits(session: GenerationSession, prompts: Prompts) -> Outputs:
    raw = session.prefill(prompts)
    rows = [session.logits(raw)]
    for _ in range(min(CHECKED_ITEMS, session.positions - len(prompts[0]))):
        raw = session.step(session.greedy(raw))
        rows.append(session.logits(raw))
    return {"logits": np.stack(rows)}


def quality(
    session: Session,
    task: Task,
    spec: QualitySpec,
    standard: Standard,
    *,
    lanes: int = 1,
    time: QualityTime = UNLIMITED,
) -> Quality:
    """Quality by labels where the task has them, by parity with the reference where it has none.

    A user's own task on a user's own model states no limits: its first metric is reported, and parity
    is demanded beside it. So many `lanes` of items run side by side. Where `time` is over before the last
    item, the items until then are judged.
    """

    def by_parity() -> Quality:
        return _parity_quality(session, task, standard, time)

    def by_labels(spec: QualitySpec) -> Quality:
        return _labelled_quality(session, task, spec, standard.batch, lanes, time)

    if spec.metric != PARITY_METRIC:
        return by_labels(spec)
    names = [name for name in task.metrics if name != PARITY_METRIC]
    if not names:
        return by_parity()
    unlimited = QualitySpec(metric=names[0], also={name: LimitSpec() for name in names[1:]})
    labelled = by_labels(unlimited)
    if standard.reference.parity.random:
        return labelled  # labels alone can judge it
    beside = by_parity()
    return msgspec.structs.replace(
        labelled,
        passed=labelled.passed and beside.passed,
        reason="; ".join(filter(None, (labelled.reason, beside.reason))),
        also=[
            *labelled.also,
            Limit(
                metric=PARITY_METRIC,
                value=beside.value,
                limit=beside.floor,
                better="lower",
                passed=beside.passed,
            ),
        ],
    )


def _labelled_quality(
    session: Session,
    task: Task,
    spec: QualitySpec,
    batch: int,
    lanes: int,
    time: QualityTime,
) -> Quality:
    session.reset()
    with side_by_side(lanes) as spread:

        def run(items: Sequence[Feeds]) -> list[Outputs]:
            return infer(session, batch, items, spread)

        if time == UNLIMITED:
            return judged(task.evaluate(run), task.metrics, spec, len(task), len(task))
        values, items = in_time(task, run, batch * lanes, time)
    return judged(values, task.metrics, spec, items, len(task))


def _parity_quality(session: Session, task: Task, standard: Standard, time: QualityTime) -> Quality:
    batch, reference, allowed = standard.batch, standard.reference, standard.tolerance
    parity, note = reference.parity, reference.note
    if not reference.path:
        cut = len(task) if note == quality_words.NO_TIME_FOR_REFERENCE else None
        return _unknown_parity(note or quality_words.NO_REFERENCE, of=cut)
    if parity.random:
        return _unknown_parity(quality_words.random_model(why=parity.random))
    want = load_outputs(reference.path, len(task))
    got = outputs_in_time(task, len(want), lambda items: infer(session, batch, items), batch, time)
    if not got:
        return unknown_quality(_PARITY, "lower", len(want))
    largest = deviation(got, want[: len(got)], allowed)
    why = ""
    if reference.constant:
        why = quality_words.CONSTANT_OUTPUTS
    elif not largest.held and drowned(largest, parity) and standard.asked is None:
        moved = parity.moved[largest.output]
        return _unknown_parity(
            quality_words.drowned_parity(parity.arithmetic, largest.output, moved)
        )
    elif not largest.held:
        why = quality_words.outputs_differ(
            against=parity.named, error=largest.error, limit=largest.limit, basis=allowed.basis
        )
    return Quality(
        metric=PARITY_METRIC,
        value=largest.error if np.isfinite(largest.error) else None,
        floor=largest.limit,
        better="lower",
        passed=not why,
        items=len(got),
        of=len(want) if len(got) < len(want) else None,
        kind="parity",
        basis=allowed.basis,
        reason=why or note,
    )


def _unknown_parity(why: str, of: int | None = None) -> Quality:
    return unknown_quality(_PARITY, "lower", of, why, "parity")


def unseen(
    session: Session,
    feeds: Sequence[Feeds],
    pool: Sequence[Any],
    typical_ns: int,
    *,
    counts: tuple[int, int],
    seconds: float,
    seed: int,
) -> Unseen:
    """Pool inputs and never-seen ones in turn, for about so long: a backend that answers the latter
    slower, and others of them once more, caches. `pool`: what the session prepared of `feeds`; `counts`: of
    each, at least and at most."""
    least, most = counts
    count = max(least, min(most, round(seconds * 1e9 / (2 * max(typical_ns, 1)))))
    times = _unseen(session, feeds, pool, typical_ns, count, seed)
    return (
        _unseen(session, feeds, pool, typical_ns, least, seed + count) if times.caching else times
    )


def _unseen(
    session: Session,
    feeds: Sequence[Feeds],
    pool: Sequence[Any],
    typical_ns: int,
    count: int,
    seed: int,
) -> Unseen:
    rotation = [index % len(pool) for index in range(count)]
    answer = session.outputs_of(pool[0], session.run(pool[0]))
    fresh: list[Any] = []
    prepare_ns: list[int] = []
    copy_ns: list[int] = []
    for number, index in enumerate(rotation):
        query = never_seen(feeds[index], seed=seed + number)
        prepared, took_ns = timed(partial(session.prepare, query))
        fresh.append(prepared)
        prepare_ns.append(took_ns)
        copy_ns.append(copying_ns(query, answer))
    pool_ns, unseen_ns = in_turn(session.run, [pool[index] for index in rotation], fresh)
    return Unseen(
        pool_ns=pool_ns,
        unseen_ns=unseen_ns,
        caching=looks_cached(pool_ns, unseen_ns, typical_ns),
        prepare_ns=prepare_ns,
        copy_ns=copy_ns,
    )
