"""Bundles, pruning and `edgebench assets`."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from edgebench.assets import asset_cache, cached, fetch
from edgebench.assets.bundle import MANIFEST, export_bundle, import_bundle
from edgebench.assets.download_progress import terminal_progress
from edgebench.assets.prune import prune
from edgebench.cli.assets import command, select
from edgebench.definitions import workload_loader
from edgebench.definitions.workload import Asset
from edgebench.errors import AssetError, UsageError
from tests.assets.asset_files import asset, listing, sha256, workload

MODEL = b"model" * 1000
DATA = {"a.txt": b"alpha", "sub/b.txt": b"beta"}


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("EDGEBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def made(tmp_path: Path) -> list[Asset]:
    """A file and a folder of this machine."""
    (tmp_path / "m.onnx").write_bytes(MODEL)
    for name, content in DATA.items():
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return [
        asset(f"file:{tmp_path}/m.onnx", sha256(MODEL)),
        asset(f"file:{tmp_path}/data/", listing(DATA)),
    ]


@pytest.fixture
def known(made: list[Asset], monkeypatch: pytest.MonkeyPatch) -> None:
    """Two workloads, one of them in the suite `quick`."""
    workloads = {
        "typing": workload("typing", made[0]),
        "images": workload("images", made[0], made[1], suite="full"),
    }
    monkeypatch.setattr(workload_loader, "load_workloads", lambda folders=(): workloads)


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments, standalone_mode=False)


def _elsewhere(monkeypatch: pytest.MonkeyPatch, made: list[Asset], tmp_path: Path) -> None:
    """Another machine: an empty cache, and none of the files."""
    monkeypatch.setenv("EDGEBENCH_CACHE", str(tmp_path / "other"))
    (tmp_path / "m.onnx").unlink()
    shutil.rmtree(tmp_path / "data")


def test_a_bundle_carries_assets_to_another_machine(
    made: list[Asset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "b.tar"
    paths = fetch(made)
    size = export_bundle(paths, made, bundle)
    assert size == bundle.stat().st_size
    content = bundle.read_bytes()
    export_bundle(paths, reversed(made), bundle)
    assert bundle.read_bytes() == content
    _elsewhere(monkeypatch, made, tmp_path)
    assert [cached(item) for item in made] == [None, None]
    brought = {item.sha256: path for item, path in import_bundle(bundle)}
    assert brought == fetch(made, offline=True)
    assert brought[made[0].sha256].read_bytes() == MODEL
    assert (brought[made[1].sha256] / "sub/b.txt").read_bytes() == b"beta"
    assert asset_cache.check(made[1]).status == "ok"
    assert import_bundle(bundle)  # again: nothing to do, no error
    assert list((tmp_path / "other" / "tmp").iterdir()) == []


def _bundle(path: Path, items: list[dict[str, Any]], files: list[tuple[str, bytes]]) -> Path:
    document = {"schema": "edgebench.bundle/1", "assets": items}
    with tarfile.open(path, "w") as tar:
        for name, content in [(MANIFEST, json.dumps(document).encode()), *files]:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def _item(
    name: str = "m.onnx", folder: bool = False, digest: str = sha256(MODEL)
) -> dict[str, Any]:
    return {
        "uri": "pypi:a==1!m",
        "sha256": digest,
        "license": "MIT",
        "name": name,
        "folder": folder,
    }


_SHA = sha256(MODEL)


@pytest.mark.parametrize(
    ("items", "files", "expected"),
    [
        ([_item()], [(f"{_SHA}/m.onnx", b"other")], "another content"),
        ([_item()], [], "not whole"),
        ([_item()], [(f"{_SHA}/m.onnx", MODEL), (f"{_SHA}/x", b"")], "does not announce"),
        ([_item()], [(f"{_SHA}/m.onnx", MODEL), ("1" * 64 + "/x", b"")], "does not announce"),
        ([_item()], [(f"{_SHA}/m.onnx", MODEL), (f"{_SHA}/m.onnx", MODEL)], "twice"),
        ([_item()], [(f"{_SHA}/m.onnx/../../evil", MODEL)], "unsafe path"),
        ([_item("d", True)], [(f"{_SHA}/d/../evil", MODEL)], "unsafe path"),
        ([_item("d", True)], [(f"{_SHA}/d/a", b""), (f"{_SHA}/d/a/b", b"")], "twice"),
        ([_item("../evil")], [], "unsafe"),
        ([_item("a/evil")], [], "unsafe"),
        ([_item(asset_cache.MARKER)], [], "unsafe"),
        ([_item(digest="../evil")], [], "damaged"),
    ],
)
def test_a_bundle_that_is_not_what_it_says_leaves_nothing(
    items: list[dict[str, Any]],
    files: list[tuple[str, bytes]],
    expected: str,
    tmp_path: Path,
    root: Path,
) -> None:
    bundle = _bundle(tmp_path / "b.tar", items, files)
    with pytest.raises(AssetError, match=expected):
        import_bundle(bundle)
    assert not (root / "assets").exists()
    assert list((root / "tmp").iterdir()) == []
    assert not list(tmp_path.rglob("*evil*"))


def test_a_file_that_is_not_a_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match="there is no bundle"):
        import_bundle(tmp_path / "none.tar")
    (tmp_path / "x").write_bytes(b"no tar" * 200)
    with pytest.raises(AssetError, match="damaged or no archive"):
        import_bundle(tmp_path / "x")
    with tarfile.open(tmp_path / "y", "w") as tar:
        tar.addfile(tarfile.TarInfo("z"))
    with pytest.raises(AssetError, match="does not begin with"):
        import_bundle(tmp_path / "y")


def test_export_leaves_no_half_bundle(made: list[Asset], tmp_path: Path) -> None:
    paths = {**fetch(made), made[1].sha256: tmp_path / "gone"}
    with pytest.raises(AssetError):
        export_bundle(paths, made, tmp_path / "b.tar")
    assert not list(tmp_path.glob("b.tar*"))


def test_prune_removes_what_no_workload_names(
    made: list[Asset], tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "b.tar"
    export_bundle(fetch(made), made, bundle)
    (tmp_path / "m.onnx").unlink()
    shutil.rmtree(tmp_path / "data")
    import_bundle(bundle)
    keep, drop = made[0].sha256, made[1].sha256
    for name in (keep[:16], drop[:16]):
        (root / "models" / name).mkdir(parents=True)
        (root / "models" / name / "x.onnx").write_bytes(bytes(10))
    (root / "tmp" / "dead").mkdir()
    with asset_cache.workspace("busy") as busy:
        told = prune({keep}, dry_run=True)
        assert all(item.path.exists() for item in told)
        assert prune({keep}) == told
        assert busy.exists()
    assert {(item.path.parent.name, item.path.name) for item in told} == {
        ("assets", drop),
        ("files", drop),
        ("models", drop[:16]),
        ("tmp", "dead"),
    }
    assert not any(item.path.exists() for item in told)
    assert cached(made[0]) is not None
    assert (root / "models" / keep[:16] / "x.onnx").exists()
    assert prune({keep}) == []


@pytest.mark.usefixtures("known")
def test_pull_shows_what_it_brought(made: list[Asset], tmp_path: Path) -> None:
    result = _run("pull")
    assert result.return_value == 0
    assert made[0].uri in result.stdout
    assert "licence: MIT" in result.stdout
    assert "ok, 4.9 KiB" in result.stdout
    assert made[1].uri not in result.stdout  # not in the suite `quick`
    document = json.loads(_run("pull", "--all", "--format", "json").stdout)
    assert document["schema"] == "edgebench.assets/1"
    assert [item["status"] for item in document["assets"]] == ["ok", "ok"]
    assert document["assets"][0]["workloads"] == ["typing (model)", "images (model)"]
    assert document["assets"][1]["size_bytes"] == 9
    assert document["assets"][1]["path"] == str(tmp_path / "data")


@pytest.mark.usefixtures("known")
def test_an_asset_that_cannot_be_had_is_told_with_its_workload(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").unlink()
    result = _run("pull", "images")
    assert result.return_value == 6
    assert "needed by images (model): there is no" in result.stderr
    assert result.stdout.count("missing") == 1
    assert result.stdout.count("ok") == 1


@pytest.mark.usefixtures("known")
def test_verify_fails_for_what_is_corrupt_or_selected_and_missing(tmp_path: Path) -> None:
    assert _run("verify").return_value == 0
    (tmp_path / "m.onnx").unlink()
    assert _run("verify").return_value == 0
    assert _run("verify", "typing").return_value == 6
    (tmp_path / "m.onnx").write_bytes(b"other")
    result = _run("verify", "--format", "json")
    assert result.return_value == 6
    assert [item["status"] for item in json.loads(result.stdout)["assets"]] == ["corrupt", "ok"]


@pytest.mark.usefixtures("known")
def test_export_import_and_prune_by_command(
    made: list[Asset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "b.tar"
    assert "2 assets" in _run("export", str(bundle), "--all").stdout
    _elsewhere(monkeypatch, made, tmp_path)
    assert "licence: MIT" in _run("import", str(bundle)).stdout
    assert _run("verify", "--all").return_value == 0
    (tmp_path / "other" / "assets" / ("1" * 64)).mkdir()
    assert "would be removed" in _run("prune", "--dry-run").stdout
    assert "no workload names it" in _run("prune").stdout
    assert "nothing to remove" in _run("prune").stdout
    assert _run("verify", "--all").return_value == 0


def test_selecting_workloads(made: list[Asset]) -> None:
    known = {
        "typing": workload("typing", made[0]),
        "images": workload("images", made[1], suite="full"),
    }

    def names(*arguments: Any) -> list[str]:
        return [item.name for item in select(known, *arguments)]

    assert names([], None, False, "quick") == ["typing"]
    assert names([], None, False, None) == ["typing", "images"]
    assert names([], None, True, "quick") == ["typing", "images"]
    assert names([], "full", False, "quick") == ["images"]
    assert names(["images", "images"], None, False, "quick") == ["images"]
    with pytest.raises(UsageError, match="did you mean 'images'"):
        names(["image"], None, False, None)
    with pytest.raises(UsageError, match="no suite 'quik'; did you mean 'quick'"):
        names([], "quik", False, None)
    with pytest.raises(UsageError, match="cannot be combined"):
        names(["images"], "full", False, None)


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_a_bar_on_a_terminal_and_a_line_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    pipe, terminal = io.StringIO(), _Terminal()
    for stream in (pipe, terminal):
        with terminal_progress(stream) as progress:
            progress("pkg==1.0", 0, None)
            progress("pkg==1.0", 500_000, 1_000_000)
            progress("pkg==1.0", 1_000_000, 1_000_000)
    assert pipe.getvalue() == "fetching pkg==1.0\n"
    assert "1.0/1.0 MB" in terminal.getvalue()
    assert "\x1b[3" not in terminal.getvalue()  # no colour
