"""Checks whether the machine throttles now, and how near it is to throttling."""

from __future__ import annotations

from pathlib import Path

from edgebench.probes import nvidia_clocks, proc_files, throttling
from edgebench.probes.checks.check_result import judge, recorded, unknown
from edgebench.probes.machine import Machine
from edgebench.probes.macos_thermal import PRESSURE_KEY
from edgebench.probes.snapshot import pi_bits, pi_flag_files, snapshot
from edgebench.probes.temperature import COLDEST_C, DUMMY_ZONE, Thermometer
from edgebench.record import StateCheck
from edgebench.words import state_words as words

TRIP_MARGIN_K = 10.0


def temperature(machine: Machine) -> StateCheck | None:
    """The sensor that is nearest to a point at which the kernel or the chip throttles."""
    if machine.macos:
        return None
    margins = _zone_margins(machine) + _hwmon_margins(machine)
    if not margins:
        now = Thermometer.find(machine.root).read()
        return unknown("temperature", words.no_limit_known(now))
    margin, evidence = min(margins)
    return judge("temperature", margin >= TRIP_MARGIN_K, evidence, words.COOL_DOWN_OR_BETTER)


def _zone_margins(machine: Machine) -> list[tuple[float, str]]:
    margins = []
    for zone in machine.glob("sys/class/thermal/thermal_zone[0-9]*"):
        name = proc_files.read(zone / "type") or zone.name
        if name == DUMMY_ZONE:
            continue
        for kind_file in proc_files.glob(zone, "trip_point_[0-9]*_type"):
            kind = proc_files.read(kind_file)
            if kind in {"passive", "hot", "critical"}:  # "active" switches a fan
                limit_file = zone / kind_file.name.replace("_type", "_temp")
                margins += _margin(name, kind, zone / "temp", limit_file)
    return margins


def _hwmon_margins(machine: Machine) -> list[tuple[float, str]]:
    margins = []
    for limit_file in machine.glob("sys/class/hwmon/hwmon[0-9]*/temp[0-9]*_crit"):
        name = proc_files.read(limit_file.parent / "name") or limit_file.parent.name
        reading = limit_file.parent / limit_file.name.replace("_crit", "_input")
        margins += _margin(name, "critical", reading, limit_file)
    return margins


def _margin(name: str, kind: str, reading: Path, limit: Path) -> list[tuple[float, str]]:
    """Kelvin to the limit and the evidence; empty where either is unreadable or nonsense."""
    now, end = proc_files.read_int(reading), proc_files.read_int(limit)
    if now is None or end is None or now < COLDEST_C * 1000 or end <= 0:
        return []
    evidence = words.temperature_and_limit(
        sensor=name, now_c=now / 1000, kind=kind, limit_c=end / 1000
    )
    return [((end - now) / 1000, evidence)]


def throttle_counts(machine: Machine) -> StateCheck | None:
    """Counts since boot are history; what is added during a replicate invalidates it."""
    if machine.macos:
        return None
    counts = snapshot(machine.root).events.get("thermal_throttle")
    if not counts:
        return unknown("thermal_throttle", words.NO_THROTTLE_COUNTERS)
    total = sum(counts.values())
    return recorded("thermal_throttle", words.throttled_since_boot(events=total))


def cooling_throttle(machine: Machine) -> StateCheck | None:
    """Checks which processors the kernel slows down now; boards without counters show throttling in this way."""
    devices = throttling.cooling_devices(machine)
    if not devices:
        return None
    slowed = throttling.cooling(devices)
    if slowed is None:
        return unknown("cooling_throttle", words.NO_COOLING_STATE)
    return judge(
        "cooling_throttle",
        not slowed,
        slowed or words.none_slows(devices=len(devices)),
        words.COOL_DOWN_OR_BETTER,
        bad="invalid",
    )


