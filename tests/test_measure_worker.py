"""How long each phase of a worker may take, as it says and as its parent holds it to."""

from __future__ import annotations

import math
import os
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgebench.errors import EdgebenchError, UnsupportedError
from edgebench.measure import check, completion, inputs, launch, scenario, worker
from edgebench.measure.check_plan import AT_LENGTH, IN_BRIEF
from edgebench.measure.jobs import Done, Job, Phase, encode_message
from edgebench.measure.witness import MIN_LOOKS, WINDOW
from edgebench.spec.types import PARITY_METRIC, Quality
from edgebench.testing.models import two_by_two
from tests.test_measure_campaign import job

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
    queries = completion.max_queries(AT_LENGTH.completion_pairs)
    assert limits_s["reading of outputs"] >= queries * QUERY_S
    assert limits_s["measurement"] >= scenario.PATIENCE * asked.slice_s + QUERY_S
    assert found.unseen is not None
    queries = len(found.unseen.pool_ns) + len(found.unseen.unseen_ns)
    assert limits_s["measurement of never-seen inputs"] >= queries * QUERY_S
    assert found.pipeline is not None
    pipelines = len(found.pipeline.inference_ns)
    assert limits_s["measurement of the pipeline"] >= pipelines * QUERY_S
    assert limits_s["output check"] >= 2 * check.CHECKED_ITEMS * QUERY_S
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


def test_a_later_replicate_reads_its_items_and_needs_no_task(tmp_path: Path) -> None:
    first = asked_in(tmp_path)
    items = [two_by_two().feeds(number) for number in range(8)]
    check.save_outputs(str(tmp_path / "items.npz"), items)
    read = msgspec.structs.replace(first, items=str(tmp_path / "items.npz"))
    link: Any = Link()
    assert worker.measure(read, link, "").inputs_sha256 == inputs.digest(items)
    later = msgspec.structs.replace(
        read, index=1, thorough=False, full_quality=False, task="no_such_task"
    )
    assert worker.measure(later, link, "").replicate.status == "ok"


@pytest.mark.parametrize("batch", range(1, 10))
def test_items_compared_in_brief_fill_the_same_batches_as_those_at_length(batch: int) -> None:
    def batches(count: int) -> list[list[int]]:
        items = list(range(count))
        return [
            [*items[start : start + batch], *items[-1:] * (start + batch - count)]
            for start in range(0, count, batch)
        ]

    at_length = batches(AT_LENGTH.checked_items(batch, check.CHECKED_ITEMS))
    in_brief = batches(IN_BRIEF.checked_items(batch, check.CHECKED_ITEMS))
    assert in_brief == at_length[: len(in_brief)]


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
