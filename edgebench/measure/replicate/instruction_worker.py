"""A worker under callgrind: it counts the instructions of a few inferences, and times nothing.

    valgrind --tool=callgrind ... python -m edgebench.measure.replicate.instruction_worker DUMP JOB_FD RESULT_FD PARENT_PID

Callgrind counts nothing until the session has answered. Then it counts windows of n and of 2 n inferences: what the second
has more is the instructions of n, whatever the loop and the tool itself take. Of a slow model one inference is held against
an empty window: valgrind computes each lane of a fused multiply-add in software, so that 0.7 GFLOP take it 20 s.
"""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Final

from edgebench.errors import EdgebenchError
from edgebench.measure.replicate import loops, steps
from edgebench.measure.replicate.worker import cold_start
from edgebench.measure.replicate.worker_ipc import ParentLink, begin
from edgebench.measure.worker_messages import Done, Job
from edgebench.processes.child_job import leave
from edgebench.record import Instructions, Replicate

COUNTED_S: Final = 10.0  # of a count, as far as anybody knows before
MAX_INFERENCES: Final = 200  # of the shorter window
ENOUGH: Final = 20_000_000  # instructions, beside which the 40,000 by which those of the tool differ are nothing
WARM_UP_S: Final = 0.2
QUICK_S: Final = 1.0  # a first inference that is slower is not followed by a warm-up
_TOTAL = re.compile(r"^totals: (\d+)", re.MULTILINE)

#: Runs a piece of work, and tells the instructions that it took.
Window = Callable[[Callable[[], None]], int]


def main() -> None:
    dump = Path(sys.argv[1])
    link, job, started = begin(sys.argv[2:5])
    try:
        found = counted(job, link, Callgrind(dump))
    except Exception as error:  # noqa: BLE001 - whatever a runtime raises here is no fault of the row
        _, why = steps.failure(error, job)
        found = uncounted(why.message)
    replicate = Replicate(index=job.index, status="ok", started_utc=started, instructions=[found])
    link.done(Done(replicate))
    leave()


def uncounted(why: str) -> Instructions:
    return Instructions(source="callgrind", count=None, inferences=0, unknown=why)


class Callgrind:
    """Controls the callgrind that this process runs under. Raises EdgebenchError where it does not listen."""

    def __init__(self, dump: Path) -> None:
        self._dump = dump
        self._dumps = 0

    def on(self) -> None:
        self._say("-i", "on")

    def window(self, work: Callable[[], None]) -> int:
        """The instructions of all threads while the work ran."""
        self._say("-z")
        work()
        self._dumps += 1
        self._say("-d")
        path = self._dump.with_name(f"{self._dump.name}.{self._dumps}")
        found = _TOTAL.search(path.read_text(errors="replace"))
        if found is None:
            raise EdgebenchError(f"callgrind wrote no total to {path.name}")
        return int(found[1])

    def _say(self, *words: str) -> None:
        done = subprocess.run(
            ["callgrind_control", *words, str(os.getpid())],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            lines = (done.stderr or done.stdout).strip().splitlines()
            raise EdgebenchError(f"callgrind does not listen: {lines[-1] if lines else words}")


def counted(job: Job, link: ParentLink, callgrind: Callgrind) -> Instructions:
    """From the import of the runtime to the count."""
    runtime = steps.import_runtime(job, link)
    start = cold_start(job, link, runtime)
    if start.first_ns < QUICK_S * 1e9:
        link.phase("warm-up")
        loops.warm_up(start.session.run, start.pool, WARM_UP_S)
    link.phase("count of instructions", 10 * COUNTED_S)
    callgrind.on()
    count, runs = count_some(start.session.run, start.pool, callgrind.window)
    return Instructions(source="callgrind", count=count, inferences=runs * job.batch)


def count_some(run: Callable[[Any], Any], pool: list[Any], window: Window) -> tuple[int, int]:
    """The instructions of some inferences, and of how many: those of a window less those of a shorter one.

    No clock says how many: a busy machine counts as a quiet one does. Raises EdgebenchError where more inferences take no
    more instructions: that is no count of 0.
    """

    def work(runs: int) -> Callable[[], None]:
        queries = list(islice(cycle(pool), runs))

        def serve() -> None:
            for prepared in queries:
                run(prepared)

        return serve

    window(work(0))  # what the tool does once
    empty = window(work(0))
    one = max(window(work(1)) - empty, 1)
    if one >= ENOUGH:
        return one, 1
    runs = min(MAX_INFERENCES, math.ceil(ENOUGH / one))
    short, long = window(work(runs)), window(work(2 * runs))
    if long <= short:
        raise EdgebenchError(f"callgrind counted no more for {2 * runs} inferences than for {runs}")
    return long - short, runs


if __name__ == "__main__":
    main()
