"""Jetsons: INA3221 behind the board's own description of its rails, thermal zones with what cools them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.kernel.guest.lab import NOBODY, Lab, close, equal, settle
from tests.kernel.guest.moving import followed
from tests.kernel.guest.registry import check

_FIRST, _SECOND = 0x40, 0x41
_SENSOR = 0x48
_ZONE = "/sys/class/thermal/thermal_zone0"


@dataclass(frozen=True)
class Rail:
    """A channel and what its registers are set to. `counted`: the board's total contains it."""

    label: str
    address: int
    channel: int
    millivolts: int
    shunt_uv: int
    shunt_uohm: int
    counted: bool = True

    @property
    def watts(self) -> float:
        """By hand: volts times volts at the shunt over its resistance."""
        return self.millivolts * self.shunt_uv / self.shunt_uohm * 1e-3


def _one_input(label: str, *parts: str) -> list[Rail]:
    """A module with an input and parts of it, at a shunt of 5 mOhm each."""
    shunts = (4440, 480, 1360)
    return [
        Rail(name, _FIRST, number, 5160, uv, 5000, number == 1)
        for number, (name, uv) in enumerate(zip((label, *parts), shunts, strict=False), 1)
    ]


RAILS = {
    "jetson-nano": _one_input("POM_5V_IN", "POM_5V_GPU", "POM_5V_CPU"),
    "xavier-nx": _one_input("VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC"),
    "orin-nano": _one_input("VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC"),
    "orin-nx": _one_input("VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC"),
    "agx-xavier": [
        Rail("GPU", _FIRST, 1, 19000, 320, 5000),
        Rail("CPU", _FIRST, 2, 19000, 120, 5000),
        Rail("SOC", _FIRST, 3, 19000, 640, 5000),
        Rail("CV", _SECOND, 1, 19000, 40, 5000),
        Rail("VDDRQ", _SECOND, 2, 19000, 80, 5000),
        Rail("SYS5V", _SECOND, 3, 5000, 2720, 5000),
    ],
    "agx-orin": [
        Rail("VDD_GPU_SOC", _FIRST, 1, 12008, 560, 2000),
        Rail("VDD_CPU_CV", _FIRST, 2, 12008, 80, 2000),
        Rail("VIN_SYS_5V0", _FIRST, 3, 4968, 1960, 2000),
        Rail("VDDQ_VDD2_1V8AO", _SECOND, 2, 4968, 160, 2000, counted=False),
    ],
}
_ALL = tuple(RAILS)


def _set(lab: Lab, board: str, factor: int = 1) -> float:
    """Sets every channel; the watts of the total by hand, as the driver rounds to whole milliamperes."""
    for rail in RAILS[board]:
        lab.bus.ina3221(rail.address, rail.channel, rail.millivolts, rail.shunt_uv * factor)
    return sum(rail.watts * factor for rail in RAILS[board] if rail.counted)


@check(*_ALL)
def total_is_the_sum_by_hand(lab: Lab) -> None:
    """Watts of each rail and joules of the total are the products of the registers."""
    watts = _set(lab, lab.board)
    seen = lab.watch().found
    equal(seen["source"], "ina3221")
    equal(seen["scope"], "module input")
    equal(seen["total_rail"], " + ".join(rail.label for rail in RAILS[lab.board] if rail.counted))
    shown = {rail["name"]: rail["w"] for rail in seen["rails"]}
    for rail in RAILS[lab.board]:
        close(shown[rail.label], rail.watts)
    close(seen["energy_j"], watts * seen["window_s"])


@check(*_ALL)
def nobody_may_read_it(lab: Lab) -> None:
    """The chips' files are open to everybody."""
    watts = _set(lab, lab.board)
    close(lab.watch(user=NOBODY).found["energy_j"], watts)


@check(*_ALL)
def power_that_moves_is_followed(lab: Lab) -> None:
    """Joules of a window in which power doubles, by the very process that reads the meter in a run."""
    followed(lambda factor: _set(lab, lab.board, factor), _set(lab, lab.board))


@check("agx-orin")
def channels_that_the_board_leaves_open_are_no_rails(lab: Lab) -> None:
    """The kernel gives no label of a channel that is disabled, and answers that it has no data."""
    shown = [rail["name"] for rail in lab.watch().found["rails"]]
    equal(shown, [rail.label for rail in RAILS["agx-orin"]])


@check("orin-nx", "agx-orin", "agx-xavier")
def rail_of_the_total_that_is_off_is_named(lab: Lab) -> None:
    """No other rail takes its place, and the fix switches it on again."""
    switch = lab.chip("ina3221") / "in1_enable"
    lab.put(switch, 0)
    seen, wanted = lab.watch(), RAILS[lab.board][0].label
    lab.put(switch, 1)
    equal(seen.found["reason"], "no_sensor")
    assert f"rail {wanted}" in seen.said, seen.said
    assert "is switched off" in seen.said, seen.said
    assert f"tee {switch}" in seen.said, seen.said


