"""Dominance, draws, and fronts that say how sure they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgebench import stats
from edgebench.analysis import dominance, uncertainty
from edgebench.analysis import front_probability as chances
from edgebench.analysis.comparison import Side, compare
from edgebench.analysis.frame import RowFrame
from edgebench.analysis.front_probability import SignedObjective, front_probability
from edgebench.analysis.frontier import frontier
from edgebench.analysis.frontier_report import FrontierReport, FrontRow, report
from edgebench.analysis.objectives import parse_objectives
from edgebench.analysis.pick import pick
from edgebench.analysis.table import build_table
from edgebench.analysis.uncertainty import Uncertain
from edgebench.errors import UsageError
from edgebench.metrics import METRICS
from edgebench.record import Record
from tests import records as make

P50 = METRICS["latency.p50"]
QUALITY = METRICS["quality"]
BOTH = ("latency.p50:min", "quality:max")


def points(columns: int) -> st.SearchStrategy[Any]:
    row = st.tuples(*[st.integers(0, 6).map(float)] * columns)
    return st.lists(row, min_size=1, max_size=40).map(np.array)


def naive(found: Any) -> list[bool]:
    return [
        not any(
            all(a <= b for a, b in zip(other, row, strict=True))
            and any(a < b for a, b in zip(other, row, strict=True))
            for other in found
        )
        for row in found
    ]


# --- dominance


@pytest.mark.parametrize("library", [True, False])
@pytest.mark.parametrize("columns", [1, 2, 3, 4, 5])
def test_the_sorted_filter_agrees_with_the_naive_one(
    columns: int, library: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not library:
        monkeypatch.setattr(dominance, "moocore", lambda: None)

    @given(points(columns))
    @settings(max_examples=60, deadline=None)
    def agrees(found: Any) -> None:
        assert dominance.non_dominated(found).tolist() == naive(found)

    agrees()


def test_the_filter_of_many_points_agrees_with_blocks_of_them() -> None:
    random = np.random.default_rng(3)
    for columns in (2, 3, 4):
        many = random.integers(0, 30, (5000, columns)).astype(float)
        flags = dominance.non_dominated(many)
        front = many[flags]
        for row, flag in zip(many[:300], flags[:300], strict=True):
            assert flag == (not dominance.dominates(front, row).any())


@given(points(3))
def test_dominance_is_irreflexive_and_transitive(found: Any) -> None:
    matrix = dominance.dominates(found[:, None], found[None])
    assert not matrix.diagonal().any()
    assert not (matrix & matrix.T).any()
    two_steps = (matrix.astype(int) @ matrix.astype(int)) > 0
    assert not (two_steps & ~matrix).any()


@pytest.mark.parametrize("library", [True, False])
def test_hypervolume_of_hand_computed_fronts(
    library: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not library:
        monkeypatch.setattr(dominance, "moocore", lambda: None)
    steps = np.array([[1.0, 3.0], [2.0, 2.0], [3.0, 1.0], [3.0, 3.0]])
    # Columns right of 1, 2 and 3: heights 1, 2 and 3 below 4.
    assert dominance.hypervolume(steps, np.array([4.0, 4.0])) == pytest.approx(6.0)
    box = np.array([[1.0, 2.0, 3.0]])
    assert dominance.hypervolume(box, np.array([2.0, 4.0, 6.0])) == pytest.approx(6.0)
    two = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    assert dominance.hypervolume(two, np.array([2.0, 2.0, 1.0])) == pytest.approx(3.0)
    assert dominance.hypervolume(box, np.array([1.0, 1.0, 1.0])) == 0.0


def test_the_knee_is_the_point_closest_to_the_ideal_in_scaled_units() -> None:
    front = np.array([[1.0, 1000.0], [2.0, 200.0], [9.0, 100.0]])
    assert dominance.knee(front) == 1


# --- draws


def test_draws_have_the_interval_that_tables_show() -> None:
    replicates = [7.0e6, 7.2e6, 7.1e6]
    record = make.record(
        replicates=[make.replicate(i, [int(v)] * 64) for i, v in enumerate(replicates)]
    )
    found = uncertainty.uncertain(RowFrame(build_table([record]).rows), P50)
    interval = stats.log_interval(replicates)
    assert interval is not None
    drawn = found.draws(np.array([7], dtype=np.uint64), 0, 20_000, seed=1)[0]
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert np.log(high / low) == pytest.approx(np.log(interval.high / interval.low), rel=0.05)
    assert np.median(drawn) == pytest.approx(7.1e6, rel=1e-3)


def test_the_table_of_t_has_its_quantiles() -> None:
    for degrees in (1, 2, 5, 30):
        table = uncertainty.t_table(degrees)
        for probability in (0.6, 0.9, 0.975):
            found = float(np.quantile(table, probability))
            assert found == pytest.approx(stats.t_quantile(probability, degrees), rel=5e-3)


def test_intervals_from_draws_cover_the_truth_where_resampling_replicates_does_not() -> None:
    random = np.random.default_rng(5)
    covered = resampled = 0
    for key in range(400):
        logs = random.normal(0.0, 0.05, 3)
        error = logs.std(ddof=1) / np.sqrt(3)
        value = np.array([np.exp(logs.mean())])
        found = Uncertain(P50, value, np.array([error]), np.array([2]))
        drawn = found.draws(np.array([key], dtype=np.uint64), 0, 1000, 0)[0]
        low, high = np.quantile(drawn, [0.025, 0.975])
        covered += low <= 1 <= high
        means = random.choice(logs, (1000, 3)).mean(axis=1)
        low, high = np.quantile(means, [0.025, 0.975])
        resampled += low <= 0 <= high
    assert covered >= 0.92 * 400
    assert resampled <= 0.85 * 400


def test_equal_sizes_are_levelled_and_distant_ones_are_not() -> None:
    sizes = np.array([100.0, 100.9, 101.5, 90.0])
    assert uncertainty.quantized(sizes, 0.01).tolist() == [100.0, 100.0, 101.5, 90.0]


# --- odds


def turned(
    values: Sequence[float], error: float | Sequence[float], metric: Any = P50
) -> SignedObjective:
    count = len(values)
    errors = np.full(count, error) if isinstance(error, float) else np.array(error)
    return SignedObjective(Uncertain(metric, np.array(values), errors, np.full(count, 2)), 1.0)


def share(objectives: Sequence[SignedObjective], groups: Sequence[int], keys: Sequence[int]) -> Any:
    found = front_probability(
        objectives, np.array(groups), np.array(keys, dtype=np.uint64), seed=4, draws=400
    )
    return found.share


def test_clear_cases_have_probability_one_and_zero() -> None:
    objectives = [turned([1.0, 3.0, 2.0], 1e-5), turned([0.2, 0.2, 0.1], 0.0)]
    assert share(objectives, [0, 0, 0], [1, 2, 3]).tolist() == [1.0, 0.0, 1.0]


def test_two_equal_values_with_the_same_error_are_even() -> None:
    found = share([turned([1.0, 1.0], 0.02)], [0, 0], [1, 2])
    assert found.sum() == pytest.approx(1.0)
    assert found[0] == pytest.approx(0.5, abs=0.1)


def test_rows_of_different_groups_do_not_compete() -> None:
    assert share([turned([1.0, 3.0], 1e-5)], [0, 1], [1, 2]).tolist() == [1.0, 1.0]


@st.composite
def competitions(draw: st.DrawFn) -> tuple[list[float], list[float], list[int]]:
    count = draw(st.integers(2, 12))
    values = st.lists(st.floats(1.0, 1.2), min_size=count, max_size=count)
    scores = st.lists(st.sampled_from([0.1, 0.2, 0.3]), min_size=count, max_size=count)
    groups = st.lists(st.integers(0, 2), min_size=count, max_size=count)
    return draw(values), draw(scores), draw(groups)


@given(competitions(), st.randoms())
@settings(max_examples=40, deadline=None)
def test_the_order_of_rows_changes_no_probability(competition: Any, random: Any) -> None:
    values, scores, groups = competition
    order = list(range(len(values)))
    random.shuffle(order)
    before = share([turned(values, 0.02), turned(scores, 0.0)], groups, range(len(values)))
    after = share(
        [turned([values[i] for i in order], 0.02), turned([scores[i] for i in order], 0.0)],
        [groups[i] for i in order],
        order,
    )
    assert after.tolist() == [before[i] for i in order]


@given(competitions())
@settings(max_examples=40, deadline=None)
def test_a_dominated_row_more_changes_nothing_for_the_others(competition: Any) -> None:
    values, scores, _ = competition
    groups = [0] * len(values)
    keys = list(range(len(values)))
    before = share([turned(values, 0.02), turned(scores, 0.0)], groups, keys)
    more = [turned([*values, 1e6], 0.02), turned([*scores, 0.9], 0.0)]
    after = share(more, [*groups, 0], [*keys, 99])
    assert after[:-1].tolist() == before.tolist()
    assert after[-1] == 0.0


@given(competitions())
@settings(max_examples=30, deadline=None)
def test_large_groups_are_judged_as_small_ones(competition: Any) -> None:
    values, scores, groups = competition
    objectives = [turned(values, 0.02), turned(scores, 0.0)]
    pairs = share(objectives, groups, range(len(values)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chances, "_SMALL", 1)
        draws = share(objectives, groups, range(len(values)))
    assert np.abs(pairs - draws).max() < 1e-9


# --- fronts of records


def front(
    records: Sequence[Record], objectives: Sequence[str] = BOTH, **options: Any
) -> FrontierReport:
    frame = RowFrame(build_table(records).rows)
    return report(frontier(frame, parse_objectives(objectives), **options))


def row(found: FrontierReport, **variant: Any) -> FrontRow:
    (one,) = [r for r in found.rows if all(r.variant.get(k) == v for k, v in variant.items())]
    return one


def test_a_front_of_clear_rows() -> None:
    found = front(
        [
            make.record({"precision": "fp32"}, p50=7e6, quality=make.quality(0.90)),
            make.record({"precision": "int8"}, p50=4e6, quality=make.quality(0.88)),
            make.record({"precision": "fp16"}, p50=9e6, quality=make.quality(0.90)),
        ]
    )
    assert found.schema == "edgebench.frontier/1"
    fp32, int8, fp16 = (row(found, precision=p) for p in ("fp32", "int8", "fp16"))
    assert (fp32.front, fp32.probability) == ("yes", 1.0)
    assert (int8.front, int8.probability) == ("yes", 1.0)
    assert (fp16.front, fp16.probability) == ("no", 0.0)
    assert fp16.dominated_by == fp32.id
    assert fp32.values["latency.p50"].low is not None
    assert found.groups[0].counts == {"no": 1, "undecided": 0, "yes": 2}
    assert found.groups[0].more_time is None


def test_rows_that_overlap_are_undecided_and_more_time_would_tell_them_apart() -> None:
    found = front(
        [
            make.record({"precision": "a"}, p50=7.00e6, spread=0.01, quality=make.quality(0.9)),
            make.record({"precision": "b"}, p50=7.15e6, spread=0.01, quality=make.quality(0.9)),
        ]
    )
    slow = row(found, precision="b")
    assert slow.front == "undecided"
    assert slow.probability is not None
    assert 0.05 < slow.probability < 0.6
    more = found.groups[0].more_time
    assert more is not None
    assert more.half_width is not None
    assert more.half_width < 0.6
    assert more.replicates == int(60 // (2 * 4.2))  # both rows, 4.2 s a replicate
    assert slow.id in more.would_decide


@pytest.mark.parametrize("small", [256, 1])
def test_rows_that_are_equal_do_not_beat_each_other(
    small: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chances, "_SMALL", small)
    equals = [
        make.record(p50=7e6 * (1 + i / 1e5), seed=i, run=f"run-{i}", quality=make.quality(0.9))
        for i in range(30)
    ]
    slow = make.record(p50=14e6, run="slow", quality=make.quality(0.9))
    found = front([*equals, slow])
    assert [r.run for r in found.rows if r.front == "no"] == ["slow"]
    probabilities = [r.probability for r in found.rows if r.front == "undecided"]
    assert len(probabilities) == 30
    assert max(p for p in probabilities if p is not None) < 0.3


def test_more_replicates_do_not_narrow_the_largest_peak_of_memory() -> None:
    def spread(name: str, peaks: tuple[int, ...]) -> Record:
        made = [make.replicate(i, peak=peak * make.MIB) for i, peak in enumerate(peaks)]
        return make.record({"precision": name}, replicates=made)

    rows = [spread("fp32", (80, 90, 100)), spread("int8", (85, 95, 104))]
    (group,) = front(rows, ["memory.peak:min"]).groups
    assert group.counts["undecided"] == 2
    assert group.more_time is not None
    assert (group.more_time.half_width, group.more_time.would_decide) == (None, [])
    assert "peak of memory" in group.more_time.reason


@pytest.mark.parametrize("confidence", [0.95, 0.999999])
def test_two_replicates_that_lie_apart_are_no_warning(confidence: float) -> None:
    """Student's t with one degree of freedom has draws and intervals beyond all numbers."""
    rows = [
        make.record(
            {"precision": name},
            replicates=[make.replicate(i, make.samples(ns * factor, 100, i)) for i, ns in enumerate((7e6, 9e6))],
        )
        for name, factor in (("fp32", 1.0), ("int8", 0.9))
    ]  # fmt: skip
    frame = RowFrame(build_table(rows).rows)
    found = report(frontier(frame, parse_objectives(BOTH), confidence=confidence))
    assert [one.front for one in found.rows] == ["undecided", "undecided"]
    assert pick(frame, [], confidence=confidence).picks[0].choice is not None
    assert compare([Side("a", frame), Side("b", frame)], confidence=confidence).pairings


