"""MLPerf's LoadGen beside the own loops: the same schedule, the same calls, what it adds, and its logs."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgebench import stats
from edgebench.analysis.per_row.loadgen_rows import latencies_ns
from edgebench.analysis.table import build_table
from edgebench.errors import UsageError
from edgebench.files import loadgen_log
from edgebench.importers import reader
from edgebench.importers._source import open_source
from edgebench.measure.loads.loadgen_driver import DETAIL_LOG, Load, Scenario, drive
from edgebench.measure.replicate import loops
from edgebench.record import LoadGen
from edgebench.record_validation import replicate_findings
from edgebench.render.table_wording import remarks
from tests.records import record, replicate

CALL_NS = 200_000


def test_the_schedule_is_the_one_that_loadgen_draws() -> None:
    # By the trace of LoadGen 6.0.17: Server, 100 queries a second, schedule_rng_seed 7.
    due_ns = loops.poisson(100.0, 6, 7).due_ns
    assert list(due_ns) == [0, 2579149, 6420670, 44689631, 50770063, 54451940]


def spinning(_: Any) -> None:
    end_ns = time.perf_counter_ns() + CALL_NS
    while time.perf_counter_ns() < end_ns:
        pass


def load(scenario: Scenario, **changes: Any) -> Load:
    return Load(scenario, 70, 70 * CALL_NS, CALL_NS)._replace(**changes)


@pytest.mark.parametrize(
    ("asked", "calls"),
    [
        (load("SingleStream"), 70),
        (load("MultiStream", queries=20, calls_per_query=4, samples_per_call=2), 80),
        (load("Server", rate_per_s=1000.0, seed=3), 70),
        (load("Offline", samples_per_call=4), None),
    ],
)
def test_it_drives_a_session_and_its_log_can_be_imported(
    asked: Load, calls: int | None, tmp_path: Path
) -> None:
    pytest.importorskip("mlperf_loadgen")
    served: list[int] = []

    def run(prepared: int) -> None:
        served.append(prepared)
        spinning(prepared)

    stated = drive(run, list(range(16)), asked, str(tmp_path / "run.loadgen" / "0-0"))
    assert stated.scenario == asked.scenario
    assert stated.logs == "run.loadgen/0-0"
    assert set(served) <= set(range(16))
    assert calls is None or len(served) == calls
    log = tmp_path / "run.loadgen" / "0-0" / DETAIL_LOG
    made = reader("mlperf-loadgen")(open_source(log, ["edgebench", "import"]))
    (row,) = build_table(made.records).rows
    assert row.latency_ns.p90 == stated.p90_ns
    if asked.scenario == "Offline":
        assert stated.samples_per_s is not None
        assert stated.p50_ns is None
    else:
        assert stated.queries == asked.queries
        assert stated.p50_ns is not None
        assert stated.p50_ns >= asked.calls_per_query * CALL_NS


def test_what_a_run_raises_is_raised_when_loadgen_has_ended() -> None:
    pytest.importorskip("mlperf_loadgen")
    count = itertools.count()

    def run(_: int) -> None:
        if next(count) == 5:
            raise ValueError("no memory left")

    with pytest.raises(ValueError, match="no memory left"):
        drive(run, [0], load("SingleStream"), "")
    assert next(count) == 6


def stated(p90_ns: int, p99_ns: int, **changes: Any) -> LoadGen:
    parts: dict[str, Any] = {
        "version": "6.0.17",
        "scenario": "SingleStream",
        "queries": 1000,
        "valid": True,
        "p50_ns": 5_004_000,
        "p90_ns": p90_ns,
        "p99_ns": p99_ns,
        "samples_per_s": None,
        "service_ns": [5_000_000] * 9,
        "logs": "a.loadgen/0-0",
    }
    return LoadGen(**{**parts, **changes})


def test_a_row_tells_the_ratio_of_each_process_to_its_own_loop() -> None:
    made = [
        replicate(index, [5_000_000 + 10_000 * index] * 700, loadgen=stated(p90, p90))
        for index, p90 in enumerate((5_050_000, 5_060_100, 5_070_200))
    ]
    (row,) = build_table([record(replicates=made)]).rows
    part = row.loadgen
    assert part is not None
    assert part.p90_ratio == pytest.approx(1.01)
    assert part.p90_ratio is not None
    assert part.p90_ratio_low is not None
    assert part.p90_ratio_low <= part.p90_ratio
    assert part.overhead_ns == 4000
    assert (part.valid, part.replicates) == (3, 3)
    line = next(line for line in remarks(row) if "LoadGen" in line)
    assert "p90 5.06 ms (1.010x ours)" in line
    assert line.endswith("it adds 4.00 us to a query")


def test_a_wait_in_a_queue_is_no_overhead_of_loadgen() -> None:
    server = stated(9_000_000, 9_000_000, scenario="Server", valid=False, why="too few queries")
    (row,) = build_table(
        [record(scenario="server", rate_per_s=10.0, replicates=[replicate(loadgen=server)])]
    ).rows
    assert row.loadgen is not None
    assert row.loadgen.overhead_ns is None
    assert any("1 of 1 not valid: too few queries" in line for line in remarks(row))


@pytest.mark.parametrize(
    ("scenario", "message"),
    [("sustained", "no load like sustained"), ("single_stream", "no load like single_stream@5")],
)
def test_a_load_that_loadgen_does_not_know_is_one_clear_error(
    scenario: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import edgebench

    monkeypatch.setattr("edgebench.api.run_request.installed_version", lambda _: "6.0.17")
    with pytest.raises(UsageError, match=message):
        edgebench.run(
            "tabular-digits",
            backends="null",
            scenarios=scenario,
            loadgen=True,
            out=None,
            rate=5.0 if scenario == "single_stream" else None,  # type: ignore[arg-type]
        )


def test_without_loadgen_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import edgebench

    monkeypatch.setattr("edgebench.api.run_request.installed_version", lambda _: None)
    with pytest.raises(UsageError, match="needs mlcommons-loadgen") as caught:
        edgebench.run("tabular-digits", backends="null", loadgen=True, out=None)
    assert "no wheel for Linux aarch64" in caught.value.fix


def test_ours_of_the_same_queries_are_told_apart_from_ours_of_our_own_load() -> None:
    server = stated(
        9_000_000,
        9_900_000,
        scenario="Server",
        queries=2,
        service_ns=[5_000_000, 6_000_000],
        wait_ns=[0, 3_000_000],
    )
    made = record(
        scenario="server", rate_per_s=10.0, replicates=[replicate(0, [5_000_000], loadgen=server)]
    )
    (row,) = build_table([made]).rows
    assert row.loadgen is not None
    assert row.loadgen.p90_ratio == pytest.approx(1.8)
    assert row.loadgen.p90_same_ratio == pytest.approx(1.0)
    assert row.loadgen.p99_same_ratio == pytest.approx(1.1)
    assert any("1.800x ours, 1.000x of the same queries" in line for line in remarks(row))


@pytest.mark.parametrize("changes", [{"wait_ns": []}, {"queries": 9000}])
def test_a_part_of_loadgens_queries_has_no_percentile_of_ours(changes: dict[str, Any]) -> None:
    both: dict[str, Any] = {"scenario": "Server", "queries": 9, "wait_ns": [0] * 9} | changes
    (row,) = build_table([record(replicates=[replicate(loadgen=stated(1, 1, **both))])]).rows
    assert row.loadgen is not None
    assert row.loadgen.p99_same_ratio is None
    assert "not all kept" in row.unknown["loadgen.p99_same_ratio"]


def test_calls_of_no_time_by_our_clock_have_no_ratio() -> None:
    fast = stated(7, 7, queries=20, service_ns=[0] * 19 + [7])
    (row,) = build_table([record(replicates=[replicate(loadgen=fast)])]).rows
    assert row.loadgen is not None
    assert row.loadgen.p90_same_ratio is None
    assert row.loadgen.p99_same_ratio == 1
    assert "loadgen.p99_same_ratio" not in row.unknown


def test_a_wait_without_its_call_cannot_be() -> None:
    odd = stated(1, 1, scenario="Server", wait_ns=[1])
    assert [field for field, _ in replicate_findings(replicate(loadgen=odd))] == ["loadgen"]


#: Neither 90 nor 99 % of it is whole: where one is, LoadGen's percentile is the next latency above ours.
QUERIES = 101


@pytest.mark.parametrize(
    "asked",
    [
        Load("SingleStream", QUERIES, 10**10, 5_000_000),
        Load("MultiStream", QUERIES, 10**10, 5_000_000, calls_per_query=2),
        Load("Server", QUERIES, 10**10, 5_000_000, rate_per_s=100.0, seed=3),
        Load("Offline", QUERIES, 10**9, 5_000_000),
    ],
    ids=lambda asked: asked.scenario,
)
def test_loadgen_and_ours_agree_within_2_percent_on_the_same_calls_of_5_ms(
    asked: Load, tmp_path: Path
) -> None:
    pytest.importorskip("mlperf_loadgen")

    def run(_: Any) -> None:
        end_ns = time.perf_counter_ns() + 5_000_000
        while time.perf_counter_ns() < end_ns:
            pass

    def apart(place: int) -> float:
        logs = tmp_path / str(place) / "0-0"
        found = drive(run, list(range(16)), asked, str(logs))
        with (logs / DETAIL_LOG).open() as lines:
            entries = loadgen_log.entries(lines)
        ours = sorted(latencies_ns(msgspec.structs.replace(found, queries=len(found.service_ns))))
        return max(
            abs(float(entries[loadgen_log.percentile_key(name, asked.scenario)]) / own - 1)
            for name, permille in (("90.00", 900), ("99.00", 990))
            for own in [stats.percentile(ours, permille)]
        )

    # A machine that is busy takes the core between the two clocks now and then, not six times.
    assert any(apart(place) <= 0.02 for place in range(6))
