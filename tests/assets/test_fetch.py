"""Fetching into the cache: through pip, over the web, from files; and everything that goes wrong."""

from __future__ import annotations

import contextlib
import errno
import http.client
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgebench import assets
from edgebench.assets import archive, asset_cache, fetch_each, https_download, pip_download
from edgebench.assets.asset_uri import PypiUri
from edgebench.definitions.workload import Asset
from edgebench.errors import AssetError, UsageError
from tests.assets.asset_files import (
    asset,
    listing,
    make_sdist,
    make_wheel,
    serving,
    sha256,
    workload,
)

MODEL = b"model" * 1000
DATA = {"a.txt": b"alpha", "sub/b.txt": b"beta"}
WHEEL = {"pkg/m.onnx": MODEL, **{f"pkg/data/{name}": data for name, data in DATA.items()}}
needs_pip = pytest.mark.skipif(
    importlib.util.find_spec("pip") is None, reason="pip is not in this environment"
)


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("EDGEBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is pip's only source of distributions."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def _leftovers(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file() and "locks" not in path.parts]


def _error(item: Asset, **options: Any) -> AssetError:
    paths, errors = fetch_each([item], **options)
    assert paths == {}
    return errors[item.sha256]


# pip


@needs_pip
def test_members_of_one_wheel_come_by_one_download(
    index: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_wheel(index, "pkg", WHEEL)
    runs: list[str] = []
    download = pip_download.download

    def counted(uri: PypiUri, into: Path, report: pip_download.Report) -> Path:
        runs.append(uri.name)
        return download(uri, into, report)

    monkeypatch.setattr(pip_download, "download", counted)
    model = asset("pypi:pkg==1.0!pkg/m.onnx", sha256(MODEL))
    data = asset("pypi:pkg==1.0!pkg/data/", listing(DATA))
    wrong = asset("pypi:pkg==1.0!pkg/data/a.txt")
    seen: list[tuple[str, int, int | None]] = []
    paths, errors = fetch_each(
        [model, data, wrong],
        progress=lambda *state: seen.append(state),
        users={wrong.sha256: ["typing (model)"]},
    )
    assert runs == ["pkg"]
    assert paths[model.sha256].name == "m.onnx"
    assert paths[model.sha256].read_bytes() == MODEL
    assert (paths[data.sha256] / "sub/b.txt").read_bytes() == b"beta"
    assert list(errors) == [wrong.sha256]
    message = str(errors[wrong.sha256])
    assert "pkg/data/a.txt needed by typing (model): its content is not what" in message
    assert sha256(b"alpha") in message
    assert seen[-1][0] == "pkg==1.0"
    assert seen[-1][1] == seen[-1][2]
    assert {path.name for path in _leftovers(root)} == {"m.onnx", "a.txt", "b.txt", ".edgebench"}
    # Now without network, and without pip.
    monkeypatch.setattr(pip_download, "download", None)
    assert assets.fetch([model, data], offline=True) == paths


@needs_pip
@pytest.mark.parametrize("pyproject", [True, False])
def test_no_code_of_a_source_distribution_runs(
    index: Path, tmp_path: Path, pyproject: bool
) -> None:
    evil = f"open({str(tmp_path / 'ran')!r}, 'w').close()\n".encode()
    files = {"setup.py": evil, "build_it.py": evil, "PKG-INFO": b"", "d/a.txt": b"alpha"}
    if pyproject:
        files["pyproject.toml"] = (
            b'[build-system]\nrequires = ["absent"]\nbuild-backend = "build_it"\n'
            b'backend-path = ["."]\n'
        )
    make_sdist(index, "pkg", files)
    make_wheel(index, "pkg", {"other": b""})
    item = asset("pypi:pkg==1.0?sdist!d/", listing({"a.txt": b"alpha"}))
    (path,) = assets.fetch([item]).values()
    assert (path / "a.txt").read_bytes() == b"alpha"
    assert not (tmp_path / "ran").exists()


@needs_pip
def test_a_wheel_of_another_platform_serves_as_well(index: Path) -> None:
    make_wheel(index, "pkg", WHEEL, tags="cp38-cp38-win_amd64")
    item = asset("pypi:pkg==1.0!pkg/m.onnx", sha256(MODEL))
    assert assets.fetch([item])[item.sha256].read_bytes() == MODEL


@needs_pip
def test_a_distribution_missing_from_the_index_is_named(index: Path, root: Path) -> None:
    error = _error(asset("pypi:absent==1.0!x"))
    assert "pip finds no wheel or source distribution of absent==1.0" in error.message
    assert _leftovers(root) == []


@needs_pip
def test_no_network_is_told(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    error = _error(asset("pypi:absent==1.0!x"))
    assert "no connection to the package index" in error.message
    assert "import" in error.fix


def test_pip_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    error = _error(asset("pypi:pkg==1.0!x"))
    assert "pip is not in this environment" in error.message
    assert "ensurepip" in error.fix


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ("ERROR: Could not install: [Errno 28] No space left on device", "no space left"),
        ("WARNING: Retrying (Retry(total=0)) [Errno -2] Name unknown'\nERROR: no", "Name unknown"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES", "DO NOT MATCH THE HASHES"),
        ("", "pip said nothing"),
    ],
)
def test_errors_of_pip_become_one_error(
    log: str, expected: str, monkeypatch: pytest.MonkeyPatch, root: Path
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(pip_download._Pip, "_run", lambda self, options, environment: (1, log))
    assert expected in _error(asset("pypi:pkg==1.0!x")).message
    assert _leftovers(root) == []


def test_the_tags_of_a_wheel_become_options_of_pip() -> None:
    assert pip_download._platform_options(
        "cp310", "abi3", "manylinux_2_17_x86_64.manylinux2014_x86_64"
    ) == [
        *("--implementation", "cp", "--python-version", "3.10"),
        *("--abi", "abi3", "--platform", "manylinux_2_17_x86_64"),
    ]


@pytest.mark.downloads
@needs_pip
def test_a_real_distribution(root: Path) -> None:
    digest = "8bc4052000c2ddba63118080a0d5484dd34c2a2612bf77d93fa90d8146b16371"
    item = asset("pypi:foolbox==3.3.4!foolbox/data/", digest)
    path = assets.fetch([item])[digest]
    assert len(list(path.glob("imagenet_*.jpg"))) == 20
    assert assets.check(item).status == "ok"


# The web


def test_a_file_and_a_member_come_over_the_web(tmp_path: Path, root: Path) -> None:
    wheel = make_wheel(tmp_path, "pkg", WHEEL).read_bytes()
    plain = asset("https://test.invalid/m.onnx", sha256(MODEL))
    folder = asset("https://test.invalid/a.zip!pkg/data/", listing(DATA))
    with serving({"m.onnx": MODEL, "a.zip": wheel}) as server:
        paths, errors = fetch_each([plain, folder], open_url=server.open_url)
        again, _ = fetch_each([plain, folder], open_url=server.open_url)
    assert errors == {}
    assert paths == again
    assert sorted(server.requests) == ["a.zip", "m.onnx"]
    assert paths[plain.sha256].read_bytes() == MODEL
    assert {path.name for path in _leftovers(root)} == {"m.onnx", "a.txt", "b.txt", ".edgebench"}


def test_the_same_address_serves_whole_and_in_part(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "pkg", WHEEL).read_bytes()
    whole = asset("https://test.invalid/a.zip", sha256(wheel))
    part = asset("https://test.invalid/a.zip!pkg/m.onnx", sha256(MODEL))
    with serving({"a.zip": wheel}) as server:
        paths, errors = fetch_each([whole, part], open_url=server.open_url)
    assert errors == {}
    assert set(paths) == {whole.sha256, part.sha256}


@pytest.mark.parametrize("cut_bytes", [1, len(MODEL)])
def test_an_interrupted_download_leaves_nothing(root: Path, cut_bytes: int) -> None:
    item = asset("https://test.invalid/m.onnx", sha256(MODEL))
    with serving({"m.onnx": MODEL}) as server:
        server.cut_bytes = cut_bytes
        error = _error(item, open_url=server.open_url)
        assert f"stopped after {len(MODEL) - cut_bytes} of {len(MODEL)} bytes" in error.message
        assert _leftovers(root) == []
        server.cut_bytes = 0
        assert item.sha256 in fetch_each([item], open_url=server.open_url)[0]


def test_errors_of_the_server_and_of_the_way_there(root: Path) -> None:
    with serving({}) as server:
        error = _error(asset("https://test.invalid/m.onnx"), open_url=server.open_url)
    assert "the server answers 404" in error.message
    error = _error(asset("https://test.invalid/m.onnx"), open_url=server.open_url)
    assert "no connection to https://test.invalid/m.onnx" in error.message
    assert _leftovers(root) == []


def test_a_redirect_must_stay_on_https() -> None:
    request = urllib.request.Request("https://a.invalid/x")
    redirect = https_download._HttpsOnly().redirect_request
    headers = http.client.HTTPMessage()
    body: Any = None
    with pytest.raises(AssetError, match="not https"):
        redirect(request, body, 302, "Found", headers, "http://a.invalid/x")
    followed = redirect(request, body, 302, "Found", headers, "https://b.invalid/x")
    assert followed is not None
    assert followed.full_url == "https://b.invalid/x"


def test_an_endless_body_is_stopped(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    monkeypatch.setattr(https_download, "MAX_BYTES", 100)
    with serving({"m.onnx": MODEL}) as server:
        error = _error(asset("https://test.invalid/m.onnx"), open_url=server.open_url)
    assert "more than any model has" in error.message
    assert _leftovers(root) == []


# Files of this machine


def test_a_file_is_used_where_it_is_and_checked_each_time(tmp_path: Path, root: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(MODEL)
    item = asset(f"file:{path}", sha256(MODEL))
    assert assets.fetch([item], offline=True) == {item.sha256: path}
    assert [found.parent.name for found in _leftovers(root)] == ["files"]
    path.write_bytes(MODEL[:-1] + b"X")
    assert assets.cached(item) is None
    with pytest.raises(AssetError, match="its content is not what the definition names"):
        assets.fetch([item])
    path.unlink()
    with pytest.raises(AssetError, match="there is no"):
        assets.fetch([item])


def test_the_record_of_a_file_holds_for_its_path_only(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(MODEL)
    other.write_bytes(MODEL[::-1])
    os.utime(other, ns=(one.stat().st_atime_ns, one.stat().st_mtime_ns))
    assert assets.cached(asset(f"file:{one}", sha256(MODEL))) == one
    assert assets.cached(asset(f"file:{other}", sha256(MODEL))) is None


def test_a_folder_of_this_machine(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    for name, content in DATA.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    item = asset(f"file:{folder}/", listing(DATA))
    assert assets.folder_sha256(folder) == listing(DATA)
    assert assets.fetch([item]) == {item.sha256: folder}
    (folder / "more.txt").write_bytes(b"")
    assert assets.cached(item) is None
    (folder / "more.txt").unlink()
    (folder / "link").symlink_to("/etc/passwd")
    assert "neither file nor folder" in _error(item).message


# The cache


def _bring(name: str = "m.onnx", content: bytes = MODEL) -> tuple[Asset, Path]:
    item = asset(f"https://test.invalid/{name}", sha256(content))
    with serving({name: content}) as server:
        return item, fetch_each([item], open_url=server.open_url)[0][item.sha256]


def test_a_changed_copy_is_noticed_and_fetched_again() -> None:
    item, path = _bring()
    assert assets.cached(item) == path
    path.chmod(0o644)
    path.write_bytes(MODEL[:-1] + b"X")
    assert assets.cached(item) is None
    assert assets.check(item).status == "corrupt"
    with pytest.raises(AssetError, match="cached copy is damaged, and fetching is switched off"):
        assets.fetch([item], offline=True)
    assert _bring() == (item, path)
    assert path.read_bytes() == MODEL


def test_a_change_that_keeps_size_and_time_is_noticed() -> None:
    item, path = _bring()
    facts = path.stat()
    path.chmod(0o644)
    path.write_bytes(MODEL[:-1] + b"X")
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert assets.cached(item) is None
    assert assets.check(item).status == "corrupt"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
def test_what_another_user_says_of_an_asset_proves_nothing() -> None:
    item, path = _bring()
    marker = path.with_name(asset_cache.MARKER)
    entry = asset_cache.entry_of(item.sha256)
    assert entry is not None
    path.chmod(0o644)
    path.write_bytes(MODEL[:-1] + b"X")
    marks = asset_cache._marks(path, folder=False)
    marker.write_bytes(msgspec.json.encode(msgspec.structs.replace(entry, marks=marks)))
    assert assets.cached(item) == path  # as by its owner, who can do as he likes
    os.chown(marker, 65534, 65534)
    assert assets.cached(item) is None


def test_a_copied_cache_is_hashed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    item, path = _bring()
    os.utime(path, ns=(1, 1))
    assert assets.cached(item) == path
    monkeypatch.setattr(asset_cache, "content_sha256", lambda *_: pytest.fail("hashed again"))
    assert assets.cached(item) == path


def test_a_read_only_cache_serves_what_it_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    item, path = _bring()
    os.utime(path, ns=(1, 1))

    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(asset_cache, "_write", refuse)
    assert assets.cached(item) == path


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOSPC, "no space left on the disk"),
        (errno.EDQUOT, "no space left on the disk"),
        (errno.EROFS, "cannot be written"),
        (errno.EACCES, "cannot be written"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_a_disk_that_refuses_is_one_clear_error(
    number: int, expected: str, monkeypatch: pytest.MonkeyPatch, root: Path
) -> None:
    real = archive.create_file

    class Full:
        """A file that takes its first bytes only."""

        def __init__(self, path: Path) -> None:
            self.file = real(path)

        def close(self) -> None:
            self.file.close()

        def write(self, content: bytes) -> None:
            self.file.write(content[:10])
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(archive, "create_file", lambda path: contextlib.closing(Full(path)))
    item = asset("https://test.invalid/m.onnx", sha256(MODEL))
    with serving({"m.onnx": MODEL}) as server:
        error = _error(item, open_url=server.open_url)
        assert expected in error.message
        assert str(root) in error.message
        assert error.fix
        assert _leftovers(root) == []
        monkeypatch.undo()
        monkeypatch.setenv("EDGEBENCH_CACHE", str(root))
        assert fetch_each([item], open_url=server.open_url)[1] == {}


def test_clearing_outlives_one_who_still_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    troubles = [FileNotFoundError(errno.ENOENT, "gone"), OSError(errno.ENOTEMPTY, "not empty")]
    real = shutil.rmtree

    def rmtree(path: Path) -> None:
        if troubles:
            raise troubles.pop()
        real(path)

    monkeypatch.setattr(shutil, "rmtree", rmtree)
    (tmp_path / "d" / "sub").mkdir(parents=True)
    asset_cache.clear(tmp_path / "d")
    assert not (tmp_path / "d").exists()
    assert troubles == []


def test_the_first_error_is_raised_after_the_others_were_tried(tmp_path: Path) -> None:
    (tmp_path / "ok").write_bytes(MODEL)
    items = [asset(f"file:{tmp_path}/no{n}", str(n) * 64) for n in (1, 2)]
    with pytest.raises(AssetError, match=r"there is no .*no1") as caught:
        assets.fetch([*items, asset(f"file:{tmp_path}/ok", sha256(MODEL))])
    assert "and 1 more" in str(caught.value)


def test_the_cache_folder_is_the_users_or_as_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEBENCH_CACHE", "here")
    with pytest.raises(UsageError, match="relative"):
        assets.cache_dir()
    monkeypatch.delenv("EDGEBENCH_CACHE")
    assert assets.cache_dir().name == "edgebench"


def refused_home(_: str) -> Path:
    raise RuntimeError("could not determine the home directory for '~/.cache'")


@pytest.mark.parametrize("found", [refused_home, lambda name: Path("~/.cache") / name])
def test_a_user_without_a_home_is_told_what_to_set(
    found: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `docker run --user 12345` makes one; what platformdirs says of it depends on its version."""
    monkeypatch.delenv("EDGEBENCH_CACHE", raising=False)
    monkeypatch.setattr("platformdirs.user_cache_path", found)
    with pytest.raises(UsageError, match="no home folder") as caught:
        assets.cache_dir()
    assert "EDGEBENCH_CACHE" in caught.value.fix


def test_needs_name_each_content_once() -> None:
    model, data = asset("file:/m", "1" * 64), asset("file:/d", "2" * 64)
    needs = assets.needs_of([workload("a", model, data), workload("b", data)])
    assert [(need.asset.sha256[0], need.users) for need in needs] == [
        ("1", ("a (model)",)),
        ("2", ("a (data images)", "b (model)")),
    ]


# Processes

_PULL = """
import sys, urllib.request
from edgebench.assets import fetch_each
from edgebench.definitions.workload import Asset
port, digest = sys.argv[1:]
item = Asset(uri="https://test.invalid/m.onnx", sha256=digest, license="MIT")
_, errors = fetch_each(
    [item],
    progress=lambda what, *_: print(what, flush=True),
    open_url=lambda url: urllib.request.urlopen(f"http://127.0.0.1:{port}/m.onnx"),
)
sys.exit(len(errors))
"""


def _hold(asked: threading.Event, release: threading.Event) -> Callable[[], None]:
    """Says that a request has come, and lets it go on when told."""

    def before() -> None:
        asked.set()
        release.wait(30)

    return before


def _start(port: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _PULL, str(port), sha256(MODEL)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_two_processes_that_pull_at_once_download_once() -> None:
    release, asked = threading.Event(), threading.Event()
    with serving({"m.onnx": MODEL}) as server:
        server.before = _hold(asked, release)
        with _start(server.port) as first:
            assert asked.wait(30)
            with _start(server.port) as second:
                assert second.stdout is not None
                assert "another edgebench" in second.stdout.readline()
                release.set()
                second.stdout.read()
            assert first.stdout is not None
            first.stdout.read()
    assert (first.returncode, second.returncode) == (0, 0)
    assert server.requests == ["m.onnx"]


def test_a_pull_that_was_killed_leaves_a_usable_cache(root: Path) -> None:
    release, asked = threading.Event(), threading.Event()
    with serving({"m.onnx": MODEL}) as server:
        server.before = _hold(asked, release)
        with _start(server.port) as process:
            assert asked.wait(30)
            process.send_signal(signal.SIGKILL)
        (left,) = (root / "tmp").iterdir()
        release.set()
        item = asset("https://test.invalid/m.onnx", sha256(MODEL))
        assert assets.cached(item) is None
        paths, errors = fetch_each([item], open_url=server.open_url)
    assert errors == {}
    assert paths[item.sha256].read_bytes() == MODEL
    assert not left.exists()
