"""What the kernel counts of a process and of those it started, and what a parent sees of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgebench.definitions.workload import PARITY_METRIC, Quality
from edgebench.measure import reruns, worker_observer
from edgebench.measure.launch_worker import run_worker
from edgebench.measure.runner import Settings
from edgebench.measure.worker_messages import Done
from edgebench.measure.worker_observer import WINDOW, Witness
from edgebench.probes import process_accounting
from edgebench.record import Accounts, Reason, Replicate
from edgebench.testing.models import chain
from edgebench.testing.trees import write_tree
from tests.measure.test_runner import job, measure, steady_launch, target
from tests.records import replicate

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
MS = 1_000_000


def tree(me: int, cpu_ns: int, waited_ns: int, other_ns: int, child_ns: int) -> dict[str, str]:
    return {
        f"proc/self/task/{me}/schedstat": f"{cpu_ns} {waited_ns} 3",
        "proc/self/task/7/schedstat": f"{other_ns} 0 1",
        f"proc/{me}/task/{me}/children": "41 ",
        "proc/41/task/41/children": "42",
        "proc/41/task/41/schedstat": f"{child_ns} 5 1",
        "proc/42/task/42/schedstat": "0 0 0",
        "proc/41/smaps_rollup": "Rss:  900 kB\nPss:   700 kB\n",
        "proc/42/smaps_rollup": "Pss:   100 kB\n",
    }


def test_threads_waits_and_children_are_counted(tmp_path: Path) -> None:
    me = os.getpid()
    write_tree(tmp_path, tree(me, 1000, 10, 500, 70))
    account = process_accounting.Account(tmp_path)
    write_tree(tmp_path, tree(me, 1000 + 40_000, 10 + 9_000, 500 + 30_000, 70 + 20_000))
    found = account.closed()
    assert found.waited_ns == 9_000
    assert found.asleep_ns == max(0, found.wall_ns - 49_000)
    # At least: threads that have ended are in the process's own time.
    assert found.runnable_ns is not None
    assert found.runnable_ns >= 79_000
    assert found.children == 2
    assert found.child_cpu_ns is not None
    assert found.child_cpu_ns >= 20_000
    assert found.child_bytes == 800 * 1024


def test_where_the_kernel_tells_nothing_it_is_unknown(tmp_path: Path) -> None:
    found = process_accounting.Account(tmp_path).closed()
    assert found.waited_ns is found.asleep_ns is found.runnable_ns is found.children is None
    assert found.child_cpu_ns is found.child_bytes is None


@LINUX
def test_a_helper_that_leaves_its_session_is_still_a_child_of_the_worker() -> None:
    """The worker takes in what its children leave behind."""
    script = """
import os, subprocess, sys, time
from edgebench.measure.replicate.worker_ipc import ParentLink
from edgebench.probes import process_accounting
from edgebench.probes.proc_files import LIVE
ParentLink(0, 1, os.getppid()).die_with_parent()
code = "import os, time\\nif os.fork() == 0:\\n os.setsid()\\n time.sleep(60)"
subprocess.run([sys.executable, "-c", code], check=True)
left = list(process_accounting.descendants(LIVE, os.getpid()))
print(len(left))
for pid in left: os.kill(pid, 9)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "1"


# --- stops


@LINUX
def test_a_stop_and_its_end_are_seen_by_the_parent() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        assert not worker_observer.was_stopped(child.pid)
        os.kill(child.pid, signal.SIGSTOP)
        _until(lambda: worker_observer.was_stopped(child.pid))
        assert not worker_observer.was_stopped(child.pid)  # told once
        os.kill(child.pid, signal.SIGCONT)
        _until(lambda: worker_observer.was_stopped(child.pid))
    finally:
        child.kill()
        child.wait()
    assert not worker_observer.was_stopped(child.pid)


def _until(seen: Any) -> None:
    give_up = time.monotonic() + 20
    while not seen():
        assert time.monotonic() < give_up
        time.sleep(0.005)


