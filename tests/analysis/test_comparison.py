"""The same cells of several sets of results side by side."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from edgebench import stats
from edgebench.analysis.comparison import Side, cell_name, compare
from edgebench.analysis.comparison_report import ComparisonReport, count_not_comparable, report
from edgebench.analysis.frame import RowFrame
from edgebench.analysis.per_row.environment_differences import Environment
from edgebench.analysis.table import build_table
from edgebench.metrics import METRICS
from edgebench.record import Declared, Record
from edgebench.render.comparison_text import render
from tests import records as make


def side(name: str, records: Sequence[Record]) -> Side:
    environment = Environment()
    table = build_table(environment.noting(records))
    return Side(name, RowFrame(table.rows), environment)


def compared(*sides: Sequence[Record], metrics: Sequence[str] = ()) -> ComparisonReport:
    named = [side(chr(ord("A") + n), records) for n, records in enumerate(sides)]
    found = compare(named, [METRICS[name] for name in metrics] or None)
    whole = report(found)
    assert len(whole.not_comparable) == count_not_comparable(found)
    return whole


def changed(record: Record, **changes: Any) -> Record:
    return msgspec.structs.replace(record, **changes)


def versioned(record: Record, version: int) -> Record:
    cell = msgspec.structs.replace(
        record.cell,
        workload_version=version,
        id=record.cell.id.replace("@1/", f"@{version}/"),
    )
    return changed(record, cell=cell)


def test_ratios_with_the_interval_of_welch() -> None:
    a, b = make.record(p50=7e6), make.record(p50=6e6, run="other", seed=9)
    found = compared([a], [b], metrics=["latency.p50"])
    assert found.schema == "edgebench.compare/1"
    (cell,) = found.cells
    ratio = cell.metrics[0].ratios[1]
    rows = build_table([a, b]).rows
    expected = stats.ratio_interval(
        rows[1].latency_ns.p50_of_replicates, rows[0].latency_ns.p50_of_replicates
    )
    assert ratio is not None
    assert expected is not None
    expected_ratio = rows[1].latency_ns.p50 / rows[0].latency_ns.p50  # type: ignore[operator]
    assert ratio.ratio == pytest.approx(expected_ratio)
    assert ratio.clear == "lower"
    assert ratio.low == pytest.approx(expected.low, rel=0.01)
    assert ratio.high == pytest.approx(expected.high, rel=0.01)
    assert cell.metrics[0].ratios[0] is None


def test_the_same_results_twice_differ_in_nothing() -> None:
    records = [make.record(), make.record({"precision": "int8", "threads": 1})]
    found = compared(records, records)
    assert found.environment == []
    assert found.not_comparable == []
    for cell in found.cells:
        for metric in cell.metrics:
            ratio = metric.ratios[1]
            assert ratio is not None
            assert (ratio.ratio, ratio.clear) == (1.0, "open")


def test_every_cell_that_may_not_be_compared_says_why() -> None:
    def pair(variant: str, **changes: Any) -> tuple[Record, Record]:
        one = make.record({"precision": variant})
        return one, changed(one, **changes)

    other = make.record().effective
    assert other is not None
    bf16 = msgspec.structs.replace(other, precision="bf16")
    model = make.record().model
    assert model is not None
    of_now = msgspec.structs.replace(model, precision="int8-static", recipe="u8s8-groups/2")
    pairs = {
        "inputs_differ": pair("a", inputs_sha256="e" * 64),
        "effective_precision_differs": pair("b", effective=bf16),
        "recipe_differs": pair("b2", model=of_now),
        "quality_metric_differs": pair("c", quality=make.quality(metric="f1")),
        "not_ranked": pair("d", quality=make.quality(0.1)),
    }
    before = msgspec.structs.replace(of_now, recipe="")  # of an edgebench that did not tell it
    first, second = pairs["recipe_differs"]
    pairs["recipe_differs"] = (changed(first, model=before), second)
    broken = make.record({"precision": "e"})
    pairs["not_ok"] = (broken, make.failed({"precision": "e"}, "crashed", "SIGSEGV"))
    old = make.record({"precision": "f"})
    pairs["workload_version_differs"] = (old, versioned(old, 2))
    gone, new = make.record({"precision": "g"}), make.record({"precision": "h"})
    found = compared(
        [one for one, _ in pairs.values()] + [gone], [two for _, two in pairs.values()] + [new]
    )
    assert found.cells == []
    codes = [each.code for each in found.not_comparable]
    assert sorted(codes) == sorted([*pairs, "missing", "missing"])
    reasons = {each.code: each.reason for each in found.not_comparable}
    assert "fp32 in A and bf16 in B" in reasons["effective_precision_differs"]
    assert "B: failed: SIGSEGV" in reasons["not_ok"]
    assert "below the floor" in reasons["not_ranked"]
    assert "1 in A and 2 in B" in reasons["workload_version_differs"]
    missing = {each.reason: each.cell for each in found.not_comparable if each.code == "missing"}
    assert "precision=g" in missing["not in B"]
    assert "precision=h" in missing["not in A"]


def test_energy_of_another_kind_is_not_divided_and_the_rest_is() -> None:
    one = make.record(energy=make.energy(0.01))
    two = make.record(energy=make.energy(0.01, "vendor_counter"))
    found = compared([one], [two])
    (cell,) = found.cells
    ratios = {metric.metric: metric.ratios[1] for metric in cell.metrics}
    assert ratios["energy.j_per_inference"] is None
    assert ratios["latency.p50"] is not None
    (why,) = found.not_comparable
    assert (why.code, why.metric) == ("energy_differs", "energy.j_per_inference")


def test_joules_per_token_of_another_kind_are_not_divided() -> None:
    one, two = (
        make.record(
            {"prompt_tokens": 128, "new_tokens": 16},
            scenario="generate",
            replicates=[make.generating(index) for index in range(3)],
            energy=make.energy(1.0, kind),
        )
        for kind in ("vendor_counter", "measured_external")
    )
    found = compared([one], [two], metrics=["generate.j_per_token"])
    assert found.cells[0].metrics[0].ratios[1] is None
    assert found.not_comparable[0].metric == "generate.j_per_token"
    found = compared([one], [one], metrics=["generate.j_per_token"])
    ratio = found.cells[0].metrics[0].ratios[1]
    assert ratio is not None
    assert ratio.ratio == 1


def test_energy_of_one_process_has_a_ratio_and_no_verdict() -> None:
    def ratio(spread: bool) -> Any:
        one, two = (
            make.record(energy=make.energy(joules, share=0.001, spread=spread))
            for joules in (0.010, 0.011)
        )
        found = compared([one], [two], metrics=["energy.j_per_inference"])
        return found.cells[0].metrics[0].ratios[1]

    assert ratio(spread=True).clear == "higher"
    alone = ratio(spread=False)
    assert (alone.ratio, alone.low, alone.clear) == (pytest.approx(1.1), None, "open")


def test_a_later_row_of_the_same_cell_stands_for_the_earlier_one() -> None:
    early, late = make.record(p50=9e6, run="1"), make.record(p50=7e6, run="2")
    found = compared([early, late], [make.record(p50=7e6, run="3")], metrics=["latency.p50"])
    ratio = found.cells[0].metrics[0].ratios[1]
    assert ratio is not None
    assert ratio.ratio == pytest.approx(1.0, rel=0.01)
    (why,) = found.not_comparable
    assert (why.code, why.run) == ("superseded", "1")


@pytest.mark.parametrize(
    "rows",
    [
        [("single_stream", "throughput")],
        [("server", "throughput")],
        [("single_stream", "latency.p90_early_stopping"), ("offline", "throughput")],
        [("multi_stream", "latency.p99_early_stopping")],
    ],
)
def test_reported_speeds_of_other_tools_are_compared(rows: list[tuple[str, str]]) -> None:
    def imported(factor: float) -> list[Record]:
        return [make.reported(name, factor * 1e6, scenario=scenario) for scenario, name in rows]

    found = compared(imported(1.0), imported(1.25))
    speeds = [
        (cell.scenario, metric.metric, round(ratio.ratio, 6))
        for cell in found.cells
        for metric in cell.metrics
        if (ratio := metric.ratios[1]) is not None and metric.metric != "quality"
    ]
    assert speeds == [(scenario, name, 1.25) for scenario, name in rows]


def test_the_rate_of_a_closed_loop_says_what_its_latency_says() -> None:
    (cell,) = compared([make.record()], [make.record()]).cells
    names = [metric.metric for metric in cell.metrics]
    assert names == ["latency.p50", "latency.p90", "memory.peak", "quality"]


def test_devices_stand_side_by_side_and_never_mix_within_a_side() -> None:
    found = compared([make.record(device="jetson")], [make.record(device="pi")])
    assert len(found.cells) == 1
    assert found.cells[0].device is None
    assert [d.name for d in found.environment] == ["device"]
    both = [make.record(device="jetson"), make.record(device="pi", p50=9e6)]
    found = compared(both, both)
    assert [cell.device for cell in found.cells] == ["jetson", "pi"]
    assert found.not_comparable == []


def test_differences_of_the_environment_are_listed_by_topic() -> None:
    one = make.record()
    run = msgspec.structs.replace(
        one.run,
        python="3.12.1",
        packages={"onnxruntime": "1.33.0", "numpy": "2.2.0", "new": "1"},
        settings={"suite": "quick", "settings": {"target": 0.05}},
    )
    facts = {**one.device.facts, "power_mode": "15W"}
    device = msgspec.structs.replace(one.device, facts=facts)
    found = compared([one], [changed(one, run=run, device=device)])
    told = {(d.topic, d.name): d.values for d in found.environment}
    assert told["power", "power_mode"] == [[], ["15W"]]
    assert told["versions", "python"] == [["3.11.7"], ["3.12.1"]]
    assert told["packages", "onnxruntime"] == [["1.32.0"], ["1.33.0"]]
    assert told["packages", "new"] == [[], ["1"]]
    assert told["settings", "settings.target"] == [[], ["0.05"]]
    assert ("packages", "numpy") not in told


def test_a_cell_that_ran_on_another_device_or_with_other_threads_is_noted() -> None:
    def ran(device: str, threads: int) -> Record:
        made = make.record({"device": "AUTO"}, backend="openvino")
        assert made.effective is not None
        effective = msgspec.structs.replace(made.effective, device=device, threads=threads)
        return changed(made, effective=effective)

    found = compared([ran("cpu", 2)], [ran("gpu", 4)])
    assert "1 cell of openvino ran with device cpu in A and gpu in B" in found.notes
    assert "1 cell of openvino ran with threads 2 in A and 4 in B" in found.notes
    assert found.cells[0].metrics[0].ratios[1] is not None
    assert not any("ran with" in note for note in compared([ran("cpu", 2)], [ran("cpu", 2)]).notes)


def test_three_sides_are_compared_with_the_first() -> None:
    found = compared(
        [make.record(p50=6e6)], [make.record(p50=9e6)], [make.record(p50=3e6)],
        metrics=["latency.p50"],
    )  # fmt: skip
    ratios = found.cells[0].metrics[0].ratios
    assert ratios[0] is None
    assert [round(r.ratio, 1) for r in ratios[1:] if r is not None] == [1.5, 0.5]
    assert any("drift" in note for note in found.notes)


@pytest.mark.parametrize("count", [2, 3, 4, 5, 8, 30])
def test_however_many_sides_there_are_a_terminal_of_80_columns_holds_them(count: int) -> None:
    sides = [
        side(f"run-{n}", [make.record(p50=6e6 + n * 1e6), make.record(p50=9e6, backend="openvino")])
        for n in range(count)
    ]
    out = io.StringIO()
    render(compare(sides, [METRICS["latency.p50"], METRICS["memory.peak"]]), [], "table", out)
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    first = next(n for n, line in enumerate(lines) if "latency.p50" in line and "ms" in line)
    if count == 2:  # side by side
        assert lines[first].count("ms") == 2
        return
    stacked = [line.partition(" ms")[0].split() for line in lines[first : first + count]]
    assert [float(words[-1]) for words in stacked] == pytest.approx(
        [6 + n for n in range(count)], rel=0.02
    )
    assert [words[-2] for words in stacked][:3] == ["A", "B", "C"]


def test_a_cell_is_named_without_the_version_of_its_workload() -> None:
    assert cell_name("a-b@12/ort/precision=fp32/offline") == "a-b/ort/precision=fp32/offline"


def test_a_row_that_only_misses_a_limit_of_its_device_is_compared() -> None:
    declared = Declared(entry="lab", title="A board", limits={"latency.p50": 6.5e6})

    def on_the_board(record: Record) -> Record:
        return changed(record, device=msgspec.structs.replace(record.device, declared=declared))

    one, two = on_the_board(make.record(p50=7e6)), on_the_board(make.record(p50=6e6, run="other"))
    found = compared([one], [two])
    assert [cell.metrics[0].ratios[1] is not None for cell in found.cells] == [True]
    wrong = on_the_board(make.record(p50=6e6, run="other", quality=make.quality(0.1)))
    (why,) = compared([one], [wrong]).not_comparable
    assert why.code == "not_ranked"
