"""Stored results against limits, and every form of a report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import msgspec
import pytest
from click.testing import CliRunner

from edgebench.ab_test.ab_report import build_report
from edgebench.ab_test.ab_report_types import GateReport, Tolerances
from edgebench.ab_test.ab_runner import ABCell
from edgebench.ab_test.verdict import Rules
from edgebench.analysis.table import build_table
from edgebench.backend import Scalar
from edgebench.cli import cli
from edgebench.cli.ab import finish
from edgebench.definitions.json_schema import json_schema
from edgebench.errors import ExitCode, StoreError, UsageError
from edgebench.gate import github_actions
from edgebench.gate.absolute_limits import judge_stored, parse_limit
from edgebench.gate.verdict_formats import render
from edgebench.gate.verdict_wording import facts, summary
from edgebench.record import Limit, Reason, Record, encode
from tests.ab_test.pairs import case, pairs
from tests.records import MIB, failed, quality, record


def stored(
    candidate: Sequence[Record], baseline: Sequence[Record] | None, *limits: str
) -> GateReport:
    return judge_stored(
        build_table(candidate),
        None if baseline is None else build_table(baseline),
        [parse_limit(text) for text in limits],
        Tolerances(),
    )


@pytest.mark.parametrize(
    ("limit", "verdict"),
    [
        ("latency.p50 <= 30 ms", "pass"),
        ("p90 <= 1ms", "regress"),
        ("p99 <= 30 ms", "pass"),
        ("latency.p50 <= 7.005ms", "inconclusive"),  # the interval crosses it
        ("latency.p50 <= 6.98ms", "inconclusive"),  # from the other side
        ("memory.peak <= 200MiB", "pass"),
        ("memory <= 80MiB", "regress"),
        ("quality >= 0.9", "regress"),
        ("quality >= 88%", "pass"),
        ("energy.j_per_inference <= 0.1 J", "inconclusive"),  # unknown is never green
    ],
)
def test_limits_hold_or_not(limit: str, verdict: str) -> None:
    rows = stored([record(p50=6.95e6)], None, limit).cells
    assert rows[0].verdict == verdict, rows[0]


@pytest.mark.parametrize("text", ["p99", "p99 <= 30", "p98 <= 3ms", "p99 = 3ms", "memory <= 3ms"])
def test_a_wrong_limit_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError):
        parse_limit(text)


def test_latency_of_two_jobs_is_shown_and_not_judged() -> None:
    report = stored([record(p50=7.7e6)], [record(p50=7e6)])
    assert report.verdict == "pass"
    [row] = [row for row in report.cells if row.metric == "latency.p50"]
    assert row.change == pytest.approx(0.1, abs=0.01)
    assert not row.judged
    assert "edgebench ab" in report.reasons[0].message


def test_memory_size_and_quality_are_judged_across_jobs() -> None:
    worse = record(peak=100 * MIB, quality=quality(0.86))
    report = stored([worse], [record()])
    found = {row.metric: row.verdict for row in report.cells if row.judged}
    assert found["memory.peak"] == "regress"
    assert found["quality"] == "regress"
    assert found["model.size"] == "pass"


def test_a_row_below_its_floor_is_news_once() -> None:
    low = record(quality=quality(0.8))
    assert stored([low], [record()]).verdict == "regress"
    assert stored([low], None).verdict == "regress"
    known = stored([low], [low])
    assert known.verdict == "pass"
    assert any("as in the baseline" in row.reason for row in known.cells)


def test_a_limit_that_the_baseline_misses_switches_off_no_other_limit() -> None:
    def limited(value: float, hard: float) -> Record:
        second = Limit(metric="hard", value=hard, limit=0.81, better="higher", passed=hard >= 0.81)
        ok = value >= 0.85 and second.passed
        return record(quality=quality(value, also=[second], passed=ok))

    def verdict(before: Record, after: Record) -> str:
        return stored([after], [before]).verdict

    assert verdict(limited(0.88, 0.77), limited(0.88, 0.77)) == "pass"
    assert verdict(limited(0.88, 0.77), limited(0.88, 0.30)) == "regress"
    assert verdict(limited(0.86, 0.77), limited(0.845, 0.77)) == "regress"
    assert verdict(limited(0.84, 0.90), limited(0.84, 0.80)) == "regress"
    wrong, worse = (
        record(quality=quality(error, 1e-3, metric="parity_error", better="lower", kind="parity"))
        for error in (2e-3, 0.9)
    )
    assert verdict(wrong, wrong) == "pass"
    assert verdict(wrong, worse) == "regress"


def test_missing_and_failed_rows_are_invalid() -> None:
    two = [record(), record({"precision": "fp32", "threads": 2})]
    assert stored(two[:1], two).verdict == "invalid"
    assert stored([failed({"precision": "fp32"}, "crashed", "died")], None).verdict == "invalid"


@pytest.mark.parametrize("status", ["unsupported", "failed"])
def test_a_row_that_never_ran_is_not_missed(status: Any) -> None:
    never = failed({"precision": "fp32", "threads": 2}, "c", "m", status=status)
    found = stored([record()], [record(), never])
    assert found.verdict == "pass"
    assert not [row for row in found.cells if row.metric == "status"]


@pytest.mark.parametrize(
    ("lost", "metric"), [({"peak": None}, "memory.peak"), ({"quality": None}, "quality")]
)
def test_a_value_that_became_unknown_does_not_pass(lost: dict[str, Any], metric: str) -> None:
    found = stored([record(**lost)], [record()])
    assert found.verdict == "inconclusive"
    [row] = [row for row in found.cells if row.metric == metric and row.verdict != "pass"]
    assert "unknown here" in row.reason
    assert stored([record(**lost)], [record(**lost)]).verdict == "pass"


def test_every_run_of_a_cell_is_held_against_the_baseline() -> None:
    first, fat = record(), record(peak=100 * MIB)
    second = msgspec.structs.replace(fat, run=msgspec.structs.replace(fat.run, id="another"))
    found = stored([first, second], [first]).cells
    assert [row.verdict for row in found if row.metric == "memory.peak"] == ["pass", "regress"]
    assert not [row for row in found if row.metric == "status"]


@pytest.mark.parametrize("before", ["measured", "failed", "unsupported"])
def test_a_row_that_cannot_run_any_more_is_invalid(before: str) -> None:
    axes: dict[str, Scalar] = {"precision": "fp32", "threads": 2}
    gone = failed(axes, "not_installed", "openvino is not installed", status="unsupported")
    status: Any = before
    was = record(axes) if before == "measured" else failed(axes, "c", "m", status=status)
    found = stored([record(), gone], [record(), was])
    assert found.verdict == ("invalid" if before == "measured" else "pass")
    notes = [row.reason for row in found.cells if row.verdict == "invalid"]
    assert notes == (
        ["it ran in the baseline but cannot run here: openvino is not installed"]
        if before == "measured"
        else []
    )


# The forms


def report(change: float = 0.03) -> GateReport:
    evidence = [
        ABCell(case=case("canary", canary=True), pairs=pairs(5), seconds=8.0),
        ABCell(case=case("a|b@1/ort/x=<1>/single_stream"), pairs=pairs(8, change), seconds=9.0),
        ABCell(case=case("c"), failure=Reason(code="crashed", message="head: died")),
    ]
    return build_report(
        evidence, Rules(tests=4, cells=2), base="ort", head="onnxruntime==1.30.0", seconds=17.0,
        started_utc="2026-07-01T10:00:00+00:00",
    )  # fmt: skip


def rendered(form: str, of: GateReport) -> str:
    out = StringIO()
    render(of, form, out)
    return out.getvalue()


def test_the_table_fits_80_columns_and_says_what_and_how_sure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = rendered("table", report())
    assert max(map(len, text.splitlines())) <= 80
    assert "REGRESS: 1 of 2 cells" in text
    assert "head: died" in text
    assert "MDE" in text
    facts = "a false REGRESS in at most 1% of runs by latency (4 tests), in 1% each by memory and by energy (2 cells)"
    assert facts in " ".join(text.split())


def test_json_has_the_documented_fields_and_fits_its_schema() -> None:
    document = json.loads(rendered("json", report()))
    assert document["schema"] == "edgebench.ab/1"
    assert document["verdict"] == "regress"
    fields = {"cell", "metric", "verdict", "change", "low", "high", "mde", "pairs", "seconds"}
    assert all(fields <= row.keys() for row in document["cells"])
    jsonschema.Draft202012Validator(json_schema("ab")).validate(document)
    assert msgspec.convert(document, GateReport) == report()


def test_junit_counts_what_is_not_green() -> None:
    suite = ElementTree.fromstring(rendered("junit", report()))[0]
    assert suite.attrib["failures"] == "2"  # CPU and wall
    assert suite.attrib["errors"] == "2"
    assert len(suite) == int(suite.attrib["tests"])
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert "+3.0" in failure.attrib["message"]


def test_stored_results_have_neither_sides_nor_a_time() -> None:
    judged = stored([record()], [record()])
    assert "timestamp" not in ElementTree.fromstring(rendered("junit", judged))[0].attrib
    assert "timestamp" in ElementTree.fromstring(rendered("junit", report()))[0].attrib
    for form in ("table", "md"):
        assert "base:" not in rendered(form, judged)
        assert "base: ort" in rendered(form, report())


def test_a_verdict_that_no_row_has_is_not_green_in_junit_either() -> None:
    """Where no latency was judged the gate is inconclusive, and every row by itself is green or skipped."""
    shown = case(report_only="2 threads take every core")
    alone = build_report([ABCell(case=shown, pairs=pairs(5))], Rules(tests=2))
    suite = ElementTree.fromstring(rendered("junit", alone))[0]
    skipped = suite.findall("testcase/skipped")
    assert suite.attrib["skipped"] == str(len(skipped)) == "3"  # CPU, wall and the verdict
    assert suite.find("testcase[@name='verdict']/skipped") is not None


@pytest.mark.parametrize(("alpha", "told"), [(0.01, "1%"), (0.001, "0.1%"), (0.125, "12.5%")])
def test_the_error_rate_is_told_as_it_is(alpha: float, told: str) -> None:
    of = msgspec.structs.replace(report(), alpha=alpha)
    assert f"in at most {told} of runs by latency (4 tests), in {told} each" in facts(of)


def test_notes_are_in_the_comment_too() -> None:
    noted = msgspec.structs.replace(report(), notes=["a|b: head is not deployable"])
    assert "- a\\|b: head is not deployable\n" in rendered("md", noted)


def test_markdown_escapes_names_and_marks_itself() -> None:
    text = rendered("md", report())
    assert text.startswith("<!-- edgebench gate -->\n")
    assert "a\\|b\\@1/ort/x=&lt;1&gt;" in text


def test_github_gets_a_summary_outputs_and_annotations(tmp_path: Path) -> None:
    summary, output = tmp_path / "summary", tmp_path / "output"
    out = StringIO()
    environ = {"GITHUB_STEP_SUMMARY": str(summary), "GITHUB_OUTPUT": str(output)}
    github_actions.publish(report(), environ, out)
    assert "REGRESS" in summary.read_text()
    assert output.read_text() == "verdict=regress\n"
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("::error title=edgebench verdict::REGRESS")
    assert all("%25" in line for line in lines if "latency.cpu::a" in line)
    github_actions.publish(report(), {}, StringIO())  # elsewhere than on GitHub: no files


def test_a_failing_github_summary_loses_no_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path))
    junit = tmp_path / "gate.xml"
    asked = {"form": "json", "inconclusive": "fail", "github": True, "junit": str(junit)}
    with pytest.raises(StoreError, match="cannot be written"):
        finish(report(), asked)
    assert json.loads(capsys.readouterr().out)["verdict"] == "regress"
    assert junit.exists()


# The command


def invoke(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli, ["gate", *arguments], standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return int(done.return_value or 0), done.output


def write(path: Path, *records: Record) -> str:
    path.write_bytes(b"".join(map(encode, records)))
    return str(path)


@pytest.mark.parametrize(
    ("limit", "code"),
    [
        ("p50 <= 30 ms", ExitCode.OK),
        ("p50 <= 1 ms", ExitCode.CELL_FAILED),
        ("energy.j_per_inference <= 1 J", ExitCode.INCONCLUSIVE),
    ],
)
def test_exit_codes_of_limits(tmp_path: Path, limit: str, code: ExitCode) -> None:
    results = write(tmp_path / "new.jsonl", record())
    assert invoke(results, "--limit", limit)[0] == code


def test_inconclusive_may_pass(tmp_path: Path) -> None:
    results = write(tmp_path / "new.jsonl", record())
    limit = ("--limit", "energy.j_per_inference <= 1 J")
    assert invoke(results, *limit, "--inconclusive", "pass")[0] == ExitCode.OK


def test_a_baseline_with_a_row_that_is_gone_is_invalid(tmp_path: Path) -> None:
    old = write(tmp_path / "old.jsonl", record(), record({"precision": "fp32", "threads": 2}))
    new = write(tmp_path / "new.jsonl", record())
    code, text = invoke("--baseline", old, new)
    assert code == ExitCode.INVALID
    assert "the candidate does not" in text


POLICY = """\
tolerances:
  memory.peak: {tau: 0.3}
