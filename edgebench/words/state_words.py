"""Words for checks of a machine's state: the evidence, what to do about it, and why a check tells nothing.

What has a name in small letters takes data, by the names in its braces.
"""

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
waited_for_cpu = "tasks waited for a CPU {percent:.1f} % of the last 10 s".format
load_per_cpu = "{load:.2f} per CPU in the last minute".format
stolen_since_boot = "{share:.2%} of the CPU time wanted since boot".format
quota_ran_out = "{periods} periods so far; watched in every replicate".format

# Of virtual machines and emulated processes.
HYPERVISOR_STEALS = "/proc/stat: a hypervisor has taken CPU time (steal)"
NO_CPU_FLAG = "no CPU flag hypervisor"
NO_SIGN_EITHER_WAY = "there are no CPU flags, device tree or DMI strings to decide it"
NO_VMM_ANSWER = "sysctl kern.hv_vmm_present gave no answer"
ROSETTA = "sysctl.proc_translated: Rosetta translates this x86_64 process"
virtual_machine = "virtual machine ({evidence})".format
emulated = "the kernel is {kernel}, and this process is {process}: it is emulated".format
narrow_process = "a 32-bit process on a {kernel} kernel".format
use_native_python = "use a Python for {kernel}, or real hardware: times of an emulated processor are no one's".format

# Of power.
NO_LOW_POWER_MODE = "pmset -g does not report lowpowermode"
LOW_POWER_MODE_OFF = "sudo pmset -a lowpowermode 0"
NO_BATTERY_ANSWER = "pmset -g batt gave no answer"
NO_BATTERY_DISCHARGING = "no battery discharging"
PLUG_IN = "plug in the charger"
mode_untold = "declared {declared}; the machine tells none".format
mode_unlike_declared = "{mode}, and devices.yaml declares {declared}".format
mode_beside_declared = "{mode}, which cannot be told from the declared {declared}".format
drawing_from = "drawing from {supply}".format

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
temperature_and_limit = "{sensor} {now_c:.1f} C, {kind} at {limit_c:.1f} C".format
throttled_since_boot = "{events} events since boot; watched in every replicate".format
none_slows = "none of {devices} cooling devices slows a processor".format
slowed_to = "{name} is slowed down to state {state}".format
fan_speed = "{name} {rpm} rpm".format
fan_step = "{name} at step {step}".format

# Of what happened between two looks.
NO_EVENT = "no event"
NO_THROTTLING_SEEN = "no sign of throttling"
NO_ANSWER = "it gave no answer"
SAME_SETTINGS = "governor, clocks and power mode as before"
KEEP_SETTINGS = "keep governor, clocks, power mode and charger as they are during a run"
COUNTER_LOST = "its counter could not be read again"
COUNTER_BACKWARDS = "its counter went backwards"
event = "{meaning}: {amount} ({where})".format
times = "{count} times".format
lost = "{name} could not be read again".format
backwards = "{name} went backwards".format
reset = "{name} went backwards: it was reset".format
setting_changed = "{name}: {before} -> {after}".format
stolen = "{share:.1%} of the CPU time wanted".format
swapped = "{pages} pages swapped".format
waited_for_cpu_meanwhile = "tasks waited for a CPU {share:.1%} of the time".format
pi_flags_meanwhile = "get_throttled {bits:#x}".format


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


def swapped_since_boot(pages: int, waited_percent: float | None) -> str:
    """`waited_percent`: how long tasks waited for memory lately; None: unknown."""
    if waited_percent is None:
        now = "no /proc/pressure/memory to tell whether now"
    else:
        now = f"tasks waited for memory {waited_percent:.1f} % of the last 10 s"
    return f"{pages} pages swapped since boot; {now}"


def overcurrent_since_boot(counts: Mapping[str, int]) -> str:
    listed = ", ".join(f"{name} {count}" for name, count in counts.items())
    return f"{listed} since boot; watched in every replicate"


def set_power_mode(declared: str, profile: str | None) -> str:
    """`profile`: the file of the firmware's profile; None: the machine has nvpmodel."""
    how = f"write it to {profile}" if profile else f"sudo nvpmodel -m the number of {declared}"
    return f"{how}, or correct devices.yaml"


def discharging(names: Sequence[str]) -> str:
    return f"{', '.join(names)} discharging"


def no_limit_known(temperature_c: float | None) -> str:
    read = "" if temperature_c is None else f"{temperature_c:.1f} C; "
    return f"{read}no sensor in /sys names its limit"


def pi_flags(bits: int) -> str:
    when = "now" if bits & 0xF else "since boot"
    return f"{bits:#x}" + (f": under-voltage, capped or throttled {when}" if bits else "")


def pressure_level(level: int) -> str:
    return f"level {level} ({'' if level == 0 else '0 is '}nominal)"


def thermal_pressure(level: int) -> str:
    return f"thermal pressure {pressure_level(level)}"


def and_more(count: int) -> str:
    """ " and 2 more"; empty for none."""
    return f" and {count} more" if count else ""
