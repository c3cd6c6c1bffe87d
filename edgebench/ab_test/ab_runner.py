"""Runs an A/B: chooses the cell of the next pair and its cores, and stops when each cell is decided.

Cells take turns, one pair each, so that a bad moment of the machine meets all of them alike.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec

from edgebench.ab_test.ab_report_types import CellCase
from edgebench.ab_test.cell_verdict import mismatch, wanted_pairs, wants_energy
from edgebench.ab_test.pair_record import SIDES, Pair, Side
from edgebench.ab_test.pair_runner import ArmSpec, PairFailed, PairPlan, run_pair
from edgebench.ab_test.verdict import Rules
from edgebench.energy.run_meter import Meter
from edgebench.errors import DeviceStateError
from edgebench.measure import cpu_pinning as cores
from edgebench.measure.reruns import DOUBTS
from edgebench.probes.process_memory import available_bytes
from edgebench.record import Reason
from edgebench.words import verdict_words

if TYPE_CHECKING:
    from edgebench.measure.replicate.quality_checks import Tolerance

#: How often a pair of a cell is tried again, where what times of one process showed ended it.
MAX_RETRIES = 2
#: What a pair is thought to take until one was measured.
FIRST_PAIR_S = 4.0


@dataclass
class ABCell:
    """The state of a cell during an A/B. `failure` says why it has no arms, or no further pairs."""

    case: CellCase
    arms: dict[Side, ArmSpec] | None = None
    cores: int = 1
    failure: Reason | None = None
    allowed: Tolerance | None = None  # between outputs of the two; None: the case's limit for all
    pairs: list[Pair] = field(default_factory=list)
    seconds: float = 0.0
    retries: int = 0

    @property
    def measured(self) -> bool:
        """Whether its times can be compared: what the canary speaks for."""
        comparable = self.failure is None and mismatch(self.case, self.pairs) is None
        return comparable and not self.case.canary

    def next_cost_s(self) -> float:
        """Returns what the next pair is thought to take: the first one also holds the quality pass."""
        later = [pair.seconds for pair in self.pairs[1:]]
        if later:
            return max(later)
        return self.pairs[0].seconds / 2 if self.pairs else FIRST_PAIR_S


class Watcher(Protocol):
    def pair_starts(self, ab_cell: ABCell, wanted: int, left_s: float | None) -> None: ...
    def pair_done(self, ab_cell: ABCell) -> None: ...


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the measurement; `Rules` holds those of the judgement."""

    budget_s: float | None = None
    started_s: float | None = (
        None  # when the budget began, by the monotonic clock; None: when it is measured
    )
    rounds: int = 20
    time_out_s: float = 120.0
    seed: int = 0


@dataclass(frozen=True)
class Means:
    """Holds what an A/B is measured with. `keep` takes each pair as soon as there is one; the clock is that of
    `started_s`."""

    keep: Callable[[Pair], None] = lambda pair: None
    launch: Callable[..., Pair] = run_pair
    hold: Callable[..., AbstractContextManager[cores.CoreLease]] = cores.hold
    clock: Callable[[], float] = time.monotonic
    meter: Meter | None = None


MEANS = Means()


