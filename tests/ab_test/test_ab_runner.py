"""Which pair comes next, until when; with a fake launcher and a clock of its own."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgebench.ab_test.ab_cells import canary_of
from edgebench.ab_test.ab_report_types import latency_tolerances
from edgebench.ab_test.ab_runner import ABCell, ABRunner, Means, Settings
from edgebench.ab_test.cell_verdict import rows
from edgebench.ab_test.pair_record import SIDES, Pair
from edgebench.ab_test.pair_runner import ArmSpec, Interpreter, PairFailed, PairPlan
from edgebench.ab_test.run_ab import Silent
from edgebench.ab_test.verdict import Rules
from edgebench.definitions.workload import Quality
from edgebench.energy.run_meter import Meter
from edgebench.errors import DeviceStateError
from edgebench.measure import cpu_pinning
from edgebench.measure.worker_messages import Job
from edgebench.record import Reason
from edgebench.testing.models import two_by_two
from tests.ab_test.pairs import case, pair

JOB = Job(
    index=0, backend="null", options={}, model_path="m", model_format="onnx", model_sha256="0",
    precision="fp32", batch=1, task="seeded_inputs", task_options={}, task_data={}, model_asset="",
    fp32_path="", fp32_inputs=[], seed=0, scenario="single_stream", rate_per_s=None, warmup_s=1,
    slice_s=1, target=0.02, percentile=0.5, max_samples=1, quality=Quality(metric="x", floor=0),
    full_quality=False, expected="",
)  # fmt: skip


class Bench:
    """Measures nothing: each pair has the change of its cell and takes two seconds."""

    def __init__(self, changes: dict[str, float], failing: str = "") -> None:
        self.changes, self.failing = changes, failing
        self.now = 0.0
        self.log: list[tuple[str, int, str]] = []
        self.quality: list[bool] = []
        self.metered: list[bool] = []

    def launch(self, arms: Any, plan: PairPlan, available: Any, meter: Meter | None) -> Pair:
        self.now += 2.0
        self.log.append((plan.cell, plan.index, plan.first))
        self.quality.append(plan.quality)
        self.metered.append(meter is not None)
        if plan.cell == self.failing:
            raise PairFailed("head", "failed", Reason(code="out_of_memory", message="no memory"))
        change = self.changes[plan.cell]
        return pair(plan.index, change, cell=plan.cell, cores=list(plan.cores))

    @contextmanager
    def hold(
        self, count: int, *, source: random.Random, patience_s: float
    ) -> Iterator[cpu_pinning.CoreLease]:
        if count > 2:
            raise DeviceStateError("other edgebench jobs hold the cores")
        yield cpu_pinning.CoreLease((source.randrange(2),), ())

    def match(
        self, ab_cells: list[ABCell], budget_s: float | None = None, meter: Any = None
    ) -> ABRunner:
        return ABRunner(
            ab_cells,
            Rules(tests=2),
            Settings(budget_s=budget_s),
            Silent(),
            0.0,
            Means(launch=self.launch, hold=self.hold, clock=lambda: self.now, meter=meter),
        )


def ab_cell(cell: str, **more: Any) -> ABCell:
    arm = ArmSpec(JOB, Interpreter())
    return ABCell(case(cell, **more), dict.fromkeys(SIDES, arm))


def test_cells_take_turns_and_stop_when_they_are_decided() -> None:
    bench = Bench({"canary": 0.0, "same": 0.0, "slower": 0.05})
    ab_cells = [ab_cell("canary", canary=True), ab_cell("same"), ab_cell("slower")]
    assert bench.match(ab_cells).measure()
    assert [cell for cell, _, _ in bench.log[:6]] == ["canary", "same", "slower"] * 2
    assert [len(c.pairs) for c in ab_cells] == [5, 5, 5]
    assert [c.seconds for c in ab_cells] == [10, 10, 10]


def test_the_arm_that_begins_alternates() -> None:
    bench = Bench({"same": 0.0})
    bench.match([ab_cell("same")]).measure()
    firsts = [first for _, _, first in bench.log]
    assert all(a != b for a, b in itertools.pairwise(firsts))


def test_quality_is_measured_in_the_first_pair_of_a_cell_alone() -> None:
    bench = Bench({"same": 0.0})
    bench.match([ab_cell("same")]).measure()
    assert bench.quality == [True, False, False, False, False]


def test_an_undecided_cell_goes_on_to_its_cap() -> None:
    bench = Bench({"near": 0.0102})
    only = ab_cell("near")
    assert bench.match([only]).measure()
    assert len(only.pairs) == 20


def test_a_meter_is_read_in_the_first_pairs_of_a_cell_and_never_for_the_canary() -> None:
    bench = Bench({"canary": 0.0, "near": 0.0102})
    ab_cells = [ab_cell("canary", canary=True), ab_cell("near")]
    bench.match(ab_cells, meter=SimpleNamespace(needed_s=1.0)).measure()
    metered = [cell for (cell, _, _), read in zip(bench.log, bench.metered, strict=True) if read]
    assert metered == ["near"] * 5  # it told nothing


def test_the_budget_ends_before_a_pair_that_would_pass_it() -> None:
    bench = Bench({"a": 0.0, "b": 0.0})
    ab_cells = [ab_cell("a"), ab_cell("b")]
    assert not bench.match(ab_cells, budget_s=9.0).measure()
    assert bench.now <= 9.0
    assert [len(c.pairs) for c in ab_cells] == [2, 2]


def test_a_failed_pair_ends_its_cell_and_no_other() -> None:
    bench = Bench({"canary": 0.0, "good": 0.0, "bad": 0.0}, failing="bad")
    ab_cells = [ab_cell("canary", canary=True), ab_cell("bad"), ab_cell("good")]
    assert bench.match(ab_cells).measure()
    assert [len(c.pairs) for c in ab_cells] == [5, 0, 5]
    assert ab_cells[1].failure is not None
    assert "both arms do not fit in memory together: head: no memory" in (
        ab_cells[1].failure.message
    )


def test_a_cell_that_gets_no_cores_ends_and_no_other() -> None:
    bench = Bench({"canary": 0.0, "good": 0.0, "wide": 0.0})
    ab_cells = [ab_cell("canary", canary=True), ab_cell("wide"), ab_cell("good")]
    ab_cells[1].cores = 3
    assert bench.match(ab_cells).measure()
    assert [len(c.pairs) for c in ab_cells] == [5, 0, 5]
    assert ab_cells[1].failure is not None
    assert ab_cells[1].failure.code == "cores_taken"


def test_the_canary_is_of_the_first_cell_that_allows_least() -> None:
    """Beside a cell that allows 50 % a machine that drifts by 20 % would be calm enough for all."""
    wild, strict = latency_tolerances(0.5, 0.9), latency_tolerances(0.01, 0.05)
    cells = [ab_cell("wild", tolerances=wild)]
    assert [each.case.base for each in canary_of(cells)] == ["wild"]
    cells += [ab_cell("shown", report_only="every core"), ab_cell("strict", tolerances=strict)]
    cells += [ab_cell("other", tolerances=strict)]
    [canary] = canary_of(cells)
    assert (canary.case.base, canary.case.tolerances) == ("strict", strict)
    assert canary_of([ab_cell("shown", report_only="every core")]) == []


def test_without_a_living_cell_the_canary_rests() -> None:
    bench = Bench({"canary": 0.0, "bad": 0.0}, failing="bad")
    bench.match([ab_cell("canary", canary=True), ab_cell("bad")]).measure()
    assert len(bench.log) == 2


# Cores


def test_two_jobs_never_hold_the_same_core(tmp_path: Path) -> None:
    source = random.Random(0)
    for _ in range(20):
        with (
            cpu_pinning.hold(1, source=source, among=[0, 1], folder=tmp_path) as first,
            cpu_pinning.hold(1, source=source, among=[0, 1], folder=tmp_path) as second,
        ):
            assert set(first.cores) | set(second.cores) == {0, 1}


def test_a_job_that_finds_no_core_waits_and_then_says_so(tmp_path: Path) -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    source = random.Random(0)
    with (
        cpu_pinning.hold(2, source=source, among=[0, 1], folder=tmp_path),
        pytest.raises(DeviceStateError, match="other edgebench jobs hold the cores"),
        cpu_pinning.hold(
            1, source=source, among=[0, 1], folder=tmp_path, clock=lambda: now[0], sleep=sleep
        ),
    ):
        pass
    assert now[0] == pytest.approx(cpu_pinning.CORES_TIMEOUT_S, abs=0.2)
    with cpu_pinning.hold(2, source=source, among=[0, 1], folder=tmp_path) as held:
        assert held.cores == (0, 1)


def test_where_nothing_can_be_pinned_one_job_runs_at_a_time(tmp_path: Path) -> None:
    source = random.Random(0)
    with cpu_pinning.hold(1, source=source, among=[], folder=tmp_path) as held:
        assert held.cores == ()
        with (
            pytest.raises(DeviceStateError),
            cpu_pinning.hold(1, source=source, among=[], folder=tmp_path, patience_s=0),
        ):
            pass


# The whole, from a request to a report and its raw pairs


@pytest.fixture
def own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks of a gate that runs on this machine meanwhile are not waited for."""
    monkeypatch.setattr(cpu_pinning, "lock_folder", lambda: tmp_path / "locks")


