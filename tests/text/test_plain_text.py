"""Foreign text is made plain in one place, and every edge uses it."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from edgebench.ab_test.ab_report_types import GateReport
from edgebench.cli import cli
from edgebench.gate import verdict_formats
from edgebench.gate.github_actions import notices
from edgebench.record import encode
from edgebench.text.plain_text import (
    MAX_LINE_CHARACTERS,
    plain,
    plain_json,
    plain_lines,
    shortened,
    spreadsheet_text,
    utf8,
)
from tests.gate.test_reports import report as gate_report
from tests.records import failed, record

#: What a name, a reason or a message of a stranger may hold.
HOSTILE = (
    "\x1b[2J\x1b]0;title\x07",
    "\u202egnp.exe\u2066",
    "\x9b31m",
    "a\n::error::pwned",
    "::add-mask::s ##[error]x ##vso[task.x]",
    "\u2028::set-output name=a::b",
    "\ufffe\U000e0041",
)
_STEERING = ("\x1b", "\x07", "\x9b", "\u202e", "\u2066", "\u2028", "\ufffe", "\U000e0041")
_ORDERS = ("::error", "::add-mask", "::set-output", "##[", "##vso[")


def assert_plain(text: str) -> None:
    """In JSON an order is a word within quotes: what counts at the start of a line alone does nothing."""
    orders = [order for order in _ORDERS if order.startswith("#") or text[:1] not in ("{", "[")]
    assert [mark for mark in (*_STEERING, *orders) if mark in text] == []


@given(st.text())
def test_nothing_that_steers_is_left_and_plain_text_stays(text: str) -> None:
    made = plain(text)
    assert plain(made) == made
    assert made.isprintable() or all(
        c.isprintable() or c in " \u00a0" or ord(c) > 0x9F for c in made
    )
    assert "\n" not in made
    assert all(not 0xD800 <= ord(character) <= 0xDFFF for character in made)


@pytest.mark.parametrize(
    "text", ["Größe 3 µs ±2 %", "模型", "std::vector::at", "a ## b", "👩‍🔬", "C:\\x"]
)
def test_honest_text_stays_as_it_is(text: str) -> None:
    assert plain(text) == text


def test_long_lines_and_many_lines_are_cut() -> None:
    text = plain_lines("\n".join(["x" * 30_000] * 500))
    assert len(text.splitlines()) < 50
    assert max(map(len, text.splitlines())) < MAX_LINE_CHARACTERS + 50
    assert "more characters" in text
    assert text.endswith("more lines")
    assert shortened("short") == "short"


@given(st.dictionaries(st.text(), st.one_of(st.text(), st.floats(allow_nan=False))))
def test_plain_json_says_the_same(value: dict[str, object]) -> None:
    for indent in (None, 2):
        text = json.dumps(value, ensure_ascii=False, indent=indent)
        if all(not 0xD800 <= ord(character) <= 0xDFFF for character in text):
            assert json.loads(plain_json(text)) == value


def test_json_holds_no_letter_that_steers() -> None:
    assert_plain(
        plain_json(json.dumps(["##[error]", *HOSTILE[:3], HOSTILE[6]], ensure_ascii=False))
    )


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@a", "  =1", "\t=1"])
def test_a_cell_that_a_spreadsheet_would_run_is_quoted(text: str) -> None:
    assert spreadsheet_text(text) == f"'{text}"


def test_bytes_of_a_name_that_are_not_utf8_are_shown() -> None:
    assert utf8("caf\udce9.onnx") == r"caf\xe9.onnx"
    assert utf8("\ud800") == r"\ud800"


def hostile_file(folder: Path) -> Path:
    file = folder / "results.jsonl"
    lines = []
    for number, words in enumerate(HOSTILE):
        words = words.replace("\ufffe", "")
        lines.append(record({"precision": words}, workload=f"w{words}", device=f"d{number}"))
        lines.append(failed({"precision": "fp32"}, "crashed", words, device=f"d{words}"))
    file.write_bytes(b"".join(map(encode, lines)))
    return file


@pytest.mark.parametrize(
    "command",
    [
        "show", "show --format json", "show --format csv", "show --format md", "frontier",
        "show --columns efficientllm", "show --columns efficientllm --format md",
        "show --columns efficientllm,variant --format csv", "show --verbose",
        "compare FILE", "compare FILE --format md", "roofline", "report -o -  --format md",
        "export -o OUT.csv", "export -o OUT.json", "export -o OUT.md", "gate --baseline FILE",
        "gate --baseline FILE --format junit", "gate --baseline FILE --format md",
        "gate --baseline FILE --format json",
    ],
)  # fmt: skip
def test_no_command_lets_foreign_text_steer(tmp_path: Path, command: str) -> None:
    file = hostile_file(tmp_path)
    words = [word.replace("FILE", str(file)) for word in command.split()]
    words = [word.replace("OUT", str(tmp_path / "out")) for word in words]
    done = CliRunner().invoke(cli, [*words, str(file)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    texts = [done.output, *(out.read_text() for out in tmp_path.glob("out.*"))]
    assert max(map(len, texts)) > 100
    for text in texts:
        assert_plain(text)


@pytest.mark.parametrize("form", ["csv", "json", "md", "table"])
def test_names_and_values_of_a_query_do_not_steer(tmp_path: Path, form: str) -> None:
    pytest.importorskip("duckdb")
    sql = "SELECT workload AS \"=\x1b[1m\", id, 'nan'::DOUBLE AS n, [1e999] AS m FROM rows"
    done = CliRunner().invoke(cli, ["query", sql, str(hostile_file(tmp_path)), "--format", form])
    assert done.exit_code == 0, done.exception
    assert_plain(done.output)
    if form == "json":
        first = json.loads(done.output, parse_constant=pytest.fail)[0]
        assert (first["n"], first["m"]) == (None, [None])
    if form == "csv":
        assert next(csv.reader(io.StringIO(done.output)))[0].startswith("'=")


def hostile_report() -> GateReport:
    report = gate_report()
    cells = [
        msgspec.structs.replace(row, cell=words, reason=words, verdict="regress", judged=True)
        for row in report.cells[:1]
        for words in HOSTILE
    ]
    return msgspec.structs.replace(report, cells=cells, verdict="regress", base=HOSTILE[3])


@pytest.mark.parametrize("form", ["table", "md", "junit", "json"])
def test_a_report_of_a_gate_does_not_steer(form: str) -> None:
    out = io.StringIO()
    verdict_formats.render(hostile_report(), form, out)
    assert_plain(out.getvalue())
    if form == "junit":
        ElementTree.fromstring(out.getvalue())


def test_annotations_hold_one_order_each() -> None:
    for line in notices(hostile_report()):
        assert line.startswith("::error title=")
        assert_plain(line.removeprefix("::error"))
