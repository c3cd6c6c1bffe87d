"""The parent: starts a worker, sleeps until it speaks, and turns whatever happens into a replicate."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any

import msgspec

from edgebench.measure.jobs import Done, Job, Phase, decode_message, encode_job
from edgebench.measure.witness import END, MAX_LATE_S, Witness
from edgebench.record import Reason, Replicate

#: How often the parent wakes to show that time passes.
TICK_S = 1.0
#: Bytes of a worker's own output that are quoted when it dies.
QUOTED_BYTES = 600


#: Code of the reason where the budget ended before the process did: whether it hung or was slow, nobody knows.
OUT_OF_TIME = "out_of_time"


@dataclass
class Conversation:
    """What a child has said so far."""

    phase: str = "start"
    answered: bool = False  # it said its last word
    limit_s: float = 0.0  # how long it may be silent in this phase
    timed_out: bool = False  # it was silent for longer
    out_of_time: bool = False  # it took more time than there was
    hung_up: bool = False  # it closed its end: it is ending by itself
    late: bool = False  # what it said was heard late: this process itself was asleep
    foreign: str = ""  # the start of a line that it cannot have meant
    buffer: bytearray = field(default_factory=bytearray)

    @property
    def ending(self) -> bool:
        return self.answered or self.hung_up


def run_worker(
    job: Job,
    *,
    time_out_s: float,
    time_s: float = float("inf"),
    inherited_fds: tuple[int, ...] = (),
    on_tick: Callable[[], None] = lambda: None,
) -> Done:
    """Measures one replicate in a fresh process and returns it, whatever became of the process.

    `time_out_s` bounds each phase of the worker, on top of what the phase itself announces; `time_s`
    bounds them all together. The worker is killed, with its process group, when either is exceeded, and
    on any exception here. What it had measured before its quality pass stands where only time ran out.
    """
    started = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    begin, cpu_begin = time.perf_counter(), time.process_time()
    job_read, job_write = os.pipe()
    result_read, result_write = os.pipe()
    conversation = Conversation()
    kept: list[Done] = []
    witness = Witness()

    def hear(line: bytes) -> Phase | None:
        try:
            message = decode_message(line)
        except msgspec.MsgspecError:
            conversation.foreign = line[:80].decode(errors="replace")
            return None
        name = message.name if isinstance(message, Phase) else END
        witness.hear(name, message.at_ns, conversation.late)
        if isinstance(message, Done):
            kept.append(witness.told(message))
            return None
        if message.so_far is not None:
            kept.append(witness.told(message.so_far))
        return message

    oom_kills = oom_kill_count()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "edgebench.measure.worker",
                str(job_read),
                str(result_write),
                str(os.getpid()),
            ],
            pass_fds=(job_read, result_write, *inherited_fds),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            os.close(job_read)
            os.close(result_write)
            _send_job(job_write, job)
            listen(
                result_read,
                conversation,
                hear,
                time_out_s,
                time_s,
                on_tick,
                on_wake=lambda: witness.look(process.pid),
            )
        finally:
            see_off(process, wait=conversation.ending)
            os.close(result_read)
            os.close(job_write)
        if kept and (
            conversation.out_of_time or (not conversation.foreign and conversation.answered)
        ):
            done = kept[-1]
        else:
            reason = why_no_answer(conversation, process.returncode, log, time_s, oom_kills)
            failed = Replicate(
                index=job.index, status="failed", started_utc=started, reasons=[reason]
            )
            done = Done(failed)
    return msgspec.structs.replace(
        done,
        replicate=msgspec.structs.replace(
            done.replicate,
            wall_s=time.perf_counter() - begin,
            parent_cpu_s=time.process_time() - cpu_begin,
        ),
    )


def _send_job(fd: int, job: Job) -> None:
    try:
        view = memoryview(encode_job(job) + b"\n")
        while view:
            view = view[os.write(fd, view) :]
    except BrokenPipeError:
        pass  # it died at once: the end of the result pipe will tell


def listen(
    fd: int,
    conversation: Conversation,
    hear: Callable[[bytes], Phase | None],
    time_out_s: float,
    time_s: float,
    on_tick: Callable[[], None],
    on_wake: Callable[[], None] = lambda: None,
) -> None:
    """Sleeps until a child has answered or ended, was silent for longer than its phase may be, or took
    more than `time_s`. `hear` takes a line: the phase that it begins, or None for the last word."""
    conversation.limit_s = time_out_s
    now = time.monotonic()
    end, silent_until = now + time_s, now + time_out_s
    with selectors.DefaultSelector() as selector:
        selector.register(fd, selectors.EVENT_READ)
        while True:
            now = time.monotonic()
            conversation.out_of_time = now >= end
            conversation.timed_out = not conversation.out_of_time and now >= silent_until
            if conversation.out_of_time or conversation.timed_out:
                return
            asked_s = min(TICK_S, silent_until - now, end - now)
            spoken = selector.select(asked_s)
            conversation.late = time.monotonic() - now > asked_s + MAX_LATE_S
            on_wake()
            if not spoken:
                on_tick()
                continue
            chunk = os.read(fd, 1 << 20)
            if not chunk:
                conversation.hung_up = True
                return
            conversation.buffer += chunk
            while (newline := conversation.buffer.find(b"\n")) >= 0:
                phase = hear(bytes(conversation.buffer[:newline]))
                del conversation.buffer[: newline + 1]
                if phase is None:
                    conversation.answered = True
                    return
                conversation.phase = phase.name
                conversation.limit_s = time_out_s + phase.limit_s
                silent_until = time.monotonic() + conversation.limit_s


def see_off(process: subprocess.Popen[Any], *, wait: bool) -> None:
    """Sees the worker off, with everything it started; `wait`: it is about to end by itself."""
    if wait:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=5)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def why_no_answer(
    conversation: Conversation, code: int, log: IO[bytes], time_s: float, oom_kills_before: int
) -> Reason:
    """Why a child gave no answer: it ran out of time, was silent, or died."""
    if conversation.foreign:
        return Reason(
            code="foreign_answer",
            message=f"something wrote {conversation.foreign!r} in the place of the answer during "
            f"{conversation.phase}",
        )
    if conversation.out_of_time:
        return Reason(
            code=OUT_OF_TIME,
            message=f"the budget left it {time_s:.3g} s, which ended during {conversation.phase}",
            fix="raise --budget",
        )
    return cause_of_death(
        code,
        phase=conversation.phase,
        log=log,
        time_out_s=conversation.limit_s if conversation.timed_out else None,
        oom_kills=oom_kill_count() - oom_kills_before,
    )


def cause_of_death(
    code: int, *, phase: str, log: IO[bytes], time_out_s: float | None, oom_kills: int
) -> Reason:
    """Why a worker gave no result, in words. `time_out_s`: the silence it was killed for, if it was."""
    during = f"during {phase}"
    if time_out_s is not None:
        return Reason(
            code="timed_out",
            message=f"no sign of life for {time_out_s:g} s {during}: killed",
            fix="raise --timeout if the work may take that long",
        )
    if code == -signal.SIGKILL:
        if oom_kills > 0:
            return Reason(
                code="out_of_memory", message=f"the kernel killed it for lack of memory {during}"
            )
        return Reason(code="killed", message=f"killed by SIGKILL {during}, not by edgebench")
    quoted = _tail(log)
    quoted = f": {quoted}" if quoted else ""
    if code < 0:
        return Reason(code="crashed", message=f"died of {_signal_name(-code)} {during}{quoted}")
    return Reason(code="exited", message=f"exited with code {code} {during}{quoted}")


def _signal_name(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
    return f"{name} (segmentation fault)" if name == "SIGSEGV" else name


def _tail(log: IO[bytes]) -> str:
    """The last lines that the worker printed, on one line."""
    size = log.seek(0, os.SEEK_END)
    log.seek(max(0, size - QUOTED_BYTES))
    text = log.read().decode(errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " | ".join(lines[-4:])


def oom_kill_count() -> int:
    """The kernel's count of processes killed for lack of memory, 0 where it keeps none."""
    try:
        for line in Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    except OSError:
        pass
    return 0
