"""What the emulated targets need of the machine, and the one line that says what is missing.

`make test-kernel` and `make test-aarch64` end with `CANNOT_RUN` where something is missing: that is no failure.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from edgebench.probes import proc_files
from tests.ci.resolve_extras import without_addresses

#: Exit code where the machine cannot run a target: automake's for a skipped test.
CANNOT_RUN = 77
#: Letters of a program's own words in the one line of a reason.
MAX_REASON = 300


class CannotRun(Exception):
    """The machine lacks something. The message is one line: what is missing, and where it would be there."""


def require_debian(root: Path = proc_files.LIVE) -> None:
    """Raises CannotRun off Debian: packages and the kernel's source come from it."""
    release = proc_files.read(root / "etc/os-release") or ""
    fields = dict(line.split("=", 1) for line in release.splitlines() if "=" in line)
    if fields.get("ID", "").strip('"') != "debian":
        name = fields.get("PRETTY_NAME", "an unknown system").strip('"')
        raise CannotRun(f"needs Debian, whose packages it is built of, and this is {name}")


def require_root(user: int | None = None) -> None:
    """Raises CannotRun for any other user."""
    if (os.geteuid() if user is None else user) != 0:
        raise CannotRun(
            "needs root, to install packages and to mount: run it as root or in a container"
        )


def require_machine(machine: str, found: str | None = None) -> None:
    """Raises CannotRun on another architecture than `machine`."""
    found = found or platform.machine()
    if found != machine:
        raise CannotRun(f"needs a machine of the kind {machine}, and this one is {found}")


def require_commands(names: Sequence[str], path: str | None = None) -> None:
    """Raises CannotRun where a command is missing and no package of `install` brings it."""
    missing = [name for name in names if shutil.which(name, path=path) is None]
    if missing:
        raise CannotRun(f"needs the commands {', '.join(missing)}, which are not on the PATH")


def install(packages: Sequence[str]) -> None:
    """Installs the Debian packages that are missing. Raises CannotRun where apt cannot."""
    missing = [name for name in packages if not _is_installed(name)]
    if not missing:
        return
    command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing]
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(command, capture_output=True, text=True, env=quiet, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["apt-get gives no reason"])[-1]
        raise CannotRun(f"apt-get cannot install {' '.join(missing)}: {last} (try: apt-get update)")


def install_wheels(*wanted: str) -> None:
    """Installs distributions into this environment. Raises CannotRun where the index has no wheels of them for this machine."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", *wanted]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CannotRun(f"pip cannot install {' '.join(wanted)}: {reason(done.stderr)}")


def reason(said: str) -> str:
    """What a program's messages say of the cause, as one line: from its first error on, else its last words."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    starts = ("e:", "error", "\N{MULTIPLICATION SIGN}")
    first = next((n for n, line in enumerate(lines) if line.lower().startswith(starts)), -1)
    told = " ".join(" ".join(lines[first:]).split())
    return without_addresses(told)[:MAX_REASON] or "no reason given"


def _is_installed(package: str) -> bool:
    ask = ["dpkg-query", "-W", "-f=${db:Status-Status}", package]
    done = subprocess.run(ask, capture_output=True, text=True, check=False)
    return done.stdout == "installed"
