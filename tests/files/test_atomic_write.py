"""A file is written whole or not at all, and nothing takes the place of a device."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from edgebench.errors import StoreError
from edgebench.files.atomic_write import append, ready_to_write, whole_file


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_an_existing_file_is_replaced_only_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("old")
    with whole_file(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_the_existing_file_unchanged(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = tmp_path / "out"
    path.write_text("old")

    def end_early() -> None:
        with whole_file(path) as partial:
            partial.write_text("half")
            raise error

    with pytest.raises(error):
        end_early()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["out"]


def test_a_place_that_is_not_there_is_an_error_of_its_name(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "out"
    with (
        pytest.raises(StoreError, match=r"nowhere/out: cannot be written: No such file"),
        whole_file(path) as partial,
    ):
        partial.write_text("new")


def test_a_pipe_or_device_is_written_to_and_stays(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
    try:
        with whole_file(pipe) as partial:
            partial.write_text("new")
        assert os.read(reader, 10) == b"new"
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert names(tmp_path) == ["pipe"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("old")
    link = tmp_path / "link"
    link.symlink_to("there")
    with whole_file(link) as partial:
        partial.write_text("new")
    assert link.is_symlink()
    assert (tmp_path / "there").read_text() == "new"


@pytest.mark.parametrize("write", [whole_file, ready_to_write])
def test_a_pipe_that_nobody_reads_is_refused_and_not_waited_for(
    tmp_path: Path, write: Callable[[Path], AbstractContextManager[object]]
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with (
        pytest.raises(StoreError, match="pipe: cannot be written: it is a pipe that nobody reads"),
        write(pipe),
    ):
        pass


@pytest.mark.parametrize("write", [whole_file, ready_to_write])
def test_a_socket_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    write: Callable[[Path], AbstractContextManager[object]],
) -> None:
    monkeypatch.chdir(tmp_path)  # names of sockets must be short
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("a")
        with (
            pytest.raises(StoreError, match="a: cannot be written: it is a socket and not a file"),
            write(Path("a")),
        ):
            pass


def test_the_reader_of_a_pipe_sees_its_end_only_once_all_is_written(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with ready_to_write(pipe):
            with pytest.raises(BlockingIOError):  # at its end, b"" would be read
                os.read(reader, 10)
            with whole_file(pipe) as partial:
                partial.write_text("new")
        assert os.read(reader, 10) == b"new"
        assert os.read(reader, 10) == b""
    finally:
        os.close(reader)


def test_text_is_added_to_a_file_or_given_to_a_pipe(tmp_path: Path) -> None:
    for text in ("one ", "two"):
        append(tmp_path / "file", text)
    assert (tmp_path / "file").read_text() == "one two"
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="it is a pipe that nobody reads"):
        append(pipe, "one")
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        append(pipe, "one")
        assert os.read(reader, 10) == b"one"
    finally:
        os.close(reader)
