"""The result of a check: a level, the evidence and the fix."""

from __future__ import annotations

from collections.abc import Callable

from edgebench.probes.machine import Machine
from edgebench.record import Level, StateCheck

#: What was found with its evidence, or None where the machine has no such thing.
Check = Callable[[Machine], "StateCheck | None"]


def judge(name: str, good: bool, evidence: str, fix: str, bad: Level = "warn") -> StateCheck:
    """`ok`, or `bad` with its fix."""
    if good:
        return StateCheck(name=name, level="ok", evidence=evidence)
    return StateCheck(name=name, level=bad, evidence=evidence, fix=fix)


def recorded(name: str, evidence: str) -> StateCheck:
    """Kept for whoever compares runs; no value of it is wrong."""
    return StateCheck(name=name, level="ok", evidence=evidence)


def unknown(name: str, why: str, fix: str = "") -> StateCheck:
    """The machine does not tell; never taken for ok."""
    return StateCheck(name=name, level="unknown", evidence=why, fix=fix)
