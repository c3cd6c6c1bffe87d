"""`edgebench export` and `edgebench query`: the flat form, Parquet and SQL."""

from __future__ import annotations

import csv
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgebench.analysis.table import build_table
from edgebench.cli import cli
from edgebench.errors import EdgebenchError, StoreError, UsageError
from edgebench.export.columns import COLUMNS, columns_of, flat
from edgebench.export.duckdb_tables import connect
from edgebench.record import Record, encode
from tests.records import energy, failed, offline, record, replicate

duckdb = pytest.importorskip("duckdb")

DOCS = Path(__file__).parents[2] / "docs" / "export.md"


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def write(path: Path, records: Sequence[Record]) -> Path:
    path.write_bytes(b"".join(map(encode, records)))
    return path


def some_records() -> list[Record]:
    return [
        record(seed=1),
        record({"precision": "int8-static", "threads": 2}, p50=3e6, seed=2),
        record({"precision": "fp32", "threads": 1}, scenario="offline", replicates=[offline()]),
        failed({"precision": "fp16", "threads": 1}, "crashed", "it 'crashed'"),
    ]


def parquet_rows(path: Path) -> list[dict[str, Any]]:
    result = duckdb.connect().execute("SELECT * FROM read_parquet(?)", [str(path)])
    names = [column[0] for column in result.description]
    rows = [dict(zip(names, line, strict=True)) for line in result.fetchall()]
    for row in rows:
        for name in ("variant", "unknown", "imported.reported"):
            row[name] = None if row[name] is None else json.loads(row[name])
    return rows


def test_parquet_holds_every_flat_value(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", some_records())
    out = tmp_path / "a.parquet"
    done = run("export", source, "-o", out)
    assert done.exit_code == 0
    assert "4 rows written" in done.stderr
    rows = build_table(some_records()).rows
    expected = [flat(row, columns_of(rows)) for row in rows]
    assert parquet_rows(out) == expected
    assert expected[0]["latency.p50_ns"] == rows[0].latency_ns.p50
    assert len(expected[0]["latency.p50_of_replicates_ns"]) == 3
    assert expected[3]["latency.p50_ns"] is None
    assert "crashed" in expected[3]["unknown"]["latency_ns"]


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    latencies=st.lists(st.integers(1, 2**53), min_size=1, max_size=70),
    name=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12),
    axes=st.dictionaries(
        st.sampled_from(["threads", "precision", "odd name", 'q"uote']),
        st.one_of(
            st.integers(-(2**40), 2**40), st.booleans(), st.text(max_size=5), st.floats(-1e9, 1e9)
        ),
        max_size=3,
    ),
)
def test_parquet_round_trip(
    tmp_path: Path, latencies: list[int], name: str, axes: dict[str, Any]
) -> None:
    made = [
        record(axes, replicates=[replicate(0, latencies)], device=name),
        record({"precision": "fp32"}),
    ]
    out = tmp_path / "t.parquet"
    assert run("export", write(tmp_path / "t.jsonl", made), "-o", out).exit_code == 0
    rows = build_table(made).rows
    assert parquet_rows(out) == [flat(row, columns_of(rows)) for row in rows]


