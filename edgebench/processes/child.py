"""A child process: started, spoken to, listened to, ended; and why it gave no answer.

The one mechanism of workers, arms, preparations, calibrations, markers and samplers. They differ in what
is said and what it means, which is theirs.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, Protocol

from edgebench.record import Reason
from edgebench.text.plain_text import plain, shortened
from edgebench.words.reason_words import reason

#: How often this process wakes to show that time passes, where somebody watches.
TICK_S = 1.0
_MAX_SLEEP_S = 86_400.0
#: This process itself was stopped where it wakes this much later than it asked for.
MAX_LATE_S = 0.5
#: Bytes of a child's own output that are quoted when it dies.
QUOTED_BYTES = 600
#: A longer message is none: hours of samples take a hundredth of that.
MAX_MESSAGE_BYTES = 1 << 30
#: How long a child that has closed its end of the pipe may take to end.
END_TIMEOUT_S = 5.0
#: Code of the reason where the budget ended before the process did: whether it hung or was slow, nobody knows.
OUT_OF_TIME = "out_of_time"

Spawn = Callable[..., "subprocess.Popen[Any]"]


class Step(Protocol):
    """A phase that a child says it begins, and how long it may be silent in it beyond the time-out."""

    @property
    def name(self) -> str: ...
    @property
    def limit_s(self) -> float: ...


#: Takes a line of a child: the phase that it begins, None for the last word, or the Reason why it cannot be.
Hear = Callable[[bytes], "Step | Reason | None"]


@dataclass(frozen=True)
class Limits:
    time_out_s: float  # of silence, before it counts as a hang
    time_s: float = math.inf  # altogether


@dataclass(frozen=True)
class Setup:
    """How a child is started. `standard`: it is spoken to by its standard input and output; else by two
    pipes, whose descriptors follow its command, and this process's id follows them."""

    standard: bool = False
    log: bool = True  # what else it prints is kept, to be quoted where it dies
    inherited_fds: tuple[int, ...] = ()
    environment: Mapping[str, str] | None = None  # None: this process's own
    spawn: Spawn = subprocess.Popen


PIPES, STANDARD = Setup(), Setup(standard=True)


