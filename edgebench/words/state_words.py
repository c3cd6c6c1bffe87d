"""Words for checks of a machine's state: the evidence, what to do about it, and why a check tells nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

# Of clocks.
NO_CPUFREQ = "no cpufreq in /sys (usual in a virtual machine)"
TURBO_ON = "on: the clock depends on temperature and on other cores"
SET_GOVERNOR = "sudo cpupower frequency-set -g performance"
SWITCH_TURBO_OFF = "switch it off in the firmware, or by intel_pstate/no_turbo or cpufreq/boost"
PIN_CLOCKS = "Jetson: sudo jetson_clocks; else sudo cpupower frequency-set -d FREQ -u FREQ"
CLOCKS_ARE_PINNED = "minimum = maximum"
NO_JETSON_CLOCKS = "jetson_clocks --show gave no answer (it needs root)"

# Of other programs, other guests and quotas.
NO_CPU_PRESSURE = "no /proc/pressure/cpu"
NO_LOAD = "no load average or no CPU count"
NO_STEAL = "no steal column in /proc/stat"
NO_SWAP_COUNTERS = "no pswpin and pswpout in /proc/vmstat"
NO_PAGE_SWAPPED = "no page swapped since boot"
WAIT_SECONDS = "end other programs and wait ten seconds"
WAIT_A_MINUTE = "end other programs and wait a minute"
FEWER_THREADS = "end other programs, or use no more threads than CPUs"
FREE_MEMORY = "free memory: end other programs"
FREE_MEMORY_OR_SMALLER = "free memory: end other programs, or use a smaller model"
DEDICATED_CORES = "use a dedicated machine or an instance type with dedicated cores"
ONE_SESSION = "compare only runs made on this machine in one session, or use real hardware"

# Of virtual machines and emulated processes.
HYPERVISOR_STEALS = "/proc/stat: a hypervisor has taken CPU time (steal)"
NO_CPU_FLAG = "no CPU flag hypervisor"
NO_SIGN_EITHER_WAY = "there are no CPU flags, device tree or DMI strings to decide it"
NO_VMM_ANSWER = "sysctl kern.hv_vmm_present gave no answer"
ROSETTA = "sysctl.proc_translated: Rosetta translates this x86_64 process"

# Of power.
NO_LOW_POWER_MODE = "pmset -g does not report lowpowermode"
LOW_POWER_MODE_OFF = "sudo pmset -a lowpowermode 0"
NO_BATTERY_ANSWER = "pmset -g batt gave no answer"
NO_BATTERY_DISCHARGING = "no battery discharging"
PLUG_IN = "plug in the charger"

# Of heat.
NO_TEMPERATURE_ON_MACOS = "macOS reports no temperature without root"
NO_TEMPERATURE_SENSOR = "no sensor of the CPU or GPU in /sys"
NO_THROTTLE_COUNTERS = "no thermal_throttle counters in /sys"
NO_COOLING_STATE = "no cooling device reports its state"
NO_NVML_ANSWER = "NVIDIA's driver is loaded; NVML gave no answer"
NO_GPU_REASONS = "the driver reports no reasons for this GPU"
GPU_NOT_SLOWED = "no thermal, hardware or power reason"
NO_VCGENCMD_ANSWER = "vcgencmd gave no answer"
NO_NOTIFYUTIL_ANSWER = "notifyutil gave no answer"
NO_FAN = "no fan in /sys reports its speed"
NO_AMBIENT_SENSOR = "no sensor named ambient"
INSTALL_NVML = "pip install 'edgebench[nvidia]'"
COOL_DOWN = "let it cool down"
COOL_DOWN_OR_BETTER = "let it cool down, or cool it better"
COOL_BETTER = "cool it better"
COOL_OR_LOWER_CLOCK = "cool it better, or lower the clock"
COOL_GPU_DOWN = "let the GPU cool down"
COOL_GPU_OR_LOWER_CLOCK = "cool the GPU better, or lower its clock"
RAISE_GPU_LIMIT = "raise the GPU's power limit, or lock its clock"
STRONGER_SUPPLY = "use a stronger supply"
SUPPLY_AND_COOLING = "use a stronger supply and cooling, then reboot to clear the flags"

# Of what happened between two looks.
NO_EVENT = "no event"
NO_THROTTLING_SEEN = "no sign of throttling"
NO_ANSWER = "it gave no answer"
SAME_SETTINGS = "governor, clocks and power mode as before"
KEEP_SETTINGS = "keep governor, clocks, power mode and charger as they are during a run"
COUNTER_LOST = "its counter could not be read again"
COUNTER_BACKWARDS = "its counter went backwards"


class Event(NamedTuple):
    """What a counted event means, and what to do about it."""

    meaning: str
    fix: str


#: Kind of event (`snapshot.EVENTS`) -> its words.
EVENTS: Mapping[str, Event] = {
    "thermal_throttle": Event(
        "the CPU throttled because of its temperature",
        "cool it better, or lower the clock so that it holds",
    ),
    "overcurrent": Event(
        "the board throttled because of under-voltage or over-current",
        "use a stronger supply or a lower power mode",
    ),
    "pi_throttled": Event(
        "the Raspberry Pi was capped or throttled", "cool it better, then reboot to clear the flags"
    ),
    "pi_undervoltage": Event(
        "the Raspberry Pi had too little voltage",
        "use a stronger supply, then reboot to clear the flags",
    ),
    "cgroup_throttle": Event(
        "the control group ran out of its CPU quota",
        "raise the container's CPU limit, or use fewer threads",
    ),
}


def waited_for_cpu(percent: float) -> str:
    return f"tasks waited for a CPU {percent:.1f} % of the last 10 s"


def waited_for_cpu_meanwhile(share: float) -> str:
    return f"tasks waited for a CPU {share:.1%} of the time"


def load_per_cpu(load: float) -> str:
    return f"{load:.2f} per CPU in the last minute"


def stolen_since_boot(share: float) -> str:
    return f"{share:.2%} of the CPU time wanted since boot"


def stolen(share: float) -> str:
    return f"{share:.1%} of the CPU time wanted"


def swapped_since_boot(pages: int, waited_percent: float | None) -> str:
    """`waited_percent`: how long tasks waited for memory lately; None: unknown."""
    if waited_percent is None:
        now = "no /proc/pressure/memory to tell whether now"
    else:
        now = f"tasks waited for memory {waited_percent:.1f} % of the last 10 s"
    return f"{pages} pages swapped since boot; {now}"


def swapped(pages: int) -> str:
    return f"{pages} pages swapped"


def quota_ran_out(periods: int) -> str:
    return f"{periods} periods so far; watched in every replicate"


def throttled_since_boot(events: int) -> str:
    return f"{events} events since boot; watched in every replicate"


def overcurrent_since_boot(counts: Mapping[str, int]) -> str:
    listed = ", ".join(f"{name} {count}" for name, count in counts.items())
    return f"{listed} since boot; watched in every replicate"


def virtual_machine(evidence: str) -> str:
    return f"virtual machine ({evidence})"


def use_native_python(kernel: str | None) -> str:
    return (
        f"use a Python for {kernel}, or real hardware: times of an emulated processor are no one's"
    )


def emulated(kernel: str, process: str) -> str:
    return f"the kernel is {kernel}, and this process is {process}: it is emulated"


def narrow_process(kernel: str) -> str:
    return f"a 32-bit process on a {kernel} kernel"


def mode_untold(declared: str) -> str:
    return f"declared {declared}; the machine tells none"


def mode_unlike_declared(mode: str, declared: str) -> str:
    return f"{mode}, and devices.yaml declares {declared}"


def mode_beside_declared(mode: str, declared: str) -> str:
    return f"{mode}, which cannot be told from the declared {declared}"


def set_power_mode(declared: str, profile: str | None) -> str:
    """`profile`: the file of the firmware's profile; None: the machine has nvpmodel."""
    how = f"write it to {profile}" if profile else f"sudo nvpmodel -m the number of {declared}"
    return f"{how}, or correct devices.yaml"


