"""`edgebench doctor`: what is available here, what is wrong with this machine, how to mend it."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from edgebench.analysis.per_row.device_limits import limit_words
from edgebench.backend import Backend, Ready
from edgebench.cli.shared.doctor_energy import EnergyState, energy_state, render_energy
from edgebench.definitions.device_inventory import (
    Device,
    declared_mode,
    load_devices,
    with_declared,
)
from edgebench.errors import EdgebenchError
from edgebench.probes import device_facts as device
from edgebench.probes import machine_state as state
from edgebench.probes import python_distributions
from edgebench.probes.machine import Runner, no_command
from edgebench.probes.proc_files import LIVE
from edgebench.record import DeviceFacts, StateCheck
from edgebench.units import format_bytes

SCHEMA = "edgebench.doctor/1"
_WIDTH = 80
_COLOURS = {
    "ok": "green",
    "ready": "green",
    "warn": "yellow",
    "invalid": "red",
    "broken": "red",
    "unknown": "cyan",
    "not_installed": "cyan",
}


class BackendState(msgspec.Struct, frozen=True, kw_only=True):
    """Availability of one backend: ready with its version, or why not and how to mend it."""

    name: str
    status: str  # "ready", "unknown", "not_installed" or "broken"
    version: str | None = None
    reason: str = ""
    fix: str = ""


class CacheState(msgspec.Struct, frozen=True, kw_only=True):
    """The folder of downloaded assets and the space left on its disk."""

    path: str
    free_bytes: int


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is wrong with the installation."""

    message: str
    fix: str = ""


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """Everything `doctor` says. With --sysroot, what only the live machine can tell is null."""

    schema: str = SCHEMA
    sysroot: str | None
    device: DeviceFacts
    state: list[StateCheck]
    energy: EnergyState
    python: str | None = None
    backends: list[BackendState] | None = None
    cache: CacheState | None = None
    problems: list[Problem] = []


@click.command(
    "doctor",
    epilog="Exit codes: 0 the check ran, whatever it found; 2 wrong option.",
)
@click.option(
    "--sysroot",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Check the copy of another machine's /proc, /sys and /etc in DIR; no command is run.",
)
@click.option(
    "--devices",
    "inventory",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Inventory of your devices.  [default: devices.yaml in the working directory, if it exists]",
)
@click.option(
    "--format",
    "output",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="Format of the answer on stdout.",
)
def command(sysroot: Path | None, inventory: Path | None, output: str) -> None:
    """Check this installation and this machine, and say how to fix what disturbs a measurement.

    Each check has a level: `ok`; `warn`: results may be noisy; `invalid`: results would not count;
    `unknown`: this machine does not say. `doctor` changes nothing.

    \b
    Example:
      edgebench doctor
    """
    entries = load_devices(inventory)
    if sysroot is None:
        diagnosis = _diagnose_live(entries)
    else:
        diagnosis = _diagnose_tree(sysroot.resolve(), entries)
    if output == "json":
        from edgebench.files.json_lines import write_json

        write_json(diagnosis, sys.stdout, indent=2)
        return
    colour = False if os.environ.get("NO_COLOR") else None  # None: only on a terminal
    click.echo("\n".join(_render(diagnosis)), color=colour)


def _diagnose_tree(root: Path, entries: Sequence[Device]) -> Diagnosis:
    return _machine_part(root, entries, sysroot=str(root), run=no_command, platform_name="linux")


def _diagnose_live(entries: Sequence[Device]) -> Diagnosis:
    problems: list[Problem] = []
    machine = _machine_part(LIVE, entries, sysroot=None)
    return msgspec.structs.replace(
        machine,
        python=f"{platform.python_implementation()} {platform.python_version()}, {sys.executable}",
        backends=_backends(problems),
        cache=_cache(problems),
        problems=problems + _onnxruntime_conflict(),
    )


def _machine_part(
    root: Path,
    entries: Sequence[Device],
    sysroot: str | None,
    run: Runner | None = None,
    platform_name: str | None = None,
) -> Diagnosis:
    facts = with_declared(device.detect(root, run, platform_name), entries)
    return Diagnosis(
        sysroot=sysroot,
        device=facts,
        state=state.preflight(root, run, platform_name, declared_mode=declared_mode(facts)),
        energy=energy_state(root, run, platform_name, entries),
    )


def _backends(problems: list[Problem]) -> list[BackendState]:
    from edgebench import registry

    try:
        return [_backend(backend) for backend in registry.every()]
    except EdgebenchError as error:
        problems.append(Problem(message=error.message, fix=error.fix))
        return []


