"""Several workers of a server: side by side, in the order of arrival, on as many sessions as the backend needs."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from edgebench.analysis.per_row.rate_search import overloaded
from edgebench.analysis.table import build_table
from edgebench.backend import Effective, Session
from edgebench.errors import UsageError
from edgebench.measure.loads.several_workers import Worker, Workers, served_by, workers_of
from edgebench.measure.replicate import loops
from edgebench.planning.cells import Load, plan
from edgebench.record import Paced
from edgebench.render.table_wording import remarks
from tests.planning.test_cells import workload
from tests.records import record, replicate


class Plain(Session):
    """Runs nothing, and tells who was asked."""

    inputs = outputs = ()
    closed = 0

    def __init__(self, concurrent: bool) -> None:
        self.concurrent = concurrent
        self.run = lambda prepared: prepared

    def prepare(self, feeds: Any) -> Any:
        return [feeds]

    def outputs_of(self, prepared: Any, raw: Any) -> Any:
        return {}

    def effective(self) -> Effective:
        return Effective(device="cpu", precision="fp32")

    def close(self) -> None:
        Plain.closed += 1


@pytest.mark.parametrize(("concurrent", "sessions"), [(True, 1), (False, 3)])
def test_workers_share_a_session_that_allows_it_and_have_inputs_of_their_own(
    concurrent: bool, sessions: int
) -> None:
    Plain.closed = 0
    first = Plain(concurrent)
    with workers_of(first, lambda: Plain(concurrent), [{}, {}], 3) as workers:
        assert workers.sessions == sessions
        assert len({id(worker.pool[0]) for worker in workers.each}) == 3
    assert Plain.closed == sessions - 1  # the first is closed by who opened it


def now_ns() -> int:
    return 0


def no_sleep(_: float) -> None:
    """The clock stands still: whatever is asked for is due."""


def test_two_queries_are_served_at_once() -> None:
    both = threading.Barrier(2, timeout=30)
    workers = Workers([Worker(lambda _: both.wait(), [0]) for _ in range(2)], 1)
    window = served_by(workers, loops.poisson(100.0, 8, 0), clock=now_ns, sleep=no_sleep)
    assert len(window.samples_ns) == 8  # one worker alone would never have passed the barrier
    assert window.paced is not None
    assert (window.paced.workers, window.paced.sessions) == (2, 1)
    assert window.paced.due_ns == sorted(window.paced.due_ns)


def test_what_a_run_raises_ends_the_load() -> None:
    def fail(_: Any) -> None:
        raise ValueError("no memory left")

    workers = Workers([Worker(fail, [0]), Worker(fail, [0])], 2)
    with pytest.raises(ValueError, match="no memory left"):
        served_by(workers, loops.poisson(100.0, 50, 0), clock=now_ns, sleep=no_sleep)


def test_an_overload_is_given_up_after_twice_the_planned_time() -> None:
    lock, time_ns = threading.Lock(), [0]

    def clock() -> int:
        return time_ns[0]

    def slow(_: Any) -> None:
        with lock:
            time_ns[0] += 1_000_000_000

    workers = Workers([Worker(slow, [0]), Worker(slow, [0])], 1)
    window = served_by(workers, loops.poisson(100.0, 100, 0), clock=clock, sleep=no_sleep)
    assert window.paced is not None
    assert 90 < window.paced.never_run < 100
    assert "waited until the load was given up" in overloaded(window.paced)


def paced(workers: int, service_ns: int) -> Paced:
    return Paced(
        rate_per_s=100.0,
        misses=0,
        service_ns=[service_ns] * 700,
        wake_late_ns=[],
        arrivals="poisson",
        seed=0,
        due_ns=[10_000_000 * number for number in range(700)],
        depth=[1] * 700,
        workers=workers,
        sessions=workers,
    )


def test_two_workers_serve_what_is_too_much_for_one() -> None:
    assert "the work takes 1.5 times" in overloaded(paced(1, 15_000_000))
    load = paced(2, 15_000_000)
    assert overloaded(load) == ""
    alone = msgspec.structs.replace(load, due_ns=[0], service_ns=[1_000_000], depth=[1])
    assert overloaded(alone) == "", "a single query comes at once, and has a whole period"
    made = [replicate(paced=load, window_ns=7_000_000_000)]
    (row,) = build_table([record(scenario="server", rate_per_s=100.0, replicates=made)]).rows
    assert row.paced is not None
    assert row.paced.utilisation == pytest.approx(0.75)
    assert any("; 2 workers have a session each" in line for line in remarks(row))


def scenarios(sets: dict[str, Sequence[Any]], *names: str) -> list[str]:
    cells = plan([workload()], ["null"], sets=sets, scenarios=names, load=Load(rate_per_s=9.0))
    return [cell.id.partition("/")[2] for cell in cells]


def test_the_axis_is_that_of_servers_alone() -> None:
    planned = scenarios({"workers": [1, 2]}, "server", "offline")
    assert sum("workers=2" in each for each in planned) == 1
    assert sum("offline" in each for each in planned) == 1
    with pytest.raises(UsageError, match="--set workers applies to the scenario server only"):
        scenarios({"workers": [2]}, "single_stream")
    with pytest.raises(UsageError, match="at most 256 threads"):
        scenarios({"workers": [1000]}, "server")
    with pytest.raises(UsageError, match="a whole number of 1 or more"):
        scenarios({"workers": [0]}, "server")


@pytest.mark.parametrize(("late_ns", "said"), [(400_000, False), (600_000, True)])
def test_a_row_says_where_the_loop_itself_is_late_by_more_than_5_percent(
    late_ns: int, said: bool
) -> None:
    load = msgspec.structs.replace(paced(1, 1_000_000), wake_late_ns=[late_ns] * 700)
    made = [replicate(0, [10_000_000] * 700, paced=load, window_ns=7_000_000_000)]
    (row,) = build_table([record(scenario="server", rate_per_s=100.0, replicates=made)]).rows
    assert row.paced is not None
    assert row.paced.wake_late_p50_ns == late_ns
    assert any("late on an idle device: 6% of p50" in line for line in remarks(row)) == said
