"""A bundle: a plain tar of assets for a machine without a network.

    edgebench-bundle.json       what is in it
    <sha256>/<name>             a file, or <sha256>/<name>/<path> for each file of a folder

A bundle is trusted no more than a download: paths, kinds and hashes are checked as it is read.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal

import msgspec

from edgebench.definitions.workload import Asset
from edgebench.errors import AssetError
from edgebench.files.atomic_write import replacing
from edgebench.files.regular_file import open_regular

from . import asset_cache as cache
from .archive import ArchiveMember, Budget, Extracted, copy_hashed, open_members
from .asset_uri import member_parts

MANIFEST = "edgebench-bundle.json"
_MAX_MANIFEST_BYTES = 1 << 20
_NAME_BUNDLE = "name a file that `export` wrote"
_FIX = "make the bundle again with `edgebench assets export`"


class _Item(Asset, frozen=True, kw_only=True):
    name: str  # of the file or folder
    folder: bool


class _Manifest(msgspec.Struct, frozen=True, kw_only=True):
    schema: Literal["edgebench.bundle/1"] = "edgebench.bundle/1"
    assets: list[_Item]


def export_bundle(paths: Mapping[str, Path], assets: Iterable[Asset], bundle: Path) -> int:
    """Writes assets that are here (`paths`: sha256 -> file or folder) to a new tar; gives its size.

    The same assets give the same bytes. Raises AssetError where the bundle cannot be written.
    """
    unique = sorted({asset.sha256: asset for asset in assets}.values(), key=lambda a: a.sha256)
    items = [_item(asset, paths[asset.sha256]) for asset in unique]
    with cache.disk_errors(bundle), replacing(bundle) as part:
        with tarfile.open(part, "w", format=tarfile.PAX_FORMAT) as tar:
            _add(tar, MANIFEST, msgspec.json.format(msgspec.json.encode(_Manifest(assets=items))))
            for item in items:
                _add_asset(tar, item, paths[item.sha256])
        return part.stat().st_size


def import_bundle(bundle: Path) -> list[tuple[Asset, Path]]:
    """Brings a bundle's assets into the cache; gives each with its place there.

    All or nothing is checked first: nothing enters the cache unless every asset of the bundle is
    whole and has the right hash. Raises AssetError.
    """
    try:
        open_regular(bundle).close()
    except FileNotFoundError:
        raise AssetError(f"there is no bundle {bundle}", _NAME_BUNDLE) from None
    except OSError as error:
        raise AssetError(
            f"bundle {bundle} cannot be read: {error.strerror}", _NAME_BUNDLE
        ) from None
    with cache.disk_errors(), cache.workspace(f"import {bundle.resolve()}") as folder:
        try:
            items = _unpack(bundle, folder)
        except AssetError as error:
            raise AssetError(f"bundle {bundle}: {error.message}", error.fix) from None
        return [
            (
                item,
                cache.cached(item)
                or cache.install(folder / item.sha256, item, item.name, item.folder),
            )
            for item in items
        ]


def _item(asset: Asset, path: Path) -> _Item:
    return _Item(
        uri=asset.uri,
        sha256=asset.sha256,
        license=asset.license,
        note=asset.note,
        name=path.name,
        folder=path.is_dir(),
    )


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def _add_asset(tar: tarfile.TarFile, item: _Item, path: Path) -> None:
    for name in cache.files_below(path) if item.folder else [""]:
        info = tarfile.TarInfo(str(PurePosixPath(item.sha256, item.name, name)))
        with (path / name).open("rb") as file:
            info.size = (path / name).stat().st_size
            tar.addfile(info, file)


def _unpack(bundle: Path, folder: Path) -> Sequence[_Item]:
    """Writes every asset below `folder` and checks it."""
    size_bytes = bundle.stat().st_size
    # A plain tar holds what it is; a packed one may not grow beyond it.
    with open_members(bundle, Budget(size_bytes, size_bytes)) as members:
        items = {item.sha256: item for item in _manifest(next(members, None)).assets}
        unpacked = {sha256: Extracted() for sha256 in items}
        for member in members:
            _take(member, items, unpacked, folder)
    for sha256, item in items.items():
        if unpacked[sha256].sha256(item.folder) != sha256:
            raise AssetError(f"{item.uri} in it is not whole or has another content", _FIX)
    return list(items.values())


def _manifest(first: ArchiveMember | None) -> _Manifest:
    if first is None or first.name != MANIFEST or first.kind != "file":
        raise AssetError(f"it does not begin with {MANIFEST}, so it is not a bundle", _FIX)
    try:
        manifest = msgspec.json.decode(first.open().read(_MAX_MANIFEST_BYTES), type=_Manifest)
        for item in manifest.assets:
            if len(member_parts(item.name)) != 1 or item.name == cache.MARKER:
                raise ValueError(f"unsafe name {item.name!r}")
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise AssetError(f"its {MANIFEST} is damaged ({error})", _FIX) from None
    return manifest


def _take(
    member: ArchiveMember,
    items: Mapping[str, _Item],
    unpacked: Mapping[str, Extracted],
    folder: Path,
) -> None:
    sha256, _, path = member.name.partition("/")
    item = items.get(sha256)
    if item is None or member.kind != "file":
        raise AssetError(f"it holds {member.name!r}, which it does not announce", _FIX)
    name, _, inside = path.partition("/")
    try:
        parts = member_parts(path)
    except ValueError as error:
        raise AssetError(str(error), _FIX) from None
    if name != item.name or bool(inside) != item.folder:
        raise AssetError(f"it holds {member.name!r}, which it does not announce", _FIX)
    target = folder.joinpath(sha256, *parts)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        unpacked[sha256].files[inside] = copy_hashed(member.open(), [target], lambda _count: None)
    except (FileExistsError, NotADirectoryError):
        raise AssetError(f"it holds {member.name!r} twice", _FIX) from None
