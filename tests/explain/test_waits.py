"""What other programs take is taken out of a profile."""

from __future__ import annotations

from edgebench.explain.waits import RunTime, without_waits
from edgebench.operator_times import OperatorTime, Profile

US = 1000


def profile(*times: list[int]) -> Profile:
    """Operators by their times in runs."""
    operators = [
        OperatorTime(name=f"o{n}", kind="Conv", times_ns=[t * US for t in each])
        for n, each in enumerate(times)
    ]
    return Profile(operators=tuple(operators), runs_ns=[0] * len(times[0]), source="")


def run(wall_us: int, cpu_us: int) -> RunTime:
    return RunTime(wall_us * US, cpu_us * US)


def times_us(found: Profile) -> list[list[int]]:
    return [[round(t / US) for t in operator.times_ns] for operator in found.operators]


def test_a_run_that_waited_loses_the_wait_where_it_was_longer() -> None:
    runs = [run(150, 150), run(150, 150), run(4150, 150)]
    found = without_waits(profile([100, 100, 4100], [50, 50, 50]), runs)
    assert times_us(found) == [[100, 100, 100], [50, 50, 50]]


def test_an_operator_that_waits_in_every_run_loses_what_is_left() -> None:
    # Both runs waited for half of their time, in the long operator alone.
    given = profile([20_000, 20_000], [100, 100])
    found = without_waits(given, [run(20_100, 10_100), run(20_100, 10_100)])
    assert times_us(found) == [[10_000, 10_000], [100, 100]]


def test_waiting_between_operators_is_taken_from_none() -> None:
    given = profile([100, 100], [50, 50])
    assert times_us(without_waits(given, [run(5150, 150), run(5150, 150)])) == [[100] * 2, [50] * 2]


def test_a_profile_without_waits_stays_as_it_is() -> None:
    given = profile([100, 120], [50, 40])
    assert without_waits(given, [run(160, 160), run(160, 160)]) is given
    assert without_waits(given, []) is given
