"""Small files of the kernel's that are read over and over: opened once, read from their start."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from edgebench.energy.source import ClockNs, EnergySource, Rail, Sample, total
from edgebench.energy.sources._counter import Counter

_MAX_BYTES = 64


class Register:
    """One whole number in a file. Picklable as long as it is not open."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = -1

    def open(self) -> None:
        """Raises OSError where the file cannot be opened. The kernel makes its text anew for every
        read at offset 0, so that one descriptor serves."""
        if self._descriptor < 0:
            self._descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)

    def read(self) -> int | None:
        """The number now, or None: not ready (EAGAIN), switched off (ENODATA), or not a number."""
        try:
            return int(os.pread(self._descriptor, _MAX_BYTES, 0))
        except (OSError, ValueError):
            return None

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class RegisterRail:
    """A rail whose value is the product of its registers, or what its counter has advanced by."""

    def __init__(
        self,
        name: str,
        paths: Sequence[Path],
        counted: bool,
        scale: float,
        new_counter: Callable[[], Counter] | None = None,
    ) -> None:
        """`scale`: of the product to watts. `new_counter`: of a rail that has one register, which counts."""
        self.name = name
        self.counted = counted
        self.registers = [Register(path) for path in paths]
        self._scale = scale
        self._new_counter = new_counter
        self._counter: Counter | None = None

    def begin(self) -> None:
        """Counts from the next read on."""
        self._counter = self._new_counter() if self._new_counter else None

    def read(self, at_ns: int) -> float | None:
        """Watts now, or joules since the first read; unknown where a register is."""
        if self._counter is not None:
            return self._counter.advance(self.registers[0].read(), at_ns)
        product = 1
        for register in self.registers:
            value = register.read()
            if value is None:
                return None
            product *= value
        return product * self._scale

    @property
    def lost(self) -> str:
        """Why nothing is known any more, "" as long as something may be."""
        return self._counter.lost if self._counter is not None else ""


class RegisterSource(EnergySource):
    """A meter that is read through files of the kernel's."""

    def __init__(
        self, rails: Sequence[RegisterRail], clock_ns: ClockNs = time.monotonic_ns
    ) -> None:
        self._rails = rails
        self._counted = [rail for rail in rails if rail.counted]
        self._clock_ns = clock_ns

    def open(self) -> None:
        """Opens all registers. Of a rail that is counted a failure closes all again and is raised."""
        for rail in self._rails:
            for register in rail.registers:
                try:
                    register.open()
                except OSError:
                    if rail.counted:
                        self.close()
                        raise
            rail.begin()
        if self.quantity == "energy":
            self.rails()  # joules are counted from each counter's first value

    def sample(self) -> Sample:
        """Reads what is summed alone: the other values of a chip may be one a core."""
        start_ns = self._clock_ns()
        value = total([rail.read(start_ns) for rail in self._counted])
        return Sample(start_ns, self._clock_ns(), value)

    def rails(self) -> list[Rail]:
        at_ns = self._clock_ns()
        return [Rail(rail.name, rail.read(at_ns), rail.counted) for rail in self._rails]

    @property
    def problem(self) -> str:
        return "; ".join(f"{rail.name} {rail.lost}" for rail in self._counted if rail.lost)

    def close(self) -> None:
        for rail in self._rails:
            for register in rail.registers:
                register.close()
