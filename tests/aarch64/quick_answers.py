"""The suite `quick` once on this machine and once under the emulator: what each row's quality is. Times mean nothing there.

Models are prepared on this machine as they are for aarch64 (int8 is quantised otherwise there), and kept in the cache of both.
An emulated inference takes 1 to 4 s, so that each workload has a budget, which cuts the passes over its items. What is left is
held against the same items here.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from edgebench.assets import fetch
from edgebench.definitions.workload_loader import load_workloads
from edgebench.models import quantize
from edgebench.task import TaskContext
from edgebench.tasks import load_task
from tests.aarch64 import emulated_root as aarch64
from tests.tasks.test_workloads_quick import prepared

if TYPE_CHECKING:
    from edgebench.task import Feeds, Outputs

#: Items that may come out otherwise: one whose two best answers are close.
MAX_ITEMS_APART = 1
#: Minutes that the cells of a workload have together under the emulator, for their checks and a few items each, in the order in
#: which they are run: so ordered, both cores are done at about the same time.
BUDGETS_MIN = {
    "text-recognition": 9,
    "image-classification": 5.5,
    "music-transcription": 8,
    "file-typing": 4.5,
}
USUAL_BUDGET_MIN = 8
#: The variable that makes these longer, for a busy machine: 3 is three times as long.
STRETCH = "QUICK_STRETCH"
_HERE, _THERE = aarch64.CACHE / "quick-x86", aarch64.CACHE / "quick-aarch64"
_TIME_OUT_S = 3600
_AS_AARCH64 = "import platform; platform.machine = lambda: 'aarch64'"
_OPTIONS = (
    *("--suite", "quick", "--replicates", "1", "--slice", "100ms", "--target", "50%"),
    *("--timeout", "1800s"),
)

#: Cell -> its record.
Rows = Mapping[str, Mapping[str, Any]]


class Suite:
    """The suite on both machines. Several threads may work at it: each emulated process needs about one core."""

    def __init__(self) -> None:
        quick = {name for name, workload in load_workloads().items() if "quick" in workload.suites}
        known = [name for name in BUDGETS_MIN if name in quick]
        self._left = [*known, *sorted(quick.difference(known))]
        self._lock = threading.Lock()
        self._said: list[str] = []
        self._here: Rows = {}

    def work(self) -> None:
        """Runs workloads under the emulator until none is left that nobody works at."""
        with self._lock:
            self._here = self._here or _run_here()
        while name := self._next():
            self._said.append(_run_there(name))

    def _next(self) -> str:
        with self._lock:
            return self._left.pop(0) if self._left else ""

    def differences(self) -> list[str]:
        """What is wrong once all work is done, a line for each row."""
        return differences(self._here, _rows(_THERE, "\n".join(self._said)))


def differences(here: Rows, there: Rows) -> list[str]:
    """What is wrong, a line for each row; empty where every answer is as good there as here."""
    missing = [f"{cell}: not measured under the emulator" for cell in sorted(here.keys() - there)]
    return [*missing, *filter(None, (_difference(cell, here, there) for cell in sorted(there)))]


def _difference(cell: str, here: Rows, there: Rows) -> str:
    row = there[cell]
    reasons = [reason["code"] for reason in row["reasons"]]
    if row["status"] != "ok":
        return f"{cell}: {row['status']}: {reasons}"
    found, items = _metrics(row), row["quality"]["items"]
    if not found:
        return f"{cell}: no quality: {reasons} (a larger {STRETCH}?)"
    if cell not in here or here[cell]["status"] != "ok":
        return f"{cell}: not measured on this machine"
    if row["model"]["sha256"] != here[cell]["model"]["sha256"]:
        return f"{cell}: another model file there than here"
    cut = items != here[cell]["quality"]["items"]
    wanted = of_first(row, items) if cut else _metrics(here[cell])
    apart = [
        f"{name} {value:.3f} there, {wanted[name]:.3f} here"
        for name, value in found.items()
        if round(items * abs(value - wanted[name]), 6) > MAX_ITEMS_APART
    ]
    return f"{cell}: {', '.join(apart)} over {items} items" if apart else ""


def _metrics(row: Mapping[str, Any]) -> dict[str, float]:
    """Those that a row's items show: a metric of files that are cut has none over the whole ones that come first."""
    quality = row["quality"]
    return {
        each["metric"]: each["value"]
        for each in (quality, *quality["also"])
        if each["value"] is not None
    }


def of_first(row: Mapping[str, Any], items: int) -> dict[str, float]:
    """The metrics of a row's model over so many of the first items, on this machine."""
    import onnxruntime

    workload = load_workloads()[row["cell"]["workload"]]
    paths = fetch([workload.model, *workload.data.values()])
    with mock.patch.object(quantize, "weights_need_reduced_range", return_value=False):
        model = prepared(workload, row["cell"]["variant"]["precision"], paths, aarch64.CACHE)
    assert model.sha256 == row["model"]["sha256"], "another model file than the row's"
    context = TaskContext(
        data={key: paths[asset.sha256] for key, asset in workload.data.items()},
        options=workload.options,
        model=Path(model.fp32_path),
        inputs=model.inputs,
    )
    task = load_task(workload.task, context)
    session = onnxruntime.InferenceSession(model.path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def infer(queries: Sequence[Feeds]) -> list[Outputs]:
        return [dict(zip(names, session.run(names, query), strict=True)) for query in queries]

    return task.score([*islice(task.answers(infer), items)])


def _run_here() -> Rows:
    """The rows of this machine, whose processes take it for an aarch64 when they prepare models. The cache is both machines', so
    that nothing is fetched or prepared twice."""
    for results in (_HERE, _THERE):
        shutil.rmtree(results, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "sitecustomize.py").write_text(_AS_AARCH64)
        environment = {"EDGEBENCH_CACHE": str(aarch64.CACHE), "PYTHONPATH": folder}
        done = subprocess.run(
            [sys.executable, "-m", "edgebench", "run", *_OPTIONS, "--budget", "3h", "--out", str(_HERE)],
            capture_output=True, text=True, env=os.environ | environment, cwd=aarch64.CHECKOUT, timeout=_TIME_OUT_S,
            check=False,
        )  # fmt: skip
    return _rows(_HERE, done.stderr)


def _run_there(name: str) -> str:
    """What the emulator's run of a workload says."""
    options = (*_OPTIONS, "--budget", f"{budget_min(name)}m", "--out", str(_THERE / name))
    return aarch64.run("-m", "edgebench", "run", name, *options, time_out_s=_TIME_OUT_S).stderr


def budget_min(name: str) -> float:
    """Minutes that a workload's cells have together."""
    return BUDGETS_MIN.get(name, USUAL_BUDGET_MIN) * float(os.environ.get(STRETCH, "1"))


def _rows(folder: Path, said: str) -> Rows:
    lines = [line for path in folder.rglob("*.jsonl") for line in path.read_text().splitlines()]
    assert lines, said[-1000:]
    return {record["cell"]["id"]: record for record in map(json.loads, lines)}


def main() -> int:
    """Prints what differs."""
    os.environ["EDGEBENCH_CACHE"] = str(aarch64.CACHE)
    suite = Suite()
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(suite.work) for _ in range(2)]:
            done.result()
    found = suite.differences()
    print("\n".join(found) or "every row of quick is as good under the emulator as here")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
