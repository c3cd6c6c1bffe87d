"""Holds what the parent and the two arms of a pair say to each other: JSON lines over two pipes each.

The order is fixed. Parent: ArmJob; arm: Ready. Parent: `OPEN`; arm: Loaded. Parent: BlockShape; then for each
block a line `BLOCK`, which the arm answers with a line `BLOCK` when the block is done; `END`. Parent: for
each window of energy an EnergyWindow, which the arm answers with WindowDone; `END`. Parent: `CHECK`; arm: Checked.
Parent: `END`. Arm: Measured. Between its answer and the parent's next word an arm
sleeps. At any time it may send Phase, which gives it more time, or Broken, its last word.
"""

from __future__ import annotations

import msgspec

from edgebench.ab_test.pair_record import BlockShape, Measured
from edgebench.measure.worker_messages import Job, Phase
from edgebench.record import Reason, Status

OPEN, BLOCK, CHECK, END = b"o\n", b"b\n", b"c\n", b"e\n"
#: Iterations before the first block, the same for both arms.
WARM_UP = 8


class ArmJob(msgspec.Struct, frozen=True, kw_only=True):
    job: Job  # its `expected` is the file of this arm's own outputs
    cores: list[int]  # pinned to these from OPEN to END; empty: not pinned
    lent: list[int]  # and to these until OPEN, as many: runtimes count cores when they are imported
    items: str  # npz of the items of the queries; "": not kept
    items_kept: bool  # read from there, by both arms or neither; else made, and written there
    quality: bool  # of a cell's first pair: looks at length, and also quality and effective facts


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The arm has imported everything and made its inputs; the model is not open yet."""


class Loaded(msgspec.Struct, frozen=True, tag="loaded"):
    """The arm has finished its warm-up."""

    typical_ns: int  # of an iteration at the end of the warm-up
    resident_bytes: int | None
    device: bool  # a device computes, not this process's threads: its CPU time says nothing


class EnergyWindow(msgspec.Struct, frozen=True):
    """Asks the arm to run without a pause while a meter is read; no call is timed."""

    seconds: float


class WindowDone(msgspec.Struct, frozen=True, tag="ran"):
    """The energy window is over; it holds whole iterations only."""

    start_ns: int  # of the monotonic clock
    end_ns: int
    iterations: int


class Checked(msgspec.Struct, frozen=True, tag="checked"):
    """The result of the arm's checks that its times cover its work."""


class Broken(msgspec.Struct, frozen=True, tag="broken"):
    status: Status
    reason: Reason


Message = Phase | Ready | Loaded | WindowDone | Checked | Measured | Broken

encode = msgspec.json.Encoder().encode
decode_job = msgspec.json.Decoder(ArmJob).decode
decode_begin = msgspec.json.Decoder(BlockShape).decode
decode_stretch = msgspec.json.Decoder(EnergyWindow).decode
decode_message = msgspec.json.Decoder(Message).decode
