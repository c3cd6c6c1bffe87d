"""Jetson Thor: INA238 at the input of the carrier board, beside the module's INA3221."""

from __future__ import annotations

from tests.kernel.guest.lab import Lab, close, equal
from tests.kernel.guest.moving import followed
from tests.kernel.guest.registry import check

_RAW = 0x011E00
#: The driver's own words: power is 1000 * 20000 * gain / (20 * shunt in uOhm) microwatts a step... in watts here.
_WATTS = _RAW * 1000 * 20000 * 4 / (20 * 2000) / 1e6


def _set(lab: Lab, factor: int = 1) -> None:
    for channel, millivolts, shunt_uv in ((1, 12008, 560), (2, 12008, 80), (3, 4968, 1960)):
        lab.bus.ina3221(0x40, channel, millivolts, shunt_uv)
    lab.bus.ina238(0x44, 19800, _RAW * factor)


@check("thor")
def input_of_the_carrier_board_is_measured(lab: Lab) -> None:
    """Not the module's rails, which are a part of it."""
    _set(lab)
    seen = lab.watch().found
    equal((seen["source"], seen["scope"]), ("ina238", "module + carrier board input"))
    close(seen["rails"][0]["w"], _WATTS)
    close(seen["energy_j"], _WATTS * seen["window_s"])


@check("thor")
def input_that_moves_is_followed(lab: Lab) -> None:
    """Joules of a window in which power doubles."""
    followed(lambda factor: _set(lab, factor), _WATTS)


@check("thor")
def rails_of_the_module_are_another_source(lab: Lab) -> None:
    """devices.yaml may ask for them by name."""
    _set(lab)
    with lab.devices(
        energy_source="ina3221", energy_total=["VDD_GPU", "VDD_CPU_SOC_MSS", "VIN_SYS_5V0"]
    ):
        seen = lab.watch().found
    equal(seen["source"], "ina3221")
    close(seen["energy_j"], (12.008 * 0.28 + 12.008 * 0.04 + 4.968 * 0.98) * seen["window_s"])
