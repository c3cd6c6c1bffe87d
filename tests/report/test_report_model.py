"""The model of a report and its forms: commands that repeat rows, samples, Markdown, pictures."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from itertools import combinations, pairwise
from operator import attrgetter
from pathlib import Path
from typing import Any, get_args

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from edgebench import registry
from edgebench.analysis.table import build_table
from edgebench.analysis.table_types import Row, Run
from edgebench.api.run_options import Options, resolved, workloads_of
from edgebench.backend import Scalar
from edgebench.cli import cli
from edgebench.cli import run as run_
from edgebench.energy.source import Kind
from edgebench.errors import EdgebenchError, UsageError
from edgebench.files.number_bounds import MAX_INTEGER
from edgebench.planning.cells import Load, plan
from edgebench.planning.run_parameters import RUN_OPTIONS
from edgebench.planning.settings import parse_sets
from edgebench.record import StateCheck, encode
from edgebench.report import (
    charts,
    html_page,
    pictures,
    report_markdown,
    reproduce_command,
    theme,
    vegalite,
    write_report,
)
from edgebench.report.build_report import build_report
from edgebench.report.chart_samples import PROBABILITIES, detail_of, traces
from edgebench.report.decoder_rows import facts_of
from edgebench.report.report_groups import staircase
from edgebench.report.report_model import Report
from edgebench.scaling import scaling_rows
from edgebench.scaling.accuracy_curves import scaling
from edgebench.store import iter_records
from edgebench.text.plain_text import plain
from tests import report_records as make
from tests.records import MIB, energy, failed, record, replicate, samples
from tests.roofline.test_roofline import calibration, worked

ROOT = Path(__file__).parents[2]
REFERENCE = sorted((ROOT / "results" / "reference").glob("*.jsonl"))


@pytest.fixture(scope="module")
def realistic() -> Report:
    return build_report(make.realistic(), ["realistic.jsonl"])


def test_a_row_with_an_attached_meter_keeps_its_own_samples() -> None:
    """`energy attach` writes records of the same cells; whatever stands behind them must not move."""
    records = make.realistic()
    metered = energy(0.5, kind="measured_external", scope="device input")
    attached = [msgspec.structs.replace(r, energy=metered) for r in records if r.status == "ok"]
    last = record(workload="later", p50=9e6)
    together = build_report([*records, *attached, last], [])
    alone = build_report([*attached, last], [])
    details = {row.id + row.device: row.detail for row in together.rows}
    assert len(together.rows) == len(records) + 1
    assert all(row.detail == details[row.id + row.device] for row in alone.rows)


@pytest.fixture(scope="module")
def hostile() -> Report:
    return build_report(make.hostile(), ["</script>.jsonl"])


@pytest.fixture(scope="module")
def decoders() -> Report:
    return build_report(make.decoders(), ["decoders.jsonl"])


@pytest.fixture(scope="module")
def reference() -> Report:
    records = [one for file in REFERENCE for one in iter_records(file)]
    return build_report(records, [file.name for file in REFERENCE])


# --- the command of a row


def options_of(command: str) -> Options:
    """What `edgebench run` makes of a command line."""
    program, name, *words = shlex.split(command)
    assert (program, name) == ("edgebench", "run")
    context = run_.command.make_context("run", words)
    return resolved(context.params)


def test_each_command_of_the_reference_plans_its_row_and_no_other(reference: Report) -> None:
    lines = sum(len(file.read_text(encoding="utf-8").splitlines()) for file in REFERENCE)
    assert len(reference.rows) == lines > 30
    for row in reference.rows:
        if row.status == "unsupported":
            assert "whole run" in row.command_note
            continue
        options = options_of(row.command)
        cells = plan(
            workloads_of(options),
            options.backends,
            suite=options.suite,
            sets=parse_sets(options.sets),
            scenarios=options.scenarios or None,
            load=Load(options.rate_per_s, options.bound_p99_ns),
        )
        assert [cell.id for cell in cells] == [row.id]
        assert row.command_note == ""


def test_a_command_keeps_how_it_was_measured(reference: Report) -> None:
    asked = [
        options_of(row.command).settings for row in reference.rows if row.backend == "openvino"
    ]
    counts = {(each.replicates, each.max_replicates, each.slice_s) for each in asked}
    assert counts == {(4, 4, 0.6), (7, 7, 2.0)}


@given(
    st.dictionaries(
        st.sampled_from(["precision", "threads", "provider", "options"]),
        st.one_of(
            st.integers(-MAX_INTEGER, MAX_INTEGER),
            st.booleans(),
            st.sampled_from(["1", "true", "a,b", "[1, 2]", "x"]),
        ),
        min_size=1,
    )
)
def test_settings_read_back_as_they_were(variant: dict[str, Scalar]) -> None:
    sets = [f"{axis}={reproduce_command._value(value)}" for axis, value in variant.items()]
    found = parse_sets(sets)
    assert {axis: [value] for axis, value in variant.items()} == found
    assert all(type(found[axis][0]) is type(value) for axis, value in variant.items())


@pytest.mark.parametrize(
    "settings",
    [
        {"workloads": ["w"], "sets": [], "settings": {"slice_s": "2s"}},
        {"workloads": ["w"], "sets": [], "settings": {"seed": [1]}},
        {"workloads": ["w"], "sets": [], "backends": None, "settings": {}},
        {"workloads": ["w"], "sets": [], "settings": 7},
    ],
)
def test_settings_of_another_version_are_no_command(settings: dict[str, Any]) -> None:
    made = record()
    run = msgspec.structs.replace(made.run, settings=settings)
    (row,) = build_report([msgspec.structs.replace(made, run=run)], []).rows
    assert row.command == "edgebench run"
    assert "whole run" in row.command_note


def test_without_settings_the_command_of_the_run_is_said_to_be_that(realistic: Report) -> None:
    assert realistic.rows[0].command == "edgebench run"
    assert "whole run" in realistic.rows[0].command_note


def _command_of(row: Row, typed: str) -> str:
    """The command of a row of a run that was typed like that."""
    run = Run(
        id="r", device="d", started_utc="", edgebench="", python="",
        settings=msgspec.to_builtins(options_of(typed)), command=[], seed=0, packages_sha256="",
        state=[],
    )  # fmt: skip
    return reproduce_command.command(row, run)[0]


def test_a_command_keeps_what_was_done_to_the_machine(tmp_path: Path) -> None:
    row = build_table([record({"power_mode": 0, "threads": 1}, scenario="sustained")]).rows[0]
    typed = (
        "edgebench run image-classification --set power_mode=0,1 --set-power-mode --sustain 20min "
        "--slice 3s --reruns 0 --estimate cpu-time:4 --energy-markers "
        + shlex.join(
            ["--devices", str(tmp_path / "my devices.yaml"), "--energy-root", str(tmp_path)]
        )
    )
    asked, again = options_of(typed), options_of(_command_of(row, typed))
    for name in ("set_power_mode", "estimate", "energy_markers", "devices", "energy_root"):
        assert getattr(again, name) == getattr(asked, name), name
    assert again.sets == ["power_mode=0", "threads=1"]
    for name in ("sustain_s", "slice_s", "reruns", "time_out_s"):
        assert getattr(again.settings, name) == getattr(asked.settings, name), name


def test_a_command_says_nothing_that_is_the_default() -> None:
    row = build_table([record()]).rows[0]
    assert _command_of(row, "edgebench run image-classification --sustain 20min") == (
        "edgebench run image-classification --set precision=fp32 --set threads=1 "
        "--scenario single_stream --replicates 3"
    ), "a closed loop has no use for --sustain"


def test_a_command_of_a_row_has_its_load() -> None:
    loads = "edgebench run image-classification --scenario server --bound p99=15ms"
    sought = msgspec.structs.replace(record().cell, scenario="server", bound_p99_ns=15_000_000)
    row = build_table([msgspec.structs.replace(record(), cell=sought)]).rows[0]
    assert options_of(_command_of(row, loads)).bound_p99_ns == 15_000_000
    alone = build_table([record()]).rows[0]
    assert options_of(_command_of(alone, loads)).bound_p99_ns is None
    together = "edgebench run image-classification voice-activity --together"
    assert _command_of(alone, together) == "", "the others are part of what was measured"


def test_a_command_of_a_row_has_its_own_budget_of_memory() -> None:
    row = build_table([record({"memory_budget": "256MiB"})]).rows[0]
    typed = "edgebench run image-classification --memory-budget 256MiB,512MiB"
    again = _command_of(row, typed)
    assert options_of(again).sets == ["memory_budget=256MiB"]
    assert again.count("budget") == 1


def test_a_command_keeps_every_option_that_decides_how_a_row_is_measured(tmp_path: Path) -> None:
    """Row and model aside, a value that is not the default must come back as it was."""
    typed = {
        "folders": str(tmp_path), "wait_quiet": "5s", "target": "1%", "percentile": "p99", "reruns": "0",
        "slice_": "1s", "sustain": "1s", "timeout": "1s", "memory_limit": "1GiB", "parity": None,
        "estimate": "cpu-time:3", "energy_markers": None, "energy_root": str(tmp_path), "seed": "1",
        "devices": str(tmp_path / "devices.yaml"), "device": "rack 7", "strict": None,
        "cool_to": "60", "companions": "cpu:2", "profile": None, "instructions": "callgrind",
        "shape_sequence": "natural", "worst_case": "1s", "loadgen": None,
    }  # fmt: skip
    told_by_row = {"names", "suite", "backends", "sets", "scenarios", "rate", "replicates"}
    told_by_row |= {"bound", "together", "memory_budget"}
    of_models = {"model", "shapes", "ranges", "inputs", "task", "reference"}
    deciding = {option.parameter for option in RUN_OPTIONS.values() if option.decides}
    assert set(typed) | told_by_row | of_models | {"set_power_mode"} == deciding
    del typed["parity"]  # of models; its own test is below
    words = ["edgebench", "run", "image-classification"]
    for parameter, value in typed.items():
        words += [RUN_OPTIONS[parameter].flag, *([] if value is None else [value])]
    row = build_table([record(scenario="sustained")]).rows[0]
    again = options_of(_command_of(row, shlex.join(words)))
    asked = options_of(shlex.join(words))
    for parameter in typed:
        for name in RUN_OPTIONS[parameter].decides:
            assert attrgetter(name)(again) == attrgetter(name)(asked), name


def test_a_file_of_the_user_is_named() -> None:
    options = options_of("edgebench run --budget 10s")
    asked = {**msgspec.to_builtins(options), "model": "/models/my net.onnx"}
    asked |= {"shapes": ["image=1,3,8,8"], "task": "t.py:Task", "backends": ["mine.py:Mine"]}
    row = build_table([record()]).rows[0]
    run = Run(
        id="r", device="d", started_utc="", edgebench="", python="", settings=asked, command=[],
        seed=0, packages_sha256="", state=[],
    )  # fmt: skip
    words = shlex.split(reproduce_command.command(row, run)[0])
    assert words[2:4] == ["--model", "/models/my net.onnx"]
    assert words[words.index("--backend") + 1] == "mine.py:Mine"
    assert words[words.index("--shape") + 1] == "image=1,3,8,8"


def test_a_command_keeps_what_the_inputs_were_and_what_they_may_be_off(tmp_path: Path) -> None:
    model, inputs = tmp_path / "m.onnx", tmp_path / "in.npz"
    for file in (model, inputs):
        file.touch()
    row = build_table([record()]).rows[0]
    typed = ["--model", model, "--range", "k=1|2", "--range", "ids=0,9", "--parity", "0.05"]
    words = shlex.join(map(str, ["edgebench", "run", *typed, "--inputs", inputs]))
    asked, again = options_of(words), options_of(_command_of(row, words))
    assert again.ranges == asked.ranges == ["k=1|2", "ids=0,9"]
    assert again.inputs == asked.inputs == str(inputs)
    assert again.settings.parity == asked.settings.parity == 0.05


# --- samples


def test_the_distribution_is_that_of_all_samples() -> None:
    one = record(replicates=[replicate(i, samples(7e6, 400, i)) for i in range(3)])
    detail = detail_of(traces(one))
    assert detail is not None
    pooled = np.sort([ns for each in one.replicates for ns in each.samples_ns])
    assert detail.ecdf_ms[0] == pytest.approx(pooled[0] / 1e6, rel=1e-4)
    assert detail.ecdf_ms[-1] == pytest.approx(pooled[-1] / 1e6, rel=1e-4)
    median = detail.ecdf_ms[PROBABILITIES.index(0.5)]
    assert median == pytest.approx(pooled[599] / 1e6, rel=1e-4)
    assert sum(detail.histogram.counts) + detail.histogram.beyond == 1200
    assert [process.samples for process in detail.processes] == [400] * 3
    assert all(len(process.seconds_s) <= 60 for process in detail.processes)


@pytest.mark.parametrize("count", [25, 50, 100, 1000])
def test_quantiles_are_of_the_rank_that_the_table_takes(count: int) -> None:
    """0.56 * 100 is more than 56 in floating point; the rank is 56 all the same."""
    one = record(replicates=[replicate(0, [1_000_000 * n for n in range(1, count + 1)])])
    detail = detail_of(traces(one))
    assert detail is not None
    ranks = [max(-(-round(1000 * share) * count // 1000), 1) for share in PROBABILITIES]
    assert detail.ecdf_ms == ranks


def test_processes_do_not_overlap_and_bands_say_why() -> None:
    hot = StateCheck(name="thermal_throttle", level="invalid", evidence="3 events")
    one = record(replicates=[replicate(0), replicate(1, state_after=[hot]), replicate(2)])
    detail = detail_of(traces(one))
    assert detail is not None
    edges = [(process.start_s, process.seconds_s[-1]) for process in detail.processes]
    assert all(end < start for (_, end), (start, _) in pairwise(edges))
    warmups = [band for band in detail.bands if band.kind == "warm-up"]
    assert [band.end_s for band in warmups] == [start for start, _ in edges]
    (disturbed,) = [band for band in detail.bands if band.kind == "disturbed"]
    assert (disturbed.process, disturbed.words) == (1, "thermal_throttle: 3 events")
    assert (disturbed.start_s, disturbed.end_s) == pytest.approx(
        edges[1], abs=0.05
    )  # a point is a bin


def test_a_sustained_load_is_its_whole_curve_with_throttling_marked() -> None:
    detail = detail_of(traces(make.loads()[0]))
    assert detail is not None
    first = detail.processes[0]
    assert first.seconds_s[-1] - first.start_s > 100, "not the few seconds of its samples"
    assert (first.median_of_bin_ms[0], first.median_of_bin_ms[-1]) == (4.9, 6.2)
    assert first.largest_of_bin_ms == []
    assert first.samples == 100
    hot = [band for band in detail.bands if band.kind == "disturbed"]
    assert len(hot) == 3
    assert (hot[0].process, hot[0].words) == (
        0,
        "slower than at first by more than 5% from 42 s on",
    )
    edges = first.start_s + 42, first.start_s + 120
    assert (hot[0].start_s, hot[0].end_s) == pytest.approx(edges)


def test_paced_queries_stand_where_they_were_due() -> None:
    detail = detail_of(traces(make.loads()[1]))
    assert detail is not None
    first = detail.processes[0]
    assert first.per_point == 2
    after = [second - first.start_s for second in first.seconds_s]
    assert after == pytest.approx([0.02 * point + 0.005 for point in range(50)], abs=1e-3)


def test_throttling_and_missed_deadlines_are_said_in_every_form() -> None:
    report = build_report(make.loads(), [])
    throttled, missed = (row.facts[report.fact_names.index("remarks")] for row in report.rows)
    assert "sustained 6.2" in throttled
    assert "from 42 s on" in throttled
    assert missed == "120 deadlines missed in 300 queries"
    text = report_markdown.render(report)
    assert "from 42 s on" in text
    assert missed in text


def test_details_are_capped_and_the_report_says_so() -> None:
    report = build_report(make.many(60), [], max_details=10)
    shown = [row for row in report.rows if row.detail is not None]
    assert len(shown) == 10
    assert all(row.detail is not None for row in report.rows if row.pick)
    assert "10 of 60" in report.details_left_out


def test_markdown_counts_the_rows_that_it_leaves_out() -> None:
    axes: list[dict[str, Scalar]] = [{"precision": "fp32", "threads": 1, "n": n} for n in range(43)]
    records = [worked(p50=1e6 + 1e5 * n, variant=axis) for n, axis in enumerate(axes)]
    for number, made in enumerate(records):
        command = ["edgebench", "run", "w", "--seed", str(number // 2)]
        run = msgspec.structs.replace(made.run, id=f"r{number}", command=command)
        records[number] = msgspec.structs.replace(made, run=run)
    text = report_markdown.render(build_report(records, [], lambda devices: [calibration()]))
    roofline = text.partition("### Roofline")[2]
    assert roofline.count("| compute |") + roofline.count("| memory |") == 40
    assert "3 further rows are left out here." in roofline
    assert text.count("edgebench run w --seed") == 22, "rows of one command have it once"
    assert "further commands" not in text


@given(
    st.lists(st.tuples(st.floats(1, 9), st.floats(1, 9)), min_size=1), st.booleans(), st.booleans()
)
def test_no_point_beats_the_staircase(
    points: list[tuple[float, float]], x_higher: bool, y_higher: bool
) -> None:
    stairs = staircase(points, x_higher, y_higher)
    right, up = (1 if x_higher else -1), (1 if y_higher else -1)
    corners = stairs[::2]
    assert set(corners) <= set(points)
    for x, y in points:
        assert any(right * cx >= right * x and up * cy >= up * y for cx, cy in corners)
    for cx, cy in corners:
        assert not any(right * x > right * cx and up * y > up * cy for x, y in points)


# --- the roofline


def test_rows_stand_under_the_roof_of_their_threads() -> None:
    rows = [worked(p50=1e6, spread=0.001), record({"precision": "int8-static"}, p50=2e6)]
    report = build_report(rows, [], lambda devices: [calibration()])
    (point,) = report.roof_points
    assert (point.row, point.bound) == (0, "compute")
    assert point.gops_per_s == pytest.approx(41, rel=0.02)
    assert {(roof.name, roof.peak_gops_per_s) for roof in report.roofs} == {
        ("fp32, 1 thread", 100), ("int8, 1 thread", 400),
    }  # fmt: skip
    text = report_markdown.render(report)
    assert re.search(r"\| 10\.\d+ \| 4\d\.\d+ \| 4\d\.\d% \| compute \|", text)


def test_without_a_roofline_the_reason_stands_there(realistic: Report) -> None:
    assert realistic.roof_points == []
    assert "no count of the model's work" in realistic.roof_unknown
    assert "no count of the model's work" in report_markdown.render(realistic)


def test_rows_of_other_tools_stand_by_what_these_report(tmp_path: Path) -> None:
    out = tmp_path / "mlperf.jsonl"
    excerpt = ROOT / "tests" / "data" / "imports" / "mlperf" / "inference-excerpt.csv.gz"
    done = CliRunner().invoke(cli, ["import", "mlperf", str(excerpt), "-o", str(out)])
    assert done.exit_code == 0, done.output
    report = build_report(iter_records(out), [out.name])
    group = next(g for g in report.groups if g.name.startswith("mlperf-resnet") and len(g.rows) > 9)
    assert "p90" in group.x_title
    drawn = [report.rows[i] for i in group.rows if report.rows[i].front != "struck"]
    assert all(row.numbers.latency_ms is not None for row in drawn)
    assert {"yes", "no"} & {row.front for row in drawn}, "memory, which nobody reports, is left out"
    assert all(row.numbers.latency_low_ms is None for row in drawn), "a word is no interval"
    assert "whole run" in drawn[0].command_note or "does not say" in drawn[0].command_note
    assert "MLPerf" in html_page.render(report) or "mlperf" in html_page.render(report)


# --- language models


def test_decoders_stand_by_runtime_precision_and_threads(decoders: Report) -> None:
    chat, reasoning = decoders.decoders
    assert chat.name == "chat@1, 16 after 128 tokens"
    assert [(d.runtime, d.precision, d.threads) for d in chat.decoders] == [
        ("ort", "as-is", "2"),
        ("ort", "as-is", "1"),
        ("ort", "fp16", "1"),
        ("ort_genai", "int4", "1"),
        ("ort", "int4", "1"),
    ], "by merit: what competes by its speed, then what is struck, then what could not run"
    _, first, _, struck, unable = (decoders.rows[d.row] for d in chat.decoders)
    assert facts_of(decoders, first)[1:] == [
        *("20.0 ms ±0.0%", "50.0", "425", "90.0 MiB", "31.63", "1.000")
    ]
    assert facts_of(decoders, unable) == ["-"] * 7
    assert facts_of(decoders, struck)[-2:] == ["43.7", "0.780"]
    assert {d.tokens for d in reasoning.decoders} == {f"12 after {n}" for n in (128, 256, 384, 512)}
    html = html_page.render(decoders)
    part = html.split('<details class="section" id="decoders"')[1].split('id="scaling"')[0]
    for words in (
        "43.7 is above the ceiling 33",
        "ort: 1 variant unsupported",
        "ort has no precision &#x27;int4&#x27;",
    ):
        assert words in part


def test_accuracy_over_time_is_that_of_the_analysis(decoders: Report) -> None:
    records = make.reasoning()
    found = scaling(build_table(records), records)
    (group,) = decoders.scalings
    (cell,) = group.cells
    assert (cell.label, group.x_title) == ("ort as-is", scaling_rows._TIMES["predicted"])
    assert [(p.accuracy, p.accuracy_low, p.front) for p in cell.points] == [
        (p.accuracy, p.accuracy_low, p.front) for p in found.cells[0].points
    ]
    assert [p.name for p in cell.points if p.front] == ["8 \u00d7 1", "16 \u00d7 1", "16 \u00d7 4"]
    prefill, decode = cell.fits
    assert [len(fit.points) for fit in (prefill, decode)] == [12, 44]
    assert all(p.measured_ms == pytest.approx(p.fitted_ms, rel=1e-4) for p in prefill.points)
    assert "R^2 1.0000" in decode.words
    assert [pick.within for pick in group.picks] == ["100 ms", "200 ms", "any time"]
    assert "16 tokens and 1 vote" in group.picks[0].text


def test_scaling_without_fits_says_that_its_times_are_measured() -> None:
    report = build_report(make.reasoning()[:1], [])
    (group,) = report.scalings
    assert "(measured)" in group.x_title
    (cell,) = group.cells
    assert cell.fits[0].points == []
    assert "no fit of the prefill: needs 3 lengths" in cell.fits[0].words
    assert "measured" in group.picks[0].text
    for text in (html_page.render(report), report_markdown.render(report)):
        assert "no fit of the prefill" in text


def test_markdown_and_pictures_have_the_decoders_and_the_front(decoders: Report) -> None:
    text = report_markdown.render(decoders)
    assert "| runtime | precision | threads | TTFT |" in text
    assert re.search(r"\| \\\* \| 16 \| 4 \| 0\.\d+ \|", text)
    assert "- within 100 ms: ort as-is with 16 tokens" in text
    drawn = pictures.svg(decoders)
    assert "accuracy of the vote" in drawn
    assert "16 \u00d7 4" in drawn


def test_a_report_of_other_tasks_has_no_such_sections(realistic: Report) -> None:
    html = html_page.render(realistic).replace(vegalite.scripts(), "")
    assert 'id="decoders"' not in html
    assert 'id="scaling"' not in html
    assert "Language models" not in report_markdown.render(realistic)


# --- the page


def data_of(html: str) -> Any:
    (text,) = re.findall(
        r'<script type="application/json" id="report">(.*?)</script>', html, re.DOTALL
    )
    return json.loads(text)


def test_the_page_is_one_file_that_names_no_address(realistic: Report) -> None:
    html = html_page.render(realistic)
    assert html.count("<script") == 3
    ours = html.replace(vegalite.scripts(), "")
    assert not re.findall(r"(?:src|href)=[\"'](?!#)", ours)
    assert "default-src 'none'" in ours
    assert {row["id"] for row in data_of(html)["report"]["rows"]} == {r.id for r in realistic.rows}


def test_hostile_names_stay_words_in_the_page(hostile: Report) -> None:
    html = html_page.render(hostile).replace(vegalite.scripts(), "")
    assert html.count("<script") == 3
    assert "<img" not in html
    assert "\u2028" not in html.split('id="report">')[1]
    assert data_of(html)["report"]["rows"][0]["backend"] == make.HOSTILE[0]


def _expressions(spec: Any, inside: bool = False) -> Iterator[str]:
    """Every string of a Vega spec that is run."""
    if isinstance(spec, list):
        for part in spec:
            yield from _expressions(part, inside)
    elif isinstance(spec, dict):
        for key, part in spec.items():
            if key != "values":  # data
                yield from _expressions(part, key in ("signal", "expr", "test", "update", "init"))
    elif inside and isinstance(spec, str):
        yield spec


def test_no_name_gets_into_an_expression() -> None:
    import vl_convert

    ranked = [
        record({"precision": words, "batch": 1}, workload=words, backend=words, seed=i)
        for i, words in enumerate(make.HOSTILE)
    ] + [record({"precision": "b", "batch": 1}, workload=w, p50=9e6) for w in make.HOSTILE]
    for start in range(0, len(make.HOSTILE), 5):
        names = make.HOSTILE[start : start + 5]
        some = [one for one in ranked if one.cell.workload in names]
        spec = pictures.picture(build_report(some, []))
        vega = vl_convert.vegalite_to_vega(
            spec, vl_version=vegalite.VERSION, config=theme.config("light")
        )
        assert [text for text in _expressions(vega) if "hacked" in text or "attacker" in text] == []
    for words in make.HOSTILE:
        report = build_report(make.reasoning(workload=words, backend=words), [])
        assert report.scalings[0].cells[0].label.startswith(plain(words)[:8])
        vega = vl_convert.vegalite_to_vega(
            pictures.picture(report), vl_version=vegalite.VERSION, config=theme.config("light")
        )
        assert [part for part in _expressions(vega) if "hacked" in part or "attacker" in part] == []


def test_every_template_compiles() -> None:
    import vl_convert

    slots = {
        "width": 300, "height": 200, "x_title": "x", "y_title": "y", "read_title": "z", "x_scale": {}, "y_scale": {},
        "color_title": "c", "color_domain": ["a"], "color_shown": ["a"], "shape_shown": ["a"],
        "color_range": ["red"], "shape_domain": ["a"],
        "label_domain": ["a"], "label_range": ["red"], "legend_columns": 2, "accent": "red", "label_limit": 90,
        **theme.THEMES["dark"],
    }  # fmt: skip
    for name, template in charts.templates().items():
        spec = charts.fill(template, slots)
        vega = vl_convert.vegalite_to_vega(
            spec, vl_version=vegalite.VERSION, config=theme.config("dark")
        )
        assert vega["marks"], name
        assert spec["description"]


def test_the_bar_of_a_measured_energy_is_filled_and_no_other() -> None:
    import vl_convert

    kinds = [*get_args(Kind), "", "of another tool"]
    colors = theme.THEMES["light"]
    slots = {"width": 300, "height": 200, "label_limit": 90, **colors, "accent": "#123456"}
    spec = charts.fill(charts.templates()["energy"], slots)
    spec["datasets"] = {
        "energy": [
            {"label": kind, "kind": kind, "energy_mj": 1.0 + n} for n, kind in enumerate(kinds)
        ]
    }
    svg = vl_convert.vegalite_to_svg(spec, vl_version=vegalite.VERSION)
    bars = re.findall(r'<path [^>]*aria-roledescription="bar"[^>]*>', svg)
    assert [' fill="#123456"' in bar for bar in bars] == [kind in charts.MEASURED for kind in kinds]
    assert set(charts.MEASURED) == {*get_args(Kind)} - {"modelled"}


# --- colours


def _luminance(color: str) -> float:
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, two: str) -> float:
    dark, light = sorted((_luminance(one), _luminance(two)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("name", ["light", "dark"])
def test_contrast_is_enough_for_text_and_graphics(name: str) -> None:
    colors = theme.THEMES[name]
    for ground in ("paper", "desk"):
        for text in ("ink", "soft", "accent", "good", "warn", "bad"):
            assert contrast(colors[text], colors[ground]) >= 4.5, (text, ground)
        assert contrast(colors["edge"], colors[ground]) >= 2.9, ground
    for color in (*theme.SERIES[name], colors["struck"]):
        assert contrast(color, colors["paper"]) >= 3, color


#: What eyes without one kind of cones see of linear colours (Machado, Oliveira and Fernandes 2009).
_EYES = {
    "all cones": np.eye(3),
    "protanopia": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                            [-0.003882, -0.048116, 1.051998]]),
    "deuteranopia": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                              [-0.011820, 0.042940, 0.968881]]),
    "tritanopia": np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                            [0.004733, 0.691367, 0.303900]]),
}  # fmt: skip
_TO_CONES = np.array([[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
                      [0.0883024619, 0.2817188376, 0.6299787005]])  # fmt: skip
_TO_LAB = np.array([[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099],
                    [0.0259040371, 0.7827717662, -0.8086757660]])  # fmt: skip


def _oklab(color: str, eye: str) -> np.ndarray[Any, Any]:
    parts = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    seen = np.clip(_EYES[eye] @ linear, 0, 1)
    return np.asarray(_TO_LAB @ np.cbrt(_TO_CONES @ seen))


@pytest.mark.parametrize("eye", _EYES)
@pytest.mark.parametrize("name", ["light", "dark"])
def test_no_two_colours_of_backends_look_alike(name: str, eye: str) -> None:
    """In OKLab 0.02 is a just noticeable difference; the former blues of litert and ort were 0.05 apart."""
    series = theme.SERIES[name]
    assert len(series) >= len(registry.names())
    for one, two in combinations(series, 2):
        distance = float(np.linalg.norm(_oklab(one, eye) - _oklab(two, eye)))
        assert distance >= 0.09, (one, two, distance)


# --- what the page is told


def test_a_decision_says_as_data_how_sure_it_is(realistic: Report) -> None:
    group = realistic.groups[0]
    board, desk = sorted(group.decisions, key=lambda decision: decision.device)
    assert (desk.certainty, desk.verdict) == ("sure", "clear")
    assert desk.ratio is not None
    assert desk.ratio_low is not None
    assert 1 < desk.ratio_low < desk.ratio
    assert desk.runner_up is not None
    html = html_page.render(realistic)
    assert f"For sure: {desk.ratio:.2f}x as fast as {realistic.rows[desk.runner_up].label}" in html
    assert board.row is not None


def test_figures_are_the_facts_in_parts(reference: Report) -> None:
    for row in reference.rows:
        facts = dict(zip(reference.fact_names, row.facts, strict=True))
        for name, figure in zip(reference.figure_names, row.figures, strict=True):
            if figure.value and name in facts:
                assert f"{figure.value} {figure.beside}".strip() == facts[name]


def test_demands_on_the_quality_are_told_once(reference: Report) -> None:
    group = next(g for g in reference.groups if g.name.startswith("image-classification"))
    assert next((d.metric, d.bound) for d in group.demands) == ("top1_10crop", 0.85)
    assert len({d.metric for d in group.demands}) == len(group.demands)
    assert "top1_10crop at least 0.85" in html_page.render(reference)
    assert "floor 0.85" in pictures.svg(build_report(
        [one for one in iter_records(REFERENCE[0]) if one.cell.workload == "image-classification"], []
    ))  # fmt: skip


def test_rows_stand_by_merit(reference: Report) -> None:
    for group in reference.groups:
        for device in reference.devices:
            rows = [
                reference.rows[i] for i in group.rows if reference.rows[i].device == device.name
            ]
            places = [(row.front == "struck", row.status != "ok") for row in rows]
            assert places == sorted(places)


def test_the_environment_is_told_in_words(reference: Report) -> None:
    values = [value for each in reference.differences for value in each.values]
    assert "ort, openvino, litert, ncnn" in values
    assert not [value for value in values if value.startswith(("[", "{")) or value == "None"]


def test_a_small_report_has_a_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It was "ab.md (0.0 MiB)"."""
    write_report.write(build_report([record()], []), tmp_path / "ab.md", "md")
    assert re.search(r"ab\.md \([1-9]\d*(\.\d)? (B|KiB)\)", capsys.readouterr().err)


