"""Words for facts of a device, or of a process on it, that are unknown: why each is.

What has a name in small letters takes data, by the names in its braces.
"""

from __future__ import annotations

# Of the processor.
NO_ARCHITECTURE = "the copied tree does not state the architecture"
NO_CPU_LIST = "no list of CPUs in /sys or /proc/stat"
NO_TOPOLOGY = "no CPU topology in /sys"
NO_SMT = "no /sys/devices/system/cpu/smt/active"
NO_CACHES = "no cache descriptions in /sys"
NO_CLOCK_POLICIES = "no cpufreq policies in /sys (usual in a virtual machine)"
NO_TURBO_SWITCH = "no intel_pstate/no_turbo or cpufreq/boost in /sys"

# Of the system.
NO_HUGE_PAGES = "no transparent_hugepage in /sys"
NO_ASLR = "no /proc/sys/kernel/randomize_va_space"
NO_OS_RELEASE = "no /etc/os-release"
NO_KERNEL_RELEASE = "no /proc/sys/kernel/osrelease"
NO_CONTAINER_MARKER = "no marker of a container, which proves nothing"
NO_CONTROL_GROUP = "no readable control group"
NO_AFFINITY = "no Cpus_allowed_list in /proc/self/status"
NO_ISOLATED_CPUS = "no /sys/devices/system/cpu/isolated"

# Of the board.
NO_DEVICE_TREE = "no device tree (usual on x86)"
NOT_A_JETSON = "no /etc/nv_tegra_release: not a Jetson"
NO_NVIDIA_DRIVER = "NVIDIA's driver is not loaded"
NO_POWER_MODE = "no nvpmodel or platform_profile"

# Of macOS.
NO_ARM_FEATURES = "sysctl gave no hw.optional.arm features"
NO_CACHE_SIZES = "sysctl gave no cache sizes"

# Of the kernel's counters of instructions and of cache misses.
COUNTER_FORBIDDEN = (
    "the kernel allows no counter (kernel.perf_event_paranoid, or the container's rules)"
)
COUNTER_UNREADABLE = "the kernel's counter cannot be read"
COUNTED_IN_PART = "the kernel's counter was not counting all the time"
COUNTER_NOT_BEGUN = "no counter was begun in this process"

of_host = "the kernel lists the host's: {evidence}".format
not_in_meminfo = "no {key} in /proc/meminfo".format
not_in_sysctl = "sysctl gave no {key}".format
not_counted_here = "edgebench counts {what} on Linux alone, on x86-64, Arm and RISC-V".format
counter_missing = (
    "the processor, or the virtual machine, offers the kernel no counter of {what}".format
)
counter_refused = "the kernel refuses a counter of {what}: {error}".format


def no_cpuinfo(problem: str | None) -> str:
    return f"/proc/cpuinfo: {problem or 'not listed'}"


def no_pressure(waited_for: str, problem: str) -> str:
    return f"/proc/pressure/{waited_for}: {problem or 'not understood'}"


def no_memory_traffic(mounted: bool) -> str:
    why = "it counts no bytes here" if mounted else "not mounted"
    return f"/sys/fs/resctrl/mon_data: {why}"
