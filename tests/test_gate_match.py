"""Which pair comes next, until when; with a fake launcher and a clock of its own."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edgebench.analysis.gate import Rules
from edgebench.analysis.gate_cell import rows
from edgebench.errors import DeviceStateError
from edgebench.measure import cores
from edgebench.measure.ab import Contest, Match, Settings
from edgebench.measure.compare import Silent
from edgebench.measure.jobs import Job
from edgebench.measure.pair import ArmSpec, Interpreter, PairFailed
from edgebench.pair import SIDES, Pair
from edgebench.record import Reason
from edgebench.spec.types import Quality
from edgebench.testing.models import two_by_two
from tests.pairs import case, pair

JOB = Job(
    index=0, backend="null", options={}, model_path="m", model_format="onnx", model_sha256="0",
    precision="fp32", batch=1, task="seeded_inputs", task_options={}, task_data={}, model_asset="",
    fp32_path="", fp32_inputs=[], seed=0, scenario="single_stream", rate_per_s=None, warmup_s=1,
    slice_s=1, target=0.02, percentile=0.5, max_samples=1, quality=Quality(metric="x", floor=0),
    full_quality=False, reference="", reference_constant=False, expected="",
)  # fmt: skip


class Bench:
    """Measures nothing: each pair has the change of its cell and takes two seconds."""

    def __init__(self, changes: dict[str, float], failing: str = "") -> None:
        self.changes, self.failing = changes, failing
        self.now = 0.0
        self.log: list[tuple[str, int, str]] = []
        self.quality: list[bool] = []

    def launch(self, arms: Any, *, cell: str, index: int, first: str, **more: Any) -> Pair:
        self.now += 2.0
        self.log.append((cell, index, first))
        self.quality.append(more["quality"])
        if cell == self.failing:
            raise PairFailed("head", "failed", Reason(code="out_of_memory", message="no memory"))
        return pair(index, self.changes[cell], cell=cell, cores=list(more["cores"]))

    @contextmanager
    def hold(self, count: int, *, source: random.Random, patience_s: float) -> Iterator[cores.Held]:
        if count > 2:
            raise DeviceStateError("other edgebench jobs hold the cores")
        yield cores.Held((source.randrange(2),), ())

    def match(self, contests: list[Contest], budget_s: float | None = None) -> Match:
        return Match(
            contests,
            Rules(tests=2),
            Settings(budget_s=budget_s),
            Silent(),
            0.0,
            launch=self.launch,
            hold=self.hold,
            clock=lambda: self.now,
        )


def contest(cell: str, **more: Any) -> Contest:
    arm = ArmSpec(JOB, Interpreter())
    return Contest(case(cell, **more), dict.fromkeys(SIDES, arm))


def test_cells_take_turns_and_stop_when_they_are_decided() -> None:
    bench = Bench({"canary": 0.0, "same": 0.0, "slower": 0.05})
    contests = [contest("canary", canary=True), contest("same"), contest("slower")]
    assert bench.match(contests).measure()
    assert [cell for cell, _, _ in bench.log[:6]] == ["canary", "same", "slower"] * 2
    assert [len(c.pairs) for c in contests] == [5, 5, 5]
    assert [c.seconds for c in contests] == [10, 10, 10]


def test_the_arm_that_begins_alternates() -> None:
    bench = Bench({"same": 0.0})
    bench.match([contest("same")]).measure()
    firsts = [first for _, _, first in bench.log]
    assert all(a != b for a, b in itertools.pairwise(firsts))


def test_quality_is_measured_in_the_first_pair_of_a_cell_alone() -> None:
    bench = Bench({"same": 0.0})
    bench.match([contest("same")]).measure()
    assert bench.quality == [True, False, False, False, False]


def test_an_undecided_cell_goes_on_to_its_cap() -> None:
    bench = Bench({"near": 0.0102})
    only = contest("near")
    assert bench.match([only]).measure()
    assert len(only.pairs) == 20


def test_the_budget_ends_before_a_pair_that_would_pass_it() -> None:
    bench = Bench({"a": 0.0, "b": 0.0})
    contests = [contest("a"), contest("b")]
    assert not bench.match(contests, budget_s=9.0).measure()
    assert bench.now <= 9.0
    assert [len(c.pairs) for c in contests] == [2, 2]


def test_a_failed_pair_ends_its_cell_and_no_other() -> None:
    bench = Bench({"canary": 0.0, "good": 0.0, "bad": 0.0}, failing="bad")
    contests = [contest("canary", canary=True), contest("bad"), contest("good")]
    assert bench.match(contests).measure()
    assert [len(c.pairs) for c in contests] == [5, 0, 5]
    assert contests[1].failure is not None
    assert "both arms do not fit in memory together: head: no memory" in (
        contests[1].failure.message
    )


def test_a_cell_that_gets_no_cores_ends_and_no_other() -> None:
    bench = Bench({"canary": 0.0, "good": 0.0, "wide": 0.0})
    contests = [contest("canary", canary=True), contest("wide"), contest("good")]
    contests[1].cores = 3
    assert bench.match(contests).measure()
    assert [len(c.pairs) for c in contests] == [5, 0, 5]
    assert contests[1].failure is not None
    assert contests[1].failure.code == "cores_taken"


def test_without_a_living_cell_the_canary_rests() -> None:
    bench = Bench({"canary": 0.0, "bad": 0.0}, failing="bad")
    bench.match([contest("canary", canary=True), contest("bad")]).measure()
    assert len(bench.log) == 2


# Cores


def test_two_jobs_never_hold_the_same_core(tmp_path: Path) -> None:
    source = random.Random(0)
    for _ in range(20):
        with (
            cores.hold(1, source=source, among=[0, 1], folder=tmp_path) as first,
            cores.hold(1, source=source, among=[0, 1], folder=tmp_path) as second,
        ):
            assert set(first.cores) | set(second.cores) == {0, 1}


def test_a_job_that_finds_no_core_waits_and_then_says_so(tmp_path: Path) -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    source = random.Random(0)
    with (
        cores.hold(2, source=source, among=[0, 1], folder=tmp_path),
        pytest.raises(DeviceStateError, match="other edgebench jobs hold the cores"),
        cores.hold(
            1, source=source, among=[0, 1], folder=tmp_path, clock=lambda: now[0], sleep=sleep
        ),
    ):
        pass
    assert now[0] == pytest.approx(cores.PATIENCE_S, abs=0.2)
    with cores.hold(2, source=source, among=[0, 1], folder=tmp_path) as held:
        assert held.cores == (0, 1)


def test_where_nothing_can_be_pinned_one_job_runs_at_a_time(tmp_path: Path) -> None:
    source = random.Random(0)
    with cores.hold(1, source=source, among=[], folder=tmp_path) as held:
        assert held.cores == ()
        with (
            pytest.raises(DeviceStateError),
            cores.hold(1, source=source, among=[], folder=tmp_path, patience_s=0),
        ):
            pass


# The whole, from a request to a report and its raw pairs


@pytest.fixture
def own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks of a gate that runs on this machine meanwhile are not waited for."""
    monkeypatch.setattr(cores, "lock_folder", lambda: tmp_path / "locks")