@pytest.mark.parametrize("form", ["csv", "json", "md"])
def test_other_formats_are_those_of_show(tmp_path: Path, form: str) -> None:
    source = write(tmp_path / "a.jsonl", some_records())
    out = tmp_path / f"out.{form}"
    assert run("export", source, "-o", out).exit_code == 0
    assert out.read_text(encoding="utf-8") == run("show", source, "--format", form).stdout
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_export_says_what_it_cannot_do(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", some_records())
    done = run("export", source, "-o", tmp_path / "table.xlsx")
    assert isinstance(done.exception, UsageError)
    done = run("export", source, "-o", tmp_path / "no" / "folder.parquet")
    assert isinstance(done.exception, StoreError)
    done = run("export", source, "-o", tmp_path / "no" / "folder.csv")
    assert isinstance(done.exception, StoreError)


def test_query_over_several_files_and_forms(tmp_path: Path) -> None:
    one = write(tmp_path / "a.jsonl", some_records()[:2])
    write(tmp_path / "b.jsonl", some_records()[2:])
    parquet = tmp_path / "b.parquet"
    assert run("export", tmp_path / "b.jsonl", "-o", parquet).exit_code == 0
    sql = 'SELECT variant_precision AS p, "latency.p50_ns" AS p50 FROM rows ORDER BY 2 LIMIT 2'
    lines = json.loads(run("query", sql, one, parquet, "--format", "json").stdout)
    assert [line["p"] for line in lines] == ["int8-static", "fp32"]
    assert lines[0]["p50"] == pytest.approx(3e6, rel=0.02)
    table = run("query", sql, one, parquet).stdout.splitlines()
    assert table[0].split() == ["p", "p50"]
    (line, *_) = csv.DictReader(run("query", sql, one, "--format", "csv").stdout.splitlines())
    assert line["p"] == "int8-static"
    assert run("query", sql, one, "--format", "md").stdout.startswith("| p | p50 |\n|---|---|\n")


def test_json_has_no_room_for_two_columns_of_one_name(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", some_records()[:2])
    sql = 'SELECT a."latency.p50_ns", b."latency.p50_ns" FROM rows a JOIN rows b USING (workload)'
    done = run("query", sql, source, "--format", "json")
    assert isinstance(done.exception, UsageError)
    assert "several columns are named 'latency.p50_ns'" in str(done.exception)
    assert "AS" in done.exception.fix
    assert done.stdout == ""
    assert run("query", sql, source, "--format", "csv").exit_code == 0


def test_query_samples_and_records(tmp_path: Path) -> None:
    made = some_records()
    source = write(tmp_path / "a.jsonl", made)
    with source.open("ab") as file:
        file.write(b'{"schema": "torn')
    sql = "SELECT id, count(*) AS n, sum(ns) AS total FROM samples GROUP BY id ORDER BY id"
    lines = json.loads(run("query", sql, source, "--format", "json").stdout)
    expected = {made[i].cell.id: sum(sum(r.samples_ns) for r in made[i].replicates) for i in (0, 1)}
    assert {line["id"]: line["total"] for line in lines} == expected
    sql = "SELECT cell->>'id' AS id, status FROM records"
    lines = json.loads(run("query", sql, source, "--format", "json").stdout)
    assert [line["id"] for line in lines] == [item.cell.id for item in made]


def test_samples_of_a_row_with_an_attached_meter_count_once(tmp_path: Path) -> None:
    made = [record(), record({"precision": "int8"}, p50=5e6)]
    metered = energy(0.5, kind="measured_external", scope="device input")
    write(tmp_path / "a.jsonl", made)
    write(tmp_path / "a-attached.jsonl", [msgspec.structs.replace(made[0], energy=metered)])
    sql = "SELECT count(*) AS n, sum(ns) AS total FROM samples"
    (line,) = json.loads(run("query", sql, tmp_path, "--format", "json").stdout)
    every = [ns for one in made for replicate in one.replicates for ns in replicate.samples_ns]
    assert (line["n"], line["total"]) == (len(every), sum(every))


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("SELECT nothing FROM rows", "nothing"),
        ("SELEC 1", "syntax error"),
        ("SELECT 1; SELECT 2", "one query"),
        ("DROP TABLE rows", "only reads"),
        ("COPY rows TO '/tmp/never.csv'", "only reads"),
        ("SELECT * FROM read_csv('/etc/hostname')", "disabled"),
        ("SELECT * FROM 'https://example.org/a.parquet'", ""),
        ("SET enable_external_access=true", "only reads"),
        ("SELECT CAST(id AS INT) FROM rows", "Conversion"),
        ("SELECT '\udce9'", "not UTF-8"),
    ],
)
def test_a_wrong_or_forbidden_query_is_one_clear_error(tmp_path: Path, sql: str, says: str) -> None:
    done = run("query", sql, write(tmp_path / "a.jsonl", some_records()))
    assert isinstance(done.exception, UsageError)
    assert says in str(done.exception)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    bad = tmp_path / "bad.parquet"
    bad.write_bytes(b"not parquet")
    done = run("query", "SELECT 1 FROM rows", bad)
    assert isinstance(done.exception, StoreError)
    assert "bad.parquet" in str(done.exception)
    bad = write(tmp_path / "bad.jsonl", some_records()[:1])
    with bad.open("ab") as file:
        file.write(b"{}\n" + encode(some_records()[1]))
    for table in ("rows", "records", "samples"):
        done = run("query", f"SELECT 1 FROM {table}", bad)
        assert isinstance(done.exception, EdgebenchError)
        assert "bad.jsonl:2" in str(done.exception)


