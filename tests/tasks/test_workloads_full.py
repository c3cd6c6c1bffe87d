"""The workloads of the suite `full`: their definitions, and their real quality with real files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from edgebench.definitions.workload import Workload
from edgebench.definitions.workload_loader import load_workloads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgebench.task import Feeds, Outputs

#: Workload -> metric -> what fp32 reached when the definition was written.
MEASURED = {
    "layout-detection": {"region_f1": 0.803, "class_accuracy": 0.927},
    "sentence-embedding": {"document_pearson": 0.654, "word_spearman": 0.767},
    "speech-enhancement": {"si_sdr_improvement": 5.706, "si_sdr": 9.518},
    "tabular-breast-cancer": {"accuracy": 0.988},
    "tabular-digits": {"accuracy": 0.978},
    "tabular-mnist5k": {"accuracy": 0.931},
    "text-detection": {"box_f1": 1.0, "box_f1_clean": 0.991},
    "voice-activity": {"auc": 0.981, "auc_clean": 0.995},
}


@pytest.fixture(scope="module")
def workloads() -> dict[str, Workload]:
    return load_workloads()


@pytest.mark.parametrize("name", sorted(MEASURED))
def test_definitions_judge_by_metrics_their_task_reports(
    workloads: dict[str, Workload], name: str
) -> None:
    from edgebench.tasks import task_metrics

    workload = workloads[name]
    metrics = task_metrics(workload.task)
    limits = {workload.quality.metric: workload.quality.floor}
    limits |= {metric: limit.floor for metric, limit in workload.quality.also.items()}
    assert set(limits) == set(MEASURED[name]) == set(metrics)
    for metric, floor in limits.items():
        assert metrics[metric].better == "higher"
        # A floor holds what fp32 reached, with room for other machines but not for much more.
        assert floor is None or 0.9 * MEASURED[name][metric] < floor < MEASURED[name][metric]


@pytest.mark.parametrize("name", sorted(MEASURED))
def test_definitions_are_in_the_suite_and_tell_what_is_known(
    workloads: dict[str, Workload], name: str
) -> None:
    workload = workloads[name]
    assert "full" in workload.suites
    assert "quick" not in workload.suites
    assert "int8" in workload.findings
    batched = "batch" in workload.matrix.axes
    marked = any("batch" in shape for shape in workload.model.shapes.values())
    assert batched == marked


def prepared_model(workload: Workload, paths: dict[str, Path], cache: Path) -> Any:
    from edgebench.preparation.preparation_messages import PrepareJob
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
            precision="fp32",
            cache=str(cache),
        )
    )


@pytest.mark.downloads
@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(MEASURED))
def test_fp32_reaches_the_measured_quality(
    workloads: dict[str, Workload], name: str, tmp_path: Path
) -> None:
    import onnxruntime as ort

    from edgebench.assets import fetch
    from edgebench.task import TaskContext
    from edgebench.tasks import load_task

    workload = workloads[name]
    for module in ("tokenizers", "safetensors", "sklearn"):
        if {"sklearn": "scikit-learn"}.get(module, module) in workload.requires:
            pytest.importorskip(module)
    paths = fetch([workload.model, *workload.data.values()])
    model = prepared_model(workload, paths, tmp_path)
    data = {key: paths[asset.sha256] for key, asset in workload.data.items()}
    task = load_task(
        workload.task, TaskContext(data=data, options=workload.options, inputs=model.inputs)
    )
    session = ort.InferenceSession(model.path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def infer(queries: Sequence[Feeds]) -> list[Outputs]:
        return [dict(zip(names, session.run(names, query), strict=True)) for query in queries]

    assert not model.reference.constant
    assert task.evaluate(infer) == pytest.approx(MEASURED[name], rel=0.02)
