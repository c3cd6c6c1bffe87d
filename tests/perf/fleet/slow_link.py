"""A link between a worker and its scheduler that is slow, and that can be cut: a proxy of TCP in threads.

It stands for `tc netem` where the kernel has none: every piece waits for the delay, and a cut ends all connections and
refuses new ones for a while, as a board whose network is gone.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time

DELAY_S = 0.04
CUT_S = 3.0
_PIECE_BYTES = 1 << 16


class SlowLink:
    """Listens on one port of this machine and passes everything on to another one."""

    def __init__(self, port: int, scheduler_port: int) -> None:
        self._to = ("127.0.0.1", scheduler_port)
        self._cut_until = 0.0
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", port), reuse_port=True)
        threading.Thread(target=self._serve, daemon=True).start()

    def cut(self) -> None:
        """Ends all connections; new ones are refused for CUT_S."""
        self._cut_until = time.monotonic() + CUT_S
        while self._open:
            _close(self._open.pop())

    def close(self) -> None:
        """Ends the link for good."""
        _close(self._listener)
        self.cut()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                if time.monotonic() < self._cut_until:
                    _close(near)
                    continue
                threading.Thread(target=self._join, args=(near,), daemon=True).start()

    def _join(self, near: socket.socket) -> None:
        try:
            far = socket.create_connection(self._to, timeout=5)
        except OSError:
            _close(near)
            return
        far.settimeout(None)
        self._open += [near, far]
        threading.Thread(target=_pass_on, args=(near, far), daemon=True).start()
        _pass_on(far, near)


def _pass_on(one: socket.socket, other: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := one.recv(_PIECE_BYTES):
            time.sleep(DELAY_S)
            other.sendall(piece)
    _close(one)
    _close(other)


def _close(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
