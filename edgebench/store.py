"""Result files: JSON Lines of records, appended to, flushed to disk, never rewritten.

A run in progress has a journal beside its result file: one line of settings, then a line for each
measured replicate. A replicate is journalled as soon as it is measured, a record is appended as soon
as its cell is complete, and the journal goes when the run is complete. Hence a kill at any moment
loses at most the replicate in flight, and `edgebench run --resume` goes on from there.

The journal is locked by the run and, by inheritance, by its workers: while any of them lives, the
lock holds.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, count, islice
from pathlib import Path
from typing import Any

import msgspec

from edgebench.errors import StoreError, mend_disk
from edgebench.files.atomic_write import refuse_planted
from edgebench.files.json_lines import decoded, encoded
from edgebench.files.regular_file import open_regular
from edgebench.record import SCHEMA, ModelFacts, Record, Replicate
from edgebench.record_validation import record_findings, replicate_findings
from edgebench.text.plain_text import say
from edgebench.words import note_words

JOURNAL_SUFFIX = ".journal"
MEASURED_ELSEWHERE = "MEASURED_ELSEWHERE"  # a file that marks a folder of others' results
LOCK_TIMEOUT_S = 2.0
#: How predictions are marked in JSON: a whole one, and each of its cells.
PREDICTION = "edgebench.prediction/1"
MODELLED = "modelled"
_FLAGS = os.O_CREAT | os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW


class JournalHead(msgspec.Struct, frozen=True, kw_only=True):
    """First line of a journal: what is needed to go on with the run."""

    run_id: str
    started_utc: str
    options: dict[str, Any]  # the options of `edgebench run`, as given and resolved
    # What all replicates of a cell must have in common.
    device: str
    versions: dict[str, str]  # of edgebench, Python and the runtimes
    plan_sha256: str  # of all cells with their definitions, in the order they are measured


class JournalEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A measured replicate of a cell that has no record yet."""

    cell: str
    replicate: Replicate
    model: ModelFacts | None = None
    inputs_sha256: str | None = None
    settings: dict[str, str] = {}  # of the machine when it ended: governor, clocks, power mode, ...


_decode_record = msgspec.json.Decoder(Record).decode
_decode_head = msgspec.json.Decoder(JournalHead).decode
_decode_entry = msgspec.json.Decoder(JournalEntry).decode

#: A longer line is no record: hours of samples take a hundredth of that.
MAX_LINE_BYTES = 1 << 30
_LOOK_BYTES = 1 << 16  # of a line, before more of it is read
_MAY_BEGIN = (b"{", b" ", b"\t", b"\r", b"\n")
#: How each record begins: a torn one is told from foreign text by it.
_BEGINNING = f'{{"schema":"{SCHEMA}",'.encode()
_ANEW = "start a new run"
_MEND_READ = "name a file or folder that can be read"
_LEAVE_OUT = (
    "leave the file out; `edgebench pick --include-predicted` shows predictions below results"
)
_MEND = "leave the file out, or take the line out of it: `edgebench run` writes no such line"


def read_records(path: Path) -> list[Record]:
    """The records of a result file. A last line that is torn (a run that was killed) is left out.

    Raises StoreError, naming file, line and field, where a line is no record or makes no sense.
    """
    return list(iter_records(path))


def iter_records(path: Path) -> Iterator[Record]:
    """Like `read_records`, one at a time."""
    before = False
    for number, line in _lines(path):
        if _is_torn(line) and (before or _begins_as_record(line)):
            return
        before = True
        yield _record_of(line, f"{path}:{number}", _MEND)


def _record_of(line: bytes, place: str, fix: str) -> Record:
    """The record of a line. Raises StoreError for one that is none, or makes no sense."""
    try:
        record = decoded(line, _decode_record, place, f"not a {SCHEMA} record", fix)
    except StoreError:
        if _is_prediction(line):
            raise StoreError(f"{place}: {note_words.PREDICTION}", _LEAVE_OUT) from None
        raise
    for field, problem in record_findings(record):
        raise StoreError(f"{place}: {field}: {problem}", fix)
    return record


