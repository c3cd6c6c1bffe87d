"""Instructions of an inference: the kernel's counter, callgrind beside a cell's first process, and their row."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from edgebench.analysis.table import build_table
from edgebench.errors import EdgebenchError, UsageError
from edgebench.measure import callgrind
from edgebench.measure.callgrind import check_callgrind, count_instructions, counting
from edgebench.measure.replicate import steps
from edgebench.measure.replicate.instruction_worker import (
    ENOUGH,
    MAX_INFERENCES,
    count_some,
)
from edgebench.measure.worker_messages import Done
from edgebench.metrics import METRICS
from edgebench.probes import instruction_counter
from edgebench.probes.instruction_counter import (
    SOFTWARE,
    TASK_CLOCK,
    Counter,
    Look,
    _why_not,
    open_counter,
)
from edgebench.record import Instructions, Replicate
from tests.analysis.test_commands import code, run
from tests.measure.test_runner import job
from tests.perf.overhead import tiny_model
from tests.records import record, replicate, samples


def test_counter_counts_this_process_and_its_later_threads() -> None:
    """By the kernel's software event, which machines have that have no counter of instructions."""
    counter = open_counter(SOFTWARE, TASK_CLOCK)
    if counter.descriptor is None:
        pytest.skip(counter.unknown)
    begin, cpu_begin = counter.look(), time.process_time_ns()
    work = threading.Thread(target=lambda: sum(range(2_000_000)))
    work.start()
    work.join()
    found = counter.since(begin).value
    assert found is not None
    assert found >= 0.9 * (time.process_time_ns() - cpu_begin) > 0


def test_counter_that_is_refused_says_why() -> None:
    counter = open_counter(kind=99)  # no such kind of event
    assert counter.descriptor is None
    assert counter.since(counter.look()).unknown.startswith("the ")
    assert "perf_event_paranoid" in _why_not(13, "instructions")
    assert "offers the kernel no counter" in _why_not(2, "instructions")
    assert "Too many open files" in _why_not(24, "instructions")


def test_counter_that_was_taken_away_for_a_time_tells_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks = iter([Look(1500, 90, 80), Look(1500, 90, 90)])
    monkeypatch.setattr(Counter, "look", lambda _: next(looks))
    counter, begin = Counter(3), Look(1000, 10, 10)
    assert counter.since(begin) == (None, "the kernel's counter was not counting all the time")
    assert counter.since(begin) == (500, "")


def row_of_window(monkeypatch: pytest.MonkeyPatch, counter: Counter, queries: int) -> Any:
    """The table's row of a window of these queries, counted by this reader."""
    asked = msgspec.structs.replace(job(), batch=2)
    served = SimpleNamespace(queries=queries, raw_ns=[])
    monkeypatch.setattr(instruction_counter, "current", lambda: counter)
    monkeypatch.setattr(steps, "_window", lambda _: served)
    told = steps.instructions(asked, steps.counted_window(SimpleNamespace(job=asked)))  # type: ignore[arg-type]
    measured = replicate(0, samples(1e6, 99, 0), instructions=told)
    [row] = build_table([record(replicates=[measured])]).rows
    return row


