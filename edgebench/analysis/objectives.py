"""What a front or a pick is to be good at: "latency.p90:min", and the columns behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgebench.analysis.frame import Frame
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


def default_objectives(frame: Frame, offline: bool) -> list[Objective]:
    """Speed, quality and peak memory, and energy where every ranked row tells it."""
    names = ["throughput" if offline else "latency.p50", "quality", "memory.peak"]
    joules = METRICS["energy.j_per_inference"]
    ranked = frame.numbers("ranked") == 1
    if ranked.any() and not np.isnan(frame.numbers(joules.column())[ranked]).any():
        names.append(joules.name)
    return [Objective(METRICS[name], METRICS[name].better) for name in names]
