"""The user's cache of assets: lists it, verifies it and adds to it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import msgspec

from edgebench.definitions.workload import Asset
from edgebench.errors import AssetError, UsageError, mend_disk
from edgebench.files.atomic_write import refuse_planted, replacing
from edgebench.files.lock_file import is_ours, open_lock
from edgebench.files.regular_file import open_regular

from .archive import CHUNK_BYTES, listing_sha256
from .asset_uri import FileUri, parse_uri

ENV = "EDGEBENCH_CACHE"
MARKER = ".edgebench"
_CLEAR_ATTEMPTS = 20


class FileMark(msgspec.Struct, frozen=True, array_like=True):
    """A file as it was when its content was last checked; `path` is '' for the asset itself."""

    path: str
    size_bytes: int
    mtime_ns: int
    ctime_ns: int = 0  # of the last change of any kind, which nobody can set back


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """The marker beside a cached asset, which says what was verified of it."""

    schema: Literal["edgebench.asset/1"] = "edgebench.asset/1"
    uri: str
    license: str
    note: str = ""
    name: str  # of the file or folder; of a `file:` asset, its absolute path
    folder: bool
    marks: list[FileMark]

    @property
    def size_bytes(self) -> int:
        return sum(mark.size_bytes for mark in self.marks)


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a full check of an asset on this machine."""

    status: Literal["ok", "missing", "corrupt"]
    path: Path | None = None
    reason: str = ""  # why not ok


def cache_dir() -> Path:
    """The cache's root folder, which need not exist: `$EDGEBENCH_CACHE` or the user's cache folder.

    Raises UsageError where the variable holds no absolute path, or is not set and the user has no home.
    """
    if named := os.environ.get(ENV):
        root = Path(named).expanduser()
        if not root.is_absolute():
            raise UsageError(f"{ENV} is {named!r}, a relative path", "give an absolute one")
        return root
    return _user_cache_dir()


def _user_cache_dir() -> Path:
    """The user's cache folder. Raises UsageError where a user is in no list, as containers may have them."""
    import platformdirs  # not needed where the variable is set

    try:
        root = platformdirs.user_cache_path("edgebench")
    except RuntimeError:
        root = Path("~")
    if not root.is_absolute():
        raise UsageError("this user has no home folder to keep the cache in", f"set {ENV} or HOME")
    return root


def content_dir(sha256: str) -> Path:
    return cache_dir() / "assets" / sha256


def file_sha256(path: Path) -> str:
    """Hash of a file's content. Raises OSError, also for a pipe or device, which would have no end."""
    digest = hashlib.sha256()
    with open_regular(path) as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def folder_sha256(path: Path) -> str:
    """Hash of a folder: of the lines `<sha256 of file>  <relative path>`, sorted by path.

    Raises OSError; AssetError where something in it is neither file nor folder.
    """
    return listing_sha256({name: file_sha256(path / name) for name in files_below(path)})


def content_sha256(path: Path, folder: bool) -> str:
    return folder_sha256(path) if folder else file_sha256(path)


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files below a folder. Raises OSError."""
    return sum(mark.size_bytes for mark in _marks(path, path.is_dir()))


def cached(asset: Asset) -> Path | None:
    """The asset's file or folder if it is here and unchanged, else None. Needs no network.

    Files whose size and times are as this user last checked them are taken to be unchanged; others are hashed.
    Raises UsageError for a URI that is none.
    """
    location = parse_uri(asset.uri)
    if isinstance(location, FileUri):
        marker, path = cache_dir() / "files" / asset.sha256, location.path
        if _is_sound(marker, path, _read_marker(marker), str(path), asset, location.folder):
            return path
    entry = entry_of(asset.sha256)
    if entry is None:
        return None
    marker = content_dir(asset.sha256) / MARKER
    path = marker.with_name(entry.name)
    return path if _is_sound(marker, path, entry, entry.name, asset, entry.folder) else None


def check(asset: Asset) -> Condition:
    """Hashes the asset's content, whatever its times say."""
    location = parse_uri(asset.uri)
    if isinstance(location, FileUri) and location.path.exists():
        return _compare(location.path, asset.sha256, location.folder)
    entry = entry_of(asset.sha256)
    if entry is None:
        return Condition(status="missing", reason="not in the cache")
    return _compare(content_dir(asset.sha256) / entry.name, asset.sha256, entry.folder)


def entry_of(sha256: str) -> Entry | None:
    """The marker of a cached asset; None where there is none, or none that can be read."""
    return _read_marker(content_dir(sha256) / MARKER)


def install(staged: Path, asset: Asset, name: str, folder: bool) -> Path:
    """Moves a folder that holds the checked content `name` into the cache, whole or not at all."""
    _make_read_only(staged / name, folder)
    _write(staged / MARKER, msgspec.json.encode(_entry(asset, staged / name, name, folder)))
    for directory in [staged, *(path for path in staged.rglob("*") if path.is_dir())]:
        _sync(directory)
    target = content_dir(asset.sha256)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        staged.rename(target)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        # Another URI with the same content came first, or what is there is damaged.
        discard(target, staged.parent / "replaced")
        staged.rename(target)
    _sync(target.parent)
    return target / name


