"""A machine without TensorRT for RTX is told so in one line, with a code of its own."""

from __future__ import annotations

import pytest

from edgebench.backends.trt import library
from tests.ci.junit_to_check import answer
from tests.ci.require_tensorrt_rtx import main, problem


def test_what_is_missing_or_in_the_way_is_named() -> None:
    assert "pip install 'edgebench[tensorrt-rtx]'" in problem(None)
    assert "TensorRT 11.4.1 is installed" in problem(
        library.Library("tensorrt", "11.4.1", rtx=False)
    )
    assert problem(library.Library("tensorrt_rtx_bindings", "1.7.1", rtx=True)) == ""


def test_the_target_ends_with_a_code_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(library, "find", lambda: None)
    assert main() == 77
    assert capsys.readouterr().err.startswith("test-tensorrt-rtx cannot run here: ")


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
