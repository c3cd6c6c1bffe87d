"""Apple's `powermetrics`: average milliwatts of its last interval, as a stream of property lists.

The lists are separated by NUL bytes. An interval lasts longer than was asked for (104.5 ms for 100):
energy is each average times the list's own `elapsed_ns`, added up.
"""

from __future__ import annotations

import contextlib
import os
import plistlib
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol
from xml.parsers.expat import ExpatError

from edgebench.energy.source import ClockNs, EnergySource, NoEnergy, Rail
from edgebench.probes.machine import Machine

_INTERVAL_MS = 100
_PERIOD_S = 0.1045
_J_PER_MW_NS = 1e-12
_COMMAND = (
    *("powermetrics", "--samplers", "cpu_power,gpu_power,ane_power"),
    *("-f", "plist", "-b", "0", "-i", str(_INTERVAL_MS)),
)
_FIELDS = {"CPU": "cpu_power", "GPU": "gpu_power", "ANE": "ane_power"}
_CHUNK_BYTES = 1 << 20


class Stream(Protocol):
    """A running powermetrics."""

    def read(self) -> bytes:
        """Returns what has come since the last call, b"" where nothing has. Raises OSError at its end."""

    def stop(self) -> None: ...


class Process:
    """The command itself, which needs root."""

    def __init__(self, command: Sequence[str] = _COMMAND) -> None:
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
        )
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)

    def read(self) -> bytes:
        assert self._process.stdout is not None
        try:
            data = os.read(self._process.stdout.fileno(), _CHUNK_BYTES)
        except BlockingIOError:
            return b""
        if not data:
            raise OSError("powermetrics ended")
        return data

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


class Powermetrics(EnergySource):
    name = "powermetrics"
    kind = "vendor_counter"
    quantity = "energy"
    scope = total_rail = " + ".join(_FIELDS)
    period_s = _PERIOD_S
    resolution = _PERIOD_S * 1e-3 * len(_FIELDS)  # a milliwatt over an interval
    latency_s = 0.02
    load_rails = ("CPU",)
    caveats = ("Apple calls these values estimates, and states no accuracy",)

    def __init__(
        self, clock_ns: ClockNs = time.monotonic_ns, start: Callable[[], Stream] = Process
    ) -> None:
        self._clock_ns = clock_ns
        self._start = start
        self._stream: Stream | None = None
        self._rest = b""
        self._joules: dict[str, float] = {}
        self._problem = ""

    def open(self) -> None:
        self._rest, self._problem = b"", ""
        self._joules = dict.fromkeys(_FIELDS, 0.0)
        self._stream = self._start()

    def rails(self) -> list[Rail]:
        self._take()
        lost = bool(self._problem)
        return [Rail(name, None if lost else value, True) for name, value in self._joules.items()]

    @property
    def problem(self) -> str:
        return self._problem

    def _take(self) -> None:
        """Adds the lists that have come. What cannot be read is energy that is missing: lost."""
        if self._problem or self._stream is None:
            return
        try:
            *texts, self._rest = (self._rest + self._stream.read()).split(b"\0")
            for text in filter(None, (text.strip() for text in texts)):
                for name, joules in joules_of(plistlib.loads(text)).items():
                    self._joules[name] += joules
        except (OSError, ValueError, KeyError, ExpatError) as error:
            self._problem = f"powermetrics: {error or type(error).__name__}"

    def close(self) -> None:
        if self._stream is not None:
            with contextlib.suppress(OSError):
                self._stream.stop()
            self._stream = None


def joules_of(record: Mapping[str, Any]) -> dict[str, float]:
    """Joules of each part in the interval of one list. Raises KeyError where a part is missing."""
    elapsed_ns, processor = record["elapsed_ns"], record["processor"]
    return {name: processor[field] * elapsed_ns * _J_PER_MW_NS for name, field in _FIELDS.items()}


def find(
    machine: Machine, clock_ns: ClockNs = time.monotonic_ns, user: Callable[[], int] = os.geteuid
) -> Powermetrics | NoEnergy | None:
    """powermetrics where this user may run it; None on another machine than a Mac."""
    if not machine.macos:
        return None
    if user() != 0:
        return NoEnergy("permission_denied", "powermetrics is for root alone", "run as root (sudo)")
    return Powermetrics(clock_ns)