def test_a_row_with_one_replicate_is_undecided_without_a_probability() -> None:
    single = [make.replicate(0, make.samples(4e6, 300, 0))]
    found = front(
        [
            make.record({"precision": "fp32"}, p50=7e6, quality=make.quality(0.9)),
            make.record({"precision": "int8"}, replicates=single, quality=make.quality(0.9)),
            make.record({"precision": "fp16"}, p50=8e6, quality=make.quality(0.95)),
        ]
    )
    fp32, int8, fp16 = (row(found, precision=p) for p in ("fp32", "int8", "fp16"))
    assert (int8.front, int8.probability, int8.by_value) == ("undecided", None, True)
    # It may dominate fp32, but never fp16, whose quality is better than both.
    assert (fp32.front, fp32.probability) == ("undecided", None)
    assert (fp16.front, fp16.probability) == ("yes", 1.0)


def test_each_scenario_is_judged_by_what_its_rows_tell_of_their_speed() -> None:
    rows = [
        make.reported("latency.p90_early_stopping", 5e6),
        make.reported("latency.p90_early_stopping", 5e6, workload="other"),
        make.reported("latency.p99_early_stopping", 9e6, scenario="multi_stream"),
        make.reported("latency.p99", 9e6, workload="third"),
        make.reported("throughput", 90.0, scenario="server"),
        make.reported("throughput", 90.0, scenario="offline"),
    ]
    found = front(rows, [])
    speeds = {(g.workload, g.scenario): g.objectives[0].metric for g in found.groups}
    assert found.left_out == []
    assert speeds == {
        ("image-classification", "single_stream"): "latency.p90_early_stopping",
        ("other", "single_stream"): "latency.p90_early_stopping",
        ("image-classification", "multi_stream"): "latency.p99_early_stopping",
        ("third", "single_stream"): "latency.p99",
        ("image-classification", "server"): "throughput",
        ("image-classification", "offline"): "throughput",
    }
    picked = pick(RowFrame(build_table(rows).rows), [])
    assert all(each.choice is not None for each in picked.picks)


