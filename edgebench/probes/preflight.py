"""Checks of the machine's state, run once before and once after a whole run.

Each check is a function of a `Machine` that returns what it found with its evidence, or None where
the machine has no such thing (a Jetson's counters on a laptop). Nothing here changes a setting.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from edgebench.probes import files, virtualisation
from edgebench.probes.cpu import clock_policies, logical_count, policy_name
from edgebench.probes.device import power_mode, turbo
from edgebench.probes.files import LIVE
from edgebench.probes.machine import Machine, Runner
from edgebench.probes.snapshot import STEAL_LIMIT, pi_bits, snapshot
from edgebench.record import Level, StateCheck

Check = Callable[[Machine], "StateCheck | None"]

PRESSURE_LIMIT_PERCENT = 5.0
LOAD_PER_CPU_LIMIT = 0.1
TRIP_MARGIN_K = 10.0
# Sensors report nonsense below this (an unused acpitz reads -44 degrees), and trip points that are
# switched off read 0 or about absolute zero.
_COLDEST_C = -30.0

_NO_CPUFREQ = "no cpufreq in /sys (usual in a virtual machine)"


def preflight(
    root: Path = LIVE, run: Runner | None = None, platform: str | None = None
) -> list[StateCheck]:
    """State before a run, every check that applies. `run` and `platform` are for tests."""
    return _run(CHECKS, Machine.at(root, run, platform))


def postflight(
    root: Path = LIVE, run: Runner | None = None, platform: str | None = None
) -> list[StateCheck]:
    """State after a run: without the checks that see the load of the run itself."""
    return _run([c for c in CHECKS if c not in OWN_LOAD], Machine.at(root, run, platform))


def _run(checks: Sequence[Check], machine: Machine) -> list[StateCheck]:
    return [found for check in checks if (found := check(machine)) is not None]


def governor(machine: Machine) -> StateCheck | None:
    if machine.macos:
        return None
    readings = [files.read(path / "scaling_governor") for path in clock_policies(machine.root)]
    found = sorted({text for text in readings if text})
    if not found:
        return _unknown("governor", _NO_CPUFREQ)
    return _judge(
        "governor",
        found == ["performance"],
        ", ".join(found),
        "sudo cpupower frequency-set -g performance",
    )


def turbo_off(machine: Machine) -> StateCheck | None:
    if machine.macos:
        return None
    on = turbo(machine)
    if on is None:
        return _unknown("turbo", "no intel_pstate/no_turbo or cpufreq/boost in /sys")
    return _judge(
        "turbo",
        not on,
        "on: the clock depends on temperature and on other cores" if on else "off",
        "switch it off in the firmware, or by intel_pstate/no_turbo or cpufreq/boost",
    )


def clocks_pinned(machine: Machine) -> StateCheck | None:
    if machine.macos:
        return None
    spans = _clock_spans(machine)
    if not spans:
        return _unknown("clocks_pinned", _NO_CPUFREQ)
    free = [f"{name} {low}-{high}" for name, low, high in spans if low != high]
    return _judge(
        "clocks_pinned",
        not free,
        "; ".join(free[:3]) + ("; ..." if len(free) > 3 else "") if free else "minimum = maximum",
        "Jetson: sudo jetson_clocks; else sudo cpupower frequency-set -d FREQ -u FREQ",
    )


def _clock_spans(machine: Machine) -> list[tuple[str, int, int]]:
    """Name, minimum and maximum clock of each CPU policy (kHz) and GPU (Hz)."""
    pairs = [
        (policy_name(path), path / "scaling_min_freq", path / "scaling_max_freq")
        for path in clock_policies(machine.root)
    ] + [
        (path.name, path / "min_freq", path / "max_freq")
        for path in machine.glob("sys/class/devfreq/*")
        if re.search(r"gpu|g[avpb][0-9]+b", path.name)
    ]
    spans = []
    for name, low_file, high_file in pairs:
        low, high = files.read_int(low_file), files.read_int(high_file)
        if low is not None and high is not None:
            spans.append((name, low, high))
    return spans


def cpu_pressure(machine: Machine) -> StateCheck | None:
    if machine.macos:
        return None
    share = _pressure_percent(machine, "cpu")
    if share is None:
        return _unknown("cpu_pressure", "no /proc/pressure/cpu")
    return _judge(
        "cpu_pressure",
        share <= PRESSURE_LIMIT_PERCENT,
        f"tasks waited for a CPU {share:.1f} % of the last 10 s",
        "end other programs and wait ten seconds",
    )


def load(machine: Machine) -> StateCheck | None:
    """The one-minute load average per CPU."""
    text = machine.run(["sysctl", "-n", "vm.loadavg"]) if machine.macos else None
    words = (text or machine.read("proc/loadavg") or "").replace("{", "").split()
    cpus = _cpu_count(machine)
    if not words or not _is_number(words[0]) or not cpus:
        return _unknown("load", "no load average or no CPU count")
    per_cpu = float(words[0]) / cpus
    return _judge(
        "load",
        per_cpu <= LOAD_PER_CPU_LIMIT,
        f"{per_cpu:.2f} per CPU in the last minute",
        "end other programs and wait a minute",
    )


def _cpu_count(machine: Machine) -> int | None:
    if not machine.macos:
        return logical_count(machine)
    answer = (machine.run(["sysctl", "-n", "hw.logicalcpu"]) or "").strip()
    return int(answer) if answer.isdecimal() else None


def steal(machine: Machine) -> StateCheck | None:
    """CPU time that the hypervisor gave to others, since boot; deltas are judged per replicate."""
    if machine.macos:
        return None
    ticks = snapshot(machine.root)
    if ticks.stolen_ticks is None or not ticks.wanted_ticks:
        return _unknown("steal", "no steal column in /proc/stat")
    share = ticks.stolen_ticks / ticks.wanted_ticks
    return _judge(
        "steal",
        share <= STEAL_LIMIT,
        f"{share:.2%} of the CPU time wanted since boot",
        "use a dedicated machine or an instance type with dedicated cores",
    )


def swap(machine: Machine) -> StateCheck | None:
    if machine.macos:
        return None
    pages = snapshot(machine.root).swapped_pages
    if pages is None:
        return _unknown("swap", "no pswpin and pswpout in /proc/vmstat")
    if pages == 0:
        return StateCheck(name="swap", level="ok", evidence="no page swapped since boot")
    waited = _pressure_percent(machine, "memory")
    evidence = f"{pages} pages swapped since boot"
    if waited is None:
        return _unknown("swap", f"{evidence}; no /proc/pressure/memory to tell whether now")
    return _judge(
        "swap",
        waited == 0,
        f"{evidence}; tasks waited for memory {waited:.1f} % of the last 10 s",
        "free memory: end other programs",
    )


def battery(machine: Machine) -> StateCheck | None:
    if machine.macos:
        return _macos_battery(machine)
    draining = [
        path.parent.name
        for path in machine.glob("sys/class/power_supply/*/status")
        if files.read(path) == "Discharging"
        and files.read(path.parent / "type") == "Battery"
        and files.read(path.parent / "scope") != "Device"  # a mouse's or a headset's
    ]
    supplies = machine.glob("sys/class/power_supply/*/type")
    if not supplies:
        return None
    return _battery(bool(draining), f"{', '.join(draining)} discharging" if draining else "")


def _macos_battery(machine: Machine) -> StateCheck | None:
    drawn = re.search(r"drawing from '([^']+)'", machine.run(["pmset", "-g", "batt"]) or "")
    if drawn is None:
        return _unknown("battery", "pmset -g batt gave no answer")
    return _battery("Battery" in drawn[1], f"drawing from {drawn[1]}")


def _battery(on_battery: bool, evidence: str) -> StateCheck:
    return _judge(
        "battery", not on_battery, evidence or "no battery discharging", "plug in the charger"
    )


def hypervisor(machine: Machine) -> StateCheck | None:
    found = virtualisation.detect(machine)
    if found.virtual is None:
        return _unknown("hypervisor", found.evidence)
    return _judge(
        "hypervisor",
        not found.virtual,
        f"virtual machine ({found.evidence})" if found.virtual else found.evidence,
        "compare only runs made on this machine in one session, or use real hardware",
    )


def temperature(machine: Machine) -> StateCheck | None:
    """The sensor that is nearest to a point at which the kernel or the chip throttles."""
    if machine.macos:
        return None
    margins = _zone_margins(machine) + _hwmon_margins(machine)
    if not margins:
        return _unknown("temperature", "no sensor in /sys that names its limit")
    margin, evidence = min(margins)
    return _judge(
        "temperature",
        margin >= TRIP_MARGIN_K,
        evidence,
        "let it cool down, or cool it better",
    )


def _zone_margins(machine: Machine) -> list[tuple[float, str]]:
    margins = []
    for zone in machine.glob("sys/class/thermal/thermal_zone[0-9]*"):
        name = files.read(zone / "type") or zone.name
        for kind_file in files.glob(zone, "trip_point_[0-9]*_type"):
            kind = files.read(kind_file)
            if kind in {"passive", "hot", "critical"}:  # "active" switches a fan
                limit_file = zone / kind_file.name.replace("_type", "_temp")
                margins += _margin(name, kind, zone / "temp", limit_file)
    return margins


def _hwmon_margins(machine: Machine) -> list[tuple[float, str]]:
    margins = []
    for limit_file in machine.glob("sys/class/hwmon/hwmon[0-9]*/temp[0-9]*_crit"):
        name = files.read(limit_file.parent / "name") or limit_file.parent.name
        reading = limit_file.parent / limit_file.name.replace("_crit", "_input")
        margins += _margin(name, "critical", reading, limit_file)
    return margins


def _margin(name: str, kind: str, reading: Path, limit: Path) -> list[tuple[float, str]]:
    """Kelvin to the limit and the evidence; empty where either is unreadable or nonsense."""
    now, end = files.read_int(reading), files.read_int(limit)
    if now is None or end is None or now < _COLDEST_C * 1000 or end <= 0:
        return []
    return [((end - now) / 1000, f"{name} {now / 1000:.1f} C, {kind} at {end / 1000:.1f} C")]


def throttle_counts(machine: Machine) -> StateCheck | None:
    """Counts since boot are history; what is added during a replicate invalidates it."""
    if machine.macos:
        return None
    counts = snapshot(machine.root).events.get("thermal_throttle")
    if not counts:
        return _unknown("thermal_throttle", "no thermal_throttle counters in /sys")
    return StateCheck(
        name="thermal_throttle",
        level="ok",
        evidence=f"{sum(counts.values())} events since boot; watched in every replicate",
    )


def cgroup_throttle(machine: Machine) -> StateCheck | None:
    counts = snapshot(machine.root).events.get("cgroup_throttle")
    if not counts:
        return None
    return StateCheck(
        name="cgroup_throttle",
        level="ok",
        evidence=f"{sum(counts.values())} periods so far; watched in every replicate",
    )


def jetson_overcurrent(machine: Machine) -> StateCheck | None:
    counts = snapshot(machine.root).events.get("overcurrent")
    if not counts:
        return None
    listed = ", ".join(f"{Path(path).name} {count}" for path, count in counts.items())
    return StateCheck(
        name="overcurrent", level="ok", evidence=f"{listed} since boot; watched in every replicate"
    )


def jetson_power_mode(machine: Machine) -> StateCheck | None:
    mode = power_mode(machine)
    return None if mode is None else StateCheck(name="power_mode", level="ok", evidence=mode)


def pi_throttled(machine: Machine) -> StateCheck | None:
    """The Raspberry Pi firmware's flags: bits 0-3 now, bits 16-19 at some time since boot."""
    answer = machine.run(["vcgencmd", "get_throttled"]) if _is_pi(machine) else None
    if answer is not None:
        bits = pi_bits(answer.strip().removeprefix("throttled="))
    else:
        readings = snapshot(machine.root).events.get("pi_throttled", {})
        bits = max(readings.values(), default=None)
    if bits is None:
        return _unknown("pi_throttled", "vcgencmd gave no answer") if _is_pi(machine) else None
    when = "now" if bits & 0xF else "since boot"
    return _judge(
        "pi_throttled",
        bits == 0,
        f"{bits:#x}" + (f": under-voltage, capped or throttled {when}" if bits else ""),
        "use a stronger supply and cooling, then reboot to clear the flags",
        bad="invalid",
    )


