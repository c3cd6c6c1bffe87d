"""Device facts and the device's name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgebench.probes import cgroup, cpu_facts, machine, virtualisation
from edgebench.probes.device_facts import detect, name_of, slug
from edgebench.probes.emulation import Process
from edgebench.probes.l4t import l4t_version
from edgebench.probes.machine import Machine, run_command
from edgebench.testing.trees import write_tree

XEON = {
    "proc/cpuinfo": "processor\t: 0\nmodel name\t: Intel(R) Xeon(R) Gold 6154 CPU @ 3.00GHz\n"
    "flags\t\t: fpu sse4_2 hypervisor avx2 avx512_vnni amx_int8 rdtscp",
    "proc/meminfo": "MemTotal:       24684084 kB\nMemFree: 1 kB\nSwapTotal:             0 kB",
    "proc/stat": "cpu  1 0 1 1 1 0 1 1 0 0\ncpu0 1 0 1 1 1 0 1 1 0 0\ncpu1 1 0 1 1 1 0 1 1 0 0",
    "proc/sys/kernel/arch": "x86_64",
    "proc/sys/kernel/osrelease": "6.1.0-18",
    "proc/sys/kernel/randomize_va_space": "2",
    "proc/self/status": "Cpus_allowed_list:\t0-1",
    "proc/self/cgroup": "0::/docker/abc",
    "sys/fs/cgroup/cpu.max": "max 100000",
    "sys/fs/cgroup/docker/abc/cpu.max": "150000 100000",
    "sys/fs/cgroup/docker/cpu.max": "400000 100000",
    "sys/fs/cgroup/docker/abc/memory.max": "1073741824",
    "sys/fs/cgroup/docker/memory.max": "max",
    "sys/devices/system/cpu/online": "0-1",
    "sys/devices/system/cpu/isolated": "",
    "sys/devices/system/cpu/smt/active": "1",
    "sys/devices/system/cpu/cpu0/topology/thread_siblings_list": "0-1",
    "sys/devices/system/cpu/cpu1/topology/thread_siblings_list": "0-1",
    "sys/devices/system/cpu/cpu0/cache/index0/level": "1",
    "sys/devices/system/cpu/cpu0/cache/index0/type": "Data",
    "sys/devices/system/cpu/cpu0/cache/index0/size": "48K",
    "sys/devices/system/cpu/cpu0/cache/index0/shared_cpu_list": "0-1",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_governor": "powersave",
    "sys/devices/system/cpu/cpufreq/policy1/scaling_governor": "performance",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq": "2400000",
    "sys/devices/system/cpu/cpufreq/policy1/scaling_max_freq": "2400000",
    "sys/devices/system/cpu/intel_pstate/no_turbo": "0",
    "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never",
    "etc/os-release": 'NAME="Debian"\nPRETTY_NAME="Debian GNU/Linux 12"',
}
ORIN_NX = {
    "sys/firmware/devicetree/base/model": "NVIDIA Jetson Orin NX Engineering Reference "
    "Developer Kit\0",
    "etc/nv_tegra_release": "# R36 (release), REVISION: 5.0, GCID: 0, BOARD: generic",
    "var/lib/nvpmodel/status": "pmode:0002",
    "proc/cpuinfo": "\n\n".join(
        f"processor\t: {n}\nFeatures\t: fp asimd asimddp aes\nCPU implementer\t: 0x41\n"
        "CPU part\t: 0xd42"
        for n in range(6)
    ),
}
MAC = (
    "hw.machine: arm64\nhw.model: MacBookPro18,3\nhw.logicalcpu: 10\nhw.physicalcpu: 10\n"
    "hw.perflevel0.physicalcpu: 8\nhw.perflevel1.physicalcpu: 2\nhw.memsize: 17179869184\n"
    "hw.l1dcachesize: 65536\nhw.optional.arm.FEAT_DotProd: 1\nhw.optional.arm.FEAT_I8MM: 0\n"
    "machdep.cpu.brand_string: Apple M1 Pro\nkern.osproductversion: 14.5\n"
    "kern.osrelease: 23.5.0\nkern.hv_vmm_present: 0"
)


def test_facts_of_an_x86_container(tmp_path: Path) -> None:
    found = detect(write_tree(tmp_path, XEON))
    assert found.name == "intel-xeon-gold-6154-2c-24g"
    assert found.facts["isa"] == ["amx_int8", "avx2", "avx512_vnni", "sse4_2"]
    assert (found.facts["logical_cpus"], found.facts["physical_cores"]) == (2, 1)
    assert found.facts["smt"] is True
    assert found.facts["caches"] == [
        {"level": 1, "type": "Data", "size_bytes": 49152, "shared_cpus": "0-1"}
    ]
    assert found.facts["memory_bytes"] == 24684084 * 1024
    assert found.facts["swap_bytes"] == 0  # known to be none, unlike a missing line
    assert found.facts["governor"] == {"policy0": "powersave", "policy1": "performance"}
    assert found.facts["frequency_max_khz"] == 2400000  # the same for all
    assert found.facts["turbo"] is True
    assert found.facts["cgroup_cpu_limit"] == 1.5  # the tightest level
    assert found.facts["cgroup_memory_limit_bytes"] == 1 << 30
    assert found.facts["container"] == "docker"
    assert found.facts["isolated_cpus"] == "none"
    assert found.facts["transparent_hugepages"] == "madvise"
    assert found.facts["os"] == "Debian GNU/Linux 12"
    assert found.facts["virtualised"] is True
    assert set(found.unknown) == {
        "frequency_driver", "frequency_min_khz", "board", "l4t", "nvidia_driver", "power_mode",
    }  # fmt: skip


def test_facts_of_a_jetson(tmp_path: Path) -> None:
    found = detect(write_tree(tmp_path, ORIN_NX))
    assert found.name == "nvidia-jetson-orin-nx-engineering-reference-developer-kit"
    assert found.facts["l4t"] == "36.5.0"
    assert found.facts["cpu_model"] == "Arm Cortex-A78AE"
    assert found.facts["isa"] == ["asimd", "asimddp"]
    assert found.facts["virtualised"] is False
    assert found.facts["power_mode"] == "mode 2"


def test_the_name_of_a_power_mode_is_asked_for_on_a_live_jetson(tmp_path: Path) -> None:
    def run(command: Sequence[str]) -> str:
        assert list(command) == ["nvpmodel", "-q"]
        return "NVPM WARN: fan mode is not set!\nNV Power Mode: MODE_15W\n2\n"

    assert detect(write_tree(tmp_path, ORIN_NX), run=run).facts["power_mode"] == "MODE_15W"


def test_facts_of_a_mac(tmp_path: Path) -> None:
    asked: list[str] = []

    def run(command: Sequence[str]) -> str:
        asked.append(command[0])
        return MAC

    found = detect(tmp_path, run=run, platform="darwin")
    assert found.name == "apple-m1-pro-10c-16g"
    assert found.facts["performance_cores"] == 8
    assert found.facts["isa"] == ["dotprod"]
    assert found.facts["virtualised"] is False
    assert found.facts["os"] == "macOS 14.5"
    assert asked == ["sysctl"]  # one process
    assert found.unknown == {}


def test_an_empty_tree_knows_nothing_and_says_why(tmp_path: Path) -> None:
    found = detect(tmp_path)
    assert found.name == "unknown"
    assert found.facts == {}
    assert found.unknown["cpu_model"] == "/proc/cpuinfo: no such file or directory"
    assert all(found.unknown.values())
    silent = detect(tmp_path, run=lambda command: None, platform="darwin")
    assert silent.facts == {}
    assert "cpu_model" in silent.unknown


def test_a_copied_tree_runs_no_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "run_command", lambda command: pytest.fail(str(command)))
    detect(write_tree(tmp_path, ORIN_NX))


def test_this_machine_has_a_name_and_no_empty_fact() -> None:
    found = detect()
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", found.name)
    assert found.facts["python"]
    assert not set(found.facts) & set(found.unknown)
    assert None not in found.facts.values()


def test_a_command_that_is_missing_fails_or_hangs_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_command(["no-such-command-anywhere"]) is None
    assert run_command(["false"]) is None
    monkeypatch.setattr(machine, "_TIMEOUT_S", 0.05)
    assert run_command(["sleep", "30"]) is None


@given(st.text() | st.text(st.sampled_from("aB7- "), min_size=60, max_size=200))
def test_a_slug_is_a_safe_folder_name(text: str) -> None:
    made = slug(text)
    assert re.fullmatch(r"([a-z0-9]+(-[a-z0-9]+)*)?", made)
    assert len(made) <= 64
    assert slug(made) == made


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "board": st.text(),
            "cpu_model": st.text(),
            "machine": st.text(),
            "logical_cpus": st.integers(1, 512),
            "memory_bytes": st.integers(1, 1 << 45),
        },
    )
)
def test_every_machine_has_a_name(facts: dict[str, object]) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name_of(facts))


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("Intel(R) Xeon(R) Processor", "intel-xeon"),
        ("Intel(R) Core(TM) i7-8650U CPU @ 1.90GHz", "intel-core-i7-8650u"),
        ("AMD Ryzen 7 7840U w/ Radeon 780M Graphics", "amd-ryzen-7-7840u-w-radeon-780m-graphics"),
        ("AMD EPYC 7763 64-Core Processor", "amd-epyc-7763"),
        ("Apple M3", "apple-m3"),
    ],
)
def test_a_cpu_name_loses_its_marks(model: str, name: str) -> None:
    assert name_of({"cpu_model": model}) == name


@pytest.mark.parametrize(
    ("contents", "virtual"),
    [
        ({"proc/cpuinfo": "flags : fpu hypervisor"}, True),
        ({"proc/cpuinfo": "flags : fpu"}, False),
        ({"proc/cpuinfo": "flags : fpu", "sys/hypervisor/type": "xen"}, True),
        ({"sys/class/dmi/id/sys_vendor": "QEMU"}, True),
        (
            {
                "sys/class/dmi/id/sys_vendor": "Amazon EC2",
                "sys/class/dmi/id/product_name": "c7g.large",
            },
            True,
        ),
        (
            {
                "sys/class/dmi/id/sys_vendor": "Amazon EC2",
                "sys/class/dmi/id/product_name": "c7g.metal",
            },
            False,
        ),
        ({"sys/class/dmi/id/sys_vendor": "Microsoft Corporation"}, False),
        ({"sys/firmware/devicetree/base/model": "linux,dummy-virt"}, True),
        ({"sys/firmware/devicetree/base/model": "Raspberry Pi 4 Model B"}, False),
        ({"proc/cpuinfo": "Features : asimd"}, None),
        ({}, None),
    ],
)
def test_virtual_machines(tmp_path: Path, contents: dict[str, str], virtual: bool | None) -> None:
    found = virtualisation.detect(Machine.at(write_tree(tmp_path, contents)))
    assert found.virtual is virtual
    assert found.evidence


@pytest.mark.parametrize(
    ("text", "cpus"), [("0-3,8", [0, 1, 2, 3, 8]), ("0", [0]), ("", []), ("a-b", None), ("-", None)]
)
def test_the_kernels_cpu_lists(text: str, cpus: list[int] | None) -> None:
    assert cpu_facts.parse_list(text) == cpus


def test_unlike_cores_are_both_named() -> None:
    blocks = [("0x41", "0xd03"), ("0x41", "0xd08"), ("0x99", "0x123"), ("0x41", "0xd03")]
    text = "\n\n".join(f"CPU implementer : {i}\nCPU part : {p}" for i, p in blocks)
    assert cpu_facts.model(text) == "Arm Cortex-A53 + Arm Cortex-A72 + Arm core 0x99:0x123"
    assert cpu_facts.model("CPU implementer : odd\nCPU part : 1") is None


@pytest.mark.parametrize(
    ("text", "version"),
    [("# R35 (release), REVISION: 4.1, GCID: 3", "35.4.1"), ("nothing", None), (None, None)],
)
def test_l4t_release_is_parsed(text: str | None, version: str | None) -> None:
    assert l4t_version(text) == version


def test_limits_of_cgroup_v1(tmp_path: Path) -> None:
    root = write_tree(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/job\n3:cpu,cpuacct:/job\n0::/",
            "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us": "50000",
            "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us": "100000",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
            "sys/fs/cgroup/memory/job/memory.limit_in_bytes": "9223372036854771712",
        },
    )
    assert cgroup.cpu_limit(root) == 0.5
    assert cgroup.memory_limit_bytes(root) == "none"


def test_a_control_group_of_v1_counts_once_by_whatever_name(tmp_path: Path) -> None:
    stat = "sys/fs/cgroup/cpu,cpuacct/job/cpu.stat"
    root = write_tree(
        tmp_path, {"proc/self/cgroup": "3:cpu,cpuacct:/job\n0::/", stat: "nr_throttled 3"}
    )
    (root / "sys/fs/cgroup/cpu").symlink_to("cpu,cpuacct")
    assert cgroup.cpu_stat_files(root) == [root / stat]


def test_no_cgroup_is_unknown_not_unlimited(tmp_path: Path) -> None:
    assert cgroup.cpu_limit(tmp_path) is None
    assert cgroup.memory_limit_bytes(tmp_path) is None


@pytest.mark.parametrize("group", ["/../../etc", "/..", ""])
def test_a_group_outside_its_mount_is_not_followed(tmp_path: Path, group: str) -> None:
    write_tree(
        tmp_path,
        {
            "proc/self/cgroup": f"0::{group}",
            "sys/fs/cgroup/cpu.max": "max 100000",
            "sys/cpu.max": "1000 100000",
            "etc/cpu.max": "1000 100000",
        },
    )
    assert cgroup.cpu_limit(tmp_path) == "none"


@pytest.mark.parametrize(
    ("kernel", "process", "emulated", "words"),
    [
        (
            "x86_64",
            Process("aarch64", 64),
            True,
            "the kernel is x86_64, and this process is aarch64",
        ),
        ("aarch64", Process("armv7l", 32), False, "a 32-bit process on a aarch64 kernel"),
        ("x86_64", Process("i686", 32), False, "a 32-bit process on a x86_64 kernel"),
        # uname of a 32-bit process tells the kernel's kind unless somebody asked it not to.
        ("aarch64", Process("aarch64", 32), False, "a 32-bit process"),
        ("aarch64", Process("riscv64", 64), True, "it is emulated"),
        ("x86_64", Process("x86_64", 64), None, ""),
        (None, Process("x86_64", 64), None, ""),
    ],
)
def test_a_process_of_another_kind_than_the_kernel_is_told(
    tmp_path: Path, kernel: str | None, process: Process, emulated: bool | None, words: str
) -> None:
    tree = {"proc/cpuinfo": "model name: Host CPU\nflags : avx2 avx512f\n"}
    if kernel is not None:
        tree["proc/sys/kernel/arch"] = kernel + "\n"
    write_tree(tmp_path, tree)
    found = detect(tmp_path, process=process)
    assert found.facts.get("emulated") is emulated
    assert words in found.facts.get("emulated_evidence", "")
    if emulated is not None:
        assert found.facts["machine"] == process.machine
        assert found.facts["kernel_machine"] == kernel
    # The kernel lists what the host's processor has: none of it is the emulated one's.
    assert ("isa" in found.facts) is not bool(emulated)
    assert found.name.endswith(f"-emulated-{process.machine}") is bool(emulated)


def test_rosetta_says_so_itself() -> None:
    def sysctl(command: Sequence[str]) -> str | None:
        return "1\n" if "sysctl.proc_translated" in command else "hw.machine: x86_64\n"

    found = detect(run=sysctl, platform="darwin", process=Process("x86_64", 64))
    assert found.facts["emulated"] is True
    assert (found.facts["machine"], found.facts["kernel_machine"]) == ("x86_64", "aarch64")
