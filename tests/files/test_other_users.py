"""What another user of the machine has put in our way is not opened, not followed and not changed."""

from __future__ import annotations

import os
import random
import re
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgebench.ab_test.cached_folder import locked
from edgebench.assets import asset_cache
from edgebench.errors import AssetError, DeviceStateError, StoreError
from edgebench.files.atomic_write import whole_file
from edgebench.files.lock_file import open_lock, own_folder
from edgebench.files.model_outputs import save_outputs
from edgebench.measure import cpu_pinning
from edgebench.models.llm.onnx_writer import OnnxWriter
from edgebench.store import JournalHead, RunStore

STRANGER = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file that nobody may open up, write to or replace."""
    path = tmp_path / "victim"
    path.write_text("precious")
    path.chmod(0o600)
    return path


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A folder like /tmp."""
    path = tmp_path / "shared"
    path.mkdir()
    path.chmod(0o1777)
    return path


def untouched(victim: Path) -> bool:
    return victim.read_text() == "precious" and stat.S_IMODE(victim.stat().st_mode) == 0o600


def test_a_link_in_the_place_of_a_cores_lock_is_not_followed(tmp_path: Path, victim: Path) -> None:
    locks = own_folder(tmp_path / "locks")
    (locks / "0.lock").symlink_to(victim)
    with (
        pytest.raises(DeviceStateError, match=r"0\.lock.*\n.*TMPDIR"),
        cpu_pinning.hold(1, source=random.Random(0), among=[0], folder=locks),
    ):
        pass
    assert untouched(victim)


def test_a_link_in_the_place_of_the_folder_of_locks_is_not_followed(
    tmp_path: Path, victim: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "locks").symlink_to("elsewhere")
    with (
        pytest.raises(DeviceStateError, match="is not a folder of this user"),
        cpu_pinning.hold(1, source=random.Random(0), among=[0], folder=tmp_path / "locks"),
    ):
        pass
    assert not list((tmp_path / "elsewhere").iterdir())


@as_root
def test_a_folder_of_locks_of_another_user_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    locks = tmp_path / "locks"
    locks.mkdir(mode=0o755)
    os.chown(locks, STRANGER, STRANGER)
    with (
        pytest.raises(DeviceStateError, match="is not a folder of this user"),
        cpu_pinning.hold(1, source=random.Random(0), among=[0], folder=locks),
    ):
        pass
    assert (locks.stat().st_uid, stat.S_IMODE(locks.stat().st_mode)) == (STRANGER, 0o755)


def test_a_folder_of_locks_that_others_can_write_to_is_refused(tmp_path: Path) -> None:
    locks = tmp_path / "locks"
    locks.mkdir()
    locks.chmod(0o777)
    with pytest.raises(PermissionError, match="can be written by other users"):
        own_folder(locks)


def test_locks_are_for_this_user_alone(tmp_path: Path) -> None:
    locks = tmp_path / "locks"
    with cpu_pinning.hold(1, source=random.Random(0), among=[0], folder=locks):
        assert stat.S_IMODE(locks.stat().st_mode) == 0o700
        assert stat.S_IMODE((locks / "0.lock").stat().st_mode) == 0o600


def test_every_user_has_a_folder_of_locks() -> None:
    assert cpu_pinning.lock_folder().name == f"edgebench-{os.geteuid()}"


@as_root
def test_a_lock_file_of_another_user_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "0.lock"
    path.touch(mode=0o600)
    os.chown(path, STRANGER, STRANGER)
    with pytest.raises(PermissionError, match="is not a file of this user"):
        open_lock(path)


def test_a_pipe_in_the_place_of_a_lock_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "0.lock", 0o600)
    with pytest.raises(PermissionError, match="is not a file of this user"):
        open_lock(tmp_path / "0.lock")


def test_a_link_in_the_place_of_an_environments_lock_is_not_followed(
    tmp_path: Path, victim: Path
) -> None:
    (tmp_path / "env.lock").symlink_to(victim)
    with pytest.raises(AssetError, match=r"env\.lock"), locked(tmp_path / "env.lock"):
        pass
    assert untouched(victim)


def test_a_guessed_partial_name_is_not_written_through(shared: Path, victim: Path) -> None:
    (shared / ".page.html.partial").symlink_to(victim)
    with whole_file(shared / "page.html") as partial:
        assert not partial.is_symlink()
        partial.write_text("new")
    assert untouched(victim)
    assert (shared / "page.html").read_text() == "new"


def write_mark(path: Path) -> None:
    asset_cache._write(path, b"new")


def write_answers(path: Path) -> None:
    save_outputs(path, [{"y": np.zeros(3, np.float32)}])


def write_decoder(path: Path) -> None:
    with OnnxWriter(path, contrib=False) as writer:
        writer.input("x", "float32", [1])


