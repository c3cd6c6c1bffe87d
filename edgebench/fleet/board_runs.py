"""Sends a run to many boards, watches it and fetches its results, each board by itself; what is lost on the way is sent again."""

from __future__ import annotations

import base64
import hashlib
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import msgspec

from edgebench.assets import file_sha256
from edgebench.errors import StoreError
from edgebench.files.atomic_write import whole_file
from edgebench.fleet import board_tasks
from edgebench.fleet.board_tasks import CHUNK_BYTES, Answer
from edgebench.fleet.dask_link import DistrustError, LinkError
from edgebench.fleet.fleet_file import Board

POLL_S: Final = 1.0
OFFLINE_S: Final = 600.0  # a board that is away this long is left out, the others go on
MAX_STARTS_WITHOUT_GAIN: Final = 5
JOURNAL_PATTERN: Final = "*.fleet.json"
COMPARED: Final = ("edgebench", "dask", "distributed")

State = Literal[
    "waiting", "offline", "hot", "busy", "sending", "running", "fetching", "done", "failed"
]


class Calls(Protocol):
    """How tasks reach boards: `dask_link.Link`, or a stand-in of the tests."""

    def call(self, board: str, task: Callable[..., Answer], *values: Any) -> Answer: ...


class Arrived(msgspec.Struct, frozen=True, kw_only=True):
    """What a board's run brought here. It is noted before the board forgets it."""

    files: list[str]  # names, in the board's folder
    code: int | None  # exit code of its run


class FleetJournal(msgspec.Struct, frozen=True, kw_only=True):
    """What is needed to go on with a run of a fleet: which job each board has. Kept until all results are here."""

    schema: Literal["edgebench.fleet/1"] = "edgebench.fleet/1"
    run: str
    arguments: list[str]
    files: dict[str, list[str]]  # argument -> hash and name of the file that travels for it
    sources: dict[str, str]  # hash -> path here
    jobs: dict[str, str]  # board -> job
    bundle: list[str] | None = None  # hash and name of the assets that travel
    cool_to_c: dict[str, float] = {}  # board -> before each process of a cell
    arrived: dict[str, Arrived] = {}  # boards whose results are here


@dataclass
class BoardState:
    """What the live view shows of a board."""

    name: str
    state: State = "waiting"
    said: str = ""
    records: int = 0
    temperature_c: float | None = None
    process: str = ""  # which one of its run, as "3 of 12"
    left_s: float | None = None  # until its run is expected to be over
    code: int | None = None  # exit code of its run
    files: list[Path] = field(default_factory=list)  # results that arrived

    @property
    def over(self) -> bool:
        return self.state in ("done", "failed")


def new_journal(
    boards: Sequence[Board],
    arguments: Sequence[str],
    sources: Mapping[str, Path],
    bundle: Path | None = None,
) -> FleetJournal:
    """`sources`: argument -> the file here that it names; `bundle`: assets for boards without a network."""
    run = secrets.token_hex(8)
    travelling = [*sources.values(), *([bundle] if bundle is not None else [])]
    hashes = {path: file_sha256(path) for path in travelling}
    return FleetJournal(
        run=run,
        arguments=list(arguments),
        files={word: [hashes[path], path.name] for word, path in sources.items()},
        sources={sha256: str(path.resolve()) for path, sha256 in hashes.items()},
        bundle=None if bundle is None else [hashes[bundle], bundle.name],
        cool_to_c={board.name: board.cool_to_c for board in boards if board.cool_to_c is not None},
        jobs={
            board.name: hashlib.sha256(f"{run} {board.name}".encode()).hexdigest()[:16]
            for board in boards
        },
    )


def journal_path(out: Path, journal: FleetJournal) -> Path:
    return out / f"{journal.run}.fleet.json"


