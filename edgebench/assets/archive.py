"""Takes named members out of zip and tar archives, hashing them on the way; nothing else is written.

An archive is hostile until its members' hashes are known: paths that leave the target folder, links,
sparse files, members that come twice and archives that unpack to far more than they hold are
refused, the last by counting what comes out, not by what headers claim.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
import stat
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, Literal, Protocol, cast

from edgebench.errors import AssetError
from edgebench.text.did_you_mean import did_you_mean
from edgebench.units import format_bytes

from .asset_uri import Member, member_parts

CHUNK_BYTES = 1 << 20
MAX_MEMBERS = 50_000
MAX_RATIO = 200  # of what comes out to the archive's size; weights reach 2, text 10
MIN_BUDGET_BYTES = 64 << 20  # below this an archive may be as dense as it likes
MAX_BUDGET_BYTES = 16 << 30

_DAMAGED = "the archive is damaged or no archive at all"
#: What the standard library raises for bytes that are not what they should be.
_READ_ERRORS = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    ValueError,
    OverflowError,
    NotImplementedError,
    struct.error,
)
_UNTRUSTED = "do not use this archive, and inform the author of the workload definition"


@dataclass(frozen=True)
class Wanted:
    """A member to take out, and where to put it: a path that does not exist yet."""

    member: Member
    target: Path


@dataclass
class Extracted:
    """Holds what was written of one wanted member: relative path -> sha256; a file's path is ''."""

    files: dict[str, str] = field(default_factory=dict)
    keys: set[str] = field(default_factory=set)  # the paths as a forgiving file system sees them

    def sha256(self, folder: bool) -> str:
        return listing_sha256(self.files) if folder else self.files.get("", "")


@dataclass
class Budget:
    """How many bytes may still come out of an archive."""

    left_bytes: int
    archive_bytes: int

    @classmethod
    def of(cls, archive_bytes: int) -> Budget:
        allowed = max(MIN_BUDGET_BYTES, archive_bytes * MAX_RATIO)
        return cls(min(allowed, MAX_BUDGET_BYTES), archive_bytes)

    def spend(self, count: int) -> None:
        self.left_bytes -= count
        if self.left_bytes < 0:
            raise AssetError(
                f"unpacks to more than {MAX_RATIO} times its {format_bytes(self.archive_bytes)}, "
                "or to more than any model has: a decompression bomb",
                _UNTRUSTED,
            )


class Reader(Protocol):
    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True)
class ArchiveMember:
    """One entry of an archive; `open` must be called before the next entry is asked for."""

    name: str
    kind: Literal["file", "folder", "other"]
    open: Callable[[], Reader]


