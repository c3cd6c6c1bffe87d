"""macOS's thermal pressure level without a process of its own: notify(3) of libSystem."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

PRESSURE_KEY = "com.apple.system.thermalpressurelevel"
_LIBRARY = "/usr/lib/libSystem.B.dylib"
_STATUS_OK = 0


def thermal_pressure_reader(library: Any | None = None) -> Callable[[], int | None] | None:
    """A function that reads the level (0 is nominal), or None where libSystem has no such key.

    `library` is for tests: an object with notify_register_check and notify_get_state.
    """
    if library is None:
        try:
            library = ctypes.CDLL(_LIBRARY)
        except OSError:
            return None
    token = ctypes.c_int()
    if library.notify_register_check(PRESSURE_KEY.encode(), ctypes.byref(token)) != _STATUS_OK:
        return None

    def read() -> int | None:
        level = ctypes.c_uint64()
        if library.notify_get_state(token, ctypes.byref(level)) != _STATUS_OK:
            return None
        return level.value

    return read
