"""The parent's side of a pair: two fresh processes that take turns, block by block.

Between two blocks the parent reads one line and writes one; the same for both arms. It sleeps meanwhile.
"""

from __future__ import annotations

import hashlib
import math
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn, TypeVar

import msgspec

from edgebench.ab_test import arm_messages as messages
from edgebench.ab_test.pair_record import SCHEMA, BlockShape, Measured, Pair, Side
from edgebench.measure.cpu_pinning import borrow
from edgebench.measure.worker_messages import Job, Phase
from edgebench.measure.worker_observer import MIN_SUSPENDED_NS, STOPPED, SUSPENDED, Witness
from edgebench.probes.process_accounting import asleep_ns
from edgebench.processes.child import Child, Limits, Setup, garbled_reason, not_started
from edgebench.processes.python_command import foreign_module_command, module_command
from edgebench.record import Energy, Reason, Replicate, Status
from edgebench.words.reason_words import reason

if TYPE_CHECKING:
    from edgebench.energy.run_meter import Meter

M = TypeVar("M", messages.Ready, messages.Loaded, messages.WindowDone, messages.Checked, Measured)

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
        key = hashlib.sha256(messages.encode(facts)).hexdigest()[:16]
        job = msgspec.structs.replace(job, expected=str(folder / f"{name}.npz"))
        return ArmSpec(job, self.interpreter, str(folder / f"items-{key}.npz"))


class PairFailed(Exception):
    """Raised when a pair gives no result; says which arm failed, and why."""

    def __init__(self, side: Side, status: Status, reason: Reason) -> None:
        super().__init__(reason.message)
        self.side, self.status, self.reason = side, status, reason


@dataclass(frozen=True, kw_only=True)
class PairPlan:
    """How a pair of a cell is measured."""

    cell: str
    index: int
    first: Side
    cores: Sequence[int]  # of the arms; empty: not pinned
    quality: bool  # the looks at length, and its quality is measured
    rounds: int = ROUNDS
    time_out_s: float = 120.0
    #: So many seconds from now, silence is waited for no longer, but for GRACE_S; an arm that is never
    #: silent for long goes on.
    give_up_s: float | None = None
    inherited_fds: tuple[int, ...] = ()

    @property
    def order(self) -> tuple[Side, Side]:
        return ("base", "head") if self.first == "base" else ("head", "base")


def run_pair(
    arms: Mapping[Side, ArmSpec],
    plan: PairPlan,
    available_bytes: Callable[[], int | None] = lambda: None,
    meter: Meter | None = None,
) -> Pair:
    """Measures one pair. Raises PairFailed; the processes are gone whatever happens.

    After the blocks either arm is looked at while the other sleeps: whether its times are a measure of its
    work. `meter`: after the blocks either arm runs alone for as long as it needs, and has its energy read.
    """
    begun = time.perf_counter()
    started = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    load = os.getloadavg()[0]
    running: dict[Side, _Arm] = {}  # in the order of their turns
    try:
        _start(running, arms, plan)
        loaded = _load(running, available_bytes)
        device = any(arm.device for arm in loaded)
        least = MIN_ITERATIONS if device or not plan.cores else 1
        begin = block_shape(max(arm.typical_ns for arm in loaded), least)
        slept_ns = asleep_ns()
        _blocks(running, begin, plan.rounds)
        windows = _energy_windows(running, meter)
        disturbed = _disturbed(running, slept_ns)
        clocks = _looks(running)
        measured = _results(running, clocks)
    finally:
        for arm in running.values():
            arm.end()
    for side, window in windows.items():
        assert meter is not None
        energy = _energy(meter, window, arms[side].job.batch, started)
        measured[side] = msgspec.structs.replace(measured[side], energy=energy)
    return Pair(
        schema=SCHEMA,
        cell=plan.cell,
        index=plan.index,
        first=plan.first,
        cores=list(plan.cores),
        load_1m=round(load, 2),
        started_utc=started,
        seconds=round(time.perf_counter() - begun, 3),
        begin=begin,
        device=device,
        base=measured["base"],
        head=measured["head"],
        disturbed=disturbed,
    )


