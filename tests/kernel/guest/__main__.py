"""`python -m tests.kernel.guest BOARD MODULES`: runs a board's checks and prints a line of JSON for each."""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from pathlib import Path

from tests.kernel.guest import jetson_checks, load_checks, pc_checks, pi_checks, thor_checks  # noqa: F401 - they register
from tests.kernel.guest.lab import Lab
from tests.kernel.guest.registry import CHECKS, Check

#: What a line begins with that is meant for the host: the console carries the kernel's own too.
SIGN = "check: "


def main() -> None:
    board, modules = sys.argv[1:3]
    os.chdir("/run")
    lab = Lab(board, Path(modules))
    for check in CHECKS[board]:
        began_s = time.monotonic()
        answer = {"check": check.__name__, "why": _why(check, lab)}
        answer["took_s"] = f"{time.monotonic() - began_s:.1f}"
        print(SIGN + json.dumps(answer), flush=True)
    print(f"{SIGN}end", flush=True)


def _why(check: Check, lab: Lab) -> str:
    """What is wrong; empty where the check holds."""
    try:
        check(lab)
    except Exception as error:  # noqa: BLE001 - whatever it is, the host shows it
        frame = traceback.extract_tb(error.__traceback__)[-1]
        lines = [
            each.lineno
            for each in traceback.extract_tb(error.__traceback__)
            if "_checks" in each.filename
        ]
        return f"{type(error).__name__}: {error} (line {lines[-1] if lines else frame.lineno})"
    return ""


if __name__ == "__main__":
    main()
