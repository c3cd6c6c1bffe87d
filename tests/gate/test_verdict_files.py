"""Whichever way a gate ends, its files say how it ended, and never how an earlier one did."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import click
import pytest
from click.testing import CliRunner

from edgebench.ab_test.ab_report_types import GateReport
from edgebench.cli import cli, gate
from edgebench.cli.ab import finish
from edgebench.errors import AssetError, ExitCode, StoreError, UsageError
from edgebench.record import encode
from tests.gate.test_reports import report
from tests.records import record

POLICY = "{base: old.onnx, head: new.onnx}"


class Job:
    """A CI job in a folder of its own, where an earlier gate was green."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(folder)
        self.xml, self.md = folder / "gate.xml", folder / "gate.md"
        self.steps = folder / "steps"
        monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(self.steps))
        monkeypatch.delenv("GITHUB_OUTPUT", raising=False)
        (folder / "gate.yaml").write_text(POLICY)
        (folder / "new.jsonl").write_bytes(encode(record()))
        green = ("gate", "new.jsonl", "--limit", "p50 <= 30 ms", *self.files)
        assert self.run(*green)[0] is None
        assert "PASS" in self.md.read_text()
        self.steps.unlink()

    @property
    def files(self) -> tuple[str, ...]:
        return "--junit", "gate.xml", "--markdown", "gate.md", "--github"

    def run(self, *arguments: str) -> tuple[BaseException | None, str]:
        done = CliRunner().invoke(cli, list(arguments), standalone_mode=False)
        return done.exception, done.stderr

    def said(self) -> str:
        """What all files say of the verdict."""
        suite = ElementTree.fromstring(self.xml.read_text())[0]
        error = suite.find("testcase[@name='verdict']/error")
        assert error is not None
        assert (suite.attrib["tests"], suite.attrib["errors"]) == ("1", "1")
        said = error.attrib["message"]
        for file in (self.md, self.steps):
            assert "INVALID" in file.read_text()
            assert "PASS" not in file.read_text()
        return said


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    return Job(tmp_path, monkeypatch)


@pytest.mark.parametrize("which", ["gate.xml", "gate.md", "steps"])
def test_a_pipe_that_nobody_reads_is_not_waited_for(job: Job, which: str) -> None:
    Path(which).unlink(missing_ok=True)
    os.mkfifo(which)
    error, _ = job.run("gate", "new.jsonl", "--limit", "p50 <= 30 ms", *job.files)
    assert isinstance(error, StoreError)
    assert f"{which}: cannot be written: it is a pipe that nobody reads" in error.message
    for file in {job.xml, job.md, job.steps} - {Path.cwd() / which}:
        assert "PASS" in file.read_text() or file == job.xml


@pytest.mark.parametrize("command", ["gate", "ab"])
def test_an_error_is_what_the_files_say(job: Job, command: str) -> None:
    sides = ("--base", "old.onnx", "--head", "new.onnx") if command == "ab" else ()
    files = job.files if command == "gate" else job.files[:-1]
    policy = ("--policy", "gate.yaml") if command == "gate" else ()
    error, stderr = job.run(command, *policy, *sides, *files)
    assert isinstance(error, UsageError)
    if command == "gate":
        assert "no model file old.onnx" in job.said()
        assert "::error title=edgebench verdict::INVALID: no model file old.onnx" in stderr
    else:
        assert "no model file old.onnx" in job.xml.read_text()
        assert "no model file old.onnx" in job.md.read_text()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (("--policy", "nowhere.yaml"), "nowhere.yaml"),
        (("--policy", "gate.yaml", "--no-such-option"), "--no-such-option"),
        (("--policy", "gate.yaml", "--inconclusive", "maybe"), "maybe"),
        ((), "nothing to judge"),
    ],
)
def test_options_that_make_no_sense_are_what_the_files_say(
    job: Job, wrong: tuple[str, ...], message: str
) -> None:
    error, stderr = job.run("gate", *wrong, *job.files)
    assert isinstance(error, click.UsageError | UsageError)
    assert message in job.said()
    assert "::error" in stderr


def ends(error: BaseException) -> Callable[..., Any]:
    def raises(*_: object) -> None:
        raise error

    return raises


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            KeyboardInterrupt(),
            "interrupted before there was a verdict; fix: give the command again",
        ),
        (AssetError("no network", "connect"), "no network; fix: connect"),
        (RuntimeError("a fault of ours"), "RuntimeError: a fault of ours"),
        (SystemExit(143), "SystemExit: 143"),
    ],
)
def test_whatever_ends_a_gate_is_what_the_files_say(
    job: Job, monkeypatch: pytest.MonkeyPatch, error: BaseException, said: str
) -> None:
    monkeypatch.setattr(gate, "_measure", ends(error))
    assert job.run("gate", "--policy", "gate.yaml", *job.files)[0] is not None
    assert said in job.said()


def test_earlier_files_are_gone_while_a_gate_runs(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(*_: object) -> GateReport:
        assert not job.xml.exists()
        assert not job.md.exists()
        return report()

    monkeypatch.setattr(gate, "_measure", measured)
    assert job.run("gate", "--policy", "gate.yaml", *job.files)[0] is None
    assert "REGRESS" in job.md.read_text()


@pytest.mark.parametrize("wrong", [(), ("--no-such-option",)])
def test_results_are_not_taken_for_a_file_of_the_gate(job: Job, wrong: tuple[str, ...]) -> None:
    """`--junit` without its value takes the next word."""
    results = job.xml.parent / "new.jsonl"
    before = results.read_bytes()
    error, _ = job.run("gate", "--markdown", "gate.md", "--junit", "new.jsonl", *wrong)
    assert error is not None
    assert results.read_bytes() == before
    assert "INVALID" in job.md.read_text()


def test_the_files_are_written_before_stdout_which_may_be_closed(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Closed:
        encoding = "utf-8"

        def write(self, _: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr("sys.stdout", Closed())
    asked = {"form": "json", "inconclusive": "fail", "junit": str(job.xml)}
    with pytest.raises(BrokenPipeError):
        finish(report(), asked)
    assert "failure" in job.xml.read_text()


def test_one_file_that_cannot_be_written_costs_no_other(
    job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = {"form": "table", "inconclusive": "fail", "junit": "gate.md/x", "markdown": str(job.md)}
    job.md.write_text("")
    with pytest.raises(StoreError, match=r"gate\.md/x"):
        finish(report(), asked)
    assert "REGRESS" in capsys.readouterr().out
    assert "REGRESS" in job.md.read_text()


def test_the_exit_code_of_an_error_stays(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "_measure", ends(AssetError("gone")))
    error, _ = job.run("gate", "--policy", "gate.yaml", *job.files)
    assert isinstance(error, AssetError)
    assert error.exit_code == ExitCode.ASSET
    assert os.path.exists(job.xml)  # noqa: PTH110 - as CI looks
