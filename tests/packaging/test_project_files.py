"""Files that a project is expected to have say what holds: licence, citation, workflows, policies, hooks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from edgebench import __version__
from edgebench.gate.policy import load_policy

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = [
    path for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.stem != "config"
]


def _read(name: str | Path) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def _steps(workflow: Path) -> list[dict[str, Any]]:
    jobs = yaml.safe_load(_read(workflow))["jobs"].values()
    return [step for job in jobs for step in job["steps"]]


def test_the_license_is_the_one_that_pyproject_names() -> None:
    project = _read("pyproject.toml")
    assert 'license = "Apache-2.0"' in project
    assert 'license-files = ["LICENSE"]' in project
    assert re.match(r"\s+Apache License\s+Version 2.0, January 2004", _read("LICENSE"))


def test_version_and_date_are_the_same_in_citation_and_changelog() -> None:
    cited = yaml.safe_load(_read("CITATION.cff"))
    newest = re.search(r"^## ([\d.]+) - ([\d-]+)$", _read("CHANGELOG.md"), re.MULTILINE)
    assert newest
    assert cited["version"] == newest[1] == __version__
    assert cited["date-released"] == newest[2]
    assert cited["license"] == "Apache-2.0"


def test_a_workflow_runs_what_ci_runs() -> None:
    assert any(step.get("run") == ".ci/run" for step in _steps(ROOT / ".github/workflows/ci.yml"))


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_write_nothing_and_trust_no_stranger(workflow: Path) -> None:
    text = _read(workflow)
    assert yaml.safe_load(text)["permissions"] == {"contents": "read"}
    assert not re.search(r"^\s*pull_request_target:", text, re.MULTILINE)


def test_the_example_of_a_gate_uses_the_action_as_it_is() -> None:
    inputs = yaml.safe_load(_read("action.yml"))["inputs"]
    (step,) = [
        step
        for step in _steps(ROOT / ".github/workflows/gate-example.yml")
        if step.get("uses") == "./"
    ]
    assert set(step["with"]) <= set(inputs)
    assert len(load_policy(ROOT / step["with"]["policy"]).cells) == 2


@pytest.mark.parametrize("form", FORMS, ids=lambda path: path.name)
def test_issue_forms_ask_for_something(form: Path) -> None:
    asked = yaml.safe_load(_read(form))
    assert {"name", "description", "body"} <= asked.keys()
    assert any(part.get("validations", {}).get("required") for part in asked["body"])


def test_pre_commit_runs_the_tools_of_make_lint_and_types() -> None:
    (repo,) = yaml.safe_load(_read(".pre-commit-config.yaml"))["repos"]
    entries = {hook["entry"].removeprefix(".venv/bin/") for hook in repo["hooks"]}
    made = set(
        re.findall(r"^\t\$\(BIN\)/(ruff [\w -]+?|mypy)(?: \.)?$", _read("Makefile"), re.MULTILINE)
    )
    assert entries == made
