"""`edgebench list`: what there is, read from definitions and metadata; no runtime is imported."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgebench.cli.shared.command_groups import WholeLinesGroup
from edgebench.cli.shared.options import devices_option, folders_option, format_option
from edgebench.text.plain_text import plain, plain_json

if TYPE_CHECKING:
    from edgebench.backend import Backend
    from edgebench.definitions.workload import Asset, Limit, Workload

SCHEMA = "edgebench.list/1"
_WIDTH = 80
_INDENT = 17  # of the text beside a label

_FORMAT = format_option(what="list")


@dataclass(frozen=True)
class Entry:
    """One thing as people read it: a heading, and labelled lines (empty ones are left out)."""

    name: str
    title: str
    lines: Sequence[tuple[str, str]]


@click.group(name="list", cls=WholeLinesGroup)
def command() -> None:
    """List workloads, backends or devices.

    \b
    Example:
      edgebench list workloads
    """


@command.command()
@folders_option
@_FORMAT
def workloads(folders: tuple[str, ...], form: str) -> None:
    """List workloads with their task, quality limit, licences, variants and suites.

    \b
    Example:
      edgebench list workloads --format json
    """
    from edgebench.definitions.workload_loader import load_workloads

    facts = [
        _workload_facts(workload) for workload in load_workloads(list(map(Path, folders))).values()
    ]
    _show("workloads", facts, _workload_entry, form)


@command.command()
@_FORMAT
def backends(form: str) -> None:
    """List backends with their options, and how to install those that are missing.

    \b
    Example:
      edgebench list backends
    """
    from edgebench import registry

    facts = [_backend_facts(backend) for backend in registry.every()]
    _show("backends", facts, _backend_entry, form)


@command.command()
@devices_option
@_FORMAT
def devices(devices: str | None, form: str) -> None:
    """List this machine as it was detected, and the entries of your devices.yaml.

    \b
    Example:
      edgebench list devices --devices devices.yaml
    """
    _show("devices", _device_facts(Path(devices) if devices else None), _device_entry, form)


def _show(
    what: str,
    facts: Sequence[dict[str, Any]],
    entry_of: Callable[[dict[str, Any]], Entry],
    form: str,
) -> None:
    if form == "json":
        click.echo(plain_json(json.dumps({"schema": SCHEMA, what: facts}, indent=2)))
        return
    # click itself leaves colour out of pipes; NO_COLOR it does not know.
    color = False if os.environ.get("NO_COLOR") else None
    entries = ["\n".join(_lines(entry_of(each))) for each in facts]
    click.echo("\n\n".join(entries), color=color)


def _lines(entry: Entry) -> Iterator[str]:
    from edgebench.render.wrapping import labelled, wrapped_text

    title = plain(entry.title) or " "
    for line in wrapped_text(title, _WIDTH, " " * _INDENT, f"{plain(entry.name)}  "):
        yield click.style(line, bold=True)
    for label, text in entry.lines:
        if text:
            yield from (line for line, _ in labelled(f"  {label}", plain(text), _INDENT, _WIDTH))


# Workloads


def _workload_facts(workload: Workload) -> dict[str, Any]:
    import msgspec

    from edgebench.definitions.variant_matrix import expand, select, unique
    from edgebench.installed_packages import installed_version

    variants = expand(workload.matrix)
    axes = sorted({axis for variant in variants for axis in variant})
    return {
        "name": workload.name,
        "version": workload.version,
        "title": workload.title,
        "task": workload.task,
        "quality": {
            "metric": workload.quality.metric,
            **_limit_facts(workload.quality),
            "also": {name: _limit_facts(limit) for name, limit in workload.quality.also.items()},
        },
        "scenarios": workload.scenarios,
        "variants": len(variants),
        "axes": {axis: unique(variant[axis] for variant in variants) for axis in axes},
        "suites": {
            name: len(select(variants, part.variants) if part.variants else variants)
            for name, part in workload.suites.items()
        },
        "model": _asset_facts(workload.model),
        "data": {name: _asset_facts(asset) for name, asset in workload.data.items()},
        "requires": {name: installed_version(name) for name in workload.requires},
        "findings": workload.findings,
        "options": msgspec.to_builtins(workload.options),
    }


def _limit_facts(limit: Limit) -> dict[str, float | None]:
    return {"floor": limit.floor, "ceiling": limit.ceiling}


def _asset_facts(asset: Asset) -> dict[str, str]:
    # Sizes are `edgebench assets list`: they are known of what is in the cache only.
    return {"uri": asset.uri, "sha256": asset.sha256, "license": asset.license, "note": asset.note}


def _workload_entry(facts: dict[str, Any]) -> Entry:
    return Entry(
        f"{facts['name']}@{facts['version']}",
        facts["title"],
        [
            ("task", facts["task"]),
            ("quality", _quality_text(facts["quality"])),
            ("variants", _variants_text(facts)),
            ("scenarios", ", ".join(facts["scenarios"])),
            ("suites", ", ".join(f"{n} ({count})" for n, count in facts["suites"].items())),
            ("model", _asset_text(facts["model"])),
            *(("data", f"{n}: {_asset_text(asset)}") for n, asset in facts["data"].items()),
            ("requires", _requires_text(facts["requires"])),
            ("findings", facts["findings"]),
        ],
    )


def _quality_text(quality: dict[str, Any]) -> str:
    limits = {quality["metric"]: quality, **quality["also"]}
    return ", ".join(f"{metric}{_limit_text(limit)}" for metric, limit in limits.items())


def _limit_text(limit: dict[str, Any]) -> str:
    if limit["floor"] is not None:
        return f" >= {limit['floor']:g}"
    return "" if limit["ceiling"] is None else f" <= {limit['ceiling']:g}"


def _variants_text(facts: dict[str, Any]) -> str:
    axes = [f"{axis} {_listed(values)}" for axis, values in facts["axes"].items()]
    return f"{facts['variants']}: {'; '.join(axes)}" if axes else str(facts["variants"])


def _listed(values: Iterable[Any]) -> str:
    from edgebench.definitions.variant_matrix import value_text

    return ", ".join(value_text(value) for value in values)


def _asset_text(asset: dict[str, str]) -> str:
    parts = [asset["license"], asset["note"]]
    return "; ".join(part.strip().rstrip(".") for part in parts if part)


def _requires_text(requires: dict[str, str | None]) -> str:
    missing = [name for name, version in requires.items() if version is None]
    fix = f" (missing: pip install {' '.join(missing)})" if missing else ""
    return ", ".join(requires) + fix


# Backends


def _backend_facts(backend: Backend) -> dict[str, Any]:
    import dataclasses

    from edgebench.backend import Ready

    state = backend.availability()
    return {
        "name": backend.name,
        "summary": backend.summary,
        "status": "ready" if isinstance(state, Ready) else state.kind,
        "version": state.version if isinstance(state, Ready) else None,
        "reason": "" if isinstance(state, Ready) else state.reason,
        "fix": "" if isinstance(state, Ready) else state.fix,
        **dataclasses.asdict(backend.capabilities),
        "generation": backend.generation and dataclasses.asdict(backend.generation),
    }


def _backend_entry(facts: dict[str, Any]) -> Entry:
    status = f"ready, version {facts['version']}" if facts["version"] else facts["status"]
    return Entry(
        facts["name"],
        facts["summary"],
        [
            ("status", ": ".join(part for part in (status, facts["reason"]) if part)),
            ("fix", facts["fix"]),
            ("formats", ", ".join(facts["formats"])),
            ("precisions", ", ".join(facts["precisions"])),
            ("devices", ", ".join(facts["device_kinds"])),
            ("options", " ".join(_option_text(option) for option in facts["options"])),
            *_generation_lines(facts["generation"]),
        ],
    )


def _generation_lines(facts: dict[str, Any] | None) -> list[tuple[str, str]]:
    if facts is None:
        return []
    return [
        ("decoders", ", ".join(facts["precisions"])),
        ("their options", " ".join(_option_text(option) for option in facts["options"])),
    ]


def _option_text(option: dict[str, Any]) -> str:
    choices = "|".join(str(choice) for choice in option["choices"])
    return f"{option['name']}={choices or option['type']}"


# Devices


def _device_facts(file: Path | None) -> list[dict[str, Any]]:
    import msgspec

    from edgebench.definitions.device_inventory import device_of, load_devices
    from edgebench.probes.device_facts import detect

    inventory = load_devices(file)
    here = detect()
    declared = device_of(inventory, here.facts)
    detected = {
        "name": here.name,
        "detected": True,
        "entry": declared.name if declared else None,
        "facts": here.facts,
        "unknown": here.unknown,
    }
    entries = [{**msgspec.to_builtins(each), "detected": False} for each in inventory]
    return [detected, *entries]


def _device_entry(facts: dict[str, Any]) -> Entry:
    if facts["detected"]:
        return _detected_entry(facts)
    match = [f"{fact} {pattern}" for fact, pattern in facts["match"].items() if pattern is not None]
    return Entry(
        facts["name"],
        facts["title"],
        [
            ("match", ", ".join(match)),
            ("named", "after what is detected: many machines fit" if facts["family"] else ""),
            ("power mode", "" if facts["power_mode"] is None else str(facts["power_mode"])),
            ("energy", facts["energy_source"] or ""),
            ("total", " + ".join(facts["energy_total"] or [])),
            ("limits", ", ".join(f"{name} {value}" for name, value in facts["limits"].items())),
            ("notes", facts["notes"]),
        ],
    )


def _detected_entry(facts: dict[str, Any]) -> Entry:
    from edgebench.units import format_bytes

    known = facts["facts"]
    memory = known.get("memory_bytes")
    shown = ("board", "mac_model", "cpu_model", "machine", "os", "power_mode")
    lines = [(name.replace("_", " "), str(known.get(name) or "")) for name in shown]
    return Entry(
        facts["name"],
        "this machine",
        [
            *lines,
            ("cpus", str(known.get("logical_cpus") or "")),
            ("memory", format_bytes(memory) if memory else ""),
            ("virtual", {True: "yes", False: "no"}.get(known.get("virtualised"), "unknown")),
            (
                "entry",
                facts["entry"] or "no entry of devices.yaml matches; the detected facts are used",
            ),
        ],
    )
