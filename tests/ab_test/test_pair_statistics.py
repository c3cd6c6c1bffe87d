"""The statistic of a pair and the rules of the gate, on synthetic and recorded data, without a clock."""

from __future__ import annotations

import csv
import gzip
import math
import random
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgebench.ab_test.pair_statistics import (
    Block,
    change,
    cpu_ns,
    estimate,
    undisturbed_ns,
    wall_ns,
)
from edgebench.ab_test.verdict import (
    RuleResult,
    Rules,
    Tolerance,
    Verdict,
    judge,
    judge_amounts,
    judge_canary,
    overall,
)
from tests.exact_shares import clopper_pearson

RECORDED = Path(__file__).parents[1] / "data" / "gate" / "recorded_pairs.csv.gz"
TOLERANCE = Tolerance()


def block(ns: float, count: int = 3, switches: int = 0, waited: int = 0) -> Block:
    wall = [round(ns) + waited] * count
    return Block(wall, [round(ns)] * count, [switches] * count, [waited] * count)


def run(
    changes: list[float], rules: Rules, tolerance: Tolerance = TOLERANCE
) -> tuple[RuleResult, int]:
    """The ruling as a gate comes to it: look after look, and the pairs that it took."""
    have = rules.least
    while True:
        ruling = judge(changes[:have], tolerance, rules)
        if ruling.decided or have >= len(changes):
            return ruling, have
        have = min(ruling.wanted, len(changes))


def noise(seed: int, mean: float, sd: float, count: int = 20) -> list[float]:
    source = random.Random(seed)
    return [source.gauss(mean, sd) for _ in range(count)]


# The statistic


def test_a_pair_gives_the_logarithm_of_the_ratio() -> None:
    rounds = [(block(1_000_000), block(1_030_000))] * 20
    assert change(rounds, cpu_ns) == pytest.approx(math.log(1.03), rel=1e-6)


def test_rounds_far_off_are_trimmed_away() -> None:
    rounds = [(block(1_000_000), block(1_010_000))] * 15
    rounds += [(block(1_000_000), block(9_000_000))] * 5
    assert change(rounds, cpu_ns) == pytest.approx(math.log(1.01), rel=1e-6)


def test_wall_time_leaves_out_waits_for_a_core() -> None:
    rounds = [(block(1e6), block(1e6, switches=1, waited=7_000_000))] * 20
    assert change(rounds, undisturbed_ns) == pytest.approx(0)
    whole = change(rounds, wall_ns)
    assert whole is not None
    assert whole > 1


def test_preempted_iterations_are_left_out_where_waits_are_unknown() -> None:
    quiet = Block([1_000_000] * 3, [1_000_000] * 3, [0, 0, 0])
    hit = Block([1_000_000, 9_000_000, 9_000_000], [1_000_000] * 3, [0, 2, 1])
    assert change([(quiet, hit)] * 20, undisturbed_ns) == pytest.approx(0)


def test_a_pair_that_was_preempted_throughout_has_no_wall_time() -> None:
    hit = Block([9_000_000], [1_000_000], [1])
    assert change([(hit, hit)] * 20, undisturbed_ns) is None
    assert change([(hit, hit)] * 20, cpu_ns) == 0


def test_blocking_shows_in_wall_time_and_not_in_cpu_time() -> None:
    blocking = Block([1_200_000] * 3, [1_000_000] * 3, [0] * 3, [0] * 3)
    rounds = [(block(1_000_000), blocking)] * 20
    assert change(rounds, cpu_ns) == pytest.approx(0)
    assert change(rounds, undisturbed_ns) == pytest.approx(math.log(1.2), rel=1e-6)


def test_the_interval_is_students_without_outliers_and_yuens_with_one() -> None:
    plain = estimate([0.01, 0.012, 0.011, 0.009, 0.010])
    assert plain is not None
    assert not plain.trimmed
    # scipy.stats.t.interval(.95, 4, mean, sem)
    assert plain.low(0.025) == pytest.approx(0.0104 - 2.7764451 * 0.00050990195, rel=1e-5)
    calm = [0.01, 0.012, 0.011, 0.009, 0.010, 0.0115, 0.0105]
    outlier = estimate([*calm, 0.5])
    assert outlier is not None
    assert outlier.trimmed
    assert outlier.mean == pytest.approx(0.0108333, rel=1e-5)
    assert outlier.degrees == 5
    few = estimate([*calm[:4], 0.5])  # too few to tell an outlier from a wide spread
    assert few is not None
    assert not few.trimmed


