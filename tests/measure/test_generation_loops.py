"""The timed loops of text generation, on an injected clock: each mistake of others has a test here."""

from __future__ import annotations

from functools import partial
from itertools import count
from pathlib import Path

import pytest

from edgebench.analysis.per_row.generation_rows import (
    decode_rate,
    intervals,
    prefill_rate,
    time_per_token,
)
from edgebench.generation import Prompts, Room
from edgebench.measure.replicate import generation_loops
from edgebench.measure.replicate.phases import looks_cached
from edgebench.measure.replicate.quality_checks import logits_check
from edgebench.measure.replicate.token_sampling import Sampler
from edgebench.record import Request
from edgebench.testing.fake_decoder import FakeSession

PREFILL_US, STEP_US = 100.0, 10_000.0  # a prompt's token takes 0.1 ms, a step 10 ms
PROMPT = [[3, 1, 4, 1, 5, 9, 2, 6, 5, 3]]


class Clock:
    """Nanoseconds that pass only where somebody spends them."""

    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        return self.now_ns

    def spend(self, nanoseconds: int) -> None:
        self.now_ns += nanoseconds

    def sleep(self, seconds: float) -> None:
        self.now_ns += round(1e9 * seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def session(clock: Clock, width: int = 1, **options: float) -> FakeSession:
    given = {"prefill_us": PREFILL_US, "step_us": STEP_US, **options}
    return FakeSession(64, Room(width, 64), given, clock.spend)


def ask(clock: Clock, made: FakeSession, new_tokens: int, prompts: Prompts = PROMPT) -> Request:
    return generation_loops.timed_request(made, prompts, new_tokens, clock=clock)[0]


def test_n_tokens_have_n_times_and_n_minus_1_intervals(clock: Clock) -> None:
    request = ask(clock, session(clock), 16)
    assert request.new_tokens == [16]
    assert len(request.token_ns) == 16
    assert intervals(request) == [10_000_000] * 15
    assert request.token_ns[0] == 10 * 100_000


@pytest.mark.parametrize("tokens", [2, 16, 50])
def test_rates_count_tokens_over_their_own_intervals(clock: Clock, tokens: int) -> None:
    """n + 1 tokens over n intervals is 6.7 % too fast at 16 tokens."""
    request = ask(clock, session(clock), tokens)
    assert time_per_token(request) == 10_000_000
    assert decode_rate(request) == pytest.approx(100.0)
    assert prefill_rate(request) == pytest.approx(10_000.0)


def test_one_token_has_no_interval(clock: Clock) -> None:
    request = ask(clock, session(clock), 1)
    assert intervals(request) == []
    assert time_per_token(request) is None
    assert decode_rate(request) is None
    assert clock.now_ns == 1_000_000, "no step is made for a token that nobody asked for"


def test_times_of_one_request_do_not_reach_the_next(clock: Clock) -> None:
    """Events that are never cleared made a true 10 ms into 29 ms."""
    made = session(clock)
    each = [ask(clock, made, 8) for _ in range(5)]
    assert {time_per_token(request) for request in each} == {10_000_000}
    assert {request.token_ns[0] for request in each} == {1_000_000}
    assert all(len(request.token_ns) == 8 for request in each)


def test_answers_do_not_depend_on_the_request_before(clock: Clock) -> None:
    made = session(clock)
    alone = generation_loops.timed_request(made, PROMPT, 8, clock=clock)[1]
    ask(clock, made, 5, [[60, 61, 62]])
    assert generation_loops.timed_request(made, PROMPT, 8, clock=clock)[1] == alone


@pytest.mark.parametrize("room", [0, 1, 3, 40])
def test_the_output_check_keeps_to_the_room_of_the_row(
    clock: Clock, tmp_path: Path, room: int
) -> None:
    """A row of one new token has room for one step."""
    made = FakeSession(64, Room(1, len(PROMPT[0]) + room), {}, clock.spend)
    for against in ("itself", "replicate 0"):
        found = logits_check(made, PROMPT, expected=str(tmp_path / "expected.npz"))
        assert (found.against, found.passed) == (against, True)


def test_prefill_and_decode_are_no_lump(clock: Clock) -> None:
    made = session(clock)
    short, long = (ask(clock, made, 4, [[1] * length]) for length in (5, 50))
    assert long.token_ns[0] == 10 * short.token_ns[0]
    assert intervals(long) == intervals(short)


def test_sequences_side_by_side_count_each(clock: Clock) -> None:
    made = session(clock, width=4)
    request = ask(clock, made, 8, PROMPT * 4)
    assert request.new_tokens == [8] * 4
    assert decode_rate(request) == pytest.approx(400.0)
    assert prefill_rate(request) == pytest.approx(10_000.0)


def test_an_end_of_text_ends_where_it_is_respected(clock: Clock) -> None:
    made = session(clock)
    tokens = generation_loops.timed_request(made, PROMPT, 16, clock=clock)[1]
    end = tokens[5][0]
    ended, kept = generation_loops.timed_request(made, PROMPT, 16, ends={end}, clock=clock)
    assert ended.stop == ["end_of_text"]
    assert ended.new_tokens == [tokens.index([end]) + 1] == [len(kept)]
    fixed = ask(clock, made, 16)
    assert fixed.stop == ["length"]
    assert fixed.new_tokens == [16]


def test_a_request_goes_on_until_every_sequence_has_ended(clock: Clock) -> None:
    made = session(clock, width=2)
    prompts = [PROMPT[0], [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]]
    tokens = generation_loops.timed_request(made, prompts, 12, clock=clock)[1]
    ends = {tokens[2][0], tokens[6][1]}
    request, kept = generation_loops.timed_request(made, prompts, 12, ends=ends, clock=clock)
    assert len(kept) == max(request.new_tokens) == len(request.token_ns)
    assert request.stop == ["end_of_text", "end_of_text"]
    assert decode_rate(request) == pytest.approx(
        (sum(request.new_tokens) - 2) / (0.01 * (len(kept) - 1))
    )


def test_a_window_ends_when_the_length_is_known(clock: Clock) -> None:
    made = session(clock)
    window, measured = generation_loops.one_after_the_other(
        lambda prompts: ask(clock, made, 4, prompts),
        [PROMPT],
        slice_s=100,
        target=0.02,
        max_samples=1000,
        clock=clock,
    )
    assert window.stop == "precise"
    assert len(measured) == 2 * generation_loops.MIN_REQUESTS
    assert window.samples_ns == [request.token_ns[-1] for request in measured]


def test_a_slow_decoder_still_gets_some_requests(clock: Clock) -> None:
    made = session(clock)
    window, measured = generation_loops.one_after_the_other(
        lambda prompts: ask(clock, made, 10, prompts),
        [PROMPT],
        slice_s=0.05,
        target=0.02,
        max_samples=1000,
        clock=clock,
    )
    assert window.stop == "time"
    assert len(measured) == 3


def test_the_same_prompt_again_shows_a_kept_beginning(clock: Clock) -> None:
    """A runtime that keeps the last prompt's cache answers its second time sooner."""

    class Keeping(FakeSession):
        last: Prompts = ()

        def prefill(self, prompts: Prompts) -> list[list[int]]:
            before, self.last = self.last, prompts
            if before == prompts:
                self._prefill_ns = 0
            raw = super().prefill(prompts)
            self._prefill_ns = round(PREFILL_US * 1000)
            return raw

    fresh = [[[number, *PROMPT[0]]] for number in range(6)]
    for kind, kept in ((FakeSession, False), (Keeping, True)):
        made = kind(64, Room(1, 64), {"prefill_us": PREFILL_US, "step_us": STEP_US}, clock.spend)
        again, first = generation_loops.first_and_again(
            partial(ask, clock, made, 1), fresh, clock.sleep
        )
        assert (max(again) < min(first)) is kept


@pytest.mark.parametrize("rested", [True, False])
def test_a_busy_machine_looks_like_a_cache_only_without_a_rest(rested: bool) -> None:
    """A scheduler interrupts whoever has computed for 1.5 requests, and lets others run for twice a
    request: without a rest it is always the first of two that it interrupts."""

    class Shared(Clock):
        computed_ns = 700_000  # before the first request

        def spend(self, nanoseconds: int) -> None:
            super().spend(nanoseconds)
            self.computed_ns += nanoseconds
            if self.computed_ns > 1_650_000:
                self.now_ns += 2_200_000
                self.computed_ns -= 2_200_000

        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            self.computed_ns = 0

    fresh = [[[number, *PROMPT[0]]] for number in range(6)]
    clock = Shared()
    sleep = clock.sleep if rested else lambda _: None
    again, first = generation_loops.first_and_again(
        partial(ask, clock, session(clock), 1), fresh, sleep
    )
    assert looks_cached(again, first, max(first)) is not rested


def test_sampling_is_seeded_and_follows_the_temperature() -> None:
    made = FakeSession(64, Room(1, 64))
    draw = [
        generation_loops.timed_request(made, PROMPT, 20, choose=Sampler(seed, 5.0))[1]
        for seed in (1, 1, 2)
    ]
    assert draw[0] == draw[1] != draw[2]
    greedy = generation_loops.timed_request(made, PROMPT, 20)[1]
    assert generation_loops.timed_request(made, PROMPT, 20, choose=Sampler(1, 1e-9))[1] == greedy


def test_sampling_draws_from_the_softmax() -> None:
    import numpy as np

    logits = np.log(np.array([[0.7, 0.2, 0.1]], np.float32))
    sampler = Sampler(0, 1.0)
    drawn = [sampler(logits)[0] for _ in range(4000)]
    shares = np.bincount(drawn, minlength=3) / len(drawn)
    np.testing.assert_allclose(shares, [0.7, 0.2, 0.1], atol=0.03)


def test_noise_never_beats_a_logit_that_leaves_no_chance() -> None:
    import numpy as np

    # In single precision one draw in 2^23 is an infinite noise: a dozen of these 2,000 tokens.
    logits = np.full((100, 50_000), -60.0, np.float32)
    logits[:, 7] = 0.0
    sampler = Sampler(0, 1.0)
    assert {token for _ in range(20) for token in sampler(logits)} == {7}


def test_a_failing_step_raises_and_ends_the_request_alone(clock: Clock) -> None:
    made = session(clock, fail_after=3)
    with pytest.raises(RuntimeError, match="failed"):
        ask(clock, made, 8)


def test_warm_up_takes_two_requests_at_least(clock: Clock) -> None:
    numbers = count()
    made = session(clock)

    def counted(prompts: Prompts) -> Request:
        next(numbers)
        return ask(clock, made, 4, prompts)

    warmup = generation_loops.warm_up(counted, [PROMPT], 0.001, clock)
    assert warmup.iterations == next(numbers) == 2


@pytest.mark.parametrize(("left_s", "least"), [(1e9, 2), (41.0, 2), (39.0, 1), (25.0, 0), (5.0, 0)])
def test_a_slow_backend_under_a_short_budget_keeps_its_window_and_not_its_warm_up(
    clock: Clock, left_s: float, least: int
) -> None:
    assert generation_loops.least_warm_up(10.0, left_s) == least
    made = session(clock)
    warmup = generation_loops.warm_up(
        lambda prompts: ask(clock, made, 4, prompts), [PROMPT], 0.0, clock, least
    )
    assert warmup.iterations == least


def test_the_first_request_tells_how_long_others_may_take(clock: Clock) -> None:
    first = ask(clock, session(clock), 3)
    whole = ask(clock, session(clock), 50)
    assert generation_loops.expected_s(first, 50) == pytest.approx(whole.token_ns[-1] / 1e9)
    assert generation_loops.expected_s(ask(clock, session(clock), 1), 1) == pytest.approx(0.001)
