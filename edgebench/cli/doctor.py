"""`edgebench doctor`: what is available here, what is wrong with this machine, how to mend it."""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from edgebench.analysis.per_row.device_limits import limit_words
from edgebench.backend import Backend, Ready
from edgebench.cli.shared.doctor_energy import EnergyState, energy_state, render_energy
from edgebench.cli.shared.options import devices_option, format_option, sysroot_option
from edgebench.definitions.device_inventory import (
    Device,
    declared_mode,
    load_devices,
    with_declared,
)
from edgebench.errors import EdgebenchError
from edgebench.files.json_lines import write_json
from edgebench.probes import device_facts as device
from edgebench.probes import machine_state as state
from edgebench.probes import python_distributions
from edgebench.probes.machine import Runner, no_command
from edgebench.probes.proc_files import LIVE
from edgebench.record import DeviceFacts, StateCheck
from edgebench.render.console import BAD, QUIET, TITLE, WARN, WORSE, paint
from edgebench.render.wrapping import Line, labelled, wrapped
from edgebench.units import format_bytes

SCHEMA = "edgebench.doctor/1"
_STYLES = {"warn": WARN, "invalid": BAD, "broken": BAD, "unknown": QUIET, "not_installed": QUIET}
_LABEL = 28  # characters of a fact's name, with the spaces around it
_LEVEL = 33  # of a level and the name of what was looked at


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


@click.command("doctor", epilog="Exit codes: 0 the check ran, whatever it found; 2 wrong option.")
@sysroot_option(
    "Check the copy of another machine's /proc, /sys and /etc in DIR; no command is run."
)
@devices_option
@format_option()
def command(sysroot: Path | None, devices: str | None, form: str) -> None:
    """Check this installation and this machine, and say how to fix what disturbs a measurement.

    Each check has a level: `ok`; `warn`: results may be noisy; `invalid`: results would not count;
    `unknown`: this machine does not say. `doctor` changes nothing.

    \b
    Example:
      edgebench doctor
    """
    entries = load_devices(Path(devices) if devices else None)
    if sysroot is None:
        diagnosis = _diagnose_live(entries)
    else:
        root = sysroot.resolve()
        diagnosis = _machine_part(root, entries, str(root), no_command, "linux")
    if form == "json":
        write_json(diagnosis, sys.stdout, indent=2)
        return
    paint(lambda width: _lines(diagnosis, width), sys.stdout)


def _diagnose_live(entries: Sequence[Device]) -> Diagnosis:
    problems: list[Problem] = []
    return msgspec.structs.replace(
        _machine_part(LIVE, entries),
        python=f"{platform.python_implementation()} {platform.python_version()}, {sys.executable}",
        backends=_backends(problems),
        cache=_cache(problems),
        problems=problems + _onnxruntime_conflict(),
    )


def _machine_part(
    root: Path,
    entries: Sequence[Device],
    sysroot: str | None = None,
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
    name, state = backend.name, backend.availability()
    if isinstance(state, Ready):
        return BackendState(
            name=name, status="ready", version=state.version, reason=state.note, fix=state.fix
        )
    return BackendState(name=name, status=state.kind, reason=state.reason, fix=state.fix)


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


def _lines(diagnosis: Diagnosis, width: int) -> Iterator[Line]:
    if diagnosis.problems:
        yield "Problems", WORSE
    for problem in diagnosis.problems:
        yield from labelled("", problem.message, 2, width)
        if problem.fix:
            yield from labelled("    fix:", problem.fix, 9, width)
    yield f"Device {diagnosis.device.name}", TITLE
    yield from _device_lines(diagnosis.device, width)
    yield "State", TITLE
    for check in diagnosis.state:
        yield from _level_lines(check.level, check.name, check.evidence, check.fix, width)
    yield "Energy", TITLE
    for label, text in render_energy(diagnosis.energy):
        yield from labelled(f"  {label}", text, _LABEL if label else 2, width)
    if diagnosis.backends is not None:
        yield "Backends", TITLE
        for backend in diagnosis.backends:
            text = ": ".join(part for part in (backend.version, backend.reason) if part)
            yield from _level_lines(backend.status, backend.name, text, backend.fix, width)
    if diagnosis.python is not None:
        yield "Python", TITLE
        yield from labelled("", diagnosis.python, 2, width)
    if diagnosis.cache is not None:
        yield "Cache", TITLE
        free = format_bytes(diagnosis.cache.free_bytes)
        yield from labelled("", f"{diagnosis.cache.path}: {free} free", 2, width)


def _device_lines(facts: DeviceFacts, width: int) -> Iterator[Line]:
    shown: list[tuple[str, str]] = []
    if facts.declared is not None:
        limits = [limit_words(name, value) for name, value in facts.declared.limits.items()]
        shown.append(("entry of devices.yaml", f"{facts.declared.title} ({facts.declared.entry})"))
        shown += [("limits", ", ".join(limits))] if limits else []
    shown += [(name, _readable(name, value)) for name, value in facts.facts.items()]
    for label, text in shown:
        yield from labelled(f"  {label}", text, _LABEL, width)
    if facts.unknown:
        names_of: dict[str, list[str]] = {}
        for name, why in facts.unknown.items():
            names_of.setdefault(why, []).append(name)
        yield "  unknown", None
        for why, names in names_of.items():
            yield from labelled("", f"{', '.join(names)}: {why}", 4, width)


def _level_lines(level: str, name: str, text: str, fix: str, width: int) -> Iterator[Line]:
    yield from labelled(f"  {level:<13} {name}", text, _LEVEL, width, _STYLES.get(level))
    if fix:
        yield from wrapped(fix, width, None, " " * (_LEVEL + 5), f"{'':<{_LEVEL}}fix: ")


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
