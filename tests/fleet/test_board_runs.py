"""A run on boards, against boards that answer, are lost, killed, hot, busy or of another version."""

from __future__ import annotations

import base64
import hashlib
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from edgebench.fleet import board_runs, board_tasks
from edgebench.fleet.board_runs import (
    BoardRun,
    BoardState,
    Desk,
    journal_path,
    keep_journal,
    last_journal,
    new_journal,
    run_boards,
)
from edgebench.fleet.board_tasks import Answer
from edgebench.fleet.dask_link import DistrustError, Link, LinkError
from edgebench.fleet.fleet_file import Board
from edgebench.fleet.live_view import LiveView, board_line

RESULT = b'{"a": 1}\n' * 10


@dataclass
class StandIn:
    """A board: what it was asked, and what it does."""

    versions: dict[str, str] | None = None
    lost: float = 0.0  # share of calls that do not come back
    deaths: int = 0  # how often its run is killed
    busy: int = 0  # how often another run is there
    heat: list[float] = field(default_factory=list)
    starts: int = 0
    files: dict[str, bytes] = field(default_factory=dict)
    state: str = "absent"
    asked: list[str] = field(default_factory=list)

    def answer(self, task: Callable[..., Answer], *values: Any) -> Answer:
        self.asked.append(task.__name__)
        found: Answer = getattr(self, task.__name__)(*values)
        return found

    def describe(self) -> Answer:
        here = {name: metadata.version(name) for name in board_runs.COMPARED}
        return {
            "versions": {**here, **(self.versions or {})},
            "python": "3.10",
            "temperature_c": None,
        }

    def has_file(self, sha256: str, name: str) -> Answer:
        return {"complete": sha256 in self.files, "size": 0}

    def put_chunk(self, sha256: str, name: str, offset: int, chunk: str, last: bool) -> Answer:
        self.files[sha256] = base64.b64decode(chunk)
        return {"complete": last}

    def import_assets(self, sha256: str, name: str) -> Answer:
        return {} if sha256 in self.files else {"error": "not here"}

    def poll(self, job: str) -> Answer:
        if self.state == "running":
            self.deaths -= 1
            self.state = "dead" if self.deaths >= 0 else "ended"
        heat = self.heat.pop(0) if self.heat else None
        return {"state": self.state, "code": 0, "said": "x", "records": 10, "temperature_c": heat}

    def start(self, job: str, device: str, arguments: list[str], files: Any) -> Answer:
        if self.busy:
            self.busy -= 1
            return {"state": "busy", "said": "another run"}
        self.starts += 1
        self.state = "running"
        return {"state": "running"}

    def list_results(self, job: str) -> Answer:
        digest = hashlib.sha256(RESULT).hexdigest()
        return {"files": [{"name": "r.jsonl", "size": len(RESULT), "sha256": digest}], "said": ""}

    def get_chunk(self, job: str, name: str, offset: int) -> Answer:
        return {"chunk": base64.b64encode(RESULT[offset : offset + 7]).decode()}

    def forget(self, job: str) -> Answer:
        return {}


class Shelf:
    """Boards by name. A lost call may have been carried out, or not."""

    def __init__(self, boards: dict[str, StandIn]) -> None:
        self.boards = boards
        self.draw = random.Random(0)

    def call(self, board: str, task: Callable[..., Answer], *values: Any) -> Answer:
        if board not in self.boards:
            raise LinkError(f"offline: no worker --device {board}")
        stand_in = self.boards[board]
        lost = self.draw.random() < stand_in.lost
        if lost and self.draw.random() < 0.5:
            raise LinkError("no answer")
        answer = stand_in.answer(task, *values)
        if lost:
            raise LinkError("no answer")
        return answer


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed", reason="needs the extra fleet")
    monkeypatch.setattr(board_runs, "POLL_S", 0.001)
    monkeypatch.setattr(board_runs, "OFFLINE_S", 0.2)


def run(out: Path, shelf: Shelf, *boards: Board, sources: Any = None) -> dict[str, BoardState]:
    journal = new_journal(boards, ["--suite", "quick"], sources or {})
    keep_journal(out, journal)
    states = run_boards(boards, journal, shelf, out, lambda _: None)
    return {state.name: state for state in states}


def test_results_of_all_boards_arrive_and_the_journal_goes(tmp_path: Path) -> None:
    shelf = Shelf({"a": StandIn(), "b": StandIn()})
    states = run(tmp_path, shelf, Board(name="a"), Board(name="b"))
    assert {state.state for state in states.values()} == {"done"}
    assert (tmp_path / "b" / "r.jsonl").read_bytes() == RESULT
    assert last_journal(tmp_path) is None
    assert shelf.boards["a"].asked[-1] == "forget"


