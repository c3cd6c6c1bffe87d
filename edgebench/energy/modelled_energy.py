"""Estimates energy on request: CPU time times watts per core, labelled modelled."""

from __future__ import annotations

from dataclasses import dataclass

from edgebench.errors import UsageError
from edgebench.record import Modelled, Replicate

MODEL = "cpu-time"


@dataclass(frozen=True)
class Estimate:
    """`--estimate cpu-time:W_per_core`. The watts are the user's; nothing is guessed."""

    w_per_core: float

    @classmethod
    def parse(cls, text: str) -> Estimate:
        """From the option's text. Raises UsageError."""
        model, _, watts = text.partition(":")
        try:
            value = float(watts)
        except ValueError:
            value = 0.0
        if model != MODEL or not 0 < value < float("inf"):
            raise UsageError(
                f"--estimate {text}: not an estimate",
                f"say --estimate {MODEL}:W, with the watts that one busy core takes",
            )
        return cls(value)

    def of(self, replicate: Replicate, batch: int) -> Modelled | None:
        """Estimates the energy of the measured window; None if the work in it is unknown."""
        queries = replicate.queries or len(replicate.samples_ns)
        if not queries or not replicate.window_ns or replicate.cpu_ns is None:
            return None
        joules = replicate.cpu_ns / 1e9 * self.w_per_core
        return Modelled(
            model=MODEL,
            w_per_core=self.w_per_core,
            j_per_inference=joules / (queries * batch),
            average_w=joules / (replicate.window_ns / 1e9),
        )
