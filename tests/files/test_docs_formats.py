"""docs/record.md and docs/table.md name every field of the formats, and every metric."""

from __future__ import annotations

import json
import re
import typing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgebench.analysis import comparison_report, frontier_report, pick_report
from edgebench.analysis.table_types import Table
from edgebench.metrics import METRICS
from edgebench.record import Record

DOCS = Path(__file__).resolve().parents[2] / "docs"


def _structs(kind: Any, found: dict[type, None]) -> None:
    """All struct types that a type holds."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        if kind not in found:
            found[kind] = None
            for field in msgspec.structs.fields(kind):
                _structs(field.type, found)
        return
    for argument in typing.get_args(kind):
        _structs(argument, found)


def _fields(root: type, module: str) -> set[tuple[str, str]]:
    """Struct and field of all that `root` holds and `module` defines."""
    found: dict[type, None] = {}
    _structs(root, found)
    return {
        (kind.__name__, field.encode_name)
        for kind in found
        if kind.__module__ == module
        for field in msgspec.structs.fields(kind)
    }


@pytest.mark.parametrize(
    ("root", "module", "name"),
    [
        (Record, "edgebench.record", "record.md"),
        (Record, "edgebench.backend", "record.md"),
        (Table, "edgebench.analysis.table_types", "table.md"),
        (frontier_report.FrontierReport, "edgebench.analysis.frontier_report", "analysis.md"),
        (pick_report.PickReport, "edgebench.analysis.pick_report", "analysis.md"),
        (comparison_report.ComparisonReport, "edgebench.analysis.comparison_report", "analysis.md"),
    ],
)
def test_every_field_is_named(root: type, module: str, name: str) -> None:
    named = set(re.findall(r"`([A-Za-z0-9_]+)`", (DOCS / name).read_text()))
    fields = _fields(root, module)
    assert len(fields) > 10  # the types were really walked through
    assert sorted(f"{kind}.{field}" for kind, field in fields if field not in named) == []


def test_the_metrics_are_those_of_the_registry() -> None:
    text = (DOCS / "table.md").read_text()
    rows = re.findall(r"^\| `([\w.]+)` \| `([\w.]+)` \| (\w+) \| ([\w ]+) \|$", text, re.MULTILINE)
    assert rows == [
        (metric.name, metric.path, metric.unit, metric.better or "as the row says")
        for metric in METRICS.values()
    ]


def test_the_example_is_json_with_fields_of_a_row() -> None:
    text = (DOCS / "table.md").read_text()
    (example,) = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    form = json.loads(example)
    names = {field for kind, field in _fields(Table, Table.__module__) if kind in ("Row", "Table")}
    assert form.keys() <= names
    assert form["rows"][0].keys() <= names
