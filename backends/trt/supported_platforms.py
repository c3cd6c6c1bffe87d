"""Which TensorRT runs where, and why another combination is refused by name.

Sources: NVIDIA's support matrices and "Migrating TensorRT from 10.x to 11.x on Jetson/JetPack"
(11.4.1), and "Working with DLA" (11.4.1).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from edgebench.probes import proc_files
from edgebench.probes.l4t import l4t_version

Version = tuple[int, ...]

#: The first JetPack with TensorRT 10 that is supported here is 6.1, which is L4T 36.4.
JETPACK_6_1_L4T = (36, 4)
#: JetPack 7 begins with L4T 38.
JETPACK_7_L4T = (38,)
JETPACK_FOR_11 = (7, 2, 2)
FIRST_11_ON_JETSON = (11, 4, 1)
LAST_10_WITH_DLA = (10, 7)
#: Compute capabilities, times ten, that TensorRT for RTX builds for ahead of time: Turing, Ampere, Ada and Blackwell.
CAPABILITIES = (75, 80, 86, 89, 120, 121)


@dataclass(frozen=True)
class Board:
    """Holds what decides whether a TensorRT is supported: a Jetson's model and its software."""

    jetson: bool
    model: str = ""
    l4t: Version | None = None
    jetpack: Version | None = None  # of the package nvidia-jetpack, where it is installed

    @property
    def name(self) -> str:
        """The board for people."""
        return self.model or ("this Jetson" if self.jetson else "this machine")


def read_board(root: Path = proc_files.LIVE) -> Board:
    """The board below `root`."""
    release = proc_files.read(root / "etc/nv_tegra_release")
    model = proc_files.read(root / "proc/device-tree/model") or ""
    if release is None and "jetson" not in model.lower():
        return Board(jetson=False)
    l4t = l4t_version(release)
    return Board(
        jetson=True,
        model=model,
        l4t=parse_version(l4t) if l4t else None,
        jetpack=_jetpack(root / "var/lib/dpkg/status"),
    )


def _jetpack(status: Path) -> Version | None:
    """The version of the installed package nvidia-jetpack; the list of packages is a large file."""
    try:
        text = status.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    match = re.search(r"^Package: nvidia-jetpack\n(?:.+\n)*?Version: (\S+)", text, re.MULTILINE)
    return parse_version(match[1]) if match else None


def parse_version(text: str) -> Version:
    """`"11.4.1.12-1+cuda13"` -> `(11, 4, 1, 12)`; empty where it starts with no number."""
    match = re.match(r"[0-9]+(?:\.[0-9]+)*", text)
    return tuple(int(part) for part in match[0].split(".")) if match else ()


def refusal(version: str, board: Board) -> tuple[str, str] | None:
    """The reason why TensorRT `version` is not supported on `board`, with the fix; None if it is."""
    number = parse_version(version)
    if not number or number[0] not in (10, 11):
        return (
            f"TensorRT {version} is not supported: its interface is another one",
            "install TensorRT 10.x or 11.x (on a Jetson: JetPack 6.1 or later brings it)",
        )
    if not board.jetson:
        return None
    return _refusal_10(version, board) if number[0] == 10 else _refusal_11(version, number, board)


def _refusal_10(version: str, board: Board) -> tuple[str, str] | None:
    if board.l4t is not None and board.l4t < JETPACK_6_1_L4T:
        return (
            f"TensorRT {version} on {board.name} with L4T {_text(board.l4t)} is not supported",
            "flash JetPack 6.1 (L4T 36.4) or later",
        )
    return None


def _refusal_11(version: str, number: Version, board: Board) -> tuple[str, str] | None:
    if number < FIRST_11_ON_JETSON:
        return (
            f"TensorRT {version} does not support {board.name}: on a Jetson, 11.x begins with 11.4.1",
            "install TensorRT 11.4.1 with JetPack 7.2.2 or later, or stay with JetPack's 10.x",
        )
    if board.model and not re.search(r"AGX Orin|Thor", board.model):
        return (
            f"TensorRT {version} does not support {board.model}: only AGX Orin and Thor",
            "use the TensorRT 10.x of its JetPack",
        )
    old_l4t = board.l4t is not None and board.l4t < JETPACK_7_L4T
    if old_l4t or (board.jetpack is not None and board.jetpack < JETPACK_FOR_11):
        have = f"JetPack {_text(board.jetpack)}" if board.jetpack else f"L4T {_text(board.l4t)}"
        return (
            f"TensorRT {version} on {board.name} needs JetPack 7.2.2 or later, and this is {have}",
            "upgrade JetPack, or use the TensorRT 10.x that came with it",
        )
    return None


def dla_refusal(version: str, board: Board) -> tuple[str, str] | None:
    """The reason why TensorRT `version` cannot use a DLA on `board`, with the fix; None if it can."""
    number = parse_version(version)
    leave_out = "leave dla_core out: the GPU runs everything"
    if not board.jetson:
        return f"TensorRT {version} drives a DLA on Jetson boards only", leave_out
    if number[0] == 10 and number[:2] > LAST_10_WITH_DLA:
        return (
            f"TensorRT {version} drives no DLA: 10.7 was the last 10.x that did",
            f"{leave_out}; 10.3 to 10.7 (JetPack 6) and 11.4.1 (AGX Orin, JetPack 7.2.2) drive it",
        )
    if number[0] >= 11 and (number < FIRST_11_ON_JETSON or "AGX Orin" not in board.model):
        return (
            f"TensorRT {version} drives no DLA on {board.name}: from 11.4.1, and on AGX Orin only",
            leave_out,
        )
    return None


def _text(version: Version | None) -> str:
    return ".".join(map(str, version or ()))
