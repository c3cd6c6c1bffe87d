"""`edgebench site`: files, what they hold, and one clear line for bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgebench.backend import Scalar
from edgebench.errors import EdgebenchError
from edgebench.record import encode
from tests import records as make
from tests.analysis.test_commands import code, run
from tests.trend.histories import one_run, write

RUNS = 12


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Two devices; the newest run of one has a cell that failed."""
    runs = [[one_run(number, 1.0), one_run(number, 0.6, "int8")] for number in range(RUNS)]
    folder = write(tmp_path / "results", runs)
    other = [
        make.record(device="pi </script>", run="p", p50=2e7),
        make.failed({}, "crashed", "x", device="pi </script>", run="p"),
    ]
    (folder / "other.jsonl").write_bytes(b"".join(map(encode, other)))
    return folder


def data(out: Path, name: str) -> Any:
    text = (out / "data" / f"{name}.js").read_text()
    assert text.startswith("window.edgebenchData(")
    return json.loads(text.removeprefix("window.edgebenchData(").rstrip().removesuffix(");"))


def made(results: Path, out: Path, *options: str) -> Path:
    assert code(run("site", results, "-o", out, "--reports", "none", *options)) == 0
    return out


def test_index_names_what_to_deploy_on_each_device_by_its_newest_rows(
    results: Path, tmp_path: Path
) -> None:
    index = data(made(results, tmp_path / "public", "--title", "Shelf"), "index")
    assert index["title"] == "Shelf"
    by_device = {each["device"]: each for each in index["newest"]}
    assert by_device["desk"]["variant"] == {"precision": "int8", "threads": 1}
    assert by_device["desk"]["started_utc"].startswith("2026-01-12")
    assert by_device["desk"]["rows"] == 2
    assert "pi </script>" in by_device


def test_device_page_has_the_newest_row_of_each_cell_and_its_series(
    results: Path, tmp_path: Path
) -> None:
    out = made(results, tmp_path / "public")
    index = data(out, "index")
    page = next(each["page"] for each in index["newest"] if each["device"] == "desk")
    desk = data(out, f"device-{page}")
    assert [cell["run"] for cell in desk["cells"]] == [f"run-{RUNS - 1:03d}"] * 2
    assert [len(cell["series"][0]["points"]) for cell in desk["cells"]] == [RUNS] * 2


def test_device_page_lists_the_fastest_first_and_what_is_unsupported_last(tmp_path: Path) -> None:
    def variant(threads: int) -> dict[str, Scalar]:
        return {"precision": "fp32", "threads": threads}

    rows = [
        make.failed(variant(8), "unsupported_option", "x", status="unsupported", run="a"),
        make.record(variant(1), p50=2e7, run="a"),
        make.record(variant(2), p50=1e7, run="a"),
        make.record(variant(4), p50=5e6, run="a", quality=make.quality(0.5)),
    ]
    folder = write(tmp_path / "results", [rows])
    cells = data(made(folder, tmp_path / "public"), "device-0")["cells"]
    assert [cell["variant"]["threads"] for cell in cells] == [2, 1, 4, 8]


def test_exported_parquet_makes_the_same_index(results: Path, tmp_path: Path) -> None:
    table = tmp_path / "all.parquet"
    assert code(run("export", results, "-o", table)) == 0
    ours = data(made(results, tmp_path / "a"), "index")["newest"]
    theirs = data(made(table, tmp_path / "b"), "index")["newest"]
    assert [each["variant"] for each in theirs] == [each["variant"] for each in ours]


@pytest.mark.slow
def test_reports_of_the_newest_run_are_written_and_linked(results: Path, tmp_path: Path) -> None:
    pytest.importorskip("vl_convert")
    out = tmp_path / "public"
    assert code(run("site", results, "-o", out)) == 0
    for each in data(out, "index")["newest"]:
        assert (out / each["report"]).is_file()
    assert "run-011" in (out / "reports" / "desk.html").read_text()


@pytest.mark.slow
def test_all_reports_are_written_and_linked_from_the_page_of_their_device(tmp_path: Path) -> None:
    pytest.importorskip("vl_convert")
    folder = write(tmp_path / "results", [[one_run(0, 1.0)], [one_run(1, 1.0)]])
    out = tmp_path / "public"
    assert code(run("site", folder, "-o", out, "--reports", "all")) == 0
    links = data(out, "device-0")["reports"]
    assert [link["run"] for link in links] == ["run-001", "run-000"]
    assert all((out / link["page"]).is_file() for link in links)


def test_site_is_replaced_whole_and_nothing_else_is_touched(results: Path, tmp_path: Path) -> None:
    out = made(results, tmp_path / "public")
    (out / "data" / "device-99.js").write_text("stale")
    (out / "CNAME").write_text("example.org")
    made(results, out)
    assert not (out / "data" / "device-99.js").exists()
    assert (out / "CNAME").read_text() == "example.org"


def refused(*arguments: object) -> str:
    result = run(*arguments)
    assert isinstance(result.exception, EdgebenchError)
    return result.exception.message


def test_folder_of_something_else_is_refused(results: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years")
    message = refused("site", results, "-o", tmp_path / "mine", "--reports", "none")
    assert message.endswith("the folder is not empty and holds no site of edgebench")
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "years"


def test_missing_results_are_said(tmp_path: Path) -> None:
    assert "no such file" in refused("site", tmp_path / "no", "-o", tmp_path / "o")