class _Marks(msgspec.Struct):
    """What tells a prediction from a record."""

    schema: Any = None
    status: Any = None


_decode_marks = msgspec.json.Decoder(_Marks).decode


def _is_prediction(line: bytes) -> bool:
    """Whether it is what `edgebench predict --format json` prints, whole or a cell of it."""
    try:
        marks = _decode_marks(line)
    except (msgspec.MsgspecError, RecursionError):
        return False
    return bool(marks.schema == PREDICTION or marks.status == MODELLED)


def check_readable(record: Record, place: str, fix: str) -> None:
    """Raises StoreError where a record that is to be written would be refused when it is read."""
    _record_of(encoded(record), place, fix)


def _is_torn(line: bytes) -> bool:
    """Whether the line was cut before its end: a foreign line is whole JSON, a torn one is none."""
    if line.endswith(b"\n"):
        return False
    try:
        msgspec.json.decode(line, type=msgspec.Raw)
    except RecursionError:
        return False
    except msgspec.DecodeError:
        return True
    return False


def _begins_as_record(line: bytes) -> bool:
    """Whether a file whose only line was cut is one of a run that was killed, and not something else."""
    return line.startswith(_BEGINNING) or _BEGINNING.startswith(line)


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Numbered lines with something in them; a last one without its newline may be torn."""
    try:
        with open_regular(path) as file:
            for number in count(start=1):
                line = _line(file, f"{path}:{number}")
                if not line:
                    return
                if not line.isspace():
                    yield number, line
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}", _MEND_READ) from None


def _line(file: io.BufferedReader, place: str) -> bytes:
    """The next line, at the end of the file an empty one. What is no JSON is not read to its end."""
    line = file.readline(_LOOK_BYTES)
    if len(line) < _LOOK_BYTES or line.endswith(b"\n"):
        return line
    if line[:1] not in _MAY_BEGIN:
        raise StoreError(f"{place}: not a {SCHEMA} record: it does not begin with {{", _MEND)
    line += file.readline(MAX_LINE_BYTES + 1 - _LOOK_BYTES)
    if len(line) > MAX_LINE_BYTES:
        raise StoreError(f"{place}: it is longer than {MAX_LINE_BYTES / 2**30:g} GiB", _MEND)
    return line


def result_files(path: Path) -> list[Path]:
    """`path` itself if it is a file, else the result files below it, oldest first.

    Folders that hold a file `MEASURED_ELSEWHERE` are left out, unless `path` itself is one.
    """
    try:
        if path.is_dir():
            elsewhere = folders_elsewhere(path)
            files = (
                file
                for file in path.rglob("*.jsonl")
                if not file.is_dir() and elsewhere.isdisjoint(file.parents)
            )
            return sorted(files, key=lambda file: file.name)
        if path.exists():
            return [path]
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}", _MEND_READ) from None
    raise StoreError(f"{path}: no such file or folder", "`edgebench run` writes to results/")


def folders_elsewhere(path: Path) -> set[Path]:
    """Folders below `path` whose results are of other machines than the user's own."""
    return {marker.parent for marker in path.rglob(MEASURED_ELSEWHERE)} - {path}


