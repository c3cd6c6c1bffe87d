"""How an A/B ends before its time: at the budget beside a silent arm, and where raw pairs cannot be kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgebench.ab_test import pair_runner as pairs_of
from edgebench.ab_test.ab_runner import FIRST_PAIR_S, Settings
from edgebench.ab_test.pair_record import Pair
from edgebench.ab_test.pair_runner import ArmSpec, Interpreter, PairFailed, PairPlan
from edgebench.errors import ExitCode
from edgebench.measure import cpu_pinning
from edgebench.testing.models import two_by_two
from tests.ab_test.pairs import pair
from tests.ab_test.test_ab_runner import Bench, ab_cell
from tests.ab_test.test_pair_runner import arms_of, measure


@pytest.fixture(autouse=True)
def own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks of a gate that runs on this machine meanwhile are not waited for."""
    monkeypatch.setattr(cpu_pinning, "lock_folder", lambda: tmp_path / "locks")


class Patient(Bench):
    """Writes down how long each pair may be silent."""

    def __init__(self, changes: dict[str, float]) -> None:
        super().__init__(changes)
        self.give_up_s: list[float | None] = []

    def launch(self, arms: Any, plan: PairPlan, available: Any, meter: Any) -> Pair:
        self.give_up_s.append(plan.give_up_s)
        return super().launch(arms, plan, available, meter)


def test_a_silent_arm_is_not_waited_for_long_beyond_the_budget() -> None:
    bench = Patient({"a": 0.0})
    bench.match([ab_cell("a")], budget_s=9.0).measure()
    # A first pair is thought to take 4 s; after it 7 are left, and the next one is half of its 1.5.
    assert bench.give_up_s[:2] == [9.0 + FIRST_PAIR_S, 7.0 + 0.75]
    bench = Patient({"a": 0.0})
    bench.match([ab_cell("a")]).measure()
    assert set(bench.give_up_s) == {None}


def test_beyond_the_budget_an_arm_may_be_silent_for_a_moment_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be silent for ten minutes, and that would be no reason to end it."""
    silent = tmp_path / "python"
    silent.write_text("#!/bin/sh\nexec sleep 600\n")
    silent.chmod(0o755)
    monkeypatch.setattr(pairs_of, "GRACE_S", 0.5)
    arms = arms_of(tmp_path)
    job = ArmSpec(arms["base"].job, Interpreter(str(silent)))
    with pytest.raises(PairFailed, match=r"no sign of life for 0\.5 s during start") as failed:
        measure({"base": job, "head": job}, time_out_s=10_000.0, give_up_s=0.0)
    assert "--budget" in failed.value.reason.fix


def test_pairs_that_cannot_be_kept_end_the_run_with_the_exit_code_for_that(tmp_path: Path) -> None:
    from edgebench.ab_test.pairing import Request
    from edgebench.ab_test.run_ab import compare
    from edgebench.ab_test.variant_spec import parse_side
    from edgebench.cli.ab import finish

    model = str(two_by_two().write(tmp_path).path)
    request = Request(workloads=[], base=parse_side([model, "null"]), head=parse_side(["null"]))
    (tmp_path / "file").touch()

    def launch(arms: Any, plan: PairPlan, *_: Any) -> Pair:
        return pair(plan.index, cell=plan.cell, cores=list(plan.cores))

    report = compare([request], settings=Settings(), out=tmp_path / "file", launch=launch)
    assert "cannot write pairs" in report.reasons[-1].message
    assert finish(report, {"form": "json", "inconclusive": "fail"}) == ExitCode.STORE
