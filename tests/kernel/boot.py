"""Boots a board: User-mode Linux on this machine's own files, with the board's device tree and its checks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.kernel.guest.__main__ import SIGN
from tests.kernel.kernel_image import BUILD, HERE
from tests.kernel.requirements import CannotRun

_MEMORY = "768M"
_TIME_OUT_S = 400
_TOLD_LINES = 15


def boot(board: str) -> dict[str, str]:
    """Check -> what is wrong, empty where it holds. Raises CannotRun where Linux does not boot at all."""
    log = BUILD / f"{board}.log"
    with log.open("w") as out:
        try:
            subprocess.run(
                _command(board),
                stdout=out,
                stderr=subprocess.STDOUT,
                timeout=_TIME_OUT_S,
                stdin=subprocess.DEVNULL,
                env={**os.environ, "TMPDIR": str(_scratch())},
                check=False,
            )
        except subprocess.TimeoutExpired:
            out.write("\nended by the time-out\n")
    lines = log.read_text(errors="replace").splitlines()
    told = [line.partition(SIGN)[2] for line in lines if SIGN in line]
    if not told:
        last = "; ".join(line for line in lines[-3:] if line.strip())
        raise CannotRun(f"Linux did not come to its checks on {board} ({log}): {last}")
    answers = [json.loads(line) for line in told if line != "end"]
    found = {answer["check"]: answer["why"] for answer in answers}
    if told[-1] != "end":
        found[""] = f"the checks of {board} did not come to their end: " + "; ".join(
            lines[-_TOLD_LINES:]
        )
    answers_path(board).write_text(json.dumps(found))
    return found


def answers_path(board: str) -> Path:
    """Where the last answers of a board are kept."""
    return BUILD / f"{board}.answers.json"


def _scratch() -> Path:
    """Where User-mode Linux keeps its memory."""
    folder = BUILD / "tmp"
    folder.mkdir(exist_ok=True)
    return folder


def _command(board: str) -> list[str]:
    tree = BUILD / f"{board}.dtb"
    source = HERE / "boards" / f"{board}.dts"
    subprocess.run(["dtc", "-q", "-I", "dts", "-O", "dtb", "-o", tree, source], check=True)
    settings = {
        "mem": _MEMORY,
        "dtb": tree,
        "root": "host",
        "rootfstype": "hostfs",
        "rootflags": "/",
        "con0": "null,fd:1",
        "con": "null",
        "init": HERE / "guest/init.sh",
        "board": board,
        "modules": BUILD,
        "python": sys.executable,
        "checkout": HERE.parents[1],
    }
    return [
        str(BUILD / "linux"),
        "ro",
        "quiet",
        *(f"{name}={value}" for name, value in settings.items()),
    ]
