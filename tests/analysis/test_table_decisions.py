"""Fronts and picks: surely dominated, tied, and what the sentence says of it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgebench.analysis.table import build_table
from edgebench.analysis.table_types import Pick, Table
from edgebench.backend import Scalar
from edgebench.record import Reason, Record, Replicate, StateCheck
from edgebench.render.deploy_line import with_words
from edgebench.render.table_wording import remarks
from tests.records import MIB, energy, failed, offline, quality, record, replicate, samples


def variant(precision: str, threads: int = 1) -> dict[str, Scalar]:
    return {"precision": precision, "threads": threads}


def flags(table: Table) -> list[bool | None]:
    return [row.pareto for row in table.rows]


def only_pick(*records: Record) -> Pick:
    (worded,) = with_words(build_table(records)).picks
    return worded


# --- the front


def test_overlapping_latencies_do_not_dominate() -> None:
    clear = build_table(
        [record(variant("fp32"), p50=10e6), record(variant("int8-static"), p50=5e6, seed=1)]
    )
    assert flags(clear) == [False, True]
    overlapping = build_table(
        [
            record(variant("fp32"), p50=10e6, spread=0.05),
            record(variant("int8-static"), p50=9.5e6, spread=0.05, seed=1),
        ]
    )
    assert flags(overlapping) == [True, True]


def test_better_quality_or_less_memory_keeps_a_slow_row_on_the_front() -> None:
    table = build_table(
        [
            record(variant("fp32"), p50=10e6, quality=quality(0.9)),
            record(variant("int8-static"), p50=5e6, quality=quality(0.88)),
            record(variant("int8-dynamic"), p50=20e6, quality=quality(0.88), peak=60 * MIB),
            record(variant("as-is"), p50=20e6, quality=quality(0.86)),
        ]
    )
    assert flags(table) == [True, True, True, False]
    assert table.fronts[0].objectives == ["latency.p50", "quality", "memory.peak"]
    assert table.fronts[0].rows == [0, 1, 2]


def test_pages_of_memory_are_no_difference() -> None:
    table = build_table(
        [
            record(variant("fp32"), p50=10e6, peak=90 * MIB),
            record(variant("int8-static"), p50=5e6, peak=90 * MIB + 200_000),
        ]
    )
    assert flags(table) == [False, True]


def test_struck_rows_neither_stand_on_a_front_nor_push_others_off_it() -> None:
    table = build_table(
        [
            record(variant("fp32"), p50=10e6),
            record(variant("int8-static"), p50=1e6, quality=quality(0.2)),
            failed(variant("int8-dynamic"), "crashed", "died"),
        ]
    )
    assert flags(table) == [True, None, None]


def test_unknown_memory_leaves_the_objective_out_and_says_so() -> None:
    table = build_table(
        [record(variant("fp32"), p50=10e6, peak=None), record(variant("int8-static"), p50=5e6)]
    )
    assert flags(table) == [False, True]
    assert table.fronts[0].left_out[0].objective == "memory.peak"


def test_energy_ranks_only_where_kind_and_scope_agree() -> None:
    fast = record(variant("int8-static"), p50=5e6, energy=energy(0.3))
    frugal = record(variant("fp32"), p50=10e6, energy=energy(0.2))
    table = build_table([fast, frugal])
    assert flags(table) == [True, True]
    assert "energy.j_per_inference" in table.fronts[0].objectives
    other = record(variant("fp32"), p50=10e6, energy=energy(0.2, scope="package"))
    table = build_table([fast, other])
    assert flags(table) == [True, False]
    assert "scope" in table.fronts[0].left_out[-1].reason
    modelled = [
        record(variant("fp32"), p50=10e6, energy=energy(0.2, kind="modelled")),
        record(variant("int8-static"), p50=5e6, energy=energy(0.3, kind="modelled")),
    ]
    assert flags(build_table(modelled)) == [False, True]


def test_one_replicate_is_not_enough_to_rule_a_row_out() -> None:
    single = [replicate(0, samples(5e6, 300, 0))]
    table = build_table(
        [record(variant("fp32"), p50=10e6), record(variant("int8-static"), replicates=single)]
    )
    assert flags(table) == [True, True]


def test_offline_rows_compete_by_throughput_and_apart() -> None:
    def of(precision: str, rate: float) -> Record:
        each = [offline(i, rate + i) for i in range(3)]
        return record(variant(precision), scenario="offline", replicates=each)

    table = build_table([of("fp32", 100), of("int8-static", 200), record(variant("fp32"))])
    assert flags(table) == [False, True, True]
    assert [front.scenario for front in table.fronts] == ["offline", "single_stream"]
    assert table.picks[0].row == 1
    assert "1.99x as fast as fp32" in with_words(table).picks[0].text


# --- the pick


def test_the_fastest_row_that_passes_is_picked_with_its_gain() -> None:
    pick = only_pick(
        record(variant("fp32"), p50=10e6, quality=quality(0.90)),
        record(variant("int8-static"), p50=5e6, seed=1, quality=quality(0.88)),
        record(variant("int8-dynamic"), p50=2e6, seed=2, quality=quality(0.3)),
    )
    assert (pick.row, pick.runner_up, pick.clear) == (1, 0, True)
    assert pick.text.startswith("deploy int8-static: p50 5.0")
    assert "as fast as fp32 (" in pick.text
    assert "-0.02 to fp32" in pick.text
    assert pick.bad_news == ["not good enough: int8-dynamic"]


def test_quality_of_some_items_is_said_and_is_no_bad_news() -> None:
    """The row is the choice: it cannot be `not good enough` beside it."""
    cut = Reason(code="quality_cut", message="quality over 42 of 200 items", fix="raise --budget")
    table = build_table([record(variant("fp32"), quality=quality(0.9, items=42), reasons=[cut])])
    [pick] = with_words(table).picks
    assert (pick.row, pick.bad_news) == (0, [])
    assert remarks(table.rows[0]) == [
        "quality over 42 of 200 items [quality_cut], fix: raise --budget"
    ]


def test_of_tied_rows_the_smaller_wins_and_the_doubt_is_said() -> None:
    pick = only_pick(
        record(variant("fp32"), p50=10e6, spread=0.05),
        record(variant("int8-static"), p50=10.2e6, spread=0.05, seed=1, peak=60 * MIB),
    )
    assert (pick.row, pick.runner_up, pick.clear) == (1, 0, False)
    assert "no clear winner between it and fp32" in pick.text
    assert "less memory" in pick.text
    assert "not clearly faster than fp32" in pick.text


def test_of_tied_rows_of_one_size_the_better_quality_wins() -> None:
    pick = only_pick(
        record(variant("fp32"), p50=10.1e6, spread=0.05, quality=quality(0.9)),
        record(variant("int8-static"), p50=10e6, spread=0.05, seed=1, quality=quality(0.89)),
    )
    assert pick.row == 0
    assert "its quality is better" in pick.text


def test_an_error_rate_is_better_when_it_is_lower() -> None:
    pick = only_pick(
        record(variant("fp32"), spread=0.05, quality=quality(0.2, 0.5, better="lower")),
        record(variant("int8-static"), spread=0.05, quality=quality(0.3, 0.5, better="lower")),
    )
    assert pick.row == 0


def test_bad_news_int8_slower_than_fp32() -> None:
    pick = only_pick(
        record(variant("fp32"), p50=10e6), record(variant("int8-dynamic"), p50=21e6, seed=1)
    )
    assert pick.row == 0
    assert [news.split(" (")[0] for news in pick.bad_news] == ["slower than fp32: int8-dynamic"]


def test_nothing_to_deploy_says_why() -> None:
    pick = only_pick(
        record(variant("fp32"), quality=quality(0.1)),
        failed(variant("int8-static"), "crashed", "died of SIGSEGV"),
    )
    assert (pick.row, pick.id, pick.clear) == (None, None, False)
    assert "1x crashed, 1x quality_below_floor" in pick.text


def test_a_single_replicate_makes_the_choice_uncertain() -> None:
    pick = only_pick(
        record(variant("fp32"), replicates=[replicate(0, samples(9e6, 100, 0))]),
        record(variant("int8-static"), replicates=[replicate(0, samples(5e6, 100, 0))]),
    )
    assert (pick.row, pick.clear) == (1, False)
    assert "not certain" in pick.text


@given(st.lists(st.integers(5, 50), min_size=1, max_size=6, unique=True))
def test_a_clear_pick_is_the_fastest(times: list[int]) -> None:
    records = [
        record({"threads": i}, p50=ms * 1e6, spread=0.001, count=40) for i, ms in enumerate(times)
    ]
    pick = only_pick(*records)
    fastest = min(range(len(times)), key=times.__getitem__)
    gaps = [b / a for a, b in pairwise(sorted(times))]
    assert pick.row == fastest
    assert pick.clear is all(gap > 1.01 for gap in gaps[:1])


@pytest.mark.parametrize("rate", [None, 30.0])
def test_paced_and_closed_loops_do_not_compete(rate: float | None) -> None:
    table = build_table([record(p50=5e6), record(variant("fp32", 2), p50=9e6, rate_per_s=rate)])
    assert flags(table) == ([True, False] if rate is None else [True, True])


def pressed(index: int, busy: bool) -> Replicate:
    evidence = "tasks waited for a CPU 60.0% of the time"
    check = StateCheck(name="cpu_pressure", level="warn", evidence=evidence)
    return replicate(index, samples(5e6, 300, index), state_after=[check] if busy else [])


@pytest.mark.parametrize(("busy", "believed"), [(1, True), (2, False), (3, False)])
def test_a_machine_that_was_busy_most_of_the_time_is_said_with_the_deployment(
    busy: int, believed: bool
) -> None:
    fast = [pressed(index, index < busy) for index in range(3)]
    pick = only_pick(record(variant("fp32"), p50=10e6), record(variant("p8"), replicates=fast))
    assert (pick.busy == "") is believed
    assert pick.clear is believed
    assert ("not to be believed yet" in pick.text) is not believed
    assert ("for sure" in pick.text) is believed


def test_a_choice_among_rows_of_several_runs_is_never_sure() -> None:
    pick = only_pick(record(variant("fp32"), p50=10e6), record(variant("p8"), p50=2e6, run="other"))
    assert (pick.row, pick.clear, pick.runs) == (1, False, 2)
    assert "the drift between 2 runs is not included" in pick.text


@pytest.mark.parametrize("scenario", ["multi_stream", "server"])
def test_a_row_that_is_ranked_by_p99_says_how_many_queries_it_lacks(scenario: str) -> None:
    (row,) = build_table([record(scenario=scenario, count=100)]).rows
    assert not row.ranked
    assert [reason.code for reason in row.reasons] == ["latency_unknown"]
    assert row.reasons[0].message == "p99 is unknown: needs 662 samples, there are 300"


def test_queries_of_other_samples_do_not_compete_and_other_batches_do() -> None:
    rows = [
        record(
            {"precision": "fp32", "batch": batch, "samples_per_query": samples},
            scenario="multi_stream",
            p50=p50,
            seed=seed,
        )
        for seed, (samples, batch, p50) in enumerate([(4, 1, 4e6), (8, 1, 8e6), (8, 8, 6e6)])
    ]
    table = build_table(rows)
    picks = {pick.samples_per_query: pick.id for pick in table.picks}
    assert picks == {4: rows[0].cell.id, 8: rows[2].cell.id}
    assert table.fronts[0].objectives[0] == "latency.p99"
    first = table.rows[0]
    assert first.throughput_per_s == pytest.approx(1e9 / 4e6 * 4, rel=0.02)
    assert all(row.ranked for row in table.rows)  # a larger batch of one query is no more work