class ABRunner:
    """Measures cells in turns until each is decided, at its cap, or the budget is spent."""

    def __init__(
        self,
        ab_cells: Sequence[ABCell],
        rules: Rules,
        settings: Settings,
        watcher: Watcher,
        started_s: float,
        means: Means = MEANS,
    ) -> None:
        self._ab_cells = ab_cells
        self._rules = rules
        self._settings = settings
        self._watcher = watcher
        self._means = means
        self._meter = means.meter if means.meter is not None and means.meter.needed_s else None
        self._deadline = None if settings.budget_s is None else started_s + settings.budget_s
        self._source = random.Random(settings.seed)
        self._starts: dict[int, int] = {}  # which arm begins a cell's first pair

    def measure(self) -> bool:
        """Measures. False: the budget ended before every cell was decided."""
        with tempfile.TemporaryDirectory(prefix="edgebench-ab-") as folder:
            while open_cells := self._open():
                for ab_cell in open_cells:
                    if not self._affordable(ab_cell):
                        return False
                    self._one_pair(ab_cell, Path(folder))
        return True

    def _open(self) -> list[ABCell]:
        """Cells that want further pairs; the canary only beside a cell that has any."""
        alive = any(ab_cell.measured for ab_cell in self._ab_cells)
        return [
            ab_cell
            for ab_cell in self._ab_cells
            if self._pairs_due(ab_cell) > len(ab_cell.pairs) and (alive or not ab_cell.case.canary)
        ]

    def _pairs_due(self, ab_cell: ABCell) -> int:
        if ab_cell.failure is not None or mismatch(ab_cell.case, ab_cell.pairs) is not None:
            return 0
        return wanted_pairs(ab_cell.case, ab_cell.pairs, self._rules)

    def _wants_energy(self, ab_cell: ABCell) -> bool:
        return wants_energy(ab_cell.case, ab_cell.pairs, self._rules)

    def _left_s(self) -> float | None:
        return None if self._deadline is None else self._deadline - self._means.clock()

    def _patience_s(self) -> float:
        left = self._left_s()
        return cores.CORES_TIMEOUT_S if left is None else max(0.0, min(cores.CORES_TIMEOUT_S, left))

    def _give_up_s(self, ab_cell: ABCell) -> float | None:
        """A pair may overrun the budget by all that it is thought to take: who is silent then, hangs."""
        left = self._left_s()
        return None if left is None else left + ab_cell.next_cost_s()

    def _affordable(self, ab_cell: ABCell) -> bool:
        left = self._left_s()
        return left is None or ab_cell.next_cost_s() <= left

    def _one_pair(self, ab_cell: ABCell, folder: Path) -> None:
        assert ab_cell.arms is not None
        index = len(ab_cell.pairs)
        self._watcher.pair_starts(ab_cell, self._pairs_due(ab_cell), self._left_s())
        begun = self._means.clock()
        arms = {
            side: spec.in_folder(folder, f"{id(ab_cell)}-{side}")
            for side, spec in ab_cell.arms.items()
        }
        try:
            with self._means.hold(
                ab_cell.cores, source=self._source, patience_s=self._patience_s()
            ) as held:
                plan = PairPlan(
                    cell=ab_cell.case.cell,
                    index=index,
                    first=self._first(ab_cell, index),
                    cores=held.cores,
                    quality=index == 0 and not ab_cell.case.canary,
                    rounds=self._settings.rounds,
                    time_out_s=self._settings.time_out_s,
                    give_up_s=self._give_up_s(ab_cell),
                    inherited_fds=held.fds,
                )
                meter = self._meter if self._wants_energy(ab_cell) else None
                pair = self._means.launch(arms, plan, available_bytes, meter)
        except PairFailed as failed:
            if failed.reason.code in DOUBTS and ab_cell.retries < MAX_RETRIES:
                ab_cell.retries += 1
            else:
                ab_cell.failure = explained(failed)
        except (
            DeviceStateError
        ) as error:  # a cell of many threads may wait in vain where others need not
            ab_cell.failure = Reason(code="cores_taken", message=error.message, fix=error.fix)
        else:
            if index == 0:
                pair = _with_parity(pair, arms, ab_cell.allowed)
            ab_cell.pairs.append(pair)
            self._means.keep(pair)
        ab_cell.seconds += self._means.clock() - begun
        self._watcher.pair_done(ab_cell)

    def _first(self, ab_cell: ABCell, index: int) -> Side:
        start = self._starts.setdefault(id(ab_cell), self._source.randrange(2))
        return SIDES[(start + index) % 2]


def explained(failed: PairFailed) -> Reason:
    """The reason why a pair failed, with the arm that failed."""
    reason = failed.reason
    message = f"{failed.side}: {reason.message}"
    if reason.code == "out_of_memory" and "left_bytes" not in reason.data:
        message = verdict_words.no_room_for_both(why=message)
    return msgspec.structs.replace(reason, message=message)


def _with_parity(pair: Pair, arms: Mapping[Side, ArmSpec], allowed: Tolerance | None) -> Pair:
    """The pair with what head's outputs are off base's, on the same inputs; as it is where an arm wrote
    none."""
    from edgebench.files.model_outputs import load_outputs
    from edgebench.measure.replicate import quality_checks

    outputs = [arms[side].job.expected for side in SIDES]
    if not all(Path(path).exists() for path in outputs):
        return pair
    base, head = (load_outputs(path, quality_checks.CHECKED_ITEMS) for path in outputs)
    matched = quality_checks.matched(base, head)
    if isinstance(matched, str):
        return msgspec.structs.replace(
            pair, parity_error=quality_checks.NOTHING_ALIKE, parity_note=matched
        )
    deviation = quality_checks.deviation(
        matched.head, base, allowed or quality_checks.Tolerance(1.0)
    )
    return msgspec.structs.replace(
        pair,
        parity_error=min(deviation.error, quality_checks.NOTHING_ALIKE),
        parity_limit=deviation.limit if allowed else None,
        parity_note=matched.note if deviation.held else "",
    )
