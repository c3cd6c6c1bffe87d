"""The result store: nothing that was written is lost, whatever interrupts the writing."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edgebench import store as store_module
from edgebench.errors import StoreError
from edgebench.record import encode
from edgebench.store import (
    JournalEntry,
    JournalHead,
    RunStore,
    read_records,
    result_files,
    unfinished,
)
from tests.records import record, replicate

HEAD = JournalHead(
    run_id="r1",
    started_utc="2026-01-01T00:00:00+00:00",
    options={},
    device="d",
    versions={},
    plan_sha256="",
)


def entry(cell: str, index: int = 0) -> JournalEntry:
    return JournalEntry(cell=cell, replicate=replicate(index))


def test_a_run_that_ends_leaves_records_and_no_journal(tmp_path: Path) -> None:
    store = RunStore.create(tmp_path / "device" / "run.jsonl", HEAD)
    written = record()
    store.add_replicate(entry(written.cell.id))
    store.add_record(written)
    store.finish()
    assert read_records(store.results) == [written]
    assert unfinished(tmp_path) == []


def test_resuming_gives_back_what_was_journalled(tmp_path: Path) -> None:
    store = RunStore.create(tmp_path / "run.jsonl", HEAD)
    complete = record()
    store.add_replicate(entry("b", 0))
    store.add_record(complete)
    store.add_replicate(entry("b", 1))
    store.close()
    [journal] = unfinished(tmp_path)
    again = RunStore.resume(journal)
    assert list(again.done) == [complete.cell.id]
    assert [e.replicate.index for e in again.pending["b"]] == [0, 1]
    assert again.head == HEAD
    again.close()


def test_a_run_knows_how_many_rounds_it_has_begun(tmp_path: Path) -> None:
    store = RunStore.create(tmp_path / "run.jsonl", HEAD)
    assert store.rounds == 0
    store.add_replicate(entry("b"))  # of a file from before rounds were kept
    assert store.rounds == 0
    store.add_record(msgspec.structs.replace(record(), replicates=[replicate(0, round=4)]))
    store.add_replicate(JournalEntry(cell="b", replicate=replicate(1, round=1)))
    assert store.rounds == 5
    store.close()


@given(cut=st.integers(min_value=0))
@example(cut=-2)  # by the last newline alone
def test_a_file_cut_anywhere_keeps_every_whole_line(cut: int, tmp_path_factory: Any) -> None:
    folder = tmp_path_factory.mktemp("cut")
    store = RunStore.create(folder / "run.jsonl", HEAD)
    first = record()
    store.add_record(first)
    after_first = store.results.stat().st_size
    store.add_record(record(variant={"precision": "int8-static", "threads": 1, "batch": 1}))
    store.close()
    size = store.results.stat().st_size
    cut %= size + 1
    os.truncate(store.results, cut)
    whole = 2 if cut == size else 1 if cut >= after_first else 0
    readable = 2 if cut >= size - 1 else 1 if cut >= after_first - 1 else 0
    assert len(read_records(store.results)) == readable
    again = RunStore.resume(store.journal)
    assert len(again.done) == whole
    third = record(variant={"precision": "int8-dynamic", "threads": 1, "batch": 1})
    again.add_record(third)
    again.finish()
    assert read_records(store.results)[-1] == third
    assert len(read_records(store.results)) == whole + 1


def test_one_foreign_line_is_no_torn_record(tmp_path: Path) -> None:
    file = tmp_path / "other.json"
    file.write_text('{"results": []}')
    with pytest.raises(StoreError, match=f"{file}:1: not a"):
        read_records(file)


def test_a_living_process_keeps_others_from_resuming(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "LOCK_TIMEOUT_S", 0.0)
    store = RunStore.create(tmp_path / "run.jsonl", HEAD)
    with pytest.raises(StoreError, match="still alive"):
        RunStore.resume(store.journal)
    # A worker inherits the descriptor: the lock holds until it is gone as well.
    worker = os.dup(store.lock_fd)
    store.close()
    with pytest.raises(StoreError, match="still alive"):
        RunStore.resume(store.journal)
    os.close(worker)
    RunStore.resume(store.journal).close()


def test_a_full_disk_is_one_error_and_spoils_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RunStore.create(tmp_path / "run.jsonl", HEAD)
    kept = record()
    store.add_record(kept)

    real_write = os.write
    calls = []

    def half_then_full(fd: int, data: Any) -> int:
        calls.append(fd)
        if len(calls) == 1:
            return real_write(fd, bytes(data)[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", half_then_full)
        with pytest.raises(StoreError, match="No space left") as caught:
            store.add_record(record(variant={"precision": "int8-static"}))
    assert "--resume" in caught.value.fix
    assert read_records(store.results) == [kept]
    store.add_record(record(variant={"precision": "int8-dynamic"}))
    store.close()
    assert len(read_records(store.results)) == 2


def removed(store: RunStore) -> None:
    store.results.unlink()
    store.journal.unlink()


def folder_removed(store: RunStore) -> None:
    shutil.rmtree(store.results.parent)


def folder_moved(store: RunStore) -> None:
    store.results.parent.rename(store.results.parent.with_name("elsewhere"))


def results_replaced(store: RunStore) -> None:
    store.results.unlink()
    store.results.write_text("somebody else's")


def results_removed(store: RunStore) -> None:
    store.results.unlink()


def journal_removed(store: RunStore) -> None:
    store.journal.unlink()


def folder_replaced_by_a_file(store: RunStore) -> None:
    shutil.rmtree(store.results.parent)
    store.results.parent.write_text("somebody else's")


def results_emptied(store: RunStore) -> None:
    store.results.write_bytes(b"")


@pytest.mark.parametrize(
    "harm",
    [
        removed,
        folder_removed,
        folder_moved,
        results_replaced,
        results_removed,
        journal_removed,
        results_emptied,
        folder_replaced_by_a_file,
    ],
)
def test_results_removed_during_a_run_are_written_again(
    harm: Callable[[RunStore], None],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    first, second = record(), record(variant={"precision": "int8-static"})
    store = RunStore.create(tmp_path / "device" / "run.jsonl", HEAD)
    store.add_replicate(entry("b", 0))
    store.add_record(first)
    harm(store)
    store.add_replicate(entry("b", 1))
    store.add_record(second)
    said = capsys.readouterr().err
    assert f"all that was measured is in {store.results}" in said
    assert said.count("\n") == 1
    assert read_records(store.results) == [first, second]
    store.close()
    [journal] = unfinished(store.results.parent)
    again = RunStore.resume(journal)
    assert again.results == store.results
    assert [e.replicate.index for e in again.pending["b"]] == [0, 1]
    again.close()
    if harm is results_replaced:
        assert (tmp_path / "device" / "run.jsonl").read_text() == "somebody else's"


def test_a_complete_run_is_there_when_it_ends(tmp_path: Path) -> None:
    store = RunStore.create(tmp_path / "run.jsonl", HEAD)
    store.add_record(record())
    store.results.unlink()
    store.finish()
    assert read_records(store.results) == [record()]
    assert unfinished(tmp_path) == []


def test_a_line_that_is_no_record_is_named(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text('{"schema": "something/1"}\n')
    with pytest.raises(StoreError, match=r"run\.jsonl:1: not a edgebench\.record/1"):
        read_records(path)


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="No such file"):
        read_records(tmp_path / "none.jsonl")


def test_a_run_never_overwrites_another(tmp_path: Path) -> None:
    RunStore.create(tmp_path / "run.jsonl", HEAD).finish()
    with pytest.raises(StoreError, match="exists"):
        RunStore.create(tmp_path / "run.jsonl", HEAD)


@pytest.mark.parametrize(
    "content",
    [
        b"garbage",
        b"\x00" * 100,
        b"PAR1\x00",
        b"<html>",
        b"[[[",
        b'{"a": "torn',
        b"\xff\xfe{\x00",
        b"x" * 200_000,
    ],
)
def test_a_file_of_foreign_text_without_a_newline_is_no_run_that_was_killed(
    tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(content)
    with pytest.raises(StoreError, match=r"a\.jsonl:1: not a edgebench\.record/1 record") as caught:
        read_records(file)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("kept", [1, 20, 200])
def test_a_run_that_was_killed_at_its_first_record_is_empty(tmp_path: Path, kept: int) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(encode(record())[:kept])
    assert read_records(file) == []


def test_zeros_after_a_power_failure_are_a_torn_line(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(encode(record()) + b"\x00" * 4096)
    assert read_records(file) == [record()]


def test_a_pipe_that_nobody_writes_to_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "a.jsonl"
    os.mkfifo(pipe)
    for asked in (pipe, tmp_path):
        with pytest.raises(StoreError, match=r"a\.jsonl: it is a pipe and not a file"):
            [list(read_records(file)) for file in result_files(asked)]
    (tmp_path / "b.jsonl").mkdir()
    assert result_files(tmp_path) == [pipe]
    with pytest.raises(StoreError, match="it is a device and not a file"):
        read_records(Path(os.devnull))


def test_a_line_is_not_read_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "MAX_LINE_BYTES", 100_000)
    file = tmp_path / "a.jsonl"
    file.write_bytes(b"{" + b" " * 300_000)
    with pytest.raises(StoreError, match=r"a\.jsonl:1: it is longer than"):
        read_records(file)


def test_a_name_that_is_not_utf8_costs_nothing_that_was_measured(tmp_path: Path) -> None:
    head = msgspec.structs.replace(HEAD, options={"out": "caf\udce9"})
    store = RunStore.create(tmp_path / "caf\udce9" / "run.jsonl", head)
    one = record()
    run = msgspec.structs.replace(one.run, command=["edgebench", "run", "--out", "caf\udce9"])
    store.add_replicate(entry(one.cell.id))
    store.add_record(msgspec.structs.replace(one, run=run))
    store.close()
    [read] = read_records(store.results)
    assert read.run.command[-1] == r"caf\xe9"
    assert read.replicates == one.replicates
    again = RunStore.resume(store.journal)
    assert again.head.options == {"out": r"caf\xe9"}
    again.close()


def test_results_that_were_measured_elsewhere_do_not_compete_with_ones_own(tmp_path: Path) -> None:
    own, theirs = tmp_path / "desk" / "own.jsonl", tmp_path / "reference" / "theirs.jsonl"
    for file in (own, theirs):
        file.parent.mkdir()
        file.write_bytes(b"")
    (theirs.parent / store_module.MEASURED_ELSEWHERE).write_text("of the authors")
    assert store_module.result_files(tmp_path) == [own]
    assert store_module.result_files(theirs.parent) == [theirs]
    assert store_module.result_files(theirs) == [theirs]