# --- Markdown and pictures


def test_markdown_says_the_decision_first_and_all_the_rest(realistic: Report) -> None:
    text = report_markdown.render(realistic)
    lines = text.splitlines()
    assert lines[2].startswith("- image-classification")
    assert "**deploy" in lines[2]
    for words in (
        "the worker died of SIGSEGV",
        "### Environment",
        "edgebench run",
        "fix: see the log",
    ):
        assert words.lower() in text.lower()


def test_hostile_names_stay_words_in_markdown(hostile: Report) -> None:
    text = report_markdown.render(hostile)
    fence, _, rest = text.partition("<summary>Reproduce each row</summary>\n\n")[2].partition("\n")
    inside = rest.partition("\n" + fence.removesuffix("sh") + "\n")[0]
    outside = text.replace(inside, "")
    assert "<img" not in outside
    assert "<script" not in outside
    assert "<b>" not in outside
    assert not re.search(r"(?<!\\)@everyone", outside)
    widths = {
        len(re.findall(r"(?<!\\)\|", line))
        for line in outside.split("\n")
        if line.startswith("| `x`")
    }
    assert len(widths) == 1


def _symbols(svg: str) -> list[str]:
    """Where points stand, each within its own chart."""
    groups = re.findall(r'class="mark-symbol role-mark[^"]*"[^>]*>(.*?)</g>', svg, re.DOTALL)
    return sorted(re.findall(r'transform="(translate\([^)]*\))"', "".join(groups)))