@check("orin-nx")
def rail_that_goes_off_in_a_window_is_a_gap(lab: Lab) -> None:
    """Not a smaller sum, and not 0 W."""
    _set(lab, "orin-nx")
    switch = lab.chip("ina3221") / "in1_enable"
    seen = lab.watch_while(lambda: lab.put(switch, 0), lambda: lab.put(switch, 1))
    equal(seen.found["reason"], "read_failed")


@check("orin-nx", "jetson-nano")
def current_that_flows_back_is_no_energy(lab: Lab) -> None:
    """A meter the wrong way round is said to be one."""
    _set(lab, lab.board, -1)
    seen = lab.watch()
    found = lab.doctor()["energy"]
    _set(lab, lab.board)
    equal(seen.found["reason"], "counter_dead")
    assert "wrong way round" in seen.said, seen.said
    equal(found["reason"], "counter_dead")
    assert "wrong way round" in found["detail"], found["detail"]


@check("agx-orin")
def current_that_flows_back_through_one_rail_makes_no_smaller_sum(lab: Lab) -> None:
    """The sum would still look like a board's power."""
    _set(lab, "agx-orin")
    lab.bus.ina3221(_FIRST, 3, 4968, -1000)
    seen = lab.watch()
    _set(lab, "agx-orin")
    equal(seen.found["reason"], "counter_dead")
    assert "VIN_SYS_5V0" in seen.said, seen.said


@check("orin-nx")
def mean_of_many_samples_lengthens_the_period(lab: Lab) -> None:
    """64 samples of 7 ms, whatever `update_interval` says."""
    chip = lab.chip("ina3221")
    lab.put(chip / "samples", 64)
    interval_ms = int((chip / "update_interval").read_text())
    found = lab.doctor()["energy"]
    lab.put(chip / "samples", 1)
    close(found["period_s"], interval_ms / 1000 * 64)
    equal(found["averages"], True)


@check("orin-nx")
def longer_update_interval_lengthens_the_period(lab: Lab) -> None:
    """The conversion times that the driver was told."""
    interval = lab.chip("ina3221") / "update_interval"
    before = interval.read_text()
    lab.put(interval, 49)
    took_ms = int(interval.read_text())
    found = lab.doctor()["energy"]
    lab.put(interval, before.strip())
    close(found["period_s"], took_ms / 1000)
    assert took_ms > int(before), took_ms


@check("orin-nx")
def chip_that_is_pulled_out_is_no_energy(lab: Lab) -> None:
    """A hot plug while edgebench reads."""
    _set(lab, "orin-nx")
    driver = Path("/sys/bus/i2c/drivers/ina3221")
    bound = next(driver.glob("*-0040")).name
    gone = lab.watch_while(
        lambda: lab.put(driver / "unbind", bound), lambda: lab.put(driver / "bind", bound)
    )
    equal(gone.found["reason"], "read_failed")
    lab.put(driver / "unbind", bound)
    equal(lab.watch().found["reason"], "virtualised")  # no meter: of a virtual machine that is said
    lab.put(driver / "bind", bound)
    settle()
    equal(lab.watch().found["status"], "ok")


@check("orin-nx", "jetson-nano")
def board_that_is_cool_is_ok(lab: Lab) -> None:
    """The zone's temperature is the chip's."""
    lab.bus.temperature(_SENSOR, 45)
    lab.put(f"{_ZONE}/emul_temp", 0)
    equal(lab.state("temperature")["level"], "ok")


@check("orin-nx", "jetson-nano")
def board_near_its_trip_point_is_told(lab: Lab) -> None:
    """With the point at which the kernel begins to throttle."""
    lab.put(f"{_ZONE}/emul_temp", 95000)
    found = lab.state("temperature")
    lab.put(f"{_ZONE}/emul_temp", 0)
    equal((found["level"], found["evidence"]), ("warn", "cpu-thermal 95.0 C, passive at 99.0 C"))


@check("jetson-nano")
def fan_that_cools_is_no_throttling(lab: Lab) -> None:
    """A cooling device of the kernel's that is a fan: recorded, and nothing is slowed down."""
    lab.put(f"{_ZONE}/emul_temp", 80000)
    settle(1.5)
    state = Path("/sys/class/thermal/cooling_device0/cur_state").read_text()
    throttled, fan = lab.state("cooling_throttle"), lab.state("fan")
    lab.put(f"{_ZONE}/emul_temp", 0)
    assert int(state) > 0, "the kernel did not turn the fan up"
    assert throttled is None or throttled["level"] != "invalid", throttled
    assert fan is not None, "no row of the fan"
    equal(fan["level"], "ok")
