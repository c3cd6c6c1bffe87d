"""A PC and boards that nobody knows: RAPL, meters of hwmon that devices.yaml names, batteries, a hot plug."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from tests.kernel.guest.lab import NOBODY, Lab, close, edgebench, equal, settle
from tests.kernel.guest.moving import followed
from tests.kernel.guest.registry import check

_RAPL = Path("/sys/module/rapl_uml/parameters")
_COUNTER = Path("/sys/class/powercap/intel-rapl:0/energy_uj")
_UNIT = 16384  # counts of a joule
_MILLIWATTS = "10000,6000,0,3000,15000"


def _rapl(lab: Lab) -> None:
    """Package 10 W, of them 6 W cores; memory 3 W; platform 15 W."""
    if not _RAPL.exists():
        lab.load("rapl_uml")


@contextlib.contextmanager
def _plugged(lab: Lab, driver: str, address: int) -> Iterator[None]:
    lab.bus.add(driver, address)
    settle()
    try:
        yield
    finally:
        lab.bus.remove(address)


def _named(lab: Lab, rail: str) -> contextlib.AbstractContextManager[None]:
    """An inventory that says that a chip's rail is the whole."""
    return lab.devices(energy_source="hwmon", energy_total=[rail])


@check("pc")
def machine_without_a_meter_has_no_energy(lab: Lab) -> None:
    """No value, and never 0."""
    seen = lab.watch().found
    equal((seen["status"], seen["energy_j"]), ("unavailable", None))


# Meters of hwmon


@check("pc")
def ina226_is_read_as_devices_yaml_says(lab: Lab) -> None:
    """4 V, 444.5 mA through the shunt of 10 mOhm: 284 steps of 6.25 mW."""
    lab.bus.ina226(0x45, 4445, 4000, 284)
    with _plugged(lab, "ina226", 0x45), _named(lab, "ina226/power1"):
        seen, found = lab.watch().found, lab.doctor()["energy"]
    close(seen["energy_j"], 1.775 * seen["window_s"])
    close(found["resolution"], 0.00625)


@check("pc")
def ina226_that_moves_is_followed(lab: Lab) -> None:
    """Joules of a window in which its power doubles."""

    def power(factor: int) -> None:
        lab.bus.ina226(0x45, 4445, 4000, 200 * factor)

    power(1)
    with _plugged(lab, "ina226", 0x45), _named(lab, "ina226/power1"):
        followed(power, 1.25)


@check("pc")
def update_interval_of_an_ina226_is_its_period(lab: Lab) -> None:
    """A chip that gives the mean of 2 s has no news in one."""
    lab.bus.ina226(0x45, 4445, 4000, 200)
    with (
        _plugged(lab, "ina226", 0x45),
        _named(lab, "ina226/power1"),
    ):
        interval = lab.chip("ina226") / "update_interval"
        lab.put(interval, 2000)
        told_ms = int(interval.read_text())
        period_s = lab.doctor()["energy"]["period_s"]
    close(period_s, told_ms / 1000)
    assert told_ms > 1000, told_ms


@check("pc")
def ina219_is_read_as_devices_yaml_says(lab: Lab) -> None:
    """A shunt of 10 mOhm: 300 steps of 20 mW."""
    lab.bus.big_endian(0x46, 3, 300)
    with _plugged(lab, "ina219", 0x46), _named(lab, "ina219/power1"):
        seen, found = lab.watch().found, lab.doctor()["energy"]
    close(seen["energy_j"], 6.0 * seen["window_s"])
    close(found["resolution"], 0.020)


@check("pc")
def ltc2945_is_read_as_devices_yaml_says(lab: Lab) -> None:
    """24 bits of power, of the supply's voltage, at 1 mOhm: 16000 steps of 0.625 mW."""
    lab.bus.byte(0x10, 0x00, 0x01)
    lab.bus.registers(0x10, 0x05, (16000).to_bytes(3, "big"))
    with _plugged(lab, "ltc2945", 0x10), _named(lab, "ltc2945/power1"):
        seen = lab.watch().found
    close(seen["energy_j"], 10.0 * seen["window_s"])


@check("pc")
def pmbus_supply_is_read_as_devices_yaml_says(lab: Lab) -> None:
    """Input power in the number format of PMBus: mantissa 250, exponent -2."""
    lab.bus.word(0x47, 0x97, (0b11110 << 11) | 250)
    with _plugged(lab, "pmbus", 0x47):
        labels = {path.read_text().strip() for path in lab.chip("pmbus").glob("power*_label")}
        assert "pin" in labels, labels
        with _named(lab, "pmbus/pin"):
            seen = lab.watch().found
    close(seen["energy_j"], 62.5 * seen["window_s"])


@check("pc")
def ina238_of_an_unknown_board_is_not_believed(lab: Lab) -> None:
    """What it measures is for the user to say, scope and sum included."""
    lab.bus.ina238(0x44, 19800, 0x004700)
    with _plugged(lab, "ina238", 0x44):
        plain = lab.watch()
        with _named(lab, "ina238/power1"):
            named = lab.watch().found
    equal(plain.found["reason"], "no_sensor")
    assert "ina238/power1" in plain.said, plain.said
    equal(named["scope"], "ina238/power1, named in devices.yaml")


