"""The parent's side of a pair: two fresh processes that take turns, block by block.

Between two blocks the parent reads one line and writes one; the same for both arms. It sleeps meanwhile.
"""

from __future__ import annotations

import hashlib
import math
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import msgspec

from edgebench.ab_test.arm_messages import (
    BLOCK,
    CHECK,
    END,
    OPEN,
    ArmJob,
    Broken,
    Checked,
    EnergyWindow,
    Loaded,
    Message,
    Ready,
    WindowDone,
    decode_message,
    encode,
)
from edgebench.ab_test.pair_record import SCHEMA, BlockShape, Measured, Pair, Side
from edgebench.measure.cpu_pinning import borrow
from edgebench.measure.launch_worker import cause_of_death, garbled, oom_kill_count, terminate
from edgebench.measure.worker_messages import Job, Phase
from edgebench.measure.worker_observer import MIN_SUSPENDED_NS, STOPPED, SUSPENDED, Witness
from edgebench.probes.process_accounting import asleep_ns
from edgebench.processes.python_command import foreign_module_command, module_command
from edgebench.record import Energy, Reason, Replicate, Status

if TYPE_CHECKING:
    from edgebench.energy.run_meter import Meter

M = TypeVar("M", Ready, Loaded, WindowDone, Checked, Measured)

ROUNDS = 20
BLOCK_NS = 20_000_000
#: Where nobody tells when a process was preempted, or a device works: blocks of so many iterations.
MIN_ITERATIONS = 5
#: A sample lasts at least so long: clocks and the interpreter's loop stay far below 1 % of it.
SAMPLE_NS = 200_000
#: Silence that is waited for even where the time for the pair is over.
GRACE_S = 5.0
#: Memory that the second arm needs, as a multiple of what the first one took.
HEADROOM = 1.1


@dataclass(frozen=True)
class Interpreter:
    """A Python that runs an arm, and where it finds edgebench if it is not this one."""

    python: str = sys.executable
    path: str = ""  # for PYTHONPATH; empty: edgebench is installed there

    def command(self, module: str) -> list[str]:
        """How to run a module of edgebench."""
        own = self == Interpreter()
        return module_command(module) if own else foreign_module_command(self.python, module)

    def environment(self) -> dict[str, str] | None:
        return {**os.environ, "PYTHONPATH": self.path} if self.path else None


@dataclass(frozen=True)
class ArmSpec:
    """One side of a cell: the job and the Python that does it. `items`: file that keeps its inputs."""

    job: Job
    interpreter: Interpreter
    items: str = ""

    def in_folder(self, folder: Path, name: str) -> ArmSpec:
        """The arm with its files below a folder: its outputs by `name`, its inputs by what they are, since
        cells of one workload share them."""
        job = self.job
        facts = (
            self.interpreter.python, job.task, job.task_options, job.task_data, job.model_asset,
            job.fp32_path, job.fp32_inputs or job.model_path, job.batch, job.seed,
        )  # fmt: skip
        key = hashlib.sha256(encode(facts)).hexdigest()[:16]
        job = msgspec.structs.replace(job, expected=str(folder / f"{name}.npz"))
        return ArmSpec(job, self.interpreter, str(folder / f"items-{key}.npz"))


class PairFailed(Exception):
    """Raised when a pair gives no result; says which arm failed, and why."""

    def __init__(self, side: Side, status: Status, reason: Reason) -> None:
        super().__init__(reason.message)
        self.side, self.status, self.reason = side, status, reason


