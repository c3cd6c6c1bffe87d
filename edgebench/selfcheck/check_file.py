"""Defines the file of a selfcheck: what was asked of which machine, and what it answered. It names no user and no host."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec

from edgebench.errors import StoreError
from edgebench.files.json_lines import decoded
from edgebench.record import Part

SCHEMA = "edgebench.selfcheck/1"
#: "not here": the machine lacks what the claim is about, or the means to ask.
Status = Literal["ok", "failed", "not here"]
#: "emulated": a real driver or library, and a device that is made up.
Device = Literal["real", "emulated"]
#: Facts of the machine that a file keeps: none of them names anybody.
KEPT_FACTS = (
    *("machine", "cpu_model", "board", "logical_cpus", "memory_bytes", "os", "kernel", "l4t"),
    *("virtualised", "emulated", "nvidia_driver", "python"),
)


class Answer(Part, frozen=True, kw_only=True):
    """What was found of one claim. `version`: of the driver or library that was asked."""

    claim: str
    status: Status
    detail: str = ""
    version: str = ""


def judged(claim: str, holds: bool, detail: str, version: str = "") -> Answer:
    """The answer for a claim that could be asked."""
    return Answer(claim=claim, status="ok" if holds else "failed", detail=detail, version=version)


class CheckFile(Part, frozen=True, kw_only=True):
    """One selfcheck."""

    schema: str = SCHEMA
    machine: str  # for people
    device: Device
    date: str  # of the day, UTC
    edgebench: str
    facts: dict[str, Any] = msgspec.field(default_factory=dict)
    answers: tuple[Answer, ...] = ()


def read_check_file(path: Path) -> CheckFile:
    """Raises StoreError for a file that is none."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror}") from None
    decoder = msgspec.json.Decoder(CheckFile)
    return decoded(
        content, decoder.decode, str(path), "no selfcheck", "give a file of `edgebench selfcheck`"
    )


def read_folder(folder: Path) -> list[CheckFile]:
    """Every selfcheck below a folder, by name. Raises StoreError."""
    if not folder.is_dir():
        raise StoreError(f"{folder}: no such folder", "name a folder of selfcheck files")
    return [read_check_file(path) for path in sorted(folder.glob("*.json"))]


def kept_facts(facts: dict[str, Any]) -> dict[str, Any]:
    """Those facts of a machine that a file keeps."""
    return {name: facts[name] for name in KEPT_FACTS if facts.get(name) not in (None, "")}
