"""The wait for a temperature: as long as it is hot, never for ever, and not at all without a sensor."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from edgebench.measure.cool_down import MAX_WAIT_S, CoolDown
from edgebench.probes.temperature import Thermometer


@dataclass
class Chip:
    """Cools by a degree a second of the clock that naps move."""

    heat_c: float
    coolest_c: float = 20.0
    now_s: float = 0.0
    told: list[str] = field(default_factory=list)

    def read(self) -> float:
        return max(self.heat_c - self.now_s, self.coolest_c)

    def nap(self, seconds: float) -> None:
        self.now_s += seconds

    def waits(self, limit_c: float | None) -> CoolDown:
        return CoolDown(limit_c, self.told.append, self.read, self.nap, lambda: self.now_s)


def test_wait_ends_when_the_chip_is_cool_and_is_counted() -> None:
    chip = Chip(70.0)
    wait = chip.waits(60.0)
    wait.wait()
    assert chip.now_s == wait.spent_s == 10.0
    assert chip.told == ["cooling down: 70 C, waiting for 60 C"]
    wait.wait()
    assert wait.spent_s == 10.0


def test_hot_room_does_not_hold_a_run_for_ever() -> None:
    chip = Chip(90.0, coolest_c=80.0)
    chip.waits(60.0).wait()
    assert MAX_WAIT_S <= chip.now_s <= MAX_WAIT_S + 2
    assert chip.told[-1].endswith("not 60 C: measuring anyway")


def test_nothing_is_waited_for_where_nobody_asked() -> None:
    chip = Chip(90.0)
    chip.waits(None).wait()
    assert chip.now_s == 0.0


def test_machine_without_a_sensor_says_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    sensors = Thermometer((), why_none="no sensor of the CPU or GPU in /sys")
    monkeypatch.setattr(Thermometer, "find", lambda: sensors)
    wait = CoolDown(60.0, told.append)
    wait.wait()
    wait.wait()
    assert told == ["--cool-to waits for nothing: no sensor of the CPU or GPU in /sys"]
