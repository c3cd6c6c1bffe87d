"""Backends whose numbers would win if they were believed, as the head of an A/B against the honest one: none is compared.

One real pair of each, held to be what three pairs show.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from edgebench.analysis.gate import Rules
from edgebench.analysis.gate_cell import mismatch, rows
from edgebench.measure import cores
from edgebench.measure.ab import Contest
from edgebench.measure.contests import make_contests
from edgebench.measure.couples import Request
from edgebench.measure.pair import PairFailed, run_pair
from edgebench.measure.sides import parse_side
from edgebench.testing.models import chain

CORES = cores.available()[:1]
FAULTS = "edgebench.testing.faults:"
LINUX = sys.platform == "linux"
#: What a head is told beside its backend -> the codes of which one is told.
CHEATS = {
    "WorkInPrepare": {"moved_work", "faster_than_the_machine"},
    "LazyOutputs": {"outputs_deferred", "faster_than_the_machine"},
    "LazyOutputs keep=false": {"moved_work", "faster_than_the_machine"},
    "LateOutputs": {"outputs_deferred", "output_mismatch", "faster_than_the_machine"},
    "Async": {"outputs_deferred"},
    "Memoise": {"caching", "faster_than_the_machine"},
    "RoundedMemoise": {"caching", "faster_than_the_machine"},
    "SlowClock": {"clock_disagrees"},
    "SilentFallback precision=fp32": {"precision_not_as_asked"},
    "WrongOutput": {"output_mismatch", "faster_than_the_machine"},
}
KERNEL_TELLS = {
    "MoreThreads": {"threads_beyond_told"},
    "HelperProcess": {"helper_process"},
    "HelperProcess hidden=true": {"helper_process"},
}
HONEST = ("FaultyBackend", "Noisy", "SlowStart slow_runs=0")


@pytest.fixture(autouse=True)
def own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks of a gate that runs on this machine meanwhile are not waited for."""
    monkeypatch.setattr(cores, "lock_folder", lambda: tmp_path / "locks")


def contest_of(folder: Path, head: str) -> Contest:
    """A cell that runs four products of matrices by ONNX Runtime, and in head by that backend."""
    name, *sets = head.split()
    model = str(chain(4).write(folder).path)
    request = Request(
        workloads=[],
        base=parse_side([model, f"{FAULTS}FaultyBackend"]),
        head=parse_side([f"{FAULTS}{name}", *sets]),
    )
    [contest] = make_contests(request, folder / "cache")
    assert contest.arms is not None, contest.failure
    contest.arms = {side: spec.in_folder(folder, side) for side, spec in contest.arms.items()}
    return contest


def measured(contest: Contest) -> None:
    assert contest.arms is not None
    try:
        found = run_pair(
            contest.arms,
            cell="demo",
            index=0,
            first="base",
            cores=CORES,
            quality=True,
            rounds=2,
        )
    except PairFailed as failed:
        contest.failure = replace(failed.reason, message=f"{failed.side}: {failed.reason.message}")
    else:
        contest.pairs = [replace(found, index=index) for index in range(3)]


@pytest.mark.parametrize("head", [*CHEATS, *(KERNEL_TELLS if LINUX else ())])
def test_a_head_that_cheats_is_invalid_in_the_words_of_a_run(tmp_path: Path, head: str) -> None:
    contest = contest_of(tmp_path, head)
    measured(contest)
    reason = contest.failure or mismatch(contest.case, contest.pairs)
    assert reason is not None
    assert reason.code in (CHEATS | KERNEL_TELLS)[head], reason
    assert "head" in reason.message
    judged = rows(contest.case, contest.pairs, Rules(tests=2), failure=contest.failure)
    assert {row.verdict for row in judged if row.judged} == {"invalid"}
    assert all(reason.message in row.reason for row in judged)


@pytest.mark.parametrize("head", HONEST)
def test_an_honest_head_beside_them_is_compared(tmp_path: Path, head: str) -> None:
    contest = contest_of(tmp_path, head)
    measured(contest)
    assert contest.failure is None
    assert mismatch(contest.case, contest.pairs) is None
