"""Workers over SSH: what is typed there, what is told here; and a real sshd on loopback, with its own keys."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edgebench.errors import EdgebenchError
from edgebench.fleet.fleet_file import Board
from edgebench.fleet.ssh_workers import SshWorker, ssh_command, start_workers
from edgebench.store import read_records
from tests.perf.overhead import tiny_model

WAIT_S = 60.0


def until(found: Callable[[], object]) -> None:
    give_up = time.monotonic() + WAIT_S
    while not found():
        assert time.monotonic() < give_up
        time.sleep(0.02)


def test_each_board_with_a_host_has_its_ssh_and_others_are_told() -> None:
    said: list[str] = []
    ran: list[list[str]] = []
    begun = threading.Event()

    def spawn(command: list[str], **options: object) -> subprocess.Popen[bytes]:
        ran.append(command)
        begun.set()
        return subprocess.Popen(["sleep", "60"], stdout=subprocess.PIPE)

    boards = [Board(name="a"), Board(name="b", ssh="user@b", python="/v/bin/python")]
    workers = start_workers(boards, "tls://desk:8786", "certs", False, said.append, spawn)
    assert begun.wait(WAIT_S)
    for worker in workers:
        worker.close()
    assert said[0].startswith("a: start it on the board: edgebench fleet worker tls://desk:8786")
    assert ran[0][-2] == "user@b"
    assert ran[0][-1].startswith("/v/bin/python -c ")
    assert ran[0][-1].endswith(" edgebench fleet worker tls://desk:8786 --device b --certs certs")
    with pytest.raises(EdgebenchError, match="is not a host for ssh"):
        ssh_command(Board(name="b", ssh="-oProxyCommand=x"), [])


def test_ssh_that_ends_is_begun_again_and_says_the_same_once(tmp_path: Path) -> None:
    """255 is ssh's own failure: the board is on its way up."""
    said: list[str] = []
    line = f"echo x >> {tmp_path}/count; echo 'No route to host'; exit 255"
    worker = SshWorker("b", ["sh", "-c", line], said.append, again_s=0.01)
    until(lambda: (tmp_path / "count").exists() and len((tmp_path / "count").read_bytes()) >= 2 * 3)
    worker.close()
    assert said == ["b: No route to host"]


def test_worker_that_refuses_to_work_is_not_begun_again(tmp_path: Path) -> None:
    said: list[str] = []
    line = f"echo x >> {tmp_path}/count; echo 'edgebench: another worker runs'; exit 2"
    worker = SshWorker("b", ["sh", "-c", line], said.append, again_s=0.01)
    worker._thread.join(WAIT_S)
    assert said == ["b: edgebench: another worker runs"]
    assert (tmp_path / "count").read_text() == "x\n"


@dataclass
class Board22:
    """An sshd on this machine that stands for a board, and the user's ssh that knows it."""

    folder: Path
    port: int
    home: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """The user's: an `ssh` first in PATH that reads the configuration of the test, not the one in ~/.ssh."""
        return {**os.environ, "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}"}

    def begin(self, *words: str, said: Path | None = None) -> subprocess.Popen[bytes]:
        """`edgebench fleet WORDS` at the desk."""
        command = [sys.executable, "-m", "edgebench", "fleet", *words]
        with contextlib.ExitStack() as files:
            stderr = None if said is None else files.enter_context(said.open("wb"))
            self.processes.append(
                subprocess.Popen(command, cwd=self.folder, env=self.environment, stderr=stderr)
            )
        return self.processes[-1]