@LINUX
def test_a_worker_that_was_stopped_in_its_window_is_no_sound_replicate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a real worker, which its parent stops in its window for as long as between two looks."""
    model = chain(64).write(tmp_path)
    asked = msgspec.structs.replace(
        job(),
        backend="ort",
        model_path=str(model.path),
        fp32_path=str(model.path),
        precision="as-is",
        task="seeded_inputs",
        warmup_s=0.01,
        slice_s=1.5,
        target=1e-9,
        max_samples=10**6,
        quality=Quality(metric=PARITY_METRIC),
        expected=str(tmp_path / "expected.npz"),
    )
    phases: list[str] = []
    hear = Witness.hear

    def heard(self: Witness, phase: str, at_ns: int | None, late: bool) -> None:
        phases.append(phase)
        hear(self, phase, at_ns, late)

    monkeypatch.setattr(Witness, "hear", heard)
    signals = iter((signal.SIGSTOP, signal.SIGCONT))

    def tick() -> None:
        [pid] = filter(_measures, process_accounting.descendants(Path("/"), os.getpid()))
        if phases[-1:] == [WINDOW] and (number := next(signals, None)):
            os.kill(pid, number)

    found = run_worker(asked, time_out_s=120, on_tick=tick).replicate
    assert next(signals, None) is None
    assert found.status == "invalid"
    assert [reason.code for reason in found.reasons] == ["device_stopped"]


def _measures(pid: int) -> bool:
    command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return b"edgebench.measure.replicate.worker" in command


@pytest.mark.parametrize("phase", ["load of the model", WINDOW, "quality pass"])
def test_a_stop_outside_of_the_window_spoils_nothing(
    monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    seen = Witness(clock=lambda: 0)
    monkeypatch.setattr(worker_observer, "was_stopped", lambda pid: True)
    seen.hear(phase, 0, late=False)
    seen.look(1)
    found = seen.with_observations(Done(replicate(0, [1], accounts=None))).replicate
    disturbed = [reason.code for reason in found.reasons] == ["device_stopped"]
    assert disturbed is (phase == WINDOW)
    assert reruns.disturbed(found) is disturbed


def test_a_machine_that_slept_in_the_window_spoilt_it() -> None:
    slept = Accounts(wall_ns=10, suspended_ns=3_000 * MS)
    found = (
        Witness(clock=lambda: 0)
        .with_observations(Done(replicate(0, [1], accounts=slept)))
        .replicate
    )
    assert [reason.code for reason in found.reasons] == ["device_suspended"]
    assert found.reasons[0].fix
    assert reruns.disturbed(found)


# --- what is measured once more


def lost(index: int, share: float, **changes: Any) -> Replicate:
    counted = Accounts(wall_ns=1000, waited_ns=round(1000 * share))
    return replicate(index, [7_000_000] * 40, accounts=counted, **changes)


@pytest.mark.parametrize(
    ("shares", "due"),
    [
        ([0.02, 0.6, 0.03], 1),
        ([0.7, 0.02], 0),
        ([0.6, 0.5, 0.7], None),  # a machine that is always that busy
        ([0.02, 0.3, 0.02], None),
        ([0.9], None),  # nothing to compare with
    ],
)
def test_a_replicate_that_lost_its_core_unlike_the_others_is_run_again(
    shares: list[float], due: int | None
) -> None:
    assert reruns.due([lost(i, share) for i, share in enumerate(shares)], 2) == due


def test_one_that_lost_its_core_is_superseded_by_one_that_did_not_and_its_quality_stays() -> None:
    from tests.records import quality

    shares = [0.8, 0.02, 0.03, 0.02]
    thorough: list[bool] = []

    def launch(job: Any, **_: Any) -> Done:
        thorough.append(job.thorough)
        made = lost(job.index, shares[job.index])
        if job.full_quality:
            made = msgspec.structs.replace(made, quality=quality())
        return Done(made)

    _, keeper, _ = measure([target("a")], launch)
    [record] = keeper.records
    assert [r.superseded_by for r in record.replicates] == [2, None, None, None]
    assert record.replicates[0].reasons[0].code == "device_descheduled"
    assert record.replicates[0].reasons[0].fix
    assert record.status == "ok"
    assert record.quality == quality()
    assert thorough == [True, False, True, False], "what it established is established again"


def test_re_runs_on_a_busy_machine_take_no_replicate_away() -> None:
    """What is due was decided with marks on those that were replaced, and without: one sound replicate of
    three was missing, and the budget was blamed for it."""
    shares = [0.524, 0.032, 0.525, 0.59, 0.03, 0.03, 0.03]

    def launch(job: Any, **_: Any) -> Done:
        return Done(lost(job.index, shares[job.index]))

    _, keeper, _ = measure([target("a")], launch, Settings(replicates=3, max_replicates=3))
    [record] = keeper.records
    assert len([r for r in record.replicates if r.superseded_by is None]) == 3


def test_on_a_machine_that_is_always_busy_nothing_is_run_again_or_struck() -> None:
    def launch(job: Any, **_: Any) -> Done:
        return Done(lost(job.index, 0.6 + 0.1 * (job.index % 3)))

    _, keeper, _ = measure([target("a")], launch)
    [record] = keeper.records
    assert (len(record.replicates), record.status) == (Settings().replicates, "ok")


@pytest.mark.parametrize("code", ["outputs_deferred", "clock_disagrees"])
def test_a_doubt_strikes_only_if_fresh_processes_confirm_it(code: str) -> None:
    doubt = [Reason(code=code, message="times")]

    def once(job: Any, **_: Any) -> Done:
        if job.index == 1:
            return Done(replicate(1, [], status="invalid", reasons=doubt))
        return steady_launch(job)

    _, keeper, _ = measure([target("a")], once)
    [record] = keeper.records
    assert (record.status, record.replicates[1].superseded_by) == ("ok", 2)

    def always(job: Any, **_: Any) -> Done:
        return Done(replicate(job.index, [], status="invalid", reasons=doubt))

    _, keeper, _ = measure([target("a")], always)
    assert keeper.records[0].status == "invalid"
    assert keeper.records[0].reasons == doubt