@check("pc")
def ina3221_without_labels_is_named_by_its_place(lab: Lab) -> None:
    """It is there, and says how to name its channels."""
    lab.bus.ina3221(0x40, 1, 5160, 4440)
    with _plugged(lab, "ina3221", 0x40):
        plain = lab.watch()
        place = next(word.rstrip(",:") for word in plain.said.split() if "-0040/in1" in word)
        shunt = int((lab.chip("ina3221") / "shunt1_resistor").read_text())
        with lab.devices(energy_source="ina3221", energy_total=[place]):
            named = lab.watch().found
    assert "not there" not in plain.said, plain.said
    close(named["energy_j"], 5.160 * round(4440 / shunt * 1000) / 1000 * named["window_s"])


@check("pc")
def meter_that_is_plugged_in_later_is_found(lab: Lab) -> None:
    """And is gone when it is pulled out."""
    with _named(lab, "ina226/power1"):
        before = lab.watch().found["reason"]
        lab.bus.ina226(0x45, 4445, 4000, 200)
        with _plugged(lab, "ina226", 0x45):
            between = lab.watch().found["status"]
        after = lab.watch().found["reason"]
    equal((before, between, after), ("no_sensor", "ok", "no_sensor"))


# Batteries


@check("pc")
def battery_is_a_meter_where_it_is_asked_for(lab: Lab) -> None:
    """A smart battery's own current and voltage: 11.4 V x 1.5 A, and what such a gauge cannot tell."""
    lab.bus.battery(0x0B, 11400, -1500)
    with _plugged(lab, "sbs-battery", 0x0B):
        settle(0.3)
        unasked = lab.watch()
        with lab.devices(energy_source="battery"):
            found, seen = lab.doctor()["energy"], lab.watch().found
    assert "there is a battery" in unasked.said, unasked.said
    equal((found["source"], found["status"]), ("battery", "ok"))
    close(seen["rails"][0]["w"], 11.4 * 1.5)
    assert any("gauge" in caveat for caveat in found["caveats"]), found["caveats"]


@check("pc")
def battery_that_is_charged_is_no_meter(lab: Lab) -> None:
    """What flows into it is not what the machine draws."""
    lab.bus.battery(0x0B, 11400, 1500)
    with _plugged(lab, "sbs-battery", 0x0B):
        settle(0.3)
        with lab.devices(energy_source="battery"):
            seen = lab.watch()
    equal(seen.found["reason"], "no_sensor")
    assert "charg" in seen.said, seen.said


@check("pc")
def battery_that_drains_is_told(lab: Lab) -> None:
    """As a state of the machine."""
    lab.load("test_power")
    drains = lab.state("battery")
    lab.put("/sys/module/test_power/parameters/battery_status", "charging")
    charges = lab.state("battery")
    lab.put("/sys/module/test_power/parameters/battery_status", "discharging")
    equal((drains["level"], charges["level"]), ("warn", "ok"))


# RAPL: the kernel's own code over registers that are made up


@check("pc")
def rapl_counts_the_package_and_its_memory(lab: Lab) -> None:
    """10 W and 3 W: cores are in the package, the platform contains it."""
    _rapl(lab)
    seen = lab.watch(2).found
    rails = {rail["name"]: round(rail["w"], 1) for rail in seen["rails"]}
    equal(rails, {"package-0": 10.0, "package-0/core": 6.0, "package-0/dram": 3.0, "psys": 15.0})
    close(seen["energy_j"], 13.0 * seen["window_s"], 13.0 * 0.02)


@check("pc")
def rapl_goes_on_across_a_wrap(lab: Lab) -> None:
    """32 bits of 2^-14 J begin again within the window."""
    _rapl(lab)
    start, counts = _RAPL / "start_raw", int(int(_COUNTER.read_text()) * 1e-6 * _UNIT)
    ahead = 0xFFFFFFFF - 15 * _UNIT
    lab.put(start, (int(start.read_text()) + ahead - counts) & 0xFFFFFFFF)
    before = int(_COUNTER.read_text())
    seen = lab.watch(3).found
    assert int(_COUNTER.read_text()) < before, "it did not wrap"
    close(seen["energy_j"], 13.0 * seen["window_s"], 13.0 * 0.02)


@check("pc")
def rapl_that_stands_still_is_dead(lab: Lab) -> None:
    """A counter that opens and never moves."""
    _rapl(lab)
    lab.put(_RAPL / "stopped_ms", 600_000)
    seen = lab.watch(2).found
    lab.put(_RAPL / "stopped_ms", 0)
    equal(seen["reason"], "counter_dead")


@check("pc")
def rapl_that_is_set_back_is_no_energy(lab: Lab) -> None:
    """As when a driver is loaded anew."""
    _rapl(lab)
    start = _RAPL / "start_raw"
    lab.put(start, 0x60000000)
    settle()
    seen = lab.watch_while(lambda: lab.put(start, 0x40000000), lambda: lab.put(start, 0x60000000))
    equal(seen.found["reason"], "read_failed")
    assert "set back" in seen.said, seen.said


@check("pc")
def rapl_is_roots_alone(lab: Lab) -> None:
    """With the command that opens it."""
    _rapl(lab)
    seen = lab.watch(user=NOBODY)
    equal(seen.found["reason"], "permission_denied")
    assert "chmod a+r" in seen.said, seen.said


@check("pc")
def selfcheck_finds_a_meter_that_does_not_follow_the_load(lab: Lab) -> None:
    """These registers advance whatever the processor does; they add up all the same."""
    _rapl(lab)
    edgebench("selfcheck", "--only", "energy", "--out", "check.json")
    answers = {
        each["claim"]: each["status"]
        for each in json.loads(Path("check.json").read_text())["answers"]
    }
    equal((answers["energy.rapl"], answers["meter.follows"]), ("ok", "failed"))
