"""What profiles tell of the groups of a network."""

from __future__ import annotations

import msgspec

from edgebench.models.operator_groups import Unit, Units
from edgebench.search.group_costs import facts_of
from edgebench.search.search_messages import REFUSED_DAMAGE
from edgebench.search.search_report import FloatGroup
from edgebench.search.search_text import group_words


def test_a_group_that_one_profile_alone_names_has_no_times_that_are_told() -> None:
    """One time stands for both, so that it decides nothing; told as measured it would be an invention."""
    units = Units((Unit("both", "Conv", ("both",)), Unit("one", "Conv", ("one",))), ())
    both, one = facts_of(units, {"both": 9.0, "one": 7.0}, {"both": 4.0, "one": None})
    assert (both.timed, both.fp32_us, both.int8_us) == (True, 9.0, 4.0)
    assert (one.timed, one.fp32_us - one.int8_us) == (False, 0.0)


def test_what_the_runtime_refuses_in_int8_has_no_error_that_is_told() -> None:
    """A number stands for it in the search, so that it is chosen last; nobody measured it."""
    group = FloatGroup(
        name="conv", op="Conv", fp32_us=9.0, int8_us=4.0, gain_us=5.0, damage=REFUSED_DAMAGE
    )
    assert "output error none: the runtime refuses it" in group_words(group)
    assert "output error 0.250" in group_words(msgspec.structs.replace(group, damage=0.25))
    assert "output error unknown" in group_words(msgspec.structs.replace(group, damage=None))
