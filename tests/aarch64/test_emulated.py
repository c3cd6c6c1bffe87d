"""edgebench's wheel and its runtimes on aarch64, under QEMU: answers, not times. `make test-aarch64`."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple
from unittest import mock

import pytest

from edgebench.testing.models import convolution
from tests.aarch64 import emulated_root as aarch64
from tests.aarch64 import int8_quality, quick_answers
from tests.aarch64.interpreters import ALL, DEBIAN, Interpreter
from tests.aarch64.processors import ARM, HERE
from tests.kernel.requirements import CannotRun

pytestmark = [pytest.mark.aarch64, pytest.mark.slow]
BACKENDS = ("ort", "openvino", "litert", "ncnn", "mlx")
#: Tests that are run there, where a processor or a Python can matter: arithmetic, the kernel's files, what is asked of the
#: processor, readers of text. An emulated Python is some twenty times slower: those that start workers take minutes each.
_ARITHMETIC = ("analysis/test_stats.py", "analysis/test_metrics.py", "energy/test_integrate.py")
_METERS = ("energy/test_rapl.py", "energy/test_ina3221.py", "energy/test_battery.py")
_PROBES = tuple(
    f"probes/test_{name}.py"
    for name in (
        "device_facts",
        "instructions",
        "proc_files",
        "process_memory",
        "process_accounting",
    )
)
SUITES = ("definitions", *_ARITHMETIC, *_METERS, *_PROBES)
#: Of the older Python, which has the same processor.
SUITES_OF_OLDER = ("definitions", *_ARITHMETIC)
_MARKS = "not slow and not downloads and not kernel and not aarch64 and not tensorrt_rtx"
#: Part of a test's name -> why it fails by the emulator's fault and not by edgebench's.
EMULATORS_FAULT = {
    "test_a_helper_that_leaves_its_session": "QEMU's user emulation knows no PR_SET_CHILD_SUBREAPER (EINVAL)"
}


class QuickUnderWay(NamedTuple):
    """The suite `quick`, and the thread that began to work at it."""

    suite: quick_answers.Suite
    begun: Future[None]


@pytest.fixture(scope="session", params=ALL, ids=lambda python: f"python{python.version}")
def python(request: pytest.FixtureRequest) -> Interpreter:
    """Each Python of the root. What cannot be emulated is skipped by name, with its reason."""
    chosen: Interpreter = request.param
    _require(chosen)
    return chosen


def _require(python: Interpreter) -> None:
    try:
        aarch64.require()
        aarch64.register_emulator()
    except CannotRun as why:
        pytest.skip(str(why))
    missing = aarch64.left_out(python)
    if missing:
        pytest.skip(missing)


@pytest.fixture(scope="session", autouse=True)
def cache() -> Iterator[None]:
    """Both machines' assets and models are in one place."""
    with mock.patch.dict(os.environ, {"EDGEBENCH_CACHE": str(aarch64.CACHE)}):
        yield


@pytest.fixture(scope="session", autouse=True)
def quick_under_way(request: pytest.FixtureRequest, cache: None) -> Iterator[QuickUnderWay | None]:
    """The suite `quick`, which takes longer than all else: one core works at it from the beginning, beside the other tests."""
    names = {getattr(item, "originalname", "") for item in request.session.items}
    if test_quick_gives_the_answers_that_it_gives_here.__name__ not in names:
        yield None
        return
    _require(DEBIAN)
    suite = quick_answers.Suite()
    with ThreadPoolExecutor(1) as pool:
        yield QuickUnderWay(suite, pool.submit(suite.work))


@pytest.fixture(scope="session")
def doctor(python: Interpreter) -> Any:
    done = aarch64.run("-m", "edgebench", "doctor", "--format", "json", python=python)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_machine_is_an_aarch64_and_the_emulator_is_told(doctor: Any) -> None:
    assert doctor["device"]["facts"]["machine"] == "aarch64"
    (row,) = (row for row in doctor["state"] if row["name"] == "emulation")
    assert row["level"] == "warn"
    assert "this process is aarch64: it is emulated" in row["evidence"]


