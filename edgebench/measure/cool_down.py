"""Waits until the chip is cool enough for the next process, so that no cell pays for the heat of the one before it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from edgebench.assets.download_progress import LINE_EVERY_S
from edgebench.probes.temperature import Thermometer
from edgebench.words import note_words

#: Longer than this no single wait lasts: the room may be hotter than the limit.
MAX_WAIT_S: Final = 600.0
LOOK_EVERY_S: Final = 1.0


@dataclass
class CoolDown:
    """The waits of a run for a temperature; None: it waits for none."""

    limit_c: float | None = None
    say: Callable[[str], None] = lambda text: None
    read: Callable[[], float | None] | None = None  # None: the chip's own sensors
    nap: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    spent_s: float = field(default=0.0, init=False)
    _without: bool = field(default=False, init=False)  # it was said that there is no sensor

    def wait(self) -> None:
        """Returns when the chip is cool enough, tells no temperature, or did not cool down in time."""
        if self.limit_c is None or self._without:
            return
        self.read = self.read or self._sensors()
        begin_s, told_s = self.clock(), -LINE_EVERY_S
        while (heat_c := self.read()) is not None and heat_c > self.limit_c:
            waited_s = self.clock() - begin_s
            if waited_s > MAX_WAIT_S:
                self.say(
                    note_words.stays_hot(heat_c=heat_c, waited_s=waited_s, limit_c=self.limit_c)
                )
                break
            if waited_s - told_s >= LINE_EVERY_S:
                self.say(note_words.cools(heat_c=heat_c, limit_c=self.limit_c))
                told_s = waited_s
            self.nap(LOOK_EVERY_S)
        self.spent_s += self.clock() - begin_s

    def _sensors(self) -> Callable[[], float | None]:
        thermometer = Thermometer.find()
        if thermometer.read() is None:
            self.say(note_words.no_heat(why=thermometer.why_none or "no sensor answers"))
            self._without = True
        return thermometer.read
