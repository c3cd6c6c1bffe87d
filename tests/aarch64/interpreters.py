"""The Pythons of the emulated root: which there are, where they lie, and which wheels each may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Interpreter:
    """A Python of aarch64. `program` and `site` (its packages) are paths within the root; `platform` is in uv's words."""

    version: str
    program: str
    site: str
    platform: str
    stands_for: str


#: Debian 12's own, with the C library of that Debian.
DEBIAN = Interpreter(
    "3.11", "/usr/bin/python3", "/opt/edgebench", "aarch64-manylinux_2_36", "Debian 12"
)
#: As old as JetPack 6's (Ubuntu 22.04), with wheels for no newer C library than that has.
JETPACK_6 = Interpreter(
    "3.10",
    "/opt/python3.10/python3.10",
    "/opt/edgebench-3.10",
    "aarch64-manylinux_2_35",
    "JetPack 6",
)
ALL = (DEBIAN, JETPACK_6)
