"""Starts workers of a fleet over SSH, by the user's own ssh: its keys, its configuration, its known hosts."""

from __future__ import annotations

import shlex
import subprocess
import threading
from collections.abc import Callable, Sequence
from typing import Final

from edgebench.errors import ExitCode, UsageError
from edgebench.fleet.fleet_file import Board
from edgebench.processes.python_command import foreign_module_command

#: A host that is not known is refused and no password is asked for: nobody sits at the terminal.
OPTIONS: Final = ("-o", "BatchMode=yes", "-o", "ServerAliveInterval=15", "-tt")
AGAIN_S: Final = 10.0  # between attempts: a board may be on its way up again
SSH_FAILED: Final = 255
_CLOSE_S: Final = 5.0

Spawn = Callable[..., "subprocess.Popen[bytes]"]


def worker_words(board: Board, address: str, certs: str | None, insecure: bool) -> list[str]:
    """What edgebench is told on the board."""
    more = ["--certs", certs] if certs is not None else []
    more += ["--insecure"] if insecure else []
    return ["fleet", "worker", address, "--device", board.name, *more]


def ssh_command(board: Board, command: Sequence[str]) -> list[str]:
    """Raises UsageError for a host that ssh would take for an option."""
    host = board.ssh or ""
    if host.startswith("-"):
        raise UsageError(f"board {board.name!r}: {host!r} is not a host for ssh")
    return ["ssh", *OPTIONS, host, shlex.join(command)]


class SshWorker:
    """The ssh of one board. What it says is told with the board's name, and where it ends it is begun again: the board
    was rebooted, or its network was gone."""

    def __init__(
        self,
        board: str,
        command: Sequence[str],
        say: Callable[[str], None],
        spawn: Spawn = subprocess.Popen,
        again_s: float = AGAIN_S,
    ) -> None:
        self._board, self._command, self._say = board, list(command), say
        self._spawn, self._again_s = spawn, again_s
        self._told: set[str] = set()
        self._over = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends it, and with it the worker on the board, which loses its terminal."""
        self._over.set()
        if self._process is not None:
            self._process.terminate()
        self._thread.join(timeout=_CLOSE_S)

    def _keep(self) -> None:
        """Until it is closed, or the worker itself refuses to work."""
        while not self._over.is_set():
            code = self._once()
            if code == ExitCode.USAGE:
                return
            if code != SSH_FAILED:  # it was reached: what is said next is news
                self._told.clear()
            self._over.wait(self._again_s)

    def _once(self) -> int:
        with self._spawn(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process:
            self._process = process
            if self._over.is_set():
                process.terminate()
            for line in process.stdout or ():
                self._tell(line.decode(errors="replace").strip())
            return process.wait()

    def _tell(self, line: str) -> None:
        """Each line once: a host that stays away says the same every time."""
        if line and line not in self._told:
            self._told.add(line)
            self._say(f"{self._board}: {line}")


def start_workers(
    boards: Sequence[Board],
    address: str,
    certs: str | None,
    insecure: bool,
    say: Callable[[str], None],
    spawn: Spawn = subprocess.Popen,
) -> list[SshWorker]:
    """One ssh for each board that has a host; of the others it says what to type there."""
    commands: dict[str, list[str]] = {}
    for board in boards:
        words = worker_words(board, address, certs, insecure)
        if board.ssh is None:
            say(f"{board.name}: start it on the board: {shlex.join(['edgebench', *words])}")
            continue
        command = foreign_module_command(board.python, "edgebench", *words)
        commands[board.name] = ssh_command(board, command)
        say(f"{board.name}: ssh {board.ssh}")
    return [SshWorker(board, command, say, spawn) for board, command in commands.items()]
