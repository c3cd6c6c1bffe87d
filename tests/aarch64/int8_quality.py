"""Quality of int8 by Arm's kernels against x86's: `python -m tests.aarch64.int8_quality [WORKLOAD...]` renews the table.

ONNX Runtime computes in int8 by other kernels on Arm (dot-product instructions, no saturation of pairs), so that answers
differ. The same prepared file and the same items run here and under the emulator; quality is that of the task.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
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
from edgebench.task import Task, TaskContext
from edgebench.tasks import load_task
from tests.aarch64 import emulated_root as aarch64
from tests.tasks.test_workloads_quick import prepared

if TYPE_CHECKING:
    from edgebench.task import Outputs

KEPT = aarch64.CHECKOUT / "results/hardware/quality/int8-aarch64.json"
PRECISIONS = ("fp32", "int8-static", "int8-dynamic")
#: Items of a workload: an emulator takes seconds for each of a large model.
ITEMS = {
    "image-classification": 12,
    "layout-detection": 2,
    "text-detection": 2,
    "sentence-embedding": 16,
}
USUAL_ITEMS = 24
_SCRIPT = "tests/aarch64/run_items.py"


@dataclass(frozen=True)
class Comparison:
    """One file on both processors. `apart`: the largest distance of an output, relative."""

    workload: str
    precision: str
    metric: str
    items: int
    x86: float
    aarch64: float
    apart: float


def comparisons(chosen: Sequence[str]) -> Iterator[Comparison]:
    """Every workload that scores its items one by one, in every precision that it has on ONNX Runtime."""
    for name, workload in sorted(load_workloads().items()):
        if chosen and name not in chosen:
            continue
        if "generate" in workload.scenarios or name in ("face-detection", "wake-word"):
            continue
        for precision in PRECISIONS:
            if precision in workload.matrix.axes.get("precision", []):
                yield from _compared(name, workload, precision)


def _compared(name: str, workload: Workload, precision: str) -> Iterator[Comparison]:
    paths = fetch([workload.model, *workload.data.values()])
    folder = aarch64.BUILD / "cache/quality"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        made = prepared(workload, precision, paths, folder)
    except EdgebenchError as why:
        print(f"{name} {precision}: {why.message}", file=sys.stderr)
        return
    data = {key: paths[asset.sha256] for key, asset in workload.data.items()}
    context = TaskContext(
        data=data, options=workload.options, model=Path(made.fp32_path), inputs=made.inputs
    )
    task = load_task(workload.task, context)
    if type(task).evaluate is not Task.evaluate:
        return  # it goes its own way through its items
    count = min(len(task), ITEMS.get(name, USUAL_ITEMS))
    here, there = _on_both(task, count, Path(made.path), folder)
    scores = _scored(task, here), _scored(task, there)
    metric = _metric(workload.quality.metric, scores[0])
    apart = max(distances(there, here).values())
    yield Comparison(name, precision, metric, count, scores[0][metric], scores[1][metric], apart)


def _metric(usual: str, scores: Mapping[str, float]) -> str:
    """The workload's metric; where these items do not show it, another that they show."""
    return (
        usual
        if math.isfinite(scores[usual])
        else next(n for n, v in scores.items() if math.isfinite(v))
    )


def _on_both(
    task: Task, count: int, model: Path, folder: Path
) -> tuple[list[Outputs], list[Outputs]]:
    mine = Path(tempfile.mkdtemp(dir=folder))  # another run's items are not ours
    feeds, here, there = (mine / f"{name}.npz" for name in ("feeds", "x86", "aarch64"))
    queries = [task.preprocess(task.raw(index)) for index in range(count)]
    np.savez(feeds, **_flat(queries))
    subprocess.run(
        [sys.executable, _SCRIPT, str(model), str(feeds), str(here)],
        check=True,
        cwd=aarch64.CHECKOUT,
    )
    done = aarch64.run(
        "python3", f"/checkout/{_SCRIPT}", *map(_inside, (model, feeds, there)), time_out_s=3600
    )
    if done.returncode != 0:
        raise RuntimeError(done.stderr[-2000:])
    return _read(here, count), _read(there, count)


def _inside(path: Path) -> str:
    """The path of a file of the cache, as the emulated root has it."""
    return f"/cache/{path.relative_to(aarch64.BUILD / 'cache')}"


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
    return task.score(
        [task.postprocess(each, task.raw(index)) for index, each in enumerate(outputs)]
    )


def read() -> list[dict[str, Any]]:
    """The rows that are kept."""
    return json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else []


def table(found: Sequence[Mapping[str, Any]]) -> str:
    """The table of docs/hardware.md, as Markdown."""
    lines = [
        "| workload | precision | metric | items | x86-64 | aarch64 | outputs differ by |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['workload']} | {row['precision']} | {row['metric']} | {row['items']} | {row['x86']:.3f} "
        f"| {row['aarch64']:.3f} | {row['apart']:.2g} |"
        for row in found
    ]
    return "\n".join(lines)


def main() -> int:
    """Compares, and keeps what was found."""
    aarch64.ensure()
    rows = {(row["workload"], row["precision"]): row for row in read()}
    for comparison in comparisons(sys.argv[1:]):
        rows[comparison.workload, comparison.precision] = asdict(comparison)
        print(comparison, flush=True)
        KEPT.parent.mkdir(parents=True, exist_ok=True)
        KEPT.write_text(
            json.dumps([rows[key] for key in sorted(rows)], indent=1) + "\n", encoding="utf-8"
        )
    print(table(read()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
