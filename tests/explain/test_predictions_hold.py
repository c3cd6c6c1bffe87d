"""Predictions against measurement: the mix that is proposed is made and timed beside both of its parents."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

import pytest

from edgebench import assets
from edgebench.api.run_options import resolved, workloads_of
from edgebench.explain import make_explanation as explaining
from edgebench.explain.cells_to_explain import Pair, cells_to_explain
from edgebench.explain.explanation import Prediction
from edgebench.explain.profile_runs import Measured, profile_in_turns
from edgebench.measure.replicate import steps
from edgebench.measure.worker_messages import Job
from edgebench.models import onnx_file, quantize
from edgebench.planning.run_parameters import DEFAULTS
from edgebench.preparation import prepare

pytestmark = [pytest.mark.slow, pytest.mark.downloads]

#: What a size may be off by.
TOLERANCE = 0.15
MEASURED_S = 8.0
WORKLOADS = ("music-transcription", "image-classification", "file-typing", "text-recognition")


@pytest.mark.parametrize("workload", WORKLOADS)
def test_prediction_holds(workload: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The direction is right, and the size within TOLERANCE; where no mix is said to gain, none does."""
    pair, jobs, found = profiled(workload)
    against, subject = found
    prediction = explaining._predicted(
        pair, *explaining._groups(subject, against), subject, against
    )[0]
    kept = prediction.kept if prediction is not None else slowest(subject, against)
    path = mixed(jobs[0], kept, tmp_path / "mixed.onnx", monkeypatch)
    times_ns = in_turns([jobs[0].model_path, jobs[1].model_path, str(path)], jobs[0])
    gain, speedup = times_ns[1] / times_ns[2], times_ns[0] / times_ns[2]
    if prediction is None:
        assert gain < 1 + TOLERANCE
        return
    check(prediction, gain, speedup)


def check(prediction: Prediction, gain: float, speedup: float) -> None:
    assert (prediction.gain > 1) == (gain > 1), (prediction.gain, gain)
    assert (prediction.speedup.value > 1) == (speedup > 1), (prediction.speedup, speedup)
    assert prediction.speedup.value == pytest.approx(speedup, rel=TOLERANCE)


def profiled(workload: str) -> tuple[Pair, list[Job], list[Measured]]:
    options = resolved({**DEFAULTS, "names": (workload,)})
    (one,) = workloads_of(options)
    pair = cells_to_explain(one, "ort", {"threads": [1], "precision": ["int8-static"]}, None)
    assert pair.against is not None
    cells = [pair.against, pair.subject]
    jobs = explaining._jobs(cells, options.settings, assets.cache_dir(), lambda text: None)
    found = profile_in_turns(jobs, 120)
    measured = [each for each in found if isinstance(each, Measured)]
    assert len(measured) == 2, found
    return pair, jobs, measured


def slowest(subject: Measured, against: Measured) -> list[str]:
    """Where no mix is proposed: the node that is slowest in int8 against fp32, to see that it gains nothing."""
    groups, _ = explaining._groups(subject, against)
    chosen = [group for group in groups if all(group.operators) and group.main.kind == "Conv"]

    def excess(group: Any) -> float:
        ours, theirs = (sum(median(o.times_ns) for o in side) for side in group.operators)
        return float(theirs - ours)

    return [max(chosen, key=excess).main.name]


def mixed(job: Job, kept: Sequence[str], path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """int8-static with these nodes left in fp32."""
    fixed: Any = SimpleNamespace(path=Path(job.model_path), inputs=job.fp32_inputs)
    model = prepare._foldable(fixed)
    constant_adds = quantize._name_constant_adds

    def excluded(found: Any) -> list[str]:
        names = constant_adds(found)
        assert set(kept) <= {node.name for node in found.graph.node}
        return [*names, *kept]

    monkeypatch.setattr(quantize, "_name_constant_adds", excluded)
    task = steps.task_of(job, job.fp32_inputs)
    onnx_file.save_model(
        quantize.quantize_static(model, task.calibration(), 1), path, keep_opset=True
    )
    return path


def in_turns(paths: Sequence[str], job: Job) -> list[float]:
    """The median CPU time of a run of each file, all in turns on one thread."""
    import onnxruntime as ort

    from edgebench.files.model_outputs import load_outputs

    items = load_outputs(job.items, 8)
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    sessions = [
        ort.InferenceSession(path, options, providers=["CPUExecutionProvider"]) for path in paths
    ]
    for session in sessions:
        session.run(None, dict(items[0]))
    times_ns: list[list[int]] = [[] for _ in sessions]
    end_s, rng, number = time.monotonic() + MEASURED_S, random.Random(0), 0
    while time.monotonic() < end_s or number < 10:
        for place in rng.sample(range(len(sessions)), len(sessions)):
            start_ns = time.thread_time_ns()
            sessions[place].run(None, dict(items[number % len(items)]))
            times_ns[place].append(time.thread_time_ns() - start_ns)
        number += 1
    return [median(times) for times in times_ns]
