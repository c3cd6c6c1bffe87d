"""Sets the power modes of nvpmodel for their cells, reads them back, and restores the former one.

The only place that changes a setting of the machine, and only where --set-power-mode allows it.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from typing import Any, final

from edgebench.errors import DeviceStateError, UnsupportedError
from edgebench.probes import nvpmodel
from edgebench.probes.machine import Machine
from edgebench.probes.nvpmodel import Mode
from edgebench.processes import signals

#: Runs a command that changes something; "" where it went well, else what it said.
Execute = Callable[[Sequence[str]], str]

_TIMEOUT_S = 60.0


def execute(command: Sequence[str]) -> str:
    """The live machine's. Without an answer to give, a mode that wants a reboot is left alone."""
    try:
        done = subprocess.run(
            list(command),
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    said = " ".join((done.stderr or done.stdout).split())[-300:]
    return "" if done.returncode == 0 else said or f"exit code {done.returncode}"


@final
class PowerModes:
    """A context in which modes may be set; leaving it puts the former one back, also after Ctrl-C,
    SIGTERM and the like, or a failure."""

    def __init__(self, machine: Machine | None = None, run: Execute = execute) -> None:
        self._machine = machine or Machine.at()
        self._execute = run
        self._former = nvpmodel.current(self._machine)
        self._handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> PowerModes:
        for number in signals.ENDINGS:
            self._handlers[number] = signal.signal(number, signals.stop)
        return self

    def __exit__(self, *_: object) -> None:
        # Another one must not stop this: a session that ends sends SIGHUP and SIGTERM.
        interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
        for number in signals.ENDINGS:
            signal.signal(number, signal.SIG_IGN)
        try:
            self.restore()
        finally:
            for number, handler in {**self._handlers, signal.SIGINT: interrupt}.items():
                signal.signal(number, handler)

    def enter(self, name: str) -> str:
        """Sets the mode of that number or name. Returns its name as read back.

        Raises UnsupportedError where the board has no such mode, or does not take it.
        """
        if not nvpmodel.is_jetson(self._machine):
            raise UnsupportedError(
                "this machine has no power modes that edgebench can set",
                "edgebench sets the modes of nvpmodel, on a Jetson",
            )
        if self._former is None or self._former.number is None:
            raise UnsupportedError(
                "the power mode of this machine cannot be read, so it could not be restored",
                "`nvpmodel -q` must print it",
            )
        known = nvpmodel.modes(self._machine)
        mode = next((mode for mode in known if mode.is_called(name)), None)
        if mode is None or mode.number is None:
            listed = (
                ", ".join(f"{mode.number} ({mode.name})" for mode in known) or "none are listed"
            )
            raise UnsupportedError(f"no power mode {name!r} on this board: {listed}")
        said = self._set(mode.number)
        current = nvpmodel.current(self._machine)
        if current is None or current.number != mode.number:
            raise UnsupportedError(
                f"power mode {mode} was not accepted; the mode is {current}"
                + (said and f": {said}"),
                "run it as root"
                if os.geteuid()
                else "this change may need a reboot: set the mode yourself",
            )
        return str(current)

    def restore(self) -> None:
        """Puts the former mode back. Raises DeviceStateError where it does not come back."""
        former = self._former
        if former is None or former.number is None:
            return  # then none was set
        said = self._set(former.number)
        mode = nvpmodel.current(self._machine)
        if mode is None or mode.number != former.number:
            raise DeviceStateError(
                f"the power mode was {former} and could not be restored: it is {mode}"
                + (said and f": {said}"),
                f"sudo nvpmodel -m {former.number}",
            )

    def _set(self, number: int) -> str:
        now: Mode | None = nvpmodel.current(self._machine)
        if now is not None and now.number == number:
            return ""
        return self._execute(["nvpmodel", "-m", str(number)])
