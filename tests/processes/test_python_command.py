"""Children import what their parent imports, and never what lies in the working directory."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from edgebench.ab_test.runtime_environments import for_python, source_copy
from edgebench.processes import python_command
from edgebench.record import encode
from edgebench.testing.models import two_by_two
from tests.records import record

ROOT = Path(__file__).parents[2]
#: Modules that edgebench, its runtimes or Python itself import by these names in one child or another.
PLANTED: tuple[str, ...] = (
    "numpy", "yaml", "onnxruntime", "onnx", "msgspec", "psutil", "platformdirs", "PIL",
    "json", "random", "resource", "ctypes", "tempfile", "concurrent", "pip", "venv", "edgebench",
)  # fmt: skip
if sys.version_info >= (3, 11):  # before, `python -m` itself reads this one where it is started
    PLANTED = (*PLANTED, "runpy")
TRAP = (
    "import pathlib; pathlib.Path(__file__).with_suffix('.executed').touch(); raise SystemExit(9)"
)
GATE = "{base: two-by-two-1.onnx, head: two-by-two-1.onnx, budget: 12s}"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout as a stranger's pull request may leave it: modules of every name lie about."""
    folder = tmp_path_factory.mktemp("hostile")
    two_by_two().write(folder)
    for name in PLANTED:
        (folder / f"{name}.py").write_text(TRAP)
    (folder / "edgebench").mkdir()
    (folder / "edgebench" / "__init__.py").write_text(TRAP)
    return folder


def edgebench(folder: Path, *arguments: str, as_module: bool = False) -> str:
    """stdout of a command that is run in `folder`, as the installed script or by `python -m`."""
    command = python_command.module_command("edgebench", *arguments)
    if as_module:
        command = [sys.executable, "-m", "edgebench", *arguments]
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "EDGEBENCH_CACHE": str(folder / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not list(folder.rglob("*.executed"))
    assert done.returncode in (0, 4, 5), done.stderr
    return done.stdout


RUN = (
    "run",
    "--model",
    "two-by-two-1.onnx",
    "--replicates",
    "1",
    "--slice",
    "0.1s",
    "--format",
    "json",
)


def test_run_executes_nothing_of_the_working_directory(hostile: Path) -> None:
    [row] = json.loads(edgebench(hostile, *RUN))["rows"]
    assert row["status"] == "ok", row["reasons"]


def test_python_m_edgebench_executes_nothing_of_the_working_directory(
    hostile: Path, tmp_path: Path
) -> None:
    two_by_two().write(tmp_path)
    for name in set(PLANTED) - {"edgebench"}:  # which Python itself would take for the program
        (tmp_path / f"{name}.py").write_text(TRAP)
    [row] = json.loads(edgebench(tmp_path, *RUN, as_module=True))["rows"]
    assert row["status"] == "ok", row["reasons"]


def test_a_backend_file_of_the_working_directory_is_loaded_by_its_path(hostile: Path) -> None:
    (hostile / "mine.py").write_text(
        "from edgebench.backends.ort import OrtBackend\nclass Mine(OrtBackend): name = 'mine'\n"
    )
    [row] = json.loads(edgebench(hostile, *RUN, "--backend", "mine.py:Mine"))["rows"]
    assert row["status"] == "ok", row["reasons"]


def test_ab_executes_nothing_of_the_working_directory(hostile: Path) -> None:
    sides = ("--base", "two-by-two-1.onnx", "--head", "two-by-two-1.onnx")
    report = json.loads(
        edgebench(hostile, "ab", *sides, "--no-save", "--budget", "12s", "--format", "json")
    )
    assert report["cells"][0]["pairs"] > 0, report


def test_gate_executes_nothing_of_the_working_directory(hostile: Path) -> None:
    (hostile / "gate.yaml").write_text(GATE)
    options = ("--policy", "gate.yaml", "--no-save", "--format", "json")
    report = json.loads(edgebench(hostile, "gate", *options))
    assert report["cells"][0]["pairs"] > 0, report


def test_calibrate_executes_nothing_of_the_working_directory(hostile: Path) -> None:
    edgebench(hostile, "calibrate", "--processes", "2", "--slice", "50ms", "-o", "peaks.json")


@pytest.mark.parametrize(
    "command",
    [
        "doctor",
        "export results.jsonl -o rows.csv",
        "import llama-bench bench.json -o imported.jsonl",
    ],
)
def test_no_other_command_executes_anything_of_the_working_directory(
    hostile: Path, command: str
) -> None:
    (hostile / "results.jsonl").write_bytes(encode(record()))
    bench = ROOT / "tests" / "data" / "imports" / "llama-bench"
    (hostile / "bench.json").write_bytes(next(bench.glob("*.json")).read_bytes())
    edgebench(hostile, *command.split())


def test_another_python_executes_nothing_of_the_working_directory(
    hostile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(hostile)
    cache = hostile / "cache"
    found = for_python(sys.executable, cache)
    assert found.path == str(source_copy(cache))
    command = found.command("edgebench.energy.sampler_process")
    subprocess.run(command, env=found.environment(), capture_output=True, check=False)
    assert not list(hostile.rglob("*.executed"))


def test_a_child_imports_what_its_parent_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "of_the_parent.py").write_text("import sys; print(sys.argv[1:])")
    monkeypatch.syspath_prepend(tmp_path)
    command = python_command.module_command("of_the_parent", "one", "two")
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == (
        "['one', 'two']\n"
    )


def test_no_other_place_builds_the_command_of_a_python() -> None:
    sources = [*(ROOT / "edgebench").rglob("*.py"), *(ROOT / "backends").rglob("*.py")]
    own = re.compile(r"""sys\.executable,|["']-m["'],|["']-c["'],""")
    found = {path.name for path in sources if own.search(path.read_text())}
    # In the others it is an option of another program.
    assert found == {"python_command.py", "power_modes.py", "ort_genai.py", "run_and_ab.py"}


def test_the_action_runs_nothing_of_the_checkout() -> None:
    action = (ROOT / "action.yml").read_text()
    assert "python -m" not in action
    assert "PYTHONSAFEPATH" in action