def _start(running: dict[Side, _Arm], arms: Mapping[Side, ArmSpec], plan: PairPlan) -> None:
    """Both arms at once, each on a core, until all that they import is there."""
    until_s = math.inf if plan.give_up_s is None else time.monotonic() + plan.give_up_s
    patience = Patience(plan.time_out_s, until_s)
    # Both or neither: an arm that makes its inputs has another peak of memory than one that reads.
    kept = all(Path(arm.items).is_file() for arm in arms.values())
    with borrow(plan.cores) as lent:
        for side, place in zip(plan.order, (plan.cores, lent), strict=True):
            spec = arms[side]
            job = messages.ArmJob(
                job=spec.job,
                cores=list(plan.cores),
                lent=list(place),
                items=spec.items,
                items_kept=kept,
                quality=plan.quality,
            )
            running[side] = _Arm(side, job, spec.interpreter, patience, plan.inherited_fds)
        for arm in running.values():
            arm.expect(messages.Ready)


def _load(
    running: dict[Side, _Arm], available_bytes: Callable[[], int | None]
) -> list[messages.Loaded]:
    """One model after the other, the second where there is room for it."""
    first, second = running
    running[first].send(messages.OPEN)
    loaded = running[first].expect(messages.Loaded)
    _check_room(first, second, loaded, available_bytes())
    running[second].send(messages.OPEN)
    return [loaded, running[second].expect(messages.Loaded)]


def _blocks(running: dict[Side, _Arm], begin: BlockShape, rounds: int) -> None:
    for arm in running.values():
        arm.send(messages.encode(begin) + b"\n")
    for _ in range(rounds):
        for arm in running.values():
            arm.block()
    _end_phase(running)


def _energy_windows(
    running: dict[Side, _Arm], meter: Meter | None
) -> dict[Side, messages.WindowDone]:
    """A window of each arm alone, for the meter; none without one."""
    windows = {side: arm.run_for(meter.needed_s) for side, arm in running.items()} if meter else {}
    _end_phase(running)
    return windows


def _end_phase(running: dict[Side, _Arm]) -> None:
    for arm in running.values():
        arm.send(messages.END)


def _disturbed(running: dict[Side, _Arm], slept_ns: int) -> Reason | None:
    """Returns what happened to either arm, or to the machine, since it had slept for so long."""
    stopped = [arm.disturbed() for arm in running.values()]
    suspended = SUSPENDED if asleep_ns() - slept_ns > MIN_SUSPENDED_NS else None
    return next(filter(None, [*stopped, suspended]), None)


def _looks(running: dict[Side, _Arm]) -> dict[Side, _Clock]:
    """Either arm looks at itself while the other sleeps; what its clock was meanwhile."""
    clocks = {}
    for side, arm in running.items():
        arm.send(messages.CHECK)
        arm.expect(messages.Checked)
        clocks[side] = arm.clock()
    _end_phase(running)
    return clocks


def _results(running: dict[Side, _Arm], clocks: dict[Side, _Clock]) -> dict[Side, Measured]:
    return {
        side: msgspec.structs.replace(
            arm.expect(Measured), clock_lag_ns=clocks[side].lag_ns, reasons=clocks[side].reasons
        )
        for side, arm in running.items()
    }


def _energy(meter: Meter, ran: messages.WindowDone, batch: int, started_utc: str) -> Energy | None:
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
    energy = meter.measured(stretch, batch, None).energy
    return energy and msgspec.structs.replace(energy, trace=None)


def _check_room(first: Side, second: Side, loaded: messages.Loaded, available: int | None) -> None:
    needed = HEADROOM * (loaded.resident_bytes or 0)
    if available is not None and needed > available:
        taken = loaded.resident_bytes or 0
        why = reason(
            "out_of_memory.both_arms", first=first, taken_bytes=taken, left_bytes=available
        )
        raise PairFailed(second, "failed", why)


