"""Shows the progress of a run on stderr: a live line on a terminal, a line per cell elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from edgebench import stats
from edgebench.fleet.board_progress import Progress, progress_path, write_progress
from edgebench.measure.runner import Outlook, Target
from edgebench.record import Reason, Record, Replicate
from edgebench.text.plain_text import plain, say
from edgebench.units import format_bytes, format_clock, format_ns

_MARKS = {"ok": "done", "failed": "FAILED", "unsupported": "unsupported", "invalid": "INVALID"}

#: Without a terminal, nobody waits longer for a sign of life.
LINE_EVERY_S = 15.0
#: Columns that the bar, the count and the time take beside the description.
BESIDE_COLUMNS = 16 + 8 + 12


def describe(target: Target) -> str:
    """The cell as a person names it: workload, backend, precision and the values of other axes."""
    cell = target.cell
    axes = [f"{axis}={value}" for axis, value in cell.variant.items() if axis != "precision"]
    return " ".join([cell.workload, cell.backend, str(cell.variant["precision"]), *axes])


def outlook_text(outlook: Outlook) -> str:
    """Says what will be measured, how long that takes, and what the budget allows."""
    cells = "1 cell" if outlook.cells == 1 else f"{outlook.cells} cells"
    processes = "1 process" if outlook.processes == 1 else f"{outlook.processes} processes"
    text = f"{cells}, {processes} or more, about {format_clock(outlook.expected_s)}"
    if outlook.budget_s is None:
        return text
    text += f"; the budget leaves {format_clock(outlook.budget_s)}"
    if not outlook.reachable:
        text += ", which is likely to be too little for the first one"
    elif outlook.reachable < outlook.cells:
        text += f", which is likely to end after {outlook.reachable} of the cells"
    return text


def look_text(record: Record) -> str:
    """The first row of a cell, in a line."""
    replicate = record.replicates[0]
    parts = []
    if replicate.samples_ns:
        parts.append(f"p50 {format_ns(stats.percentile(sorted(replicate.samples_ns), 500))}")
    if replicate.memory is not None and replicate.memory.peak_bytes is not None:
        parts.append(f"peak {format_bytes(replicate.memory.peak_bytes)}")
    if replicate.quality is not None and replicate.quality.value is not None:
        parts.append(f"{replicate.quality.metric} {replicate.quality.value:.3g}")
    if not parts:
        parts = [reason.message for reason in record.reasons] or [record.status]
    return f"first look: {record.cell.id}: {', '.join(parts)} (one short process; more follow)"


class CompletedCells:
    """What to say of cells that are complete: of unsupported ones, each reason once per backend and workload."""

    def __init__(self) -> None:
        self._known: set[tuple[str, str, str]] = set()

    def text(self, record: Record) -> str | None:
        """One line; None where the like was said of another cell."""
        text = f"{_MARKS[record.status]}: {record.cell.id}"
        if record.status == "ok" or not record.reasons:
            return text
        reason = record.reasons[0]
        if record.status != "unsupported":
            return f"{text}: {reason.message}"
        alike = (record.cell.workload, record.cell.backend, reason.message)
        if alike in self._known:
            return None
        self._known.add(alike)
        return f"{text}: {reason.message}"


class _Watcher:
    """What all watchers say alike. `say` has a style, which is for terminals."""

    def __init__(self) -> None:
        self._completed = CompletedCells()

    def say(self, text: str, style: str = "") -> None:
        raise NotImplementedError

    def begins(self, outlook: Outlook) -> None:
        self.say(outlook_text(outlook))

    def disturbed(self, target: Target, replicate: Replicate, again: bool) -> None:
        what = "runs again" if again else "not run again (--reruns)"
        self.say(f"{what}: {target.cell.id}: {replicate.reasons[0].message}", "yellow")

    def cut(self, target: Target, reason: Reason) -> None:
        self.say(f"cut by the budget: {target.cell.id}: {reason.message}", "yellow")

    def looked(self, record: Record) -> None:
        self.say(look_text(record))


class LineWatcher(_Watcher):
    """For pipes and logs: a line when a cell is complete, and where nothing else was said for a while."""

    def __init__(
        self, now: Callable[[], float] = time.monotonic, write: Callable[[str], None] = say
    ) -> None:
        super().__init__()
        self._now = now
        self._write = write
        self._said_s = now()
        self._doing = ""
        self._until_s = 0.0

    def say(self, text: str, style: str = "") -> None:
        self._write(text)
        self._said_s = self._now()

    def prepares(self, target: Target) -> None:
        self._doing, self._until_s = f"preparing the model of {describe(target)}", 0.0

    def starts(self, target: Target, number: int, total: int, left_s: float) -> None:
        of = (
            f" of {total}" if number <= total else ""
        )  # re-runs and further rounds were not foreseen
        self._doing = f"process {number}{of}: {describe(target)}"
        self._until_s = self._now() + left_s

    def tick(self) -> None:
        now_s = self._now()
        if now_s - self._said_s >= LINE_EVERY_S:
            left_s = self._until_s - now_s
            left = f", {format_clock(left_s)} left" if left_s >= 1 else ""
            self.say(f"{self._doing}{left}")

    def completed(self, record: Record) -> None:
        if (text := self._completed.text(record)) is not None:
            self.say(text)


class BoardWatcher(LineWatcher):
    """For a board of a fleet: what it does now stands in a file, which is asked for, and only news become lines."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def prepares(self, target: Target) -> None:
        super().prepares(target)
        write_progress(self._path, Progress(self._doing))

    def starts(self, target: Target, number: int, total: int, left_s: float) -> None:
        super().starts(target, number, total, left_s)
        foreseen = number <= total
        progress = Progress(
            describe(target),
            number,
            total if foreseen else None,
            time.time() + left_s if foreseen else None,
        )
        write_progress(self._path, progress)

    def tick(self) -> None:
        pass


