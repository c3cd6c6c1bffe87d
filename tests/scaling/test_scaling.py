"""Test-time scaling on a sampler whose accuracy and cost are known, and through the command line."""

from __future__ import annotations

import hashlib
import json
import math
import os
import subprocess
import sys
from math import comb
from pathlib import Path
from statistics import mean
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgebench.analysis.table import build_table
from edgebench.backend import Scalar
from edgebench.measure.replicate.generation_loops import timed_request
from edgebench.measure.replicate.sampling_plan import answer_questions
from edgebench.record import Energy, Generate, Problem, Record, Request, Sampled, Scaling
from edgebench.report.build_report import build_report
from edgebench.scaling import majority_vote
from edgebench.scaling.accuracy_curves import Scalings, scaling
from edgebench.scaling.cost_fit import decode_fit, decode_ns, prefill_fit
from edgebench.testing.synthetic_reasoner import Cost, SyntheticSession, SyntheticTask
from tests.records import energy, generating, quality, record

CHANCE = 0.7
THINKING = [3] * 150 + [14] * 150  # answers of half the problems fit in 8 tokens, all fit in 16
COST = Cost()


class FakeClock:
    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now

    def spend(self, ns: int) -> None:
        self.now += ns


def session_of(clock: FakeClock, **changes: Any) -> SyntheticSession:
    return SyntheticSession(changes.pop("chance", CHANCE), COST, clock.spend, **changes)


def pass_of(
    samples: int, width: int = 1, wrong: int = 1, thinking: list[int] = THINKING
) -> Scaling:
    clock = FakeClock()
    task = SyntheticTask(thinking, samples, 24)
    session = session_of(clock, wrong=wrong, width=width)
    asked = task.attempts(0)
    return answer_questions(session, task, asked, seed=5, clock=clock)


def timed(prompt: int, count: int = 3) -> list[Request]:
    clock = FakeClock()
    session, task = session_of(clock), SyntheticTask([4], 1, 24)
    made = []
    for number in range(count):
        prompts = [task.encode(task.conversation(number), prompt)]
        request, _ = timed_request(session, prompts, 12, clock=clock)
        made.append(request)
    return made


@pytest.fixture(scope="module")
def five() -> Scaling:
    return pass_of(5)


# --- votes


def test_accuracy_over_budgets_is_that_of_the_sampler(five: Scaling) -> None:
    """Of 150 problems answered by 5 samples each, the mean lies within 3 standard errors."""
    se = math.sqrt(CHANCE * (1 - CHANCE) / (150 * 5))
    for budget, share in ((4, 0.0), (5, 0.5), (15, 0.5), (16, 1.0), (24, 1.0)):
        found = majority_vote.accuracy(five.problems, budget, 1).value
        assert found == pytest.approx(share * CHANCE, abs=3 * share * se + 1e-9), budget


@pytest.mark.parametrize("count", [1, 3, 5])
def test_a_majority_of_two_answers_gains_as_the_binomial_says(five: Scaling, count: int) -> None:
    known = sum(
        comb(count, right) * CHANCE**right * (1 - CHANCE) ** (count - right)
        for right in range(count // 2 + 1, count + 1)
    )
    found = majority_vote.accuracy(five.problems, 24, count)
    assert found.value == pytest.approx(known, abs=3 * math.sqrt(known * (1 - known) / 300))
    assert found.low < known < found.high


def test_an_even_number_of_two_answers_gains_nothing(five: Scaling) -> None:
    """2 votes with ties by lot are as good as 1, and 4 as 3."""
    for even in (2, 4):
        fewer = majority_vote.accuracy(five.problems, 24, even - 1).value
        assert majority_vote.accuracy(five.problems, 24, even).value == pytest.approx(fewer)


@pytest.mark.parametrize(
    ("answers", "share"),
    [
        (["7", "7", "1"], 1.0),
        (["7", "1"], 0.5),
        (["1", "1", "7"], 0.0),
        (["", "", "7"], 1.0),
        (["", ""], 0.0),
        ([], 0.0),
    ],
)
def test_a_vote(answers: list[str], share: float) -> None:
    assert majority_vote.vote(answers, "7") == share


def test_an_answer_changes_with_the_budget() -> None:
    sample = Sampled(tokens=9, ended=True, since=[3, 5, 8], answers=["1", "12", ""])
    assert [majority_vote.answer_at(sample, cut) for cut in (1, 2, 3, 4, 5, 7, 8, 99)] == [
        *("", "", "1", "1", "12", "12", "", "")
    ]


def test_wilson() -> None:
    assert majority_vote.wilson(8, 10)[1:] == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert majority_vote.wilson(0, 20)[1:] == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert majority_vote.wilson(20, 20).high == 1.0


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 200), st.floats(0, 1))
def test_wilson_holds_its_share(count: int, share: float) -> None:
    found = majority_vote.wilson(share * count, count)
    assert 0 <= found.low <= found.value + 1e-9
    assert found.value - 1e-9 <= found.high <= 1