def block_shape(typical_ns: int, least: int = 1) -> BlockShape:
    """Blocks of the same work on both sides, of which the slower one takes so long; of `least` samples."""
    calls = max(1, -(-SAMPLE_NS // typical_ns)) if typical_ns < SAMPLE_NS else 1
    return BlockShape(samples=max(least, round(BLOCK_NS / (typical_ns * calls))), calls=calls)


class _Clock(NamedTuple):
    """Converts an arm's clock to the clock of this process."""

    lag_ns: int | None
    reasons: list[Reason]


@dataclass(frozen=True)
class Patience:
    """How long silence of an arm is waited for: `time_out_s`, and where the pair's time is over at `until_s`
    (of the monotonic clock), a moment."""

    time_out_s: float
    until_s: float = math.inf

    def waits_s(self, limit_s: float) -> float:
        """How much of the silence that a phase may have is waited for now."""
        left_s = max(self.until_s - time.monotonic(), GRACE_S)
        return limit_s if limit_s <= left_s else round(left_s, 1)


class _Arm:
    """A running arm: what it reports, and what the parent observes of it."""

    def __init__(
        self,
        side: Side,
        job: messages.ArmJob,
        interpreter: Interpreter,
        patience: Patience,
        inherited_fds: tuple[int, ...],
    ) -> None:
        self._side, self._patience = side, patience
        self._witness = Witness()
        try:
            self._child = Child(
                interpreter.command("edgebench.ab_test.arm_process"),
                Limits(patience.time_out_s),
                Setup(inherited_fds=inherited_fds, environment=interpreter.environment()),
            )
        except OSError as error:
            raise PairFailed(side, "failed", not_started(error)) from None
        self.send(messages.encode(job) + b"\n")

    def send(self, line: bytes) -> None:
        self._child.send(line)

    def block(self) -> None:
        """Lets the arm run one block and waits for its end."""
        self.send(messages.BLOCK)
        if (message := self._next()) is not None:
            self._fail(message)

    def run_for(self, seconds: float) -> messages.WindowDone:
        """Lets the arm run without a pause."""
        self.send(messages.encode(messages.EnergyWindow(seconds)) + b"\n")
        return self.expect(messages.WindowDone)

    def expect(self, kind: type[M]) -> M:
        """The arm's next message, which is of that kind; phases may come before it."""
        message = self._next()
        return message if isinstance(message, kind) else self._fail(message)

    def disturbed(self) -> Reason | None:
        """Whether it was stopped since its blocks began."""
        self._witness.look(self._child.pid)
        return STOPPED if self._witness.stopped else None

    def clock(self) -> _Clock:
        """Reports by how much its clock fell behind since its blocks began."""
        problem = self._witness.slow_clock()
        return _Clock(self._witness.lag_ns, [] if problem is None else [problem])

    def end(self) -> None:
        """Sees the process off, whatever state it is in: there is nothing left to wait for."""
        self._child.end(wait=False)
        self._child.close()

    def _next(self) -> messages.Message | None:
        """Its next message but for phases; None: the end of a block."""
        said: list[messages.Message | None] = []

        def hear(line: bytes) -> Phase | None:
            message = None if line == messages.BLOCK.rstrip() else self._message(line)
            if isinstance(message, Phase):
                self._witness.look(self._child.pid)
                self._witness.hear(message.name, message.at_ns, self._child.late)
                return message
            said.append(message)
            return None

        if not self._child.listen(hear, patience_s=self._waits_s):
            self._dead()
        return said[0]

    def _waits_s(self, limit_s: float) -> float:
        return self._patience.waits_s(limit_s)

    def _message(self, line: bytes) -> messages.Message:
        """Returns what the arm said; PairFailed where it is no message."""
        try:
            return messages.decode_message(line)
        except (msgspec.MsgspecError, RecursionError):
            raise PairFailed(
                self._side, "failed", garbled_reason(line, self._child.phase)
            ) from None

    def _dead(self) -> NoReturn:
        reason = self._child.why_no_answer()
        if reason.code == "timed_out" and self._child.limit_s < self._patience.time_out_s:
            reason = msgspec.structs.replace(reason, fix="raise --budget if it is only slow")
        raise PairFailed(self._side, "failed", reason)

    def _fail(self, message: messages.Message | None) -> NoReturn:
        """It said what was not its turn to say, or that it gives up."""
        if isinstance(message, messages.Broken):
            raise PairFailed(self._side, message.status, message.reason)
        line = messages.BLOCK if message is None else messages.encode(message)
        raise PairFailed(self._side, "failed", garbled_reason(line, self._child.phase))
