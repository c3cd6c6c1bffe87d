"""INA3221 of Jetsons with JetPack 5 and later: the kernel's hwmon driver, volts times amperes.

There is no file of power: a rail is `inN_input` (mV) times `currN_input` (mA). `in7` and `curr4` are
sums of shunt voltages and currents, and no rails; a rail labelled NC is not connected. A board whose
description labels no rails has them by their place: "1-0040/in1".

The driver's `update_interval` is the time of one conversion of all channels, also where the chip gives the
mean of several (`samples`): the time between two values is their product.
"""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgebench.energy.source import ClockNs, EnergySource, NoEnergy, Sample
from edgebench.energy.sources._boards import Board, Chip, board_of, constants
from edgebench.energy.sources._chips import forbidden, hwmon_chips, unknown_total
from edgebench.energy.sources._registers import RegisterRail, RegisterSource
from edgebench.probes import proc_files
from edgebench.probes.machine import Machine

CHANNELS = (1, 2, 3)
NOT_CONNECTED = "NC"
_W_PER_MV_MA = 1e-6
# Where neither tells: the widest bounds of any Jetson.
_MIN_SHUNT_UOHM = 2000
_MAX_MV = 20_000


@dataclass(frozen=True)
class Channel:
    """One rail of one chip, and the files that it is read from."""

    label: str
    voltage: Path  # mV
    current: Path  # mA
    shunt_uohm: int | None = None
    switch: Path | None = None  # the file that says whether the channel is on
    on: bool = True


@dataclass(frozen=True)
class Pace:
    """How often the chips update, and of how many conversions a value is the mean."""

    period_s: float
    samples: int = 1


class Ina3221(RegisterSource):
    name = "ina3221"
    kind = "measured_rail"
    quantity = "power"

    def __init__(
        self,
        channels: Sequence[Channel],
        board: Board,
        pace: Pace,
        clock_ns: ClockNs = time.monotonic_ns,
    ) -> None:
        rails = [
            RegisterRail(
                each.label, [each.voltage, each.current], each.label in board.total, _W_PER_MV_MA
            )
            for each in channels
        ]
        super().__init__(rails, clock_ns)
        chip = constants().chips["ina3221"]
        self.scope = board.scope
        self.total_rail = " + ".join(board.total)
        self.period_s = pace.period_s
        self.averages = pace.samples > 1
        self.latency_s = chip.latency_s * pace.samples
        self._pairs = [rail.registers for rail in self._counted]
        shunts = [
            (each.shunt_uohm or board.shunt_uohm, proc_files.read_int(each.voltage))
            for each in channels
            if each.label in board.total
        ]
        set_bounds(self, chip, shunts)

    def sample(self) -> Sample:
        start_ns = self._clock_ns()
        watts = 0.0
        for voltage, current in self._pairs:  # no helpers here: caches are cold, each call costs
            millivolts, milliamperes = voltage.read(), current.read()
            if millivolts is None or milliamperes is None:
                return Sample(start_ns, self._clock_ns(), None)
            watts += millivolts * milliamperes * _W_PER_MV_MA
        return Sample(start_ns, self._clock_ns(), watts)


def find(
    machine: Machine, total_rails: Sequence[str] = (), clock_ns: ClockNs = time.monotonic_ns
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
    counted = [channel for channel in channels if channel.label in board.total]
    for channel in counted:
        if not channel.on:
            return _switched_off(machine, channel, board)
        for path in (channel.voltage, channel.current):
            if problem := forbidden(machine, path):
                return problem
    return Ina3221([channel for channel in channels if channel.on], board, _pace(folders), clock_ns)


def _switched_off(machine: Machine, channel: Channel, board: Board) -> NoEnergy:
    """Why there is no total: another rail in its place would be another quantity."""
    switch = f"/{channel.switch.relative_to(machine.root)}" if channel.switch else "its switch"
    return NoEnergy(
        "no_sensor",
        f"INA3221 rail {channel.label}, of the total of {board.name}, is switched off: {switch} is 0",
        f"echo 1 | sudo tee {switch}",
    )


def _pace(folders: Sequence[Path]) -> Pace:
    """The slowest of the chips."""
    default_s = constants().chips["ina3221"].period_s
    paces = []
    for folder in folders:
        interval_ms = proc_files.read_int(folder / "update_interval") or 0
        samples = max(1, proc_files.read_int(folder / "samples") or 1)
        paces.append(Pace((interval_ms / 1000 or default_s) * samples, samples))
    return max(paces, key=lambda pace: pace.period_s)


def _channels(folder: Path) -> list[Channel]:
    """The channels of a chip, those without a label by their place; without those that are not connected."""
    channels = []
    for number in CHANNELS:
        voltage, current = folder / f"in{number}_input", folder / f"curr{number}_input"
        label = proc_files.read(folder / f"in{number}_label")
        if label == NOT_CONNECTED or not (voltage.exists() and current.exists()):
            continue
        switch = folder / f"in{number}_enable"
        on = proc_files.read_int(switch) != 0
        if not label and not (on and _answers(voltage)):
            continue  # the description of the board has no rail there
        channels.append(
            Channel(
                label or f"{_place(folder)}/in{number}",
                voltage,
                current,
                proc_files.read_int(folder / f"shunt{number}_resistor"),
                switch,
                on,
            )
        )
    return channels


def _answers(path: Path) -> bool:
    """Whether a value is there, now or for another user: a channel that is off says that it has no data."""
    return proc_files.problem(path) != os.strerror(errno.ENODATA).lower()


def _place(folder: Path) -> str:
    """The chip's address on its bus, as the kernel numbers it: "1-0040"."""
    names = [folder.name, *(parent.name for parent in Path(os.path.realpath(folder)).parents)]
    return next((name for name in names if re.fullmatch(r"\d+-[0-9a-f]{4}", name)), folder.name)


def set_bounds(
    source: EnergySource, chip: Chip, shunts: Sequence[tuple[int | None, int | None]]
) -> None:
    """Sets what a source may be off by. `shunts`: micro-ohms and millivolts of each rail that it sums."""
    source.resolution = sum(_shunt_watts(chip.step_uv, *shunt) for shunt in shunts)
    source.offset_w = sum(_shunt_watts(chip.offset_uv, *shunt) for shunt in shunts)
    source.gain_error = chip.gain_error


def _shunt_watts(microvolts: float, shunt_uohm: int | None, millivolts: int | None) -> float:
    """Converts microvolts at a shunt to watts, at the voltage of its rail."""
    return microvolts / (shunt_uohm or _MIN_SHUNT_UOHM) * (millivolts or _MAX_MV) / 1000
