"""`import edgebench`: what notebooks and scripts call, and that it is what the command line says."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
import pytest
from click.testing import CliRunner

import edgebench
from edgebench.ab_test.ab_report_types import GateReport
from edgebench.ab_test.pairing import Request
from edgebench.api import ab_request, run_and_ab, run_options
from edgebench.cli import ab, cli, run
from edgebench.export.columns import columns_of
from edgebench.files.json_lines import encoded
from edgebench.measure.runner import Runner
from edgebench.planning import run_parameters
from edgebench.record import Reason, encode
from edgebench.report import notebook
from edgebench.store import MEASURED_ELSEWHERE
from edgebench.testing.models import two_by_two
from tests.records import record

ROOT = Path(__file__).parents[2]
QUICK = ROOT / "results" / "reference" / "quick-linux-amd-2c.jsonl"
OTHER = ROOT / "results" / "reference" / "quick-linux-x86-2c.jsonl"


def said_by(*arguments: str) -> Any:
    """What a command prints as JSON."""
    done = CliRunner().invoke(cli, [*arguments, "--format", "json"], standalone_mode=False)
    assert done.exception is None, done.exception
    return json.loads(done.stdout)


def as_json(report: Any) -> Any:
    return json.loads(encoded(report))


@pytest.fixture(scope="module")
def quick() -> edgebench.Results:
    return edgebench.read(QUICK)


# --- the package


def test_importing_the_package_imports_nothing_else() -> None:
    code = (
        "import sys; before = set(sys.modules); import edgebench; "
        "print(sorted(set(sys.modules) - before)); edgebench.StoreError; "
        "print('numpy' in sys.modules, 'msgspec' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["['edgebench']", "False False"]


@pytest.mark.parametrize("name", edgebench.__all__)
def test_every_name_of_the_api_is_there_and_listed(name: str) -> None:
    assert getattr(edgebench, name) is not None
    assert name in dir(edgebench)


@pytest.mark.parametrize("name", edgebench.__all__)
def test_no_module_of_the_package_takes_a_name_of_the_api(name: str) -> None:
    """Importing edgebench.run, were there such a folder, would put the module in the function's place."""
    assert importlib.util.find_spec(f"edgebench.{name}") is None


def test_the_places_of_names_are_those_of_all() -> None:
    assert {*edgebench._PLACES, "__version__"} == set(edgebench.__all__)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'measure_all_of_it'"):
        _ = edgebench.measure_all_of_it  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", edgebench.__all__)
def test_the_page_names_every_name_of_the_api(name: str) -> None:
    assert f"`{name}`" in PAGE or f"edgebench.{name}" in PAGE


@pytest.mark.parametrize(
    ("command", "words", "defaults"),
    [
        (run.command, [], run_parameters.DEFAULTS),
        (ab.command, ["--base", "a", "--head", "b"], ab_request.DEFAULTS),
    ],
)
def test_defaults_are_those_of_the_commands(
    command: click.Command, words: list[str], defaults: Any
) -> None:
    typed = command.make_context("command", words).params
    assert {name: typed[name] for name in defaults} == dict(defaults)


@pytest.mark.parametrize(
    ("options", "command", "own"),
    [
        (edgebench.RunOptions, run.command, {"prefer", "slice"}),
        (edgebench.ABOptions, ab.command, {"energy"}),
    ],
)
def test_options_are_those_of_the_commands(
    options: Any, command: click.Command, own: set[str]
) -> None:
    names = {parameter.name for parameter in command.params}
    assert set(options.__annotations__) - own <= names


# --- reading


def test_the_table_is_what_show_prints(quick: edgebench.Results) -> None:
    assert as_json(quick.table()) == said_by("show", str(QUICK))
    done = CliRunner().invoke(cli, ["show", str(QUICK)], standalone_mode=False)
    assert str(quick) == done.stdout.rstrip("\n")


