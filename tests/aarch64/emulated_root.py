"""A root file system of aarch64, without such a machine: Debian's arm64 Python and the index's aarch64 wheels.

Nothing of the target is installed by the target: packages are only unpacked, and uv chooses the wheels on this machine. Programs
run through QEMU's user emulation, by the kernel's binfmt_misc. `python -m tests.aarch64.emulated_root` makes it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.aarch64 import python310
from tests.aarch64.interpreters import ALL, DEBIAN, JETPACK_6, Interpreter
from tests.aarch64.processors import ARM, DOT_PRODUCTS, Processor
from tests.kernel.requirements import (
    CANNOT_RUN,
    CannotRun,
    install,
    install_wheels,
    reason,
    require_commands,
    require_debian,
    require_root,
)

CHECKOUT = Path(__file__).parents[2]
BUILD = CHECKOUT / "build/aarch64"
ROOT = BUILD / "root"
#: edgebench's cache, at the same path within the root: what was prepared here is found there.
CACHE = BUILD / "cache"
EXTRAS = "test,openvino,ncnn"
_SUITE = "bookworm"
_PACKAGES = "python3,libstdc++6,libgomp1,ca-certificates,coreutils,bash"
#: Why a Python is left out, where it could not be had: a file of its version.
_LEFT_OUT = "python-{}-left-out"
_EMULATOR = "/usr/bin/qemu-aarch64-static"
_BINFMT = Path("/proc/sys/fs/binfmt_misc")
_ELF = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
_ANY = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
_MAGIC = f":qemu-aarch64:M::{_ELF}:{_ANY}:"
_SETTINGS = {
    "PATH": "/usr/bin:/bin",
    "HOME": "/root",
    "PYTHONSAFEPATH": "1",  # else the checkout is imported in the place of the wheel
    "NO_COLOR": "1",
    "PYTHONPYCACHEPREFIX": "/var/cache/python",  # within the root, so that the checkout stays as it is
    "ORT_DISABLE_TELEMETRY": "1",
    "CI": "true",
}


def require() -> None:
    """Raises CannotRun where this machine cannot emulate."""
    if platform.machine() == "aarch64":
        raise CannotRun("this machine is an aarch64 itself: make test runs there")
    require_debian()
    require_root()
    require_commands(("apt-get", "unshare", "chroot", "mount"))


def ensure() -> None:
    """Builds the root file system where it is not there yet. Raises CannotRun."""
    require()
    install(("qemu-user-static", "mmdebstrap"))
    register_emulator()
    if not (ROOT / "usr/bin/python3").exists():
        _say("unpacking Debian's arm64 packages")
        shutil.rmtree(ROOT, ignore_errors=True)
        BUILD.mkdir(parents=True, exist_ok=True)
        _run("mmdebstrap", "--quiet", "--variant=extract", "--mode=root", "--architectures=arm64",
             "--aptopt=Acquire::Retries \"3\"", f"--include={_PACKAGES}", _SUITE, str(ROOT), _sources())  # fmt: skip
    _ensure_python310()
    _install_edgebench()
    for processor in ARM:
        _cpuinfo(processor).write_text(processor.cpuinfo(os.cpu_count() or 1))
    for folder in (ROOT / "checkout", CACHE, _within(CACHE)):
        folder.mkdir(parents=True, exist_ok=True)


def _cpuinfo(processor: Processor) -> Path:
    return BUILD / f"cpuinfo-{processor.name}"


def _within(path: Path) -> Path:
    """The place of a path in the root."""
    return ROOT / path.relative_to("/")


def _sources() -> str:
    """This machine's own list of Debian's archives."""
    folder = Path("/etc/apt")
    found = [*sorted(folder.glob("sources.list.d/debian*.sources")), folder / "sources.list"]
    return str(next((path for path in found if path.exists()), found[-1]))


def _ensure_python310() -> None:
    """JetPack 6's Python, where it is to be had."""
    (BUILD / _LEFT_OUT.format(JETPACK_6.version)).unlink(missing_ok=True)
    with _or_left_out(JETPACK_6):
        python310.ensure(ROOT, BUILD / "python310")


@contextlib.contextmanager
def _or_left_out(python: Interpreter) -> Iterator[None]:
    """Keeps the reason why a Python other than Debian's cannot be had, by which the tests with it are skipped."""
    try:
        yield
    except CannotRun as why:
        if python is DEBIAN:
            raise
        (BUILD / _LEFT_OUT.format(python.version)).write_text(str(why))
        _say(f"Python {python.version} is left out: {why}")


