"""The collected runs: one cell under several names, so that every ratio between names is 1."""

from __future__ import annotations

import csv
import gzip
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

FOLDER = Path(__file__).parents[3] / "results" / "blocks"
FILE = FOLDER / "runs.csv.gz"


class Measured(NamedTuple):
    """One process."""

    run: str
    machine: str
    name: str
    round: int
    p50_ns: int
    load: float


class Run(NamedTuple):
    """One independent run: logarithms of the p50 (names, rounds), and the load when it began."""

    logs: NDArray[np.float64]
    machine: str
    load: float


def runs() -> list[Run]:
    """All complete runs of the file."""
    found: dict[str, list[Measured]] = defaultdict(list)
    with gzip.open(FILE, "rt", newline="", encoding="utf-8") as file:
        for line in csv.DictReader(file):
            measured = _parsed(line)
            found[measured.run].append(measured)
    return [run for lines in found.values() if (run := _complete(lines)) is not None]


def _parsed(line: dict[str, Any]) -> Measured:
    return Measured(
        run=line["run"],
        machine=line["machine"],
        name=line["name"],
        round=int(line["round"]),
        p50_ns=int(line["p50_ns"]),
        load=float(line["load"]),
    )


def _complete(lines: list[Measured]) -> Run | None:
    names = sorted({each.name for each in lines})
    rounds = sorted({each.round for each in lines})
    values = {(each.name, each.round): each.p50_ns for each in lines}
    if len(values) < len(names) * len(rounds):
        return None
    logs = np.log([[values[name, number] for number in rounds] for name in names])
    return Run(logs, lines[0].machine, lines[0].load)
