"""Whether the answers are right: quality against labels, parity with the reference, the cheap check.

The reference is the fp32 model on ONNX Runtime's CPU provider with graph optimisations off.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgebench.backend import Session, computes_itself
from edgebench.generation import GenerationSession, Prompts
from edgebench.measure.completion import copying_ns
from edgebench.measure.inputs import Feeds, Outputs, never_seen, split, stack
from edgebench.measure.phases import looks_cached, timed
from edgebench.measure.quality_time import (
    UNLIMITED,
    QualityTime,
    in_time,
    judged_in_part,
    outputs_in_time,
    unknown_quality,
)
from edgebench.measure.scenario import in_turn
from edgebench.record import Limit, OutputCheck, Quality, Unseen
from edgebench.spec.types import PARITY_METRIC
from edgebench.spec.types import Limit as LimitSpec
from edgebench.spec.types import Quality as QualitySpec
from edgebench.task import Metric, Task

#: Relative error that separates rounding from a wrong result, by precision.
PARITY_LIMIT = {"fp32": 1e-3, "as-is": 1e-3}
REDUCED_PARITY_LIMIT = 0.1
SAME_SESSION_LIMIT = 1e-3  # between two processes of one cell
#: Why there is no reference to compare with.
NATIVE_FILE = (
    "a file in a runtime's own format has no fp32 reference: give the ONNX model it was made from "
    "(--reference), or a task with labels"
)
NO_TIME = "the budget left no time for the fp32 reference"
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


def relative_error(got: Sequence[Outputs], want: Sequence[Outputs]) -> float:
    """Largest ||a - b|| / ||b|| over items and outputs; infinite where shapes or names differ.

    Integer and boolean outputs count the share of elements that differ.
    """
    worst = 0.0
    for mine, theirs in zip(got, want, strict=True):
        if mine.keys() != theirs.keys():
            return float("inf")
        for name in theirs:
            worst = max(worst, _difference(np.asarray(mine[name]), np.asarray(theirs[name])))
    return worst


def _difference(mine: NDArray[Any], theirs: NDArray[Any]) -> float:
    if mine.shape != theirs.shape:
        return float("inf")
    if theirs.dtype.kind != "f":
        return float(np.mean(mine != theirs)) if theirs.size else 0.0
    wide = theirs.astype(np.float64)
    gap = mine.astype(np.float64) - wide
    if not np.all(np.isfinite(mine) == np.isfinite(theirs)):
        return float("inf")
    gap, wide = gap[np.isfinite(wide)], wide[np.isfinite(wide)]
    norm = float(np.linalg.norm(wide))
    return float(np.linalg.norm(gap)) / norm if norm > 0 else float(np.linalg.norm(gap) > 1e-6)


def load_outputs(path: str, count: int) -> list[Outputs]:
    """Outputs of items 0..count-1 from an npz keyed "<item>/<output name>"."""
    with np.load(path) as archive:
        items: dict[int, Outputs] = {}
        for key in archive.files:
            index, _, name = key.partition("/")
            if int(index) < count:
                items.setdefault(int(index), {})[name] = archive[key]
    return [items[index] for index in sorted(items)]


def save_outputs(path: str, outputs: Sequence[Outputs]) -> None:
    """Writes what `load_outputs` reads, all or nothing."""
    arrays: dict[str, Any] = {
        f"{index}/{name}": array
        for index, item in enumerate(outputs)
        for name, array in item.items()
    }
    partial = Path(f"{path}.{os.getpid()}.npz")
    np.savez(partial, **arrays)
    partial.replace(path)


def output_check(
    session: Session,
    items: Sequence[Feeds],
    *,
    batch: int,
    precision: str,
    reference: str,
    expected: str,
) -> OutputCheck:
    """The cheap check: the task's first items against this cell's first process, or against the reference.

    Called after the measured window, so that it sees the session in the state that was timed.
    """
    count = len(items)
    session.reset()
    got = infer(session, batch, items)
    if Path(expected).exists():
        error = relative_error(got, load_outputs(expected, count))
        limit: float | None = SAME_SESSION_LIMIT
        against = "replicate 0"
    else:
        save_outputs(expected, got)
        if not reference:
            return _repeated(session, batch, items, got)
        error = relative_error(got, load_outputs(reference, count))
        limit = PARITY_LIMIT.get(precision)  # a reduced precision is judged by its quality
        against = "reference"
    return OutputCheck(
        against=against,
        relative_error=error if np.isfinite(error) else 1e9,
        limit=limit,
        passed=limit is None or error <= limit,
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
    error = relative_error(got, want)
    return OutputCheck(
        against=against,
        relative_error=error if np.isfinite(error) else 1e9,
        limit=SAME_SESSION_LIMIT,
        passed=error <= SAME_SESSION_LIMIT,
    )


def _some_logits(session: GenerationSession, prompts: Prompts) -> Outputs:
    raw = session.prefill(prompts)
    rows = [session.logits(raw)]
    for _ in range(min(CHECKED_ITEMS, session.positions - len(prompts[0]))):
        raw = session.step(session.greedy(raw))
        rows.append(session.logits(raw))
    return {"logits": np.stack(rows)}


def _repeated(
    session: Session, batch: int, items: Sequence[Feeds], first: Sequence[Outputs]
) -> OutputCheck:
    """Without a reference: whether the session says the same again."""
    session.reset()
    error = relative_error(infer(session, batch, items), first)
    return OutputCheck(
        against="itself",
        relative_error=error if np.isfinite(error) else 1e9,
        limit=SAME_SESSION_LIMIT,
        passed=error <= SAME_SESSION_LIMIT,
    )


def quality(
    session: Session,
    task: Task,
    spec: QualitySpec,
    *,
    batch: int,
    precision: str,
    reference: str,
    constant: bool,
    lanes: int = 1,
    time: QualityTime = UNLIMITED,
    no_reference: str = NATIVE_FILE,
) -> Quality:
    """Quality by labels where the task has them, by parity with the reference where it has none.

    A user's own task on a user's own model states no limits: its first metric is reported, and parity
    is demanded beside it. So many `lanes` of items run side by side. Where `time` is over before the last
    item, the items until then are judged.
    """

    def by_parity() -> Quality:
        return _parity_quality(
            session,
            task,
            batch=batch,
            precision=precision,
            reference=reference,
            constant=constant,
            time=time,
            no_reference=no_reference,
        )

    def by_labels(spec: QualitySpec) -> Quality:
        return _labelled_quality(session, task, spec, batch, lanes, time)

    if spec.metric != PARITY_METRIC:
        return by_labels(spec)
    names = [name for name in task.metrics if name != PARITY_METRIC]
    if not names:
        return by_parity()
    unlimited = QualitySpec(metric=names[0], also={name: LimitSpec() for name in names[1:]})
    labelled, parity = by_labels(unlimited), by_parity()
    return msgspec.structs.replace(
        labelled,
        passed=labelled.passed and parity.passed,
        reason="; ".join(filter(None, (labelled.reason, parity.reason))),
        also=[
            *labelled.also,
            Limit(
                metric=PARITY_METRIC,
                value=parity.value,
                limit=parity.floor,
                better="lower",
                passed=parity.passed,
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
    """The task's metrics over its labelled items, judged by the workload's limits."""
    session.reset()
    with side_by_side(lanes) as spread:

        def run(items: Sequence[Feeds]) -> list[Outputs]:
            return infer(session, batch, items, spread)

        if time == UNLIMITED:
            return judged(task.evaluate(run), task.metrics, spec, len(task))
        values, items = in_time(task, run, batch * lanes, time)
    return judged(values, task.metrics, spec, items, len(task))


def judged(
    values: dict[str, float],
    metrics: Mapping[str, Metric],
    spec: QualitySpec,
    items: int,
    of: int | None = None,
) -> Quality:
    """Metrics against the workload's limits; over `items` of `of`, where the budget cut the pass."""
    if of is not None and items < of:
        return judged_in_part(values, metrics, spec, items, of)
    main = _judge(spec.metric, spec, metrics, values)
    also = [_judge(name, limit, metrics, values) for name, limit in spec.also.items()]
    broken = [limit for limit in (main, *also) if not limit.passed]
    return Quality(
        metric=spec.metric,
        value=main.value,
        floor=main.limit,
        better=main.better,
        passed=not broken,
        items=items,
        kind="labels",
        also=also,
        reason="; ".join(_complaint(limit) for limit in broken),
    )


