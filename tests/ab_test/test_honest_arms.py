"""Arms whose times are no measure of their work: they return early, answer from a cache, move work elsewhere, or were
stopped."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from edgebench.ab_test import pair_runner as pairs_of
from edgebench.ab_test.ab_report_types import CPU, MEMORY, WALL, Asked
from edgebench.ab_test.ab_runner import ABCell
from edgebench.ab_test.arm_messages import OPEN
from edgebench.ab_test.cell_verdict import clocks, mismatch, rows, wanted_pairs
from edgebench.ab_test.pair_record import SIDES, Alone, Pair, Side
from edgebench.ab_test.pair_runner import ArmSpec, Interpreter
from edgebench.ab_test.run_ab import _not_deployable
from edgebench.ab_test.verdict import Rules
from edgebench.backend import Effective, computes_itself
from edgebench.measure import cpu_pinning
from edgebench.measure.worker_observer import STOPPED, SUSPENDED, clock_reason
from edgebench.record import Accounts, Completion, Unseen, Work
from tests.ab_test.pairs import case, measured, pair
from tests.ab_test.test_ab_runner import JOB
from tests.ab_test.test_pair_runner import CORES, Told, arms_of, measure

EARLY = Completion(first_read_ns=[10**6] * 8, second_read_ns=[10] * 8, deferred=True)
CACHED = Unseen(pool_ns=[10] * 6, unseen_ns=[10**6] * 6, caching=True)


@pytest.fixture(autouse=True)
def own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks of a gate that runs on this machine meanwhile are not waited for."""
    monkeypatch.setattr(cpu_pinning, "lock_folder", lambda: tmp_path / "locks")


def on(device: str) -> Effective:
    return Effective(device=device, precision="fp32")


@pytest.mark.parametrize(
    ("showed", "code", "words"),
    [
        (
            {"completion": EARLY},
            "outputs_deferred",
            "head: outputs were not complete when the measured call returned",
        ),
        ({"unseen": CACHED}, "caching", "head: new inputs took far longer"),
        ({"effective": on("gpu.0")}, "device_untold", "head: it computed on gpu.0"),
    ],
)
def test_an_arm_that_shows_a_fault_makes_its_cell_invalid(
    showed: dict[str, Any], code: str, words: str
) -> None:
    found = [pair(0, head=measured(seed=1, **showed)), *(pair(n) for n in range(1, 5))]
    reason = mismatch(case(), found)
    assert reason is not None
    assert reason.code == code
    judged = rows(case(), found, Rules(tests=2))
    assert {row.verdict for row in judged} == {"invalid"}
    assert words in judged[0].reason


def test_a_device_that_was_told_beforehand_is_no_fault() -> None:
    told = pair(0, head=measured(seed=1, effective=on("gpu.0")), device=True)
    own = pair(0, head=measured(seed=1, effective=on("cpu")))
    assert mismatch(case(), [told]) is None
    assert mismatch(case(), [own]) is None


def test_the_process_computes_itself_where_no_part_is_a_device() -> None:
    assert computes_itself("cpu")
    assert computes_itself("none")  # the null backend
    for device in ("cuda:0", "gpu.0", "cpu+gpu", "npu", "unknown"):
        assert not computes_itself(device)


# With real processes


def test_every_pair_looks_at_either_arm_while_the_other_sleeps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Told.log = []
    monkeypatch.setattr(pairs_of, "_Arm", Told)
    measure(arms_of(tmp_path), rounds=1)
    b, h = "base", "head"
    assert Told.log[-12:] == [
        (b, "stopped?"), (h, "stopped?"), (b, "check"), (b, "Checked"), (h, "check"), (h, "Checked"),
        (b, "end"), (h, "end"), (b, "Measured"), (h, "Measured"), (b, "gone"), (h, "gone"),
    ]  # fmt: skip


def test_the_first_pair_of_a_cell_looks_at_length_and_later_ones_in_brief(tmp_path: Path) -> None:
    arms = arms_of(tmp_path, "ort")
    first = measure(arms, quality=True)
    later = measure(arms, index=1)
    for side in SIDES:
        found, brief = first.arm(side), later.arm(side)
        for arm in (found, brief):
            assert arm.completion is not None
            assert arm.alone is not None
            assert arm.unseen is not None
            assert len(arm.unseen.prepare_ns) == len(arm.unseen.copy_ns) == len(arm.unseen.pool_ns)
            assert arm.clock_lag_ns is not None
            assert arm.reasons == []
        assert found.pipeline is not None
        assert brief.pipeline is None
        assert brief.unseen is not None
        assert len(brief.unseen.pool_ns) >= 3


