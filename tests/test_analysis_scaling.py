"""Test-time scaling on a sampler whose accuracy is known, and on costs that are known."""

from __future__ import annotations

import json
import random
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from edgebench.analysis import scaling
from edgebench.backend import Scalar
from edgebench.cli.scaling_ import command
from edgebench.errors import UsageError
from edgebench.record import Generate, Record, Trial, encode
from tests.records import generating, quality, record

TTFT_NS, STEP_NS = 300_000_000, 20_000_000
NEEDED = 4  # tokens before a sampler has said its answer


def trials(
    p: float, tasks: int, samples: int, *, width: int = 1, tokens: int = 8, seed: int = 0
) -> list[Trial]:
    """A sampler that is right with probability p, once it has said NEEDED tokens."""
    drawn = random.Random(seed)

    def answer() -> list[str]:
        said = "right" if drawn.random() < p else "wrong"
        return [""] * (NEEDED - 1) + [said] * (tokens - NEEDED + 1)

    return [
        Trial(
            task=task,
            wanted="right",
            prompt_tokens=100,
            token_ns=[TTFT_NS + STEP_NS * step for step in range(tokens)],
            new_tokens=[tokens] * width,
            said=[answer() for _ in range(width)],
        )
        for task in range(tasks)
        for _ in range(samples // width)
    ]


def point(points: list[scaling.Point], budget: int, samples: int) -> scaling.Point:
    [found] = [p for p in points if (p.budget_tokens, p.samples) == (budget, samples)]
    return found


def test_the_known_accuracy_over_budgets() -> None:
    points = scaling.points_of(trials(0.7, 2000, 1))
    assert [point(points, budget, 1).accuracy for budget in range(1, NEEDED)] == [0.0] * 3
    for budget in range(NEEDED, 9):
        assert point(points, budget, 1).accuracy == pytest.approx(0.7, abs=0.03)
    assert point(points, NEEDED - 1, 1).tokens_per_correct is None


@pytest.mark.parametrize("p", [0.35, 0.65, 0.8])
@pytest.mark.parametrize("samples", [1, 3, 7])
def test_the_vote_gains_what_the_binomial_formula_says(p: float, samples: int) -> None:
    points = scaling.points_of(trials(p, 1000, samples, tokens=NEEDED, seed=samples))
    expected = scaling.majority_accuracy(p, samples)
    assert point(points, NEEDED, samples).accuracy == pytest.approx(expected, abs=0.05)


def test_a_vote_helps_above_one_half_and_harms_below() -> None:
    assert scaling.majority_accuracy(0.6, 5) == pytest.approx(0.68256)
    assert scaling.majority_accuracy(0.4, 5) == pytest.approx(1 - 0.68256)


def test_costs_of_a_cut_are_those_of_its_last_token() -> None:
    points = scaling.points_of(trials(1.0, 10, 4))
    assert point(points, 1, 1).latency_p50_ns == TTFT_NS
    assert point(points, 5, 1).latency_p50_ns == TTFT_NS + 4 * STEP_NS
    assert point(points, 5, 3).latency_p50_ns == 3 * (TTFT_NS + 4 * STEP_NS)
    assert point(points, 5, 3).tokens == 15
    assert point(points, 5, 3).tokens_per_correct == 15


def test_samples_side_by_side_cost_one_request() -> None:
    points = scaling.points_of(trials(1.0, 10, 8, width=4))
    assert {p.samples for p in points} == {4, 8}, "half a request was not measured"
    assert point(points, 5, 4).latency_p50_ns == TTFT_NS + 4 * STEP_NS
    assert point(points, 5, 4).tokens == 20


def test_an_answer_that_ended_costs_no_more_with_a_larger_budget() -> None:
    short = [msgspec.structs.replace(t, new_tokens=[8]) for t in trials(1.0, 3, 1)]
    long = [
        msgspec.structs.replace(t, task=9 + t.task) for t in trials(1.0, 3, 1, tokens=20, seed=1)
    ]
    points = scaling.points_of(short + long)
    assert point(points, 20, 1).tokens == pytest.approx((8 + 20) / 2)
    assert point(points, 20, 1).latency_max_ns == TTFT_NS + 19 * STEP_NS


@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_encloses_the_share(counts: tuple[int, int]) -> None:
    right, count = counts
    low, high = scaling.wilson(right, count)
    assert 0 <= low <= right / count <= high <= 1
    assert low < high


def test_wilson_as_tabulated() -> None:
    assert scaling.wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert scaling.wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)


def test_a_vote_of_equals_goes_to_the_first_and_silence_has_none() -> None:
    assert scaling.majority(["b", "a", "a", "b"]) == "b"
    assert scaling.majority(["", "", "a"]) == "a"
    assert scaling.majority(["", ""]) == ""


# --- fits


