"""Holds what probes read: a file-system tree and, only on the live machine, a few commands."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from edgebench.probes import proc_files
from edgebench.probes.proc_files import LIVE

#: Runs a command that only reads; standard output, or None where it is missing or fails.
Runner = Callable[[Sequence[str]], "str | None"]
#: Gives NVIDIA's management library as a module that is ready to be asked, or None.
Nvml = Callable[[], "Any | None"]

_TIMEOUT_S = 2.0


def run_command(command: Sequence[str]) -> str | None:
    """The runner of the live machine. A command that hangs is given up after two seconds."""
    executable = shutil.which(command[0])
    if executable is None:
        return None
    try:
        done = subprocess.run(
            [executable, *command[1:]],
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def no_command(command: Sequence[str]) -> str | None:
    """The runner of a tree that is not the live machine: nothing can be asked."""
    return None


@lru_cache(maxsize=1)
def load_nvml() -> Any | None:
    """`pynvml`, initialised; None where the package or the driver is missing."""
    import warnings

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an old namesake of the package warns of itself
            import pynvml
        pynvml.nvmlInit()
    except Exception:  # noqa: BLE001 - the library's errors are known only once it is imported
        return None
    return pynvml


def no_nvml() -> Any | None:
    """The library of a tree that is not the live machine: there is none."""
    return None


@dataclass(frozen=True)
class Machine:
    """A tree below `root`, a runner of commands, and the platform in the words of `sys.platform`."""

    root: Path
    run: Runner
    platform: str
    nvml: Nvml = no_nvml

    @classmethod
    def at(
        cls,
        root: Path = LIVE,
        run: Runner | None = None,
        platform: str | None = None,
        nvml: Nvml | None = None,
    ) -> Machine:
        """The live machine where `root` is "/"; any other root is a Linux tree without commands."""
        live = root == LIVE
        return cls(
            root=root,
            run=run or (run_command if live else no_command),
            platform=platform or (sys.platform if live else "linux"),
            nvml=nvml or (load_nvml if live else no_nvml),
        )

    @property
    def live(self) -> bool:
        return self.root == LIVE

    @property
    def macos(self) -> bool:
        return self.platform == "darwin"

    def read(self, relative: str) -> str | None:
        return proc_files.read(self.root / relative)

    def read_int(self, relative: str) -> int | None:
        return proc_files.read_int(self.root / relative)

    def glob(self, pattern: str) -> list[Path]:
        return proc_files.glob(self.root, pattern)

    @property
    def nvidia(self) -> bool:
        """Whether NVIDIA's driver for GPUs is loaded (a Jetson's own, before Thor, is another)."""
        return (self.root / "proc/driver/nvidia/version").exists()

    @property
    def pi(self) -> bool:
        return "raspberry pi" in (self.board() or "").lower()

    def board(self) -> str | None:
        """The board's model in its device tree, or None where it has none (most x86 machines)."""
        # /proc/device-tree is an absolute link into /sys: followed in a copied tree, it would leave it.
        for path in ("sys/firmware/devicetree/base/model", "proc/device-tree/model"):
            if model := self.read(path):
                return model
        return None