def test_docs_name_every_column() -> None:
    text = DOCS.read_text(encoding="utf-8")
    from edgebench.metrics import METRICS

    metrics = {metric.column(bound) for metric in METRICS.values() for bound in ("", "low", "high")}
    missing = [c.name for c in COLUMNS if c.name not in metrics and f"`{c.name}`" not in text]
    assert missing == []


@pytest.mark.parametrize("name", ["a*b", "a?", "a[1]", "a[", "it's", "**", "{a,b}", "é\u202e"])
def test_a_name_is_no_pattern(tmp_path: Path, name: str) -> None:
    """DuckDB would read `axb.jsonl` as well, and count rows twice."""
    made = some_records()
    asked = write(tmp_path / f"{name}.jsonl", made[:2])
    write(tmp_path / "axb.jsonl", made)
    write(tmp_path / "a1.jsonl", made)
    for sql, count in (("SELECT * FROM records", 2), ("SELECT DISTINCT id FROM samples", 2)):
        done = run("query", sql, asked, "--format", "json")
        assert done.exit_code == 0, done.exception
        assert len(json.loads(done.stdout)) == count
    parquet = tmp_path / f"{name}.parquet"
    assert run("export", asked, "-o", parquet).exit_code == 0
    assert run("export", tmp_path / "axb.jsonl", "-o", tmp_path / "axb.parquet").exit_code == 0
    assert (
        len(json.loads(run("query", "SELECT * FROM rows", parquet, "--format", "json").stdout)) == 2
    )
    found = json.loads(run("frontier", parquet, "--format", "json").stdout)
    assert len(found["rows"]) == 2


def test_a_folder_like_a_partition_is_no_column(tmp_path: Path) -> None:
    """DuckDB would take `device=elsewhere` for the device of every row below it."""
    folder = tmp_path / "device=elsewhere" / "status=failed"
    folder.mkdir(parents=True)
    made = some_records()[:2]
    parquet = folder / "rows.parquet"
    assert run("export", write(folder / "a.jsonl", made), "-o", parquet).exit_code == 0
    rows = json.loads(
        run("query", "SELECT device, status FROM rows", parquet, "--format", "json").stdout
    )
    assert {(row["device"], row["status"]) for row in rows} == {(made[0].device.name, "ok")}
    front = json.loads(run("frontier", parquet, "--format", "json").stdout)
    assert {row["device"] for row in front["rows"]} == {made[0].device.name}
    sql = "SELECT status FROM records"
    lines = json.loads(run("query", sql, folder / "a.jsonl", "--format", "json").stdout)
    assert {line["status"] for line in lines} == {"ok"}


def test_a_name_that_duckdb_cannot_be_told_is_an_error(tmp_path: Path) -> None:
    error = run(
        "query", "SELECT * FROM records", write(tmp_path / "q\\*.jsonl", some_records())
    ).exception
    assert isinstance(error, UsageError)
    assert error.fix == "rename the file or folder"


def replaced(folder: Path, column: str, value: str) -> Path:
    """An exported file with another value in every row of a column."""
    parquet, odd = folder / "rows.parquet", folder / "odd.parquet"
    few = [replicate(index, list(range(1000, 1120)), round=index) for index in range(2)]
    made = [record(replicates=few), record({"precision": "int8-static"}, replicates=few)]
    assert run("export", write(folder / "a.jsonl", made), "-o", parquet).exit_code == 0
    changed = f'SELECT * REPLACE ({value} AS "{column}")'
    connect().execute(f"COPY ({changed} FROM '{parquet}') TO '{odd}' (FORMAT parquet)")
    return odd


