"""TensorRT for RTX is installed where it is missing; a machine that cannot have it is told so in one line."""

from __future__ import annotations

import platform
import sys

import pytest

from edgebench.backends.trt import library
from tests.ci import require_tensorrt_rtx
from tests.ci.junit_to_check import answer
from tests.ci.require_tensorrt_rtx import require
from tests.kernel.requirements import CannotRun

RTX = library.Library("tensorrt_rtx_bindings", "1.7.1", rtx=True)
ORDINARY = library.Library("tensorrt", "11.4.1", rtx=False)


def test_another_machine_or_another_tensorrt_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "find", lambda: None)
    with pytest.raises(CannotRun, match="for Linux on x86_64, and this is Linux on aarch64"):
        require("Linux", "aarch64")
    monkeypatch.setattr(library, "find", lambda: ORDINARY)
    with pytest.raises(CannotRun, match=r"TensorRT 11\.4\.1 is installed, and goes before it"):
        require("Linux", "x86_64")
    monkeypatch.setattr(library, "find", lambda: RTX)
    require("Linux", "aarch64")


def test_what_is_missing_is_installed_and_a_missing_wheel_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    found: list[library.Library | None] = [None, RTX]
    monkeypatch.setattr(library, "find", lambda: found.pop(0))
    asked: list[str] = []
    monkeypatch.setattr(
        require_tensorrt_rtx, "install_wheels", lambda *wanted: asked.extend(wanted)
    )
    require_tensorrt_rtx.require("Linux")
    assert [name.partition(">")[0] for name in asked] == [
        "tensorrt-rtx-cu13-bindings",
        "tensorrt-rtx-cu13-libs",
    ]

    def no_wheel(*_: str) -> None:
        raise CannotRun("pip cannot install x: no wheel")

    found.append(None)
    monkeypatch.setattr(require_tensorrt_rtx, "install_wheels", no_wheel)
    assert require_tensorrt_rtx.main() == 77
    said = capsys.readouterr().err
    assert said == "test-tensorrt-rtx cannot run here: pip cannot install x: no wheel\n"


@pytest.mark.parametrize(
    ("counts", "status"),
    [
        ('tests="5" failures="0" errors="0" skipped="1"', "ok"),
        ('tests="5" failures="1" errors="0" skipped="1"', "failed"),
        ('tests="5" failures="0" errors="2" skipped="1"', "failed"),
        ('tests="5" failures="0" errors="0" skipped="5"', "not here"),
    ],
)
def test_what_a_targets_tests_found_is_an_answer(counts: str, status: str) -> None:
    junit = f"<testsuites><testsuite {counts}/></testsuites>"
    assert answer(junit, "backend.trt.build").status == status
