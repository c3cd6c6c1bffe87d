"""The workloads of the suite `quick`: their definitions, and their real quality with real files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from edgebench.definitions.variant_matrix import expand, select
from edgebench.definitions.workload import Limit, Workload
from edgebench.definitions.workload_loader import load_workloads
from edgebench.preparation.preparation_messages import PreparedModel, PrepareJob
from edgebench.tasks import load_task, task_metrics

if TYPE_CHECKING:
    from edgebench.task import Feeds, Metric, Outputs

NAMES = ("file-typing", "image-classification", "music-transcription", "text-recognition")

#: (workload, precision) -> metrics as measured when the definitions were written, and whether they
#: pass: int8 that does not is a finding, and stays one until somebody mends it.
MEASURED = {
    ("file-typing", "fp32"): ({"accuracy": 0.837, "accuracy_whole": 1.0}, True),
    ("file-typing", "int8-dynamic"): ({"accuracy": 0.837, "accuracy_whole": 1.0}, True),
    ("file-typing", "int8-static"): ({"accuracy": 0.841, "accuracy_whole": 1.0}, True),
    ("image-classification", "fp32"): (
        {"top1_10crop": 0.885, "top5_10crop": 0.955, "top1": 0.90, "top5": 0.95, "nll": 0.629},
        True,
    ),
    ("image-classification", "int8-static"): ({"top1_10crop": 0.870, "top5_10crop": 0.950}, True),
    ("music-transcription", "fp32"): ({"frame_f1": 0.821, "onset_f1": 0.899}, True),
    ("music-transcription", "int8-static"): ({"frame_f1": 0.588}, False),
    ("text-recognition", "fp32"): (
        {"char_accuracy_clean": 0.952, "char_accuracy_mid": 0.915, "char_accuracy_hard": 0.840},
        True,
    ),
    ("text-recognition", "int8-static"): ({"char_accuracy_mid": 0.943}, False),
}


@pytest.fixture(scope="module")
def workloads() -> dict[str, Workload]:
    return load_workloads()


@pytest.mark.parametrize("name", NAMES)
def test_every_limit_is_of_a_metric_and_in_its_direction(
    workloads: dict[str, Workload], name: str
) -> None:
    quality = workloads[name].quality
    metrics = task_metrics(workloads[name].task)
    for metric, limit in {quality.metric: quality, **quality.also}.items():
        wrong = limit.ceiling if metrics[metric].better == "higher" else limit.floor
        assert wrong is None


def test_quick_stays_within_twelve_cells(workloads: dict[str, Workload]) -> None:
    cells = 0
    for workload in workloads.values():
        if "quick" in workload.suites:
            part = workload.suites["quick"]
            points = select(part.variants, expand(workload.matrix))
            cells += len(points) * len(part.scenarios or workload.scenarios)
    assert 0 < cells <= 12


def prepared(
    workload: Workload, precision: str, paths: dict[str, Path], cache: Path
) -> PreparedModel:
    from edgebench.preparation.prepare import prepare

    return prepare(
        PrepareJob(
            task=workload.task,
            options=workload.options,
            data={name: str(paths[asset.sha256]) for name, asset in workload.data.items()},
            source=str(paths[workload.model.sha256]),
            source_sha256=workload.model.sha256,
            builder=workload.model.builder,
            shapes=msgspec.to_builtins(workload.model.shapes),
            precision=precision,
            cache=str(cache),
        )
    )


def passes(workload: Workload, values: dict[str, float], metrics: dict[str, Metric]) -> bool:
    def holds(metric: str, limit: Limit) -> bool:
        if metrics[metric].better == "higher":
            return limit.floor is None or values[metric] >= limit.floor
        return limit.ceiling is None or values[metric] <= limit.ceiling

    quality = workload.quality
    return all(holds(m, limit) for m, limit in {quality.metric: quality, **quality.also}.items())


@pytest.mark.downloads
@pytest.mark.slow
@pytest.mark.parametrize(("name", "precision"), sorted(MEASURED))
def test_the_quality_is_as_measured(
    workloads: dict[str, Workload],
    name: str,
    precision: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    import onnxruntime as ort

    from edgebench.assets import fetch
    from edgebench.task import TaskContext

    workload = workloads[name]
    paths = fetch([workload.model, *workload.data.values()])
    model = prepared(workload, precision, paths, tmp_path_factory.getbasetemp() / "cache")
    context = TaskContext(
        data={key: paths[asset.sha256] for key, asset in workload.data.items()},
        options=workload.options,
        model=Path(model.fp32_path),
        inputs=model.inputs,
    )
    session = ort.InferenceSession(model.path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def infer(queries: Sequence[Feeds]) -> list[Outputs]:
        return [dict(zip(names, session.run(names, query), strict=True)) for query in queries]

    task = load_task(workload.task, context)
    values = task.evaluate(infer)
    wanted, good = MEASURED[name, precision]
    assert {metric: values[metric] for metric in wanted} == pytest.approx(wanted, abs=0.015)
    assert passes(workload, values, dict(task.metrics)) == good
    assert not model.reference.constant
