"""`edgebench selfcheck`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgebench.cli import cli
from edgebench.errors import StoreError, UsageError
from edgebench.selfcheck import ask_machine
from edgebench.selfcheck.ask_machine import Findings
from edgebench.selfcheck.check_file import Answer


def selfcheck(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["selfcheck", *arguments])


@pytest.fixture
def one_answer(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The status of the only claim that is asked."""
    chosen = {"status": "ok"}

    def ask(findings: Findings) -> None:
        answer = {"claim": "energy.rapl", "detail": "package-0"}
        findings.answers.append(Answer(**answer, status=chosen["status"]))  # type: ignore[arg-type]

    monkeypatch.setattr(ask_machine, "ask_energy", ask)
    return chosen


def test_each_claim_has_a_line_and_a_failure_an_exit_code(one_answer: dict[str, str]) -> None:
    good = selfcheck("--only", "energy")
    assert good.exit_code == 0
    assert "ok        energy rapl: Intel and AMD processors: package-0" in good.output
    assert "1 ok, 0 failed, 0 not here" in good.output
    one_answer["status"] = "failed"
    assert selfcheck("--only", "energy").exit_code == 1


def test_the_answers_alone_are_a_file(one_answer: dict[str, str], tmp_path: Path) -> None:
    assert selfcheck("--only", "energy", "--out", str(tmp_path / "c.json")).exit_code == 0
    kept = json.loads((tmp_path / "c.json").read_text())
    assert kept["schema"] == "edgebench.selfcheck/1"
    assert kept["answers"][0]["claim"] == "energy.rapl"
    matrix = selfcheck("--matrix", str(tmp_path))
    assert matrix.exit_code == 0
    assert "energy rapl: Intel and AMD processors" in matrix.output
    assert "ran on the device" in matrix.output


def test_what_makes_no_sense_is_said_before_anything_is_asked(tmp_path: Path) -> None:
    assert isinstance(selfcheck("--out", "check.tar").exception, UsageError)
    assert isinstance(selfcheck("--matrix", str(tmp_path / "no")).exception, StoreError)
    assert selfcheck("--only", "wifi").exit_code == 2