def test_lost_calls_and_killed_runs_are_made_good(tmp_path: Path) -> None:
    board = StandIn(lost=0.5, deaths=4)
    states = run(tmp_path, Shelf({"a": board}), Board(name="a"))
    assert states["a"].state == "done"
    assert (tmp_path / "a" / "r.jsonl").read_bytes() == RESULT


def test_another_version_is_said_before_anything_runs(tmp_path: Path) -> None:
    shelf = Shelf({"a": StandIn(versions={"edgebench": "0.0.9"}), "b": StandIn()})
    states = run(tmp_path, shelf, Board(name="a"), Board(name="b"))
    assert states["a"].said.startswith("another version: edgebench 0.0.9 there and 0.")
    assert "start" not in shelf.boards["a"].asked
    assert states["b"].state == "done"
    assert last_journal(tmp_path) is not None


def test_board_that_is_away_is_a_line_and_the_others_go_on(tmp_path: Path) -> None:
    states = run(tmp_path, Shelf({"b": StandIn()}), Board(name="a"), Board(name="b"))
    assert states["a"].state == "failed"
    assert "no worker --device a" in board_line(states["a"])
    assert states["b"].state == "done"


def test_scheduler_that_is_not_trusted_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen: a board was offline for ten minutes, as the certificates here were another authority's."""
    from distributed.comm.core import FatalCommClosedError

    def refuse(*_: object, **__: object) -> None:
        raise FatalCommClosedError("TLS certificate does not match. Check your security settings.")

    monkeypatch.setattr("distributed.Client", refuse)
    monkeypatch.setattr(board_runs, "OFFLINE_S", 600.0)
    with pytest.raises(DistrustError):
        Link("tls://desk:8786", None).call("a", board_tasks.describe)
    journal = new_journal([Board(name="a")], [], {})
    link = Link("tls://desk:8786", None)
    [state] = run_boards([Board(name="a")], journal, link, tmp_path, lambda _: None)
    assert board_line(state) == (
        "a: failed: tls://desk:8786 has certificates of another `edgebench fleet certs`, or began with expired ones"
    )


def test_line_of_a_board_has_its_cell_its_progress_and_the_time_left(tmp_path: Path) -> None:
    board = BoardRun(
        Board(name="a"),
        Desk(tmp_path, new_journal([Board(name="a")], [], {})),
        Shelf({}),
        threading.Event(),
    )
    told = {"state": "running", "records": 2, "temperature_c": 61.2, "said": "done: one"}
    progress = {"cell": "file-typing ort fp32", "number": 3, "total": 12, "left_s": 65.0}
    board._note({**told, "progress": progress})
    assert board_line(board.shown) == (
        "a: running, 2 rows, process 3 of 12, 1:05 left, 61 C: file-typing ort fp32"
    )
    board._note({**told, "progress": {**progress, "cell": ""}})
    assert board_line(board.shown).endswith("61 C: done: one")
    board._note({**told, "progress": {**progress, "total": None, "left_s": None}})
    assert "process 3, 61 C" in board_line(board.shown)
    board._note(told)
    assert board_line(board.shown) == "a: running, 2 rows, 61 C: done: one"


def test_hot_board_waits_and_busy_board_is_asked_again(tmp_path: Path) -> None:
    board = StandIn(heat=[80.0, 70.0, 54.0], busy=2)
    states = run(tmp_path, Shelf({"a": board}), Board(name="a", cool_to_c=55.0))
    assert states["a"].state == "done"
    assert board.starts == 1
    assert board.asked[1:4] == ["poll", "poll", "poll"]


