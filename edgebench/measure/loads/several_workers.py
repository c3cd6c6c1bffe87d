"""A server of several workers: threads that share a session where its backend allows that, else a session each.

Queries wait in one queue. Every worker takes the next query, waits until it is due and serves it, so that a query
starts as soon as it has arrived and a worker is free.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from edgebench.measure.replicate.loops import Clock, Run, Schedule, Window, no_gc, usage
from edgebench.processes.timer_slack import exact_timers
from edgebench.record import Paced

if TYPE_CHECKING:
    from edgebench.backend import Feeds, Session

#: Beyond the planned time a load is given up after this, and after as long as was planned once more.
GRACE_NS = 1_000_000_000
LEAD_NS = 5_000_000  # until the first query is due: threads start


class Worker(NamedTuple):
    """A run, and inputs that no other worker holds."""

    run: Run
    pool: Sequence[Any]


class Workers(NamedTuple):
    """All workers of a server, and how many sessions they run on."""

    each: list[Worker]
    sessions: int


class Query(NamedTuple):
    """One query that was served; times count from the start of the load."""

    number: int
    start_ns: int
    end_ns: int
    waited: bool  # a worker was idle before it was due

    @property
    def service_ns(self) -> int:
        return self.end_ns - self.start_ns


@contextmanager
def workers_of(
    session: Session, open_another: Callable[[], Session], feeds: Sequence[Feeds], count: int
) -> Iterator[Workers]:
    """So many workers, each of which has run once; sessions beyond the first are closed at the end."""
    with ExitStack() as stack:
        sessions = [session]
        while len(sessions) < (1 if session.concurrent else count):
            sessions.append(open_another())
            stack.callback(sessions[-1].close)
        each = []
        for number in range(count):
            own = sessions[number % len(sessions)]
            pool = [own.prepare(item) for item in feeds]
            own.run(pool[0])
            each.append(Worker(own.run, pool))
        yield Workers(each, len(sessions))


class _Queue:
    """Hands out the numbers of queries in their order, until the load is over or an error ends it."""

    def __init__(self, count: int) -> None:
        self._lock = threading.Lock()
        self._next, self._count = 0, count
        self.served: list[Query] = []
        self.errors: list[BaseException] = []
        self.given_up = False

    def take(self) -> int | None:
        with self._lock:
            if self._next >= self._count or self.given_up or self.errors:
                return None
            self._next += 1
            return self._next - 1


def served_by(
    workers: Workers,
    schedule: Schedule,
    *,
    clock: Clock = time.perf_counter_ns,
    sleep: Callable[[float], None] = time.sleep,
) -> Window:
    """The load of a schedule served by all workers; otherwise as `loops.at_a_rate`. Raises what a run raised."""
    due_ns = schedule.due_ns
    window, queue = Window(stop="time"), _Queue(len(due_ns))
    with no_gc(), usage(window):
        begin = clock() + LEAD_NS
        give_up = begin + 2 * max(due_ns[-1], round(len(due_ns) * schedule.period_ns)) + GRACE_NS

        def serve(worker: Worker) -> None:
            try:
                with exact_timers():
                    _serve(worker, queue, due_ns, (begin, give_up), clock, sleep)
            except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
                queue.errors.append(error)

        threads = [threading.Thread(target=serve, args=(each,)) for each in workers.each]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        window.window_ns = clock() - begin
    if queue.errors:
        raise queue.errors[0]
    _fill(window, queue.served, schedule, workers)
    return window


def _serve(
    worker: Worker,
    queue: _Queue,
    due_ns: Sequence[int],
    span: tuple[int, int],
    clock: Clock,
    sleep: Callable[[float], None],
) -> None:
    run, pool = worker
    begin, give_up = span
    keep, size = queue.served.append, len(pool)
    while (number := queue.take()) is not None:
        idle_ns = begin + due_ns[number] - clock()
        if idle_ns > 0:
            sleep(idle_ns / 1e9)
        start = clock()
        run(pool[number % size])
        end = clock()
        keep(Query(number, start - begin, end - begin, idle_ns > 0))
        queue.given_up |= end > give_up


def _fill(window: Window, served: list[Query], schedule: Schedule, workers: Workers) -> None:
    """Parallel lists in the order of the schedule, from the queries as they ended."""
    served.sort()
    due_ns = [schedule.due_ns[query.number] for query in served]
    window.samples_ns = [query.end_ns - due for query, due in zip(served, due_ns, strict=True)]
    window.queries = len(served)
    ends = sorted(query.end_ns for query in served)
    window.paced = Paced(
        rate_per_s=schedule.rate_per_s,
        misses=len(schedule.due_ns) - len(served),
        service_ns=[query.service_ns for query in served],
        wake_late_ns=[
            query.start_ns - due for query, due in zip(served, due_ns, strict=True) if query.waited
        ],
        arrivals="poisson",
        seed=schedule.seed,
        due_ns=due_ns,
        depth=[
            max(1, bisect_right(schedule.due_ns, q.start_ns) - bisect_right(ends, q.start_ns))
            for q in served
        ],
        never_run=len(schedule.due_ns) - len(served),
        workers=len(workers.each),
        sessions=workers.sessions,
    )
