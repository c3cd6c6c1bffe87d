"""What a search refuses, in one line that names the fix, before anything is measured."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from edgebench.cli import cli
from edgebench.errors import EdgebenchError, ExitCode, StoreError, UsageError
from edgebench.planning.precision_files import with_maps
from edgebench.search.children import _decoded, _kind
from edgebench.search.kept_search import journal_at, write_file
from edgebench.search.search_messages import ChildFailure, Exploration


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--models", "a.onnx"), "--models takes two files or more"),
        (("--models", "a.onnx,missing.onnx"), "--models: no file missing.onnx"),
        (("--models", "a.onnx,./a.onnx"), "--models names a file twice"),
        (("--models", "a.onnx,b.onnx", "--format", "svg"), "--format svg draws one search"),
        (("--models", "a.onnx,b.onnx", "--model", "a.onnx"), "no --model beside it"),
        (("--model", "a.onnx", "--maximize", "reward(1ms,-0.1)"), "without labels there is none"),
        (("file-typing", "--maximize", "speed"), "is no reward"),
        (("sentence-embedding", "--budget", "0s"), "--budget 0s is not a time"),
    ],
)
def test_it_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.onnx", "b.onnx"):
        Path(name).write_bytes(b"")
    done = CliRunner().invoke(cli, ["search", *arguments])
    assert isinstance(done.exception, UsageError)
    assert told in done.exception.message
    assert "\n" not in done.exception.message
    assert done.exception.fix or "missing.onnx" in told
    assert done.stdout == ""


def test_an_unnamed_map_is_told() -> None:
    with pytest.raises(UsageError, match="precision=@ names no file"):
        with_maps({"precision": ["@"]})


def test_a_folder_that_cannot_be_written_is_told_with_the_way_on(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    inside = tmp_path / "file" / "search" / "x.json"  # below a file there is no folder
    journal = journal_at(tmp_path / "x.steps", resume=True)
    journal._path = inside
    for attempt in (
        lambda: write_file(inside, b"{}"),
        lambda: journal_at(inside, resume=False),
        lambda: journal.once(["damage"], float, lambda: 1.0),
    ):
        with pytest.raises(StoreError, match="cannot write the search") as raised:
            attempt()
        assert "--resume continues from here" in raised.value.fix
        assert raised.value.exit_code == ExitCode.STORE


@pytest.mark.parametrize("error", [UsageError("u", "f"), StoreError("s", "f"), EdgebenchError("e")])
def test_errors_of_a_child_keep_their_exit_code(error: EdgebenchError) -> None:
    told = ChildFailure(error=error.message, fix=error.fix, kind=_kind(error))
    with pytest.raises(EdgebenchError) as raised:
        _decoded(msgspec.json.encode(told), Exploration)
    assert raised.value.exit_code == error.exit_code
    assert (raised.value.message, raised.value.fix) == (error.message, error.fix)
