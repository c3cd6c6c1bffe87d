"""Groups of operators that are compared, and what a mix of two precisions is predicted to take."""

from __future__ import annotations

import pytest

from edgebench.explain.explanation import Prediction
from edgebench.explain.graph_facts import NodeFacts
from edgebench.explain.node_groups import Group, common_names, grouped
from edgebench.explain.prediction import predict, too_coarse
from edgebench.explain.profile_runs import Measured
from tests.explain import profiles

US = 1000


def groups_of(against: Measured, subject: Measured) -> list[Group]:
    assert against.profile is not None
    assert subject.profile is not None
    names = common_names(against.nodes, subject.nodes)
    return grouped(against.nodes, against.profile.operators, subject.profile.operators, names)


def predicted(against: Measured, subject: Measured) -> Prediction | None:
    names = common_names(against.nodes, subject.nodes)
    return predict(groups_of(against, subject), against, subject, names)


def test_operators_that_share_a_node_are_one_group() -> None:
    nodes = profiles.convolutions(3)
    fused = [
        profiles.operator("fused", 10, nodes=("conv0", "conv1")),
        profiles.operator("conv2", 5),
    ]
    apart = [profiles.operator(f"conv{place}", 4) for place in range(3)]
    found = grouped(nodes, fused, apart, {node.name: node.name for node in nodes})
    assert [[node.name for node in group.nodes] for group in found] == [
        ["conv0", "conv1"],
        ["conv2"],
    ]
    assert [len(group.operators[1]) for group in found] == [2, 1]


def test_nodes_are_matched_by_what_they_write_where_names_differ() -> None:
    first = profiles.convolutions(1)
    (conv,) = first
    other = [NodeFacts(name="renamed", kind="Conv", outputs=conv.outputs)]
    assert common_names(first, other) == {"renamed": "conv0"}


def test_the_slower_operators_are_left_as_they_were() -> None:
    found = predicted(*profiles.pair([100 * US] * 4, [50 * US, 400 * US, 50 * US, 50 * US]))
    assert found is not None
    assert found.kept == ["conv1"]
    # 551 us; 300 less for the kernel, and 2 us more for a pair of conversions on either side
    assert found.run_ns.value == pytest.approx(253 * US, rel=0.02)
    assert found.speedup.value == pytest.approx(400 / 253, rel=0.02)


def test_an_island_that_costs_more_conversions_than_it_saves_is_not_left() -> None:
    nodes = 4
    against, subject = profiles.pair(
        [100 * US] * nodes, [50 * US, 100 * US + 200, 50 * US, 50 * US]
    )
    assert predicted(against, subject) is None


def test_all_operators_are_left_where_all_are_slower() -> None:
    found = predicted(*profiles.pair([100 * US] * 3, [150 * US] * 3))
    assert found is not None
    assert found.kept == ["conv0", "conv1", "conv2"]
    assert found.speedup.value == pytest.approx(1.0, rel=0.01)


def test_nothing_is_predicted_from_operators_as_short_as_the_clock() -> None:
    against, subject = profiles.pair([2 * US] * 3, [1 * US] * 3)
    assert too_coarse(subject)
    assert too_coarse(against)
    assert not too_coarse(profiles.pair([200 * US] * 3, [100 * US] * 3)[0])