SSHD = """\
ListenAddress 127.0.0.1
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/user_key.pub
PidFile none
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
StrictModes no
SetEnv HOME={home} XDG_STATE_HOME= PYTHONPATH={path} EDGEBENCH_CACHE={cache}
"""
SSH = """\
Host board
  HostName 127.0.0.1
  Port {port}
  User {user}
  IdentityFile {folder}/{key}
  IdentitiesOnly yes
  UserKnownHostsFile {folder}/known_hosts
  GlobalKnownHostsFile none
"""


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board22]:
    pytest.importorskip("distributed", reason="needs the extra fleet")
    sshd = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
    missing = [name for name in ("ssh", "ssh-keygen") if shutil.which(name) is None]
    if sshd is None or missing:
        pytest.skip(f"needs {', '.join(missing or ['sshd'])} (apt-get install openssh-server)")
    if os.geteuid() == 0:
        with contextlib.suppress(OSError):  # as its service does; only root's sshd wants it
            Path("/run/sshd").mkdir(mode=0o755)
    for name in ("host_key", "user_key", "stranger_key"):
        make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)]
        subprocess.run(make, check=True)
    found = Board22(tmp_path, free_port(), tmp_path / "home")
    found.home.mkdir()
    cache = os.environ.get("EDGEBENCH_CACHE", str(tmp_path / "cache"))
    places = {"folder": tmp_path, "home": found.home, "path": os.pathsep.join(sys.path), "cache": cache}  # fmt: skip
    (tmp_path / "sshd_config").write_text(SSHD.format(**places))
    host_key = (tmp_path / "host_key.pub").read_text()
    (tmp_path / "known_hosts").write_text(f"[127.0.0.1]:{found.port} {host_key}")
    write_user_config(found, "user_key")
    command = [sshd, "-D", "-e", "-p", str(found.port), "-f", str(tmp_path / "sshd_config")]
    with (tmp_path / "sshd.log").open("wb") as log:
        found.processes.append(subprocess.Popen(command, stderr=log))
    until(lambda: b"Server listening" in (tmp_path / "sshd.log").read_bytes())
    yield found
    for process in reversed(found.processes):
        process.terminate()
        process.wait()


def write_user_config(board: Board22, key: str) -> None:
    """The `ssh` of the user, with this key."""
    config, program = board.folder / "ssh_config", board.folder / "bin" / "ssh"
    config.write_text(SSH.format(port=board.port, user=getpass.getuser(), folder=board.folder, key=key))  # fmt: skip
    program.parent.mkdir(exist_ok=True)
    program.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {config} "$@"\n')
    program.chmod(0o755)


def write_fleet(board: Board22) -> None:
    lines = [
        f"scheduler: tcp://127.0.0.1:{free_port()}",
        "boards:",
        f"  - {{name: over-ssh, ssh: board, python: {sys.executable}}}",
    ]
    (board.folder / "fleet.yaml").write_text("\n".join(lines) + "\n")


@pytest.mark.slow
def test_fleet_up_starts_a_board_over_ssh_and_its_results_arrive(board: Board22) -> None:
    write_fleet(board)
    tiny_model(board.folder / "tiny.onnx")
    up = board.begin("up")
    options = ("--model", "tiny.onnx", "--replicates", "1", "--reruns", "0", "--slice", "0.2s")
    client = board.begin("run", "--", *options)
    assert client.wait(timeout=WAIT_S) == 0
    [file] = (board.folder / "results" / "over-ssh").glob("*.jsonl")
    [record] = read_records(file)
    assert record.device.name == "over-ssh"
    lock = board.home / ".local" / "state" / "edgebench" / "fleet" / "worker.lock"
    assert lock.exists()
    up.terminate()
    up.wait()
    until(lambda: not held(lock))  # the worker went with its ssh


def held(lock: Path) -> bool:
    from edgebench.fleet.board_tasks import _is_held

    return _is_held(lock)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "told"),
    [("unknown host", "Host key verification failed."), ("foreign key", "Permission denied")],
)
def test_unknown_hosts_and_foreign_keys_are_refused_with_the_words_of_ssh(
    board: Board22, fault: str, told: str
) -> None:
    write_fleet(board)
    if fault == "unknown host":
        (board.folder / "known_hosts").write_text("")
    else:
        write_user_config(board, "stranger_key")
    said = board.folder / "up.log"
    board.begin("up", said=said)
    until(lambda: told in said.read_text())
    line = next(line for line in said.read_text().splitlines() if told in line)
    assert line.startswith("over-ssh: ")
    assert not list(board.home.iterdir())
