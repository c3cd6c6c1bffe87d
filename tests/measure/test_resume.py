"""What may change between a run and its resuming, and what may not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgebench.api import run_resume
from edgebench.api.run_options import Options, resolved
from edgebench.cli import run as run_
from edgebench.definitions.workload import Quality
from edgebench.definitions.workload_loader import load_workloads
from edgebench.errors import StoreError, UsageError
from edgebench.planning.cells import plan
from edgebench.planning.run_parameters import RUN_OPTIONS
from edgebench.record import encode
from edgebench.store import JournalHead, RunStore, unfinished
from tests.records import record

RUN, DEVICE = record().run, record().device
#: An option of the command -> a value of it that is not the one of the run to resume.
OTHERS = {
    "names": "ocr-digits",
    "suite": "full",
    "folders": "{folder}",
    "model": "{file}",
    "shapes": "x=1,2",
    "reference": "{file}",
    "task": "mine.py:Mine",
    "ranges": "x=1,2",
    "inputs": "{file}",
    "parity": "0.2",
    "backends": "null",
    "sets": "threads=2",
    "memory_budget": "256MiB",
    "set_power_mode": None,
    "scenarios": "offline",
    "rate": "5",
    "target": "1%",
    "percentile": "p99",
    "replicates": "5",
    "reruns": "0",
    "slice_": "1s",
    "sustain": "1s",
    "timeout": "1s",
    "memory_limit": "1GiB",
    "estimate": "cpu-time:3",
    "energy_markers": None,
    "energy_root": "{folder}",
    "seed": "1",
    "devices": "{file}",
    "device": "rack-7",
    "strict": None,
    "wait_quiet": "5s",
    "bound": "p99=15ms",
    "together": None,
    "companions": "cpu:2",
    "cool_to": "60",
    "profile": None,
    "instructions": "callgrind",
    "shape_sequence": "natural",
    "worst_case": "1s",
    "loadgen": None,
}
FLAGS = {parameter.name: parameter.opts[0] for parameter in run_.command.params}


WITH_A_MODEL = ("shapes", "reference", "task", "ranges", "inputs", "parity")


def options_of(*words: str) -> Options:
    return resolved(run_.command.make_context("run", list(words)).params)


def head(**changes: Any) -> JournalHead:
    began = JournalHead(
        run_id="1",
        started_utc="2026-01-01T00:00:00Z",
        options={},
        device="here",
        versions={"edgebench": "1", "ort": "1.30.0"},
        plan_sha256="a",
    )
    return msgspec.structs.replace(began, **changes)


def stop_a_run(folder: Path, *words: str) -> None:
    """Leaves the journal of a run that had come to nothing yet."""
    began = head(options=msgspec.to_builtins(options_of(*words)))
    RunStore.create(folder / "here" / "run.jsonl", began).close()
    assert unfinished(folder)


def complete_a_run(file: Path, *words: str) -> None:
    file.parent.mkdir(exist_ok=True)
    done = record()
    settings = msgspec.to_builtins(options_of(*words))
    run = msgspec.structs.replace(done.run, settings=settings)
    file.write_bytes(encode(msgspec.structs.replace(done, run=run)))


def resume(folder: Path, *words: str) -> None:
    context = run_.command.make_context("run", ["--out", str(folder), *words])
    options = resolved(context.params)
    store, _ = run_resume.reopen(folder, options, run_.typed_in(context))
    assert store is not None
    store.close()


def test_every_option_but_these_decides_something_of_the_run() -> None:
    free = {"out", "no_save", "resume", "form", "prefer", "budget"}
    deciding = {option.parameter for option in RUN_OPTIONS.values() if option.decides}
    assert set(FLAGS) - free == deciding == set(OTHERS)


@pytest.mark.parametrize("parameter", OTHERS)
def test_options_that_decide_the_measurement_cannot_change_on_resume(
    parameter: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    base = ["--model", str(tmp_path / "file")] if parameter in WITH_A_MODEL else []
    stop_a_run(tmp_path, *base)
    value = OTHERS[parameter]
    words = [] if parameter == "names" else [FLAGS[parameter]]
    if value is not None:
        words.append(value.format(folder=tmp_path, file=tmp_path / "file"))
    field = RUN_OPTIONS[parameter].decides[0].removeprefix("settings.")
    with pytest.raises(UsageError, match=f"the run to resume has {field} "):
        resume(tmp_path, *base, *words)
    resume(tmp_path, *base)


def test_the_same_again_and_a_new_budget_may_be_said(tmp_path: Path) -> None:
    stop_a_run(tmp_path)
    resume(tmp_path, "--suite", "quick", "--target", "2%", "--budget", "5min")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"device": "there"}, "begun on here, and this is there"),
        ({"versions": {"edgebench": "1", "ort": "1.32.0"}}, "ort 1.30.0, which is 1.32.0 now"),
        ({"versions": {"edgebench": "1"}}, "ort 1.30.0, which is not there now"),
        ({"plan_sha256": "b"}, "the definitions changed"),
    ],
)
def test_replicates_that_differ_in_more_than_chance_are_not_pooled(
    changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    store = RunStore.create(tmp_path / "run.jsonl", head())
    with pytest.raises(StoreError, match=said):
        run_resume.check_same(store, head(**changes))
    assert unfinished(tmp_path)
    RunStore.resume(store.journal).close()  # the lock is free again


def test_a_runtime_that_came_after_the_run_began_changes_nothing(tmp_path: Path) -> None:
    store = RunStore.create(tmp_path / "run.jsonl", head())
    run_resume.check_same(store, head(versions={**head().versions, "ncnn": "1.0"}))
    store.close()


def test_another_definition_of_the_same_cells_is_another_plan() -> None:
    workload = load_workloads()["file-typing"]
    looser = msgspec.structs.replace(workload, quality=Quality(metric="accuracy", floor=0.1))
    one, same, other = (
        run_resume.head(RUN, options_of(), plan([each], ["null"]), DEVICE).plan_sha256
        for each in (workload, load_workloads()["file-typing"], looser)
    )
    assert one == same != other


def test_another_code_of_an_own_task_is_another_plan(tmp_path: Path) -> None:
    code = tmp_path / "mine.py"
    own = msgspec.structs.replace(load_workloads()["file-typing"], task=f"{code}:Mine")

    def plan_sha256(text: str) -> str:
        code.write_text(text)
        return run_resume.head(RUN, options_of(), plan([own], ["null"]), DEVICE).plan_sha256

    assert plan_sha256("one") == plan_sha256("one") != plan_sha256("two")


RUNS = ("20260101T000000Z-00000001.jsonl", "20260102T000000Z-00000002.jsonl")


def last_complete(folder: Path, *words: str) -> Path | None:
    context = run_.command.make_context("run", ["--resume", *words])
    typed = run_.typed_in(context)
    found = run_resume.last_complete(folder, resolved(context.params), typed)
    return found and found[0]


def test_the_last_run_is_no_file_that_was_put_beside_it(tmp_path: Path) -> None:
    for name in (*RUNS, "quick-reference.jsonl", RUNS[1].replace(".jsonl", "-attached.jsonl")):
        complete_a_run(tmp_path / name)
    (tmp_path / "20260103T000000Z-00000003.jsonl").touch()  # killed before its first record
    assert last_complete(tmp_path) == tmp_path / RUNS[1]


def test_a_complete_run_of_other_options_is_not_shown(tmp_path: Path) -> None:
    complete_a_run(tmp_path / RUNS[0], "--suite", "full")
    assert last_complete(tmp_path, "--suite", "full") == tmp_path / RUNS[0]
    with pytest.raises(UsageError, match="has suite full, not quick"):
        last_complete(tmp_path, "--suite", "quick")


def test_a_run_of_another_edgebench_is_one_error(tmp_path: Path) -> None:
    RunStore.create(tmp_path / "here" / "run.jsonl", head(options={"suite": 7})).close()
    with pytest.raises(StoreError, match="options are of another version of edgebench"):
        resume(tmp_path)
    with pytest.raises(StoreError, match="options are of another version of edgebench"):
        resume(tmp_path)  # the lock is free again
