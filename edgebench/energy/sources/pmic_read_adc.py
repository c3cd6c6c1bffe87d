"""The power management chip of a Raspberry Pi 5, through `vcgencmd pmic_read_adc`.

Twelve rails have a current and a voltage, paired by name. They are behind the board's converters and
leave out what hangs at 5 V (USB, NVMe, fan). A published fit takes the sum P of them to the board's
input, 1.1451 * P + 0.5879 W; that would be a modelled number, and is not used: the value is the sum of
what was measured.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgebench.energy.source import ClockNs, EnergySource, NoEnergy, Rail
from edgebench.probes import proc_files
from edgebench.probes.machine import Machine, Runner

COMMAND = ("vcgencmd", "pmic_read_adc")
_LINE = re.compile(r"\s*(\w+)_([AV])\s+(?:current|volt)\([0-9]+\)=([0-9.]+)[AV]\s*")
_PERIOD_S = 0.1  # assumed of the converter
_HELD_S = 0.1
_STEP_A = 0.001  # the coarse end: the largest rail's step is about a milliampere


class PmicReadAdc(EnergySource):
    name = "pmic_read_adc"
    kind = "measured_rail"
    quantity = "power"
    scope = "PMIC rails, without 5 V loads"
    period_s = _PERIOD_S
    latency_s = _HELD_S
    caveats = (
        "rate and accuracy of the converter are not published: uncertainty does not include them",
        "ten times a second a process is started to read it, which the board itself pays for",
    )

    def __init__(self, run: Runner, pairs: Mapping[str, float], clock_ns: ClockNs) -> None:
        """`pairs`: volts of each rail that has a current and a voltage."""
        self._run = run
        self._clock_ns = clock_ns
        self._names = tuple(pairs)
        self.total_rail = " + ".join(pairs)
        self.resolution = _STEP_A * sum(pairs.values())

    def open(self) -> None:
        if not watts(self._run(COMMAND) or ""):
            raise OSError("vcgencmd pmic_read_adc gave no answer")

    def rails(self) -> list[Rail]:
        rails = watts(self._run(COMMAND) or "")
        return [Rail(name, rails.get(name), True) for name in self._names]

    def close(self) -> None:
        pass


class Held:
    """A runner that asks anew only after a period, like a chip's register that holds its last value.
    Each answer starts a process, which the board itself pays for."""

    def __init__(self, run: Runner, clock_ns: ClockNs) -> None:
        self._run, self._clock_ns = run, clock_ns
        self._asked_ns: int | None = None
        self._answer: str | None = None

    def __call__(self, command: Sequence[str]) -> str | None:
        now_ns = self._clock_ns()
        if self._asked_ns is None or now_ns - self._asked_ns >= _HELD_S * 1e9:
            self._answer, self._asked_ns = self._run(command), now_ns
        return self._answer


@dataclass(frozen=True)
class Recorded:
    """A runner that answers from a copied tree, where the tree holds an answer."""

    root: Path
    otherwise: Runner

    def __call__(self, command: Sequence[str]) -> str | None:
        answer = proc_files.read(self.root / f"{'_'.join(command)}.txt")
        return self.otherwise(command) if answer is None else answer


def watts(text: str) -> dict[str, float]:
    """Watts of each rail that has both a current and a voltage, in the order of the currents."""
    return {name: amperes * volts for name, (amperes, volts) in _pairs(text).items()}


def volts(text: str) -> dict[str, float]:
    """Volts of each rail that has both."""
    return {name: volts for name, (_, volts) in _pairs(text).items()}


def _pairs(text: str) -> dict[str, tuple[float, float]]:
    """Amperes and volts by rail."""
    rails: dict[str, dict[str, float]] = {}
    for line in text.splitlines():
        if match := _LINE.fullmatch(line):
            rails.setdefault(match[1], {})[match[2]] = float(match[3])
    return {name: (pair["A"], pair["V"]) for name, pair in rails.items() if len(pair) == 2}


def find(machine: Machine, clock_ns: ClockNs = time.monotonic_ns) -> PmicReadAdc | NoEnergy | None:
    """The chip of a Raspberry Pi 5; None on another machine, where nothing answers.

    A copied tree may hold the command's answer as `vcgencmd_pmic_read_adc.txt`.
    """
    run = machine.run if machine.live else Recorded(machine.root, machine.run)
    pairs = volts(run(COMMAND) or "")
    if pairs:
        return PmicReadAdc(Held(run, clock_ns), pairs, clock_ns)
    if "raspberry pi 5" not in (machine.board() or "").lower():
        return None
    return NoEnergy("no_sensor", "Raspberry Pi 5: vcgencmd pmic_read_adc gave no answer")
