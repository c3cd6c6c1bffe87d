"""Records -> rows: what is derived, what is struck, and that nothing unknown goes unexplained."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgebench import stats
from edgebench.analysis.table import build_table
from edgebench.analysis.table_types import Row, Table
from edgebench.backend import Scalar
from edgebench.files.json_lines import encoded
from edgebench.record import (
    DeviceFacts,
    Energy,
    Limit,
    OutputCheck,
    Paced,
    Pipeline,
    Reason,
    Record,
    StateCheck,
    Unseen,
    Warmup,
)
from edgebench.render import table_wording
from tests.records import (
    MIB,
    NO_ENERGY,
    failed,
    offline,
    quality,
    record,
    replicate,
    samples,
)

FP32: dict[str, Scalar] = {"precision": "fp32", "threads": 1}
INT8: dict[str, Scalar] = {"precision": "int8-dynamic", "threads": 1}


def row_of(*records: Record, index: int = 0) -> Row:
    return build_table(records).rows[index]


def codes(row: Row) -> list[str]:
    return [reason.code for reason in row.reasons]


def _nulls(value: Any, path: str = "") -> list[str]:
    if value is None:
        return [path]
    if isinstance(value, dict):
        return [n for k, v in value.items() for n in _nulls(v, f"{path}.{k}" if path else k)]
    return []


def unexplained(row: Row) -> list[str]:
    """Paths of nulls of the JSON form that have no reason under their own or a part's path."""
    form = msgspec.to_builtins(row)
    unknown = form.pop("unknown")
    return [
        path
        for path in _nulls(form)
        if not any(path == known or path.startswith(f"{known}.") for known in unknown)
    ]


# --- what is derived


def test_percentiles_are_of_the_pooled_samples_of_replicates_that_are_ok() -> None:
    good = [replicate(0, list(range(1, 51))), replicate(1, list(range(51, 101)))]
    bad = replicate(2, [10**9] * 50, status="invalid", samples_ns=[10**9] * 50)
    latency = row_of(record(replicates=[*good, bad])).latency_ns
    assert (latency.p50, latency.p90, latency.samples, latency.replicates) == (50, 90, 100, 2)
    assert (latency.minimum, latency.maximum) == (1, 100)
    assert latency.p50_of_replicates == [25, 75]


@pytest.mark.parametrize(
    ("count", "known"),
    [(1, []), (2, ["p50"]), (21, ["p50"]), (22, ["p50", "p90"]), (221, ["p50", "p90", "p99"])],
)
def test_a_percentile_needs_its_samples(count: int, known: list[str]) -> None:
    replicates = [replicate(i, samples(1e6, count, i)) for i in range(3)]
    row = row_of(record(replicates=replicates))
    latency = msgspec.to_builtins(row.latency_ns)
    assert [name for name in ("p50", "p90", "p99") if latency[name] is not None] == known
    assert not unexplained(row)
    if "p90" in known:
        assert latency["p90_early_stopping"] >= latency["p90"]
    else:
        assert f"there are {3 * count}" in row.unknown["latency_ns.p90"]


def test_one_replicate_has_no_interval_and_says_so() -> None:
    row = row_of(record(replicates=[replicate()]))
    assert row.latency_ns.p50 is not None
    assert row.latency_ns.p50_low is None
    assert "2 replicates" in row.unknown["latency_ns.p50_low"]
    assert (row.interval.reached, row.interval.met) == (None, None)


@given(st.lists(st.lists(st.integers(1, 10**9), min_size=1, max_size=40), min_size=2, max_size=5))
def test_the_interval_always_encloses_its_value(each: list[list[int]]) -> None:
    row = row_of(record(replicates=[replicate(i, values) for i, values in enumerate(each)]))
    ns = row.latency_ns
    if ns.p50 is not None:
        assert ns.p50_low is not None
        assert ns.p50_high is not None
        assert ns.p50_low <= ns.p50 <= ns.p50_high
    if row.throughput_low_per_s is not None:
        assert row.throughput_per_s is not None
        assert row.throughput_high_per_s is not None
        assert row.throughput_low_per_s <= row.throughput_per_s <= row.throughput_high_per_s


