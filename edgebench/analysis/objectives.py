"""Parses the objectives of a front or a pick ("latency.p90:min") and finds their columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgebench.analysis.competition import SPEEDS, speed_name
from edgebench.analysis.frame import GROUP_COLUMNS, Codes, Frame, Indices, Numbers
from edgebench.errors import UsageError
from edgebench.metrics import METRICS, Better, Metric, metric
from edgebench.text.did_you_mean import did_you_mean
from edgebench.words import note_words

_DIRECTIONS: dict[str, Better] = {"min": "lower", "max": "higher"}


@dataclass(frozen=True)
class Objective:
    """A metric and the direction in which it is good; None: as the quality of each row says."""

    metric: Metric
    better: Better | None
    asked: Better | None = None  # the direction that was typed

    @property
    def text(self) -> str:
        """Returns the objective as typed on the command line."""
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
    objective = metric(name)
    if colon and direction not in _DIRECTIONS:
        raise UsageError(
            f"--objective {text!r}: no direction {direction!r}"
            f"{did_you_mean(direction, _DIRECTIONS)}",
            "write it like latency.p90:min",
        )
    better = _DIRECTIONS[direction] if colon else objective.better
    if objective.better is not None and better != objective.better:
        good = "min" if objective.better == "lower" else "max"
        raise UsageError(
            f"--objective {text!r}: of {objective.label}, {objective.better} is better",
            f"write {name}:{good}",
        )
    return Objective(objective, objective.better, better)


def parse_objectives(texts: Sequence[str]) -> list[Objective]:
    """All of them, each metric once. Raises UsageError."""
    objectives = [parse_objective(text) for text in texts]
    names = [objective.metric.name for objective in objectives]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"--objective {name} is given twice")
    return objectives


@dataclass(frozen=True)
class Demands:
    """Holds what rows of some groups compete by. omitted: usual objectives that are none, and why."""

    rows: NDArray[np.bool_]
    objectives: list[Objective]
    omitted: dict[str, str]


def default_demands(frame: Frame, columns: Sequence[str] = GROUP_COLUMNS) -> list[Demands]:
    """All rows by the usual objectives of their group: its speed (of generated text the time to the first
    token and between tokens), the throughput where batches differ, quality, peak memory and energy.

    `columns` say which rows form a group. An objective counts where every ranked row of the group tells
    it, and in a way that may be compared.
    """
    groups = frame.grouped(columns)
    speeds = _speeds(frame, groups, columns)
    competes = frame.numbers("ranked") == 1
    for number in np.unique(speeds).tolist():
        lacks = np.isnan(frame.numbers(METRICS[SPEEDS[number]].column()))
        competes &= ~(lacks & (speeds[groups.codes] == number))
    candidates = [_Candidate(frame, groups, competes, name) for name in _CANDIDATES]
    alike: dict[tuple[object, ...], list[int]] = {}
    for group, names in enumerate(groups.names):
        told = [each.told(group) for each in candidates]
        key = (int(speeds[group]), "generate" in names, *told)
        alike.setdefault(key, []).append(group)
    return [_demands(groups, members, key) for key, members in alike.items()]


_CANDIDATES = (
    "generate.ttft", "generate.tpot", "throughput", "quality", "memory.peak",
    "energy.j_per_inference",
)  # fmt: skip


def _demands(groups: Codes, members: list[int], key: tuple[Any, ...]) -> Demands:
    speed, generates, ttft, tpot, throughput, quality, memory, energy = key
    names = [SPEEDS[speed]]
    if generates and not ttft and not tpot:
        names = ["generate.ttft", "generate.tpot"]
    elif not throughput and "throughput" not in names:
        names.append("throughput")
    omitted = {}
    for name, why in (
        ("quality", quality), ("memory.peak", memory), ("energy.j_per_inference", energy)
    ):  # fmt: skip
        if why:
            omitted[name] = why
        else:
            names.append(name)
    objectives = [Objective(METRICS[name], METRICS[name].better) for name in names]
    return Demands(np.isin(groups.codes, members), objectives, omitted)


class _Candidate:
    """A default objective, and why a group cannot use it ("" if it can)."""

    def __init__(self, frame: Frame, groups: Codes, some: NDArray[np.bool_], name: str) -> None:
        value = frame.numbers(METRICS[name].column())
        count = len(groups.names)
        self._lacking = np.bincount(groups.codes[some & np.isnan(value)], minlength=count) > 0
        self._words: list[str] = []
        self._differs = np.zeros(count, dtype=bool)
        self._name = name
        if name == "throughput":  # matters where a query is of more or less work
            batch = np.nan_to_num(frame.numbers("variant_batch"), nan=1.0)
            self._differs = ~_differing(groups, some, batch)
        if name == "quality":
            for column in ("quality.metric", "quality.better"):
                codes = frame.codes(column).codes.astype(np.float64)
                self._differs |= _differing(groups, some, codes)
        if name == "energy.j_per_inference":
            self._of_energy(frame, groups, some)

    def _of_energy(self, frame: Frame, groups: Codes, some: NDArray[np.bool_]) -> None:
        count = len(groups.names)
        origins = frame.grouped(["energy.kind", "energy.scope"])
        self._differs = _differing(groups, some, origins.codes.astype(np.float64))
        self._origins: dict[int, dict[str, None]] = {}
        for row in np.flatnonzero(some & self._differs[groups.codes]).tolist():
            kind_of, scope = origins.names[origins.codes[row]]
            words = note_words.origin_of_energy(
                kind=str(kind_of), scope=str(scope or "unknown scope")
            )
            self._origins.setdefault(int(groups.codes[row]), {})[words] = None
        unsure = some & np.isnan(frame.numbers("energy.uncertainty_j"))
        self._lacking |= np.bincount(groups.codes[unsure], minlength=count) > 0
        reason = frame.codes("energy.reason")
        estimated = some & frame.energy_is_modelled()
        self._estimated = np.bincount(groups.codes[estimated], minlength=count) > 0
        self._reasons = [""] * count
        lacking = np.flatnonzero(some & np.isnan(frame.numbers("energy.j_per_inference")))
        members, first = np.unique(groups.codes[lacking], return_index=True)
        for group, row in zip(members.tolist(), lacking[first].tolist(), strict=True):
            self._reasons[group] = str(reason.names[reason.codes[row]] or "")

    def told(self, group: int) -> str:
        if self._name == "energy.j_per_inference":
            if self._reasons[group]:
                return self._reasons[group]
            if self._estimated[group]:
                return note_words.MODELLED
        if self._lacking[group]:
            return note_words.UNKNOWN_FOR_SOME
        if not self._differs[group]:
            return ""
        if self._name == "quality":
            return note_words.OTHER_QUALITY_METRICS
        if self._name == "throughput":
            return note_words.ONE_BATCH_SIZE
        return note_words.energies_differ(origins=", ".join(self._origins[group]))


def _differing(groups: Codes, some: NDArray[np.bool_], values: Numbers) -> NDArray[np.bool_]:
    """Tells for each group whether some of its rows differ."""
    least = np.full(len(groups.names), np.inf)
    most = np.full(len(groups.names), -np.inf)
    np.minimum.at(least, groups.codes[some], values[some])
    np.maximum.at(most, groups.codes[some], values[some])
    return np.asarray(least < most)


def default_speeds(
    frame: Frame, columns: Sequence[str] = GROUP_COLUMNS
) -> list[tuple[NDArray[np.bool_], Objective]]:
    """All rows by the speed that their group is ranked by."""
    groups = frame.grouped(columns)
    of_rows = _speeds(frame, groups, columns)[groups.codes]
    metrics = {speed: METRICS[SPEEDS[speed]] for speed in np.unique(of_rows).tolist()}
    return [
        (of_rows == speed, Objective(metric, metric.better)) for speed, metric in metrics.items()
    ]


def _speeds(frame: Frame, groups: Codes, columns: Sequence[str]) -> Indices:
    """Returns for each group the number of its metric in `SPEEDS`."""
    scenario, bound = columns.index("scenario"), columns.index("bound_p99_ns")
    ranked = frame.numbers("ranked") == 1
    count = len(groups.names)
    tool = frame.codes("imported.tool")
    own_codes = [code for code, name in enumerate(tool.names) if name is None]
    # What rows tell matters for other tools' rows alone.
    counted = SPEEDS if len(own_codes) < len(tool.names) else ()
    told = [
        np.bincount(
            groups.codes[ranked & ~np.isnan(frame.numbers(METRICS[name].column()))], minlength=count
        ).tolist()
        for name in counted
    ]
    own = np.bincount(groups.codes[ranked & np.isin(tool.codes, own_codes)], minlength=count) > 0
    return np.array(
        [
            SPEEDS.index(
                speed_name(
                    str(names[scenario]),
                    bool(own[group]),
                    {name: counts[group] for name, counts in zip(counted, told, strict=True)},
                    sought=names[bound] is not None,
                )
            )
            for group, names in enumerate(groups.names)
        ],
        dtype=np.intp,
    )