def _parity_quality(
    session: Session,
    task: Task,
    *,
    batch: int,
    precision: str,
    reference: str,
    constant: bool,
    time: QualityTime,
    no_reference: str,
) -> Quality:
    """Parity with the reference on the first items."""
    if not reference:
        return Quality(
            metric=PARITY_METRIC,
            value=None,
            floor=None,
            better="lower",
            passed=False,
            items=0,
            of=len(task) if no_reference == NO_TIME else None,
            kind="parity",
            reason=no_reference,
        )
    want = load_outputs(reference, len(task))
    got = outputs_in_time(task, len(want), lambda items: infer(session, batch, items), batch, time)
    if not got:
        return unknown_quality(QualitySpec(metric=PARITY_METRIC), "lower", len(want))
    error = relative_error(got, want[: len(got)])
    limit = PARITY_LIMIT.get(precision, REDUCED_PARITY_LIMIT)
    reason = ""
    if constant:
        reason = "the outputs are the same whatever the input: parity would prove nothing"
    elif not error <= limit:
        reason = f"outputs differ from the fp32 reference by {error:.2g} (limit {limit:g})"
    return Quality(
        metric=PARITY_METRIC,
        value=error if np.isfinite(error) else None,
        floor=limit,
        better="lower",
        passed=not reason,
        items=len(got),
        of=len(want) if len(got) < len(want) else None,
        kind="parity",
        reason=reason,
    )


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
    found = _unseen(session, feeds, pool, typical_ns, count, seed)
    return (
        _unseen(session, feeds, pool, typical_ns, least, seed + count) if found.caching else found
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


def _judge(
    name: str, spec: LimitSpec, metrics: Mapping[str, Metric], values: dict[str, float]
) -> Limit:
    metric: Metric | None = metrics.get(name)
    if metric is None or name not in values:
        raise ValueError(f"the task gives no metric {name!r}; it gives {', '.join(sorted(values))}")
    value = float(values[name])
    limit = spec.floor if metric.better == "higher" else spec.ceiling
    known = bool(np.isfinite(value))
    held = limit is None or (value >= limit if metric.better == "higher" else value <= limit)
    return Limit(
        metric=name,
        value=value if known else None,
        limit=limit,
        better=metric.better,
        passed=known and held,
    )


def _complaint(limit: Limit) -> str:
    if limit.value is None:
        return f"{limit.metric} is not a number"
    sign = "<" if limit.better == "higher" else ">"
    return f"{limit.metric} {limit.value:.4g} {sign} {limit.limit:g}"