def discharging(names: Sequence[str]) -> str:
    return f"{', '.join(names)} discharging"


def drawing_from(supply: str) -> str:
    return f"drawing from {supply}"


def no_limit_known(temperature_c: float | None) -> str:
    read = "" if temperature_c is None else f"{temperature_c:.1f} C; "
    return f"{read}no sensor in /sys names its limit"


def temperature_and_limit(sensor: str, now_c: float, kind: str, limit_c: float) -> str:
    return f"{sensor} {now_c:.1f} C, {kind} at {limit_c:.1f} C"


def none_slows(devices: int) -> str:
    return f"none of {devices} cooling devices slows a processor"


def slowed_to(name: str, state: int) -> str:
    return f"{name} is slowed down to state {state}"


def pi_flags(bits: int) -> str:
    when = "now" if bits & 0xF else "since boot"
    return f"{bits:#x}" + (f": under-voltage, capped or throttled {when}" if bits else "")


def pi_flags_meanwhile(bits: int) -> str:
    return f"get_throttled {bits:#x}"


def pressure_level(level: int) -> str:
    return f"level {level} ({'' if level == 0 else '0 is '}nominal)"


def thermal_pressure(level: int) -> str:
    return f"thermal pressure {pressure_level(level)}"


def fan_speed(name: str, rpm: int) -> str:
    return f"{name} {rpm} rpm"


def fan_step(name: str, step: int) -> str:
    return f"{name} at step {step}"


def event(meaning: str, amount: str, where: str) -> str:
    return f"{meaning}: {amount} ({where})"


def times(count: int) -> str:
    return f"{count} times"


def lost(name: str) -> str:
    return f"{name} could not be read again"


def backwards(name: str) -> str:
    return f"{name} went backwards"


def reset(name: str) -> str:
    return f"{name} went backwards: it was reset"


def setting_changed(name: str, before: str, after: str) -> str:
    return f"{name}: {before} -> {after}"


def and_more(count: int) -> str:
    """ " and 2 more"; empty for none."""
    return f" and {count} more" if count else ""