def _is_pi(machine: Machine) -> bool:
    return "raspberry pi" in (machine.board() or "").lower()


def macos_thermal(machine: Machine) -> StateCheck | None:
    if not machine.macos:
        return None
    answer = machine.run(["notifyutil", "-g", "com.apple.system.thermalpressurelevel"])
    level = (answer or "").split()[-1:]
    if not level or not level[0].isdecimal():
        return _unknown("thermal_pressure", "notifyutil gave no answer")
    return _judge(
        "thermal_pressure",
        level == ["0"],
        f"level {level[0]}" + (" (nominal)" if level == ["0"] else " (0 is nominal)"),
        "let it cool down",
        bad="invalid",
    )


CHECKS: tuple[Check, ...] = (
    governor,
    turbo_off,
    clocks_pinned,
    jetson_power_mode,
    cpu_pressure,
    load,
    steal,
    swap,
    battery,
    hypervisor,
    temperature,
    throttle_counts,
    cgroup_throttle,
    jetson_overcurrent,
    pi_throttled,
    macos_thermal,
)
#: What a run raises by its own work.
OWN_LOAD: tuple[Check, ...] = (cpu_pressure, load)


def _judge(name: str, good: bool, evidence: str, fix: str, bad: Level = "warn") -> StateCheck:
    if good:
        return StateCheck(name=name, level="ok", evidence=evidence)
    return StateCheck(name=name, level=bad, evidence=evidence, fix=fix)


def _unknown(name: str, why: str) -> StateCheck:
    return StateCheck(name=name, level="unknown", evidence=why)


def _pressure_percent(machine: Machine, resource: str) -> float | None:
    """`some avg10`: the share of the last ten seconds in which a task waited for `resource`."""
    match = re.search(r"some avg10=([0-9.]+)", machine.read(f"proc/pressure/{resource}") or "")
    return float(match[1]) if match and _is_number(match[1]) else None


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[0-9]+(?:\.[0-9]+)?", text) is not None
