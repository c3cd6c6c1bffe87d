"""Plans test-time scaling: problems are answered many times at the largest token budget.

A hard cut at b tokens leaves the first b tokens of each sample, whose times are those it would have
had: one pass at the largest budget holds them all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import takewhile

from edgebench.generation import GenerationSession
from edgebench.measure.replicate.generation_loops import timed_request
from edgebench.measure.replicate.loops import Clock, no_gc
from edgebench.measure.replicate.token_sampling import Sampler
from edgebench.record import Attempt, Problem, Sampled, Scaling
from edgebench.task import Attempts, GenerationTask, OutOfTime, Question


def answer_questions(
    session: GenerationSession,
    task: GenerationTask,
    asked: Attempts,
    seed: int,
    clock: Clock = time.perf_counter_ns,
    check: Callable[[], None] = lambda: None,
) -> Scaling:
    """Every question `asked.samples` times, `session.width` side by side; only the first questions where
    `check`, called before each attempt, raises OutOfTime.

    Samples are drawn at the task's temperature from a seed of their own for each attempt, so that they
    depend on no other question.
    """
    requests = -(-asked.samples // session.width)

    def attempt(number: int, question: Question, turn: int) -> Attempt:
        check()
        choose = (
            Sampler(seed + 100_003 * (number + 1) + turn, task.temperature)
            if task.temperature
            else None
        )
        request, steps = timed_request(
            session,
            [question.prompt] * session.width,
            asked.budget,
            choose=choose,
            ends=asked.ends,
            clock=clock,
        )
        lanes = [
            _sampled(
                task, [step[lane] for step in steps][:count], stop == "end_of_text", asked.ends
            )
            for lane, (count, stop) in enumerate(zip(request.new_tokens, request.stop, strict=True))
        ]
        return Attempt(token_ns=request.token_ns, samples=lanes)

    def problem(number: int, question: Question) -> Problem:
        return Problem(
            kind=question.kind,
            right=question.right,
            prompt_tokens=len(question.prompt),
            attempts=[attempt(number, question, turn) for turn in range(requests)],
        )

    problems: list[Problem] = []
    with no_gc(), suppress(OutOfTime):
        problems.extend(problem(*asked_for) for asked_for in enumerate(asked.questions))
    return Scaling(budget=asked.budget, temperature=task.temperature, problems=problems)


def _sampled(
    task: GenerationTask, tokens: Sequence[int], ended: bool, ends: frozenset[int]
) -> Sampled:
    since: list[int] = []
    answers: list[str] = []
    written = list(takewhile(lambda token: token not in ends, tokens))
    for count in range(1, len(written) + 1):
        answer = task.answer(task.decode(written[:count]))
        if answer != (answers[-1] if answers else ""):
            since.append(count)
            answers.append(answer)
    return Sampled(tokens=len(tokens), ended=ended, since=since, answers=answers)