def _backend(backend: Backend) -> BackendState:
    name, found = backend.name, backend.availability()
    if isinstance(found, Ready):
        return BackendState(
            name=name, status="ready", version=found.version, reason=found.note, fix=found.fix
        )
    return BackendState(name=name, status=found.kind, reason=found.reason, fix=found.fix)


def _cache(problems: list[Problem]) -> CacheState | None:
    from edgebench.assets import cache_dir

    try:
        folder = cache_dir()
    except EdgebenchError as error:
        problems.append(Problem(message=error.message, fix=error.fix))
        return None
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return CacheState(path=str(folder), free_bytes=shutil.disk_usage(existing).free)


def _onnxruntime_conflict() -> list[Problem]:
    owners = python_distributions.onnxruntime_owners()
    if len(owners) < 2:
        return []
    listed = ", ".join(f"{owner.name} {owner.version}" for owner in owners)
    return [
        Problem(
            message=f"{len(owners)} distributions own the module onnxruntime and overwrite each "
            f"other's files: {listed}",
            fix=python_distributions.mend_owners(owners),
        )
    ]


def _render(diagnosis: Diagnosis) -> Iterator[str]:
    yield from _render_problems(diagnosis.problems)
    yield _heading(f"Device {diagnosis.device.name}")
    yield from _render_device(diagnosis.device)
    yield _heading("State")
    for check in diagnosis.state:
        yield from _render_row(check.level, check.name, check.evidence, check.fix)
    yield _heading("Energy")
    for label, text in render_energy(diagnosis.energy):
        yield from _wrap(f"  {label:<26}" if label else "  ", text)
    if diagnosis.backends is not None:
        yield _heading("Backends")
        for backend in diagnosis.backends:
            text = ": ".join(part for part in (backend.version, backend.reason) if part)
            yield from _render_row(backend.status, backend.name, text, backend.fix)
    if diagnosis.python is not None:
        yield _heading("Python")
        yield from _wrap("  ", diagnosis.python)
    if diagnosis.cache is not None:
        yield _heading("Cache")
        free = format_bytes(diagnosis.cache.free_bytes)
        yield from _wrap("  ", f"{diagnosis.cache.path}: {free} free")


def _render_problems(problems: list[Problem]) -> Iterator[str]:
    if problems:
        yield click.style("Problems", bold=True, fg="red")
        for problem in problems:
            yield from _wrap("  ", problem.message)
            if problem.fix:
                yield from _wrap("    fix: ", problem.fix)


def _render_device(facts: DeviceFacts) -> Iterator[str]:
    if facts.declared is not None:
        words = f"{facts.declared.title} ({facts.declared.entry})"
        yield from _wrap(f"  {'entry of devices.yaml':<26}", words)
        limits = [limit_words(name, value) for name, value in facts.declared.limits.items()]
        if limits:
            yield from _wrap(f"  {'limits':<26}", ", ".join(limits))
    for name, value in facts.facts.items():
        yield from _wrap(f"  {name:<26}", _readable(name, value))
    if facts.unknown:
        names_of: dict[str, list[str]] = {}
        for name, why in facts.unknown.items():
            names_of.setdefault(why, []).append(name)
        yield "  unknown"
        for why, names in names_of.items():
            yield from _wrap("    ", f"{', '.join(names)}: {why}")


def _render_row(level: str, name: str, text: str, fix: str) -> Iterator[str]:
    word = f"{level:<13}"
    lines = list(_wrap(f"  {word} {name:<16} ", text))
    yield lines[0].replace(word, click.style(word, fg=_COLOURS[level]), 1)
    yield from lines[1:]
    if fix:
        yield from _wrap(f"{'':<33}fix: ", fix)


def _readable(name: str, value: Any) -> str:
    if name == "caches" and isinstance(value, list):
        return ", ".join(
            f"L{cache['level']} {cache['type']} {format_bytes(cache['size_bytes'])}"
            for cache in value
        )
    if name.endswith("_bytes") and isinstance(value, int):
        return format_bytes(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{key} {each}" for key, each in value.items())
    return str(value)


def _heading(text: str) -> str:
    return click.style(text, bold=True)


def _wrap(prefix: str, text: str) -> Iterator[str]:
    """Lines of at most 80 columns: `text` in a column of its own to the right of `prefix`."""
    width = _WIDTH - len(prefix)
    lines = textwrap.wrap(text, width, break_on_hyphens=False) or [""]
    yield (prefix + lines[0]).rstrip()
    for line in lines[1:]:
        yield " " * len(prefix) + line
