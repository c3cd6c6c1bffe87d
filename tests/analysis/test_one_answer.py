"""One question has one answer: every command names the same front and the same choice, row by row."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from edgebench.cli import cli
from edgebench.record import Record, encode
from edgebench.report.build_report import build_report
from edgebench.store import iter_records
from tests import records as make

ROOT = Path(__file__).parents[2]
COMMITTED = sorted((ROOT / "results").glob("**/*.jsonl"))
GROUP = (
    "device",
    "workload",
    "workload_version",
    "scenario",
    "rate_per_s",
    "prompt_tokens",
    "new_tokens",
    "request",
    "samples_per_query",
    "bound_p99_ns",
)


def said(*arguments: str | Path) -> str:
    done = CliRunner().invoke(cli, [str(each) for each in arguments], catch_exceptions=False)
    assert done.exit_code in (0, 1), done.output
    return done.stdout


def group(entry: Any) -> tuple[Any, ...]:
    return tuple(entry[name] for name in GROUP)


def assert_one_answer(path: Path, folder: Path) -> None:
    table = json.loads(said("show", path, "--format", "json"))
    frontier = json.loads(said("frontier", path, "--format", "json"))
    picks = json.loads(said("pick", path, "--format", "json"))
    _assert_one_front(table, frontier)
    _assert_one_pick(table, picks)
    _assert_the_other_forms_agree(table, path, folder)


def _assert_one_front(table: Any, frontier: Any) -> None:
    places = {(row["device"], row["run"], row["id"], row["row"]): row for row in frontier["rows"]}
    for index, row in enumerate(table["rows"]):
        other = places.get((row["device"], row["run"], row["id"], index))
        told = None if other is None else (other["front"], other["probability"], other["by_value"])
        mine = (row["front"], row["front_probability"], row["front_by_value"])
        assert mine == (told or (None, None, None)), row["id"]
    by_group = {group(each): each for each in frontier["groups"]}
    for front in table["fronts"]:
        if front["objectives"]:
            axes = by_group[group(front)]["objectives"]
            assert front["objectives"] == [axis["metric"] for axis in axes]
        on_it = [table["rows"][index]["pareto"] for index in front["rows"]]
        assert all(on_it)
        sure = [table["rows"][index]["front"] for index in front["sure"]]
        assert set(sure) <= {"yes"}


def _assert_one_pick(table: Any, picks: Any) -> None:
    chosen = {group(each): each for each in picks["picks"]}
    assert len(chosen) == len(table["picks"])
    for pick in table["picks"]:
        other = chosen[group(pick)]
        choice = other["choice"]
        assert pick["row"] == (None if choice is None else choice["row"])
        runner_up = other["runner_up"]
        assert pick["runner_up"] == (None if runner_up is None else runner_up["row"])
        assert pick["clear"] == (other["clear"] and not pick["busy"])
        assert pick["probability"] == other["probability"]


def _assert_the_other_forms_agree(table: Any, path: Path, folder: Path) -> None:
    lines = list(csv.DictReader(io.StringIO(said("show", path, "--format", "csv"))))
    flags = {None: "", True: "true", False: "false"}
    assert [line["pareto"] for line in lines] == [flags[row["pareto"]] for row in table["rows"]]
    markdown = said("show", path, "--format", "md").replace("\\", "")
    for pick in table["picks"]:
        line = pick["text"].replace("<", "&lt;").replace(">", "&gt;").replace("\\", "")
        assert line in markdown
    report = build_report(iter_records(path), [path.name])
    assert [row.front for row in report.rows] == [
        row["front"] or ("undecided" if row["ranked"] else "struck") for row in table["rows"]
    ]
    assert [row.probability for row in report.rows] == [
        row["front_probability"] for row in table["rows"]
    ]
    assert {index for index, row in enumerate(report.rows) if row.pick} == {
        pick["row"] for pick in table["picks"]
    } - {None}
    parquet = folder / "rows.parquet"
    said("export", path, "-o", parquet)
    again = json.loads(said("frontier", parquet, "--format", "json"))
    same = {(row["row"], row["front"], row["by_value"]) for row in again["rows"]}
    assert same == {
        (index, row["front"], row["front_by_value"])
        for index, row in enumerate(table["rows"])
        if row["front"] is not None
    }


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_all_commands_agree_on_committed_results(path: Path, tmp_path: Path) -> None:
    assert_one_answer(path, tmp_path)


def test_all_commands_agree_on_imported_results(tmp_path: Path) -> None:
    source = ROOT / "tests" / "data" / "imports" / "mlperf" / "inference-excerpt.csv.gz"
    out = tmp_path / "mlperf.jsonl"
    said("import", "mlperf", source, "-o", out)
    assert_one_answer(out, tmp_path)


cells = st.fixed_dictionaries(
    {
        "p50": st.sampled_from([5.0e6, 5.02e6, 5.2e6, 6e6, 12e6]),
        "spread": st.sampled_from([0.0005, 0.01, 0.08]),
        "peak": st.sampled_from([60, 90, 90.3, None]),
        "score": st.sampled_from([0.2, 0.88, 0.9]),
        "replicates": st.sampled_from([1, 3]),
        "rounds": st.booleans(),
        "run": st.sampled_from(["one", "two"]),
        "batch": st.sampled_from([1, 1, 4]),
    }
)


def _record(number: int, cell: dict[str, Any]) -> Record:
    peak = None if cell["peak"] is None else int(cell["peak"] * make.MIB)
    offsets = (0.0, 1.0, -1.0)[: cell["replicates"]]
    replicates = [
        make.replicate(
            place,
            make.samples(cell["p50"] * (1 + cell["spread"] * offset), 100, number * 3 + place),
            peak=peak,
            round=place if cell["rounds"] else None,
        )
        for place, offset in enumerate(offsets)
    ]
    return make.record(
        {"precision": "fp32" if number == 0 else f"p{number}", "batch": cell["batch"]},
        replicates=replicates,
        quality=make.quality(cell["score"]),
        run=cell["run"],
    )


@settings(max_examples=10)
@given(st.lists(cells, min_size=1, max_size=6))
def test_all_commands_agree_on_generated_results(
    tmp_path_factory: pytest.TempPathFactory, table: list[dict[str, Any]]
) -> None:
    folder = tmp_path_factory.mktemp("generated")
    path = folder / "results.jsonl"
    path.write_bytes(b"".join(encode(_record(n, cell)) for n, cell in enumerate(table)))
    assert_one_answer(path, folder)


# --- where two engines contradicted each other


def _row(name: str, **wanted: Any) -> tuple[Any, Any]:
    path = ROOT / "results" / "reference" / f"{name}-linux-x86-2c.jsonl"
    table = json.loads(said("show", path, "--format", "json"))
    (row,) = [
        row
        for row in table["rows"]
        if all({**row, **row["variant"]}.get(key) == value for key, value in wanted.items())
    ]
    (pick,) = [pick for pick in table["picks"] if group(pick) == _group_of(row)]
    return row, pick


def _group_of(row: Any) -> tuple[Any, ...]:
    own = ("prompt_tokens", "new_tokens", "samples_per_query")
    return tuple(row["variant"].get(name) if name in own else row.get(name) for name in GROUP)


def test_image_classification_deploys_openvino_by_the_interval_of_the_ratio() -> None:
    row, pick = _row("runtimes", workload="image-classification", backend="openvino")
    assert pick["id"] == row["id"]
    assert 1.0 < pick["speedup_low"] < pick["speedup"] < pick["speedup_high"]
    assert pick["faster_probability"] > 0.99
    assert "no clear winner" not in pick["text"]


def test_file_typing_fp32_is_not_said_to_be_on_the_front_for_sure() -> None:
    path = ROOT / "results" / "reference" / "quick-linux-x86-2c.jsonl"
    row, _ = _row("quick", workload="file-typing", precision="fp32")
    (other,) = [
        each
        for each in json.loads(said("frontier", path, "--format", "json"))["rows"]
        if each["id"] == row["id"]
    ]
    assert row["front"] == other["front"] != "yes"
    assert row["front_probability"] == other["probability"] < 0.1


def test_the_fp16_decoder_has_one_place() -> None:
    row, _ = _row("smollm2", backend="ort", precision="fp16", threads=2)
    assert row["front"] != "yes" or row["front_probability"] > 0.99