cells:
  - workload: image-classification
    set: {precision: [fp32, fp16]}
    quality: 0.88
    tolerances: {memory.peak: {tau: 0.05}}
  - workload: image-classification
    set: {precision: int8}
    quality: 0.8
"""


@pytest.mark.parametrize(
    ("precision", "value", "peak", "code"),
    [
        ("fp32", 0.885, 90, ExitCode.OK),
        ("fp32", 0.87, 90, ExitCode.CELL_FAILED),  # above the workload's floor, below the policy's
        ("fp32", 0.885, 100, ExitCode.CELL_FAILED),
        ("int8-static", 0.87, 100, ExitCode.OK),
        ("bf16", 0.87, 100, ExitCode.OK),  # no entry is about it
    ],
)
def test_entries_of_cells_hold_for_stored_rows_too(
    tmp_path: Path, precision: str, value: float, peak: int, code: ExitCode
) -> None:
    policy = tmp_path / "gate.yaml"
    policy.write_text(POLICY)
    others = [record({"precision": name}) for name in ("fp16", "int8-dynamic")]
    old = write(tmp_path / "old.jsonl", *others, record({"precision": precision}))
    judged = record({"precision": precision}, peak=peak * MIB, quality=quality(value))
    new = write(tmp_path / "new.jsonl", *others, judged)
    assert invoke("--policy", str(policy), "--baseline", old, new)[0] == code


def test_a_quality_that_is_demanded_of_nothing_here_is_not_green(tmp_path: Path) -> None:
    policy = tmp_path / "gate.yaml"
    policy.write_text(POLICY)
    new = write(tmp_path / "new.jsonl", record())
    code, text = invoke("--policy", str(policy), new)
    assert code == ExitCode.INCONCLUSIVE
    assert "no row here is of that cell" in " ".join(text.split())
    without = record(quality=None)
    new = write(tmp_path / "new.jsonl", without, record({"precision": "int8-static"}))
    assert invoke("--policy", str(policy), new)[0] == ExitCode.INCONCLUSIVE


def test_entries_of_cells_that_disagree_about_a_row_are_one_error(tmp_path: Path) -> None:
    policy = tmp_path / "gate.yaml"
    policy.write_text(POLICY + "  - workload: image-classification\n")
    with pytest.raises(UsageError, match="disagree"):
        invoke("--policy", str(policy), write(tmp_path / "new.jsonl", record()))


def test_ctrl_c_ends_with_its_own_code_whatever_else_there_is_to_say() -> None:
    shown = Reason(code="report_only", message="the latency of 1 cells is shown and not judged")
    stopped = Reason(code="interrupted", message="interrupted")
    ended = msgspec.structs.replace(report(), reasons=[stopped, shown])
    assert finish(ended, {"form": "json", "inconclusive": "fail"}) == ExitCode.INTERRUPTED


def test_gate_without_policy_or_results_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="nothing to judge"):
        invoke()


def test_the_headline_of_a_regression_is_latency() -> None:
    grown = msgspec.structs.replace(case("model"), size_bytes={"base": 100, "head": 157})
    slower = [ABCell(case=grown, pairs=pairs(8, 0.06))]
    said = summary(build_report(slower, Rules(tests=2)))
    assert said.startswith("REGRESS: the cell, latency.")
    smaller = [ABCell(case=grown, pairs=pairs(20))]
    assert "model.size +57.0%" in summary(build_report(smaller, Rules(tests=2)))


def test_a_long_name_of_a_cell_is_cut_at_its_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    name = (
        "sentence-embedding@1/ort/precision=int8-dynamic->int8-static,inter_threads=2/single_stream"
    )
    failure = Reason(code="crashed", message=f"head of {name} died " + "x" * 100)
    text = rendered("table", build_report([ABCell(case=case(name), failure=failure)], Rules()))
    assert max(map(len, text.splitlines())) <= 80
    lines = [line for line in text.splitlines() if "sentence-embedding" in line]
    assert all(line.rstrip().endswith(("/", ",", ">")) for line in lines)
    assert name in text.replace("\n  ", "")
