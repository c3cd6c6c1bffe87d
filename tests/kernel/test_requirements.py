"""A machine that cannot run an emulated target is told why in one line, and the exit code is no verdict."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kernel import kernel_image
from tests.kernel.requirements import (
    CANNOT_RUN,
    MAX_REASON,
    CannotRun,
    install,
    install_wheels,
    reason,
    require_commands,
    require_debian,
    require_machine,
    require_root,
)


def test_another_system_is_named(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text('ID=fedora\nPRETTY_NAME="Fedora Linux 43"\n')
    with pytest.raises(CannotRun, match=r"needs Debian, .* this is Fedora Linux 43"):
        require_debian(tmp_path)
    (tmp_path / "etc/os-release").write_text("ID=debian\n")
    require_debian(tmp_path)


def test_what_is_missing_is_named() -> None:
    with pytest.raises(CannotRun, match="needs root"):
        require_root(user=1000)
    with pytest.raises(CannotRun, match="kind x86_64, and this one is aarch64"):
        require_machine("x86_64", found="aarch64")
    with pytest.raises(CannotRun, match="the commands gcc, which are not on the PATH"):
        require_commands(["gcc"], path="/nowhere")


def test_a_package_that_apt_does_not_install_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, code in (("dpkg-query", 1), ("apt-get", 100)):
        (tmp_path / name).write_text(
            f"#!/bin/sh\necho 'E: Unable to locate package flex' >&2; exit {code}\n"
        )
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(CannotRun, match="cannot install flex: E: Unable to locate"):
        install(["flex"])


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("I: downloading\nE: apt failed\nE: it failed to run\n", "E: apt failed E: it failed to run"),
        ("\N{MULTIPLICATION SIGN} No way:\n   x has no wheels", "\N{MULTIPLICATION SIGN} No way: x has no wheels"),
        ("a\nfetching https://user:key@index.example/x failed", "fetching <address> failed"),
        ("", "no reason given"),
    ],
)  # fmt: skip
def test_a_programs_reason_is_one_line_without_addresses(said: str, told: str) -> None:
    assert reason(said) == told
    assert len(reason(said * 1000)) <= MAX_REASON


def test_a_wheel_that_the_index_has_not_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(CannotRun) as caught:
        install_wheels("no-such-distribution==1")
    said = str(caught.value)
    assert said.startswith("pip cannot install no-such-distribution==1: ERROR: Could not find a")
    assert "\n" not in said


def test_the_target_ends_with_a_code_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(kernel_image, "is_built", lambda: False)
    monkeypatch.setattr(
        kernel_image, "require_machine", lambda _: require_machine("x86_64", "riscv64")
    )
    assert kernel_image.main() == CANNOT_RUN == 77
    said = capsys.readouterr().err
    assert (
        said
        == "test-kernel cannot run here: needs a machine of the kind x86_64, and this one is riscv64\n"
    )


def test_a_kernel_that_is_built_needs_root_and_the_compiler_of_trees(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(kernel_image, "is_built", lambda: True)
    monkeypatch.setattr(kernel_image, "require_machine", lambda _: None)
    monkeypatch.setattr(kernel_image, "require_root", lambda: None)
    monkeypatch.setenv("PATH", "/nowhere")
    assert kernel_image.main() == CANNOT_RUN
    monkeypatch.setattr(kernel_image, "require_root", lambda: require_root(user=1000))
    assert kernel_image.main() == CANNOT_RUN
    dtc, root = capsys.readouterr().err.splitlines()
    assert "the commands dtc, which are not on the PATH" in dtc
    assert "needs root" in root
