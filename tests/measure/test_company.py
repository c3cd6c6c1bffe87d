"""Models in company: blocks that take turns, companions that stand still until they are let."""

from __future__ import annotations

import os
import signal
import sys

import msgspec
import pytest

from edgebench.analysis.table import build_table
from edgebench.definitions.companion_load import parse_companion
from edgebench.errors import UsageError
from edgebench.measure.companions import CompanionError, companions
from edgebench.measure.replicate.company_blocks import (
    MIN_PAIRS,
    Companions,
    Counted,
    in_company,
    plan,
)
from edgebench.measure.worker_messages import Companion
from edgebench.record import Company
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


@pytest.mark.parametrize("text", ["cpu", "cpu:0", "cpu:-1", "cpu:two", "memory:8GB", "disk:1", ""])
def test_a_companion_is_a_number_of_cores_or_a_rate(text: str) -> None:
    assert parse_companion("cpu:2") == (2, None)
    assert parse_companion("memory:8GB/s") == (1, 8e9)
    with pytest.raises(UsageError):
        parse_companion(text)


@pytest.mark.skipif(sys.platform != "linux", reason="waits for a stop by waitid")
def test_companions_stand_still_until_they_are_let_and_are_gone_after() -> None:
    asked = [Companion(name="cpu:1"), Companion(name="memory:1MB/s", bytes_per_s=1e6)]
    with companions(asked) as company:
        assert company is not None
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
        (2_000_000, 0, 1_900_000, "memory, caches or the clock (a query takes 1.90x the CPU time)"),
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
    assert row.company.contested.startswith(words)
    assert bool(words) == bool(row.company.contested)


def test_what_the_kernel_counts_is_told_for_a_query_of_each_block() -> None:
    machine = Machine()

    def look() -> Counted:
        return Counted(machine.now_ns // 2, machine.now_ns // 4, 0)

    asked = plan(0.2, 1_000_000)
    companions = Companions([7], machine.kill)
    found = in_company(machine.run, [0], companions, asked, clock=machine, look=look)
    assert {block.counted for block in found.alone} == {Counted(500_000, 250_000, 0)}
    assert {block.counted for block in found.company} == {Counted(1_000_000, 500_000, 0)}
