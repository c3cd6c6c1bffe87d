"""Test-time scaling: small tasks answered several times, each token's time and the answer so far kept.

One pass with the largest budget and number of samples holds all smaller ones: a hard cut of a stream
of tokens is that stream up to there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from edgebench.generation import GenerationSession
from edgebench.measure.requests import timed_request
from edgebench.measure.sampling import Sampler
from edgebench.measure.scenario import Clock, no_gc
from edgebench.record import Trial
from edgebench.task import Trials


def measure(
    session: GenerationSession,
    asked: Trials,
    said: Callable[[Sequence[int]], str],
    seed: int,
    clock: Clock = time.perf_counter_ns,
) -> list[Trial]:
    """Answers of every task: `session.width` side by side in a request, until there are enough."""
    choose = Sampler(seed, asked.temperature) if asked.temperature > 0 else None
    found = []
    for task, (prompt, wanted) in enumerate(asked.prompts):
        for _ in range(-(-asked.samples // session.width)):
            with no_gc():
                request, tokens = timed_request(
                    session,
                    [prompt] * session.width,
                    asked.tokens,
                    choose=choose,
                    ends=asked.ends,
                    clock=clock,
                )
            answers = [
                [step[lane] for step in tokens][:count]
                for lane, count in enumerate(request.new_tokens)
            ]
            found.append(
                Trial(
                    task=task,
                    wanted=wanted,
                    prompt_tokens=request.prompt_tokens,
                    token_ns=request.token_ns,
                    new_tokens=request.new_tokens,
                    said=[
                        [said(answer[:cut]) for cut in range(1, len(answer) + 1)]
                        for answer in answers
                    ],
                )
            )
    return found
