"""Reads the power modes of a Jetson, and which one is set."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgebench.probes import proc_files
from edgebench.probes.machine import Machine

CONFIG = "etc/nvpmodel.conf"  # a link to the board's file, in which each mode has a line of its own
STATUS = "var/lib/nvpmodel/status"


@dataclass(frozen=True)
class Mode:
    """One mode. Its number means another thing on another board; None where it is not told."""

    number: int | None
    name: str | None

    def __str__(self) -> str:
        return self.name or f"mode {self.number}"

    def is_called(self, text: str) -> bool | None:
        """Whether `text` is its number or its name; None where that cannot be told.

        nvpmodel prints `MODE_15W` for what newer tables call `15W`.
        """
        words = _plain(text)
        if words.isdecimal():
            return None if self.number is None else self.number == int(words)
        return None if self.name is None else _plain(self.name) == words


def is_jetson(machine: Machine) -> bool:
    """Whether L4T, NVIDIA's Linux for Tegra, is installed."""
    return (machine.root / "etc/nv_tegra_release").exists()


def modes(machine: Machine) -> list[Mode]:
    """Every mode of the board's table, in its order; empty where it has none."""
    lines = re.findall(
        r"^\s*<\s*POWER_MODEL\s+ID=([0-9]+)\s+NAME=(\S+)", machine.read(CONFIG) or "", re.MULTILINE
    )
    return [Mode(int(number), name) for number, name in lines]


def current(machine: Machine) -> Mode | None:
    """The mode that `nvpmodel -q` tells (a name, and its number below), else the one of its status
    file; None where neither does."""
    answer = machine.run(["nvpmodel", "-q"]) if is_jetson(machine) else None
    name = proc_files.fields(answer).get("NV Power Mode")
    number = re.search(r"^\s*([0-9]+)\s*$", answer or "", re.MULTILINE)
    if name:
        return Mode(int(number[1]) if number else None, name)
    status = re.search(r"pmode:([0-9]+)", machine.read(STATUS) or "")
    if status is None:
        return None
    found = Mode(int(status[1]), None)
    return next((mode for mode in modes(machine) if mode.number == found.number), found)


def _plain(text: str) -> str:
    return re.sub(r"^MODE[_ ]", "", text.strip().upper())
