"""Reading small files that may be missing, forbidden or not ready."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgebench.probes import proc_files
from edgebench.testing.trees import write_tree


def fail_with(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def refuse(path: Path, limit_bytes: int) -> bytes:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(proc_files, "_read_bytes", refuse)


@pytest.mark.parametrize("code", [errno.EAGAIN, errno.EIO, errno.ENODATA, errno.EACCES])
def test_a_sensor_that_cannot_be_read_is_none_and_says_why(
    monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    fail_with(monkeypatch, code)
    assert proc_files.read(Path("temp")) is None
    assert proc_files.read_int(Path("temp")) is None
    assert proc_files.problem(Path("temp")) == os.strerror(code).lower()


def test_text_loses_newlines_and_the_nul_of_a_device_tree(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"Raspberry Pi 5 Model B\0")
    (tmp_path / "bad").write_bytes(b"\xff\xfe\n")
    assert proc_files.read(tmp_path / "model") == "Raspberry Pi 5 Model B"
    assert proc_files.read(tmp_path / "bad") is not None
    assert proc_files.read(tmp_path) is None  # a folder
    assert proc_files.problem(tmp_path / "model") == ""


def test_reading_stops_at_the_limit(tmp_path: Path) -> None:
    (tmp_path / "long").write_text("x" * 1000)
    assert proc_files.read(tmp_path / "long", limit_bytes=10) == "x" * 10


@given(st.integers(-(2**63), 2**64))
def test_a_counter_reads_back(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert proc_files.read_int(write_tree(Path(folder), {"n": str(count)}) / "n") == count


@pytest.mark.parametrize("text", ["", "many", "1.5", "1 2", "0x10"])
def test_text_that_is_no_number_is_none(tmp_path: Path, text: str) -> None:
    assert proc_files.read_int(write_tree(tmp_path, {"n": text}) / "n") is None


def test_paths_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    write_tree(tmp_path, {f"cpu{n}/online": "1" for n in (10, 2, 1, 0)})
    found = [path.parent.name for path in proc_files.glob(tmp_path, "cpu[0-9]*/online")]
    assert found == ["cpu0", "cpu1", "cpu2", "cpu10"]
    assert proc_files.glob(tmp_path / "absent", "*") == []


def test_of_a_repeated_key_the_first_line_counts() -> None:
    assert proc_files.fields("a: 1\nno mark\nb :2\na: 3") == {"a": "1", "b": "2"}
    assert proc_files.fields(None) == {}
