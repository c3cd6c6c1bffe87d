"""What a check has at hand: the bus, files of the kernel, and edgebench's own commands."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import json
import os
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.kernel.guest.chips import FUNCTIONALITY, Bus

_ADDRESSES = "0x40,0x41,0x44,0x45,0x46,0x47,0x48,0x0b,0x1b,0x10"
#: 0.1 % of the value: what is asked of a sum of products.
_SHARE = 1e-3
NOBODY = 65534
#: RNDADDENTROPY of random(4).
_ADD_ENTROPY = 0x40085203


@dataclass(frozen=True)
class Answer:
    """What a command printed, where that is JSON, and what it said to people."""

    found: Any
    said: str


class Lab:
    """A booted board."""

    def __init__(self, board: str, modules: Path) -> None:
        self.board = board
        self._modules = modules
        _make_random()
        self.load("i2c-stub", f"chip_addr={_ADDRESSES}", f"functionality={FUNCTIONALITY:#x}")
        self.bus = Bus()
        _import_all()

    def load(self, module: str, *parameters: str) -> None:
        subprocess.run(
            ["insmod", self._modules / f"{module}.ko", *parameters], check=True, capture_output=True
        )

    # What edgebench says

    def watch(self, seconds: float = 1, user: int | None = None, tries: int = 4) -> Answer:
        """`edgebench energy watch`; again where a busy host kept it from reading, which it then says."""
        for _ in range(tries):
            answer = self._watch_once(seconds, user)
            if answer.found is None or answer.found["reason"] != "read_failed":
                break
        return answer

    def watch_while(self, change: Callable[[], None], mend: Callable[[], None]) -> Answer:
        """The same while something changes in the midst of it; later, where a busy host began late."""
        for seconds in (2.0, 4.0, 8.0):
            with self.after(seconds / 2, change):
                answer = self._watch_once(seconds, None)
            mend()
            if answer.found["reason"] == "read_failed":
                break
        return answer

    def _watch_once(self, seconds: float, user: int | None) -> Answer:
        return edgebench(
            "energy", "watch", "--seconds", f"{seconds:g}", "--format", "json", user=user
        )

    def doctor(self) -> Any:
        """What `edgebench doctor` finds, as JSON."""
        return edgebench("doctor", "--format", "json").found

    def state(self, name: str) -> Any:
        """A check of the machine's state, None where there is no row of it."""
        return next((row for row in self.doctor()["state"] if row["name"] == name), None)

    # Files of the kernel

    def chip(self, name: str) -> Path:
        """The folder of hwmon of the first chip of a name."""
        names = sorted(Path("/sys/class/hwmon").glob("hwmon*/name"))
        return next(path.parent for path in names if path.read_text().strip() == name)

    def put(self, path: Path | str, value: object) -> None:
        Path(path).write_text(str(value))

    @contextlib.contextmanager
    def devices(self, **fields: object) -> Iterator[None]:
        """An inventory whose one entry fits this machine."""
        entry = {"name": "bench", "title": "Bench", "match": {"os": "*"}, **fields}
        Path("devices.yaml").write_text(json.dumps({"devices": [entry]}))
        try:
            yield
        finally:
            Path("devices.yaml").unlink()

    @contextlib.contextmanager
    def after(self, seconds: float, change: Callable[[], None]) -> Iterator[None]:
        """Changes something so long from now, while edgebench measures."""
        timer = threading.Timer(seconds, change)
        timer.start()
        try:
            yield
        finally:
            timer.join()


def _make_random() -> None:
    """Lets the kernel hand out random numbers at once. It waits for noise, which an idle guest has none of: whoever writes
    a file under a random name would wait for minutes."""
    seed = hashlib.sha256(b"registers are made up here, and so is this").digest()
    with Path("/dev/random").open("wb", buffering=0) as device:
        fcntl.ioctl(device, _ADD_ENTROPY, struct.pack("ii", 8 * len(seed), len(seed)) + seed)


def _import_all() -> None:
    """Imports once what the commands import when they run. Other users may not read the interpreter's files."""
    from click.testing import CliRunner

    from edgebench.cli import cli

    for command in (["energy", "watch", "--seconds", "0.01", "--format", "json"], ["doctor"]):
        CliRunner().invoke(cli, command)
    from edgebench.energy import integrate, trapezoid  # noqa: F401 - those of a meter that is there


def edgebench(*arguments: str, user: int | None = None) -> Answer:
    """Runs a command in a child of this process, which has imported all that it needs: starting Python takes long here."""
    from edgebench.cli import cli

    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if child == 0:
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            if user is not None:
                os.setgroups([])
                os.setuid(user)
            code = 70
            try:
                cli.main(list(arguments), standalone_mode=False)
                code = 0
            except BaseException as error:  # noqa: BLE001 - whatever it is, the check shows it
                os.write(2, f"{type(error).__name__}: {error}".encode())
            with contextlib.suppress(Exception):
                import sys

                sys.stdout.flush()
            os._exit(code)
        os.waitpid(child, 0)
        return Answer(_decoded(_content(out)), _content(err))


def _content(file: io.BufferedRandom | Any) -> str:
    file.seek(0)
    return str(file.read().decode())


def _decoded(text: str) -> Any:
    return json.loads(text) if text.lstrip().startswith("{") else None


def close(found: float | None, wanted: float, resolution: float = 0.0) -> None:
    """Asserts that a value is what was worked out by hand, within 0.1 % and the meter's resolution."""
    off = abs(wanted) * _SHARE + resolution
    assert found is not None, f"no value, and {wanted:.6g} by hand"
    assert abs(found - wanted) <= off, f"{found:.6g}, and {wanted:.6g} +- {off:.2g} by hand"


def equal(found: object, wanted: object) -> None:
    assert found == wanted, f"{found!r}, and should be {wanted!r}"


def settle(seconds: float = 0.05) -> None:
    """Waits until work that the kernel does later is done."""
    time.sleep(seconds)