class LiveWatcher(_Watcher):
    """For terminals: one line that moves once a second; the parent must stay asleep otherwise."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        super().__init__()
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

    def say(self, text: str, style: str = "") -> None:
        self._progress.print(plain(text), markup=False, style=style)

    def begins(self, outlook: Outlook) -> None:
        self._left_s = outlook.expected_s
        super().begins(outlook)

    def prepares(self, target: Target) -> None:
        self._progress.update(
            self._task, description=self._fitting(f"preparing {describe(target)}")
        )
        self._progress.refresh()

    def starts(self, target: Target, number: int, total: int, left_s: float) -> None:
        self._left_s, self._number = left_s, number
        self._progress.update(
            self._task,
            completed=number - 1,
            total=total,
            left=format_clock(left_s),
            description=self._fitting(describe(target)),
        )
        self._progress.refresh()

    def _fitting(self, text: str) -> str:
        """The text cut to what the line has room for: a longer one would push the bar out."""
        text = plain(text)
        room = max(10, self._console.width - BESIDE_COLUMNS)
        return text if len(text) <= room else text[: room - 1] + "…"

    def tick(self) -> None:
        self._left_s -= 1
        self._progress.update(self._task, left=format_clock(self._left_s))
        self._progress.refresh()

    def completed(self, record: Record) -> None:
        if record.status != "ok" and (text := self._completed.text(record)) is not None:
            self.say(text, "yellow")
        self._progress.update(self._task, completed=self._number)


@contextmanager
def watching() -> Iterator[LineWatcher | LiveWatcher]:
    """The watcher that suits stderr, for as long as the run takes."""
    path = progress_path()
    if path is not None:
        yield BoardWatcher(path)
        return
    if not sys.stderr.isatty():
        yield LineWatcher()
        return
    live = LiveWatcher()
    live.begin()
    try:
        yield live
    finally:
        live.end()
