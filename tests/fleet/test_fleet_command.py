"""`edgebench fleet`: bad input is one clear line, and a run over real Dask with TLS brings its results."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from edgebench.api.fleet_request import planned, reopened
from edgebench.cli.fleet import _typed_to_run
from edgebench.errors import EdgebenchError
from edgebench.fleet.board_runs import last_journal
from edgebench.fleet.certificates import make_certificates
from edgebench.fleet.fleet_file import load_fleet
from edgebench.store import read_records
from tests.analysis.test_commands import code, run
from tests.perf.overhead import tiny_model

FLEET = "scheduler: tcp://127.0.0.1:8786\nboards:\n  - {name: a}\n  - {name: b, ssh: user@b}\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    pytest.importorskip("distributed", reason="needs the extra fleet")
    pytest.importorskip("cryptography", reason="needs the extra fleet")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("edgebench.fleet.board_runs.OFFLINE_S", 0.0)  # no board is there
    (tmp_path / "fleet.yaml").write_text(FLEET)
    return tmp_path


def refused(*arguments: object) -> str:
    result = run(*arguments)
    assert isinstance(result.exception, EdgebenchError), result.exception
    assert "\n" not in result.exception.message
    return result.exception.message


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--board", "c"], "no board 'c'"),
        (["--", "--device", "x"], "--device cannot be given to boards"),
        (["--", "--no-save"], "--no-save cannot be given to boards"),
        (["--", "--workloads", "."], "--workloads cannot be given to boards"),
        (["--", "file-typin"], "no workload 'file-typin'; did you mean 'file-typing'?"),
        (["--", "--suite", "qick"], "no suite 'qick'; did you mean 'quick'?"),
        (["--", "--backend", "own.py:Own"], "--backend FILE.py:CLASS cannot be given to boards"),
        (
            ["--", "--set", "precision=@fleet.yaml"],
            "precision=@fleet.yaml cannot be given to boards",
        ),
        (["--resume"], "no run of a fleet to resume in results"),
        (["--resume", "--", "--budget", "60s"], "--resume goes on with the options of its run"),
        (["--fleet", "other.yaml"], "other.yaml"),
    ],
)
def test_bad_input_is_one_clear_line(here: Path, arguments: list[str], said: str) -> None:
    assert said in refused("fleet", "run", *arguments)
    assert not list(here.glob("results/*.fleet.json"))


@pytest.mark.parametrize(
    "options",
    [
        ["--budget", "5x"],
        ["--slice", "0s"],
        ["--target", "200%"],
        ["--estimate", "guess"],
        ["--companion", "gpu:2"],
        ["--memory-limit", "much"],
        ["--bound", "p90=1ms"],
        ["file-typing", "--backend", "orrt"],
        ["file-typing", "--set", "thread=2"],
        ["file-typing", "--set", "threads=many"],
        ["file-typing", "--set", "threads"],
        ["file-typing", "--set", "precision=int7"],
        ["file-typing", "--set", "precision=@missing.yaml"],
        ["file-typing", "--scenario", "sometimes"],
        ["file-typing", "--rate", "0.00001"],
        ["file-typing", "--together"],
        ["--task", "generate"],
        ["--model", "m.onnx", "--shape", "x"],
        ["--devices", "fleet.yaml"],
    ],
    ids=" ".join,
)
def test_what_run_refuses_on_any_machine_is_refused_at_the_desk_alike(
    here: Path, options: list[str]
) -> None:
    (here / "m.onnx").write_bytes(b"model")
    by_run = run("run", "--no-save", *options).exception
    by_fleet = run("fleet", "run", "--", *options).exception
    assert isinstance(by_run, EdgebenchError), by_run
    assert isinstance(by_fleet, EdgebenchError), by_fleet
    assert (str(by_fleet), by_fleet.exit_code) == (str(by_run), by_run.exit_code)
    assert not list(here.glob("results/*.fleet.json"))


@pytest.mark.parametrize(
    "options",
    [
        ["file-typing", "--backend", "trt,openvino", "--set", "threads=2"],
        ["file-typing", "--backend", "all"],
        ["file-typing", "--companion", "memory:900000GB"],
        ["file-typing", "--loadgen", "--scenario", "offline"],
        ["file-typing", "--instructions", "callgrind"],
        ["--model", "m.tflite"],
        ["--model", "m.gguf", "--backend", "all"],
    ],
    ids=" ".join,
)
def test_what_the_desk_lacks_is_no_reason_to_refuse(
    here: Path, monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    for name in ("m.tflite", "m.gguf"):
        (here / name).write_bytes(b"model")
    monkeypatch.setattr("edgebench.planning.cells._names_of_ready", lambda _: [])
    monkeypatch.setattr("edgebench.api.run_request.installed_version", lambda _: None)
    typed = _typed_to_run(options)
    fleet = load_fleet(here / "fleet.yaml")
    _, journal = planned(fleet, [], options, typed, here / "results")
    assert journal.arguments == options


def test_earlier_run_that_has_not_ended_is_told(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    fleet = load_fleet(here / "fleet.yaml")
    planned(fleet, [], ["--budget=60s"], {}, here / "results")
    assert capfd.readouterr().err == ""
    _, journal = planned(fleet, ["b"], [], {}, here / "results")
    resume = f"`edgebench fleet run --resume --out {here / 'results'}` goes on with it"
    assert resume in capfd.readouterr().err
    assert list(journal.jobs) == ["b"]
    boards, newest = reopened(fleet, [], here / "results")
    assert newest.run == journal.run
    assert [board.name for board in boards] == ["b"]


def test_file_of_an_option_travels_however_it_is_written(here: Path) -> None:
    (here / "m.onnx").write_bytes(b"model")
    fleet = load_fleet(here / "fleet.yaml")
    for words in (["--model", "m.onnx"], ["--model=m.onnx"]):
        _, journal = planned(fleet, [], words, {"model": "m.onnx"}, here / "results")
        assert journal.arguments == ["--model", "m.onnx"]
        assert journal.files["m.onnx"][1] == "m.onnx"


def test_inventory_of_the_fleet_travels_so_that_its_limits_hold_on_the_boards(here: Path) -> None:
    inventory = (
        "devices:\n  - {name: %s, title: A, match: {os: '*'}, limits: {memory.peak: 1MiB}}\n"
    )
    for name, board in (("devices.yaml", "a"), ("others.yaml", "b")):
        (here / name).write_text(inventory % board)
    (here / "fleet.yaml").write_text("scheduler: tcp://127.0.0.1:8786\nboards: [{name: a}]\n")
    run("fleet", "run", "--", "file-typing")
    journal = last_journal(here / "results")
    assert journal is not None
    assert journal.arguments == ["--devices", "devices.yaml", "file-typing"]
    assert journal.files["devices.yaml"][1] == "devices.yaml"
    run("fleet", "run", "--out", "typed", "--", "file-typing", "--devices", "others.yaml")
    typed = last_journal(here / "typed")
    assert typed is not None
    assert list(typed.files) == ["others.yaml"]


def test_code_does_not_travel(here: Path) -> None:
    (here / "m.onnx").touch()
    message = refused("fleet", "run", "--", "--model", "m.onnx", "--task", "t.py:Task")
    assert message == "--task FILE:CLASS cannot be given to boards"


def test_option_that_run_does_not_know_is_refused_at_the_desk(here: Path) -> None:
    result = run("fleet", "run", "--", "--bugdet", "60s")
    assert "--bugdet" in str(result.exception)


def test_worker_refuses_an_open_network_and_tls_without_certificates(here: Path) -> None:
    assert "without TLS" in refused("fleet", "worker", "tcp://desk:8786", "--device", "a")
    assert "needs certificates" in refused("fleet", "worker", "tls://desk:8786", "--device", "a")
    assert "not a valid name" in refused("fleet", "worker", "tls://desk:8786", "--device", "../a")


def test_expired_certificates_are_one_line_of_every_command_and_nothing_is_begun(
    here: Path,
) -> None:
    long_ago = datetime.now(timezone.utc) - timedelta(days=400)
    make_certificates(here / "certs", days=365, now=long_ago)
    (here / "fleet.yaml").write_text(
        "scheduler: tls://desk:8786\ncerts: certs\nboards: [{name: a}]\n"
    )
    said = "certs/fleet-ca.pem: the certificate expired on "
    assert said in refused("fleet", "up")
    assert said in refused("fleet", "run")
    worker = ("fleet", "worker", "tls://desk:8786", "--device", "a", "--certs", here / "certs")
    assert said in refused(*worker)
    assert not list(here.glob("results/*.fleet.json"))


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_run_over_tls_survives_the_kill_of_its_worker(
    here: Path, processes: list[subprocess.Popen[bytes]]
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"tls://127.0.0.1:{port}"
    (here / "fleet.yaml").write_text(f"scheduler: {address}\ncerts: certs\nboards:\n  - name: a\n")
    assert code(run("fleet", "certs", "-o", "certs")) == 0
    tiny_model(here / "tiny.onnx")
    home = here / "home"
    home.mkdir()

    def begin(*words: str) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "HOME": str(home), "XDG_STATE_HOME": ""}
        command = [sys.executable, "-m", "edgebench", "fleet", *words]
        processes.append(subprocess.Popen(command, cwd=here, env=environment))
        return processes[-1]

    begin("up", "--no-workers")
    worker_words = ("worker", address, "--device", "a", "--certs", "certs")
    worker = begin(*worker_words)
    options = ("--model", "tiny.onnx", "--replicates", "2", "--reruns", "0", "--slice", "0.3s")
    client = begin("run", "--", *options)
    give_up = time.monotonic() + 60
    while not list(home.rglob("job.json")) and time.monotonic() < give_up:
        time.sleep(0.1)
    worker.kill()
    worker.wait()
    begin(*worker_words)
    assert client.wait(timeout=100) == 0
    [file] = (here / "results" / "a").glob("*.jsonl")
    [record] = read_records(file)
    assert record.device.name == "a"
    assert [replicate.index for replicate in record.replicates] == [0, 1]
