"""What users see of a search: the kept file, its picture, the report's section, and the words on why."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest
from click.testing import CliRunner

from edgebench.cli import cli
from edgebench.errors import ExitCode, StoreError, UsageError
from edgebench.record import Record
from edgebench.report import pictures, report_markdown
from edgebench.report.build_report import build_report
from edgebench.report.html_page import render
from edgebench.report.report_model import Report
from edgebench.search.kept_search import keep_search
from edgebench.search.search_messages import Demand, Verification
from edgebench.search.search_picture import NARROW, WIDE, page_pictures, svg, unit_words
from edgebench.search.search_report import SearchReport, float_groups, map_of, read_search
from edgebench.search.search_summary import summary_of
from edgebench.search.search_text import (
    decision,
    doubts,
    explain_command,
    front_words,
    items_to_show,
    lines_of,
    run_command,
    told_groups,
    why,
)
from edgebench.search.verify import _Draw, _Verifier
from tests.records import record
from tests.search.made_search import made_search, row, without_answers

SVG = "{http://www.w3.org/2000/svg}"


def _records(report: SearchReport) -> list[Record]:
    return [
        record(workload="file-typing", variant={"precision": row.precision}, p50=row.p50_ns or 1.0)
        for row in report.rows
    ]


def page(report: SearchReport) -> Report:
    return build_report(_records(report), ["x.jsonl"], searches=[summary_of(report)])


def test_kept_search_reads_as_it_was(tmp_path: Path) -> None:
    results = tmp_path / "x.jsonl"
    for report in (made_search(), made_search(chosen=False), without_answers(made_search())):
        keep_search(report, results)
        assert read_search(tmp_path / "x.search.json") == report
    assert (tmp_path / "x.search.svg").is_file()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "not a edgebench.search/1 file"),
        ('{"schema": "edgebench.search/2"}', "schema"),
        (
            msgspec.json.encode(made_search()).decode().replace('"fp32_us":', '"fp32_us":-', 1),
            "fp32_us",
        ),
    ],
)
def test_file_that_is_no_search_is_refused(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "x.search.json"
    path.write_text(content)
    with pytest.raises(StoreError) as raised:
        read_search(path)
    assert words in raised.value.message
    assert "\n" not in raised.value.message


def test_command_prints_a_kept_search_and_draws_it(tmp_path: Path) -> None:
    keep_search(made_search(), tmp_path / "yes.jsonl")
    keep_search(made_search(chosen=False), tmp_path / "no.jsonl")
    yes, no = (str(tmp_path / f"{name}.search.json") for name in ("yes", "no"))
    printed = CliRunner().invoke(cli, ["search", yes], standalone_mode=False)
    assert printed.return_value == ExitCode.OK
    [line] = [line for line in printed.stdout.splitlines() if " safe" in line and "*" in line]
    assert line.split()[2:4] == ["6", "6"], "groups in int8 and in fp32"
    nothing = CliRunner().invoke(cli, ["search", no], standalone_mode=False)
    assert nothing.return_value == ExitCode.CELL_FAILED
    drawn = CliRunner().invoke(cli, ["search", yes, "--format", "svg"])
    assert drawn.stdout == (tmp_path / "yes.search.svg").read_text()
    missing = CliRunner().invoke(cli, ["search", str(tmp_path / "missing.json")])
    assert isinstance(missing.exception, StoreError)


@pytest.mark.parametrize(
    "further", [["--budget", "9s"], ["--require", "accuracy>=0.9"], ["--resume"]]
)
def test_a_kept_search_takes_no_option_of_a_search(tmp_path: Path, further: list[str]) -> None:
    keep_search(made_search(), tmp_path / "x.jsonl")
    done = CliRunner().invoke(cli, ["search", str(tmp_path / "x.search.json"), *further])
    assert isinstance(done.exception, UsageError)
    assert done.exception.exit_code == ExitCode.USAGE
    assert done.exception.message == f"{further[0]} does not apply to a search that was kept"
    assert done.stdout == ""


def test_fp32_that_misses_a_limit_of_cost_is_no_advice() -> None:
    report = made_search(chosen=False)
    rows = [
        msgspec.structs.replace(
            row, missed_costs=["latency.p50<=5ms"] if row.standing == "base" else []
        )
        for row in report.rows
    ]
    told = decision(msgspec.structs.replace(report, rows=rows))
    assert told.startswith("deploy nothing, as fp32 itself misses latency.p50<=5ms: ")
    assert decision(report).startswith("deploy fp32: ")


def test_of_several_backends_the_speed_says_which_fp32_it_stands_beside() -> None:
    report = made_search()
    assert "as fast as fp32 (" in decision(report)
    slow = row("fp32", 2.5, 0.84, id="openvino fp32", backend="openvino", standing="base")
    told = msgspec.structs.replace(report, rows=[slow, *report.rows])
    assert "as fast as ort fp32 (" in decision(told)
    assert list(doubts(told)) == [
        "faster than the choice: openvino fp32, 2.50 ms; the choice is held against ort fp32 alone"
    ]
    nothing = msgspec.structs.replace(made_search(chosen=False), rows=told.rows)
    assert decision(nothing).startswith("deploy openvino fp32: ")


def test_verdict_without_intervals_passes_between_processes() -> None:
    job: Any = SimpleNamespace(demands=[Demand(metric="accuracy", limit=0.8, better="higher")])
    kind: Any = SimpleNamespace
    verifier = _Verifier(job, kind(), print, lambda: 0.0, 0.0)
    verifier._draws[0] = _Draw(kind(), None, {"accuracy": 0.84})
    told = Verification(
        verdicts=[verifier._judged("fp16", {"accuracy": 0.82}, [], 0)], confidence=0.95
    )
    assert msgspec.json.decode(msgspec.json.encode(told), type=Verification) == told
    assert not told.verdicts[0].safe


def test_picture_marks_maps_usual_precisions_and_the_choice() -> None:
    report = made_search()
    drawn = ElementTree.fromstring(svg(report))
    titles = [node.text or "" for node in drawn.iter(f"{SVG}title")]
    points = [title for title in titles if title.startswith("ort ")]
    assert len(points) == len(report.rows)
    circles = [node for node in drawn.iter(f"{SVG}circle") if node.find(f"{SVG}title") is not None]
    assert len(circles) == sum(row.groups is not None for row in report.rows)
    assert len([n for n in drawn.iter(f"{SVG}circle") if n.get("r") == "10"]) == 1
    words = " ".join(node.text or "" for node in drawn.iter(f"{SVG}text"))
    assert "limit 0.8" in words
    assert "6 of 12 int8" in words
    assert "int8-static" in words


def test_picture_of_groups_shows_precision_damage_and_gain() -> None:
    report = made_search()
    drawn = ElementTree.fromstring(svg(report))
    bars = [n for n in drawn.iter(f"{SVG}rect") if n.find(f"{SVG}title") is not None]
    assert len(bars) == 12
    hollow = [bar for bar in bars if bar.get("fill") == "none"]
    assert len(hollow) == 6, "those that stay in fp32 are hollow"
    title = hollow[0].find(f"{SVG}title")
    assert title is not None
    assert "(fp32): fp32 " in (title.text or "")


def test_groups_without_a_map_have_no_precision() -> None:
    report = msgspec.structs.replace(made_search(chosen=False), explained=None, kept_in_fp32=[])
    drawn = ElementTree.fromstring(svg(report))
    bars = [n for n in drawn.iter(f"{SVG}rect") if n.find(f"{SVG}title") is not None]
    assert len({bar.get("fill") for bar in bars}) == 1
    assert "no map is offered" in " ".join(n.text or "" for n in drawn.iter(f"{SVG}text"))


@pytest.mark.parametrize("count", [1, 3, 120])
def test_pictures_stay_within_their_width(count: int) -> None:
    for forms in page_pictures(made_search(count)):
        for drawing, width in zip(forms, (WIDE, NARROW), strict=True):
            drawn = ElementTree.fromstring(drawing)
            assert drawn.get("viewBox", "").startswith(f"0 0 {width} ")
            for bar in drawn.iter(f"{SVG}rect"):
                assert float(bar.get("x", "0")) >= 0
                assert float(bar.get("x", "0")) + float(bar.get("width", "0")) <= width


def test_page_has_a_section_with_pictures_tables_and_why() -> None:
    html = render(page(made_search()))
    assert '<a href="#search-precision">Search</a>' in html
    section = html[html.index('id="search-precision"') :].split('<details class="section"')[0]
    assert "Deploy ort mixed:" in section
    assert section.count("<svg ") == 4, "the front and the groups, each wide and narrow"
    assert "var(--good)" in section, "drawings follow the theme"
    assert "6 groups stay in fp32" in section
    assert '<th scope="col" class="number">int8 gains</th>' in section
    assert "edgebench explain file-typing --set precision=@" in section
    assert 'id="search-precision"' not in render(build_report([], []))


def test_rows_of_maps_tell_their_groups() -> None:
    report = page(made_search())
    mixed = [row for row in report.rows if row.precision.startswith("mixed:")]
    assert {"11 int8, 1 fp32", "6 int8, 6 fp32", "3 int8, 9 fp32"} == {
        found[1] for row in mixed if (found := re.search(r"\((.*)\)", row.label))
    }


def test_words_of_a_search_cannot_act_in_the_page() -> None:
    hostile = "</svg><script>alert(1)</script>"
    report = made_search()
    rows = [msgspec.structs.replace(row, backend=hostile) for row in report.rows]
    report = msgspec.structs.replace(report, title=hostile, rows=rows, notes=[hostile])
    html = render(page(report))
    assert "<script>alert(1)" not in html
    assert "<script>" not in svg(report)


def test_markdown_tells_the_search() -> None:
    text = report_markdown.render(page(made_search()))
    assert "### Search: Types of files" in text
    assert "| 6 int8, 6 fp32 |" in text
    assert "6 groups stay in fp32" in text


def test_picture_of_a_report_holds_the_search_below_the_charts() -> None:
    pytest.importorskip("vl_convert", reason="needs the extra report")
    report = page(made_search())
    alone = ElementTree.fromstring(pictures.svg(build_report(_records(made_search()), ["x.jsonl"])))
    drawn = ElementTree.fromstring(pictures.svg(report))
    assert float(drawn.get("height", "0")) > float(alone.get("height", "0")) + 500
    text = pictures.svg(report)
    assert "var(--" not in text, "a file knows no colours by name"
    assert "Types of files" in text
    assert pictures.png(report).startswith(b"\x89PNG")


def test_why_tells_the_dearest_groups_and_the_slowest_in_int8() -> None:
    report = made_search(50)
    told = told_groups(report, 5)
    assert len(told) == 5
    assert {group.gain_us > 0 for group in told} == {True, False}
    text = " ".join(" ".join(lines_of(report)).split())
    assert "int8 takes 160 us where fp32 takes" in text
    few = msgspec.structs.replace(report, kept_in_fp32=report.kept_in_fp32[:2])
    assert told_groups(few, 5) == few.kept_in_fp32


def test_why_of_a_map_that_is_not_offered_says_so() -> None:
    assert "which is not offered" in " ".join(lines_of(made_search(chosen=False)))
    assert "which is not offered" not in " ".join(lines_of(made_search()))


def test_limits_without_an_interval_say_so() -> None:
    assert "no interval" in " ".join(lines_of(without_answers(made_search())))


def test_commands_name_the_model_as_it_was_given() -> None:
    own = msgspec.structs.replace(
        made_search(), subject=["--model", "my model.onnx"], task="my_task.py:MyTask"
    )
    assert run_command(own).startswith(
        "edgebench run --model 'my model.onnx' --task my_task.py:MyTask --set precision=@"
    )
    assert explain_command(own).startswith("edgebench explain --model 'my model.onnx' --set ")
    one = msgspec.structs.replace(own, settings=["threads=1"])
    assert explain_command(one).endswith(".yaml --set threads=1")


def test_report_command_finds_the_search_beside_the_results(tmp_path: Path) -> None:
    report = made_search()
    results = tmp_path / "x.jsonl"
    records = [
        record(workload="file-typing", variant={"precision": row.precision}) for row in report.rows
    ]
    results.write_bytes(b"".join(msgspec.json.encode(each) + b"\n" for each in records))
    keep_search(report, results)
    out = tmp_path / "page.html"
    done = CliRunner().invoke(cli, ["report", str(results), "-o", str(out)])
    assert done.exit_code == 0, done.stderr
    assert 'id="search-precision"' in out.read_text()
    (tmp_path / "x.search.json").write_text("{}")
    done = CliRunner().invoke(cli, ["report", str(results), "-o", str(out)])
    assert done.exit_code == 0, "one that another version kept is left out"
    assert "x.search.json: not a edgebench.search/1 file" in done.stderr
    keep_search(report, results)
    elsewhere = tmp_path / "alone" / "y.jsonl"
    elsewhere.parent.mkdir()
    elsewhere.write_bytes(results.read_bytes())
    for more, there in (([], False), (["--search", str(tmp_path / "x.search.json")], True)):
        done = CliRunner().invoke(cli, ["report", str(elsewhere), "-o", str(out), *more])
        assert done.exit_code == 0, done.stderr
        assert ('id="search-precision"' in out.read_text()) is there


def test_a_front_of_few_points_is_explained() -> None:
    report = made_search()
    rows = [msgspec.structs.replace(row, front=True) for row in report.rows]
    assert front_words(msgspec.structs.replace(report, rows=rows)).startswith("front: ")
    one = [msgspec.structs.replace(row, front=number == 0) for number, row in enumerate(rows)]
    text = front_words(msgspec.structs.replace(report, rows=one))
    assert f"nothing measured beats {one[0].backend} {one[0].precision}" in text
    two = [msgspec.structs.replace(row, front=number < 2) for number, row in enumerate(rows)]
    text = front_words(msgspec.structs.replace(report, rows=two))
    assert f"2 of {len(rows)} measured deployments: one of them beats each other one" in text
    assert text in " ".join(lines_of(msgspec.structs.replace(report, rows=two), 400))


def test_rows_that_are_not_compared_with_fp32_are_not_called_slower() -> None:
    report = made_search(chosen=False)
    rows = [
        msgspec.structs.replace(row, speedup=None, speedup_low=None, speedup_high=None)
        for row in report.rows
    ]
    [_, words] = decision(msgspec.structs.replace(report, rows=rows)).split(": ")
    assert words == "too little was measured to compare anything with fp32; give more --budget"


def _why_fp32(**changes: Any) -> str:
    """Why nothing is offered where all rows but fp32 are so."""
    report = made_search(chosen=False)
    rows = [
        row if row.standing == "base" else msgspec.structs.replace(row, **changes)
        for row in report.rows
    ]
    return decision(msgspec.structs.replace(report, rows=rows)).split(": ")[1]


def test_only_a_map_that_misses_a_limit_is_said_to_miss_one() -> None:
    assert _why_fp32(standing="missed") == "every faster map misses a limit"
    assert _why_fp32(standing="untested") == (
        "nothing that is surely faster was shown to hold every limit"
    )
    unsure = _why_fp32(standing="untested", speedup=1.02, speedup_low=0.97, speedup_high=1.07)
    assert unsure == "nothing is faster for sure; give more --budget"


def test_speeds_beside_different_rows_of_fp32_are_not_compared() -> None:
    """A map of 4x on a slow backend is not faster than the choice on a fast one."""
    report = made_search()
    held = row("mixed:0", 9.0, 0.82, id="slow", backend="slow", standing="held", speedup=4.0)
    told = msgspec.structs.replace(report, rows=[*report.rows, held])
    assert list(doubts(told)) == []
    quick = msgspec.structs.replace(held, p50_ns=1e6, speedup=1.1)
    [text] = doubts(msgspec.structs.replace(report, rows=[quick, *report.rows]))
    assert text.startswith("faster, and not shown to be safe: slow mixed:0")


def test_groups_without_times_are_not_said_to_be_no_faster_in_int8() -> None:
    report = made_search()
    untimed = [
        msgspec.structs.replace(unit, fp32_us=0.0, int8_us=0.0, timed=False)
        for unit in report.exploration.units
    ]
    explained = map_of(report.exploration.candidates, report.explained)
    told = msgspec.structs.replace(report, kept_in_fp32=float_groups(untimed, explained))
    assert why(told) == "6 groups stay in fp32"
    text = " ".join(lines_of(told, 400))
    assert "its times are unknown" in text
    assert "0 us" not in text
    assert {tuple(cells[1:4]) for cells in summary_of(told).kept} == {("-", "-", "-")}
    assert "times unknown" in unit_words(untimed[0], "fp32")


def test_the_front_is_drawn_towards_less_where_less_is_better() -> None:
    """A model without labels is judged by its error, and no limit says that less of it is better."""
    report = made_search()
    rows = [row("fast", 2.0, 0.3), row("slow", 4.0, 0.1), row("beaten", 5.0, 0.2)]
    drawn = {}
    for better in ("higher", "lower"):
        told = msgspec.structs.replace(report, rows=rows, verdicts=[], better=better)
        [way] = re.findall(
            r'<path d="([^"]*)" fill="none" stroke="[^"]*" stroke-width="1.5"', svg(told)
        )
        drawn[better] = way.count("H")
    assert drawn == {"higher": 0, "lower": 1}


def test_answers_that_changed_and_balance_out_take_items_by_the_square() -> None:
    [verdict] = made_search(chosen=False).verdicts
    balanced = msgspec.structs.replace(
        verdict.limits[0], limit=0.8, fp32=0.84, change=0.0, low=-0.08
    )
    assert items_to_show(balanced) == pytest.approx(4000, abs=1)
    still = msgspec.structs.replace(balanced, still=True)
    assert items_to_show(still) == pytest.approx(2000, abs=1)


def test_weights_of_4_bits_are_not_counted_as_no_groups_in_int8() -> None:
    report = made_search()
    rows = [
        msgspec.structs.replace(each, int8_groups=0, split={"w4": 10, "fp32": 2})
        if each.id == report.chosen
        else each
        for each in report.rows
    ]
    told = msgspec.structs.replace(report, rows=rows)
    assert decision(told).endswith(", groups: 0 int8, 10 w4, 2 fp32")
    assert "10 of 12 w4" in svg(told)