def test_known_coefficients_come_back() -> None:
    a, b, c, n, m = 900.0, 2_000_000.0, 5_000_000.0, 18_000_000.0, 3_000.0
    lengths = [128, 256, 384, 512, 1024]
    prefill, _ = scaling.prefill_fit({p: [a * p * p + b * p + c] for p in lengths})
    decode, _ = scaling.decode_fit({x: [n + m * x] for x in range(100, 400)})
    assert prefill is not None
    assert decode is not None
    assert list(prefill.terms.values()) == pytest.approx([a, b, c], rel=1e-6)
    assert list(decode.terms.values()) == pytest.approx([m, n], rel=1e-6)
    assert prefill.r_squared == pytest.approx(1.0)
    assert max(map(abs, decode.residual_ns)) < 1

    context = sum(100 + step for step in range(1, 10))
    expected = a * 128**2 + b * 128 + c + 9 * n + m * context
    assert scaling.predict_ns(prefill, decode, 100, 10) == pytest.approx(expected)
    assert scaling.largest_budget(prefill, decode, 100, expected * 1.0001, 64) == 10
    assert scaling.largest_budget(prefill, decode, 100, 1.0, 64) == 0


def test_residuals_show_a_shape_that_does_not_fit() -> None:
    jump = {128: [100.0], 256: [200.0], 384: [300.0], 512: [900.0]}
    fit, _ = scaling.prefill_fit(jump)
    assert fit is not None
    assert fit.r_squared is not None
    assert fit.r_squared < 0.99
    assert max(map(abs, fit.residual_ns)) > 50


def test_as_many_terms_as_points_prove_nothing() -> None:
    fit, _ = scaling.prefill_fit({128: [1.0], 256: [5.0], 384: [7.0]})
    assert fit is not None
    assert fit.r_squared is None


def test_too_few_lengths_have_no_fit_and_say_so() -> None:
    fit, why = scaling.prefill_fit({128: [1.0], 256: [2.0]})
    assert fit is None
    assert "needs 3 lengths" in why


@pytest.mark.parametrize(("tokens", "expected"), [(1, 128), (128, 128), (129, 256)])
def test_padding(tokens: int, expected: int) -> None:
    assert scaling.padded(tokens) == expected


# --- records, pick, command


def cell(prompt_tokens: int, found: list[Trial], **changes: object) -> Record:
    made = generating(0, TTFT_NS * prompt_tokens // 128, STEP_NS, prompt_tokens=prompt_tokens)
    assert isinstance(made.generate, Generate)
    with_trials = msgspec.structs.replace(
        made, generate=msgspec.structs.replace(made.generate, trials=found)
    )
    variant: dict[str, Scalar] = {"batch": 1, "prompt_tokens": prompt_tokens, "new_tokens": 16}
    return record(
        variant,
        workload="smollm2-budget",
        scenario="generate",
        replicates=[with_trials],
        **changes,  # type: ignore[arg-type]
    )


def test_fits_take_in_cells_with_other_prompts() -> None:
    cells = [cell(length, trials(0.8, 20, 3)) for length in (128, 256, 384, 512)]
    found = scaling.scaling_of(cells)
    assert len(found) == 4
    assert found[0].prefill is not None
    assert found[0].prefill.terms["b_per_token"] == pytest.approx(TTFT_NS / 128, rel=0.01)
    assert found[0].decode is not None
    assert found[0].decode.terms["n"] == pytest.approx(STEP_NS, rel=0.01)
    within = scaling.scaling_of(cells, TTFT_NS + 3 * STEP_NS + STEP_NS // 2)
    assert within[0].fitted_budget == 4


def test_the_pick_keeps_the_limit_on_every_task() -> None:
    one = trials(0.7, 200, 5)
    [free] = scaling.scaling_of([cell(128, one)])
    assert free.pick is not None
    assert free.points[free.pick].samples > 1, "a vote gains where time does not matter"
    within = TTFT_NS + 5 * STEP_NS
    [tight] = scaling.scaling_of([cell(128, one)], within)
    assert tight.pick is not None
    chosen = tight.points[tight.pick]
    assert (chosen.budget_tokens, chosen.samples) == (NEEDED, 1), "the quickest of the best"
    assert chosen.latency_max_ns <= within
    assert len(tight.tied) == 2, "budgets 5 and 6 say the same"
    [none] = scaling.scaling_of([cell(128, one)], 1000)
    assert none.pick is None


def test_a_decoder_that_misses_its_quality_gets_no_pick() -> None:
    bad = quality(43.7, 33.0, metric="perplexity", better="lower")
    [found] = scaling.scaling_of([cell(128, trials(0.9, 20, 1), quality=bad)])
    assert (found.ranked, found.pick) == (False, None)
    assert "perplexity" in found.reason


def test_the_command_prints_80_columns_and_json(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    each = [cell(length, trials(0.7, 18, 3)) for length in (128, 256, 384, 512)]
    file.write_bytes(b"".join(map(encode, each)))
    shown = CliRunner().invoke(command, [str(file), "--within", "2s"], catch_exceptions=False)
    assert shown.exit_code == 0
    assert max(map(len, shown.output.splitlines())) <= 80
    assert "pick: " in shown.output
    assert "residual" in shown.output
    made = CliRunner().invoke(command, [str(file), "--format", "json"], catch_exceptions=False)
    body = json.loads(made.output)
    assert body["schema"] == "edgebench.scaling/1"
    assert body["cells"][0]["points"][0]["tasks"] == 18


def test_results_without_samples_say_what_to_run(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    file.write_bytes(encode(record()))
    with pytest.raises(UsageError, match="no result holds sampled answers"):
        CliRunner().invoke(command, [str(file)], catch_exceptions=False)
