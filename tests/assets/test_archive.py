"""Taking members out of archives that may be hostile."""

from __future__ import annotations

import hashlib
import io
import lzma
import tarfile
import zipfile
from pathlib import Path

import pytest

from edgebench.assets import archive as archive_module
from edgebench.assets.archive import Budget, Extracted, Wanted, extract, open_members
from edgebench.assets.asset_uri import Member
from edgebench.errors import AssetError

FILES = {"p/data/a.txt": b"alpha", "p/data/sub/b.txt": b"beta" * 9, "p/m.onnx": b"model"}


def _zip(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in files.items():
            file.writestr(name, content)
    return path


def _tar(path: Path, files: dict[str, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as file:  # type: ignore[call-overload]  # any mode
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return path


def _take(path: Path, member: str, into: Path, strip_top: bool = False) -> Extracted:
    wanted = Wanted(Member(member.rstrip("/"), member.endswith("/")), into / "got")
    (result,) = extract(path, [wanted], strip_top=strip_top)
    if isinstance(result, AssetError):
        raise result
    return result


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("kind", ["zip", "stored", "w:", "w:gz", "w:bz2", "w:xz"])
def test_only_what_is_wanted_comes_out(tmp_path: Path, kind: str) -> None:
    if kind in ("zip", "stored"):
        method = zipfile.ZIP_DEFLATED if kind == "zip" else zipfile.ZIP_STORED
        path = _zip(tmp_path / "archive", FILES, method)
    else:
        path = _tar(tmp_path / "archive", FILES, kind)
    result = _take(path, "p/data/", tmp_path / "out")
    assert result.files == {"a.txt": _sha256(b"alpha"), "sub/b.txt": _sha256(b"beta" * 9)}
    found = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.*")}
    assert found == {"got/a.txt", "got/sub/b.txt"}
    listing = f"{_sha256(b'alpha')}  a.txt\n{_sha256(b'beta' * 9)}  sub/b.txt\n"
    assert result.sha256(folder=True) == _sha256(listing.encode())


def test_a_file_and_the_folder_around_it_come_out_in_one_pass(tmp_path: Path) -> None:
    path = _tar(tmp_path / "x.tar.gz", {f"./{name}": data for name, data in FILES.items()})
    wanted = [
        Wanted(Member("p/data", True), tmp_path / "one" / "data"),
        Wanted(Member("p/data/a.txt", False), tmp_path / "two" / "a.txt"),
    ]
    folder, file = extract(path, wanted)
    assert isinstance(folder, Extracted)
    assert isinstance(file, Extracted)
    assert len(folder.files) == 2
    assert (tmp_path / "one/data/a.txt").read_bytes() == b"alpha"
    assert (tmp_path / "two/a.txt").read_bytes() == b"alpha"
    assert file.sha256(folder=False) == _sha256(b"alpha")


def test_a_source_distribution_is_read_below_its_top_folder(tmp_path: Path) -> None:
    path = _tar(tmp_path / "x.tar.gz", {f"n-1.0/{name}": data for name, data in FILES.items()})
    assert set(_take(path, "p/data/", tmp_path / "out", strip_top=True).files) == {
        "a.txt",
        "sub/b.txt",
    }
    two = _tar(tmp_path / "y.tar.gz", {"a/x": b"", "b/y": b""})
    with pytest.raises(AssetError, match="a single top folder"):
        _take(two, "x", tmp_path / "out2", strip_top=True)


@pytest.mark.parametrize(
    ("wanted", "hint"),
    [
        ("p/dat/", "did you mean 'p/data/'"),
        ("q/m.onnx", "did you mean 'p/m.onnx'"),
        ("p/data", "did you mean 'p/data/'"),
        ("p/data/a.txt/", "did you mean 'p/data/a.txt'"),
        ("zzz", "at its top it holds: p"),
    ],
)
def test_a_missing_member_is_told_with_its_likes(tmp_path: Path, wanted: str, hint: str) -> None:
    path = _zip(tmp_path / "x.zip", FILES)
    with pytest.raises(AssetError) as caught:
        _take(path, wanted, tmp_path / "out")
    assert hint in caught.value.message


@pytest.mark.parametrize(
    "evil",
    ["d/../../evil", "d//evil", "d/./evil", "d/..", "d/a\\..\\evil", "d//etc/evil", "d/a\nb"],
)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_paths_that_leave_the_folder_are_refused(tmp_path: Path, evil: str, kind: str) -> None:
    make = _zip if kind == "zip" else _tar
    path = make(tmp_path / "archive", {"d/ok": b"1", evil: b"2"})
    with pytest.raises(AssetError, match="unsafe path"):
        _take(path, "d/", tmp_path / "out" / "deep")
    assert not list(tmp_path.rglob("*evil*"))


def test_hostile_names_elsewhere_are_not_even_looked_at(tmp_path: Path) -> None:
    path = _zip(tmp_path / "x.zip", {"../evil": b"", "/etc/evil": b"", "d/ok": b"1"})
    _take(path, "d/", tmp_path / "out" / "deep")
    assert not list(tmp_path.rglob("*evil*"))


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE]
)
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, kind: bytes) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as file:
        info = tarfile.TarInfo("d/link")
        info.type, info.linkname = kind, "/etc/passwd"
        file.addfile(info)
    for wanted in ("d/", "d/link"):
        with pytest.raises(AssetError, match="a link or a device"):
            _take(path, wanted, tmp_path / "out")


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as file:
        info = zipfile.ZipInfo("d/link")
        info.external_attr = 0o120777 << 16
        file.writestr(info, "/etc/passwd")
    with pytest.raises(AssetError, match="a link or a device"):
        _take(path, "d/", tmp_path / "out")


