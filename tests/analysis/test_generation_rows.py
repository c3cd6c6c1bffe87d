"""Requests -> the part `generate` of a row."""

from __future__ import annotations

import msgspec
import pytest

from edgebench.analysis.table import build_table
from edgebench.analysis.table_types import Row
from edgebench.backend import Scalar
from edgebench.record import Energy, Generate, Record, Replicate, Request
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
