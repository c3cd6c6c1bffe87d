"""Builds isolated Python environments for other runtime versions, and reuses those that are unchanged.

Such an environment has our own versions of everything but the runtime that is asked for, so that the
runtime is all that differs. edgebench itself comes from a copy of this one's source, by PYTHONPATH: both
arms run the same code.
"""

from __future__ import annotations

import hashlib
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from edgebench.ab_test.cached_folder import make_once
from edgebench.ab_test.pair_runner import Interpreter
from edgebench.assets.download_progress import LINE_EVERY_S
from edgebench.errors import AssetError, UsageError
from edgebench.installed_packages import installed_version
from edgebench.processes.python_command import (
    foreign_code_command,
    foreign_module_command,
    module_command,
)
from edgebench.text.plain_text import say

BUILD_TIME_OUT_S = 1800.0
#: What an arm imports beside the runtime. The rest of edgebench stays out.
_NEEDED = ("msgspec", "numpy", "onnx", "pillow", "psutil", "platformdirs", "pyyaml", "onnxruntime")
#: Distributions that bring the package onnxruntime; the others that are named after it want it beside them.
_RUNTIME = re.compile(r"onnxruntime(?!-(genai|extensions|tools)\b).*")
_CHECK = "import msgspec, numpy; import edgebench.ab_test.arm_process"


def for_pins(pins: Sequence[str], also: Sequence[str], cache: Path) -> Interpreter:
    """A Python with these versions (`name==version`), and our versions of `also` and the core.

    Raises AssetError where they cannot be installed.
    """
    packages = requirements(pins, also)
    key = hashlib.sha256("\n".join([_this_python(), *packages]).encode()).hexdigest()[:16]
    folder = cache / "envs" / key
    python = folder / "bin" / "python"
    if python.is_symlink() and not python.exists():  # what it leads to is gone: nothing in it runs
        shutil.rmtree(folder, ignore_errors=True)
    make_once(folder, lambda: _build(folder, packages, pins))
    return Interpreter(str(python), str(source_copy(cache)))


def for_python(python: str, cache: Path) -> Interpreter:
    """A user's interpreter. Raises UsageError where it cannot run an arm."""
    interpreter = Interpreter(python, str(source_copy(cache)))
    try:
        done = subprocess.run(
            foreign_code_command(python, _CHECK),
            capture_output=True,
            env=interpreter.environment(),
            check=False,
        )
    except OSError as error:
        message = f"{python} cannot be started: {error.strerror}"
        raise UsageError(
            message, "name a Python or a virtual environment of this machine"
        ) from None
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise UsageError(
            f"{python} cannot run edgebench: {lines[-1] if lines else 'it exits at once'}",
            f"{python} -m pip install edgebench",
        )
    return interpreter


def requirements(pins: Sequence[str], also: Sequence[str] = ()) -> list[str]:
    """`pins`, and of everything else that an arm needs the version that is installed here."""
    pinned = {distribution(pin) for pin in pins}
    packages = dict.fromkeys(pins)
    for name in (*_NEEDED, *also):
        # onnxruntime-gpu and the like bring the same package: never both
        if normal(name) in pinned or (
            normal(name) == "onnxruntime" and any(map(_is_runtime, pins))
        ):
            continue
        if (version := installed_version(name)) is not None:
            packages[f"{name}=={version}"] = None
    return sorted(packages)


def _is_runtime(pin: str) -> bool:
    """Whether it brings the package onnxruntime itself; onnxruntime-qnn does so before 2.0."""
    name = distribution(pin)
    if name == "onnxruntime-qnn":
        return pin.partition("==")[2].partition(".")[0] in ("0", "1")
    return _RUNTIME.fullmatch(name) is not None


def distribution(pin: str) -> str:
    """The name in `name[extra]==version`, as PyPI compares it."""
    return normal(pin.partition("==")[0].partition("[")[0])


def normal(name: str) -> str:
    """A distribution's name as PyPI compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _this_python() -> str:
    return f"{platform.python_implementation()} {platform.python_version()} {platform.platform()}"


def _build(folder: Path, wanted: Sequence[str], pins: Sequence[str]) -> None:
    say(f"installing {', '.join(pins)} into an environment of its own")
    commands = (
        module_command("venv", str(folder)),
        foreign_module_command(
            str(folder / "bin" / "python"), "pip", "install", "--quiet", *wanted
        ),
    )
    for command in commands:
        try:
            done = told_run(command, f"installing {', '.join(pins)}", BUILD_TIME_OUT_S)
        except subprocess.TimeoutExpired:
            raise AssetError(
                f"the environment was not installed within {BUILD_TIME_OUT_S:g} s"
            ) from None
        if done.returncode != 0:
            shutil.rmtree(folder, ignore_errors=True)
            raise AssetError(
                f"{', '.join(pins)} cannot be installed: {_why(done.stderr or done.stdout)}",
                "name versions that exist for this Python and platform",
            )


def told_run(
    command: Sequence[str] | str, what: str, time_out_s: float, **options: Any
) -> subprocess.CompletedProcess[bytes]:
    """Runs a command and tells now and then that it is still at it. Raises subprocess.TimeoutExpired."""
    spent_s = 0.0
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options
    ) as process:
        while True:
            try:
                out, err = process.communicate(timeout=min(LINE_EVERY_S, time_out_s))
                return subprocess.CompletedProcess(command, process.returncode, out, err)
            except subprocess.TimeoutExpired:
                spent_s += min(LINE_EVERY_S, time_out_s)
                if spent_s >= time_out_s:
                    process.kill()
                    raise
                say(f"{what}: {spent_s:.0f} s so far")
            except BaseException:
                process.kill()
                raise


def _why(printed: bytes) -> str:
    lines = [line.strip() for line in printed.decode(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")]
    return (errors or lines or ["it said nothing"])[-1]


def source_copy(cache: Path) -> Path:
    """A folder for PYTHONPATH that holds this edgebench and nothing else, cached by its content."""
    files = sorted(_sources())
    digest = hashlib.sha256()
    for name, path in files:
        digest.update(f"{name}\n".encode())
        digest.update(path.read_bytes())
    folder = cache / "envs" / f"edgebench-{digest.hexdigest()[:16]}"

    def copy() -> None:
        for name, path in files:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)

    make_once(folder, copy)
    return folder


def _sources() -> Iterator[tuple[str, Path]]:
    """Name below the copy, and file, of every source of the packages as they are importable here."""
    for package in ("edgebench", "edgebench.backends", "edgebench.workloads"):
        root = Path(next(iter(import_module(package).__path__)))
        for path in root.rglob("*"):
            if path.suffix in (".py", ".yaml") and path.is_file():
                yield str(Path(*package.split(".")) / path.relative_to(root)), path
