"""How long each phase of a worker may take, as it says and as its parent holds it to."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgebench.backend import TensorInfo
from edgebench.definitions.workload import PARITY_METRIC, Quality
from edgebench.errors import EdgebenchError, UnsupportedError
from edgebench.files.model_outputs import save_outputs
from edgebench.measure import launch_worker
from edgebench.measure.replicate import (
    answer_completion,
    check_plan,
    loops,
    quality_checks,
    quality_pass,
    steps,
    worker,
)
from edgebench.measure.replicate.check_plan import AT_LENGTH, IN_BRIEF
from edgebench.measure.worker_messages import Done, Job, encode_job, encode_message
from edgebench.measure.worker_observer import MIN_LOOKS, WINDOW
from edgebench.preparation import input_pool
from edgebench.processes import child
from edgebench.processes.memory_limit import BY_ALLOCATIONS, MemoryGroup
from edgebench.record import Pipeline, Reason, Replicate
from edgebench.task import TaskContext
from edgebench.tasks import load_task
from edgebench.testing.models import two_by_two
from edgebench.words.reason_words import reason
from tests.measure.test_runner import job
from tests.records import replicate

QUERY_S = 0.004  # waited for: no machine is faster


class Link:
    """Hears what a worker says to its parent."""

    def __init__(self) -> None:
        self.limits_s: dict[str, float] = {}

    def phase(self, name: str, limit_s: float = 0.0, so_far: Done | None = None) -> None:
        self.limits_s[name] = limit_s


def asked_in(folder: Path) -> Job:
    """A short job on the null backend, whose queries take QUERY_S."""
    model = two_by_two().write(folder)
    return msgspec.structs.replace(
        job(),
        options={"latency_us": QUERY_S * 1e6},
        model_path=str(model.path),
        fp32_path=str(model.path),
        precision="as-is",
        task="seeded_inputs",
        warmup_s=0.001,
        slice_s=0.001,
        quality=Quality(metric=PARITY_METRIC),
        expected=str(folder / "expected.npz"),
    )


def test_phases_announce_the_slow_queries_that_they_make_at_least(tmp_path: Path) -> None:
    asked = asked_in(tmp_path)
    link: Any = Link()
    found = worker.measure(asked, link, "").replicate
    limits_s = link.limits_s
    assert limits_s["warm-up"] >= 3 * QUERY_S
    queries = answer_completion.max_queries(AT_LENGTH.completion_pairs)
    assert limits_s["reading of outputs"] >= queries * QUERY_S
    assert limits_s["measurement"] >= loops.MAX_SLICES * asked.slice_s + QUERY_S
    assert found.unseen is not None
    queries = len(found.unseen.pool_ns) + len(found.unseen.unseen_ns)
    assert limits_s["measurement of never-seen inputs"] >= queries * QUERY_S
    assert found.pipeline is not None
    pipelines = len(found.pipeline.inference_ns)
    assert limits_s["measurement of the pipeline"] >= pipelines * QUERY_S
    assert limits_s["output check"] >= 2 * quality_checks.CHECKED_ITEMS * QUERY_S
    assert limits_s["quality pass"] >= 8 * QUERY_S  # the items of seeded inputs


def test_a_later_replicate_checks_in_brief_and_repeats_nothing_that_is_established(
    tmp_path: Path,
) -> None:
    first = asked_in(tmp_path)
    later = msgspec.structs.replace(first, index=1, thorough=False, full_quality=False)
    link: Any = Link()
    established = worker.measure(first, link, "")
    again: Any = Link()
    done = worker.measure(later, again, "")
    found = done.replicate
    phases = list(again.limits_s)
    after = phases[phases.index(WINDOW) + 1 :]
    assert len(after) >= MIN_LOOKS, "the parent compares clocks at so many at least"
    assert established.inputs_sha256 is not None
    assert (found.pipeline, found.device, found.quality, found.effective) == (None,) * 4
    assert done.inputs_sha256 is None
    assert found.status == "ok"
    assert found.samples_ns
    assert found.unseen is not None
    assert len(found.unseen.unseen_ns) == IN_BRIEF.unseen_counts[0]
    assert found.completion is not None
    assert len(found.completion.first_read_ns) == IN_BRIEF.completion_pairs
    assert found.output_check is not None
    assert found.output_check.against == "replicate 0"


def test_a_first_replicate_of_slow_queries_establishes_as_much_and_checks_in_brief(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_plan, "MIN_SLOW_QUERY_NS", QUERY_S * 1e9)
    link: Any = Link()
    done = worker.measure(asked_in(tmp_path), link, "")
    found = done.replicate
    assert None not in (found.pipeline, found.quality, found.effective, done.inputs_sha256)
    assert found.unseen is not None
    assert len(found.unseen.unseen_ns) == IN_BRIEF.unseen_counts[0]
    assert found.completion is not None
    assert len(found.completion.first_read_ns) == IN_BRIEF.completion_pairs


def test_the_time_of_a_replicate_counts_from_the_start_of_its_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Python takes until it is ready is part of it: else the parent ends the process within its quality pass."""
    seen_s: list[float] = []

    def of_replicate(began_s: float, *_: Any, **__: Any) -> quality_pass.QualityTime:
        seen_s.append(began_s)
        return quality_pass.UNLIMITED

    monkeypatch.setattr(quality_pass.QualityTime, "of_replicate", of_replicate)
    link: Any = Link()
    worker.measure(msgspec.structs.replace(asked_in(tmp_path), began_ns=7 * 10**9), link, "")
    assert seen_s == [7.0]


