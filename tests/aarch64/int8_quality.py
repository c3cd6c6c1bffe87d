"""Quality of int8 by Arm's kernels against x86's: `python -m tests.aarch64.int8_quality [WORKLOAD...]` renews the table.

ONNX Runtime computes in int8 by other kernels on Arm (with dot-product instructions or without, no saturation of pairs) and on
x86 without VNNI, so that answers may differ. The same prepared file and the same items run here and under emulators; quality is
that of the task.
"""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgebench.assets import fetch
from edgebench.definitions.workload import Workload
from edgebench.definitions.workload_loader import load_workloads
from edgebench.errors import EdgebenchError
from edgebench.models.output_distance import distances
from edgebench.models.quantize import weights_need_reduced_range
from edgebench.task import Task, TaskContext
from edgebench.tasks import load_task
from edgebench.tasks.sentence_embedding import SentenceEmbedding
from tests.aarch64 import emulated_root as aarch64
from tests.aarch64.processors import ALL, ARM, AVX2, HERE, Processor
from tests.kernel.requirements import CANNOT_RUN, CannotRun
from tests.tasks.test_workloads_quick import prepared

if TYPE_CHECKING:
    from edgebench.task import Feeds, Outputs

KEPT = aarch64.CHECKOUT / "results/hardware/quality/int8-aarch64.json"
PRECISIONS = ("fp32", "int8-static", "int8-dynamic")
#: Items of a workload: an emulator takes up to 20 s for each of a large model.
ITEMS = {
    "file-typing": 12,
    "image-classification": 12,
    "layout-detection": 3,
    "music-transcription": 8,
    "speech-enhancement": 8,
    "text-detection": 6,
    "text-recognition": 6,
}
USUAL_ITEMS = 24
#: Of a task whose metric needs all of its items: fewer documents, each compared with each, and words.
FEWER_DOCUMENTS, FEWER_WORD_PAIRS = 10, 2
#: Those that are compared in every run of the target: a second each.
SMALL = ("tabular-breast-cancer", "tabular-digits", "tabular-mnist5k")
_SCRIPT = "tests/aarch64/run_items.py"
_TIME_OUT_S = 3600


@dataclass(frozen=True)
class Comparison:
    """One file on several processors, by their keys.

    `apart`: the largest distance of an output from this machine's, relative.
    """

    workload: str
    precision: str
    metric: str
    items: int
    values: Mapping[str, float]
    apart: Mapping[str, float]


@dataclass(frozen=True)
class _Job:
    """A file and its items, which every processor is given."""

    workload: str
    precision: str
    metric: str
    task: Task
    items: int
    model: Path
    folder: Path

    def outputs(self, processor: Processor) -> Path:
        return self.folder / f"{processor.key}.npz"

    @property
    def feeds(self) -> Path:
        return self.folder / "feeds.npz"


def comparisons(
    chosen: Sequence[str] = (), emulated: Sequence[Processor] = (AVX2, *ARM)
) -> list[Comparison]:
    """Every workload with int8, in every precision that it has on ONNX Runtime."""
    jobs = [
        job
        for name, workload in sorted(load_workloads().items())
        if (not chosen or name in chosen) and _has_int8(workload)
        for precision in PRECISIONS
        if precision in workload.matrix.axes["precision"]
        for job in _jobs(name, workload, precision)
    ]
    for processor in (HERE, *emulated):
        _run(processor, _manifest(jobs, processor))
    found = [_compared(job, emulated) for job in jobs]
    return [
        each for each in found if math.isfinite(each.values[HERE.key])
    ]  # too few items have no metric


def _has_int8(workload: Workload) -> bool:
    """Models that are no ONNX file of fp32 have none, and decoders are no single files."""
    return (
        "int8-static" in workload.matrix.axes.get("precision", [])
        and "generate" not in workload.scenarios
    )


def _jobs(name: str, workload: Workload, precision: str) -> Iterator[_Job]:
    """The file and its items, unless this machine cannot make them, which is said."""
    paths = fetch([workload.model, *workload.data.values()])
    folder = aarch64.CACHE / "quality" / name / precision
    folder.mkdir(parents=True, exist_ok=True)
    try:
        made = prepared(workload, precision, paths, folder.parent / "models")
    except EdgebenchError as why:
        print(f"{name} {precision}: {why.message}", file=sys.stderr)
        return
    data = {key: paths[asset.sha256] for key, asset in workload.data.items()}
    context = TaskContext(
        data=data, options=workload.options, model=Path(made.fp32_path), inputs=made.inputs
    )
    task = _smaller(load_task(workload.task, context))
    model = _within_the_cache(Path(made.path), folder)
    if _is_stream(task):
        queries = _recorded(task, model)
    else:
        count = min(len(task), ITEMS.get(name, USUAL_ITEMS))
        queries = [task.preprocess(task.raw(index)) for index in range(count)]
    job = _Job(name, precision, workload.quality.metric, task, len(queries), model, folder)
    np.savez(job.feeds, **_flat(queries))
    yield job


def _smaller(task: Task) -> Task:
    """A task that cannot score a part of its items gets fewer of them."""
    if isinstance(task, SentenceEmbedding):
        task.documents = task.documents[:FEWER_DOCUMENTS]
        task.pairs = task.pairs[:FEWER_WORD_PAIRS]
    return task


def _is_stream(task: Task) -> bool:
    """Whether a query holds state of the one before: the task goes its own way through its items."""
    return type(task).evaluate is not Task.evaluate


