"""The kernel's counters of instructions and cache misses of this process in user space (perf_event). Runs inside the worker.

They are begun before a runtime starts its threads, since threads alone that come after them are counted with them. They count
all the time, which costs nothing while they run, and are read at both ends of a window.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from dataclasses import dataclass
from typing import Final, NamedTuple

from edgebench.words import fact_words

HARDWARE, SOFTWARE = 0, 1  # kinds of events
INSTRUCTIONS, CACHE_MISSES = 1, 3  # of hardware: those of the last level
TASK_CLOCK = 1  # of software, for tests
_NAMES = {INSTRUCTIONS: "instructions", CACHE_MISSES: "cache misses"}
_SYSTEM_CALL: Final = {"x86_64": 298, "aarch64": 241, "armv7l": 364, "riscv64": 241}
_SIZE = 64  # of the first version of the structure, which every kernel takes
_TIMES = 0b11  # read with the count: how long it was wanted, and how long it was counted
_INHERIT, _EXCLUDE_KERNEL, _EXCLUDE_HYPERVISOR = 1 << 1, 1 << 5, 1 << 6
_CLOSE_ON_EXEC = 8


class Count(NamedTuple):
    """What was counted between two looks; None: `unknown` says why."""

    value: int | None
    unknown: str = ""


@dataclass(frozen=True)
class Look:
    """The counter at one time, in its own units."""

    value: int
    wanted_ns: int
    counted_ns: int


@dataclass(frozen=True)
class Counter:
    """An open counter; `unknown`: why there is none."""

    descriptor: int | None
    unknown: str = ""

    def look(self) -> Look | None:
        if self.descriptor is None:
            return None
        try:
            return Look(*struct.unpack("QQQ", os.read(self.descriptor, 24)))
        except (OSError, struct.error):
            return None

    def whole(self) -> float | None:
        """What it has counted so far; None where others took it away for a part of the time."""
        look = self.look()
        if look is None or look.wanted_ns != look.counted_ns:
            return None
        return float(look.value)

    def since(self, begin: Look | None) -> Count:
        """What it counted since. A counter that others took away for a part of the time tells nothing sure."""
        end = self.look()
        if begin is None or end is None:
            return Count(None, self.unknown or fact_words.COUNTER_UNREADABLE)
        if end.wanted_ns - begin.wanted_ns != end.counted_ns - begin.counted_ns:
            return Count(None, fact_words.COUNTED_IN_PART)
        return Count(end.value - begin.value)


def open_counter(kind: int = HARDWARE, event: int = INSTRUCTIONS) -> Counter:
    """Begins to count this process and the threads that it will start."""
    number = _SYSTEM_CALL.get(platform.machine())
    if platform.system() != "Linux" or number is None:
        return Counter(None, fact_words.not_counted_here(what=_NAMES[event]))
    flags = _INHERIT | _EXCLUDE_KERNEL | _EXCLUDE_HYPERVISOR
    words = struct.pack("IIQQQQQ", kind, _SIZE, event, 0, 0, _TIMES, flags).ljust(_SIZE, b"\0")
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.syscall(
        ctypes.c_long(number), ctypes.c_char_p(words), 0, -1, -1, ctypes.c_ulong(_CLOSE_ON_EXEC)
    )
    if descriptor < 0:
        return Counter(None, _why_not(ctypes.get_errno(), _NAMES[event]))
    return Counter(descriptor)


def _why_not(number: int, name: str) -> str:
    if number in (1, 13):  # EPERM, EACCES
        return fact_words.COUNTER_FORBIDDEN
    if number in (2, 19, 95):  # ENOENT, ENODEV, EOPNOTSUPP
        return fact_words.counter_missing(what=name)
    return fact_words.counter_refused(what=name, error=os.strerror(number))


_OPENED: dict[int, Counter] = {}


def begin(*events: int) -> None:
    """Opens this process's counters of hardware events, each once. Before a runtime is imported."""
    for event in events:
        if event not in _OPENED:
            _OPENED[event] = open_counter(HARDWARE, event)


def current(event: int = INSTRUCTIONS) -> Counter:
    """This process's counter of an event."""
    return _OPENED.get(event) or Counter(None, fact_words.COUNTER_NOT_BEGUN)