def test_a_worker_is_told_when_its_time_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Job] = []

    def encode(asked: Job) -> bytes:
        told.append(asked)
        return encode_job(asked)

    monkeypatch.setattr(launch_worker, "encode_job", encode)
    before_ns = time.monotonic_ns()
    launch_worker.run_worker(asked_in(tmp_path), time_out_s=60.0)
    [asked] = told
    assert before_ns <= asked.began_ns <= time.monotonic_ns()


def test_a_later_replicate_reads_its_items_and_needs_no_task(tmp_path: Path) -> None:
    first = asked_in(tmp_path)
    items = [two_by_two().feeds(number) for number in range(8)]
    save_outputs(str(tmp_path / "items.npz"), items)
    read = msgspec.structs.replace(first, items=str(tmp_path / "items.npz"))
    link: Any = Link()
    assert worker.measure(read, link, "").inputs_sha256 == input_pool.digest(items)
    later = msgspec.structs.replace(
        read, index=1, thorough=False, full_quality=False, task="no_such_task"
    )
    assert worker.measure(later, link, "").replicate.status == "ok"


@pytest.mark.parametrize("batch", [1, 3])
def test_a_resumed_run_may_measure_its_first_replicate_again(tmp_path: Path, batch: int) -> None:
    """Outputs of the killed run are gone: a later replicate, in brief, leaves those that others are held to."""
    rerun = msgspec.structs.replace(asked_in(tmp_path), index=2, batch=batch, full_quality=False)
    later = msgspec.structs.replace(rerun, index=1, thorough=False)
    link: Any = Link()
    checks = [worker.measure(asked, link, "").replicate.output_check for asked in (later, rerun)]
    assert [check is not None and check.passed for check in checks] == [True, True]
    assert [check.against for check in checks if check is not None] == ["itself", "replicate 0"]


@pytest.mark.parametrize("batch", range(1, 10))
def test_items_compared_in_brief_fill_the_same_batches_as_those_at_length(batch: int) -> None:
    def batches(count: int) -> list[list[int]]:
        items = list(range(count))
        return [
            [*items[start : start + batch], *items[-1:] * (start + batch - count)]
            for start in range(0, count, batch)
        ]

    at_length = batches(AT_LENGTH.checked_items(batch, quality_checks.CHECKED_ITEMS))
    in_brief = batches(IN_BRIEF.checked_items(batch, quality_checks.CHECKED_ITEMS))
    assert in_brief == at_length[: len(in_brief)]


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (UnsupportedError("no kernel for bf16"), "unsupported", "unsupported"),
        # As ONNX Runtime says it of a model, and of a thread, for which there is no room.
        (
            UnsupportedError("Load model from m.onnx failed:std::bad_alloc"),
            "failed",
            "out_of_memory",
        ),
        (UnsupportedError("error msg: Cannot allocate memory"), "failed", "out_of_memory"),
        (EdgebenchError("the file is damaged"), "failed", "error"),
    ],
)
def test_a_model_too_large_for_the_memory_is_no_unsupported_one(
    error: EdgebenchError, status: str, code: str
) -> None:
    found, why = steps.failure(error, job())
    assert (found, why.code, why.message) == (status, code, error.message)