def discard(path: Path, way_out: Path) -> None:
    """Removes a folder such that nobody ever sees a part of it: out of the way first."""
    path.rename(way_out)
    shutil.rmtree(way_out)


@contextlib.contextmanager
def workspace(key: str, on_wait: Callable[[], None] = lambda: None) -> Iterator[Path]:
    """An empty folder in the cache's file system that one process at a time has for `key`.

    What a killed process left in it is removed first, and everything in it at the end.
    """
    name = hashlib.sha256(key.encode()).hexdigest()[:24]
    locks, folder = cache_dir() / "locks", cache_dir() / "tmp" / name
    refuse_planted(locks)
    locks.mkdir(parents=True, exist_ok=True)
    with os.fdopen(open_lock(locks / name), "wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(lock, fcntl.LOCK_EX)
        refuse_planted(folder)
        clear(folder)
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            clear(folder)


def clear(path: Path) -> None:
    """Removes a file or folder where there is one.

    Also a folder in which the pip of a killed pull still lives: it comes to an end without it.
    """
    for attempt in range(_CLEAR_ATTEMPTS):
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        except FileNotFoundError:
            if not path.exists():
                return
        except OSError as error:
            if error.errno != errno.ENOTEMPTY or attempt == _CLEAR_ATTEMPTS - 1:
                raise


@contextlib.contextmanager
def disk_errors(place: Path | None = None) -> Iterator[None]:
    """Turns what a disk refuses into the one clear error."""
    try:
        yield
    except OSError as error:
        where = place or cache_dir()
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise AssetError(
                f"no space left on the disk of {where}",
                f"free some (`edgebench assets prune`), or set {ENV} to a folder on another disk",
            ) from None
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise AssetError(
                f"{where} cannot be written: {error.strerror}",
                f"make it writable, or set {ENV} to a folder that is",
            ) from None
        fix = mend_disk(error, f"check the disk, or set {ENV} to a folder on another one")
        raise AssetError(f"{where}: {error.strerror or error}", fix) from None


def _is_sound(
    marker: Path, path: Path, entry: Entry | None, name: str, asset: Asset, folder: bool
) -> bool:
    """Whether its files are as last checked, or have the right hash as checked now."""
    try:
        known = entry.marks if entry and entry.name == name and is_ours(marker) else None
        if known == _marks(path, folder):
            return True
        if content_sha256(path, folder) != asset.sha256:
            return False
        # Best effort: a cache that is read-only still serves what it holds, hashed each time.
        with contextlib.suppress(OSError):
            marker.parent.mkdir(parents=True, exist_ok=True)
            _write(marker, msgspec.json.encode(_entry(asset, path, name, folder)))
    except (OSError, AssetError):
        return False  # gone, unreadable or of another kind: not the asset
    return True


def _compare(path: Path, sha256: str, folder: bool) -> Condition:
    try:
        actual = content_sha256(path, folder)
    except (OSError, AssetError) as error:
        return Condition(status="corrupt", path=path, reason=str(error))
    if actual != sha256:
        return Condition(status="corrupt", path=path, reason=f"its sha256 is {actual}")
    return Condition(status="ok", path=path)


def _entry(asset: Asset, path: Path, name: str, folder: bool) -> Entry:
    return Entry(
        uri=asset.uri,
        license=asset.license,
        note=asset.note,
        name=name,
        folder=folder,
        marks=_marks(path, folder),
    )


def _marks(path: Path, folder: bool) -> list[FileMark]:
    names = files_below(path) if folder else [""]
    return [_mark(path, name) for name in names]


def _mark(path: Path, name: str) -> FileMark:
    facts = (path / name).stat()
    return FileMark(name, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)


def files_below(path: Path) -> list[str]:
    """Relative paths of all files below a folder, sorted. Raises AssetError where it holds others."""
    if not path.is_dir():
        raise AssetError(f"{path} is not a folder", "name a file without a trailing '/'")
    files = []
    for item in path.rglob("*"):
        if item.is_symlink() or not (item.is_file() or item.is_dir()):
            raise AssetError(f"{item} is neither file nor folder", "put a copy in its place")
        if item.is_file():
            files.append(item.relative_to(path).as_posix())
    return sorted(files)


def _read_marker(path: Path) -> Entry | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Entry)
    except (OSError, msgspec.MsgspecError, RecursionError):
        return None


def _write(path: Path, content: bytes) -> None:
    """Replaces a file in one step, on disk when this returns."""
    with replacing(path) as partial, partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _make_read_only(path: Path, folder: bool) -> None:
    """So that a careless task does not change what every later run reads."""
    for item in path.rglob("*") if folder else [path]:
        if item.is_file():
            item.chmod(0o444)


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
