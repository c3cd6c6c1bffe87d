"""`edgebench run` as a person runs it: real processes, a real runtime, and everything that goes wrong."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgebench.errors import ExitCode
from edgebench.store import iter_records, read_records, unfinished
from edgebench.testing.models import two_by_two
from tests.reduced_models import int8, weights

QUICK = ("--replicates", "1", "--slice", "0.1s", "--format", "json")
TWICE = ("--replicates", "2")


class Workplace:
    """An empty folder with a small model, and the command line in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model = two_by_two().write(folder).path

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "edgebench", "run", *arguments],
            cwd=self.folder,
            env={**os.environ, "EDGEBENCH_CACHE": str(self.folder / "cache")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            # A job in the background has Ctrl-C ignored, and hands that on: here it must be heard.
            preexec_fn=_hear_ctrl_c,  # noqa: PLW1509 - no threads here
        )

    def run(self, *arguments: str) -> tuple[int, dict[str, Any], str]:
        """Exit code, table and stderr of `edgebench run --model ... ARGUMENTS`."""
        process = self.start("--model", str(self.model), *QUICK, *arguments)
        out, err = process.communicate(timeout=120)
        assert "Traceback" not in err, err
        return process.returncode, json.loads(out) if out.startswith("{") else {}, err

    def faulty(self, fault: str, *arguments: str) -> tuple[int, dict[str, Any]]:
        """Exit code and the only row of a run on a backend of `edgebench.testing.faults`."""
        code, table, _ = self.run("--backend", f"edgebench.testing.faults:{fault}", *arguments)
        [row] = table["rows"]
        return code, row

    @property
    def result_files(self) -> list[Path]:
        return sorted((self.folder / "results").rglob("*.jsonl"))


@pytest.fixture
def workplace(tmp_path: Path) -> Iterator[Workplace]:
    yield Workplace(tmp_path)
    # No worker survives: each was started in the folder. One that had not come to its first line when
    # its parent went looks for the parent first, and ends by itself.
    give_up = time.monotonic() + 20
    while left := _processes_in(tmp_path):
        assert time.monotonic() < give_up, f"still there: {left}"
        time.sleep(0.05)


