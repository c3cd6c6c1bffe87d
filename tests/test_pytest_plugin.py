"""The pytest plugin: light where unused, and its fixtures fail tests that should fail."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from edgebench.analysis.gate import Tolerance
from edgebench.analysis.paired import whole_wall_change
from edgebench.errors import UsageError
from edgebench.measure import callables, cores
from edgebench.measure.callables import compare_calls, time_calls
from edgebench.pytest_plugin import BenchmarkFixture, EdgebenchFixture
from edgebench.testing.models import two_by_two


def _loading() -> list[str]:
    """An installation from before the entry point is told about the plugin; twice would be an error."""
    known = {point.name for point in entry_points(group="pytest11")}
    return [] if "edgebench-gate" in known else ["-p", "edgebench.pytest_plugin"]


def run_pytest(folder: Path, text: str, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_mine.py").write_text(text)
    return subprocess.run(
        [
            sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *_loading(), *options,
            "test_mine.py",
        ],
        cwd=folder,
        env={**os.environ, "EDGEBENCH_CACHE": str(folder / "cache"), "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip


def test_the_plugin_imports_nothing_of_edgebench_until_a_test_asks(tmp_path: Path) -> None:
    text = (
        "import sys\n"
        "def test_light():\n"
        "    loaded = {m for m in sys.modules if m.startswith('edgebench.')}\n"
        "    assert loaded <= {'edgebench.testing', 'edgebench.testing.plugin',\n"
        "                      'edgebench.pytest_plugin'}, loaded\n"
        "    assert not {'numpy', 'msgspec', 'onnxruntime'} & set(sys.modules)\n"
    )
    done = run_pytest(tmp_path, text, "-p", "no:hypothesispytest")
    assert done.returncode == 0, done.stdout


def test_it_is_registered_by_entry_point() -> None:
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    assert 'edgebench-gate = "edgebench.pytest_plugin"' in text


def test_a_head_that_answers_otherwise_fails_the_test_with_the_table(tmp_path: Path) -> None:
    two_by_two().write(tmp_path)
    text = (
        "def test_model(edgebench):\n"
        "    edgebench.assert_no_regression(\n"
        "        base='two-by-two-1.onnx', head='edgebench.testing.faults:WrongOutput', budget='30s')\n"
    )
    done = run_pytest(tmp_path, text)
    assert done.returncode == 1
    assert "outputs of head differ" in done.stdout


def spin(count: int) -> int:
    return sum(number * number for number in range(count))


def test_a_function_that_does_twice_the_work_is_slower() -> None:
    rulings = compare_calls(
        lambda: spin(2000), lambda: spin(4000), Tolerance(), rounds=4, block_ns=1_000_000
    )
    assert {ruling.verdict for ruling in rulings.values()} == {"regress"}


def test_changes_below_delta_are_never_called_in_one_process() -> None:
    rulings = compare_calls(
        lambda: spin(2000), lambda: spin(2000), Tolerance(delta=0.9), rounds=4, block_ns=1_000_000
    )
    assert {ruling.verdict for ruling in rulings.values()} <= {"pass", "inconclusive"}


def test_where_nothing_can_be_pinned_cpu_time_is_not_judged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cores, "available", list)
    rulings = compare_calls(
        lambda: spin(2000),
        lambda: spin(2000),
        Tolerance(),
        budget_s=0,
        rounds=4,
        block_ns=1_000_000,
    )
    assert set(rulings) == {"wall"}
    assert callables._clocks()["wall"] is whole_wall_change


@pytest.mark.parametrize(("tau", "delta"), [(0.1, None), (None, 5.0), (-0.01, 0.05)])
def test_tolerances_that_make_no_sense_are_refused(tau: float | None, delta: float | None) -> None:
    """As on the command line: an estimate within tau that delta excludes is never decided."""
    with pytest.raises(UsageError, match="must be above tau"):
        EdgebenchFixture().ab(base="ort", head="ort", tau=tau, delta=delta)
    with pytest.raises(UsageError, match="below 100 %"):
        BenchmarkFixture().assert_not_slower(base=int, head=int, delta=5)


def test_percentiles_appear_where_the_calls_support_them() -> None:
    few = time_calls(lambda: spin(10), window_ns=0)
    assert few.calls == 6
    assert few.p50_ns is not None
    assert few.p90_ns is None


def test_the_benchmark_fixture_fails_a_slower_function(tmp_path: Path) -> None:
    text = (
        "def work(count):\n"
        "    return sum(n * n for n in range(count))\n"
        "def test_limit(edgebench_benchmark):\n"
        "    assert edgebench_benchmark(work, 100).p50_ns < 10**9\n"
        "def test_slower(edgebench_benchmark):\n"
        "    edgebench_benchmark.assert_not_slower(\n"
        "        base=lambda: work(2000), head=lambda: work(6000), budget='10min')\n"
    )
    done = run_pytest(tmp_path, text)
    assert "1 failed, 1 passed" in done.stdout, done.stdout
    assert "head is slower than base by more than 5%" in done.stdout
