"""Requests -> the part `generate` of a row."""

from __future__ import annotations

import msgspec
import pytest

from edgebench.analysis.table import build_table
from edgebench.analysis.table_types import Row
from edgebench.backend import Scalar
from edgebench.record import (
    Energy,
    Generate,
    PlainDecoding,
    Record,
    Replicate,
    Request,
    Speculated,
)
from edgebench.render.table_wording import blocks, remarks
from tests.records import generating, record


def cell(each: list[Replicate], **variant: Scalar) -> Record:
    axes = {"precision": "as-is", "batch": 1, "prompt_tokens": 128, "new_tokens": 16, **variant}
    return record(axes, workload="smollm2-chat", scenario="generate", replicates=each)


def row_of(each: list[Replicate]) -> Row:
    return build_table([cell(each)]).rows[0]


def test_medians_over_all_requests() -> None:
    row = row_of([generating(index, 300_000_000, 20_000_000) for index in range(3)])
    made = row.generate
    assert made is not None
    assert made.ttft_ns == 300_003_000
    assert made.tpot_ns == 20_000_000
    assert made.decode_tokens_per_s == pytest.approx(50.0)
    assert made.prefill_tokens_per_s == pytest.approx(128 / 0.3, rel=1e-4)
    assert (made.prompt_tokens, made.new_tokens) == (128, 16)
    assert (made.requests, made.intervals) == (24, 24 * 15)
    assert row.latency_ns.p50 == 300_003_000 + 15 * 20_000_000


def test_intervals_come_from_replicates() -> None:
    made = row_of([generating(n, 300_000_000, 20_000_000 + n * 100_000) for n in range(3)]).generate
    assert made is not None
    assert made.tpot_of_replicates_ns == [20_000_000, 20_100_000, 20_200_000]
    assert made.tpot_low_ns is not None
    assert made.tpot_high_ns is not None
    assert made.tpot_low_ns < 20_000_000
    assert made.tpot_high_ns > 20_200_000


def test_one_replicate_has_no_interval_and_says_so() -> None:
    row = row_of([generating()])
    assert row.generate is not None
    assert row.generate.ttft_low_ns is None
    assert "2 replicates" in row.unknown["generate.ttft_low_ns"]


def test_answers_of_one_token_have_no_rate_and_say_so() -> None:
    row = row_of([generating(index, tokens=1) for index in range(2)])
    assert row.generate is not None
    assert row.generate.tpot_ns is None
    assert row.generate.decode_tokens_per_s is None
    assert "one token" in row.unknown["generate.tpot_ns"]
    assert row.ranked, "a request of one token was measured all the same"


def test_a_width_multiplies_tokens_not_times() -> None:
    made = row_of([generating(index, width=4) for index in range(2)]).generate
    assert made is not None
    assert made.tpot_ns == 20_000_000
    assert made.decode_tokens_per_s == pytest.approx(200.0)


def test_sequences_that_end_early_count_their_own_tokens() -> None:
    request = Request(
        prompt_tokens=10,
        token_ns=[1_000_000 * n for n in range(10, 20)],
        new_tokens=[10, 4],
        stop=["length", "end_of_text"],
    )
    part = Generate(
        requests=[request],
        width=2,
        positions=64,
        kv_cache_bytes=None,
        temperature=0.0,
        fixed_length=False,
    )
    row = row_of([generating(index, generate=part) for index in range(2)])
    assert row.generate is not None
    assert row.generate.decode_tokens_per_s == pytest.approx((9 + 3) / 0.009)
    assert row.generate.ended == 2
    assert row.unknown["generate.kv_cache_bytes"]


def test_every_null_of_a_row_has_a_reason() -> None:
    row = row_of([generating(tokens=1)])
    assert row.generate is not None
    for name in row.generate.__struct_fields__:
        if getattr(row.generate, name) is None:
            assert row.unknown[f"generate.{name}"], name


def test_other_scenarios_generate_no_text() -> None:
    row = build_table([record()]).rows[0]
    assert row.generate is None
    assert row.unknown["generate"] == "the scenario generates no text"


def test_only_requests_of_one_shape_compete() -> None:
    each = [generating(index) for index in range(3)]
    longer = [generating(index, 900_000_000, prompt_tokens=512) for index in range(3)]
    table = build_table([cell(each), cell(longer, prompt_tokens=512)])
    assert [front.prompt_tokens for front in table.fronts] == [128, 512]
    assert [pick.row for pick in table.picks] == [0, 1]
    assert table.fronts[0].objectives[:2] == ["generate.ttft", "generate.tpot"]


def test_ttft_must_grow_with_the_prompt() -> None:
    """Steps may take the same time: it is the prefill that has more to do."""
    each = [generating(index) for index in range(3)]
    same = [generating(index, prompt_tokens=512) for index in range(3)]
    grown = [generating(index, 800_000_000, prompt_tokens=512) for index in range(3)]
    rows = build_table([cell(each), cell(same, prompt_tokens=512)]).rows
    assert [row.status for row in rows] == ["invalid", "invalid"]
    assert rows[0].reasons[0].code == "latency_does_not_grow_with_work"
    rows = build_table([cell(each), cell(grown, prompt_tokens=512)]).rows
    assert [row.status for row in rows] == ["ok", "ok"]


