"""docs/device-state.md names every check, and no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from edgebench.probes.snapshot import EVENTS

ROOT = Path(__file__).resolve().parents[2]
PROBES = ROOT / "edgebench" / "probes"
#: Functions whose first argument is the name of a check.
NAMING = {"judge", "unknown", "recorded", "_delta_check", "Gauge"}


def _named() -> Iterator[str]:
    for path in [
        *PROBES.glob("checks/*.py"),
        PROBES / "snapshot_changes.py",
        PROBES / "throttling.py",
    ]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                first = node.args[0] if node.args else None
                if node.func.id in NAMING and isinstance(first, ast.Constant):
                    yield str(first.value)
    yield from EVENTS


def test_every_check_is_documented_with_its_level_and_source() -> None:
    text = (ROOT / "docs" / "device-state.md").read_text()
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", text, re.MULTILINE)
    documented = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    checks = set(_named())
    assert len(checks) > 20
    levels = {"ok", "warn", "invalid", "unknown"}
    keys = {
        "name", "title", "match", "family", "power_mode", "energy_source", "energy_total", "limits",
        "notes",
    }  # fmt: skip
    assert checks - documented == set()
    assert documented - checks - levels - keys == set()
