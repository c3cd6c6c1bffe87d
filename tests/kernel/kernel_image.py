"""Builds Linux as a program (User-mode Linux) with the drivers of boards' meters, from Debian's source.

`python -m tests.kernel.kernel_image` builds it into build/kernel; what is kept is the program and three modules (some
6 MB), under a digest of everything that decides what they are. No KVM, no disk image and no emulator of a machine is needed.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.kernel.rapl_module import SHIM, module_source
from tests.kernel.requirements import (
    CANNOT_RUN,
    CannotRun,
    install,
    require_commands,
    require_debian,
    require_machine,
    require_root,
)

HERE = Path(__file__).parent
BUILD = HERE.parents[1] / "build/kernel"
PACKAGES = ("flex", "bison", "bc", "device-tree-compiler", "kmod", "xz-utils", "libc6-dev")
#: The module of made-up registers, and those of the kernel that are loaded when a test asks.
MODULES = ("rapl_uml", "i2c-stub", "test_power")
_IN_TREE = {
    "i2c-stub": "drivers/i2c/i2c-stub.ko",
    "test_power": "drivers/power/supply/test_power.ko",
}

#: The program itself, its processes, its files and its console.
_SYSTEM = """64BIT EXPERT MULTIUSER PRINTK BUG BINFMT_ELF BINFMT_SCRIPT FUTEX EPOLL SIGNALFD TIMERFD EVENTFD POSIX_TIMERS
HIGH_RES_TIMERS NO_HZ_IDLE SHMEM AIO ADVISE_SYSCALLS MEMBARRIER FILE_LOCKING FHANDLE INOTIFY_USER PROC_FS PROC_SYSCTL
PROC_PAGE_MONITOR SYSFS TMPFS DEVTMPFS HOSTFS TTY STDERR_CONSOLE NULL_CHAN NET UNIX PSI CGROUPS SYSVIPC VM_EVENT_COUNTERS
VIRTIO_UML UML_PCI_OVER_VIRTIO OF MODULES MODULE_UNLOAD PM MAGIC_SYSRQ"""
#: The drivers that are asked: hwmon's meters, thermal zones and what cools them, batteries, powercap.
_DRIVERS = """I2C I2C_CHARDEV HWMON SENSORS_INA3221 SENSORS_INA238 SENSORS_INA2XX SENSORS_INA209 SENSORS_LTC2945
SENSORS_LTC4215 SENSORS_LM75 SENSORS_MAX6650 PMBUS SENSORS_PMBUS SENSORS_ADM1275 SENSORS_LM25066 THERMAL THERMAL_OF THERMAL_HWMON
THERMAL_EMULATION THERMAL_GOV_STEP_WISE POWER_SUPPLY POWER_SUPPLY_HWMON BATTERY_SBS BATTERY_BQ27XXX POWERCAP"""
_AS_MODULES = "I2C_STUB TEST_POWER"
#: What must be left after `olddefconfig`, which drops options in silence.
_NEEDED = """OF HOSTFS SENSORS_INA3221 SENSORS_INA238 SENSORS_INA2XX SENSORS_LTC2945 PMBUS THERMAL_EMULATION BATTERY_SBS
POWERCAP"""

#: File, what stands there, and what stands there instead. Both leave the drivers of meters alone.
_PATCHES = (
    (  # a floating-point state as large as that of processors with AMX (fixed in Linux 6.13)
        "arch/x86/um/user-offsets.c",
        "DEFINE_LONGS(HOST_FP_SIZE, 2696)",
        "DEFINE_LONGS(HOST_FP_SIZE, 12288)",
    ),
    (  # the chips of i2c-stub may stand in a device tree
        "drivers/i2c/i2c-stub.c",
        "#include <linux/module.h>",
        "#include <linux/module.h>\n#include <linux/of.h>",
    ),
    (
        "drivers/i2c/i2c-stub.c",
        "\tret = i2c_add_adapter(&stub_adapter);",
        (
            '\tstub_adapter.dev.of_node = of_find_compatible_node(NULL, NULL, "linux,i2c-stub");\n'
            "\tret = i2c_add_adapter(&stub_adapter);"
        ),
    ),
)

#: Folders of which Kconfig wants the descriptions alone.
_UNUSED_DRIVERS = """gpu media staging infiniband scsi usb crypto isdn video mtd md ata input iommu clk pinctrl firmware
remoteproc soc phy mmc nvme target misc ntb spi accel dma block message net/*"""
_UNUSED_FILE_SYSTEMS = """btrfs xfs ext4 f2fs ocfs2 gfs2 nfs nfsd cifs ceph ksmbd smb ntfs3 ntfs jfs reiserfs ubifs afs nilfs2
udf"""
_UNUSED_PROTOCOLS = """mac80211 wireless bluetooth netfilter sctp tipc batman-adv rxrpc smc sunrpc mptcp dccp openvswitch"""
_UNUSED_MACHINES = """alpha arc arm arm64 csky hexagon ia64 loongarch m68k microblaze mips nios2 openrisc parisc powerpc riscv
s390 sh sparc xtensa"""


def ensure() -> Path:
    """The folder with the kernel, built where it is not there yet. Raises CannotRun."""
    if not is_built():
        require()
        install(PACKAGES)
        _build()
    require_to_boot()
    return BUILD


def require() -> None:
    """Raises CannotRun where this machine can neither build nor run it."""
    require_machine("x86_64")
    require_debian()
    require_root()
    require_commands(("gcc", "make", "apt-get", "dpkg-deb"))


def require_to_boot() -> None:
    """Raises CannotRun where this machine cannot run what was built."""
    require_machine("x86_64")
    require_root()
    require_commands(("dtc",))


def is_built() -> bool:
    """Whether the kernel of this recipe is there."""
    stamp = BUILD / "recipe"
    return stamp.exists() and stamp.read_text() == _recipe()


def _recipe() -> str:
    """A digest of all that decides what is built."""
    made_up = (HERE / "modules/rapl_fake.c").read_text()
    parts = [_SYSTEM, _DRIVERS, _AS_MODULES, repr(_PATCHES), made_up, SHIM]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _build() -> None:
    source = BUILD / "source"
    BUILD.mkdir(parents=True, exist_ok=True)
    if not (source / "complete").exists():
        shutil.rmtree(source, ignore_errors=True)
        _unpack(_download(), source)
        _patch(source)
        (source / "complete").touch()
    _configure(source)
    jobs = os.environ.get("JOBS") or str(os.cpu_count() or 1)
    _make(source, f"-j{jobs}", "linux", "modules")
    made = BUILD / "rapl"
    made.mkdir(exist_ok=True)
    common = (source / "drivers/powercap/intel_rapl_common.c").read_text()
    fake = (HERE / "modules/rapl_fake.c").read_text()
    (made / "rapl_uml.c").write_text(module_source(common, fake))
    (made / "Makefile").write_text("obj-m := rapl_uml.o\n")
    _make(source, f"M={made}", "modules")
    for built in (
        source / "linux",
        *(source / path for path in _IN_TREE.values()),
        made / "rapl_uml.ko",
    ):
        shutil.copy2(built, BUILD)
    (BUILD / "recipe").write_text(_recipe())
    _say(f"built, {(BUILD / 'linux').stat().st_size >> 20} MiB")
    for folder in (source, made):
        shutil.rmtree(folder)


def _download() -> Path:
    """Debian's package of the kernel's source."""
    shown = _run("apt-cache", "depends", "linux-source")
    named = re.search(r"Depends: (linux-source-[0-9.]+)\n", shown)
    if named is None:
        raise CannotRun("apt knows no package linux-source: run apt-get update")
    kept = sorted(BUILD.glob(f"{named[1]}_*.deb"))
    if not kept:
        _say(f"fetching {named[1]}")
        _run("apt-get", "download", "-qq", named[1], at=BUILD)
        kept = sorted(BUILD.glob(f"{named[1]}_*.deb"))
    return kept[-1]


def _unpack(package: Path, source: Path) -> None:
    """The source without what is described but never compiled here: a third of it."""
    _say(f"unpacking {package.name}")
    source.mkdir()
    top = package.name.partition("_")[0]
    left_out = " ".join(f"--exclude='{top}/{pattern}'" for pattern in _left_out())
    command = (
        f"dpkg-deb --fsys-tarfile '{package}' | tar xOf - --wildcards './usr/src/linux-source-*.tar.xz' | xz -dcT0"
        f" | tar xf - -C '{source}' --strip-components=1 --anchored --wildcards {left_out}"
    )
    _run("bash", "-o", "pipefail", "-c", command)
    package.unlink()


def _left_out() -> Iterator[str]:
    for folders, names in (
        ("drivers/", _UNUSED_DRIVERS),
        ("fs/", _UNUSED_FILE_SYSTEMS),
        ("net/", _UNUSED_PROTOCOLS),
        ("arch/", _UNUSED_MACHINES),
        ("", "sound"),
        ("tools/", "testing perf"),
    ):
        for name in names.split():
            folder = f"{folders}{name}"
            yield from (f"{folder}/*.[chS]", f"{folder}/*.dts*")
    yield from ("Documentation/*.rst", "Documentation/*.yaml")


def _patch(source: Path) -> None:
    """Makes the changes without which boards cannot boot here. Raises CannotRun where this kernel reads otherwise."""
    for name, old, new in _PATCHES:
        path = source / name
        text = path.read_text()
        if old not in text:
            raise CannotRun(f"{name} of this kernel is not as in Linux 6.1 ({old!r} is missing)")
        path.write_text(text.replace(old, new, 1))


def _configure(source: Path) -> None:
    _make(source, "tinyconfig")
    with (source / ".config").open("a") as config:
        config.writelines(f"CONFIG_{option}=y\n" for option in f"{_SYSTEM} {_DRIVERS}".split())
        config.writelines(f"CONFIG_{option}=m\n" for option in _AS_MODULES.split())
        config.write("CONFIG_KERNEL_STACK_ORDER=4\n")
    _make(source, "olddefconfig")
    told = (source / ".config").read_text().splitlines()
    lost = [option for option in _NEEDED.split() if f"CONFIG_{option}=y" not in told]
    if lost:
        raise CannotRun(f"this kernel does not take the options {', '.join(lost)}")


def _make(source: Path, *arguments: str) -> None:
    _say(" ".join(("make", *arguments)))
    log = BUILD / "make.log"
    with log.open("w") as out:
        done = subprocess.run(
            ["make", "-s", "-C", source, "ARCH=um", *arguments],
            stdout=out,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode != 0:
        told = log.read_text(errors="replace").splitlines()
        first = next((line for line in told if "rror" in line), "no error is named")
        raise CannotRun(
            f"the kernel's make {arguments[-1]} ends with {done.returncode} ({log}): {first}"
        )


def _run(*command: str, at: Path | None = None) -> str:
    done = subprocess.run(command, capture_output=True, text=True, cwd=at, check=False)
    if done.returncode != 0:
        last: Sequence[str] = done.stderr.strip().splitlines()[-1:] or ("no reason given",)
        raise CannotRun(f"{command[0]} ends with {done.returncode}: {last[0]}")
    return done.stdout


_BEGAN_S = time.monotonic()


def _say(what: str) -> None:
    print(f"{time.monotonic() - _BEGAN_S:5.0f} s  {what}", flush=True)


def main() -> int:
    """Builds the kernel. The exit code is `CANNOT_RUN` where this machine cannot."""
    try:
        ensure()
    except CannotRun as why:
        print(f"test-kernel cannot run here: {why}", file=sys.stderr)
        return CANNOT_RUN
    return 0


if __name__ == "__main__":
    sys.exit(main())
