"""Backends whose numbers would win if they were believed, as the head of an A/B against the honest one: none is compared.

One real pair of each, held to be what three pairs show.
"""

from __future__ import annotations

import hashlib
import itertools
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from edgebench.ab_test import arm_process
from edgebench.ab_test.ab_cells import make_ab_cells
from edgebench.ab_test.ab_runner import ABCell
from edgebench.ab_test.arm_messages import BLOCK, END
from edgebench.ab_test.cell_verdict import mismatch, rows
from edgebench.ab_test.pair_record import BlockShape
from edgebench.ab_test.pair_runner import PairFailed, PairPlan, run_pair
from edgebench.ab_test.pairing import Request
from edgebench.ab_test.variant_spec import parse_side
from edgebench.ab_test.verdict import Rules
from edgebench.measure import cpu_pinning
from edgebench.testing.models import chain

CORES = cpu_pinning.available()[:1]
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
#: Cheats that no backend of `edgebench.testing` is, as a user would bring them.
OWN = """
import hashlib, subprocess, sys
from concurrent.futures import ThreadPoolExecutor
from edgebench.testing.faults import FaultyBackend, FaultySession

class Pool(FaultySession):
    def __init__(self, inner, settings):
        super().__init__(inner, settings)
        self.threads = ThreadPoolExecutor(4)

    def fault(self, prepared):
        work = bytes(1 << 20)
        parts = [self.threads.submit(lambda: hashlib.sha256(work).digest()) for _ in range(4)]
        answer = self.work(prepared)
        for part in parts:
            part.result()
        return answer

class ThreadPool(FaultyBackend):
    session = Pool

SERVER = "import sys, hashlib\\nfor line in sys.stdin: print(len(hashlib.sha256(bytes(1 << 21)).digest()), flush=True)"

class Asking(FaultySession):
    def __init__(self, inner, settings):
        super().__init__(inner, settings)
        self.server = subprocess.Popen([sys.executable, "-c", SERVER], text=True, bufsize=1,
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def fault(self, prepared):
        self.server.stdin.write("go\\n")
        self.server.stdout.readline()
        return self.work(prepared)

class Server(FaultyBackend):
    session = Asking
"""
OWN_CODES = {"ThreadPool": {"threads_beyond_told"}, "Server": {"helper_process"}}
HONEST = ("FaultyBackend", "Noisy", "SlowStart slow_runs=0")


@pytest.fixture(autouse=True)
def own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks of a gate that runs on this machine meanwhile are not waited for."""
    monkeypatch.setattr(cpu_pinning, "lock_folder", lambda: tmp_path / "locks")


def ab_cell_of(folder: Path, head: str) -> ABCell:
    """A cell that runs four products of matrices by ONNX Runtime, and in head by that backend."""
    name, *sets = head.split()
    model = str(chain(4).write(folder).path)
    request = Request(
        workloads=[],
        base=parse_side([model, f"{FAULTS}FaultyBackend"]),
        head=parse_side([name if ":" in name else f"{FAULTS}{name}", *sets]),
    )
    [ab_cell] = make_ab_cells(request, folder / "cache")
    assert ab_cell.arms is not None, ab_cell.failure
    ab_cell.arms = {side: spec.in_folder(folder, side) for side, spec in ab_cell.arms.items()}
    return ab_cell


def measured(ab_cell: ABCell) -> None:
    assert ab_cell.arms is not None
    try:
        found = run_pair(
            ab_cell.arms,
            PairPlan(cell="demo", index=0, first="base", cores=CORES, quality=True, rounds=2),
        )
    except PairFailed as failed:
        ab_cell.failure = replace(failed.reason, message=f"{failed.side}: {failed.reason.message}")
    else:
        ab_cell.pairs = [replace(found, index=index) for index in range(3)]


@pytest.mark.parametrize("head", [*CHEATS, *(KERNEL_TELLS if LINUX else ())])
def test_a_head_that_cheats_is_invalid_in_the_words_of_a_run(tmp_path: Path, head: str) -> None:
    ab_cell = ab_cell_of(tmp_path, head)
    measured(ab_cell)
    reason = ab_cell.failure or mismatch(ab_cell.case, ab_cell.pairs)
    assert reason is not None
    assert reason.code in (CHEATS | KERNEL_TELLS)[head], reason
    assert "head" in reason.message
    judged = rows(ab_cell.case, ab_cell.pairs, Rules(tests=2), failure=ab_cell.failure)
    assert {row.verdict for row in judged if row.judged} == {"invalid"}
    assert all(reason.message in row.reason for row in judged)


@pytest.mark.skipif(not LINUX, reason="the kernel tells of threads and processes on Linux alone")
@pytest.mark.parametrize("name", OWN_CODES)
def test_a_backend_of_a_user_that_cheats_is_invalid(tmp_path: Path, name: str) -> None:
    (tmp_path / "own.py").write_text(OWN)
    ab_cell = ab_cell_of(tmp_path, f"{tmp_path / 'own.py'}:{name}")
    measured(ab_cell)
    reason = ab_cell.failure or mismatch(ab_cell.case, ab_cell.pairs)
    assert reason is not None
    assert reason.code in OWN_CODES[name], reason


def test_clocks_that_a_backend_replaces_reach_no_block(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("perf_counter_ns", "process_time_ns"):
        monkeypatch.setattr(time, name, lambda: 0)
    words = iter([BLOCK, END])
    link: Any = SimpleNamespace(line=lambda: next(words), block_done=lambda: None)
    session: Any = SimpleNamespace(run=lambda work: hashlib.sha256(work).digest())
    [block] = arm_process._blocks(
        session, itertools.repeat(bytes(1 << 22)), BlockShape(samples=2, calls=2), link
    )
    assert min(block.wall_ns + block.cpu_ns) > 0


@pytest.mark.parametrize("head", HONEST)
def test_an_honest_head_beside_them_is_compared(tmp_path: Path, head: str) -> None:
    ab_cell = ab_cell_of(tmp_path, head)
    measured(ab_cell)
    assert ab_cell.failure is None
    assert mismatch(ab_cell.case, ab_cell.pairs) is None
