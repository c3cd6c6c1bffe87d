"""Parses the URI of an asset."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import quote, urlsplit

from edgebench.errors import UsageError

MAX_PATH = 1024  # characters of a member's path, and far below every file system's limit
MAX_COMPONENT_BYTES = 255  # of one name in a path, on every file system in use

_PYPI = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)"
    r"==(?P<version>(?:[0-9]+!)?[0-9][A-Za-z0-9.+_-]*)"
    r"(?P<sdist>\?sdist)?!(?P<member>.+)"
)
_HF = re.compile(
    r"(?P<repo>[A-Za-z0-9._-]+/[A-Za-z0-9._-]+)@(?P<revision>[A-Za-z0-9._-]+)/(?P<path>.+)"
)
_EXAMPLES = {
    "pypi": "pypi:NAME==VERSION!path/inside (NAME==VERSION?sdist!path for the source distribution)",
    "hf": "hf:owner/repo@revision/path",
    "https": "https://host/path, or https://host/archive.zip!path/inside",
    "file": "file:path/of/a/file, or file:folder/",
}


@dataclass(frozen=True)
class Member:
    """A file or folder inside an archive; `path` is relative, clean and without a trailing slash."""

    path: str
    folder: bool

    @property
    def name(self) -> str:
        return PurePosixPath(self.path).name

    def __str__(self) -> str:
        return self.path + "/" * self.folder


@dataclass(frozen=True)
class PypiUri:
    """A member of a distribution: of a wheel, or (`sdist`) of the source distribution."""

    name: str
    version: str
    member: Member
    sdist: bool = False

    @property
    def requirement(self) -> str:
        return f"{self.name}=={self.version}"


@dataclass(frozen=True)
class WebUri:
    """A file behind `https:`, or a member of an archive there."""

    url: str
    member: Member | None = None

    @property
    def name(self) -> str:
        return PurePosixPath(urlsplit(self.url).path).name


@dataclass(frozen=True)
class FileUri:
    """A file or folder of this machine, used where it is."""

    path: Path
    folder: bool = False


Location = PypiUri | WebUri | FileUri


def parse_uri(uri: str) -> Location:
    """The place a URI names. Raises UsageError where it is not one of the four forms.

    `file:` takes everything after it as a path, without percent-decoding; a relative one stays
    relative. `hf:` becomes the hub's https address (`HF_ENDPOINT` is honoured).
    """
    scheme, _, rest = uri.partition(":")
    parsers: dict[str, Callable[[str], Location]] = {
        "pypi": _parse_pypi,
        "https": _parse_https,
        "hf": _parse_hf,
        "file": _parse_file,
    }
    if scheme not in parsers:
        raise UsageError(
            f"{uri!r} is not an asset's URI", f"write one of: {'; '.join(_EXAMPLES.values())}"
        )
    try:
        return parsers[scheme](rest)
    except ValueError as error:
        raise UsageError(f"{uri!r}: {error}", f"write it like {_EXAMPLES[scheme]}") from None


def member_parts(path: str) -> tuple[str, ...]:
    """The components of an archive member's path, which is safe to create below a folder.

    Raises ValueError for everything that could leave that folder or mean another file elsewhere:
    absolute paths, `.` and `..`, empty components, backslashes, drive letters, control characters,
    surrogates and names too long for a file system.
    """
    if not path or len(path) > MAX_PATH:
        raise ValueError(f"unsafe path {path[:80]!r}: empty or longer than {MAX_PATH} characters")
    if path.startswith("/") or "\\" in path or re.match(r"[A-Za-z]:", path):
        raise ValueError(f"unsafe path {path!r}: absolute, with a drive letter or a backslash")
    if not path.isprintable():
        raise ValueError(f"unsafe path {path!r}: unprintable characters")
    parts = tuple(path.split("/"))
    if any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"unsafe path {path!r}: '.', '..' or an empty name in it")
    if any(len(part.encode()) > MAX_COMPONENT_BYTES for part in parts):
        raise ValueError(f"unsafe path {path[:80]!r}...: a name in it is too long")
    return parts


def _parse_member(text: str) -> Member:
    path = text.removesuffix("/")
    return Member("/".join(member_parts(path)), folder=path != text)


def _parse_pypi(rest: str) -> PypiUri:
    match = _PYPI.fullmatch(rest)
    if match is None:
        raise ValueError("no NAME==VERSION!path")
    member = _parse_member(match["member"])
    return PypiUri(match["name"], match["version"], member, sdist=match["sdist"] is not None)


def _parse_https(rest: str) -> WebUri:
    address, bang, inside = rest.partition("!")
    url = urlsplit(f"https:{address}")
    if not url.hostname or url.fragment or not url.path.strip("/") or not address.isascii():
        raise ValueError("no https://host/path")
    if url.username or url.password:
        raise ValueError("an address must not carry a user name or a password")
    if any(character.isspace() or not character.isprintable() for character in address):
        raise ValueError("white space in an address (write %20)")
    if address.endswith("/"):
        raise ValueError("an address names a file, not a folder")
    member_parts(PurePosixPath(url.path).name)
    return WebUri(f"https:{address}", _parse_member(inside) if bang else None)


def _parse_hf(rest: str) -> WebUri:
    match = _HF.fullmatch(rest)
    if match is None:
        raise ValueError("no owner/repo@revision/path (the revision is required)")
    member = _parse_member(match["path"])
    if member.folder:
        raise ValueError("a path on the hub names a file, not a folder")
    hub = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    if not hub.startswith("https://"):
        raise ValueError(f"HF_ENDPOINT is {hub!r}, not an https address")
    return WebUri(f"{hub}/{match['repo']}/resolve/{match['revision']}/{quote(member.path)}")


def _parse_file(rest: str) -> FileUri:
    if rest.startswith("//"):
        rest = rest[2:]
        if not rest.startswith("/"):
            raise ValueError("file: names a path of this machine, not a host")
    if not rest.strip("/") or "\0" in rest:
        raise ValueError("no path")
    return FileUri(Path(rest), folder=rest.endswith("/"))