def test_one_slow_process_of_many_does_not_set_the_interval_of_the_throughput() -> None:
    """The interval is that of the mean, which more processes narrow, not the range of the processes."""
    rates = [100.0 + 0.1 * i for i in range(19)] + [90.0]
    made = [offline(i, rate) for i, rate in enumerate(rates)]
    row = row_of(record(scenario="offline", replicates=made))
    interval = stats.log_interval(row.throughput_of_replicates_per_s)
    assert interval is not None
    assert (row.throughput_low_per_s, row.throughput_high_per_s) == interval
    assert row.throughput_low_per_s == pytest.approx(99.2, abs=0.2)


def test_target_reached_or_not() -> None:
    narrow, wide = row_of(record(spread=0.002)), row_of(record(spread=0.03))
    assert narrow.interval.met is True
    assert wide.interval.met is False
    assert wide.interval.reached is not None
    assert wide.interval.reached > 0.02
    assert narrow.interval.stops == {"precise": 3}


def test_the_target_is_for_the_percentile_that_the_run_chose() -> None:
    """The medians agree, the 90th percentiles do not."""
    each = [[1000] * 80 + [tail] * 20 for tail in (2000, 3000, 4000)]
    replicates = [replicate(i, values) for i, values in enumerate(each)]
    assert row_of(record(replicates=replicates)).interval.met is True
    assert row_of(record(replicates=replicates, percentile=0.9)).interval.met is False


def test_throughput_of_a_closed_loop_counts_items_in_the_window() -> None:
    each = [replicate(i, [1000] * 100, window_ns=10**9 * (i + 1)) for i in range(3)]
    assert row_of(record(replicates=each)).throughput_per_s == 50
    batched = row_of(record({"precision": "fp32", "batch": 8}, replicates=each))
    assert batched.throughput_per_s == 400


def test_offline_has_a_throughput_and_no_latency() -> None:
    each = [offline(i, rate) for i, rate in enumerate((99.0, 100.0, 101.0))]
    row = row_of(record(scenario="offline", replicates=each))
    assert row.throughput_per_s == pytest.approx(100, rel=1e-6)
    assert row.latency_ns.p50 is None
    assert "offline" in row.unknown["latency_ns"]
    assert row.ranked
    assert row.interval.met is False  # 2.5 % against the target of 2 %
    assert not unexplained(row)


def test_the_peak_is_the_largest_of_all_replicates() -> None:
    each = [replicate(i, peak=peak) for i, peak in enumerate((90, 120, 100))]
    row = row_of(record(replicates=each))
    assert (row.memory_peak_bytes, row.memory.peak_min_bytes) == (120, 90)


def test_medians_of_pipeline_and_cold_start() -> None:
    pipeline = Pipeline(
        preprocess_ns=[1, 2, 9],
        inference_ns=[5] * 3,
        postprocess_ns=[7] * 3,
        end_to_end_ns=[20] * 3,
    )
    each = [replicate(i, load_ns=load, pipeline=pipeline) for i, load in enumerate((10, 30, 20))]
    row = row_of(record(replicates=each))
    assert row.pipeline is not None
    assert (row.pipeline.preprocess_ns, row.pipeline.end_to_end_ns) == (2, 20)
    assert row.cold_start is not None
    assert row.cold_start.load_ns == 20
    assert row.cold_start.total_ns == 120_000_000 + 20 + 15_000_000


def test_a_paced_row_counts_its_misses() -> None:
    paced = Paced(rate_per_s=30.0, misses=2, service_ns=[10, 30, 20], wake_late_ns=[])
    each = [replicate(i, samples(1e6, 50, i), paced=paced) for i in range(3)]
    row = row_of(record(replicates=each, rate_per_s=30.0))
    assert row.paced is not None
    assert (row.paced.misses, row.paced.queries, row.paced.service_p50_ns) == (6, 150, 20)
    assert not unexplained(row)


# --- what is struck


def test_a_row_below_its_floor_is_struck_but_stays_ok() -> None:
    row = row_of(record(quality=quality(0.7, 0.85)))
    assert (row.status, row.ranked, row.pareto) == ("ok", False, None)
    assert codes(row) == ["quality_below_floor"]