def run_pair(
    arms: dict[Side, ArmSpec],
    *,
    cell: str,
    index: int,
    first: Side,
    cores: Sequence[int],
    quality: bool,
    rounds: int = ROUNDS,
    time_out_s: float = 120.0,
    give_up_s: float | None = None,
    inherited_fds: tuple[int, ...] = (),
    available_bytes: Callable[[], int | None] = lambda: None,
    meter: Meter | None = None,
) -> Pair:
    """Measures one pair. Raises PairFailed; the processes are gone whatever happens.

    After the blocks either arm is looked at while the other sleeps: whether its times are a measure of its
    work. `quality`: at length, and its quality is measured. `give_up_s`: so many seconds from
    now, silence is waited for no longer, but for GRACE_S; an arm that is never silent for long goes on.
    `meter`: after the blocks either arm runs alone for as long as it needs, and has its energy read.
    """
    begun = time.perf_counter()
    started = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    load = os.getloadavg()[0]
    order: tuple[Side, Side] = ("base", "head") if first == "base" else ("head", "base")
    running: dict[Side, _Arm] = {}
    until = math.inf if give_up_s is None else time.monotonic() + give_up_s
    try:
        # Both or neither: an arm that makes its inputs has another peak of memory than one that reads.
        kept = all(Path(arm.items).is_file() for arm in arms.values())
        with borrow(cores) as lent:
            for side, place in zip(order, (cores, lent), strict=True):
                job = ArmJob(
                    job=arms[side].job,
                    cores=list(cores),
                    lent=list(place),
                    items=arms[side].items,
                    items_kept=kept,
                    quality=quality,
                )
                interpreter = arms[side].interpreter
                running[side] = _Arm(side, job, interpreter, time_out_s, until, inherited_fds)
            for side in order:
                running[side].expect(Ready)
        loaded: dict[Side, Loaded] = {}
        for side in order:
            if loaded:
                _check_room(order[0], side, loaded[order[0]], available_bytes())
            running[side].send(OPEN)
            loaded[side] = running[side].expect(Loaded)
        device = any(arm.device for arm in loaded.values())
        begin = _block_shape(loaded.values(), long_blocks=device or not cores)
        slept_ns = asleep_ns()
        for side in order:
            running[side].send(encode(begin) + b"\n")
        for _ in range(rounds):
            for side in order:
                running[side].block()
        for side in order:
            running[side].send(END)
        stretches = {side: running[side].run_for(meter.needed_s) for side in order} if meter else {}
        for side in order:
            running[side].send(END)
        disturbed = next(filter(None, (running[side].disturbed() for side in order)), None)
        if asleep_ns() - slept_ns > MIN_SUSPENDED_NS:
            disturbed = disturbed or SUSPENDED
        clocks: dict[Side, _Clock] = {}
        for side in order:
            running[side].send(CHECK)
            running[side].expect(Checked)
            clocks[side] = running[side].clock()
        for side in order:
            running[side].send(END)
        measured = {
            side: msgspec.structs.replace(
                running[side].expect(Measured),
                clock_lag_ns=clocks[side].lag_ns,
                reasons=clocks[side].reasons,
            )
            for side in order
        }
    finally:
        for arm in running.values():
            arm.end()
    for side, ran in stretches.items():
        assert meter is not None
        energy = _energy(meter, ran, arms[side].job.batch, started)
        measured[side] = msgspec.structs.replace(measured[side], energy=energy)
    return Pair(
        schema=SCHEMA,
        cell=cell,
        index=index,
        first=first,
        cores=list(cores),
        load_1m=round(load, 2),
        started_utc=started,
        seconds=round(time.perf_counter() - begun, 3),
        begin=begin,
        device=device,
        base=measured["base"],
        head=measured["head"],
        disturbed=disturbed,
    )


def _energy(meter: Meter, ran: WindowDone, batch: int, started_utc: str) -> Energy | None:
    """Energy of an inference in a stretch; without the readings, which nobody asks for later."""
    stretch = Replicate(
        index=0,
        status="ok",
        started_utc=started_utc,
        window_start_ns=ran.start_ns,
        window_end_ns=ran.end_ns,
        window_ns=ran.end_ns - ran.start_ns,
        queries=ran.iterations,
    )
    found = meter.measured(stretch, batch, None).energy
    return found and msgspec.structs.replace(found, trace=None)


def _check_room(first: Side, second: Side, loaded: Loaded, available: int | None) -> None:
    needed = HEADROOM * (loaded.resident_bytes or 0)
    if available is not None and needed > available:
        message = (
            f"both arms do not fit in memory together: {first} takes "
            f"{(loaded.resident_bytes or 0) / 2**20:.0f} MiB, {available / 2**20:.0f} MiB are left"
        )
        raise PairFailed(second, "failed", Reason(code="out_of_memory", message=message))


