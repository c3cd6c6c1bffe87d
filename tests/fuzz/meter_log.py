"""Logs of meters, attached to a finished run by its clock, by its markers and by a given offset."""

from __future__ import annotations

from pathlib import Path

from edgebench.energy.attach_log import Meter, attach, offset_of
from edgebench.energy.meter_log import read_log
from edgebench.errors import UsageError
from edgebench.record import encode
from tests.energy.test_attach_log import T0_S, iso, rows, run_record

_TIMES, _WATTS = rows(step_s=0.02)


def _log(head: str, line: str) -> bytes:
    """A log of the test's run. `line` has the fields t (Unix time), iso, w, mw and j (a counter)."""
    lines = (
        line.format(t=T0_S + t, iso=iso(t), w=w, mw=w * 1000, j=5 * t)
        for t, w in zip(_TIMES, _WATTS, strict=True)
    )
    return "\n".join([head, *lines]).encode()


SEEDS = [
    _log("time_s,power_w", "{t:.3f},{w:.4f}"),
    _log("timestamp, power.draw [W]", "{iso}, {w:.2f} W"),
    _log("Time;Power\ns;W", "{t:.2f};{w:.4f}").replace(b".", b","),
    _log("Date\tPower (mW)", '{iso}\t"{mw:,.1f}"'),
    _log("#t,current,voltage", "{t:.3f},{w:.3f},1.0").replace(b",2.000,", b",[N/A],", 3),
    _log("time,energy [J]", "{t:.3f},{j:.4f}").decode().encode("utf-16"),
]


def read(data: bytes, folder: Path) -> None:
    path = folder / "log.csv"
    path.write_bytes(data)
    log = read_log(path)
    refused: UsageError | None = None
    taken = 0
    for markers, offset_s in ((False, None), (True, None), (False, -7200.0)):
        records = [run_record(markers=markers)]
        try:
            for record in attach(records, log, offset_of(log, records, offset_s), Meter()):
                encode(record)
        except UsageError as error:
            refused = error
        else:
            taken += 1
    if not taken and refused is not None:
        raise refused
