"""The helper process that reads a meter: started, listened to and ended from here.

The process (`sampling`) opens the source and appends samples to a file; this side sleeps and looks at
the file when a window is over. Never in the measured process: a thread there would wait for its
interpreter lock, and its time would be part of what is measured.
"""

from __future__ import annotations

import json
import math
import os
import pickle
import struct
from collections.abc import Iterable
from pathlib import Path

from edgebench.energy.energy_window import Facts, SourceFacts
from edgebench.energy.source import EnergySource, Sample
from edgebench.errors import EdgebenchError
from edgebench.processes.child import Child, Limits, Setup
from edgebench.processes.python_command import module_command
from edgebench.text.plain_text import plain, shortened

#: Between two reads, on average. Power: as often as the meter has news, from 50 Hz (a slower look
#: misses what a load does between) to 110 Hz (100 updates in a second). Counters: a tick's time is
#: known to within this.
MAX_INTERVAL_S = 0.020
MIN_INTERVAL_S = 0.009
#: One sample in the file: clock before and after the read (ns), value (NaN: the read failed).
RECORD = struct.Struct("<qqd")
_START_S = 15.0
_MAX_SHOWN = 200  # characters of an answer that is none


class SamplerError(EdgebenchError):
    """The helper process could not open the source, or died."""


def poll_interval_s(facts: Facts) -> float:
    """Mean time between two reads of a source."""
    if facts.quantity == "energy":
        return MAX_INTERVAL_S
    return min(MAX_INTERVAL_S, max(MIN_INTERVAL_S, facts.period_s, facts.calm_s))


def jittered(facts: Facts) -> bool:
    """Whether reads come at random moments of their intervals, so that they cannot beat with a
    load. A counter sums by itself and is read evenly, which dates its ticks best."""
    return facts.quantity == "power"


class Sampler:
    """A running helper process. It ends with `close` (`contextlib.closing`) and with its parent."""

    def __init__(self, source: EnergySource, file: Path) -> None:
        """Starts it. `file` takes the samples. Raises SamplerError where the source does not open."""
        self._file = file
        file.touch()
        self._child = Child(
            module_command("edgebench.energy.sampler_process", str(os.getpid()), str(file)),
            Limits(_START_S),
            # Of a driver that complains at every sample nothing is kept.
            Setup(standard=True, log=False),
        )
        self._reader = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self.facts = _greet(self._child, source)
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def alive(self) -> bool:
        return self._child.alive

    def between(self, start_ns: int, end_ns: int, margin_s: float = 0.0) -> list[Sample]:
        """Samples from `margin_s` before one moment to as much after the other, read from the file."""
        margin_ns = round(margin_s * 1e9)
        first = self._find(start_ns - margin_ns)
        last = self._find(end_ns + margin_ns)
        data = os.pread(self._reader, (last - first) * RECORD.size, first * RECORD.size)
        return decode(data)

    def _find(self, at_ns: int) -> int:
        """Number of samples before a moment: a binary search in the file, whose records ascend."""
        low, high = 0, os.fstat(self._reader).st_size // RECORD.size
        while low < high:
            middle = (low + high) // 2
            record = os.pread(self._reader, RECORD.size, middle * RECORD.size)
            if RECORD.unpack(record)[0] < at_ns:
                low = middle + 1
            else:
                high = middle
        return low

    def close(self) -> None:
        """Ends the process; may be called twice."""
        if self._reader < 0:
            return
        self._child.send(b"", last=True)  # its sign to end
        self._child.end(wait=True)
        self._child.close()
        os.close(self._reader)
        self._reader = -1


def _greet(child: Child, source: EnergySource) -> SourceFacts:
    """Hands the source over and waits until it is open."""
    lines: list[bytes] = []
    child.send(pickle.dumps(source))
    if not child.listen(lines.append):
        raise SamplerError(f"the process that reads {source.name} did not start")
    try:
        answer = json.loads(lines[0])
        if "error" in answer:
            raise SamplerError(f"{source.name}: {answer['error']}")
        return SourceFacts(**answer)
    except (ValueError, TypeError):
        said = plain(shortened(lines[0].decode(errors="replace"), _MAX_SHOWN))
        raise SamplerError(f"{source.name}: it answered what is no answer: {said}") from None


def decode(data: bytes) -> list[Sample]:
    """Samples from whole records."""
    unpacked: Iterable[tuple[int, int, float]] = RECORD.iter_unpack(data)
    return [Sample(a, b, None if math.isnan(value) else value) for a, b, value in unpacked]
