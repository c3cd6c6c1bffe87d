"""Says which rails add up to the whole board: devices.yaml decides, else package data."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cache
from importlib import resources
from typing import Literal

import msgspec


class Board(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A rule of boards.yaml: where all `rails` are found, `total` is summed and covers `scope`."""

    name: str
    rails: list[str]
    total: list[str]
    scope: str
    why: str
    shunt_uohm: int | None = None


class Chip(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Bounds of a chip: the share by which a value may be off, microvolts at its shunt, seconds."""

    gain_error: float
    offset_uv: float
    step_uv: float
    period_s: float
    latency_s: float


class HwmonRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Holds what the values of a chip of hwmon mean: which of its labels make the whole of `scope`."""

    chip: str
    total: str  # a pattern of labels
    scope: str
    kind: Literal["measured_rail", "vendor_counter"]
    period_s: float  # at least: a driver may tell a longer interval of its means
    why: str
    step: float = 0.0  # smallest step, watts or joules; 0: not known
    averages: bool = False  # `power*_average` is the mean of a period


class Constants(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of boards.yaml."""

    boards: list[Board]
    chips: dict[str, Chip]
    hwmon: list[HwmonRule]


@cache
def constants() -> Constants:
    """The package's constants, read when a meter that needs them was found."""
    import yaml

    text = resources.files(__package__).joinpath("boards.yaml").read_text("utf-8")
    return msgspec.convert(yaml.safe_load(text), Constants)


def scope_of(total: Sequence[str]) -> str:
    """The scope of the rails that devices.yaml names: other rails are another quantity."""
    return f"{' + '.join(sorted(total))}, named in devices.yaml"


def board_of(labels: Collection[str], total: Sequence[str] = ()) -> Board | None:
    """The rule for a machine with these rails, or None: which of them make the whole is not guessed.

    `total`: the rails that the user's devices.yaml names.
    """
    if total:
        own = Board(
            name="devices.yaml",
            rails=list(total),
            total=list(total),
            scope=scope_of(total),
            why="named by the user",
        )
        return own if set(total) <= set(labels) else None
    return next((each for each in constants().boards if set(each.rails) <= set(labels)), None)
