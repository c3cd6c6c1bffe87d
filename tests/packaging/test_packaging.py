"""What is shipped, and what importing it costs."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("numpy", "onnx", "onnxruntime", "rich", "psutil", "PIL")


def listed_packages() -> set[str]:
    """`packages` of pyproject.toml, read as text: there is no TOML reader on Python 3.10."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    block = text.split("\npackages = [", 1)[1].split("]", 1)[0]
    return {line.strip().strip('",') for line in block.splitlines() if line.strip()}


def test_every_package_folder_is_listed() -> None:
    found = set()
    for top, name in (
        ("edgebench", "edgebench"),
        ("backends", "edgebench.backends"),
        ("workloads", "edgebench.workloads"),
    ):
        for init in (ROOT / top).rglob("__init__.py"):
            found.add(".".join([name, *init.parent.relative_to(ROOT / top).parts]))
    assert found == listed_packages()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["run", "--help"],
        ["ab", "--help"],
        ["gate", "--help"],
        ["list", "workloads"],
        ["list", "backends"],
    ],
)
def test_light_commands_import_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\n"
        "from edgebench.cli import main\n"
        f"sys.argv = ['edgebench', *{arguments!r}]\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    assert not end.code, end.code\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stderr.strip() == "[]"


def test_no_runtime_is_imported_by_any_command_module() -> None:
    code = (
        "import importlib, pkgutil, sys, edgebench.cli\n"
        "for module in pkgutil.iter_modules(edgebench.cli.__path__):\n"
        "    importlib.import_module('edgebench.cli.' + module.name)\n"
        "print([m for m in ('onnx', 'onnxruntime', 'mlx', 'tensorrt') if m in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel, built from a copy of what a checkout holds."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [
            sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation",
            "--wheel-dir", str(folder), str(_copy_of_checkout(folder / "checkout")),
        ],
        check=True,
    )  # fmt: skip
    [path] = folder.glob("*.whl")
    return path


def _copy_of_checkout(target: Path) -> Path:
    import shutil

    target.mkdir()
    for name in ("edgebench", "backends", "workloads", "pyproject.toml", "README.md"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target / name)
    return target


def test_the_wheel_holds_backends_and_workloads(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert "edgebench/backends/ort.py" in names
    assert "edgebench/py.typed" in names
    assert {
        f"edgebench/report/html/{name}" for name in ("page.html", "page.css", "main.js")
    } <= names
    definitions = {path.name for path in (ROOT / "workloads").glob("*.yaml")}
    assert {f"edgebench/workloads/{name}" for name in definitions} <= names
    assert not any(name.startswith(("backends/", "workloads/", "tests/")) for name in names)


def test_the_wheel_measures_in_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    from edgebench.testing.models import two_by_two

    installed, empty = tmp_path / "installed", tmp_path / "empty"
    zipfile.ZipFile(wheel).extractall(installed)
    empty.mkdir()
    model = two_by_two().write(tmp_path).path
    done = subprocess.run(
        [
            sys.executable, "-m", "edgebench", "run", "--model", str(model), "--replicates", "2",
            "--slice", "0.1s",
        ],
        cwd=empty,
        env={
            **os.environ,
            "PYTHONPATH": str(installed),
            "EDGEBENCH_CACHE": str(tmp_path / "cache"),
            "NO_COLOR": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "deploy" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert list(empty.rglob("*.jsonl"))
