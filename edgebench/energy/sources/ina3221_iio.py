"""INA3221 of Jetsons with JetPack 4: NVIDIA's own driver, which gives milliwatts by itself.

The driver averages 64 conversions of each channel in turn; where few CPUs are busy, it may switch to
single conversions on demand. The slower of the two is stated as the period.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgebench.energy.source import ClockNs, NoEnergy
from edgebench.energy.sources._boards import Board, board_of, constants
from edgebench.energy.sources._chips import forbidden, unknown_total
from edgebench.energy.sources._registers import RegisterRail, RegisterSource
from edgebench.energy.sources.ina3221 import CHANNELS, NOT_CONNECTED, set_bounds
from edgebench.probes import proc_files
from edgebench.probes.machine import Machine

_W_PER_MW = 1e-3


@dataclass(frozen=True)
class Channel:
    """One rail, the file of its power (mW), and its voltage when it was found."""

    label: str
    power: Path
    millivolts: int | None


class Ina3221Iio(RegisterSource):
    name = "ina3221_iio"
    kind = "measured_rail"
    quantity = "power"
    averages = True
    caveats = ("each rail is looked at for a third of the time: its channels take turns",)

    def __init__(
        self, channels: Sequence[Channel], board: Board, clock_ns: ClockNs = time.monotonic_ns
    ) -> None:
        rails = [
            RegisterRail(each.label, [each.power], each.label in board.total, _W_PER_MW)
            for each in channels
        ]
        super().__init__(rails, clock_ns)
        chip = constants().chips["ina3221x"]
        counted = [each for each in channels if each.label in board.total]
        self.scope = board.scope
        self.total_rail = " + ".join(board.total)
        self.period_s, self.latency_s = chip.period_s, chip.latency_s
        set_bounds(self, chip, [(board.shunt_uohm, each.millivolts) for each in counted])


def find(
    machine: Machine, total_rails: Sequence[str] = (), clock_ns: ClockNs = time.monotonic_ns
) -> Ina3221Iio | NoEnergy | None:
    """The rails of a Jetson with JetPack 4; None where there are none."""
    channels = [
        channel
        for folder in machine.glob("sys/bus/i2c/drivers/ina3221x/*/iio:device*")
        for channel in _channels(folder)
    ]
    if not channels:
        return None
    labels = [channel.label for channel in channels]
    board = board_of(labels, total_rails)
    if board is None:
        return unknown_total("INA3221", labels, total_rails)
    for channel in channels:
        if channel.label in board.total and (problem := forbidden(machine, channel.power)):
            return problem
    return Ina3221Iio(channels, board, clock_ns)


def _channels(folder: Path) -> list[Channel]:
    channels = []
    for number in (channel - 1 for channel in CHANNELS):  # counted from 0 here
        power = folder / f"in_power{number}_input"
        label = proc_files.read(folder / f"rail_name_{number}")
        if label and label != NOT_CONNECTED and power.exists():
            millivolts = proc_files.read_int(folder / f"in_voltage{number}_input")
            channels.append(Channel(label, power, millivolts))
    return channels
