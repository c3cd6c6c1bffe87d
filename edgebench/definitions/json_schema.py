"""Makes the JSON Schema of the definition and result formats, for editors and for other programs."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import msgspec

from edgebench.errors import UsageError
from edgebench.tasks import known_tasks
from edgebench.text.did_you_mean import did_you_mean

DRAFT = "https://json-schema.org/draft/2020-12/schema"

#: What `edgebench schema` prints -> module and type; imported when asked for.
KINDS = {
    "workload": ("edgebench.definitions.workload", "Workload"),
    "devices": ("edgebench.definitions.device_inventory", "Inventory"),
    "gate": ("edgebench.gate.policy", "Policy"),
    "ab": ("edgebench.ab_test.ab_report_types", "GateReport"),
    "record": ("edgebench.record", "Record"),
    "table": ("edgebench.analysis.table", "Table"),
}


def json_schema(kind: str) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of one of `KINDS`. Raises UsageError for another.

    It holds types, bounds and keys; what depends on several values (a point that no variant has, a
    name unlike the file's) is left to the loader.
    """
    if kind not in KINDS:
        raise UsageError(f"no schema {kind!r}{did_you_mean(kind, KINDS)}")
    module, name = KINDS[kind]
    root = getattr(importlib.import_module(module), name)
    schema = msgspec.json.schema(root)
    definitions = schema["$defs"]
    if kind == "workload":
        _complete(definitions)
    for definition in definitions.values():
        if "description" in definition:
            definition["description"] = inspect.cleandoc(definition["description"])
    top = definitions[name]
    return {
        "$schema": DRAFT,
        "title": f"edgebench {kind}",
        "description": top.get("description", ""),
        **schema,
    }


def _complete(definitions: dict[str, Any]) -> None:
    """What the types do not hold: the tasks there are, and one limit where a limit is due."""
    definitions["Workload"]["properties"]["task"] = {"enum": known_tasks()}
    for name in ("Quality", "Limit"):
        definitions[name]["not"] = {"required": ["floor", "ceiling"]}
    definitions["Quality"]["anyOf"] = [{"required": ["floor"]}, {"required": ["ceiling"]}]
