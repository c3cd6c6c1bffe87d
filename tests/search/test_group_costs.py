"""What profiles tell of the groups of a network."""

from __future__ import annotations

from edgebench.models.operator_groups import Unit, Units
from edgebench.search.group_costs import facts_of


def test_a_group_that_one_profile_alone_names_has_no_times_that_are_told() -> None:
    """One time stands for both, so that it decides nothing; told as measured it would be an invention."""
    units = Units((Unit("both", "Conv", ("both",)), Unit("one", "Conv", ("one",))), ())
    both, one = facts_of(units, {"both": 9.0, "one": 7.0}, {"both": 4.0, "one": None}, {})
    assert (both.timed, both.fp32_us, both.int8_us) == (True, 9.0, 4.0)
    assert (one.timed, one.fp32_us - one.int8_us) == (False, 0.0)
