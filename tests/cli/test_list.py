"""`edgebench list`: in 80 columns for people, as JSON for programs, without any runtime."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from edgebench.cli import cli
from edgebench.errors import SpecError

DEFINITION = """\
name: demo
version: 2
title: A demonstration whose title is so long that it does not fit beside the name of it at all
task: voice_activity
model:
  {{uri: "file:demo.onnx", sha256: "{sha}", license: Apache-2.0, note: "weights of a friend."}}
data:
  clips: {{uri: "pypi:x==1!clips/", sha256: "{sha}", license: CC-BY-4.0}}
quality: {{metric: auc, floor: 0.95, also: {{f1: {{}}, loss: {{ceiling: 0.1}}}}}}
scenarios: [single_stream, offline]
matrix: {{axes: {{precision: [fp32, int8-dynamic], threads: [1, 2]}}}}
suites: {{quick: {{variants: [{{precision: fp32}}]}}, full: {{}}}}
requires: [msgspec, a-distribution-not-here]
findings: int8 is slower here.
""".format(sha="0" * 64)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "demo.yaml").write_text(DEFINITION, encoding="utf-8")
    return folder


def run(*arguments: str) -> str:
    done = CliRunner().invoke(cli, ["list", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def rows(what: str, *arguments: str) -> list[dict[str, Any]]:
    found = json.loads(run(what, "--format", "json", *arguments))
    assert found["schema"] == "edgebench.list/1"
    listed: list[dict[str, Any]] = found[what]
    return listed


def demo_block(text: str) -> list[str]:
    blocks = [block for block in text.split("\n\n") if block.startswith("demo@2")]
    assert len(blocks) == 1
    return blocks[0].splitlines()


def test_a_workload_says_what_a_user_needs(folder: Path) -> None:
    lines = demo_block(run("workloads", "--workloads", str(folder)))
    labelled = {line[2:13].strip(): line[17:] for line in lines if line[2] != " "}
    assert labelled["task"] == "voice_activity"
    assert labelled["quality"] == "auc >= 0.95, f1, loss <= 0.1"
    assert labelled["variants"] == "4: precision fp32, int8-dynamic; threads 1, 2"
    assert labelled["scenarios"] == "single_stream, offline"
    assert labelled["suites"] == "quick (2), full (4)"
    assert labelled["model"] == "Apache-2.0; weights of a friend"
    assert labelled["data"] == "clips: CC-BY-4.0"
    assert labelled["requires"].startswith("msgspec, a-distribution-not-here (missing: pip")
    assert labelled["findings"] == "int8 is slower here."


def test_a_workload_as_json(folder: Path) -> None:
    demo = next(r for r in rows("workloads", "--workloads", str(folder)) if r["name"] == "demo")
    assert demo["quality"]["floor"] == 0.95
    assert demo["axes"] == {"precision": ["fp32", "int8-dynamic"], "threads": [1, 2]}
    assert demo["suites"] == {"quick": 2, "full": 4}
    assert demo["model"]["license"] == "Apache-2.0"
    assert demo["requires"]["a-distribution-not-here"] is None
    assert demo["requires"]["msgspec"]


def test_a_definition_that_is_wrong_ends_the_command(folder: Path) -> None:
    (folder / "demo.yaml").write_text(DEFINITION.replace("title:", "titel:"), encoding="utf-8")
    with pytest.raises(SpecError, match="did you mean 'title'"):
        run("workloads", "--workloads", str(folder))


def test_backends_say_whether_they_can_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    from edgebench.backend import Unavailable
    from edgebench.registry import BrokenBackend, load

    away = BrokenBackend("away", "its library is missing", "pip install it")
    null = load("null")
    monkeypatch.setattr("edgebench.registry.every", lambda: [null, away])
    ready, broken = rows("backends")
    assert (ready["status"], ready["reason"]) == ("ready", "")
    assert ready["version"]
    assert "threads" in [option["name"] for option in ready["options"]]
    assert isinstance(away.availability(), Unavailable)
    assert (broken["status"], broken["version"]) == ("broken", None)
    text = run("backends")
    assert "broken: its library is missing" in text
    assert "fix            pip install it" in text


def test_devices_are_this_machine_and_the_inventory(folder: Path) -> None:
    (here,) = rows("devices")
    assert (here["detected"], here["entry"]) == (True, None)
    assert here["facts"]["machine"] == os.uname().machine
    inventory = folder / "inventory.yaml"
    machine = os.uname().machine
    inventory.write_text(
        f"devices: [{{name: mine, title: Mine, match: {{machine: {machine}}}}}]", encoding="utf-8"
    )
    here, mine = rows("devices", "--devices", str(inventory))
    assert here["entry"] == "mine"
    assert (mine["name"], mine["detected"]) == ("mine", False)
    assert f"match          machine {machine}" in run("devices", "--devices", str(inventory))


@pytest.mark.parametrize("what", ["workloads", "backends", "devices"])
def test_everything_fits_80_columns_and_pipes_get_no_colour(folder: Path, what: str) -> None:
    arguments = ["--workloads", str(folder)] if what == "workloads" else []
    text = run(what, *arguments)
    assert text.strip()
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_a_terminal_gets_bold_names_unless_no_color_is_set(no_color: str, coloured: bool) -> None:
    leader, follower = pty.openpty()
    environment = {**os.environ, "NO_COLOR": no_color, "TERM": "xterm"}
    command = [sys.executable, "-m", "edgebench", "list", "backends"]
    subprocess.run(command, stdout=follower, env=environment, check=True)
    os.close(follower)
    output = os.read(leader, 1 << 16)
    os.close(leader)
    assert b"null" in output
    assert (b"\x1b[1m" in output) == coloured


@pytest.mark.parametrize("what", ["workloads", "backends", "devices"])
def test_no_runtime_and_no_arrays_are_imported(what: str) -> None:
    code = (
        "import sys\n"
        "from edgebench.cli import cli\n"
        f"cli.main(['list', '{what}'], standalone_mode=False)\n"
        "heavy = ('numpy', 'onnx', 'onnxruntime', 'rich', 'PIL', 'sklearn', 'urllib.request')\n"
        "print([name for name in heavy if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
