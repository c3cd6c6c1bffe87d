"""frontier, pick, compare and view as commands: forms, exit codes, what is said first."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from edgebench.analysis.frame import RowFrame
from edgebench.analysis.frontier import frontier
from edgebench.analysis.frontier_report import report
from edgebench.analysis.objectives import parse_objectives
from edgebench.analysis.table import build_table
from edgebench.cli import cli
from edgebench.errors import EdgebenchError, UsageError
from edgebench.export.column_types import ChosenColumns
from edgebench.export.iso_latency import iso_latency, iso_quality
from edgebench.export.literature_columns import efficientllm, mnasnet
from edgebench.export.parquet import ParquetFrame
from edgebench.record import Record, encode
from tests import records as make

REFERENCE = sorted((Path(__file__).parents[2] / "results" / "reference").glob("*.jsonl"))


def run(*arguments: object) -> Result:
    runner = CliRunner(env={"COLUMNS": "80"})
    return runner.invoke(cli, [str(word) for word in arguments], standalone_mode=False)


def code(result: Result) -> int:
    if isinstance(result.exception, EdgebenchError):
        return int(result.exception.exit_code)
    assert result.exception is None, result.exception
    return result.return_value or 0


def write(path: Path, records: Sequence[Record]) -> Path:
    path.write_bytes(b"".join(encode(record) for record in records))
    return path


def some() -> list[Record]:
    return [
        make.record({"precision": "fp32", "threads": 1}, p50=7e6, quality=make.quality(0.90)),
        make.record({"precision": "int8", "threads": 1}, p50=4e6, quality=make.quality(0.88)),
        make.record({"precision": "fp16", "threads": 1}, p50=9e6, quality=make.quality(0.90)),
        make.record({"precision": "bad", "threads": 1}, p50=1e6, quality=make.quality(0.1)),
        make.failed({"precision": "dead", "threads": 1}, "crashed", "SIGSEGV"),
    ]


def test_the_frontier_says_first_who_is_on_it(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", some())
    result = run("frontier", file, "--objective", "latency.p50:min", "--objective", "quality:max")
    assert code(result) == 0
    first = result.output.splitlines()[0]
    assert "on the front: int8, fp32; 1 not" in first
    assert "2 rows left out" in result.output
    assert "below the floor" in result.output
    assert "SIGSEGV" in result.output
    assert all(len(line) <= 80 for line in result.output.splitlines())


def test_the_frontier_as_json_has_the_documented_fields(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", some())
    found = json.loads(run("frontier", file, "--format", "json").output)
    assert found["schema"] == "edgebench.frontier/1"
    assert {row["front"] for row in found["rows"]} <= {"yes", "no", "undecided"}
    assert all({"id", "front", "probability"} <= row.keys() for row in found["rows"])
    again = json.loads(run("frontier", file, "--format", "json").output)
    assert again == found  # the draws are seeded


@pytest.mark.parametrize("command", ["frontier", "pick", "compare"])
def test_output_on_the_reference_results_fits_80_columns(command: str) -> None:
    few = [path for path in REFERENCE if "x86" in path.name]  # each side takes columns
    sides = few if command == "compare" else REFERENCE
    result = run(command, *sides)
    assert code(result) == 0
    assert max(len(line) for line in result.output.splitlines()) <= 80


@pytest.mark.parametrize("at_once", [True, False], ids=["few rows", "many rows"])
def test_parquet_gives_the_front_of_the_result_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: bool
) -> None:
    if not at_once:
        monkeypatch.setattr("edgebench.export.parquet._FEW", 0)
    records = some()
    rows = build_table(records).rows
    file = write(tmp_path / "a.jsonl", records)
    parquet = tmp_path / "a.parquet"
    assert code(run("export", file, "-o", parquet)) == 0
    objectives = parse_objectives(["latency.p90:min", "quality:max", "memory.peak:min"])
    one = report(frontier(RowFrame(rows), objectives))
    two = report(frontier(ParquetFrame([parquet]), objectives))
    assert one.rows == two.rows
    assert one.groups == two.groups
    assert [out.id for out in one.left_out] == [out.id for out in two.left_out]
    limits = ["--require", "latency.p90<=30ms", "--require", "quality>=0.98*fp32"]
    from_lines = json.loads(run("pick", file, *limits, "--format", "json").output)
    from_columns = json.loads(run("pick", parquet, *limits, "--format", "json").output)
    for found in (from_lines, from_columns):
        for pick in found["picks"]:
            pick.pop("left_out")  # Parquet keeps the codes of reasons alone
    assert from_lines == from_columns


@pytest.mark.parametrize("at_once", [True, False], ids=["few rows", "many rows"])
@pytest.mark.parametrize("value", ["'fast'", "[1, 2]"])
def test_parquet_with_no_numbers_for_numbers_is_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: bool, value: str
) -> None:
    duckdb = pytest.importorskip("duckdb")
    if not at_once:
        monkeypatch.setattr("edgebench.export.parquet._FEW", 0)
    good, bad = tmp_path / "good.parquet", tmp_path / "bad.parquet"
    assert code(run("export", write(tmp_path / "a.jsonl", some()), "-o", good)) == 0
    duckdb.sql(
        f"""COPY (SELECT * REPLACE ({value} AS "latency.p50_ns") FROM '{good}')
        TO '{bad}' (FORMAT parquet)"""
    )
    result = run("pick", bad, "--minimize", "latency.p50")
    assert code(result) == 7
    assert "cannot read" in str(result.exception)


@pytest.mark.parametrize("at_once", [True, False], ids=["few rows", "many rows"])
def test_the_name_of_a_column_is_no_sql(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: bool
) -> None:
    duckdb = pytest.importorskip("duckdb")
    if not at_once:
        monkeypatch.setattr("edgebench.export.parquet._FEW", 0)
    good, bad, gone = (tmp_path / name for name in ("good.parquet", "bad.parquet", "gone.csv"))
    assert code(run("export", write(tmp_path / "a.jsonl", some()), "-o", good)) == 0
    name = f"""range"" FROM range(1); COPY (SELECT 'x') TO '{gone}'; --"""
    duckdb.sql(f"""COPY (SELECT 1 AS "{name}", * FROM '{good}') TO '{bad}' (FORMAT parquet)""")
    clean, odd = run("frontier", good), run("frontier", bad)
    assert (code(odd), odd.output) == (0, clean.output)
    assert not gone.exists()


def test_a_parquet_file_that_is_named_twice_is_read_once(tmp_path: Path) -> None:
    parquet = tmp_path / "a.parquet"
    assert code(run("export", write(tmp_path / "a.jsonl", some()), "-o", parquet)) == 0
    again = tmp_path / "." / "b" / ".." / "a.parquet"
    (tmp_path / "b").mkdir()
    found = json.loads(run("frontier", parquet, again, "--format", "json").output)
    assert len(found["rows"]) + len(found["left_out"]) == len(some())


def test_pick_ends_with_1_where_nothing_meets_the_limits(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", some())
    result = run("pick", file, "--require", "latency.p99<=30ms", "--minimize", "memory.peak")
    assert code(result) == 0
    assert result.output.startswith("image-classification@1 single_stream: deploy ort ")
    result = run("pick", file, "--require", "latency.p50<=1ms")
    assert code(result) == 1
    assert "what binds: latency.p50<=1ms would have to be 4.0" in result.output
    found = json.loads(
        run("pick", file, "--require", "latency.p50<=1ms", "--format", "json").output
    )
    assert found["schema"] == "edgebench.pick/1"
    assert found["picks"][0]["choice"] is None


def test_compare_says_the_environment_first_and_what_it_left_out(tmp_path: Path) -> None:
    one = write(tmp_path / "a.jsonl", some())
    other = [make.record({"precision": "fp32", "threads": 1}, p50=6e6, device="board", run="2")]
    two = write(tmp_path / "b.jsonl", other)
    result = run("compare", one, two)
    assert code(result) == 0
    lines = result.output.splitlines()
    place = {
        name: next(i for i, line in enumerate(lines) if name in line)
        for name in (
            "environment differs",
            "B against A",
            "  variant",
            "not compared",
            "drift",
        )
    }
    assert list(place.values()) == sorted(place.values())
    assert "1 cell compared, 4 not" in result.output
    markdown = run("compare", one, two, "--format", "md").output
    assert "device: A desk, B board" in markdown
    csv = run("compare", one, two, "--format", "csv").output.splitlines()
    assert csv[0].startswith("cell,device,metric,unit,A,A_low,A_high,B,")
    assert sum("missing" in line for line in csv) == 4
    assert json.loads(run("compare", one, two, "--format", "json").output)["cells"]


def test_compare_ends_with_5_where_nothing_may_be_compared(tmp_path: Path) -> None:
    one = write(tmp_path / "a.jsonl", some()[:1])
    two = write(tmp_path / "b.jsonl", some()[1:2])
    assert code(run("compare", one, two)) == 5


@pytest.mark.parametrize(
    "arguments",
    [
        ("compare", "{file}"),
        ("compare", "{file}", "{file}", "--metric", "latency"),
        ("frontier", "{file}", "--objective", "nothing:min"),
        ("frontier", "{file}", "--workload", "image"),
        ("frontier", "{file}", "--confidence", "95"),
        ("pick", "{file}", "--require", "latency.p50<=3"),
        ("pick", "{file}", "--minimize", "throughput"),
        ("pick", "{file}", "--minimize", "latency.p50", "--maximize", "throughput"),
        ("show", "{file}", "--columns", "mnasnet"),
        ("show", "{file}", "--columns", "iso-latency", "--by", "nothing"),
        ("show", "{file}", "--columns", "iso-latency", "--target", "3ms"),
        ("show", "{file}", "--columns", "iso-quality", "--exponent", "-0.1"),
        ("show", "{file}", "--columns", "iso-quality", "--at", "nan"),
        ("show", "{file}", "--columns", "mnasnet", "--target", "3ms", "--by", "threads"),
        ("show", "{file}", "--columns", "efficientllm", "--at", "3ms"),
    ],
)
def test_wrong_options_are_usage_errors(arguments: Sequence[str], tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", some())
    assert code(run(*(word.format(file=file) for word in arguments))) == 2


@pytest.mark.parametrize(
    "arguments",
    [("export", "--format", "csv"), ("report", "--format", "md")],
    ids=["export", "report"],
)
def test_results_that_are_read_are_not_written_over(
    arguments: Sequence[str], tmp_path: Path
) -> None:
    file = write(tmp_path / "a.jsonl", some())
    other = tmp_path / "b.md"
    other.symlink_to(file)
    before = file.read_bytes()
    for out in (file, other):
        result = run(*arguments, tmp_path, "-o", out)
        assert code(result) == 2
        assert "would be overwritten" in str(result.exception)
    assert file.read_bytes() == before


def test_files_that_cannot_be_read_are_one_error(tmp_path: Path) -> None:
    junk = tmp_path / "junk.parquet"
    junk.write_bytes(b"no parquet")
    assert code(run("frontier", junk)) == 7
    assert code(run("frontier", tmp_path / "none.parquet")) == 7
    file = write(tmp_path / "a.jsonl", some())
    assert code(run("frontier", junk, file)) == 2


def test_a_side_without_rows_compares_with_nothing(tmp_path: Path) -> None:
    empty = write(tmp_path / "a.jsonl", [])
    result = run("compare", empty, write(tmp_path / "b.jsonl", some()[:2]))
    assert code(result) == 5
    assert "0 cells compared, 2 not" in result.output
    assert "None" not in result.output


def test_no_records_are_said_and_are_no_error(tmp_path: Path) -> None:
    empty = write(tmp_path / "a.jsonl", [])
    assert "no front" in run("frontier", empty).output
    result = run("pick", empty)
    assert "nothing to pick from" in result.output
    assert code(result) == 1


def test_a_hostile_name_steers_no_terminal(tmp_path: Path) -> None:
    record = make.record(workload="evil\x1b[2J")
    file = write(tmp_path / "a.jsonl", [record])
    for command in ("frontier", "pick"):
        assert "\x1b" not in run(command, file).output
    assert "\x1b" not in run("compare", file, file, file).output


# --- views


def rows() -> Any:
    return build_table(some()).rows


def cells(view: ChosenColumns, name: str) -> dict[str, float | None]:
    place = [column.name for column in view.columns].index(name)
    return {line.id.split("precision=")[1].split(",")[0]: line.cells[place] for line in view.lines}


def test_efficientllm_computes_what_rows_tell_and_says_what_they_do_not() -> None:
    view = efficientllm(rows())
    assert cells(view, "MCR")["int8"] == pytest.approx(0.88 / 0.90)  # files of equal size
    latency = cells(view, "AL")["fp32"]
    assert latency == pytest.approx(7.07e-3, rel=0.01)
    assert cells(view, "AMU")["fp32"] is None
    assert view.lines[0].unknown["AMU"] == "records hold no series of it over time"
    assert view.lines[0].unknown["AEC"] == "no_sensor"
    assert not view.lines[3].ranked


def test_efficientllm_of_a_row_that_generates_text() -> None:
    variant: dict[str, Any] = {
        "precision": "as-is",
        "batch": 2,
        "prompt_tokens": 128,
        "new_tokens": 16,
    }
    made = make.record(
        variant, scenario="generate", replicates=[make.generating(i, width=2) for i in range(3)]
    )
    view = efficientllm(build_table([made]).rows)
    assert cells(view, "IT")["as-is"] == pytest.approx(2 * 50.0)  # 20 ms a step
    assert cells(view, "AL")["as-is"] == pytest.approx(0.6, rel=1e-3)  # 0.3 s and 15 steps
    assert not {"IT", "AL"} & view.lines[0].unknown.keys()


def test_the_reward_of_mnasnet() -> None:
    view = mnasnet(rows(), 5e6, -0.07)
    by_id = {row.variant["precision"]: row.latency_ns.p50 for row in rows()}
    assert cells(view, "reward")["int8"] == pytest.approx(0.88 * (by_id["int8"] / 5e6) ** -0.07)
    assert "bad" not in cells(view, "reward")
    rewards = list(cells(view, "reward").values())
    assert rewards == sorted(rewards, key=lambda reward: -(reward or 0))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--target", "10ms", "--exponent", "-1000"], "too large for a number"),
        (["--target", "10ms", "--exponent", "nan"], "too large for a number"),
        (["--target", "1e400s"], "'1e400s' is too large"),
    ],
)
def test_a_reward_beyond_all_numbers_is_refused(
    options: list[str], says: str, tmp_path: Path
) -> None:
    result = run("show", write(tmp_path / "a.jsonl", some()), "--columns", "mnasnet", *options)
    assert code(result) == 2
    assert says in str(result.exception)


def test_equal_latency_and_equal_quality() -> None:
    view = iso_latency(rows(), at_ns=8e6)
    assert cells(view, "quality") == {"fp32": 0.90, "int8": 0.88}
    assert "precision=fp16 keeps it" in view.notes[0]
    view = iso_quality(rows(), at=0.89)
    assert set(cells(view, "quality")) == {"fp32", "fp16"}
    with pytest.raises(UsageError):
        iso_quality(rows(), "nothing")


@pytest.mark.parametrize("turned", [False, True])
def test_equal_quality_where_each_precision_has_a_limit_of_its_own(turned: bool) -> None:
    """Of parity: the ceiling of fp32 is not what a reduced precision is held to."""
    parity = {"metric": "relative_error", "better": "lower", "kind": "parity"}
    records = [
        make.record({"precision": "fp32"}, quality=make.quality(1e-6, 1e-3, **parity)),
        make.record({"precision": "bf16"}, quality=make.quality(0.02, 0.1, **parity)),
    ]
    view = iso_quality(build_table(records[::-1] if turned else records).rows)
    assert set(cells(view, "budget").values()) == {0.02}
    assert len(view.lines) == 2


@pytest.mark.parametrize("name", ["efficientllm", "iso-latency", "iso-quality"])
@pytest.mark.parametrize("form", ["table", "json", "csv", "md"])
def test_views_have_all_forms(name: str, form: str, tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", some())
    result = run("show", file, "--columns", name, "--format", form)
    assert code(result) == 0
    if form == "json":
        assert json.loads(result.output)["schema"] == "edgebench.columns/1"


def test_chosen_columns_are_metrics_fields_and_sets_in_the_order_that_was_asked_for(
    tmp_path: Path,
) -> None:
    file = write(tmp_path / "a.jsonl", some())
    names = "memory.peak,quality.floor,mnasnet,variant_precision"
    result = run("show", file, "--columns", names, "--target", "5ms", "--format", "json")
    found = json.loads(result.output)
    heads = [column["name"] for column in found["columns"]]
    assert heads[:3] == ["memory.peak", "quality.floor", "reward"]
    assert heads[-1] == "variant_precision"
    rows_shown = json.loads(run("show", file, "--format", "json").output)["rows"]
    assert len(found["lines"]) == len(rows_shown)
    assert {line["cells"][-1] for line in found["lines"]} >= {"fp32", "int8"}


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ("latncy.p50", "did you mean 'latency.p50'"),
        ("iso-quality,latency.p50", "chooses rows"),
        (",", "names no column"),
    ],
)
def test_a_column_that_cannot_be_shown_is_a_usage_error(
    columns: str, says: str, tmp_path: Path
) -> None:
    result = run("show", write(tmp_path / "a.jsonl", some()), "--columns", columns)
    assert code(result) == 2
    assert says in str(result.exception)


def test_the_former_command_view_says_what_to_type() -> None:
    result = run("view", "efficientllm", "a.jsonl")
    assert isinstance(result.exception, click.UsageError)
    assert "edgebench show RESULTS... --columns NAME" in str(result.exception)


def test_compare_restricts_to_workloads(tmp_path: Path) -> None:
    one, two = (write(tmp_path / f"{name}.jsonl", some()) for name in "ab")
    workload = make.record().cell.workload
    whole = json.loads(run("compare", one, two, "--format", "json").output)
    found = run("compare", one, two, "--workload", workload, "--format", "json").output
    assert json.loads(found)["cells"] == whole["cells"]
    result = run("compare", one, two, "--workload", f"{workload}s")
    assert f"no workload '{workload}s' in the results; did you mean" in str(result.exception)
