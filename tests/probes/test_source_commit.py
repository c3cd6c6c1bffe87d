"""The commit of the checkout that a run is started in."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from edgebench.probes.source_commit import source_commit


def git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false")
    command = ["git", "-C", str(folder), *identity, *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_commit_is_that_of_head_and_says_whether_files_were_changed(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    assert source_commit(tmp_path) is None  # no commit yet
    (tmp_path / "model.py").write_text("a")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert source_commit(tmp_path) == head
    (tmp_path / "results.jsonl").write_text("untracked files change no source")
    assert source_commit(tmp_path) == head
    (tmp_path / "model.py").write_text("b")
    assert source_commit(tmp_path) == head + "+"


def test_folder_without_a_checkout_and_machine_without_git_tell_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert source_commit(tmp_path) is None
    monkeypatch.setenv("PATH", "")
    assert source_commit(tmp_path) is None