class RunStore:
    """The result file and the journal of one run, open for appending and locked."""

    def __init__(self, results: Path, head: JournalHead) -> None:
        self.results = results
        self.head = head
        self.done: dict[str, Record] = {}
        self.pending: dict[str, list[JournalEntry]] = {}
        self.say: Callable[[str], None] = say  # where the user hears of files that were lost
        self._results_fd = -1
        self._journal_fd = -1
        self._ends: dict[int, int] = {}  # of what was written to each descriptor

    @property
    def journal(self) -> Path:
        return self.results.with_suffix(JOURNAL_SUFFIX)

    @property
    def lock_fd(self) -> int:
        """Descriptor that holds the lock; workers inherit it."""
        return self._journal_fd

    @property
    def rounds(self) -> int:
        kept = (replicate for record in self.done.values() for replicate in record.replicates)
        waiting = (entry.replicate for entries in self.pending.values() for entry in entries)
        known = (r.round for r in chain(kept, waiting) if r.round is not None)
        return 1 + max(known, default=-1)

    @classmethod
    def create(cls, results: Path, head: JournalHead) -> RunStore:
        """Starts a new result file. Raises StoreError where it cannot be written."""
        store = cls(results, head)
        store._open([head])
        return store

    def _open(self, lines: Sequence[JournalHead | JournalEntry]) -> None:
        """Makes both files; the journal with its first lines or not at all: without settings it could not be
        resumed."""
        partial = self.journal.with_suffix(".new")
        with self._closed_on_error():
            refuse_planted(self.results)
            self.results.parent.mkdir(parents=True, exist_ok=True)
            self._journal_fd = os.open(partial, _FLAGS | os.O_EXCL, 0o644)
            self._lock()
            for line in lines:
                self._append(self._journal_fd, encoded(line), partial)
            self._results_fd = os.open(self.results, _FLAGS | os.O_EXCL, 0o644)
            partial.replace(self.journal)

    @contextlib.contextmanager
    def _closed_on_error(self) -> Iterator[None]:
        """Closes the files where what is done here fails. Raises StoreError."""
        try:
            yield
        except OSError as error:
            self.close()
            raise _unwritable(self.results, error) from None
        except StoreError:
            self.close()
            raise

    @classmethod
    def resume(cls, journal: Path) -> RunStore:
        """Opens an unfinished run again. Raises StoreError where one of its processes still lives."""
        results = journal.with_suffix(".jsonl")
        head = _head_of(journal)
        store = cls(results, head)
        with store._closed_on_error():
            refuse_planted(journal)
            store._journal_fd = os.open(journal, _FLAGS, 0o644)
            _refuse_strangers(journal, store._journal_fd)
            store._lock()
            store._results_fd = os.open(results, _FLAGS, 0o644)
            _refuse_strangers(results, store._results_fd)
            _cut_torn_line(store._journal_fd)
            _cut_torn_line(store._results_fd)
            for record in iter_records(results):
                store.done[record.cell.id] = record
            for entry in _entries(journal):
                if entry.cell not in store.done:
                    store.pending.setdefault(entry.cell, []).append(entry)
        return store

    def _lock(self) -> None:
        """Takes the lock; waits a moment for the workers of a run that was just killed."""
        give_up = time.monotonic() + LOCK_TIMEOUT_S
        while True:
            try:
                fcntl.flock(self._journal_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() < give_up:
                    time.sleep(0.05)
                    continue
                raise StoreError(
                    f"{self.journal}: the run, or a worker of it, is still alive",
                    "wait for it to end, or stop it, then resume",
                ) from None

    def add_replicate(self, entry: JournalEntry) -> None:
        """Keeps a replicate; on disk when this returns."""
        self._stay()
        self._append(self._journal_fd, encoded(entry), self.journal)
        self.pending.setdefault(entry.cell, []).append(entry)

    def add_record(self, record: Record) -> None:
        """Keeps a complete cell; on disk when this returns."""
        self._stay()
        self._append(self._results_fd, encoded(record), self.results)
        self.done[record.cell.id] = record
        self.pending.pop(record.cell.id, None)

    def _stay(self) -> None:
        """Sees to it that what is written can be found: where a file was removed, moved, replaced or cut since,
        all that the run has goes to new ones, and the user hears of it. Raises StoreError where they cannot
        be written."""
        if self._whole(self.results, self._results_fd) and self._whole(
            self.journal, self._journal_fd
        ):
            return
        lost = self.results
        for path, fd in ((self.results, self._results_fd), (self.journal, self._journal_fd)):
            if _is(path, fd):  # what is left of it
                path.unlink()
        self.close()
        if self.results.exists() or self.journal.exists():  # somebody else's
            self.results = lost.with_name(f"{lost.stem}-{secrets.token_hex(2)}{lost.suffix}")
        entries = [entry for entries in self.pending.values() for entry in entries]
        try:
            self._open([self.head, *entries])
        except StoreError:  # the folder is another's now, or something else stands there
            self.results = Path(tempfile.mkdtemp(prefix="edgebench-results-")) / lost.name
            self._open([self.head, *entries])
        for record in self.done.values():
            self._append(self._results_fd, encoded(record), self.results)
        self.say(
            f"edgebench: {lost} or its journal was removed, replaced or cut while the run wrote to it; "
            f"all that was measured is in {self.results}"
        )

    def _whole(self, path: Path, fd: int) -> bool:
        """Whether the file at the path is the one that is written to, and holds all that was written."""
        return _is(path, fd) and os.fstat(fd).st_size >= self._ends.get(fd, 0)

    def finish(self) -> None:
        """Every cell has its record: the journal has served."""
        self._stay()
        with contextlib.suppress(FileNotFoundError):
            self.journal.unlink()
        self.close()

    def close(self) -> None:
        """Closes the files; an unfinished run keeps its journal."""
        for fd in (self._journal_fd, self._results_fd):
            if fd >= 0:
                os.close(fd)
        self._journal_fd = self._results_fd = -1
        self._ends.clear()

    def _append(self, fd: int, line: bytes, path: Path) -> None:
        start = os.lseek(fd, 0, os.SEEK_END)
        try:
            view = memoryview(line)
            while view:
                view = view[os.write(fd, view) :]
            os.fsync(fd)
            self._ends[fd] = start + len(line)
        except OSError as error:
            # A half-written line would swallow the next one: take it back.
            with contextlib.suppress(OSError):
                os.ftruncate(fd, start)
            raise _unwritable(path, error) from None


def _head_of(journal: Path) -> JournalHead:
    """The settings of an unfinished run. Raises StoreError where its journal holds none."""
    for number, line in _lines(journal):
        what = "it holds no settings that this version of edgebench can continue with"
        return decoded(line, _decode_head, f"{journal}:{number}", what, _ANEW)
    raise StoreError(f"{journal}: it is empty", _ANEW)


def _entries(journal: Path) -> Iterator[JournalEntry]:
    """The replicates of a journal. Raises StoreError, naming line and field, for a damaged one."""
    for number, line in islice(_lines(journal), 1, None):
        entry = decoded(line, _decode_entry, f"{journal}:{number}", "damaged", _ANEW)
        for field, problem in replicate_findings(entry.replicate):
            raise StoreError(f"{journal}:{number}: damaged: replicate.{field}: {problem}", _ANEW)
        yield entry


def _is(path: Path, fd: int) -> bool:
    """Whether the open file is the one that stands at the path."""
    try:
        return os.path.samestat(path.stat(), os.fstat(fd))
    except OSError:
        return False


def _refuse_strangers(path: Path, fd: int) -> None:
    """A journal names backends and tasks by file, and they are run; results are taken for measured ones."""
    if os.fstat(fd).st_uid != os.geteuid():
        raise StoreError(
            f"{path}: it belongs to another user, and a resumed run would use its settings",
            "start a new run; if you trust the file, resume a copy of your own",
        )


def _cut_torn_line(fd: int) -> None:
    """Removes what follows the last newline, so that the next line starts on its own."""
    end = os.lseek(fd, 0, os.SEEK_END)
    position = end
    while position > 0:
        step = min(65536, position)
        chunk = os.pread(fd, step, position - step)
        newline = chunk.rfind(b"\n")
        if newline >= 0:
            position = position - step + newline + 1
            break
        position -= step
    if position < end:
        os.ftruncate(fd, position)


def _unwritable(path: Path, error: OSError) -> StoreError:
    return StoreError(
        f"{path}: cannot write results: {error.strerror}",
        mend_disk(error, "give another folder with --out") + "; --resume continues from here",
    )


def unfinished(folder: Path) -> list[Path]:
    """Journals of unfinished runs below `folder`, oldest first."""
    return sorted(folder.rglob(f"*{JOURNAL_SUFFIX}"), key=lambda file: file.name)