def test_a_step_may_cost_the_same_for_more_sequences() -> None:
    one = [generating(index) for index in range(3)]
    four = [generating(index, 1_150_000_000, width=4) for index in range(3)]
    rows = build_table([cell(one), cell(four, batch=4)]).rows
    assert [row.status for row in rows] == ["ok", "ok"]


def test_energy_of_a_token_is_that_of_an_answer_over_its_tokens() -> None:
    each = [generating(index, 300_000_000, 20_000_000) for index in range(3)]
    measured = Energy(status="ok", kind="measured_rail", scope="module", j_per_inference=0.8)
    row = build_table([msgspec.structs.replace(cell(each), energy=measured)]).rows[0]
    assert row.generate is not None
    assert row.generate.j_per_token == pytest.approx(0.8 / 16)


def test_energy_of_a_token_is_unknown_without_a_meter() -> None:
    row = row_of([generating(0, 300_000_000, 20_000_000)])
    assert row.generate is not None
    assert row.generate.j_per_token is None
    assert row.unknown["generate.j_per_token"] == row.energy.reason


# --- speculation and conversations


def speculating(index: int, plain_ns: list[int], ours_ns: list[int]) -> Replicate:
    """Requests of 16 tokens by 6 steps: 10 of 20 drafted tokens were right."""
    made = generating(index)
    assert made.generate is not None
    told = Speculated(steps=6, drafted=20, accepted=10)
    requests = [
        msgspec.structs.replace(request, speculated=told) for request in made.generate.requests
    ]
    plain = PlainDecoding(plain_ns=plain_ns, speculated_ns=ours_ns)
    part = msgspec.structs.replace(
        made.generate, requests=requests, plain=plain, draft_bytes=1000 + index
    )
    return msgspec.structs.replace(made, generate=part)


def test_speculation_counts_and_gains() -> None:
    each = [speculating(n, [200, 800], [100, 400 - 2 * n]) for n in range(3)]
    made = row_of(each).generate
    assert made is not None
    part = made.speculation
    assert part is not None
    assert (part.steps, part.drafted, part.accepted) == (24 * 5, 24 * 20, 24 * 10)
    assert part.acceptance == 0.5
    assert part.tokens_per_step == 3.0
    assert part.gain is not None
    assert part.gain == pytest.approx(2.0, rel=0.01)
    assert part.gain_low is not None
    assert part.gain_high is not None
    assert part.gain_low < part.gain < part.gain_high
    assert (part.compared, part.draft_bytes) == (6, 1002)


def test_every_null_of_speculation_has_a_reason() -> None:
    nothing = speculating(0, [], [])
    assert nothing.generate is not None
    told = Speculated(steps=1, drafted=0, accepted=0)
    requests = [
        msgspec.structs.replace(request, speculated=told) for request in nothing.generate.requests
    ]
    part = msgspec.structs.replace(nothing.generate, requests=requests, draft_bytes=None)
    row = row_of([msgspec.structs.replace(nothing, generate=part)])
    assert row.generate is not None
    found = row.generate.speculation
    assert found is not None
    for name in found.__struct_fields__:
        if getattr(found, name) is None:
            assert row.unknown[f"generate.speculation.{name}"], name
    assert found.gain is None
    plain = row_of([generating()])
    assert plain.unknown["generate.speculation"] == "plain decoding"


def test_turns_have_times_of_their_own() -> None:
    def conversing(index: int) -> Replicate:
        made = generating(index, requests=6)
        assert made.generate is not None
        requests = [
            msgspec.structs.replace(
                request, turn=n % 3 + 1, kept_tokens=100 * (n % 3), kv_used_bytes=5 + n % 3
            )
            for n, request in enumerate(made.generate.requests)
        ]
        part = msgspec.structs.replace(made.generate, requests=requests)
        return msgspec.structs.replace(made, generate=part)

    row = row_of([conversing(0), conversing(1)])
    assert row.generate is not None
    turns = row.generate.turns
    assert [(turn.turn, turn.requests, turn.kept_tokens) for turn in turns] == [
        (1, 4, 0),
        (2, 4, 100),
        (3, 4, 200),
    ]
    assert [turn.kv_used_bytes for turn in turns] == [5, 6, 7]
    assert turns[1].tpot_ns == 20_000_000
    assert any("TTFT by turn" in line for line in remarks(row))


def test_requests_of_other_content_do_not_compete() -> None:
    each = [generating(index) for index in range(3)]
    kinds: list[dict[str, Scalar]] = [
        {"content": "edit"},
        {"content": "chat"},
        {"turns": 5, "reuse": True},
        {"turns": 5, "reuse": False},
    ]
    table = build_table([cell(each, **kind) for kind in kinds])
    assert [front.request for front in table.fronts] == ["content=edit", "content=chat", "turns=5"]
    assert [len(block[2]) for block in blocks(table)] == [1, 1, 2]
