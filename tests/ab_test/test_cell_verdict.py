"""From pairs to rows and to the verdict of the whole; no process is started."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from edgebench.ab_test.ab_report import build_report, cell_verdicts, rules_of
from edgebench.ab_test.ab_report_types import (
    CPU,
    ENERGY,
    MEMORY,
    OUTPUTS,
    QUALITY,
    SIZE,
    WALL,
    GateReport,
    Tolerances,
)
from edgebench.ab_test.ab_runner import ABCell
from edgebench.ab_test.cell_verdict import rows, wanted_pairs, wants_energy
from edgebench.ab_test.pair_record import ArmBlock, Measured, Pair
from edgebench.ab_test.verdict import Rules
from edgebench.gate.verdict_wording import summary
from edgebench.record import Energy, Limit, Memory, OutputCheck, Quality, Reason
from tests.ab_test.pairs import MIB, accuracy, case, measured, pair, pairs

RULES = Rules(tests=2)


def blind() -> Measured:
    """An arm whose peak of memory nothing tells."""
    return measured(memory=Memory(peak_bytes=None, peak_source="unknown"))


def verdicts(found: list[Any]) -> dict[str, str]:
    return {row.metric: row.verdict for row in found}


def test_the_same_thing_passes_in_every_metric() -> None:
    found = rows(case(), pairs(), RULES, 7.5)
    assert verdicts(found) == dict.fromkeys([CPU, WALL, MEMORY, SIZE, QUALITY], "pass")
    cpu = found[0]
    assert cpu.base == pytest.approx(5e6, rel=0.01)
    assert cpu.mde is not None
    assert (cpu.pairs, cpu.seconds) == (5, 7.5)
    assert wanted_pairs(case(), pairs(), RULES) == 5


def test_more_work_regresses_and_no_further_pair_is_wanted() -> None:
    slower = pairs(5, 0.05)
    assert verdicts(rows(case(), slower, RULES))[CPU] == "regress"
    assert wanted_pairs(case(), slower, RULES) == 5


def test_blocking_regresses_by_wall_time_alone() -> None:
    waiting = [
        pair(n, head=measured(seed=9 + n, blocking_ns=1e6), base=measured(seed=n)) for n in range(5)
    ]
    found = verdicts(rows(case(), waiting, RULES))
    assert found[CPU] == "pass"
    assert found[WALL] == "regress"


@pytest.mark.parametrize("unlike", [{"device": True}, {"cores": []}])
def test_where_cores_are_not_pinned_or_a_device_works_cpu_time_is_not_judged(
    unlike: dict[str, Any],
) -> None:
    found = verdicts(rows(case(), pairs(5, **unlike), RULES))
    assert CPU not in found
    assert found[WALL] == "pass"


@pytest.mark.parametrize(
    ("unlike", "waited", "shown"),
    [
        ({}, 2_000_000, 5e6),  # what it waited for its core is no part of what is judged
        ({"device": True}, 2_000_000, 7e6),  # where a device works it is
        ({}, None, 5e6),  # nothing tells: preempted samples are left out
    ],
)
def test_shown_times_of_an_arm_are_the_judged_ones(
    unlike: dict[str, Any], waited: int | None, shown: float
) -> None:
    def arm() -> Measured:
        blocks = [
            ArmBlock(
                wall_ns=[5_000_000, 7_000_000, 7_000_000],
                cpu_ns=[5_000_000] * 3,
                switches=[0, 1, 1],
                waited_ns=[] if waited is None else [0, waited, waited],
            )
        ] * 20
        return msgspec.structs.replace(measured(), blocks=blocks)

    found = [pair(n, base=arm(), head=arm(), **unlike) for n in range(5)]
    [wall] = [row for row in rows(case(), found, RULES) if row.metric == WALL]
    assert (wall.base, wall.head, wall.change) == (shown, shown, 0)


def test_memory_of_which_nothing_is_known_is_shown_and_says_so() -> None:
    blinded = [pair(n, head=blind()) for n in range(5)]
    [memory] = [row for row in rows(case(), blinded, RULES) if row.metric == MEMORY]
    assert not memory.judged
    assert memory.reason == "the peak of head is unknown (unknown)"
    assert wanted_pairs(case(), blinded, RULES) == 5
    assert not [row for row in rows(case(), [], RULES) if row.metric == MEMORY]


def test_a_cell_that_is_report_only_is_not_judged() -> None:
    slow = case(report_only="2 threads take every core")
    found = rows(slow, pairs(5, 0.3), RULES)
    assert [row.judged for row in found if row.metric in (CPU, WALL)] == [False, False]
    assert wanted_pairs(slow, pairs(5, 0.012), RULES) == 5  # no time is spent on deciding it
    shown = ABCell(case=slow, pairs=pairs(5, 0.3))
    assert build_report([shown, ABCell(case=case(), pairs=pairs(5))], RULES).verdict == "pass"
    alone = build_report([shown], RULES)  # memory, size and quality are no answer to the question
    assert alone.verdict == "inconclusive"
    assert alone.reasons[0].code == "report_only"
    assert rules_of([slow, case()], 0.01).tests == 2


def test_other_outputs_are_invalid_whatever_the_times_say() -> None:
    differing = [pair(0, parity_error=0.2), *pairs(5)[1:]]
    found = rows(case(), differing, RULES)
    assert verdicts(found) == {OUTPUTS: "invalid"}  # of latency, nothing is said
    assert "differ from those of base by 0.2" in found[0].reason
    allowed = rows(case(parity_limit=None), differing, RULES)
    assert verdicts(allowed)[CPU] == "pass"


def test_an_output_with_a_limit_of_its_own_is_held_to_that() -> None:
    for error, valid in ((0.3, True), (0.5, False)):
        first = pair(0, parity_error=error, parity_limit=0.4)
        found = rows(case(parity_limit=1e-3), [first, *pairs(5)[1:]], RULES)
        assert ("invalid" not in verdicts(found).values()) == valid


def test_outputs_that_no_limit_makes_comparable_say_so() -> None:
    first = pair(0, parity_error=1e9, parity_note="the outputs of head are not those of base: ...")
    found = rows(case(), [first, *pairs(5)[1:]], RULES)
    assert verdicts(found) == {OUTPUTS: "invalid"}
    assert "not those of base" in found[0].reason
    assert "no limit makes these comparable" in found[0].reason


def test_outputs_that_change_during_the_run_are_invalid() -> None:
    bad = OutputCheck(against="replicate 0", relative_error=0.5, limit=1e-3, passed=False)
    changing = [*pairs(4), pair(4, head=measured(output_check=bad))]
    assert verdicts(rows(case(), changing, RULES)) == {OUTPUTS: "invalid"}


def test_a_faster_head_below_its_floor_regresses() -> None:
    fast = measured(2e6, quality=accuracy(0.80))
    found = rows(case(), [pair(0, head=fast), *pairs(5, -0.5)[1:]], RULES)
    assert verdicts(found)[QUALITY] == "regress"
    assert "accuracy 0.8 < 0.85" in next(row.reason for row in found if row.metric == QUALITY)
    assert build_report([ABCell(case=case(), pairs=[pair(0, head=fast)])], RULES).verdict == (
        "regress"
    )


def test_a_faster_head_that_answers_otherwise_and_fails_its_floor_says_both() -> None:
    fast = pair(0, head=measured(2e6, quality=accuracy(0.80)), parity_error=0.5)
    assert verdicts(rows(case(), [fast], RULES)) == {
        OUTPUTS: "invalid",
        QUALITY: "regress",
    }


def test_a_head_below_its_floor_where_base_is_as_well_is_judged_by_the_drop() -> None:
    def found(head: float) -> dict[str, str]:
        base, after = measured(quality=accuracy(0.80)), measured(quality=accuracy(head))
        return verdicts(rows(case(), [pair(0, base=base, head=after), *pairs(5)[1:]], RULES))

    assert found(0.80)[QUALITY] == "pass"
    assert found(0.77)[QUALITY] == "regress"


@pytest.mark.parametrize(
    ("base", "head", "verdict", "reason"),
    [
        ((0.90, 0.77), (0.90, 0.77), "pass", "base misses its limit as well: hard 0.77 < 0.81"),
        ((0.90, 0.77), (0.90, 0.30), "regress", "hard 0.3 < 0.81, hard was 0.77"),
        ((0.86, 0.77), (0.845, 0.77), "regress", "accuracy 0.845 < 0.85"),  # base held that one
        ((0.845, 0.90), (0.84, 0.80), "regress", "hard 0.8 < 0.81"),
        ((0.84, 0.77), (0.855, 0.90), "pass", ""),
        ((0.80, 0.77), (0.76, 0.77), "regress", "base misses its limit as well: accuracy 0.76"),
        ((0.90, 0.77), (0.90, None), "regress", "hard is unknown, hard was 0.77"),
        ((0.90, None), (0.90, None), "pass", "hard is unknown"),
    ],
)
def test_a_limit_that_base_misses_switches_off_no_other_limit(
    base: tuple[float, float | None],
    head: tuple[float, float | None],
    verdict: str,
    reason: str,
) -> None:
    first = pair(0, base=measured(quality=strict(*base)), head=measured(quality=strict(*head)))
    [row] = [r for r in rows(case(), [first, *pairs(5)[1:]], RULES) if r.metric == QUALITY]
    assert row.verdict == verdict
    assert reason in row.reason


def strict(value: float, hard: float | None) -> Quality:
    """A quality with a limit on a second metric."""
    second = Limit(
        metric="hard", value=hard, limit=0.81, better="higher", passed=(hard or 0) >= 0.81
    )
    first = accuracy(value)
    return msgspec.structs.replace(
        first, also=[second], passed=first.passed and second.passed, reason=""
    )


def beside_a_wide_cell(**evidence: Any) -> GateReport:
    """The report of a sound cell and of one that takes every core."""
    wide = ABCell(case=case("wide", report_only="takes every core"), **evidence)
    return build_report([ABCell(case=case(), pairs=pairs(5)), wide], RULES)


def test_a_report_only_cell_without_cores_is_not_judged_and_not_counted_as_green() -> None:
    failure = Reason(code="cores_taken", message="other jobs hold the cores")
    whole = beside_a_wide_cell(failure=failure)
    assert whole.verdict == "pass"
    assert not [row for row in whole.cells if row.verdict == "invalid" and row.judged]
    assert cell_verdicts(whole) == {"demo": "pass"}
    assert "no regression in 1 of 2 cells, latency judged in 1;" in summary(whole)


@pytest.mark.parametrize(
    "evidence",
    [
        {"failure": Reason(code="crashed", message="head: died of SIGSEGV")},
        {"pairs": [pair(0, parity_error=0.2), *pairs(5)[1:]]},
        {"pairs": [pair(n, base=blind(), head=blind()) for n in range(4)]},
    ],
    ids=["crashed", "other outputs", "too few pairs"],
)
def test_a_report_only_cell_that_failed_is_invalid_all_the_same(evidence: dict[str, Any]) -> None:
    whole = beside_a_wide_cell(**evidence)
    assert whole.verdict == "invalid"
    assert cell_verdicts(whole) == {"demo": "pass", "wide": "invalid"}


def test_summary_shows_detectable_change_of_judged_cells() -> None:
    noisy = [0.0, 0.3, -0.2, 0.25, -0.3]
    whole = beside_a_wide_cell(pairs=[pair(n, change) for n, change in enumerate(noisy)])
    judged = [row.mde for row in whole.cells if row.metric in (CPU, WALL) and row.judged]
    reach = max(mde for mde in judged if mde is not None)
    assert reach < 0.05
    assert summary(whole) == (
        f"PASS: no regression in 2 of 2 cells, latency judged in 1; "
        f"changes from {reach:.1%} on would have shown"
    )


@pytest.mark.parametrize(
    ("quality", "verdict"), [(0.89, "pass"), (0.87, "regress"), (0.95, "improve")]
)
def test_quality_has_a_tolerance_in_points(quality: float, verdict: str) -> None:
    head = measured(quality=accuracy(quality))
    assert verdicts(rows(case(), [pair(0, head=head), *pairs(5)[1:]], RULES))[QUALITY] == verdict


def test_a_policy_may_demand_more_quality_than_the_workload() -> None:
    found = rows(case(quality=0.92), pairs(5), RULES)
    assert verdicts(found)[QUALITY] == "regress"


def test_memory_and_size_have_tolerances_of_their_own() -> None:
    fat = [pair(n, head=measured(peak=100 * MIB, seed=n)) for n in range(5)]
    assert verdicts(rows(case(), fat, RULES))[MEMORY] == "regress"
    peaks = (88, 95, 90, 93, 91)  # noise between processes, none of it a change
    noisy = [pair(n, head=measured(peak=peaks[n] * MIB, seed=n)) for n in range(5)]
    assert verdicts(rows(case(), noisy, RULES))[MEMORY] == "pass"
    assert verdicts(rows(case(), fat, Rules(tests=60, cells=30)))[MEMORY] == "regress"
    wide = case(tolerances=Tolerances(memory=0.2))
    assert verdicts(rows(wide, fat, RULES))[MEMORY] == "pass"
    grown = msgspec.structs.replace(case(), size_bytes={"base": MIB, "head": 2 * MIB})
    assert verdicts(rows(grown, pairs(5), RULES))[SIZE] == "regress"


def test_memory_and_energy_of_all_cells_share_an_error_rate_each() -> None:
    """Also of those whose latency is only shown, which leave latency a single test."""
    wide = [case(f"wide {n}", report_only="every core") for n in range(30)]
    rules = rules_of([case("canary", canary=True), *wide], 0.01)
    found = rows(wide[0], with_energy(NOISE, NOISE), rules)
    alphas = {row.metric: row.alpha for row in found if row.metric in (MEMORY, ENERGY)}
    assert alphas == pytest.approx(dict.fromkeys((MEMORY, ENERGY), 0.01 / 30 / len(rules.looks)))
    some = rules_of([*wide, case()], 0.01)
    assert (some.tests, some.cells) == (2, 31)


def report(**changes: Any) -> GateReport:
    evidence = {
        "canary": ABCell(case=case("canary", canary=True), pairs=pairs(5)),
        "demo": ABCell(case=case(), pairs=pairs(5)),
    }
    return build_report(list((evidence | changes).values()), RULES)


def test_a_canary_outside_tau_makes_the_run_invalid() -> None:
    assert report().verdict == "pass"
    bad = report(canary=ABCell(case=case("canary", canary=True), pairs=pairs(20, 0.03)))
    assert bad.verdict == "invalid"
    assert bad.reasons[0].code == "canary"
    assert wanted_pairs(case(canary=True), pairs(5, 0.03), RULES) == 8


def test_the_fix_of_a_canary_is_about_what_happened_to_it() -> None:
    canary = case("canary", canary=True)
    crashed = Reason(code="crashed", message="base: died of SIGSEGV during measurement")
    assert report(canary=ABCell(case=canary, failure=crashed)).reasons[0].fix == ""
    few = report(canary=ABCell(case=canary, pairs=pairs(3)))
    assert few.reasons[0].fix == "raise --budget"
    noisy = report(canary=ABCell(case=canary, pairs=pairs(20, 0.03)))
    assert "quieter machine" in noisy.reasons[0].fix


def test_a_crash_is_invalid_with_its_reason() -> None:
    failure = Reason(code="crashed", message="head: died of SIGSEGV during measurement")
    crashed = report(demo=ABCell(case=case(), failure=failure))
    assert crashed.verdict == "invalid"
    assert "SIGSEGV" in crashed.cells[0].reason


def test_too_few_pairs_are_invalid() -> None:
    assert report(demo=ABCell(case=case(), pairs=pairs(4))).verdict == "invalid"


def test_without_any_cell_there_is_no_verdict() -> None:
    assert build_report([], RULES).verdict == "invalid"


def test_a_pair_reads_back_as_it_was_written() -> None:
    from edgebench.ab_test import pair_record as form

    one = pair()
    assert form.decode(form.encode(one)) == one


def test_memory_that_is_open_asks_for_further_pairs() -> None:
    peaks = (90, 99, 92, 100, 93)
    undecided = [pair(n, head=measured(peak=peaks[n] * MIB, seed=n)) for n in range(5)]
    assert verdicts(rows(case(), undecided, RULES))[MEMORY] == "inconclusive"
    assert wanted_pairs(case(), undecided, RULES) == 8
    assert wanted_pairs(case(report_only="every core"), undecided, RULES) == 8
    assert wanted_pairs(case(canary=True), undecided, RULES) == 5
    assert wanted_pairs(case(), pairs(5), RULES) == 5


def preempted(arm: Measured) -> Measured:
    """The same, of which nothing is known but its CPU time: it was never undisturbed."""
    blocks = [
        msgspec.structs.replace(block, switches=[1] * len(block.wall_ns), waited_ns=[])
        for block in arm.blocks
    ]
    return msgspec.structs.replace(arm, blocks=blocks)


@pytest.mark.parametrize(("silent", "wanted"), [(0, 12), (1, 9), (2, 10), (8, 8)])
def test_a_pair_that_tells_nothing_of_a_test_is_made_up_for(silent: int, wanted: int) -> None:
    """CPU time is decided; wall time is open at 5 values, and so at 8."""
    found = []
    for number in range(8):
        head = measured(seed=50 + number, blocking_ns=30_000 + 60_000 * (number % 2))
        found.append(
            pair(
                number,
                base=measured(seed=number),
                head=preempted(head) if number < silent else head,
            )
        )
    assert wanted_pairs(case(), found, RULES) == wanted
    [wall] = [row for row in rows(case(), found, RULES) if row.metric == WALL]
    assert wall.verdict == "inconclusive"


def test_a_reading_of_energy_that_is_missing_is_made_up_for() -> None:
    open_still = with_energy(
        (*NOISE, *NOISE[:3]), [0.1, 0.11, 0.104, 0.101, 0.098, 0.11, None, 0.1]
    )
    assert wanted_pairs(case(), open_still, RULES) == 9


def joules(value: float | None, **more: Any) -> Energy:
    if value is None:
        return Energy(status="unavailable", reason="window_too_short", detail="needs 9 s")
    return Energy(
        status="ok", j_per_inference=value, source="ina3221", total_rail="VDD_IN",
        kind="measured_rail", **more,
    )  # fmt: skip


def with_energy(base: Sequence[float | None], head: Sequence[float | None]) -> list[Pair]:
    return [
        pair(
            n, base=measured(seed=n, energy=joules(b)), head=measured(seed=50 + n, energy=joules(h))
        )
        for n, (b, h) in enumerate(zip(base, head, strict=True))
    ]


NOISE = (0.100, 0.101, 0.099, 0.1005, 0.0995)


@pytest.mark.parametrize(
    ("share", "verdict"), [(1.0, "pass"), (1.01, "pass"), (1.12, "regress"), (0.9, "improve")]
)
def test_energy_is_judged_over_pairs(share: float, verdict: str) -> None:
    found = rows(case(), with_energy(NOISE, [share * j for j in reversed(NOISE)]), RULES)
    [row] = [row for row in found if row.metric == ENERGY]
    assert row.verdict == verdict
    assert row.judged
    assert "VDD_IN" in row.reason
    assert row.base == pytest.approx(0.1)


def test_energy_that_no_meter_told_is_shown_with_its_reason() -> None:
    found = rows(case(), with_energy(NOISE, [0.1, None, None, 0.1, 0.1]), RULES)
    [row] = [row for row in found if row.metric == ENERGY]
    assert not row.judged
    assert "window_too_short: needs 9 s" in row.reason
    silent = ABCell(case=case(), pairs=with_energy(NOISE, [0.1, None, None, 0.1, 0.1]))
    assert not build_report([silent], RULES).reasons  # the latency of the cell was judged
    assert not [row for row in rows(case(), pairs(5), RULES) if row.metric == ENERGY]


def test_modelled_energy_is_not_judged() -> None:
    estimate = msgspec.structs.replace(joules(0.1), kind="modelled")
    some = [
        pair(n, base=measured(seed=n, energy=estimate), head=measured(seed=50 + n, energy=estimate))
        for n in range(5)
    ]
    [row] = [row for row in rows(case(), some, RULES) if row.metric == ENERGY]
    assert not row.judged
    assert "modelled, not measured" in row.reason


@pytest.mark.parametrize("nothing", [None, 0.0, -0.1])
def test_a_pair_without_joules_is_made_up_for(nothing: float | None) -> None:
    """Also one of the first five, where nothing can be said yet."""
    some = with_energy(NOISE, [0.1, nothing, 0.101, 0.1, 0.099])
    assert wanted_pairs(case(), some, RULES) == 6
    more = with_energy((*NOISE, 0.1), [0.1, nothing, 0.101, 0.1, 0.099, 0.1])
    [row] = [row for row in rows(case(), more, RULES) if row.metric == ENERGY]
    assert (row.verdict, row.judged, row.pairs) == ("pass", True, 5)
    assert wanted_pairs(case(), more, RULES) == 6


def test_energy_is_measured_until_it_is_decided() -> None:
    assert wants_energy(case(), pairs(4), RULES)
    assert not wants_energy(case(canary=True), [], RULES)
    assert not wants_energy(case(), pairs(5), RULES)  # no meter told anything
    assert not wants_energy(case(), with_energy(NOISE, [None] * 5), RULES)
    assert wants_energy(case(), with_energy(NOISE, [0.1, None, 0.1, 0.1, 0.1]), RULES)
    assert not wants_energy(case(), with_energy(NOISE, NOISE), RULES)
    open_still = with_energy(NOISE, [0.1, 0.11, 0.104, 0.101, 0.098])
    assert wants_energy(case(), open_still, RULES)
    assert wanted_pairs(case(), open_still, RULES) == 8
