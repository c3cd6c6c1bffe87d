"""A case on a simulated meter: read by the real source in the real loop, or computed at once.

Both give the same samples. The real way costs some 50 us a sample, the other lets thousands of cases
run; tests hold them equal.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgebench.energy.energy_window import Facts
from edgebench.energy.sampler import decode
from edgebench.energy.sampler_process import sample_until
from edgebench.energy.source import EnergySource, Sample
from edgebench.testing.power.cases import LEAD_S, Case, read_times
from edgebench.testing.power.meters import SimulatedMeter


class Clock:
    """An injected clock, in nanoseconds."""

    def __init__(self) -> None:
        self.ns = 0

    def __call__(self) -> int:
        return self.ns


def end_of(case: Case, facts: Facts) -> float:
    """Until when samples are taken: ticks after the window count too."""
    return case.end_s + max(LEAD_S, 2 * facts.period_s)


def published(case: Case, meter: SimulatedMeter, facts: Facts) -> tuple[np.ndarray, np.ndarray]:
    """Times of the meter's updates, and its registers from each on."""
    updates_s = case.sensor.updates(end_of(case, facts))
    show = case.sensor.energy if facts.quantity == "energy" else case.sensor.power
    return updates_s, meter.registers(show(case.curve, updates_s))


def computed(case: Case, meter: SimulatedMeter, facts: Facts, seed: int) -> list[Sample]:
    """Samples of a case without files; failed reads as the sensor has them."""
    updates_s, registers = published(case, meter, facts)
    times_s = read_times(facts, end_of(case, facts), seed)
    shown = case.sensor.shown_at(np.concatenate(([0.0], times_s)), updates_s)
    values = meter.values(registers[shown])[1:]
    failed = case.sensor.fails_at(times_s)
    at_ns = np.round(times_s * 1e9).astype(np.int64)
    return [
        Sample(ns, ns, None if bad else value)
        for ns, value, bad in zip(at_ns.tolist(), values.tolist(), failed.tolist(), strict=True)
    ]


def really_read(
    case: Case, meter: SimulatedMeter, source: EnergySource, clock: Clock, times_s: Sequence[float]
) -> list[Sample]:
    """Samples of a case by the real source in the sampler's own loop, which is told to wake at
    `times_s`; before each read the meter shows what it would then."""
    updates_s, registers = published(case, meter, source)
    shown = case.sensor.shown_at(np.array(times_s), updates_s).tolist()
    rows = registers.tolist()
    wakes = iter(zip(times_s, shown, strict=True))
    written: list[bytes] = []

    def sleep(_: float) -> bool:
        wake = next(wakes, None)
        if wake is None:
            return True
        clock.ns = round(wake[0] * 1e9)
        meter.show(rows[wake[1]])
        return False

    clock.ns = 0
    meter.show(rows[int(case.sensor.shown_at(np.array([0.0]), updates_s)[0])])
    source.open()
    try:
        sample_until(source, written.append, sleep, clock)
    finally:
        source.close()
    return decode(b"".join(written))