def listing_sha256(files: dict[str, str]) -> str:
    """Hash of a folder: of the lines `<sha256>  <relative path>`, sorted by path."""
    lines = (f"{digest}  {path}\n" for path, digest in sorted(files.items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def create_file(path: Path) -> BinaryIO:
    """Opens a new file for writing; FileExistsError where there is one."""
    return path.open("xb")


def copy_hashed(source: Reader, targets: Sequence[Path], spend: Callable[[int], None]) -> str:
    """Writes a stream to new files, on disk when this returns, and gives its sha256."""
    digest = hashlib.sha256()
    with ExitStack() as stack:
        files = [stack.enter_context(create_file(target)) for target in targets]
        while chunk := source.read(CHUNK_BYTES):
            spend(len(chunk))
            digest.update(chunk)
            for file in files:
                file.write(chunk)
        for file in files:
            file.flush()
            os.fsync(file.fileno())
    return digest.hexdigest()


def extract(
    archive: Path, wanted: Sequence[Wanted], *, strip_top: bool = False
) -> list[Extracted | AssetError]:
    """Takes the wanted members out; for each, what was written or why it is not there.

    `strip_top` reads names relative to the archive's single top folder (source distributions).
    Raises AssetError where the archive as a whole cannot be used, OSError where writing fails.
    """
    results = [Extracted() for _ in wanted]
    names: list[str] = []
    with open_members(archive) as members:
        for member in _below_top(members) if strip_top else members:
            names.append(member.name)
            if len(names) > MAX_MEMBERS:
                raise AssetError(f"holds more than {MAX_MEMBERS} members", _UNTRUSTED)
            _take(member, wanted, results)
    return [
        result if result.files else _missing(item.member, names)
        for item, result in zip(wanted, results, strict=True)
    ]


def _take(member: ArchiveMember, members: Sequence[Wanted], results: list[Extracted]) -> None:
    """Writes one member to every wanted place it belongs to. Folders come with their files."""
    if member.kind == "folder":
        return
    takers = [
        (item, result, relative)
        for item, result in zip(members, results, strict=True)
        if (relative := _relative(member, item.member)) is not None
    ]
    if not takers:
        return
    if member.kind != "file":
        raise AssetError(f"its member {member.name!r} is a link or a device", _UNTRUSTED)
    targets = []
    for item, result, relative in takers:
        _refuse_twice(member.name, relative, result)
        targets.append(_target(item, relative))
    try:
        # The budget is spent inside the member's reader.
        digest = copy_hashed(member.open(), targets, lambda _count: None)
    except FileExistsError:
        raise _twice(member.name) from None
    for _item, result, relative in takers:
        result.files[relative] = digest


def _relative(member: ArchiveMember, pattern: Member) -> str | None:
    """The member's path below the wanted one: '' for the file itself, None where it is not of it."""
    if not pattern.folder:
        return "" if member.name == pattern.path else None
    inside = member.name.removeprefix(pattern.path + "/")
    if inside == member.name:
        return None
    try:
        member_parts(inside)
    except ValueError as error:
        raise AssetError(str(error), _UNTRUSTED) from None
    return inside


def _refuse_twice(name: str, relative: str, result: Extracted) -> None:
    """Also refuses names that some file systems (macOS) take for the same."""
    key = unicodedata.normalize("NFC", relative).casefold()
    if key in result.keys:
        raise _twice(name)
    result.keys.add(key)


def _twice(name: str) -> AssetError:
    return AssetError(
        f"its member {name!r} comes twice, so it is not clear which one is meant", _UNTRUSTED
    )


def _target(item: Wanted, relative: str) -> Path:
    if not relative:
        item.target.parent.mkdir(parents=True, exist_ok=True)
        return item.target
    target = item.target.joinpath(*relative.split("/"))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise _twice(relative) from None
    return target


def _missing(pattern: Member, names: Sequence[str]) -> AssetError:
    """No such member: names the closest ones, those of the same base name first."""
    folders = {f"{parent}/" for name in names for parent in PurePosixPath(name).parents[:-1]}
    files = {name for name in names if not name.endswith("/")}
    same = sorted(path for path in files | folders if PurePosixPath(path).name == pattern.name)
    if same:
        hint = f"; did you mean {' or '.join(repr(path) for path in same[:3])}?"
    else:
        # Comparing names takes long: an archive of very many is searched in part.
        hint = did_you_mean(str(pattern), sorted(folders if pattern.folder else files)[:5000])
        if "did you mean" not in hint:
            top = sorted({name.partition("/")[0] for name in names})
            hint = f"; at its top it holds: {', '.join(top[:8])}" if top else "; it is empty"
    return AssetError(
        f"the archive has no member '{pattern}'{hint}", "correct the path after '!' in the URI"
    )


def _below_top(members: Iterator[ArchiveMember]) -> Iterator[ArchiveMember]:
    """Members named relative to the single folder that holds them all."""
    top: str | None = None
    for member in members:
        head, slash, rest = member.name.partition("/")
        if top is None:
            top = head
        if head != top or not (slash or member.kind == "folder"):
            raise AssetError(
                "is not a source distribution: it does not have a single top folder", _UNTRUSTED
            )
        if rest:
            yield ArchiveMember(rest, member.kind, member.open)


@contextmanager
def open_members(archive: Path, budget: Budget | None = None) -> Iterator[Iterator[ArchiveMember]]:
    """The members of a zip or tar archive, in the archive's order.

    Raises AssetError where the archive cannot be read or is not to be trusted.
    """
    budget = budget or Budget.of(archive.stat().st_size)
    with ExitStack() as stack:
        file = stack.enter_context(archive.open("rb"))
        try:
            if zipfile.is_zipfile(file):
                zipped = stack.enter_context(zipfile.ZipFile(file))
                yield _zip_members(zipped, budget)
            else:
                stream = _Forward(_decompressed(file), budget)
                # Its methods are those that tarfile uses of a file.
                tar = stack.enter_context(
                    tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r:")
                )
                yield _tar_members(tar)
        except _READ_ERRORS as error:
            raise AssetError(f"{_DAMAGED} ({error})", "pull it again") from None
        except OSError as error:
            if error.errno is None:  # how gzip and bz2 report bad data
                raise AssetError(f"{_DAMAGED} ({error})", "pull it again") from None
            raise


def _zip_members(zipped: zipfile.ZipFile, budget: Budget) -> Iterator[ArchiveMember]:
    for info in zipped.infolist():
        mode = info.external_attr >> 16
        kind: Literal["file", "folder", "other"] = "file"
        if info.is_dir():
            kind = "folder"
        elif stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            kind = "other"

        def open_member(info: zipfile.ZipInfo = info) -> Reader:
            if info.flag_bits & 0x1:
                raise AssetError(f"its member {info.filename!r} is encrypted", _UNTRUSTED)
            # Python unpacks other methods a whole read at a time, whatever comes out of it.
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise AssetError(
                    f"its member {info.filename!r} is packed by method {info.compress_type}",
                    "pack the archive with deflate",
                )
            return _Counted(zipped.open(info), budget)

        yield ArchiveMember(info.filename.removeprefix("./"), kind, open_member)


def _tar_members(tar: tarfile.TarFile) -> Iterator[ArchiveMember]:
    for info in tar:
        kind: Literal["file", "folder", "other"] = "other"
        if info.isdir():
            kind = "folder"
        elif info.isreg() and not info.issparse():
            kind = "file"

        def open_member(info: tarfile.TarInfo = info) -> Reader:
            content = tar.extractfile(info)
            if content is None:
                raise AssetError(f"its member {info.name!r} is not a file", _UNTRUSTED)
            return content

        yield ArchiveMember(info.name.removeprefix("./"), kind, open_member)


def _decompressed(file: BinaryIO) -> Reader:
    """The tar stream within: gzip, bzip2, xz or plain, told by its first bytes."""
    file.seek(0)
    magic = file.read(6)
    file.seek(0)
    if magic.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=file)
    if magic.startswith(b"BZh"):
        return bz2.BZ2File(file)
    if magic.startswith(b"\xfd7zXZ\0"):
        return lzma.LZMAFile(file)
    return file


@dataclass
class _Counted:
    """A member's content, counted as it comes out."""

    source: Reader
    budget: Budget

    def read(self, size: int, /) -> bytes:
        chunk = self.source.read(size)
        self.budget.spend(len(chunk))
        return chunk


class _Forward:
    """A tar stream that only goes forward, counts every byte and never reads much at once.

    tarfile reads extended headers whole, of the size they claim: that, too, is bounded here.
    """

    def __init__(self, source: Reader, budget: Budget) -> None:
        self._source, self._budget, self._position = source, budget, 0

    def read(self, size: int = -1, /) -> bytes:
        if not 0 <= size <= CHUNK_BYTES:
            raise AssetError("has a header larger than any real one", _UNTRUSTED)
        chunk = self._source.read(size)
        self._budget.spend(len(chunk))
        self._position += len(chunk)
        return chunk

    def tell(self) -> int:
        return self._position

    def seek(self, position: int, whence: int = io.SEEK_SET, /) -> int:
        if whence != io.SEEK_SET or position < self._position:
            raise tarfile.ReadError("members out of order")
        while self._position < position and self.read(min(CHUNK_BYTES, position - self._position)):
            pass
        return self._position
