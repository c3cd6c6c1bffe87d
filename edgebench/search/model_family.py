"""Searches several models of one task: time goes where the choice is still open.

All of them are explored first. A model whose fastest map is slower than another's and whose quality is no better
either, both for sure, gets no more time; the others share what is left, and the best of their deployments is chosen.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from edgebench.api.run_request import Voice
from edgebench.measure.time_budget import Budget
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

    found: list[Found]  # of the models that were measured
    dropped: dict[str, str]  # model -> why it got no more time
    chosen: int | None  # of `found`; None: no deployment of any is offered

    @property
    def reports(self) -> list[SearchReport]:
        return [each.report for each in self.found if each.report is not None]


def search_family(requests: Sequence[SearchRequest], voice: Voice, started_s: float) -> Family:
    """Searches one model for each request, all under the budget of the first. Raises EdgebenchError."""
    total_s = requests[0].budget_s
    started = []
    for request in requests:
        share = replace(request, budget_s=total_s / len(requests))
        it = begun(share, voice, Budget(share.budget_s, time.monotonic()))
        started.append((it, explored(it)))
    dropped = dominated([_prospect(it, found) for it, found in started])
    left = [(it, found) for it, found in started if it.workload.title not in dropped]
    for name, why in dropped.items():
        voice.say(f"search: {name} gets no more time: {why}")
    finished_ones = []
    for number, (it, exploration) in enumerate(left):
        left_s = started_s + total_s - time.monotonic()
        _give(it, max(1.0, left_s / (len(left) - number)))
        finished_ones.append(finished(it, exploration))
        if finished_ones[-1].report is None:
            break  # interrupted, or nothing can be measured: the others would not be either
    return Family(finished_ones, dropped, _best(finished_ones, requests[0]))


def _give(it: Search, seconds: float) -> None:
    """The time for measuring and testing one model: its exploring is over."""
    it.request = replace(it.request, budget_s=seconds / (1 - EXPLORING))
    it.budget = Budget(seconds, time.monotonic())


def _prospect(it: Search, found: Exploration) -> Prospect:
    holding = [c for c in found.candidates if c.spare is None or c.spare >= 0]
    quick = [c.quick_ms for c in holding if c.quick_ms is not None]
    demands = it.required.demands
    value = found.fp32_evaluation.get(demands[0].metric) if demands else None
    if value is not None and demands[0].better == "lower":
        value = -value
    return Prospect(it.workload.title, min(quick, default=found.fp32_ms), value)


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


def _best(found: Sequence[Found], request: SearchRequest) -> int | None:
    """The best deployment of all: by the reward, else the fastest."""
    offers = [
        (_worth(row, request), number)
        for number, each in enumerate(found)
        if each.report is not None and (row := each.report.deployment) is not None
    ]
    return max(offers)[1] if offers else None


def _worth(row: SearchRow, request: SearchRequest) -> float:
    if row.p50_ns is None:
        return float("-inf")
    if request.reward is None:
        return -row.p50_ns
    quality = next(iter(row.quality.values()), 0.0)
    return request.reward.of(quality, row.p50_ns)