def _processes_in(folder: Path) -> list[str]:
    """Ids of the processes whose working directory is `folder`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):
            if entry.readlink() == folder:
                found.append(entry.parent.name)
    return found


def _hear_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def codes(row: dict[str, Any]) -> list[str]:
    return [reason["code"] for reason in row["reasons"]]


def test_a_run_measures_keeps_and_shows(workplace: Workplace) -> None:
    code, table, err = workplace.run("--set", "threads=1,2", *TWICE)
    assert code == ExitCode.OK
    assert [row["status"] for row in table["rows"]] == ["ok", "ok"]
    for row in table["rows"]:
        assert row["latency_ns"]["p50_low"] <= row["latency_ns"]["p50"] <= 1e9
        assert row["latency_ns"]["replicates"] == 2
        assert row["quality"]["metric"] == "parity_error"
        assert row["quality"]["passed"] is True
        assert row["memory_peak_bytes"] > 1e6
        assert row["energy"]["status"] == "unavailable"
        assert row["energy"]["reason"]
        assert row["effective"]["threads"] == row["variant"]["threads"]
    [file] = workplace.result_files
    assert str(file.relative_to(workplace.folder)) in err
    for record in read_records(file):
        for replicate in record.replicates:
            assert replicate.samples_ns
            assert replicate.cpu_ns is not None
            assert replicate.unseen is not None
            assert replicate.output_check is not None
            assert replicate.output_check.passed
    assert unfinished(workplace.folder) == []


def test_the_same_inputs_every_time(workplace: Workplace) -> None:
    first = workplace.run("--no-save")[1]["rows"][0]
    again = workplace.run("--no-save")[1]["rows"][0]
    other = workplace.run("--no-save", "--seed", "1")[1]["rows"][0]
    assert first["inputs_sha256"] == again["inputs_sha256"] != other["inputs_sha256"]
    assert workplace.result_files == []


def test_offline_and_paced_scenarios(workplace: Workplace) -> None:
    # A query every two seconds: however busy the machine, it is over before the next one is due.
    code, table, _ = workplace.run("--scenario", "offline,single_stream", "--rate", "0.5")
    assert code == ExitCode.OK
    rows = {row["scenario"]: row for row in table["rows"]}
    assert rows["offline"]["throughput_per_s"] > 0
    assert rows["single_stream"]["rate_per_s"] == 0.5
    assert rows["single_stream"]["paced"]["misses"] == 0


# Faults: each leaves a row with its reason, and the exit code says that a cell failed.


HANGS = {
    "Hang": ("failed", "timed_out"),
    "HangHoldingGil": ("failed", "timed_out"),
    "HangAtImport": ("failed", "timed_out"),
    "HangAtOpen": ("failed", "timed_out"),
}
ENDS = {
    "Segfault": ("failed", "crashed"),
    "Exit": ("failed", "exited"),
    "Crash": ("failed", "error"),
    "CrashAtOpen": ("failed", "error"),
    "Memoise": ("invalid", "caching"),
    "WrongOutput": ("invalid", "output_mismatch"),
    "Async": ("invalid", "outputs_deferred"),
}


@pytest.mark.parametrize(
    ("faults", "silence"), [(HANGS, "2s"), (ENDS, "60s")], ids=["hangs", "ends"]
)
def test_each_fault_is_a_row(
    workplace: Workplace, faults: dict[str, tuple[str, str]], silence: str
) -> None:
    backends = ",".join(f"edgebench.testing.faults:{fault}" for fault in faults)
    code, table, _ = workplace.run("--backend", backends, "--timeout", silence)
    rows = dict(zip(faults, table["rows"], strict=True))
    assert {name: (row["status"], *codes(row)[:1]) for name, row in rows.items()} == faults
    for row in rows.values():
        assert row["reasons"][0]["message"]
        assert not row["pareto"]
    assert code == ExitCode.CELL_FAILED


@pytest.mark.parametrize(
    ("fault", "honest", "reason", "reruns"),
    [
        ("Memoise", 2, "caching", 0),
        ("WrongOutput", 1, "output_mismatch", 0),
        ("Async", 1, "outputs_deferred", 2),  # what times alone say is looked at again
    ],
)
def test_a_backend_that_cheats_after_its_first_replicates_is_caught(
    workplace: Workplace, fault: str, honest: int, reason: str, reruns: int
) -> None:
    replicates = honest + 1
    code, row = workplace.faulty(
        fault, "--set", f"honest_sessions={honest}", "--replicates", str(replicates)
    )
    [kept] = read_records(workplace.result_files[0])
    again = [each for each in kept.replicates if each.rerun_of is not None]
    # One may be of an honest replicate that lost its core: then it is the first that cheats.
    assert len(again) >= reruns
    assert len(kept.replicates) >= replicates
    assert (row["status"], codes(row)[:1]) == ("invalid", [reason])
    assert code == ExitCode.CELL_FAILED


def test_a_memory_eater_is_stopped_at_its_limit(workplace: Workplace) -> None:
    code, row = workplace.faulty("MemoryEater", "--memory-limit", "1GiB")
    assert (row["status"], codes(row)) == ("failed", ["out_of_memory"])
    assert code == ExitCode.CELL_FAILED


def test_every_precision_of_ones_own_model(workplace: Workplace) -> None:
    code, table, _ = workplace.run("--set", "precision=as-is,int8-dynamic,int8-static")
    assert code == ExitCode.OK
    found = {row["variant"]["precision"]: row["effective"]["precision"] for row in table["rows"]}
    assert found == {"as-is": "fp32", "int8-dynamic": "int8", "int8-static": "int8"}


def test_an_int8_file_of_ones_own_is_held_to_its_own_rounding(workplace: Workplace) -> None:
    workplace.model.write_bytes(int8(weights()).SerializeToString())
    code, table, _ = workplace.run()
    assert code == ExitCode.OK
    [row] = table["rows"]
    assert row["status"] == "ok"
    assert row["quality"]["passed"]
    code, row = workplace.faulty("WrongOutput")
    assert (row["status"], codes(row)[:1]) == ("invalid", ["output_mismatch"])
    assert "the int8 file itself, unoptimised" in row["reasons"][0]["message"]


def test_inputs_and_limits_of_ones_own_stand_in_the_record(workplace: Workplace) -> None:
    samples = workplace.folder / "in.npz"
    left = np.arange(12, dtype=np.float32).reshape(3, 4)
    np.savez(samples, left=left, right=np.ones((1, 4), np.float32))
    code, _, _ = workplace.run("--inputs", str(samples), "--parity", "0.05")
    assert code == ExitCode.OK
    [kept] = read_records(workplace.result_files[0])
    assert kept.run.settings["inputs"] == str(samples)
    assert kept.run.settings["settings"]["parity"] == 0.05
    assert kept.quality is not None
    assert (kept.quality.floor, kept.quality.basis) == (0.05, "the user's own: --parity")
    assert kept.quality.items == 3
    code, _, _ = workplace.run("--range", "left=0,1")
    [drawn] = read_records(workplace.result_files[1])
    assert drawn.cell.workload != kept.cell.workload
    assert drawn.inputs_sha256 != kept.inputs_sha256


def test_a_provider_that_runs_nothing_is_unsupported(workplace: Workplace) -> None:
    providers = "CPUExecutionProvider,CUDAExecutionProvider"
    code, table, _ = workplace.run("--set", f"provider={providers}")
    status = {row["variant"]["provider"]: row["status"] for row in table["rows"]}
    assert status["CPUExecutionProvider"] == "ok"
    assert status["CUDAExecutionProvider"] == "unsupported"
    assert code == ExitCode.OK


def test_a_worker_killed_from_outside_is_a_row(workplace: Workplace) -> None:
    process = workplace.start(
        "--model", str(workplace.model), *QUICK, "--backend", "edgebench.testing.faults:Hang"
    )
    worker = _wait_for_worker(process.pid)
    os.kill(worker, signal.SIGKILL)
    out, _ = process.communicate(timeout=60)
    [row] = json.loads(out)["rows"]
    assert codes(row) == ["killed"]


def test_unsupported_rows_alone_are_no_success(workplace: Workplace) -> None:
    faults = ("Refuse", "NotInstalled", "BrokenInstall")
    backends = ",".join(f"edgebench.testing.faults:{fault}" for fault in faults)
    code, table, err = workplace.run("--backend", backends)
    assert [row["status"] for row in table["rows"]] == ["unsupported"] * 3
    assert all(row["reasons"][0]["message"] for row in table["rows"])
    assert code == ExitCode.CELL_FAILED
    assert "no row was measured" in err


def test_a_budget_ends_a_hang_and_says_what_it_cut_and_how_to_go_on(workplace: Workplace) -> None:
    backends = "edgebench.testing.faults:HangAtOpen,ort"
    code, table, err = workplace.run("--backend", backends, "--budget", "10s")
    assert [(row["backend"], row["status"]) for row in table["rows"]] == [("ort", "ok")]
    assert code == ExitCode.CELL_FAILED
    assert "2 cells, 2 processes or more" in err
    assert "cut by the budget" in err
    assert "the budget left 1 cell without a row; --budget" in err
    assert "continue with `edgebench run --resume`" in err
    assert "first look" in err


def test_latency_is_kept_when_the_quality_pass_never_ends(workplace: Workplace) -> None:
    (workplace.folder / "endless.py").write_text(
        """