@pytest.mark.parametrize("named", ["cuda:0", "cpu"])
def test_device_of_the_session_decides_which_times_are_judged(tmp_path: Path, named: str) -> None:
    (tmp_path / "there.py").write_text(
        "from edgebench.testing.faults import FaultyBackend, FaultySession\n"
        "class Session(FaultySession):\n"
        f"    def device(self):\n        return {named!r}\n"
        "class There(FaultyBackend):\n    session = Session\n"
    )
    found = measure(arms_of(tmp_path, head=f"{tmp_path / 'there.py'}:There"))
    assert found.device == (named != "cpu")
    assert {clock.metric for clock in clocks(case(), [found])} == (
        {CPU, WALL} if named == "cpu" and CORES else {WALL}
    )


# By the rules of a run's rows


MS = 1_000_000
ALONE = Alone(
    window_ns=100 * MS,
    start_ns=0,
    end_ns=100 * MS,
    cpu_ns=100 * MS,
    accounts=Accounts(
        wall_ns=101 * MS,
        raw_ns=100 * MS,
        asleep_ns=0,
        runnable_ns=101 * MS,
        children=0,
        child_cpu_ns=0,
        child_bytes=0,
    ),
)
ONE_THREAD = Effective(device="cpu", precision="fp32", threads=1)
ASKED = case(asked={side: Asked(variant={"precision": "fp32", "threads": 1}) for side in SIDES})
#: The clock that timed a window against the one that nothing slews; threads; other processes; work beside the call.
SHOWN: dict[str, dict[str, Any]] = {
    "clock_disagrees": {"alone": replace(ALONE, window_ns=30 * MS, end_ns=30 * MS)},
    "threads_beyond_told": {
        "alone": replace(ALONE, accounts=replace(ALONE.accounts, runnable_ns=390 * MS))
    },
    "helper_process": {
        "alone": replace(ALONE, accounts=replace(ALONE.accounts, children=1, child_cpu_ns=90 * MS))
    },
    "computed_elsewhere": {
        "alone": replace(ALONE, accounts=replace(ALONE.accounts, runnable_ns=5 * MS))
    },
    "moved_work": {
        "unseen": Unseen(
            pool_ns=[5 * MS] * 3, unseen_ns=[5 * MS] * 3, caching=False,
            prepare_ns=[60 * MS] * 3, copy_ns=[1000] * 3,
        ),
        "completion": Completion(first_read_ns=[10] * 3, second_read_ns=[10] * 3, deferred=False),
    },
}  # fmt: skip


def shown(count: int, doubted: int, what: dict[str, Any], side: str = "head") -> list[Pair]:
    """Pairs of honest arms, of which the last `doubted` show something else of one side."""
    honest: dict[str, Any] = {"alone": ALONE, "effective": ONE_THREAD}
    arms = [
        measured(seed=n, **(honest | (what if n >= count - doubted else {}))) for n in range(count)
    ]
    others = [measured(seed=100 + n, **honest) for n in range(count)]
    bases, heads = (arms, others) if side == "base" else (others, arms)
    return [pair(n, base=bases[n], head=heads[n]) for n in range(count)]


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("code", SHOWN)
def test_faults_that_strike_a_row_make_a_cell_invalid(code: str, side: Side) -> None:
    reason = mismatch(ASKED, shown(5, 5, SHOWN[code], side))
    assert reason is not None
    assert (reason.code, reason.message[:6]) == (code, f"{side}: ")
    assert reason.fix


@pytest.mark.parametrize("code", SHOWN)
def test_a_fault_counts_only_if_most_pairs_show_it(code: str) -> None:
    assert mismatch(ASKED, shown(1, 1, SHOWN[code])) is None  # more pairs will tell
    assert mismatch(ASKED, shown(5, 1, SHOWN[code])) is None
    assert mismatch(ASKED, shown(5, 3, SHOWN[code])) is not None


