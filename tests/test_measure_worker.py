"""How long each phase of a worker may take, as it says and as its parent holds it to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgebench.errors import EdgebenchError, UnsupportedError
from edgebench.measure import check, completion, launch, scenario, worker
from edgebench.measure.jobs import Phase, encode_message
from edgebench.spec.types import Quality
from edgebench.testing.models import two_by_two
from tests.test_measure_campaign import job

QUERY_S = 0.004  # waited for: no machine is faster


class Link:
    """Hears what a worker says to its parent."""

    def __init__(self) -> None:
        self.limits_s: dict[str, float] = {}

    def phase(self, name: str, limit_s: float = 0.0) -> None:
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
    assert limits_s["reading of outputs"] >= completion.MAX_QUERIES * QUERY_S
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
    said = launch._Conversation()
    launch._listen(read, said, 0.01, lambda: None)
    os.close(read)
    os.close(write)
    assert said.timed_out
    assert (said.phase, said.limit_s) == ("quality pass", 0.03)


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
