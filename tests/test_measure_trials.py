"""Sampled answers: counts, cuts and seeds, on a decoder with a clock of its own."""

from __future__ import annotations

from collections.abc import Sequence

from edgebench.generation import Room
from edgebench.measure import trials
from edgebench.record import Trial
from edgebench.task import Trials
from edgebench.testing.fake_decoder import FakeSession

PREFILL_US, STEP_US = 100, 2000


def run(
    width: int = 1, samples: int = 4, ends: frozenset[int] = frozenset(), seed: int = 0
) -> list[Trial]:
    now = [0]

    def spend(nanoseconds: int) -> None:
        now[0] += nanoseconds

    options = {"prefill_us": PREFILL_US, "step_us": STEP_US}
    session = FakeSession(512, Room(width, 64), options, spend)
    asked = Trials([([1, 2, 3], "x"), ([4, 5], "y")], samples, 6, 0.7, ends)
    return trials.measure(session, asked, said, seed, lambda: now[0])


def said(tokens: Sequence[int]) -> str:
    return "-".join(map(str, tokens))


def test_every_task_every_sample_every_cut() -> None:
    found = run()
    assert [trial.task for trial in found] == [0] * 4 + [1] * 4
    for trial in found:
        assert trial.new_tokens == [6]
        assert [answer.count("-") for answer in trial.said[0]] == list(range(6))
        assert trial.said[0][5].startswith(trial.said[0][2])
    assert found[0].token_ns == [300_000 + 2_000_000 * step for step in range(6)]


def test_side_by_side_takes_fewer_requests() -> None:
    found = run(width=4)
    assert [len(trial.said) for trial in found] == [4, 4]


def test_samples_differ_and_a_seed_repeats_them() -> None:
    assert len({trial.said[0][-1] for trial in run()[:4]}) > 1
    assert run(seed=3) == run(seed=3)
    assert run(seed=3) != run(seed=4)


def test_an_end_of_text_ends_an_answer() -> None:
    found = run(ends=frozenset(range(256)), samples=8)
    assert min(trial.new_tokens[0] for trial in found) < 6
    assert all(len(trial.said[0]) == trial.new_tokens[0] for trial in found)
