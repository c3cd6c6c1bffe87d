"""Intervals of a change of quality by swapping answers: what they cover, and what they say of nothing changed."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest

from edgebench.search.quality_interval import Change, blocks_of, changes, counted_items, interval

ITEMS = 240


def share(answers: Sequence[bool]) -> dict[str, float]:
    return {"right": sum(answers) / len(answers)}


def answers(rng: Random, chance: float) -> list[bool]:
    return [rng.random() < chance for _ in range(ITEMS)]


def with_flips(rng: Random, base: Sequence[bool], worse: float) -> list[bool]:
    """Right answers become wrong with a chance."""
    return [right and rng.random() >= worse for right in base]


def test_blocks_keep_items_of_one_source_together() -> None:
    blocks = blocks_of([0, 0, 1, 1, 2, 2, 3])
    assert sorted(map(sorted, blocks)) == [[0, 1], [2, 3], [4, 5], [6]]
    assert len(blocks_of(list(range(1000)))) == 24


def test_the_interval_covers_the_true_loss_as_often_as_it_says() -> None:
    rng, missed, runs, worse = Random(5), 0, 300, 0.06
    for _ in range(runs):
        base = answers(rng, 0.8)
        found = changes(share, base, with_flips(rng, base, worse), range(ITEMS))
        missed += interval([found["right"]], 0.95).low > -worse * 0.8
    assert missed / runs < 0.09


def test_a_loss_that_is_there_is_not_called_none() -> None:
    rng, called = Random(6), 0
    for _ in range(50):
        base = answers(rng, 0.8)
        found = changes(share, base, with_flips(rng, base, 0.2), range(ITEMS))
        called += interval([found["right"]], 0.95).low > -0.05
    assert called == 0


def test_no_change_in_few_items_is_no_proof_of_none() -> None:
    def typed(found: Sequence[int]) -> dict[str, float]:
        return {"right": sum(each == number % 7 for number, each in enumerate(found)) / len(found)}

    base = [number % 7 for number in range(ITEMS)]
    found = changes(typed, base, base, range(ITEMS))["right"]
    assert found.still
    assert found.items == pytest.approx(ITEMS, rel=0.2)
    told = interval([found], 0.95)
    assert told.change == 0
    assert told.low < -0.01  # the rule of three: 3 / 240
    assert interval([found] * 4, 0.95).low == pytest.approx(told.low / 4)
    assert interval([found] * 4, 0.95, same_sources=True).low == pytest.approx(told.low)


def test_items_that_a_metric_counts_are_found_by_wrong_answers() -> None:
    def of_every_fourth(found: Sequence[int]) -> dict[str, float]:
        chosen = found[::4]
        return {"right": sum(answer == 7 for answer in chosen) / len(chosen)}

    right = [7 if number % 4 == 0 else number for number in range(ITEMS)]
    counted = counted_items(of_every_fourth, right, "right")
    assert ITEMS / 4 * 0.5 <= counted <= ITEMS / 4 * 2


def test_draws_of_other_sources_narrow_the_interval() -> None:
    rng = Random(7)
    draws = [spread(rng, own=[rng.gauss(0, 0.004) for _ in range(24)]) for _ in range(4)]
    wide, narrow = interval(draws[:1], 0.95), interval(draws, 0.95)
    assert narrow.change - narrow.low < 0.8 * (wide.change - wide.low)


def test_draws_of_the_same_sources_are_no_further_evidence_of_what_these_have_in_common() -> None:
    rng = Random(8)
    own = [rng.gauss(0, 0.004) for _ in range(24)]
    draws = [spread(rng, own) for _ in range(8)]
    one, eight = interval(draws[:1], 0.95), interval(draws, 0.95)
    assert eight.change - eight.low > 0.9 * (one.change - one.low)


def spread(rng: Random, own: Sequence[float]) -> Change:
    """A draw whose blocks add what their source does, and a little of their own."""
    parts = tuple(value + rng.gauss(0, 0.0002) for value in own)
    return Change(change=sum(parts), parts=parts, items=100)


def test_too_few_sources_give_no_interval() -> None:
    assert changes(share, [True] * 40, [True] * 40, [0] * 20 + [1] * 20) == {}
