"""What a run says of itself while it goes on, and that it never is silent for long."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from edgebench.api.run_progress import (
    LINE_EVERY_S,
    LineWatcher,
    describe,
    look_text,
    outlook_text,
    watching,
)
from edgebench.assets import download_progress as downloads
from edgebench.fleet.board_progress import PROGRESS_VARIABLE
from edgebench.measure.runner import Outlook
from edgebench.measure.wait_for_quiet import Quiet
from edgebench.record import Memory, Quality, Reason
from tests.measure.test_runner import target
from tests.records import record, replicate, samples

MIB = 2**20


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_without_a_terminal_a_line_comes_whenever_nothing_else_was_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = Clock()
    watcher = LineWatcher(clock)
    watcher.prepares(target("a"))
    for _ in range(40):
        clock.now_s += 1
        watcher.tick()
    watcher.starts(target("a"), 1, 3, 30.0)
    for _ in range(20):
        clock.now_s += 1
        watcher.tick()
    lines = capsys.readouterr().err.splitlines()
    what = describe(target("a"))
    assert lines == [
        f"preparing the model of {what}",
        f"preparing the model of {what}",
        f"process 1 of 3: {what}, 0:25 left",
        f"process 1 of 3: {what}, 0:10 left",
    ]
    assert LINE_EVERY_S == 15.0


def test_a_process_beyond_the_foreseen_ones_claims_no_end(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Seen: "process 8 of 7: ..., 0:00 left"."""
    clock = Clock()
    watcher = LineWatcher(clock)
    watcher.starts(target("a"), 8, 7, 5.0)
    clock.now_s += 16
    watcher.tick()
    assert capsys.readouterr().err == f"process 8: {describe(target('a'))}\n"


def test_a_download_tells_how_far_it_is() -> None:
    clock = Clock()
    lines: list[str] = []
    tell = downloads.line_progress(lines.append, clock)
    for number in range(41):
        tell("weights.pth", number * MIB, 40 * MIB)
        clock.now_s += 1
    assert lines == [
        "fetching weights.pth",
        "fetching weights.pth: 15.0 MiB of 40.0 MiB",
        "fetching weights.pth: 30.0 MiB of 40.0 MiB",
    ]


def test_run_of_a_board_keeps_what_it_does_in_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "progress"
    monkeypatch.setenv(PROGRESS_VARIABLE, str(file))
    what = describe(target("a"))
    with watching() as watcher:
        watcher.prepares(target("a"))
        assert json.loads(file.read_bytes())["cell"] == f"preparing the model of {what}"
        watcher.starts(target("a"), 1, 3, 30.0)
        told = json.loads(file.read_bytes())
        assert (told["cell"], told["number"], told["total"]) == (what, 1, 3)
        assert 0 < told["until_s"] - time.time() <= 30
        watcher.starts(target("a"), 4, 3, 0.0)
        told = json.loads(file.read_bytes())
        assert (told["number"], told["total"], told["until_s"]) == (4, None, None)
        file.unlink()
        file.mkdir()  # cannot be replaced, and the run goes on
        watcher.starts(target("a"), 5, 5, 1.0)
    assert capsys.readouterr().err == ""


def test_a_run_says_what_it_is_about_to_do_and_what_the_budget_allows() -> None:
    free = Outlook(cells=12, processes=36, expected_s=190.0, budget_s=None, reachable=12)
    assert outlook_text(free) == "12 cells, 36 processes or more, about 3:10"
    short = Outlook(cells=12, processes=36, expected_s=190.0, budget_s=20.0, reachable=4)
    assert outlook_text(short) == (
        "12 cells, 36 processes or more, about 3:10; the budget leaves 0:20, which is likely to end "
        "after 4 of the cells"
    )
    one = Outlook(cells=1, processes=1, expected_s=4.0, budget_s=None, reachable=1)
    assert outlook_text(one) == "1 cell, 1 process or more, about 0:04"
    tiny = Outlook(cells=2, processes=6, expected_s=13.0, budget_s=1.0, reachable=0)
    assert outlook_text(tiny) == (
        "2 cells, 6 processes or more, about 0:13; the budget leaves 0:01, which is likely to be too little for the "
        "first one"
    )


def test_a_first_row_is_said_as_soon_as_it_is_known() -> None:
    quality = Quality(
        metric="parity_error", value=1e-7, floor=1e-3, better="lower", passed=True, items=8
    )
    memory = Memory(peak_bytes=34 * MIB, peak_source="VmHWM")
    made = replicate(0, samples(7e6, 50, 0), quality=quality, memory=memory)
    text = look_text(record(replicates=[made]))
    assert "p50 7.0" in text
    assert "peak 34.0 MiB, parity_error 1e-07 (one short process; more follow)" in text


def test_a_wait_ends_when_the_machine_is_quiet() -> None:
    said: list[str] = []
    quiet, clock = waiting(["others use 45% of the CPUs", "others use 20% of the CPUs", ""], said)
    quiet.wait()
    assert clock.now_s == 6.0
    assert said == [
        "waiting for a quiet machine: others use 45% of the CPUs",
        "the machine is quiet after 6 s",
    ]


def test_a_long_wait_tells_that_it_goes_on() -> None:
    said: list[str] = []
    quiet, _ = waiting(["others use 45% of the CPUs"] * 99, said, limit_s=60.0)
    quiet.wait()
    assert len(said) == 1 + 3 + 1, "each 16 s of looks of 2 s, and the end"


def test_a_wait_ends_when_its_time_is_over_and_says_so() -> None:
    said: list[str] = []
    quiet, clock = waiting(["others use 45% of the CPUs"] * 99, said, limit_s=10.0)
    quiet.wait()
    quiet.wait()
    assert clock.now_s == 10.0, "all waits of a run together"
    assert said[-1] == (
        "the machine was not quiet within 10 s (others use 45% of the CPUs): measuring anyway"
    )
    assert len(said) == 2


def test_nobody_waits_who_does_not_ask_for_it() -> None:
    said: list[str] = []
    quiet, clock = waiting(["others use 45% of the CPUs"] * 9, said, limit_s=0.0)
    quiet.wait()
    assert (clock.now_s, said) == (0.0, [])


def waiting(found: list[str], said: list[str], limit_s: float = 60.0) -> tuple[Quiet, Clock]:
    """Looks of two seconds each, which find these in turn."""
    clock, looks = Clock(), iter(found)

    def look() -> str:
        clock.now_s += 2.0
        return next(looks)

    return Quiet(limit_s, said.append, look, clock), clock


def test_cells_that_one_reason_leaves_out_are_told_once_a_backend() -> None:
    """Seen: 24 lines that a runtime is not installed."""
    said: list[str] = []
    watcher = LineWatcher(Clock(), said.append)
    missing = [Reason(code="backend_not_installed", message="not installed")]
    for backend in ("a", "b"):
        for threads in (1, 2, 4):
            watcher.completed(
                record(
                    {"threads": threads},
                    status="unsupported",
                    reasons=missing,
                    replicates=[],
                    backend=backend,
                )
            )
    watcher.completed(record({"threads": 1}))
    assert [line.split(":")[0] for line in said] == ["unsupported", "unsupported", "done"]
    assert "not installed" in said[0]
    assert "/b/" in said[1]
