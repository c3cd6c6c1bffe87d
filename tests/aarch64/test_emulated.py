"""What edgebench does on aarch64, as far as an emulator shows it: answers, not times. `make test-aarch64`."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from edgebench.testing.models import convolution
from tests.aarch64 import emulated_root as aarch64
from tests.kernel.requirements import CannotRun

pytestmark = [pytest.mark.aarch64, pytest.mark.slow]
BACKENDS = ("ort", "openvino", "litert", "ncnn", "mlx")
#: Tests that are run there: of arithmetic, files and text. Those that start workers take the emulator minutes each.
SUITES = ("tests/definitions", "tests/importers", "tests/energy", "tests/analysis")
#: Part of a test's name -> why it fails by the emulator's fault and not by edgebench's.
EMULATORS_FAULT: dict[str, str] = {}


@pytest.fixture(scope="session", autouse=True)
def _root() -> None:
    """Skips every test by name where nothing can be emulated, or the root is not built."""
    try:
        aarch64.require()
    except CannotRun as why:
        pytest.skip(str(why))
    if not (aarch64.ROOT / "opt/edgebench").exists():
        pytest.skip("the root is not built: make test-aarch64")


@pytest.fixture(scope="session")
def doctor() -> Any:
    done = aarch64.run("python3", "-m", "edgebench", "doctor", "--format", "json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_machine_is_an_aarch64_and_the_emulator_is_told(doctor: Any) -> None:
    assert doctor["device"]["facts"]["machine"] == "aarch64"
    (row,) = (row for row in doctor["state"] if row["name"] == "emulation")
    assert row["level"] == "warn"
    assert "this process is aarch64: it is emulated" in row["evidence"]


def test_the_wheel_and_not_the_checkout_is_what_runs() -> None:
    done = aarch64.run("python3", "-c", "import edgebench; print(edgebench.__file__)")
    assert done.stdout.startswith("/opt/edgebench/")


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_runtime_gives_the_right_answers(backend: str, doctor: Any) -> None:
    """A small convolution, held against the fp32 reference by the run itself."""
    (state,) = (row for row in doctor["backends"] if row["name"] == backend)
    assert state["status"] == "ready", state
    folder = aarch64.BUILD / f"cache/run-{backend}"
    folder.mkdir(exist_ok=True)
    convolution(1).write(folder)
    (model,) = folder.glob("*.onnx")
    for old in folder.rglob("*.jsonl"):
        old.unlink()
    where = f"/cache/run-{backend}"
    done = aarch64.run(
        *(
            "python3",
            "-m",
            "edgebench",
            "run",
            "--model",
            f"{where}/{model.name}",
            "--backend",
            backend,
        ),
        *(
            "--set",
            "threads=1",
            "--replicates",
            "1",
            "--slice",
            "300ms",
            "--timeout",
            "600s",
            "--out",
            where,
        ),
        time_out_s=1200,
    )
    (file,) = folder.rglob("*.jsonl")
    record = json.loads(file.read_text().splitlines()[0])
    reasons = [reason["code"] for reason in record.get("reasons", [])]
    assert record["status"] == "ok", (reasons, done.stderr[-500:])
    assert not {"outputs_differ", "wrong_outputs"} & set(reasons), reasons


def test_the_core_tests_pass() -> None:
    """The project's own tests, run by the wheel's packages; what fails must be the emulator's fault by name."""
    done = aarch64.run(
        *(
            "env",
            "PYTHONPATH=/opt/edgebench:/checkout",
            "python3",
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
        ),
        *("-m", "not slow and not downloads and not kernel and not aarch64", *SUITES),
        time_out_s=1500,
    )
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    mine = [name for name in failed if not any(part in name for part in EMULATORS_FAULT)]
    assert mine == [], done.stdout[-3000:]
    assert re.search(r"\d+ passed", done.stdout), (done.stdout + done.stderr)[-2000:]
