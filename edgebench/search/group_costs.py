"""Computes what each unit costs in fp32 and in int8, from profiles of both whole graphs, and the trade-off they make.

Single-group models would mislead: alone in int8 a group pays for both of its boundaries, which in company it
shares with its neighbours. So kernels are timed in whole graphs, and boundaries have a price of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edgebench.models.operator_groups import Edge, Units
from edgebench.operator_times import Profile
from edgebench.search.minimum_cut import Difference
from edgebench.search.search_messages import UnitFacts
from edgebench.search.sessions import LOW_PERCENTILE
from edgebench.search.tradeoff import Tradeoff

#: A conversion between int8 and fp32, microseconds an element: what a Q/DQ pair took on the machines tried.
CROSSING_US = 1.3e-3
#: And however few the elements are: what profiles tell of the smallest conversions.
CROSSING_US_EACH = 1.5
#: Operators that belong to boundaries.
BOUNDARY_KINDS = ("QuantizeLinear", "DequantizeLinear", "ReorderInput", "ReorderOutput")


def unit_times(units: Units, profile: Profile) -> dict[str, float | None]:
    """Microseconds of every unit's operators, a low percentile; None where no operator stands for its nodes.

    An operator that several units were fused to is the first group's; changes of form are boundaries, not units.
    """
    owner = {node: unit for unit in units.units for node in unit.nodes}
    times: dict[str, float | None] = dict.fromkeys(units.names)
    for operator in profile.operators:
        found = [owner[node] for node in operator.nodes or () if node in owner]
        if found and operator.kind not in BOUNDARY_KINDS:
            unit = min(found, key=lambda each: each.joiner)
            taken = float(np.percentile(operator.times_ns, LOW_PERCENTILE)) / 1e3
            times[unit.name] = (times[unit.name] or 0.0) + taken
    return times


def facts_of(
    units: Units, fp32: Mapping[str, float | None], int8: Mapping[str, float | None]
) -> list[UnitFacts]:
    """The times of every unit. One that is named in neither profile was fused away: it costs nothing."""
    found = []
    for unit in units.units:
        slow, fast = fp32[unit.name], int8[unit.name]
        timed = slow is not None and fast is not None
        if unit.joiner:
            timed = slow is not None or fast is not None
        elif (slow is None) != (fast is None):
            slow = fast = slow if fast is None else fast  # half a truth would decide alone
        found.append(
            UnitFacts(
                name=unit.name,
                op=unit.op,
                joiner=unit.joiner,
                fp32_us=slow or 0.0,
                int8_us=fast or 0.0,
                timed=timed,
            )
        )
    return found


def tradeoff_of(facts: Sequence[UnitFacts], edges: Sequence[Edge]) -> Tradeoff:
    """Time against damage squared, int8 the first option: both add up, nearly."""
    known = [fact.damage for fact in facts if fact.damage is not None and not fact.joiner]
    usual = max(known, default=0.0)  # of a group that nobody had time for: as bad as the worst
    costs = {fact.name: fact.int8_us for fact in facts}
    differences = []
    for edge in edges:
        price = CROSSING_US_EACH + CROSSING_US * edge.elements
        if edge.source is not None and edge.target is not None:
            differences.append(Difference(edge.source, edge.target, price))
        else:  # the other end is always fp32
            name = edge.source if edge.target is None else edge.target
            assert name is not None
            costs[name] += price
    return Tradeoff(
        cost_a=costs,
        cost_b={fact.name: fact.fp32_us for fact in facts},
        load_a={
            fact.name: (fact.damage if fact.damage is not None else 0.0 if fact.joiner else usual)
            ** 2
            for fact in facts
        },
        load_b={fact.name: 0.0 for fact in facts},
        differences=differences,
    )
