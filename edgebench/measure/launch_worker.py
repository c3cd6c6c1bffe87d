"""The parent of a worker: starts it, sleeps until it reports, and turns its end into a replicate."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any, BinaryIO

import msgspec

from edgebench.measure.worker_messages import Done, Job, Phase, decode_message, encode_job
from edgebench.measure.worker_observer import END, MAX_LATE_S, Witness
from edgebench.processes.python_command import module_command
from edgebench.record import Reason, Replicate
from edgebench.record_validation import replicate_findings
from edgebench.text.plain_text import plain, shortened, utf8

#: How often the parent wakes to show that time passes.
TICK_S = 1.0
#: Bytes of a worker's own output that are quoted when it dies.
QUOTED_BYTES = 600
#: A longer message is none: hours of samples take a hundredth of that.
MAX_MESSAGE_BYTES = 1 << 30
#: How long a worker that has closed its end of the pipe may take to end.
END_TIMEOUT_S = 5.0


#: Code of the reason where the budget ended before the process did: whether it hung or was slow, nobody knows.
OUT_OF_TIME = "out_of_time"


@dataclass
class Conversation:
    """The messages of a child so far."""

    phase: str = "start"
    answered: bool = False  # it said its last word
    limit_s: float = 0.0  # how long it may be silent in this phase
    timed_out: bool = False  # it was silent for longer
    out_of_time: bool = False  # it took more time than there was
    hung_up: bool = False  # it closed its end: it is ending by itself
    late: bool = False  # what it said was heard late: this process itself was asleep
    garbled: Reason | None = None  # it wrote what cannot be
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
    done = _measured(job, started, time_out_s, time_s, inherited_fds, on_tick)
    return msgspec.structs.replace(
        done,
        replicate=msgspec.structs.replace(
            done.replicate,
            wall_s=time.perf_counter() - begin,
            parent_cpu_s=time.process_time() - cpu_begin,
        ),
    )


def _measured(
    job: Job,
    started: str,
    time_out_s: float,
    time_s: float,
    inherited_fds: tuple[int, ...],
    on_tick: Callable[[], None],
) -> Done:
    """The replicate as the worker tells it, or why it told none."""
    try:
        encoded = encode_job(job) + b"\n"
    except UnicodeEncodeError as error:
        return _failed(job, started, _not_utf8(str(error.object)))
    conversation = Conversation()
    kept: list[Done] = []
    witness = Witness()

    def hear(line: bytes) -> Phase | Reason | None:
        message = _message(line, conversation.phase)
        if isinstance(message, Reason):
            return message
        name = message.name if isinstance(message, Phase) else END
        witness.hear(name, message.at_ns, conversation.late)
        so_far = message if isinstance(message, Done) else message.so_far
        if so_far is not None:
            kept.append(witness.told(so_far))
        return message if isinstance(message, Phase) else None

    oom_kills = oom_kill_count()
    with tempfile.TemporaryFile() as log, contextlib.ExitStack() as pipes:
        job_read, job_write = _pipe(pipes)
        result_read, result_write = _pipe(pipes)
        try:
            process = _start(job_read.fileno(), result_write.fileno(), inherited_fds, log)
        except OSError as error:
            return _failed(job, started, not_started(error))
        try:
            job_read.close()
            result_write.close()
            _send_job(job_write.fileno(), encoded)
            listen(
                result_read.fileno(),
                conversation,
                hear,
                time_out_s,
                time_s,
                on_tick,
                on_wake=lambda: witness.look(process.pid),
            )
        finally:
            killed = terminate(process, wait=conversation.ending)
        if kept and (conversation.answered or conversation.out_of_time):
            return kept[-1]
        reason = why_no_answer(conversation, process.returncode, log, time_s, oom_kills, killed)
    return _failed(job, started, reason)


def _start(
    job_fd: int, result_fd: int, inherited_fds: tuple[int, ...], log: IO[bytes]
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        module_command(
            "edgebench.measure.replicate.worker", str(job_fd), str(result_fd), str(os.getpid())
        ),
        pass_fds=(job_fd, result_fd, *inherited_fds),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )


def _pipe(stack: contextlib.ExitStack) -> tuple[BinaryIO, BinaryIO]:
    """Both ends of a pipe, which close with the stack at the latest."""
    read, write = os.pipe()
    return (
        stack.enter_context(open(read, "rb", buffering=0)),  # noqa: PTH123 - of a descriptor
        stack.enter_context(open(write, "wb", buffering=0)),  # noqa: PTH123
    )


def _failed(job: Job, started: str, reason: Reason) -> Done:
    return Done(Replicate(index=job.index, status="failed", started_utc=started, reasons=[reason]))


def not_started(error: OSError) -> Reason:
    """That the system has no process, memory or file left for a child."""
    return Reason(
        code="not_started",
        message=f"no process could be started: {error.strerror or error}",
        fix="close other programs, or raise the limits that `ulimit -a` shows",
    )


def _not_utf8(path: str) -> Reason:
    message = f"a path is not UTF-8, and a runtime cannot open it: {utf8(path)}"
    return Reason(code="path_not_utf8", message=message, fix="rename the file or folder")


def _send_job(fd: int, job: bytes) -> None:
    try:
        view = memoryview(job)
        while view:
            view = view[os.write(fd, view) :]
    except BrokenPipeError:
        pass  # it died at once: the end of the result pipe will tell


def listen(
    fd: int,
    conversation: Conversation,
    hear: Callable[[bytes], Phase | Reason | None],
    time_out_s: float,
    time_s: float,
    on_tick: Callable[[], None],
    on_wake: Callable[[], None] = lambda: None,
) -> None:
    """Sleeps until a child has answered or ended, was silent for longer than its phase may be, or took
    more than `time_s`. `hear` takes a line: the phase that it begins, None for the last word, or the
    Reason why it cannot be."""
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
                heard = hear(bytes(conversation.buffer[:newline]))
                del conversation.buffer[: newline + 1]
                if isinstance(heard, Reason):
                    conversation.garbled = heard
                    return
                if heard is None:
                    conversation.answered = True
                    return
                conversation.phase = heard.name
                conversation.limit_s = time_out_s + heard.limit_s
                silent_until = time.monotonic() + conversation.limit_s
            if len(conversation.buffer) > MAX_MESSAGE_BYTES:
                start = bytes(conversation.buffer[:QUOTED_BYTES])
                conversation.garbled = garbled(start, conversation.phase)
                return


def _message(line: bytes, phase: str) -> Phase | Done | Reason:
    """What a worker said, or why that cannot be: a runtime or a task may write to any descriptor, and
    whatever it says must be readable in a record."""
    try:
        message = decode_message(line)
    except (msgspec.MsgspecError, RecursionError):
        return garbled(line, phase)
    done = message if isinstance(message, Done) else message.so_far
    if done is not None:
        for field, problem in replicate_findings(done.replicate):
            return Reason(
                code="nonsense",
                message=f"the worker told what cannot be: {field}: {problem}",
                fix="mend the backend, or its clock: docs/contract.md",
            )
    return message


def garbled(line: bytes, phase: str) -> Reason:
    """That a process wrote what is no message where its results belong."""
    text = plain(shortened(line.decode(errors="replace"), QUOTED_BYTES))
    return Reason(
        code="garbled",
        message=f"it wrote what is no result to the pipe of its results during {phase}: {text}",
        fix="keep the runtime and the task from writing to descriptors that they did not open",
    )


def terminate(process: subprocess.Popen[Any], *, wait: bool) -> bool:
    """Ends the worker, with everything it started; `wait`: it is about to end by itself.

    Returns whether it had to be killed.
    """
    if wait:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=END_TIMEOUT_S)
    alive = process.poll() is None
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return alive


def why_no_answer(
    conversation: Conversation,
    code: int,
    log: IO[bytes],
    time_s: float,
    oom_kills_before: int,
    killed: bool,
) -> Reason:
    """Why a child gave no answer: it wrote what is none, ran out of time, was silent, or died. `killed`: by
    `see_off`."""
    if conversation.garbled is not None:
        return conversation.garbled
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
        killed=killed,
    )


def cause_of_death(
    code: int,
    *,
    phase: str,
    log: IO[bytes],
    time_out_s: float | None,
    oom_kills: int,
    killed: bool = False,
) -> Reason:
    """Why a worker gave no result, in words. `time_out_s`: the silence it was killed for, if it was;
    `killed`: by edgebench, since it closed its pipe and did not end."""
    during = f"during {phase}"
    if time_out_s is not None:
        return Reason(
            code="timed_out",
            message=f"no sign of life for {time_out_s:g} s {during}: killed",
            fix="raise --timeout if the work may take that long",
        )
    if killed:
        return Reason(
            code="killed",
            message=f"closed the pipe of its results {during} and did not end within "
            f"{END_TIMEOUT_S:g} s: killed by edgebench",
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