def ended_by(code: str) -> Replicate:
    """What becomes of a replicate whose worker runs this code; `fd` is its pipe."""

    def spawn(command: list[str], **more: Any) -> subprocess.Popen[bytes]:
        text = f"import os; fd = {command[-2]}; {code}"
        return subprocess.Popen([sys.executable, "-c", text], **more)

    return launch_worker.run_worker(job(), time_out_s=60.0, spawn=spawn).replicate


def only_reason(replicate: Replicate) -> Reason:
    assert replicate.status == "failed"
    [reason] = replicate.reasons
    return reason


@pytest.mark.parametrize(
    "garbage",
    [
        b"a runtime says hello\n",
        b"\xff\x00\x1b[31m\n",
        b"{\n",
        b'{"type":"done"}\n',
        b"[" * 100_000 + b"\n",
    ],
)
def test_text_on_the_pipe_of_results_is_a_failed_row(garbage: bytes) -> None:
    reason = only_reason(ended_by(f"os.write(fd, {garbage!r})"))
    assert reason.code == "garbled"
    assert "during start" in reason.message
    assert "\x1b" not in reason.message
    assert len(reason.message) < 1000


def test_a_worker_that_tells_what_cannot_be_is_a_failed_row() -> None:
    uneven = Pipeline(preprocess_ns=[1], inference_ns=[], postprocess_ns=[], end_to_end_ns=[1])
    said = encode_message(Done(replicate(0, pipeline=uneven))) + b"\n"
    reason = only_reason(ended_by(f"os.write(fd, {said!r})"))
    assert (reason.code, "pipeline" in reason.message) == ("nonsense", True)
    backwards = encode_message(Done(replicate(0, samples_ns=[-5]))) + b"\n"
    assert only_reason(ended_by(f"os.write(fd, {backwards!r})")).code == "garbled"


def test_a_worker_that_edgebench_kills_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "END_TIMEOUT_S", 0.01)
    reason = only_reason(ended_by("os.close(fd); import time; time.sleep(600)"))
    assert reason.code == "killed"
    assert "killed by edgebench" in reason.message


def test_a_process_that_cannot_be_started_is_a_failed_row() -> None:
    def refused(*_: Any, **__: Any) -> Any:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    reason = only_reason(launch_worker.run_worker(job(), time_out_s=60.0, spawn=refused).replicate)
    assert reason.code == "not_started"
    assert "Resource temporarily unavailable" in reason.message
    assert "ulimit" in reason.fix


def test_a_path_that_no_runtime_can_open_is_a_failed_row() -> None:
    asked = msgspec.structs.replace(job(), model_path="/tmp/caf\udce9.onnx")
    reason = only_reason(launch_worker.run_worker(asked, time_out_s=60.0).replicate)
    assert (reason.code, r"caf\xe9.onnx" in reason.message) == ("path_not_utf8", True)


def test_a_backend_that_fails_on_drawn_inputs_is_told_what_they_were() -> None:
    class Failing:
        def run(self, prepared: Any) -> Any:
            raise RuntimeError("gather index out of bounds")

    info = TensorInfo("ids", "int64", (1, 4))
    session: Any = Failing()
    task = load_task("seeded_inputs", TaskContext(inputs=[info]))
    with pytest.raises(EdgebenchError, match=r"out of bounds; inputs were drawn: 'ids'") as failed:
        steps.first_inference(session, {}, lambda: task)
    assert "--range NAME=low,high" in failed.value.fix
    floats = load_task("seeded_inputs", TaskContext(inputs=[TensorInfo("x", "float32", (1, 4))]))
    with pytest.raises(RuntimeError, match="out of bounds"):
        steps.first_inference(session, {}, lambda: floats)


def test_a_worker_whose_time_ran_out_within_a_budget_of_memory_did_not_fail_for_want_of_memory() -> (
    None
):
    """It is measured when the run goes on."""
    asked = msgspec.structs.replace(job(), memory_budget_bytes=1 << 30)
    group = MemoryGroup(BY_ALLOCATIONS)
    cut = reason("out_of_time.child", time_s=1.0, phase="warm-up")
    assert launch_worker._fitting(cut, asked, group) == cut
    crashed = reason("exited", exit_code=1, phase="warm-up", printed="")
    within = launch_worker._fitting(crashed, asked, group)
    assert isinstance(within, Reason)
    assert within.code == "failed_within_budget"