def test_rows_that_failed_or_lack_an_objective_are_left_out_with_the_reason() -> None:
    found = front(
        [
            make.record({"precision": "fp32"}),
            make.record({"precision": "bad"}, p50=1e6, quality=make.quality(0.2)),
            make.record({"precision": "mute"}, p50=1e6, peak=None),
            make.failed({"precision": "dead"}, "out_of_memory", "killed by the kernel"),
        ],
        ("latency.p50:min", "memory.peak:min"),
    )
    assert [r.variant["precision"] for r in found.rows] == ["fp32"]
    reasons = {out.id.split("precision=")[1].split("/")[0]: out for out in found.left_out}
    assert reasons["bad"].code == "not_ranked"
    assert "below the floor" in reasons["bad"].reason
    assert reasons["mute"].code == "unknown"
    assert "memory.peak is unknown: the system does not tell" in reasons["mute"].reason
    assert "killed by the kernel" in reasons["dead"].reason


def test_energy_competes_within_one_kind_and_scope_and_never_modelled() -> None:
    found = front(
        [
            make.record({"precision": "a"}, energy=make.energy(0.02)),
            make.record({"precision": "b"}, energy=make.energy(0.01)),
            make.record({"precision": "c"}, energy=make.energy(0.001, "vendor_counter")),
            make.record({"precision": "d"}, energy=make.energy(0.0001, "modelled")),
            make.record({"precision": "e"}),
        ],
        ("energy.j_per_inference:min",),
    )
    verdicts = {r.variant["precision"]: (r.front, r.group) for r in found.rows}
    assert verdicts == {"a": ("no", 0), "b": ("yes", 0), "c": ("yes", 1)}
    assert found.groups[0].energy == "measured_rail, VDD_IN"
    assert {out.code for out in found.left_out} == {"modelled", "unknown"}