@given(st.lists(st.floats(-0.5, 0.5), min_size=5, max_size=20))
def test_turning_the_sides_round_turns_the_sign(changes: list[float]) -> None:
    ahead, back = estimate(changes), estimate([-each for each in changes])
    assert ahead is not None
    assert back is not None
    assert ahead.mean == pytest.approx(-back.mean, abs=1e-12)
    assert ahead.error == pytest.approx(back.error, abs=1e-12)


def test_clopper_pearson_of_known_values() -> None:
    # scipy.stats.binomtest(k, n).proportion_ci()
    assert clopper_pearson(0, 200) == pytest.approx((0, 0.018275), abs=1e-5)
    assert clopper_pearson(3, 50) == pytest.approx((0.012549, 0.165482), abs=1e-5)
    assert clopper_pearson(50, 50) == pytest.approx((0.928873, 1), abs=1e-5)


# The rules


@pytest.mark.parametrize("tests", [2, 60])
@pytest.mark.parametrize(
    ("shift", "verdict"), [(0.0, "pass"), (0.05, "regress"), (0.03, "regress"), (-0.05, "improve")]
)
def test_clear_changes_have_clear_verdicts(tests: int, shift: float, verdict: Verdict) -> None:
    for seed in range(40):
        ruling, _ = run(noise(seed, math.log1p(shift), 0.003), Rules(tests=tests))
        assert ruling.verdict == verdict, (seed, ruling)


def test_noise_is_neither_a_regression_nor_a_pass() -> None:
    ruling, pairs = run(noise(3, 0.02, 0.08), Rules(tests=2))
    assert ruling.verdict == "inconclusive"
    assert pairs == 20
    assert ruling.reason
    assert ruling.mde is not None
    assert ruling.mde > 0.05


def test_fewer_than_five_pairs_are_invalid() -> None:
    ruling = judge(noise(0, 0, 0.001, 4), TOLERANCE, Rules())
    assert (ruling.verdict, ruling.decided, ruling.wanted) == ("invalid", False, 5)


def test_a_change_within_tau_never_regresses_however_sure() -> None:
    ruling, _ = run([0.009 + 1e-5 * (i % 3) for i in range(20)], Rules(tests=2))
    assert ruling.verdict == "pass"


def test_with_many_tests_the_pairs_that_screened_do_not_confirm() -> None:
    """Five bad pairs, then calm: what a bad moment of the machine looks like."""
    bad = [0.05, 0.051, 0.049, 0.05, 0.0505]
    calm = noise(1, 0, 0.002, 15)
    screened, pairs = run(bad + calm, Rules(tests=60))
    assert screened.verdict != "regress"
    assert pairs == 20
    assert run(bad + calm, Rules(tests=2))[0].verdict == "regress"  # few tests: no second look


@given(st.lists(st.floats(-0.1, 0.1), min_size=5, max_size=20), st.sampled_from([1, 2, 19, 20, 60]))
def test_the_same_pairs_give_the_same_verdict_and_looks_are_never_passed_over(
    changes: list[float], tests: int
) -> None:
    rules = Rules(tests=tests)
    ruling = judge(changes, TOLERANCE, rules)
    assert ruling == judge(changes, TOLERANCE, rules)
    assert ruling.pairs <= len(changes)
    assert ruling.wanted <= rules.cap
    if not ruling.decided:
        assert ruling.wanted > len(changes)
    # A look that decided stands, whatever comes after it.
    if ruling.decided:
        assert judge([*changes, 0.3, -0.3, 0.3], TOLERANCE, rules).verdict == ruling.verdict


@pytest.mark.parametrize("tests", [2, 60])
def test_simulated_family_wise_error_is_below_one_per_cent(tests: int) -> None:
    """Suites in which every test is slower by exactly tau: the worst case that is no regression."""
    rules = Rules(tests=tests)
    suites = 12000 // tests
    false = 0
    for seed in range(suites):
        source = random.Random(1000 * tests + seed)
        shift = math.log1p(TOLERANCE.tau)
        false += any(
            run([source.gauss(shift, 0.004) for _ in range(20)], rules)[0].verdict == "regress"
            for _ in range(tests)
        )
    # So many or more in that many suites have a chance of 1 % or less at a true rate of 1 %.
    assert clopper_pearson(false, suites, 0.98)[0] <= 0.01, (false, suites)


