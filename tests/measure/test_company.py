"""Models in company: blocks that take turns, companions that stand still until they are let."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from edgebench.analysis.table import build_table
from edgebench.definitions.companion_load import parse_companion
from edgebench.errors import UsageError
from edgebench.measure import launch_worker
from edgebench.measure.companions import CompanionError, companions
from edgebench.measure.replicate import steps
from edgebench.measure.replicate.company_blocks import (
    MIN_PAIRS,
    Companions,
    Counted,
    in_company,
    plan,
)
from edgebench.measure.worker_messages import Companion, Done, Job
from edgebench.measure.worker_messages import Company as Beside
from edgebench.probes import contention
from edgebench.probes.contention import Told
from edgebench.probes.process_memory import resident_together
from edgebench.processes import child
from edgebench.record import (
    CACHE_MISSES,
    MAJOR_FAULTS,
    MEMORY_BYTES,
    STALLS,
    Company,
    CompanyCounter,
    Reason,
)
from edgebench.record_validation import replicate_findings
from edgebench.render.table_wording import remarks
from tests.measure.test_runner import job
from tests.records import record, replicate


class Machine:
    """A clock; a query takes 1 ms, and 2 ms beside companions that run."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.crowded = False
        self.signals: list[int] = []

    def __call__(self) -> int:
        return self.now_ns

    def run(self, _: int) -> None:
        self.now_ns += 2_000_000 if self.crowded else 1_000_000

    def kill(self, pid: int, number: int) -> None:
        self.signals.append(pid)
        self.crowded = number == signal.SIGCONT


def test_blocks_alone_and_in_company_take_turns_and_end_alone() -> None:
    machine = Machine()
    asked = plan(0.8, 1_000_000)
    found = in_company(machine.run, [0, 1], Companions([7], machine.kill), asked, clock=machine)
    assert len(found.alone) == len(found.company) == asked.pairs == 8
    assert {ns for block in found.alone for ns in block.kept_ns} == {1_000_000}
    assert {ns for block in found.company for ns in block.kept_ns} == {2_000_000}
    assert [block.mean_ns for block in found.company] == [2_000_000] * 8
    assert not machine.crowded
    assert set(machine.signals) == {7}


def test_a_slow_query_gets_fewer_and_longer_blocks() -> None:
    asked = plan(0.8, 500_000_000)
    assert asked.pairs == MIN_PAIRS
    assert asked.block_s >= 2.0


def test_a_row_tells_the_ratio_with_its_interval_and_its_latency_is_alone() -> None:
    made = [
        replicate(
            index,
            company=Company(
                companions=["cpu:2", "cpu:2"],
                alone_mean_ns=[1_000_000] * 4,
                company_mean_ns=[1_500_000 + 10_000 * index] * 4,
                alone_ns=[[1_000_000] * 5] * 4,
                company_ns=[[1_500_000 + 10_000 * index] * 5] * 4,
                total_bytes=3 << 20,
            ),
        )
        for index in range(3)
    ]
    (row,) = build_table([record(replicates=made)]).rows
    part = row.company
    assert part is not None
    assert part.ratio == pytest.approx(1.51, rel=1e-3)
    assert part.ratio_low is not None
    assert part.ratio_high is not None
    assert part.ratio_low < part.ratio < part.ratio_high
    assert (part.blocks, part.total_bytes, part.alone_p50_ns) == (12, 3 << 20, 1_000_000)
    assert row.latency_ns.p50 == pytest.approx(7e6, rel=0.02)
    assert any("1.51x" in line and "beside cpu:2:" in line for line in remarks(row))
    assert row.unknown["company.p99_ns"] == "too few blocks or queries"


def test_a_block_without_a_partner_cannot_be() -> None:
    odd = Company(
        companions=["cpu:1"],
        alone_mean_ns=[1],
        company_mean_ns=[1],
        alone_ns=[[1]],
        company_ns=[],
        total_bytes=None,
    )
    assert [field for field, _ in replicate_findings(replicate(company=odd))] == ["company"]


@pytest.mark.parametrize(
    "text",
    [
        "cpu",
        "cpu:0",
        "cpu:-1",
        "cpu:two",
        "memory:8",
        "memory:1.5",
        "memory:1e9",
        "memory:8/s",
        "memory:0GB",
        "disk:1",
        "",
    ],
)
def test_a_companion_is_a_number_of_cores_a_rate_or_a_size(text: str) -> None:
    assert parse_companion("cpu:2") == (2, None, None)
    assert parse_companion("memory:8GB/s") == (1, 8e9, None)
    assert parse_companion("memory:2GB") == (1, None, 2 * 10**9)
    with pytest.raises(UsageError):
        parse_companion(text)