def test_energy_of_one_process_is_undecided_and_dominates_nobody_for_sure() -> None:
    def rows(**single: bool) -> list[Record]:
        return [
            make.record(
                {"precision": name}, energy=make.energy(joules, spread=not single.get(name))
            )
            for name, joules in (("a", 0.010), ("b", 0.020))
        ]

    def verdicts(records: list[Record]) -> dict[Any, Any]:
        found = front(records, ("energy.j_per_inference:min",))
        return {r.variant["precision"]: (r.front, r.probability) for r in found.rows}

    assert verdicts(rows()) == {"a": ("yes", 1.0), "b": ("no", 0.0)}
    assert verdicts(rows(a=True)) == {"a": ("undecided", None), "b": ("undecided", None)}


def test_joules_per_token_compete_like_the_energy_they_are_made_of() -> None:
    def row(device: str, kind: str, joules: float) -> Record:
        return make.record(
            {"prompt_tokens": 128, "new_tokens": 16},
            scenario="generate",
            device=device,
            replicates=[make.generating(index) for index in range(3)],
            energy=make.energy(joules, kind),
        )

    rows = [row("pi", "vendor_counter", 1.0), row("desk", "measured_external", 9.0)]
    found = front(
        [*rows, row("guess", "modelled", 0.1)],
        ("generate.j_per_token:min",),
        across=["devices"],
    )
    assert [(group.rows, group.energy.split(",")[0]) for group in found.groups] == [
        (1, "vendor_counter"),
        (1, "measured_external"),
    ]
    assert [out.code for out in found.left_out] == ["modelled"]


