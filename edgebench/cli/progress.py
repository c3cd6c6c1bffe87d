"""How far a run is, on stderr: a live line on a terminal, a line per cell elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from edgebench.measure.campaign import Target, Watcher
from edgebench.record import Reason, Record, Replicate

_MARKS = {"ok": "done", "failed": "FAILED", "unsupported": "unsupported", "invalid": "INVALID"}


#: Columns that the bar, the count and the time take beside the description.
BESIDE_COLUMNS = 16 + 8 + 12


def describe(target: Target) -> str:
    """The cell as a person names it: workload, backend, precision and the values of other axes."""
    cell = target.cell
    axes = [f"{axis}={value}" for axis, value in cell.variant.items() if axis != "precision"]
    return " ".join([cell.workload, cell.backend, str(cell.variant["precision"]), *axes])


def clock(seconds: float) -> str:
    """Minutes and seconds: 1:05."""
    whole = max(0, round(seconds))
    return f"{whole // 60}:{whole % 60:02d}"


def _spoilt(target: Target, replicate: Replicate, again: bool) -> str:
    what = "runs again" if again else "not run again (--reruns)"
    return f"{what}: {target.cell.id}: {replicate.reasons[0].message}"


def _cut(target: Target, reason: Reason) -> str:
    return f"cut by the budget: {target.cell.id}: {reason.message}"


class LineWatcher:
    """For pipes and logs: a line when a cell is complete."""

    def prepares(self, target: Target) -> None:
        return None

    def starts(self, target: Target, number: int, total: int, left_s: float) -> None:
        return None

    def tick(self) -> None:
        return None

    def spoilt(self, target: Target, replicate: Replicate, again: bool) -> None:
        print(_spoilt(target, replicate, again), file=sys.stderr, flush=True)

    def cut(self, target: Target, reason: Reason) -> None:
        print(_cut(target, reason), file=sys.stderr, flush=True)

    def completed(self, record: Record) -> None:
        text = f"{_MARKS[record.status]}: {record.cell.id}"
        if record.status != "ok" and record.reasons:
            text += f": {record.reasons[0].message}"
        print(text, file=sys.stderr, flush=True)


class LiveWatcher(LineWatcher):
    """For terminals: one line that moves once a second; the parent must stay asleep otherwise."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self._console = Console(stderr=True)
        self._progress = Progress(
            BarColumn(bar_width=16),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]} left"),
            TextColumn("{task.description}", markup=False),
            console=self._console,
            auto_refresh=False,
            transient=True,
        )
        self._task = self._progress.add_task("", total=None, left="-:--")
        self._left_s = 0.0
        self._number = 0

    def begin(self) -> None:
        self._progress.start()

    def end(self) -> None:
        self._progress.stop()

    def starts(self, target: Target, number: int, total: int, left_s: float) -> None:
        self._left_s, self._number = left_s, number
        self._progress.update(
            self._task,
            completed=number - 1,
            total=total,
            left=clock(left_s),
            description=self._fitting(describe(target)),
        )
        self._progress.refresh()

    def _fitting(self, text: str) -> str:
        """The text cut to what the line has room for: a longer one would push the bar out."""
        room = max(10, self._console.width - BESIDE_COLUMNS)
        return text if len(text) <= room else text[: room - 1] + "…"

    def tick(self) -> None:
        self._left_s -= 1
        self._progress.update(self._task, left=clock(self._left_s))
        self._progress.refresh()

    def spoilt(self, target: Target, replicate: Replicate, again: bool) -> None:
        self._progress.print(_spoilt(target, replicate, again), markup=False, style="yellow")

    def cut(self, target: Target, reason: Reason) -> None:
        self._progress.print(_cut(target, reason), markup=False, style="yellow")

    def completed(self, record: Record) -> None:
        if record.status != "ok":
            reason = record.reasons[0].message if record.reasons else ""
            self._progress.print(
                f"{_MARKS[record.status]}: {record.cell.id}: {reason}", markup=False, style="yellow"
            )
        self._progress.update(self._task, completed=self._number)


@contextmanager
def watching() -> Iterator[Watcher]:
    """The watcher that suits stderr, for as long as the run takes."""
    if not sys.stderr.isatty():
        yield LineWatcher()
        return
    live = LiveWatcher()
    live.begin()
    try:
        yield live
    finally:
        live.end()
