"""What was made once is used again only as long as it is what was made."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from edgebench.ab_test import cached_folder
from edgebench.ab_test.cached_folder import LIST, make_once
from edgebench.errors import AssetError


class Workshop:
    """Makes a folder of two files and a link, and counts how often."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.made = folder, 0

    def get(self) -> int:
        make_once(self.folder, self._make)
        return self.made

    def _make(self) -> None:
        self.made += 1
        (self.folder / "lib").mkdir(parents=True)
        (self.folder / "lib" / "module.py").write_text("x = 1\n")
        (self.folder / "model.onnx").write_bytes(b"model")
        (self.folder / "python").symlink_to("/usr/bin/python3")


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path / "envs" / "made")


def rewrite(path: Path) -> None:
    """Another content of the same size and time of writing."""
    facts = path.stat()
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
def test_what_another_user_lists_is_made_again(workshop: Workshop) -> None:
    workshop.get()
    os.chown(workshop.folder / LIST, 65534, 65534)
    assert workshop.get() == 2


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: rewrite(folder / "model.onnx"),
        lambda folder: rewrite(folder / "lib" / "module.py"),
        lambda folder: (folder / "lib" / "module.py").unlink(),
        lambda folder: (folder / "lib" / "more.py").touch(),
        lambda folder: (folder / "python").unlink() or (folder / "python").symlink_to("/bin/sh"),
        lambda folder: (folder / LIST).write_text("{"),
        lambda folder: (folder / LIST).unlink(),
    ],
    ids=["model", "module", "gone", "more", "link", "list damaged", "list gone"],
)
def test_a_changed_folder_is_built_again(
    workshop: Workshop, spoil: Callable[[Path], object]
) -> None:
    assert [workshop.get(), workshop.get()] == [1, 1]
    spoil(workshop.folder)
    assert [workshop.get(), workshop.get()] == [2, 2]
    assert (workshop.folder / "model.onnx").read_bytes() == b"model"


def test_a_folder_that_was_not_finished_is_built_again(workshop: Workshop) -> None:
    (workshop.folder / "lib").mkdir(parents=True)
    assert workshop.get() == 1


def test_bytecode_caches_do_not_change_a_folder(workshop: Workshop) -> None:
    workshop.get()
    (workshop.folder / "lib" / "__pycache__").mkdir()
    (workshop.folder / "lib" / "__pycache__" / "module.pyc").touch()
    assert workshop.get() == 1


def test_a_copied_folder_is_hashed_once(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    workshop.get()
    os.utime(workshop.folder / "model.onnx", ns=(1, 1))
    assert workshop.get() == 1
    monkeypatch.setattr(cached_folder, "file_sha256", lambda _: pytest.fail("hashed again"))
    assert workshop.get() == 1


def test_a_file_system_without_locks_is_said(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(AssetError, match="No locks available") as caught:
        workshop.get()
    assert "EDGEBENCH_CACHE" in caught.value.fix
    assert "space" not in caught.value.fix