@pytest.mark.usefixtures("own_locks")
def test_pairs_are_kept_and_read_back_to_the_same_verdict(tmp_path: Path) -> None:
    from edgebench.measure.compare import compare, read_pairs
    from edgebench.measure.couples import Request
    from edgebench.measure.sides import parse_side

    model = str(two_by_two().write(tmp_path).path)
    request = Request(workloads=[], base=parse_side([model, "null"]), head=parse_side(["null"]))
    changes = {"canary (base against base)": 0.0}

    def launch(arms: Any, *, cell: str, index: int, **more: Any) -> Pair:
        return pair(index, changes.get(cell, 0.05), cell=cell, cores=list(more["cores"]))

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
def test_ctrl_c_gives_a_report_of_what_there_is(tmp_path: Path) -> None:
    from edgebench.measure.compare import compare
    from edgebench.measure.couples import Request
    from edgebench.measure.sides import parse_side

    model = str(two_by_two().write(tmp_path).path)
    request = Request(workloads=[], base=parse_side([model, "null"]), head=parse_side(["null"]))

    def launch(*_: Any, **__: Any) -> Pair:
        raise KeyboardInterrupt

    report = compare([request], settings=Settings(), launch=launch)
    assert report.verdict == "invalid"
    assert report.reasons[-1].code == "interrupted"