import time
import numpy as np
from edgebench.task import Metric, Task

class Endless(Task):
    metrics = {"agreement": Metric("1", "higher", "share of right answers")}

    def __len__(self): return 8
    def raw(self, index): return float(index)
    def preprocess(self, raw):
        return dict.fromkeys(("left", "right"), np.full((1, 4), raw + 1, np.float32))
    def postprocess(self, outputs, raw): return outputs

    def score(self, predictions):
        while True:
            time.sleep(1)
"""
    )
    code, table, err = workplace.run("--task", "endless.py:Endless", "--budget", "6s")
    [row] = table["rows"]
    assert (row["status"], row["ranked"]) == ("ok", False), row["reasons"]
    assert row["latency_ns"]["p50"] > 0
    assert "quality_cut" in codes(row)
    assert "1 cell without the whole quality pass" in err
    assert code == ExitCode.OK


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_ends_a_run_as_ctrl_c_does(workplace: Workplace, number: signal.Signals) -> None:
    before = signal.signal(number, signal.SIG_DFL)  # children of nohup ignore SIGHUP
    try:
        process = workplace.start("--model", str(workplace.model), "--replicates", "50")
    finally:
        signal.signal(number, before)
    _wait_for_replicates(workplace.folder, 1)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == ExitCode.INTERRUPTED
    assert f"edgebench: stopped by {number.name}: the results so far are kept" in err
    assert "continue with `edgebench run --resume`" in err
    assert "Traceback" not in err


def test_a_noisy_backend_spoils_no_output(workplace: Workplace) -> None:
    code, row = workplace.faulty("Noisy")
    assert (code, row["status"]) == (ExitCode.OK, "ok")


def test_constant_outputs_prove_nothing(tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    from edgebench.models.onnx_file import save_model

    workplace = Workplace(tmp_path)
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "zero"], ["y"])],
        "constant",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor("zero", TensorProto.FLOAT, [1], [0.0])],
    )
    path = tmp_path / "constant.onnx"
    save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    workplace.model = path
    code, table, _ = workplace.run()
    [row] = table["rows"]
    assert row["quality"]["passed"] is False
    assert not row["pareto"]
    assert code == ExitCode.OK  # measured well; struck from the ranking


# Interruptions


def test_ctrl_c_keeps_what_was_measured(workplace: Workplace) -> None:
    process = workplace.start(
        "--model", str(workplace.model), "--set", "threads=1,2", "--replicates", "50",
        "--slice", "0.1s", "--format", "json",
    )  # fmt: skip
    _wait_for_replicates(workplace.folder, 3)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == ExitCode.INTERRUPTED
    assert "--resume" in err
    assert "Traceback" not in err
    assert sum(row["latency_ns"]["replicates"] for row in json.loads(out)["rows"]) >= 3


def test_a_killed_run_goes_on_without_losing_or_repeating(workplace: Workplace) -> None:
    arguments = ("--set", "threads=1,2", "--set", "arena=true,false")
    process = workplace.start("--model", str(workplace.model), *QUICK, *TWICE, *arguments)
    seen = _wait_for_replicates(workplace.folder, 5)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    journalled = max(seen, _replicates(workplace.folder))
    resumed = workplace.start("--resume", "--format", "json")
    out, err = resumed.communicate(timeout=120)
    assert resumed.returncode == ExitCode.OK, err
    [file] = workplace.result_files
    records = read_records(file)
    assert len(records) == len({record.cell.id for record in records}) == 4
    stand = [[r for r in each.replicates if r.superseded_by is None] for each in records]
    assert [len(replicates) for replicates in stand] == [2] * 4
    assert len(json.loads(out)["rows"]) == 4
    assert journalled >= 5


def test_resuming_with_other_options_is_refused(workplace: Workplace) -> None:
    process = workplace.start("--model", str(workplace.model), "--replicates", "50")
    _wait_for_replicates(workplace.folder, 1)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    refused = workplace.start("--resume", "--set", "threads=2")
    _, err = refused.communicate(timeout=60)
    assert refused.returncode == ExitCode.USAGE
    assert "the run to resume" in err


def test_resuming_what_is_complete_shows_it(workplace: Workplace) -> None:
    workplace.run()
    again = workplace.start("--resume", "--format", "json")
    out, err = again.communicate(timeout=60)
    assert again.returncode == ExitCode.OK
    assert "nothing to resume" in err
    assert len(json.loads(out)["rows"]) == 1


# Bad input


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["no-such-workload"], "no workload 'no-such-workload'"),
        (["--suite", "quik"], "did you mean 'quick'?"),
        (["--backend", "onnx"], "no backend"),
        (["--set", "treads=1"], "did you mean 'threads'?"),
        (["--set", "threads=0"], "of 1 or more, got 0"),
        (["--budget", "sixty"], "'sixty' is not a duration"),
        (["--target", "2"], "--target 2"),
        (["--scenario", "singel_stream"], "did you mean 'single_stream'?"),
        (["--rate", "-1"], "--rate"),
        (["--rate", "nan"], "--rate"),
        (["--rate", "inf"], "--rate"),
        (["--shape", "x=1"], "--shape, --task and --reference apply to --model only"),
        (["--no-save", "--resume"], "--resume cannot be combined"),
        (["--model", "nothing.onnx"], "nothing.onnx"),
    ],
)
def test_bad_input_is_one_error_and_exit_code_2(
    workplace: Workplace, arguments: list[str], said: str
) -> None:
    process = workplace.start(*arguments)
    out, err = process.communicate(timeout=60)
    assert process.returncode == ExitCode.USAGE
    assert said in err
    assert "Traceback" not in err
    assert out == ""


def test_a_file_that_is_no_model_is_a_row(workplace: Workplace) -> None:
    workplace.model = workplace.folder / "broken.onnx"
    workplace.model.write_bytes(b"not a model at all")
    code, table, _ = workplace.run()
    [row] = table["rows"]
    assert row["status"] == "failed"
    assert "broken.onnx" in row["reasons"][0]["message"]
    assert code == ExitCode.CELL_FAILED


def test_results_that_cannot_be_written_are_one_error(workplace: Workplace) -> None:
    (workplace.folder / "file").write_text("in the way")
    code, _, err = workplace.run("--out", str(workplace.folder / "file" / "results"))
    assert code in (ExitCode.STORE, ExitCode.USAGE)
    assert "Traceback" not in err


def test_names_that_are_not_utf8_lose_nothing(workplace: Workplace) -> None:
    code, table, err = workplace.run("--out", "caf\udce9")
    assert (code, len(table["rows"])) == (ExitCode.OK, 1), err
    [file] = (workplace.folder / "caf\udce9").rglob("*.jsonl")
    [record] = read_records(file)
    assert r"caf\xe9" in record.run.command
    assert unfinished(workplace.folder) == []
    model = workplace.folder / "mod\udce9l.onnx"
    model.write_bytes(workplace.model.read_bytes())
    process = workplace.start("--model", str(model), *QUICK)
    _, err = process.communicate(timeout=120)
    assert process.returncode == ExitCode.USAGE
    assert r"mod\xe9l.onnx: the path is not UTF-8" in err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_output_that_cannot_be_shown_costs_no_result(workplace: Workplace) -> None:
    command = [sys.executable, "-m", "edgebench", "run", "--model", str(workplace.model), *QUICK]
    environment = {**os.environ, "EDGEBENCH_CACHE": str(workplace.folder / "cache")}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command, cwd=workplace.folder, env=environment, stdout=full, stderr=subprocess.PIPE,
            text=True, check=False,
        )  # fmt: skip
    assert done.returncode == ExitCode.STORE
    assert "stdout cannot be written: No space left on device" in done.stderr
    [file] = workplace.folder.rglob("*.jsonl")
    assert len(read_records(file)) == 1


def test_a_task_of_ones_own(workplace: Workplace) -> None:
    (workplace.folder / "my_task.py").write_text(
        """
