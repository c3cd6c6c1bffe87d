"""Raspberry Pi 5. Its meter is the firmware's, behind a mailbox that no driver here can stand for."""

from __future__ import annotations

from tests.kernel.guest.lab import Lab, equal
from tests.kernel.guest.registry import check


@check("raspberry-pi-5")
def meter_of_the_firmware_is_named_where_it_cannot_be_asked(lab: Lab) -> None:
    """Without `vcgencmd` there is no value, and the reason says what is missing."""
    seen = lab.watch()
    equal(seen.found["status"], "unavailable")
    assert "vcgencmd" in seen.said, seen.said


@check("raspberry-pi-5")
def board_is_known_by_its_device_tree(lab: Lab) -> None:
    """The kernel's copy of the tree."""
    equal(lab.doctor()["device"]["facts"]["board"], "Raspberry Pi 5 Model B Rev 1.0")


@check("raspberry-pi-5")
def hot_board_is_told(lab: Lab) -> None:
    """By the zone's trip points, where no flags of the firmware can be read."""
    lab.put("/sys/class/thermal/thermal_zone0/emul_temp", 79000)
    found = lab.state("temperature")
    lab.put("/sys/class/thermal/thermal_zone0/emul_temp", 0)
    equal(found["level"], "warn")
