"""The pytest plugin: light where unused, and its fixtures fail tests that should fail."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from importlib.metadata import entry_points
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgebench.ab_test import timed_functions
from edgebench.ab_test.pair_statistics import wall_ns
from edgebench.ab_test.timed_functions import compare_calls, time_calls
from edgebench.ab_test.verdict import Tolerance
from edgebench.errors import UsageError
from edgebench.measure import cpu_pinning
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


def test_plugin_is_registered_by_entry_point() -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    assert 'edgebench-gate = "edgebench.pytest_plugin"' in text


def test_a_head_that_answers_otherwise_fails_the_test_with_the_table(tmp_path: Path) -> None:
    two_by_two().write(tmp_path)
    text = (
        "def test_model(edgebench):\n"
        "    edgebench.assert_no_regression(\n"
        "        base='two-by-two-1.onnx', head='edgebench.testing.faults:WrongOutput', budget='10min')\n"
    )
    done = run_pytest(tmp_path, text)
    assert done.returncode == 1
    assert "outputs of head differ" in done.stdout


class Machine:
    """A clock of the tests' own: a function takes what it says, and nothing else takes any time."""

    now_ns = 0

    def perf_counter_ns(self) -> int:
        return self.now_ns

    process_time_ns = perf_counter_ns

    def work(self, ns: int) -> Callable[[], None]:
        def call() -> None:
            self.now_ns += ns

        return call


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    own = Machine()
    usage = SimpleNamespace(ru_nivcsw=0)
    waits = SimpleNamespace(read_ns=lambda: 0, close=lambda: None)
    monkeypatch.setattr(timed_functions, "time", own)
    monkeypatch.setattr(
        timed_functions, "resource", SimpleNamespace(RUSAGE_SELF=0, getrusage=lambda _: usage)
    )
    monkeypatch.setattr(timed_functions, "WaitClock", lambda: waits)
    return own


@pytest.mark.parametrize(
    ("head_ns", "delta", "verdict"),
    [
        (2_000_000, 0.05, "regress"),
        (1_000_000, 0.05, "pass"),
        (500_000, 0.05, "improve"),
        (1_040_000, 0.05, "pass"),  # one process: below delta nothing is called
        (1_500_000, 0.9, "pass"),
    ],
)
def test_a_change_is_called_beyond_delta_alone(
    machine: Machine, head_ns: int, delta: float, verdict: str
) -> None:
    rulings = compare_calls(
        machine.work(1_000_000),
        machine.work(head_ns),
        Tolerance(delta=delta),
        rounds=4,
        clock=lambda: 0.0,
    )
    assert {ruling.verdict for ruling in rulings.values()} == {verdict}


def test_the_budget_ends_a_comparison_of_functions(machine: Machine) -> None:
    """Warm-ups take 16 s and a stretch 8 s: the third one passes the budget."""
    rulings = compare_calls(
        machine.work(10**9),
        machine.work(10**9),
        Tolerance(),
        budget_s=35,
        rounds=4,
        clock=lambda: machine.now_ns / 1e9,
    )
    assert {(ruling.verdict, ruling.pairs) for ruling in rulings.values()} == {("invalid", 3)}


def test_where_nothing_can_be_pinned_cpu_time_is_not_judged(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu_pinning, "available", list)
    rulings = compare_calls(machine.work(10**6), machine.work(10**6), Tolerance(), rounds=4)
    assert set(rulings) == {"wall"}
    assert timed_functions._clocks()["wall"] is wall_ns


@pytest.mark.parametrize(("tau", "delta"), [(0.1, None), (None, 5.0), (-0.01, 0.05)])
def test_tolerances_that_make_no_sense_are_refused(tau: float | None, delta: float | None) -> None:
    """As on the command line: an estimate within tau that delta excludes is never decided."""
    with pytest.raises(UsageError, match="must be above tau"):
        EdgebenchFixture().ab(base="ort", head="ort", tau=tau, delta=delta)
    with pytest.raises(UsageError, match="below 100 %"):
        BenchmarkFixture().assert_not_slower(base=int, head=int, delta=5)


def test_percentiles_appear_where_the_calls_support_them() -> None:
    few = time_calls(lambda: sum(range(10)), window_ns=0)
    assert few.calls == 6
    assert few.p50_ns is not None
    assert few.p90_ns is None


def test_the_benchmark_fixture_is_there_for_a_test_that_asks(tmp_path: Path) -> None:
    text = (
        "def test_limit(edgebench_benchmark):\n"
        "    timing = edgebench_benchmark(sum, [1, 2])\n"
        "    assert timing.calls >= 6\n"
        "    assert timing.p50_ns is None\n"
    )
    done = run_pytest(tmp_path, text)
    assert "1 failed" in done.stdout, done.stdout
    assert "assert timing.p50_ns is None" in done.stdout


def test_the_benchmark_fixture_fails_a_slower_function(machine: Machine) -> None:
    compared = BenchmarkFixture().assert_not_slower
    base = machine.work(1_000_000)
    compared(base=base, head=base, budget="10min")
    with pytest.raises(pytest.fail.Exception, match="head is slower than base by more than 5%"):
        compared(base=base, head=machine.work(3_000_000), budget="10min")


@pytest.mark.parametrize("asked", ["fail", "skip", "pass"])
def test_inconclusive_option_decides_when_the_budget_does_not_suffice(
    machine: Machine, asked: Any
) -> None:
    base = machine.work(1_000_000)
    ends = {
        "fail": pytest.raises(pytest.fail.Exception),
        "skip": pytest.raises(pytest.skip.Exception),
    }
    with ends.get(asked, nullcontext()):
        BenchmarkFixture().assert_not_slower(base=base, head=base, budget="0s", inconclusive=asked)