def test_each_state_of_a_board_is_a_line_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shown as often as the board is asked, so that no state is missed."""
    model = tmp_path / "m.onnx"
    model.write_bytes(b"x" * (board_tasks.CHUNK_BYTES * 2))
    board = StandIn(heat=[80.0], busy=1)
    lines: list[str] = []
    journal = new_journal([Board(name="a", cool_to_c=55.0)], [], {"m.onnx": model})
    calls = Shelf({"a": board})
    desk = Desk(tmp_path, journal)
    boards = BoardRun(Board(name="a", cool_to_c=55.0), desk, calls, threading.Event())
    answer = board.answer

    def watched(task: Callable[..., Answer], *values: Any) -> Answer:
        lines.append(board_line(boards.shown))
        return answer(task, *values)

    monkeypatch.setattr(board, "answer", watched)
    boards.run()
    expected = [
        "a: waiting",
        "a: sending: m.onnx: 0 %",
        "a: sending: m.onnx: 50 %",
        "a: hot, 80 C: waiting for 55 C",
        "a: busy, 10 rows: another run",
        "a: running, 10 rows: started",
        "a: fetching, 10 rows: x",
    ]
    assert [line for line in dict.fromkeys(lines) if line in expected] == expected
    assert board_line(boards.shown) == "a: done, 10 rows"


def test_run_that_always_dies_is_given_up_with_its_last_words(tmp_path: Path) -> None:
    states = run(tmp_path, Shelf({"a": StandIn(deaths=10**6)}), Board(name="a"))
    assert states["a"].said == "ended 5 times without a result: x"


def test_file_travels_once(tmp_path: Path) -> None:
    model = tmp_path / "m.onnx"
    model.write_bytes(b"model")
    board = StandIn()
    shelf = Shelf({"a": board})
    run(tmp_path / "one", shelf, Board(name="a"), sources={"m.onnx": model})
    board.state = "absent"
    run(tmp_path / "two", shelf, Board(name="a"), sources={"m.onnx": model})
    assert board.asked.count("put_chunk") == 1
    assert list(board.files.values()) == [b"model"]


def test_bundle_is_sent_and_imported_before_the_run_starts(tmp_path: Path) -> None:
    bundle = tmp_path / "quick.tar"
    bundle.write_bytes(b"assets" * 100)
    board = StandIn(lost=0.3)
    journal = new_journal([Board(name="a")], [], {}, bundle)
    [state] = run_boards([Board(name="a")], journal, Shelf({"a": board}), tmp_path, lambda _: None)
    assert state.state == "done"
    assert board.asked.index("import_assets") < board.asked.index("start")


def test_interrupted_client_goes_on_with_the_same_jobs(tmp_path: Path) -> None:
    board = StandIn(deaths=10**6)
    journal = new_journal([Board(name="a")], [], {})
    keep_journal(tmp_path, journal)

    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_boards([Board(name="a")], journal, Shelf({"a": board}), tmp_path, interrupt)
    again = last_journal(tmp_path)
    assert again is not None
    assert again.jobs == journal.jobs
    board.deaths, board.state = 0, "absent"
    states = run_boards([Board(name="a")], again, Shelf({"a": board}), tmp_path, lambda _: None)
    assert states[0].state == "done"
    assert not journal_path(tmp_path, journal).exists()


def test_board_that_was_fetched_and_has_forgotten_is_not_measured_again(tmp_path: Path) -> None:
    """The client was stopped after that, while another board went on."""
    boards = [Board(name="a"), Board(name="b")]
    shelf = Shelf({"a": StandIn(), "b": StandIn(deaths=10**6)})
    journal = new_journal(boards, [], {})
    keep_journal(tmp_path, journal)

    def interrupt(states: Any) -> None:
        if states[0].over:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_boards(boards, journal, shelf, tmp_path, interrupt)
    shelf.boards["a"].state = "absent"
    shelf.boards["b"].deaths = 0
    again = last_journal(tmp_path)
    assert again is not None
    states = run_boards(boards, again, shelf, tmp_path, lambda _: None)
    assert [state.state for state in states] == ["done", "done"]
    assert states[0].files == [tmp_path / "a" / "r.jsonl"]
    assert board_line(states[0]) == "a: done, 10 rows"
    assert states[0].code == 0
    assert shelf.boards["a"].starts == 1


def test_live_view_tells_of_changes_alone() -> None:
    told: list[str] = []
    now = [0.0]
    state = BoardState("pi", "running", "cell 1", 3, 61.2)
    with LiveView(told.append, lambda: now[0], terminal=False) as view:
        view.show([state])
        view.show([state])
        now[0] = 60.0
        view.show([state])
        state.state = "done"
        view.show([state])
    assert told == ["pi: running, 3 rows, 61 C: cell 1", "pi: done, 3 rows, 61 C"]


def test_time_that_passes_is_no_news() -> None:
    told: list[str] = []
    with LiveView(told.append, iter(range(0, 1000, 10)).__next__, terminal=False) as view:
        for left_s in (65.0, 55.0, 45.0):
            view.show([BoardState("pi", "running", "cell 1", 3, left_s=left_s)])
    assert told == ["pi: running, 3 rows, 1:05 left: cell 1"]


def test_tasks_are_named_functions_of_plain_values() -> None:
    for task in (board_tasks.start, board_tasks.poll, board_tasks.get_chunk):
        assert task.__module__ == "edgebench.fleet.board_tasks"
        assert task.__qualname__ == task.__name__
