"""A network namespace at the end of a bad link: every packet is late, and some are lost. Needs root.

`tc netem` over a pair of veth does it where the kernel has netem. Elsewhere two TUN devices and this process do it: it
reads each packet of one side, drops some, and writes the others to the other side once they are late enough.
"""

from __future__ import annotations

import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import threading
import time
from typing import Final

HERE: Final = "10.203.77.1"  # this machine, as the namespace reaches it
THERE: Final = "10.203.77.2"
DELAY_S: Final = 0.02  # each way
LOSS: Final = 0.005  # each way
_TUNSETIFF: Final = 0x400454CA
_IFF_TUN: Final = 0x0001
_IFF_NO_PI: Final = 0x1000
_MAX_PACKET_BYTES: Final = 1 << 16


def why_not() -> str:
    """Why there can be no namespace here; "" where there can."""
    if os.geteuid() != 0:
        return "needs root"
    done = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=False)
    return done.stderr.strip()


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


class LossyNamespace:
    """A namespace whose only link leads to this machine. `how` says what makes it bad."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.prefix = ("ip", "netns", "exec", name)
        self._ends: list[int] = []
        self._thread: threading.Thread | None = None
        self.passed = self.lost = 0
        _ip("netns", "add", name)
        try:
            self.how = self._netem() or self._tun()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Removes the namespace, and its link with it."""
        ends, self._ends = self._ends, []
        if self._thread is not None:
            self._thread.join(timeout=2)
        for end in ends:
            os.close(end)
        subprocess.run(["ip", "netns", "del", self.name], check=False, capture_output=True)

    def _netem(self) -> str:
        """ "" where the kernel has no netem."""
        here, there = f"{self.name}h", f"{self.name}n"
        _ip("link", "add", here, "type", "veth", "peer", "name", there)
        netem = ["netem", "delay", f"{DELAY_S * 1e3:g}ms", "loss", f"{LOSS:%}"]
        done = subprocess.run(
            ["tc", "qdisc", "add", "dev", here, "root", *netem], check=False, capture_output=True
        )
        if done.returncode != 0:
            _ip("link", "del", here)
            return ""
        self._join(here, there)
        subprocess.run(
            [*self.prefix, "tc", "qdisc", "add", "dev", there, "root", *netem], check=True
        )
        return "tc netem"

    def _tun(self) -> str:
        here, there = f"{self.name}h", f"{self.name}n"
        self._ends = [_tun_device(here), _tun_device(there)]
        self._join(here, there)
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()
        return "two TUN devices, as this kernel has no netem"

    def _join(self, here: str, there: str) -> None:
        _ip("link", "set", there, "netns", self.name)
        _ip("addr", "add", HERE, "peer", THERE, "dev", here)
        _ip("link", "set", here, "up")
        _ip("-n", self.name, "addr", "add", THERE, "peer", HERE, "dev", there)
        for device in ("lo", there):
            _ip("-n", self.name, "link", "set", device, "up")

    def _carry(self) -> None:
        """Until the ends are taken away."""
        ends, draw = tuple(self._ends), random.Random(0)
        late: list[tuple[float, int, int, bytes]] = []  # due, number, end to write to, packet
        while self._ends:
            now = time.monotonic()
            while late and late[0][0] <= now:
                _, _, end, packet = heapq.heappop(late)
                os.write(end, packet)
            wait_s = max(late[0][0] - now, 0) if late else 0.2
            for end in select.select(ends, [], [], min(wait_s, 0.2))[0]:
                packet = os.read(end, _MAX_PACKET_BYTES)
                if draw.random() < LOSS:
                    self.lost += 1
                    continue
                self.passed += 1
                other = ends[1] if end == ends[0] else ends[0]
                heapq.heappush(late, (time.monotonic() + DELAY_S, self.passed, other, packet))


def _tun_device(name: str) -> int:
    end = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    fcntl.ioctl(end, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
    return end
