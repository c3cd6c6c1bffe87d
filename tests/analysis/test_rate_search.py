"""The search for the highest rate that keeps a bound, on a simulated device."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable

import msgspec

from edgebench import record as rec
from edgebench.analysis.per_row import rate_search
from edgebench.analysis.table import build_table
from edgebench.measure.replicate import loops
from edgebench.record import RateSearch, Replicate
from edgebench.render.table_wording import remarks
from edgebench.report import row_facts
from tests.records import record, replicate

SERVICE_NS = 5_000_000


class Clock:
    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        return self.now_ns

    def sleep(self, seconds: float) -> None:
        self.now_ns += round(seconds * 1e9)


def loaded(index: int, rate_per_s: float, service_ns: Callable[[], int]) -> Replicate:
    """A process under random arrivals, on a device that takes so long for a query."""
    clock = Clock()

    def run(_: int) -> None:
        clock.now_ns += service_ns()

    schedule = loops.poisson(rate_per_s, 300, seed=index)
    window = loops.at_a_rate(run, [0], schedule, clock=clock, sleep=clock.sleep)
    return replicate(
        index, window.samples_ns, paced=window.paced, window_ns=window.window_ns, round=index
    )


@functools.cache
def sought(
    bound_ns: int, service_ns: Callable[[], int] = lambda: SERVICE_NS
) -> tuple[RateSearch, list[Replicate]]:
    """The search on that device, and its processes; the same ones for every test."""
    made: list[Replicate] = []
    while step := rate_search.next_step(rate_search.search_of(made, bound_ns, 3)):
        rate = step.rate_per_s or rate_search.rounded(0.5e9 / SERVICE_NS)
        made.append(loaded(len(made), rate, service_ns))
        assert len(made) < 120
    return rate_search.search_of(made, bound_ns, 3), made


def test_the_rate_is_as_high_as_the_queue_of_the_device_allows() -> None:
    search, _ = sought(25_000_000)
    assert search.ended == "found"
    assert search.rate_per_s is not None
    assert search.over_per_s is not None
    # p99 of an M/D/1 queue with 5 ms of service is 25 ms at a load of about 0.72, 144/s; the bound of p99 is above it.
    assert 90 < search.rate_per_s < 150
    assert search.rate_per_s < search.over_per_s <= 1.05 * search.rate_per_s
    kept = [trial for trial in search.trials if trial.verdict == "kept"]
    assert all((trial.upper_ns or 0) <= 25_000_000 for trial in kept)
    assert all(trial.queries >= 662 for trial in kept)


def test_a_looser_bound_gives_a_higher_rate() -> None:
    rates = [sought(bound)[0].rate_per_s or 0 for bound in (12_000_000, 25_000_000, 60_000_000)]
    assert rates == sorted(rates)
    assert rates[0] < 0.8 * rates[2]
    assert rates[2] < 200  # more than it serves is kept by no bound


def test_a_bound_that_no_rate_keeps_ends_at_once_where_the_service_alone_is_over_it() -> None:
    search, made = sought(4_000_000)
    assert (search.ended, search.rate_per_s) == ("none", None)
    assert len(search.trials) <= 3
    (reason,) = rate_search.search_reasons(search)
    assert reason.code == "bound_not_kept"
    assert "no rate keeps p99 within 4" in reason.message
    assert made


def test_a_device_that_stalls_at_times_keeps_no_bound_below_its_stall() -> None:
    source = random.Random(1)
    search, _ = sought(20_000_000, lambda: 50_000_000 if source.random() < 0.02 else SERVICE_NS)
    assert search.ended == "none"


def test_what_was_measured_before_a_run_was_killed_is_not_measured_again() -> None:
    search, made = sought(25_000_000)
    for count in range(len(made)):
        part = rate_search.search_of(made[:count], 25_000_000, 3)
        assert part.ended == "cut"
        step = rate_search.next_step(part)
        paced = made[count].paced
        assert step is not None
        assert paced is not None
        assert step.rate_per_s in (None, paced.rate_per_s)
    assert search.ended == "found"


def row_of(search: RateSearch, made: list[Replicate], **changes: object) -> rec.Record:
    found = record(scenario="server", replicates=made)
    cell = msgspec.structs.replace(found.cell, bound_p99_ns=search.bound_p99_ns)
    return msgspec.structs.replace(found, cell=cell, rate_search=search, **changes)


def test_the_row_has_the_rate_and_the_latency_at_that_rate() -> None:
    search, made = sought(25_000_000)
    table = build_table([row_of(search, made)])
    (row,) = table.rows
    assert row.ranked
    assert row.throughput_per_s == search.rate_per_s
    assert row.throughput_high_per_s == search.over_per_s
    best = next(trial for trial in search.trials if trial.rate_per_s == search.rate_per_s)
    assert row.latency_ns.p99 == best.p99_ns
    assert row.latency_ns.replicates == len(best.replicates)
    assert table.fronts[0].objectives[0] == "throughput"
    assert table.fronts[0].bound_p99_ns == 25_000_000
    assert any("highest rate within p99 25" in line for line in remarks(row))
    assert row.unknown["rate_per_s"] == "it was sought: see rate_search"
    facts = dict(zip(row_facts.NAMES, row_facts.values(row), strict=True))
    assert facts["p99 by rate"].count(" kept") >= 2
    assert facts["p99 by rate"].count(" over") >= 1


def test_rows_of_other_bounds_do_not_compete() -> None:
    bounds = (12_000_000, 25_000_000)
    records = [row_of(*sought(bound)) for bound in bounds]
    assert len(build_table(records).fronts) == 2


def test_a_search_that_was_cut_before_a_rate_was_kept_says_so() -> None:
    _, made = sought(25_000_000)
    (reason,) = rate_search.search_reasons(rate_search.search_of(made[:1], 25_000_000, 3))
    assert (reason.code, reason.fix) == ("rate_search_cut", "raise --budget")
    assert rate_search.search_reasons(rate_search.search_of(made, 25_000_000, 3)) == []
    assert rate_search.search_reasons(None) == []