def test_power_and_time_on_synthetic_pairs_of_the_recorded_spread() -> None:
    verdicts: Counter[str] = Counter()
    for seed in range(200):
        verdicts[run(noise(seed, math.log1p(0.05), 0.005), Rules(tests=60))[0].verdict] += 1
    assert verdicts["regress"] >= 190


# Amounts, canary, whole


@pytest.mark.parametrize(
    ("base", "head", "verdict"),
    [
        ([100.0] * 5, [100.0, 101, 102, 101, 100], "pass"),
        ([100.0] * 5, [120.0] * 5, "regress"),
        ([100.0] * 5, [80.0] * 5, "improve"),
        ([100.0] * 5, [104.0, 106, 104, 106, 104], "inconclusive"),
        ([0.0], [0.0], "pass"),
        ([0.0], [5.0], "regress"),
        ([], [], "invalid"),
    ],
)
def test_amounts_are_judged_by_their_tolerance(
    base: list[float], head: list[float], verdict: Verdict
) -> None:
    assert judge_amounts(base, head, 0.05).verdict == verdict


def test_a_canary_outside_tau_is_invalid_after_its_last_look_only() -> None:
    rules = Rules()
    assert judge_canary([0.001] * 5, TOLERANCE, rules).verdict == "pass"
    open_ = judge_canary([0.02] * 5, TOLERANCE, rules)
    assert (open_.verdict, open_.decided, open_.wanted) == ("invalid", False, 8)
    closed = judge_canary([0.02, 0.021] * 10, TOLERANCE, rules)
    assert (closed.verdict, closed.decided) == ("invalid", True)
    assert "+2.1%" in closed.reason or "+2.0%" in closed.reason
    assert judge_canary([], TOLERANCE, rules).verdict == "invalid"


@pytest.mark.parametrize(
    ("verdicts", "canary", "whole"),
    [
        (["pass", "improve"], ["pass"], "improve"),
        (["pass", "pass"], ["pass"], "pass"),
        (["pass", "inconclusive"], ["pass"], "inconclusive"),
        (["invalid", "inconclusive"], ["pass"], "invalid"),
        (["regress", "invalid"], ["pass"], "regress"),
        (["regress"], ["invalid"], "invalid"),
        ([], [], "invalid"),
    ],
)
def test_the_verdict_of_the_whole(
    verdicts: list[Verdict], canary: list[Verdict], whole: Verdict
) -> None:
    assert overall(verdicts, canary) == whole


# Recorded pairs


def recorded() -> dict[str, list[float]]:
    """D of CPU time by what was injected, of pairs of real processes."""
    blocks: dict[tuple[str, str], dict[tuple[int, str], list[int]]] = defaultdict(
        lambda: defaultdict(list)
    )
    with gzip.open(RECORDED, "rt") as file:
        for row in csv.DictReader(file):
            key = (row["injected_pct"], row["pair"])
            blocks[key][(int(row["round"]), row["arm"])].append(int(row["cpu_ns"]))
    found = defaultdict(list)
    for (injected, _), arms in blocks.items():
        rounds = [
            (Block([], arms[(number, "A")], []), Block([], arms[(number, "B")], []))
            for number in sorted({number for number, _ in arms})
        ]
        seen = change(rounds, cpu_ns)
        assert seen is not None
        found[injected].append(seen)
    return found


def test_recorded_pairs_of_the_same_thing_pass() -> None:
    changes = recorded()["0"]
    assert len(changes) >= 40
    assert abs(sum(changes) / len(changes)) < 0.003
    for tests in (2, 60):
        for start in range(len(changes) - 19):
            ruling, _ = run(changes[start : start + 20], Rules(tests=tests))
            assert ruling.verdict == "pass"


def test_recorded_pairs_with_five_per_cent_more_work_regress() -> None:
    changes = recorded()["5"]
    assert len(changes) >= 20
    for tests in (2, 60):
        ruling, pairs = run(changes[:20], Rules(tests=tests))
        assert ruling.verdict == "regress"
        assert pairs <= 16
