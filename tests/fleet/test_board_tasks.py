"""Tasks of a board: each may be called again at any time, and what measures outlives the worker."""

from __future__ import annotations

import base64
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgebench.fleet import board_tasks
from edgebench.fleet.board_progress import PROGRESS_VARIABLE, Progress, write_progress
from edgebench.fleet.board_tasks import STATE_VARIABLE

JOB, OTHER = "0123456789abcdef", "fedcba9876543210"
#: Stands for the run of a job: it writes a result when the test says so, and ends.
STAND_IN = """
import sys, time, pathlib
folder = pathlib.Path(sys.argv[1])
with (folder / "starts").open("a") as file:
    file.write("x")
while not (folder / "go").exists():
    time.sleep(0.01)
place = folder / "results" / "pi"
place.mkdir(parents=True)
(place / "r.jsonl").write_text("{}\\n{}\\n")
(folder / "ended").write_text("0")
"""


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path))
    started: list[subprocess.Popen[bytes]] = []

    def launch(folder: Path, lock: int) -> None:
        command = [sys.executable, "-c", STAND_IN, str(folder)]
        started.append(subprocess.Popen(command, pass_fds=(lock,), start_new_session=True))

    monkeypatch.setattr(board_tasks, "_launch", launch)
    yield tmp_path
    for process in started:
        process.kill()
        process.wait()


def start(job: str = JOB) -> str:
    return str(board_tasks.start(job, "pi", ["--suite", "quick"], {})["state"])


def until(state: str, job: str = JOB) -> None:
    give_up = time.monotonic() + 20
    while board_tasks.poll(job)["state"] != state:
        assert time.monotonic() < give_up
        time.sleep(0.01)


def starts(state: Path) -> int:
    path = state / "jobs" / JOB / "starts"
    return len(path.read_text()) if path.exists() else 0


def go(state: Path) -> None:
    (state / "jobs" / JOB / "go").touch()


def test_job_that_is_started_twice_runs_once(state: Path) -> None:
    assert board_tasks.poll(JOB)["state"] == "absent"
    assert [start(), start(), start()] == ["running"] * 3
    go(state)
    until("ended")
    assert start() == "ended"
    assert starts(state) == 1
    assert board_tasks.poll(JOB)["records"] == 2


def test_killed_run_is_dead_and_can_be_started_again(state: Path) -> None:
    start()
    give_up = time.monotonic() + 20
    while not starts(state) and time.monotonic() < give_up:
        time.sleep(0.01)
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if str(state / "jobs").encode() in (folder / "cmdline").read_bytes():
                os.kill(int(folder.name), signal.SIGKILL)
        except OSError:
            continue
    until("dead")
    assert start() == "running"
    go(state)
    until("ended")
    assert starts(state) == 2


def test_board_measures_one_thing_at_a_time(state: Path) -> None:
    start()
    answer = board_tasks.start(OTHER, "pi", [], {})
    assert answer["state"] == "busy"
    assert JOB in answer["said"]
    go(state)
    until("ended")


def test_results_come_in_pieces_and_are_forgotten_afterwards(state: Path) -> None:
    start()
    assert "error" in board_tasks.list_results(JOB)
    assert "error" in board_tasks.forget(JOB)
    go(state)
    until("ended")
    [file] = board_tasks.list_results(JOB)["files"]
    piece = base64.b64decode(board_tasks.get_chunk(JOB, file["name"], 0)["chunk"])
    assert hashlib.sha256(piece).hexdigest() == file["sha256"]
    assert board_tasks.forget(JOB) == {}
    assert board_tasks.poll(JOB)["state"] == "absent"


def test_sent_file_stands_in_the_place_of_the_argument(state: Path) -> None:
    content = b"model" * 1000
    sha256 = hashlib.sha256(content).hexdigest()
    halves = [base64.b64encode(part).decode() for part in (content[:1000], content[1000:])]
    assert board_tasks.has_file(sha256, "m.onnx") == {"complete": False, "size": 0}
    board_tasks.put_chunk(sha256, "m.onnx", 0, halves[0], False)
    assert board_tasks.has_file(sha256, "m.onnx")["size"] == 1000
    assert board_tasks.put_chunk(sha256, "m.onnx", 1000, halves[1], True) == {"complete": True}
    board_tasks.start(JOB, "pi", ["--model", "m.onnx"], {"m.onnx": [sha256, "m.onnx"]})
    asked = (state / "jobs" / JOB / "job.json").read_text()
    assert str(state / "files" / sha256 / "m.onnx") in asked
    assert "--resume" in asked
    go(state)


def test_damaged_file_is_not_kept(state: Path) -> None:
    sha256 = hashlib.sha256(b"right").hexdigest()
    answer = board_tasks.put_chunk(sha256, "m.onnx", 0, base64.b64encode(b"wrong").decode(), True)
    assert answer == {"error": "m.onnx arrived damaged"}
    assert board_tasks.has_file(sha256, "m.onnx") == {"complete": False, "size": 0}


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden"])
def test_names_lead_nowhere_else(state: Path, name: str) -> None:
    with pytest.raises(ValueError, match="not the name of a file"):
        board_tasks.has_file("0" * 64, name)
    with pytest.raises(ValueError, match="not the name of a job"):
        board_tasks.poll(name)


def test_running_job_tells_its_cell_until_its_run_has_said_something_else(state: Path) -> None:
    start()
    assert board_tasks.poll(JOB)["progress"] is None
    folder = state / "jobs" / JOB
    (folder / "said").write_text("first look")
    write_progress(folder / "progress", Progress("cell b", 2, 4, time.time() + 60))
    os.utime(folder / "progress", (time.time() + 1, time.time() + 1))
    progress = board_tasks.poll(JOB)["progress"]
    assert 50 < progress.pop("left_s") <= 60
    assert progress == {"cell": "cell b", "number": 2, "total": 4}
    os.utime(folder / "said", (time.time() + 2, time.time() + 2))
    assert board_tasks.poll(JOB)["progress"]["cell"] == ""
    (folder / "progress").write_text("torn")
    assert board_tasks.poll(JOB)["progress"] is None
    go(state)
    until("ended")
    write_progress(folder / "progress", Progress("cell b"))
    assert board_tasks.poll(JOB)["progress"] is None


def test_run_is_told_where_it_keeps_its_progress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[dict[str, str]] = []
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **options: told.append(options["env"]))
    board_tasks._launch(tmp_path, os.open(os.devnull, os.O_RDONLY))
    assert told[0][PROGRESS_VARIABLE] == str(tmp_path / "progress")
    assert told[0]["PATH"] == os.environ["PATH"]