def test_rows_cannot_be_changed(quick: edgebench.Results) -> None:
    row = quick.table().rows[0]
    with pytest.raises(AttributeError):
        row.ranked = False  # type: ignore[misc]
    assert len(quick) == len(quick.table().rows)


def test_a_rule_of_ties_is_taken_as_by_show() -> None:
    found = edgebench.read(QUICK, prefer=["quality", "threads"]).table()
    assert as_json(found) == said_by("show", str(QUICK), "--prefer", "quality,threads")
    with pytest.raises(edgebench.UsageError, match="no criterion 'speed'"):
        edgebench.read(QUICK, prefer="speed")


def test_a_file_that_is_not_there_or_holds_something_else_is_an_error_with_a_fix(
    tmp_path: Path,
) -> None:
    with pytest.raises(edgebench.StoreError, match="no such file") as caught:
        edgebench.read(tmp_path / "none.jsonl")
    assert caught.value.fix
    (tmp_path / "other.jsonl").write_text('{"a": 1}\n')
    with pytest.raises(edgebench.StoreError, match=r"other\.jsonl:1: "):
        edgebench.read([tmp_path / "other.jsonl"])
    with pytest.raises(edgebench.UsageError, match="no file or folder"):
        edgebench.read([])


def test_a_folder_that_is_left_out_is_a_note_and_prints_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / MEASURED_ELSEWHERE).touch()
    (theirs / "a.jsonl").write_bytes(encode(record()))
    (tmp_path / "b.jsonl").write_bytes(encode(record()))
    found = edgebench.read(tmp_path)
    assert len(found) == 1
    [note] = found.notes
    assert "theirs: measured elsewhere, left out" in note
    assert note in repr(found)
    assert note in (found._repr_html_() or "")
    assert capsys.readouterr() == ("", "")


# --- questions


def test_fronts_are_those_of_the_command(quick: edgebench.Results) -> None:
    assert as_json(quick.frontier()) == said_by("frontier", str(QUICK))
    asked = quick.frontier("latency.p50:min", workloads="file-typing", seed=3, draws=500)
    assert as_json(asked) == said_by(
        "frontier", str(QUICK), "-O", "latency.p50:min", "--workload", "file-typing", "--seed", "3",
        "--draws", "500",
    )  # fmt: skip
    with pytest.raises(edgebench.UsageError, match="too few"):
        quick.frontier(draws=1)


def test_picks_are_those_of_the_command(quick: edgebench.Results) -> None:
    assert as_json(quick.pick()) == said_by("pick", str(QUICK))
    limits = ["latency.p50<=10ms", "memory.peak<=80MiB"]
    asked = quick.pick(limits, minimize="memory.peak", workloads=["file-typing"])
    arguments = [word for limit in limits for word in ("-r", limit)]
    done = CliRunner().invoke(
        cli,
        ["pick", str(QUICK), *arguments, "--minimize", "memory.peak", "--workload", "file-typing",
         "--format", "json"],
        standalone_mode=False,
    )  # fmt: skip
    assert as_json(asked) == json.loads(done.stdout)
    with pytest.raises(edgebench.UsageError, match="across 'runs'"):
        quick.pick(across="runs")


def test_a_pick_keeps_the_rule_of_ties_that_results_were_read_with() -> None:
    found = edgebench.read(QUICK, prefer="quality")
    assert found.pick().prefer == ["quality"]
    assert found.pick(prefer="threads").prefer == ["threads"]


def test_a_comparison_is_that_of_the_command(quick: edgebench.Results) -> None:
    other = edgebench.read(str(OTHER))
    assert as_json(quick.compare(other)) == said_by("compare", str(QUICK), str(OTHER))
    asked = quick.compare(other, metrics="memory.peak", names=["before", "after"])
    assert [side.name for side in asked.sides] == ["before", "after"]
    with pytest.raises(edgebench.UsageError, match="needs other results"):
        quick.compare()
    with pytest.raises(edgebench.UsageError, match="1 names for 2 sides"):
        quick.compare(other, names=["one"])