def test_many_samples_are_judged_by_some_of_their_subsets() -> None:
    answers = ["7"] * 20 + ["1"] * 12
    samples = [Sampled(tokens=1, ended=True, since=[1], answers=[answer]) for answer in answers]
    from edgebench.record import Attempt

    problem = Problem(
        kind="k", right="7", prompt_tokens=9, attempts=[Attempt(token_ns=[1], samples=samples)]
    )
    assert majority_vote.accuracy([problem], 1, 16).value > 0.8
    assert majority_vote.accuracy([problem], 1, 32).value == 1.0


# --- cost


@pytest.mark.parametrize("noise", [0, 30_000])
def test_the_prefill_is_found_again(noise: int) -> None:
    each = {
        length: [
            [_later(request, noise * (-1) ** number) for request in timed(length)]
            for number in range(4)
        ]
        for length in (100, 200, 300, 500, 900)
    }
    fit, why = prefill_fit(each)
    assert fit is not None, why
    tolerance = 1e-6 if noise == 0 else 0.02
    assert fit.coefficients_ns == pytest.approx([COST.a, COST.b, COST.c], rel=tolerance)
    assert (fit.points, fit.lengths, fit.shortest, fit.longest) == (20, 5, 128, 1024)
    assert fit.r2 == pytest.approx(1, abs=1e-4)
    assert fit.residual_sd_ns == pytest.approx(noise * math.sqrt(20 / 17), rel=1e-3, abs=1.0)


def _later(request: Request, ns: int) -> Request:
    import msgspec

    return msgspec.structs.replace(request, token_ns=[at + ns for at in request.token_ns])


def test_lengths_of_one_tile_are_one_length() -> None:
    fit, why = prefill_fit({length: [timed(length)] for length in (10, 60, 128, 129)})
    assert fit is None
    assert "padded to 128, there are 2" in why


def test_three_points_leave_no_residual_and_say_so() -> None:
    fit, _ = prefill_fit({length: [timed(length)] for length in (128, 256, 384)})
    assert fit is not None
    assert fit.residual_sd_ns is None


def test_the_step_is_found_again_and_sums_up() -> None:
    requests = [request for length in (60, 300) for request in timed(length)]
    fit, _ = decode_fit(requests)
    assert fit is not None
    assert fit.coefficients_ns == pytest.approx([COST.m, COST.n], rel=1e-6)
    times = requests[0].token_ns
    assert decode_ns(fit, 60, len(times)) == pytest.approx(times[-1] - times[0], rel=1e-9)
    assert decode_ns(fit, 60, 1) == 0


def test_one_interrupted_step_does_not_tilt_the_line() -> None:
    requests = timed(60, 5)
    times = requests[0].token_ns
    slow = Request(
        prompt_tokens=60,
        token_ns=[*times[:4], *(at + 10**9 for at in times[4:])],
        new_tokens=[len(times)],
        stop=["length"],
    )
    fit, _ = decode_fit([slow, *requests[1:]])
    assert fit is not None
    assert fit.coefficients_ns == pytest.approx([COST.m, COST.n], rel=1e-6)


# --- all of it


def records_of(part: Scaling, **of_first: Any) -> list[Record]:
    """Cells of four prompt lengths, the first of which answered the problems."""
    made = []
    for length in (128, 256, 384, 512):
        replicates = []
        for index in range(3):
            requests = timed(length)
            generate = Generate(
                requests=requests,
                width=1,
                positions=600,
                kv_cache_bytes=1,
                temperature=1.0,
                fixed_length=True,
            )
            here = part if index == 0 and length == 128 else None
            replicates.append(generating(index, generate=generate, scaling=here))
        axes: dict[str, Scalar] = {
            "precision": "as-is",
            "batch": 1,
            "prompt_tokens": length,
            "new_tokens": 12,
        }
        more = of_first if length == 128 else {}
        made.append(record(axes, workload="w", scenario="generate", replicates=replicates, **more))
    return made


