"""What asset URIs say, and which paths inside archives are safe."""

from __future__ import annotations

import string
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edgebench.assets.asset_uri import FileUri, Member, PypiUri, WebUri, member_parts, parse_uri
from edgebench.errors import UsageError


@pytest.mark.parametrize(
    ("uri", "location"),
    [
        ("pypi:a-b==1.0!x/y.onnx", PypiUri("a-b", "1.0", Member("x/y.onnx", False))),
        ("pypi:a==1.0.post1!x/", PypiUri("a", "1.0.post1", Member("x", True))),
        ("pypi:a==5.1?sdist!t/d/", PypiUri("a", "5.1", Member("t/d", True), sdist=True)),
        ("pypi:a==1!2.0!x/y", PypiUri("a", "1!2.0", Member("x/y", False))),
        ("pypi:a==5!2x/y", PypiUri("a", "5", Member("2x/y", False))),
        ("https://h.org/m.onnx?v=1", WebUri("https://h.org/m.onnx?v=1")),
        ("https://h.org/a.zip!d/m", WebUri("https://h.org/a.zip", Member("d/m", False))),
        ("file:/a b/m.onnx", FileUri(Path("/a b/m.onnx"))),
        ("file:///a/d/", FileUri(Path("/a/d"), folder=True)),
        ("file:m.onnx", FileUri(Path("m.onnx"))),
    ],
)
def test_uris_are_read(uri: str, location: object) -> None:
    assert parse_uri(uri) == location


def test_a_hub_file_becomes_an_address_of_one_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    assert parse_uri("hf:o/r@abc/d/m x.onnx") == WebUri(
        "https://huggingface.co/o/r/resolve/abc/d/m%20x.onnx"
    )
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example/")
    assert parse_uri("hf:o/r@abc/m") == WebUri("https://mirror.example/o/r/resolve/abc/m")
    monkeypatch.setenv("HF_ENDPOINT", "http://mirror.example")
    with pytest.raises(UsageError, match="not an https address"):
        parse_uri("hf:o/r@abc/m")


@pytest.mark.parametrize(
    "uri",
    [
        "http://h.org/m",
        "pypi:a!x",
        "pypi:a==1.0",
        "pypi:a==1.*!x",
        "pypi:a>=1!x",
        "pypi:--index-url==1!x",
        "pypi:a==1.0!../x",
        "pypi:a==1.0!/etc/passwd",
        "pypi:a==1.0!x//y",
        "pypi:a==1.0!x\\y",
        "pypi:a==1.0?wheel!x",
        "https:m.onnx",
        "https://h.org",
        "https://h.org/d/",
        "https://h.org/d/..",
        "https://u:p@h.org/m",
        "https://h.org/m x",
        "https://h.org/m#f",
        "hf:owner/repo/m.onnx",
        "hf:repo@main/m.onnx",
        "hf:o/r@main/d/",
        "hf:o/r@main/../x",
        "file:",
        "file://host/m",
        "data:x",
        "",
    ],
)
def test_a_wrong_uri_is_refused_with_an_example(uri: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_uri(uri)
    assert "write" in caught.value.fix


_TRICKY = st.text(st.sampled_from("ab./\\: \0\n~C\u2028é"), max_size=12)


@given(st.one_of(_TRICKY, st.text(max_size=40)))
@example("../x")
@example("a/../../x")
@example("/etc/passwd")
@example("C:x")
@example("a\\..\\x")
@example("a/./b")
@example("a\0b")
@example("\ud800")
@example("é" * 130)
def test_a_path_is_refused_or_stays_below_its_folder(path: str) -> None:
    try:
        parts = member_parts(path)
    except ValueError:
        return
    root = PurePosixPath("/base")
    joined = root.joinpath(*parts)
    assert joined.relative_to(root).as_posix() == path
    assert ".." not in parts
    assert "\0" not in path
    assert all(len(part.encode()) <= 255 for part in parts)


_NAME = st.text(string.ascii_letters + string.digits + "_-é ", min_size=1, max_size=20)


@given(st.lists(_NAME, min_size=1, max_size=6))
def test_ordinary_paths_are_kept(parts: list[str]) -> None:
    assert member_parts("/".join(parts)) == tuple(parts)
