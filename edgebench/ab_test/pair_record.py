"""The record of a pair: what two processes measured in turns, `edgebench.pair/1`.

The sample unit of the gate. Raw times are kept, so that a verdict can be derived again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Literal

import msgspec

from edgebench.ab_test.pair_statistics import Block, Round
from edgebench.backend import Effective
from edgebench.files.number_bounds import Amount, AtLeastOne, Count, DurationNs, Integer, Number
from edgebench.record import (
    Accounts,
    Completion,
    Energy,
    Memory,
    OutputCheck,
    Pipeline,
    Quality,
    Reason,
    Replicate,
    Unseen,
)

SCHEMA: Final = "edgebench.pair/1"
Side = Literal["base", "head"]
SIDES: tuple[Side, Side] = ("base", "head")


class BlockShape(msgspec.Struct, frozen=True, kw_only=True):
    """The shape of a block, the same for both arms."""

    samples: AtLeastOne
    calls: AtLeastOne  # of each sample: more than one where a single call is too short to be timed well


class ArmBlock(msgspec.Struct, frozen=True, kw_only=True):
    """One block of one arm, one entry per sample."""

    wall_ns: list[DurationNs]
    cpu_ns: list[DurationNs]  # of the process
    switches: list[Count]  # involuntary context switches of the process
    waited_ns: list[
        DurationNs
    ] = []  # ready to run and without a core; empty: the system does not tell


class Alone(msgspec.Struct, frozen=True, kw_only=True):
    """A closed loop after the blocks, in which this arm alone ran: what clocks and the kernel say of it."""

    window_ns: DurationNs  # by the clock that measures a run's window
    start_ns: Integer  # of the monotonic clock
    end_ns: Integer
    cpu_ns: DurationNs
    accounts: Accounts


class Measured(msgspec.Struct, frozen=True, kw_only=True, tag="measured"):
    blocks: list[ArmBlock]
    memory: Memory
    output_check: OutputCheck
    quality: Quality | None = None
    effective: Effective | None = None
    completion: Completion | None = None  # whether outputs were complete when a call returned
    unseen: Unseen | None = None  # whether inputs it was never given take longer
    pipeline: Pipeline | None = None  # of a cell's first pair
    alone: Alone | None = None  # None: a file from before this was kept
    clock_lag_ns: Integer | None = None  # the parent's clock less the arm's, at least
    reasons: list[Reason] = []  # what the parent saw of it that speaks against its times
    energy: Energy | None = None  # of a window after the blocks, in which this arm ran alone
    runtime: str = ""  # version that the backend's import told


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """Two fresh processes on the same cores."""

    schema: Literal["edgebench.pair/1"] = SCHEMA
    cell: str
    index: Count
    first: Side  # which arm had the first block
    cores: list[Count]  # both arms were pinned to these; empty: not pinned
    load_1m: Number
    started_utc: str
    seconds: Amount
    begin: BlockShape
    device: bool  # a device computed, not the threads of the process
    base: Measured
    head: Measured
    #: Largest relative error of the head's outputs against the base's; of the first pair alone, the
    #: outputs of later ones are held against those of the first.
    parity_error: Amount | None = None
    parity_limit: Amount | None = None  # of that output, where it has one of its own
    #: Which outputs were compared, where their names differ; or why none could be.
    parity_note: str = ""
    #: Why its times count for nothing: an arm was stopped, or the machine slept. It is measured once more.
    disturbed: Reason | None = None

    def arm(self, side: Side) -> Measured:
        return self.base if side == "base" else self.head

    def replicate(self, side: Side) -> Replicate:
        """An arm as a run would keep it, to be judged by the same rules."""
        arm, calls = self.arm(side), self.begin.calls
        window: dict[str, Any] = {}
        if (alone := arm.alone) is not None:
            window = {
                "window_ns": alone.window_ns,
                "window_start_ns": alone.start_ns,
                "window_end_ns": alone.end_ns,
                "cpu_ns": alone.cpu_ns,
                "accounts": alone.accounts,
            }
        return Replicate(
            index=self.index,
            status="ok",
            started_utc=self.started_utc,
            reasons=arm.reasons,
            samples_ns=[ns // calls for block in arm.blocks for ns in block.wall_ns],
            **window,
            clock_lag_ns=arm.clock_lag_ns,
            unseen=arm.unseen,
            pipeline=arm.pipeline,
            memory=arm.memory,
            output_check=arm.output_check,
            completion=arm.completion,
        )

    def rounds(self) -> list[Round]:
        """Returns the blocks of base and head, round by round, as the statistics take them."""
        return list(zip(_blocks(self.base), _blocks(self.head), strict=True))


def _blocks(arm: Measured) -> list[Block]:
    return [Block(b.wall_ns, b.cpu_ns, b.switches, b.waited_ns) for b in arm.blocks]


def pair_findings(pair: Pair) -> Iterator[tuple[str, str]]:
    """Yields what makes no sense in a pair, each with its field."""
    base, head = pair.base.blocks, pair.head.blocks
    if len(base) != len(head):
        yield "head.blocks", f"{len(head)} blocks, and base has {len(base)}"
    for side, blocks in (("base", base), ("head", head)):
        for place, block in enumerate(blocks):
            lengths = {len(block.wall_ns), len(block.cpu_ns), len(block.switches)}
            lengths |= {len(block.waited_ns)} - {0}
            if len(lengths) > 1:
                yield f"{side}.blocks[{place}]", "its lists must be equally long"


encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Pair).decode