@pytest.mark.usefixtures("own_locks")
def test_pairs_are_kept_and_read_back_to_the_same_verdict(tmp_path: Path) -> None:
    from edgebench.ab_test.pairing import Request
    from edgebench.ab_test.run_ab import compare, read_pairs
    from edgebench.ab_test.variant_spec import parse_side

    model = str(two_by_two().write(tmp_path).path)
    request = Request(workloads=[], base=parse_side([model, "null"]), head=parse_side(["null"]))
    changes = {"canary (base against base)": 0.0}

    def launch(arms: Any, plan: PairPlan, *_: Any) -> Pair:
        change = changes.get(plan.cell, 0.05)
        return pair(plan.index, change, cell=plan.cell, cores=list(plan.cores))

    report = compare([request], settings=Settings(), out=tmp_path / "out", launch=launch)
    assert report.verdict == "regress"
    assert len(report.canary) == 2
    [path] = (tmp_path / "out").rglob("*.pairs.jsonl.gz")
    kept = read_pairs(path)
    assert len(kept) == 10
    assert str(path) in report.notes[0]
    cell = report.cells[0].cell
    again = rows(case(cell), [p for p in kept if p.cell == cell], Rules(tests=2))
    assert again[0].change == report.cells[0].change


@pytest.mark.usefixtures("own_locks")
def test_energy_is_that_of_the_meter_of_the_machine(tmp_path: Path) -> None:
    """Of a canary and a pair, with real processes; on a busy machine readings may be too few to judge."""
    from edgebench.ab_test.pair_runner import run_pair
    from edgebench.ab_test.pairing import Request
    from edgebench.ab_test.run_ab import compare
    from edgebench.ab_test.variant_spec import parse_side
    from edgebench.api.energy_source import meter_here
    from edgebench.testing.power import live

    model = str(two_by_two().write(tmp_path).path)
    request = Request(workloads=[], base=parse_side([model, "null"]), head=parse_side(["null"]))
    found: list[Pair] = []

    def launch(*asked: Any) -> Pair:
        if len(found) == 2:
            raise KeyboardInterrupt
        found.append(run_pair(*asked))
        return found[-1]

    with live.running(tmp_path / "machine") as machine:
        meter = meter_here(str(machine))
        report = compare([request], settings=Settings(rounds=2), launch=launch, meter=meter)
    assert not report.notes
    canary, measured = found
    assert canary.base.energy is None
    assert canary.head.energy is None
    for energy in (measured.base.energy, measured.head.energy):
        assert energy is not None
        assert (energy.source, energy.total_rail) == ("ina3221", "VDD_IN")


@pytest.mark.usefixtures("own_locks")
def test_ctrl_c_gives_a_report_of_what_there_is(tmp_path: Path) -> None:
    from edgebench.ab_test.pairing import Request
    from edgebench.ab_test.run_ab import compare
    from edgebench.ab_test.variant_spec import parse_side

    model = str(two_by_two().write(tmp_path).path)
    request = Request(workloads=[], base=parse_side([model, "null"]), head=parse_side(["null"]))

    def launch(*_: Any, **__: Any) -> Pair:
        raise KeyboardInterrupt

    report = compare([request], settings=Settings(), launch=launch)
    assert report.verdict == "invalid"
    assert report.reasons[-1].code == "interrupted"
    assert report.reasons[-1].fix == "give the command again"