def _block_shape(loaded: Any, long_blocks: bool) -> BlockShape:
    """Blocks of the same work in both arms, after the slower one."""
    typical_ns = max(arm.typical_ns for arm in loaded)
    calls = max(1, -(-SAMPLE_NS // typical_ns)) if typical_ns < SAMPLE_NS else 1
    samples = max(1, round(BLOCK_NS / (typical_ns * calls)))
    return BlockShape(samples=max(samples, MIN_ITERATIONS) if long_blocks else samples, calls=calls)


class _Clock(NamedTuple):
    """Converts an arm's clock to the clock of this process."""

    lag_ns: int | None
    reasons: list[Reason]


class _Arm:
    """A running arm: what it reports, and what the parent observes of it."""

    def __init__(
        self,
        side: Side,
        job: ArmJob,
        interpreter: Interpreter,
        time_out_s: float,
        until: float,
        inherited_fds: tuple[int, ...],
    ) -> None:
        self._side, self._time_out_s, self._until = side, time_out_s, until
        self._phase, self._buffer = "start", bytearray()
        self._witness = Witness()
        self._oom_kills = oom_kill_count()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed in `end`
        job_read, self._out = os.pipe()
        self._in, result_write = os.pipe()
        self._process = subprocess.Popen(
            [
                *interpreter.command("edgebench.ab_test.arm_process"),
                str(job_read),
                str(result_write),
                str(os.getpid()),
            ],
            pass_fds=(job_read, result_write, *inherited_fds),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
            env=interpreter.environment(),
        )
        os.close(job_read)
        os.close(result_write)
        self.send(encode(job) + b"\n")

    def send(self, line: bytes) -> None:
        try:
            view = memoryview(line)
            while view:
                view = view[os.write(self._out, view) :]
        except BrokenPipeError:
            pass  # it died: the end of the result pipe will tell

    def block(self) -> None:
        """Lets the arm run one block and waits for its end."""
        self.send(BLOCK)
        line = self._line(self._time_out_s)
        if line != BLOCK:
            self._fail(line)

    def run_for(self, seconds: float) -> WindowDone:
        """Lets the arm run without a pause."""
        self.send(encode(EnergyWindow(seconds)) + b"\n")
        return self.expect(WindowDone)

    def expect(self, kind: type[M]) -> M:
        """The arm's next message of that kind."""
        limit_s = self._time_out_s
        while True:
            message = self._message(self._line(limit_s))
            if isinstance(message, Phase):
                self._phase, limit_s = message.name, self._time_out_s + message.limit_s
                self._witness.look(self._process.pid)
                self._witness.hear(message.name, message.at_ns, late=False)
            elif isinstance(message, kind):
                return message
            else:
                self._fail(encode(message))

    def disturbed(self) -> Reason | None:
        """Whether it was stopped since its blocks began."""
        self._witness.look(self._process.pid)
        return STOPPED if self._witness.stopped else None

    def clock(self) -> _Clock:
        """By how much its clock fell behind since its blocks began."""
        found = self._witness.slow_clock()
        return _Clock(self._witness.lag_ns, [] if found is None else [found])

    def end(self) -> None:
        """Sees the process off, whatever state it is in: there is nothing left to wait for."""
        terminate(self._process, wait=False)
        os.close(self._in)
        os.close(self._out)
        self._log.close()

    def _line(self, limit_s: float) -> bytes:
        limit_s = min(limit_s, max(self._until - time.monotonic(), GRACE_S))
        deadline = time.monotonic() + limit_s
        while (at := self._buffer.find(b"\n")) < 0:
            ready, _, _ = select.select([self._in], [], [], max(0.0, deadline - time.monotonic()))
            chunk = os.read(self._in, 1 << 20) if ready else b""
            if not chunk:
                self._dead(limit_s=None if ready else limit_s)
            self._buffer += chunk
        line = bytes(self._buffer[: at + 1])
        del self._buffer[: at + 1]
        return line

    def _dead(self, limit_s: float | None) -> None:
        killed = terminate(self._process, wait=limit_s is None)
        reason = cause_of_death(
            self._process.returncode,
            phase=self._phase,
            log=self._log,
            time_out_s=None if limit_s is None else round(limit_s, 1),
            oom_kills=oom_kill_count() - self._oom_kills,
            killed=killed and limit_s is None,
        )
        if limit_s is not None and limit_s < self._time_out_s:
            reason = msgspec.structs.replace(reason, fix="raise --budget if it is only slow")
        raise PairFailed(self._side, "failed", reason)

    def _message(self, line: bytes) -> Message:
        """What the arm said; PairFailed where it is no message."""
        try:
            return decode_message(line)
        except (msgspec.MsgspecError, RecursionError):
            raise PairFailed(self._side, "failed", garbled(line, self._phase)) from None

    def _fail(self, line: bytes) -> None:
        message = self._message(line)
        if isinstance(message, Broken):
            raise PairFailed(self._side, message.status, message.reason)
        raise PairFailed(self._side, "failed", garbled(line, self._phase))
