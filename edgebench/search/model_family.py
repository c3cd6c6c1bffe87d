"""Searches several models of one task: time goes where the choice is still open.

All of them are explored first. A model whose fastest map is slower than another's and whose quality is no better
either, both for sure, gets no more time; the others share what is left. The best of all deployments is chosen, fp32 of
each model among them: it holds the limits of quality, else its search would have ended.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from edgebench.api.run_request import Voice
from edgebench.errors import EdgebenchError, UsageError
from edgebench.measure.time_budget import Budget
from edgebench.search.requirements import Requirements
from edgebench.search.run_search import Found, Search, SearchRequest, begun, explored, finished
from edgebench.search.search_messages import Exploration
from edgebench.search.search_report import SearchReport, SearchRow

#: Slower by this share in one process is slower for sure: these times are of one process alone.
SURELY_SLOWER = 1.2
#: Of the budget, for exploring all models.
EXPLORING = 0.4


@dataclass(frozen=True)
class Prospect:
    """What exploring tells of a model."""

    name: str
    quick_ms: float  # of the fastest map that holds on tuning items
    quality: float | None  # of fp32 on the workload's items; None: there are no labels

    def dominates(self, other: Prospect) -> bool:
        """Whether the other one is slower for sure, and not better."""
        if self.quality is None or other.quality is None:
            return False
        return other.quick_ms > SURELY_SLOWER * self.quick_ms and other.quality <= self.quality


@dataclass(frozen=True)
class Family:
    """How a search over models ended."""

    names: list[str]  # of the models that were measured, as they were given
    found: list[Found]  # parallel to `names`
    dropped: dict[str, str]  # model -> why it got no more time
    offers: list[Offer]  # every measured deployment, the fastest first
    chosen: Offer | None  # None: nothing was measured, or nothing holds every limit

    @property
    def reports(self) -> list[SearchReport]:
        return [each.report for each in self.found if each.report is not None]


@dataclass(frozen=True)
class Offer:
    """A deployment of one of the models."""

    model: str
    row: SearchRow
    metric: str
    front: bool  # no other is as fast and as good, and better in one
    offered: bool  # fp32, or shown to be safe; and within the limits of cost


def search_family(requests: Sequence[SearchRequest], voice: Voice, started_s: float) -> Family:
    """Searches one model for each request, all under the budget of the first. Raises EdgebenchError."""
    total_s = requests[0].budget_s
    started = []
    for request in requests:
        share = replace(request, budget_s=total_s / len(requests))
        with _named(request):
            it = begun(share, voice, Budget(share.budget_s, time.monotonic()))
        _check_labels(it)
        with _named(request):
            started.append((it, explored(it)))
    dropped = dominated([_prospect(it, found) for it, found in started])
    left = [(it, found) for it, found in started if _name(it.request) not in dropped]
    for name, why in dropped.items():
        voice.say(f"search: {name} gets no more time: {why}")
    names, finished_ones = [], []
    for number, (it, exploration) in enumerate(left):
        left_s = started_s + total_s - time.monotonic()
        _give(it, max(1.0, left_s / (len(left) - number)))
        voice.say(f"search: measuring {_name(it.request)}")
        names.append(_name(it.request))
        finished_ones.append(finished(it, exploration))
        if finished_ones[-1].report is None:
            break  # interrupted, or nothing can be measured: the others would not be either
    offers = _offers(names, finished_ones, left[0][0].required)
    return Family(names, finished_ones, dropped, offers, _best(offers, requests[0]))


def _name(request: SearchRequest) -> str:
    """The file as it lies below this folder, or in full."""
    path = Path(request.options.model or request.options.workloads[0])
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


@contextmanager
def _named(request: SearchRequest) -> Iterator[None]:
    """What goes wrong says of which model."""
    try:
        yield
    except EdgebenchError as error:
        error.message = f"{_name(request)}: {error.message}"
        raise


def _check_labels(it: Search) -> None:
    if not it.required.demands and it.request.reward is None:
        raise UsageError(
            "nothing tells which model is better: there is no limit on a quality with labels",
            "give a --task with labels, and a limit such as --require 'accuracy>=0.8'",
        )


def _give(it: Search, seconds: float) -> None:
    """The time for measuring and testing one model: its exploring is over."""
    it.request = replace(it.request, budget_s=seconds / (1 - EXPLORING))
    it.budget = Budget(seconds, time.monotonic())


def _prospect(it: Search, found: Exploration) -> Prospect:
    quick = [c.quick_ms for c in found.candidates if c.holds and c.quick_ms is not None]
    demands = it.required.demands
    value = found.fp32_evaluation.get(demands[0].metric) if demands else None
    if value is not None and demands[0].better == "lower":
        value = -value
    fp32_ms = found.fp32_quick_ms or found.fp32_ms  # it may be the fastest of its model
    return Prospect(_name(it.request), min([*quick, fp32_ms]), value)


def dominated(prospects: Sequence[Prospect]) -> dict[str, str]:
    """The models that another one beats for sure in speed, and is no worse than in quality."""
    found = {}
    for each in prospects:
        better = next((other for other in prospects if other.dominates(each)), None)
        if better is not None:
            found[each.name] = (
                f"{better.name} takes {better.quick_ms:.3g} ms where it takes {each.quick_ms:.3g}, "
                "and is no worse"
            )
    return found


def _offers(names: Sequence[str], found: Sequence[Found], required: Requirements) -> list[Offer]:
    """Every measured deployment of every model, and which of them no other beats in latency and quality. All are held
    against each other by one metric: the first with a limit."""
    demands = required.demands
    told = [
        (name, row, metric, row.standing in ("base", "safe") and not row.missed_costs)
        for name, each in zip(names, found, strict=True)
        if each.report is not None
        for metric in [demands[0].metric if demands else each.report.metric]
        for row in each.report.rows
        if row.p50_ns is not None and metric in row.quality
    ]
    sign = -1 if demands and demands[0].better == "lower" else 1
    costs = [(row.p50_ns or 0.0, -sign * row.quality[metric]) for _, row, metric, _ in told]

    def beaten(mine: tuple[float, float]) -> bool:
        return any(other != mine and other[0] <= mine[0] and other[1] <= mine[1] for other in costs)

    offers = [
        Offer(name, row, metric, not beaten(cost), offered)
        for (name, row, metric, offered), cost in zip(told, costs, strict=True)
    ]
    return sorted(offers, key=lambda offer: offer.row.p50_ns or 0.0)


def _best(offers: Sequence[Offer], request: SearchRequest) -> Offer | None:
    """The best of those that are offered: by the reward, else the fastest."""
    able = [offer for offer in offers if offer.offered]
    return max(able, key=lambda offer: _worth(offer.row, request), default=None)


def _worth(row: SearchRow, request: SearchRequest) -> float:
    if request.reward is not None:
        return float("-inf") if row.reward is None else row.reward
    return float("-inf") if row.p50_ns is None else -row.p50_ns
