"""Waits until other programs are idle, up to the user's limit, and reports the outcome."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from edgebench.assets.download_progress import LINE_EVERY_S
from edgebench.probes.checks.load import PRESSURE_LIMIT_PERCENT
from edgebench.probes.machine import Machine
from edgebench.probes.proc_files import LIVE
from edgebench.probes.snapshot_changes import STEAL_LIMIT
from edgebench.words import note_words

#: A look lasts so long: programs that wake once a second are seen.
LOOK_S = 2.0
#: CPU time that others may take of all CPUs, as a share.
BUSY_LIMIT = 0.05


def look() -> str:
    """Watches the machine for some seconds. Says what other programs use too much of; "" if it is quiet.

    Nothing of a run works meanwhile. Load averages would still tell of its own work.
    """
    import psutil

    before, waited = psutil.cpu_times(), _waited_us()
    time.sleep(LOOK_S)
    after, waited_since = psutil.cpu_times(), _waited_us()
    spent = {name: getattr(after, name) - getattr(before, name) for name in after._fields}
    total = sum(spent[name] for name in ("user", "nice", "system", "idle")) + sum(
        spent.get(name, 0.0) for name in ("iowait", "irq", "softirq", "steal")
    )
    idle = spent["idle"] + spent.get("iowait", 0.0)
    steal = spent.get("steal", 0.0)
    busy = 1 - (idle + steal) / total if total > 0 else 0.0
    causes = []
    if busy > BUSY_LIMIT:
        causes.append(note_words.others_busy(share=busy))
    if total > 0 and steal / total > STEAL_LIMIT:
        causes.append(note_words.stolen(share=steal / total))
    if waited is not None and waited_since is not None:
        percent = (waited_since - waited) / (LOOK_S * 1e6) * 100
        if percent > PRESSURE_LIMIT_PERCENT:
            causes.append(note_words.tasks_waited(percent=percent))
    return ", ".join(causes)


def _waited_us() -> int | None:
    """Microseconds in which a task waited for a CPU, since boot; None where the kernel does not count."""
    text = Machine.at(LIVE).read("proc/pressure/cpu") or ""
    word = next((word for word in text.split() if word.startswith("total=")), "")
    return int(word[6:]) if word[6:].isdecimal() else None


@dataclass
class Quiet:
    """The time that all waits of a run for a quiet machine may take together."""

    limit_s: float = 0.0
    say: Callable[[str], None] = lambda text: None
    look: Callable[[], str] = look
    clock: Callable[[], float] = time.monotonic
    spent_s: float = field(default=0.0, init=False)

    def wait(self) -> None:
        """Returns when the machine is quiet, or the time is over."""
        begin_s = self.clock()
        before_s = self.spent_s
        told, told_s = "", begin_s
        while self.spent_s < self.limit_s:
            busy = self.look()
            self.spent_s = before_s + self.clock() - begin_s
            if not busy:
                if told:
                    self.say(note_words.quiet_after(waited_s=self.spent_s - before_s))
                return
            if not told or self.clock() - told_s >= LINE_EVERY_S:
                self.say(note_words.waits_for_quiet(busy=busy))
                told_s = self.clock()
            told = busy
        if told:
            self.say(note_words.never_quiet(limit_s=self.limit_s, busy=told))