@pytest.mark.parametrize("write", [write_mark, write_answers, write_decoder])
def test_a_name_made_of_the_process_number_is_not_written_through(
    shared: Path, victim: Path, write: Callable[[Path], None]
) -> None:
    """Process numbers are few: a stranger plants a link for each of them."""
    for name in ("file.onnx", "file", "file.data"):
        for end in ("part", "npz", "tmp"):
            (shared / f"{name}.{os.getpid()}.{end}").symlink_to(victim)
    planted = {path.name for path in shared.iterdir()}
    write(shared / "file.onnx")
    assert untouched(victim)
    assert (shared / "file.onnx").is_file()
    assert {path.name for path in shared.iterdir()} - planted <= {"file.onnx", "file.data"}


def test_no_file_is_written_by_a_name_that_can_be_guessed() -> None:
    """What is half written has a name of chance: `files.atomic_write` gives it, or a number beside it is."""
    checkout = Path(__file__).parents[2]
    guessed = [
        f"{path.relative_to(checkout)}: {line.strip()}"
        for folder in ("edgebench", "backends")
        for path in (checkout / folder).rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(r"f\".*getpid\(\)}", line) and "token_hex" not in line
    ]
    assert guessed == []


@as_root
def test_a_folder_of_work_that_another_user_has_linked_is_not_cleared(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(asset_cache.ENV, str(shared))
    elsewhere = shared.parent / "elsewhere"
    elsewhere.mkdir()
    (shared / "tmp").symlink_to(elsewhere)
    os.chown(shared / "tmp", STRANGER, STRANGER, follow_symlinks=False)
    with pytest.raises(PermissionError, match="another user"), asset_cache.workspace("a"):
        pass
    assert list(elsewhere.iterdir()) == []


@as_root
@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_a_link_of_another_user_at_the_output_is_refused(
    shared: Path, victim: Path, kind: str
) -> None:
    path = shared / "page.html"
    path.symlink_to(victim) if kind == "link" else os.mkfifo(path)
    os.chown(path, STRANGER, STRANGER, follow_symlinks=False)
    with (
        pytest.raises(StoreError, match=r"page\.html: cannot be written: another user"),
        whole_file(path) as partial,
    ):
        partial.write_text("new")
    assert untouched(victim)


def test_a_file_that_is_written_whole_has_the_mode_that_the_user_wants(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with whole_file(tmp_path / "out") as partial:
            partial.write_text("new")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o640


def test_a_name_as_long_as_a_name_can_be_is_written(tmp_path: Path) -> None:
    with whole_file(tmp_path / ("n" * 255)) as partial:
        partial.write_text("new")
    assert (tmp_path / ("n" * 255)).read_text() == "new"


@as_root
def test_a_journal_of_another_user_is_not_resumed(tmp_path: Path) -> None:
    head = JournalHead(
        run_id="1", started_utc="t", options={}, device="d", versions={}, plan_sha256="0"
    )
    store = RunStore.create(tmp_path / "run.jsonl", head)
    store.close()
    os.chown(store.journal, STRANGER, STRANGER)
    with pytest.raises(StoreError, match="belongs to another user"):
        RunStore.resume(store.journal)
    os.chown(store.journal, 0, 0)
    RunStore.resume(store.journal).close()


def kept_run(folder: Path) -> RunStore:
    """An unfinished run without results."""
    head = JournalHead(
        run_id="1", started_utc="t", options={}, device="d", versions={}, plan_sha256="0"
    )
    store = RunStore.create(folder / "run.jsonl", head)
    store.close()
    return store


@pytest.mark.parametrize("what", ["results", "journal"])
def test_a_link_in_the_place_of_a_runs_file_is_not_written_through(
    tmp_path: Path, victim: Path, what: str
) -> None:
    store = kept_run(tmp_path)
    path: Path = getattr(store, what)
    if what == "journal":
        victim.write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(victim)
    before = victim.read_bytes()
    with pytest.raises(StoreError, match="symbolic links") as caught:
        RunStore.resume(store.journal)
    assert "there is a link" in caught.value.fix
    assert victim.read_bytes() == before


@as_root
def test_results_of_another_user_are_not_gone_on_with(tmp_path: Path) -> None:
    store = kept_run(tmp_path)
    os.chown(store.results, STRANGER, STRANGER)
    with pytest.raises(StoreError, match=r"run\.jsonl: it belongs to another user"):
        RunStore.resume(store.journal)


@as_root
def test_a_folder_that_another_user_has_linked_is_not_written_to(
    shared: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (shared / "results").symlink_to(elsewhere)
    os.chown(shared / "results", STRANGER, STRANGER, follow_symlinks=False)
    with pytest.raises(StoreError, match="another user has put it there"):
        kept_run(shared / "results" / "desk")
    with (
        pytest.raises(StoreError, match="another user has put it there"),
        whole_file(shared / "results" / "page.html") as partial,
    ):
        partial.write_text("new")
    assert not list(elsewhere.iterdir())
    os.chown(shared / "results", os.geteuid(), 0, follow_symlinks=False)  # one's own
    kept_run(shared / "results" / "desk")
