"""Brings assets into the cache: one download for all members of one archive."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgebench.definitions.workload import Asset, Workload
from edgebench.errors import AssetError

from . import asset_cache as cache
from . import pip_download as pypi
from .archive import Extracted, Wanted, extract
from .asset_uri import FileUri, Location, Member, PypiUri, WebUri, parse_uri
from .download_progress import Progress

if TYPE_CHECKING:
    from .https_download import OpenUrl


@dataclass(frozen=True)
class Need:
    """An asset and who needs it for what, such as "image-classification (model)"."""

    asset: Asset
    users: tuple[str, ...]


def needs_of(workloads: Iterable[Workload]) -> list[Need]:
    """The assets of workloads, each content once, in order of first use."""
    users: dict[str, list[str]] = {}
    assets: dict[str, Asset] = {}
    for workload in workloads:
        roles: dict[str, Asset] = {"model": workload.model}
        roles |= {f"{form} model": native for form, native in workload.model.native.items()}
        roles |= {f"data {name}": asset for name, asset in workload.data.items()}
        for role, asset in roles.items():
            assets.setdefault(asset.sha256, asset)
            users.setdefault(asset.sha256, []).append(f"{workload.name} ({role})")
    return [Need(asset, tuple(dict.fromkeys(users[sha256]))) for sha256, asset in assets.items()]


def fetch(
    assets: Iterable[Asset],
    *,
    offline: bool = False,
    progress: Progress | None = None,
    users: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, Path]:
    """The local file or folder of each asset, by sha256; fetches those that are not here yet.

    What is cached needs no network. `users` (sha256 -> names) makes errors say who needs the asset.
    Raises AssetError for the first that cannot be had, after the others were fetched; UsageError for
    a URI that is none.
    """
    paths, errors = fetch_each(assets, offline=offline, progress=progress, users=users)
    for count, error in enumerate(errors.values()):
        if count == 0:
            more = len(errors) - 1
            tail = f"\n  and {more} more that cannot be fetched" if more else ""
            raise AssetError(error.message, error.fix + tail)
    return paths


def fetch_each(
    assets: Iterable[Asset],
    *,
    offline: bool = False,
    progress: Progress | None = None,
    users: Mapping[str, Sequence[str]] | None = None,
    open_url: OpenUrl | None = None,
) -> tuple[dict[str, Path], dict[str, AssetError]]:
    """Like `fetch`, but an asset that cannot be had is an error for itself alone.

    Gives the paths of those that are here and the errors of those that are not, by sha256.
    Raises UsageError for a URI that is none.
    """
    paths: dict[str, Path] = {}
    errors: dict[str, AssetError] = {}
    missing: dict[str, dict[str, Asset]] = {}
    for asset in assets:
        location = parse_uri(asset.uri)
        if (path := cache.cached(asset)) is not None:
            paths[asset.sha256] = path
        else:
            missing.setdefault(_source(location), {})[asset.sha256] = asset
    for source, group in missing.items():
        fetcher = _Fetcher(source, list(group.values()), progress, open_url)
        for asset, got in zip(group.values(), fetcher.outcome(offline), strict=True):
            if isinstance(got, AssetError):
                errors[asset.sha256] = _named(got, asset, users)
            else:
                paths[asset.sha256] = got
    return paths, errors


def _source(location: Location) -> str:
    """Returns what is downloaded for it, as people read it and as assets are grouped by."""
    if isinstance(location, PypiUri):
        return location.requirement + " (source)" * location.sdist
    return location.url if isinstance(location, WebUri) else str(location.path)


def _named(
    error: AssetError, asset: Asset, users: Mapping[str, Sequence[str]] | None
) -> AssetError:
    names = ", ".join((users or {}).get(asset.sha256, ()))
    needed = f" needed by {names}" if names else ""
    return AssetError(f"asset {asset.uri}{needed}: {error.message}", error.fix)


@dataclass
class _Fetcher:
    """Brings the assets of one source into the cache."""

    source: str
    assets: list[Asset]
    progress: Progress | None
    open_url: OpenUrl | None
    done_bytes: int = 0

    def outcome(self, offline: bool) -> list[Path | AssetError]:
        """The path of each asset, or why it cannot be had."""
        try:
            first = parse_uri(self.assets[0].uri)
            if isinstance(first, FileUri):
                return [self._wrong_file(asset) for asset in self.assets]
            if offline:
                damaged = cache.entry_of(self.assets[0].sha256) is not None
                raise AssetError(
                    f"{'its cached copy is damaged' if damaged else 'it is not in the cache'}, and "
                    "fetching is switched off",
                    "run `edgebench assets pull` with a network, or import a bundle",
                )
            with cache.disk_errors():
                return self._fetch()
        except AssetError as error:
            return [error] * len(self.assets)

    def _fetch(self) -> list[Path | AssetError]:
        with cache.workspace(self.source, self._waits) as folder:
            # Another process may have brought them while this one waited.
            there = [cache.cached(asset) for asset in self.assets]
            missing = [
                asset for asset, path in zip(self.assets, there, strict=True) if path is None
            ]
            got = iter(self._bring(missing, folder) if missing else [])
            return [path or next(got) for path in there]

    def _bring(self, assets: list[Asset], folder: Path) -> list[Path | AssetError]:
        self._bytes(0, None)
        locations = [parse_uri(asset.uri) for asset in assets]
        plain = [item for item in locations if isinstance(item, WebUri) and item.member is None]
        if plain:
            # The same address as a whole and as an archive is not worth one download.
            return [
                self._bring_file(asset, item, folder / str(number))
                if isinstance(item, WebUri) and item.member is None
                else self._bring_members([asset], [item], folder / str(number))[0]
                for number, (asset, item) in enumerate(zip(assets, locations, strict=True))
            ]
        return self._bring_members(assets, locations, folder)

    def _bring_file(self, asset: Asset, location: WebUri, folder: Path) -> Path | AssetError:
        staged = folder / asset.sha256
        staged.mkdir(parents=True)
        digest = self._download(location.url, staged / location.name)
        self._bytes(self.done_bytes, self.done_bytes)
        return self._install(staged, asset, Member(location.name, folder=False), digest)

    def _bring_members(
        self, assets: list[Asset], locations: list[Location], folder: Path
    ) -> list[Path | AssetError]:
        folder.mkdir(exist_ok=True)
        archive, strip_top = self._archive(locations[0], folder)
        size_bytes = archive.stat().st_size
        self._bytes(size_bytes, size_bytes)
        members = [_member(location) for location in locations]
        missing = [
            Wanted(member, folder / asset.sha256 / member.name)
            for asset, member in zip(assets, members, strict=True)
        ]
        results = extract(archive, missing, strip_top=strip_top)
        return [
            result
            if isinstance(result, AssetError)
            else self._install(folder / asset.sha256, asset, member, result)
            for asset, member, result in zip(assets, members, results, strict=True)
        ]

    def _archive(self, location: Location, folder: Path) -> tuple[Path, bool]:
        """The downloaded archive, and whether its names start with a folder to leave out."""
        if isinstance(location, PypiUri):
            archive = pypi.download(location, folder, self._bytes)
            return archive, pypi.is_sdist(archive)
        assert isinstance(location, WebUri)
        archive = folder / "archive"
        self._download(location.url, archive)
        return archive, False

    def _download(self, url: str, target: Path) -> str:
        from . import (
            https_download as web,  # its HTTP client is slow to import, and most commands download nothing
        )

        return web.download(url, target, self._bytes, self.open_url or web.open_https)

    def _install(
        self, staged: Path, asset: Asset, member: Member, content: Extracted | str
    ) -> Path | AssetError:
        actual = content if isinstance(content, str) else content.sha256(member.folder)
        if actual != asset.sha256:
            return AssetError(
                f"its content is not what the definition names: sha256 {actual} instead of "
                f"{asset.sha256}",
                "if its maker replaced the file on purpose, correct sha256 in the definition; else "
                "do not use it",
            )
        return cache.install(staged, asset, member.name, member.folder)

    def _wrong_file(self, asset: Asset) -> AssetError:
        condition = cache.check(asset)
        if condition.status == "missing":
            return AssetError(f"there is no {self.source}", "correct the path in the definition")
        return AssetError(
            f"its content is not what the definition names: {condition.reason} instead of "
            f"{asset.sha256}",
            "correct sha256 in the definition, or bring the file back",
        )

    def _bytes(self, done_bytes: int, total_bytes: int | None) -> None:
        self.done_bytes = done_bytes
        if self.progress is not None:
            self.progress(self.source, done_bytes, total_bytes)

    def _waits(self) -> None:
        if self.progress is not None:
            self.progress(f"{self.source}, which another edgebench is fetching", 0, None)


def _member(location: Location) -> Member:
    member = None if isinstance(location, FileUri) else location.member
    assert member is not None
    return member