def keep_journal(out: Path, journal: FleetJournal) -> None:
    """Raises StoreError where it cannot be written."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{out}: {error.strerror}", "name another --out") from None
    with whole_file(journal_path(out, journal)) as partial:
        partial.write_bytes(msgspec.json.encode(journal))


def last_journal(out: Path) -> FleetJournal | None:
    """The newest run of a fleet that has not ended. Raises StoreError for a file that is none."""
    paths = sorted(out.glob(JOURNAL_PATTERN), key=lambda path: path.stat().st_mtime)
    if not paths:
        return None
    try:
        return msgspec.json.decode(paths[-1].read_bytes(), type=FleetJournal)
    except (msgspec.DecodeError, OSError) as error:
        message = f"{paths[-1]}: not a run of a fleet: {error}"
        raise StoreError(message, "remove the file, and start a new run") from None


def version_mismatch(answer: Answer) -> str:
    """How a board's versions differ from those here; Python's may."""
    here = {name: metadata.version(name) for name in COMPARED}
    there = answer["versions"]
    return ", ".join(
        f"{name} {there[name]} there and {here[name]} here"
        for name in COMPARED
        if there[name] != here[name]
    )


class Desk:
    """The folder of results and the journal beside them, for the threads of all boards."""

    def __init__(self, out: Path, journal: FleetJournal) -> None:
        self.out, self._journal = out, journal
        self._lock = threading.Lock()

    @property
    def journal(self) -> FleetJournal:
        return self._journal

    def note_arrived(self, board: str, arrived: Arrived) -> None:
        """Raises StoreError where it cannot be written: the board then keeps its results."""
        with self._lock:
            known = {**self._journal.arrived, board: arrived}
            journal = msgspec.structs.replace(self._journal, arrived=known)
            keep_journal(self.out, journal)
            self._journal = journal


class BoardRun:
    """One board from its first answer to its results."""

    def __init__(self, board: Board, desk: Desk, calls: Calls, stop: threading.Event) -> None:
        self.shown = BoardState(board.name)
        self._board = board
        self._desk = desk
        self._journal = desk.journal
        self._job = desk.journal.jobs[board.name]
        self._calls = calls
        self._stop = stop

    def run(self) -> None:
        """Until its results are here, it failed, or the client stops. Never raises."""
        try:
            if not self._arrived_before():
                steps = (self._check, self._send, self._cool_down, self._measure, self._fetch)
                if not all(step() for step in steps):
                    return
            if self._call(board_tasks.forget, self._job) is not None:
                self.shown.state = "done"
        except Exception as error:  # noqa: BLE001 - a board's fault is a line, and the others go on
            self._fail(f"{type(error).__name__}: {error}")

    def _arrived_before(self) -> bool:
        """Whether an earlier client brought the results here, before it was stopped."""
        arrived = self._journal.arrived.get(self._board.name)
        if arrived is None:
            return False
        folder = self._desk.out / self._board.name
        self.shown.files = [folder / name for name in arrived.files]
        self.shown.code = arrived.code
        self.shown.records = sum(path.read_bytes().count(b"\n") for path in self.shown.files)
        return True

    def _fail(self, why: str) -> bool:
        self.shown.state, self.shown.said = "failed", why
        return False

    def _call(self, task: Callable[..., Answer], *values: Any) -> Answer | None:
        """The answer, however often it has to be asked for; None where the board is away for too long, or the client
        stops."""
        since = time.monotonic()
        while not self._stop.is_set():
            try:
                answer = self._calls.call(self._board.name, task, *values)
            except DistrustError as error:
                self._fail(str(error))
                return None
            except LinkError as error:
                self.shown.state, self.shown.said = "offline", str(error)
                if time.monotonic() - since > OFFLINE_S:
                    self._fail(f"offline for {OFFLINE_S:.0f} s: {error}")
                    return None
                self._stop.wait(POLL_S)
                continue
            if "error" in answer:
                self._fail(str(answer["error"]))
                return None
            return answer
        return None

    def _check(self) -> bool:
        answer = self._call(board_tasks.describe)
        if answer is None:
            return False
        different = version_mismatch(answer)
        return self._fail(f"another version: {different}") if different else True

    def _send(self) -> bool:
        """Every file once, by its hash; assets are brought into the board's cache."""
        bundle = self._journal.bundle
        files = {(sha256, name) for sha256, name in self._journal.files.values()}
        if not all(self._send_file(sha256, name) for sha256, name in sorted(files)):
            return False
        if bundle is None:
            return True
        return (
            self._send_file(*bundle) and self._call(board_tasks.import_assets, *bundle) is not None
        )

    def _send_file(self, sha256: str, name: str) -> bool:
        answer = self._call(board_tasks.has_file, sha256, name)
        if answer is None or answer["complete"]:
            return answer is not None
        path = Path(self._journal.sources[sha256])
        size, offset = path.stat().st_size, int(answer["size"])
        with path.open("rb") as file:
            file.seek(offset if offset <= size else 0)
            while True:
                offset = file.tell()
                self.shown.state = "sending"  # a piece before may have found it offline
                self.shown.said = f"{name}: {100 * offset // max(size, 1)} %"
                chunk = base64.b64encode(file.read(CHUNK_BYTES)).decode()
                last = file.tell() >= size
                if self._call(board_tasks.put_chunk, sha256, name, offset, chunk, last) is None:
                    return False
                if last:
                    return True

    def _cool_down(self) -> bool:
        """Waits until the chip is cool enough for a run to start; what runs already is not disturbed."""
        limit = self._journal.cool_to_c.get(self._board.name)
        while limit is not None and not self._stop.is_set():
            answer = self._call(board_tasks.poll, self._job)
            if answer is None:
                return False
            heat = self.shown.temperature_c = answer["temperature_c"]
            if heat is None or heat <= limit or answer["state"] != "absent":
                return True
            self.shown.state = "hot"
            self.shown.said = f"waiting for {limit:.0f} C"
            self._stop.wait(POLL_S)
        return not self._stop.is_set()

    def _measure(self) -> bool:
        """Starts the run, again where it died, until it has ended."""
        starts = gained = 0
        while not self._stop.is_set():
            answer = self._call(board_tasks.poll, self._job)
            if answer is None:
                return False
            self._note(answer)
            if answer["state"] == "ended":
                self.shown.code = answer["code"]
                return True
            if answer["state"] in ("absent", "dead"):
                if self.shown.records > gained:
                    starts, gained = 0, self.shown.records
                if starts >= MAX_STARTS_WITHOUT_GAIN:
                    return self._fail(f"ended {starts} times without a result: {self.shown.said}")
                started = self._start()
                if started is None:
                    return False
                starts += started
            self._stop.wait(POLL_S)
        return False

    def _start(self) -> int | None:
        """1 where it runs now, 0 where the board is busy; None where it is not to be reached."""
        journal = self._journal
        limit = journal.cool_to_c.get(self._board.name)
        more = [] if limit is None else ["--cool-to", f"{limit:g}"]
        arguments = [*journal.arguments, *more]
        answer = self._call(
            board_tasks.start, self._job, self._board.name, arguments, journal.files
        )
        if answer is None:
            return None
        if answer["state"] == "busy":
            self.shown.state, self.shown.said = "busy", str(answer["said"])
            return 0
        self.shown.state, self.shown.said = "running", "started"
        return 1

    def _note(self, answer: Answer) -> None:
        self.shown.temperature_c = answer["temperature_c"]
        if answer["state"] == "running":
            self.shown.state = "running"
        self.shown.records = answer.get("records", self.shown.records)
        progress = answer.get("progress") or {}
        self.shown.said = progress.get("cell") or answer.get("said") or self.shown.said
        self.shown.process = _process(progress)
        self.shown.left_s = progress.get("left_s")

    def _fetch(self) -> bool:
        """Result files as they are on the board, whole or not at all; then the board may forget them."""
        answer = self._call(board_tasks.list_results, self._job)
        if answer is None:
            return False
        self.shown.state = "fetching"
        for each in answer["files"]:
            content = b"".join(self._pieces(each["name"], each["size"]))
            if hashlib.sha256(content).hexdigest() != each["sha256"]:
                return (
                    False if self._stop.is_set() else self._fail(f"{each['name']} arrived damaged")
                )
            folder = self._desk.out / self._board.name
            folder.mkdir(parents=True, exist_ok=True)
            with whole_file(folder / each["name"]) as partial:
                partial.write_bytes(content)
            self.shown.files.append(folder / each["name"])
        if not answer["files"]:
            return self._fail(_last_words(answer["said"]) or "the run left no results")
        names = [path.name for path in self.shown.files]
        arrived = Arrived(files=names, code=self.shown.code)
        self._desk.note_arrived(self._board.name, arrived)
        return True

    def _pieces(self, name: str, size: int) -> Iterator[bytes]:
        offset = 0
        while offset < size:
            answer = self._call(board_tasks.get_chunk, self._job, name, offset)
            if answer is None:
                return
            piece = base64.b64decode(answer["chunk"])
            if not piece:
                return
            yield piece
            offset += len(piece)


