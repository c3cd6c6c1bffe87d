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


@dataclass
class _Conversation:
    """What a worker has said so far."""

    phase: str = "start"
    done: Done | None = None
    limit_s: float = 0.0  # how long it may be silent in this phase
    timed_out: bool = False
    hung_up: bool = False  # the worker closed its end: it is ending by itself
    pid: int | None = None
    witness: Witness = field(default_factory=Witness)
    buffer: bytearray = field(default_factory=bytearray)


def run_worker(
    job: Job,
    *,
    time_out_s: float,
    inherited_fds: tuple[int, ...] = (),
    on_tick: Callable[[], None] = lambda: None,
) -> Done:
    """Measures one replicate in a fresh process and returns it, whatever became of the process.

    `time_out_s` bounds each phase of the worker, on top of what the phase itself announces. The
    worker is killed, with its process group, when it is exceeded, and on any exception here.
    """
    started = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    begin, cpu_begin = time.perf_counter(), time.process_time()
    job_read, job_write = os.pipe()
    result_read, result_write = os.pipe()
    conversation = _Conversation()
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
            conversation.pid = process.pid
            _send_job(job_write, job)
            _listen(result_read, conversation, time_out_s, on_tick)
        finally:
            see_off(process, wait=conversation.hung_up or conversation.done is not None)
            os.close(result_read)
            os.close(job_write)
        done = conversation.done or Done(
            Replicate(
                index=job.index,
                status="failed",
                started_utc=started,
                reasons=[
                    cause_of_death(
                        process.returncode,
                        phase=conversation.phase,
                        log=log,
                        time_out_s=conversation.limit_s if conversation.timed_out else None,
                        oom_kills=oom_kill_count() - oom_kills,
                    )
                ],
            )
        )
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


def _listen(
    fd: int, conversation: _Conversation, time_out_s: float, on_tick: Callable[[], None]
) -> None:
    """Sleeps until the worker is done, ends, or stays silent for longer than its phase may take."""
    conversation.limit_s = time_out_s
    deadline = time.monotonic() + conversation.limit_s
    with selectors.DefaultSelector() as selector:
        selector.register(fd, selectors.EVENT_READ)
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                conversation.timed_out = True
                return
            asked_s, asleep = min(TICK_S, left), time.monotonic()
            spoken = selector.select(asked_s)
            late = time.monotonic() - asleep > asked_s + MAX_LATE_S
            if conversation.pid is not None:
                conversation.witness.look(conversation.pid)
            if not spoken:
                on_tick()
                continue
            chunk = os.read(fd, 1 << 20)
            if not chunk:
                conversation.hung_up = True
                return
            conversation.buffer += chunk
            while (end := conversation.buffer.find(b"\n")) >= 0:
                message = decode_message(bytes(conversation.buffer[:end]))
                del conversation.buffer[: end + 1]
                name = message.name if isinstance(message, Phase) else END
                conversation.witness.hear(name, message.at_ns, late)
                if isinstance(message, Phase):
                    conversation.phase = message.name
                    conversation.limit_s = time_out_s + message.limit_s
                    deadline = time.monotonic() + conversation.limit_s
                else:
                    conversation.done = conversation.witness.told(message)
                    return


def see_off(process: subprocess.Popen[Any], *, wait: bool) -> None:
    """Sees the worker off, with everything it started; `wait`: it is about to end by itself."""
    if wait:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=5)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


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
