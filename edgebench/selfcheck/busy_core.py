"""Keeps one core busy until its standard input ends: `python -m edgebench.selfcheck.busy_core`."""

from __future__ import annotations

import select
import sys

from edgebench.energy.meter_liveness import busy

_LOOK_S = 0.05


def main() -> None:
    while not select.select([sys.stdin], [], [], 0)[0]:
        busy(_LOOK_S)


if __name__ == "__main__":
    main()