class Child:
    """A running process and what it has said so far. As a context: it is gone when the block is left."""

    def __init__(
        self,
        command: Sequence[str],
        limits: Limits,
        setup: Setup = PIPES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Starts it. Raises OSError where the system has no process, memory or file left for it."""
        self.phase = "start"
        self.limit_s = 0.0  # how long it may be silent in this phase
        self.answered = False  # it said its last word
        self.timed_out = False  # it was silent for longer
        self.out_of_time = False  # it took more time than there was
        self.late = False  # what it said was heard late: this process itself was asleep
        self._hung_up = False  # it closed its end: it is ending by itself
        self._garbled: Reason | None = None  # it wrote what cannot be
        self._killed: bool | None = None  # None: it was not ended yet
        self._limits, self._clock = limits, clock
        self._received, self._unsent, self._last_sent = bytearray(), bytearray(), False
        self._oom_kills = oom_kill_count()
        with contextlib.ExitStack() as opened:
            self._log = opened.enter_context(tempfile.TemporaryFile()) if setup.log else None
            self._selector = opened.enter_context(selectors.DefaultSelector())
            with contextlib.ExitStack() as theirs:
                read, self._out = _pipe(theirs, opened)
                self._in, write = _pipe(opened, theirs)
                self._process = _start(command, setup, read, write, self._log)
            self._opened = opened.pop_all()
        os.set_blocking(self._out.fileno(), False)
        self._selector.register(self._in, selectors.EVENT_READ)
        self._end_s = clock() + limits.time_s

    def __enter__(self) -> Child:  # noqa: PYI034 - typing.Self is Python 3.11's
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def returncode(self) -> int | None:
        return self._process.returncode

    def send(self, words: bytes, last: bool = False) -> None:
        """Says it without waiting: what the pipe does not take now goes out while this process listens.
        `last`: then hangs up."""
        self._unsent += words
        self._last_sent |= last
        self._push()

    def _push(self) -> None:
        try:
            while self._unsent:
                del self._unsent[: os.write(self._out.fileno(), self._unsent)]
        except BlockingIOError:
            if self._out not in self._selector.get_map():
                self._selector.register(self._out, selectors.EVENT_WRITE)
            return
        except BrokenPipeError:
            self._unsent.clear()  # it died: the end of its own pipe will tell
        if self._out in self._selector.get_map():
            self._selector.unregister(self._out)
        if self._last_sent:
            self._out.close()

    def listen(
        self,
        hear: Hear,
        on_tick: Callable[[], None] | None = None,
        on_wake: Callable[[], None] = lambda: None,
        patience_s: Callable[[float], float] = lambda limit_s: limit_s,
    ) -> bool:
        """Sleeps until the child has answered or ended, was silent for longer than its phase may be, or
        took more time than there was. True: it answered.

        `on_tick`: now and then meanwhile. `patience_s`: how much of the silence that a phase may have is
        waited for.
        """
        tick_s = _MAX_SLEEP_S if on_tick is None else TICK_S
        self.answered = False
        self._allow(patience_s(self._limits.time_out_s))
        while not self._over(hear, patience_s):
            now_s = self._clock()
            self.out_of_time = now_s >= self._end_s
            self.timed_out = not self.out_of_time and now_s >= self._silent_until_s
            if self.out_of_time or self.timed_out:
                break
            asked_s = min(tick_s, self._silent_until_s - now_s, self._end_s - now_s)
            ready = self._selector.select(asked_s)
            self.late = self._clock() - now_s > asked_s + MAX_LATE_S
            on_wake()
            if not ready and on_tick is not None:
                on_tick()
            for key, _ in ready:
                self._push() if key.fileobj is self._out else self._receive()
        return self.answered

    def _over(self, hear: Hear, patience_s: Callable[[float], float]) -> bool:
        """Hears the lines that have come; whether no further one is waited for."""
        while (newline := self._received.find(b"\n")) >= 0:
            heard = hear(bytes(self._received[:newline]))
            del self._received[: newline + 1]
            if heard is None:
                self.answered = True
                return True
            if isinstance(heard, Reason):
                self._garbled = heard
                return True
            self.phase = heard.name
            self._allow(patience_s(self._limits.time_out_s + heard.limit_s))
        if len(self._received) > MAX_MESSAGE_BYTES:
            self._garbled = garbled_reason(bytes(self._received[:QUOTED_BYTES]), self.phase)
        return self._hung_up or self._garbled is not None

    def _allow(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self._silent_until_s = self._clock() + limit_s

    def _receive(self) -> None:
        chunk = os.read(self._in.fileno(), 1 << 20)
        self._received += chunk
        self._hung_up = not chunk

    def end(self, wait: bool | None = None) -> None:
        """Ends the child, with everything it started. `wait`: it is about to end by itself; None: where it
        said its last word or hung up."""
        if self._killed is None:
            ending = self.answered or self._hung_up if wait is None else wait
            self._killed = terminate(self._process, wait=ending)

    def close(self) -> None:
        """Ends it, and lets go of what it was spoken to by; may be called twice."""
        with self._opened:
            self.end()

    def why_no_answer(self) -> Reason:
        """Why it gave no answer: it wrote what is none, ran out of time, was silent, or died."""
        self.end()
        if self._garbled is not None:
            return self._garbled
        if self.out_of_time:
            return reason("out_of_time.child", time_s=self._limits.time_s, phase=self.phase)
        if self.timed_out:
            return reason("timed_out", limit_s=self.limit_s, phase=self.phase)
        if self._killed:
            return reason("killed.hung_up", wait_s=END_TIMEOUT_S, phase=self.phase)
        return self._cause_of_death(self.phase)

    def why_ended(self, phase: str) -> Reason | None:
        """Why it has ended by itself in a phase that it did not tell of; None: it runs, or stands still."""
        return None if self.alive else self._cause_of_death(phase)

    def _cause_of_death(self, phase: str) -> Reason:
        code = self._process.returncode
        if code == -signal.SIGKILL:
            if oom_kill_count() > self._oom_kills:
                return reason("out_of_memory.child", phase=phase)
            return reason("killed.by_others", phase=phase)
        printed = " | ".join(self.last_lines())
        if code < 0:
            return reason("crashed", signal=_signal_name(-code), phase=phase, printed=printed)
        return reason("exited", exit_code=code, phase=phase, printed=printed)

    def last_lines(self) -> list[str]:
        if self._log is None:
            return []
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - QUOTED_BYTES))
        text = self._log.read().decode(errors="replace")
        return [line.strip() for line in text.splitlines() if line.strip()][-4:]


@dataclass(frozen=True)
class Failed:
    """A child that was asked and gave no answer. `last_line`: the last one that it printed."""

    reason: Reason
    last_line: str = ""


def ask(
    command: Sequence[str],
    limits: Limits,
    job: bytes = b"",
    setup: Setup = STANDARD,
    step: Callable[[bytes], Step | None] = lambda line: None,
    on_tick: Callable[[], None] | None = None,
) -> bytes | Failed:
    """Returns what a command answers to `job`, in one line on its standard output; its death, silence or greed is
    a reason. `step`: the phase that a line announces; the first line that announces none is the answer."""
    answers = []

    def hear(line: bytes) -> Step | None:
        begun = step(line)
        if begun is None:
            answers.append(line)
        return begun

    try:
        with Child(command, limits, setup) as child:
            child.send(job, last=True)
            if child.listen(hear, on_tick):
                return answers[0]
            why = child.why_no_answer()
            return Failed(why, "".join(child.last_lines()[-1:]))
    except OSError as error:
        return Failed(not_started(error))


def not_started(error: OSError) -> Reason:
    """Returns the reason that the system has no process, memory or file left for a child."""
    return reason("not_started", error=str(error.strerror or error))


def garbled_reason(line: bytes, phase: str) -> Reason:
    """Returns the reason that a process wrote something else where its message belongs."""
    text = plain(shortened(line.decode(errors="replace"), QUOTED_BYTES))
    return reason("garbled", phase=phase, text=text)


def terminate(process: subprocess.Popen[Any], *, wait: bool) -> bool:
    """Ends a process, with everything it started; `wait`: it is about to end by itself.

    Returns whether it had to be killed.
    """
    if wait:
        _wait_for_end(process)
    alive = process.poll() is None
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return alive


def _wait_for_end(process: subprocess.Popen[Any]) -> None:
    """Sleeps until it ends, for `END_TIMEOUT_S` at most. Linux tells at once; elsewhere Python looks again and again,
    and sees an end up to twice as late as it came. So it does where Python was built for a Linux before 5.3, as
    those of conda and of python-build-standalone may be."""
    if sys.platform == "linux" and hasattr(os, "pidfd_open"):
        with contextlib.suppress(OSError):  # nothing is left of it, or the kernel is before 5.3
            ended = os.pidfd_open(process.pid)
            try:
                waiting = select.poll()
                waiting.register(ended, select.POLLIN)
                waiting.poll(END_TIMEOUT_S * 1e3)
            finally:
                os.close(ended)
            return
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=END_TIMEOUT_S)


def oom_kill_count() -> int:
    """The kernel's count of processes killed for lack of memory, 0 where it keeps none."""
    try:
        for line in Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    except OSError:
        pass
    return 0


def _pipe(
    readers: contextlib.ExitStack, writers: contextlib.ExitStack
) -> tuple[BinaryIO, BinaryIO]:
    """Both ends of a pipe; either closes with its stack."""
    read, write = os.pipe()
    return (
        readers.enter_context(open(read, "rb", buffering=0)),  # noqa: PTH123 - of a descriptor
        writers.enter_context(open(write, "wb", buffering=0)),  # noqa: PTH123
    )


def _start(
    command: Sequence[str], setup: Setup, read: BinaryIO, write: BinaryIO, log: IO[bytes] | None
) -> subprocess.Popen[Any]:
    output = subprocess.DEVNULL if log is None else log
    words: list[str] = []
    fds = setup.inherited_fds
    if not setup.standard:
        words = [str(read.fileno()), str(write.fileno()), str(os.getpid())]
        fds = (read.fileno(), write.fileno(), *fds)
    return setup.spawn(
        [*command, *words],
        pass_fds=fds,
        stdin=read if setup.standard else subprocess.DEVNULL,
        stdout=write if setup.standard else output,
        stderr=output,
        start_new_session=True,  # Ctrl-C is this process's to handle
        env=setup.environment,
    )


def _signal_name(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
    return f"{name} (segmentation fault)" if name == "SIGSEGV" else name