def left_out(python: Interpreter) -> str:
    """Why the root has no such Python; empty where it has it."""
    reason = BUILD / _LEFT_OUT.format(python.version)
    if reason.exists():
        return f"Python {python.version}: {reason.read_text()}"
    return "" if (ROOT / python.site[1:]).exists() else "the root is not built: make test-aarch64"


def register_emulator() -> None:
    """Lets the kernel start programs of aarch64 through QEMU, for every process: edgebench starts many."""
    if not (_BINFMT / "register").exists():
        subprocess.run(
            ["mount", "-t", "binfmt_misc", "binfmt_misc", _BINFMT], capture_output=True, check=False
        )
    if (_BINFMT / "qemu-aarch64").exists():
        return
    try:
        (_BINFMT / "register").write_text(f"{_MAGIC}{_EMULATOR}:OCF")
    except OSError as error:
        raise CannotRun(
            f"the kernel's binfmt_misc cannot be used ({error.strerror}): nothing starts the emulator"
        ) from None


def _install_edgebench() -> None:
    """This checkout's wheel, and the wheels for aarch64 of everything that it needs, for each Python."""
    wheels = BUILD / "wheel"
    shutil.rmtree(wheels, ignore_errors=True)
    _run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(wheels), str(CHECKOUT))
    [wheel] = wheels.glob("*.whl")
    for python in ALL:
        if not (BUILD / _LEFT_OUT.format(python.version)).exists():
            _say(f"choosing wheels of aarch64 for Python {python.version}")
            with _or_left_out(python):
                _install_wheels(python, f"{wheel}[{EXTRAS}]", "--reinstall-package", "edgebench")
                _install_wheels(python, "pnnx", "--no-deps")


def _install_wheels(python: Interpreter, wanted: str, *how: str) -> None:
    target = str(ROOT / python.site[1:])
    _run(*_uv(), "pip", "install", "-q", "--python-version", python.version, "--python-platform", python.platform,
         "--target", target, "--only-binary", ":all:", *how, wanted)  # fmt: skip


def _uv() -> Sequence[str]:
    """uv, which chooses wheels for other machines than this one. Raises CannotRun."""
    if importlib.util.find_spec("uv") is None:
        install_wheels("uv")
    return (sys.executable, "-m", "uv")


def run(
    *arguments: str,
    python: Interpreter = DEBIAN,
    time_out_s: float = 900,
    more_path: str = "",
    processor: Processor = DOT_PRODUCTS,
) -> subprocess.CompletedProcess[str]:
    """Runs a Python of the root, in a mount namespace of its own: the checkout at /checkout, the cache at its own path.

    It imports the wheel's packages, and what `more_path` names after them.
    """
    path = ":".join(filter(None, (python.site, more_path)))
    given = {
        **_SETTINGS,
        "EDGEBENCH_CACHE": str(CACHE),
        "PYTHONPATH": path,
        "QEMU_CPU": processor.name,
    }
    settings = " ".join(f"{name}={shlex.quote(value)}" for name, value in given.items())
    script = f"""set -e
mount -t proc proc {ROOT}/proc; mount --bind {_cpuinfo(processor)} {ROOT}/proc/cpuinfo
mount --rbind /sys {ROOT}/sys; mount --rbind /dev {ROOT}/dev
mount --bind {CHECKOUT} {ROOT}/checkout; mount --bind {CACHE} {_within(CACHE)}
exec chroot {ROOT} /usr/bin/env -i {settings} bash -c 'cd /root && exec "$@"' _ {shlex.join((python.program, *arguments))}"""
    return subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "--kill-child", "bash", "-c", script],
        capture_output=True, text=True, timeout=time_out_s, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CannotRun(
            f"{Path(command[0]).name} ends with {done.returncode}: {reason(done.stderr)}"
        )


_BEGAN_S = time.monotonic()


def _say(what: str) -> None:
    print(f"{time.monotonic() - _BEGAN_S:5.0f} s  {what}", flush=True)


def main() -> int:
    """Builds the root. The exit code is `CANNOT_RUN` where this machine cannot."""
    try:
        ensure()
    except CannotRun as why:
        print(f"test-aarch64 cannot run here: {why}", file=sys.stderr)
        return CANNOT_RUN
    _say(f"ready in {BUILD.relative_to(CHECKOUT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