def scaled(part: Scaling, within_ns: float | None = None) -> Scalings:
    records = records_of(part)
    return scaling(build_table(records), records, within_ns)


def test_predicted_times_are_those_that_were_measured(five: Scaling) -> None:
    [cell] = scaled(five).cells
    assert (cell.problems, cell.samples, cell.width) == (300, 5, 1)
    assert {point.votes for point in cell.points} == {1, 2, 4}
    assert {point.budget for point in cell.points} == {4, 8, 16, 24}
    for point in cell.points:
        assert point.predicted_ns == pytest.approx(point.latency_ns, rel=1e-6)
        if point.accuracy:
            assert point.tokens_per_correct == pytest.approx(point.tokens / point.accuracy)
    [longest] = [p for p in cell.points if (p.budget, p.votes) == (24, 1)]
    assert longest.tokens == pytest.approx(mean(length + 3 for length in THINKING))
    assert cell.unknown["estimated_j_per_correct"]


@pytest.mark.parametrize("kind", ["measured_rail", "modelled"])
@pytest.mark.parametrize("width", [1, 4])
def test_joules_for_a_right_answer_come_from_a_meter_alone(width: int, kind: Any) -> None:
    """A request of four side by side takes four times the joules of an inference, which is one item."""
    part = pass_of(4, width)
    seconds = timed(128)[0].token_ns[-1] * 1e-9
    used = Energy(status="ok", j_per_inference=3.0 * seconds / width, average_w=3.0, kind=kind)
    records = records_of(part, energy=used)
    [cell] = scaling(build_table(records), records).cells
    for point in cell.points:
        found = point.estimated_j_per_correct
        if kind == "modelled" or not point.accuracy:
            assert found is None
        else:
            assert found == pytest.approx(3.0 * point.latency_ns * 1e-9 / point.accuracy)
    assert ("estimated_j_per_correct" in cell.unknown) == (kind == "modelled")


def test_the_pick_is_the_most_accurate_within_the_time(five: Scaling) -> None:
    [cell] = scaled(five).cells
    for within_ns in (8e7, 2e8, 4e8, 1e9):
        [choice] = scaled(five, within_ns).choices
        fast = [p for p in cell.points if (p.predicted_ns or 0) <= within_ns]
        assert choice.point is not None
        assert choice.point.accuracy == max(point.accuracy for point in fast)
        assert choice.by == "predicted"
    [none] = scaled(five, 1e6).choices
    assert none.point is None
    assert none.nearest_ns == min(p.predicted_ns or 0 for p in cell.points)


def test_side_by_side_votes_come_in_one_request() -> None:
    [cell] = scaled(pass_of(4, width=4)).cells
    assert {point.votes for point in cell.points} == {4}
    [serial] = scaled(pass_of(4)).cells
    [wide] = [p for p in cell.points if p.budget == 24]
    [long] = [p for p in serial.points if (p.budget, p.votes) == (24, 4)]
    assert long.latency_ns == pytest.approx(4 * wide.latency_ns, rel=0.01)


def test_a_struck_cell_is_shown_and_never_picked(five: Scaling) -> None:
    bad = quality(50.0, 33.0, metric="perplexity", better="lower")
    records = records_of(five, quality=bad)
    found = scaling(build_table(records), records)
    assert "perplexity" in found.cells[0].left_out
    assert found.choices[0].point is None


def test_versions_of_a_workload_ask_other_problems_and_have_picks_of_their_own(
    five: Scaling,
) -> None:
    first = records_of(five)
    cells = [
        msgspec.structs.replace(
            record.cell, workload_version=2, id=record.cell.id.replace("w@1/", "w@2/")
        )
        for record in first
    ]
    easier = pass_of(5, thinking=[3] * 300)
    second = [
        msgspec.structs.replace(record, cell=cell)
        for record, cell in zip(records_of(easier), cells, strict=True)
    ]
    together = [*first, *second]
    found = scaling(build_table(together), together)
    assert [choice.workload_version for choice in found.choices] == [1, 2]
    assert found.choices[0].row == 0
    assert [group.name for group in build_report(together, []).scalings] == ["w@1", "w@2"]