def gpu_throttle(machine: Machine) -> StateCheck | None:
    """NVML's reasons for a lower clock: heat and faults invalidate, the power cap warns."""
    if not machine.nvidia:
        return None
    nvml = machine.nvml()
    gpus = [] if nvml is None else nvidia_clocks.read(nvml)
    if not gpus:
        return unknown("gpu_throttle", words.NO_NVML_ANSWER, words.INSTALL_NVML)
    if any(each.reasons is None for each in gpus):
        return unknown("gpu_throttle", words.NO_GPU_REASONS)
    bits = 0
    for each in gpus:
        bits |= each.reasons or 0
    slowed, capped = (
        nvidia_clocks.words(bits, nvidia_clocks.SLOWED),
        nvidia_clocks.words(bits, nvidia_clocks.CAPPED),
    )
    return judge(
        "gpu_throttle",
        not (slowed or capped),
        ", ".join(filter(None, (slowed, capped))) or words.GPU_NOT_SLOWED,
        words.COOL_GPU_DOWN if slowed else words.RAISE_GPU_LIMIT,
        bad="invalid" if slowed else "warn",
    )


def pi_throttled(machine: Machine) -> StateCheck | None:
    """The Raspberry Pi firmware's flags: bits 0-3 now, bits 16-19 at some time since boot."""
    answer = machine.run(["vcgencmd", "get_throttled"]) if machine.pi else None
    if answer is None:
        paths = pi_flag_files(machine.root)
        answer = proc_files.read(paths[0], 64) if paths else None
    bits = pi_bits((answer or "").strip())
    if bits is None:
        return unknown("pi_throttled", words.NO_VCGENCMD_ANSWER) if machine.pi else None
    return judge(
        "pi_throttled", bits == 0, words.pi_flags(bits), words.SUPPLY_AND_COOLING, bad="invalid"
    )


def macos_thermal(machine: Machine) -> StateCheck | None:
    if not machine.macos:
        return None
    answer = machine.run(["notifyutil", "-g", PRESSURE_KEY])
    level = (answer or "").split()[-1:]
    if not level or not level[0].isdecimal():
        return unknown("thermal_pressure", words.NO_NOTIFYUTIL_ANSWER)
    return judge(
        "thermal_pressure",
        int(level[0]) == 0,
        words.pressure_level(int(level[0])),
        words.COOL_DOWN,
        bad="invalid",
    )


def fan(machine: Machine) -> StateCheck | None:
    """Records how fast the fans turn, as results of a cooled board do not hold for a board in a box."""
    if machine.macos:
        return None
    turning = [
        words.fan_speed(name=proc_files.read(path.parent / "name") or path.parent.name, rpm=speed)
        for path in machine.glob("sys/class/hwmon/hwmon[0-9]*/fan[0-9]*_input")
        if (speed := proc_files.read_int(path)) is not None
    ]
    turning += [
        words.fan_step(name=name, step=step)
        for path in machine.glob("sys/class/thermal/cooling_device[0-9]*")
        if "fan" in (name := proc_files.read(path / "type") or "").lower()
        and (step := proc_files.read_int(path / "cur_state")) is not None
    ]
    if not turning:
        return unknown("fan", words.NO_FAN)
    return recorded("fan", ", ".join(turning))


def ambient(machine: Machine) -> StateCheck | None:
    """The air around the machine, where a sensor is named after it."""
    if machine.macos:
        return None
    named = [
        (proc_files.read(path) or "", path.with_name(path.name.replace("_label", "_input")))
        for path in machine.glob("sys/class/hwmon/hwmon[0-9]*/temp[0-9]*_label")
    ]
    named += [
        (proc_files.read(zone / "type") or "", zone / "temp")
        for zone in machine.glob("sys/class/thermal/thermal_zone[0-9]*")
    ]
    for name, path in named:
        reading = proc_files.read_int(path) if "ambient" in name.lower() else None
        if reading is not None and reading >= COLDEST_C * 1000:
            return recorded("ambient", f"{name} {reading / 1000:.1f} C")
    return unknown("ambient", words.NO_AMBIENT_SENSOR)
