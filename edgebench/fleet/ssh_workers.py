"""Starts workers of a fleet over SSH, by the user's own ssh: its keys, its configuration, its known hosts."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable, Sequence
from typing import Final

from edgebench.errors import UsageError
from edgebench.fleet.fleet_file import Board
from edgebench.processes.python_command import foreign_module_command

#: A host that is not known is refused and no password is asked for: nobody sits at the terminal.
OPTIONS: Final = ("-o", "BatchMode=yes", "-o", "ServerAliveInterval=15", "-tt")


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


def start_workers(
    boards: Sequence[Board],
    address: str,
    certs: str | None,
    insecure: bool,
    say: Callable[[str], None],
    spawn: Callable[..., subprocess.Popen[bytes]] = subprocess.Popen,
) -> list[subprocess.Popen[bytes]]:
    """One ssh for each board that has a host; of the others it says what to type there."""
    started = []
    for board in boards:
        words = worker_words(board, address, certs, insecure)
        if board.ssh is None:
            say(f"{board.name}: start it on the board: {shlex.join(['edgebench', *words])}")
            continue
        say(f"{board.name}: ssh {board.ssh}")
        command = foreign_module_command(board.python, "edgebench", *words)
        started.append(spawn(ssh_command(board, command), stdin=subprocess.DEVNULL))
    return started
