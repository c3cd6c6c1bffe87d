"""Kills workers, scheduler, client and measuring processes of a fleet at random moments, and counts what that costs.

    python -m tests.perf.fleet.kills [--runs 30] [--python VENV/bin/python]...

Scheduler, client and three workers are processes of their own; each worker has its own HOME, and the n-th --python given
(this one where none is). Every run measures four cells of two processes each on every board. A run is right where each
board's file holds every cell once, each with as many processes as asked for, and nothing is left behind. Whatever is
killed (SIGKILL) is started again half a second later, the client with --resume; a killed measuring process stands for a
reboot. The third board has a link of 40 ms (`slow_link`), which is cut for 3 s now and then. Target: 0 cells lost or
measured twice.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from edgebench.store import read_records
from tests.perf.fleet.slow_link import SlowLink
from tests.perf.overhead import tiny_model

BOARDS = ("board-a", "board-b", "board-c")
CELLS, REPLICATES = 4, 2
RUN = (
    "--model", "tiny.onnx", "--set", "threads=1,2", "--set", "mem_pattern=true,false",
    "--replicates", str(REPLICATES), "--reruns", "0", "--slice", "0.3s",
)  # fmt: skip
DEADLINE_S = 240.0
AGAIN_S = 0.5

Command = list[str]


class Fleet:
    """All processes of one run, and how each is started again."""

    def __init__(self, folder: Path, pythons: list[str], port: int) -> None:
        self.folder = folder
        self.address = f"tcp://127.0.0.1:{port}"
        self.homes = {board: folder.parent / "homes" / board for board in BOARDS}
        boards = "".join(f"  - name: {board}\n" for board in BOARDS)
        (folder / "fleet.yaml").write_text(f"scheduler: {self.address}\nboards:\n{boards}")
        tiny_model(folder / "tiny.onnx")
        self.commands: dict[str, Command] = {
            "scheduler": [sys.executable, "-m", "edgebench", "fleet", "up", "--no-workers"]
        }
        self.link = SlowLink(port + 100, port)
        for board, python in zip(BOARDS, pythons, strict=True):
            address = f"tcp://127.0.0.1:{port + 100}" if board == BOARDS[-1] else self.address
            worker = [python, "-m", "edgebench", "fleet", "worker", address]
            self.commands[board] = [*worker, "--device", board]
        client = [sys.executable, "-m", "edgebench", "fleet", "run", "--out", "results"]
        self.first = [*client, "--", *RUN]
        self.commands["client"] = [*client, "--resume"]
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, command: Command | None = None) -> None:
        environment = dict(os.environ)
        environment.pop("EDGEBENCH_CACHE", None)
        if name in self.homes:
            home = self.homes[name]
            home.mkdir(parents=True, exist_ok=True)
            environment |= {"HOME": str(home), "XDG_STATE_HOME": "", "XDG_CACHE_HOME": ""}
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                command or self.commands[name],
                cwd=self.folder,
                env=environment,
                stdout=log,
                stderr=log,
            )

    def kill(self, name: str) -> None:
        """A board that is called "reboot:NAME" loses its worker and what it measures, "cut" its link alone."""
        if name == "cut":
            self.link.cut()
            return
        board = name.removeprefix("reboot:")
        self.processes[board].kill()
        self.processes[board].wait()
        if board != name:
            for pid in self.measuring(board):
                os.kill(pid, signal.SIGKILL)

    def measuring(self, board: str) -> Iterator[int]:
        """Processes that measure for a board: their folder lies in its HOME."""
        mark = str(self.homes[board]).encode()
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                words = (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if b"board_job" in words and mark in words:
                yield int(folder.name)

    def end(self) -> None:
        self.link.close()
        for process in self.processes.values():
            process.kill()
            process.wait()


def one_run(
    folder: Path, pythons: list[str], port: int, draw: random.Random
) -> tuple[list[str], str]:
    """What was killed, and what is wrong afterwards ("" where nothing is)."""
    folder.mkdir(parents=True)
    fleet = Fleet(folder, pythons, port)
    killed: list[str] = []
    try:
        for name in ("scheduler", *BOARDS):
            fleet.start(name)
        fleet.start("client", fleet.first)
        targets = ["scheduler", "client", "cut", *BOARDS, *(f"reboot:{board}" for board in BOARDS)]
        moments = sorted(draw.uniform(0.5, 20) for _ in range(draw.randint(2, 6)))
        begun = time.monotonic()
        while time.monotonic() - begun < DEADLINE_S:
            code = fleet.processes["client"].poll()
            if code is not None:
                return killed, wrong(fleet, code)
            if moments and time.monotonic() - begun > moments[0]:
                moments.pop(0)
                name = draw.choice(targets)
                fleet.kill(name)
                killed.append(name)
                if name == "cut":
                    continue
                time.sleep(AGAIN_S)
                again = name.removeprefix("reboot:")
                # killed before it had written what it is about: nothing was begun, so it begins
                begins = again == "client" and not list(folder.glob("results/*.fleet.json"))
                fleet.start(again, fleet.first if begins else None)
            time.sleep(0.1)
        return killed, "not over in time"
    finally:
        fleet.end()
        for board in BOARDS:
            for pid in fleet.measuring(board):
                os.kill(pid, signal.SIGKILL)


def wrong(fleet: Fleet, code: int) -> str:
    """The first fault of what arrived."""
    checks: list[Callable[[], str]] = [lambda: "" if code == 0 else f"the client ended with {code}"]
    checks += [lambda board=board: board_fault(fleet, board) for board in BOARDS]  # type: ignore[misc]
    return next((fault for check in checks if (fault := check())), "")


def board_fault(fleet: Fleet, board: str) -> str:
    files = list((fleet.folder / "results" / board).glob("*.jsonl"))
    if len(files) != 1:
        return f"{board}: {len(files)} files"
    records = read_records(files[0])
    cells = [record.cell.id for record in records]
    if len(cells) != CELLS or len(set(cells)) != CELLS:
        return f"{board}: {len(cells)} records of {len(set(cells))} cells"
    for record in records:
        indices = [replicate.index for replicate in record.replicates]
        if sorted(indices) != list(range(REPLICATES)) or record.status != "ok":
            return f"{board}: {record.cell.id}: {record.status}, replicates {indices}"
    left = list((fleet.homes[board] / ".local/state/edgebench/fleet/jobs").glob("*"))
    return f"{board}: {left[0]} is left" if left else ""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--python", action="append", default=[])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="keep all files in this folder")
    arguments = parser.parse_args()
    pythons = [*arguments.python, sys.executable, sys.executable, sys.executable][: len(BOARDS)]
    place = arguments.keep or Path(tempfile.mkdtemp(prefix="edgebench-kills-"))
    right = kills = 0
    for number in range(arguments.runs):
        draw = random.Random(arguments.seed + number)
        start = time.monotonic()
        killed, fault = one_run(place / f"run-{number}", pythons, 18800 + number % 100, draw)
        right += not fault
        kills += len(killed)
        took = time.monotonic() - start
        print(
            f"run {number}: killed {' '.join(killed) or 'nothing'}; {took:.0f} s; {fault or 'right'}",
            flush=True,
        )
    print(f"{right} of {arguments.runs} runs right, {kills} kills")
    if arguments.keep is None:
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    main()