def test_a_ceiling_and_further_limits() -> None:
    over = row_of(record(quality=quality(1.2, 1.0, better="lower")))
    assert codes(over) == ["quality_above_ceiling"]
    limit = Limit(metric="recall", value=0.4, limit=0.5, better="higher", passed=False)
    missed = row_of(record(quality=quality(0.9, 0.85, passed=False, also=[limit])))
    assert codes(missed) == ["quality_limit_missed"]
    assert "recall 0.4" in missed.reasons[0].message


@pytest.mark.parametrize("value", [None, quality(None, reason="the pass timed out")])
def test_unknown_quality_is_not_ranked(value: Any) -> None:
    row = row_of(record(quality=value))
    assert codes(row) == ["quality_unknown"]
    assert not row.ranked
    assert not unexplained(row)


def test_outputs_that_differ_strike_the_row() -> None:
    check = OutputCheck(against="reference", relative_error=0.5, limit=0.01, passed=False)
    row = row_of(record(replicates=[replicate(0), replicate(1, output_check=check)]))
    assert codes(row) == ["output_mismatch"]
    assert not row.ranked


def test_a_caching_backend_is_invalid_one_busy_moment_is_not() -> None:
    cached = Unseen(pool_ns=[1] * 10, unseen_ns=[100] * 10, caching=True)
    one = [replicate(0, unseen=cached), replicate(1), replicate(2)]
    assert row_of(record(replicates=one)).ranked
    two = [replicate(0, unseen=cached), replicate(1, unseen=cached), replicate(2)]
    row = row_of(record(replicates=two))
    assert (row.status, row.caching, row.ranked) == ("invalid", True, False)
    assert codes(row) == ["caching"]