def _recorded(task: Task, model: Path) -> list[Feeds]:
    """Every query of a stream as it is here. Both processors get these, so that state has one history."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    asked: list[Feeds] = []

    def infer(queries: Sequence[Feeds]) -> list[Outputs]:
        asked.extend({name: array.copy() for name, array in query.items()} for query in queries)
        return [dict(zip(names, session.run(names, query), strict=True)) for query in queries]

    task.evaluate(infer)
    return asked


def _within_the_cache(model: Path, folder: Path) -> Path:
    """A file that both processors see: one that was not changed lies in this user's own cache."""
    if model.is_relative_to(aarch64.CACHE):
        return model
    return Path(shutil.copy2(model, folder))


def _manifest(jobs: Sequence[_Job], processor: Processor) -> Path:
    """The list of a processor's work, the smallest files first."""
    for job in jobs:
        job.outputs(processor).unlink(missing_ok=True)
    ordered = sorted(jobs, key=lambda job: job.model.stat().st_size * job.items)
    path = aarch64.CACHE / f"quality/{processor.key}.json"
    rows = [[str(job.model), str(job.feeds), str(job.outputs(processor))] for job in ordered]
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def _run(processor: Processor, manifest: Path) -> None:
    """What was done before a time-out is kept. Raises RuntimeError where the program ends otherwise than well."""
    try:
        if processor in ARM:
            done = aarch64.run(
                f"/checkout/{_SCRIPT}", str(manifest), time_out_s=_TIME_OUT_S, processor=processor
            )
        else:
            emulator = ["qemu-x86_64-static", "-cpu", processor.name] if processor.name else []
            command = [*emulator, sys.executable, str(aarch64.CHECKOUT / _SCRIPT), str(manifest)]
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=_TIME_OUT_S, check=False
            )
    except subprocess.TimeoutExpired:
        print(f"{processor.title}: given up after {_TIME_OUT_S} s", file=sys.stderr)
        return
    if done.returncode != 0:
        raise RuntimeError(done.stderr[-2000:])
    print(f"{processor.title}\n{done.stdout}", file=sys.stderr)


def _compared(job: _Job, emulated: Sequence[Processor]) -> Comparison:
    here = _read(job.outputs(HERE), job.items)
    usual = _scored(job.task, here)
    metric = _metric(job.metric, usual)
    values, apart = {HERE.key: usual[metric]}, {}
    for processor in emulated:
        if job.outputs(processor).exists():
            there = _read(job.outputs(processor), job.items)
            values[processor.key] = _scored(job.task, there)[metric]
            apart[processor.key] = max(distances(there, here).values())
    return Comparison(job.workload, job.precision, metric, job.items, values, apart)


def _metric(usual: str, scores: Mapping[str, float]) -> str:
    """The workload's metric; where these items do not show it, another that they show."""
    shown = (name for name, value in scores.items() if math.isfinite(value))
    return usual if math.isfinite(scores[usual]) else next(shown, usual)


def _flat(queries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        f"{item}/{name}": array
        for item, query in enumerate(queries)
        for name, array in query.items()
    }


def _read(path: Path, count: int) -> list[Outputs]:
    found: list[Outputs] = [{} for _ in range(count)]
    with np.load(path) as kept:
        for key in kept.files:
            item, _, name = key.partition("/")
            found[int(item)][name] = kept[key]
    return found


def _scored(task: Task, outputs: Sequence[Outputs]) -> dict[str, float]:
    if _is_stream(task):
        kept = iter(outputs)
        return task.evaluate(lambda queries: [next(kept) for _ in queries])
    return task.score(
        [task.postprocess(each, task.raw(index)) for index, each in enumerate(outputs)]
    )


def read() -> list[dict[str, Any]]:
    """The rows that are kept."""
    return json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else []


def keep(found: Sequence[Comparison]) -> None:
    """Puts new rows in the place of those of the same file."""
    rows = {(row["workload"], row["precision"]): row for row in read()}
    rows |= {(each.workload, each.precision): asdict(each) for each in found}
    KEPT.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps([rows[key] for key in sorted(rows)], indent=1)
    KEPT.write_text(text + "\n", encoding="utf-8")


def table(found: Sequence[Mapping[str, Any]]) -> str:
    """The table of docs/hardware.md, as Markdown."""
    titles = ["workload", "precision", "metric", "items", *(each.title for each in ALL)]
    lines = [" | ".join(titles), " | ".join("---" for _ in titles)]
    for row in found:
        told = [row["workload"], row["precision"], row["metric"], str(row["items"])]
        lines.append(" | ".join([*told, *(_cell(row, each.key) for each in ALL)]))
    return "\n".join(f"| {line} |" for line in lines)


def _cell(row: Mapping[str, Any], key: str) -> str:
    """The metric, and how far outputs are from this machine's."""
    if key not in row["values"]:
        return "-"
    apart = row["apart"].get(key)
    return f"{row['values'][key]:.3f}" + ("" if apart is None else f" ({apart:.2g})")


def main() -> int:
    """Compares, and keeps what was found. The exit code is `CANNOT_RUN` where this machine cannot."""
    try:
        aarch64.ensure()
        if weights_need_reduced_range():
            raise CannotRun("needs an x86-64 with VNNI, which the first column is of")
    except CannotRun as why:
        print(f"int8_quality cannot run here: {why}", file=sys.stderr)
        return CANNOT_RUN
    keep(comparisons(sys.argv[1:]))
    print(table(read()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