@pytest.mark.skipif(sys.platform != "linux", reason="waits for a stop by waitid")
def test_companions_stand_still_until_they_are_let_and_are_gone_after() -> None:
    asked = [Companion(name="cpu:1"), Companion(name="memory:1MB/s", bytes_per_s=1e6)]
    with companions(asked) as beside:
        company = beside.company
        assert company is not None
        beside.check()
        assert company.names == ["cpu:1", "memory:1MB/s"]
        for pid in company.pids:
            os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)  # hangs where it is not stopped
    for pid in company.pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_companion_whose_model_does_not_open_is_one_clear_reason() -> None:
    asked = msgspec.structs.replace(job(), backend="no-such-backend")
    with (
        pytest.raises(CompanionError) as caught,
        companions([Companion(name="other", model=asked)]),
    ):
        pass
    assert caught.value.reason.code == "companion_failed"
    assert "the companion other does not run: " in caught.value.reason.message


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            Companion(name="memory:2GB", held_bytes=2 * 10**9, needs_bytes=2 * 10**9, needs="asked for"),
            "the companion memory:2GB does not fit in memory: it needs 1.9 GiB (asked for), 954 MiB are available",
        ),
        (
            Companion(name="other", model=job(), needs_bytes=10**10, needs="measured"),
            "it needs 9.3 GiB (measured)",
        ),
    ],
)  # fmt: skip
def test_a_companion_for_which_there_is_no_room_is_not_started(
    asked: Companion, message: str
) -> None:
    def spawn(*_: object, **__: object) -> Any:
        raise AssertionError("it was started")

    with (
        pytest.raises(CompanionError) as caught,
        companions([asked], spawn=spawn, available=lambda: 10**9),
    ):
        pass
    assert caught.value.reason.code == "companion_does_not_fit"
    assert message in caught.value.reason.message


def test_of_a_model_that_was_not_measured_its_file_is_what_it_needs_at_least(
    tmp_path: Path,
) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(b"x" * 5000)
    asked = msgspec.structs.replace(job(), model_path=str(file))
    with (
        pytest.raises(CompanionError, match=r"KiB .its model's file., "),
        companions([Companion(name="other", model=asked)], available=lambda: 4999),
    ):
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="counts pages")
def test_memory_that_is_held_is_taken_and_the_model_must_fit_beside_it() -> None:
    asked = [Companion(name="memory:32MB", held_bytes=32 * 10**6)]
    with companions(asked) as beside:
        assert beside.company is not None
        taken = resident_together(beside.company.pids)
        assert taken is not None
        assert taken >= 32 * 10**6
    with (
        pytest.raises(CompanionError, match="the model does not fit in memory beside memory:32MB"),
        companions(asked, available=lambda: 10**8, own_bytes=10**9),
    ):
        pass


