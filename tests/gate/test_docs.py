"""docs/gate.md names every field, key, verdict and exit code; the action is YAML that uses its inputs."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
import yaml

from edgebench.ab_test.ab_report_types import GateReport, GateRow, Percentiles
from edgebench.ab_test.verdict import Verdict
from edgebench.errors import ExitCode
from edgebench.gate.policy import METRICS, CellPolicy, Policy

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "gate.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", [GateReport, GateRow, Percentiles, Policy, CellPolicy])
def test_every_field_is_named(kind: type[msgspec.Struct]) -> None:
    missing = [
        field.encode_name
        for field in msgspec.structs.fields(kind)
        if not re.search(rf"\b{field.encode_name}\b", TEXT)
    ]
    assert not missing


def test_every_verdict_and_exit_code_is_named() -> None:
    from typing import get_args

    assert all(f"`{verdict}`" in TEXT for verdict in get_args(Verdict))
    assert {0, 1, 4, 5} <= {int(code) for code in re.findall(r"\| (\d) \|", TEXT)}
    assert (ExitCode.INCONCLUSIVE, ExitCode.INVALID) == (4, 5)
    assert all(name in TEXT for name in METRICS if "." in name)


def test_the_policy_of_the_page_is_one(tmp_path: Path) -> None:
    from edgebench.gate.policy import load_policy

    found = re.search(r"```yaml\n(base: .*?)```", TEXT, re.DOTALL)
    assert found
    path = tmp_path / "gate.yaml"
    path.write_text(found[1])
    assert len(load_policy(path).cells) == 2


def test_the_action_passes_every_input_on() -> None:
    text = (ROOT / "action.yml").read_text(encoding="utf-8")
    action = yaml.safe_load(text)
    assert action["runs"]["using"] == "composite"
    for name in action["inputs"]:
        assert f"inputs.{name}" in text, name
    for step in action["runs"]["steps"]:
        assert "${{" not in step.get("run", ""), "an input in a script would be read as shell"


@pytest.mark.parametrize("page", ["docs/gate.md", "SECURITY.md"])
def test_pages_say_that_a_policy_is_code_and_where_it_must_not_run(page: str) -> None:
    text = " ".join((ROOT / page).read_text(encoding="utf-8").split()).lower()
    executed = ("`build:`", "runs its build", "`file.py:class`")
    kept_away = ("never", "`pull_request_target`", "journal", "`--resume`")
    assert [word for word in (*executed, *kept_away) if word not in text] == []
