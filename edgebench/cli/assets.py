"""`edgebench assets`: the model and data files of workloads on this machine."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgebench.cli.shared.command_groups import WholeLinesGroup
from edgebench.cli.shared.options import folders_option, format_option, names_argument, together
from edgebench.errors import AssetError, ExitCode, UsageError
from edgebench.text.plain_text import say

if TYPE_CHECKING:
    from edgebench.assets import Need
    from edgebench.definitions.workload import Workload
    from edgebench.render.wrapping import Line

SCHEMA = "edgebench.assets/1"


@click.group(name="assets", cls=WholeLinesGroup)
def command() -> None:
    """Fetch, check, remove, export or import the model and data files of workloads.

    The files are cached once per user: in $EDGEBENCH_CACHE, or else in the user's cache folder.

    \b
    Example:
      edgebench assets pull --suite quick
    """


_selection = together(
    names_argument,
    click.option("--suite", metavar="NAME", help="Select the workloads of this suite."),
    click.option("--all", "every", is_flag=True, help="Select all known workloads."),
    folders_option,
)
_formats = format_option(what="list")


@command.command()
@_selection
@_formats
def pull(form: str, **selection: Any) -> int:
    """Fetch the files that workloads need.

    Without a selection, the files of the suite `quick` are fetched.

    \b
    Example:
      edgebench assets pull image-classification
    """
    needs = _needs(**selection, default="quick")
    errors = _fetch(needs)
    _show([_facts(need, full=False) for need in needs], form)
    return _report(errors)


@command.command(name="list")
@_selection
@_formats
def list_(form: str, **selection: Any) -> None:
    """List the files of workloads with their size, licence and path in the cache.

    Without a selection, the files of all known workloads are listed.

    \b
    Example:
      edgebench assets list --suite quick
    """
    needs = _needs(**selection)
    _show([_facts(need, full=False) for need in needs], form)


@command.command()
@_selection
@_formats
def verify(form: str, **selection: Any) -> int:
    """Check cached files against their hashes.

    Without a selection, all files of known workloads that are in the cache are checked.

    \b
    Example:
      edgebench assets verify --suite quick

    Exit codes: 0 all files are intact; 6 a file is corrupt, or a file of a selected workload is
    missing.
    """
    needs = _needs(**selection)
    facts = [_facts(need, full=True) for need in needs]
    _show(facts, form)
    selected = any(selection[name] for name in ("names", "suite", "every"))
    wrong = ("corrupt", "missing") if selected else ("corrupt",)
    bad = [item for item in facts if item["status"] in wrong]
    if bad:
        error = f"{len(bad)} of {len(facts)} assets are corrupt or missing"
        say(f"edgebench: {error}\n  fix: edgebench assets pull")
    return ExitCode.ASSET if bad else ExitCode.OK


@command.command()
@folders_option
@click.option("--dry-run", is_flag=True, help="Only list what would be removed.")
def prune(folders: tuple[str, ...], dry_run: bool) -> None:
    """Remove cached files that no known workload needs, and the models derived from them.

    Name the folders of your own definitions with --workloads, or else their files are removed too.
    Do not run this while a run measures.

    \b
    Example:
      edgebench assets prune --dry-run
    """
    from edgebench.assets.prune import prune as remove
    from edgebench.units import format_bytes

    known = {need.asset.sha256 for need in _needs((), None, True, folders)}
    leftovers = remove(known, dry_run=dry_run)
    for item in leftovers:
        click.echo(f"{format_bytes(item.size_bytes):>9}  {item.path}  ({item.reason})")
    total = format_bytes(sum(item.size_bytes for item in leftovers))
    verb = "would be removed" if dry_run else "removed"
    click.echo(f"{total} {verb}" if leftovers else "nothing to remove")


@command.command()
@click.argument("bundle", type=click.Path(path_type=Path, dir_okay=False))
@_selection
def export(bundle: Path, **selection: Any) -> int:
    """Write the files of workloads to BUNDLE, a tar file for a machine without network.

    Files that are not in the cache yet are fetched first. Without a selection, the workloads of the
    suite `quick` are exported.

    \b
    Example:
      edgebench assets export quick.tar --suite quick
    """
    from edgebench.assets import cached
    from edgebench.assets.bundle import export_bundle
    from edgebench.units import format_bytes

    needs = _needs(**selection, default="quick")
    if errors := _fetch(needs):
        return _report(errors)
    places = {need.asset.sha256: cached(need.asset) for need in needs}
    paths = {sha256: path for sha256, path in places.items() if path is not None}
    size_bytes = export_bundle(paths, [need.asset for need in needs], bundle)
    click.echo(f"{bundle}: {len(needs)} assets, {format_bytes(size_bytes)}")
    return ExitCode.OK


@command.command(name="import")
@click.argument("bundle", type=click.Path(path_type=Path))
def import_(bundle: Path) -> None:
    """Copy the files of BUNDLE to the cache and check each against its hash.

    \b
    Example:
      edgebench assets import quick.tar
    """
    from edgebench.assets.bundle import import_bundle

    for asset, path in import_bundle(bundle):
        click.echo(f"{asset.uri}\n  licence: {asset.license}\n  {path}")


def select(
    workloads: Mapping[str, Workload],
    names: Sequence[str],
    suite: str | None,
    every: bool,
    default: str | None,
) -> list[Workload]:
    """The workloads by name, of a suite, or all; without any of it the suite `default`, or all.

    Raises UsageError for a name that is none.
    """
    from edgebench.definitions.workload_loader import choose

    if bool(names) + bool(suite) + every > 1:
        raise UsageError(
            "workload names, --suite and --all cannot be combined", "give one of the three"
        )
    if every or not (names or suite or default):
        return list(workloads.values())
    return choose(workloads, names, suite if names else suite or default)


def _needs(
    names: Sequence[str],
    suite: str | None,
    every: bool,
    folders: Sequence[str],
    default: str | None = None,
) -> list[Need]:
    from edgebench.assets import needs_of
    from edgebench.definitions.workload_loader import load_workloads

    return needs_of(select(load_workloads(list(map(Path, folders))), names, suite, every, default))


def _fetch(needs: Sequence[Need]) -> list[AssetError]:
    """Fetches what is not here; gives an error for each that cannot be had."""
    from edgebench.assets import fetch_each, terminal_progress

    with terminal_progress() as progress:
        _, errors = fetch_each(
            [need.asset for need in needs],
            progress=progress,
            users={need.asset.sha256: need.users for need in needs},
        )
    return list(errors.values())


def _report(errors: Sequence[AssetError]) -> int:
    for error in errors:
        say(f"edgebench: {error}")
    return ExitCode.ASSET if errors else ExitCode.OK


def _facts(need: Need, full: bool) -> dict[str, Any]:
    """Returns what is known of an asset here; `full` hashes its content again."""
    from edgebench.assets import cached, check
    from edgebench.assets.asset_cache import size_of

    path = cached(need.asset)
    status, reason = ("ok", "") if path is not None else ("missing", "not in the cache")
    if full:
        condition = check(need.asset)
        status, reason, path = condition.status, condition.reason, condition.path
    return {
        "uri": need.asset.uri,
        "sha256": need.asset.sha256,
        "license": need.asset.license,
        "note": need.asset.note,
        "workloads": list(need.users),
        "status": status,
        "reason": reason,
        "size_bytes": size_of(path) if path is not None else None,
        "path": str(path) if path is not None else None,
    }


def _show(facts: Iterable[Mapping[str, Any]], form: str) -> None:
    from edgebench.assets import cache_dir

    if form == "json":
        document = {"schema": SCHEMA, "cache": str(cache_dir()), "assets": list(facts)}
        click.echo(json.dumps(document, indent=2))
        return
    from edgebench.render.console import paint

    for item in facts:
        paint(lambda width, item=item: _lines(item, width), sys.stdout)  # type: ignore[misc]


def _lines(item: Mapping[str, Any], width: int) -> Iterator[Line]:
    """An asset as people read it: its URI, then indented what is known of it."""
    from edgebench.render.console import TITLE
    from edgebench.render.wrapping import wrapped
    from edgebench.units import format_bytes

    size = "" if item["size_bytes"] is None else f", {format_bytes(item['size_bytes'])}"
    state = f"{item['status']}{size}" + (f": {item['reason']}" if item["reason"] else "")
    yield item["uri"], TITLE
    for text in (
        f"for {', '.join(item['workloads'])}",
        f"licence: {item['license']}" + (f" ({item['note'].rstrip('.')})" if item["note"] else ""),
        state,
    ):
        yield from wrapped(text, width, None, "    ", "  ")
    if item["path"]:
        yield f"  {item['path']}", None