def test_each_chart_of_a_picture_has_its_own_points() -> None:
    """Layers of one name all drew the points of one chart, under the lines and names of their own."""
    one = [record({"threads": n}, p50=n * 5e6, peak=n * 90 * MIB) for n in (1, 2)]
    two = [record({"threads": n}, p50=n * 7e6, peak=(5 - n) * 40 * MIB, workload="wake-word")
           for n in (1, 2, 3)]  # fmt: skip
    alone = [_symbols(pictures.svg(build_report(some, []))) for some in (one, two)]
    assert [len(some) for some in alone] == [2, 3]
    assert _symbols(pictures.svg(build_report([*one, *two], []))) == sorted([*alone[0], *alone[1]])


def test_picture_names_the_front_where_there_is_room() -> None:
    rows = [record({"threads": 1}, p50=9e6, peak=60 * MIB), record({"threads": 2}, p50=5e6)]
    drawn = pictures.svg(build_report(rows, []))
    for name in ("threads=1", "threads=2"):
        assert drawn.count(f">{name}<") == 2, "in the chart and in the key"


def test_pictures_need_no_browser() -> None:
    quick = build_report(iter_records(REFERENCE[0]), [])
    drawn = pictures.svg(quick)
    assert drawn.startswith("<svg")
    assert "deploy" in drawn
    assert drawn == pictures.svg(quick)
    assert pictures.png(quick).startswith(b"\x89PNG")


