"""The search for the prompt that takes longest: its candidates, and that it finds the longest answer."""

from __future__ import annotations

import pytest

from edgebench.analysis.table import build_table
from edgebench.generation import Prompts, Room
from edgebench.measure.loads.worst_inputs import Timed, search
from edgebench.measure.loads.worst_prompts import EFFORT, KINDS, PromptCandidates
from edgebench.measure.replicate.generation_loops import timed_request
from edgebench.render.table_wording import remarks
from edgebench.testing.fake_decoder import FakeSession
from tests.records import record, replicate

HEAD, TAIL, VOCABULARY = [7, 8], [9], 64


def prompts_at(number: int) -> Prompts:
    return [[*HEAD, *(10 + (number * 7 + place) % 50 for place in range(12)), *TAIL]]


def candidates() -> PromptCandidates:
    return PromptCandidates([prompts_at(number) for number in range(4)], prompts_at, VOCABULARY)


@pytest.mark.parametrize("kind", KINDS)
def test_a_candidate_follows_from_its_seed_and_keeps_length_and_template(kind: str) -> None:
    made = candidates()
    seed = next(seed for seed in range(2000) if made.kind_of(seed) == kind)
    (tokens,) = made.make(seed)
    assert made.make(seed) == candidates().make(seed)
    assert len(tokens) == len(prompts_at(0)[0])
    assert tokens[:2] == HEAD
    assert tokens[-1:] == TAIL
    assert all(0 <= token < VOCABULARY for token in tokens)


def test_a_single_prompt_has_no_template_that_could_be_told_apart() -> None:
    made = PromptCandidates([[[1, 2, 3]]], prompts_at, VOCABULARY)
    seed = next(seed for seed in range(100) if made.kind_of(seed) == "one token")
    assert len(set(made.make(seed)[0])) == 1


def test_it_finds_the_prompt_whose_answer_does_not_end() -> None:
    now_ns = 0

    def spend(nanoseconds: int) -> None:
        nonlocal now_ns
        now_ns += nanoseconds

    session = FakeSession(VOCABULARY, Room(1, 64), {"step_us": 10_000.0, "seed": 3}, spend)

    def serve(prompts: Prompts) -> Timed:
        request, tokens = timed_request(session, prompts, 24, ends=range(8), clock=lambda: now_ns)
        return Timed(request.token_ns[-1], 0, len(tokens))

    found = search(serve, candidates(), 20.0, 0, effort=EFFORT, clock=lambda: now_ns)
    assert found.worst_tokens is not None
    assert found.median_tokens is not None
    assert found.worst_tokens > found.median_tokens
    (row,) = build_table([record(replicates=[replicate(worst_case=found)])]).rows
    part = row.worst_case
    assert part is not None
    assert (part.tokens, part.median_tokens) == (found.worst_tokens, found.median_tokens)
    assert part.amplification is not None
    assert part.amplification > 1
    assert any(f"an answer of {part.tokens} tokens" in line for line in remarks(row))
