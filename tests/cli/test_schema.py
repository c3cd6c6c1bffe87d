"""`edgebench schema`: what editors check, against what the loader accepts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
import yaml
from click.testing import CliRunner

import edgebench.definitions.workload_loader
from edgebench.cli import cli
from edgebench.definitions.json_schema import KINDS, json_schema
from edgebench.definitions.workload import Model, Quality, Workload
from edgebench.errors import UsageError

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "workloads").glob("*.yaml"))


def valid(kind: str, value: Any) -> bool:
    return bool(jsonschema.Draft202012Validator(json_schema(kind)).is_valid(value))


def good() -> dict[str, Any]:
    workload = Workload(
        name="demo",
        version=1,
        title="T",
        task="voice_activity",
        model=Model(uri="file:/x.onnx", sha256="0" * 64, license="MIT"),
        quality=Quality(metric="auc", floor=0.9),
    )
    plain: dict[str, Any] = msgspec.to_builtins(workload)
    plain["model"].pop("builder")
    plain["quality"].pop("ceiling")
    return plain


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_a_schema_with_a_draft_a_title_and_a_description(kind: str) -> None:
    done = CliRunner().invoke(cli, ["schema", kind])
    assert done.exit_code == 0, done.output
    schema = json.loads(done.output)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["title"] == f"edgebench {kind}"
    assert schema["description"]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_workloads_are_valid_for_editors_and_loader(path: Path) -> None:
    with path.open(encoding="utf-8") as file:
        value = yaml.safe_load(file)
    jsonschema.Draft202012Validator(json_schema("workload")).validate(value)
    assert edgebench.definitions.workload_loader.load_workload(path).name == path.stem


def test_the_shipped_inventory_is_valid() -> None:
    with (ROOT / "devices.yaml").open(encoding="utf-8") as file:
        jsonschema.Draft202012Validator(json_schema("devices")).validate(yaml.safe_load(file))


def test_a_good_workload_is_valid() -> None:
    assert valid("workload", good())


@pytest.mark.parametrize(
    "change",
    [
        {"titel": "T"},
        {"version": 0},
        {"version": "1"},
        {"name": "Not a name"},
        {"task": "no_such_task"},
        {"scenarios": ["ofline"]},
        {"quality": {"metric": "auc"}},
        {"quality": {"metric": "auc", "floor": 1, "ceiling": 1}},
        {"quality": {"metric": "auc", "floor": 1, "also": {"f1": {"flor": 1}}}},
        {"matrix": {"axis": {}}},
        {"matrix": {"axes": {"threads": 1}}},
        {"model": {"uri": "ftp:x", "sha256": "0" * 64, "license": "MIT"}},
        {"suites": {"quick": {"variant": []}}},
    ],
)
def test_a_bad_workload_is_invalid(change: dict[str, Any]) -> None:
    assert not valid("workload", {**good(), **change})


@pytest.mark.parametrize("key", ["name", "version", "title", "task", "model", "quality"])
def test_a_workload_without_a_key_it_needs_is_invalid(key: str) -> None:
    without = good()
    del without[key]
    assert not valid("workload", without)


def test_an_unknown_schema_is_refused_with_a_suggestion() -> None:
    with pytest.raises(UsageError, match=r"no schema 'workloads'; did you mean 'workload'\?"):
        json_schema("workloads")
