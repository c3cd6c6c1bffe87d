"""`edgebench trend`: what it says of a step, its causes and the command that would confirm it."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgebench.errors import EdgebenchError
from edgebench.record import Instructions, Record
from tests import records as make
from tests.analysis.test_commands import code, run
from tests.command_lines import parse
from tests.trend.histories import noisy, one_run, write

RUNS, AT = 30, 20


def step(number: int) -> float:
    return 1.07 if number >= AT else 1.0


def stepping(**facts: str) -> list[list[Record]]:
    """fp32 steps at a run from which on these facts hold; int8 stays."""
    level, calm = noisy(step, 1), noisy(lambda _: 1.0, 2)
    return [
        [
            one_run(number, level(number), **(facts if number >= AT else {})),
            one_run(number, calm(number), "int8", **(facts if number >= AT else {})),
        ]
        for number in range(RUNS)
    ]


def trend(folder: Path, *options: str) -> Any:
    result = run("trend", folder, *options, "--format", "json")
    assert code(result) == 0
    return json.loads(result.output)


def only_step(found: Any) -> Any:
    [series] = [each for each in found["series"] if each["steps"]]
    assert "precision=fp32" in series["id"]
    [one] = series["steps"]
    return one


def test_step_of_a_new_runtime_is_explained_and_can_be_confirmed(tmp_path: Path) -> None:
    folder = write(tmp_path / "r", stepping(onnxruntime="1.32.0"))
    found = only_step(trend(folder))
    assert found["at"] == AT
    assert found["change"] == pytest.approx(0.07, abs=0.01)
    assert found["better"] is False
    assert found["explained"] == ["onnxruntime 1.30.0 -> 1.32.0"]
    assert shlex.join(found["confirm"]) == (
        "edgebench ab image-classification --base ort --base onnxruntime==1.30.0 --head ort --head "
        "onnxruntime==1.32.0 --set precision=fp32 --set threads=1"
    )
    parse(found["confirm"][1:])


def test_step_of_a_new_kernel_names_it_and_says_why_no_job_confirms_it(tmp_path: Path) -> None:
    found = only_step(trend(write(tmp_path / "r", stepping(kernel="6.18"))))
    assert found["explained"] == ["kernel not told -> 6.18"]
    assert found["confirm"] == []
    assert "same job" in found["why_not"]


def test_step_without_a_change_names_the_commits(tmp_path: Path) -> None:
    found = only_step(trend(write(tmp_path / "r", stepping())))
    assert found["explained"] == []
    assert [int(commit, 16) for commit in found["commits"]] == [AT // 2 - 1, AT // 2]
    assert "edgebench ab --base git:" in found["why_not"]


def test_by_commit_runs_of_a_commit_are_one_point(tmp_path: Path) -> None:
    found = trend(write(tmp_path / "r", stepping()), "--by", "commit")
    assert {len(each["points"]) for each in found["series"]} == {RUNS // 2}
    assert found["series"][0]["points"][0]["runs"] == ["run-000", "run-001"]


def test_memory_size_and_quality_are_series_too(tmp_path: Path) -> None:
    folder = write(tmp_path / "r", stepping())
    options = [
        word for name in ("memory.peak", "model.size", "quality") for word in ("--metric", name)
    ]
    found = trend(folder, *options)
    assert {each["metric"] for each in found["series"]} == {"memory.peak", "model.size", "quality"}
    assert not any(each["steps"] for each in found["series"])


def test_instructions_step_where_the_time_is_lost_in_noise(tmp_path: Path) -> None:
    """The time varies by 5 %, the count by none; 1 % more instructions are seen."""
    noise = noisy(lambda _: 1.0, 3, noise=0.05)
    runs = []
    for number in range(RUNS):
        record = one_run(number, noise(number))
        count = 1_010_000 if number >= AT else 1_000_000
        told = [Instructions(source="callgrind", count=count, inferences=2)]
        each = [msgspec.structs.replace(one, instructions=told) for one in record.replicates]
        runs.append([msgspec.structs.replace(record, replicates=each)])
    folder = write(tmp_path / "r", runs)
    found = only_step(trend(folder, "--metric", "instructions.callgrind"))
    assert (found["at"], found["before"], found["after"]) == (AT, 500_000, 505_000)
    assert found["better"] is False
    assert not any(series["steps"] for series in trend(folder)["series"])


def test_exported_parquet_gives_the_same_steps(tmp_path: Path) -> None:
    folder = write(tmp_path / "r", stepping())
    parquet = tmp_path / "all.parquet"
    assert code(run("export", folder, "-o", parquet)) == 0
    assert only_step(trend(parquet))["at"] == only_step(trend(folder))["at"]


def test_terminal_draws_the_step_and_lists_the_rest(tmp_path: Path) -> None:
    folder = write(tmp_path / "r", stepping(onnxruntime="1.32.0"))
    result = run("trend", folder)
    assert code(result) == 0
    assert result.output.startswith("1 of 2 series stepped (by date)")
    assert "onnxruntime 1.30.0 -> 1.32.0" in result.output
    assert ":" in result.output
    below = result.output.partition("without a step\n")[2].splitlines()
    assert below[0] == "desk · image-classification@1 single_stream · latency.p50"
    assert below[1].startswith("  ort int8 ")
    assert max(map(len, result.output.splitlines())) <= 80


def test_confirm_runs_the_command_and_ends_with_its_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "r", stepping(onnxruntime="1.32.0"))
    ran: list[tuple[str, ...]] = []

    def words(module: str, *arguments: str) -> list[str]:
        ran.append((module, *arguments))
        return ["sh", "-c", "exit 4"]

    monkeypatch.setattr("edgebench.processes.python_command.module_command", words)
    assert code(run("trend", folder, "--confirm")) == 4
    assert [each[:3] for each in ran] == [("edgebench", "ab", "image-classification")]


def refused(*arguments: object) -> str:
    result = run(*arguments)
    assert isinstance(result.exception, EdgebenchError)
    assert "\n" not in result.exception.message
    return result.exception.message


def test_no_commits_and_unknown_metrics_are_one_clear_line(tmp_path: Path) -> None:
    folder = write(tmp_path / "r", [[make.record()]])
    assert refused("trend", folder, "--by", "commit") == "no run of these results names its commit"
    assert "no metric 'latency.p51'" in refused("trend", folder, "--metric", "latency.p51")
    assert "nothing" in refused("trend", folder, "--workload", "nothing")


def test_mixed_workload_versions_are_series_of_their_own_and_said(tmp_path: Path) -> None:
    old, new = one_run(0, 1.0), one_run(1, 1.0)
    cell = msgspec.structs.replace(
        new.cell, workload_version=2, id=new.cell.id.replace("@1/", "@2/")
    )
    folder = write(tmp_path / "r", [[old], [msgspec.structs.replace(new, cell=cell)]])
    found = trend(folder)
    assert len(found["series"]) == 2
    assert any("versions 1 and 2 are different work" in note for note in found["notes"])
    assert any("fewer than 8 points" in note for note in found["notes"])


def test_runtime_that_changed_within_a_commit_is_named(tmp_path: Path) -> None:
    """Two runs a commit: the last commit before the step was measured by the old runtime and by the new one."""
    level = noisy(lambda number: 1.06 if number >= 25 else 1.0, noise=0.004)
    runs = [[one_run(n, level(n), onnxruntime="1.30.0" if n < 25 else "1.32.0")] for n in range(40)]
    found = json.loads(
        run("trend", write(tmp_path / "r", runs), "--by", "commit", "--format", "json").output
    )
    [step] = found["series"][0]["steps"]
    assert step["explained"] == ["onnxruntime 1.30.0 -> 1.32.0"]


def test_runs_without_a_commit_are_left_out_and_counted(tmp_path: Path) -> None:
    records = [one_run(n, 1.0) for n in range(24)]
    silent = [
        msgspec.structs.replace(r, run=msgspec.structs.replace(r.run, commit=None))
        for r in records[::2]
    ]
    folder = write(tmp_path / "r", [[r] for r in (*silent, *records[1::2])])
    assert "12 runs left out: no commit is noted" in run("trend", folder, "--by", "commit").output
    assert "left out" not in run("trend", folder).output


def test_small_step_of_an_exact_series_shows_its_digits(tmp_path: Path) -> None:
    def sized(number: int) -> Record:
        record = one_run(number, 1.0)
        assert record.model is not None
        model = msgspec.structs.replace(record.model, size_bytes=10_000_000 + 1000 * (number >= 12))
        return msgspec.structs.replace(record, model=model)

    folder = write(tmp_path / "r", [[sized(n)] for n in range(20)])
    found = run("trend", folder, "--metric", "model.size").output
    assert "+0.01%: 10000000 bytes -> 10001000 bytes" in found


def test_metric_that_runs_without_a_commit_alone_have_is_not_called_unknown_of_them(
    tmp_path: Path,
) -> None:
    told = [Instructions(source="callgrind", count=10, inferences=2)]
    counted = one_run(1, 1.0)
    each = [msgspec.structs.replace(one, instructions=told) for one in counted.replicates]
    bare = msgspec.structs.replace(counted.run, commit=None)
    counted = msgspec.structs.replace(counted, run=bare, replicates=each)
    options = ("--by", "commit", "--metric", "instructions.callgrind")
    alone = trend(write(tmp_path / "r", [[one_run(0, 1.0)], [counted]]), *options)["notes"]
    why = "not counted in this scenario, or by an edgebench that counted none"
    left_out = "1 run left out: no commit is noted"
    assert [note for note in alone if "series" not in note] == [
        f"instructions.callgrind is unknown: {why}",
        left_out,
    ]