@pytest.mark.parametrize(
    "names",
    [["d/a", "d/a"], ["d/a", "./d/a"], ["d/a", "d/A"], ["d/é", "d/e\u0301"], ["d/a", "d/a/b"]],
)
def test_members_that_come_twice_are_refused(tmp_path: Path, names: list[str]) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as file:
        for name in names:
            file.addfile(tarfile.TarInfo(name), io.BytesIO())
    with pytest.raises(AssetError, match="comes twice"):
        _take(path, "d/", tmp_path / "out")


@pytest.mark.parametrize("kind", ["zip", "w:gz", "w:bz2", "w:xz"])
def test_a_decompression_bomb_is_stopped_by_what_comes_out(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_module, "MIN_BUDGET_BYTES", 1 << 20)
    zeros = {"d/big": bytes(24 << 20)}
    path = _zip(tmp_path / "x", zeros) if kind == "zip" else _tar(tmp_path / "x", zeros, kind)
    with pytest.raises(AssetError, match="decompression bomb"):
        _take(path, "d/", tmp_path / "out")
    assert (tmp_path / "out/got/big").stat().st_size < 24 << 20


def test_a_bomb_that_lies_before_the_wanted_member_is_stopped_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_module, "MIN_BUDGET_BYTES", 1 << 20)
    path = _tar(tmp_path / "x", {"big": bytes(24 << 20), "d/a": b"1"})
    with pytest.raises(AssetError, match="decompression bomb"):
        _take(path, "d/", tmp_path / "out")


def test_a_tar_header_of_gigabytes_is_not_read_into_memory(tmp_path: Path) -> None:
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 1 << 30
    path = tmp_path / "x.tar"
    path.write_bytes(header.tobuf(tarfile.GNU_FORMAT) + bytes(4096))
    with pytest.raises(AssetError, match="header larger than any real one"):
        _take(path, "d/", tmp_path / "out")


def test_a_sparse_file_is_refused(tmp_path: Path) -> None:
    # Its zeros are in no byte of the archive, so counting would not see them.
    info = tarfile.TarInfo("d/sparse")
    info.pax_headers = {
        "GNU.sparse.major": "0",
        "GNU.sparse.minor": "1",
        "GNU.sparse.size": str(1 << 40),
        "GNU.sparse.map": "0,0",
    }
    path = tmp_path / "x.tar"
    path.write_bytes(info.tobuf(tarfile.PAX_FORMAT) + bytes(1024))
    with pytest.raises(AssetError, match="a link or a device"):
        _take(path, "d/", tmp_path / "out")


def test_a_packing_that_python_unpacks_without_bounds_is_refused(tmp_path: Path) -> None:
    path = _zip(tmp_path / "x.zip", {"d/a": b"1"}, zipfile.ZIP_LZMA)
    with pytest.raises(AssetError, match="packed by method 14"):
        _take(path, "d/", tmp_path / "out")


def test_damaged_archives_are_one_clear_error(tmp_path: Path) -> None:
    content = bytes(range(256)) * 400
    sources = {
        "html": b"<html>not found</html>" * 100,
        "empty": b"",
        "cut.gz": _tar(tmp_path / "a", {"d/a": content}).read_bytes()[:-60],
        "cut.bz2": _tar(tmp_path / "b", {"d/a": content}, "w:bz2").read_bytes()[:-60],
        "cut.zip": _zip(tmp_path / "c", {"d/a": content}).read_bytes()[:-60],
        "bad.xz": lzma.compress(content)[:40] + bytes(60),
    }
    zipped = bytearray(_zip(tmp_path / "d", {"d/a": content}, zipfile.ZIP_STORED).read_bytes())
    zipped[300] ^= 1
    sources["flip.zip"] = bytes(zipped)
    for name, data in sources.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(AssetError, match="damaged"):
            _take(tmp_path / name, "d/", tmp_path / f"out-{name}")


def test_the_budget_grows_with_the_archive_up_to_a_limit() -> None:
    assert Budget.of(1).left_bytes == archive_module.MIN_BUDGET_BYTES
    assert Budget.of(10 << 20).left_bytes == (10 << 20) * archive_module.MAX_RATIO
    assert Budget.of(1 << 40).left_bytes == archive_module.MAX_BUDGET_BYTES


def test_too_many_members_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_module, "MAX_MEMBERS", 3)
    path = _zip(tmp_path / "x.zip", {f"d/{number}": b"" for number in range(5)})
    with pytest.raises(AssetError, match="more than 3 members"):
        _take(path, "d/", tmp_path / "out")


def test_members_come_in_the_order_of_the_archive(tmp_path: Path) -> None:
    path = _tar(tmp_path / "x.tar", FILES, "w:")
    with open_members(path) as members:
        assert [member.name for member in members] == list(FILES)
