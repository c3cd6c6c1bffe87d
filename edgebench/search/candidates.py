"""Proposes the maps that are worth building: cuts for all prices of damage, then those beyond the last one that holds."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from edgebench.search.tradeoff import Choice, Tradeoff, best_within, hull

#: How far the bisection goes: limits of damage closer to each other than this are not told apart.
MIN_RATIO = 1.02
#: What the predicted time of a map may be above another's and still be worth measuring: kernels are timed in whole
#: microseconds.
MAX_SLOWER = 1.25


@dataclass(frozen=True)
class Draft:
    """A choice of units for int8 that may become a candidate."""

    choice: Choice
    origin: str
    dynamic: Choice = frozenset()  # units that are quantised at run time
    in_blocks: Mapping[str, int] = field(
        default_factory=dict
    )  # units whose weights have so many bits


def drafts(tradeoff: Tradeoff, usual: Choice, points: int) -> Iterator[Draft]:
    """At most so many: the usual placement first, then cuts spread over the front."""
    free = Tradeoff(tradeoff.cost_a, tradeoff.cost_b, tradeoff.load_a, tradeoff.load_b)
    cuts = [Draft(choice, "cut") for choice in hull(tradeoff)]
    extra = [Draft(usual, "everything"), Draft(free.best_at(0.0), "cut without boundaries")]
    cuts = _spread(cuts, max(1, points - len(extra)))
    seen: set[Choice] = set()
    for draft in [*extra, *cuts]:
        if usual & draft.choice and draft.choice not in seen:
            seen.add(draft.choice)
            yield draft


def _spread(found: list[Draft], room: int) -> list[Draft]:
    if len(found) <= room:
        return found
    return [found[round(n * (len(found) - 1) / max(1, room - 1))] for n in range(room)]


def between(tradeoff: Tradeoff, found: Sequence[tuple[Choice, bool]]) -> Draft | None:
    """The fastest choice whose predicted damage lies between the most that holds and the least beyond it that
    does not; None: there is none, or it is known. `found`: choices, and whether a map of each holds."""
    low = max((tradeoff.load(choice) for choice, holds in found if holds), default=0.0)
    missing = [tradeoff.load(choice) for choice, holds in found if not holds]
    high = min((load for load in missing if load > low), default=0.0)
    known = {choice for choice, _ in found}
    for limit in _limits(low, high):
        best = best_within(tradeoff, limit)
        if best is not None and best.choice and best.choice not in known:
            return Draft(best.choice, "between two cuts")
    return None


def _limits(low: float, high: float) -> Iterator[float]:
    """Limits of damage to try between two: the middle, then nearer to the upper end."""
    lowest = low or high / 1e4
    while high > lowest * MIN_RATIO:
        lowest = math.sqrt(lowest * high)
        yield lowest


def neighbours(tradeoff: Tradeoff, draft: Draft, dynamic: Collection[str]) -> list[Draft]:
    """The draft with one unit in the other precision, those first that the model of costs calls fastest; what it
    calls clearly slower is left out. A unit that leaves int8 is quantised at run time where others of it are."""
    limit = MAX_SLOWER * tradeoff.cost(draft.choice)
    found = []
    for name in tradeoff.cost_a:
        at_run_time = draft.dynamic - {name}
        if name in draft.choice and draft.dynamic and name in dynamic:
            at_run_time |= {name}
        each = Draft(draft.choice ^ {name}, "next to the fastest", at_run_time)
        if (each.choice or each.dynamic) and tradeoff.cost(each.choice) <= limit:
            found.append(each)
    return sorted(found, key=lambda each: tradeoff.cost(each.choice))
