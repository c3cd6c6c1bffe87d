"""What a front or a pick is to be good at: "latency.p90:min", and the columns behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgebench.analysis.frame import Frame
from edgebench.analysis.lead import BY_RATE, SPEEDS
from edgebench.errors import UsageError
from edgebench.metrics import METRICS, Better, Metric, metric
from edgebench.suggest import did_you_mean

_DIRECTIONS: dict[str, Better] = {"min": "lower", "max": "higher"}


@dataclass(frozen=True)
class Objective:
    """A metric and the direction in which it is good; None: as the quality of each row says."""

    metric: Metric
    better: Better | None
    asked: Better | None = None  # the direction that was typed

    @property
    def text(self) -> str:
        """As on the command line."""
        directions = {None: "best", "lower": "min", "higher": "max"}
        return f"{self.metric.name}:{directions[self.better]}"

    def sign(self, better: Better | None) -> float:
        """1 where lower is better, -1 where higher is; `better` is that of the rows' quality."""
        return 1.0 if (self.better or better or "higher") == "lower" else -1.0


def parse_objective(text: str) -> Objective:
    """ "NAME:min", "NAME:max" or "NAME" (in its own direction). Raises UsageError.

    A quality is taken in the direction in which its metric is good: "quality:max" means the best,
    which is the lowest of an error rate.
    """
    name, colon, direction = text.partition(":")
    name, direction = name.strip(), direction.strip()
    found = metric(name)
    if colon and direction not in _DIRECTIONS:
        raise UsageError(
            f"--objective {text!r}: no direction {direction!r}"
            f"{did_you_mean(direction, _DIRECTIONS)}",
            "write it like latency.p90:min",
        )
    wanted = _DIRECTIONS[direction] if colon else found.better
    if found.better is not None and wanted != found.better:
        good = "min" if found.better == "lower" else "max"
        raise UsageError(
            f"--objective {text!r}: of {found.label}, {found.better} is better",
            f"write {name}:{good}",
        )
    return Objective(found, found.better, wanted)


def parse_objectives(texts: Sequence[str]) -> list[Objective]:
    """All of them, each metric once. Raises UsageError."""
    objectives = [parse_objective(text) for text in texts]
    names = [objective.metric.name for objective in objectives]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"--objective {name} is given twice")
    return objectives


def default_objectives(frame: Frame, some: NDArray[np.bool_], speed: Metric) -> list[Objective]:
    """Speed, quality and peak memory of these rows, as far as ranked ones tell them, and energy where
    every ranked one does."""
    ranked = some & (frame.numbers("ranked") == 1)
    names = [speed.name]
    for name in ("quality", "memory.peak"):
        if (~np.isnan(frame.numbers(METRICS[name].column())[ranked])).any() or not ranked.any():
            names.append(name)
    joules = METRICS["energy.j_per_inference"]
    if ranked.any() and not np.isnan(frame.numbers(joules.column())[ranked]).any():
        names.append(joules.name)
    return [Objective(METRICS[name], METRICS[name].better) for name in names]


def not_told(frame: Frame, some: NDArray[np.bool_], objectives: Sequence[Objective]) -> list[str]:
    """Which of the usual objectives are none, and why."""
    names = [objective.metric.name for objective in objectives]
    missing = [n for n in ("quality", "memory.peak", "energy.j_per_inference") if n not in names]
    scenarios = frame.codes("scenario")
    where = ", ".join(str(scenarios.names[code]) for code in np.unique(scenarios.codes[some]))
    return [f"{name} is no objective ({where}): not every ranked row tells it" for name in missing]


def by_speed(frame: Frame) -> list[tuple[NDArray[np.bool_], Metric]]:
    """The rows by what tells how fast they are: what most ranked ones of their workload and scenario
    tell, offline the throughput; the median latency where several serve."""
    groups = frame.grouped(["workload", "workload_version", "scenario"])
    ranked = frame.numbers("ranked") == 1
    known = [
        np.bincount(
            groups.codes[ranked & ~np.isnan(frame.numbers(METRICS[name].column()))],
            minlength=len(groups.names),
        )
        for name in SPEEDS
    ]
    chosen = np.argmax(known, axis=0)
    chosen[[name[-1] in BY_RATE for name in groups.names]] = SPEEDS.index("throughput")
    of_rows = chosen[groups.codes]
    return [(of_rows == speed, METRICS[SPEEDS[speed]]) for speed in np.unique(of_rows)]
