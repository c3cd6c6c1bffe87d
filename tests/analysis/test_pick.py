"""Limits as they are typed, and picks under them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from edgebench.analysis.frame import RowFrame
from edgebench.analysis.limits import parse_limit
from edgebench.analysis.objectives import parse_objective
from edgebench.analysis.pick import pick
from edgebench.analysis.pick_report import Choice
from edgebench.analysis.table import build_table
from edgebench.errors import UsageError
from edgebench.record import Memory, Record
from tests import records as make

MIB = 2**20


@pytest.mark.parametrize(
    ("text", "op", "value", "relative"),
    [
        ("latency.p99<=30ms", "<=", 30e6, False),
        ("latency.p99 < 1.5 s", "<", 1.5e9, False),
        ("latency.p50<=250us", "<=", 250e3, False),
        ("memory.peak<=512MiB", "<=", 512 * MIB, False),
        ("memory.peak<=1GB", "<=", 1e9, False),
        ("energy.j_per_inference<=3mJ", "<=", 3e-3, False),
        ("energy.average_w<=5W", "<=", 5.0, False),
        ("throughput>=100/s", ">=", 100.0, False),
        ("throughput>=100", ">=", 100.0, False),
        ("quality>=88%", ">=", 0.88, False),
        ("quality.delta>=-0.01", ">=", -0.01, False),
        ("quality>=0.98*fp32", ">=", 0.98, True),
        ("quality >= 98% * fp32", ">=", 0.98, True),
        ("latency.p50<=fp32", "<=", 1.0, True),
    ],
)
def test_limits_in_all_units(text: str, op: str, value: float, relative: bool) -> None:
    limit = parse_limit(text)
    assert (limit.op, limit.relative) == (op, relative)
    assert limit.value == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "character", "message"),
    [
        ("latency.p99<=30mx", 16, "no unit 'mx' of a time; did you mean 'ms'?"),
        ("latency.p99<=30MiB", 16, "'MiB' is a size and latency.p99 is a time"),
        ("memory.peak<=512mib", 17, "did you mean 'MiB'?"),
        ("latency.p99<=30", 16, "it needs a unit"),
        ("latncy.p99<=30ms", 1, "did you mean 'latency.p99'?"),
        ("latency.p99=<30ms", 12, "did you mean '<='?"),
        ("latency.p99", 12, "expected one of <= >= < > here"),
        ("latency.p99<=", 14, "expected a number here"),
        ("quality>=0.98*int8", 14, "relative to fp32 only, not to 'int8'"),
        ("quality>=x*fp32", 10, "not a share of fp32"),
        ("<=30ms", 1, "expected a metric here"),
    ],
)
def test_errors_name_the_character_and_what_was_meant(
    text: str, character: int, message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        parse_limit(text)
    words = str(caught.value)
    assert f"character {character}:" in words
    assert message in words
    assert words.splitlines()[2].index("^") - 4 == character - 1


def choose(
    records: Sequence[Record],
    require: Sequence[str] = (),
    objective: str | None = None,
    **options: Any,
) -> list[Choice]:
    frame = RowFrame(build_table(records).rows)
    wanted = None if objective is None else parse_objective(objective)
    return pick(frame, [parse_limit(text) for text in require], wanted, **options).picks


def three() -> list[Record]:
    return [
        make.record(
            {"precision": "fp32"}, p50=9e6, peak=100 * MIB, quality=make.quality(0.90),
            energy=make.energy(0.030),
        ),
        make.record(
            {"precision": "fp16"}, p50=6e6, peak=80 * MIB, quality=make.quality(0.89),
            energy=make.energy(0.020),
        ),
        make.record(
            {"precision": "int8"}, p50=3e6, peak=60 * MIB, quality=make.quality(0.86),
            energy=make.energy(0.010),
        ),
    ]  # fmt: skip


def test_the_choice_the_runner_up_and_the_margin() -> None:
    (found,) = choose(
        three(), ["latency.p90<=20ms", "quality>=0.98*fp32"], "energy.j_per_inference"
    )
    assert found.choice is not None
    assert found.runner_up is not None
    assert found.margin is not None
    assert found.choice.variant["precision"] == "fp16"  # int8 keeps 95.6 % of 0.90
    assert found.runner_up.variant["precision"] == "fp32"
    assert found.margin.ratio == pytest.approx(1.5)
    assert found.margin.low is not None
    assert found.margin.high is not None
    assert found.margin.low < 1.5 < found.margin.high
    assert found.margin.difference == pytest.approx(0.01)
    assert found.margin.confidence == pytest.approx(1.0, abs=1e-3)
    assert found.probability == pytest.approx(1.0, abs=1e-3)
    assert (found.rows, found.meet, found.surely_meet) == (3, 2, 2)
    assert found.choice.sure
    bound = {held.metric: held.bound for held in found.choice.limits}["quality"]
    assert bound == pytest.approx(0.98 * 0.90)


def test_energies_of_one_process_each_leave_open_which_is_less() -> None:
    one, two = (
        make.record({"precision": name}, energy=make.energy(joules, share=0.005, spread=False))
        for name, joules in (("fp32", 0.0100), ("int8", 0.0104))
    )
    (found,) = choose([one, two], ["energy.j_per_inference<=11mJ"], "energy.j_per_inference")
    assert found.choice is not None
    assert found.choice.variant["precision"] == "fp32"
    assert (found.choice.value.low, found.probability) == (None, None)
    assert found.margin is not None
    assert found.margin.confidence is None
    assert found.choice.limits[0].probability is None
    assert (found.meet, found.surely_meet) == (2, 0)


@pytest.mark.parametrize("limit", ["energy.j_per_inference<=2J", "generate.j_per_token<=1J"])
def test_a_limit_on_joules_keeps_kinds_apart_and_estimates_out(limit: str) -> None:
    def row(precision: str, kind: str) -> Record:
        return make.record(
            {"precision": precision, "prompt_tokens": 128, "new_tokens": 16},
            scenario="generate",
            replicates=[make.generating(index) for index in range(3)],
            energy=make.energy(1.6, kind),
        )

    kinds = {"a": "measured_rail", "b": "vendor_counter", "c": "modelled"}
    found = choose([row(*pair) for pair in kinds.items()], [limit])
    assert [pick.rows for pick in found] == [1, 1]
    assert [out.code for pick in found for out in pick.left_out] == ["modelled"]


def test_without_an_objective_the_fastest_row_is_taken() -> None:
    (found,) = choose(three())
    assert found.choice is not None
    assert found.choice.variant["precision"] == "int8"
    assert found.objective.metric == "latency.p50"
    offline = make.record(scenario="offline", replicates=[make.offline(i) for i in range(3)])
    (found,) = choose([offline])
    assert found.objective.metric == "throughput"
    assert found.choice is not None


def test_where_nothing_meets_the_limits_the_one_that_binds_is_said() -> None:
    (found,) = choose(three(), ["quality>=0.88", "memory.peak<=40MiB"])
    assert found.choice is None
    assert found.relax == "one"
    by_metric = {each.metric: each for each in found.binding}
    assert set(by_metric) == {"memory.peak"}  # no row meets the memory, whatever the quality
    assert by_metric["memory.peak"].needed == 80 * MIB
    assert by_metric["memory.peak"].by == pytest.approx(1.0)
    assert found.closest is not None
    assert found.closest.variant["precision"] == "fp16"


def test_either_of_two_limits_may_be_the_one_to_relax() -> None:
    (found,) = choose(three(), ["quality>=0.88", "latency.p50<=4ms"])
    needed = {each.metric: each.needed for each in found.binding}
    assert found.relax == "one"
    assert needed["quality"] == 0.86
    assert needed["latency.p50"] == pytest.approx(6e6, rel=0.02)


def test_limits_that_no_row_meets_bind_together() -> None:
    (found,) = choose(three(), ["memory.peak<=40MiB", "latency.p50<=1ms"])
    assert found.relax == "all"
    assert {each.metric for each in found.binding} == {"memory.peak", "latency.p50"}
    assert {each.id for each in found.binding} == {three()[2].cell.id}


def test_a_limit_met_by_value_alone_is_told_and_a_safe_choice_beside_it() -> None:
    shaky = make.record({"precision": "int8"}, p50=4.95e6, spread=0.03)
    steady = make.record({"precision": "fp16"}, p50=4.98e6, spread=0.0001)
    (found,) = choose([shaky, steady], ["latency.p50<=5.1ms"])
    assert found.choice is not None
    assert found.choice.variant["precision"] == "int8"
    assert not found.choice.sure
    assert found.choice.limits[0].probability is not None
    assert 0.5 < found.choice.limits[0].probability < 0.95
    assert found.safe_choice is not None
    assert found.safe_choice.variant["precision"] == "fp16"
    assert [each.variant["precision"] for each in found.not_surely] == ["int8"]


def test_one_replicate_meets_a_limit_by_value_with_unknown_probability() -> None:
    single = make.record(replicates=[make.replicate(0)])
    (found,) = choose([single], ["latency.p50<=20ms"])
    assert found.choice is not None
    assert found.choice.limits[0].probability is None
    assert not found.choice.sure


def held_to(budget: int, by: str, **variant: Any) -> Record:
    memory = Memory(peak_bytes=90 * MIB, peak_source="VmHWM", budget_bytes=budget, budget_by=by)
    held = [make.replicate(n, memory=memory) for n in range(3)]
    return make.record({"memory_budget": f"{budget // MIB}MiB", **variant}, replicates=held)


def test_a_row_fits_for_sure_into_the_budget_that_it_ran_within() -> None:
    small, large = held_to(128 * MIB, "cgroup v2"), held_to(512 * MIB, "cgroup v1")
    (found,) = choose([small, large, make.record(p50=1e6)], ["fits<=256MiB"])
    assert found.choice is not None
    assert found.choice.variant == {"memory_budget": "128MiB"}
    assert found.choice.sure
    assert (found.meet, found.surely_meet) == (1, 1)


def test_of_a_row_without_a_budget_nobody_knows_whether_it_fits_and_the_command_is_named() -> None:
    small = make.record(p50=1e6)
    (found,) = choose([small], ["fits<=256MiB"])
    assert (found.choice, found.meet) == (None, 0)
    unknown, command = found.notes[:2]
    assert unknown.startswith("fits is unknown of 1 of 1 rows: it was held to no budget of memory")
    assert command.endswith("measure them with edgebench run --memory-budget 256MiB")


def test_a_budget_that_did_not_count_pages_of_files_is_no_proof_that_a_row_fits() -> None:
    (found,) = choose([held_to(128 * MIB, "RLIMIT_DATA")], ["fits<=256MiB"])
    assert found.choice is None
    assert "pages of files did not count" in found.notes[0]


def test_a_row_that_did_not_fit_is_left_out() -> None:
    variant: dict[str, Any] = {"memory_budget": "64MiB"}
    dead = make.failed(variant, "does_not_fit", "killed")
    (found,) = choose([dead, held_to(128 * MIB, "cgroup v2")], ["fits<=256MiB"])
    assert found.choice is not None
    assert found.choice.variant == {"memory_budget": "128MiB"}
    assert len(found.left_out) == 1


def test_an_unknown_value_meets_no_limit() -> None:
    silent = make.record(peak=None)
    (found,) = choose([silent], ["memory.peak<=512MiB"])
    assert found.choice is None
    assert found.binding == []


def test_rows_that_failed_are_never_chosen_and_stand_left_out() -> None:
    bad = make.record({"precision": "int8"}, p50=1e6, quality=make.quality(0.1))
    dead = make.failed({"precision": "fp16"}, "out_of_memory", "killed")
    (found,) = choose([make.record(), bad, dead])
    assert found.choice is not None
    assert found.choice.variant["precision"] == "fp32"
    assert {out.code for out in found.left_out} == {"not_ranked"}
    assert len(found.left_out) == 2


def test_a_share_of_fp32_turns_round_for_an_error() -> None:
    def row(precision: str, error: float) -> Record:
        quality = make.quality(error, 0.5, metric="wer", better="lower")
        return make.record({"precision": precision}, p50=error * 1e8, quality=quality)

    (found,) = choose([row("fp32", 0.100), row("int8", 0.104)], ["quality>=0.98*fp32"])
    assert found.meet == 1  # 0.104 is above 0.100 / 0.98
    assert any("wer is an error" in note for note in found.notes)
    (found,) = choose([row("fp32", 0.100), row("int8", 0.101)], ["quality>=0.98*fp32"])
    assert found.meet == 2


def test_a_row_without_a_precision_is_not_its_own_fp32_row() -> None:
    one, two = (make.record({"division": name}, p50=9e6) for name in ("closed", "open"))
    (found,) = choose([one, two], ["quality>=0.98*fp32"])
    assert (found.choice, found.meet, found.surely_meet) == (None, 0, 0)
    assert "quality>=0.98*fp32: 2 of 2 rows have no fp32 row that tells it" in found.notes


def test_an_absolute_floor_on_an_error_is_refused() -> None:
    record = make.record(quality=make.quality(0.1, 0.5, metric="wer", better="lower"))
    with pytest.raises(UsageError, match="of which lower is better"):
        choose([record], ["quality>=0.9"])


def test_peaks_within_a_percent_are_no_margin() -> None:
    records = [
        make.record({"precision": "a"}, peak=100_000_000, p50=9e6),
        make.record({"precision": "b"}, peak=100_300_000, p50=4e6),
    ]
    (found,) = choose(records, objective="memory.peak")
    assert found.margin is not None
    assert found.margin.confidence == 0.5