def test_an_attached_meter_stands_in_the_place_of_the_row_without_it(five: Scaling) -> None:
    records = records_of(five)
    metered = energy(0.5, kind="measured_external", scope="device input", average_w=2.0)
    attached = [msgspec.structs.replace(record, energy=metered) for record in records]
    together = [*records, *attached]
    found = scaling(build_table(together), together)
    assert found == scaling(build_table(attached), attached)
    assert all(p.estimated_j_per_correct for p in found.cells[0].points if p.accuracy)


def test_answers_are_read_from_where_they_are_announced() -> None:
    from edgebench.tasks._generation_items import answer_in, problems

    assert answer_in("3 + 4 = 7. Answer: 7.\nAnd") == "7"
    assert answer_in("Answer: 1. No. Answer: 2") == "2"
    assert answer_in("3 + 4 = 7") == answer_in("3 + 4 = 7. Answer:") == ""
    for problem in problems(4):
        for turn in problem.messages:
            if turn["role"] == "assistant":
                assert answer_in(turn["content"])
        assert len(problem.messages) == 5


# --- the command line

WORKLOAD = """
name: small-reasoning
version: 1
title: Small
task: generate
model: {{ uri: {uri}, sha256: {sha256}, license: none }}
options: {{ temperature: 0.7, scaling_problems: 2, scaling_samples: 2, scaling_tokens: 12, scaling_prompt_tokens: 48 }}
quality: {{ metric: kl_divergence, ceiling: 0.1 }}
scenarios: [generate]
matrix: {{ axes: {{ precision: [as-is], threads: [1], batch: [1], prompt_tokens: [48, 140, 260], new_tokens: [6] }} }}
suites: {{ quick: {{}} }}
"""
FAKE = "edgebench.testing.fake_decoder:FakeDecoder"


def edgebench(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "edgebench", *arguments],
        cwd=folder,
        env={**os.environ, "EDGEBENCH_CACHE": str(folder / "cache"), "COLUMNS": "80"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random decoder on ONNX Runtime and on one that makes answers up."""
    pytest.importorskip("gguf")
    from edgebench.testing.decoders import write_decoder

    folder = tmp_path_factory.mktemp("scaling")
    path = write_decoder(folder / "own.gguf").path
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / "workloads").mkdir()
    text = WORKLOAD.format(uri=f"file:{path}", sha256=digest)
    (folder / "workloads" / "small-reasoning.yaml").write_text(text)
    cell = ("small-reasoning", "--workloads", "workloads", "--replicates", "2", "--slice", "0.2s")
    # Prompts cost what is stated: on a slow machine, what costs nothing looks like work not done.
    for backend in (("ort",), (FAKE, "--set", "prefill_us=5")):
        done = edgebench(folder, "run", *cell, "--backend", *backend)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_a_run_answers_problems_once_and_in_one_length(measured: Path) -> None:
    found = json.loads(edgebench(measured, "scaling", "results", "--format", "json").stdout)
    kept, struck = sorted(found["cells"], key=lambda cell: cell["left_out"])
    assert not kept["left_out"]
    assert "kl_divergence" in struck["left_out"]
    for cell in (kept, struck):
        assert (cell["problems"], cell["samples"], cell["width"]) == (6, 2, 1)
        assert {point["budget"] for point in cell["points"]} == {4, 8, 12}
    assert kept["prefill"]["lengths"] == 3
    assert kept["decode"]["points"] == 15


def test_scaling_text_fits_80_columns_and_states_its_limits(measured: Path) -> None:
    done = edgebench(measured, "scaling", "results", "--within", "2s")
    assert done.returncode == 0
    assert max(map(len, done.stdout.splitlines())) <= 80
    for words in ("6 problems, 2 samples", "decode step:", "residual SD", "struck", "Pick within"):
        assert words in " ".join(done.stdout.split()), words


def test_results_without_problems_are_refused(tmp_path: Path) -> None:
    from edgebench.record import encode

    (tmp_path / "r.jsonl").write_bytes(encode(record()))
    done = edgebench(tmp_path, "scaling", "r.jsonl")
    assert done.returncode == 2
    assert "scaling_samples" in done.stderr