def test_devices_compete_only_when_asked_to() -> None:
    records = [
        make.record(p50=7e6, device="slow"),
        make.record(p50=3e6, device="fast"),
    ]
    assert {r.front for r in front(records).rows} == {"yes"}
    across = front(records, across=["devices"])
    assert {r.device: r.front for r in across.rows} == {"slow": "no", "fast": "yes"}
    assert across.groups[0].device is None


def test_different_inputs_of_rows_that_compete_are_said() -> None:
    found = front([make.record(), make.record({"precision": "int8"}, inputs_sha256="9" * 64)])
    assert "rows that compete were given different inputs (2 hashes)" in found.groups[0].notes


def test_quality_max_takes_the_lowest_error_and_says_so() -> None:
    def error(value: float) -> Any:
        return make.quality(value, 0.3, metric="wer", better="lower")

    found = front(
        [
            make.record({"precision": "fp32"}, quality=error(0.05)),
            make.record({"precision": "int8"}, quality=error(0.10)),
        ],
        ("quality:max",),
    )
    assert row(found, precision="fp32").front == "yes"
    assert row(found, precision="int8").front == "no"
    assert found.groups[0].objectives[0].better == "lower"
    assert any("wer is an error" in note for note in found.groups[0].notes)


def test_peaks_of_memory_within_a_percent_are_equal() -> None:
    records = [
        make.record({"precision": "a"}, p50=4e6, peak=100_500_000),
        make.record({"precision": "b"}, p50=7e6, peak=100_000_000),
    ]
    found = front(records, ("latency.p50", "memory.peak"))
    assert row(found, precision="b").front == "no"
    assert row(found, precision="b").values["memory.peak"].value == 100_000_000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("latency.p9", "did you mean"),
        ("latency.p90:lowest", "no direction 'lowest'"),
        ("latency.p90:max", "lower is better"),
        ("throughput:min", "higher is better"),
    ],
)
def test_objectives_that_make_no_sense_are_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_objectives([text])


def test_asking_for_the_worst_quality_is_refused() -> None:
    with pytest.raises(UsageError, match="lowest quality"):
        front([make.record()], ("quality:min",))
