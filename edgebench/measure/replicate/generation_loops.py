"""The timed loops of text generation. They know no backend and no task: they call `session.stream`.

A request's clock starts before the prefill and is read when each token is known. Between two tokens
stand one clock read and two appends, nothing else of ours.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from itertools import cycle, pairwise
from typing import Literal

from edgebench import stats
from edgebench.generation import Choose, GenerationSession, Prompts
from edgebench.measure.replicate.loops import MAX_SLICES, Clock, Window, no_gc, usage
from edgebench.measure.replicate.warmup import SteadyDetector
from edgebench.record import Request, Warmup

#: Requests of a window, at least, if `MAX_SLICES` times its length allows them.
MIN_REQUESTS = 3
#: Asleep for so long, a process is given a whole time slice (3 to 4 ms on Linux) when it wakes.
_PAUSE_S = 0.005


def timed_request(
    session: GenerationSession,
    prompts: Prompts,
    new_tokens: int,
    *,
    choose: Choose | None = None,
    ends: Collection[int] = (),
    clock: Clock = time.perf_counter_ns,
) -> tuple[Request, list[list[int]]]:
    """One request and its tokens, as lists of one token for each sequence.

    Ends after `new_tokens`, or earlier where every sequence has had one of `ends`.
    """
    times: list[int] = []
    tokens: list[list[int]] = []
    running = set(range(len(prompts)))
    start = clock()
    for chosen in session.stream(prompts, choose, new_tokens):
        times.append(clock() - start)
        tokens.append(chosen)
        if ends:
            running -= {number for number in running if chosen[number] in ends}
            if not running:
                break
    counts = [_length([step[n] for step in tokens], ends) for n in range(len(prompts))]
    request = Request(
        prompt_tokens=len(prompts[0]),
        token_ns=times,
        new_tokens=[count for count, _ in counts],
        stop=[stop for _, stop in counts],
    )
    return request, tokens


def _length(
    answer: Sequence[int], ends: Collection[int]
) -> tuple[int, Literal["length", "end_of_text"]]:
    """Tokens of an answer up to its end of text, which counts: it was computed like the others."""
    for number, token in enumerate(answer, start=1):
        if token in ends:
            return number, "end_of_text"
    return len(answer), "length"


def expected_s(first: Request, new_tokens: int) -> float:
    """How long a request of so many tokens takes at most, from the first one: for time-outs alone."""
    times = first.token_ns
    step_ns = max((later - earlier for earlier, later in pairwise(times)), default=times[0])
    return (times[0] + (new_tokens - 1) * step_ns) / 1e9


def least_warm_up(each_s: float, left_s: float) -> int:
    """Requests before the window, which needs one itself: two, or fewer where a budget is short for a slow
    backend. The first tokens were asked for before."""
    return max(0, min(2, int(left_s / each_s) - 2)) if each_s > 0 else 2


def warm_up(
    ask: Callable[[Prompts], Request],
    pool: Sequence[Prompts],
    limit_s: float,
    clock: Clock,
    least: int = 2,
    whole: int = 1,
) -> Warmup:
    """Requests until their length is steady or the time is up; so many at least. `whole`: requests that belong
    together, as the turns of a conversation, whose length is that of all."""
    detector = SteadyDetector(window=2)
    count, start, steady, spent_ns = 0, clock(), False, 0
    for prompts in cycle(pool):
        if steady or (count >= least and clock() - start >= limit_s * 1e9):
            break
        spent_ns += ask(prompts).token_ns[-1]
        count += 1
        if count % whole == 0:
            steady, spent_ns = detector.add(spent_ns), 0
    return Warmup(iterations=count, duration_ns=clock() - start, steady=steady)


def one_after_the_other(
    ask: Callable[[Prompts], Request],
    pool: Sequence[Prompts],
    *,
    slice_s: float,
    target: float,
    max_samples: int,
    min_window_s: float = 0.0,
    whole: int = 1,
    clock: Clock = time.perf_counter_ns,
) -> tuple[Window, list[Request]]:
    """Closed loop of requests, until their length is known within half of `target`, the time is up, or
    at `max_samples`; not before `min_window_s`, which a slow meter of energy may need, nor within `whole` requests
    that belong together."""
    window = Window()
    requests: list[Request] = []
    with no_gc(), usage(window):
        start = clock()
        for prompts in cycle(pool):
            requests.append(ask(prompts))
            window.samples_ns.append(requests[-1].token_ns[-1])
            spent_ns = clock() - start
            if len(requests) % whole:
                continue
            if spent_ns < min_window_s * 1e9 and len(requests) < max_samples:
                continue
            window.stop = _stop(window.samples_ns, spent_ns, slice_s, target, max_samples)
            if window.stop:
                break
        window.window_ns = clock() - start
    return window, requests


def _stop(
    samples: Sequence[int], spent_ns: int, slice_s: float, target: float, most: int
) -> Literal["", "precise", "time", "samples"]:
    if len(samples) >= most:
        return "samples"
    spent = spent_ns / (slice_s * 1e9)
    if spent >= 1 and (len(samples) >= MIN_REQUESTS or spent >= MAX_SLICES):
        return "time"
    if len(samples) < 2 * MIN_REQUESTS:
        return ""
    interval = stats.log_interval(samples)
    return "precise" if interval is not None and interval.half_width <= target / 2 else ""


def first_and_again(
    ask: Callable[[Prompts], Request],
    fresh: Sequence[Prompts],
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[list[int], list[int]]:
    """Times to the first token of the same prompt, given twice in a row: (again, first).

    A runtime that keeps the beginning of a prompt from one request to the next answers the second
    sooner: what it then shows is no request that stands on its own. A pause before each lets it begin
    with a whole time slice: on a busy machine every other request would be interrupted, always the first.
    """
    again_ns: list[int] = []
    first_ns: list[int] = []
    with no_gc():
        for prompts in fresh:
            for kept in (first_ns, again_ns):
                sleep(_PAUSE_S)
                kept.append(ask(prompts).token_ns[0])
    return again_ns, first_ns