@pytest.mark.parametrize(
    ("oom_kills", "why"),
    [
        (1, "the kernel killed it for lack of memory"),
        (0, "killed by SIGKILL during its load, not by edgebench"),
    ],
)
def test_a_companion_that_is_killed_while_the_model_is_measured_fails_the_row_with_the_cause(
    oom_kills: int, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A companion that is gone loads nothing: what was measured since was measured alone."""
    killed: list[int] = []
    counts = child.oom_kill_count()
    monkeypatch.setattr(child, "oom_kill_count", lambda: counts + oom_kills * len(killed))

    def measured(asked: Job, *_: object) -> Done:
        assert asked.company is not None
        (pid,) = asked.company.pids
        killed.append(pid)
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        return Done(replicate(0))

    monkeypatch.setattr(launch_worker, "_ask_worker", measured)
    asked = msgspec.structs.replace(job(), companions=[Companion(name="cpu:1")])
    done = launch_worker.run_worker(asked, time_out_s=60)
    assert done.replicate.status == "failed"
    (cause,) = done.replicate.reasons
    assert cause.code == "companion_failed"
    assert cause.message.startswith("the companion cpu:1 ended while the model was measured: ")
    assert why in cause.message


def test_companions_that_cannot_fit_are_one_error_before_anything_is_measured() -> None:
    import edgebench

    with pytest.raises(
        UsageError, match=r"companions \(cpu:1, memory:900000GB\) take .* available"
    ):
        edgebench.run(
            "tabular-digits", backends="null", companions=["cpu:1", "memory:900000GB"], out=None
        )


def test_a_rare_long_wait_for_a_core_is_in_the_mean_of_its_block() -> None:
    machine, count = Machine(), 0

    def run(_: int) -> None:
        nonlocal count
        count += 1
        machine.now_ns += 50_000 + (3_000_000 if machine.crowded and count % 60 == 0 else 0)

    asked = plan(0.8, 50_000)
    found = in_company(run, [0], Companions([7], machine.kill), asked, clock=machine)
    assert all(block.mean_ns == 50_000 for block in found.alone)
    assert all(80_000 < block.mean_ns < 120_000 for block in found.company)
    assert all(len(block.kept_ns) == 256 for block in found.alone)


@pytest.mark.parametrize(
    ("crowded_ns", "waited_ns", "cpu_ns", "words"),
    [
        (2_000_000, 900_000, 1_000_000, "cores (90% of what is added is a wait for one)"),
        (
            2_000_000,
            0,
            1_900_000,
            "memory, caches or the clock (a query takes 1.90x the CPU time; ",
        ),
        (2_000_000, 500_000, 1_500_000, "cores (50% of what is added"),
        (2_000_000, 0, 1_000_000, "unknown: neither waits nor CPU time explain it"),
        (1_010_000, 0, 1_000_000, ""),
        (2_000_000, None, None, "unknown: the system counts no waits"),
    ],
)
def test_a_row_says_what_they_fight_for_where_counters_tell(
    crowded_ns: int, waited_ns: int | None, cpu_ns: int | None, words: str
) -> None:
    part = Company(
        companions=["cpu:2"],
        alone_mean_ns=[1_000_000] * 3,
        company_mean_ns=[crowded_ns] * 3,
        alone_ns=[[1_000_000]] * 3,
        company_ns=[[crowded_ns]] * 3,
        total_bytes=None,
        alone_cpu_ns=[] if cpu_ns is None else [1_000_000] * 3,
        company_cpu_ns=[] if cpu_ns is None else [cpu_ns] * 3,
        alone_waited_ns=[] if waited_ns is None else [0] * 3,
        company_waited_ns=[] if waited_ns is None else [waited_ns] * 3,
    )
    (row,) = build_table([record(replicates=[replicate(company=part)])]).rows
    assert row.company is not None
    said = " and ".join(cause.message for cause in row.company.contested)
    assert said.startswith(words)
    assert bool(words) == bool(said)


def contested(
    *counters: CompanyCounter, waited_ns: int | None = 0, cpu_ns: int = 1_900_000, **untold: str
) -> Reason:
    """What a query that takes twice as long in company is told to fight for, by these counters."""
    part = Company(
        companions=["cpu:2"],
        alone_mean_ns=[1_000_000] * 3,
        company_mean_ns=[2_000_000] * 3,
        alone_ns=[[1_000_000]] * 3,
        company_ns=[[2_000_000]] * 3,
        total_bytes=None,
        alone_cpu_ns=[1_000_000] * 3,
        company_cpu_ns=[cpu_ns] * 3,
        alone_waited_ns=[] if waited_ns is None else [0] * 3,
        company_waited_ns=[] if waited_ns is None else [waited_ns] * 3,
        counters=list(counters),
        untold=untold,
    )
    made = record(replicates=[replicate(company=part)])
    assert not list(replicate_findings(made.replicates[0]))
    (row,) = build_table([made]).rows
    assert row.company is not None
    assert {each.name for each in row.company.counters} == {each.name for each in counters}
    (cause,) = row.company.contested
    return cause


def counted(name: str, alone: float, company: float, source: str = "") -> CompanyCounter:
    """A counter that has these amounts a query in all of three blocks."""
    return CompanyCounter(name=name, source=source, alone=[alone] * 3, company=[company] * 3)


def test_more_misses_of_the_last_level_tell_caches_from_the_clock() -> None:
    cause = contested(counted(CACHE_MISSES, 1000, 4000))
    assert cause.code == "contested_caches"
    assert cause.data["misses_ratio"] == 4
    assert "misses the last level of caches 4.00x as often" in cause.message
    same = contested(counted(CACHE_MISSES, 1000, 1000))
    assert (same.code, same.data["cpu_ratio"]) == ("contested_core_time", 1.9)
    assert same.message.startswith("the memory's bandwidth or the clock")


def test_why_caches_memory_and_the_clock_are_not_told_apart_is_said() -> None:
    cause = contested(llc_misses="the kernel allows no counter")
    assert cause.code == "contested_core_time"
    assert cause.message.endswith("not told apart: the kernel allows no counter)")


def test_bytes_that_the_machine_moves_tell_of_bandwidth() -> None:
    cause = contested(counted(MEMORY_BYTES, 1e6, 16e6, "resctrl"))
    assert cause.code == "contested_bandwidth"
    assert "the machine moves 8.00 GB/s, 1.00 GB/s alone" in cause.message


@pytest.mark.parametrize(
    ("waited_for", "code"), [("memory", "contested_memory"), ("io", "contested_io")]
)
def test_time_in_which_tasks_wait_is_told_with_its_source(waited_for: str, code: str) -> None:
    stall = counted(STALLS[waited_for], 10_000, 400_000, "psi of the machine")
    cause = contested(stall, cpu_ns=1_000_000)
    assert cause.code == code
    assert cause.data == {
        "company": pytest.approx(0.2), "alone": pytest.approx(0.01), "source": "psi of the machine",
    }  # fmt: skip
    assert "waits for it 20% of the time, 1% alone; psi of the machine" in cause.message


def test_waits_that_are_there_alone_as_well_are_no_contest() -> None:
    same_share = counted(STALLS["io"], 200_000, 420_000)
    assert contested(same_share, cpu_ns=1_000_000).code == "contested_unknown"


def test_pages_that_are_read_back_tell_that_memory_is_short() -> None:
    cause = contested(counted(MAJOR_FAULTS, 0, 0.5), cpu_ns=1_000_000)
    assert (cause.code, cause.data["company"]) == ("contested_memory", 0.5)


def test_where_no_wait_of_the_process_is_counted_pressure_tells_of_cores() -> None:
    stall = counted(STALLS["cpu"], 0, 1_500_000, "psi of the control group")
    cause = contested(stall, waited_ns=None, cpu_ns=1_000_000)
    assert cause.code == "contested_cores"
    assert "75% of the time, 0% alone; psi of the control group" in cause.message
    nothing = contested(waited_ns=None, cpu_ns=1_000_000)
    assert nothing.code == "contested_unknown"


def test_a_counter_without_its_blocks_cannot_be() -> None:
    odd = Company(
        companions=["cpu:1"],
        alone_mean_ns=[1],
        company_mean_ns=[1],
        alone_ns=[[1]],
        company_ns=[[1]],
        total_bytes=None,
        counters=[CompanyCounter(name=CACHE_MISSES, source="", alone=[1.0, 2.0], company=[1.0])],
    )
    assert {field for field, _ in replicate_findings(replicate(company=odd))} == {"company"}


def test_what_the_kernel_counts_is_told_for_a_query_of_each_block() -> None:
    machine = Machine()

    def look() -> Counted:
        return Counted(machine.now_ns // 2, machine.now_ns // 4, {MAJOR_FAULTS: machine.now_ns})

    asked = plan(0.2, 1_000_000)
    companions = Companions([7], machine.kill)
    found = in_company(machine.run, [0], companions, asked, clock=machine, look=look)
    alone, crowded = Counted(500_000, 250_000, {MAJOR_FAULTS: 1e6}), 1_000_000
    assert all(block.counted == alone for block in found.alone)
    assert all(block.counted.cpu_ns == crowded for block in found.company)


def test_a_counter_that_stops_telling_within_a_block_is_left_out_of_it() -> None:
    machine = Machine()
    looks = iter([{CACHE_MISSES: 1.0}, {}] * 100)

    def look() -> Counted:
        return Counted(more=next(looks))

    asked = plan(0.2, 1_000_000)
    companions = Companions([7], machine.kill)
    found = in_company(machine.run, [0], companions, asked, clock=machine, look=look)
    assert all(block.counted.more == {} for block in found.alone)


def test_a_counter_that_was_not_told_in_every_block_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = Told({CACHE_MISSES: "perf_event"}, {MEMORY_BYTES: "no"}, {CACHE_MISSES: lambda: None})
    monkeypatch.setattr(contention, "counters", lambda: told)
    asked = msgspec.structs.replace(job(), slice_s=0.001, company=Beside(names=[], pids=[]))
    opened: Any = SimpleNamespace(
        job=asked,
        pool=[0],
        typical_ns=1,
        phase=lambda *_: None,
        session=SimpleNamespace(run=lambda _: None),
    )
    found = steps.company(opened)
    assert found is not None
    assert found.counters == []
    assert found.untold == {
        CACHE_MISSES: "the kernel's counter was not counting all the time",
        MEMORY_BYTES: "no",
    }
