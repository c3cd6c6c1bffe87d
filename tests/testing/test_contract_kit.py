"""The contract kit passes what is right, and fails what is wrong, for the right reason."""

from __future__ import annotations

import inspect
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from types import ModuleType

import pytest

from edgebench.testing import test_contract, test_contract_generation

ROOT = Path(__file__).parents[2]
THIRD_PARTY = ROOT / "tests" / "data" / "thirdparty_backend"
FAULTS = "edgebench.testing.faults"

COMPUTES_NOTHING = {
    "test_answers_are_right",
    "test_answers_depend_on_the_input",
    "test_answers_are_right_with_every_option",
}
NEEDS_NO_RUNTIME = {
    "test_has_a_name_and_a_summary",
    "test_capabilities_are_data",
    "test_options_are_declared_well",
    "test_loading_imports_no_runtime",
    "test_availability_has_evidence",
    "test_missing_runtime_is_reported",
}


#: Demands on time. A busy machine can hide a fault from them, so tests/testing/test_contract_timing.py holds them
#: to account on a clock of its own; what a fault does to them here is not asked.
TIMED = {
    "test_latency_grows_with_work",
    "test_runs_return_when_the_work_is_done",
    "test_seen_inputs_are_not_answered_faster",
    "test_time_grows_with_the_prompt",
}


def run_pytest(
    *arguments: str, cwd: Path, pythonpath: Path | None = None
) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    if pythonpath is not None:
        environment["PYTHONPATH"] = str(pythonpath)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "--tb=short"]
    return subprocess.run(
        [*command, *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def kit(backend: str, cwd: Path, pythonpath: Path | None = None) -> dict[str, set[str]]:
    """Names of the contract's tests by outcome, of a run in a folder that is not the checkout."""
    report = cwd / "report.xml"
    arguments = ("--pyargs", "edgebench.testing", "--backend", backend, f"--junitxml={report}")
    done = run_pytest(*arguments, cwd=cwd, pythonpath=pythonpath)
    assert report.exists(), done.stdout + done.stderr
    outcomes: dict[str, set[str]] = {"passed": set(), "failure": set(), "error": set()}
    for test in ET.parse(report).iter("testcase"):
        kinds = {child.tag for child in test} & {"failure", "error", "skipped"} or {"passed"}
        for kind in kinds:
            outcomes.setdefault(kind, set()).add(test.attrib["name"].partition("[")[0])
    assert (done.returncode == 0) == (not outcomes["failure"] and not outcomes["error"])
    outcomes["passed"] -= outcomes["failure"] | outcomes["error"]
    return outcomes


def contract() -> dict[str, str]:
    """Test -> demand, in order."""
    return demands(test_contract)


def demands(module: ModuleType) -> dict[str, str]:
    return {
        name: (inspect.getdoc(test) or "").splitlines()[0]
        for name, test in vars(module).items()
        if name.startswith("test_")
    }


#: What a backend that generates no text is not asked.
GENERATION = set(demands(test_contract_generation))


def test_ort_keeps_the_contract(tmp_path: Path) -> None:
    everything = set(contract()) | GENERATION
    assert kit("ort", tmp_path) == {"passed": everything, "failure": set(), "error": set()}


@pytest.mark.parametrize(
    ("backend", "expected"),
    [
        ("null", COMPUTES_NOTHING),
        (f"{FAULTS}:WrongOutput", COMPUTES_NOTHING),
        (f"{FAULTS}:Async", set()),  # seen by its times alone, as Memoise is
        (f"{FAULTS}:SilentFallback", {"test_precision_is_as_asked"}),
    ],
    ids=["null", "wrong", "async", "fallback"],
)
def test_a_faulty_backend_fails_exactly_its_tests(
    backend: str, expected: set[str], tmp_path: Path
) -> None:
    outcomes = kit(backend, tmp_path)
    assert outcomes["failure"] - TIMED == expected
    assert outcomes["error"] == set()


def test_a_decoder_that_computes_nothing_fails_exactly_its_tests(tmp_path: Path) -> None:
    outcomes = kit("edgebench.testing.fake_decoder:FakeDecoder", tmp_path)
    assert outcomes["failure"] & GENERATION - TIMED == {
        "test_logits_are_those_of_the_model",
        "test_logits_are_near_in_every_precision",
        "test_every_position_is_scored",
        "test_generation_options_take_effect_or_are_refused",
    }
    assert outcomes["passed"] >= GENERATION - outcomes["failure"]


def test_a_missing_runtime_fails_and_does_not_skip(tmp_path: Path) -> None:
    outcomes = kit(f"{FAULTS}:NotInstalled", tmp_path)
    assert outcomes["passed"] == NEEDS_NO_RUNTIME
    assert outcomes["error"] == set(contract()) - NEEDS_NO_RUNTIME


def test_without_a_backend_pytest_ends_with_the_usage(tmp_path: Path) -> None:
    done = run_pytest("--pyargs", "edgebench.testing", cwd=tmp_path)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "say which backend" in done.stderr
    assert "--backend NAME" in done.stderr


def test_a_path_into_the_kit_needs_a_backend_too() -> None:
    done = run_pytest("edgebench/testing", cwd=ROOT)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "say which backend" in done.stderr


def test_a_name_nobody_knows_gets_a_suggestion(tmp_path: Path) -> None:
    done = run_pytest("--pyargs", "edgebench.testing", "--backend", "nul", cwd=tmp_path)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "did you mean 'null'?" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_backend_that_cannot_be_imported_says_why(tmp_path: Path) -> None:
    (tmp_path / "torn.py").write_text("import no_such_runtime\n")
    done = run_pytest("--pyargs", "edgebench.testing", "--backend", "torn.py:Torn", cwd=tmp_path)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "no_such_runtime" in done.stderr


def test_the_plugin_leaves_other_projects_alone(tmp_path: Path) -> None:
    """Another project may have a `--backend` of its own."""
    (tmp_path / "conftest.py").write_text(
        "def pytest_addoption(parser):\n    parser.addoption('--backend')\n"
    )
    (tmp_path / "test_other.py").write_text(
        "def test_other(request):\n    assert request.config.getoption('--backend') == 'theirs'\n"
    )
    done = run_pytest("--backend", "theirs", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_a_backend_of_another_package_keeps_the_contract(tmp_path: Path) -> None:
    """The worked example: installed by pip, found by its entry point."""
    source = shutil.copytree(THIRD_PARTY, tmp_path / "source")  # building leaves files behind
    site = tmp_path / "site"
    install = ["install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", *install, "--target", str(site), str(source)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    outcomes = kit("onnx-reference", tmp_path, pythonpath=site)
    assert outcomes["passed"] == set(contract())
    assert outcomes["failure"] | outcomes["error"] == set()
    assert outcomes["skipped"] == GENERATION


def test_the_documentation_lists_the_contract() -> None:
    text = (ROOT / "docs" / "contract.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(test_\w+)` \| (.*) \|$", text, re.MULTILINE)
    expected = {**contract(), **demands(test_contract_generation)}
    assert dict(rows) == expected
    assert [name for name, _ in rows] == list(expected)


def test_the_documentation_names_no_test_that_is_not_there() -> None:
    text = (ROOT / "docs" / "contract.md").read_text(encoding="utf-8")
    assert set(re.findall(r"`(test_[a-z_]+)`", text)) == set(contract()) | GENERATION
    assert (ROOT / "tests" / "testing" / "test_contract_kit.py").exists()
    assert THIRD_PARTY.is_dir()