def test_one_replicate_that_looks_cached_and_is_far_faster_strikes_the_row() -> None:
    cached = Unseen(pool_ns=[1] * 10, unseen_ns=[100] * 10, caching=True)
    fast = [latency // 10 for latency in replicate(0).samples_ns]
    late = [*map(replicate, range(6)), replicate(6, fast, unseen=cached)]
    row = row_of(record(replicates=late))
    assert (row.status, row.caching, codes(row)) == ("invalid", True, ["caching"])


def test_a_phase_that_later_replicates_do_not_repeat_is_read_from_the_first() -> None:
    later = replicate(1, pipeline=None, device=None, quality=None, effective=None)
    row = row_of(record(replicates=[replicate(0), later]))
    alone = row_of(record(replicates=[replicate(0)]))
    assert row.pipeline is not None
    assert row.pipeline == alone.pipeline
    assert row.ranked


def test_reasons_of_replicates_reach_the_row_once() -> None:
    again = Reason(code="crashed", message="again")
    each = [replicate(0), replicate(1, status="failed", reasons=[again])]
    row = row_of(record(replicates=each, status="failed", reasons=[again]))
    assert codes(row) == ["crashed"]
    assert not row.ranked


@pytest.mark.parametrize(
    ("times", "valid"),
    [((7e6, 7.1e6), False), ((7e6, 40e6), True), ((7e6, 8e6), True), ((7e6, 3e6), False)],
)
def test_latency_must_grow_with_the_batch(times: tuple[float, float], valid: bool) -> None:
    table = build_table(
        record({"precision": "fp32", "batch": batch}, p50=p50, seed=batch)
        for batch, p50 in zip((1, 8), times, strict=True)
    )
    for row in table.rows:
        assert (row.status == "ok") is valid
        assert row.ranked is valid
        assert ("latency_does_not_grow_with_work" in codes(row)) is not valid


def test_growth_is_not_judged_across_settings_runs_or_noise() -> None:
    def chain(first: Record, second: Record) -> set[str]:
        return {row.status for row in build_table([first, second]).rows}

    small = record({"batch": 1, "threads": 1})
    assert chain(small, record({"batch": 8, "threads": 2})) == {"ok"}
    assert chain(small, record({"batch": 8, "threads": 1}, run="another")) == {"ok"}
    assert chain(small, record({"batch": 8, "threads": 1}, spread=0.9)) == {"ok"}
    assert chain(small, record({"batch": 8, "threads": 1})) == {"invalid"}


def test_a_growing_end_of_the_axis_clears_the_middle() -> None:
    times = {1: 5000.0, 2: 5100.0, 8: 9000.0}
    table = build_table(record({"batch": b}, p50=p50, seed=b) for b, p50 in times.items())
    assert {row.status for row in table.rows} == {"ok"}


# --- against fp32


def test_quality_delta_and_speedup_are_against_fp32_with_the_same_settings() -> None:
    fp32 = record(FP32, p50=10e6, quality=quality(0.90))
    other = record({"precision": "fp32", "threads": 2}, p50=6e6, seed=1, quality=quality(0.5, 0.1))
    int8 = record(INT8, p50=5e6, seed=2, quality=quality(0.88))
    row = row_of(fp32, other, int8, index=2)
    assert row.quality is not None
    assert row.quality.delta == pytest.approx(-0.02)
    assert row.quality.delta_to == fp32.cell.id
    assert row.baseline is not None
    assert row.baseline.same_settings
    assert row.baseline.speedup == pytest.approx(2, rel=0.01)
    assert row.baseline.speedup_low is not None
    assert 1.9 < row.baseline.speedup_low < row.baseline.speedup


def test_without_the_same_settings_the_fastest_fp32_row_serves_and_is_named() -> None:
    slow = record({"precision": "fp32", "threads": 1}, p50=10e6)
    fast = record({"precision": "fp32", "threads": 2}, p50=6e6, seed=1)
    row = row_of(slow, fast, record({"precision": "int8-static", "threads": 4}, p50=3e6), index=2)
    assert row.baseline is not None
    assert row.baseline.id == fast.cell.id
    assert not row.baseline.same_settings


def test_no_fp32_row_no_delta_and_the_reason() -> None:
    row = row_of(record(INT8), record(FP32, backend="other"))
    assert row.baseline is None
    assert row.quality is not None
    assert row.quality.delta is None
    assert not unexplained(row)


# --- the whole


def test_device_is_an_object_for_one_device_and_null_for_several() -> None:
    one = build_table([record(), record(INT8)])
    assert one.device is not None
    assert one.device.name == "desk"
    two = build_table([record(), record(device="board", run="r2")])
    assert two.device is None
    assert [device.name for device in two.devices] == ["desk", "board"]
    assert [front.device for front in two.fronts] == ["desk", "board"]


def test_several_runs_and_changed_facts_are_said() -> None:
    changed = DeviceFacts(name="desk", facts={"cpu_model": "Example CPU", "logical_cpus": 1})
    table = build_table([record(), msgspec.structs.replace(record(run="later"), device=changed)])
    assert any("facts differ" in note and "logical_cpus" in note for note in table.notes)
    assert any("several runs" in note for note in table.notes)


def test_the_json_form_is_the_documented_interface() -> None:
    records = [record(), failed(INT8, "crashed", "died of SIGSEGV")]
    form = json.loads(encoded(build_table(records)))
    assert form["schema"] == "edgebench.table/1"
    assert form["device"]["name"] == "desk"
    good, bad = form["rows"]
    for name in ("workload", "backend", "variant", "scenario", "id", "status", "reasons"):
        assert name in good
    latency = {"p50", "p90", "p99", "p50_low", "p50_high", "samples", "replicates"}
    assert latency <= good["latency_ns"].keys()
    assert {"metric", "value", "floor", "passed"} <= good["quality"].keys()
    assert {"status", "reason", "j_per_inference"} <= good["energy"].keys()
    assert good["effective"]["device"] == "cpu"
    assert good["pareto"] is True
    assert (bad["status"], bad["reasons"][0]["code"]) == ("failed", "crashed")
    assert bad["latency_ns"]["p50"] is None
    assert bad["memory_peak_bytes"] is None
    assert "SIGSEGV" in bad["unknown"]["latency_ns"]
    assert msgspec.json.decode(encoded(build_table(records)), type=Table).rows


_REPLICATE_CHANGES: dict[str, Any] = {
    "memory": None,
    "pipeline": None,
    "unseen": None,
    "window_ns": None,
    "load_ns": None,
    "warmup": Warmup(iterations=3, duration_ns=10, steady=False),
    "state_after": [StateCheck(name="steal", level="warn", evidence="3 %")],
}
_RECORD_CHANGES: dict[str, Any] = {
    "quality": None,
    "effective": None,
    "model": None,
    "inputs_sha256": None,
    "target": None,
    "energy": Energy(status="ok", j_per_inference=0.1, kind="measured_rail"),
}


@given(
    st.sets(st.sampled_from(sorted(_REPLICATE_CHANGES))),
    st.sets(st.sampled_from(sorted(_RECORD_CHANGES))),
    st.sampled_from([0, 1, 4, 70]),
    st.sampled_from([0, 1, 2]),
)
def test_whatever_is_missing_every_null_has_its_reason(
    in_replicates: set[str], in_record: set[str], count: int, replicates: int
) -> None:
    changes = {name: _REPLICATE_CHANGES[name] for name in in_replicates}
    each = [replicate(i, samples(1e6, count, i), **changes) for i in range(replicates)]
    table = build_table(
        [record(replicates=each, **{name: _RECORD_CHANGES[name] for name in in_record})]
    )
    assert unexplained(table.rows[0]) == []


def test_energy_unavailable_is_said_once_for_the_table() -> None:
    assert NO_ENERGY.detail in " ".join(build_table([record(), record(INT8)]).notes)


def test_the_table_says_where_energies_come_from_and_that_two_kinds_are_not_compared() -> None:
    rail = Energy(
        status="ok",
        j_per_inference=0.1,
        uncertainty_j=0.01,
        kind="measured_rail",
        scope="module input",
        source="ina3221",
        total_rail="VDD_IN",
    )
    external = msgspec.structs.replace(
        rail, kind="measured_external", scope="device input", source="log.csv", total_rail="P"
    )
    table = build_table([record(energy=rail), record(INT8, energy=external)])
    assert "energy per inference: measured_rail of module input (ina3221: VDD_IN)" in table.notes
    assert any("not compared" in note for note in table.notes)
    [front] = table.fronts
    assert "energy.j_per_inference" not in front.objectives
    [left_out] = [o for o in front.left_out if o.objective == "energy.j_per_inference"]
    assert "measured_external of device input" in left_out.reason
    assert not any("not compared" in n for n in build_table([record(energy=rail)]).notes)


def test_no_records_make_an_empty_table() -> None:
    table = build_table([])
    assert (table.device, table.rows, table.picks) == (None, [], [])


def test_peaks_and_sizes_are_plain_bytes() -> None:
    assert row_of(record(peak=90 * MIB)).memory_peak_bytes == 90 * MIB


def test_a_replicate_that_was_run_again_judges_nothing_and_is_told_of() -> None:
    why = Reason(code="device_thermal_throttle", message="the CPU throttled", fix="cool it")
    hot = StateCheck(name="thermal_throttle", level="invalid", evidence="12 times")
    disturbed = replicate(
        0, samples(9e6, 50, 0), status="invalid", reasons=[why], state_after=[hot], superseded_by=1
    )
    sound = [replicate(1, rerun_of=0), replicate(2), replicate(3)]
    row = row_of(record({}, replicates=[disturbed, *sound]))
    assert (row.status, row.ranked, row.reasons, row.state) == ("ok", True, [], [])
    assert row.latency_ns.replicates == 3
    assert row.superseded == [why]
    assert table_wording.remarks(row) == [
        "1 replicate re-run: the CPU throttled [device_thermal_throttle]"
    ]


def test_another_reference_than_usual_is_noted() -> None:
    judged = quality(0.0, None, metric="parity_error", kind="parity", reason="held against another")
    usual = quality(0.0, None, metric="parity_error", kind="parity")
    common = build_table([record(quality=usual)]).notes
    (note,) = [n for n in build_table([record(quality=judged)]).notes if n not in common]
    assert note.endswith(": held against another")


def test_a_model_that_answers_the_same_to_all_has_a_fix() -> None:
    same = "the outputs are the same whatever the input: parity would prove nothing"
    judged = quality(0.0, None, metric="parity_error", kind="parity", passed=False, reason=same)
    (reason,) = row_of(record(quality=judged)).reasons
    assert (reason.code, reason.message) == ("quality_failed", same)
    assert "--range NAME=LOW,HIGH or --inputs FILE.npz" in reason.fix
