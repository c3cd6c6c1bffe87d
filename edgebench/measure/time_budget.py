"""Tracks the time budget of a measurement, without downloads, installations, builds and waits."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from edgebench.words import note_words


@dataclass
class Budget:
    """So many seconds from `started_s` on, on `clock`, and beside them what is spent apart."""

    seconds: float = math.inf
    started_s: float = field(default_factory=time.monotonic)
    clock: Callable[[], float] = time.monotonic
    apart_s: dict[str, float] = field(default_factory=dict)  # what was not counted, in words

    @contextmanager
    def without(self, what: str) -> Iterator[None]:
        """Leaves out of the count what is done in this context."""
        begin_s = self.clock()
        try:
            yield
        finally:
            self.apart_s[what] = self.apart_s.get(what, 0.0) + self.clock() - begin_s

    @property
    def counts_from_s(self) -> float:
        """When it would have begun if nothing had been spent apart."""
        return self.started_s + sum(self.apart_s.values())

    @property
    def left_s(self) -> float:
        return self.counts_from_s + self.seconds - self.clock()

    @property
    def note(self) -> str:
        """Returns what was not counted, as far as it matters; "" where nothing was."""
        return "" if self.seconds == math.inf else note_words.outside_budget(self.apart_s)
