"""The registry of metric names."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from edgebench.analysis.limits import UNITS, parse_limit
from edgebench.analysis.table import build_table
from edgebench.errors import UsageError
from edgebench.metrics import METRICS, metric
from edgebench.record import (
    Company,
    CurvePoint,
    Energy,
    EnergyWindow,
    HeldMemory,
    Instructions,
    LoadGen,
    Memory,
    Offline,
    Paced,
    ShapeChanges,
    Stream,
    Sustained,
    WorstCase,
)
from edgebench.render.number_format import quantity
from tests.records import generating, record, replicate, samples


def test_every_metric_reads_a_number_of_a_complete_row() -> None:
    memory = Memory(
        peak_bytes=9,
        peak_source="VmHWM",
        uss_loaded_bytes=5,
        uss_warm_bytes=6,
        uss_end_bytes=7,
        arena_bytes=4,
        anonymous_bytes=2,
        file_bytes=1,
        pss_bytes=3,
        budget_bytes=12,
        budget_by="cgroup v2",
        device_peak_bytes=3,
        device_source="test",
    )
    paced = Paced(rate_per_s=30.0, misses=1, service_ns=[1] * 700, wake_late_ns=[1], depth=[1])
    energy = Energy(
        status="ok",
        j_per_inference=0.1,
        uncertainty_j=0.01,
        average_w=2.0,
        net_j_per_inference=0.08,
        edp_j_s=0.001,
        inferences_per_j=10.0,
    )
    curve = [CurvePoint(at_ns=10**9, p50_ns=10**6, temperature_c=61.5)]
    sustained = Sustained(
        burst_ns=[10**6], curve=curve, steady=True, limit_s=9.0, temperature_source="x"
    )
    company = Company(
        companions=["cpu:1"],
        alone_mean_ns=[9] * 3,
        company_mean_ns=[11] * 3,
        alone_ns=[[9] * 300] * 3,
        company_ns=[[11] * 300] * 3,
        alone_cpu_ns=[9] * 3,
        company_cpu_ns=[10] * 3,
        alone_waited_ns=[1] * 3,
        company_waited_ns=[2] * 3,
        total_bytes=7,
    )
    stream = Stream(
        hop_ns=32_000_000,
        window_ns=32_000_000,
        lookahead_ns=0,
        warm_up_hops=0,
        state={"a": "b"},
        state_bytes=1024,
        recovery_ns=10**6,
    )
    loadgens = [
        LoadGen(
            version="6.0.17",
            scenario=scenario,
            queries=2,
            valid=True,
            p50_ns=10**6,
            p90_ns=2 * 10**6,
            p99_ns=3 * 10**6,
            samples_per_s=100.0,
            service_ns=[10**6] * 2,
            wait_ns=[0, 10**6],
        )
        for scenario in ("SingleStream", "Offline", "Server")
    ]
    shapes = ShapeChanges(
        shapes=["1x4", "1x8"],
        first_ns=[9, 9],
        again_ns=[3, 4],
        mix_ns=[5] * 700,
        changed_ns=[6] * 9,
        same_ns=[4] * 9,
        memory=[
            HeldMemory(changes=0, uss_bytes=1, arena_bytes=1),
            HeldMemory(changes=9, uss_bytes=5, arena_bytes=6),
        ],
    )
    made = generating(tokens=100).generate
    instructions = [
        Instructions(source="perf_event", count=900, inferences=3),
        Instructions(source="callgrind", count=305, inferences=1),
    ]
    each = [
        replicate(
            i,
            samples(1e6, 2300, i),
            memory=memory,
            paced=paced,
            stream=stream,
            company=company,
            loadgen=loadgens[i],
            shapes=shapes,
            worst_case=WorstCase(
                tried=9,
                seconds=1.0,
                seed=99,
                kind="noise",
                worst_ns=[9, 9],
                median_ns=[3, 3],
                worst_run_ns=[4, 4],
                median_run_ns=[2, 2],
                worst_tokens=5,
                median_tokens=3,
                energy_windows=[
                    EnergyWindow(
                        seed=seed,
                        kind="noise",
                        inferences=9,
                        start_ns=1,
                        end_ns=9,
                        j_per_inference=joules,
                        uncertainty_j=0.1,
                    )
                    for seed, joules in ((1, 1.0), (99, 2.0))
                ],
            ),
            offline=Offline(samples=256, duration_ns=10**9, batch=1),
            sustained=sustained,
            generate=made,
            instructions=instructions,
        )
        for i in range(3)
    ]
    rows = build_table(
        [
            record(replicates=each, energy=energy, rate_per_s=30.0),
            record({"precision": "int8-static", "threads": 1}, replicates=each, energy=energy,
                   rate_per_s=30.0),
        ]
    ).rows  # fmt: skip
    for known in METRICS.values():
        value = known.value(rows[1])
        assert isinstance(value, int | float), known.name
        if known.low_path:
            low, high = known.low(rows[1]), known.high(rows[1])
            assert low is not None
            assert high is not None
            assert low <= value <= high


def test_names_that_commands_take() -> None:
    for name in (
        "latency.p50",
        "latency.p90",
        "latency.p99",
        "throughput",
        "memory.peak",
        "quality",
        "energy.j_per_inference",
        "model.size",
        "cold_start",
    ):
        assert metric(name).name == name
    assert metric("latency.p90").column() == "latency.p90_ns"
    assert metric("latency.p90").column("low") == "latency.p90_low_ns"
    assert metric("energy.j_per_inference").column() == "energy.j_per_inference"


def test_unknown_is_none_not_zero() -> None:
    row = build_table([record(replicates=[], quality=None, model=None)]).rows[0]
    assert {known.value(row) for known in METRICS.values()} == {None}


def test_a_wrong_name_gets_the_nearest_one() -> None:
    with pytest.raises(UsageError, match=r"did you mean 'memory\.peak'"):
        metric("memory.peek")


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_can_be_limited_and_printed(name: str) -> None:
    unit = METRICS[name].unit
    for typed, factor in UNITS[unit][1].items():
        assert parse_limit(f"{name}<=3{typed}").value == pytest.approx(3 * factor)
    small = 2.0 if unit in ("ns", "bytes") else 0.2 if unit == "per_s" else 1.8e-4
    (number,) = re.findall(r"[0-9.e-]+", quantity(small, unit).partition("/")[0])
    assert float(number) > 0, "no value that is above 0 reads as 0"


def test_the_registry_is_light() -> None:
    code = "import sys, edgebench.metrics; print([m for m in sys.modules if m == 'numpy'])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