import numpy as np
from edgebench.task import Metric, Task

class Mine(Task):
    metrics = {"share": Metric("1", "higher", "share of positive outputs")}
    def __len__(self): return 12
    def raw(self, index): return index
    def preprocess(self, raw):
        rng = np.random.default_rng(raw)
        return {i.name: rng.standard_normal(i.shape).astype(i.dtype) for i in self.context.inputs}
    def postprocess(self, outputs, raw): return np.mean([np.mean(v > 0) for v in outputs.values()])
    def score(self, predictions): return {"share": float(np.mean(predictions))}
"""
    )
    code, table, err = workplace.run("--task", "my_task.py:Mine")
    assert code == ExitCode.OK, err
    [row] = table["rows"]
    assert row["quality"]["metric"] == "share"
    assert row["quality"]["passed"] is True
    assert 0 < row["quality"]["value"] < 1


def _wait_for_worker(parent: int) -> int:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        for child in children:
            with contextlib.suppress(OSError):  # it has just ended: another one than the worker
                if (
                    b"edgebench.measure.replicate.worker"
                    in Path(f"/proc/{child}/cmdline").read_bytes()
                ):
                    return int(child)
        time.sleep(0.02)
    raise AssertionError("no worker came")


def _replicates(folder: Path) -> int:
    """Replicates that are on disk, in the journal or in records."""
    journals = [line for path in unfinished(folder) for line in path.read_bytes().splitlines()[1:]]
    records = [r for path in (folder / "results").rglob("*.jsonl") for r in iter_records(path)]
    done = {record.cell.id for record in records}
    pending = sum(json.loads(line)["cell"] not in done for line in journals if line.endswith(b"}"))
    return pending + sum(len(record.replicates) for record in records)


def _wait_for_replicates(folder: Path, count: int) -> int:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(
            FileNotFoundError
        ):  # the run has just ended, and its journal is gone
            seen = _replicates(folder)
            if seen >= count:
                return seen
        time.sleep(0.02)
    raise AssertionError(f"no {count} replicates in time")


def test_a_sustained_load_reports_burst_and_sustained_latency(workplace: Workplace) -> None:
    code, table, _ = workplace.run("--scenario", "sustained", "--sustain", "0.5s")
    assert code == ExitCode.OK
    [row] = table["rows"]
    assert row["id"].endswith("/sustained")
    part = row["sustained"]
    assert part["burst_p50_ns"] > 0
    assert part["slowdown"] > 0
    assert part["duration_s"] >= 0.5
    assert part["steady"] is False  # half a second is too short to tell
    assert part["temperature_source"]
    [record] = read_records(workplace.result_files[0])
    for replicate in record.replicates:
        assert replicate.sustained is not None
        assert replicate.sustained.curve


def test_a_load_cannot_be_sustained_for_no_time(workplace: Workplace) -> None:
    code, _, err = workplace.run("--scenario", "sustained", "--sustain", "0s")
    assert code == ExitCode.USAGE
    assert "--sustain" in err


def test_the_inventory_names_the_results_and_sets_limits(workplace: Workplace) -> None:
    (workplace.folder / "devices.yaml").write_text(
        f"devices: [{{name: lab-3, title: Third, match: {{machine: {os.uname().machine}}}, "
        "limits: {latency.p50: 1ns}}]"
    )
    code, table, _ = workplace.run()
    assert code == ExitCode.OK
    assert table["device"]["name"] == "lab-3"
    assert table["device"]["declared"]["limits"] == {"latency.p50": 1.0}
    [row] = table["rows"]
    assert (row["status"], row["ranked"], codes(row)) == ("ok", False, ["limit_missed"])
    [file] = workplace.result_files
    assert file.parent.name == "lab-3"


def test_an_inventory_that_is_wrong_ends_the_run_at_its_place(workplace: Workplace) -> None:
    (workplace.folder / "mine.yaml").write_text("devices:\n  - {name: a, title: A, mach: {}}\n")
    code, _, err = workplace.run("--devices", "mine.yaml")
    assert code == ExitCode.USAGE
    assert "mine.yaml:2:" in err
    assert workplace.result_files == []
