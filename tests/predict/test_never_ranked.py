"""Predictions and estimates are never ranked and never a baseline, whatever command they are given to."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import pytest

from edgebench.errors import StoreError
from edgebench.record import Record, encode
from tests import records as make
from tests.analysis.test_commands import code, run
from tests.predict.test_predict_command import shelf
from tests.trend.histories import one_run

__all__ = ["shelf"]  # the fixture

JOULES = "energy.j_per_inference"
READERS = [
    ("show",),
    ("frontier",),
    ("pick",),
    ("pick", "--include-predicted"),
    ("trend",),
    ("roofline",),
    ("scaling",),
    ("predict", "--suggest"),
    ("query", "select 1"),
    ("gate",),
]


def prediction(shelf: tuple[Path, Path], form: str) -> Path:
    """What `predict` prints, as a file: whole, or a line for each cell."""
    known, new = shelf
    text = run("predict", known, "--device", new, "--format", "json").output
    file = known.parent / "predicted" / "predicted.jsonl"
    file.parent.mkdir()
    cells = json.loads(text)["predicted"]
    file.write_text(text if form == "whole" else "".join(json.dumps(c) + "\n" for c in cells))
    return file


def refused(*arguments: object) -> None:
    result = run(*arguments)
    assert isinstance(result.exception, StoreError), result.exception
    assert re.search(r"predicted\.jsonl:1: a prediction, .* never ranked", result.exception.message)
    assert result.output == ""


@pytest.mark.parametrize("form", ["whole", "cells"])
def test_no_command_takes_a_prediction_for_results(shelf: tuple[Path, Path], form: str) -> None:
    file = prediction(shelf, form)
    known, new = shelf
    for command in READERS:
        refused(*command, file)
        if command != ("gate",):
            refused(*command, new, file)
    refused("compare", new, file)
    refused("compare", file, new)
    refused("gate", new, "--baseline", file)
    refused("predict", known, "--device", file)
    for writer, name in (("report", "r.html"), ("export", "t.csv"), ("site", "site")):
        out = known.parent / name
        refused(writer, file, "-o", out)
        assert not out.exists()


def test_a_folder_with_a_prediction_in_it_is_refused_whole(shelf: tuple[Path, Path]) -> None:
    file = prediction(shelf, "whole")
    (file.parent / "new.jsonl").write_bytes(shelf[1].read_bytes())
    refused("pick", file.parent)


def test_a_prediction_is_no_calibration(shelf: tuple[Path, Path]) -> None:
    result = run("roofline", shelf[0], "--calibration", prediction(shelf, "whole"))
    assert isinstance(result.exception, StoreError)
    assert "edgebench.calibration/1" in result.exception.message


@pytest.mark.parametrize(("status", "words"), [("modelled", "never ranked"), ("great", "'great'")])
def test_rows_of_no_run_in_parquet_are_refused(
    shelf: tuple[Path, Path], status: str, words: str
) -> None:
    import duckdb

    whole, odd = (shelf[0].parent / name for name in ("whole.parquet", "odd.parquet"))
    assert code(run("export", shelf[0], "-o", whole)) == 0
    duckdb.sql(
        f"COPY (SELECT * REPLACE (CASE WHEN id LIKE '%threads=12%' THEN '{status}' ELSE status END AS status) "
        f"FROM '{whole}') TO '{odd}'"
    )
    for command in ("frontier", "pick", "trend"):
        result = run(command, odd)
        assert isinstance(result.exception, StoreError)
        assert words in result.exception.message
        assert "4 rows" in result.exception.message
    assert isinstance(run("compare", whole, odd).exception, StoreError)
    assert code(run("pick", whole)) == 0


def estimated(number: int, joules: float, kind: str = "modelled", threads: int = 1) -> Record:
    record = one_run(number, 1.0)
    variant = record.cell.variant | {"threads": threads}
    cell = msgspec.structs.replace(
        record.cell, variant=variant, id=record.cell.id.replace("threads=1", f"threads={threads}")
    )
    return msgspec.structs.replace(record, cell=cell, energy=make.energy(joules, kind=kind))


def write(path: Path, *records: Record) -> Path:
    path.write_bytes(b"".join(map(encode, records)))
    return path


def test_modelled_energy_is_no_side_of_a_comparison(tmp_path: Path) -> None:
    measured = write(tmp_path / "a.jsonl", estimated(0, 0.2, "measured_rail"))
    modelled = write(tmp_path / "b.jsonl", estimated(1, 0.1))
    again = write(tmp_path / "c.jsonl", estimated(2, 0.3))
    for sides in ((measured, modelled), (modelled, measured), (modelled, again)):
        found = json.loads(run("compare", *sides, "--format", "json").output)
        [energy] = [m for m in found["cells"][0]["metrics"] if m["metric"] == JOULES]
        assert energy["ratios"] == [None, None]
        assert [each["code"] for each in found["not_comparable"]] == ["energy_modelled"]


def test_modelled_energy_meets_no_limit_of_a_gate_and_is_no_baseline(tmp_path: Path) -> None:
    measured = write(tmp_path / "a.jsonl", estimated(0, 0.2, "measured_rail"))
    modelled = write(tmp_path / "b.jsonl", estimated(1, 0.1))
    result = run("gate", modelled, "--limit", f"{JOULES} <= 1 J", "--format", "json")
    [row] = [row for row in json.loads(result.output)["cells"] if row["metric"] == JOULES]
    assert (row["verdict"], code(result)) == ("inconclusive", 4)
    assert "modelled, not measured" in row["reason"]
    for sides in ((modelled, measured), (measured, modelled)):
        result = run("gate", sides[1], "--baseline", sides[0], "--format", "json")
        [row] = [row for row in json.loads(result.output)["cells"] if row["metric"] == JOULES]
        assert (row["base"], row["head"], row["judged"]) == (None, None, False)
        assert row["reason"] == "modelled, not measured"


def test_modelled_energy_breaks_no_tie(tmp_path: Path) -> None:
    def chosen(kind: str) -> int:
        rows = estimated(0, 0.2, kind), estimated(0, 0.1, kind, threads=2)
        file = write(tmp_path / f"{kind}.jsonl", *rows)
        result = run("pick", file, "--prefer", f"{JOULES},threads", "--format", "json")
        [choice] = json.loads(result.output)["picks"]
        return int(choice["choice"]["variant"]["threads"])

    assert chosen("measured_rail") == 2
    assert chosen("modelled") == 1


def test_modelled_energy_is_no_point_of_a_trend(tmp_path: Path) -> None:
    records = [estimated(n, 0.2 if n < 12 else 0.3) for n in range(24)]
    result = run("trend", write(tmp_path / "a.jsonl", *records), "--metric", JOULES)
    assert "0 of 0 series stepped" in result.output
    assert "24 rows left out: its energy is modelled" in " ".join(result.output.split())


def test_a_trend_of_joules_is_of_one_meter(tmp_path: Path) -> None:
    """Another meter is another quantity: its joules would make a step."""
    records = [
        estimated(n, 0.3 if n < 12 else 0.2, "measured_external" if n < 12 else "measured_rail")
        for n in range(24)
    ]
    result = run("trend", write(tmp_path / "a.jsonl", *records), "--metric", JOULES, "--format", "json")  # fmt: skip
    found = json.loads(result.output)
    assert [len(each["points"]) for each in found["series"]] == [12]
    assert any("another kind or scope" in note for note in found["notes"])


def test_estimates_are_marked_in_tables_reports_and_sites(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", estimated(0, 0.1))
    assert "~100 mJ" in run("show", file).output
    run("report", file, "-o", tmp_path / "r.md")
    assert "~100 mJ" in (tmp_path / "r.md").read_text()
    run("site", file, "-o", tmp_path / "site", "--reports", "none")
    assert '"~100 mJ"' in (tmp_path / "site" / "data" / "device-0.js").read_text()


def test_results_without_rows_are_one_clear_line(tmp_path: Path) -> None:
    empty = write(tmp_path / "empty.jsonl")
    assert "0 of 0 series" in run("trend", empty).output
    assert "no other device ran" in str(run("predict", empty, "--suggest").exception)
