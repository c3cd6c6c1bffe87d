"""Keeps what the boards of `make test-kernel` answered as a selfcheck of an emulated device: real drivers, made-up registers.

`python -m tests.kernel.hardware_file OUT` writes it; `make hardware` keeps it for docs/hardware.md.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path

from edgebench import __version__
from edgebench.selfcheck.check_file import Answer, CheckFile
from edgebench.selfcheck.pack import check_text
from tests.kernel.boot import answers_path
from tests.kernel.kernel_image import BUILD, HERE

_JETSONS = ("jetson-nano", "xavier-nx", "agx-xavier", "orin-nano", "orin-nx", "agx-orin")
#: Claim -> boards, and what the names of its checks begin with.
CLAIMS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "energy.ina3221": (
        _JETSONS,
        (
            "total_",
            "nobody_",
            "power_",
            "channels_",
            "rail_",
            "current_",
            "mean_",
            "longer_",
            "chip_",
        ),
    ),
    "energy.ina238": (("thor",), ("input_",)),
    "energy.rapl": (("pc",), ("rapl_",)),
    "energy.hwmon": (("unknown-board",), ("ina", "ltc", "pmbus_", "update_", "meter_that_")),
    "energy.battery": (("unknown-board",), ("battery_is", "battery_that_is")),
    "meter.follows": (("orin-nano",), ("load_is_followed",)),
    "meter.rate": (("orin-nano",), ("load_shows_the_rate",)),
    "meter.sum": (("orin-nano",), ("load_adds_up",)),
    "state.battery": (("pc",), ("battery_that_drains",)),
    "state.temperature": (
        (*_JETSONS, "raspberry-pi-5"),
        ("board_that_is_cool", "board_near", "hot_board"),
    ),
}


def answers(found: Mapping[str, Mapping[str, str]], version: str) -> tuple[Answer, ...]:
    """Board -> check -> what is wrong, as answers to claims."""
    return tuple(_answer(claim, found, version) for claim in CLAIMS)


def _answer(claim: str, found: Mapping[str, Mapping[str, str]], version: str) -> Answer:
    boards, starts = CLAIMS[claim]
    asked = {
        f"{board}: {check}": why
        for board in boards
        for check, why in found.get(board, {}).items()
        if check.startswith(starts)
    }
    wrong = [name for name, why in asked.items() if why]
    told = f"{len(asked)} checks on {len(boards)} device trees"
    if not asked:
        return Answer(claim=claim, status="not here", detail="no board was booted")
    if wrong:
        return Answer(
            claim=claim,
            status="failed",
            detail=f"{told}; wrong: {', '.join(wrong)}",
            version=version,
        )
    return Answer(claim=claim, status="ok", detail=told, version=version)


def main() -> int:
    """Writes the file from what the boards answered last."""
    out = Path(sys.argv[1])
    boards = [path.stem for path in sorted((HERE / "boards").glob("*.dts"))]
    missing = [board for board in boards if not answers_path(board).exists()]
    if missing:
        print(f"no answers of {', '.join(missing)}: make test-kernel", file=sys.stderr)
        return 1
    found = {board: json.loads(answers_path(board).read_text()) for board in boards}
    told = subprocess.run(
        [BUILD / "linux", "--version"], capture_output=True, text=True, check=True
    )
    version = f"Linux {told.stdout.strip()}"
    file = CheckFile(
        machine="User-mode Linux",
        device="emulated",
        date=datetime.now(timezone.utc).date().isoformat(),
        edgebench=__version__,
        facts={"kernel": version, "boards": ", ".join(boards)},
        answers=answers(found, version),
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(check_text(file, ()), encoding="utf-8")
    print(f"written: {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