@pytest.mark.parametrize("code", ["moved_work", "threads_beyond_told"])
def test_a_head_that_begins_to_cheat_late_and_is_far_faster_then_is_seen(code: str) -> None:
    found = shown(5, 1, SHOWN[code])
    last = found[-1].head
    fast = [replace(b, wall_ns=[ns // 2 for ns in b.wall_ns]) for b in last.blocks]
    found[-1] = replace(found[-1], head=replace(last, blocks=fast))
    reason = mismatch(ASKED, found)
    assert reason is not None
    assert reason.code == code


def test_a_wrong_clock_counts_only_if_most_pairs_show_it() -> None:
    late = clock_reason(400 * MS, 10**9)
    assert late is not None
    reason = mismatch(ASKED, shown(5, 4, {"reasons": [late]}))
    assert reason is not None
    assert reason.code == "clock_disagrees"
    assert mismatch(ASKED, shown(5, 2, {"reasons": [late]})) is None


def test_a_latency_that_the_machine_cannot_reach_is_invalid_at_once() -> None:
    work = Work(flops=60_000_000_000, moved_bytes=1000, layers=[])
    asked = {"head": Asked(variant={"precision": "fp32"}, work=work)}
    fast = measured(200.0, effective=ONE_THREAD)
    reason = mismatch(case(asked=asked, machine={"isa": ["avx2"]}), [pair(0, head=fast)])
    assert reason is not None
    assert reason.code == "faster_than_the_machine"


@pytest.mark.parametrize(
    ("told", "code"),
    [
        (Effective(device="cpu", precision="fp16", threads=1), "precision_not_as_asked"),
        (Effective(device="cpu", precision="fp32", threads=4), "threads_not_as_asked"),
    ],
)
def test_a_head_that_ran_another_variant_is_invalid(told: Effective, code: str) -> None:
    reason = mismatch(ASKED, [pair(0, head=measured(effective=told))])
    assert reason is not None
    assert reason.code == code


# Stops


def stop_and_go(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)
    os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)
    os.kill(pid, signal.SIGCONT)


def test_a_pair_in_which_an_arm_was_stopped_does_not_count_and_is_made_up_for() -> None:
    slow = [replace(pair(n, 0.5), disturbed=STOPPED) for n in (1, 3)]
    found = [pair(0), slow[0], pair(2), slow[1], pair(4)]
    rules = Rules(tests=2)
    assert wanted_pairs(case(), found, rules) == 7
    found += [pair(5), pair(6)]
    assert wanted_pairs(case(), found, rules) == 7
    judged = {row.metric: row for row in rows(case(), found, rules)}
    assert (judged[CPU].verdict, judged[CPU].pairs) == ("pass", 5)
    assert judged[MEMORY].pairs == 5


def test_a_cell_whose_arms_are_stopped_again_and_again_comes_to_an_end() -> None:
    rules = Rules(tests=2)
    found = [replace(pair(n), disturbed=SUSPENDED) for n in range(rules.cap)]
    assert wanted_pairs(case(), found[:-1], rules) == rules.cap
    assert wanted_pairs(case(), found, rules) == rules.cap
    assert {row.verdict for row in rows(case(), found, rules) if row.metric == CPU} == {"invalid"}


@pytest.mark.skipif(sys.platform != "linux", reason="waitid tells of stops on Linux alone")
def test_a_pair_tells_that_an_arm_was_stopped_between_its_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Arm(pairs_of._Arm):
        def block(self) -> None:
            super().block()
            if self._side == "base":
                stop_and_go(self._child.pid)

    assert measure(arms_of(tmp_path)).disturbed is None
    monkeypatch.setattr(pairs_of, "_Arm", Arm)
    assert measure(arms_of(tmp_path)).disturbed == STOPPED


def test_a_stop_before_the_blocks_disturbs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Arm(pairs_of._Arm):
        def send(self, line: bytes) -> None:
            super().send(line)
            if line == OPEN:
                stop_and_go(self._child.pid)

    monkeypatch.setattr(pairs_of, "_Arm", Arm)
    assert measure(arms_of(tmp_path)).disturbed is None


def test_a_machine_that_slept_meanwhile_disturbs_the_pair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept = iter([0, 20 * MS])
    monkeypatch.setattr(pairs_of, "asleep_ns", lambda: next(slept))
    assert measure(arms_of(tmp_path)).disturbed == SUSPENDED


# What is shown, and no fault


def test_a_build_that_nobody_deploys_is_noted() -> None:
    facts = Effective(device="cpu", precision="fp32", not_deployable="it checks answers")
    ran = ABCell(case("demo"), dict.fromkeys(SIDES, ArmSpec(JOB, Interpreter())))
    ran.pairs = [pair(0, head=measured(effective=facts))]
    assert list(_not_deployable([ran])) == ["demo: head is not deployable: it checks answers"]