def test_window_is_counted_by_the_reader_and_divided_by_its_inferences(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks = iter([Look(1_000, 10, 10), Look(61_000, 90, 90)])
    monkeypatch.setattr(Counter, "look", lambda _: next(looks))
    row = row_of_window(monkeypatch, Counter(3), queries=30)
    assert METRICS["instructions"].value(row) == 1_000  # 60,000 in 30 queries of two


@pytest.mark.parametrize("number", [1, 2, 24])
def test_row_says_why_the_processor_counted_nothing(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    row = row_of_window(monkeypatch, Counter(None, _why_not(number, "instructions")), queries=30)
    assert METRICS["instructions"].value(row) is None
    assert METRICS["instructions"].why_unknown(row) == _why_not(number, "instructions")


def test_counter_that_breaks_within_a_window_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter([Look(1_000, 10, 10), None])
    monkeypatch.setattr(Counter, "look", lambda _: next(looks))
    row = row_of_window(monkeypatch, Counter(3), queries=30)
    assert METRICS["instructions"].why_unknown(row) == "the kernel's counter cannot be read"


class Tool:
    """Counts what a made-up runtime executes, and what it takes itself."""

    def __init__(self, each: int, own: int = 7777) -> None:
        self.each, self.own = each, own
        self.windows: list[int] = []  # inferences of each
        self.total = 0

    def run(self, _: object) -> None:
        self.total += self.each
        self.windows[-1] += 1

    def window(self, work: Callable[[], None]) -> int:
        self.windows.append(0)
        self.total = self.own
        work()
        return self.total


def test_difference_of_two_windows_holds_neither_loop_nor_tool() -> None:
    quick = Tool(each=1000)
    assert count_some(quick.run, ["a", "b"], quick.window) == (
        1000 * MAX_INFERENCES,
        MAX_INFERENCES,
    )
    assert quick.windows == [0, 0, 1, MAX_INFERENCES, 2 * MAX_INFERENCES]


def test_inference_of_many_instructions_is_counted_once_and_held_against_an_empty_window() -> None:
    """Seen: ten inferences of a model that needs 20 s for each under valgrind: no count in 280 s."""
    long = Tool(each=ENOUGH)
    assert count_some(long.run, ["a"], long.window) == (ENOUGH, 1)
    assert long.windows == [0, 0, 1]


def test_inferences_of_fewer_instructions_are_as_many_as_make_them_clear() -> None:
    some = Tool(each=ENOUGH // 3)
    assert count_some(some.run, ["a"], some.window) == (ENOUGH // 3 * 4, 4)
    assert some.windows == [0, 0, 1, 4, 8]


def test_more_inferences_that_take_no_more_instructions_are_no_count_of_zero() -> None:
    none = Tool(each=0)
    with pytest.raises(EdgebenchError, match="no more for 400 inferences than for 200"):
        count_some(none.run, ["a"], none.window)


def launched(thorough: bool, time_s: float = 60.0, status: Any = "ok") -> Replicate:
    def launch(_: object, **options: object) -> Done:
        return Done(Replicate(index=0, status=status, started_utc="2026"))

    asked = msgspec.structs.replace(job(), thorough=thorough)
    return counting(launch)(asked, time_out_s=1.0, time_s=time_s).replicate


def test_first_process_of_a_cell_alone_is_followed_by_a_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = Instructions(source="callgrind", count=5, inferences=1)
    monkeypatch.setattr(callgrind, "count_instructions", lambda *_: told)
    assert launched(thorough=True).instructions == [told]
    assert launched(thorough=False).instructions == []
    assert launched(thorough=True, status="failed").instructions == []


def test_budget_that_is_spent_leaves_no_count() -> None:
    [found] = launched(thorough=True, time_s=0.0).instructions
    assert found.count is None
    assert "raise --budget" in found.unknown


def test_valgrind_that_cannot_be_started_is_a_reason() -> None:
    def spawn(*_: object, **__: object) -> subprocess.Popen[bytes]:
        raise FileNotFoundError(2, "No such file or directory")

    found = count_instructions(job(), 1.0, 60.0, spawn)
    assert found.unknown == "no process could be started: No such file or directory"


def test_missing_valgrind_is_refused_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(UsageError, match="--instructions callgrind needs valgrind"):
        check_callgrind()


def test_row_has_both_counts_or_says_why_not() -> None:
    def row(*told: Instructions) -> Any:
        each = [replicate(0, samples(1e6, 99, 0), instructions=list(told))]
        return build_table([record(replicates=each)]).rows[0]

    retired = Instructions(source="perf_event", count=900, inferences=3)
    refused = Instructions(source="perf_event", count=None, inferences=3, unknown="not allowed")
    emulated = Instructions(source="callgrind", count=610, inferences=2)
    known, emulator = METRICS["instructions"], METRICS["instructions.callgrind"]
    assert known.value(row(retired)) == 300
    assert emulator.why_unknown(row(retired)) == "not asked for: --instructions callgrind"
    assert known.why_unknown(row(refused)) == "not allowed"
    assert emulator.value(row(refused, emulated)) == 305
    assert known.why_unknown(row(refused, emulated)) == "not allowed"


@pytest.mark.slow
def test_callgrind_counts_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("callgrind_control") is None:
        pytest.skip("needs valgrind")
    monkeypatch.chdir(tmp_path)
    tiny_model(tmp_path / "tiny.onnx")
    options = ("--replicates", "2", "--reruns", "0", "--slice", "0.1s", "--format", "json")
    result = run("run", "--model", "tiny.onnx", *options, "--instructions", "callgrind")
    assert code(result) == 0
    [row] = json.loads(result.stdout)["rows"]
    assert 5_000 < row["instructions"]["callgrind"] < 500_000
