"""Profiles one deployment in a fresh process, in the turns that its parent gives.

    python -m edgebench.explain.profile_worker JOB_FD RESULT_FD PARENT_PID

The measured session and its profiled twin are both open, so that each input runs once plain and once profiled.
numpy, tasks and runtimes are imported here and below.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgebench import registry
from edgebench.errors import EdgebenchError, UnsupportedError
from edgebench.explain import profile_messages as messages
from edgebench.measure.replicate import steps
from edgebench.measure.worker_messages import Job, Phase
from edgebench.processes.memory_limit import be_first_to_go, limit_memory
from edgebench.processes.parent_tie import die_with_parent
from edgebench.words.reason_words import reason

if TYPE_CHECKING:
    from edgebench.backend import Session
    from edgebench.explain.graph_facts import NodeFacts
    from edgebench.operator_times import Profiler
    from edgebench.preparation.input_pool import Feeds

#: Plain runs before the first turn, at least and at most so long.
WARM_RUNS, MAX_WARM_S = 3, 0.3


def main() -> None:
    job_fd, result_fd, parent_pid = map(int, sys.argv[1:4])
    die_with_parent(parent_pid)
    be_first_to_go()
    link = _Link(job_fd, result_fd)
    try:
        _serve(link)
    except MemoryError:
        link.say(messages.Refused(reason("out_of_memory").message))
    except EdgebenchError as error:
        cannot = isinstance(error, UnsupportedError)
        link.say(messages.Refused(error.message, error.fix, cannot))
    except Exception as error:  # noqa: BLE001 - whatever a backend or task raises is an answer
        _, text = steps.explain(error)
        link.say(messages.Refused(text))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # a runtime that hangs in its destructors must not spoil the answer


class _Link:
    """The worker's end of both pipes."""

    def __init__(self, job_fd: int, result_fd: int) -> None:
        self._asked = os.fdopen(job_fd, "rb")
        self._result_fd = result_fd

    def ask(self) -> messages.Ask:
        line = self._asked.readline()
        return messages.decode_ask(line) if line else messages.Finish()

    def say(self, message: messages.Said) -> None:
        view = memoryview(messages.encode(message) + b"\n")
        while view:
            view = view[os.write(self._result_fd, view) :]

    def phase(self, name: str, limit_s: float = 0.0) -> None:
        self.say(Phase(name, limit_s))


def _serve(link: _Link) -> None:
    begin = link.ask()
    assert isinstance(begin, messages.Begin)
    limit_memory(begin.job.memory_limit_bytes)
    opened = _Opened(begin, link)
    link.say(messages.Warm(opened.typical_ns))
    while isinstance(turn := link.ask(), messages.Turn):
        link.phase("profiled runs", 3 * turn.runs * opened.typical_ns / 1e9)
        link.say(opened.turn(turn.runs))
    link.phase("reading of the profile")
    link.say(opened.finish())


class _Opened:
    """A warm session beside its profiled twin."""

    def __init__(self, begin: messages.Begin, link: _Link) -> None:
        job = begin.job
        link.phase("import of the runtime")
        backend = registry.load(job.backend)
        os.environ.update(backend.environment(job.options))
        backend.import_runtime()
        link.phase("load of the model")
        self._job, self._model = job, steps.model_file(job)
        self._session: Session = backend.open(self._model, job.options)
        self._feeds = _feeds(job, self._session)
        self._prepared = [self._session.prepare(feeds) for feeds in self._feeds]
        self._next = 0
        link.phase("warm-up")
        self.typical_ns = self._warm_up()
        link.phase("load of the profiled model")
        self._profiler: Profiler = self._session.profiler()
        for _ in range(self._profiler.warm_up):
            self._profiler.run(self._feeds[0])

    def _warm_up(self) -> int:
        start_s = time.monotonic()
        taken_ns: list[int] = []
        while len(taken_ns) < WARM_RUNS or time.monotonic() < start_s + MAX_WARM_S:
            taken_ns.append(self._plain()[0])
            if len(taken_ns) > 1 and time.monotonic() > start_s + 10 * MAX_WARM_S:
                break  # a slow model
        return sorted(taken_ns)[len(taken_ns) // 2]

    def _plain(self) -> tuple[int, int]:
        return _timed(self._session.run, self._prepared[self._next % len(self._prepared)])

    def _profiled(self) -> tuple[int, int]:
        return _timed(self._profiler.run, self._feeds[self._next % len(self._feeds)])

    def turn(self, runs: int) -> messages.TurnDone:
        """Runs so many inputs, each plain and profiled."""
        plain, profiled = [], []
        for _ in range(runs):
            plain.append(self._plain())
            profiled.append(self._profiled())
            self._next += 1
        return messages.TurnDone([wall for wall, _ in plain], [cpu for _, cpu in plain], profiled)

    def finish(self) -> messages.Profiled:
        return messages.Profiled(self._profiler.finish(), self._session.effective(), self._nodes())

    def _nodes(self) -> list[NodeFacts]:
        from edgebench.explain.graph_facts import read_nodes

        if self._model.format != "onnx":
            return []
        return read_nodes(Path(self._job.model_path))


def _timed(run: Callable[[Any], object], inputs: Any) -> tuple[int, int]:
    """What a run takes, by the clock and of this process's CPU time."""
    cpu_ns, start_ns = time.process_time_ns(), time.perf_counter_ns()
    run(inputs)
    return time.perf_counter_ns() - start_ns, time.process_time_ns() - cpu_ns


def _feeds(job: Job, session: Session) -> list[Feeds]:
    """The inputs that a replicate is timed with."""
    from edgebench.files.model_outputs import load_outputs
    from edgebench.preparation import input_pool

    if job.items:
        items: Any = load_outputs(job.items, input_pool.POOL * job.batch)
    else:
        task = steps.task_of(job, job.fp32_inputs or session.inputs)
        items = input_pool.pool_items(task, job.batch)
    return input_pool.pool_of(items, job.batch)


if __name__ == "__main__":
    main()