@pytest.mark.parametrize(
    ("objective", "column", "value"),
    [
        ("latency.p50:min", "latency.p50_ns", "-5000000"),
        ("memory.peak:min", "memory.peak_bytes", "-1"),
        ("throughput:max", "throughput_per_s", "'inf'::DOUBLE"),
        ("memory.peak:min", "replicates", "-3"),
        ("memory.peak:min", "replicates", "1e300"),
        ("memory.peak:min", "replicates", "NULL"),
        ("latency.p50:min", "latency.p50_paired_degrees", "0"),
        ("latency.p50:min", "latency.p50_paired_degrees", "1e17"),
        ("latency.p50:min", "latency.p50_paired_error", "-0.1"),
    ],
)
def test_a_number_that_cannot_be_is_refused_in_parquet_too(
    tmp_path: Path, objective: str, column: str, value: str
) -> None:
    error = run("frontier", replaced(tmp_path, column, value), "-O", objective).exception
    assert isinstance(error, StoreError)
    assert f"row 1: {column}: " in error.message


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("workload_version", "'x'"),
        ("workload_version", "NULL"),
        ("id", "NULL"),
        ("id", "5"),
        ("ranked", "'x'::BLOB"),
        ("latency.p50_ns", "[1]"),
        ("latency.p50_of_replicates_ns", "'x'"),
        ("variant", "[1]"),
        ("variant", "'[1'"),
        ("unknown", "'[[[['"),
        ("reasons", "1.5"),
    ],
)
def test_a_column_of_another_kind_is_one_error(tmp_path: Path, column: str, value: str) -> None:
    odd = replaced(tmp_path, column, value)
    commands = (["frontier", "-O", "energy.j_per_inference:min"], ["compare", odd], ["pick"])
    ended = [run(*command, odd).exception for command in commands]
    assert any(isinstance(error, StoreError) and column in error.message for error in ended)
    assert all(error is None or isinstance(error, EdgebenchError | SystemExit) for error in ended)


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full is of Linux")
def test_a_full_disk_of_temporary_files_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = write(tmp_path / "a.jsonl", [record()])
    monkeypatch.setattr(
        tempfile, "TemporaryDirectory", lambda **_: nullcontext(full_disk(tmp_path))
    )
    error = run("export", results, "-o", tmp_path / "rows.parquet").exception
    assert isinstance(error, StoreError)
    assert error.message.startswith(f"{tmp_path}/full: ")
    assert "TMPDIR" in error.fix
    assert not (tmp_path / "rows.parquet").exists()


def full_disk(folder: Path) -> str:
    """A folder whose file of rows never fits."""
    (folder / "full").mkdir()
    (folder / "full" / "rows.jsonl").symlink_to("/dev/full")
    return str(folder / "full")


def test_a_column_without_values_may_be_of_any_type(tmp_path: Path) -> None:
    assert run("frontier", replaced(tmp_path, "energy.kind", "NULL::INTEGER")).exit_code == 0


@pytest.mark.parametrize("part", ["value", "error", "degrees"])
@pytest.mark.parametrize("command", [("frontier",), ("pick", "--require", "latency.p50<=10s")])
def test_a_block_that_lacks_one_of_its_numbers_is_none(
    tmp_path: Path, command: tuple[str, ...], part: str
) -> None:
    path = replaced(tmp_path, f"latency.p50_paired_{part}", "NULL::BIGINT")
    done = run(*command, path)
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("command", [("query", "SELECT 1"), ("frontier",), ("show",)])
def test_a_pipe_in_the_place_of_a_file_is_refused_and_not_waited_for(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    pipe = tmp_path / ("a.parquet" if command[0] != "show" else "a.jsonl")
    os.mkfifo(pipe)
    error = run(*command, pipe).exception
    assert isinstance(error, StoreError)
    assert "it is a pipe" in error.message or "no such file" in error.message