# --- frames of other libraries


def test_dicts_have_the_columns_of_exports(quick: edgebench.Results, tmp_path: Path) -> None:
    rows = quick.table().rows
    lines = quick.to_dicts()
    assert [list(line) for line in lines] == [[c.name for c in columns_of(rows)]] * len(rows)
    assert [line["latency.p50_ns"] for line in lines] == [row.latency_ns.p50 for row in rows]


def test_frames_are_what_export_writes_as_parquet(quick: edgebench.Results, tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    pytest.importorskip("duckdb")
    file = tmp_path / "rows.parquet"
    CliRunner().invoke(cli, ["export", str(QUICK), "-o", str(file)], standalone_mode=False)
    exported, table = parquet.read_table(file), quick.to_arrow()
    assert isinstance(table, arrow.Table)
    assert table.schema.names == exported.schema.names
    assert [str(kind) for kind in table.schema.types] == [
        str(kind).replace("element", "item").replace("extension<arrow.json>", "string")
        for kind in exported.schema.types
    ]
    assert table.to_pylist() == exported.to_pylist()
    again = edgebench.read(file)
    assert len(again) == len(quick)
    chosen = [
        [pick.choice and pick.choice.id for pick in found.pick().picks] for found in (again, quick)
    ]
    assert chosen[0] == chosen[1]
    assert "rows.parquet" in repr(again)
    assert again._repr_html_() is None
    with pytest.raises(edgebench.UsageError, match="not all that a table needs"):
        again.table()


def test_pandas_and_polars_have_the_same_values(quick: edgebench.Results) -> None:
    pytest.importorskip("pandas")
    pytest.importorskip("polars")
    frame, polars = quick.to_pandas(), quick.to_polars()
    lines = quick.to_dicts()
    assert list(frame.columns) == polars.columns == list(lines[0])
    for name in ("latency.p50_ns", "ranked", "model.flops", "quality.floor", "energy.reason"):
        values = [line[name] for line in lines]
        assert [
            None if value is frame[name].dtype.na_value else value for value in frame[name]
        ] == values
        assert polars[name].to_list() == values
    assert str(frame["model.flops"].dtype) == "Int64"
    assert frame["latency.p50_of_replicates_ns"][0] == lines[0]["latency.p50_of_replicates_ns"]


@pytest.mark.parametrize(
    ("library", "method"),
    [("pandas", "to_pandas"), ("polars", "to_polars"), ("pyarrow", "to_arrow")],
)
def test_a_missing_library_is_an_error_that_says_how_to_install_it(
    library: str, method: str, quick: edgebench.Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(edgebench.UsageError) as caught:
        getattr(quick, method)()
    assert caught.value.fix == f"pip install {library}"


# --- in a notebook


def test_repr_is_a_few_lines(quick: edgebench.Results) -> None:
    first, *picks = repr(quick).splitlines()
    assert first == "<edgebench.Results: 12 rows, 9 ranked; 4 workloads on 1 device>"
    assert len(picks) <= notebook.MAX_PICKS + 1
    assert picks[0].startswith("  file-typing@1 single_stream: deploy ")


def test_html_holds_every_row_and_no_markup_of_files(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(
        encode(record({"precision": "fp32", "note": "<script>alert($x$)</script>"}))
        + encode(record({"precision": "int8-static", "note": "plain"}))
    )
    html = edgebench.read(file)._repr_html_()
    assert html is not None
    assert html.count("<tr") == 3  # the head and two rows
    assert "<script" not in html
    assert "&lt;script&gt;alert(&#36;x&#36;)" in html
    assert "deploy " in html


def test_html_of_very_many_rows_says_where_the_others_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notebook, "MAX_ROWS", 1)
    html = edgebench.read(QUICK)._repr_html_()
    assert html is not None
    assert "and 2 more rows: results.table().rows" in html


# --- measuring


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDGEBENCH_CACHE", str(tmp_path / "cache"))
    return two_by_two().write(tmp_path).path


def test_a_run_gives_the_table_that_show_prints_of_its_file(
    model: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    results = edgebench.run(model=model, sets={"threads": [1, 2]}, replicates=1, slice=0.1)
    assert capfd.readouterr() == ("", "")
    assert [row.variant["threads"] for row in results.table().rows] == [1, 2]
    assert [row.status for row in results.table().rows] == ["ok", "ok"]
    [file] = results.paths
    assert file.parent.parent == Path("results")
    assert as_json(results.table()) == said_by("show", str(file))
    told = results.table().runs[0].command[2]
    assert told.startswith(f"import edgebench; print(edgebench.run(model={str(model)!r}")


def test_ctrl_c_keeps_what_was_measured(model: Path) -> None:
    heard: list[str] = []

    def stop(line: str) -> None:
        heard.append(line)
        if line.startswith("done: "):
            raise KeyboardInterrupt

    with pytest.raises(edgebench.Interrupted, match="--resume") as caught:
        edgebench.run(model=model, sets={"threads": [1, 2]}, replicates=1, slice=0.1, progress=stop)
    assert any(line.startswith("2 cells, ") for line in heard)
    results = caught.value.results
    assert results is not None
    measured = [row for row in results.table().rows if row.status == "ok"]
    assert len(measured) == 1
    assert len(edgebench.read(results.paths)) >= 1


def test_without_a_folder_nothing_is_kept_and_a_failed_cell_is_a_row(
    model: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    results = edgebench.run(
        model=model, backends="edgebench.testing.faults:Segfault", out=None, replicates=1,
        slice=0.1, progress=True,
    )  # fmt: skip
    assert "FAILED: " in capfd.readouterr().err
    [row] = results.table().rows
    assert row.status == "failed"
    assert results.paths == ()
    assert not Path("results").exists()


def test_an_error_in_the_middle_has_what_was_measured(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Any) -> None:
        raise edgebench.StoreError("the disk is full")

    monkeypatch.setattr(Runner, "measure", full)
    with pytest.raises(edgebench.StoreError, match="disk is full") as caught:
        edgebench.run(model=model)
    assert caught.value.results is not None
    assert len(caught.value.results) == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"treads": 1}, "no option 'treads'"),
        ({"replicate": 1}, "did you mean 'replicates'"),
        ({"replicates": 0}, "replicates=0"),
        ({"seed": 2**31}, "seed="),
        ({"rate": float("nan")}, "rate=nan"),
        ({"rate": 0}, "rate=0"),
        ({"budget": 0}, "0.0 is not a time"),
        ({"percentile": "p95"}, "no percentile 'p95'"),
        ({"scenarios": "offlin"}, "no scenario 'offlin'"),
        ({"sets": {"thread": 1}}, "thread"),
        ({"workloads": "file-typing"}, "--model cannot be combined"),
        ({"model": "none.onnx"}, "model: none.onnx: no such file"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    options: dict[str, Any], said: str, model: Path
) -> None:
    with pytest.raises(edgebench.UsageError, match=said):
        edgebench.run(**{"model": model, **options})
    assert not Path("results").exists()


def test_values_of_python_are_what_a_person_would_type() -> None:
    import numpy as np

    named = {
        "sets": {"threads": np.array([1, 2]), "arena": False, "mode": "a b"},
        "shapes": {"x": ["batch", 3], "k": []},
        "ranges": {"ids": (0, 99), "k": "1|2"},
        "backends": ["ort", "null"],
        "budget": np.float64(90),
        "memory_limit": 2**29,
        "memory_budget": [2**28, "1GiB"],
    }
    given = run_and_ab._given({}, {}, named, run_parameters.DEFAULTS)
    assert given["sets"] == ["threads=1,2", "arena=false", 'mode="a b"']
    assert given["shapes"] == ["x=batch,3", "k=scalar"]
    assert given["ranges"] == ["ids=0,99", "k=1|2"]
    assert given["backends"] == "ort,null"
    options = run_options.resolved({**given, "model": "m.onnx"})
    assert options.sets[-1] == f"memory_budget={2**28},1GiB"
    assert (options.settings.budget_s, options.settings.memory_limit_bytes) == (90.0, 2**29)


# --- A/B


class Compared:
    """Stands for the measurement: takes down what was asked for."""

    def __init__(self, *reasons: Reason) -> None:
        self.asked: list[tuple[list[Request], dict[str, Any]]] = []
        self._report = GateReport(verdict="pass", cells=[], reasons=list(reasons))

    def __call__(self, requests: list[Request], **how: Any) -> GateReport:
        self.asked.append((requests, how))
        return self._report


def test_an_ab_is_that_of_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = Compared()
    monkeypatch.setattr(ab_request, "compare", compared)
    report = edgebench.ab(
        "ort", ["ort", "precision=int8-static"], "file-typing", sets={"threads": 1}, budget=60,
        tau=0.02, energy=False, out=None,
    )  # fmt: skip
    CliRunner().invoke(
        cli,
        ["ab", "--base", "ort", "--head", "ort", "--head", "precision=int8-static", "file-typing",
         "--set", "threads=1", "--budget", "60", "--tau", "2%", "--no-energy", "--no-save"],
        standalone_mode=False,
    )  # fmt: skip
    (requests, how), (typed, typed_how) = compared.asked
    assert requests == typed
    settings, typed_settings = (
        msgspec.structs.replace(each["settings"], started_s=None) for each in (how, typed_how)
    )
    assert settings == typed_settings
    assert [how[name] for name in ("out", "meter")] == [
        typed_how[name] for name in ("out", "meter")
    ]
    assert report.verdict == "pass"


def test_an_ab_that_is_interrupted_has_its_report(monkeypatch: pytest.MonkeyPatch) -> None:
    reason = Reason(code="interrupted", message="interrupted")
    monkeypatch.setattr(ab_request, "compare", Compared(reason))
    with pytest.raises(edgebench.Interrupted) as caught:
        edgebench.ab("ort", "null", "file-typing", energy=False)
    assert caught.value.report is not None
    assert caught.value.report.reasons == [reason]


# --- the page


PAGE = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
EXAMPLES = PAGE.split("<!-- run -->\n```python\n")[1:]


def test_the_examples_of_the_page_run_in_a_fresh_interpreter(model: Path, tmp_path: Path) -> None:
    """One after the other, as the cells of a notebook: each may use what the ones before it made."""
    model.rename("model.onnx")
    code = "\n".join(example.partition("```")[0] for example in EXAMPLES)
    (tmp_path / "notebook.py").write_text(code)
    done = subprocess.run(
        [sys.executable, "notebook.py"], capture_output=True, text=True, timeout=200,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert len(EXAMPLES) >= 3
    assert "deploy " in done.stdout


if TYPE_CHECKING:
    from typing_extensions import assert_type

    def _is_typed(results: edgebench.Results) -> None:
        """A user's code under mypy --strict."""
        assert_type(edgebench.read(["a.jsonl", Path("b")]), edgebench.Results)
        assert_type(
            edgebench.run(model="m.onnx", sets={"threads": [1, 2]}, target=0.02), edgebench.Results
        )
        assert_type(results.table().rows[0], edgebench.Row)
        assert_type(results.table().rows[0].latency_ns.p50, int | None)
        assert_type(results.frontier("latency.p50:min"), edgebench.FrontierReport)
        assert_type(results.pick("latency.p99<=30ms"), edgebench.PickReport)
        assert_type(results.compare(results), edgebench.ComparisonReport)
        assert_type(edgebench.ab("a.onnx", "b.onnx", tau="1%"), edgebench.ABReport)
        edgebench.run(model="m.onnx", replicate=3)  # type: ignore[call-arg]
