"""The suite `quick` once on this machine and once under the emulator: what each row's quality is. Times mean nothing there.

Models are prepared on this machine as they are for aarch64 (int8 is quantised otherwise there), and kept in the cache of both.
The emulated run has a budget (QUICK_BUDGET, 9 minutes), which cuts the passes over the items: a busy machine wants a longer one.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.aarch64 import emulated_root as aarch64

#: What a metric may differ by: a few of some hundred items whose two best answers are close.
MAX_APART = 0.03
#: The variable that holds the emulated run's budget.
BUDGET = "QUICK_BUDGET"
_TIME_OUT_S = 3600
_AS_AARCH64 = "import platform; platform.machine = lambda: 'aarch64'"
_HERE, _THERE = "quick-x86", "quick-aarch64"


def differences() -> list[str]:
    """What is wrong, a line for each row; empty where every answer is as good there as here."""
    here, there = _rows(_HERE), _rows(_THERE)
    missing = [f"{cell}: not measured under the emulator" for cell in sorted(here.keys() - there)]
    return [*missing, *filter(None, (_difference(cell, here, there) for cell in sorted(there)))]


def _difference(
    cell: str, here: Mapping[str, Mapping[str, Any]], there: Mapping[str, Mapping[str, Any]]
) -> str:
    row = there[cell]
    if row["status"] != "ok":
        return f"{cell}: {row['status']}: {[reason['code'] for reason in row['reasons']]}"
    value = row["quality"]["value"]
    if cell not in here or here[cell]["status"] != "ok":
        return f"{cell}: not measured on this machine"
    wanted = here[cell]["quality"]["value"]
    holds = abs(value - wanted) <= MAX_APART + _drawn(row, here[cell])
    return "" if holds else f"{cell}: {value:.3f} there, {wanted:.3f} here"


def _drawn(there: Mapping[str, Any], here: Mapping[str, Any]) -> float:
    """What chance adds where a pass over the items was cut for its time, as the emulator's are: those left are a sample."""
    items: int = there["quality"]["items"]
    return 0.0 if items == here["quality"]["items"] else float(items) ** -0.5


def _rows(name: str) -> dict[str, dict[str, Any]]:
    """Cell -> its record, of a new run. Both runs share the cache, so that nothing is fetched or prepared twice."""
    folder = aarch64.CACHE / name
    shutil.rmtree(folder, ignore_errors=True)
    run, budget = (_here, "3h") if name == _HERE else (_there, os.environ.get(BUDGET, "9m"))
    said = run(*_OPTIONS, "--budget", budget, "--out", str(folder))
    lines = [line for path in folder.rglob("*.jsonl") for line in path.read_text().splitlines()]
    assert lines, said[-1000:]
    return {record["cell"]["id"]: record for record in map(json.loads, lines)}


_OPTIONS = (
    *("run", "--suite", "quick", "--replicates", "1", "--slice", "100ms", "--target", "50%"),
    *("--timeout", "1800s"),
)


def _here(*arguments: str) -> str:
    """Runs edgebench on this machine, whose processes take it for an aarch64 when they prepare models."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "sitecustomize.py").write_text(_AS_AARCH64)
        environment = {"EDGEBENCH_CACHE": str(aarch64.CACHE), "PYTHONPATH": folder}
        done = subprocess.run(
            [sys.executable, "-m", "edgebench", *arguments],
            capture_output=True, text=True, env=os.environ | environment, cwd=aarch64.CHECKOUT, timeout=_TIME_OUT_S,
            check=False,
        )  # fmt: skip
    return done.stderr


def _there(*arguments: str) -> str:
    return aarch64.run("-m", "edgebench", *arguments, time_out_s=_TIME_OUT_S).stderr


def main() -> int:
    """Prints what differs."""
    found = differences()
    print("\n".join(found) or "every row of quick is as good under the emulator as here")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