def test_an_interval_of_any_width_leaves_the_picture_its_size() -> None:
    wild = [
        replicate(i, samples(ns, 60, i), peak=peak * MIB)
        for i, (ns, peak) in enumerate(((1e6, 1), (3e7, 900), (9e8, 90)))
    ]
    drawn = pictures.svg(build_report([record(replicates=wild)], []))
    (size,) = re.findall(r'^<svg [^>]*width="(\d+)[^>]*height="(\d+)', drawn)
    assert int(size[0]) < 1500
    assert int(size[1]) < 1500


def test_nothing_to_draw_and_too_much_to_draw_are_said() -> None:
    with pytest.raises(UsageError, match="nothing to draw"):
        pictures.svg(build_report([failed({"precision": "fp32"}, "crashed", "SIGSEGV")], []))
    many = [record(workload=f"workload-{i}") for i in range(9)]
    with pytest.raises(UsageError, match="--workload"):
        pictures.svg(build_report(many, []))


def test_no_records_is_a_report_too() -> None:
    report = build_report([], [])
    assert "There are no records" in html_page.render(report)
    assert report_markdown.render(report)


# --- the command


def invoke(*words: str) -> Result:
    return CliRunner().invoke(cli, ["report", *words])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "results.jsonl"
    path.write_bytes(b"".join(map(encode, make.realistic())))
    return path