def test_the_wheel_and_not_the_checkout_is_what_runs(python: Interpreter) -> None:
    told = "import edgebench, sys; print('%d.%d' % sys.version_info[:2], edgebench.__file__)"
    done = aarch64.run("-c", told, python=python)
    assert done.stdout.startswith(f"{python.version} {python.site}/edgebench/"), done.stderr


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_runtime_gives_the_right_answers(backend: str, doctor: Any, python: Interpreter) -> None:
    """A small convolution, held against the fp32 reference by the run itself."""
    (state,) = (row for row in doctor["backends"] if row["name"] == backend)
    assert state["status"] == "ready", state
    for record in _measured(f"{backend}-{python.version}", python, "--backend", backend):
        _assert_right(record)


def test_quantised_kernels_give_the_right_answers(python: Interpreter) -> None:
    """ONNX Runtime's int8 of Arm, static and dynamic: convolutions and a matrix product."""
    precisions = ("int8-static", "int8-dynamic")
    found = _measured(
        f"int8-{python.version}", python, "--set", f"precision={','.join(precisions)}"
    )
    assert [record["cell"]["variant"]["precision"] for record in found] == sorted(
        precisions, reverse=True
    )
    for record in found:
        _assert_right(record)


def _measured(name: str, python: Interpreter, *options: str) -> list[Any]:
    """The rows of a run of the small convolution, sorted by precision, the last first."""
    folder = aarch64.CACHE / f"run-{name}"
    folder.mkdir(exist_ok=True)
    convolution(1).write(folder)
    (model,) = folder.glob("*.onnx")
    for old in folder.rglob("*.jsonl"):
        old.unlink()
    done = aarch64.run(
        *("-m", "edgebench", "run", "--model", str(model), "--out", str(folder), *options),
        *("--set", "threads=1", "--replicates", "1", "--slice", "300ms", "--timeout", "600s"),
        python=python,
        time_out_s=1200,
    )
    lines = [line for path in folder.rglob("*.jsonl") for line in path.read_text().splitlines()]
    assert lines, done.stderr[-1000:]
    return sorted(map(json.loads, lines), key=lambda record: record["cell"]["variant"]["precision"], reverse=True)  # fmt: skip


def _assert_right(record: Any) -> None:
    reasons = [reason["code"] for reason in record.get("reasons", [])]
    assert record["status"] == "ok", reasons
    assert not {"outputs_differ", "wrong_outputs"} & set(reasons), reasons


def test_the_core_tests_pass(python: Interpreter) -> None:
    """The project's own tests on the wheel; what fails must be the emulator's fault by name."""
    suites = SUITES if python is DEBIAN else SUITES_OF_OLDER
    done = aarch64.run(
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", "/checkout", "-c", "/checkout/pyproject.toml"),
        *("-m", _MARKS, *(f"/checkout/tests/{suite}" for suite in suites)),
        python=python,
        more_path="/checkout",
        time_out_s=3600,
    )  # fmt: skip
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    mine = [name for name in failed if not any(part in name for part in EMULATORS_FAULT)]
    assert mine == [], done.stdout[-3000:]
    assert re.search(r"\d+ passed", done.stdout), (done.stdout + done.stderr)[-2000:]


@pytest.mark.downloads
def test_int8_is_as_good_as_on_this_machine() -> None:
    """The same files and items: what the table of docs/hardware.md has, of the small models."""
    _require(DEBIAN)
    found = int8_quality.comparisons(int8_quality.SMALL, ARM)
    assert {each.workload for each in found} == {*int8_quality.SMALL}
    for each in found:
        assert each.apart.keys() == {processor.key for processor in ARM}
        for value in each.values.values():
            assert abs(value - each.values[HERE.key]) <= 1 / each.items, each


@pytest.mark.downloads
def test_quick_gives_the_answers_that_it_gives_here(quick_under_way: QuickUnderWay) -> None:
    """Every cell of the suite, the same prepared files: every metric of the same items, but for one that comes out otherwise."""
    quick_under_way.suite.work()  # the other tests are done, and have left a core
    quick_under_way.begun.result()
    assert quick_under_way.suite.differences() == []
