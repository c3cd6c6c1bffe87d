"""INA3221 of Jetsons with JetPack 5 and later: the kernel's hwmon driver, volts times amperes.

There is no file of power: a rail is `inN_input` (mV) times `currN_input` (mA). `in7` and `curr4` are
sums of shunt voltages and currents, and no rails; a rail labelled NC is not connected.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgebench.probes import files
from edgebench.probes.energy.boards import Board, board_of, constants
from edgebench.probes.energy.chips import forbidden, hwmon_chips, unknown_total
from edgebench.probes.energy.registers import Register, open_all, product
from edgebench.probes.energy.source import EnergySource, NoEnergy, Rail, Sample
from edgebench.probes.machine import Machine

CHANNELS = (1, 2, 3)
NOT_CONNECTED = "NC"
_W_PER_MV_MA = 1e-6
# Where neither tells: the widest bounds of any Jetson.
_LEAST_SHUNT_UOHM = 2000
_MOST_MV = 20_000


@dataclass(frozen=True)
class Channel:
    """One rail of one chip, and the files that it is read from."""

    label: str
    voltage: Path  # mV
    current: Path  # mA
    shunt_uohm: int | None = None


class Ina3221(EnergySource):
    name = "ina3221"
    kind = "measured_rail"
    quantity = "power"

    def __init__(
        self,
        channels: Sequence[Channel],
        board: Board,
        period_s: float,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.scope = board.scope
        self.total_rail = " + ".join(board.total)
        self.period_s = period_s
        self.latency_s = constants().chips["ina3221"].latency_s
        self._clock_ns = clock_ns
        self._counted = frozenset(board.total)
        self._rails = [
            (each.label, Register(each.voltage), Register(each.current)) for each in channels
        ]
        self._total = [(v, c) for label, v, c in self._rails if label in self._counted]
        counted = [each for each in channels if each.label in self._counted]
        chip = constants().chips["ina3221"]
        of_shunts = [
            (each.shunt_uohm or board.shunt_uohm, files.read_int(each.voltage)) for each in counted
        ]
        self.resolution = sum(shunt_watts(chip.step_uv, *shunt) for shunt in of_shunts)
        self.offset_w = sum(shunt_watts(chip.offset_uv, *shunt) for shunt in of_shunts)
        self.gain_error = chip.gain_error

    def open(self) -> None:
        open_all(
            (register, label in self._counted)
            for label, *registers in self._rails
            for register in registers
        )

    def sample(self) -> Sample:
        start_ns = self._clock_ns()
        watts = 0.0
        for voltage, current in self._total:  # no helpers here: caches are cold, each call costs
            millivolts, milliamperes = voltage.read(), current.read()
            if millivolts is None or milliamperes is None:
                return Sample(start_ns, self._clock_ns(), None)
            watts += millivolts * milliamperes * _W_PER_MV_MA
        return Sample(start_ns, self._clock_ns(), watts)

    def rails(self) -> list[Rail]:
        return [
            Rail(label, product(v.read(), c.read(), _W_PER_MV_MA), label in self._counted)
            for label, v, c in self._rails
        ]

    def close(self) -> None:
        for _, *registers in self._rails:
            for register in registers:
                register.close()


def find(
    machine: Machine,
    total_rails: Sequence[str] = (),
    clock_ns: Callable[[], int] = time.monotonic_ns,
) -> Ina3221 | NoEnergy | None:
    """The INA3221 rails of a machine; None where it has no such chip.

    `total_rails`: which of them make the whole, where the user's devices.yaml says so.
    """
    folders = [folder for name, folder in hwmon_chips(machine) if name == "ina3221"]
    channels = [channel for folder in folders for channel in _channels(folder)]
    if not channels:
        return None
    labels = [channel.label for channel in channels]
    board = board_of(labels, total_rails)
    if board is None:
        return unknown_total("INA3221", labels, total_rails)
    for channel in channels:
        if channel.label in board.total:
            for path in (channel.voltage, channel.current):
                if problem := forbidden(machine, path):
                    return problem
    intervals = [files.read_int(folder / "update_interval") for folder in folders]
    longest_ms = max((each for each in intervals if each), default=0)
    period_s = longest_ms / 1000 or constants().chips["ina3221"].period_s
    return Ina3221(channels, board, period_s, clock_ns)


def _channels(folder: Path) -> list[Channel]:
    channels = []
    for number in CHANNELS:
        voltage, current = folder / f"in{number}_input", folder / f"curr{number}_input"
        label = files.read(folder / f"in{number}_label")
        if not label or label == NOT_CONNECTED or not (voltage.exists() and current.exists()):
            continue
        if files.read_int(folder / f"in{number}_enable") == 0:
            continue
        shunt_uohm = files.read_int(folder / f"shunt{number}_resistor")
        channels.append(Channel(label, voltage, current, shunt_uohm))
    return channels


def shunt_watts(microvolts: float, shunt_uohm: int | None, millivolts: int | None) -> float:
    """What so many microvolts at a shunt mean in watts, at the voltage of its rail."""
    return microvolts / (shunt_uohm or _LEAST_SHUNT_UOHM) * (millivolts or _MOST_MV) / 1000
