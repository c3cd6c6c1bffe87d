"""Checks the power supply and the power limit of the board."""

from __future__ import annotations

import re
from pathlib import Path

from edgebench.probes import nvpmodel, proc_files
from edgebench.probes.checks.check_result import judge, recorded, unknown
from edgebench.probes.machine import Machine
from edgebench.probes.snapshot import feeds_a_device, snapshot
from edgebench.record import StateCheck
from edgebench.words import state_words as words

_PROFILE = "sys/firmware/acpi/platform_profile"


def power_mode(machine: Machine, declared: str | None = None) -> StateCheck | None:
    """The mode of nvpmodel or of the firmware, held against the one that devices.yaml declares."""
    mode = nvpmodel.current(machine)
    mode_now = str(mode) if mode else machine.read(_PROFILE)
    if declared is None:
        return None if mode_now is None else recorded("power_mode", mode_now)
    if mode_now is None:
        return unknown("power_mode", words.mode_untold(declared=declared))
    same = mode.is_called(declared) if mode else mode_now == declared
    if same is None:
        return unknown("power_mode", words.mode_beside_declared(mode=mode_now, declared=declared))
    return judge(
        "power_mode",
        same,
        mode_now if same else words.mode_unlike_declared(mode=mode_now, declared=declared),
        words.set_power_mode(declared, None if mode else f"/{_PROFILE}"),
    )


def low_power_mode(machine: Machine) -> StateCheck | None:
    """macOS's switch that slows the whole machine down."""
    if not machine.macos:
        return None
    setting = re.search(r"lowpowermode\s+([01])", machine.run(["pmset", "-g"]) or "")
    if setting is None:
        return unknown("low_power_mode", words.NO_LOW_POWER_MODE)
    on = setting[1] == "1"
    return judge("low_power_mode", not on, "on" if on else "off", words.LOW_POWER_MODE_OFF)


def battery(machine: Machine) -> StateCheck | None:
    if machine.macos:
        return _macos_battery(machine)
    draining = [
        path.parent.name
        for path in machine.glob("sys/class/power_supply/*/status")
        if proc_files.read(path) == "Discharging"
        and proc_files.read(path.parent / "type") == "Battery"
        and not feeds_a_device(path.parent)
    ]
    supplies = machine.glob("sys/class/power_supply/*/type")
    if not supplies:
        return None
    return _battery(bool(draining), words.discharging(draining) if draining else "")


def _macos_battery(machine: Machine) -> StateCheck | None:
    drawn = re.search(r"drawing from '([^']+)'", machine.run(["pmset", "-g", "batt"]) or "")
    if drawn is None:
        return unknown("battery", words.NO_BATTERY_ANSWER)
    return _battery("Battery" in drawn[1], words.drawing_from(supply=drawn[1]))


def _battery(on_battery: bool, evidence: str) -> StateCheck:
    return judge("battery", not on_battery, evidence or words.NO_BATTERY_DISCHARGING, words.PLUG_IN)


def jetson_overcurrent(machine: Machine) -> StateCheck | None:
    counts = snapshot(machine.root).events.get("overcurrent")
    if not counts:
        return None
    named = {Path(path).name: count for path, count in counts.items()}
    return recorded("overcurrent", words.overcurrent_since_boot(named))