def _process(progress: Mapping[str, Any]) -> str:
    """ "3 of 12"; "" where none runs."""
    number, total = progress.get("number"), progress.get("total")
    of = f" of {total}" if total else ""
    return f"{number}{of}" if number else ""


def _last_words(said: str) -> str:
    """The line of stderr that says why: the last one that edgebench wrote as such."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    own = [line for line in lines if line.startswith("edgebench:")]
    return (own or lines or [""])[-1].removeprefix("edgebench: ")


def run_boards(
    boards: Sequence[Board],
    journal: FleetJournal,
    calls: Calls,
    out: Path,
    watch: Callable[[Sequence[BoardState]], None],
) -> list[BoardState]:
    """All boards at once; `watch` is called again and again until all are over. An interrupt stops the client alone."""
    stop = threading.Event()
    desk = Desk(out, journal)
    runs = [BoardRun(board, desk, calls, stop) for board in boards]
    states = [run.shown for run in runs]
    threads = [threading.Thread(target=run.run, daemon=True) for run in runs]
    for thread in threads:
        thread.start()
    try:
        while any(thread.is_alive() for thread in threads):
            watch(states)
            for thread in threads:
                thread.join(POLL_S / 2 / len(threads))
    finally:
        stop.set()
    watch(states)
    if all(state.state == "done" for state in states):
        journal_path(out, journal).unlink(missing_ok=True)
    return states