@pytest.mark.parametrize(
    ("name", "start"), [("r.html", b"<!doctype"), ("r.md", b"## "), ("r.svg", b"<svg")]
)
def test_the_name_tells_the_format(file: Path, name: str, start: bytes) -> None:
    out = file.parent / name
    words = ["--workload", "wake-word"] if name.endswith("svg") else []
    done = invoke(str(file), "-o", str(out), *words)
    assert done.exit_code == 0, done.output
    assert out.read_bytes().startswith(start)
    assert [path.name for path in file.parent.glob(".*")] == []


def test_errors_of_the_command_name_the_fix(file: Path) -> None:
    with pytest.raises(UsageError, match="does not say which format to write"):
        CliRunner().invoke(
            cli,
            ["report", str(file), "-o", "x.docx"],
            standalone_mode=False,
            catch_exceptions=False,
        )
    with pytest.raises(UsageError, match="did you mean 'wake-word'"):
        CliRunner().invoke(
            cli, ["report", str(file), "--workload", "wake-wrd"], catch_exceptions=False
        )
    with pytest.raises(EdgebenchError, match="cannot be written"):
        CliRunner().invoke(
            cli, ["report", str(file), "-o", "/nowhere/r.md"], catch_exceptions=False
        )


def test_a_missing_extra_is_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with pytest.raises(UsageError) as error:
        CliRunner().invoke(cli, ["report", str(file), "-o", "r.html"], catch_exceptions=False)
    assert "edgebench[report]" in error.value.fix


def test_a_report_needs_no_runtime(file: Path) -> None:
    code = (
        "import sys\nfrom edgebench.cli import main\n"
        f"sys.argv = ['edgebench', 'report', {str(file)!r}, '--format', 'md', '-o', '-']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "print([m for m in ('onnx', 'onnxruntime', 'vl_convert') if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
