"""What other programs take is taken out of a profile."""

from __future__ import annotations

from edgebench.explain.waits import without_waits
from edgebench.operator_times import OperatorTime, Profile

US = 1000


def profile(*times: list[int]) -> Profile:
    """Operators by their times in runs."""
    operators = [
        OperatorTime(name=f"o{n}", kind="Conv", times_ns=[t * US for t in each])
        for n, each in enumerate(times)
    ]
    return Profile(operators=tuple(operators), runs_ns=[0] * len(times[0]), source="")


def times_us(found: Profile) -> list[list[int]]:
    return [[round(t / US) for t in operator.times_ns] for operator in found.operators]


def test_a_run_that_waited_loses_the_wait_where_it_was_longer() -> None:
    found = without_waits(profile([100, 100, 4100], [50, 50, 50]), [0, 0, 4000 * US])
    assert times_us(found) == [[100, 100, 100], [50, 50, 50]]


def test_an_operator_that_waits_in_every_run_loses_what_is_left() -> None:
    # Both runs waited for half of their time, in the long operator alone.
    found = without_waits(profile([20_000, 20_000], [100, 100]), [10_000 * US, 10_000 * US])
    long, short = times_us(found)
    assert long[0] + short[0] == 10_100
    assert long[0] > 9_900


def test_a_profile_without_waits_stays_as_it_is() -> None:
    given = profile([100, 120], [50, 40])
    assert without_waits(given, [0, 0]) is given
    assert without_waits(given, []) is given
