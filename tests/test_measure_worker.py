"""How long each phase of a worker may take, as it says and as its parent holds it to."""

from __future__ import annotations

import math
import os
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgebench.backend import TensorInfo
from edgebench.errors import EdgebenchError, UnsupportedError
from edgebench.measure import check, launch, scenario, worker
from edgebench.measure.jobs import Done, Phase, encode_message
from edgebench.spec.types import Quality
from edgebench.task import TaskContext
from edgebench.tasks import load_task
from edgebench.testing.models import two_by_two
from tests.test_measure_campaign import job

QUERY_S = 0.004  # waited for: no machine is faster


class Link:
    """Hears what a worker says to its parent."""

    def __init__(self) -> None:
        self.limits_s: dict[str, float] = {}

    def phase(self, name: str, limit_s: float = 0.0, so_far: Done | None = None) -> None:
        self.limits_s[name] = limit_s


def test_phases_announce_the_slow_queries_that_they_make_at_least(tmp_path: Path) -> None:
    model = two_by_two().write(tmp_path)
    asked = msgspec.structs.replace(
        job(),
        options={"latency_us": QUERY_S * 1e6},
        model_path=str(model.path),
        fp32_path=str(model.path),
        precision="as-is",
        task="seeded_inputs",
        warmup_s=0.001,
        slice_s=0.001,
        quality=Quality(metric=check.PARITY_METRIC),
        expected=str(tmp_path / "expected.npz"),
    )
    link: Any = Link()
    found = worker.measure(asked, link, "").replicate
    limits_s = link.limits_s
    assert limits_s["warm-up"] >= 3 * QUERY_S
    assert limits_s["reading of outputs"] >= check.COMPLETION_QUERIES * QUERY_S
    assert limits_s["measurement"] >= scenario.PATIENCE * asked.slice_s + QUERY_S
    assert found.unseen is not None
    queries = len(found.unseen.pool_ns) + len(found.unseen.unseen_ns)
    assert limits_s["measurement of never-seen inputs"] >= queries * QUERY_S
    assert found.pipeline is not None
    pipelines = len(found.pipeline.inference_ns)
    assert limits_s["measurement of the pipeline"] >= pipelines * QUERY_S
    assert limits_s["output check"] >= 2 * check.CHECKED_ITEMS * QUERY_S
    assert limits_s["quality pass"] >= 8 * QUERY_S  # the items of seeded inputs


def test_the_silence_that_is_told_is_the_one_that_was_allowed() -> None:
    read, write = os.pipe()
    os.write(write, encode_message(Phase("quality pass", 0.02)) + b"\n")
    said = launch.Conversation()
    hear = partial(msgspec.json.decode, type=Phase)
    launch.listen(read, said, hear, 0.01, math.inf, lambda: None)
    os.close(read)
    os.close(write)
    assert said.timed_out
    assert (said.phase, said.limit_s) == ("quality pass", 0.03)


def test_a_worker_that_is_never_silent_ends_with_its_time() -> None:
    """Each word of it would begin a new silence; all words together have an end."""
    read, write = os.pipe()
    said = launch.Conversation()

    def hear(line: bytes) -> Phase:
        os.write(write, line + b"\n")
        return Phase("warm-up")

    os.write(write, b"on and on\n")
    launch.listen(read, said, hear, 60.0, 0.05, lambda: None)
    os.close(read)
    os.close(write)
    assert (said.out_of_time, said.timed_out, said.ending) == (True, False, False)


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
    found = worker._refused(job(), "", error).replicate
    assert (found.status, [reason.code for reason in found.reasons]) == (status, [code])
    assert found.reasons[0].message == error.message


def test_a_backend_that_fails_on_drawn_inputs_is_told_what_they_were() -> None:
    class Failing:
        def run(self, prepared: Any) -> Any:
            raise RuntimeError("gather index out of bounds")

    info = TensorInfo("ids", "int64", (1, 4))
    session: Any = Failing()
    task = load_task("seeded_inputs", TaskContext(inputs=[info]))
    with pytest.raises(EdgebenchError, match=r"out of bounds; inputs were drawn: 'ids'") as failed:
        worker._first_inference(session, {}, task)
    assert "--range NAME=low,high" in failed.value.fix
    floats = load_task("seeded_inputs", TaskContext(inputs=[TensorInfo("x", "float32", (1, 4))]))
    with pytest.raises(RuntimeError, match="out of bounds"):
        worker._first_inference(session, {}, floats)
